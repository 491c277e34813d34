"""The strict device as a `Backend`: its namespace, calls, random numbers and operators."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tinyae.backend import register
from tinyae.backend.devices import CupyBackend
from tinyae.testing.strict.api import Kind, cupy_api
from tinyae.testing.strict.array import LEDGER, SCALARS, Account, StrictArray, device_array

# ---------------------------------------------------------------------------------------------------------------------
# `StrictBackend`, and `strict_device`, which returns it.


class StrictBackend(CupyBackend):
    """The GPU backend for arrays of the double. Its name is `"strict"`, as in `model.to("strict")`.

    Attributes:
        account: launches, synchronizations and copies since the process started, or since `account.reset()`.
    """

    name = "strict"

    @property
    def account(self) -> Account:
        """The operations on the device so far."""
        return LEDGER.accounts[0]

    def policy(
        self, *, forbid_sync: bool = False, forbid_copy: bool = False, forbid_float64: bool = False
    ) -> AbstractContextManager[Account]:
        """Within the block forbid what is True, and keep an account of the block.

        Args:
            forbid_sync: raise `HiddenSyncError` where the host would wait for the device.
            forbid_copy: raise `HiddenCopyError` where data would be copied between host and device.
            forbid_float64: raise `Float64Error` where a float64 array would be created.

        Blocks nest; what an outer block forbids stays forbidden inside.
        """
        return LEDGER.open(sync=forbid_sync, copy=forbid_copy, float64=forbid_float64)

    def erf(self, x: Any) -> Any:
        """SciPy's erf as one kernel: `cupyx`, where CuPy has it, is not part of the namespace."""
        from scipy.special import erf

        host = unwrap(x, "erf")
        return wrap(np.asarray(erf(host), order="C"), [host], "erf")

    def describe(self) -> str:
        """One line about the double."""
        return f"{self.name}: NumPy behind the names of CuPy {self.xp.__version__} (a test double)"


@functools.cache
def strict_device() -> StrictBackend:
    """The strict device double, one per process; it also registers the name "strict" for `backend_named` and `.to`.

    Example:
        >>> device = strict_device()
        >>> x = device.to_device([1.0, 2.0], "float32")
        >>> with device.policy(forbid_sync=True) as account:
        ...     y = (x * 2.0).sum()
        >>> account.launches, account.syncs, float(y)
        (2, 0, 6.0)
    """
    backend = StrictBackend(build_namespace())
    register(StrictArray, backend)
    return backend


# ---------------------------------------------------------------------------------------------------------------------
# The namespace `xp` of the double: NumPy's functions with the names and keywords of CuPy.

