"""Images made smaller and larger: pooling and resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyae.autodiff import adjoint_pair, primitive
from tinyae.backend import Array, backend_of
from tinyae.backend.windows import Pair, Windows, padded, unpadded
from tinyae.checks import choose
from tinyae.ops.arrays import getitem, pad, stack
from tinyae.ops.convolution import by, check_image, check_out, conv_windows, pair
from tinyae.ops.elementwise import equal, indicator, where
from tinyae.ops.reductions import max

# ---------------------------------------------------------------------------------------------------------------------
# Pooling: the largest, or the mean, of what a window sees, channel by channel.
#
# Loops run over the taps of the window. Each tap meets a strided slice of the image, one number for every place, so that
# a whole batch is compared or added at once. A window is a rectangle, so its maximum (or sum) is that of its rows'
# maxima (or sums): KH + KW slices do what KH * KW would.


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


# ---------------------------------------------------------------------------------------------------------------------
# Larger images from smaller ones, by whole factors: repeated, interpolated, or unpacked from channels.
#
# All three are linear, and each stands beside its adjoint. A decoder that resizes and then convolves lays every weight on
# every pixel equally often, where a strided transposed convolution may not (Odena, Dumoulin and Olah 2016).

UPSAMPLE_MODES = ("nearest", "bilinear")
"""How `upsample` fills in."""


def upsample(x: Any, *, factor: Any, mode: str = "nearest") -> Any:
    """x (N, H, W, C) as (N, H * factor, W * factor, C).

    Args:
        x: images, arrays or Tensors.
        factor: a whole number, or (vertical, horizontal).
        mode: `"nearest"` or `"bilinear"`, see `upsample_nearest` and `upsample_bilinear`.
    """
    if mode == "nearest":
        return upsample_nearest(x, factor=factor)
    choose("mode", mode, UPSAMPLE_MODES, owner="upsample")
    return upsample_bilinear(x, factor=factor)


@primitive
def upsample_nearest(x: Any, *, factor: Any) -> Any:
    """Every pixel repeated:   y[i] = x[floor(i / factor)] on each axis.   Adjoint: `block_sum`."""
    check_image("upsample_nearest", x)
    (n, h, w, c), (fh, fw) = x.shape, pair("upsample_nearest", "factor", factor)
    spread = backend_of(x).xp.broadcast_to(x[:, :, None, :, None, :], (n, h, fh, w, fw, c))
    return spread.reshape(n, h * fh, w * fw, c)


@primitive
def block_sum(y: Any, *, factor: Any) -> Any:
    """The sum of each block of factor x factor pixels, (N, H, W, C).   Adjoint: `upsample_nearest`."""
    n, h, w, c = _size_before("block_sum", y, factor)
    fh, fw = pair("block_sum", "factor", factor)
    rows = _added([y.reshape(n, h, fh, w * fw, c)[:, :, i] for i in range(fh)])
    return _added([rows.reshape(n, h, w, fw, c)[:, :, :, j] for j in range(fw)])


adjoint_pair(upsample_nearest, block_sum)


@primitive
def upsample_bilinear(x: Any, *, factor: Any) -> Any:
    """Straight lines between the pixels' centers, on each axis:   y[i] = sum over j of max(0, 1 - |s(i) - j|) x[j]

    s(i) = (i + 1/2) / factor - 1/2 is where output pixel i lies among the input pixels, limited to [0, H - 1]: beyond
    the outermost centers the image goes on flat. That is PyTorch's `align_corners=False`.
    Adjoint: `upsample_bilinear_adjoint`.
    """
    check_image("upsample_bilinear", x)
    fh, fw = pair("upsample_bilinear", "factor", factor)
    n, h, w, c = x.shape
    xp = backend_of(x).xp
    rows = (_hat(xp, h, fh, x.dtype) @ x.reshape(n, h, w * c)).reshape(n * h * fh, w, c)
    return (_hat(xp, w, fw, x.dtype) @ rows).reshape(n, h * fh, w * fw, c)


@primitive
def upsample_bilinear_adjoint(y: Any, *, factor: Any) -> Any:
    """Every pixel of y handed back to those that it was interpolated from, with the same weights; (N, H, W, C)."""
    n, h, w, c = _size_before("upsample_bilinear_adjoint", y, factor)
    fh, fw = pair("upsample_bilinear_adjoint", "factor", factor)
    xp = backend_of(y).xp
    rows = (_hat(xp, w, fw, y.dtype).T @ y.reshape(n * h * fh, w * fw, c)).reshape(n, h * fh, w * c)
    return (_hat(xp, h, fh, y.dtype).T @ rows).reshape(n, h, w, c)


adjoint_pair(upsample_bilinear, upsample_bilinear_adjoint)


def _hat(xp: Any, length: int, factor: int, dtype: Any) -> Array:
    """(length * factor, length): the weight of each input in each output; made on the device, so nothing is copied."""
    places = (xp.arange(length * factor, dtype=dtype) + 0.5) * (1.0 / factor) - 0.5
    places = xp.clip(places, 0.0, length - 1.0)
    distances = xp.abs(places[:, None] - xp.arange(length, dtype=dtype)[None, :])
    return xp.maximum(1.0 - distances, 0.0)


@primitive
def pixel_shuffle(x: Any, *, factor: Any) -> Any:
    """Channels unpacked into pixels, (N, H, W, f * f * C) as (N, H * f, W * f, C) (Shi et al. 2016, section 3.2).

    y[n, h * f + i, w * f + j, c] = x[n, h, w, (i * f + j) * C + c]: the channels of one pixel stay together, as in
    TensorFlow's `depth_to_space`; PyTorch, with channels first, counts c * f * f + i * f + j. The numbers only move, so
    the adjoint is the inverse: `pixel_unshuffle`.
    """
    check_image("pixel_shuffle", x)
    fh, fw = pair("pixel_shuffle", "factor", factor)
    n, h, w, c = x.shape
    if c % (fh * fw):
        raise ValueError(
            f"pixel_shuffle: {c} channels cannot be dealt out to blocks of {fh}x{fw} pixels: "
            f"the layer before must give a multiple of {fh * fw} channels."
        )
    blocks = x.reshape(n, h, w, fh, fw, c // (fh * fw)).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, h * fh, w * fw, c // (fh * fw))


@primitive
def pixel_unshuffle(y: Any, *, factor: Any) -> Any:
    """Blocks of f x f pixels packed into channels, the inverse of `pixel_shuffle` and its adjoint."""
    n, h, w, c = _size_before("pixel_unshuffle", y, factor)
    fh, fw = pair("pixel_unshuffle", "factor", factor)
    blocks = y.reshape(n, h, fh, w, fw, c).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, h, w, fh * fw * c)


adjoint_pair(pixel_shuffle, pixel_unshuffle)


def _size_before(owner: str, y: Any, factor: Any) -> tuple[int, int, int, int]:
    """(N, H, W, C) of the image that was made larger by `factor`."""
    check_image(owner, y)
    fh, fw = pair(owner, "factor", factor)
    n, h, w, c = y.shape
    if h % fh or w % fw:
        size: Pair = (h, w)
        raise ValueError(
            f"{owner}: an image of {by(size)} is not a whole number of blocks of {fh}x{fw}: crop or pad it."
        )
    return n, h // fh, w // fw, c


def _added(parts: list[Array]) -> Array:
    total = parts[0]
    for k, part in enumerate(parts[1:]):
        if k:
            total += part
        else:
            total = total + part
    return total
