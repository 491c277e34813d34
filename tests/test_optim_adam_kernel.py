"""The CPU's chunked Adam kernel gives the bits of the reference body."""

from __future__ import annotations

import numpy as np
import pytest

from tinyae.backend import CPU, Backend, devices
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
