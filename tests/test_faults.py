"""A run whose k-th file operation fails, k = 1, 2, ...: the next reader finds the old run whole or the new one up to an epoch.

As SQLite is tested: every operation in turn is the last of the process (before it, after it, or after half of a write), or fails
once, or is the first of all that find the disk full. A crash is an exception that nothing handles, after which no operation has an
effect; a few are real ones.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_equal

from tinyae import atomic
from tinyae.cli.main import main
from tinyae.training import Checkpoint, Run

MINE = {"holiday.png": b"mine", "filters.png": b"mine, with a name that a run may give", "notes.txt": b"mine"}
COMPLETE = [
    "README.md", "checkpoint.safetensors", "codes.png", "config.json", "loss.png", "metrics.csv", "model.safetensors",
    "run.toml", "scores.npy",
]  # fmt: skip
EPOCHS = {"fresh": 2, "force": 2, "resume": 3}
SEED = {"fresh": 1, "force": 1, "resume": 0}
FAULTS = ("before", "after", "half", "once", "full")


class Crash(BaseException):
    """The end of the process."""


class Faults:
    """Counts the file operations under a folder, and lets number `at` (from 1) fail; 0 none."""

    def __init__(self, folder: Path, at: int = 0, fault: str = "") -> None:
        self.folder, self.at, self.fault, self.count, self.over = str(folder), at, fault, 0, False

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for owner, names in ((os, ("open", "fsync", "replace", "unlink", "mkdir", "rmdir")), (Path, ("write_bytes",))):
            for name in names:
                monkeypatch.setattr(owner, name, self.counted(name, getattr(owner, name)))

    def counted(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def counted(first: Any, *arguments: Any, **options: Any) -> Any:
            if name != "fsync" and not str(first).startswith(self.folder):
                return act(first, *arguments, **options)
            if self.over:
                raise Crash
            self.count += 1
            grows = name in ("fsync", "replace", "mkdir", "write_bytes") or (
                name == "open" and arguments[0] & os.O_CREAT
            )
            if self.fault == "full" and self.count >= self.at > 0 and grows:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.count != self.at or self.fault == "full":
                return act(first, *arguments, **options)
            if self.fault == "once":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self.over = True
            if self.fault == "half" and name == "write_bytes":
                act(first, arguments[0][: len(arguments[0]) // 2])
            elif self.fault == "after":
                act(first, *arguments, **options)
            raise Crash

        return counted


def draw_two(model: Any, data: Any, history: Any, folder: Path) -> list[Path]:
    return [atomic.write_bytes(folder / name, b"a picture") for name in ("loss.png", "codes.png")]


@pytest.fixture(scope="module")
def quick() -> Iterator[pytest.MonkeyPatch]:
    """Runs commit every epoch, draw two files, and do not report."""
    after_epoch = Checkpoint.after_epoch

    def always(checkpoint: Checkpoint, state: Any) -> None:
        checkpoint.cost = 0.0
        after_epoch(checkpoint, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "after_epoch", always)
        patch.setattr("tinyae.cli.train.draw_run", draw_two)
        patch.setattr("tinyae.cli.train._report", lambda *of: "")
        yield patch


def command(scenario: str, root: Path, folder: Path) -> list[str]:
    if scenario == "resume":
        return ["train", "--resume", str(folder), "--epochs", "3"]
    return ["train", "basic", "--data", str(root / "x.npy"), *["--code-size", "2", "--batch-size", "16", "--epochs", "2", "--seed", "1"],
            "--out", str(folder), *(["--force"] if scenario == "force" else [])]  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, quick) -> tuple[Path, dict[tuple[int, int], Any]]:
    """A folder with samples and an old run, of seed 0 and one epoch; and the weights by seed and epochs."""
    root = tmp_path_factory.mktemp("faults")
    np.save(root / "x.npy", np.random.default_rng(0).random((40, 6)).astype("float32"))
    weights = {}
    for seed in (0, 1):
        for epochs in (1, 2, 3):
            words = command("fresh", root, root / f"old-{seed}-{epochs}")
            words[words.index("--seed") + 1], words[words.index("--epochs") + 1] = str(seed), str(epochs)
            assert main(words) == 0
            weights[seed, epochs] = Run.open(root / f"old-{seed}-{epochs}").model().state_dict()
    return root, weights


def begin(scenario: str, root: Path, folder: Path) -> None:
    if scenario != "fresh":
        shutil.copytree(root / "old-0-1", folder)
        for name, content in MINE.items():
            (folder / name).write_bytes(content)


def check(scenario: str, folder: Path, weights: Any, done: bool = False) -> None:
    """The folder holds the old run exactly, or the new one up to a complete epoch; and the user's files."""
    if not (folder / "config.json").exists():
        assert scenario == "fresh"
        assert not done
        return
    run = Run.open(folder)
    seed, planned, state = run.config["seed"], run.config["epochs"], run.state()[0]
    old = scenario != "fresh" and (seed, planned) == (0, 1)
    if state is None:
        assert scenario == "fresh"
        assert not (folder / "model.safetensors").exists()
    else:
        epochs = len(run.history())
        assert (state.epoch, epochs == 1) == (epochs, old or (scenario != "resume" and epochs < 2))
        assert_equal(run.model().state_dict(), weights[seed, epochs])
        assert_equal(state.model.arrays, weights[seed, epochs])
    assert old or (seed, planned) == (SEED[scenario], EPOCHS[scenario])
    names = sorted(file.name for file in folder.iterdir())
    if scenario != "fresh":
        assert {name: (folder / name).read_bytes() for name in MINE} == MINE
        assert not old or {*COMPLETE, *MINE} <= {*names}
    if done:
        assert not old
        assert len(run.history()) == EPOCHS[scenario]
        assert names == sorted([*COMPLETE, *(MINE if scenario != "fresh" else [])])


