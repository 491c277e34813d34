"""Array libraries and devices: NumPy on the CPU, CuPy on an NVIDIA GPU.

The rest of the package is written once, with the functions that NumPy and CuPy share. `backend_of(array)` returns the
`Backend` of an array by its type; `backend_named("gpu")` checks a device and connects to it. No other room imports
cupy, tests `if xp is cupy`, or moves data between devices implicitly.
"""

from tinyae.backend.allocator import tune_allocator
from tinyae.backend.base import (
    Array,
    Backend,
    CudaLibraryMissingError,
    CupyMissingError,
    DeviceError,
    MixedDevicesError,
    NoGpuError,
)
from tinyae.backend.devices import CPU, DEVICES, as_generator, backend_named, backend_of, check_same_device, register
from tinyae.backend.parallel import threads

__all__ = [
    "CPU",
    "DEVICES",
    "Array",
    "Backend",
    "CudaLibraryMissingError",
    "CupyMissingError",
    "DeviceError",
    "MixedDevicesError",
    "NoGpuError",
    "as_generator",
    "backend_named",
    "backend_of",
    "check_same_device",
    "register",
    "threads",
    "tune_allocator",
]
