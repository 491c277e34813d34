"""The recipe of a model: the name of its builder and the plain arguments it was called with, which is enough to build it
again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from tinyae.models.autoencoder import Autoencoder

P = ParamSpec("P")
A = TypeVar("A", bound=Autoencoder)


def remembered(name: str) -> Callable[[Callable[P, A]], Callable[P, A]]:
    """Decorator of the builder of the registry's model `name`: what it builds knows its recipe, for `tinyae.save`.

    Its encoder knows it too, so that it can be saved and loaded without the rest. The generator is left out, as the weights
    are saved. A builder that was given anything but numbers, texts, and lists or dicts of them leaves no recipe.
    """

    def decorate(builder: Callable[P, A]) -> Callable[P, A]:
        signature = inspect.signature(builder)

        @functools.wraps(builder)
        def build(*args: P.args, **kwargs: P.kwargs) -> A:
            model = builder(*args, **kwargs)
            remember(model, name, _given(signature, args, kwargs))
            return model

        return build

    return decorate


def remember(model: Autoencoder, name: str, arguments: dict[str, Any]) -> None:
    """Write down how `model` and its encoder were built, if the arguments are plain."""
    try:
        plain = {key: _plain(value) for key, value in arguments.items()}
    except TypeError:
        return
    model.recipe = {"model": name, "arguments": plain}
    model.encoder.recipe = {**model.recipe, "part": "encoder"}


def _given(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """What was passed by name, without the generator."""
    arguments = dict(signature.bind(*args, **kwargs).arguments)
    others = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
    arguments.update(arguments.pop(others, {}) if others else {})
    arguments.pop("generator", None)
    return arguments


def _plain(value: Any) -> Any:
    """A value as JSON has it; raises TypeError for what JSON has not."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(part) for key, part in value.items()}
    raise TypeError(f"a recipe holds numbers, texts, lists and dicts, got {type(value).__name__}.")
