"""Larger images from smaller ones, by whole factors: repeated, interpolated, or unpacked from channels.

All three are linear, and each stands beside its adjoint. A decoder that resizes and then convolves lays every weight on
every pixel equally often, where a strided transposed convolution may not (Odena, Dumoulin and Olah 2016).
"""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import adjoint_pair, primitive
from tinyae.backend import Array, backend_of
from tinyae.backend.windows import Pair
from tinyae.ops.conv_geometry import by, check_image, pair

MODES = ("nearest", "bilinear")
"""How `upsample` fills in."""


def upsample(x: Any, *, factor: Any, mode: str = "nearest") -> Any:
    """x (N, H, W, C) as (N, H * factor, W * factor, C).

    Args:
        x: images, arrays or Tensors.
        factor: a whole number, or (vertical, horizontal).
        mode: `"nearest"` or `"bilinear"`, see `upsample_nearest` and `upsample_bilinear`.
    """
    if mode not in MODES:
        raise ValueError(f"upsample: unknown mode {mode!r}: choose one of {', '.join(MODES)}.")
    return (upsample_nearest if mode == "nearest" else upsample_bilinear)(x, factor=factor)


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
    """Straight lines between the pixels' centres, on each axis:   y[i] = sum over j of max(0, 1 - |s(i) - j|) x[j]

    s(i) = (i + 1/2) / factor - 1/2 is where output pixel i lies among the input pixels, limited to [0, H - 1]: beyond
    the outermost centres the image goes on flat. That is PyTorch's `align_corners=False`.
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
        raise ValueError(f"{owner}: an image of {by(size)} is no whole number of blocks of {fh}x{fw}: crop or pad it.")
    return n, h // fh, w // fw, c


def _added(parts: list[Array]) -> Array:
    total = parts[0]
    for k, part in enumerate(parts[1:]):
        if k:
            total += part
        else:
            total = total + part
    return total
