"""Convolution, and the two operations that its derivative is made of.

A convolution layer ties three arrays together by one number,

    T(x, w, y) = sum over n, p, k, c, o of  x[n, p * stride + k * dilation - padding, c] * w[k, c, o] * y[n, p, o]

with p the places of the window and k the taps of the kernel, both in two dimensions. T is linear in each of the three.
Take one of them away, and what is left is an operation on the other two: without y it is `conv2d(x, w)`, without x it
is `conv_transpose2d(y, w)`, without w it is `conv2d_weight_grad(x, y)`. So the gradient of each of the three is made of
the other two: with g the gradient arriving at y, L = T(x, w, g) up to what does not depend on x or w, so dL/dx is T without x,
conv_transpose2d(g, w), and dL/dw is T without w. The family is closed: every order of derivative exists, and nothing else
is ever needed.

For each of the three stand here the definition, a loop over the taps k in primitives that know nothing of convolution (what
the tests compare with); the operation itself, one call of the backend; and its two rules. Then follow the fused layers and
the arithmetic of sizes: for each axis, with span = dilation * (kernel - 1) + 1,

    convolution              out = floor((size + before + after - span) / stride) + 1
    transposed convolution   size = (out - 1) * stride + span - before - after + output_padding

As usual in the field, "convolution" is the correlation of the signal-processing books: the kernel is not flipped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from tinyae.autodiff import primitive
from tinyae.backend import Array, backend_of
from tinyae.backend.windows import Padding, Pair, Windows
from tinyae.ops.arrays import concatenate, crop, getitem, pad, reshape, scatter, swap_last
from tinyae.ops.linear import ACTIVATION_FUNCTIONS, activate, matmul, through_activation


def conv2d_composed(x: Any, w: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """The definition of `conv2d`: for each tap of the kernel, the pixels it meets times its weights; then the sum."""
    windows = of_image("conv2d", x, w, stride, padding, dilation, groups)
    image = pad(x, widths=((0, 0), *windows.padding, (0, 0)))
    outputs = []
    for of_x, of_y in _channels(w, groups):
        terms = [
            matmul(getitem(image, index=(*seen, of_x)), getitem(w, index=(*tap, slice(None), of_y)))
            for tap, seen in _taps(windows)
        ]
        outputs.append(_total(terms))
    return concatenate(*outputs, axis=-1)


@primitive
def conv2d(x: Any, w: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """The sum, over each window of x, of x times w:   y[p] = sum over k of x[p * stride + k * dilation - padding] w[k]

    With G groups, the channels of x and of y are dealt out to G convolutions side by side.

    Args:
        x: images (N, H, W, C).
        w: kernel (KH, KW, C/G, O).
        stride: by how many pixels the window moves, a number or (vertical, horizontal).
        padding: zeros around x: a number, (vertical, horizontal), ((top, bottom), (left, right)), `"valid"` (none) or
            `"same"` (as many as make OH = ceil(H / stride); of an odd number the larger half at the bottom and right).
        dilation: distance between the taps of the kernel.
        groups: G; it divides C and O.

    Returns y (N, OH, OW, O), OH = floor((H + top + bottom - dilation * (KH - 1) - 1) / stride) + 1.
    With g the gradient arriving at y:  dL/dx = conv_transpose2d(g, w),   dL/dw = conv2d_weight_grad(x, g).
    """
    return backend_of(x).conv2d(x, w, of_image("conv2d", x, w, stride, padding, dilation, groups), groups)


@conv2d.vjp(0)
def _(g: Any, out: Any, x: Any, w: Any, groups: int = 1, **spec: Any) -> Any:
    return conv_transpose2d(g, w, **_spec_back(of_image("conv2d", x, w, groups=groups, **spec), groups))


@conv2d.vjp(1)
def _(g: Any, out: Any, x: Any, w: Any, groups: int = 1, **spec: Any) -> Any:
    windows = of_image("conv2d", x, w, groups=groups, **spec)
    return conv2d_weight_grad(x, g, kernel_size=windows.kernel, **_spec_of(windows, groups))


# ---------------------------------------------------------------------------------------------------------------------
# The adjoint in x.


def conv_transpose2d_composed(
    y: Any,
    w: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = 0,
) -> Any:
    """The definition of `conv_transpose2d`: for each tap, y times its weights, laid on zeros where the tap was; the sum."""
    windows = of_places("conv_transpose2d", y, w, stride, padding, dilation, groups, output_padding)
    shape = (y.shape[0], *windows.padded, w.shape[2])
    images = []
    for _, of_y in _channels(w, groups):
        mine = getitem(y, index=(..., of_y))
        terms = [
            scatter(matmul(mine, swap_last(getitem(w, index=(*tap, slice(None), of_y)))), index=seen, shape=shape)
            for tap, seen in _taps(windows)
        ]
        images.append(_total(terms))
    return crop(concatenate(*images, axis=-1), widths=((0, 0), *windows.padding, (0, 0)))


@primitive
def conv_transpose2d(
    y: Any,
    w: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = 0,
) -> Any:
    """The adjoint of `conv2d` in x: every y[p] times w is added to the pixels that its window sees.

    <conv2d(x, w), y> = <x, conv_transpose2d(y, w)>, with the same w and the same parameters. It makes an image
    larger by the stride.

    Args:
        y: (N, OH, OW, O).
        w: kernel (KH, KW, C/G, O): the axis of the outputs, C, comes before that of the inputs, O.
        stride, dilation, groups: of the convolution.
        padding: what the convolution pads is cut off here; with `"same"`, H = OH * stride.
        output_padding: rows and columns to add at the bottom and right, fewer than the stride: those that the
            convolution did not reach.

    Returns x (N, H, W, C), H = (OH - 1) * stride + dilation * (KH - 1) + 1 - top - bottom + output_padding.
    With g the gradient arriving at x:  dL/dy = conv2d(g, w),   dL/dw = conv2d_weight_grad(g, y).
    """
    windows = of_places("conv_transpose2d", y, w, stride, padding, dilation, groups, output_padding)
    return backend_of(y).conv_transpose2d(y, w, windows, groups)


@conv_transpose2d.vjp(0)
def _(g: Any, out: Any, y: Any, w: Any, groups: int = 1, **spec: Any) -> Any:
    return conv2d(g, w, **_spec_of(of_places("conv_transpose2d", y, w, groups=groups, **spec), groups))


@conv_transpose2d.vjp(1)
def _(g: Any, out: Any, y: Any, w: Any, groups: int = 1, **spec: Any) -> Any:
    windows = of_places("conv_transpose2d", y, w, groups=groups, **spec)
    return conv2d_weight_grad(g, y, kernel_size=windows.kernel, **_spec_of(windows, groups))


# ---------------------------------------------------------------------------------------------------------------------
# The adjoint in w.


def conv2d_weight_grad_composed(
    x: Any, y: Any, *, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """The definition of `conv2d_weight_grad`: for each tap, the pixels it met, as columns, times y, as rows."""
    windows = conv_windows("conv2d_weight_grad", x.shape[1:3], kernel_size, stride, padding, dilation)
    image = pad(x, widths=((0, 0), *windows.padding, (0, 0)))
    c, o = x.shape[3] // groups, y.shape[3] // groups
    places = y.shape[0] * y.shape[1] * y.shape[2]
    kernels = []
    for group in range(groups):
        rows = reshape(getitem(y, index=(..., slice(group * o, (group + 1) * o))), shape=(places, o))
        of_x = slice(group * c, (group + 1) * c)
        seen = [reshape(getitem(image, index=(*seen, of_x)), shape=(places, c)) for _, seen in _taps(windows)]
        kernels.append(reshape(concatenate(*[matmul(swap_last(s), rows) for s in seen]), shape=(*windows.kernel, c, o)))
    return concatenate(*kernels, axis=-1)


@primitive
def conv2d_weight_grad(
    x: Any, y: Any, *, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """The adjoint of `conv2d` in w:   w[k] = sum over n, p of x[n, p * stride + k * dilation - padding] y[n, p]^T

    Args:
        x: images (N, H, W, C).
        y: (N, OH, OW, O).
        kernel_size: (KH, KW), or one number for both.
        stride, padding, dilation, groups: of the convolution.

    Returns w (KH, KW, C/G, O).
    With g the gradient arriving at w:  dL/dx = conv_transpose2d(y, g),   dL/dy = conv2d(x, g).
    """
    owner = "conv2d_weight_grad"
    check_image(owner, x)
    check_image(owner, y)
    check_groups(owner, groups, x.shape[3], y.shape[3])
    windows = conv_windows(owner, x.shape[1:3], kernel_size, stride, padding, dilation)
    check_out(owner, windows, y.shape[1:3])
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"{owner}: x has {x.shape[0]} samples, y {y.shape[0]}: they must be of one batch.")
    return backend_of(x).conv2d_weight_grad(x, y, windows, groups)


@conv2d_weight_grad.vjp(0)
def _(g: Any, out: Any, x: Any, y: Any, kernel_size: Any, groups: int = 1, **spec: Any) -> Any:
    windows = conv_windows("conv2d_weight_grad", x.shape[1:3], kernel_size, **spec)
    return conv_transpose2d(y, g, **_spec_back(windows, groups))


@conv2d_weight_grad.vjp(1)
def _(g: Any, out: Any, x: Any, y: Any, kernel_size: Any, groups: int = 1, **spec: Any) -> Any:
    windows = conv_windows("conv2d_weight_grad", x.shape[1:3], kernel_size, **spec)
    return conv2d(x, g, **_spec_of(windows, groups))


# ---------------------------------------------------------------------------------------------------------------------
# What the three share.


def _spec_of(windows: Windows, groups: int) -> dict[str, Any]:
    """Stride, padding, dilation and groups as the keyword arguments of any of the three."""
    return {"stride": windows.stride, "padding": windows.padding, "dilation": windows.dilation, "groups": groups}


def _spec_back(windows: Windows, groups: int) -> dict[str, Any]:
    """The same for the transposed convolution back to `windows.size`."""
    return {**_spec_of(windows, groups), "output_padding": output_padding_for(windows)}


def _taps(windows: Windows) -> list[tuple[tuple[int, int], tuple[slice, slice, slice]]]:
    """Each tap of the kernel with the part of the padded images (all samples) that it meets."""
    (kh, kw) = windows.kernel
    return [((i, j), (slice(None), *windows.seen_by(i, j))) for i in range(kh) for j in range(kw)]


def _channels(w: Any, groups: int) -> list[tuple[slice, slice]]:
    """The channels of x and of y that belong together, group by group."""
    c, o = w.shape[2], w.shape[3] // groups
    return [(slice(i * c, (i + 1) * c), slice(i * o, (i + 1) * o)) for i in range(groups)]


def _total(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


# ---------------------------------------------------------------------------------------------------------------------
# A convolution layer as one operation: f(conv2d(x, w) + b), and the transposed one likewise.
#
# It is fused for the reason that `dense` is: bias and activation would each write another array as large as the layer's
# output. Here they are applied to a few samples at a time, while these are still in the cache. The readable definitions
# are `biased_conv2d_composed` and `biased_conv_transpose2d_composed`.


def biased_conv2d_composed(x: Any, w: Any, b: Any, *, activation: str = "identity", **spec: Any) -> Any:
    """f(conv2d(x, w) + b) in primitives: the definition of `biased_conv2d`."""
    z = conv2d(x, w, **spec) + b
    return z if activation == "identity" else ACTIVATION_FUNCTIONS[activation](z)


@primitive(composed=biased_conv2d_composed)
def biased_conv2d(x: Any, w: Any, b: Any, *, activation: str = "identity", groups: int = 1, **spec: Any) -> Any:
    """f(conv2d(x, w) + b) with b (O,), f one of identity, relu, elu, sigmoid, tanh; `**spec` as for `conv2d`.

    With z = conv2d(x, w) + b and G the gradient arriving at y = f(z): dz = G * f'(z),
    dL/dx = conv_transpose2d(dz, w),   dL/dw = conv2d_weight_grad(x, dz),   dL/db = sum of dz over samples and places.
    """
    windows = of_image("biased_conv2d", x, w, groups=groups, **spec)
    finish = _finish("biased_conv2d", b, windows.out[1], w.shape[3], activation)
    return backend_of(x).conv2d(x, w, windows, groups, finish), None


@biased_conv2d.fused_vjp
def _(
    g: Array,
    out: Array,
    residuals: None,
    wanted: list[int],
    x: Array,
    w: Array,
    b: Array,
    activation: str = "identity",
    groups: int = 1,
    **spec: Any,
) -> tuple:
    windows = of_image("biased_conv2d", x, w, groups=groups, **spec)
    dz = through_activation(g, out, activation)
    dx, dw = backend_of(x).conv2d_backward(dz, x, w, windows, groups, (0 in wanted, 1 in wanted))
    return dx, dw, _summed(dz) if 2 in wanted else None


def biased_conv_transpose2d_composed(y: Any, w: Any, b: Any, *, activation: str = "identity", **spec: Any) -> Any:
    """f(conv_transpose2d(y, w) + b) in primitives: the definition of `biased_conv_transpose2d`."""
    z = conv_transpose2d(y, w, **spec) + b
    return z if activation == "identity" else ACTIVATION_FUNCTIONS[activation](z)


@primitive(composed=biased_conv_transpose2d_composed)
def biased_conv_transpose2d(
    y: Any, w: Any, b: Any, *, activation: str = "identity", groups: int = 1, **spec: Any
) -> Any:
    """f(conv_transpose2d(y, w) + b) with b (C,), f as for `biased_conv2d`; `**spec` as for `conv_transpose2d`.

    With dz as there: dL/dy = conv2d(dz, w),   dL/dw = conv2d_weight_grad(dz, y),   dL/db = sum of dz.
    """
    windows = of_places("biased_conv_transpose2d", y, w, groups=groups, **spec)
    finish = _finish("biased_conv_transpose2d", b, windows.size[1], w.shape[2] * groups, activation)
    return backend_of(y).conv_transpose2d(y, w, windows, groups, finish), None


@biased_conv_transpose2d.fused_vjp
def _(
    g: Array,
    out: Array,
    residuals: None,
    wanted: list[int],
    y: Array,
    w: Array,
    b: Array,
    activation: str = "identity",
    groups: int = 1,
    **spec: Any,
) -> tuple:
    windows = of_places("biased_conv_transpose2d", y, w, groups=groups, **spec)
    dz = through_activation(g, out, activation)
    dy, dw = backend_of(y).conv_transpose2d_backward(dz, y, w, windows, groups, (0 in wanted, 1 in wanted))
    return dy, dw, _summed(dz) if 2 in wanted else None


def _finish(owner: str, b: Array, width: int, channels: int, activation: str) -> Callable[[Array], Any]:
    """What turns sums (N, H, width, channels) into outputs, in place; raises where b or f does not fit."""
    if b.shape != (channels,):
        raise ValueError(f"{owner}: b must be ({channels},), one number for each output channel, got shape {b.shape}.")
    row = backend_of(b).xp.tile(b, width)  # added to whole rows of pixels: one by one is slow

    def finish(z: Array) -> None:
        rows = z.reshape(z.shape[0] * z.shape[1], width * channels)
        rows += row
        activate(owner, rows, activation)

    return finish


def _summed(dz: Array) -> Array:
    """The sum over samples and places, rows of pixels first: long rows add faster than single pixels."""
    n, h, w, c = dz.shape
    return dz.reshape(n * h, w * c).sum(axis=0).reshape(w, c).sum(axis=0)


# ---------------------------------------------------------------------------------------------------------------------
# From what a user writes (stride=2, padding="same") to `Windows`, with the arithmetic in every error.
#
# The floor of the one formula forgets up to stride - 1 pixels of an image, so several sizes lead to one `out`; `output_padding` says which
# of them a transposed convolution gives back.

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
