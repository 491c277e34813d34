"""The operators and methods of `StrictArray`, in one table."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tinyae.testing.strict.api import cupy_api
from tinyae.testing.strict.array import SCALARS, StrictArray
from tinyae.testing.strict.calls import call_function, call_method, call_ufunc

BINARY = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
}
"""Operators with a reflected and (but for matmul, as in CuPy) an in-place form."""

COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "eq": "equal",
    "ne": "not_equal",
}
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def _apply(name: str, *operands: Any, **options: Any) -> Any:
    if name == "matmul":
        return call_function(np, name, None, operands, options)
    return call_ufunc(name, operands, options)


def _defers(other: Any) -> bool:
    """CuPy's rule for foreign classes: they go first with `__array_ufunc__ = None` or a higher priority."""
    if isinstance(other, (StrictArray, np.ndarray, list, tuple, *SCALARS)):
        return False
    if hasattr(other, "__array_ufunc__"):
        return other.__array_ufunc__ is None
    return getattr(other, "__array_priority__", 0) > StrictArray.__array_priority__


def _bind_binary(operator: str, name: str) -> None:
    def forward(self: StrictArray, other: Any) -> Any:
        return NotImplemented if _defers(other) else _apply(name, self, other)

    def reflected(self: StrictArray, other: Any) -> Any:
        return _apply(name, other, self)

    def in_place(self: StrictArray, other: Any) -> Any:
        return _apply(name, self, other, out=self)

    setattr(StrictArray, f"__{operator}__", forward)
    if operator in COMPARISONS:
        return
    setattr(StrictArray, f"__r{operator}__", reflected)
    if operator != "matmul":
        setattr(StrictArray, f"__i{operator}__", in_place)


def _method(self: StrictArray, name: str) -> Any:
    """Any method that CuPy's arrays have too."""
    api = cupy_api()
    if name.startswith("_") or name not in api.methods:
        raise AttributeError(f"a device array has no attribute {name!r} (nor has one of CuPy {api.version}).")
    if not callable(getattr(np.ndarray, name, None)):
        raise NotImplementedError(f"the strict device has no method {name!r} of CuPy's arrays, because NumPy has none.")
    return lambda *args, **kwargs: call_method(self, name, args, kwargs)


def _numpy_ufunc(self: StrictArray, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """`scalar * x` with a NumPy scalar ends here, and is right; so does `np.exp(x)`, and is not."""
    scalar = any(isinstance(value, np.generic) for value in inputs)
    if scalar and method == "__call__" and all(isinstance(value, (StrictArray, np.generic)) for value in inputs):
        return _apply(ufunc.__name__, *inputs, **kwargs)
    raise TypeError(
        f"numpy.{ufunc.__name__} was given a device array: use xp.{ufunc.__name__}, "
        "and move host arrays to the device first (the two do not mix)."
    )


def bind() -> None:
    """Give `StrictArray` its operators and methods."""
    for operator, name in (BINARY | COMPARISONS).items():
        _bind_binary(operator, name)
    for operator, name in UNARY.items():
        setattr(StrictArray, f"__{operator}__", functools.partialmethod(_unary, name))
    setattr(StrictArray, "__getattr__", _method)  # noqa: B010
    setattr(StrictArray, "__array_ufunc__", _numpy_ufunc)  # noqa: B010


def _unary(self: StrictArray, name: str) -> Any:
    return _apply(name, self)


bind()
