"""Pooling and resizing of images."""

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
from tinyae.ops.elementwise import as_floats, equal, indicator, where
from tinyae.ops.reductions import max

# ---------------------------------------------------------------------------------------------------------------------
# Pooling: the maximum or the mean of each window, channel by channel.
#
# Loops run over the taps of the window. The pixels of one tap, one for each window, form a strided slice of the image, so
# many samples are compared or added at once. The maximum (or sum) of a window is that of the maxima (or sums) of its
# rows, so KH + KW slices suffice instead of KH * KW.


def _spec(
    owner: str, x: Array, kernel_size: Numbers, stride: Numbers | None, padding: Paddings, size: Pair | None = None
) -> ConvSpec:
    """The spec of a pooling operation; `stride` None is the kernel size. Each window must cover a pixel of the image."""
    check_image(owner, x)
    spec = conv_spec(owner, size or x.shape[1:3], kernel_size, kernel_size if stride is None else stride, padding)
    if any(k <= before or k <= after for (before, after), k in zip(spec.padding, spec.kernel, strict=True)):
        raise ValueError(
            f"{owner}: padding {spec.padding} must be smaller than the window {spec.kernel}, "
            "so that each window sees a pixel of the image."
        )
    return spec


def _reduced(image: Array, spec: ConvSpec, combine: Callable[..., Array]) -> Array:
    """`combine` (maximum or add) over every window of a padded image, first along rows, then along columns."""
    backend, taps = backend_of(image), spec.taps()
    out = backend.xp.empty((len(image), *spec.out, image.shape[3]), dtype=image.dtype)

    def reduce(samples: slice) -> None:
        some = image[samples]
        rows = _combined([some[:, seen[1]] for (_, j), seen in taps if j == 0], combine)
        _combined([rows[:, :, seen[2]] for (i, _), seen in taps if i == 0], combine, out[samples])

    backend.by_samples(reduce, len(image), image.size)
    return out


def _combined(slices: list[Array], combine: Callable[..., Array], out: Array | None = None) -> Array:
    """All slices combined, in `out` if given; without it a single slice stays as it is."""
    if len(slices) > 1:
        out = combine(slices[0], slices[1], out=out)
        for part in slices[2:]:
            combine(out, part, out=out)
        return out
    if out is None:
        return slices[0]
    out[...] = slices[0]
    return out


def max_pool2d_composed(
    x: Array, *, kernel_size: Numbers, stride: Numbers | None = None, padding: Paddings = 0
) -> Array:
    """`max_pool2d` in primitives: the maximum over the stacked slices of all taps."""
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
    """The largest number in each window.   d/dx_i = 1 for the largest, else 0; ties share it evenly.

    Args:
        x: (N, H, W, C).
        kernel_size: size of the window, a number or (vertical, horizontal).
        stride: how far the window moves; None for the kernel size, so that windows do not overlap.
        padding: as for `conv2d`, but smaller than the window. Padding is never the maximum.

    Returns (N, OH, OW, C), OH = floor((H + top + bottom - KH) / stride) + 1.
    """
    xp, spec = backend_of(x).xp, _spec("max_pool2d", x, kernel_size, stride, padding)
    least: float = -math.inf
    if x.dtype.kind in "biu":
        least = 0 if x.dtype.kind == "b" else int(np.iinfo(x.dtype).min)
    return _reduced(padded(xp, x, spec, least), spec, xp.maximum), spec


@max_pool2d.fused_vjp
def _(g: Array, out: Array, spec: ConvSpec, wanted: list[int], x: Array, **window: object) -> tuple[Array]:
    return (backend_of(x).max_pool2d_grad(g, out, x, spec),)


@primitive
def avg_pool2d(x: Array, *, kernel_size: Numbers, stride: Numbers | None = None, padding: Paddings = 0) -> Array:
    """The mean of each window; a padded pixel counts as a 0.   Adjoint: `avg_unpool2d`.

    Arguments and sizes are those of `max_pool2d`.
    """
    xp, spec = backend_of(x).xp, _spec("avg_pool2d", x, kernel_size, stride, padding)
    return _reduced(padded(xp, as_floats(x), spec), spec, xp.add) * (1.0 / math.prod(spec.kernel))


@primitive
def avg_unpool2d(
    y: Array, *, size: Pair, kernel_size: Numbers, stride: Numbers | None = None, padding: Paddings = 0
) -> Array:
    """Each number of y (N, OH, OW, C) distributed evenly over the pixels of its window.   Adjoint: `avg_pool2d`.

    Args:
        y: one number for each window and channel.
        size: (H, W) of the image; y must have one number for each window on it.
        kernel_size, stride, padding: as for `avg_pool2d`.
    """
    spec = _spec("avg_unpool2d", y, kernel_size, stride, padding, size)
    check_fit("avg_unpool2d", spec, y=y)
    share = y * (1.0 / math.prod(spec.kernel))
    image = backend_of(y).xp.zeros((y.shape[0], *spec.padded, y.shape[3]), dtype=share.dtype)
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
# Upsampling by whole factors: pixels are repeated, interpolated, or unpacked from channels.
#
# All three are linear, and each is followed by its adjoint. In a decoder that resizes and then convolves, every pixel
# receives the same number of weights; with a strided transposed convolution it may not (Odena, Dumoulin and Olah 2016).