def try_fault(scenario: str, fault: str, at: int, root: Path, folder: Path, weights: Any) -> bool:
    """Whether there was an operation number `at` to fail."""
    begin(scenario, root, folder)
    faults = Faults(folder, at, fault)
    with pytest.MonkeyPatch.context() as patch:
        faults.patch(patch)
        try:
            code = main(command(scenario, root, folder))
        except Crash:
            code = None
    if faults.count < at:
        return False
    check(scenario, folder, weights, done=code == 0 and fault != "once")
    resumed = scenario == "fresh" and at % 2 and (folder / "config.json").exists()
    again = command("resume" if resumed else scenario if scenario == "resume" else "force", root, folder)
    if resumed or (scenario == "resume" and Run.open(folder).config["epochs"] == len(Run.open(folder).history()) == 3):
        again = again[:3]
    assert main(again) == 0
    check(scenario, folder, weights, done=True)
    return True


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scenario", EPOCHS)
@pytest.mark.parametrize("every", [
    131, pytest.param(29, marks=pytest.mark.thorough), pytest.param(1, marks=(pytest.mark.thorough, pytest.mark.matrix)),
])  # fmt: skip
def test_after_a_fault_at_any_operation_there_is_one_whole_run(every, scenario, fault, prepared, tmp_path, capsys):
    root, weights = prepared
    at = 1 + FAULTS.index(fault) * 2 % every
    while try_fault(scenario, fault, at, root, tmp_path / str(at), weights):
        shutil.rmtree(tmp_path / str(at))
        at += every
    assert at > 60, "a run has many operations"


@pytest.mark.parametrize("seconds", [pytest.param(s / 10, marks=pytest.mark.thorough) for s in range(8, 20, 2)])
def test_a_process_that_is_killed_over_an_old_run(seconds, prepared, tmp_path):
    root, weights = prepared
    begin("force", root, tmp_path / "run")
    words = command("force", root, tmp_path / "run")
    words[words.index("--epochs") + 1] = "100000"
    process = subprocess.Popen(
        [sys.executable, "-m", "tinyae", *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    run = Run.open(tmp_path / "run")
    state = run.state()[0]
    assert state is not None
    assert state.epoch == len(run.history())
    assert_equal(state.model.arrays, run.model().state_dict())
    assert {name: (tmp_path / "run" / name).read_bytes() for name in MINE} == MINE
    assert main(command("force", root, tmp_path / "run")) == 0
    check("force", tmp_path / "run", weights, done=True)
