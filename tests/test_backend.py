"""Which backend an array belongs to, what is said when a GPU cannot be used, and kernels against their bodies."""

from __future__ import annotations

import ctypes.util
import importlib
import os
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae.backend import (
    CPU,
    Backend,
    CudaLibraryMissingError,
    CupyMissingError,
    DeviceError,
    MixedDevicesError,
    NoGpuError,
    as_generator,
    backend_named,
    backend_of,
    check_same_device,
    devices,
)
from tinyae.backend.devices import CupyBackend, NumpyBackend


class Subclass(np.ndarray):
    """A user's array type."""


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types and devices that a test makes known are forgotten afterwards."""
    monkeypatch.setattr(devices, "_by_type", dict(devices._by_type))
    monkeypatch.setattr(devices, "_gpu", None)


@pytest.mark.parametrize("value", [
    np.ones(2), np.ones(()), np.float32(1), np.float64(1), np.int8(1), np.bool_(True), np.complex64(1), 1.0, 1, True, 1j,
    np.ones(2).view(Subclass), np.ma.masked_array([1.0]),
], ids=lambda v: type(v).__name__)  # fmt: skip
def test_arrays_numbers_and_subclasses_belong_to_the_cpu(value):
    assert backend_of(value) is CPU
    assert backend_of(value) is CPU  # and again, from the dictionary


@pytest.mark.parametrize("value", [None, "text", [1.0], (1,), {}, object(), np.ones], ids=lambda v: type(v).__name__)
def test_anything_else_is_refused_with_the_fix(value):
    words = rf"expected an array, got {type(value).__name__}: .*numpy\.asarray.*tinyae\.Tensor"
    with pytest.raises(TypeError, match=words):
        backend_of(value)


def test_a_type_can_be_registered_and_its_device_is_found_by_name():
    array, mine = type("Array", (), {}), NumpyBackend()
    mine.name = "mine"
    devices.register(array, mine)
    assert backend_of(array()) is backend_of(type("Derived", (array,), {})()) is backend_named("mine") is mine
    assert backend_named("cpu") is CPU
    with pytest.raises(ValueError, match="unknown device 'cuda': choose one of cpu, gpu, auto"):
        backend_named("cuda")


def test_describe_and_repr_name_library_and_device():
    assert CPU.describe() == f"cpu: numpy {np.__version__}"
    assert repr(CPU) == "<Backend cpu (numpy)>"


# Devices that fail. `FakeCupy` has as much of CuPy as the check touches; each test breaks one thing.


class FakeCupy(ModuleType):
    """NumPy under CuPy's name."""

    def __init__(self, count: Any = 1, ones: Any = None) -> None:
        super().__init__("cupy")
        self.__version__ = "14.0.1"
        self.ndarray = type("ndarray", (np.ndarray,), {"__module__": "cupy"})
        self.ones = ones or (lambda shape, dtype: np.ones(shape, dtype).view(self.ndarray))
        self.cuda = ModuleType("cupy.cuda")
        self.cuda.runtime = ModuleType("cupy.cuda.runtime")
        self.cuda.runtime.getDeviceCount = count if callable(count) else lambda: count


def raising(error: Exception) -> Any:
    """A function that fails."""

    def function(*args: Any, **kwargs: Any) -> Any:
        raise error

    return function


def ones_with(**methods: Any) -> Any:
    """A function that makes arrays of ones whose type has these methods."""
    return lambda shape, dtype: np.ones(shape, dtype).view(type("Array", (np.ndarray,), methods))


