"""The examples run as their first line says, on every change, and stay short enough to be read."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
STUDIES = [path for path in EXAMPLES if "--data" in path.read_text(encoding="utf-8")]
LONGEST = 120


def run(path: Path, *arguments: str) -> None:
    """Run an example in this process, as if from the command line."""
    argv = sys.argv
    sys.argv = [str(path), *arguments]
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = argv


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_tells_a_story(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(path, "--epochs", "1", "--seed", "1", "--device", "cpu")
    told = capsys.readouterr().out
    assert len(told.splitlines()) >= 10
    assert "nan" not in told.lower().split()
    assert list(tmp_path.iterdir()) == [], "an example writes nothing unless it is told where"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_an_example_takes_other_data_and_leaves_pictures_where_asked(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(path, "--epochs", "1", "--data", "optdigits", "--out", str(tmp_path / "pictures"))
    assert "optdigits" in capsys.readouterr().out
    assert any((tmp_path / "pictures").rglob("*.png"))


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


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_is_listed(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
    assert f"`{path.name}`" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
