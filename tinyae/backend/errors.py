"""What can be wrong with a device, one class per cause, each with its fix in the sentence."""

from __future__ import annotations


class DeviceError(RuntimeError):
    """A device was asked for that cannot be used here. The command line turns it into exit code 2."""


class CupyMissingError(DeviceError):
    """`gpu` was asked for and CuPy is not installed (or its installation is broken)."""


class NoGpuError(DeviceError):
    """CuPy is there, but no NVIDIA driver or no GPU answers."""


class CudaLibraryMissingError(DeviceError):
    """CuPy and a GPU are there, but a CUDA library (NVRTC, cuBLAS, ...) is not."""


class MixedDevicesError(TypeError):
    """Arrays of two devices met in one operation; nothing is ever moved silently."""
