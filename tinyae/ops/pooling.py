"""Pooling: the largest, or the mean, of what a window sees, channel by channel.

Loops run over the taps of the window. Each tap meets a strided slice of the image, one number for every place, so that
a whole batch is compared or added at once. A window is a rectangle, so its maximum (or sum) is that of its rows'
maxima (or sums): KH + KW slices do what KH * KW would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyae.autodiff import adjoint_pair, primitive
from tinyae.backend import Array, backend_of
from tinyae.backend.windows import Pair, Windows, padded, unpadded
from tinyae.ops.comparisons import equal, indicator, where
from tinyae.ops.conv_geometry import check_image, check_out, conv_windows
from tinyae.ops.reductions import max
from tinyae.ops.shape import getitem, pad, stack


def _windows(owner: str, x: Any, kernel_size: Any, stride: Any, padding: Any, size: Pair | None = None) -> Windows:
    """`stride` None means windows side by side; each window must see a pixel of the image."""
    check_image(owner, x)
    windows = conv_windows(owner, size or x.shape[1:3], kernel_size, kernel_size if stride is None else stride, padding)
    for side, k in zip(windows.padding, windows.kernel, strict=True):
        if k <= side[0] or k <= side[1]:
            raise ValueError(
                f"{owner}: padding {windows.padding} must be smaller than the window {windows.kernel}, "
                "so that each window sees a pixel of the image."
            )
    return windows


def _seen(windows: Windows) -> list[tuple[slice, slice, slice]]:
    """For each tap of the window, the part of the padded images that it meets."""
    kh, kw = windows.kernel
    return [(slice(None), *windows.seen_by(i, j)) for i in range(kh) for j in range(kw)]


def _reduced(image: Array, windows: Windows, combine: Callable[..., Array]) -> Array:
    """`combine` (maximum or add) over every window of a padded image: rows first, then columns."""
    kh, kw = windows.kernel
    rows = _combined([image[:, windows.seen_by(i, 0)[0]] for i in range(kh)], combine)
    return _combined([rows[:, :, windows.seen_by(0, j)[1]] for j in range(kw)], combine)


def _combined(slices: list[Array], combine: Callable[..., Array]) -> Array:
    if len(slices) == 1:
        return slices[0]
    out = combine(slices[0], slices[1])
    for part in slices[2:]:
        combine(out, part, out=out)
    return out


def max_pool2d_composed(x: Any, *, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """`max_pool2d` in primitives: the slices that the taps meet, stacked, and the maximum over the stack."""
    windows = _windows("max_pool2d", x, kernel_size, stride, padding)
    widths = ((0, 0), *windows.padding, (0, 0))
    image = pad(x, widths=widths)
    if windows.pads:
        inside = pad(indicator(equal(x, x), x), widths=widths)
        image = where(equal(inside, 1.0), image, -float("inf"))
    return max(stack(*[getitem(image, index=seen) for seen in _seen(windows)]), axis=0)


@primitive(composed=max_pool2d_composed)
def max_pool2d(x: Any, *, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The largest number in each window.   The gradient goes to the largest; ties share it evenly.

    Args:
        x: (N, H, W, C).
        kernel_size: of the window, a number or (vertical, horizontal).
        stride: by how much it moves; None for its own size, so that windows lie side by side.
        padding: as for `conv2d`, but smaller than the window. What is padded never wins.

    Returns (N, OH, OW, C), OH = floor((H + top + bottom - KH) / stride) + 1.
    """
    xp = backend_of(x).xp
    windows = _windows("max_pool2d", x, kernel_size, stride, padding)
    return _reduced(padded(xp, x, windows, -float("inf")), windows, xp.maximum), None


@max_pool2d.fused_vjp
def _(
    g: Array,
    out: Array,
    residuals: None,
    wanted: list[int],
    x: Array,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
) -> tuple:
    windows = _windows("max_pool2d", x, kernel_size, stride, padding)
    return (backend_of(x).max_pool2d_grad(g, out, x, windows),)


@primitive
def avg_pool2d(x: Any, *, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """The mean of each window; a padded pixel counts as a 0.   Adjoint: `avg_unpool2d`.

    Arguments and sizes are those of `max_pool2d`.
    """
    xp = backend_of(x).xp
    windows = _windows("avg_pool2d", x, kernel_size, stride, padding)
    return _reduced(padded(xp, x, windows), windows, xp.add) * (1.0 / (windows.kernel[0] * windows.kernel[1]))


@primitive
def avg_unpool2d(y: Any, *, size: Pair, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
    """Each number of y (N, OH, OW, C) dealt out evenly to the pixels of its window.   Adjoint: `avg_pool2d`.

    Args:
        y: one number a window and channel.
        size: (H, W) of the image that the windows lie on; y must have a number for each place.
        kernel_size, stride, padding: as for `avg_pool2d`.
    """
    windows = _windows("avg_unpool2d", y, kernel_size, stride, padding, size)
    check_out("avg_unpool2d", windows, y.shape[1:3])
    image = backend_of(y).xp.zeros((y.shape[0], *windows.padded, y.shape[3]), dtype=y.dtype)
    share = y * (1.0 / (windows.kernel[0] * windows.kernel[1]))
    for seen in _seen(windows):
        image[seen] += share
    return unpadded(image, windows)


def _without_size(y: Any, size: Pair, **window: Any) -> dict[str, Any]:
    return window


adjoint_pair(avg_pool2d, avg_unpool2d, lambda x, **window: {"size": x.shape[1:3], **window}, _without_size)
