"""Reference formulas that need more than a line: plain NumPy and SciPy on raw arrays, nothing from the package."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special


def matmul_reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b by broadcasting and summing."""
    left = a[None, :] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    out = np.sum(left[..., :, :, None] * right[..., None, :, :], axis=-2)
    out = out[..., 0] if b.ndim == 1 else out
    return (out[..., 0, :] if b.ndim > 1 else out[..., 0]) if a.ndim == 1 else out


def sum_to_reference(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Each element added to the place it was broadcast from."""
    out = np.zeros(shape)
    target = np.broadcast_to(np.arange(out.size).reshape(shape), x.shape)
    np.add.at(out.reshape(-1), target.reshape(-1), x.reshape(-1))
    return out


def scatter_reference(x: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    """By counting: a histogram of the positions, weighted by x."""
    positions = np.arange(np.prod(shape, dtype=int)).reshape(shape)[index]
    return np.bincount(np.ravel(positions), np.ravel(x), minlength=int(np.prod(shape))).reshape(shape)


def pad_reference(x: np.ndarray, widths: Any) -> np.ndarray:
    """Zeros joined on both sides, axis by axis."""
    for axis, (before, after) in enumerate(widths):
        zeros = [np.zeros((*x.shape[:axis], n, *x.shape[axis + 1 :])) for n in (before, after)]
        x = np.concatenate([zeros[0], x, zeros[1]], axis)
    return x


def crop_reference(x: np.ndarray, widths: Any) -> np.ndarray:
    """The kept indices of each axis, taken."""
    for axis, (before, after) in enumerate(widths):
        x = np.take(x, range(before, x.shape[axis] - after), axis)
    return x


def dense_reference(x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str = "identity") -> np.ndarray:
    """An Einstein sum, and the activation by its definition."""
    return activated(np.einsum("...d,dk->...k", x, w) + b, activation)


def activated(z: np.ndarray, activation: str) -> np.ndarray:
    """f(z) by its definition."""
    if activation == "relu":
        return np.where(z > 0, z, 0)
    if activation == "elu":
        return np.where(z > 0, z, np.exp(z) - 1)
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


def max_reference(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """The last of the sorted elements."""
    named = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = [a % x.ndim for a in named]
    kept = [a for a in range(x.ndim) if a not in axes]
    rows = np.transpose(x, kept + axes).reshape([x.shape[a] for a in kept] + [int(np.prod([x.shape[a] for a in axes]))])
    out = np.sort(rows, axis=-1)[..., -1]
    return out.reshape([1 if a in axes else n for a, n in enumerate(x.shape)]) if keepdims else out


def min_reference(x: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """The negative of the largest of the negatives."""
    return -max_reference(-x, axis, keepdims)


def reduced(elements: np.ndarray, reduction: str = "per_sample") -> np.ndarray:
    """Losses of the elements (N, ...) to one number, as the names of the reductions promise."""
    if reduction == "none":
        return elements
    if reduction == "mean":
        return np.mean(elements)
    total = np.add.reduce(elements, axis=None)
    return total / len(elements) if reduction == "per_sample" and len(elements) else total


def bce_reference(p: np.ndarray, t: np.ndarray, reduction: str = "per_sample") -> np.ndarray:
    """With the limits 0 log 0 = 0 of SciPy."""
    return reduced(-special.xlogy(t, p) - special.xlog1py(1 - t, -p), reduction)


def logits_reference(z: np.ndarray, t: np.ndarray, reduction: str = "per_sample") -> np.ndarray:
    """Through the probability, which is exact enough for logits near 0."""
    return reduced(-t * np.log(special.expit(z)) - (1 - t) * np.log(special.expit(-z)), reduction)


def cross_entropy_reference(logits: np.ndarray, targets: np.ndarray, reduction: str = "per_sample") -> np.ndarray:
    """Through the probabilities, which is exact enough for logits near 0."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if targets.dtype.kind == "i":
        targets = np.eye(logits.shape[1])[targets]
    return reduced(-(targets * np.log(p)).sum(axis=1), reduction)


def huber_reference(y: np.ndarray, t: np.ndarray, delta: float = 1.0, reduction: str = "per_sample") -> np.ndarray:
    """SciPy's."""
    return reduced(special.huber(delta, y - t), reduction)


def partition_reference(z: np.ndarray) -> np.ndarray:
    """log of the integral of exp(z x) over x in [0, 1], by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x = (nodes + 1) / 2
    return np.log(np.exp(np.multiply.outer(z, x)) @ weights / 2)


def partition_slope(z: np.ndarray) -> np.ndarray:
    """The mean of x under the density exp(z x) / integral on [0, 1], by quadrature."""
    return _moment(z, 1)


def partition_curve(z: np.ndarray) -> np.ndarray:
    """The variance under the same density."""
    return _moment(z, 2) - _moment(z, 1) ** 2


def _moment(z: np.ndarray, power: int) -> np.ndarray:
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x = (nodes + 1) / 2
    density = np.exp(np.multiply.outer(z, x))
    return (density * x**power) @ weights / (density @ weights)


def sparsity_reference(code: np.ndarray, rho: float) -> np.ndarray:
    """Relative entropies of the mean activations; written out for complex ones, which SciPy does not take."""
    mean = np.mean(code, axis=0)
    if np.iscomplexobj(code):
        return (rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))).sum()
    return (special.rel_entr(rho, mean) + special.rel_entr(1 - rho, 1 - mean)).sum()
