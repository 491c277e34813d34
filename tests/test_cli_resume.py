"""`tinyae train --resume` and `tinyae diff`: a run that was killed ends as one that was not, byte for byte."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyae.cli.main import main
from tinyae.training import History, Run, TrainingInterrupted
from tinyae.training.state import Checkpoint, TrainingState

DATA = ["--data", "optdigits"]
RUNS = {
    "basic": ["basic", *DATA, "--epochs", "6", "--batch-size", "64", "--schedule", "cosine"],
    "stacked": ["stacked", *DATA, "--epochs", "2", "--classifier-epochs", "3", "--tuning-epochs", "2", "--sizes", "30,10"],
    "vae": ["vae", *DATA, "--epochs", "5", "--kl-warmup", "3", "--schedule", "warmup", "--warmup-steps", "2"],
}  # fmt: skip


def run_command(*arguments: str) -> int:
    """The exit code of a command, run in this process."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


OFTEN = ["--checkpoint-minutes", "0.0001"]


def run_files(folder: Path) -> dict[str, Any]:
    """The content of a run folder: bytes, but of the history without the columns of the clock; without the checkpoint."""
    content: dict[str, Any] = {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".csv"}
    del content["checkpoint.safetensors"], content["config.json"]
    clock = ("seconds", "samples_per_second")
    content["rows"] = [{k: v for k, v in row.items() if k not in clock} for row in Run.open(folder).history().rows]
    return content


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of the package handles it, and nothing is written after it."""


def cut_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The process ends after the checkpoint was written `count` times."""
    write, written = Checkpoint.write, 0

    def once(self: Checkpoint, state: TrainingState) -> None:
        nonlocal written
        if written == count:
            raise Killed
        written += 1
        write(self, state)

    monkeypatch.setattr(Checkpoint, "write", once)


MORE = (pytest.mark.thorough, pytest.mark.matrix)


@pytest.mark.parametrize("name", ["basic", pytest.param("stacked", marks=MORE), pytest.param("vae", marks=MORE)])
def test_a_resumed_run_is_the_whole_run(name, tmp_path, request, monkeypatch, capsys):
    """With its pictures, which are painted in the matrix only."""
    monkeypatch.chdir(tmp_path)
    if name == "basic":
        request.getfixturevalue("unpainted")
    assert main(["train", *RUNS[name], "--out", "whole"]) == 0
    expected = run_files(tmp_path / "whole")
    with monkeypatch.context() as patch:
        cut_after(patch, 3)
        with pytest.raises(Killed):
            main(["train", *RUNS[name], *OFTEN, "--out", "cut"])
    with monkeypatch.context() as patch:
        cut_after(patch, 4)
        with pytest.raises(Killed):
            main(["train", "--resume", "cut"])
    capsys.readouterr()
    assert main(["train", "--resume", "cut"]) == 0
    assert "continued after epoch" in capsys.readouterr().out
    assert run_files(tmp_path / "cut") == expected
    assert run_command("diff", "whole", "cut") == 1
    assert capsys.readouterr().out == "minutes: None and 0.0001\n"
    assert main(["train", "--resume", "cut"]) == 0  # complete: evaluates and draws again
    assert run_files(tmp_path / "cut") == expected


def killed(arguments: list[str], folder: Path, after: float) -> int:
    """Run a command in a new process and kill it after so many seconds; returns its exit code."""
    command = [sys.executable, "-m", "tinyae", *arguments]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def kill_until_done(folder: Path, arguments: list[str], generator: np.random.Generator, kills: int) -> int:
    """Kill a run `kills` times at random moments, resuming it each time, then let it end; returns how often it was killed."""
    started = time.perf_counter()
    assert killed([*arguments, "--out", "whole"], folder, 600) == 0
    length, done = time.perf_counter() - started, 0
    command = [*arguments, "--out", "cut"]
    while done < kills and killed(command, folder, generator.uniform(0.3, 1.0) * length) != 0:
        done += 1
        if (folder / "cut" / "config.json").exists():
            command = ["train", "--resume", "cut"]
    if command[0] != "train" or "--resume" in command or done == kills:
        assert killed(command if (folder / "cut").exists() else [*arguments, "--out", "cut"], folder, 600) == 0
    return done


@pytest.mark.thorough
def test_a_killed_process_leaves_a_run_that_goes_on(tmp_path):
    arguments = ["train", *RUNS["basic"], *OFTEN]
    kill_until_done(tmp_path, arguments, np.random.default_rng(0), kills=1)
    assert run_files(tmp_path / "cut") == run_files(tmp_path / "whole")


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    generator, done = np.random.default_rng(1), 0
    for number, name in enumerate(["basic", "vae", "stacked"] * 10):
        folder = tmp_path / str(number)
        folder.mkdir()
        done += kill_until_done(folder, ["train", *RUNS[name], *OFTEN], generator, kills=50 - done)
        assert run_files(folder / "cut") == run_files(folder / "whole")
        if done == 50:
            break
    assert done >= 25


