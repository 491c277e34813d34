"""Settings that are passed on: every knob is declared once, with its default, its type and its line of documentation.

A model's settings stand in its constructor. A builder, or a subclass, that hands them on takes them as `**settings` and
names in `@passes_on(...)` who takes them; then its signature, `help` and the command line show them as if they stood there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def passes_on(*targets: Callable[..., Any], without: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Decorator of a function or an `__init__` that hands its `**settings` to `targets`: it shows their settings as its own.

    Args:
        targets: classes or functions. What they take by name only is added to the signature; where two of them declare
            the same setting, or the function itself does, the first declaration counts.
        without: settings of the targets that the function decides itself.
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
        return function

    return decorate


def split(settings: Mapping[str, Any], function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that `function` takes, and the others."""
    taken = inspect.signature(function).parameters
    return (
        {name: value for name, value in settings.items() if name in taken},
        {name: value for name, value in settings.items() if name not in taken},
    )


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """What the settings of a function or class are where nobody says otherwise."""
    empty = inspect.Parameter.empty
    return {p.name: p.default for p in inspect.signature(function).parameters.values() if p.default is not empty}
