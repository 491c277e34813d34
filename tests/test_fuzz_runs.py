"""Damaged files of a run: what is read is finite, or one sentence says which file is wrong; in little memory and time.

Mutants are made at random from a seed, of bytes and of the JSON in headers; what once went wrong is listed by name.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyae as ta
from tinyae.models import build
from tinyae.training import History, Run, TrainingState
from tinyae.training.run import CHECKPOINT, CONFIG, METRICS, MODEL, environment

DOORS: dict[str, Callable[[Path], Any]] = {
    "load folder": ta.load,
    "load file": lambda folder: ta.load(folder / MODEL),
    "model": lambda folder: Run.open(folder).model(),
    "history": lambda folder: Run.open(folder).history(),
    "state": lambda folder: TrainingState.load(folder / CHECKPOINT),
}
OF_FILE = {
    CONFIG: ("model", "history"),
    MODEL: ("load file", "model"),
    CHECKPOINT: ("state", "history"),
    METRICS: ("history",),
}
KINDS = {
    "basic": {"input_shape": [6], "code_size": 2},
    "lstm": {"input_shape": [4, 2], "hidden_size": 3, "num_layers": 1},
    "memory": {"input_shape": [4], "count": 5, "codes": "one-hot", "hidden_sizes": [3]},
}
SAMPLES = {"basic": (8, 6), "lstm": (8, 4, 2), "memory": (5, 4)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Small runs with all files and with all kinds of entries in their configuration; only read."""
    folders = {}
    for name, arguments in KINDS.items():
        model = build(name, {"loss": "squared_error", **arguments}, np.random.default_rng(0))
        x = np.random.default_rng(1).random(SAMPLES[name]).astype("float32")
        config = {
            "model": name, "data": "optdigits", "arguments": arguments, "seed": 0, "epochs": 2, "lr": 1e-3, "clip_norm": None,
            "windows": {"length": 4, "time": "t"}, "scaler": [[0.0], [1.0], "range"], "data_options": {"image_size": [8, 8]},
            "environment": environment(ta.data.load("optdigits"), "cpu"),
        }  # fmt: skip
        run = Run.create(tmp_path_factory.mktemp("fuzz") / name, config)
        history = ta.fit(model, x, epochs=2, progress=False)
        run.keep(model, history, history.state, {"stages": [["layer 1", history.units, history.rows]]})
        run.close()
        folders[name] = run.path
    return folders


def checked(folder: Path, name: str = "") -> dict[str, str]:
    """What each door says of a folder: a sentence, or "" if what it returned is finite; `name`: only those of this file."""
    said = {}
    for door in OF_FILE.get(name, DOORS):
        read = DOORS[door]
        tracemalloc.reset_peak()
        before, started = tracemalloc.get_traced_memory()[0], time.process_time()
        try:
            found = read(folder)
        except (ValueError, OSError) as error:
            said[door] = str(error)
            assert str(folder) in said[door]
            assert "\n" not in said[door]
        else:
            said[door] = ""
            arrays = found.state_dict() if isinstance(found, ta.nn.Module) else getattr(found, "model", None)
            for value in (arrays if isinstance(arrays, dict) else getattr(arrays, "arrays", {})).values():
                assert np.isfinite(value).all()
            assert isinstance(found, (ta.nn.Module, History, TrainingState))
        assert time.process_time() - started < 10.0
        assert tracemalloc.get_traced_memory()[1] - before < 16 * 2**20, door
    return said


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


# Mutants.

