"""The checks that all rooms share, so that one mistake reads the same everywhere: what, what was got, what to write instead."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def unknown(what: str, value: object, options: Iterable[object], *, owner: str = "", otherwise: str = "") -> ValueError:
    """The error for a `value` that is none of `options`, which it lists: `raise unknown("device", name, DEVICES)`.

    Args:
        what: the kind of thing, e.g. "activation".
        owner: who wants to know, e.g. "Conv2d"; stands before the sentence.
        otherwise: what else would do, the end of the sentence.
    """
    before = f"{owner}: " if owner else ""
    return ValueError(f"{before}unknown {what} {value!r}: choose one of {', '.join(map(str, options))}{otherwise}.")


def choose(what: str, value: T, options: Iterable[T], *, owner: str = "", otherwise: str = "") -> T:
    """Return `value` if it is one of `options`; else raise what `unknown` says."""
    known = list(options)
    if value not in known:
        raise unknown(what, value, known, owner=owner, otherwise=otherwise)
    return value


def number(
    name: str,
    value: object,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """`value` as a finite Python float within the bounds; else a TypeError or ValueError that names it."""
    try:
        result = float(value)  # type: ignore[arg-type]  # what cannot be one raises
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}.") from None
    if not (math.isfinite(result) and result >= at_least and above < result < below):
        bounds = (("at least", at_least), ("above", above), ("below", below))
        wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds if math.isfinite(bound)) or "finite"
        raise ValueError(f"{name} must be a finite number, {wanted}, got {value}.")
    return result


def whole_number(name: str, value: object, *, at_least: int, advice: str = "") -> int:
    """`value` as an int of at least `at_least`; else a TypeError or ValueError that names it and ends in `advice`.

    A float that is whole, such as 3.0 or NumPy's, is a whole number; True is not.
    """
    result = number(name, value)
    if isinstance(value, bool) or result != int(result) or result < at_least:
        fix = f": {advice}" if advice else ""
        raise ValueError(f"{name} must be a whole number of at least {at_least}, got {value}{fix}.")
    return int(result)
