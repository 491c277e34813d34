"""Modules that change the shape of each sample and leave N alone."""

from __future__ import annotations

import math
from typing import Any

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.nn.module import Module


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

    def __init__(self, *shape: Any) -> None:
        lengths = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        whole = all(isinstance(n, int) and not isinstance(n, bool) and (n >= 0 or n == -1) for n in lengths)
        if not whole or lengths.count(-1) > 1:
            raise ValueError(
                f"Reshape: lengths must be whole numbers, at most one of them -1, got {lengths}: "
                "write e.g. Reshape(28, 28, 1)."
            )
        self.shape: tuple[int, ...] = lengths

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

    def extra_repr(self) -> str:
        """The shape of one sample."""
        return ", ".join(map(str, self.shape))
