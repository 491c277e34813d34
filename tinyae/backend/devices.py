"""The two devices, NumPy on the CPU and CuPy on an NVIDIA GPU; the lookup of a device by array or by name; `as_array`."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from tinyae.backend import dense_kernels, kernels
from tinyae.backend.base import (
    PADDING_ADVICE,
    Array,
    Backend,
    CudaLibraryMissingError,
    CupyMissingError,
    DeviceError,
    MixedDevicesError,
    NoGpuError,
    is_ragged,
)
from tinyae.backend.parallel import in_parts
from tinyae.backend.windows import ConvSpec
from tinyae.checks import unknown

# ---------------------------------------------------------------------------------------------------------------------
# The CPU: NumPy.


class NumpyBackend(Backend):
    """Arrays in host memory."""

    name = "cpu"
    xp = np

    def to_host(self, array: Array) -> Array:
        """Return the array itself, which is already on the host."""
        return np.asarray(array)

    def _device_stream(self, generator: np.random.Generator) -> np.random.Generator:
        return generator

    def erf(self, x: Array) -> Array:
        """SciPy's, which is loaded at the first call."""
        from scipy.special import erf

        return np.asarray(erf(x), x.dtype if getattr(x, "dtype", None) == np.float16 else None)

    def by_samples(self, work: Callable[[slice], None], n: int, entries: int) -> None:
        """Large arrays in two parts."""
        in_parts(lambda start, stop: work(slice(start, stop)), n, 2 if entries >= dense_kernels.ENTRIES else 1)

    def softplus(self, x: Array) -> Array:
        """log(1 + e) without `log1p`, which takes ten times as long as `log`: what rounding takes from u = 1 + e is put back."""
        u = 1.0 + (e := np.exp(np.minimum(x, 0.0 - x)))
        return np.maximum(x, 0.0) + (np.log(u) + (e - (u - 1.0)) / u)

    # Dense layers, losses and Adam: `tinyae.backend.dense_kernels` for large arrays, equal to the reference up to rounding.

    def matmul(self, a: Array, b: Array) -> Array:
        """Large products in parts."""
        large = b.ndim == 2 and a.size * b.shape[1] >= dense_kernels.MULTIPLICATIONS
        return dense_kernels.affine(a, b, None) if large else np.matmul(a, b)

    def mean(self, x: Array, axis: int | tuple[int, ...] | None, keepdims: bool) -> Array:
        """That of many narrow rows as a product, which is several times as fast."""
        tall = x.ndim == 2 and axis == 0 and len(x) >= 1024 and not keepdims and _same_floats(x, x)
        return np.full(len(x), 1.0 / len(x), x.dtype) @ x if tall else super().mean(x, axis, keepdims)

    def affine(self, x: Array, weight: Array, bias: Array, finish: Callable[[Array], None] | None = None) -> Array:
        """Large products in parts, each finished by the thread that computed it."""
        large = x.size * weight.shape[1] >= dense_kernels.MULTIPLICATIONS
        return (dense_kernels.affine if large else super().affine)(x, weight, bias, finish)

    def affine_backward(
        self, slope: Callable[[slice], Array], x: Array, weight: Array, wanted: Collection[int]
    ) -> tuple[Array | None, ...]:
        """All gradients of a part at once."""
        large = x.size * weight.shape[1] >= dense_kernels.MULTIPLICATIONS
        return (dense_kernels.affine_backward if large else super().affine_backward)(slope, x, weight, wanted)

    def bce_with_logits(self, logits: Array, targets: Array, factor: float) -> tuple[Array, Array]:
        """Chunk by chunk, by one exponential."""
        large = logits.size >= dense_kernels.LOGITS and _same_floats(logits, targets)
        return (dense_kernels.bce_with_logits if large else super().bce_with_logits)(logits, targets, factor)

    def scaled(self, array: Array, factor: Array) -> Array:
        """Nothing is computed for a factor of 1, which most losses have."""
        return array if factor == 1.0 else array * factor

    def squared_error(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        """Chunk by chunk."""
        large = predictions.size >= dense_kernels.ENTRIES and _same_floats(predictions, targets)
        return (dense_kernels.squared_error if large else super().squared_error)(predictions, targets)

    def adam(self, param: Array, grad: Array, mean: Array, square: Array, **settings: Any) -> None:
        """Chunk by chunk, to the same bits."""
        large = param.size >= dense_kernels.ENTRIES
        (dense_kernels.adam if large else super().adam)(param, grad, mean, square, **settings)

    # Convolution: `tinyae.backend.kernels` has fast versions for at least one sample, equal to the reference up to rounding.

    def conv2d(self, x: Array, w: Array, spec: ConvSpec, finish: kernels.Finish = None) -> Array:
        """Chunk by chunk on two threads."""
        return kernels.conv2d(x, w, spec, finish) if x.size and w.size else super().conv2d(x, w, spec, finish)

    def conv_transpose2d(self, y: Array, w: Array, spec: ConvSpec, finish: kernels.Finish = None) -> Array:
        """By gathering, or by scattering for images of a single channel."""
        if not (y.size and w.size):
            return super().conv_transpose2d(y, w, spec, finish)
        return kernels.scatter(y, w, spec, finish) if w.shape[2] == 1 else kernels.gather(y, w, spec, finish)[0]

    def conv2d_weight_grad(self, x: Array, y: Array, spec: ConvSpec) -> Array:
        """Chunk by chunk on two threads."""
        return kernels.correlate(x, spec, y=y)[0] if x.size and y.size else super().conv2d_weight_grad(x, y, spec)

    def conv2d_backward(
        self, slope: Callable[[slice], Array], x: Array, w: Array, spec: ConvSpec, wanted: Collection[int]
    ) -> tuple[Array | None, ...]:
        """All gradients of a few samples at once: that of the kernel from the matrix for the images', if that is wanted."""
        if not (x.size and w.size):
            return super().conv2d_backward(slope, x, w, spec, wanted)
        dz = kernels.Slopes(slope, (len(x), *spec.out, w.shape[3]), np.result_type(x, w))
        if 0 in wanted and 1 in wanted and w.shape[2] > 1:
            dx, dw = kernels.gather(dz, w, spec, x=x)
        elif 1 in wanted and 0 not in wanted:
            dx, dw = None, kernels.correlate(x, spec, y=dz)[0]
        else:
            dx, dw, _ = super().conv2d_backward(dz.__getitem__, x, w, spec, {*wanted} - {2})
        return dx, dw, dz.total()

    def conv_transpose2d_backward(
        self, slope: Callable[[slice], Array], y: Array, w: Array, spec: ConvSpec, wanted: Collection[int]
    ) -> tuple[Array | None, ...]:
        """All gradients of a few samples at once, from one matrix: the contents of the windows."""
        if not (y.size and w.size):
            return super().conv_transpose2d_backward(slope, y, w, spec, wanted)
        dz = kernels.Slopes(slope, (len(y), *spec.size, w.shape[2]), np.result_type(y, w))
        if 0 in wanted and 1 in wanted:
            return *kernels.correlate(dz, spec, w, y), dz.total()
        return *super().conv_transpose2d_backward(dz.__getitem__, y, w, spec, {*wanted} - {2})[:2], dz.total()

    def max_pool2d_grad(self, g: Array, out: Array, x: Array, spec: ConvSpec) -> Array:
        """Equal to the reference; windows that do not overlap go a few samples at a time, on two threads."""
        if spec.stride != spec.kernel or math.prod(spec.kernel) > kernels.MOST_TAPS or not x.size:
            return super().max_pool2d_grad(g, out, x, spec)
        return kernels.max_pool2d_grad(g, out, x, spec)


def _same_floats(a: Array, b: Array) -> bool:
    """Whether both are of the same dtype, float32 or float64."""
    return a.dtype == b.dtype and a.dtype in (np.float32, np.float64)


# ---------------------------------------------------------------------------------------------------------------------
# The NVIDIA GPU: CuPy, which is imported when a GPU is first requested.
#
# CuPy loads its libraries lazily: with a driver but no toolkit, `cupy.zeros(3)` works, the first `a + 1` fails in NVRTC
# and the first `a @ b` fails in cuBLAS. The check therefore runs one of each and reports which of three things is wrong.


class CupyBackend(Backend):
    """Arrays in the memory of the current CUDA device."""

    name = "gpu"

    def __init__(self, cupy: ModuleType) -> None:
        self.xp = cupy

    def to_host(self, array: Array) -> Array:
        """Copy to host memory and wait for it."""
        return np.asarray(self.xp.asnumpy(array))

    def erf(self, x: Array) -> Array:
        """CuPy's, from its copy of SciPy's functions."""
        found: Array = importlib.import_module("cupyx.scipy.special").erf(x)
        return found

    def synchronize(self) -> None:
        """Wait for the current stream."""
        self.xp.cuda.get_current_stream().synchronize()


def import_cupy() -> ModuleType:
    """Import CuPy, or raise a `CupyMissingError` that distinguishes a missing package from a broken one."""
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise CupyMissingError(
                f"device 'gpu' needs CuPy, which is not installed: pip install '{cupy_wheel()}', or use device 'cpu'."
            ) from None
        raise CupyMissingError(
            f"CuPy is installed but does not import ({error}): reinstall it, or use device 'cpu'."
        ) from error


CUDA13, CUDA12, ROCM = "cupy-cuda13x[ctk]", "cupy-cuda12x[ctk]", "cupy-rocm-7-0"
"""CuPy's wheels, installed by tinyae's extras gpu, gpu12 and rocm."""


def cupy_wheel() -> str:
    """The CuPy wheel for the driver of this machine; `CUDA13` if there is no driver.

    NVIDIA's driver reports the newest CUDA version that it supports, and CUDA 13 requires compute capability 7.5 (Turing).
    Without that driver, AMD's libraries indicate ROCm.
    """
    import ctypes.util  # late: only a machine without a working CuPy needs it

    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return ROCM if ctypes.util.find_library("amdhip64") or os.path.isdir("/opt/rocm") else CUDA13
    asked = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(asked)) == 0 and asked.value < 13000:
        return CUDA12
    capability = []
    if driver.cuInit(0) == 0:
        for attribute in (75, 76):  # of the first device: the capability's major and minor number
            if driver.cuDeviceGetAttribute(ctypes.byref(asked), attribute, 0) == 0:
                capability.append(asked.value)
    return CUDA12 if len(capability) == 2 and capability < [7, 5] else CUDA13


