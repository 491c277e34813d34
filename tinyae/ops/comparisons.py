"""Comparisons and choices. A comparison is piecewise constant: its result is a constant Tensor of booleans."""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import primitive
from tinyae.backend import backend_of


@primitive(elementwise=True, differentiable=False)
def less(x: Any, y: Any) -> Any:
    """x < y, elementwise."""
    return x < y


@primitive(elementwise=True, differentiable=False)
def less_equal(x: Any, y: Any) -> Any:
    """x <= y, elementwise."""
    return x <= y


@primitive(elementwise=True, differentiable=False)
def greater(x: Any, y: Any) -> Any:
    """x > y, elementwise."""
    return x > y


@primitive(elementwise=True, differentiable=False)
def greater_equal(x: Any, y: Any) -> Any:
    """x >= y, elementwise."""
    return x >= y


@primitive(elementwise=True, differentiable=False)
def equal(x: Any, y: Any) -> Any:
    """x == y, elementwise."""
    return x == y


@primitive(elementwise=True, differentiable=False)
def not_equal(x: Any, y: Any) -> Any:
    """x != y, elementwise."""
    return x != y


@primitive(differentiable=False)
def indicator(condition: Any, like: Any) -> Any:
    """1 where `condition` holds, else 0, in the dtype of `like` (a boolean times 0.5 is float64 for any input)."""
    return condition.astype(like.dtype)


@primitive(elementwise=True)
def where(condition: Any, x: Any, y: Any) -> Any:
    """x where `condition` holds, else y.   The gradient goes to whichever was taken; `condition` gets none."""
    return backend_of(condition).xp.where(condition, x, y)


@where.vjp(1)
def _(g: Any, out: Any, condition: Any, x: Any, y: Any) -> Any:
    return where(condition, g, 0.0)


@where.vjp(2)
def _(g: Any, out: Any, condition: Any, x: Any, y: Any) -> Any:
    return where(condition, 0.0, g)


@primitive(elementwise=True)
def maximum(x: Any, y: Any) -> Any:
    """The larger of x and y.   The gradient goes to the larger; ties split it in halves."""
    return backend_of(x if hasattr(x, "shape") else y).xp.maximum(x, y)


@maximum.vjp(0)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * (0.5 * (indicator(x > y, g) + indicator(x >= y, g)))


@maximum.vjp(1)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * (0.5 * (indicator(x < y, g) + indicator(x <= y, g)))


@primitive(elementwise=True)
def minimum(x: Any, y: Any) -> Any:
    """The smaller of x and y.   The gradient goes to the smaller; ties split it in halves."""
    return backend_of(x if hasattr(x, "shape") else y).xp.minimum(x, y)


@minimum.vjp(0)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * (0.5 * (indicator(x < y, g) + indicator(x <= y, g)))


@minimum.vjp(1)
def _(g: Any, out: Any, x: Any, y: Any) -> Any:
    return g * (0.5 * (indicator(x > y, g) + indicator(x >= y, g)))


@primitive(elementwise=True)
def clip(x: Any, *, low: float, high: float) -> Any:
    """x limited to [low, high].   d/dx = 1 inside and on the border, 0 outside."""
    if not low <= high:
        raise ValueError(f"clip: low must not be above high, got low={low!r} and high={high!r}: exchange them.")
    return backend_of(x).xp.clip(x, low, high)


@clip.vjp(0)
def _(g: Any, out: Any, x: Any, low: float, high: float) -> Any:
    return where((x >= low) * (x <= high), g, 0.0)