SCATTERING = {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"}
"""The ufuncs with `.at` in CuPy."""


class StrictUfunc:
    """An elementwise function: callable, with the methods that CuPy's have (`at`, `reduce`, `outer`)."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return call_ufunc(self.__name__, args, kwargs)

    def at(self, a: StrictArray, indices: Any, b: Any = None) -> None:
        """Unbuffered a[indices] = f(a[indices], b): repeated indices accumulate."""
        if self.__name__ not in SCATTERING:
            raise NotImplementedError(f"CuPy has no {self.__name__}.at.")
        LEDGER.launch(f"{self.__name__}.at")
        host = [unwrap(value, f"{self.__name__}.at") for value in (a, indices, b)]
        getattr(np, self.__name__).at(*host)

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Sum or product along an axis; CuPy has no other reductions of ufuncs."""
        if self.__name__ not in ("add", "multiply"):
            raise NotImplementedError(f"CuPy has no {self.__name__}.reduce: use xp.max, xp.min, xp.all or xp.any.")
        method = array.sum if self.__name__ == "add" else array.prod
        return method(axis=axis, dtype=dtype, out=out, keepdims=keepdims)

    def outer(self, a: Any, b: Any) -> Any:
        """f of every pair."""
        host = [unwrap(value, self.__name__) for value in (a, b)]
        return wrap(getattr(np, self.__name__).outer(*host), host, self.__name__)


class Namespace(ModuleType):
    """One of CuPy's modules. A name is looked up on first use.

    Raises:
        AttributeError: CuPy has no such name.
        NotImplementedError: CuPy has the name but NumPy does not (e.g. kernels in CUDA C).
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

    def _resolved(self, name: str, kind: Kind) -> Any:
        if kind == "ufunc":
            return StrictUfunc(name)
        if kind == "other":
            return getattr(self._backing, name)
        return lambda *args, **kwargs: call_function(self._backing, name, kind, args, kwargs)


class StrictNdarray(type):
    """The type of `xp.ndarray`: device arrays are its instances, and calling it returns uninitialized memory."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, StrictArray)

    def __call__(cls, shape: Any, dtype: Any = float) -> StrictArray:
        return device_array(poisoned(np.empty(shape, dtype)))


def build_namespace() -> Namespace:
    """A module that stands in for `cupy`."""
    xp: Any = Namespace("cupy", np)
    xp.__version__ = cupy_api().version
    xp.ndarray = StrictNdarray("ndarray", (), {})
    xp.asnumpy = lambda a, *args, **kwargs: a.get() if isinstance(a, StrictArray) else np.asarray(a)
    xp.get_array_module = lambda *args: xp if any(isinstance(a, StrictArray) for a in args) else np
    xp.linalg = Namespace("cupy.linalg", np.linalg)
    xp.fft = Namespace("cupy.fft", np.fft)
    xp.random = RandomNamespace()
    xp.lib = SimpleNamespace(stride_tricks=Namespace("cupy.lib.stride_tricks", np.lib.stride_tricks))
    stream = SimpleNamespace(synchronize=lambda: LEDGER.sync("synchronize()"))
    runtime = SimpleNamespace(getDeviceCount=lambda: 1)
    xp.cuda = SimpleNamespace(is_available=lambda: True, get_current_stream=lambda: stream, runtime=runtime)
    return xp


# ---------------------------------------------------------------------------------------------------------------------
# Calls on device arrays: checked against CuPy's signatures, computed by NumPy, counted in the ledger.

UFUNC_KEYWORDS = {"out", "dtype", "casting"}
"""The keywords of CuPy's ufuncs."""

KERNELS = {"var": 3, "std": 4, "allclose": 4, "array_equal": 2, "isclose": 3, "einsum": 2, "pad": 3}
"""Functions with more than one kernel in CuPy, and approximately how many."""

WAITING = {
    *("nonzero", "flatnonzero", "argwhere", "unique", "compress", "extract"),
    *("tobytes", "tofile", "dump", "dumps", "array_repr", "array_str", "array2string", "save", "savez", "savetxt"),
}
"""Functions and methods that synchronize: the size of the result is known only on the device, or they write to the host."""

CONVERSIONS = {"asarray", "array", "ascontiguousarray", "asanyarray", "asfortranarray"}
"""Functions that copy host data to the device."""

ABOUT_ARRAYS = {
    *("result_type", "can_cast", "promote_types", "issubdtype", "isscalar", "ndim", "size", "shape"),
    *("broadcast_shapes", "may_share_memory", "shares_memory", "iscomplexobj", "isrealobj"),
}
"""Functions that use only shapes and dtypes."""

PRODUCTS = {"matmul", "dot", "tensordot", "inner"}
"""Functions computed by cuBLAS, for which operands with other layouts are copied."""

EINSUM_KEYWORDS = ["*operands", "dtype", "optimize"]
"""`cupy.einsum` hides its keywords behind `**kwargs`."""


def call_ufunc(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], compute: Callable[..., Any] | None = None
) -> Any:
    """`xp.name(*args, **kwargs)` for an elementwise function; `compute` replaces it for an operator that NumPy computes differently."""
    wrong = sorted(set(kwargs) - UFUNC_KEYWORDS)
    if wrong:
        raise TypeError(f"Wrong arguments {wrong}: CuPy's {name} takes only {', '.join(sorted(UFUNC_KEYWORDS))}.")
    ufunc = getattr(np, name)
    for arg in args:
        if not isinstance(arg, (StrictArray, *SCALARS)):
            raise _unsupported(name, arg)
    out = kwargs.pop("out", args[ufunc.nin] if len(args) > ufunc.nin else None)
    host = [unwrap(arg, name) for arg in args[: ufunc.nin]]
    if out is None:
        result = ufunc(*host, order="C", **kwargs) if compute is None else np.asarray(compute(*host), order="C")
        return wrap(result, host, name)  # CuPy's results are in C order
    if not isinstance(out, StrictArray):
        raise TypeError(f"{name}: out must be a device array, got {type(out).__name__}.")
    if compute is None:
        ufunc(*host, out=out._host, **kwargs)
    else:
        np.copyto(out._host, compute(*host), casting="same_kind")
    LEDGER.launch(name)
    return out


