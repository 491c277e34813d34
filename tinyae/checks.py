"""Checks of arguments, shared by all packages. Every message says what was expected, what was given and how to fix it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


def unknown(what: str, value: object, options: Iterable[object], *, owner: str = "", otherwise: str = "") -> ValueError:
    """The error for a `value` that is not among `options`: `raise unknown("device", name, DEVICES)`.

    Args:
        what: the kind of thing, e.g. "activation".
        owner: the class or function that was called, e.g. "Conv2d"; begins the message.
        otherwise: an alternative to the options; ends the message.
    """
    before = f"{owner}: " if owner else ""
    return ValueError(f"{before}unknown {what} {value!r}: choose one of {', '.join(map(str, options))}{otherwise}.")


def choose(what: str, value: T, options: Iterable[T], *, owner: str = "", otherwise: str = "") -> T:
    """Return `value` if it is one of `options`; otherwise raise the error that `unknown` builds."""
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
    advice: str = "",
) -> float:
    """`value` as a finite Python float. Raises ValueError out of bounds, TypeError for all else, also bool and str."""
    fix = f": {advice}" if advice else ""
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}{fix}.") from None
    if not (math.isfinite(result) and result >= at_least and above < result < below):
        bounds = (("at least", at_least), ("above", above), ("below", below))
        wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds if math.isfinite(bound))
        raise ValueError(f"{name} must be a finite number{wanted and f', {wanted}'}, got {value}{fix}.")
    return result


def whole_number(name: str, value: object, *, at_least: int, advice: str = "") -> int:
    """`value` as an int of at least `at_least`, with the errors of `number`. A float such as 3.0 is a whole number."""
    result = number(name, value, advice=advice)
    if result != int(result) or result < at_least:
        fix = f": {advice}" if advice else ""
        raise ValueError(f"{name} must be a whole number of at least {at_least}, got {value}{fix}.")
    return int(result)


@contextmanager
def reading(path: str | Path, kind: str, fix: str) -> Iterator[None]:
    """Turn whatever reading a file raises into one ValueError or OSError that names it.

    A decoder that is given any bytes at all may raise anything, so every reader of files stands behind this door:
    `with reading(path, "a NumPy file", "save it again"): ...`. An error that names the file already passes unchanged.

    Args:
        kind: what the file should be.
        fix: what the user can do.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (OSError, ValueError)) and str(path) in str(error):
            raise
        if isinstance(error, OSError) and error.strerror:
            raise OSError(error.errno, f"cannot read {path}: {error.strerror}") from error
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        if isinstance(error, MemoryError):
            raise ValueError(f"{path} needs more memory than there is ({reason}): {fix}.") from error
        raise ValueError(f"{path} is damaged or not {kind} ({reason}): {fix}.") from error
