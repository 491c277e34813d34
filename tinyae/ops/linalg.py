"""Matrix products."""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import primitive, sum_to
from tinyae.ops.shape import reshape, swap_last


@primitive
def matmul(a: Any, b: Any) -> Any:
    """a @ b with a (..., N, D), b (..., D, K): a matrix product for every index of the broadcast leading axes.

    C = A B:   dL/dA = G B',   dL/dB = A' G.   Leading axes that were broadcast are summed over. A vector (D,) counts
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


def _as_matrices(g: Any, a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Give vectors their row or column axis back, and g the axes that NumPy dropped."""
    rows, columns = (a.shape[:-1] or (1,))[-1:], (b.shape[-1:] if b.ndim > 1 else (1,))
    lead = g.shape[: g.ndim - (a.ndim > 1) - (b.ndim > 1)]
    g = reshape(g, shape=lead + rows + columns)
    a = reshape(a, shape=(1, *a.shape)) if a.ndim == 1 else a
    b = reshape(b, shape=(*b.shape, 1)) if b.ndim == 1 else b
    return g, a, b


@matmul.vjp(0)
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    shape = a.shape
    g, a, b = _as_matrices(g, a, b)
    return reshape(sum_to(matmul(g, swap_last(b)), shape=a.shape), shape=shape)


@matmul.vjp(1)
def _(g: Any, out: Any, a: Any, b: Any) -> Any:
    shape = b.shape
    g, a, b = _as_matrices(g, a, b)
    return reshape(sum_to(matmul(swap_last(a), g), shape=b.shape), shape=shape)
