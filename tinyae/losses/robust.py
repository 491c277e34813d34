"""Losses that a few large errors do not dominate."""

from __future__ import annotations

from typing import Any

from tinyae import ops
from tinyae.losses.reduction import check_shapes, reduce


def absolute_error(predictions: Any, targets: Any, *, reduction: str = "per_sample") -> Any:
    """L1: |y - t|, both of one shape (N, ...).   dL/dy = sign(y - t); sub-gradient 0 at 0.   Unit: absolute error per
    sample.
    """
    check_shapes("absolute_error", predictions, targets)
    return reduce(ops.absolute(predictions - targets), reduction)


def huber(predictions: Any, targets: Any, *, delta: float = 1.0, reduction: str = "per_sample") -> Any:
    """Huber 1964: d**2 / 2 for |d| <= delta, else delta (|d| - delta / 2), with d = y - t.   dL/dy = clip(d, -delta,
    delta)

    Half a squared error near 0, an absolute error (times delta) far away. Unit: Huber error per sample.
    """
    if not delta > 0:
        raise ValueError(f"huber: delta must be positive, got {delta}.")
    check_shapes("huber", predictions, targets)
    difference = predictions - targets
    near = ops.clip(difference, low=-delta, high=delta)
    return reduce(near * (difference - 0.5 * near), reduction)
