"""The CPU's chunked Adam kernel gives the bits of the reference body, on one thread and on two."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tinyae.backend import CPU, Backend, devices, kernels
from tinyae.backend.devices import NumpyBackend

CHUNK = devices._CHUNK


class Reference(NumpyBackend):
    """NumPy with the readable body of `Backend`."""

    adam = Backend.adam


def run(backend: Backend, size: int, dtype: str, decay: float, steps: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(size)
    param = rng.standard_normal(size).astype(dtype)
    mean, square = np.zeros(size, dtype), np.zeros(size, dtype)
    for _ in range(steps):
        grad = rng.standard_normal(size).astype(dtype)
        before = grad.copy()
        backend.adam(param, grad, mean, square, step=0.013, beta1=0.9, beta2=0.999, eps=1e-7, decay=decay)
        np.testing.assert_array_equal(grad, before)
    return [param, mean, square]


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_chunks_equal_the_reference_bit_for_bit(size: int, decay: float) -> None:
    for dtype in ("float32", "float64"):
        expected = run(Reference(), size, dtype, decay)
        for ours, theirs in zip(run(CPU, size, dtype, decay), expected, strict=True):
            assert ours.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("size", [CHUNK + 1, 3 * CHUNK + 5])
def test_two_threads_equal_one(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one = run(CPU, size, "float32", 0.01)
    parts: list[int] = []
    started: list[threading.Thread] = []
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (started.append(thread), start(thread))[1])
    chunks = devices._adam_chunks

    def counted(*arrays: np.ndarray, **numbers: float) -> None:
        parts.append(arrays[0].size)
        chunks(*arrays, **numbers)

    monkeypatch.setattr(devices, "_adam_chunks", counted)
    monkeypatch.setattr(devices, "_SHARED", CHUNK)
    monkeypatch.setattr(kernels, "processors", lambda: 2)
    two = run(CPU, size, "float32", 0.01)
    assert len(started) <= 1, "one helper for all updates"
    assert sorted(parts) == sorted(3 * [size // 2, size - size // 2])
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)


def test_an_error_in_the_second_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """np.errstate is handed to the helper thread, and what it raises comes back."""
    monkeypatch.setattr(devices, "_SHARED", 1)
    monkeypatch.setattr(kernels, "processors", lambda: 2)
    arrays = [np.zeros(8, "float32") for _ in range(4)]
    arrays[1][0] = 1e30  # its square overflows, in the half that the helper takes
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        CPU.adam(*arrays, step=0.1, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0)
