"""What there is to check: the package searched for everything that needs an entry in a table.

Nothing is listed by hand, so a primitive, loss, layer or model that somebody adds without an entry is found, and a test
names it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from tinyae import losses, nn
from tinyae.autodiff import Primitive
from tinyae.losses import REDUCTIONS
from tinyae.models import MODELS, Autoencoder
from tinyae.nn.convolution import Convolution
from tinyae.nn.pooling import Pooling
from tinyae.nn.recurrent import RecurrentStack
from tinyae.testing.module_case import ModuleCase
from tinyae.testing.op_case import OpCase

PACKAGES = ("tinyae.autodiff", "tinyae.ops", "tinyae.losses", "tinyae.nn", "tinyae.models")
"""Where primitives are looked for."""

BASES = frozenset({nn.Module, nn.Noise, Convolution, Pooling, RecurrentStack})
"""Classes that compute nothing until a subclass says what."""

HELPERS = frozenset({"REDUCTIONS", "Loss", "check_shapes", "reduce", "unit"})
"""What `tinyae.losses` exports besides losses."""


def modules_of(package: str) -> Iterator[ModuleType]:
    """A package and every module in it, imported."""
    root = importlib.import_module(package)
    yield root
    for info in pkgutil.walk_packages(root.__path__, package + "."):
        yield importlib.import_module(info.name)


def discovered_primitives() -> dict[int, Primitive]:
    """Every Primitive that a module of the engine's packages holds, by identity."""
    values = [v for package in PACKAGES for module in modules_of(package) for v in vars(module).values()]
    return {id(value): value for value in values if isinstance(value, Primitive)}


def discovered_losses() -> list[Any]:
    """Every loss that `tinyae.losses` exports."""
    return [getattr(losses, name) for name in losses.__all__ if name not in HELPERS]


def discovered_layers() -> list[type[nn.Module]]:
    """Every layer that is defined in `tinyae.nn`, exported or not."""
    return _classes("tinyae.nn", nn.Module)


def discovered_autoencoders() -> list[type[nn.Module]]:
    """Every class of autoencoder that is defined in `tinyae.models`."""
    return _classes("tinyae.models", Autoencoder)


def _classes(package: str, base: type) -> list[type]:
    found = {
        value: None
        for module in modules_of(package)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base) and value not in BASES
        if value.__module__.startswith(package)
    }
    return list(found)


def missing_entries(cases: list[OpCase], layers: list[ModuleCase], models: list[ModuleCase]) -> list[str]:
    """A sentence for everything that has no entry: what it is, and the line to add.

    Args:
        cases: of operations and losses.
        layers: the table of layers.
        models: the table of models.
    """
    covered = {id(case.op) for case in cases}
    lines = [
        f"the primitive {p.name}: add `*cases(ops.{p.name}, [((3, 4),), ...], reference)` to tables/ops.py"
        for key, p in discovered_primitives().items()
        if key not in covered
    ]
    for loss in discovered_losses():
        lines += _missing_reductions(loss, [case for case in cases if case.op is loss])
    lines += [
        f"the layer nn.{kind.__name__}: add `layer(nn.{kind.__name__}, ...)` to tables/layers.py"
        for kind in discovered_layers()
        if kind not in _kinds(layers)
    ]
    built = [case.build(np.random.default_rng(0)) for case in models]
    known = {module.recipe["model"] for module in built if isinstance(module, Autoencoder) and module.recipe}
    unknown = MODELS.keys() - known
    lines += [f"the model {name!r}: add `model({name!r}, ...)` to tables/models.py" for name in unknown]
    lines += [
        f"the class models.{kind.__name__}: add a `model(...)` that builds one to tables/models.py"
        for kind in discovered_autoencoders()
        if kind not in {type(module) for module in built}
    ]
    return lines


def _missing_reductions(loss: Any, cases: list[OpCase]) -> list[str]:
    add = f"add `*each_reduction(losses.{loss.__name__}, reference)` to tables/losses.py"
    if not cases:
        return [f"the loss {loss.__name__}: {add}"]
    if "reduction" not in inspect.signature(loss).parameters:
        return []
    known = {case.params.get("reduction", "per_sample") for case in cases}
    return [f"the loss {loss.__name__} with reduction {name!r}: {add}" for name in REDUCTIONS if name not in known]


def _kinds(cases: list[ModuleCase]) -> set[type]:
    """The classes of all modules in the cases, inner ones too."""
    rng = np.random.default_rng(0)
    return {type(part) for case in cases for _, part in case.build(rng).named_modules()}
