"""The geometry of a sliding window: sizes, stride and padding in one object.

Convolution, pooling and their adjoints share the same geometry: a window of KH x KW taps is placed on a padded image at
OH x OW positions. A `ConvSpec` holds these numbers. Operations, gradient rules and kernels pass it on unchanged, and do no
size arithmetic themselves. `tinyae.ops.convolution` makes it from a user's arguments (stride=2, padding="same").
"""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


@dataclass(frozen=True)
class ConvSpec:
    """The geometry of a kernel on an image; each pair is (vertical, horizontal).

    Attributes:
        size: (H, W) of the image, without padding.
        kernel: (KH, KW), the taps.
        stride: how many pixels apart neighboring windows are.
        padding: ((top, bottom), (left, right)) pixels around the image.
    """

    size: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))

    @property
    def padded(self) -> Pair:
        """(H, W) with the padding."""
        (h, w), ((top, bottom), (left, right)) = self.size, self.padding
        return h + top + bottom, w + left + right

    @property
    def out(self) -> Pair:
        """(OH, OW), the number of window positions: floor((H + top + bottom - KH) / stride) + 1."""
        (h, w), (kh, kw), (sh, sw) = self.padded, self.kernel, self.stride
        return (h - kh) // sh + 1, (w - kw) // sw + 1

    @property
    def output_padding(self) -> Pair:
        """Rows and columns at the bottom and right outside every window: the remainder of the division by the stride."""
        (h, w), (kh, kw), (sh, sw) = self.padded, self.kernel, self.stride
        return (h - kh) % sh, (w - kw) % sw

    @property
    def pads(self) -> bool:
        """Whether there is any padding."""
        return self.padding != ((0, 0), (0, 0))

    @property
    def widths(self) -> tuple[Pair, Pair, Pair, Pair]:
        """The padding of all four axes (N, H, W, C), as `ops.pad` and `ops.crop` take it."""
        return (0, 0), *self.padding, (0, 0)

    @property
    def inside(self) -> tuple[slice, slice, slice]:
        """The index of the images (N, H, W, C) within the padded images."""
        (h, w), ((top, _), (left, _)) = self.size, self.padding
        return slice(None), slice(top, top + h), slice(left, left + w)

    def taps(self) -> list[tuple[Pair, tuple[slice, slice, slice]]]:
        """Each tap (i, j) of the kernel and the slice of padded images (N, H, W, C) with its pixels, one per position."""
        (kh, kw), (sh, sw), (oh, ow) = self.kernel, self.stride, self.out
        rows = [slice(i, i + sh * (oh - 1) + 1, sh) for i in range(kh)]
        columns = [slice(j, j + sw * (ow - 1) + 1, sw) for j in range(kw)]
        return [((i, j), (slice(None), rows[i], columns[j])) for i in range(kh) for j in range(kw)]

    def __str__(self) -> str:
        """`kernel 3x3, stride 2x2, padding 1`; defaults left out."""
        words = [f"kernel {by(self.kernel)}"]
        words += [f"stride {by(self.stride)}"] if self.stride != (1, 1) else []
        words += [f"padding {shortest(self.padding)}"] if self.pads else []
        return ", ".join(words)


def by(numbers: Pair) -> str:
    """(7, 5) as `7x5`."""
    return f"{numbers[0]}x{numbers[1]}"


def shortest(value: object) -> object:
    """(3, 3) as 3, and ((1, 1), (1, 1)) as 1; anything else as it is."""
    return shortest(value[0]) if isinstance(value, tuple) and value[0] == value[1] else value
