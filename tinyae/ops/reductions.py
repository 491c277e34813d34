"""Reductions: sums, products, means, maxima and minima, norms, and numerically stable logsumexp and softmax."""

from __future__ import annotations

import math

from tinyae.autodiff import T, Tensor, adjoint_pair, expand, primitive
from tinyae.autodiff.tape import Axis
from tinyae.backend import Array, backend_of
from tinyae.checks import check_kind
from tinyae.ops.arrays import concatenate, getitem, pad, reshape, stack, transpose
from tinyae.ops.elementwise import as_floats, equal, exp, indicator, sqrt, where


def reduced_axes(x: Tensor | Array, axis: Axis) -> tuple[int, ...]:
    """The axes of a reduction, counted from 0; raises for an axis that x does not have."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise ValueError(f"axis {a} does not exist in an array of shape {x.shape}.")
    return tuple(a % x.ndim for a in axes)


def _check_axis(x: Array, axis: Axis) -> None:
    """Reject an axis of a 0-d array, which NumPy reduces over axis 0. NumPy itself rejects an axis that is too large."""
    if not x.ndim:
        reduced_axes(x, axis)


def kept_shape(x: Tensor | Array, axis: Axis) -> tuple[int, ...]:
    """x's shape with length 1 for every reduced axis: the shape that broadcasts against x."""
    axes = reduced_axes(x, axis)
    return tuple(1 if i in axes else n for i, n in enumerate(x.shape))


def _spread(g: T, x: Tensor | Array, axis: Axis) -> T:
    """A reduced cotangent repeated to x's shape."""
    return expand(reshape(g, shape=kept_shape(x, axis)), shape=x.shape)


