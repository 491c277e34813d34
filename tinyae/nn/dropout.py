"""`Dropout`: noise that switches units off."""

from __future__ import annotations

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator, backend_of
from tinyae.nn.checks import check_floats
from tinyae.nn.module import Module


class Dropout(Module):
    """Inverted dropout (Srivastava et al. 2014): y = x * m / (1 - rate) with m = 0 with probability `rate`, else 1.

    The mask is drawn anew at every call in training mode. The division keeps E[y] = x, so evaluation mode is
    the identity. dL/dx = dL/dy * m / (1 - rate).

    Args:
        rate: the share of entries set to 0, in [0, 1).
        generator: the `numpy.random.Generator` to draw from; None draws from fresh entropy (not repeatable).

    Attributes:
        generator: the generator, whose state a checkpoint needs for repeating a run.
    """

    def __init__(self, rate: float, generator: np.random.Generator | None = None) -> None:
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"Dropout: rate must be in [0, 1), got {rate!r}: 0.2 drops every fifth entry.")
        self.rate = float(rate)
        self.generator = as_generator(generator)

    def forward(self, x: Tensor) -> Tensor:
        """x with a fresh mask in training mode, x itself in evaluation mode or at rate 0; any shape."""
        check_floats(self, x)
        if not self.training or self.rate == 0.0:
            return x
        draws = backend_of(x.data).uniform(self.generator, x.shape, x.dtype)
        mask = (draws >= self.rate).astype(x.dtype)
        mask *= 1.0 / (1.0 - self.rate)
        return ops.multiply(x, mask)

    def extra_repr(self) -> str:
        """The rate."""
        return f"{self.rate}"
