"""The layers without convolution or recurrence: dense, activations, shapes, normalization.

At the end stand the initializers and the checks that all layers share.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import SupportsIndex

import numpy as np
from numpy.typing import DTypeLike

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.backend.base import array_advice
from tinyae.checks import choose
from tinyae.nn.module import Module, Parameter
from tinyae.ops.linear import ACTIVATIONS

# ---------------------------------------------------------------------------------------------------------------------
# Dense layers: every output sees every input.


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

    Gradients: see `tinyae.ops.linear`.
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
        dtype: DTypeLike = np.float32,
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


class TiedDense(Module):
    """y = f(x W^T + b) with the transpose of another layer's weight W (D, K): x (..., K), b (D,), y (..., D).

    A decoder tied to its encoder has half of the weights and cannot undo a small encoder weight by a large
    decoder weight (Vincent et al. 2010, section 2.2). There is one W: both uses add to its gradient.

    Args:
        source: the Dense layer that owns W.
        activation: f, as for Dense.

    Attributes:
        source: the layer; its own bias is not part of this one.
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

    def members(self) -> Iterator[tuple[str, Module | Tensor]]:
        """Borrows one weight from the source, not the whole layer."""
        yield "weight", self.weight
        yield "bias", self.bias

    def forward(self, x: Tensor) -> Tensor:
        """f(x W^T + b); raises if the last axis of x is not the source's out_features long."""
        check_last_axis(self, x, self.source.out_features)
        return ops.dense(x, ops.transpose(self.weight), self.bias, activation=self.activation)

    def extra_repr(self) -> str:
        """Sizes from input to output, and the activation where there is one."""
        activation = "" if self.activation == "identity" else f", activation={self.activation!r}"
        return f"{self.source.out_features}, {self.source.in_features}{activation}"


# ---------------------------------------------------------------------------------------------------------------------
# The functions of `tinyae.ops` as modules, for use in `Sequential`. Formulas and derivatives stand there.


class Identity(Module):
    """y = x.   A place holder where a module is expected."""

    def forward(self, x: Tensor) -> Tensor:
        """x itself."""
        return x


class ReLU(Module):
    """y = max(x, 0), any shape."""

    def forward(self, x: Tensor) -> Tensor:
        """`ops.relu(x)`."""
        return ops.relu(x)


