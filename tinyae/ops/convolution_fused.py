"""A convolution layer as one operation: f(conv2d(x, w) + b), and the transposed one likewise.

It is fused for the reason that `dense` is: bias and activation would each write another array as large as the layer's
output. Here they are applied to a few samples at a time, while these are still in the cache. The readable definitions
are the two `_composed` functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyae.autodiff import primitive
from tinyae.backend import Array, backend_of
from tinyae.ops.conv_geometry import of_image, of_places
from tinyae.ops.convolution import conv2d, conv_transpose2d
from tinyae.ops.dense import FUNCTIONS, activate, check_activation, through_activation


def biased_conv2d_composed(x: Any, w: Any, b: Any, *, activation: str = "identity", **walk: Any) -> Any:
    """f(conv2d(x, w) + b) in primitives: the definition of `biased_conv2d`."""
    z = conv2d(x, w, **walk) + b
    return z if activation == "identity" else FUNCTIONS[activation](z)


@primitive(composed=biased_conv2d_composed)
def biased_conv2d(x: Any, w: Any, b: Any, *, activation: str = "identity", groups: int = 1, **walk: Any) -> Any:
    """f(conv2d(x, w) + b) with b (O,), f one of identity, relu, elu, sigmoid, tanh; `**walk` as for `conv2d`.

    With z = conv2d(x, w) + b and G the gradient arriving at y = f(z): dz = G * f'(z),
    dL/dx = conv_transpose2d(dz, w),   dL/dw = conv2d_weight_grad(x, dz),   dL/db = sum of dz over samples and places.
    """
    windows = of_image("biased_conv2d", x, w, groups=groups, **walk)
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
    **walk: Any,
) -> tuple:
    windows = of_image("biased_conv2d", x, w, groups=groups, **walk)
    dz = through_activation(g, out, activation)
    dx, dw = backend_of(x).conv2d_backward(dz, x, w, windows, groups, (0 in wanted, 1 in wanted))
    return dx, dw, _summed(dz) if 2 in wanted else None


def biased_conv_transpose2d_composed(y: Any, w: Any, b: Any, *, activation: str = "identity", **walk: Any) -> Any:
    """f(conv_transpose2d(y, w) + b) in primitives: the definition of `biased_conv_transpose2d`."""
    z = conv_transpose2d(y, w, **walk) + b
    return z if activation == "identity" else FUNCTIONS[activation](z)


@primitive(composed=biased_conv_transpose2d_composed)
def biased_conv_transpose2d(
    y: Any, w: Any, b: Any, *, activation: str = "identity", groups: int = 1, **walk: Any
) -> Any:
    """f(conv_transpose2d(y, w) + b) with b (C,), f as for `biased_conv2d`; `**walk` as for `conv_transpose2d`.

    With dz as there: dL/dy = conv2d(dz, w),   dL/dw = conv2d_weight_grad(dz, y),   dL/db = sum of dz.
    """
    windows = of_places("biased_conv_transpose2d", y, w, groups=groups, **walk)
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
    **walk: Any,
) -> tuple:
    windows = of_places("biased_conv_transpose2d", y, w, groups=groups, **walk)
    dz = through_activation(g, out, activation)
    dy, dw = backend_of(y).conv_transpose2d_backward(dz, y, w, windows, groups, (0 in wanted, 1 in wanted))
    return dy, dw, _summed(dz) if 2 in wanted else None


def _finish(owner: str, b: Array, width: int, channels: int, activation: str) -> Callable[[Array], Any]:
    """What turns sums (N, H, width, channels) into outputs, in place; raises where b or f does not fit."""
    check_activation(owner, activation)
    if b.shape != (channels,):
        raise ValueError(f"{owner}: b must be ({channels},), one number for each output channel, got shape {b.shape}.")
    row = backend_of(b).xp.tile(b, width)  # added to whole rows of pixels: one by one is slow

    def finish(z: Array) -> None:
        rows = z.reshape(z.shape[0] * z.shape[1], width * channels)
        rows += row
        activate(rows, activation)

    return finish


def _summed(dz: Array) -> Array:
    """The sum over samples and places, rows of pixels first: long rows add faster than single pixels."""
    n, h, w, c = dz.shape
    return dz.reshape(n * h, w * c).sum(axis=0).reshape(w, c).sum(axis=0)
