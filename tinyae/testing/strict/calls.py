"""How a call on device arrays is carried out: checked against CuPy's names, done by NumPy, entered in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyae.testing.strict.account import LEDGER
from tinyae.testing.strict.api import Kind, cupy_api
from tinyae.testing.strict.array import SCALARS, StrictArray, device_array

UFUNC_KEYWORDS = {"out", "dtype", "casting"}
"""All that CuPy's ufuncs take by name."""

KERNELS = {"var": 3, "std": 4, "allclose": 4, "array_equal": 2, "isclose": 3, "einsum": 2, "pad": 3}
"""Functions that CuPy makes of more than one kernel, and about how many."""

WAITING = {
    *("nonzero", "flatnonzero", "argwhere", "unique", "compress", "extract"),
    *("tobytes", "tofile", "dump", "dumps", "array_repr", "array_str", "array2string", "save", "savez", "savetxt"),
}
"""Functions and methods whose result has a size that only the device knows, or that write to the host."""

CONVERSIONS = {"asarray", "array", "ascontiguousarray", "asanyarray", "asfortranarray"}
"""Functions that bring host data to the device."""

ABOUT_ARRAYS = {
    *("result_type", "can_cast", "promote_types", "issubdtype", "isscalar", "ndim", "size", "shape"),
    *("broadcast_shapes", "may_share_memory", "shares_memory", "iscomplexobj", "isrealobj"),
}
"""Functions that look at shapes and dtypes only."""

PRODUCTS = {"matmul", "dot", "tensordot", "inner"}
"""Functions that cuBLAS does, which copies operands that it cannot read."""

EINSUM_KEYWORDS = ["*operands", "dtype", "optimize"]
"""`cupy.einsum` hides its keywords behind `**kwargs`."""


def call_ufunc(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`xp.name(*args, **kwargs)` for an elementwise function."""
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
        return wrap(ufunc(*host, order="C", **kwargs), host, name)  # CuPy's results are in C order
    if not isinstance(out, StrictArray):
        raise TypeError(f"{name}: out must be a device array, got {type(out).__name__}.")
    ufunc(*host, out=out._host, **kwargs)
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
    return _run(getattr(module, name), name, (), args, kwargs)


def call_method(array: StrictArray, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`array.name(*args, **kwargs)`."""
    check_arguments(f"ndarray.{name}", cupy_api().methods[name], args, kwargs)
    if name in WAITING:
        LEDGER.sync(f".{name}()")
    return _run(getattr(array._host, name), name, (array._host,), args, kwargs)


def _run(function: Any, name: str, owner: tuple[np.ndarray, ...], args: Any, kwargs: dict[str, Any]) -> Any:
    host = [unwrap(arg, name) for arg in args]
    options = {key: unwrap(value, name) for key, value in kwargs.items()}
    inputs = [*owner, *_arrays([*host, *options.values()])]
    if name in PRODUCTS and (copies := sum(_copied_for_cublas(x) for x in inputs)):
        LEDGER.launch("copy for cuBLAS", copies)
    result = function(*host, **options)
    out = kwargs.get("out")
    if result is None or out is not None:  # written in place
        LEDGER.launch(name)
        return out
    if name in ("empty", "empty_like"):
        return device_array(poisoned(result))
    return wrap(result, inputs, name)


def _copied_for_cublas(x: np.ndarray) -> bool:
    """A matrix is read as it lies or transposed; of a stack of matrices, each one must be in C order."""
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
    """A result of NumPy on the device; one that is no view of an input cost a kernel."""
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
    """Memory that nobody has written: NaN, or the smallest whole number, so that reading it shows."""
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
    LEDGER.upload(f"xp.{name}(host data)")
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
    return TypeError(
        f"{what}: Unsupported type {type(value)}{where}: move it to the device first, device and host do not mix."
    )
