"""Keeping a network's output in a range and its gradient alive."""

from __future__ import annotations

import math
from typing import Any

from tinyae import ops


def keep_between(raw: Any, low: float, high: float) -> Any:
    """A smooth form of clip: nearly `raw` well inside (low, high), never outside of it (to rounding).

    y = low + softplus(high - low - softplus(high - raw)),   dy/draw = product of two sigmoids

    A hard clip has gradient 0 beyond its ends, and a number that once got there stays. This one keeps a slope, which is
    rounded to 0 only 17 beyond an end in float32. At a distance d inside it differs from `raw` by less than exp(-d):
    5e-5 at d = 10.
    """
    return low + ops.softplus((high - low) - ops.softplus(high - raw))


def raw_for(kept: float, low: float, high: float) -> float:
    """The `raw` that `keep_between` makes `kept` of; `kept` inside (low, high)."""
    return high - _inverse_softplus((high - low) - _inverse_softplus(kept - low))


def _inverse_softplus(y: float) -> float:
    """log(exp(y) - 1), y > 0."""
    return y + math.log(-math.expm1(-y))
