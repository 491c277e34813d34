"""The namespace `xp` of the double: NumPy's functions under the names, and with the keywords, that CuPy has."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tinyae.testing.strict.account import LEDGER
from tinyae.testing.strict.api import cupy_api
from tinyae.testing.strict.array import StrictArray, device_array
from tinyae.testing.strict.calls import call_function, call_ufunc, poisoned, unwrap, wrap
from tinyae.testing.strict.random import LegacyRandom, StrictGenerator

SCATTERING = {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"}
"""The ufuncs whose `.at` CuPy has."""


class StrictUfunc:
    """An elementwise function: callable, with the methods that CuPy's have (`at`, `reduce`, `outer`)."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return call_ufunc(self.__name__, args, kwargs)

    def at(self, a: StrictArray, indices: Any, b: Any = None) -> None:
        """Unbuffered a[indices] = f(a[indices], b): a position named twice collects both."""
        if self.__name__ not in SCATTERING:
            raise NotImplementedError(f"CuPy has no {self.__name__}.at.")
        LEDGER.launch(f"{self.__name__}.at")
        host = [unwrap(value, f"{self.__name__}.at") for value in (a, indices, b)]
        getattr(np, self.__name__).at(*host)

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Sum or product along an axis; CuPy reduces with no other function."""
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"CuPy has no {self.__name__}.reduce: use xp.max, xp.min, xp.all or xp.any.")
        method = array.sum if self.__name__ == "add" else array.prod
        return method(axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def outer(self, a: Any, b: Any) -> Any:
        """f of every pair."""
        host = [unwrap(value, self.__name__) for value in (a, b)]
        return wrap(getattr(np, self.__name__).outer(*host), host, self.__name__)


class Namespace(ModuleType):
    """One of CuPy's modules. A name is looked up when it is first used.

    Raises:
        AttributeError: CuPy has no such name.
        NotImplementedError: CuPy has it, but NumPy has not, so that the double cannot do it (kernels in CUDA C).
    """

    def __init__(self, name: str, backing: Any) -> None:
        super().__init__(name)
        self._backing = backing

    def __getattr__(self, name: str) -> Any:
        api = cupy_api()
        names = api.modules[self.__name__]
        if name.startswith("_") or name not in names:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} (CuPy {api.version}).")
        if not hasattr(self._backing, name):
            raise NotImplementedError(f"the strict device has no {self.__name__}.{name}, because NumPy has none.")
        found = self._resolved(name, names[name])
        setattr(self, name, found)
        return found

    def _resolved(self, name: str, kind: Any) -> Any:
        if kind == "ufunc":
            return StrictUfunc(name)
        if kind == "other":
            return getattr(self._backing, name)

        def function(*args: Any, **kwargs: Any) -> Any:
            return call_function(self._backing, name, kind, args, kwargs)

        function.__name__ = name
        return function


class RandomNamespace(Namespace):
    """`cupy.random`."""

    def __init__(self) -> None:
        super().__init__("cupy.random", np.random)
        self.Generator = StrictGenerator
        self.default_rng = StrictGenerator
        self._legacy = LegacyRandom()

    def _resolved(self, name: str, kind: Any) -> Any:
        if kind == "other":
            return super()._resolved(name, kind)
        return lambda *args, **kwargs: self._legacy.call(name, args, kwargs)


class StrictNdarray(type):
    """What `xp.ndarray` is: device arrays are its instances, and calling it gives memory that nobody has written."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, StrictArray)

    def __call__(cls, shape: Any, dtype: Any = float) -> StrictArray:
        return device_array(poisoned(np.empty(shape, dtype)))


class _Stream:
    def synchronize(self) -> None:
        """Wait for the device."""
        LEDGER.sync("synchronize()")


def asnumpy(a: Any, *args: Any, **kwargs: Any) -> np.ndarray:
    """`cupy.asnumpy`: a host copy of a device array, a host array as it is."""
    return a.get() if isinstance(a, StrictArray) else np.asarray(a)


def build_namespace() -> Namespace:
    """A module that stands in for `cupy`."""
    xp: Any = Namespace("cupy", np)
    xp.__version__ = cupy_api().version
    xp.ndarray = StrictNdarray("ndarray", (), {})
    xp.asnumpy = asnumpy
    xp.get_array_module = lambda *args: xp if any(isinstance(a, StrictArray) for a in args) else np
    xp.linalg = Namespace("cupy.linalg", np.linalg)
    xp.fft = Namespace("cupy.fft", np.fft)
    xp.random = RandomNamespace()
    xp.lib = SimpleNamespace(stride_tricks=Namespace("cupy.lib.stride_tricks", np.lib.stride_tricks))
    xp.cuda = SimpleNamespace(
        is_available=lambda: True,
        get_current_stream=_Stream,
        runtime=SimpleNamespace(getDeviceCount=lambda: 1),
    )
    return xp
