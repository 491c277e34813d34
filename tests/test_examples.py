"""The examples run as their first line says, on every change, and stay short enough to be read."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyae as ta

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
STUDIES = [path for path in EXAMPLES if "--data" in path.read_text(encoding="utf-8")]
LONGEST = 120


def sample(paths: list[Path], chosen: str, matrix: bool = False) -> list[Any]:
    """Those examples by default whose numbers are chosen; 08, 13 and the others in the thorough run, or the matrix."""
    more = [pytest.mark.thorough, pytest.mark.matrix]
    marks = {
        p: [] if p.stem[:2] in chosen else more if matrix and p.stem[:2] not in "08 13" else more[:1] for p in paths
    }
    return [pytest.param(p, marks=marks[p], id=p.stem) for p in paths]


def run(path: Path, *arguments: str) -> None:
    """Run an example in this process, as if from the command line."""
    argv = sys.argv
    sys.argv = [str(path), *arguments]
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = argv


@pytest.mark.parametrize("path", sample(EXAMPLES, "01 02 04 05 08 13 15 16"))
def test_an_example_runs_and_tells_a_story(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(path, "--epochs", "1", "--seed", "1", "--device", "cpu")
    told = capsys.readouterr().out
    assert len(told.splitlines()) >= 10
    assert "nan" not in told.lower().split()
    assert list(tmp_path.iterdir()) == [], "an example writes nothing unless it is told where"


@pytest.mark.parametrize("path", sample(STUDIES, "02", matrix=True))
def test_an_example_takes_other_data_and_leaves_pictures_where_asked(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(path, "--epochs", "1", "--data", "optdigits", "--out", str(tmp_path / "pictures"))
    assert "optdigits" in capsys.readouterr().out
    assert any((tmp_path / "pictures").rglob("*.png"))


@pytest.mark.thorough
def test_the_study_of_memories_takes_a_convolutional_decoder(capsys):
    run(ROOT / "examples" / "07_image_memory.py", "--epochs", "1", "--data", "optdigits", "--decoder", "conv")
    assert "images it has never seen" in capsys.readouterr().out


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("wrong", [["--epochs", "0"], ["--data", "no-such-set"], ["--device", "tpu"]], ids=" ".join)
def test_an_example_refuses_nonsense_in_one_sentence(path, wrong, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run(path, *wrong)
    assert stopped.value.code == 2
    assert ": error: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("name", "steps", "says"), [
    ("13_lstm_autoencoder.py", [3, 5], "holds sequences of unequal length, which example 14 takes"),
    ("13_lstm_autoencoder.py", [1, 1], "one step, which have no future"),
    ("14_sequences_and_prediction.py", [1, 1], "one step, which have no future"),
    ("14_sequences_and_prediction.py", [1, 5], "one step, which have no future"),
])  # fmt: skip
def test_studies_of_sequences_refuse_what_they_cannot_study(name, steps, says, tmp_path, capsys):
    x, lengths = ta.data.pad([np.ones((T, 2)) for T in steps * 10])
    known = {} if len(set(steps)) == 1 else {"lengths": lengths}
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(20) % 2, **known)
    with pytest.raises(SystemExit):
        run(ROOT / "examples" / name, "--data", str(tmp_path / "x.npz"))
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("steps", [[2, 5, 4], [5]], ids=["unequal", "wide"])
def test_the_study_of_prediction_takes_unequal_sequences_and_wide_steps(steps, tmp_path, capsys, rng):
    x, lengths = ta.data.pad([rng.normal(size=(T, 300 if len(steps) == 1 else 2)) for T in steps * 10])
    np.savez(tmp_path / "x.npz", x=x, **({} if len(steps) == 1 else {"lengths": lengths}))
    run(ROOT / "examples" / "14_sequences_and_prediction.py", "--epochs", "1", "--data", str(tmp_path / "x.npz"))
    table = capsys.readouterr().out.rpartition("PCA, as many\n")[2]
    assert len(table.splitlines()) >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_is_listed(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
    assert f"`{path.name}`" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
