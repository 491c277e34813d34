"""Settings that are passed on: each is declared once, with its default, its type and its documentation.

A model's settings are declared in its constructor. A builder or subclass that passes them on accepts `**settings` and names
the receivers in `@passes_on(...)`; its signature, `help` and the command line then show them as its own.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tinyae.checks import checked

F = TypeVar("F", bound=Callable[..., Any])


def passes_on(*targets: Callable[..., Any], without: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Decorator for a function or `__init__` that passes its `**settings` to `targets`: its signature shows theirs.

    The kinds of all arguments are checked, as by `tinyae.checks.checked`.

    Args:
        targets: classes or functions. Their keyword-only parameters are added to the signature; of equal names the first
            counts, and the function's own before those.
        without: parameters of the targets that the function sets itself.
    """

    def decorate(function: F) -> F:
        own = inspect.signature(function)
        shown = {p.name: p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD}
        for target in targets:
            for p in inspect.signature(target).parameters.values():
                if p.kind is p.KEYWORD_ONLY and p.name not in without:
                    shown.setdefault(p.name, p)
        function.__dict__["__signature__"] = own.replace(parameters=list(shown.values()))
        function.__dict__["__passes_on__"] = targets
        return checked(function)

    return decorate


def split(settings: Mapping[str, Any], function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that `function` takes, and the others."""
    parameters = inspect.signature(function).parameters
    taken = {name: value for name, value in settings.items() if name in parameters}
    return taken, {name: value for name, value in settings.items() if name not in parameters}


def check_weight(name: str, value: float, advice: str) -> float:
    """The weight of a term of a loss; raises ValueError unless it is at least 0 and finite."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be at least 0 and finite, got {value!r}: {advice}.")
    return float(value)


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The default of each parameter that has one."""
    empty = inspect.Parameter.empty
    return {p.name: p.default for p in inspect.signature(function).parameters.values() if p.default is not empty}
