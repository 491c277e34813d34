"""How a primitive is called: arrays by position, options by name or after the arrays.

A forward function accepts its options by name only. A call that it rejects, e.g. `sum(x, 0)`, is parsed again here; if it
still does not fit, the error says what to write. No other call comes here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

SYNONYMS = {"dim": "axis", "dims": "axes", "keepdim": "keepdims", "min": "low", "max": "high", "newshape": "shape"}
"""What NumPy or PyTorch call an option that has another name here."""


class Signature:
    """The parameters of a function of arrays, e.g. of `clip(x, *, low, high)`: `arrays` are given by position, `options` by
    name, and the `required` among them have no default. `joins` is the name of `*xs`, for any number of arrays.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.name = name
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError:  # some functions written in C have none
            parameters = inspect.signature(lambda *xs, **options: None).parameters.values()
        self.arrays = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self.required = [p.name for p in parameters if p.default is p.empty]
        self.joins = "".join(p.name for p in parameters if p.kind is p.VAR_POSITIONAL)
        self.open = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def usage(self, **options: object) -> str:
        """The call with what is required, and with `options`: `clip(x, low=..., high=...)`."""
        arrays = [f"*{self.joins}"] if self.joins else [name for name in self.arrays if name in self.required]
        needed = {name: "..." for name in self.options if name in self.required} | options
        return f"{self.name}({', '.join(arrays + [f'{name}={value}' for name, value in needed.items()])})"

    def reread(self, args: Sequence[Any], params: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]] | None:
        """The call with the options by name that were given by position, and with the arrays of one list by position.

        None if there is nothing like that in it.
        """
        count = len(self.arrays)
        if self.joins:
            count = next((i for i, arg in enumerate(args) if not hasattr(arg, "shape")), len(args))
        arrays, rest = args[:count], args[count:]
        if self.joins and not arrays and rest and isinstance(rest[0], (list, tuple)):
            arrays, rest = rest[0], rest[1:]
        elif not rest:
            return None
        named = dict(zip(self.options, rest, strict=False))
        fits = len(named) == len(rest) and not named.keys() & params.keys() and not holds_tensor(rest)
        return (arrays, named | params) if fits else None

    def fault(self, args: Sequence[Any], params: dict[str, Any], error: Exception | None = None) -> str:
        """What to write instead of a call that raised `error`, if any; empty if the arguments are as they should be."""
        few = any(name in self.required for name in self.arrays[len(args) :])
        for name, value in params.items():
            known = name in self.arrays or name in self.options or self.open
            if holds_tensor(value) if name in self.arrays else few and not known and hasattr(value, "shape"):
                return f"arrays are positional: {self.usage()}."
            if not known:
                hint = f"; {name} is called {SYNONYMS[name]}" if SYNONYMS.get(name) in self.options else ""
                return f"{self.name}() has no option {name}: it has {', '.join(self.options) or 'none'}{hint}."
        if (rest := args[len(self.arrays) :]) and not self.joins:
            given = " and ".join([f"{len(args)} arguments by position", *(f"{name} by name" for name in params)])
            numbers = len(rest) > len(self.options) > 0 and all(isinstance(value, int) for value in rest)
            right = self.usage(**{self.options[0]: rest}) if numbers else self.usage()
            return f"{self.name}() takes {', '.join(self.arrays + self.options)}, got {given}: write {right}."
        for value in args:
            if isinstance(value, (list, tuple)) and holds_tensor(value):
                return f"{self.name}() takes an array, got a list of Tensors: join them with tinyae.ops.stack."
            if value is getattr(error, "obj", error) and not hasattr(value, "shape"):
                return f"{self.name}() takes an array, got {type(value).__name__}: make one with numpy.asarray(...)."
        return ""


def holds_tensor(value: object) -> bool:
    """Whether a value is a Tensor, or a list with one in it."""
    return any(map(holds_tensor, value)) if isinstance(value, (list, tuple)) else hasattr(value, "requires_grad")
