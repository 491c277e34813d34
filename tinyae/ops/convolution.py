"""Convolution and the two operations that are its gradients.

A convolution is defined by a trilinear form of images x, kernel w and outputs y,

    T(x, w, y) = sum over n, p, k, c, o of  x[n, p * stride + k - padding, c] * w[k, c, o] * y[n, p, o]

with p the positions of the window and k the taps of the kernel, both in two dimensions. T is linear in each of the three.
Differentiating T with respect to one of them leaves an operation on the other two:

    without y   conv2d               convolve(x, w)
    without x   conv_transpose2d     convolve_transpose(y, w)
    without w   conv2d_weight_grad   convolve_weight_grad(x, y)

So the gradients of each operation are the other two. With g the gradient arriving at y, dL/dx is T(x, w, g) without x, which
is convolve_transpose(g, w), and dL/dw is T without w. The family is closed: derivatives of every order exist, and no other
operation is needed.

The functions on the left take stride and padding as keywords. Those on the right are the primitives, which share one
`ConvSpec`, because T has the same sizes, stride and padding whichever array is left out. The definitions come first, as
loops over the taps k in other primitives (the tests compare with them); then the three primitives with their rules, the
functions for users, the layers as one operation, and the arithmetic of sizes:

    convolution              out = floor((size + before + after - kernel) / stride) + 1
    transposed convolution   size = (out - 1) * stride + kernel - before - after + output_padding

As usual in deep learning, "convolution" means cross-correlation: the kernel is not flipped.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from tinyae.autodiff import Operand, T, primitive
from tinyae.backend import Array, backend_of
from tinyae.backend.windows import ConvSpec, Padding, Pair, by
from tinyae.checks import whole_number
from tinyae.ops.arrays import crop, pad, reshape, scatter, stack
from tinyae.ops.linear import activate, activated, of_input, slope_of

# ---------------------------------------------------------------------------------------------------------------------
# The definitions. `spec.taps()` gives each tap k of the kernel with its pixels, one for each position of the window: a
# strided slice of the padded images.


def convolve_composed(x: Array, w: Array, *, spec: ConvSpec) -> Array:
    """The definition of `convolve`: the sum over taps of their pixels times their weights."""
    image = pad(x, widths=spec.widths)
    return sum(image[seen] @ w[k] for k, seen in spec.taps())


def convolve_transpose_composed(y: Array, w: Array, *, spec: ConvSpec) -> Array:
    """The definition of `convolve_transpose`: the sum over taps of y times their weights, added to their pixels."""
    shape = (y.shape[0], *spec.padded, w.shape[2])
    return crop(sum(scatter(y @ w[k].T, index=seen, shape=shape) for k, seen in spec.taps()), widths=spec.widths)


def convolve_weight_grad_composed(x: Array, y: Array, *, spec: ConvSpec) -> Array:
    """The definition of `convolve_weight_grad`: for each tap, its pixels as columns times y as rows."""
    image, c, o = pad(x, widths=spec.widths), x.shape[3], y.shape[3]
    taps = [image[seen].reshape(-1, c).T @ y.reshape(-1, o) for _, seen in spec.taps()]
    return stack(*taps).reshape(*spec.kernel, c, o)


# ---------------------------------------------------------------------------------------------------------------------
# The three primitives. The gradient rules of each are the other two.


@primitive
def convolve(x: Array, w: Array, *, spec: ConvSpec) -> Array:
    """T without y:   y[p] = sum over k of x[p * stride + k - padding] w[k];   see `conv2d`.

    dL/dx = convolve_transpose(G, w),   dL/dw = convolve_weight_grad(x, G)
    """
    check_fit("convolve", spec, x=x, w=w)
    return backend_of(x).conv2d(x, w, spec)


@convolve.vjp(0)
def _(g: Array, out: Array, x: Array, w: Array, spec: ConvSpec) -> Array:
    return convolve_transpose(g, w, spec=spec)


@convolve.vjp(1)
def _(g: Array, out: Array, x: Array, w: Array, spec: ConvSpec) -> Array:
    return convolve_weight_grad(x, g, spec=spec)


@primitive
def convolve_transpose(y: Array, w: Array, *, spec: ConvSpec) -> Array:
    """T without x: each y[p] times w is added to the pixels of its window;   see `conv_transpose2d`.

    dL/dy = convolve(G, w),   dL/dw = convolve_weight_grad(G, y)
    """
    check_fit("convolve_transpose", spec, y=y, w=w)
    return backend_of(y).conv_transpose2d(y, w, spec)


@convolve_transpose.vjp(0)
def _(g: Array, out: Array, y: Array, w: Array, spec: ConvSpec) -> Array:
    return convolve(g, w, spec=spec)


@convolve_transpose.vjp(1)
def _(g: Array, out: Array, y: Array, w: Array, spec: ConvSpec) -> Array:
    return convolve_weight_grad(g, y, spec=spec)


@primitive
def convolve_weight_grad(x: Array, y: Array, *, spec: ConvSpec) -> Array:
    """T without w:   w[k] = sum over n, p of x[n, p * stride + k - padding] y[n, p]^T;   see `conv2d_weight_grad`.

    dL/dx = convolve_transpose(y, G),   dL/dy = convolve(x, G)
    """
    check_fit("convolve_weight_grad", spec, x=x, y=y)
    return backend_of(x).conv2d_weight_grad(x, y, spec)


@convolve_weight_grad.vjp(0)
def _(g: Array, out: Array, x: Array, y: Array, spec: ConvSpec) -> Array:
    return convolve_transpose(y, g, spec=spec)


@convolve_weight_grad.vjp(1)
def _(g: Array, out: Array, x: Array, y: Array, spec: ConvSpec) -> Array:
    return convolve(x, g, spec=spec)


# ---------------------------------------------------------------------------------------------------------------------
# The functions for users, with stride and padding as keywords.

Numbers = int | Pair
"""One number for both axes, or (vertical, horizontal)."""

Paddings = str | int | tuple[Numbers, Numbers]
"""Zeros around an image: a number, (vertical, horizontal), ((top, bottom), (left, right)), `"same"` or `"valid"`."""


def conv2d(x: T, w: T, stride: Numbers = 1, padding: Paddings = 0) -> T:
    """The sum, over each window of x, of x times w:   y[p] = sum over k of x[p * stride + k - padding] w[k]

    Args:
        x: images (N, H, W, C).
        w: kernel (KH, KW, C, O).
        stride: how many pixels the window moves, a number or (vertical, horizontal).
        padding: zeros around x: a number, (vertical, horizontal), ((top, bottom), (left, right)), `"valid"` (none) or
            `"same"` (so that OH = ceil(H / stride); an odd zero goes to the bottom and right).

    Returns y (N, OH, OW, O), OH = floor((H + top + bottom - KH) / stride) + 1.
    With g the gradient arriving at y:  dL/dx = conv_transpose2d(g, w),   dL/dw = conv2d_weight_grad(x, g).
    """
    check_channels("conv2d", x, w)
    return convolve(x, w, spec=conv_spec("conv2d", (x.shape[1], x.shape[2]), w.shape[:2], stride, padding))


def conv1d(x: T, w: T, stride: int = 1, padding: str | int | Pair = 0) -> T:
    """`conv2d` along time:   y[p] = sum over k of x[p * stride + k - padding] w[k]

    Args:
        x: sequences (N, T, C).
        w: kernel (K, C, O).
        stride: how many steps the window moves.
        padding: zeros around x: a number, (before, after), `"valid"` or `"same"`, as for `conv2d`.

    Returns y (N, P, O), P = floor((T + before + after - K) / stride) + 1.
    """
    if getattr(x, "ndim", 0) != 3 or getattr(w, "ndim", 0) != 3 or x.shape[2] != w.shape[1]:
        shapes = " and ".join(str(getattr(a, "shape", ())) for a in (x, w))
        raise ValueError(f"conv1d: x must be (N, T, C) and w (K, C, O) with the same C, got shapes {shapes}.")
    step = whole_number("conv1d: stride", stride, at_least=1)
    sides = padding if isinstance(padding, str) else ((0, 0), pair("conv1d", "padding", padding, 0, "(before, after)"))
    spec = conv_spec("conv1d", (1, x.shape[1]), (1, w.shape[0]), (1, step), sides)
    y: T = convolve(reshape(x, shape=(x.shape[0], 1, *x.shape[1:])), reshape(w, shape=(1, *w.shape)), spec=spec)
    return reshape(y, shape=(x.shape[0], *y.shape[2:]))


def conv_transpose2d(y: T, w: T, stride: Numbers = 1, padding: Paddings = 0, output_padding: Numbers = 0) -> T:
    """The adjoint of `conv2d` in x: each y[p] times w is added to the pixels of its window.

    <conv2d(x, w), y> = <x, conv_transpose2d(y, w)>, with the same w and the same parameters. It enlarges an image
    by the stride.

    Args:
        y: (N, OH, OW, O).
        w: kernel (KH, KW, C, O): the axis of the outputs, C, comes before that of the inputs, O.
        stride: of the convolution.
        padding: of the convolution; the padding is cropped here. With `"same"`, H = OH * stride.
        output_padding: rows and columns at the bottom and right that no window of the convolution covers, fewer than
            the stride.

    Returns x (N, H, W, C), H = (OH - 1) * stride + KH - top - bottom + output_padding.
    With g the gradient arriving at x:  dL/dy = conv2d(g, w),   dL/dw = conv2d_weight_grad(g, y).
    """
    check_channels("conv_transpose2d", y, w, x_is_output=True)
    spec = transposed_spec("conv_transpose2d", (y.shape[1], y.shape[2]), w.shape[:2], stride, padding, output_padding)
    return convolve_transpose(y, w, spec=spec)


def conv2d_weight_grad(x: T, y: T, kernel_size: Numbers, stride: Numbers = 1, padding: Paddings = 0) -> T:
    """The adjoint of `conv2d` in w:   w[k] = sum over n, p of x[n, p * stride + k - padding] y[n, p]^T

    Args:
        x: images (N, H, W, C).
        y: (N, OH, OW, O).
        kernel_size: (KH, KW), or one number for both.
        stride, padding: of the convolution.

    Returns w (KH, KW, C, O).
    With g the gradient arriving at w:  dL/dx = conv_transpose2d(y, g),   dL/dy = conv2d(x, g).
    """
    check_image("conv2d_weight_grad", x)
    check_image("conv2d_weight_grad", y)
    spec = conv_spec("conv2d_weight_grad", (x.shape[1], x.shape[2]), kernel_size, stride, padding)
    check_fit("conv2d_weight_grad", spec, x=x, y=y)
    return convolve_weight_grad(x, y, spec=spec)


# ---------------------------------------------------------------------------------------------------------------------
# A convolution layer as one operation: f(convolve(x, w) + b), and the transposed one likewise.
#
# Fused for the same reason as `dense`: bias and activation would each write another array as large as the layer's output.
# Here they are applied to a few samples at a time, while these are still in the cache. The readable definitions are
# `biased_conv2d_composed` and `biased_conv_transpose2d_composed`.


def biased_conv2d_composed(x: Array, w: Array, b: Array, *, spec: ConvSpec, activation: str) -> Array:
    """f(convolve(x, w) + b) in primitives: the definition of `biased_conv2d`."""
    return activated(convolve(x, w, spec=spec) + b, activation)


@primitive(composed=biased_conv2d_composed)
def biased_conv2d(x: Array, w: Array, b: Array, *, spec: ConvSpec, activation: str) -> tuple[Array, Operand]:
    """f(convolve(x, w) + b) with b (O,), f as for `dense`; used by `nn.Conv2d`.

    With z = convolve(x, w) + b and G the gradient arriving at y = f(z): dz = G * f'(z),
    dL/dx = convolve_transpose(dz, w),   dL/dw = convolve_weight_grad(x, dz),   dL/db = sum of dz over samples and places.
    """
    check_fit("biased_conv2d", spec, x=x, w=w)
    finish = _finish("biased_conv2d", b, spec.out[1], w.shape[3], activation)
    return of_input(backend_of(x).conv2d(x, w, spec, finish), activation)


@biased_conv2d.fused_vjp
def _(
    g: Array, out: Array, z: Operand, wanted: list[int], x: Array, w: Array, b: Array, spec: ConvSpec, activation: str
) -> tuple[Array | None, ...]:
    return backend_of(x).conv2d_backward(slope_of(g, out, activation, z), x, w, spec, wanted)


def biased_conv_transpose2d_composed(y: Array, w: Array, b: Array, *, spec: ConvSpec, activation: str) -> Array:
    """f(convolve_transpose(y, w) + b) in primitives: the definition of `biased_conv_transpose2d`."""
    return activated(convolve_transpose(y, w, spec=spec) + b, activation)


@primitive(composed=biased_conv_transpose2d_composed)
def biased_conv_transpose2d(y: Array, w: Array, b: Array, *, spec: ConvSpec, activation: str) -> tuple[Array, Operand]:
    """f(convolve_transpose(y, w) + b) with b (C,), f as for `biased_conv2d`; used by `nn.ConvTranspose2d`.

    With dz as in `biased_conv2d`: dL/dy = convolve(dz, w),   dL/dw = convolve_weight_grad(dz, y),   dL/db = sum of dz.
    """
    check_fit("biased_conv_transpose2d", spec, y=y, w=w)
    finish = _finish("biased_conv_transpose2d", b, spec.size[1], w.shape[2], activation)
    return of_input(backend_of(y).conv_transpose2d(y, w, spec, finish), activation)


@biased_conv_transpose2d.fused_vjp
def _(
    g: Array, out: Array, z: Operand, wanted: list[int], y: Array, w: Array, b: Array, spec: ConvSpec, activation: str
) -> tuple[Array | None, ...]:
    return backend_of(y).conv_transpose2d_backward(slope_of(g, out, activation, z), y, w, spec, wanted)


def _finish(owner: str, b: Array, width: int, channels: int, activation: str) -> Callable[[Array], None]:
    """The function that adds b and applies f to sums (N, H, width, channels) in place; raises if b does not fit."""
    if b.shape != (channels,):
        raise ValueError(f"{owner}: b must be ({channels},), one number for each output channel, got shape {b.shape}.")
    row = backend_of(b).xp.tile(b, width)  # added to whole rows of pixels: one by one is slow

    def finish(z: Array) -> None:
        rows = z.reshape(z.shape[0] * z.shape[1], width * channels)
        rows += row
        activate(owner, rows, activation)

    return finish


# ---------------------------------------------------------------------------------------------------------------------
# From a user's arguments (stride=2, padding="same") to a `ConvSpec`, with the arithmetic in every error.
#
# The floor in the formula drops up to stride - 1 pixels of an image, so several sizes give the same `out`; `output_padding`
# selects the one that a transposed convolution returns.


def pair(owner: object, name: str, value: object, least: int = 1, order: str = "(vertical, horizontal)") -> Pair:
    """A number for both axes, or (vertical, horizontal), as a pair of ints of at least `least`."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    try:
        numbers = tuple(-1 if isinstance(v, bool) else operator.index(v) for v in values)
    except TypeError:
        numbers = ()
    if len(numbers) != 2 or min(numbers) < least:
        raise ValueError(
            f"{owner}: {name} must be a whole number of at least {least} or a pair of them {order}, "
            f"got {value!r}: write e.g. {name}={least} or {name}=({least}, {least + 1})."
        )
    return numbers[0], numbers[1]


