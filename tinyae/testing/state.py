"""What a function or layer holds, and how it is left as it was found.

A layer has more state than `parameters()` and buffers: an array in an attribute, a counter, a cache in a closure, a list that is a
default. `parts` finds all of it by name, and `untouched` puts it back.
"""

from __future__ import annotations

import random
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from tinyae.autodiff import Primitive, Tensor
from tinyae.backend import backend_of

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_ATOMS = (type(None), bool, int, float, complex, str, bytes, types.ModuleType, np.generic)
_LIBRARIES = {*sys.stdlib_module_names, "builtins", "cupy", "hypothesis", "matplotlib", "numpy", "pytest", "scipy"}
_WRAPPERS = {
    types.MethodType: ("__self__", "__func__"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget",),
    partial: ("func", "args", "keywords"),
}
_CODE = (types.FunctionType, types.MethodType, staticmethod, classmethod, property, type, Primitive)


def parts(*roots: Any, code: bool = True) -> list[tuple[str, Any]]:
    """Everything mutable that the roots hold, nearest first, with its name, e.g. "encoder.cache.0".

    That is: attributes, also of plain objects, and items of containers; with `code` also closures, defaults, class attributes,
    and the globals that a function names.
    """
    found: list[tuple[str, Any]] = []
    seen: set[int] = set()
    waiting = deque(("", root) for root in roots)
    while waiting:
        name, x = waiting.popleft()
        if id(x) not in seen and not isinstance(x, _ATOMS) and (code or not isinstance(x, _CODE)):
            seen.add(id(x))
            found.append((name, x))
            waiting.extend((f"{name}{key}".removeprefix("."), item) for key, item in _inside(x))
    return found


def _inside(x: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds, as pairs of what to append to its name and the value."""
    if isinstance(x, (list, tuple, set, frozenset, deque)):
        yield from ((f".{i}", item) for i, item in enumerate(x))
    elif type(x) in _WRAPPERS:
        yield from (("", getattr(x, name)) for name in _WRAPPERS[type(x)])
    elif isinstance(x, types.CellType):
        yield from (("", item) for item in _entries(x).values())
    elif not isinstance(x, (np.ndarray, Tensor, *GENERATORS)) and not _is_foreign(x):
        yield from ((f".{key}", item) for key, item in _entries(x).items())
        if isinstance(x, types.FunctionType):
            yield from zip([f".{name}" for name in x.__code__.co_freevars], x.__closure__ or (), strict=True)
            yield from (("", x.__defaults__), ("", x.__kwdefaults__))
        elif isinstance(x, type):
            yield from (("", base) for base in x.__bases__)
        elif not isinstance(x, dict):
            yield "", type(x)


def _is_foreign(x: Any) -> bool:
    """Whether an object belongs to Python, to a library, or to the code of this package; its layers do not."""
    if isinstance(x, (dict, types.SimpleNamespace)):
        return False
    code = x.forward if isinstance(x, Primitive) else x
    own = isinstance(code, (type, types.FunctionType))
    package = str(getattr(code if own else type(x), "__module__", "")).partition(".")[0].removeprefix("_")
    return package in _LIBRARIES or (own and package == "tinyae")


def _entries(x: Any) -> dict[str, Any]:
    """What can be replaced in an object, by name: items, attributes, slots, or the globals that a function names."""
    if isinstance(x, dict):
        return dict(x)
    if isinstance(x, types.CellType):
        try:
            return {"cell_contents": x.cell_contents}
        except ValueError:
            return {}
    if isinstance(x, types.FunctionType):
        codes, names = [x.__code__], set[str]()
        for code in codes:  # also of the functions defined inside
            names.update(code.co_names)
            codes.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
        return {name: x.__globals__[name] for name in sorted(names & x.__globals__.keys())} | vars(x)
    if isinstance(x, type):
        return {name: item for name, item in vars(x).items() if not name.startswith("__")}
    slots = [vars(kind).get("__slots__", ()) for kind in type(x).__mro__]
    names = {name for some in slots for name in ([some] if isinstance(some, str) else some)}
    return {name: getattr(x, name) for name in names if hasattr(x, name)} | getattr(x, "__dict__", {})


class Snapshot:
    """The state of some parts at one moment."""

    def __init__(self, found: Iterable[tuple[str, Any]]) -> None:
        self.held = [(name, x, copy) for name, x in found if (copy := _copy(x)) is not None]

    def put_back(self, kinds: Any = object) -> None:
        """Put everything back, or only what is of some kinds; arrays by value."""
        for _, x, copy in self.held:
            if isinstance(x, kinds):
                _put_back(x, copy)

    def changed(self) -> list[str]:
        """Names of what is different now, Tensors and generators apart."""
        names: list[str] = []
        for name, x, copy in self.held:
            if isinstance(x, np.ndarray):
                names += [] if np.array_equal(x, copy, equal_nan=x.dtype.kind in "fc") else [name]
            elif isinstance(copy, (list, set, deque)):
                names += [] if [*map(id, x)] == [*map(id, copy)] else [name]
            elif isinstance(copy, dict) and not isinstance(x, GENERATORS):
                now = _entries(x)
                keys = [key for key in {**copy, **now} if now.get(key, x) is not copy.get(key, x)]
                names += [f"{name}.{key}".removesuffix(".cell_contents").removeprefix(".") for key in keys]
        return list(dict.fromkeys(names))


@contextmanager
def untouched(*roots: Any) -> Iterator[Snapshot]:
    """Leave everything that the roots hold as it was found, also after an error; gives the state at the start."""
    before = Snapshot(parts(*roots))
    try:
        yield before
    finally:
        before.put_back()


def writeable(x: Any) -> bool:
    """Whether an array, on any device, can be written into."""
    return bool(getattr(getattr(x, "flags", None), "writeable", True))


def _copy(x: Any) -> Any:
    """What `_put_back` needs; None for what has no state of its own."""
    if isinstance(x, np.ndarray):
        return x.copy() if writeable(x) else None
    if isinstance(x, Tensor):
        return x._data, backend_of(x._data).xp.array(x._data), x._grad, x._buffer, x.node, x.node and x.node.version
    if isinstance(x, np.random.Generator):
        return x.bit_generator.state
    if isinstance(x, GENERATORS):
        return x.__getstate__()
    if isinstance(x, (list, set, deque)):
        return x.copy()
    fixed = isinstance(x, (tuple, frozenset, *_WRAPPERS))
    return None if fixed or (_is_foreign(x) and not isinstance(x, types.CellType)) else _entries(x)


def _put_back(x: Any, copy: Any) -> None:
    if isinstance(x, np.ndarray):
        np.copyto(x, copy)
    elif isinstance(x, Tensor):
        x._data, data, x._grad, x._buffer, x.node, version = copy
        if writeable(x._data):
            backend_of(data).xp.copyto(x._data, data)
        if x.node is not None:
            x.node.version = version
    elif isinstance(x, np.random.Generator):
        x.bit_generator.state = copy
    elif isinstance(x, GENERATORS):
        x.__setstate__(copy)  # type: ignore[union-attr]
    elif isinstance(x, (list, deque, set, dict)):
        x.clear()
        (x.update if isinstance(x, (set, dict)) else x.extend)(copy)
    else:
        _reassign(x, copy)


def _reassign(x: Any, copy: dict[str, Any]) -> None:
    """Set the attributes, class attributes or globals that were replaced, and delete those that are new."""
    now = _entries(x)
    for name in {**now, **copy}:
        if now.get(name, x) is copy.get(name, x):
            continue
        if isinstance(x, types.FunctionType) and name not in vars(x):
            x.__globals__[name] = copy[name]
        elif name not in copy:
            delattr(x, name)
        elif isinstance(x, type):
            setattr(x, name, copy[name])
        else:
            object.__setattr__(x, name, copy[name])