def installed_wheel() -> str | None:
    """The installed wheel of the three; None for any other, or for a build from source."""
    from importlib.metadata import PackageNotFoundError, version

    for wheel in (CUDA13, CUDA12, ROCM):
        with suppress(PackageNotFoundError):
            version(wheel.partition("[")[0])
            return wheel
    return None


def check_gpu(cupy: ModuleType) -> None:
    """Raise unless a GPU responds and runs an elementwise operation and a matrix product."""
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as error:
        cause = str(error).split(":")[0]
        here, wanted = installed_wheel(), cupy_wheel()
        other = f"pip install '{wanted}' for the driver that is here, " if here not in (None, wanted) else ""
        raise NoGpuError(
            f"device 'gpu': no NVIDIA driver here, or one too old for CuPy {cupy.__version__} [{cause}]; "
            f"install a driver, {other}or use device 'cpu'."
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
            f"pip install '{installed_wheel() or cupy_wheel()}', or use device 'cpu'."
        ) from error
    if value != 8.0:
        raise CudaLibraryMissingError(
            f"device 'gpu': a 2 x 2 product gave {value} instead of 8; the installation is broken."
        )


# ---------------------------------------------------------------------------------------------------------------------
# The backend of an array, and the backend of a device name.
#
# The type of an array determines its backend, by one dictionary lookup. There is no global "current device", so code for
# both devices can run in one process, and a test can compare them.