UPSAMPLE_MODES = ("nearest", "bilinear")
"""The modes of `upsample`."""


def upsample(x: T, factor: Numbers, mode: str = "nearest") -> T:
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
    backend, (n, h, w, c), (fh, fw) = backend_of(x), x.shape, pair("upsample_nearest", "factor", factor)
    rows = backend.xp.empty((n, h, fh, w * fw, c), dtype=x.dtype)

    def repeat(samples: slice) -> None:
        rows[samples] = backend.xp.repeat(x[samples], fw, axis=2)[:, :, None]

    backend.by_samples(repeat, n, rows.size)
    return rows.reshape(n, h * fh, w * fw, c)


@primitive
def block_sum(y: Array, *, factor: Numbers) -> Array:
    """The sum of each block of factor x factor pixels, (N, H, W, C).   Adjoint: `upsample_nearest`."""
    size, (fh, fw) = _size_before("block_sum", y, factor)
    return _reduced(as_floats(y), ConvSpec((size[1] * fh, size[2] * fw), (fh, fw), (fh, fw)), backend_of(y).xp.add)


adjoint_pair(upsample_nearest, block_sum)


@primitive
def upsample_bilinear(x: Array, *, factor: Numbers) -> Array:
    """Linear interpolation between pixel centers on each axis:   y[i] = sum over j of max(0, 1 - |s(i) - j|) x[j]

    s(i) = (i + 1/2) / factor - 1/2 is the position of output pixel i in input pixels, limited to [0, H - 1], so the
    image is constant beyond the outermost centers. This is PyTorch's `align_corners=False`.
    Adjoint: `upsample_bilinear_adjoint`.
    """
    check_image("upsample_bilinear", x)
    x = as_floats(x)
    fh, fw = pair("upsample_bilinear", "factor", factor)
    n, h, w, c = x.shape
    xp = backend_of(x).xp
    rows = (_hat(xp, h, fh, x.dtype) @ x.reshape(n, h, w * c)).reshape(n * h * fh, w, c)
    return (_hat(xp, w, fw, x.dtype) @ rows).reshape(n, h * fh, w * fw, c)


@primitive
def upsample_bilinear_adjoint(y: Array, *, factor: Numbers) -> Array:
    """Each pixel of y added to the pixels that it was interpolated from, with the same weights; (N, H, W, C)."""
    (n, h, w, c), (fh, fw) = _size_before("upsample_bilinear_adjoint", y, factor)
    y = as_floats(y)
    xp = backend_of(y).xp
    rows = (_hat(xp, w, fw, y.dtype).T @ y.reshape(n * h * fh, w * fw, c)).reshape(n, h * fh, w * c)
    return (_hat(xp, h, fh, y.dtype).T @ rows).reshape(n, h, w, c)


adjoint_pair(upsample_bilinear, upsample_bilinear_adjoint)


def _hat(xp: ModuleType, length: int, factor: int, dtype: np.dtype) -> Array:
    """(length * factor, length): the weight of each input in each output, computed on the device."""
    places = (xp.arange(length * factor, dtype=dtype) + 0.5) * (1.0 / factor) - 0.5
    places = xp.clip(places, 0.0, length - 1.0)
    distances = xp.abs(places[:, None] - xp.arange(length, dtype=dtype)[None, :])
    return xp.maximum(1.0 - distances, 0.0)


@primitive
def pixel_shuffle(x: Array, *, factor: Numbers) -> Array:
    """Channels unpacked into pixels, (N, H, W, f * f * C) as (N, H * f, W * f, C) (Shi et al. 2016, section 3.2).

    y[n, h * f + i, w * f + j, c] = x[n, h, w, (i * f + j) * C + c]: the channels of one pixel are contiguous, as in
    TensorFlow's `depth_to_space`; PyTorch, with channels first, uses c * f * f + i * f + j. As a permutation, it has
    its inverse `pixel_unshuffle` as its adjoint.
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
    """(N, H, W, C) of the image before upsampling by `factor`, and the factor as a pair."""
    check_image(owner, y)
    fh, fw = pair(owner, "factor", factor)
    n, h, w, c = y.shape
    if h % fh or w % fw:
        raise ValueError(
            f"{owner}: an image of {by((h, w))} is not a whole number of blocks of {fh}x{fw}: crop or pad it."
        )
    return (n, h // fh, w // fw, c), (fh, fw)
