"""How often a transposed convolution writes each pixel.

Every input place p and every tap k write the pixel p * stride + k * dilation - padding. A kernel that is no multiple of
the stride writes some pixels more often than others, in a pattern with the stride as its period: the checkerboard
(Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill). The two axes are independent,
so the counts of an image are the product of the counts of its axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.ops import conv_geometry as geometry


def overlap_counts(
    size: Any,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    *,
    dilation: Any = 1,
) -> npt.NDArray[np.int64]:
    """How many pairs of an input place and a kernel tap write each output pixel, int64 (H, W).

        count[h] = number of (p, k) with  p * stride + k * dilation - top = h,      count[h, w] = count[h] count[w]

    It is what `ops.conv_transpose2d` makes of an input of ones with a kernel of ones. Away from the borders and
    without dilation, count[h] is ceil((KH - r) / stride) with r = (h + top) mod stride, so that it is the same everywhere if
    the stride divides the kernel.

    Args:
        size: (OH, OW) of the input, or a number for both.
        kernel_size, stride, padding, output_padding, dilation: as for `ConvTranspose2d`.

    >>> overlap_counts(3, 3, 2)
    array([[1, 1, 2, 1, 2, 1, 1],
           [1, 1, 2, 1, 2, 1, 1],
           [2, 2, 4, 2, 4, 2, 2],
           [1, 1, 2, 1, 2, 1, 1],
           [2, 2, 4, 2, 4, 2, 2],
           [1, 1, 2, 1, 2, 1, 1],
           [1, 1, 2, 1, 2, 1, 1]])
    """
    out = geometry.pair("overlap_counts", "size", size)
    windows = geometry.transposed_windows("overlap_counts", out, kernel_size, stride, padding, dilation, output_padding)
    axes = zip(out, windows.kernel, windows.stride, windows.dilation, windows.padding, windows.size, strict=True)
    rows, columns = (_counts(*axis) for axis in axes)
    return np.outer(rows, columns)


def _counts(
    places: int, taps: int, stride: int, dilation: int, padding: tuple[int, int], size: int
) -> npt.NDArray[np.int64]:
    """The counts along one axis of `size` pixels."""
    written = np.add.outer(np.arange(places) * stride, np.arange(taps) * dilation) - padding[0]
    inside = written[(written >= 0) & (written < size)]
    return np.bincount(inside, minlength=size).astype(np.int64)
