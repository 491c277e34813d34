"""Matrix products, Einstein sums, and the dense layer as one operation."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from tinyae.autodiff import Operand, T, primitive, sum_to
from tinyae.backend import Array, backend_of
from tinyae.checks import unknown
from tinyae.ops.arrays import getitem, reshape, swap_last, transpose
from tinyae.ops.elementwise import elu, gelu, relu, sigmoid, silu, tanh


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
    return backend_of(a).matmul(a, b)


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
# Einstein sums: every axis has a letter, equal letters share an index, and letters that the result lacks are summed over.
#
# The primitive is `contract`, in which each letter of an operand is also one of the result or of another operand. Then the
# gradient is the same sum with result and operand exchanged. `einsum` brings any other sum to this form.


@primitive
def contract(*xs: Array, subscripts: str) -> Array:
    """An Einstein sum in which each letter of an operand occurs there once, and also elsewhere: "ij,jk->ik"; see `einsum`.

    Y = contract(A, B, "ij,jk->ik"):   dL/dA = contract(G, B, "ik,jk->ij"),   dL/dB = contract(G, A, "ik,ij->jk").
    """
    return backend_of(xs[0]).xp.einsum(subscripts, *xs, optimize=True)


@contract.vjp(...)
def _(g, out, position, *xs, subscripts):
    inputs, _, output = subscripts.partition("->")
    terms = inputs.split(",")
    others = [output, *terms[:position], *terms[position + 1 :]]
    return contract(g, *xs[:position], *xs[position + 1 :], subscripts=f"{','.join(others)}->{terms[position]}")


def einsum(subscripts: str, *xs: T) -> T:
    """The Einstein sum of arrays, in NumPy's notation: einsum("ij,jk->ik", a, b) is y_ik = sum over j of a_ij b_jk.

    Args:
        subscripts: a letter for each axis of each operand, then "->" and those of the result; the other letters are summed
            over. A letter twice in an operand takes its diagonal; "..." means axes that broadcast, as in
            "...ij,...jk->...ik". Without "->", the result has the letters that occur once, in alphabetical order.
        xs: the operands. An axis of length 1 is repeated where others with its letter are longer.

    With g the gradient arriving at y, dL/da is einsum("ik,jk->ij", g, b): the same sum, result and operand exchanged.
    """
    terms, output, lengths = _letters(subscripts, xs)
    operands, kept = list(xs), []
    for i, (x, term) in enumerate(zip(xs, terms, strict=True)):
        operands[i], terms[i] = _diagonal(x, term)
        kept.append([letter for letter, n in zip(terms[i], operands[i].shape, strict=True) if n == lengths[letter]])
    for i, (x, term) in enumerate(zip(operands, terms, strict=True)):
        elsewhere = set(output).union(*kept[:i], *kept[i + 1 :])
        kept[i] = [letter for letter in kept[i] if letter in elsewhere]
        if len(kept[i]) < len(term):
            x = sum_to(x, shape=tuple(n if letter in kept[i] else 1 for letter, n in zip(term, x.shape, strict=True)))
            operands[i] = reshape(x, shape=tuple(lengths[letter] for letter in kept[i]))
    return contract(*operands, subscripts=f"{','.join(map(''.join, kept))}->{output}")


def _letters(subscripts: str, xs: Sequence[Operand]) -> tuple[list[str], str, dict[str, int]]:
    """The letters of each operand and those of the result, with letters in place of "...", and the length of each."""
    if not isinstance(subscripts, str) or not all(hasattr(x, "shape") for x in xs):
        given = ", ".join(type(x).__name__ for x in (subscripts, *xs))
        raise TypeError(f"einsum takes subscripts and then arrays, einsum('ij,jk->ik', a, b), got {given}.")

    def misfit(reason: str) -> ValueError:
        fix = "write one letter for each axis, as in 'ij,jk->ik'"
        return ValueError(
            f"einsum: {subscripts!r} does not fit {', '.join(str(x.shape) for x in xs)}: {reason}; {fix}."
        )

    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms, lengths = inputs.split(","), dict[str, int]()
    if not {*inputs, *output} <= {*string.ascii_letters, *".,"}:
        raise misfit("it must have letters, '...', commas and one '->' only")
    if len(terms) != len(xs):
        raise misfit(f"it names the axes of {len(terms)} operands, there are {len(xs)}")
    unnamed = [x.ndim - len(term) + 3 if "..." in term else 0 for x, term in zip(xs, terms, strict=True)]
    dots = "".join(letter for letter in string.ascii_letters if letter not in subscripts)[: max(0, *unnamed)]
    if not arrow:
        output = "..." + "".join(sorted(letter for letter in {*inputs} - {*",."} if inputs.count(letter) == 1))
    if dots and "..." not in output:
        raise misfit("the result has no '...'")
    for i, (x, n) in enumerate(zip(xs, unnamed, strict=True)):
        terms[i] = terms[i].replace("...", dots[len(dots) - n :])
        if len(terms[i]) != x.ndim:
            raise misfit(f"{len(terms[i])} letters for the {x.ndim} axes of shape {x.shape}")
        own = dict(zip(terms[i], x.shape, strict=True))
        for letter, n in zip(terms[i], x.shape, strict=True):
            known = own[letter] if n != own[letter] else lengths.setdefault(letter, n)
            if n != own[letter] or (n != known and 1 not in (n, known)):
                raise misfit(f"{letter if letter in subscripts else '...'!r} has lengths {known} and {n}")
            lengths[letter] = n if known == 1 else known
    output = output.replace("...", dots)
    if len({*output}) < len(output) or not {*output} <= lengths.keys():
        raise misfit("a letter of the result must be in an operand, and in the result once")
    return terms, output, lengths


def _diagonal(x: T, term: str) -> tuple[T, str]:
    """x with one axis for each letter: of two axes with the same letter the diagonal, every (n + 1)-th of n * n entries."""
    while twice := next((letter for letter in term if term.count(letter) > 1), ""):
        pair = (term.index(twice), term.rindex(twice))
        rest = tuple(axis for axis in range(x.ndim) if axis not in pair)
        n = x.shape[pair[0]]
        x = transpose(x, axes=rest + pair)
        x = getitem(reshape(x, shape=(*x.shape[:-2], n * n)), index=(..., slice(None, None, n + 1)))
        term = "".join(term[axis] for axis in rest) + twice
    return x, term


# ---------------------------------------------------------------------------------------------------------------------
# A dense layer as one operation: y = f(x W + b).
#
# Fusing saves memory traffic: otherwise the bias and the activation would each write another array as large as the
# layer's output, forward and backward. The readable definition is `dense_composed`; the fused form is tested against it,
# and derivatives of higher order run it instead.

IN_PLACE = {"relu": relu, "elu": elu, "sigmoid": sigmoid, "tanh": tanh}
"""The activations that a fused layer applies in place: their slope follows from their result."""

OF_INPUT = {"gelu": gelu, "silu": silu}
"""The activations whose slope needs z, which a fused layer keeps beside y = f(z)."""

ACTIVATION_FUNCTIONS = IN_PLACE | OF_INPUT
ACTIVATIONS = ("identity", *ACTIVATION_FUNCTIONS)
"""The choices of `activation=`."""


def dense_composed(x: T, weight: Operand, bias: Operand, *, activation: str = "identity") -> T:
    """f(x @ weight + bias) in primitives: the definition of `dense`."""
    return activated(matmul(x, weight) + bias, activation)


@primitive(composed=dense_composed)
def dense(x: Array, weight: Operand, bias: Operand, *, activation: str = "identity") -> tuple[Array, Array | None]:
    """f(x @ weight + bias), x (..., D), weight (D, K), bias (K,), f one of identity, relu, elu, sigmoid,
    tanh, gelu, silu.

    With z = x W + b and G the gradient arriving at y = f(z):
    dz = G * f'(z),   dL/dx = dz W^T,   dL/dW = x^T dz,   dL/db = sum over samples of dz.
    f' is written in terms of y: 1, y > 0, 1 + min(y, 0), y (1 - y), 1 - y**2; that of gelu and silu in terms of z.
    """
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[0] or bias.shape != weight.shape[1:]:
        raise ValueError(
            f"dense: x (..., D) @ weight (D, K) + bias (K,) does not fit "
            f"shapes {x.shape}, {weight.shape}, {bias.shape}."
        )
    z = backend_of(x).affine(x, weight, bias, partial(activate, "dense", activation=activation))
    return of_input(z, activation)


@dense.fused_vjp
def _(g, out, residuals, wanted, x, weight, bias, activation="identity"):
    samples = math.prod(x.shape[:-1])
    g, out, rows = (a.reshape(samples, a.shape[-1]) for a in (g, out, x))
    slope = slope_of(g, out, activation, None if residuals is None else residuals.reshape(out.shape))
    dx, *others = backend_of(x).affine_backward(slope, rows, weight, wanted)
    return None if dx is None else dx.reshape(x.shape), *others


def activated(z: T, activation: str) -> T:
    """f(z), by the primitive with the name of the activation."""
    return z if activation == "identity" else ACTIVATION_FUNCTIONS[activation](z)


def activate(owner: str, z: Array, activation: str) -> None:
    """Replace z with f(z) in place if f is one of `IN_PLACE`; `owner` is the operation to name if f is unknown."""
    xp = backend_of(z).xp
    if activation == "relu":
        xp.clip(z, 0.0, math.inf, out=z)  # in NumPy three times as fast as a maximum with a number
    elif activation == "elu":
        below = xp.minimum(z, 0.0)
        xp.maximum(z, 0.0, out=z)
        z += xp.expm1(below, out=below)
    elif activation == "tanh":
        xp.tanh(z, out=z)
    elif activation == "sigmoid" and z.dtype.kind == "c":
        z[...] = backend_of(z).sigmoid(z)
    elif activation == "sigmoid":
        with np.errstate(over="ignore"):  # 1 / (1 + infinity) is 0
            xp.exp(xp.negative(z, out=z), out=z)
        z += 1.0
        xp.divide(1.0, z, out=z)
    elif activation not in ("identity", *OF_INPUT):
        raise unknown("activation", activation, ACTIVATIONS, owner=owner)


def of_input(z: Array, activation: str) -> tuple[Array, Array | None]:
    """What a fused layer returns after `activate`: f(z) with z if f is one of `OF_INPUT`, else z, already f(z)."""
    return (OF_INPUT[activation](z), z) if activation in OF_INPUT else (z, None)


def through_activation(g: T, y: T, activation: str, z: T | None = None) -> T:
    """g * f'(z) in terms of y = f(z): the gradient rule of the activation itself, on arrays and on Tensors.

    The rules of `IN_PLACE` use only the sign of z, which is also the sign of y; those of `OF_INPUT` need z.
    """
    return g if activation == "identity" else ACTIVATION_FUNCTIONS[activation].vjps[0](g, y, y if z is None else z)


def slope_of(g: Array, y: Array, activation: str, z: Array | None) -> Callable[[slice], Array]:
    """The function that gives `through_activation` of the samples in a slice, for kernels that process a few at a time."""
    return lambda rows: through_activation(g[rows], y[rows], activation, None if z is None else z[rows])
