"""Which array library does the work.

Everything above this room is written once, against the names NumPy and CuPy share. `backend_of(array)` maps the type of
an array to the `Backend` that owns it; `backend_named("gpu")` checks a device and connects to it. No other room
imports cupy, asks `if xp is cupy`, or moves data between devices behind the user's back.
"""

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
]
