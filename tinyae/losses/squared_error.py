"""Squared error: the negative log-likelihood of a Gaussian with fixed scale, up to constants."""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import primitive
from tinyae.backend import Array
from tinyae.losses.reduction import check_shapes, reduce, scale


def squared_error_composed(predictions: Any, targets: Any, *, reduction: str = "per_sample") -> Any:
    """(predictions - targets)**2, reduced: the definition of `squared_error` in primitives."""
    difference = predictions - targets
    return reduce(difference * difference, reduction)


@primitive(composed=squared_error_composed)
def squared_error(predictions: Any, targets: Any, *, reduction: str = "per_sample") -> Any:
    """Squared error (y - t)**2, both of one shape (N, ...).   dL/dy = 2 (y - t) * scale

    Unit: squared error per sample; with reduction "mean" it is the mean squared error per element.
    """
    check_shapes("squared_error", predictions, targets)
    difference = predictions - targets
    if reduction == "none":
        return difference * difference, difference
    flat = difference.reshape(-1)
    return flat @ flat * scale(difference.shape, reduction), difference


@squared_error.fused_vjp
def _(
    g: Array,
    out: Array,
    difference: Array,
    wanted: list[int],
    predictions: Array,
    targets: Array,
    reduction: str = "per_sample",
) -> tuple:
    if reduction != "none":
        g = g * scale(difference.shape, reduction)
    slope = (2.0 * g) * difference
    return slope if 0 in wanted else None, -slope if 1 in wanted else None


def half_squared_error(predictions: Any, targets: Any, *, reduction: str = "per_sample") -> Any:
    """(y - t)**2 / 2, the form whose derivative has no factor.   dL/dy = y - t

    Unit: half squared error per sample.
    """
    return 0.5 * squared_error(predictions, targets, reduction=reduction)
