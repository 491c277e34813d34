"""Which backend an array belongs to, and which backend a device name means.

The type of an array decides, by one dictionary look-up: there is no global "current device", so host and device code
can run side by side in one process and a test can compare them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyae.backend.base import Array, Backend
from tinyae.backend.errors import DeviceError, MixedDevicesError
from tinyae.backend.numpy_backend import NumpyBackend

CPU = NumpyBackend()
DEVICES = ("cpu", "gpu", "auto")

_by_type: dict[type, Backend] = {np.ndarray: CPU, float: CPU, int: CPU, bool: CPU, complex: CPU}
_gpu: Backend | None = None


def backend_of(array: Array) -> Backend:
    """The backend of an array, found by its type (about 50 ns).

    Python numbers and NumPy scalars belong to the CPU. Raises TypeError for anything that is no array.
    """
    try:
        return _by_type[type(array)]
    except KeyError:
        return _find(type(array))


def register(array_type: type, backend: Backend) -> None:
    """Make `backend` responsible for arrays of `array_type` (how CuPy, and a test double, join in), under its name."""
    _by_type[array_type] = backend


def backend_named(device: str) -> Backend:
    """The backend of `"cpu"`, `"gpu"` or `"auto"` (the GPU where one works, else the CPU), or a registered one.

    Raises:
        CupyMissingError, NoGpuError, CudaLibraryMissingError: why `"gpu"` cannot be used.
        ValueError: an unknown name.
    """
    global _gpu
    if device == "cpu":
        return CPU
    if device not in DEVICES:
        for backend in _by_type.values():
            if backend.name == device:
                return backend
        raise ValueError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}.")
    if _gpu is None:
        from tinyae.backend import cupy_backend

        try:
            _gpu = cupy_backend.connect()
        except DeviceError:
            if device == "auto":
                return CPU
            raise
        register(_gpu.xp.ndarray, _gpu)
    return _gpu


def check_same_device(operation: str, arrays: Iterable[Array]) -> None:
    """Raise MixedDevicesError if the arrays among `arrays` live on two devices; Python numbers fit everywhere."""
    names = [backend_of(a).name for a in arrays if hasattr(a, "shape") and not isinstance(a, np.generic)]
    if len(set(names)) > 1:
        raise MixedDevicesError(
            f"{operation} was given arrays of different devices ({', '.join(names)}); "
            f"move them first: x.to({names[0]!r})."
        )


def _find(array_type: type) -> Backend:
    for base in array_type.__mro__:
        if base in _by_type:
            _by_type[array_type] = _by_type[base]
            return _by_type[base]
    if issubclass(array_type, np.generic):
        _by_type[array_type] = CPU
        return CPU
    if array_type.__module__.partition(".")[0] == "cupy":
        backend_named("gpu")
        if array_type in _by_type:
            return _by_type[array_type]
    raise TypeError(
        f"expected an array, got {array_type.__name__}: make one with numpy.asarray(...) "
        "or wrap it in tinyae.Tensor(...)."
    )


def as_generator(generator: Any) -> np.random.Generator:
    """Check a generator argument: a `numpy.random.Generator`, or None for fresh entropy (not repeatable).

    An integer is refused: two layers given the same seed would start with the same weights.
    """
    if generator is None:
        return np.random.default_rng()
    if isinstance(generator, np.random.Generator):
        return generator
    raise TypeError(
        f"generator must be a numpy.random.Generator, got {generator!r}: "
        "make one with numpy.random.default_rng(seed) and hand the same object to every layer."
    )