NO_DRIVER = raising(RuntimeError("cudaErrorInsufficientDriver: driver is too old"))
NO_NVRTC = raising(ImportError("libnvrtc.so.13: cannot open shared object file\nTraceback of the loader"))
NO_CUBLAS = raising(RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED"))
NO_CUPY = ModuleNotFoundError("No module named 'cupy'", name="cupy")
HALF = ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock")
MISSING = "device 'gpu': a CUDA library that CuPy needs is missing"
BROKEN = {
    "missing": (NO_CUPY, CupyMissingError, "device 'gpu' needs CuPy, which is not installed: pip install"),
    "half installed": (HALF, CupyMissingError, "does not import .*'fastrlock'"),
    "broken": (ImportError("undefined symbol: cuInit"), CupyMissingError, "does not import .*cuInit.: reinstall"),
    "no driver": (FakeCupy(NO_DRIVER), NoGpuError,
                  r"device 'gpu': no NVIDIA driver .* CuPy 14.0.1 \[cudaErrorInsufficientDriver\]; install a driver"),
    "no gpu": (FakeCupy(0), NoGpuError, "device 'gpu': .* reports 0 GPUs .CUDA_VISIBLE_DEVICES"),
    "no nvrtc": (FakeCupy(ones=ones_with(__add__=NO_NVRTC)), CudaLibraryMissingError,
                 f"{MISSING} .libnvrtc.so.13: cannot open shared object file.: pip install"),
    "no cublas": (FakeCupy(ones=ones_with(__matmul__=NO_CUBLAS)), CudaLibraryMissingError,
                  f"{MISSING} .CUBLAS_STATUS_NOT_INITIALIZED.: pip install"),
    "wordless error": (FakeCupy(ones=raising(ImportError())), CudaLibraryMissingError, f"{MISSING} .ImportError.: pip"),
    "wrong product": (FakeCupy(ones=ones_with(__matmul__=lambda a, b: np.zeros((2, 2)))), CudaLibraryMissingError,
                      "device 'gpu': .* gave 0.0 instead of 8"),
}  # fmt: skip


def use(monkeypatch: pytest.MonkeyPatch, cupy: Any) -> None:
    """Make `import cupy` give this object, or raise this error."""
    real = importlib.import_module

    def import_module(name: str, *args: Any) -> Any:
        if name != "cupy":
            return real(name, *args)
        if isinstance(cupy, Exception):
            raise cupy
        return cupy

    monkeypatch.setattr(importlib, "import_module", import_module)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_gpu_is_named_with_its_fix_and_auto_falls_back(name, monkeypatch):
    cupy, error, words = BROKEN[name]
    use(monkeypatch, cupy)
    with pytest.raises(error, match=words) as caught:
        backend_named("gpu")
    message = str(caught.value)
    assert isinstance(caught.value, DeviceError)
    assert "\n" not in message
    assert ("use device 'cpu'" in message) == (name != "wrong product")
    assert backend_named("auto") is CPU


class Driver:
    """As much of NVIDIA's driver library as is asked: the newest CUDA that it runs, and the capability of its first GPU."""

    def __init__(self, cuda: int, capability: tuple[int, int] = (9, 0), status: int = 0) -> None:
        self.cuda, self.capability, self.status = cuda, capability, status

    def cuDriverGetVersion(self, answer: Any) -> int:
        answer._obj.value = self.cuda
        return 0

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDeviceGetAttribute(self, answer: Any, attribute: int, device: int) -> int:
        answer._obj.value = self.capability[{75: 0, 76: 1}[attribute]]
        return 0


@pytest.mark.parametrize(("driver", "hip", "wheel"), [
    (Driver(13010), None, "cupy-cuda13x[ctk]"),
    (Driver(13000, capability=(7, 5)), None, "cupy-cuda13x[ctk]"),
    (Driver(13000, capability=(7, 0)), None, "cupy-cuda12x[ctk]"),
    (Driver(13000, status=100), None, "cupy-cuda13x[ctk]"),
    (Driver(12040), "libamdhip64.so", "cupy-cuda12x[ctk]"),
    (None, "libamdhip64.so", "cupy-rocm-7-0"),
    (None, None, "cupy-cuda13x[ctk]"),
], ids=["CUDA 13", "Turing", "Volta", "no GPU", "CUDA 12", "ROCm", "nothing"])  # fmt: skip
def test_a_missing_cupy_names_the_wheel_for_the_driver(driver, hip, wheel, monkeypatch):
    def load(name: str) -> Driver:
        if driver is None:
            raise OSError(name)
        return driver

    use(monkeypatch, NO_CUPY)
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: hip)
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    with pytest.raises(CupyMissingError) as caught:
        backend_named("gpu")
    assert f"pip install '{wheel}'," in str(caught.value)


def test_a_wheel_for_another_driver_is_named_with_the_right_one(monkeypatch):
    use(monkeypatch, FakeCupy(NO_DRIVER))
    monkeypatch.setattr(devices, "installed_wheel", lambda: devices.CUDA13)
    monkeypatch.setattr(devices, "cupy_wheel", lambda: devices.CUDA12)
    with pytest.raises(NoGpuError, match=r"pip install 'cupy-cuda12x\[ctk\]' for the driver that is here, or use"):
        backend_named("gpu")


def test_the_extras_install_the_wheels_that_the_messages_name():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    wheels = [project["optional-dependencies"][name][0].partition(">")[0] for name in ("gpu", "gpu12", "rocm")]
    assert wheels == [devices.CUDA13, devices.CUDA12, devices.ROCM]


def test_a_working_gpu_is_connected_once_and_known_by_its_arrays(monkeypatch):
    cupy = FakeCupy()
    use(monkeypatch, cupy)
    backend = backend_named("gpu")
    assert isinstance(backend, CupyBackend)
    assert (backend.name, backend.xp) == ("gpu", cupy)
    assert backend_named("gpu") is backend
    assert backend_named("auto") is backend
    there = cupy.ones((2,), "float32")
    assert backend_of(there) is backend
    assert backend_of(np.ones(2)) is CPU


