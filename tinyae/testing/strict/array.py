"""`StrictArray`, an array of the strict device, and the counters of launches, synchronizations and copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partialmethod
from operator import attrgetter
from typing import Any, NoReturn
from weakref import WeakValueDictionary

import numpy as np

# ---------------------------------------------------------------------------------------------------------------------
# `StrictArray`.
#
# Its data are in a NumPy array, but the class is not a subclass of `numpy.ndarray`, and NumPy's three hooks raise. So code
# that treats a device array as a host array raises an error that says what to write instead. Operators and methods are bound
# in `namespace`.

SCALARS = (bool, int, float, complex, np.generic)
"""Types that may be combined with a device array."""


class StrictArray:
    """A device array. Made by the namespace (`xp.zeros`, `xp.asarray`), never directly.

    It behaves like CuPy, but raises errors where CuPy hides mistakes: NumPy functions on device arrays (CuPy forwards
    them), host index arrays (CuPy uploads them), indices out of bounds (CuPy wraps around), repeated indices in an assignment
    (undefined in CuPy).
    """

    __slots__ = ("__weakref__", "_base", "_host")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    _host: np.ndarray
    _base: StrictArray | None

    def __init__(self) -> None:
        raise TypeError(
            "a StrictArray is made by the namespace: device.xp.empty(shape, dtype), device.to_device(host)."
        )

    # No implicit conversion to NumPy.

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed: use backend.to_host(x), or xp functions on x."
        )

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> NoReturn:
        raise TypeError(f"numpy.{function.__name__} was given a device array: use xp.{function.__name__}.")

    # Transfers, explicit and hidden.

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """A host copy."""
        LEDGER.copy(".get()", upload=False)
        LEDGER.sync(".get()")
        if out is None:
            return np.array(self._host, order="C" if order == "C" else "K")
        out[...] = self._host
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Fill from a host array of the same shape and dtype."""
        if not isinstance(arr, np.ndarray):
            raise TypeError(f"Only numpy.ndarray can be set to a device array, not {type(arr).__name__}.")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise ValueError(f"set() needs {self.dtype} of shape {self.shape}, got {arr.dtype} of shape {arr.shape}.")
        LEDGER.copy(".set()")
        self._host[...] = arr

    def _read(self, what: str, read: Callable[[np.ndarray], Any]) -> Any:
        """The values on the host, which waits for them."""
        LEDGER.sync(what)
        return read(self._host)

    item = partialmethod(_read, ".item()", np.ndarray.item)
    tolist = partialmethod(_read, ".tolist()", np.ndarray.tolist)
    __float__ = partialmethod(_read, "float(device array)", float)
    __int__ = partialmethod(_read, "int(device array)", int)
    __complex__ = partialmethod(_read, "complex(device array)", complex)
    __repr__ = partialmethod(_read, "printing a device array", repr)
    __str__ = partialmethod(_read, "printing a device array", str)

    def __bool__(self) -> bool:
        if self._host.size > 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous: use any() or all().")
        LEDGER.sync("bool(device array)")
        return bool(self._host)

    def __format__(self, spec: str) -> str:
        LEDGER.sync("formatting a device array")
        return format(self._host.item() if self._host.ndim == 0 else str(self._host), spec)

    # Copies on the device, and pickling, which goes through the host.

    def __copy__(self) -> StrictArray:
        LEDGER.launch("copy")
        return device_array(self._host.copy())

    def __deepcopy__(self, memo: Any) -> StrictArray:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.get(),)

    # Attributes that need no synchronization.

    shape, dtype, ndim, size, nbytes, itemsize, strides, flags = (
        property(attrgetter(f"_host.{name}"))
        for name in ("shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides", "flags")
    )
    device = property(lambda self: "<StrictDevice 0>")
    T = property(lambda self: device_array(self._host.T))
    real = property(lambda self: device_array(self._host.real))
    imag = property(lambda self: device_array(self._host.imag))

    @property
    def base(self) -> StrictArray | None:
        """The array whose memory this one is a view of; None if it owns its memory."""
        if self._base is None and self._host.base is not None:
            memory = self._host
            while isinstance(memory.base, np.ndarray):
                memory = memory.base
            owner = _owners.get(id(memory))
            self._base = device_array(memory) if owner is None else owner
        return self._base

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[StrictArray]:
        if self._host.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self._host)))

    # Indexing.

    def __getitem__(self, key: Any) -> StrictArray:
        found = self._host[_host_key(key)]
        if found.size and not np.may_share_memory(found, self._host):
            LEDGER.launch("gather")
        return device_array(found)

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill: move it to the device first.")
        if not isinstance(value, (StrictArray, *SCALARS)):
            raise ValueError(f"{type(value).__name__} cannot be assigned to a device array: move it there first.")
        host_key = _host_key(key)
        self._refuse_repeats(host_key)
        LEDGER.launch("setitem")
        self._host[host_key] = value._host if isinstance(value, StrictArray) else value

    def _refuse_repeats(self, key: tuple[Any, ...]) -> None:
        if not any(isinstance(part, np.ndarray) and part.dtype.kind in "iu" for part in key):
            return
        places = np.arange(self._host.size).reshape(self._host.shape)[key]
        if np.unique(places).size != places.size:
            raise IndexError(
                "x[index] = value has a repeated index; which value is kept is undefined on a GPU: "
                "use xp.add.at, or turn the assignment into a gather."
            )


