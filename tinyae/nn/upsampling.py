"""Layers that make images larger by whole factors, without weights."""

from __future__ import annotations

from typing import Any

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.nn.checks import check_floats
from tinyae.nn.module import Module
from tinyae.ops import conv_geometry as geometry
from tinyae.ops.resize import MODES


class Upsample(Module):
    """(N, H, W, C) as (N, H * factor, W * factor, C), pixels repeated or interpolated.

    Args:
        scale_factor: a whole number, or (vertical, horizontal).
        mode: `"nearest"` repeats pixels; `"bilinear"` draws straight lines between their centres (PyTorch's
            `align_corners=False`).
    """

    def __init__(self, scale_factor: Any = 2, mode: str = "nearest") -> None:
        self.scale_factor = geometry.pair("Upsample", "scale_factor", scale_factor)
        if mode not in MODES:
            raise ValueError(f"Upsample: unknown mode {mode!r}: choose one of {', '.join(MODES)}.")
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """`ops.upsample`."""
        check_floats(self, x)
        geometry.check_image(str(self), x)
        return ops.upsample(x, factor=self.scale_factor, mode=self.mode)

    def extra_repr(self) -> str:
        """The factor, and the mode where it is not nearest."""
        return geometry.short(self.scale_factor) + ("" if self.mode == "nearest" else f", mode={self.mode!r}")


class PixelShuffle(Module):
    """(N, H, W, f * f * C) as (N, H * f, W * f, C): each pixel's channels become a block of pixels (Shi et al. 2016).

    Args:
        scale_factor: f, a whole number, or (vertical, horizontal).
    """

    def __init__(self, scale_factor: Any = 2) -> None:
        self.scale_factor = geometry.pair("PixelShuffle", "scale_factor", scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """`ops.pixel_shuffle`; raises if the channels do not fill whole blocks."""
        check_floats(self, x)
        geometry.check_image(str(self), x)
        return ops.pixel_shuffle(x, factor=self.scale_factor)

    def extra_repr(self) -> str:
        """The factor."""
        return geometry.short(self.scale_factor)
