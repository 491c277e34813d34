"""How a kernel slides over an image: sizes, offsets, and the two views of it, patches and slices.

Convolution, pooling and their adjoints all walk the same way: a window of KH x KW taps is laid on a padded image at
OH x OW places. `Windows` is that walk as numbers. A kernel of the backend takes one and does no arithmetic on sizes of
its own. `unfold` copies what each window sees into a row of a matrix (im2col); `fold` adds the rows back to where they
were seen (col2im). They are each other's adjoint, and with them a convolution is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


@dataclass(frozen=True)
class Windows:
    """A kernel laid on an image, as numbers; each pair is (vertical, horizontal).

    Attributes:
        size: (H, W) of the image, without padding.
        kernel: (KH, KW), the taps.
        stride: by how many pixels a window moves.
        padding: ((top, bottom), (left, right)) pixels around the image.
        dilation: how many pixels lie between neighboring taps, plus one.
    """

    size: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)

    @property
    def span(self) -> Pair:
        """The pixels from the first tap to the last, both counted: dilation * (KH - 1) + 1."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    @property
    def padded(self) -> Pair:
        """(H, W) with the padding."""
        (h, w), ((top, bottom), (left, right)) = self.size, self.padding
        return h + top + bottom, w + left + right

    @property
    def out(self) -> Pair:
        """(OH, OW), the places of the window: floor((H + top + bottom - span) / stride) + 1."""
        (h, w), (eh, ew), (sh, sw) = self.padded, self.span, self.stride
        return (h - eh) // sh + 1, (w - ew) // sw + 1

    @property
    def pads(self) -> bool:
        """Whether there is any padding."""
        return any(n for pair in self.padding for n in pair)

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the image within the padded image."""
        (h, w), ((top, _), (left, _)) = self.size, self.padding
        return slice(top, top + h), slice(left, left + w)

    def seen_by(self, row: int, column: int) -> tuple[slice, slice]:
        """Rows and columns of the padded image that the tap at (row, column) of the kernel meets, place by place."""
        (sh, sw), (dh, dw), (oh, ow) = self.stride, self.dilation, self.out
        return (
            slice(row * dh, row * dh + sh * (oh - 1) + 1, sh),
            slice(column * dw, column * dw + sw * (ow - 1) + 1, sw),
        )


def padded(xp: Any, x: Any, windows: Windows, value: float = 0.0) -> Any:
    """x (N, H, W, C) with its padding, filled with `value`; x itself where there is none."""
    if not windows.pads:
        return x
    image = xp.full((x.shape[0], *windows.padded, x.shape[3]), value, dtype=x.dtype)
    image[(slice(None), *windows.inside)] = x
    return image


def unpadded(image: Any, windows: Windows) -> Any:
    """The padded image without its padding, a view."""
    return image[(slice(None), *windows.inside)] if windows.pads else image


def patches(xp: Any, image: Any, windows: Windows) -> Any:
    """What every window sees of a padded image, (N, OH, OW, KH, KW, C): a view that copies nothing. Only to be read."""
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = windows.kernel, windows.stride, windows.dilation, windows.out
    n, row, column, channel = image.strides
    return xp.lib.stride_tricks.as_strided(
        image,
        (image.shape[0], oh, ow, kh, kw, image.shape[3]),
        (n, row * sh, column * sw, row * dh, column * dw, channel),
    )


def unfold(xp: Any, x: Any, windows: Windows, groups: int = 1) -> Any:
    """im2col: x (N, H, W, C) as a matrix for each group, (G, N OH OW, KH KW C/G), a row for each place of the window."""
    seen = patches(xp, padded(xp, x, windows), windows)
    n, oh, ow, kh, kw, c = seen.shape
    seen = seen.reshape(n, oh, ow, kh, kw, groups, c // groups) if groups > 1 else seen[:, :, :, :, :, None]
    return seen.transpose(5, 0, 1, 2, 3, 4, 6).reshape(groups, n * oh * ow, kh * kw * (c // groups))


def fold(xp: Any, columns: Any, windows: Windows, samples: int) -> Any:
    """col2im, the adjoint of `unfold`: rows (G, N OH OW, KH KW C/G) added up where they were seen, (N, H, W, C).

    One addition of a strided slice for each tap of the kernel, so that no pixel is ever written by two at once.
    """
    (kh, kw), (oh, ow), groups = windows.kernel, windows.out, columns.shape[0]
    c = columns.shape[2] // (kh * kw)
    image = xp.zeros((samples, *windows.padded, groups, c), dtype=columns.dtype)
    taps = columns.reshape(groups, samples, oh, ow, kh, kw, c).transpose(4, 5, 1, 2, 3, 0, 6)
    for row in range(kh):
        for column in range(kw):
            image[(slice(None), *windows.seen_by(row, column))] += taps[row, column]
    return unpadded(image.reshape(samples, *windows.padded, groups * c), windows)
