"""What every test shares: Hypothesis profiles, a seeded generator, NumPy errors that raise, the GPU if one works."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tinyae.backend import Backend, DeviceError, backend_named

_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("dev", max_examples=15, stateful_step_count=25, **_common)
settings.register_profile("ci", max_examples=25, stateful_step_count=30, derandomize=True, **_common)
settings.register_profile("thorough", max_examples=500, stateful_step_count=60, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, fresh for every test."""
    return np.random.default_rng(20240229)


@pytest.fixture(autouse=True)
def numpy_errors_raise() -> Iterator[None]:
    """A division by zero, an overflow or a NaN made of numbers is a mistake; np.errstate says where it is meant."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield


@pytest.fixture(scope="session")
def gpu() -> Backend:
    """The GPU backend; tests that ask for it are skipped where no GPU works."""
    try:
        return backend_named("gpu")
    except DeviceError as error:
        pytest.skip(str(error))
