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

RUNS = {
    "basic": "basic --data optdigits --epochs 6 --batch-size 64 --schedule cosine",
    "stacked": "stacked --data optdigits --epochs 2 --classifier-epochs 3 --tuning-epochs 2 --sizes 30,10",
    "vae": "vae --data optdigits --epochs 5 --kl-warmup 3 --schedule warmup --warmup-steps 2",
}
OFTEN = "--checkpoint-minutes 0.0001"


def differ(*runs: str) -> bool:
    """Whether `tinyae diff` ends with the exit code of runs that differ."""
    try:
        return main(["diff", *runs]) == 1
    except SystemExit as stop:
        return stop.code == 1


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
    request.getfixturevalue("unpainted" if name == "basic" else "pictured")
    tinyae = request.getfixturevalue("tinyae")
    tinyae("train", RUNS[name], "--out whole")
    expected = run_files(tmp_path / "whole")
    for count, words in ((3, f"train {RUNS[name]} {OFTEN} --out cut"), (4, "train --resume cut")):
        with monkeypatch.context() as patch:
            cut_after(patch, count)
            with pytest.raises(Killed):
                main(words.split())
    assert "continued after epoch" in tinyae("train --resume cut")
    assert run_files(tmp_path / "cut") == expected
    assert differ("whole", "cut")
    assert capsys.readouterr().out == "minutes: None and 0.0001\n"
    tinyae("train --resume cut")  # complete: evaluates and draws again
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
    arguments = f"train {RUNS['basic']} {OFTEN}".split()
    kill_until_done(tmp_path, arguments, np.random.default_rng(0), kills=1)
    assert run_files(tmp_path / "cut") == run_files(tmp_path / "whole")


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    generator, done = np.random.default_rng(1), 0
    for number, name in enumerate(["basic", "vae", "stacked"] * 10):
        folder = tmp_path / str(number)
        folder.mkdir()
        done += kill_until_done(folder, f"train {RUNS[name]} {OFTEN}".split(), generator, kills=50 - done)
        assert run_files(folder / "cut") == run_files(folder / "whole")
        if done == 50:
            break
    assert done >= 25


def test_a_longer_run_says_what_becomes_of_its_schedule(tinyae, refused):
    tinyae("train", RUNS["basic"], "--out run")
    said = tinyae("train --resume run --epochs 8")
    assert "cosine schedule: from here on the learning rate is that of a run of 8 epochs, not 6: it goes on at " in said
    assert Run.open("run").history()["epoch"] == list(range(1, 9))
    assert Run.open("run").config["epochs"] == 8
    assert "run has 8 complete epochs already, got --epochs 8: give more" in refused("train --resume run --epochs 8")
    constant = RUNS["basic"].replace("cosine", "constant")
    tinyae("train", constant, "--out short")
    tinyae("train --resume short --epochs 8")
    tinyae("train", constant.replace("6", "8", 1), "--out long")
    tinyae("diff short long")


def test_another_environment_is_refused_unless_allowed(tinyae, refused):
    tinyae("train", RUNS["basic"], "--out run")
    config = json.loads(Path("run/config.json").read_text())
    config["environment"] |= {"processor": "other", "data": "other"}
    Path("run/config.json").write_text(json.dumps(config))
    said = refused("train --resume run")
    assert "would not continue as it began, since this differs: data (other, now " in said
    assert "processor (other, now " in said
    assert "--allow-changes" in said
    tinyae("train --resume run --allow-changes")
    assert Run.open("run").config["environment"]["processor"] != "other"


@pytest.mark.parametrize(("entry", "value"), [
    ("optimizer", {"lr": 1}), ("order_generator", {"bit_generator": "PCG64"}), ("position", {"order": np.array([9**9]), "seen": 0}),
])  # fmt: skip
def test_a_state_that_does_not_fit_is_refused_with_its_file(entry, value, tinyae, refused):
    tinyae("train", RUNS["basic"], "--out run")
    run = Run.open("run", write=True)
    state, extra = run.state()
    run.keep_state(dataclasses.replace(state, **{entry: value}), extra)
    run.close()
    said = refused("train --resume run --epochs 8")
    assert "run/checkpoint.safetensors is damaged or not the state of this run (" in said


def test_a_forced_run_writes_no_state_before_its_first_epoch_is_complete(tinyae, monkeypatch, capsys):
    """With --checkpoint-minutes, which writes in the middle of epochs, the old run is whole until then."""
    tinyae("train", RUNS["basic"], "--out run")
    before = {file.name: file.read_bytes() for file in Path("run").iterdir()}
    forced = f"train {RUNS['vae']} --force --out run"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "keep", lambda *of: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            main(f"{forced} {OFTEN}".split())
    assert {file.name: file.read_bytes() for file in Path("run").iterdir()} == before
    with monkeypatch.context() as patch:
        patch.setattr("tinyae.cli.train.fit", interrupted_at_once)
        assert main(forced.split()) == 130
    assert "The old run in run is as it was." in capsys.readouterr().err
    tinyae("train --resume run")


def test_the_card_of_a_run_that_is_killed_while_it_draws_has_the_results(tinyae, monkeypatch, capsys):
    command = f"train {RUNS['basic']} --out"
    tinyae(command, "whole")
    report = Path("whole/README.md").read_text().partition("```text\n")[2].partition("```")[0]
    with monkeypatch.context() as patch:
        patch.setattr("tinyae.cli.train.draw_run", lambda *of: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            main([*command.split(), "cut"])
    assert report in Path("cut/README.md").read_text()
    tinyae("train --resume cut")
    assert Path("cut/README.md").read_bytes() == Path("whole/README.md").read_bytes()


def interrupted_at_once(*of: Any, **options: Any) -> None:
    raise TrainingInterrupted(History())


def test_diff_names_the_first_epoch_and_parameter(tinyae, capsys):
    for words in ("--out a", "--lr 0.01 --out b", "--code-size 8 --epochs 1 --out c"):
        tinyae("train basic --data optdigits --epochs 2", words)
    assert differ("a", "b")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lr: 0.001 and 0.01"
    assert lines[1].startswith("epoch 1: train_loss ")
    assert lines[2].startswith("weights: decoder.0.bias differs by up to ")
    assert lines[2].endswith(", and 3 more")
    assert differ("a", "c")
    text = capsys.readouterr().out
    for words in ("arguments.code_size: 32 and 8\n", "epochs: 2 and 1\n", "weights: decoder.0.bias differs by up to "):
        assert words in text
    tinyae("train basic --data optdigits --epochs 1 --out d")
    assert differ("a", "d")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["epochs: 2 and 1", "epochs: equal as far as both go"]
    assert [line for line in lines[2:] if not line.startswith("weights: ")] == []
