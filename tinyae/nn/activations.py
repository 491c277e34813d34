"""The functions of `tinyae.ops` as modules, for use in `Sequential`. Formulas and derivatives stand there."""

from __future__ import annotations

import math

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.nn.module import Module


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


class LeakyReLU(Module):
    """y = x for x > 0, else slope * x, any shape.

    Args:
        slope: of the negative half; a unit that is off still learns.
    """

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = float(slope)
        if not math.isfinite(self.slope):
            raise ValueError(f"LeakyReLU: slope must be finite, got {slope!r}: 0.01 is usual.")

    def forward(self, x: Tensor) -> Tensor:
        """`ops.leaky_relu(x, slope=slope)`."""
        return ops.leaky_relu(x, slope=self.slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"slope={self.slope}"


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

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"
