"""The NVIDIA GPU: CuPy. Nothing imports this module before a GPU is asked for.

The libraries behind CuPy load lazily: with a driver but no toolkit `cupy.zeros(3)` works, the first `a + 1` fails in
NVRTC and the first `a @ b` fails in cuBLAS. So the check runs one of each, and says which of three things is wrong.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tinyae.backend.base import Array, Backend
from tinyae.backend.errors import CudaLibraryMissingError, CupyMissingError, NoGpuError


class CupyBackend(Backend):
    """Arrays in the memory of the current CUDA device."""

    name = "gpu"

    def __init__(self, cupy: Any) -> None:
        self.xp = cupy

    def to_device(self, array: Any, dtype: Any = None) -> Array:
        """Copy a host array (or list) to the GPU; an array that is there already is returned as it is."""
        return self.xp.asarray(array, dtype=dtype)

    def to_host(self, array: Array) -> np.ndarray:
        """Copy to host memory and wait for it."""
        return np.asarray(self.xp.asnumpy(array))

    def generator(self, seed: int) -> Any:
        """CuPy's generator (XORWOW); its stream is not NumPy's."""
        return self.xp.random.default_rng(seed)

    def synchronize(self) -> None:
        """Wait for the current stream."""
        self.xp.cuda.get_current_stream().synchronize()


def import_cupy() -> Any:
    """Import CuPy, or raise `CupyMissingError` that tells a missing package from a broken one."""
    try:
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            raise CupyMissingError(
                "device 'gpu' needs CuPy, which is not installed: pip install 'cupy-cuda13x[ctk]', or use device 'cpu'."
            ) from None
        raise CupyMissingError(
            f"CuPy is installed but does not import ({error}): reinstall it, or use device 'cpu'."
        ) from error
    except ImportError as error:
        raise CupyMissingError(
            f"CuPy is installed but does not import ({error}): reinstall it, or use device 'cpu'."
        ) from error


def check_gpu(cupy: Any) -> None:
    """Raise unless a GPU answers and an elementwise operation and a matrix product both run on it."""
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:
        cause = str(error).split(":")[0]
        raise NoGpuError(
            f"device 'gpu': no NVIDIA driver here, or one older than this CuPy {cupy.__version__} wants [{cause}]; "
            "install a driver, or use device 'cpu'."
        ) from error
    if count == 0:
        raise NoGpuError("device 'gpu': the driver reports 0 GPUs (CUDA_VISIBLE_DEVICES empty?); use device 'cpu'.")
    try:
        ones = cupy.ones((2, 2), dtype="float32") + 1.0
        value = float((ones @ ones)[0, 0])
    except (ImportError, RuntimeError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise CudaLibraryMissingError(
            f"device 'gpu': a CUDA library that CuPy needs is missing ({first_line}): "
            "pip install 'cupy-cuda13x[ctk]', or use device 'cpu'."
        ) from error
    if value != 8.0:
        raise CudaLibraryMissingError(
            f"device 'gpu': a 2 x 2 product gave {value} instead of 8; the installation is broken."
        )


def connect() -> CupyBackend:
    """Import CuPy, check the device and return its backend."""
    cupy = import_cupy()
    check_gpu(cupy)
    return CupyBackend(cupy)
