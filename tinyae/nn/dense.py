"""Dense layers: every output sees every input."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator, backend_of
from tinyae.nn.checks import check_activation, check_dtype, check_last_axis, check_size
from tinyae.nn.initializers import Initializer, initializer_named
from tinyae.nn.module import Module
from tinyae.nn.parameter import Parameter


class Dense(Module):
    """y = f(x W + b) with x (..., D), W (D, K), b (K,), y (..., K).

    Args:
        in_features: D.
        out_features: K.
        activation: f, one of `"identity"`, `"relu"`, `"elu"`, `"sigmoid"`, `"tanh"`, fused with the product.
        bias: False leaves b out.
        initializer: how W starts: a name in `INITIALIZERS` or a function of the same form. b starts at 0.
        generator: the `numpy.random.Generator` to draw W from; None draws from fresh entropy (not
            repeatable).
        dtype: of W and b. An input of a wider dtype is computed in that one, as in NumPy.

    Attributes:
        weight: Parameter (D, K).
        bias: Parameter (K,), or None.

    Gradients: see `tinyae.ops.dense`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str = "identity",
        bias: bool = True,
        initializer: str | Initializer = "glorot_uniform",
        generator: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        self.in_features = check_size("Dense", "in_features", in_features)
        self.out_features = check_size("Dense", "out_features", out_features)
        self.activation = check_activation("Dense", activation)
        dtype = check_dtype("Dense", dtype)
        draw = initializer_named(initializer)
        self.weight = Parameter(draw((self.in_features, self.out_features), as_generator(generator), dtype=dtype))
        self.bias = Parameter(np.zeros(self.out_features, dtype)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """f(x W + b); raises if the last axis of x is not in_features long."""
        check_last_axis(self, x, self.in_features)
        if self.bias is not None:
            return ops.dense(x, self.weight, self.bias, activation=self.activation)
        z = ops.matmul(x, self.weight)
        return z if self.activation == "identity" else getattr(ops, self.activation)(z)

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        activation = "" if self.activation == "identity" else f", activation={self.activation!r}"
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.in_features}, {self.out_features}{activation}{bias}"


class TiedDense(Module):
    """y = f(x W' + b) with the transpose of another layer's weight W (D, K): x (..., K), b (D,), y (..., D).

    A decoder tied to its encoder has half of the weights and cannot undo a small encoder weight by a large
    decoder weight (Vincent et al. 2010, section 2.2). There is one W: both uses add to its gradient.

    Args:
        source: the Dense layer that owns W.
        activation: f, as for Dense.

    Attributes:
        source: the layer; its own bias is no part of this one.
        bias: Parameter (D,), starts at 0.

    Within a model that holds both layers, W goes by its first name only: `encoder.weight`, `encoder.bias`,
    `decoder.bias`.
    """

    def __init__(self, source: Dense, *, activation: str = "identity") -> None:
        if not isinstance(source, Dense):
            raise TypeError(
                f"TiedDense: source must be the Dense layer to be tied to, got {type(source).__name__}: "
                "write TiedDense(encoder)."
            )
        self.source = source
        self.activation = check_activation("TiedDense", activation)
        weight = source.weight.data
        self.bias = Parameter(backend_of(weight).xp.zeros(source.in_features, dtype=weight.dtype))

    @property
    def weight(self) -> Parameter:
        """W (D, K), the source's own; used transposed."""
        return self.source.weight

    def entries(self) -> Iterable[tuple[str, Any]]:
        """Borrows one weight from the source, not the whole layer."""
        return (("weight", self.weight), ("bias", self.bias))

    def forward(self, x: Tensor) -> Tensor:
        """f(x W' + b); raises if the last axis of x is not the source's out_features long."""
        check_last_axis(self, x, self.source.out_features)
        return ops.dense(x, ops.transpose(self.weight), self.bias, activation=self.activation)

    def extra_repr(self) -> str:
        """Sizes from input to output, and the activation where there is one."""
        activation = "" if self.activation == "identity" else f", activation={self.activation!r}"
        return f"{self.source.out_features}, {self.source.in_features}{activation}"
