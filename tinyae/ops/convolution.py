"""Convolution, and the two operations that its derivative is made of.

A convolution layer ties three arrays together by one number,

    T(x, w, y) = sum over n, p, k, c, o of  x[n, p * stride + k * dilation - padding, c] * w[k, c, o] * y[n, p, o]

with p the places of the window and k the taps of the kernel, both in two dimensions. T is linear in each of the three.
Take one of them away, and what is left is an operation on the other two: without y it is `conv2d(x, w)`, without x it
is `conv_transpose2d(y, w)`, without w it is `conv2d_weight_grad(x, y)`. So the gradient of each of the three is made of
the other two, and the family is closed: every order of derivative exists, and nothing else is ever needed.

As usual in the field, "convolution" is the correlation of the signal-processing books: the kernel is not flipped.
"""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import primitive
from tinyae.backend import backend_of
from tinyae.backend.windows import Windows
from tinyae.ops.conv_geometry import (
    check_groups,
    check_image,
    check_out,
    conv_windows,
    of_image,
    of_places,
    output_padding_for,
)
from tinyae.ops.linalg import matmul
from tinyae.ops.shape import concatenate, crop, getitem, pad, reshape, scatter, swap_last

Walk = dict[str, Any]


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
    dL/dx = conv_transpose2d(G, w),   dL/dw = conv2d_weight_grad(x, G).
    """
    return backend_of(x).conv2d(x, w, of_image("conv2d", x, w, stride, padding, dilation, groups), groups)


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
    dL/dy = conv2d(G, w),   dL/dw = conv2d_weight_grad(G, y).
    """
    windows = of_places("conv_transpose2d", y, w, stride, padding, dilation, groups, output_padding)
    return backend_of(y).conv_transpose2d(y, w, windows, groups)


@primitive
def conv2d_weight_grad(
    x: Any, y: Any, *, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """The adjoint of `conv2d` in w:   w[k] = sum over n, p of x[n, p * stride + k * dilation - padding] y[n, p]'

    Args:
        x: images (N, H, W, C).
        y: (N, OH, OW, O).
        kernel_size: (KH, KW), or one number for both.
        stride, padding, dilation, groups: of the convolution.

    Returns w (KH, KW, C/G, O).
    dL/dx = conv_transpose2d(y, G),   dL/dy = conv2d(x, G).
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


def _walk(windows: Windows, groups: int) -> Walk:
    """The parameters of any of the three that walk like `windows`."""
    return {
        "stride": windows.stride,
        "padding": windows.padding,
        "dilation": windows.dilation,
        "groups": groups,
    }


def _back(windows: Windows, groups: int) -> Walk:
    """Those of a transposed convolution that leads back to `windows.size`."""
    return {**_walk(windows, groups), "output_padding": output_padding_for(windows)}


@conv2d.vjp(0)
def _(g: Any, out: Any, x: Any, w: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    windows = of_image("conv2d", x, w, stride, padding, dilation, groups)
    return conv_transpose2d(g, w, **_back(windows, groups))


@conv2d.vjp(1)
def _(g: Any, out: Any, x: Any, w: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    windows = of_image("conv2d", x, w, stride, padding, dilation, groups)
    return conv2d_weight_grad(x, g, kernel_size=windows.kernel, **_walk(windows, groups))


@conv_transpose2d.vjp(0)
def _(
    g: Any,
    out: Any,
    y: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = 0,
) -> Any:
    windows = of_places("conv_transpose2d", y, w, stride, padding, dilation, groups, output_padding)
    return conv2d(g, w, **_walk(windows, groups))


@conv_transpose2d.vjp(1)
def _(
    g: Any,
    out: Any,
    y: Any,
    w: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = 0,
) -> Any:
    windows = of_places("conv_transpose2d", y, w, stride, padding, dilation, groups, output_padding)
    return conv2d_weight_grad(g, y, kernel_size=windows.kernel, **_walk(windows, groups))


@conv2d_weight_grad.vjp(0)
def _(
    g: Any,
    out: Any,
    x: Any,
    y: Any,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    windows = conv_windows("conv2d_weight_grad", x.shape[1:3], kernel_size, stride, padding, dilation)
    return conv_transpose2d(y, g, **_back(windows, groups))


@conv2d_weight_grad.vjp(1)
def _(
    g: Any,
    out: Any,
    x: Any,
    y: Any,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    windows = conv_windows("conv2d_weight_grad", x.shape[1:3], kernel_size, stride, padding, dilation)
    return conv2d(x, g, **_walk(windows, groups))


# The definitions, in primitives that know nothing of convolution: what the three above are tested against.


def conv2d_composed(x: Any, w: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Any:
    """`conv2d` as it is read: for each tap of the kernel, the pixels it meets times its weights; then the sum."""
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
    """`conv_transpose2d` as it is read: for each tap, y times its weights, laid on zeros where the tap was; the sum."""
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


def conv2d_weight_grad_composed(
    x: Any, y: Any, *, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """`conv2d_weight_grad` as it is read: for each tap, the pixels it met, as columns, times y, as rows."""
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