def test_an_array_of_cupy_connects_the_gpu_by_itself(monkeypatch):
    cupy = FakeCupy(ones=np.ones)

    class Bare:
        """Not NumPy's ndarray, so that only the name of its module tells where it comes from."""

    class Stream:
        """Comes from CuPy, and is not an array."""

    cupy.ndarray = Bare
    Bare.__module__ = Stream.__module__ = "cupy"
    use(monkeypatch, cupy)
    assert backend_of(Bare()).name == "gpu"
    with pytest.raises(TypeError, match="expected an array, got Stream"):
        backend_of(Stream())


def test_mixed_devices_are_named(elsewhere):
    there = elsewhere.to_device(np.ones(2))
    words = rf"add was given arrays of different devices \(cpu, {elsewhere.name}\).*to\('cpu'\)"
    with pytest.raises(MixedDevicesError, match=words):
        check_same_device("add", [np.ones(2), there, 1.0])
    check_same_device("add", [there, there, 2.0, np.float64(1.0)])
    check_same_device("add", [np.ones(2), 3])
    assert issubclass(MixedDevicesError, TypeError)


# Generators


def test_a_generator_is_passed_through_or_made():
    generator = np.random.default_rng(0)
    assert as_generator(generator) is generator
    assert as_generator(None).random() != as_generator(None).random()


@pytest.mark.parametrize("wrong", [0, 1.5, "seed", np.random.RandomState(0), np.random])
def test_seeds_are_refused_as_generators(wrong):
    with pytest.raises(TypeError, match=r"must be a numpy\.random\.Generator.*default_rng\(seed\).*every layer"):
        as_generator(wrong)


# Kernels


class Reference(Backend):
    """NumPy with every kernel's readable body."""

    name = "reference"
    xp = np

    def generator(self, seed: int) -> Any:
        return np.random.default_rng(seed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (33, 4), (2, 3, 4)])
def test_numpy_kernels_equal_their_reference_bodies(shape, dtype, rng):
    x, w, b = (rng.normal(size=s).astype(dtype) for s in (shape, (4, 3), (3,)))
    tolerance = {"rtol": 20 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}
    for name, arguments in (("affine", (x, w, b)), ("sigmoid", (30 * x,)), ("softplus", (30 * x,))):
        found, expected = (getattr(backend, name)(*arguments) for backend in (CPU, Reference()))
        assert found.dtype == expected.dtype == dtype
        assert_allclose(found, expected, **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 7, 16384, 16385, 40000])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_adam_in_chunks_equals_the_reference_body(size, decay, dtype, rng):
    arrays = [rng.normal(size=size).astype(dtype) for _ in range(3)] + [rng.uniform(0, 1, size).astype(dtype)]
    settings = {"step": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": decay}
    found, expected = [a.copy() for a in arrays], [a.copy() for a in arrays]
    for _ in range(3):
        assert CPU.adam(*found, **settings) is None
        Reference().adam(*expected, **settings)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert_allclose(a, b, rtol=50 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
    assert_array_equal(found[1], arrays[1])  # the gradient is only read


def test_draws_come_from_the_given_generator_and_repeat():
    for backend in (CPU, Reference()):
        for draw, low, high in ((backend.uniform, 0.4, 0.6), (backend.normal, -0.1, 0.1)):
            first, again = (draw(np.random.default_rng(3), (50, 40), "float32") for _ in range(2))
            assert_array_equal(first, again)
            assert first.dtype == np.float32
            assert first.shape == (50, 40)
            assert low < first.mean() < high
            generator = np.random.default_rng(3)
            assert (draw(generator, (3,), "float64") != draw(generator, (3,), "float64")).all()


def test_transfers_on_the_host_copy_only_to_convert():
    x = np.ones(3)
    assert CPU.to_device(x) is x
    assert CPU.to_host(x) is x
    assert CPU.to_device(x, "float32").dtype == np.float32
    assert CPU.to_device([1, 2], "float64").tolist() == [1.0, 2.0]
    assert CPU.synchronize() is None


def test_draws_repeat_and_transfers_keep_values(elsewhere):
    first, again = (elsewhere.to_host(elsewhere.normal(np.random.default_rng(5), (100,), "float32")) for _ in range(2))
    assert_array_equal(first, again)
    x = np.arange(6.0).reshape(2, 3)
    assert_array_equal(elsewhere.to_host(elsewhere.to_device(x)), x)
    assert elsewhere.to_device(elsewhere.to_device(x)).dtype == x.dtype
    elsewhere.synchronize()
