"""Pooling layers: one number for each window and channel."""

from __future__ import annotations

from typing import Any

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.nn.checks import check_floats
from tinyae.nn.module import Module
from tinyae.ops import conv_geometry as geometry


class Pooling(Module):
    """What `MaxPool2d` and `AvgPool2d` share. It computes nothing itself."""

    def __init__(self, kernel_size: Any = 2, stride: Any = None, padding: Any = 0) -> None:
        owner = type(self).__name__
        self.kernel_size = geometry.pair(owner, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else geometry.pair(owner, "stride", stride)
        self.padding = geometry.check_padding(owner, padding)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(OH, OW) for images of `size` (H, W); raises if no window fits."""
        return geometry.conv_windows(str(self), size, self.kernel_size, self.stride, self.padding).out

    def _window(self, x: Tensor) -> dict[str, Any]:
        check_floats(self, x)
        geometry.check_image(str(self), x)
        self.output_size(x.shape[1:3])
        return {"kernel_size": self.kernel_size, "stride": self.stride, "padding": self.padding}

    def extra_repr(self) -> str:
        """The window, and what differs from the defaults."""
        words = [geometry.short(self.kernel_size)]
        words += [f"stride={geometry.short(self.stride)}"] if self.stride != self.kernel_size else []
        words += [f"padding={self.padding!r}"] if self.padding != ((0, 0), (0, 0)) else []
        return ", ".join(words)


class MaxPool2d(Pooling):
    """The largest number of each window, channel by channel: (N, H, W, C) to (N, OH, OW, C).

    OH = floor((H + top + bottom - KH) / stride) + 1: what is left over at the bottom and right is not looked at, unless
    `padding="same"`, which gives ceil(H / stride).

    Args:
        kernel_size: of the window, a number or (vertical, horizontal).
        stride: by how many pixels it moves; None for its own size, so that windows lie side by side.
        padding: as for `Conv2d`, smaller than the window; what is padded never wins.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`ops.max_pool2d`; ties share the gradient evenly."""
        return ops.max_pool2d(x, **self._window(x))


class AvgPool2d(Pooling):
    """The mean of each window, channel by channel: (N, H, W, C) to (N, OH, OW, C), with OH as for `MaxPool2d`.

    Args:
        kernel_size, stride: as for `MaxPool2d`.
        padding: as for `Conv2d`, smaller than the window; a padded pixel counts as a 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`ops.avg_pool2d`."""
        return ops.avg_pool2d(x, **self._window(x))
