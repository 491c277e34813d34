"""What makes a law: a name, a formula, and an error that says both."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tinyae.nn import Module


class LawError(AssertionError):
    """A law does not hold.

    Attributes:
        law: its name, e.g. "permutation equivariance".
        formula: what should have been true.
        detail: the numbers that say otherwise.
    """

    def __init__(self, subject: str, law: str, formula: str, detail: str) -> None:
        super().__init__(f"{subject} breaks the law of {law}, {formula}: {detail}")
        self.law = law
        self.formula = formula
        self.detail = detail


def law(name: str, formula: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: an AssertionError raised inside leaves as a `LawError` with the law's name and formula."""

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(check)
        def asserted(fn: Any, *inputs: Any, **options: Any) -> None:
            try:
                check(fn, *inputs, **options)
            except AssertionError as error:
                raise LawError(called(fn), name, formula, " ".join(str(error).split())) from error

        asserted.law = name  # type: ignore[attr-defined]
        asserted.formula = formula  # type: ignore[attr-defined]
        return asserted

    return decorate


def called(fn: Any) -> str:
    """What to call a function or layer in a sentence."""
    return type(fn).__name__ if isinstance(fn, Module) else getattr(fn, "__name__", type(fn).__name__)
