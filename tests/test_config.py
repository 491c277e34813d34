"""`run.toml`, the card of a run, and completion: each is read by what reads it outside, `tomllib`, a shell, Python."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyae.cli.config import toml
from tinyae.cli.main import main
from tinyae.training import Run

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
PLAIN = (
    TEXT | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.integers())
)
QUICK, IMAGES = "--epochs 2 --batch-size 20", "--data 'im\"ages.npz'"


@given(PLAIN)
def test_what_is_written_is_toml(value):
    read = tomllib.loads(f"a = {toml(value)}")["a"]
    assert (read, type(read)) == (value, type(value))


@pytest.fixture
def place(tmp_path, undrawn) -> Path:
    """A working directory with images, a recording and a table, under names that need quoting."""
    rng = np.random.default_rng(0)
    np.savez('im"ages.npz', x=rng.random((40, 6, 6, 1)).astype("float32"), y=np.arange(40) % 3)
    np.save("recording.npy", rng.random((200, 2)).astype("float32"))
    rows = "".join(f"{a:.3f};{b:.3f};{'yn'[n % 2]}\n" for n, (a, b) in enumerate(rng.random((40, 2))))
    Path("a tüble.csv").write_text(f"a;b;the # class\n{rows}", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("words", [
    f"basic {IMAGES} {QUICK} --optimizer sgd --schedule cosine --validation 0.2 --patience 1",
    f"lstm --data recording.npy {QUICK} --mode predict --window 6 --horizon 2 --no-reverse-target",
    *(pytest.param(words, marks=(pytest.mark.thorough, pytest.mark.matrix)) for words in (
        f"sparse {IMAGES} --epochs 2 --code-size 3",
        f"conv {IMAGES} {QUICK} --channels 3,2 --schedule step --step-size 1 --seed 7",
        f"stacked {IMAGES} {QUICK} --sizes 5,4 --classifier-epochs 1 --tuning-epochs 1 --tied",
        f"deep --data 'a tüble.csv' {QUICK} --sizes 4,2 --label 'the # class' --scaling robust --drop-last",
        f"memory {IMAGES} {QUICK} --count 8",
    )),
], ids=lambda words: words.partition(" ")[0])  # fmt: skip
def test_a_run_is_repeated_from_its_settings(words, place, monkeypatch):
    assert main(["train", *shlex.split(words), "--out", "run"]) == 0
    settings = tomllib.loads(Path("run/run.toml").read_text(encoding="utf-8"))
    assert {"model", "data", "seed", "device", "epochs", "optimizer"} <= settings.keys()
    assert not {"out", "force", "seeds", "config"} & settings.keys()
    (place / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert main(["train", "--config", "../run/run.toml", "--out", "run"]) == 0
    for name in ("model.safetensors", "run.toml", "README.md"):
        assert Path("run", name).read_bytes() == Path("../run", name).read_bytes(), name
    assert Run.open("run").config == Run.open("../run").config


def test_options_take_precedence_and_a_longer_run_says_so(place):
    Path("mine.toml").write_text('data = "recording.npy"\nepochs = 3\nbatch-size = 20\n')
    assert main(["train", "basic", "--config=mine.toml", "--epochs", "1", "--out", "run"]) == 0
    assert main(["train", "--resume", "run", "--epochs", "2"]) == 0
    settings = tomllib.loads(Path("run/run.toml").read_text())
    assert (settings["model"], settings["epochs"], settings["batch-size"]) == ("basic", 2, 20)


@pytest.mark.parametrize(("content", "words", "told"), [
    (b'model = "basic"\nepohcs = 3', "", r"f.toml: unknown option --epohcs: did you mean --epochs\?"),
    (b'model = "basic"\nepochs = "3"', "", "f.toml: argument --epochs: must not be in quotes, got '3'; see `tinyae train basic"),
    (b'model = "basic"\nepochs = 3.5', "", "f.toml: argument --epochs: must be a whole number of at least 1, got '3.5'"),
    (b'model = "basic"\nepochs = false', "", "f.toml: argument --epochs: must not be true or false, got false"),
    (b'model = "basic"\ntied = 1', "", "f.toml: argument --tied: must be true or false, got 1; see"),
    (b'model = "basic"\ndrop-last = "no"', "", "f.toml: argument --drop-last: must be true or false, got 'no'; see"),
    (b'model = "basic"\nlr = -3.0', "", "error: --lr must be a finite number, above 0, got -3.0"),
    (b'model = "basic"\nvalidation = 2.0', "", "error: --validation must be a finite number, above 0 and below 1, got 2.0"),
    (b'model = "basic"\nloss = "bec"', "", r"f.toml: argument --loss: invalid choice: 'bec': did you mean bce\?"),
    (b'model = "bsaic"', "", r"f.toml: unknown model 'bsaic': did you mean basic\?"),
    (b'model = "basic"', "vae", "f.toml and the command line name basic and vae: name one model"),
    (b"", "", "f.toml and the command line name no model"),
    (b'model = "basic"', "--resume run", "f.toml says how one new run is trained: leave out --resume"),
    (b"\xff\x00", "", "f.toml is damaged or not a TOML file"),
    (b"#" * 2**21, "", "f.toml is damaged .*larger than a megabyte"),
    (None, "", "no file f.toml: give a TOML file of settings"),
])  # fmt: skip
def test_a_file_of_settings_that_makes_no_sense(content, words, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("f.toml").write_bytes(content)
    assert main(["train", "--config", "f.toml", *words.split()]) == 2
    assert re.search(told, capsys.readouterr().err)
    assert not Path("runs").exists()


def test_the_card_has_the_numbers_that_were_printed_and_its_code_runs(place, capsys, unpainted):
    words = ["train", "basic", "--data", "optdigits", "--epochs", "1", "--code-size", "7", "--out", "run"]
    Path("README.md").write_text("mine")
    assert main(words) == 0
    printed, text = capsys.readouterr().out, Path("run/README.md").read_text()
    assert re.search(r"```text\n(.*?)\n```", text, re.DOTALL)[1] in printed
    for part in ("PCA, 7 components", "code size 7", "CC BY 4.0", "library_name: tinyae", "parameters"):
        assert part in text
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert sorted(pictures) == Run.open("run").manifest["pictures"]
    found = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1].replace("RUN", "run"), found)
    assert found["codes"].shape == (1797, 7)
    Path("run/README.md").write_text("mine")
    config = Path("run/config.json")
    config.write_text(config.read_text().replace('"README.md": ', '"scores.npy": '))
    assert main([*words, "--force"]) == 0
    assert Path("run/README.md").read_text() == "mine", "no run wrote it"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes(shell, tmp_path, capsys):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    assert main(["completion", shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)
    asked = 'COMP_WORDS=(tinyae "$@"); COMP_CWORD=$#; _tinyae; echo "${COMPREPLY[@]}"'
    for line, found in COMPLETED.items() if shell == "bash" else ():
        command = ["bash", "-c", f'source "$0"; {asked}', tmp_path / "script", *line.split(" ")]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{found}\n", line


def test_the_cases_for_fish_are_those_for_bash(capsys):
    assert main(["completion", "fish"]) == 0
    text = capsys.readouterr().out
    places = shlex.split(re.search(r"case (/.*)\n", text)[1])
    cases = re.findall(r"case ('?/?.*@.*); string split -n ' ' '(.*)'\n", text)
    for line, expected in COMPLETED.items():
        *words, current = line.split(" ")
        here = ""
        for word in words:
            here += f"/{word}" if f"{here}/{word}" in places else ""
        asked = f"{here}@{words[-1] if words else 'tinyae'}@{current}"
        found = next((w for key, w in cases if any(fnmatchcase(asked, one) for one in shlex.split(key))), "")
        assert " ".join(word for word in found.split() if word.startswith(current)) == expected, line


COMPLETED = {
    "tr": "train", "train ba": "basic", "train basic --opt": "--optimizer", "show basic --format d": "dot",
    "train vae --data opt": "optdigits", "train lstm --mode ": "reconstruct predict composite", "evaluate ": "",
}  # fmt: skip
