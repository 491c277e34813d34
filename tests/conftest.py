"""What every test shares: Hypothesis profiles, a seeded generator, NumPy errors that raise, and the devices.

A test body that asks for `device` runs on the CPU, on the strict double of a GPU and, with `pytest -m gpu`, on a real
one. One that compares with the CPU asks for `elsewhere`, which is every device but that.
"""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tinyae import plots
from tinyae.autodiff import Primitive, Tensor, primitive
from tinyae.backend import CPU, Backend, DeviceError, backend_named
from tinyae.cli.main import main
from tinyae.data import Dataset
from tinyae.testing import strict_device

OPTIONAL = bool(os.environ.get("REQUIRE_OPTIONAL"))
"""Whether a test that is skipped because a package is not installed counts as failed (in the step of `.ci/run` that
installs them)."""

_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("dev", max_examples=15, stateful_step_count=25, **_common)
settings.register_profile("ci", max_examples=25, stateful_step_count=30, derandomize=True, **_common)
settings.register_profile("thorough", max_examples=500, stateful_step_count=60, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

gc.disable()


def pytest_collection_finish() -> None:
    """The thousands of collected tests live to the end: no search for cyclic garbage visits them."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With REQUIRE_OPTIONAL, what is skipped for want of a package has failed."""
    report = yield
    if OPTIONAL and report.skipped and "could not import" in str(report.longrepr):
        report.outcome = "failed"
    return report


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, fresh for every test."""
    return np.random.default_rng(20240229)


@pytest.fixture(autouse=True)
def numpy_errors_raise() -> Iterator[None]:
    """A division by zero, an overflow or a NaN made of numbers is a mistake; np.errstate says where it is meant."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are put together and saved as empty files: for tests of what is drawn, not of how it looks."""

    def touch(figure: object, path: Path, **options: object) -> Path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
        return Path(path)

    monkeypatch.setattr(plots, "save_figure", touch)


@pytest.fixture
def pictured() -> None:
    """All pictures are drawn and painted: for tests of their files."""


@pytest.fixture
def undrawn(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, where no picture is painted; those of a run are put together if the test asks for `unpainted`."""
    monkeypatch.chdir(tmp_path)
    asked = {*request.fixturenames}
    if "pictured" not in asked:
        request.getfixturevalue("unpainted")
        if "unpainted" not in asked:
            monkeypatch.setattr("tinyae.cli.train.draw_run", lambda *of: [])


def leaf(value: Any, dtype: str = "float64") -> Tensor:
    """A Tensor to differentiate by."""
    return Tensor(np.asarray(value, dtype=dtype), requires_grad=True)


def in_order(dataset: Dataset) -> np.ndarray:
    """The samples of both parts as they stood before they were divided, by their ids."""
    ids = np.concatenate([dataset.train.ids, dataset.test.ids])
    return np.concatenate([dataset.train.x, dataset.test.x])[np.argsort(ids)]


def words_of(command: tuple[Any, ...]) -> list[str]:
    """The words of a command: strings are divided at their spaces, everything else (a path, a number) is one word."""
    return [word for part in command for word in (part.split() if isinstance(part, str) else [str(part)])]


@pytest.fixture
def tinyae(undrawn: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must succeed, in an empty folder, and return what it printed."""

    def run(*command: Any) -> str:
        capsys.readouterr()
        assert main(words_of(command)) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(undrawn: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with exit code 2, in an empty folder, and return its one sentence."""

    def run(*command: Any) -> str:
        capsys.readouterr()
        try:
            code = main(words_of(command))
        except SystemExit as stopped:
            code = stopped.code
        assert code == 2
        return sentence(capsys.readouterr().err)

    return run


def sentence(stderr: str) -> str:
    """The one line that an error leaves, beside those of a progress bar."""
    lines = [
        line for line in re.split(r"[\r\n]", stderr) if line.strip() and ("|" not in line or line.startswith("tinyae"))
    ]
    assert len(lines) == 1, stderr
    assert re.match(r"tinyae[ a-z]*: error: \S", lines[0])
    return lines[0]


@pytest.fixture(scope="session")
def gpu() -> Backend:
    """The GPU backend; tests that ask for it are skipped where no GPU works."""
    try:
        return backend_named("gpu")
    except DeviceError as error:
        pytest.skip(str(error))


def with_rules(forward: Callable[..., Any], *rules: Any, elementwise: bool = True) -> Primitive:
    """The primitive of a function on arrays, with a gradient rule for each of its arguments: a right or a wrong one."""
    made = primitive(elementwise=elementwise)(forward)
    for argument, rule in enumerate(rules):
        made.vjp(argument)(rule)
    return made


ELSEWHERE = ("strict", pytest.param("gpu", marks=pytest.mark.gpu))


@pytest.fixture(params=["cpu", *ELSEWHERE])
def device(request: pytest.FixtureRequest) -> Backend:
    """The CPU, the strict double, and a real GPU (marked gpu)."""
    return CPU if request.param == "cpu" else _device_named(request)


@pytest.fixture(params=ELSEWHERE)
def elsewhere(request: pytest.FixtureRequest) -> Backend:
    """The strict double, and a real GPU (marked gpu)."""
    return _device_named(request)


def _device_named(request: pytest.FixtureRequest) -> Backend:
    return strict_device() if request.param == "strict" else request.getfixturevalue("gpu")
