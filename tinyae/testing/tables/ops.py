"""The check tables of operations and losses, and the references that need more than a line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special

from tinyae import losses, ops
from tinyae.autodiff import expand, sum_to
from tinyae.autodiff.reverse import alias
from tinyae.losses import REDUCTIONS
from tinyae.testing.verification import Domain, Function, OpCase, apart, between, cases, nonzero, positive, real, whole

# ---------------------------------------------------------------------------------------------------------------------
# Reference formulas that need more than a line: plain NumPy and SciPy on raw arrays, nothing from the package.


def matmul_reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """An Einstein sum; a vector has only the axis that is summed over."""
    i, k = "i" * (a.ndim > 1), "k" * (b.ndim > 1)
    return np.einsum(f"...{i}j,...j{k}->...{i}{k}", a, b)


def sum_to_reference(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Each element added to the place it was broadcast from."""
    out = np.zeros(shape)
    target = np.broadcast_to(np.arange(out.size).reshape(shape), x.shape)
    np.add.at(out.reshape(-1), target.reshape(-1), x.reshape(-1))
    return out


def scatter_reference(x: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    """By counting: a histogram of the positions, weighted by x."""
    positions = np.arange(np.prod(shape, dtype=np.intp)).reshape(shape)[index]
    return np.bincount(np.ravel(positions).astype(np.intp), np.ravel(x), minlength=int(np.prod(shape))).reshape(shape)


def pad_reference(x: np.ndarray, widths: Any, value: float = 0.0, mode: str = "constant") -> np.ndarray:
    """Axis by axis: numbers joined on both sides, or the entries at the positions that the mode names."""
    for axis, (before, after) in enumerate(widths):
        n = x.shape[axis]
        if mode == "constant":
            ends = [np.full((*x.shape[:axis], k, *x.shape[axis + 1 :]), value) for k in (before, after)]
            x = np.concatenate([ends[0], x, ends[1]], axis)
        elif before + after:
            places, period = np.arange(-before, n + after), max(2 * n - 2, 1)
            mirrored = np.minimum(places % period, -places % period)
            x = np.take(x, mirrored if mode == "reflect" else places.clip(0, n - 1), axis)
    return x


def transposed(linear: Callable[[np.ndarray], np.ndarray], y: np.ndarray, *shape: int) -> np.ndarray:
    """A^T y of each sample y (N, ...): the columns of A are what `linear` makes of the unit arrays of a shape, as samples."""
    n, axes = math.prod(shape), range(1, y.ndim)
    return np.tensordot(y, linear(np.eye(n).reshape(n, *shape)), (axes, axes)).reshape(len(y), *shape)


def crop_reference(x: np.ndarray, widths: Any, mode: str = "constant") -> np.ndarray:
    """The transpose of padding."""
    shape = [n - sum(pair) for n, pair in zip(x.shape, widths, strict=True)]
    return transposed(lambda units: pad_reference(units, ((0, 0), *widths), mode=mode), x[None], *shape)[0]


def contract_reference(*xs: np.ndarray, subscripts: str) -> np.ndarray:
    """The product of all operands with an axis for every letter, then the sum over those that the result lacks."""
    inputs, output = subscripts.split("->")
    letters = output + "".join(sorted({*inputs} - {*output, ","}))
    product = np.ones([1] * len(letters))
    for x, term in zip(xs, inputs.split(","), strict=True):
        aligned = np.transpose(x, sorted(range(x.ndim), key=lambda axis: letters.index(term[axis])))
        product = product * np.expand_dims(aligned, [a for a, letter in enumerate(letters) if letter not in term])
    return np.sum(product, axis=tuple(range(len(output), len(letters))))


def dense_reference(x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str = "identity") -> np.ndarray:
    """An Einstein sum, and the activation by its definition."""
    return activated(np.einsum("...d,dk->...k", x, w) + b, activation)


def activated(z: np.ndarray, activation: str) -> np.ndarray:
    """f(z) by its definition."""
    if activation == "relu":
        return np.where(z > 0, z, 0)
    if activation == "elu":
        return np.where(z > 0, z, np.exp(z) - 1)
    if activation in ("gelu", "silu"):
        return z * (special.ndtr if activation == "gelu" else special.expit)(z)
    return {"identity": np.positive, "sigmoid": special.expit, "tanh": np.tanh}[activation](z)


def getitem_reference(x: np.ndarray, index: Any) -> np.ndarray:
    """By flat position: number the elements, index the numbers, look the elements up."""
    positions = np.arange(x.size).reshape(x.shape)[index]
    return np.array([x.ravel().tolist()[i] for i in np.ravel(positions)]).reshape(np.shape(positions))


def concatenate_reference(*xs: np.ndarray, axis: int = 0) -> np.ndarray:
    """The slices of all arrays in one list."""
    rows = [row for x in xs for row in np.moveaxis(x, axis, 0)]
    return np.moveaxis(np.array(rows), 0, axis)


def stack_reference(*xs: np.ndarray, axis: int = 0) -> np.ndarray:
    """Nested lists made into one array."""
    return np.moveaxis(np.array([x.tolist() for x in xs]).reshape((len(xs), *xs[0].shape)), 0, axis)


def limit_reference(x: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """The upper of x and low, then the lower of that and high."""
    x = x if low is None else np.where(x > low, x, low)
    return x if high is None else np.where(x < high, x, high)


def max_reference(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """The last quantile, which NumPy takes from sorted elements."""
    return np.quantile(x, 1.0, axis, keepdims=keepdims)


def min_reference(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """The first quantile."""
    return np.quantile(x, 0.0, axis, keepdims=keepdims)


product_of_rows = np.vectorize(math.prod, signature="(n)->()", otypes=[float])
"""The products of the rows, each by Python."""


def reduced(elements: np.ndarray, reduction: str = "per_sample") -> np.ndarray:
    """Losses of the elements (N, ...) to one number, as the names of the reductions promise."""
    if reduction == "none":
        return elements
    if reduction == "mean":
        return np.mean(elements)
    total = np.add.reduce(elements, axis=None)
    return total / len(elements) if reduction == "per_sample" and len(elements) else total


def cross_entropy_reference(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The products of the targets and SciPy's logarithms of the probabilities."""
    shares = np.eye(logits.shape[1])[targets] if targets.dtype.kind == "i" else targets
    return -(shares * special.log_softmax(logits, axis=1)).sum(axis=1)


def integral(z: np.ndarray, power: int = 0) -> np.ndarray:
    """The integral of x**power exp(z x) over x in [0, 1], by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x = (nodes + 1) / 2
    return np.exp(np.multiply.outer(z, x)) @ (weights / 2 * x**power)


def moment(z: np.ndarray, power: int) -> np.ndarray:
    """The mean of x**power under the density exp(z x) / integral(z) on [0, 1]."""
    return integral(z, power) / integral(z)


def sparsity_reference(code: np.ndarray, rho: float) -> np.ndarray:
    """Relative entropies of the mean activations."""
    mean = np.mean(code, axis=0)
    return (special.rel_entr(rho, mean) + special.rel_entr(1 - rho, 1 - mean)).sum()


# ---------------------------------------------------------------------------------------------------------------------
# The operations: every primitive of `autodiff` and `ops`, and the functions composed of them.
#
# One entry says what an operation should compute (a NumPy or SciPy formula on raw arrays that shares no code with it),
# on which inputs its derivatives may be measured (away from kinks), and with which shapes. A new primitive needs lines
# here and no new tests: every entry is checked in the same way.


def shapes(text: str) -> list[tuple[Any, ...]]:
    """Variants separated by commas, the shapes of each by spaces, written as in the names of cases: "3x4 4, 0d 3"."""
    return [tuple(() if w == "0d" else tuple(map(int, w.split("x"))) for w in v.split()) for v in text.split(",")]


FILLED = shapes("3x4, 0d, 1, 2x1x3")
UNARY = [*FILLED, *shapes("0x3")]
ROWWISE = shapes("3x4, 0x3, 2x1x3")
RANKED = shapes("3x4, 1, 0x3, 3x1")
ARRAYS = shapes("3x4 3x4, 3x4 4, 2x1x4 3x1, 0d 3, 3 0d, 0d 0d, 0x3 1x3, 1 1x1")
SCALARS = [((3,), 0.15), (0.15, (3,))]
BINARY = [*ARRAYS, ((3,), 1.5), (1.5, (3,)), ((2, 2), 2)]
POWERS = [((3, 4), 2), ((3,), 3), ((), 2.0), ((2,), -1), ((0,), 2), ((1,), 1), ((2,), 0)]
PRODUCTS = [
    *shapes("3x4 4x5, 2x3x4 2x4x5, 2x3x4 4x5, 3x4 2x4x2, 2x1x3x4 3x4x2, 4 4, 4 4x3, 3x4 4, 2x3x4 4, 4 2x4x3"),
    *shapes("0x4 4x3, 3x0 0x2, 1x1 1x1, 1x3x2 4x2x1, 0x2x3 3x2"),
]
SUBSCRIPTS: list[tuple[Any, ...]] = [
    *[("ij,jk->ik", (3, 4), (4, 2)), ("ij,kj", (2, 3), (4, 3)), ("ba", (2, 3))],
    *[("i,j->ij", (2,), (3,)), (",->", (), ())],
    *[("ii", (3, 3)), ("iji->ji", (2, 3, 2)), ("iijj,ki->kj", (2, 2, 3, 3), (4, 2)), ("iii", (2, 2, 2))],
    *[("ij->", (2, 3)), ("ij,k->k", (2, 3), (4,)), ("ij,jk,kl->li", (2, 3), (3, 2), (2, 4)), ("ii->i", (0, 0))],
    *[("...ij,...jk->...ik", (2, 1, 2, 3), (4, 3, 2)), ("...ii->...i", (2, 3, 3)), ("i...,...", (2, 3), (3,))],
    *[("ij,ij->j", (1, 3), (2, 1)), ("ij,jk->ik", (2, 1), (3, 4)), ("ij,jk", (0, 3), (3, 2)), ("Aa,a", (2, 3), (3,))],
]
DENSE = shapes("3x4 4x5 5, 2x3x4 4x5 5, 4 4x2 2, 0x4 4x3 3, 1x1 1x1 1")
LIMITS: list[tuple[Any, ...]] = [
    *[((3, 4), (4,), (3, 1)), ((2, 1, 3), (4, 1), ()), ((0, 3), (3,), (1, 3)), ((1,), (1,), (1,))],
    *[((3, 4), None, (4,)), ((3, 4), (4,), None), ((3, 4), -0.675, (3, 1)), ((), (3,), 0.675), ((3,), None, 0.15)],
]
MASK = np.array([[True, False, True], [False, False, True]])
ROWS = np.array([2, 0, 2])
CHOICES: list[tuple[Any, ...]] = [
    *[(MASK, (2, 3), (2, 3)), (MASK, (3,), (2, 1)), (MASK, (), (1, 1))],
    *[(MASK[0], (4, 1), 0.5), (MASK[0], 0.5, (3,)), (MASK[:0], (0, 3), (3,))],
]
LAST: dict[str, Any] = {"axis": -1, "keepdims": True}


OPS: list[OpCase] = [
    # arithmetic
    *cases(ops.add, BINARY, np.add),
    *cases(ops.subtract, BINARY, np.subtract),
    *cases(ops.multiply, BINARY, np.multiply),
    *cases(ops.divide, BINARY, lambda x, y: x * np.reciprocal(y * 1.0), nonzero),
    *cases(ops.power, BINARY, lambda x, y: np.exp(y * np.log(x)), positive),
    *cases(ops.power, POWERS, lambda x, y: np.sign(x) ** y * np.abs(x) ** y, nonzero),
    *cases(ops.negative, UNARY, np.negative),
    *cases(ops.absolute, UNARY, lambda x: np.sqrt(x * x), nonzero, analytic=False),
    *cases(ops.sign, UNARY, np.sign, whole, order=0),
    *cases(ops.log, UNARY, np.log, positive),
    # functions
    *cases(ops.exp, UNARY, np.exp),
    *cases(ops.expm1, UNARY, lambda x: np.exp(x) - 1),
    *cases(ops.log1p, UNARY, lambda x: np.log(1 + x), between(-0.7, 2.0)),
    *cases(ops.sqrt, UNARY, lambda x: x**0.5, positive),
    *cases(ops.square, UNARY, lambda x: x**2),
    *cases(ops.sin, UNARY, np.sin),
    *cases(ops.cos, UNARY, np.cos),
    *cases(ops.tanh, UNARY, lambda x: 1 - 2 / (np.exp(2 * x) + 1)),
    *cases(ops.sigmoid, UNARY, special.expit),
    *cases(ops.softplus, UNARY, lambda x: np.logaddexp(0.0, x), nonzero, analytic=False),
    *cases(ops.relu, UNARY, lambda x: np.where(x > 0, x, 0.0), nonzero, analytic=False),
    *cases(ops.elu, UNARY, lambda x: np.where(x > 0, x, np.exp(x) - 1), nonzero, analytic=False),
    *cases(ops.erf, UNARY, special.erf),
    *cases(ops.gelu, UNARY, lambda x: x * special.ndtr(x)),
    *cases(ops.silu, UNARY, lambda x: x / (1 + np.exp(-x))),
    # comparisons and choices
    *cases(ops.less, BINARY, np.less, whole, order=0),
    *cases(ops.less_equal, BINARY, np.less_equal, whole, order=0),
    *cases(ops.greater, BINARY, np.greater, whole, order=0),
    *cases(ops.greater_equal, BINARY, np.greater_equal, whole, order=0),
    *cases(ops.equal, BINARY, np.equal, whole, order=0),
    *cases(ops.not_equal, BINARY, np.not_equal, whole, order=0),
    *cases(ops.logical_and, BINARY, lambda x, y: (x != 0) * np.not_equal(y, 0), whole, order=0),
    *cases(ops.logical_or, BINARY, lambda x, y: np.abs(x) + np.abs(y) > 0, whole, order=0),
    *cases(ops.logical_not, UNARY, lambda x: x == 0, whole, order=0),
    *cases(ops.indicator, [(MASK, (2, 3)), (MASK[:, 0], (1,)), (MASK[:0], (0, 3))], lambda c, _: c + 0.0, order=0),
    *cases(ops.where, CHOICES, lambda c, x, y: c * (x + 0.0) + ~c * (y + 0.0)),
    *cases(ops.maximum, ARRAYS, lambda x, y: 0.5 * (x + y + np.abs(x - y)), apart, analytic=False),
    *cases(ops.maximum, SCALARS, lambda x, y: np.where(x < y, y, x), nonzero, analytic=False),
    *cases(ops.minimum, ARRAYS, lambda x, y: 0.5 * (x + y - np.abs(x - y)), apart, analytic=False),
    *cases(ops.minimum, SCALARS, lambda x, y: np.where(x < y, x, y), nonzero, analytic=False),
    *cases(ops.clip, UNARY, limit_reference, apart, analytic=False, low=-0.675, high=0.675),
    *cases(ops.limit, LIMITS, limit_reference, apart, analytic=False),
    # shape
    *cases(alias, UNARY, np.positive),
    *cases(ops.cast, UNARY, lambda x, dtype: np.positive(x), dtype="float64"),
    *cases(expand, [((3, 1),), ((),), ((1, 4),), ((4,),)], lambda x, shape: x * np.ones(shape), shape=(3, 4)),
    *cases(expand, [((1,),), ((0, 1),)], lambda x, shape: x * np.ones(shape), shape=(0, 2)),
    *cases(sum_to, [((3, 4),), ((2, 3, 1),), ((0, 1),), ((3, 0, 4),)], sum_to_reference, shape=(1,)),
    *cases(sum_to, [((2, 3, 4),), ((3, 1),)], sum_to_reference, shape=(3, 1)),
    *cases(sum_to, [((2, 3),), ((),)], sum_to_reference, shape=()),
    *cases(ops.reshape, shapes("3x4, 12, 2x1x6"), lambda x, shape: np.array([*x.flat]).reshape(shape), shape=(2, 6)),
    *cases(ops.reshape, [((),), ((1, 1),)], lambda x, shape: np.array([x.item()]), shape=(-1,)),
    *cases(ops.reshape, [((0, 3),)], lambda x, shape: np.zeros(shape), shape=(2, 0)),
    *cases(ops.transpose, [((3, 4),), ((2, 3, 4),), ((3,),), ((),), ((0, 2),), ((1, 2),)], np.transpose),
    *cases(ops.transpose, [((2, 3, 4),), ((1, 0, 2),)], lambda x, axes: np.einsum("abc->bca", x), axes=(1, -1, 0)),
    *cases(ops.getitem, [((3, 4),), ((4, 1),)], getitem_reference, index=ROWS),
    *cases(ops.getitem, [((2, 3),)], getitem_reference, index=MASK),
    *cases(ops.getitem, [((5,),), ((3, 2),), ((0,),)], getitem_reference, index=slice(1, None, 2)),
    *cases(ops.getitem, [((3, 4),), ((2, 5, 4),)], getitem_reference, index=(None, 1, ..., -1)),
    *cases(ops.getitem, [((3,),), ((1,),)], getitem_reference, index=-1),
    *cases(ops.getitem, [((4, 3),)], getitem_reference, index=(ROWS, [1, 1, 2])),
    *cases(ops.getitem, [((3, 2),)], getitem_reference, index=(MASK[0], slice(1, None))),
    *cases(ops.scatter, [((3, 2),)], scatter_reference, index=ROWS, shape=(4, 2)),
    *cases(ops.scatter, [((3,),)], scatter_reference, index=MASK, shape=(2, 3)),
    *cases(ops.scatter, [((2,),)], scatter_reference, index=slice(0, 2), shape=(3,)),
    *cases(ops.scatter, [((3, 1),)], scatter_reference, index=([1, 1, 0],), shape=(2, 1)),
    *cases(ops.scatter, [((),)], scatter_reference, index=(1, 2), shape=(2, 3)),
    *cases(ops.scatter, [((0, 2),)], scatter_reference, index=slice(0, 0), shape=(3, 2)),
    *cases(ops.pad, [((2, 3),), ((0, 1),)], pad_reference, widths=((1, 0), (2, 3))),
    *cases(ops.pad, [((2, 3),), ((0, 1),)], pad_reference, widths=((1, 0), (2, 3)), value=-1.5),
    *cases(ops.pad, [((2, 3),), ((3, 1),)], pad_reference, widths=((1, 0), (7, 3)), mode="reflect"),
    *cases(ops.crop, [((4, 8),)], crop_reference, widths=((1, 0), (2, 4)), mode="reflect"),
    *cases(ops.pad, [((2, 3),), ((3, 1),)], pad_reference, widths=((1, 0), (7, 3)), mode="edge"),
    *cases(ops.crop, [((4, 8),)], crop_reference, widths=((1, 0), (2, 4)), mode="edge"),
    *cases(ops.crop, [((4, 5),), ((1, 3),), ((1, 6),)], crop_reference, widths=((1, 0), (1, 2))),
    *cases(ops.crop, [((0,),), ((1,),), ((3,),)], crop_reference, widths=((0, 0),)),
    *cases(ops.concatenate, shapes("2x3 1x3, 2x3, 0x3 2x3 1x3, 2 1"), concatenate_reference),
    *cases(ops.concatenate, [((2, 3), (2, 1)), ((2, 1, 2), (2, 1, 0))], concatenate_reference, axis=-1),
    *cases(ops.stack, [((2, 3), (2, 3)), ((3,),), ((), (), ()), ((0,), (0,)), ((1,), (1,))], stack_reference),
    *cases(ops.stack, [((2, 3), (2, 3))], stack_reference, axis=-1),
    *cases(ops.flatten, shapes("2x3x4, 3, 2x0x3, 1x1x2"), lambda x: np.array([r.ravel() for r in x])),
    *cases(ops.swap_last, [((2, 3),), ((2, 1, 3),), ((0, 2),)], lambda x: np.swapaxes(x, -1, -2)),
    # reductions
    *cases(ops.sum, UNARY, lambda x: np.dot(x.ravel(), np.ones(x.size))),
    *cases(ops.sum, ROWWISE, lambda x, axis, keepdims: np.einsum("...i->...", x)[..., None], **LAST),
    *cases(ops.sum, [((2, 3, 4),), ((2, 1, 0),)], lambda x, axis: np.einsum("abc->b", x), axis=(0, -1)),
    *cases(ops.cumsum, shapes("4, 2x3, 2x1x3, 0x3, 3x0"), lambda x, axis: x @ np.tri(x.shape[-1]).T, axis=-1),
    *cases(ops.cumsum, shapes("3x3, 1x2"), lambda x, axis, reverse: np.tri(len(x)).T @ x, axis=0, reverse=True),
    *cases(ops.prod, FILLED, lambda x: product_of_rows(x.ravel()), whole),
    *cases(ops.prod, [*ROWWISE, ((2, 0),)], lambda x, **last: product_of_rows(x)[..., None], whole, **LAST),
    *cases(ops.prod, [((2, 3, 3),)], lambda x, axis: product_of_rows(np.hstack([*x])), whole, axis=(0, -1)),
    *cases(ops.mean, FILLED, lambda x: np.dot(x.ravel(), np.full(x.size, 1 / x.size))),
    *cases(ops.mean, shapes("3x4, 4x0, 2x1x3"), lambda x, **first: sum(x)[None] / len(x), axis=0, keepdims=True),
    *cases(ops.mean, [((2, 3, 4),)], lambda x, axis: np.einsum("abc->b", x) / 8, axis=(0, -1)),
    *cases(ops.max, FILLED, max_reference, apart, analytic=False),
    *cases(ops.max, ROWWISE, max_reference, apart, analytic=False, **LAST),
    *cases(ops.max, [((2, 3, 4),)], max_reference, apart, analytic=False, axis=(0, 2)),
    *cases(ops.min, FILLED, min_reference, apart, analytic=False),
    *cases(ops.min, ROWWISE, min_reference, apart, analytic=False, **LAST),
    *cases(ops.min, [((2, 3, 4),)], min_reference, apart, analytic=False, axis=(0, 2)),
    *cases(ops.logsumexp, FILLED, special.logsumexp),
    *cases(ops.logsumexp, ROWWISE, special.logsumexp, **LAST),
    *cases(ops.logsumexp, [((2, 3, 4),)], special.logsumexp, axis=(0, -1)),
    *cases(ops.softmax, RANKED, lambda x: special.softmax(x, axis=-1)),
    *cases(ops.softmax, [((3, 4),), ((2, 3, 2),)], special.softmax, axis=0),
    *cases(ops.log_softmax, RANKED, lambda x: special.log_softmax(x, axis=-1)),
    *cases(ops.log_softmax, [((3, 4),), ((2, 3, 2),)], special.log_softmax, axis=0),
    *cases(ops.variance, FILLED, lambda x: np.mean(x * x) - np.mean(x) ** 2),
    *cases(ops.variance, [((3, 4),), ((0, 3),), ((2, 1),)], np.var, axis=-1),
    *cases(ops.variance, shapes("3x4, 2x1x3"), lambda x, axis, ddof: np.var(x, axis, ddof=ddof), axis=-1, ddof=1),
    *cases(ops.std, shapes("3x4, 2x1x3"), lambda x: np.sqrt(np.mean(x * x) - np.mean(x) ** 2)),
    *cases(ops.std, [((3, 4),), ((3, 2, 2),)], np.std, axis=0, keepdims=True, ddof=1),
    *cases(ops.norm, FILLED, lambda x: np.sqrt(np.vdot(x, x)), nonzero),
    *cases(ops.norm, [((3, 4),), ((0, 3),)], np.linalg.norm, nonzero, axis=1),
    # products
    *cases(ops.matmul, PRODUCTS, matmul_reference),
    *cases(ops.contract, shapes("3x4 4x2, 0x4 4x1, 1x0 0x2"), contract_reference, subscripts="ij,jk->ik"),
    *cases(ops.contract, [((2, 3, 4), (2, 3)), ((1, 2, 1), (1, 2))], contract_reference, subscripts="bij,bi->jb"),
    *cases(ops.contract, shapes("2x3 3x4 4x3"), contract_reference, subscripts="ij,jk,kj->ik"),
    *cases(ops.contract, shapes("2x3, 0x1"), contract_reference, subscripts="ij->ji"),
    *cases(ops.einsum, SUBSCRIPTS, np.einsum),
    *cases(ops.dense, [*DENSE, *shapes("3x0 0x2 2, 3x2 2x0 0")], dense_reference),
    *cases(ops.dense, DENSE, dense_reference, activation="sigmoid"),
    *cases(ops.dense, DENSE, dense_reference, activation="tanh"),
    *cases(ops.dense, DENSE, dense_reference, activation="gelu"),
    *cases(ops.dense, DENSE, dense_reference, activation="silu"),
    *cases(ops.dense, DENSE, dense_reference, activation="relu", analytic=False),
    *cases(ops.dense, DENSE, dense_reference, activation="elu", analytic=False),
]
"""Every operation with every set of shapes."""


# ---------------------------------------------------------------------------------------------------------------------
# The losses: every one in every reduction, against formulas in NumPy and SciPy.

PAIRS = shapes("3x4 3x4, 2x1x3 2x1x3, 3 3, 0x2 0x2, 1x1 1x1")
ONE = shapes("3x4, 1, 0x3")
NUMBERS = np.array([2, 0, 1, 2])
CLASSES = [((4, 3), NUMBERS), ((1, 3), NUMBERS[:1]), ((2, 3), (2, 3))]


def each_reduction(
    loss: Function,
    elements: Function,
    domain: Domain = real,
    variants: list[tuple[Any, ...]] = PAIRS,
    *,
    analytic: bool = False,
    **params: Any,
) -> Iterator[OpCase]:
    """Cases of a loss in every reduction of its `elements`: all variants where the shape of the result differs, else the
    first.
    """

    def reference(*arguments: np.ndarray, reduction: str, **params: Any) -> np.ndarray:
        return reduced(elements(*arguments, **params), reduction)

    for reduction in REDUCTIONS:
        chosen = variants if reduction in ("per_sample", "none") else variants[:1]
        yield from cases(loss, chosen, reference, domain, analytic=analytic, reduction=reduction, **params)


LOSSES: list[OpCase] = [
    *cases(losses.squared_error, PAIRS, lambda y, t: reduced((y - t) ** 2)),
    *each_reduction(losses.squared_error, lambda y, t: (y - t) ** 2, analytic=True),
    *each_reduction(
        losses.bce_with_logits, lambda z, t: -t * special.log_expit(z) - (1 - t) * special.log_expit(-z), nonzero
    ),
    *each_reduction(losses.bce, lambda p, t: -special.xlogy(t, p) - special.xlog1py(1 - t, -p), between(0.1, 0.9)),
    *each_reduction(losses.softmax_cross_entropy, cross_entropy_reference, between(0.1, 0.9), CLASSES, analytic=True),
    *each_reduction(losses.half_squared_error, lambda y, t: (y - t) ** 2 / 2, analytic=True),
    *cases(losses.bernoulli_kl, [((4, 3),), ((1, 2),)], sparsity_reference, between(0.1, 0.9), rho=0.2),
    *cases(losses.weight_decay, [((3, 2),), ((1, 2),)], lambda *w: sum((x**2).sum() for x in w) / 2),
    *cases(losses.l1, [((4, 3),), ((1, 2),)], lambda c: np.abs(c).sum() / len(c), nonzero, analytic=False),
    *each_reduction(losses.absolute_error, lambda y, t: np.abs(y - t), apart),
    *each_reduction(losses.huber, lambda y, t, delta: special.huber(delta, y - t), apart, delta=0.75),
    *cases(losses.kl_to_unit_gaussian, PAIRS, lambda m, v: (m**2 + np.exp(v) - 1 - v) / 2),
    *each_reduction(losses.gaussian_kl, lambda m, v: (m**2 + np.exp(v) - 1 - v) / 2, analytic=True),
    *each_reduction(
        losses.gaussian_nll,
        lambda m, s, x: ((x - m) / np.exp(s)) ** 2 / 2 + s + np.log(2 * np.pi) / 2,
        variants=shapes("3x2 3x2 3x2, 2x3 1 2x3"),
        analytic=True,
    ),
    *cases(losses.continuous_bernoulli_log_norm, ONE, lambda z: np.log(integral(z)), nonzero, analytic=False),
    *cases(losses.continuous_bernoulli_mean, ONE, lambda z: moment(z, 1), nonzero, analytic=False),
    *cases(
        losses.continuous_bernoulli_variance, ONE, lambda z: moment(z, 2) - moment(z, 1) ** 2, nonzero, analytic=False
    ),
    *each_reduction(losses.continuous_bernoulli_nll, lambda z, x: np.log(integral(z)) - x * z, nonzero),
]
"""Every loss with every reduction. A new one is a line: `*each_reduction(losses.mine, its_elements)`."""


# ---------------------------------------------------------------------------------------------------------------------
# The operations on sequences, with references that walk through one sequence at a time, each at its own length.

LENGTHS = np.array([2, 3, 1])
"""Of three sequences of at most three steps; none of them fills the batch but the second."""


def lstm_reference(
    x: Any,
    h0: Any,
    c0: Any,
    w_x: Any,
    w_h: np.ndarray,
    b: np.ndarray,
    peepholes: Any = None,
    lengths: Any = None,
    reverse: bool = False,
    steps: int | None = None,
) -> np.ndarray:
    """The equations of Graves 2013, for one sequence after the other: each h (N, T, H), then the last c.

    After the end of a sequence its states are repeated.
    """
    p = np.zeros((3, len(w_h))) if peepholes is None else peepholes
    x = np.stack([x] * int(steps or 0), axis=1) if np.ndim(x) == 2 else x
    samples, count = (len(h0), int(steps or 0)) if x is None else x.shape[:2]
    states = np.zeros((2, samples, count, len(w_h)))
    for n in range(samples):
        h, c = (np.zeros(len(w_h)) if state is None else state[n] for state in (h0, c0))
        own = range(count if lengths is None else lengths[n])
        waiting = range(len(own), count)
        for t in [*waiting, *own[::-1]] if reverse else [*own, *waiting]:
            if t in own:
                z = np.einsum("h,hk->k", h, w_h) + b + (0.0 if x is None else np.einsum("d,dk->k", x[n, t], w_x))
                i, f, g, o = np.split(z, 4)
                c = special.expit(f + p[1] * c) * c + special.expit(i + p[0] * c) * np.tanh(g)
                h = special.expit(o + p[2] * c) * np.tanh(c)
            states[:, n, t] = h, c
    return np.concatenate([states[0], states[1, :, :1] if reverse else states[1, :, -1:]], axis=1)


LSTM = [((3, 3, 1), (3, 2), (3, 2), (1, 8), (2, 8), (8,)), ((3, 3, 2), None, None, (2, 4), (1, 4), (4,), (3, 1))]
FULL_LSTM = ((2, 3, 2), (2, 2), (2, 2), (2, 8), (2, 8), (8,), (3, 2))
NARROW_LSTM = [((0, 2, 3), (0, 1), (0, 1), (3, 4), (1, 4), (4,)), ((1, 1, 1), None, None, (1, 4), (1, 4), (4,))]
BLIND_LSTM = (None, (3, 2), (3, 2), None, (2, 8), (8,))
CONSTANT_LSTM = ((3, 2), None, (3, 2), (2, 8), (2, 8), (8,), (3, 2))
MILD = between(-1.0, 1.0)

SEQUENCES: list[OpCase] = [
    *cases(ops.lstm, [FULL_LSTM, *NARROW_LSTM], lstm_reference, MILD),
    *cases(ops.lstm, [LSTM[0]], lstm_reference, MILD, lengths=LENGTHS),
    *cases(ops.lstm, LSTM, lstm_reference, MILD, reverse=True, lengths=LENGTHS),
    *cases(ops.lstm, [BLIND_LSTM, CONSTANT_LSTM], lstm_reference, MILD, steps=3, lengths=LENGTHS),
]
"""Every operation on sequences with every set of shapes."""
