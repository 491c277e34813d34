"""Images made smaller and larger: pooling and resizing."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np

from tinyae.autodiff import T, adjoint_pair, primitive
from tinyae.backend import Array, backend_of
from tinyae.backend.base import padded
from tinyae.backend.windows import ConvSpec, Pair, by
from tinyae.checks import choose
from tinyae.ops.arrays import getitem, pad, stack
from tinyae.ops.convolution import Numbers, Paddings, check_fit, check_image, conv_spec, pair
from tinyae.ops.elementwise import equal, indicator, where
from tinyae.ops.reductions import max

# ---------------------------------------------------------------------------------------------------------------------
# Pooling: the largest, or the mean, of what a window sees, channel by channel.
#
# Loops run over the taps of the window. Each tap meets a strided slice of the image, one number for every place, so that
# a whole batch is compared or added at once. A window is a rectangle, so its maximum (or sum) is that of its rows'
# maxima (or sums): KH + KW slices do what KH * KW would.


def _spec(
    owner: str, x: Array, kernel_size: Numbers, stride: Numbers | None, padding: Paddings, size: Pair | None = None
) -> ConvSpec:
    """`stride` None means windows side by side; each window must see a pixel of the image."""
    check_image(owner, x)
    spec = conv_spec(owner, size or x.shape[1:3], kernel_size, kernel_size if stride is None else stride, padding)
    if any(k <= before or k <= after for (before, after), k in zip(spec.padding, spec.kernel, strict=True)):
        raise ValueError(
            f"{owner}: padding {spec.padding} must be smaller than the window {spec.kernel}, "
            "so that each window sees a pixel of the image."
        )
    return spec


def _reduced(image: Array, spec: ConvSpec, combine: Callable[..., Array]) -> Array:
    """`combine` (maximum or add) over every window of a padded image: rows first, then columns."""
    taps = spec.taps()
    rows = _combined([image[:, seen[1]] for (_, j), seen in taps if j == 0], combine)
    return _combined([rows[:, :, seen[2]] for (i, _), seen in taps if i == 0], combine)


def _combined(slices: list[Array], combine: Callable[..., Array]) -> Array:
    """All slices in one; a single one as it is."""
    if len(slices) == 1:
        return slices[0]
    out = combine(slices[0], slices[1])
    for part in slices[2:]:
        combine(out, part, out=out)
    return out


def max_pool2d_composed(
    x: Array, *, kernel_size: Numbers, stride: Numbers | None = None, padding: Paddings = 0
) -> Array:
    """`max_pool2d` in primitives: the slices that the taps meet, stacked, and the maximum over the stack."""
    spec = _spec("max_pool2d", x, kernel_size, stride, padding)
    image = pad(x, widths=spec.widths)
    if spec.pads:
        inside = pad(indicator(equal(x, x), x), widths=spec.widths)
        image = where(equal(inside, 1.0), image, -float("inf"))
    return max(stack(*[getitem(image, index=seen) for _, seen in spec.taps()]), axis=0)


@primitive(composed=max_pool2d_composed)
def max_pool2d(
    x: Array, *, kernel_size: Numbers, stride: Numbers | None = None, padding: Paddings = 0
) -> tuple[Array, ConvSpec]:
    """The largest number in each window.   The gradient goes to the largest; ties share it evenly.

    Args:
        x: (N, H, W, C).
        kernel_size: of the window, a number or (vertical, horizontal).
        stride: by how much it moves; None for its own size, so that windows lie side by side.
        padding: as for `conv2d`, but smaller than the window. What is padded never wins.

    Returns (N, OH, OW, C), OH = floor((H + top + bottom - KH) / stride) + 1.
    """
    xp, spec = backend_of(x).xp, _spec("max_pool2d", x, kernel_size, stride, padding)
    return _reduced(padded(xp, x, spec, -float("inf")), spec, xp.maximum), spec


@max_pool2d.fused_vjp
def _(g: Array, out: Array, spec: ConvSpec, wanted: list[int], x: Array, **window: object) -> tuple[Array]:
    return (backend_of(x).max_pool2d_grad(g, out, x, spec),)


@primitive
def avg_pool2d(x: Array, *, kernel_size: Numbers, stride: Numbers | None = None, padding: Paddings = 0) -> Array:
    """The mean of each window; a padded pixel counts as a 0.   Adjoint: `avg_unpool2d`.

    Arguments and sizes are those of `max_pool2d`.
    """
    xp, spec = backend_of(x).xp, _spec("avg_pool2d", x, kernel_size, stride, padding)
    return _reduced(padded(xp, x, spec), spec, xp.add) * (1.0 / math.prod(spec.kernel))


@primitive
def avg_unpool2d(
    y: Array, *, size: Pair, kernel_size: Numbers, stride: Numbers | None = None, padding: Paddings = 0
) -> Array:
    """Each number of y (N, OH, OW, C) dealt out evenly to the pixels of its window.   Adjoint: `avg_pool2d`.

    Args:
        y: one number a window and channel.
        size: (H, W) of the image that the windows lie on; y must have a number for each place.
        kernel_size, stride, padding: as for `avg_pool2d`.
    """
    spec = _spec("avg_unpool2d", y, kernel_size, stride, padding, size)
    check_fit("avg_unpool2d", spec, y=y)
    image = backend_of(y).xp.zeros((y.shape[0], *spec.padded, y.shape[3]), dtype=y.dtype)
    share = y * (1.0 / math.prod(spec.kernel))
    for _, seen in spec.taps():
        image[seen] += share
    return image[spec.inside]


adjoint_pair(
    avg_pool2d,
    avg_unpool2d,
    lambda x, **window: {"size": x.shape[1:3], **window},
    lambda y, size, **window: window,
)


# ---------------------------------------------------------------------------------------------------------------------
# Larger images from smaller ones, by whole factors: repeated, interpolated, or unpacked from channels.
#
# All three are linear, and each stands beside its adjoint. A decoder that resizes and then convolves lays every weight on
# every pixel equally often, where a strided transposed convolution may not (Odena, Dumoulin and Olah 2016).

UPSAMPLE_MODES = ("nearest", "bilinear")
"""How `upsample` fills in."""


def upsample(x: T, *, factor: Numbers, mode: str = "nearest") -> T:
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
def upsample_nearest(x: Array, *, factor: Numbers) -> Array:
    """Every pixel repeated:   y[i] = x[floor(i / factor)] on each axis.   Adjoint: `block_sum`."""
    check_image("upsample_nearest", x)
    (n, h, w, c), (fh, fw) = x.shape, pair("upsample_nearest", "factor", factor)
    spread = backend_of(x).xp.broadcast_to(x[:, :, None, :, None, :], (n, h, fh, w, fw, c))
    return spread.reshape(n, h * fh, w * fw, c)


@primitive
def block_sum(y: Array, *, factor: Numbers) -> Array:
    """The sum of each block of factor x factor pixels, (N, H, W, C).   Adjoint: `upsample_nearest`."""
    (n, h, w, c), (fh, fw), add = *_size_before("block_sum", y, factor), backend_of(y).xp.add
    rows = _combined([y.reshape(n, h, fh, w * fw, c)[:, :, i] for i in range(fh)], add)
    return _combined([rows.reshape(n, h, w, fw, c)[:, :, :, j] for j in range(fw)], add)


adjoint_pair(upsample_nearest, block_sum)


@primitive
def upsample_bilinear(x: Array, *, factor: Numbers) -> Array:
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
def upsample_bilinear_adjoint(y: Array, *, factor: Numbers) -> Array:
    """Every pixel of y handed back to those that it was interpolated from, with the same weights; (N, H, W, C)."""
    (n, h, w, c), (fh, fw) = _size_before("upsample_bilinear_adjoint", y, factor)
    xp = backend_of(y).xp
    rows = (_hat(xp, w, fw, y.dtype).T @ y.reshape(n * h * fh, w * fw, c)).reshape(n, h * fh, w * c)
    return (_hat(xp, h, fh, y.dtype).T @ rows).reshape(n, h, w, c)


adjoint_pair(upsample_bilinear, upsample_bilinear_adjoint)


def _hat(xp: ModuleType, length: int, factor: int, dtype: np.dtype) -> Array:
    """(length * factor, length): the weight of each input in each output; made on the device, so nothing is copied."""
    places = (xp.arange(length * factor, dtype=dtype) + 0.5) * (1.0 / factor) - 0.5
    places = xp.clip(places, 0.0, length - 1.0)
    distances = xp.abs(places[:, None] - xp.arange(length, dtype=dtype)[None, :])
    return xp.maximum(1.0 - distances, 0.0)


@primitive
def pixel_shuffle(x: Array, *, factor: Numbers) -> Array:
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
def pixel_unshuffle(y: Array, *, factor: Numbers) -> Array:
    """Blocks of f x f pixels packed into channels, the inverse of `pixel_shuffle` and its adjoint."""
    (n, h, w, c), (fh, fw) = _size_before("pixel_unshuffle", y, factor)
    blocks = y.reshape(n, h, fh, w, fw, c).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, h, w, fh * fw * c)


adjoint_pair(pixel_shuffle, pixel_unshuffle)


def _size_before(owner: str, y: Array, factor: Numbers) -> tuple[tuple[int, int, int, int], Pair]:
    """(N, H, W, C) of the image that was made larger by `factor`, and the factor as a pair."""
    check_image(owner, y)
    fh, fw = pair(owner, "factor", factor)
    n, h, w, c = y.shape
    if h % fh or w % fw:
        raise ValueError(
            f"{owner}: an image of {by((h, w))} is not a whole number of blocks of {fh}x{fw}: crop or pad it."
        )
    return (n, h // fh, w // fw, c), (fh, fw)