NASTY = [
    None, True, -1, 0, 3, 1e9, 10**7, 2**70, 1e400, -1e400, float("nan"), 0.5, "", "x", "é" * 500, "../x",
    [], [1, 2], [[]], {}, {"a": 1},
]  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every entry of JSON."""
    found = []
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found += [(value, key), *places(value[key])]
    return found


def spoil(value: Any, rng: np.random.Generator) -> None:
    """Change one or two entries of JSON: another value, gone, or under another name."""
    for _ in range(rng.integers(1, 3)):
        all_places = places(value)
        if not all_places:  # the whole was deleted
            return
        container, key = all_places[rng.integers(len(all_places))]
        choice = rng.integers(6)
        if choice == 0 and isinstance(container, dict):
            container[str(rng.choice(["x", "model", "run", "part"]))] = container.pop(key)
        elif choice == 1:
            del container[key]
        elif choice == 2:
            _, other = all_places[rng.integers(len(all_places))]
            container[key] = str(other)
        else:
            container[key] = NASTY[rng.integers(len(NASTY))]


def spoiled_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut off, left out, or repeated."""
    data, at = bytearray(content), int(rng.integers(len(content)))
    length = int(rng.integers(1, 20))
    choice = rng.integers(5)
    if choice == 0:
        return bytes(data[:at])
    if choice == 1:
        data[at : at + length] = b""
    elif choice == 2:
        data[at:at] = data[at : at + length] * int(rng.integers(1, 50))
    elif choice == 3:
        data[at : at + length] = bytes(rng.choice([b"nan", b"1e999", b",", b"\n", b'"', b"\0", b"\xff", b"[" * 3000]))
    else:
        for place in rng.integers(len(data), size=length):
            data[place] = rng.integers(256)
    return bytes(data)


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, with the JSON in its metadata unpacked, and the numbers."""
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = {key: json.loads(text) for key, text in header["__metadata__"].items()}
    return header, content[8 + length :]


def with_header(header: dict[str, Any], numbers: bytes) -> bytes:
    if isinstance(header.get("__metadata__"), dict):
        parts = header["__metadata__"].items()
        packed = {key: part if isinstance(part, str) else json.dumps(part) for key, part in parts}
        header = header | {"__metadata__": packed}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def mutant(content: bytes, name: str, rng: np.random.Generator) -> bytes:
    if name == METRICS or rng.integers(3) == 0:
        return spoiled_bytes(content, rng)
    if name == CONFIG:
        config = json.loads(content)
        spoil(config, rng)
        return json.dumps(config).encode()
    header, numbers = header_of(content)
    spoil(header["__metadata__"] if rng.integers(4) else header, rng)
    return with_header(header, numbers)


@pytest.mark.parametrize("count", [
    160, pytest.param(500, marks=pytest.mark.thorough), pytest.param(20_000, marks=(pytest.mark.thorough, pytest.mark.matrix)),
])  # fmt: skip
@pytest.mark.parametrize("name", [CONFIG, MODEL, CHECKPOINT, METRICS])
def test_mutants_are_read_or_refused_with_a_sentence(name, count, runs, tmp_path, traced):
    rng, read = np.random.default_rng(count), 0
    for _ in range(count // 4):
        kind = str(rng.choice(list(runs)))
        folder = tmp_path / "run"
        shutil.copytree(runs[kind], folder)
        (folder / name).write_bytes(mutant((folder / name).read_bytes(), name, rng))
        said = checked(folder, name)
        read += not any(said.values())
        shutil.rmtree(folder)
    assert read < 0.9 * count / 4, "most mutants are damaged"


# What once ended in a traceback, or was read without a word.


def set_in(name: str, *path_and_value: Any) -> Callable[[Path], None]:
    """Set an entry of the configuration, or of a header."""
    *path, last, value = path_and_value

    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        whole, numbers = (json.loads(content), b"") if name == CONFIG else header_of(content)
        place = whole
        for key in path:
            place = next(iter(place["__metadata__"].values())) if key == "header" else place[key]
        place[last] = value
        (folder / name).write_bytes(json.dumps(whole).encode() if name == CONFIG else with_header(whole, numbers))

    return change


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return change


def with_nan(name: str, suffix: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        header, numbers = header_of((folder / name).read_bytes())
        ((start, _),) = [part["data_offsets"] for key, part in header.items() if key.endswith(suffix)]
        (folder / name).write_bytes(with_header(header, numbers[:start] + b"\xff" * 4 + numbers[start + 4 :]))

    return change


def as_integers(name: str, suffix: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        header, numbers = header_of((folder / name).read_bytes())
        (key,) = [key for key in header if key.endswith(suffix)]
        header[key]["dtype"] = "I32"
        (folder / name).write_bytes(with_header(header, numbers))

    return change


def only_a_part(folder: Path) -> None:
    ta.save(ta.load(folder).encoder, folder / MODEL)


def other_sizes(folder: Path) -> None:
    header, _ = header_of((folder / MODEL).read_bytes())
    model = build("basic", KINDS["basic"] | {"code_size": 3})
    ta.save(model, folder / MODEL)
    changed, numbers = header_of((folder / MODEL).read_bytes())
    (folder / MODEL).write_bytes(with_header(changed | {"__metadata__": header["__metadata__"]}, numbers))


DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]
NESTED = b"[" * 5000 + b"]" * 5000
RECIPE = ("header", "recipe")
CORPUS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "config, deeply nested": (lambda f: (f / CONFIG).write_bytes(b'{"model": ' + NESTED + b"}"), "model", "config.json is damaged"),
    "config, nested": (set_in(CONFIG, "arguments", {"a": DEEP}), "model", "nested more than 20 deep"),
    "windows are a word": (set_in(CONFIG, "windows", "x"), "model", "windows is 'x'"),
    "windows of a word": (set_in(CONFIG, "windows", "length", "x"), "model", "windows.length is 'x'"),
    "windows unknown": (set_in(CONFIG, "windows", "wings", 2), "model", "windows has an entry 'wings'"),
    "scaler is empty": (set_in(CONFIG, "scaler", []), "history", "scaler is list"),
    "scaler is short": (set_in(CONFIG, "scaler", [[0.0], "x"]), "history", "scaler is list"),
    "data options are a word": (set_in(CONFIG, "data_options", "x"), "history", "data_options is 'x'"),
    "data is a number": (set_in(CONFIG, "data", 5), "history", "data is 5"),
    "epochs are true": (set_in(CONFIG, "epochs", True), "history", "epochs is True"),
    "lr is infinite": (set_in(CONFIG, "lr", 1e400), "history", "lr is inf"),
    "arguments are a list": (set_in(CONFIG, "arguments", []), "model", "arguments is list"),
    "generation is a word": (set_in(CONFIG, "run", "generation", "x"), "model", "run.generation is 'x'"),
    "another model": (set_in(CONFIG, "model", "vae"), "model", "files of two runs are mixed"),
    "another run": (set_in(CONFIG, "run", "id", "basic-0"), "history", "belongs to the run 'basic-.*beside it to 'basic-0'"),
    "recipe, deeply nested": (replaced(MODEL, b'\\"recipe\\": {', b'\\"recipe\\": ' + b"[" * 4 + b"{"), "model", "is not a complete"),
    "recipe, nested": (set_in(MODEL, *RECIPE, "arguments", "a", DEEP), "load file", "builds no model here"),
    "a code of 1e9": (set_in(MODEL, *RECIPE, "arguments", "code_size", 10**9), "load file", "larger model than the file"),
    "a code of 1e7": (set_in(MODEL, *RECIPE, "arguments", "code_size", 10**7), "load file", "larger model than the file"),
    "a code of 4": (set_in(MODEL, *RECIPE, "arguments", "code_size", 4), "load file", r"does not match this .* expected \(6, 4\)"),
    "format of a model": (set_in(MODEL, "header", "format", 99), "model", "has format 99, and this version of tinyae reads format 1"),
    "format of a state": (set_in(CHECKPOINT, "header", "format", 99), "state", "has format 99"),
    "weights that are NaN": (with_nan(MODEL, "encoder.0.bias"), "model", "encoder.0.bias holds NaN or infinite values"),
    "a state with NaN": (with_nan(CHECKPOINT, "/encoder.0.bias"), "state", "encoder.0.bias holds NaN or infinite values"),
    "weights of integers": (as_integers(MODEL, "encoder.0.bias"), "model", "encoder.0.bias holds int32, expected floating-point"),
    "an encoder": (only_a_part, "model", "holds a part of a model only"),
    "other sizes": (other_sizes, "load folder", r"encoder.0.weight has shape \(6, 3\), expected \(6, 2\)"),
    "rows that are words": (set_in(CHECKPOINT, "header", "state", "rows", ["x"]), "state", r"state.rows\[0\] is 'x'"),
    "a generator that is none": (set_in(CHECKPOINT, "header", "state", "order_generator", 3), "state", "order_generator is 3"),
    "stages that are none": (set_in(CHECKPOINT, "header", "extra", "stages", [[1]]), "state", "stages"),
    "an epoch of letters": (replaced(METRICS, b"\n1,", b"\none,"), "history", "metrics.csv.*line 2: invalid literal for int"),
    "a line that is short": (replaced(METRICS, b"\n2,", b"\n2\n2,"), "history", "line 3: zip"),
    "letters of another code": (replaced(METRICS, b"\n2", b"\n\xff2"), "history", "metrics.csv is damaged"),
    "an open quote": (replaced(METRICS, b"\n2", b'\n"2'), "history", "line 3: unexpected end of data"),
    "a zero byte": (replaced(METRICS, b"\n2", b"\n\x002"), "history", "metrics.csv is damaged"),
    "no metrics": (lambda f: (f / METRICS).unlink(), "history", "No such file"),
}  # fmt: skip


@pytest.mark.parametrize("case", CORPUS)
def test_what_once_went_wrong_is_one_sentence(case, runs, tmp_path, traced):
    change, door, words = CORPUS[case]
    shutil.copytree(runs["basic"], tmp_path / "run")
    change(tmp_path / "run")
    said = checked(tmp_path / "run")
    assert re.search(words, said[door]), said


def test_a_recipe_of_endless_layers_ends(runs, tmp_path, traced):
    shutil.copytree(runs["lstm"], tmp_path / "run")
    set_in(MODEL, *RECIPE, "arguments", "num_layers", 10**9)(tmp_path / "run")
    assert "larger model than the file" in checked(tmp_path / "run")["model"]


def test_a_manifest_names_nothing_else_to_be_deleted(runs, tmp_path):
    shutil.copytree(runs["basic"], tmp_path / "run")
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    set_in(CONFIG, "run", "replaces", ["../mine.txt", "notes.txt", "config.json", "", ".."])(tmp_path / "run")
    Run.open(tmp_path / "run", write=True).close()
    assert (tmp_path / "mine.txt").exists()
    assert {"notes.txt", CONFIG, MODEL} <= {file.name for file in (tmp_path / "run").iterdir()}
    assert "replaces" not in Run.open(tmp_path / "run").manifest
