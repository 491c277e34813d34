"""The checks that all rooms share, so that one mistake reads the same everywhere: what, what was got, what to write instead."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def choose(what: str, value: T, options: Iterable[T], *, owner: str = "", otherwise: str = "") -> T:
    """Return `value` if it is one of `options`; else a ValueError that names it and lists them.

    Args:
        what: the kind of thing, e.g. "activation".
        owner: who wants to know, e.g. "Conv2d"; stands before the sentence.
        otherwise: what else would do, the end of the sentence.
    """
    known = list(options)
    if value not in known:
        before = f"{owner}: " if owner else ""
        raise ValueError(f"{before}unknown {what} {value!r}: choose one of {', '.join(map(str, known))}{otherwise}.")
    return value


def number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """`value` as a finite Python float within the bounds; else a TypeError or ValueError that names it."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}.") from None
    bounds = []
    if at_least is not None:
        bounds.append((result >= at_least, f"at least {at_least:g}"))
    if above is not None:
        bounds.append((result > above, f"above {above:g}"))
    if below is not None:
        bounds.append((result < below, f"below {below:g}"))
    if not (math.isfinite(result) and all(holds for holds, _ in bounds)):
        wanted = " and ".join(words for _, words in bounds) or "finite"
        raise ValueError(f"{name} must be a finite number, {wanted}, got {value}.")
    return result


def whole_number(name: str, value: Any, *, at_least: int) -> int:
    """`value` as an int of at least `at_least`; otherwise a ValueError that names it."""
    result = number(name, value)
    if result != int(result) or result < at_least:
        raise ValueError(f"{name} must be a whole number of at least {at_least}, got {value}.")
    return int(result)