CPU = NumpyBackend()
DEVICES = ("cpu", "gpu", "auto")

_by_type: dict[type, Backend] = {np.ndarray: CPU, float: CPU, int: CPU, bool: CPU, complex: CPU}
_gpu: Backend | None = None


def backend_of(array: object) -> Backend:
    """The backend of an array, found by its type (about 50 ns).

    Python numbers and NumPy scalars belong to the CPU. Raises TypeError for anything that is not an array.
    """
    try:
        return _by_type[type(array)]
    except KeyError:
        return _find(type(array))


def register(array_type: type, backend: Backend) -> None:
    """Make `backend` responsible for arrays of `array_type`, as for CuPy or a test double."""
    _by_type[array_type] = backend


def backend_named(device: str) -> Backend:
    """The backend of `"cpu"`, `"gpu"`, `"auto"` (the GPU if one works, else the CPU) or a registered name.

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
        raise unknown("device", device, DEVICES)
    if _gpu is None:
        try:
            cupy = import_cupy()
            check_gpu(cupy)
        except DeviceError:
            if device == "auto":
                return CPU
            raise
        _gpu = CupyBackend(cupy)
        register(cupy.ndarray, _gpu)
    return _gpu


def check_same_device(operation: str, arrays: Iterable[object]) -> None:
    """Raise MixedDevicesError if `arrays` are on different devices; numbers may be mixed with either."""
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


# ---------------------------------------------------------------------------------------------------------------------
# The only place where arguments of users, also from other libraries, become arrays.

NUMBERS = "biufc"
"""The kinds of dtype that are numbers: bool, signed and unsigned integers, floating point, complex."""

EXPECTED = "expected an array of numbers"
"""How an error of `as_array` begins, unless a function says it in its own words."""

_HOST = (1, 3, 11, 13)
"""The types of device that DLPack gives to host memory: the CPU's, pinned for CUDA or ROCm, managed by CUDA."""