def device_array(host: np.ndarray) -> StrictArray:
    """The device array whose numbers are `host`; for the double's own use."""
    array = object.__new__(StrictArray)
    array._host = host
    array._base = None
    if host.base is None:
        _owners[id(host)] = array
    return array


_owners: WeakValueDictionary[int, StrictArray] = WeakValueDictionary()
"""The device arrays that own their memory, by the id of their host array."""


def _host_key(key: Any) -> tuple[Any, ...]:
    """The index with device arrays replaced; the result is always an array, for a single element a 0-d view."""
    parts = []
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, StrictArray):
            if part.dtype == bool:
                LEDGER.sync("indexing with a boolean mask (the size of the result is known only on the device)")
            part = part._host
        elif isinstance(part, (np.ndarray, list)):
            raise TypeError(
                f"a device array was indexed with a host {type(part).__name__}, a hidden copy on a GPU: "
                "move the index to the device first."
            )
        parts.append(part)
    return tuple(parts) if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


def _unpickled(host: np.ndarray) -> StrictArray:
    LEDGER.copy("unpickling a device array")
    return device_array(host)


# ---------------------------------------------------------------------------------------------------------------------
# Counters, and what is currently forbidden.
#
# On a GPU the arithmetic of a small network takes little time. What takes time are kernel launches (5 to 20 microseconds each
# on the host), synchronizations, and copies between host and device. The double counts them. There is one ledger per process,
# as there is one device.


class StrictDeviceError(RuntimeError):
    """An operation that works on a GPU but is forbidden by the current policy."""


class HiddenSyncError(StrictDeviceError):
    """The host waited for the device: `float(x)`, `if x:`, a boolean mask, `x.get()`, printing."""


class HiddenCopyError(StrictDeviceError):
    """Data were copied between host and device: `xp.asarray(host)`, `x.get()`."""


class Float64Error(StrictDeviceError):
    """A float64 array was created where everything should be float32 (float64 has at most half the speed, 1/64 on many GPUs)."""


@dataclass
class Account:
    """Counters of operations on the device.

    Attributes:
        launches: kernels launched, as in CuPy (an estimate for functions with several kernels).
        syncs: how often the host waited for the device.
        uploads, downloads: copies from host to device and from device to host.
        log: launches by the name of the operation.
    """

    launches: int = 0
    syncs: int = 0
    uploads: int = 0
    downloads: int = 0
    log: Counter[str] = field(default_factory=Counter)

    @property
    def copies(self) -> int:
        """Copies in either direction."""
        return self.uploads + self.downloads

    def reset(self) -> None:
        """Start again from zero."""
        self.launches = self.syncs = self.uploads = self.downloads = 0
        self.log.clear()

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {name}" for name, count in self.log.most_common())
        return f"{self.launches} launches ({parts}), {self.syncs} syncs, {self.uploads} uploads, {self.downloads} downloads"


class Ledger:
    """The open accounts (the outermost is that of the process) and what is currently forbidden."""

    def __init__(self) -> None:
        self.accounts = [Account()]
        self.forbidden: frozenset[str] = frozenset()

    @contextmanager
    def open(self, **forbid: bool) -> Iterator[Account]:
        """Within the block also forbid what is True (`sync`, `copy`, `float64`), and keep an account of the block."""
        before, account = self.forbidden, Account()
        self.forbidden = before | {what for what, forbidden in forbid.items() if forbidden}
        self.accounts.append(account)
        try:
            yield account
        finally:
            self.forbidden = before
            self.accounts.pop()

    def launch(self, what: str, count: int = 1) -> None:
        """Count kernel launches for `what`."""
        for account in self.accounts:
            account.launches += count
            account.log[what] += count

    def sync(self, what: str) -> None:
        """Count a synchronization caused by `what`."""
        for account in self.accounts:
            account.syncs += 1
        if "sync" in self.forbidden:
            raise HiddenSyncError(f"{what} makes the host wait for the device: keep the value on the device here.")

    def copy(self, what: str, upload: bool = True) -> None:
        """Count a copy from host to device, or back, by `what`."""
        for account in self.accounts:
            account.uploads += upload
            account.downloads += not upload
        if "copy" in self.forbidden:
            way = "from host to device" if upload else "from device to host"
            raise HiddenCopyError(f"{what} copies {way}: move data before the hot path, or after it.")

    def made(self, dtype: Any, what: str) -> None:
        """Check the dtype of an array created by `what`."""
        if "float64" in self.forbidden and dtype in (np.float64, np.complex128):
            raise Float64Error(
                f"{what} returned {dtype}: give the dtype where arrays are created, "
                "and use Python floats instead of NumPy's float64 scalars."
            )


LEDGER = Ledger()
"""The one ledger of this process."""
