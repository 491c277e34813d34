"""Matrix products, and the dense layer as one operation."""

from __future__ import annotations

import math

from tinyae.autodiff import Operand, T, primitive, sum_to
from tinyae.backend import Array, backend_of
from tinyae.checks import unknown
from tinyae.ops.arrays import reshape, swap_last
from tinyae.ops.elementwise import elu, relu, sigmoid, tanh


@primitive
def matmul(a: Array, b: Operand) -> Array:
    """a @ b with a (..., N, D), b (..., D, K): a matrix product for every index of the broadcast leading axes.

    C = A B:   dL/dA = G B^T,   dL/dB = A^T G.   Leading axes that were broadcast are summed over. A vector (D,) counts
    as a row on the left and as a column on the right, as in NumPy.
    """
    if not getattr(a, "ndim", 0) or not getattr(b, "ndim", 0):
        raise ValueError("matmul needs arrays of at least one axis on both sides: use * for a number.")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            f"matmul: inner lengths differ: {a.shape} @ {b.shape}; "
            "the last axis of a must equal the first of b's matrix."
        )
    return a @ b


def _as_matrices(g: T, a: T, b: T) -> tuple[T, T, T]:
    """Give vectors their row or column axis back, and g the axes that NumPy dropped."""
    rows, columns = (a.shape[:-1] or (1,))[-1:], (b.shape[-1:] if b.ndim > 1 else (1,))
    lead = g.shape[: g.ndim - (a.ndim > 1) - (b.ndim > 1)]
    g = reshape(g, shape=lead + rows + columns)
    a = reshape(a, shape=(1, *a.shape)) if a.ndim == 1 else a
    b = reshape(b, shape=(*b.shape, 1)) if b.ndim == 1 else b
    return g, a, b


@matmul.vjp(0)
def _(g, out, a, b):
    shape = a.shape
    g, a, b = _as_matrices(g, a, b)
    return reshape(sum_to(matmul(g, swap_last(b)), shape=a.shape), shape=shape)


@matmul.vjp(1)
def _(g, out, a, b):
    shape = b.shape
    g, a, b = _as_matrices(g, a, b)
    return reshape(sum_to(matmul(swap_last(a), g), shape=b.shape), shape=shape)


# ---------------------------------------------------------------------------------------------------------------------
# A dense layer as one operation: y = f(x W + b).
#
# Fusing saves memory traffic: otherwise the bias and the activation would each write another array as large as the
# layer's output, forward and backward. The readable definition is `dense_composed`; the fused form is tested against it,
# and derivatives of higher order run it instead.

ACTIVATION_FUNCTIONS = {"relu": relu, "elu": elu, "sigmoid": sigmoid, "tanh": tanh}
ACTIVATIONS = ("identity", *ACTIVATION_FUNCTIONS)
"""The activations that a fused layer can apply in place."""


def dense_composed(x: T, weight: Operand, bias: Operand, *, activation: str = "identity") -> T:
    """f(x @ weight + bias) in primitives: the definition of `dense`."""
    return activated(matmul(x, weight) + bias, activation)


@primitive(composed=dense_composed)
def dense(x: Array, weight: Operand, bias: Operand, *, activation: str = "identity") -> tuple[Array, None]:
    """f(x @ weight + bias), x (..., D), weight (D, K), bias (K,), f one of identity, relu, elu, sigmoid,
    tanh.

    With z = x W + b and G the gradient arriving at y = f(z):
    dz = G * f'(z),   dL/dx = dz W^T,   dL/dW = x^T dz,   dL/db = sum over samples of dz.
    f' is written in terms of y: 1, y > 0, 1 + min(y, 0), y (1 - y), 1 - y**2.
    """
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[0] or bias.shape != weight.shape[1:]:
        raise ValueError(
            f"dense: x (..., D) @ weight (D, K) + bias (K,) does not fit "
            f"shapes {x.shape}, {weight.shape}, {bias.shape}."
        )
    y = backend_of(x).affine(x, weight, bias)
    activate("dense", y, activation)
    return y, None


@dense.fused_vjp
def _(g, out, residuals, wanted, x, weight, bias, activation="identity"):
    dz = through_activation(g, out, activation)
    samples = math.prod(x.shape[:-1])
    rows = dz.reshape(samples, dz.shape[-1])
    return (
        dz @ weight.T if 0 in wanted else None,
        x.reshape(samples, x.shape[-1]).T @ rows if 1 in wanted else None,
        rows.sum(axis=0) if 2 in wanted else None,
    )


def activated(z: T, activation: str) -> T:
    """f(z), by the primitive with the name of the activation."""
    return z if activation == "identity" else ACTIVATION_FUNCTIONS[activation](z)


def activate(owner: str, z: Array, activation: str) -> None:
    """Replace z by f(z) in place; `owner` is the operation to name in the error for an unknown f."""
    xp = backend_of(z).xp
    if activation == "relu":
        xp.maximum(z, 0.0, out=z)
    elif activation == "elu":
        below = xp.minimum(z, 0.0)
        xp.maximum(z, 0.0, out=z)
        z += xp.expm1(below, out=below)
    elif activation == "tanh":
        xp.tanh(z, out=z)
    elif activation == "sigmoid":
        z *= 0.5
        xp.tanh(z, out=z)
        z *= 0.5
        z += 0.5
    elif activation != "identity":
        raise unknown("activation", activation, ACTIVATIONS, owner=owner)


def through_activation(g: T, y: T, activation: str) -> T:
    """g * f'(z) in terms of y = f(z): the gradient rule of the activation itself, on arrays and on Tensors.

    The rules of these activations use only the sign of z, which is also the sign of y.
    """
    return g if activation == "identity" else ACTIVATION_FUNCTIONS[activation].vjps[0](g, y, y)