def call_function(module: Any, name: str, kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`xp.name(*args, **kwargs)` for any other function; `module` is NumPy's module of the same name."""
    check_arguments(f"cupy.{name}", EINSUM_KEYWORDS if name == "einsum" else kind, args, kwargs)
    if name in WAITING or (name == "where" and len(args) + len(kwargs) == 1):
        LEDGER.sync(f"xp.{name} (the size of its result is known only on the device)")
    if name in CONVERSIONS:
        return _converted(name, *args, **kwargs)
    if name in ABOUT_ARRAYS:
        return getattr(module, name)(*[a._host if isinstance(a, StrictArray) else a for a in args], **kwargs)
    if name == "reshape" and "newshape" in kwargs:
        kwargs["shape"] = kwargs.pop("newshape")
    return _run(getattr(module, name), name, args, kwargs)


def call_method(array: StrictArray, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`array.name(*args, **kwargs)`."""
    check_arguments(f"ndarray.{name}", cupy_api().methods[name], args, kwargs)
    if name in WAITING:
        LEDGER.sync(f".{name}()")
    return _run(getattr(np.ndarray, name), name, (array, *args), kwargs)


def _run(function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    host = [unwrap(arg, name) for arg in args]
    options = {key: unwrap(value, name) for key, value in kwargs.items()}
    inputs = list(_arrays([*host, *options.values()]))
    if name in PRODUCTS and (copies := sum(_copied_for_cublas(x) for x in inputs)):
        LEDGER.launch("copy for cuBLAS", copies)
    result = function(*host, **options)
    out = kwargs.get("out")
    if result is None or out is not None:  # written in place
        LEDGER.launch(name)
        return out
    if name in ("empty", "empty_like"):
        return device_array(poisoned(result))
    return args[0] if host and result is host[0] else wrap(result, inputs, name)  # x.astype(x.dtype, copy=False) is x


def _copied_for_cublas(x: np.ndarray) -> bool:
    """Whether cuBLAS needs a copy: a matrix may be in C or Fortran order, a stack of matrices must be in C order."""
    if x.ndim > 2:
        return not x.flags.c_contiguous
    return x.ndim == 2 and not (x.flags.c_contiguous or x.flags.f_contiguous)


def check_arguments(what: str, kind: Kind, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise TypeError for keywords, or more positional arguments, than CuPy has."""
    if not isinstance(kind, list):
        return
    for name in kwargs:
        if name not in kind:
            raise TypeError(
                f"{what}() got an unexpected keyword argument {name!r}: CuPy {cupy_api().version} has {', '.join(kind)}."
            )
    if len(args) > len(kind) and not any(name.startswith("*") for name in kind):
        raise TypeError(f"{what}() takes {len(kind)} arguments ({', '.join(kind)}), got {len(args)}.")


def unwrap(value: Any, what: str) -> Any:
    """The host value of a device array, also inside lists and tuples; host arrays are refused."""
    if isinstance(value, StrictArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise _unsupported(what, value)
    if isinstance(value, (list, tuple)):
        return type(value)([unwrap(item, what) for item in value])
    return value


def wrap(result: Any, inputs: list[Any], what: str) -> Any:
    """A NumPy result as a device array; unless it is a view of an input, a kernel launch is counted."""
    if isinstance(result, (list, tuple)):
        return type(result)([wrap(item, inputs, what) for item in result])
    if not isinstance(result, (np.ndarray, *SCALARS)):
        return result
    host = np.asarray(result)
    LEDGER.made(host.dtype, what)
    views = any(isinstance(x, np.ndarray) and np.may_share_memory(x, host) for x in inputs)
    if not views and (host.size or what in PRODUCTS):
        LEDGER.launch(what, KERNELS.get(what, 1))
    return device_array(host)


def poisoned(host: np.ndarray) -> np.ndarray:
    """Uninitialized memory, filled with NaN or the smallest integer so that its use is noticed."""
    LEDGER.made(host.dtype, "xp.empty")
    if host.dtype.kind in "fc":
        host[...] = np.nan
    elif host.dtype.kind in "iu":
        host[...] = np.iinfo(host.dtype).min or np.iinfo(host.dtype).max
    return host


def _converted(name: str, source: Any, *args: Any, **kwargs: Any) -> StrictArray:
    kwargs.pop("blocking", None)
    if isinstance(source, StrictArray):
        host = getattr(np, name)(source._host, *args, **kwargs)
        return source if host is source._host else wrap(host, [source._host], name)
    LEDGER.copy(f"xp.{name}(host data)")
    kwargs.pop("copy", None)
    host = np.array(source, *args, **kwargs)
    LEDGER.made(host.dtype, f"xp.{name}(host data)")
    return device_array(host)


def _arrays(values: list[Any]) -> Iterator[np.ndarray]:
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _arrays(list(value))


def _unsupported(what: str, value: Any) -> TypeError:
    where = " (a host array)" if isinstance(value, np.ndarray) else ""
    return TypeError(f"{what}: Unsupported type {type(value)}{where}: move it to the device first.")


# ---------------------------------------------------------------------------------------------------------------------
# Random numbers of the double: only CuPy's methods, with streams that differ from NumPy's.
#
# CuPy's streams differ from NumPy's, and even between GPU models. A test must not expect equal draws on host and device, so
# they differ here too.

_OTHER_STREAM = 0x5DEECE66D


class StrictGenerator:
    """`cupy.random.Generator`: uniform and standard normal draws and a dozen others; no `normal`, no `permutation`.

    Args:
        seed: a whole number, of which CuPy uses 32 bits; None for a random seed.
    """

    def __init__(self, seed: int | None = None) -> None:
        LEDGER.launch("seed a generator")  # a kernel initializes the states of all threads
        bits = None if seed is None else (int(seed) & 0xFFFFFFFF) ^ _OTHER_STREAM
        self._source = np.random.Generator(np.random.MT19937(bits))

    def __getattr__(self, name: str) -> Any:
        kinds = cupy_api().generator
        if name.startswith("_") or name not in kinds:
            raise AttributeError(f"CuPy's Generator has no {name!r}: it has {', '.join(sorted(kinds))}.")
        method = getattr(self._source, name)

        def draw(*args: Any, out: Any = None, **kwargs: Any) -> Any:
            given = {**kwargs, "out": out} if out is not None else kwargs
            check_arguments(f"Generator.{name}", kinds[name], args, given)
            values = method(*[unwrap(arg, name) for arg in args], **kwargs)
            if out is None:
                return wrap(values, [], name)
            out[...] = wrap(values, [], name)
            return out

        return draw


class RandomNamespace(Namespace):
    """`cupy.random`: generators, and functions with a global state."""

    def __init__(self) -> None:
        super().__init__("cupy.random", np.random)
        self.Generator = self.default_rng = StrictGenerator
        self.seed()

    def seed(self, seed: int = 0) -> None:
        """Reset the global state."""
        self._source = np.random.RandomState(np.random.MT19937(_OTHER_STREAM ^ seed))

    def _resolved(self, name: str, kind: Kind) -> Any:
        if kind == "other":
            return super()._resolved(name, kind)

        def draw(*args: Any, dtype: Any = None, **kwargs: Any) -> Any:
            drawn = getattr(self._source, name)(*[unwrap(arg, name) for arg in args], **kwargs)
            return wrap(drawn if dtype is None else np.asarray(drawn, dtype), [], name)

        return draw


# ---------------------------------------------------------------------------------------------------------------------
# The operators and methods of `StrictArray`, in one table.

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
"""Operators with a reflected form."""

IN_PLACE = {operator: name for operator, name in BINARY.items() if operator != "matmul"}
COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
COMPARISONS |= {"eq": "equal", "ne": "not_equal"}
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def _apply(name: str, *operands: Any, **options: Any) -> Any:
    if name == "matmul":
        return call_function(np, name, None, operands, options)
    # NumPy computes x**2 as x * x, which may differ from power(x, 2) in the last bit.
    return call_ufunc(name, operands, options, pow if name == "power" else None)


def _forward(self: StrictArray, name: str, other: Any) -> Any:
    """As in CuPy, other classes take precedence with `__array_ufunc__ = None`, or without any by a higher priority."""
    if hasattr(other, "__array_ufunc__"):
        defers = other.__array_ufunc__ is None
    else:
        defers = getattr(other, "__array_priority__", 0) > StrictArray.__array_priority__
    return NotImplemented if defers else _apply(name, self, other)


FORMS: list[tuple[str, Callable[..., Any], dict[str, str]]] = [
    ("__{}__", _forward, BINARY | COMPARISONS),
    ("__r{}__", lambda self, name, other: _apply(name, other, self), BINARY),
    ("__i{}__", lambda self, name, other: _apply(name, self, other, out=self), IN_PLACE),
    ("__{}__", lambda self, name: _apply(name, self), UNARY),
]
"""Method name of an operator, implementation, and operators; as in CuPy there is no `@=`."""


def _method(self: StrictArray, name: str) -> Any:
    """Any method that CuPy's arrays have too."""
    api = cupy_api()
    if name.startswith("_") or name not in api.methods:
        raise AttributeError(f"a device array has no attribute {name!r} (nor has one of CuPy {api.version}).")
    if not callable(getattr(np.ndarray, name, None)):
        raise NotImplementedError(f"the strict device has no method {name!r} of CuPy's arrays, because NumPy has none.")
    return lambda *args, **kwargs: call_method(self, name, args, kwargs)


def _numpy_ufunc(self: StrictArray, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """Allow `scalar * x` with a NumPy scalar; raise TypeError for any other ufunc call such as `np.exp(x)`."""
    scalar = any(isinstance(value, np.generic) for value in inputs)
    if scalar and method == "__call__" and all(isinstance(value, (StrictArray, np.generic)) for value in inputs):
        return _apply(ufunc.__name__, *inputs, **kwargs)
    raise TypeError(
        f"numpy.{ufunc.__name__} was given a device array: use xp.{ufunc.__name__}, "
        "and move host arrays to the device first."
    )


def bind() -> None:
    """Give `StrictArray` its operators and methods."""
    for pattern, form, names in FORMS:
        for operator, name in names.items():
            setattr(StrictArray, pattern.format(operator), functools.partialmethod(form, name))
    setattr(StrictArray, "__getattr__", _method)  # noqa: B010
    setattr(StrictArray, "__array_ufunc__", _numpy_ufunc)  # noqa: B010


bind()
