"""A layer that cuts images to a size."""

from __future__ import annotations

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.nn.checks import check_size
from tinyae.nn.module import Module
from tinyae.ops import conv_geometry as geometry


class Crop(Module):
    """(N, H, W, C) as (N, height, width, C): the upper left part; rows at the bottom and columns at the right are cut off.

    What `padding="same"` adds where windows do not come out even it adds there, so this undoes it: 7 pixels are pooled to
    4, 4 are upsampled to 8, and the eighth stands where there was none.

    Args:
        height, width: what is left; an image must have as much.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height = check_size("Crop", "height", height)
        self.width = check_size("Crop", "width", width)

    def forward(self, x: Tensor) -> Tensor:
        """The upper left part of every image; the gradient is 0 at what is cut off."""
        geometry.check_image(str(self), x)
        _, h, w, _ = x.shape
        if h < self.height or w < self.width:
            raise ValueError(
                f"{self}: an image of {h}x{w} has no {self.height}x{self.width} to keep: enlarge it first, e.g. by "
                "Upsample(2), or make the crop smaller."
            )
        if (h, w) == (self.height, self.width):
            return x
        return ops.crop(x, widths=((0, 0), (0, h - self.height), (0, w - self.width), (0, 0)))

    def extra_repr(self) -> str:
        """What is left."""
        return f"{self.height}, {self.width}"