class ELU(Module):
    """y = x for x > 0, else exp(x) - 1, any shape, above -1: a relu whose mean output can be 0 (Clevert et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """`ops.elu(x)`."""
        return ops.elu(x)


class Sigmoid(Module):
    """y = 1 / (1 + exp(-x)), any shape, in (0, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """`ops.sigmoid(x)`."""
        return ops.sigmoid(x)


class Tanh(Module):
    """y = tanh(x), any shape, in (-1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """`ops.tanh(x)`."""
        return ops.tanh(x)


class Softplus(Module):
    """y = log(1 + exp(x)), any shape, positive; for variances and rates."""

    def forward(self, x: Tensor) -> Tensor:
        """`ops.softplus(x)`."""
        return ops.softplus(x)


class Softmax(Module):
    """y_i = exp(x_i) / sum_j exp(x_j) along one axis: positive, adding up to 1.

    Args:
        axis: the axis of the sum, by default the last.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """`ops.softmax(x, axis=axis)`."""
        return ops.softmax(x, axis=self.axis)


# ---------------------------------------------------------------------------------------------------------------------
# Modules that change the shape of each sample and leave N alone.


class Flatten(Module):
    """(N, ...) as (N, D), D the number of entries of a sample: from an image to a row."""

    def forward(self, x: Tensor) -> Tensor:
        """`ops.flatten(x)`."""
        if x.ndim < 1:
            raise ValueError(f"Flatten: the input needs a batch axis N, got shape {x.shape}: write x.reshape(1, -1).")
        return ops.flatten(x)


class Reshape(Module):
    """(N, ...) as (N, *shape), in C order: from a row to an image.

    Args:
        shape: the shape of one sample, without N, as numbers or one tuple; one length may be -1.
    """

    def __init__(self, *shape: int | tuple[int, ...] | list[int]) -> None:
        lengths = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        whole = all(isinstance(n, int) and not isinstance(n, bool) and (n >= 0 or n == -1) for n in lengths)
        if not whole or lengths.count(-1) > 1:
            raise ValueError(
                f"Reshape: lengths must be whole numbers, at most one of them -1, got {lengths}: "
                "write e.g. Reshape(28, 28, 1)."
            )
        self.shape: tuple[int, ...] = lengths  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """x reshaped; raises if a sample does not have the right number of entries."""
        size = math.prod(x.shape[1:])
        known = math.prod(n for n in self.shape if n != -1)
        fits = size == known if -1 not in self.shape else known > 0 and size % known == 0
        if x.ndim < 1 or not fits:
            raise ValueError(
                f"{self}: a sample of shape {x.shape[1:]} has {size} entries and cannot become {self.shape}: "
                f"got x of shape {x.shape}; change the lengths so that their product is {size}."
            )
        return ops.reshape(x, shape=(x.shape[0], *(size // known if n == -1 else n for n in self.shape)))


# ---------------------------------------------------------------------------------------------------------------------
# One layer at every step of a sequence.


class TimeDistributed(Module):
    """One module applied to every step by itself: (N, T, ...) becomes (N T, ...) and back.

    Args:
        module: takes a batch of steps; all steps share its parameters, and their gradients add up.
    """

    def __init__(self, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"TimeDistributed: needs a Module, got {type(module).__name__}: write nn.Dense(8, 2), say.")
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The module's outputs (N, T, ...); raises unless x has an axis of steps."""
        check_floats(self, x)
        if x.ndim < 3:
            raise ValueError(f"{self}: the input must be sequences (N, T, ...), got shape {x.shape}.")
        n, steps = x.shape[:2]
        y = self.module(ops.reshape(x, shape=(n * steps, *x.shape[2:])))
        return ops.reshape(y, shape=(n, steps, *y.shape[1:]))


# ---------------------------------------------------------------------------------------------------------------------
# `TopK`: only the k largest numbers of a code pass.


class TopK(Module):
    """y_j = x_j if x_j is among the k largest of its row, else 0; x (N, K).   dL/dx_j = dL/dy_j there, else 0

    The k-sparse autoencoder (Makhzani and Frey 2014) is a linear autoencoder with this between its halves: the choice
    of k is the only non-linearity. Which numbers pass is a constant to the gradient. Ties with the k-th largest pass
    too, so more than k may.

    Args:
        k: how many pass in training mode, at least 1.
        evaluation_k: how many pass in evaluation mode; the paper recommends somewhat more than k. None takes k.
    """

    def __init__(self, k: int, evaluation_k: int | None = None) -> None:
        self.k = check_size("TopK", "k", k)
        self.evaluation_k = None if evaluation_k is None else check_size("TopK", "evaluation_k", evaluation_k)

    def forward(self, x: Tensor) -> Tensor:
        """x with all but its k largest numbers set to 0; raises if a row has fewer than k."""
        check_floats(self, x)
        k = self.k if self.training or self.evaluation_k is None else self.evaluation_k
        if x.ndim != 2 or x.shape[1] < k:
            raise ValueError(f"{self}: x must be (N, K) with K at least {k}, got shape {x.shape}: choose a smaller k.")
        xp = backend_of(x.data).xp
        least = xp.sort(x.data, axis=1)[:, x.shape[1] - k : x.shape[1] - k + 1]
        return ops.where(x.data >= least, x, 0.0)


# ---------------------------------------------------------------------------------------------------------------------
# Layers that center and scale what passes through them.
#
# Both compute y = weight * (x - mean) / sqrt(variance + eps) + bias and differ in what the mean is taken over:
# LayerNorm over the features of one sample, BatchNorm over the samples of one feature. They are composed of
# primitives, so their gradients, through mean and variance too, need no rule of their own.


class LayerNorm(Module):
    """Normalize each sample over its last axis (Ba, Kiros and Hinton 2016, eq. 4); x and y (..., D).

    The same in training and evaluation, and independent of the rest of the batch.

    Args:
        features: D.
        eps: added to the variance (which divides by D), so that a constant sample gives `bias` and not NaN.
        dtype: of weight and bias.

    Attributes:
        weight, bias: Parameters (D,), the gain (starts at 1) and the shift (starts at 0).
    """

    def __init__(self, features: int, eps: float = 1e-5, *, dtype: DTypeLike = np.float32) -> None:
        self.features = check_size("LayerNorm", "features", features)
        self.eps = _check_eps("LayerNorm", eps)
        self.weight, self.bias = _gain_and_shift(self.features, check_dtype("LayerNorm", dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize over the last axis."""
        check_last_axis(self, x, self.features)
        _, centered, variance = _moments(x, (x.ndim - 1,))
        return _scaled(centered, variance, self.eps, self.weight, self.bias)


class BatchNorm(Module):
    """Normalize each feature over everything else in the batch (Ioffe and Szegedy 2015, Algorithm 1).

    Channels stand last, so one layer serves (N, D), (N, T, D) and (N, H, W, C): the mean of a channel is
    taken over all other axes, n numbers. In training these are the batch's own mean and variance (which
    divides by n), and running averages follow: running <- (1 - momentum) * running + momentum * batch, the
    variance there divided by n - 1. In evaluation the running averages are used, and each sample is treated
    alone.

    Args:
        features: D or C.
        momentum: the weight of the newest batch in the running averages, in [0, 1].
        eps: added to the variance.
        dtype: of parameters and buffers.

    Attributes:
        weight, bias: Parameters (D,), start at 1 and 0.
        running_mean, running_var: buffers (D,), start at 0 and 1.
    """

    def __init__(
        self, features: int, momentum: float = 0.1, eps: float = 1e-5, *, dtype: DTypeLike = np.float32
    ) -> None:
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(
                f"BatchNorm: momentum must be in [0, 1], got {momentum!r}: 0.1 gives the newest batch a tenth."
            )
        self.features = check_size("BatchNorm", "features", features)
        self.momentum = float(momentum)
        self.eps = _check_eps("BatchNorm", eps)
        dtype = check_dtype("BatchNorm", dtype)
        self.weight, self.bias = _gain_and_shift(self.features, dtype)
        self.running_mean = Tensor(np.zeros(self.features, dtype))
        self.running_var = Tensor(np.ones(self.features, dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize over all axes but the last.

        Raises:
            ValueError: one number per feature in training mode; its variance would be 0 and y constant.
        """
        check_last_axis(self, x, self.features)
        if not self.training:
            return _scaled(x - self.running_mean, self.running_var, self.eps, self.weight, self.bias)
        n = x.size // self.features
        if n < 2:
            raise ValueError(
                f"{self}: training needs at least 2 numbers per feature, got shape {x.shape}: "
                "use a larger batch (drop a last batch of 1), or call eval() first."
            )
        mean, centered, variance = _moments(x, tuple(range(x.ndim - 1)))
        self._follow(mean.data.reshape(-1), variance.data.reshape(-1) * (n / (n - 1)))
        return _scaled(centered, variance, self.eps, self.weight, self.bias)

    def _follow(self, mean: Array, variance: Array) -> None:
        """Move the running averages towards one batch, in their own dtype."""
        for running, batch in ((self.running_mean, mean), (self.running_var, variance)):
            moved = (1.0 - self.momentum) * running.data + self.momentum * batch
            running.data = moved.astype(running.dtype, copy=False)


def _moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The mean over `axes`, x minus that, and the mean square of the difference; the moments keep axes of length 1."""
    mean = ops.mean(x, axis=axes, keepdims=True)
    centered = x - mean
    return mean, centered, ops.mean(ops.square(centered), axis=axes, keepdims=True)


def _scaled(centered: Tensor, variance: Tensor, eps: float, weight: Tensor, bias: Tensor) -> Tensor:
    return centered / ops.sqrt(variance + eps) * weight + bias


def _gain_and_shift(features: int, dtype: np.dtype) -> tuple[Parameter, Parameter]:
    return Parameter(np.ones(features, dtype)), Parameter(np.zeros(features, dtype))


def _check_eps(owner: str, eps: float) -> float:
    if not eps > 0.0:
        raise ValueError(f"{owner}: eps must be positive, got {eps!r}: 1e-5 is usual.")
    return float(eps)


# ---------------------------------------------------------------------------------------------------------------------
# How weights start.
#
# A signal that passes L layers is multiplied by L weight matrices. If each one scales its variance by a factor
# other than 1, it dies out or explodes with depth, and the gradient does the same on its way back. Every rule
# here picks the spread of the random entries from the fan-in (inputs summed into one output) and the fan-out
# (outputs one input feeds).
#
# All are drawn on the host, in float64, from a generator that the caller hands over: a model starts from the
# same numbers on every device, and a float32 model from the rounded numbers of its float64 twin.
#
# Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
# He, Zhang, Ren and Sun, Delving deep into rectifiers, ICCV 2015. Saxe, McClelland and Ganguli, Exact solutions
# to the nonlinear dynamics of learning in deep linear networks, ICLR 2014.

Shape = tuple[int, ...]
Initializer = Callable[..., np.ndarray]
"""Called as `initializer(shape, generator, dtype=...)`; returns a host array."""


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (D, K) or a convolution kernel (KH, KW, C_in, C_out).

    A kernel sums KH * KW * C_in inputs into one output, and one input feeds KH * KW * C_out outputs.
    """
    if len(shape) < 2:
        raise ValueError(
            f"fan-in and fan-out need a shape (D, K) or (KH, KW, C_in, C_out), got {shape}: use 'zeros' for it."
        )
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def glorot_uniform(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)), variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 16)."""
    limit = math.sqrt(6.0 / sum(fans(shape)))
    return generator.uniform(-limit, limit, shape).astype(dtype)


def glorot_normal(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 12), for tanh and sigmoid."""
    return _normal(shape, generator, math.sqrt(2.0 / sum(fans(shape))), dtype)


def he_uniform(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Uniform in +-sqrt(6 / fan_in), variance 2 / fan_in (He et al. 2015, eq. 10)."""
    limit = math.sqrt(6.0 / fans(shape)[0])
    return generator.uniform(-limit, limit, shape).astype(dtype)


def he_normal(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Normal with variance 2 / fan_in (He et al. 2015, eq. 10), for relu, which lets half of the signal through."""
    return _normal(shape, generator, math.sqrt(2.0 / fans(shape)[0]), dtype)


def orthogonal(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """A uniformly drawn matrix with orthonormal columns (rows, if there are fewer) (Saxe et al. 2014, section 3).

    A convolution kernel is orthogonal as the matrix (KH * KW * C_in, C_out).
    """
    fan_in, _ = fans(shape)
    columns = shape[-1]
    tall = generator.standard_normal((max(fan_in, columns), min(fan_in, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diag(r) < 0.0, -1.0, 1.0)  # without the signs of R the draw would not be uniform
    return (q if fan_in >= columns else q.T).reshape(shape).astype(dtype)


def zeros(shape: Shape, generator: np.random.Generator, dtype: DTypeLike = np.float32) -> np.ndarray:
    """All zeros, for biases. As a weight it keeps every unit of a layer equal to its neighbors for ever."""
    return np.zeros(shape, dtype)


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "orthogonal": orthogonal,
    "zeros": zeros,
}
"""The initializers by the names that layers take."""


def initializer_named(initializer: str | Initializer) -> Initializer:
    """The function of a name in `INITIALIZERS`; a function is returned as it is. Raises ValueError on other names."""
    if callable(initializer):
        return initializer
    choose("initializer", initializer, INITIALIZERS)
    return INITIALIZERS[initializer]


def _normal(shape: Shape, generator: np.random.Generator, deviation: float, dtype: DTypeLike) -> np.ndarray:
    return (generator.standard_normal(shape) * deviation).astype(dtype)


# ---------------------------------------------------------------------------------------------------------------------
# The checks that layers share, so that one mistake reads the same in every layer.


def check_size(owner: str, name: str, value: SupportsIndex) -> int:
    """Return a length given to a constructor as an int; it must be a whole number >= 1."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{owner}: {name} must be a whole number, got {value!r}: write e.g. {name}=32.") from None
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{owner}: {name} must be a whole number >= 1, got {value!r}: write e.g. {name}=32.")
    return number


def check_dtype(owner: str, dtype: DTypeLike) -> np.dtype:
    """Return a dtype given to a constructor; it must be a floating-point one."""
    kind = np.dtype(dtype)
    if kind.kind != "f":
        raise TypeError(f"{owner}: parameters need a floating-point dtype, got {kind}: write dtype='float32'.")
    return kind


def check_floats(layer: Module, x: object) -> None:
    """Raise TypeError unless the input of `layer` is a floating-point Tensor."""
    if not isinstance(x, Tensor) or x.dtype.kind != "f":
        got = f"{type(x).__name__} of {x.dtype}" if hasattr(x, "dtype") else type(x).__name__
        raise TypeError(
            f"{layer}: the input must be a Tensor or array of floating-point numbers, got {got}: "
            f"{array_advice(x, 'convert it first, e.g. numpy.asarray(x, dtype=numpy.float32)')}."
        )


def check_last_axis(layer: Module, x: Tensor, expected: int) -> None:
    """Raise unless the input of `layer` is a floating-point Tensor (..., `expected`)."""
    if not isinstance(x, Tensor) or x.dtype.kind != "f" or x.shape[-1:] != (expected,):
        check_floats(layer, x)
        raise ValueError(
            f"{layer}: the last axis of the input must be {expected}, got shape {x.shape}: {_reshaping(x, expected)}."
        )


def _reshaping(x: Tensor, expected: int) -> str:
    """How to get from the shape of x to a last axis of `expected`."""
    if x.ndim > 2 and math.prod(x.shape[1:]) == expected:
        return "put nn.Flatten() before it"
    if x.ndim == 1 and x.size and x.size % expected == 0:
        return f"give it rows, e.g. x.reshape({x.size // expected}, {expected})"
    return "reshape the input, or build the layer for " + (f"{x.shape[-1]} features" if x.ndim else "it")


def check_activation(owner: str, activation: str) -> str:
    """Return the name of an activation that the layer can fuse with its sums, or raise ValueError."""
    more = ", or put a module such as nn.Softplus() after the layer"
    return choose("activation", activation, ACTIVATIONS, owner=owner, otherwise=more)
