"""From what a user writes (stride=2, padding="same") to `Windows`, with the arithmetic in every error.

The one formula behind all of it, for each of the two axes, with span = dilation * (kernel - 1) + 1:

    convolution              out = floor((size + before + after - span) / stride) + 1
    transposed convolution   size = (out - 1) * stride + span - before - after + output_padding

The floor forgets up to stride - 1 pixels of an image, so several sizes lead to one `out`; `output_padding` says which
of them a transposed convolution gives back.
"""

from __future__ import annotations

import operator
from typing import Any

from tinyae.backend.windows import Padding, Pair, Windows

PADDINGS = ("same", "valid")
"""Paddings with a name: as much as makes the output ceil(size / stride) large, and none."""


def pair(owner: str, name: str, value: Any, least: int = 1) -> Pair:
    """A number for both axes, or (vertical, horizontal), as a pair of ints >= `least`."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    try:
        numbers = tuple(operator.index(v) for v in values)
    except TypeError:
        numbers = ()
    if len(numbers) != 2 or min(numbers) < least:
        raise ValueError(
            f"{owner}: {name} must be a whole number >= {least} or a pair of them (vertical, horizontal), "
            f"got {value!r}: write e.g. {name}={least} or {name}=({least}, {least + 1})."
        )
    return numbers[0], numbers[1]


def check_padding(owner: str, padding: Any) -> str | Padding:
    """A padding that needs no size: `"same"`, or ((top, bottom), (left, right)) from a number or a pair of either."""
    if isinstance(padding, str):
        if padding not in PADDINGS:
            raise ValueError(f"{owner}: unknown padding {padding!r}: choose 'same', 'valid', a number or a pair.")
        return "same" if padding == "same" else ((0, 0), (0, 0))
    values = padding if isinstance(padding, (tuple, list)) else (padding, padding)
    sides = [v if isinstance(v, (tuple, list)) else (v, v) for v in values]
    try:
        numbers = [tuple(operator.index(n) for n in side) for side in sides]
    except TypeError:
        numbers = []
    if len(numbers) != 2 or any(len(side) != 2 for side in numbers) or min(min(side) for side in numbers) < 0:
        raise ValueError(
            f"{owner}: padding must be 'same', 'valid', a whole number >= 0, a pair (vertical, horizontal) or "
            f"((top, bottom), (left, right)), got {padding!r}."
        )
    (top, bottom), (left, right) = numbers
    return (top, bottom), (left, right)


def conv_windows(owner: str, size: Pair, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Windows:
    """The windows of a convolution (or pooling) of an image of `size`; raises where no window fits.

    `"same"` pads (out - 1) * stride + span - size pixels in all, the odd one at the bottom and right, so that out is
    ceil(size / stride).
    """
    kernel, stride = pair(owner, "kernel_size", kernel), pair(owner, "stride", stride)
    dilation = pair(owner, "dilation", dilation)
    sides = check_padding(owner, padding)
    span = Windows(size, kernel, dilation=dilation).span
    if isinstance(sides, str):
        totals = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(size, stride, span, strict=True)]
        sides = (totals[0] // 2, totals[0] - totals[0] // 2), (totals[1] // 2, totals[1] - totals[1] // 2)
    windows = Windows(size, kernel, stride, sides, dilation)
    if min(windows.size) < 1 or any(n < e for n, e in zip(windows.padded, span, strict=True)):
        raise ValueError(
            f"{owner}: {described(windows)} does not fit: the kernel spans {by(span)} pixels, the padded input "
            f"has {by(windows.padded)}; take a smaller kernel, padding='same', or a larger input."
        )
    return windows


def transposed_windows(
    owner: str,
    out: Pair,
    kernel: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    output_padding: Any = 0,
) -> Windows:
    """The windows of the convolution whose adjoint turns `out` places into an image; its `size` is that image's.

    `"same"` gives size = out * stride, whatever the kernel. Raises where the padding takes more than there is, and for
    an `output_padding` of a stride or more: no convolution leads back from there.
    """
    kernel, stride = pair(owner, "kernel_size", kernel), pair(owner, "stride", stride)
    dilation, extra = pair(owner, "dilation", dilation), pair(owner, "output_padding", output_padding, 0)
    sides = check_padding(owner, padding)
    check_output_padding(owner, extra, stride, sides)
    if isinstance(sides, str):
        return conv_windows(owner, (out[0] * stride[0], out[1] * stride[1]), kernel, stride, "same", dilation)
    span = Windows((1, 1), kernel, dilation=dilation).span
    axes = zip(out, stride, span, sides, extra, strict=True)
    sizes = [(o - 1) * s + e - before - after + more for o, s, e, (before, after), more in axes]
    windows = Windows((sizes[0], sizes[1]), kernel, stride, sides, dilation)
    if min(*sizes, *out) < 1:
        raise ValueError(
            f"{owner}: {transposed(windows, out)} gives {by(windows.size)}: take less padding or a larger input."
        )
    return windows


def check_output_padding(owner: str, extra: Pair, stride: Pair, padding: str | Padding) -> None:
    """Raise unless `extra` is less than the stride, and 0 where `"same"` decides about the size."""
    if any(extra) and padding == "same":
        raise ValueError(
            f"{owner}: padding='same' makes the output input * stride by itself: leave output_padding out."
        )
    if extra[0] >= stride[0] or extra[1] >= stride[1]:
        raise ValueError(f"{owner}: output_padding {extra} must be smaller than the stride {stride} on each axis.")


def of_image(
    owner: str, x: Any, w: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Windows:
    """The windows of a convolution of x (N, H, W, C) with w (KH, KW, C/G, O), both checked."""
    check_channels(owner, x, w, groups)
    return conv_windows(owner, x.shape[1:3], w.shape[:2], stride, padding, dilation)


def of_places(
    owner: str,
    y: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = 0,
) -> Windows:
    """The windows of a transposed convolution of y (N, OH, OW, O) with w (KH, KW, C/G, O), both checked."""
    check_channels(owner, y, w, groups, x_is_output=True)
    return transposed_windows(owner, y.shape[1:3], w.shape[:2], stride, padding, dilation, output_padding)


def output_padding_for(windows: Windows) -> Pair:
    """The `output_padding` with which a transposed convolution leads from `windows.out` back to `windows.size`."""
    (h, w), (oh, ow), (eh, ew), (sh, sw) = windows.padded, windows.out, windows.span, windows.stride
    return h - ((oh - 1) * sh + eh), w - ((ow - 1) * sw + ew)


def check_out(owner: str, windows: Windows, out: Pair) -> None:
    """Raise unless `out` is the number of places of the windows; the message shows the arithmetic."""
    if out != windows.out:
        raise ValueError(f"{owner}: {described(windows)} gives {by(windows.out)}, got {by(out)}.")


def check_reaches(owner: str, windows: Windows, wanted: Pair) -> None:
    """Raise unless a transposed convolution gives an image of the `wanted` size; says which output_padding would."""
    if windows.size == wanted:
        return
    missing = [n - m for n, m in zip(wanted, windows.size, strict=True)]
    have = output_padding_for(windows)
    extra = tuple(m + h for m, h in zip(missing, have, strict=True))
    fits = all(0 <= e < s for e, s in zip(extra, windows.stride, strict=True))
    if not fits:
        fix = "change its kernel, stride or padding, or crop or pad the result"
    else:
        fix = f"use output_padding={extra[0] if extra[0] == extra[1] else extra}"
    raise ValueError(
        f"{owner}: {transposed(windows, windows.out)} gives {by(windows.size)}, wanted {by(wanted)}; {fix}."
    )


def check_channels(owner: str, x: Any, w: Any, groups: int, x_is_output: bool = False) -> None:
    """Raise unless images x (N, H, W, C) and a kernel w (KH, KW, C/G, O) belong together.

    Args:
        owner: the operation, for the message.
        x: what the operation takes; for a transposed convolution, what the convolution gives.
        w: the kernel.
        groups: G.
        x_is_output: whether x has O channels, and not C.
    """
    check_image(owner, x)
    if getattr(w, "ndim", 0) != 4:
        raise ValueError(f"{owner}: w must be (KH, KW, C/groups, O), got shape {getattr(w, 'shape', ())}.")
    check_groups(owner, groups, w.shape[3])
    inputs, outputs = w.shape[2] * groups, w.shape[3]
    expected = outputs if x_is_output else inputs
    if x.shape[3] != expected:
        times = f" x {groups} groups" if groups > 1 and not x_is_output else ""
        named = f"O = {outputs}" if x_is_output else f"C/groups = {w.shape[2]}{times}"
        raise ValueError(
            f"{owner}: the input {x.shape} has {x.shape[3]} channels, the kernel {w.shape} takes {named}: channels "
            "stand last, (N, H, W, C); transpose the images, or build the kernel for them."
        )


def check_image(owner: str, x: Any) -> None:
    """Raise unless x is a stack of images (N, H, W, C)."""
    if getattr(x, "ndim", 0) != 4:
        raise ValueError(
            f"{owner}: images must be (N, H, W, C), got shape {getattr(x, 'shape', ())}: "
            "write e.g. x.reshape(-1, 28, 28, 1)."
        )


def check_groups(owner: str, groups: int, *channels: int) -> None:
    """Raise unless every number of channels can be dealt out to the groups."""
    if not isinstance(groups, int) or groups < 1 or any(c % groups for c in channels):
        raise ValueError(
            f"{owner}: groups={groups!r} must be a whole number >= 1 that divides the channels {channels}."
        )


def described(windows: Windows) -> str:
    """A convolution in words: `input 7x7, kernel 3x3, stride 2x2, padding (1, 1), (1, 1)`; defaults left out."""
    return f"input {by(windows.size)}, {_steps(windows)}"


def transposed(windows: Windows, out: Pair) -> str:
    """A transposed convolution in words, with its output_padding."""
    extra = output_padding_for(windows)
    return f"input {by(out)}, {_steps(windows)}" + (f", output_padding {by(extra)}" if any(extra) else "")


def short(value: Any) -> str:
    """(3, 3) as `3`, ((1, 1), (1, 1)) as `1`; anything uneven in full."""
    if isinstance(value, tuple) and value[0] == value[1]:
        return short(value[0])
    return repr(value)


def by(numbers: Pair) -> str:
    """(7, 5) as `7x5`."""
    return f"{numbers[0]}x{numbers[1]}"


def _steps(windows: Windows) -> str:
    parts = [f"kernel {by(windows.kernel)}"]
    if windows.stride != (1, 1):
        parts.append(f"stride {by(windows.stride)}")
    if windows.pads:
        (top, bottom), (left, right) = windows.padding
        even = top == bottom == left == right
        parts.append(f"padding {top}" if even else f"padding {windows.padding}")
    if windows.dilation != (1, 1):
        parts.append(f"dilation {by(windows.dilation)}")
    return ", ".join(parts)
