"""Kernels of the CPU for dense layers, losses and Adam: large arrays in parts for several threads.

Results are those of the references in `base` up to rounding. NumPy's functions differ in speed by a factor of ten: a logarithm
of 1 + x costs as much as nine exponentials, a maximum with a number three times as much as clipping.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from tinyae.backend.parallel import chunks, in_parts

MULTIPLICATIONS = 10_000_000
"""Multiplications of a product from which a second thread is worth its cost: a quarter of a millisecond.

A hand-over costs 25 us where the other processor is awake, and in a virtual machine that puts it to sleep 150 us.
"""

ENTRIES = 1 << 18
"""Entries of an array from which a second thread is worth its cost."""

LOGITS = 1 << 13
"""Entries from which the cross-entropy by one exponential is faster, on one thread already."""

_CHUNK = 1 << 18
"""Entries that a thread works on at a time.

A quarter of it would fit a second-level cache, but takes four times as many calls; after each, a thread may have to wait for
another to hand over the interpreter lock.
"""


def _parts(work: int, least: int) -> int:
    """Into how many parts to cut: one below `least`, then two, and up to 16 if each has at least eight times `least`."""
    return 1 if work < least else min(16, max(2, 1 << (work // (8 * least)).bit_length() >> 1))


def _product_parts(rows: int, inner: int, columns: int) -> int:
    """Into how many parts to cut a product."""
    return _parts(rows * inner * columns, MULTIPLICATIONS)


# ---------------------------------------------------------------------------------------------------------------------
# Matrix products.


def affine(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, finish: Callable[[np.ndarray], None] | None = None
) -> np.ndarray:
    """`Backend.affine` in parts of the rows or the columns of the result, whichever are more; without a bias x @ weight."""
    (d, k), tall = weight.shape, x.size >= weight.size
    out = np.empty((*x.shape[:-1], k), np.result_type(x, weight))
    rows, result = x.reshape(-1, d), out.reshape(-1, k)

    def work(start: int, stop: int) -> None:
        if tall:
            part, added = result[start:stop], bias
            np.matmul(rows[start:stop], weight, out=part)
        else:
            part, added = result[:, start:stop], None if bias is None else bias[start:stop]
            np.matmul(rows, weight[:, start:stop], out=part)
        if added is not None:
            part += added
        if finish is not None:
            finish(part)

    in_parts(work, len(rows) if tall else k, _product_parts(len(rows), d, k))
    return out


def affine_backward(
    slope: Callable[[slice], np.ndarray], x: np.ndarray, weight: np.ndarray, wanted: Collection[int]
) -> tuple[np.ndarray | None, ...]:
    """`Backend.affine_backward` in parts of the samples if these are many more than the features, else of the features.

    Parts of the samples have a gradient of all weights each, to be added; parts of the features have the weights of theirs.
    """
    (n, d), k, dtype = x.shape, weight.shape[1], np.result_type(x, weight)
    dx = np.empty((n, d), dtype) if 0 in wanted else None
    parts = _product_parts(n, d * ((0 in wanted) + (1 in wanted)), k)
    if n >= 2 * d:

        def of_samples(start: int, stop: int) -> tuple[np.ndarray | None, np.ndarray]:
            dz = slope(slice(start, stop))
            if dx is not None:
                np.matmul(dz, weight.T, out=dx[start:stop])
            return x[start:stop].T @ dz if 1 in wanted else None, _sum(dz)

        of_weight, of_bias = zip(*in_parts(of_samples, n, parts), strict=True)
        return dx, sum(of_weight[1:], start=of_weight[0]) if 1 in wanted else None, sum(of_bias[1:], start=of_bias[0])
    dz = slope(slice(None))
    dw = np.empty((d, k), dtype) if 1 in wanted else None

    def of_features(start: int, stop: int) -> None:
        if dx is not None:
            np.matmul(dz, weight[start:stop].T, out=dx[:, start:stop])
        if dw is not None:
            np.matmul(x[:, start:stop].T, dz, out=dw[start:stop])

    in_parts(of_features, d, parts)
    return dx, dw, _sum(dz) if 2 in wanted else None


def _sum(rows: np.ndarray) -> np.ndarray:
    """The sum over axis 0, as a product, which is twice as fast."""
    return np.ones(len(rows), rows.dtype) @ rows


# ---------------------------------------------------------------------------------------------------------------------
# Losses: their sum and their derivative, both from one trip through memory.


def bce_with_logits(logits: np.ndarray, targets: np.ndarray, factor: float) -> tuple[Any, np.ndarray]:
    """`Backend.bce_with_logits` from one exponential e = exp(-|z|).

    softplus(z) = max(z, 0) + log(1 + e), and sigmoid(z) = 1 / (1 + e) for z >= 0, e / (1 + e) below. 16 numbers 1 + e, each at
    most 2, are multiplied before one logarithm is taken of them. What is lost as 1 + e is rounded, e - (u - 1) with u the
    rounded sum, is the whole term where e is tiny, and log(u + lost) is log(u) + lost there. Elsewhere it is less than the
    rounding error of log(u), so no quotient lost / u is needed.
    """
    z, t = logits.reshape(-1), targets.reshape(-1)
    slopes = np.empty(z.size, z.dtype)
    zero, one, scale = (np.asarray(value, z.dtype) for value in (0.0, 1.0, factor))

    def work(start: int, stop: int) -> float:
        total, scratch = 0.0, np.empty((3, min(_CHUNK, stop - start)), z.dtype)
        for here in chunks(start, stop, _CHUNK):
            x, y, slope = z[here], t[here], slopes[here]
            e, u, terms = scratch[:, : x.size]
            np.negative(np.abs(x, out=e), out=e)
            np.exp(e, out=e)
            np.add(e, one, out=u)
            positive = np.greater_equal(x, zero).astype(z.dtype)
            np.divide(np.maximum(e, positive, out=slope), u, out=slope)
            slope -= y
            slope *= scale
            np.subtract(positive, y, out=terms)
            terms *= x  # max(z, 0) - t z
            e -= np.subtract(u, one, out=positive)
            total += float(terms.sum()) + float(e.sum())
            while u.size % 2 == 0 and u.size > x.size // 16:
                half = u.size // 2
                u = np.multiply(u[:half], u[half:], out=u[:half])
            total += float(np.log(u, out=u).sum())
        return total

    total = sum(in_parts(work, z.size, _parts(z.size, ENTRIES)))
    return z.dtype.type(total * factor), slopes.reshape(logits.shape)


def squared_error(predictions: np.ndarray, targets: np.ndarray) -> tuple[Any, np.ndarray]:
    """`Backend.squared_error`, each chunk multiplied by itself while it is in the cache."""
    y, t = predictions.reshape(-1), targets.reshape(-1)
    differences = np.empty(y.size, y.dtype)

    def work(start: int, stop: int) -> float:
        parts = [np.subtract(y[here], t[here], out=differences[here]) for here in chunks(start, stop, _CHUNK)]
        return sum(float(part @ part) for part in parts)

    total = sum(in_parts(work, y.size, _parts(y.size, ENTRIES)))
    return y.dtype.type(total), differences.reshape(predictions.shape)


# ---------------------------------------------------------------------------------------------------------------------
# Adam.


def adam(
    param: np.ndarray, grad: np.ndarray, mean: np.ndarray, square: np.ndarray,
    *, step: float, beta1: float, beta2: float, eps: float, decay: float,
) -> None:  # fmt: skip
    """`Backend.adam` to the same bits: one trip through memory instead of twelve."""
    # 0-d arrays of the parameters' dtype, because NumPy would convert a Python float at every call.
    mean_kept, one_minus_beta1, square_kept, one_minus_beta2, small, rate, decay_factor = (
        np.asarray(value, param.dtype) for value in (beta1, 1.0 - beta1, beta2, 1.0 - beta2, eps, step, 1.0 - decay)
    )

    def work(start: int, stop: int) -> None:
        scratch = np.empty(min(_CHUNK, stop - start), param.dtype)
        for here in chunks(start, stop, _CHUNK):
            p, g, m, s = param[here], grad[here], mean[here], square[here]
            t = scratch[: p.size]
            np.multiply(g, one_minus_beta1, out=t)
            np.multiply(m, mean_kept, out=m)
            np.add(m, t, out=m)
            np.multiply(g, one_minus_beta2, out=t)
            np.multiply(t, g, out=t)
            np.multiply(s, square_kept, out=s)
            np.add(s, t, out=s)
            np.sqrt(s, out=t)
            np.add(t, small, out=t)
            np.divide(m, t, out=t)
            np.multiply(t, rate, out=t)
            if decay:
                np.multiply(p, decay_factor, out=p)
            np.subtract(p, t, out=p)

    in_parts(work, param.size, _parts(param.size, 2 * ENTRIES))