_FIXES = {
    "M": "subtract a date and divide by a unit, e.g. (x - x.min()) / numpy.timedelta64(1, 'D')",
    "m": "divide by a unit, e.g. x / numpy.timedelta64(1, 's')",
    "fields": "take one field, or all: numpy.lib.recfunctions.structured_to_unstructured(x)",
}
"""How dates, durations and records (kinds of dtype) become numbers."""


def as_array(data: object, dtype: npt.DTypeLike | None = None, *, expected: str = EXPECTED) -> Array:
    """`data` as an array of numbers, converted to `dtype` if given; an array of a device is returned unchanged.

    An array of another library, with `__array__`, `__dlpack__` or a buffer, keeps its dtype, and its memory if that library
    shares it; a subclass of NumPy's array becomes a plain one. A Python number or a nested list becomes float32, or int64 for
    whole numbers. Raises TypeError for everything else; `expected` begins the message.
    """
    array: Any = data if type(data) is np.ndarray else _adopted(data, dtype, expected)
    if dtype is not None and array.dtype != dtype:
        array = backend_of(array).to_device(array, dtype)
    return array if array.dtype.kind in NUMBERS else _refuse(data, array, expected)


def _adopted(data: Any, dtype: npt.DTypeLike | None, expected: str) -> Any:
    """An argument that is not a NumPy array: unchanged if it is on a device, otherwise as NumPy reads it."""
    if isinstance(data, np.generic):
        return np.asarray(data)
    plain = isinstance(data, (bool, int, float, complex, list, tuple))
    if not plain:
        with suppress(TypeError):
            if backend_of(data) is not CPU:
                return data
    try:
        listed = data if isinstance(data, (list, tuple)) else ()
        if isinstance(data, np.ma.MaskedArray) or any(isinstance(part, np.ma.MaskedArray) for part in listed):
            raise TypeError("masked values need a number, e.g. x.filled(0.0)")
        if hasattr(data, "__dlpack_device__") and data.__dlpack_device__()[0] not in _HOST:
            raise TypeError("it is on another device, copy it to the host, e.g. x.cpu()")
        only_dlpack = hasattr(data, "__dlpack__") and not hasattr(data, "__array__")
        array: Any = np.from_dlpack(data) if only_dlpack else np.asarray(data, dtype)
    except (TypeError, ValueError, RuntimeError, BufferError, OverflowError) as error:
        reason = f", which has to be converted first: {str(error).rstrip('.')}"
        reason = f": {PADDING_ADVICE}" if is_ragged(data) else reason
        raise TypeError(f"{expected}, got {_kind(data)}{reason}.") from error
    return array.astype(np.float32) if plain and dtype is None and array.dtype == np.float64 else array


def _refuse(data: Any, array: Array, expected: str) -> NoReturn:
    """Raise the TypeError for `data`, which NumPy reads as `array`: one that holds no numbers."""
    got = f"{_kind(data)} of dtype {array.dtype}"
    kind = "fields" if array.dtype.names else array.dtype.kind
    fix = _FIXES.get(kind, "if these are numbers, write numpy.asarray(x, dtype=numpy.float32)")
    table: Any = getattr(getattr(data, "dtypes", None), "items", tuple)()
    columns = [f"{name!r} ({dtype})" for name, dtype in table if dtype.kind not in NUMBERS]
    others = [type(v).__name__ for v in array.flat if not isinstance(v, (float, int, np.number))] if kind == "O" else []
    if columns:
        got, fix = f"{_kind(data)} with columns {', '.join(columns)}", "leave these out, or turn them into numbers"
    elif hasattr(data, "toarray"):
        got, fix = f"a sparse {_kind(data)}", "write x.toarray()"
    elif kind == "O" and not array.ndim:
        got, fix = _kind(data), "give an array or a nested list of numbers"
    elif others:
        got, fix = f"{_kind(data)} with a {others[0]} in it", "replace it by a number, e.g. numpy.nan"
    raise TypeError(f"{expected}, got {got}: {fix}.")


def _kind(data: object) -> str:
    """The type of `data` with its library: "list", "torch.Tensor"."""
    room, name = type(data).__module__.partition(".")[0], type(data).__name__
    return name if room == "builtins" else f"{room}.{name}"


def as_generator(generator: np.random.Generator | None) -> np.random.Generator:
    """Check a generator argument: a `numpy.random.Generator`, or None for a random seed (not repeatable).

    An integer raises TypeError: two layers with the same seed would start with the same weights.
    """
    if generator is None:
        return np.random.default_rng()
    if isinstance(generator, np.random.Generator):
        return generator
    raise TypeError(
        f"generator must be a numpy.random.Generator, got {generator!r}: "
        "make one with numpy.random.default_rng(seed) and hand the same object to every layer."
    )