def check_padding(owner: object, padding: object) -> str | Padding:
    """The padding in one form: `"same"`, or ((top, bottom), (left, right)) from a number or a pair."""
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{owner}: unknown padding {padding!r}: choose 'same', 'valid', a number or a pair.")
        return "same" if padding == "same" else ((0, 0), (0, 0))
    sides = padding if isinstance(padding, (tuple, list)) else (padding, padding)
    try:
        vertical, horizontal = (pair(owner, "padding", side, least=0) for side in sides)
    except ValueError:
        raise ValueError(
            f"{owner}: padding must be 'same', 'valid', a whole number >= 0, a pair (vertical, horizontal) or "
            f"((top, bottom), (left, right)), got {padding!r}."
        ) from None
    return vertical, horizontal


def conv_spec(
    owner: object, size: Pair, kernel: int | tuple[int, ...], stride: Numbers = 1, padding: Paddings | Padding = 0
) -> ConvSpec:
    """The spec of a convolution (or pooling) of an image of `size`; raises if no window fits.

    `"same"` pads (out - 1) * stride + kernel - size pixels in total, an odd one at the bottom and right, so that out is
    ceil(size / stride).
    """
    kernel, stride = pair(owner, "kernel_size", kernel), pair(owner, "stride", stride)
    sides = check_padding(owner, padding)
    if isinstance(sides, str):
        totals = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(size, stride, kernel, strict=True)]
        sides = (totals[0] // 2, totals[0] - totals[0] // 2), (totals[1] // 2, totals[1] - totals[1] // 2)
    spec = ConvSpec(size, kernel, stride, sides)
    if min(*size, *spec.out) < 1:
        raise ValueError(
            f"{owner}: input {by(size)}, {spec} does not fit: the kernel spans {by(kernel)} pixels, the padded input "
            f"has {by(spec.padded)}; take a smaller kernel, padding='same', or a larger input."
        )
    return spec


def transposed_spec(
    owner: object,
    out: Pair,
    kernel: int | tuple[int, ...],
    stride: Numbers = 1,
    padding: Paddings | Padding = 0,
    output_padding: Numbers = 0,
) -> ConvSpec:
    """The spec of a convolution with outputs of size `out`; `spec.size` is the output size of its adjoint.

    `"same"` gives size = out * stride for any kernel. Raises if the padding is larger than the image, or if
    `output_padding` is not smaller than the stride.
    """
    kernel, stride = pair(owner, "kernel_size", kernel), pair(owner, "stride", stride)
    extra, sides = pair(owner, "output_padding", output_padding, 0), check_padding(owner, padding)
    check_output_padding(owner, extra, stride, sides)
    if isinstance(sides, str):
        return conv_spec(owner, (out[0] * stride[0], out[1] * stride[1]), kernel, stride, "same")
    axes = zip(out, stride, kernel, sides, extra, strict=True)
    h, w = ((o - 1) * s + k - before - after + more for o, s, k, (before, after), more in axes)
    spec = ConvSpec((h, w), kernel, stride, sides)
    if min(h, w, *out) < 1:
        raise ValueError(
            f"{owner}: {transposed(spec, out)} gives {by(spec.size)}: take less padding or a larger input."
        )
    return spec


def check_output_padding(owner: object, extra: Pair, stride: Pair, padding: str | Padding) -> None:
    """Raise unless `extra` is smaller than the stride, and 0 with `"same"`, which determines the size."""
    if any(extra) and padding == "same":
        raise ValueError(
            f"{owner}: padding='same' makes the output input * stride by itself: leave output_padding out."
        )
    if extra[0] >= stride[0] or extra[1] >= stride[1]:
        raise ValueError(f"{owner}: output_padding {extra} must be smaller than the stride {stride} on each axis.")


def transposed(spec: ConvSpec, out: Pair) -> str:
    """Describe a transposed convolution of inputs of size `out`, for messages."""
    extra = spec.output_padding
    return f"input {by(out)}, {spec}" + (f", output_padding {by(extra)}" if any(extra) else "")


def check_fit(owner: str, spec: ConvSpec, *, x: Operand = None, w: Operand = None, y: Operand = None) -> None:
    """Raise unless the arrays have the sizes of `spec` and x and y have the same number of samples."""
    if x is not None and x.shape[1:3] != spec.size:
        raise ValueError(f"{owner}: the spec is for images of {by(spec.size)}, got {by(x.shape[1:3])}.")
    if w is not None and w.shape[:2] != spec.kernel:
        raise ValueError(f"{owner}: the spec is for a kernel of {by(spec.kernel)}, got {by(w.shape[:2])}.")
    if y is not None and y.shape[1:3] != spec.out:
        raise ValueError(f"{owner}: input {by(spec.size)}, {spec} gives {by(spec.out)}, got {by(y.shape[1:3])}.")
    if x is not None and y is not None and x.shape[0] != y.shape[0]:
        raise ValueError(f"{owner}: x has {x.shape[0]} samples, y {y.shape[0]}: pass arrays of the same batch.")


def check_channels(owner: str, x: Operand, w: Operand, x_is_output: bool = False) -> None:
    """Raise unless images x (N, H, W, C) fit a kernel w (KH, KW, C, O).

    With `x_is_output`, for a transposed convolution, x must have O channels instead of C.
    """
    check_image(owner, x)
    if getattr(w, "ndim", 0) != 4:
        raise ValueError(f"{owner}: w must be (KH, KW, C, O), got shape {getattr(w, 'shape', ())}.")
    name, expected = ("O", w.shape[3]) if x_is_output else ("C", w.shape[2])
    if x.shape[3] != expected:
        raise ValueError(
            f"{owner}: the input {x.shape} has {x.shape[3]} channels, the kernel {w.shape} takes {name} = {expected}: "
            "channels come last, (N, H, W, C); transpose the images, or build the kernel for them."
        )


def check_image(owner: object, x: Operand) -> None:
    """Raise unless x is a batch of images (N, H, W, C)."""
    if getattr(x, "ndim", 0) != 4:
        raise ValueError(
            f"{owner}: images must be (N, H, W, C), got shape {getattr(x, 'shape', ())}: "
            "write e.g. x.reshape(-1, 28, 28, 1)."
        )