def test_a_longer_run_says_what_becomes_of_its_schedule(undrawn, capsys):
    assert main(["train", *RUNS["basic"], "--out", "run"]) == 0
    assert main(["train", "--resume", "run", "--epochs", "8"]) == 0
    said = capsys.readouterr().out
    assert "cosine schedule: from here on the learning rate is that of a run of 8 epochs, not 6: it goes on at " in said
    assert Run.open("run").history()["epoch"] == list(range(1, 9))
    assert Run.open("run").config["epochs"] == 8
    assert main(["train", "--resume", "run", "--epochs", "8"]) == 2
    assert "the run has 8 complete epochs already, got --epochs 8: give more" in capsys.readouterr().err

    constant = [word if word != "cosine" else "constant" for word in RUNS["basic"]]
    assert main(["train", *constant, "--out", "short"]) == 0
    assert main(["train", "--resume", "short", "--epochs", "8"]) == 0
    constant[constant.index("6")] = "8"
    assert main(["train", *constant, "--out", "long"]) == 0
    assert run_command("diff", "short", "long") == 0


def changed(run: Path, **entries: Any) -> None:
    """Write other values into the environment of a run."""
    config = json.loads((run / "config.json").read_text())
    config["environment"] |= entries
    (run / "config.json").write_text(json.dumps(config))


def test_another_environment_is_refused_unless_allowed(undrawn, tmp_path, capsys):
    assert main(["train", *RUNS["basic"], "--out", "run"]) == 0
    changed(tmp_path / "run", processor="other", data="other")
    capsys.readouterr()
    assert main(["train", "--resume", "run"]) == 2
    said = capsys.readouterr().err
    assert "would not continue as it began, since this differs: data (other, now " in said
    assert "processor (other, now " in said
    assert "--allow-changes" in said
    assert main(["train", "--resume", "run", "--allow-changes"]) == 0
    assert Run.open("run").config["environment"]["processor"] != "other"


@pytest.mark.parametrize(("entry", "value"), [
    ("optimizer", {"lr": 1}), ("order_generator", {"bit_generator": "PCG64"}), ("position", {"order": np.array([9**9]), "seen": 0}),
])  # fmt: skip
def test_a_state_that_does_not_fit_is_refused_with_its_file(entry, value, undrawn, capsys):
    assert main(["train", *RUNS["basic"], "--out", "run"]) == 0
    run = Run.open("run", write=True)
    state, extra = run.state()
    run.keep_state(dataclasses.replace(state, **{entry: value}), extra)
    run.close()
    capsys.readouterr()
    assert main(["train", "--resume", "run", "--epochs", "8"]) == 2
    assert "run/checkpoint.safetensors is damaged or not the state of this run (" in capsys.readouterr().err


def test_a_forced_run_writes_no_state_before_its_first_epoch_is_complete(undrawn, monkeypatch, capsys):
    """With --checkpoint-minutes, which writes in the middle of epochs, the old run is whole until then."""
    assert main(["train", *RUNS["basic"], "--out", "run"]) == 0
    before = {file.name: file.read_bytes() for file in Path("run").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(Run, "keep", lambda *of: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            main(["train", *RUNS["vae"], *OFTEN, "--force", "--out", "run"])
    assert {file.name: file.read_bytes() for file in Path("run").iterdir()} == before
    with monkeypatch.context() as patch:
        patch.setattr("tinyae.cli.train.fit", interrupted_at_once)
        assert main(["train", *RUNS["vae"], "--force", "--out", "run"]) == 130
    assert "The old run in run is as it was." in capsys.readouterr().err
    assert main(["train", "--resume", "run"]) == 0


def interrupted_at_once(*of: Any, **options: Any) -> None:
    raise TrainingInterrupted(History())


def test_diff_names_the_first_epoch_and_parameter(undrawn, capsys):
    short = ["train", "basic", *DATA, "--epochs", "2"]
    for name, more in (("a", []), ("b", ["--lr", "0.01"]), ("c", ["--code-size", "8", "--epochs", "1"])):
        assert main([*short, *more, "--out", name]) == 0
    capsys.readouterr()
    assert run_command("diff", "a", "b") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lr: 0.001 and 0.01"
    assert lines[1].startswith("epoch 1: train_loss ")
    assert lines[2].startswith("weights: decoder.0.bias differs by up to ")
    assert lines[2].endswith(", and 3 more")
    assert run_command("diff", "a", "c") == 1
    text = capsys.readouterr().out
    assert "arguments.code_size: 32 and 8\n" in text
    assert "epochs: 2 and 1" in text
    assert "weights: decoder.0.bias differs by up to " in text
