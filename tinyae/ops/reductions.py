"""Reductions: sums, means, maxima and minima, norms, and numerically stable logsumexp and softmax."""

from __future__ import annotations

import math

from tinyae.autodiff import T, Tensor, expand, primitive
from tinyae.autodiff.tape import Axis
from tinyae.backend import Array, backend_of
from tinyae.ops.arrays import reshape
from tinyae.ops.elementwise import equal, exp, indicator, sqrt, where


def reduced_axes(x: Tensor | Array, axis: Axis) -> tuple[int, ...]:
    """The axes of a reduction, counted from 0; raises for an axis that x does not have."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise ValueError(f"axis {a} does not exist in an array of shape {x.shape}.")
    return tuple(a % x.ndim for a in axes)


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
    return x.sum(axis=axis, keepdims=keepdims)


@sum.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    return _spread(g, x, axis)


@primitive
def mean(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Mean over `axis` (None: all) of n numbers.   d/dx_i = 1/n"""
    return x.mean(axis=axis, keepdims=keepdims)


@mean.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    n = math.prod(x.shape[a] for a in reduced_axes(x, axis))
    return _spread(g * (1.0 / n if n else 0.0), x, axis)


@primitive
def max(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Largest entry over `axis` (None: all).   The gradient goes to the largest; ties share it evenly."""
    return x.max(axis=axis, keepdims=keepdims)


@max.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    return _shared(g, x, x >= _spread(out, x, axis), axis)


@primitive
def min(x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Smallest entry over `axis` (None: all).   The gradient goes to the smallest; ties share it evenly."""
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
    """log(sum(exp(x))) over `axis`, shifted by the maximum so that nothing overflows.   d/dx = softmax(x)"""
    xp = backend_of(x).xp
    top = x.max(axis=axis, keepdims=True)
    out = xp.log(xp.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return out if keepdims else out.sum(axis=axis)


@logsumexp.vjp(0)
def _(g, out, x, axis=None, keepdims=False):
    return _spread(g, x, axis) * exp(x - _spread(out, x, axis))


@primitive
def softmax(x: Array, *, axis: Axis = -1) -> Array:
    """p_i = exp(x_i) / sum_j exp(x_j) along `axis`.   J^T g = p * (g - sum(g * p))"""
    weights = backend_of(x).xp.exp(x - x.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


@softmax.vjp(0)
def _(g, out, x, axis=-1):
    gp = g * out
    return gp - out * sum(gp, axis=axis, keepdims=True)


@primitive
def log_softmax(x: Array, *, axis: Axis = -1) -> Array:
    """log(softmax(x)) along `axis` without forming the ratio.   J^T g = g - softmax(x) * sum(g)"""
    shifted = x - x.max(axis=axis, keepdims=True)
    xp = backend_of(x).xp
    return shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))


@log_softmax.vjp(0)
def _(g, out, x, axis=-1):
    return g - exp(out) * sum(g, axis=axis, keepdims=True)


def variance(x: T, axis: Axis = None, keepdims: bool = False) -> T:
    """Mean squared deviation from the mean over `axis` (divides by n), composed of primitives."""
    centered = x - mean(x, axis=axis, keepdims=True)
    return mean(centered * centered, axis=axis, keepdims=keepdims)


def norm(x: T, axis: Axis = None) -> T:
    """Euclidean norm over `axis`, composed of primitives.   d/dx = x / norm(x), 0 where the norm is 0"""
    squares = sum(x * x, axis=axis)
    zero = equal(squares, 0.0)
    return where(zero, 0.0, sqrt(where(zero, 1.0, squares)))