@primitive
def sum(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Sum over `axis` (None: all).   d/dx_i = 1"""
    _check_axis(x, axis)
    return x.sum(axis=axis, keepdims=keepdims)


@sum.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    return _spread(g, x, axis)


@primitive
def cumsum(x: Array, *, axis: int, reverse: bool = False) -> Array:
    """Sums of the first 1, 2, ... n entries along `axis`; with `reverse`, of the last n, ... 2, 1.

    Adjoint: the same in the other direction, because x_i is part of the sums from i on.
    """
    if isinstance(axis, bool) or not hasattr(axis, "__index__") or len(reduced_axes(x, axis)) != 1:
        raise ValueError(f"cumsum runs along one axis, got axis={axis}: write e.g. cumsum(x, axis=0).")
    xp, backwards = backend_of(x).xp, check_kind("reverse", reverse, bool)
    return xp.flip(xp.flip(x, axis).cumsum(axis=axis), axis) if backwards else x.cumsum(axis=axis)


adjoint_pair(cumsum, cumsum, lambda x, axis, reverse=False: {"axis": axis, "reverse": not reverse})


@primitive
def prod(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Product over `axis` (None: all).   d/dx_i = the product of the others, computed without a division"""
    return x.prod(axis=axis, keepdims=keepdims)


@prod.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    first = reduced_axes(x, axis)
    order = (*first, *(a for a in range(x.ndim) if a not in first))
    moved = transpose(x, axes=order)
    rows = reshape(moved, shape=(math.prod(moved.shape[: len(first)]), *moved.shape[len(first) :]))
    others = reshape(_products_of_others(rows), shape=moved.shape)
    return _spread(g, x, axis) * transpose(others, axes=tuple(order.index(a) for a in range(x.ndim)))


def _products_of_others(x: T) -> T:
    """For each row of x (n, ...) the product of all other rows: its partner's times those of the other pairs."""
    n = x.shape[0]
    ones = pad(getitem(x, index=slice(0)), widths=((0, n if n < 2 else n % 2), *[(0, 0)] * (x.ndim - 1)), value=1.0)
    if n < 2:
        return ones
    pairs = reshape(concatenate(x, ones), shape=((n + 1) // 2, 2, *x.shape[1:]))
    left, right = (getitem(pairs, index=(slice(None), i)) for i in (0, 1))
    rest = _products_of_others(left * right)
    products = stack(rest * right, rest * left, axis=1)
    return getitem(reshape(products, shape=(n + n % 2, *x.shape[1:])), index=slice(n))


@primitive
def mean(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Mean over `axis` (None: all) of n numbers.   d/dx_i = 1/n"""
    _check_axis(x, axis)
    return backend_of(x).mean(x, axis, keepdims)


@mean.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    n = math.prod(x.shape[a] for a in reduced_axes(x, axis))
    return _spread(g * (1.0 / n if n else 0.0), x, axis)


@primitive
def max(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Largest entry over `axis` (None: all).   d/dx_i = 1 for the largest, else 0; ties share it evenly."""
    _check_axis(x, axis)
    return x.max(axis=axis, keepdims=keepdims)


@max.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    return _shared(g, x, x >= _spread(out, x, axis), axis)


@primitive
def min(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Smallest entry over `axis` (None: all).   d/dx_i = 1 for the smallest, else 0; ties share it evenly."""
    _check_axis(x, axis)
    return x.min(axis=axis, keepdims=keepdims)


@min.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    return _shared(g, x, x <= _spread(out, x, axis), axis)


def _shared(g: T, x: T, chosen: T, axis: Axis) -> T:
    """g for the chosen entries of x, shared evenly among ties."""
    places = indicator(chosen, x)
    return _spread(g, x, axis) * (places / sum(places, axis=axis, keepdims=True))


@primitive
def logsumexp(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over `axis`, shifted by the maximum so that nothing overflows.   d/dx = softmax(x)

    Where all x are -inf (or there are none), the value is -inf and the gradient 0; where one is inf, the value is inf and
    its gradient NaN.
    """
    _check_axis(x, axis)
    xp = backend_of(x).xp
    top = x.max(axis=axis, keepdims=True) if x.size else xp.full(kept_shape(x, axis), -math.inf, dtype=x.dtype)
    finite = xp.isfinite(top)
    shifted = xp.where(finite, x - xp.where(finite, top, 0.0), 0.0)
    out = xp.log(xp.where(finite, xp.exp(shifted).sum(axis=axis, keepdims=True), 1.0)) + top
    return out if check_kind("keepdims", keepdims, bool) else out.sum(axis=axis)


@logsumexp.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    return _spread(g, x, axis) * exp(x - _spread(where(equal(out, -math.inf), 0.0, out), x, axis))


@primitive
def softmax(x: Array, *, axis: Axis = -1) -> Array:
    """p_i = exp(x_i) / sum_j exp(x_j) along `axis`, NaN where the largest x is infinite.   J^T g = p * (g - sum(g * p))"""
    _check_axis(x, axis)
    weights = backend_of(x).xp.exp(_below_max(x, axis))
    return weights / weights.sum(axis=axis, keepdims=True)


def _below_max(x: Array, axis: Axis) -> Array:
    """x minus its maximum over `axis`, of integers in float64; x itself if it is empty."""
    return x - 1.0 * x.max(axis=axis, keepdims=True) if x.size else x


@softmax.vjp(0)
def _(g, out, x, axis=-1):
    gp = g * out
    return gp - out * sum(gp, axis=axis, keepdims=True)


@primitive
def log_softmax(x: Array, *, axis: Axis = -1) -> Array:
    """log(softmax(x)) along `axis` without forming the ratio.   J^T g = g - softmax(x) * sum(g)"""
    _check_axis(x, axis)
    shifted = _below_max(x, axis)
    xp = backend_of(x).xp
    return shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True)) if x.size else xp.exp(shifted)


@log_softmax.vjp(0)
def _(g, out, x, axis=-1):
    return g - exp(out) * sum(g, axis=axis, keepdims=True)


def variance(x: T, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> T:
    """Mean squared deviation from the mean over `axis`, composed of primitives: divides by n - ddof, by default by n.

    With ddof=1 it is an unbiased estimate of the variance of what n samples were drawn from.
    """
    centered = x - mean(x, axis=axis, keepdims=True)
    found = mean(centered * centered, axis=axis, keepdims=keepdims)
    if not ddof:
        return found
    n = math.prod(x.shape[a] for a in reduced_axes(x, axis))
    if not 0 <= ddof < n:
        raise ValueError(f"variance: ddof={ddof} must be at least 0 and below {n}, the number of samples: use 0 or 1.")
    return found * (n / (n - ddof))


def std(x: T, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> T:
    """Standard deviation over `axis`, the root of `variance`.   Where it is 0, its gradient is 0, as that of `norm`."""
    return _root(variance(x, axis=axis, keepdims=keepdims, ddof=ddof))


def norm(x: T, axis: Axis = None) -> T:
    """Euclidean norm over `axis`, composed of primitives.   d/dx = x / norm(x), 0 where the norm is 0"""
    x = as_floats(x)
    return _root(sum(x * x, axis=axis))


def _root(squares: T) -> T:
    """Square root with the gradient 0 at 0."""
    zero = equal(squares, 0.0)
    return where(zero, 0.0, sqrt(where(zero, 1.0, squares)))
