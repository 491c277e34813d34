"""A user's own data through the command line: twelve files as people have them, from the file to scores, and two weeks later.

The oracle is what this file wrote into them: which columns are features, which rows there are, their means and units. Two models with
weights set by hand, one that returns its input and one whose every forecast is one number, make results known in advance.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from PIL import Image

import tinyae as ta
from tests.conftest import sentence, words_of
from tinyae import plots
from tinyae.cli.main import main
from tinyae.training import Run, load_arrays

NAMES = ("petal", "sepal", "weight", "width")
KINDS = ["lilac"] * 20 + ["rose"] * 30 + ["white"] * 10
HOURS = np.arange("2010-01-01T00", "2010-01-21T00", dtype="M8[h]")
GAPS = [0, 1, 2, 50, 51, 383, 384, 400]
"""Missing values of the recording: at its beginning, within it, and on both sides of the border to its test part, step 384."""


def values_of(seed: int, rows: int = 60) -> np.ndarray:
    """Rows of four correlated numbers in very different units, (N, 4)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(rows, 4))
    return np.round(x * [1.0, 10.0, 100.0, 0.01] + [5.0, -20.0, 3000.0, 0.5], 4)


FLOWERS = values_of(1)
BEATS = np.round(np.random.default_rng(2).normal(size=(60, 24)), 4)
SUNSPOTS = np.round(50 + 40 * np.sin(2 * np.pi * np.arange(309) / 11) + np.random.default_rng(3).normal(size=309), 1)
PRESSURE = np.round(np.stack([3 + np.sin(np.arange(300) / 5), 1000 + 50 * np.cos(np.arange(300) / 5)], axis=1), 2)
SMOG = np.round(80 + 20 * np.sin(2 * np.pi * np.arange(480) / 24) + np.random.default_rng(4).normal(size=480), 2)
TEMPERATURE = np.round(5 + 3 * np.cos(2 * np.pi * np.arange(480) / 24), 2)
WIND = np.array(["NW", "SE", "cv"])[np.arange(480) // 6 % 3]


def lines(header: str, rows: Any, delimiter: str = ",") -> str:
    """The text of a table."""
    return "\n".join([*([header] if header else []), *(delimiter.join(map(str, row)) for row in rows)]) + "\n"


def write_files(folder: Path) -> None:
    """The twelve files."""
    flowers = FLOWERS.tolist()
    sorted_by_class = lines("petal,sepal,weight,width,kind", [[*r, k] for r, k in zip(flowers, KINDS, strict=True)])
    texts = {
        "sorted.csv": sorted_by_class,
        "header.csv": lines("0,1,2,3", flowers),
        "index.csv": lines(",petal,sepal,weight,width", [[n, *r] for n, r in enumerate(flowers)]),
        "patients.csv": lines(
            "id,diagnosis,petal,sepal,weight,width", [[f"p{97 * n % 60:03}", "MB"[n % 3 > 0], *r] for n, r in enumerate(flowers)]
        ),
        "air.csv": lines("No,year,month,day,hour,pm2.5,TEMP,cbwd", [
            [n + 1, h.year, h.month, h.day, h.hour, "NA" if n in GAPS else SMOG[n], TEMPERATURE[n], WIND[n]]
            for n, h in enumerate(HOURS.tolist())
        ]),
        "beats.txt": "".join(
            f"   {1 + n // 20}.0000000e+00" + "".join(f"{v:16.7e}" for v in row) + "\n" for n, row in enumerate(BEATS)
        ),
        "sunspots.csv": lines("YEAR,SUNACTIVITY", [[f"{1700 + n}.0", v] for n, v in enumerate(SUNSPOTS)]),
        "one.csv": lines("petal,sepal,weight,width", flowers[7:8]),
        "reordered.csv": lines("width,weight,sepal,petal", [row[::-1] for row in flowers[10:20]]),
        "lab.csv": lines("Zeit;Druck;Dichte", [
            [f"01.03.2021 {n // 60:02}:{n % 60:02}", *(str(v).replace(".", ",") for v in row)] for n, row in enumerate(PRESSURE)
        ], ";"),
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "sorted.csv.gz").write_bytes(gzip.compress(sorted_by_class.encode()))
    (folder / "photos").mkdir()
    for n in range(40):
        pixels = np.full((20 + n % 7, 24 + n % 5, 3), 6 * n, np.uint8)
        ending = "webp" if n == 7 else "jpg" if n % 2 else "png"
        Image.fromarray(pixels).save(folder / "photos" / f"{n:02}.{ending}", lossless=True)


def run(*command: Any, fails: bool = False) -> str:
    """What a command prints; of one that must fail, its one sentence."""
    told, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(errors):
        code = main(words_of(command))
    assert code == (2 if fails else 0), told.getvalue() + errors.getvalue()
    return sentence(errors.getvalue()) if fails else told.getvalue()


refused = functools.partial(run, fails=True)


def table_in(path: str) -> dict[str, list[str]]:
    """The columns of a .csv as they are written."""
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


def numbers(column: list[str]) -> np.ndarray:
    return np.array(column, np.float64)


def matrix(table: dict[str, Any], names: Any) -> np.ndarray:
    """Some columns of a table as an array (N, D)."""
    return np.stack([np.asarray(table[name], np.float64) for name in names], axis=1)


@pytest.fixture(scope="module", autouse=True)
def desk(tmp_path_factory):
    """The folder with the twelve files, in which all commands run; only the pictures of new data are drawn, into empty files."""
    folder = tmp_path_factory.mktemp("desk")
    write_files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(plots, "save_figure", lambda figure, path, **_: Path(path).touch() or Path(path))
        patch.setattr("tinyae.cli.train.draw_run", lambda *_: [])
        yield folder


# ---------------------------------------------------------------------------------------------------------------------
# Each of the twelve files in one command.


@dataclass
class Trained:
    """A run on one of the files, what `train` printed, and its data as they are loaded again."""

    told: str
    run: Run
    data: ta.data.Dataset


@functools.cache
def trained(name: str, options: str, model: str = "basic") -> Trained:
    """The run of one command."""
    short = {"basic": "--code-size 2", "lstm": "--hidden-size 4"}[model]
    folder = f"run-{trained.cache_info().misses}"
    told = run(f"train {model} --data {name} --epochs 1 {short} {options} --out {folder}")
    opened = Run.open(folder)
    return Trained(told, opened, opened.data())


def check_rows(data: ta.data.Dataset, values: np.ndarray, features: list[str], ids: list[Any] | None = None) -> None:
    """Every row is in one part, under its id, standardized with the mean and the deviation of the training part."""
    assert data.feature_names == tuple(features)
    ids = list(range(len(values))) if ids is None else ids
    place = {name: n for n, name in enumerate(ids)}
    train, test = ([place[name] for name in part.ids.tolist()] for part in (data.train, data.test))
    assert sorted(train + test) == list(range(len(values)))
    for part, rows in ((data.train, train), (data.test, test)):
        assert_allclose(part.x, (values[rows] - values[train].mean(0)) / values[train].std(0), atol=2e-6)
        assert_allclose(matrix(data.in_units(part.x), features), values[rows], atol=1e-6 * values.std(0).max())


TABLES = {
    "labeled and sorted by class": ("sorted.csv", "--label kind", list(NAMES), None),
    "a header of numbers": ("header.csv", "", ["0", "1", "2", "3"], None),
    "the index of pandas": ("index.csv", "", list(NAMES), None),
    "an id and a label": (
        "patients.csv", "--id id --label diagnosis", list(NAMES), [f"p{97 * n % 60:03}" for n in range(60)]
    ),
    "packed": ("sorted.csv.gz", "--label kind", list(NAMES), None),
}  # fmt: skip


@pytest.mark.parametrize(("name", "options", "features", "ids"), TABLES.values(), ids=TABLES)
def test_a_table_is_read_as_its_owner_means_it(name, options, features, ids):
    found = trained(name, options)
    check_rows(found.data, FLOWERS, features, ids)
    assert len(found.data.test) == 6, "a tenth"
    assert "(54 training and 6 test rows of 4" in found.told
    assert "header: yes" in found.told
    assert "--loss squared_error" in found.told, "the loss was chosen by the range, and that is said"


def test_classes_are_divided_alike_and_counted():
    found = trained("sorted.csv", "--label kind --test-share 0.2")
    assert found.data.class_names == ("lilac", "rose", "white")
    for part, counts in ((found.data.train, [16, 24, 8]), (found.data.test, [4, 6, 2])):
        assert np.bincount(part.y).tolist() == counts
        assert [found.data.class_names[y] for y in part.y] == [KINDS[n] for n in part.ids]
    assert "training + test: lilac 16 + 4, rose 24 + 6, white 8 + 2" in found.told


def test_several_columns_of_time_gaps_and_words():
    """Gaps are filled in each part alone; wind directions become a 0 or 1 each; four columns are one time."""
    found = trained(
        "air.csv",
        "--time year,month,day,hour --drop No --missing interpolate --window 24 --horizon 6 --mode predict",
        "lstm",
    )
    data = found.data
    assert data.feature_names == ("pm2.5", "TEMP", "cbwd=NW", "cbwd=SE", "cbwd=cv")
    assert "pm2.5 8" in found.told, "missing values are counted"
    smog = SMOG.copy()
    smog[GAPS] = [SMOG[3]] * 3 + [SMOG[49] + (SMOG[52] - SMOG[49]) * part / 3 for part in (1, 2)] + [
        SMOG[382], SMOG[385], (SMOG[399] + SMOG[401]) / 2
    ]  # fmt: skip
    whole = np.column_stack([smog, TEMPERATURE, *(word == WIND for word in ("NW", "SE", "cv"))])
    for part, first in ((data.train, 0), (data.test, 384)):
        assert part.x.shape[1:] == (30, 5)
        steps = first + 24 * np.arange(len(part))
        assert_array_equal(part.times, HOURS[steps].astype("M8[ms]"))
        assert_allclose(data.measured(part.x), [whole[s : s + 30] for s in steps], rtol=1e-5, atol=1e-5)
    assert_allclose(data.scaler.offset, [*whole[:384, :2].mean(0), 0, 0, 0])
    assert_allclose(data.scaler.scale, [*whole[:384, :2].std(0), 1, 1, 1])


def test_white_space_with_the_label_first_as_sequences():
    found = trained("beats.txt", "--label 0 --as sequences")
    data = found.data
    assert "header: no" in found.told
    assert "(54 training and 6 test sequences of 24 x 1" in found.told
    assert data.class_names == ("1", "2", "3")
    for part in (data.train, data.test):
        assert_array_equal(part.y, part.ids // 20)
        assert_allclose(data.measured(part.x)[..., 0], BEATS[part.ids], atol=1e-5)
    everything = BEATS[data.train.ids]
    assert_allclose([data.scaler.offset[0], data.scaler.scale[0]], [everything.mean(), everything.std()])


def test_a_yearly_series():
    found = trained("sunspots.csv", "--time YEAR --window 22 --stride 11")
    data = found.data
    assert data.feature_names == ("SUNACTIVITY",)
    assert "(21 training and 4 test windows of 22 x 1" in found.told, "four fifths, then the rest; no window in both"
    assert_allclose(data.measured(data.test.x[0])[:, 0], SUNSPOTS[247:269], rtol=1e-5)
    assert [data.timeline.stamp(n)[:4] for n in (0, 1, 21)] == ["1700", "1711", "1947"]
    assert trained("sunspots.csv", "").told.count("YEAR") > 1, "a column of years as a feature is worth a hint"


def test_photographs_of_several_sizes():
    assert "--image-size" in refused("train basic --data photos --epochs 1 --out no")
    found = trained("photos", "--image-size 12,12")
    assert "(36 training and 4 test images of 12 x 12 x 3" in found.told
    colors = np.concatenate([found.data.train.x, found.data.test.x]).mean((1, 2, 3)) * 255
    assert_allclose(np.sort(colors), 6 * np.arange(40), atol=1.5)  # JPEG rounds


@pytest.fixture(scope="module")
def album(desk) -> Run:
    """A run on two classes of photographs."""
    for n in range(24):
        path = Path("album") / ("cat", "dog")[n % 2] / f"{n:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 24, 3), 10 * n, np.uint8)).save(path)
    run("train basic --data album --image-size 8,8 --epochs 1 --code-size 2 --out album-run")
    return Run.open("album-run")


def test_new_photographs_one_or_many(album):
    """In the order of their names, and their classes by name."""
    Path("new/dog").mkdir(parents=True)
    for n in (3, 1, 2):
        Image.fromarray(np.full((20, 24, 3), 40 * n, np.uint8)).save(f"new/dog/{n}.gif")
    run("encode album-run --data new --out new.csv")
    found = table_in("new.csv")
    assert (found["id"], found["label"]) == (["dog/1.gif", "dog/2.gif", "dog/3.gif"], ["dog"] * 3)
    run("encode album-run --data new/dog/2.gif --out one-photo.csv")
    one = table_in("one-photo.csv")
    assert one["id"] == ["2.gif"]
    assert_allclose(numbers(one["code 0"]), float(found["code 0"][1]), rtol=1e-6)
    x = np.full((8, 8, 3), 80, np.uint8)
    for source in ("new/dog/2.gif", x, x[None], x / 255):
        assert_allclose(album.encode(source)[0], [float(found[f"code {n}"][1]) for n in range(2)], rtol=1e-5)
    assert album.prepare("new").test.y.tolist() == [1, 1, 1], "dog is class 1 of the run, though the only one here"


def test_new_arrays_stay_in_order(desk):
    np.save("rows.npy", FLOWERS)
    run("train basic --data rows.npy --loss squared_error --epochs 1 --code-size 2 --out rows")
    opened = Run.open("rows")
    expected = opened.model().encode(FLOWERS.astype(np.float32))
    for new in (FLOWERS[:13], FLOWERS[:1]):
        np.save("new.npy", new)
        run("encode rows --data new.npy --out codes.npy")
        assert_allclose(np.load("codes.npy"), expected[: len(new)], rtol=1e-6)
        Path("unnamed.csv").write_text(lines("", new.tolist()))
        run("encode rows --data unnamed.csv --out codes.npy")
        assert_allclose(np.load("codes.npy"), expected[: len(new)], rtol=1e-6)
    run("encode rows --split all --out codes.npy")
    assert_allclose(np.load("codes.npy"), expected, rtol=1e-6)


def test_validation_windows_do_not_shift_the_times_of_the_test_windows(desk):
    run(
        "train basic --data sunspots.csv --time YEAR --window 22 --stride 11 --epochs 1 --code-size 2 --validation 0.3 --out v"
    )
    run("anomalies v")
    run("anomalies v --out v.csv --quantile 0.01")
    times = table_in("v.csv")["time"]
    assert [time[:4] for time in times] == ["1947", "1958", "1969", "1980"]
    opened = Run.open("v").data()
    assert [opened.timeline.stamp(len(opened.train) + n)[:4] for n in range(4)] == [time[:4] for time in times]


def test_semicolons_and_decimal_commas():
    found = trained("lab.csv", "--window 30 --stride 10")
    assert "separated by semicolons" in found.told
    data = found.data
    assert data.feature_names == ("Druck", "Dichte")
    assert_allclose(data.measured(data.train.x[2]), PRESSURE[20:50], rtol=1e-6)
    assert data.timeline.stamp(2) == "2021-03-01 00:20"
    rows = trained("lab.csv", "").data
    assert rows.feature_names == ("Druck", "Dichte"), "the time is not a feature of a row either"
    assert_array_equal(rows.test.times, np.datetime64("2021-03-01T00:00") + rows.test.ids.astype("m8[m]"))


@pytest.mark.parametrize("model", ["vae", "cvae"])
def test_a_variational_model_takes_a_table_and_its_samples_have_units(desk, model):
    told = run(f"train {model} --data sorted.csv --label kind --epochs 1 --batch-size 64 --out {model}")
    assert "--likelihood gaussian" in told
    for name in ("drawn.csv", "drawn.npy"):
        run(f"sample {model} -n 6 --seed 3 --out {name}")
    opened = Run.open(model)
    train = FLOWERS[opened.data().train.ids]
    expected = opened.model().sample(6, np.random.default_rng(3)) * train.std(0) + train.mean(0)
    found = table_in("drawn.csv")
    assert_allclose(matrix(found, NAMES), expected, rtol=1e-5)
    assert_allclose(np.load("drawn.npy"), expected, rtol=1e-5)
    if model == "cvae":
        codes = np.zeros((3, opened.model().code_size), np.float32)
        numbered = [opened.data().class_names.index(name) for name in ("rose", "white", "rose")]
        expected = opened.model().decode(codes, labels=numbered) * train.std(0) + train.mean(0)
        found = opened.decode(codes, ["rose", "white", "rose"])
        assert_allclose(matrix(found, NAMES), expected, rtol=1e-5)
        assert not np.allclose(expected[0], expected[1])


def test_look_first_says_what_was_understood():
    assert "4 columns" in run("data header.csv")
    told = run("data air.csv --time year,month,day,hour --drop No --missing interpolate")
    for words in ("480 steps", "2010-01-01 00:00:00", "one step every 3600 s"):
        assert words in told
    told = run("data sorted.csv --label kind")
    assert "training + test: lilac 18 + 2, rose 27 + 3, white 9 + 1" in told


# ---------------------------------------------------------------------------------------------------------------------
# From the file to a .csv of scores in two commands, in the units of the file.


def set_weights(folder: str, **values: Any) -> Run:
    """A run whose weights are these; the others are 0."""
    opened = Run.open(folder)
    model = opened.model()
    for name, parameter in model.named_parameters():
        parameter.data[...] = values.get(name, 0.0)
    ta.save(model, opened.path / "model.safetensors")
    return Run.open(folder)


@pytest.fixture(scope="module")
def shifted(desk) -> Run:
    """A run whose reconstruction of `sorted.csv` is the row itself, but one standard deviation more in `weight`."""
    run("train basic --data sorted.csv --label kind --epochs 1 --code-size 4 --activation identity --out shifted")
    names = [name for name, _ in Run.open("shifted").model().named_parameters()]
    first, _, last, bias = names
    return set_weights("shifted", **{first: np.eye(4), last: np.eye(4), bias: [0, 0, 1, 0]})


@pytest.fixture(scope="module")
def deviation(shifted) -> np.ndarray:
    """The standard deviations of the training rows."""
    return FLOWERS[shifted.data().train.ids].std(0)


def test_scores_of_every_row_in_two_commands(shifted, deviation):
    run("anomalies shifted --split all --out scores.csv")
    found = table_in("scores.csv")
    assert list(found) == ["id", "label", "score", "flagged", *(f"error of {name}" for name in NAMES)]
    rows = numbers(found["id"]).astype(int)
    assert sorted(rows) == list(range(60))
    assert found["label"] == [KINDS[n] for n in rows]
    assert_allclose(numbers(found["score"]), 1.0, rtol=1e-5)
    assert_allclose(numbers(found["error of weight"]), deviation[2], rtol=1e-5)
    assert_allclose([numbers(found[f"error of {name}"]) for name in NAMES if name != "weight"], 0.0, atol=1e-4)


def test_parts_of_the_runs_own_data(shifted):
    parts = shifted.data()
    for split, expected in (("train", parts.train.ids), ("test", parts.test.ids), ("all", np.arange(60))):
        for command in ("encode", "reconstruct", "anomalies"):
            run(f"{command} shifted --split {split} --out part.csv")
            assert sorted(table_in("part.csv")["id"]) == sorted(map(str, expected)), (command, split)
    assert "is new" in refused("encode shifted --data one.csv --split test --out part.csv")


def test_reconstructions_and_decoded_codes_have_the_units_of_the_file(shifted, deviation):
    run("reconstruct shifted --split all --out made.csv")
    run("encode shifted --split all --out codes.csv")
    run("decode shifted codes.csv --out decoded.csv")
    made, decoded = table_in("made.csv"), table_in("decoded.csv")
    rows = numbers(made["id"]).astype(int)
    expected = FLOWERS[rows] + deviation * [0, 0, 1, 0]
    for found in (made, decoded):
        assert list(found) == ["id", "label", *NAMES]
        assert_allclose(matrix(found, NAMES), expected, rtol=1e-5)
    assert [made[name] for name in ("id", "label")] == [decoded[name] for name in ("id", "label")]
    _, _, *names = codes = table_in("codes.csv")
    assert list(codes) == ["id", "label", "code 0", "code 1", "code 2", "code 3"]
    train = FLOWERS[shifted.data().train.ids]
    assert_allclose(matrix(codes, names), (FLOWERS[rows] - train.mean(0)) / train.std(0), atol=1e-5)


def test_arrays_hold_the_numbers_of_the_table(shifted):
    for command in ("encode", "reconstruct", "anomalies"):
        run(f"{command} shifted --split all --out x.npy")
        run(f"{command} shifted --split all --out x.csv")
        table, array = table_in("x.csv"), np.load("x.npy").reshape(60, -1)
        names = [name for name in table if name not in ("id", "label", "flagged")][: array.shape[1]]
        assert_allclose(array, matrix(table, names), rtol=1e-6)
    run("encode shifted --split all --out codes.npy")
    run("decode shifted codes.npy --out decoded.npy")
    run("reconstruct shifted --split all --out made.npy")
    assert_allclose(np.load("decoded.npy"), np.load("made.npy"), rtol=1e-6)


def test_words_come_back_as_words_and_the_constant_as_itself():
    rows = [[color, n, 7.5, n % 2 == 0] for n, color in enumerate(["red", "blue", "green"] * 8)]
    Path("words.csv").write_text(lines("color,size,width,broken", rows))
    told = run("train basic --data words.csv --epochs 1 --code-size 6 --activation identity --out words")
    assert "color" in told
    first, _, last, _ = [name for name, _ in Run.open("words").model().named_parameters()]
    set_weights("words", **{first: np.eye(6), last: np.eye(6)})
    run("reconstruct words --split all --out made.csv")
    made = table_in("made.csv")
    order = numbers(made["id"]).astype(int)
    assert made["color"] == [rows[n][0] for n in order]
    assert made["broken"] == [str(rows[n][3]) for n in order]
    assert_allclose(numbers(made["size"]), order, atol=1e-5)
    assert_allclose(numbers(made["width"]), 7.5)
    scores = Run.open("words").score({"color": "red", "size": 3, "width": 7.5, "broken": False})
    assert_allclose(scores, 0.0, atol=1e-9)
    with pytest.raises(ValueError, match="'mauve': the training data do not have this word, but blue, green, red"):
        Run.open("words").score({"color": "mauve", "size": 3, "width": 7.5, "broken": False})


# ---------------------------------------------------------------------------------------------------------------------
# New data: matched by name, or refused.


def test_one_new_row(shifted, deviation):
    told = run("anomalies shifted --data one.csv --out one-scored.csv")
    assert "0 of 1" in told or "1 of 1" in told
    found = table_in("one-scored.csv")
    assert len(found["score"]) == 1
    assert_allclose(numbers(found["error of weight"]), deviation[2], rtol=1e-5)
    run("reconstruct shifted --data one.csv --out one-made.csv")
    made = table_in("one-made.csv")
    assert_allclose([float(made[name][0]) for name in NAMES], FLOWERS[7] + deviation * [0, 0, 1, 0], rtol=1e-5)
    run("encode shifted --data one.csv --out one-code.csv")
    assert len(table_in("one-code.csv")["code 0"]) == 1
    assert "(1 new row" in run("evaluate shifted --data one.csv")


def test_columns_in_another_order_are_matched_by_name(shifted, deviation):
    told = run("reconstruct shifted --data reordered.csv --out again.csv")
    assert "in another order, and were matched by name" in told
    assert_allclose(matrix(table_in("again.csv"), NAMES), FLOWERS[10:20] + deviation * [0, 0, 1, 0], rtol=1e-5)


@pytest.mark.parametrize("command", ["encode", "reconstruct", "anomalies", "evaluate"])
def test_what_is_missing_is_named(shifted, command):
    Path("less.csv").write_text(lines("petal,width,color", [[1.0, 2.0, "red"]] * 3))
    out = "" if command == "evaluate" else "--out no.csv"
    says = refused(f"{command} shifted --data less.csv {out}")
    assert "'sepal', 'weight'" in says
    assert "less.csv" in says
    assert not Path("no.csv").exists()


def test_more_columns_are_ignored_aloud(shifted):
    Path("more.csv").write_text(lines("extra,petal,sepal,weight,width", [[1, *row] for row in FLOWERS[:4].tolist()]))
    assert "ignored: extra" in run("encode shifted --data more.csv --out more-codes.csv")
    run("encode shifted --data reordered.csv --out a.npy")


def test_new_data_decide_nothing(shifted):
    """A row is encoded alone as among others: nothing is fitted to new data."""
    together = shifted.encode(FLOWERS[:9])
    for n in (0, 8):
        assert_allclose(shifted.encode(FLOWERS[n]), together[n : n + 1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("out", ["scores.xlsx", "scores", "scores.json"])
@pytest.mark.parametrize("command", ["anomalies", "encode", "reconstruct"])
def test_a_refused_format_is_refused_before_the_work(command, out):
    says = refused(f"{command} no-such-run --out {out}")
    assert ".csv" in says, "the run does not exist, but the format was looked at first"


# ---------------------------------------------------------------------------------------------------------------------
# Forecasts.


@pytest.fixture(scope="module")
def prophet(desk) -> Run:
    """A run on `lab.csv` whose every forecast is half a standard deviation above the mean of Druck, one below that of Dichte."""
    run(
        "train lstm --mode predict --data lab.csv --window 30 --stride 5 --horizon 5 --hidden-size 4 --epochs 1 --out prophet"
    )
    last = [name for name, p in Run.open("prophet").model().named_parameters() if p.data.shape == (2,)][-1]
    return set_weights("prophet", **{last: [0.5, -1.0]})


def test_a_forecast_follows_the_end_in_the_units_of_the_file(prophet):
    expected = PRESSURE[:240].mean(0) + PRESSURE[:240].std(0) * [0.5, -1.0]
    for steps, options in ((5, ""), (12, "--steps 12")):
        told = run("forecast prophet --out future.csv", options)
        assert "Druck" in told
        future = table_in("future.csv")
        assert list(future) == ["step", "time", "Druck", "Dichte"]
        assert future["step"] == [str(n) for n in range(1, steps + 1)]
        assert future["time"][:2] == ["2021-03-01 05:00", "2021-03-01 05:01"]
        for name, value in zip(("Druck", "Dichte"), expected, strict=True):
            assert_allclose(numbers(future[name]), value, rtol=1e-6)
    run("forecast prophet --out future.npy")
    assert_allclose(np.load("future.npy"), np.tile(expected, (5, 1)), rtol=1e-6)


def test_a_forecast_sees_the_last_window_of_a_new_recording(desk):
    run("train lstm --mode predict --data lab.csv --window 30 --horizon 5 --hidden-size 4 --epochs 1 --out seer")
    seer = Run.open("seer")
    new = PRESSURE[100:171] + np.array([0.3, -4.0])
    Path("new.csv").write_text(lines("Druck,Dichte", new.tolist()))
    run("forecast seer --data new.csv --out future.csv")
    mean, deviation = PRESSURE[:240].mean(0), PRESSURE[:240].std(0)
    window = ((new[-30:] - mean) / deviation).astype(np.float32)[None]
    expected = seer.model().predict(window)[0] * deviation + mean
    sources = (new, {"Druck": new[:, 0], "Dichte": new[:, 1]}, "new.csv")
    for found in (table_in("future.csv"), *map(seer.forecast, sources)):
        assert_allclose(matrix(found, ("Druck", "Dichte")), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="has 29 steps, and the model sees 30: give at least as many"):
        seer.forecast(new[:29])


def test_scores_of_windows_name_their_time(prophet):
    run("anomalies prophet --out scores.csv")
    found = table_in("scores.csv")
    assert found["id"][:2] == ["240", "245"]
    assert found["time"][:2] == ["2021-03-01 04:00:00", "2021-03-01 04:05:00"]
    assert {"error of Druck", "error of Dichte", "squared error at step 0", "squared error at step 34"} <= found.keys()
    steps = matrix(found, [f"squared error at step {n}" for n in range(35)])
    assert not steps[:, :30].any(), "what the model sees, it does not predict"
    future = np.stack([PRESSURE[n + 30 : n + 35] for n in range(240, 266, 5)])
    wrong = future - (PRESSURE[:240].mean(0) + PRESSURE[:240].std(0) * [0.5, -1.0])
    squared = np.square(wrong / PRESSURE[:240].std(0))
    assert_allclose(steps[:, 30:], squared.sum(2), rtol=1e-4)
    assert_allclose(numbers(found["score"]), squared.sum((1, 2)), rtol=1e-4)
    for n, name in enumerate(("Druck", "Dichte")):
        rms = np.sqrt(np.square(wrong[..., n]).mean(1))
        assert_allclose(numbers(found[f"error of {name}"]), rms, rtol=1e-4, err_msg="over the steps that are predicted")
    told = run("evaluate prophet")
    typical = np.sqrt(np.square(wrong).mean((0, 1)))
    assert f"Druck {typical[0]:.4g}, Dichte {typical[1]:.4g}" in told


def test_a_forecast_of_words():
    """A recording with words: the forecast says words, and only numbers are drawn."""
    recording = trained(
        "air.csv",
        "--time year,month,day,hour --drop No --missing interpolate --window 24 --horizon 6 --mode predict",
        "lstm",
    ).run.path
    assert "cbwd" in run("forecast", recording)
    run("forecast", recording, "--out windy.csv")
    assert set(table_in("windy.csv")["cbwd"]) <= set(WIND)
    run("forecast", recording, "--out windy.npy")
    assert np.load("windy.npy").shape == (6, 5)


# ---------------------------------------------------------------------------------------------------------------------
# The split, and that test data choose nothing.


def test_a_group_is_in_one_part_only():
    Path("visits.csv").write_text(
        lines("patient,a,b,c,d", [[f"p{n // 4}", *row] for n, row in enumerate(FLOWERS.tolist())])
    )
    found = trained("visits.csv", "--group patient --test-share 0.3 --validation 0.2").data
    assert found.feature_names == ("a", "b", "c", "d")
    parts = [set((part.ids // 4).tolist()) for part in (found.train, found.validation, found.test)]
    assert sorted(n for part in parts for n in part) == list(range(15)), "no patient is in two parts"
    assert 12 <= len(found.test) <= 24


def test_the_share_of_the_test_part():
    assert [len(trained("header.csv", f"--test-share {share}").data.test) for share in (0.25, 0.5)] == [15, 30]
    windows = trained("lab.csv", "--window 10 --test-share 0.5").data
    assert (len(windows.train), len(windows.test)) == (15, 15)


def test_validation_and_patience_keep_the_best_weights():
    """With a learning rate that grows worse at once, the first epoch is the best, and training ends early."""
    told = run(
        "train basic --data sorted.csv --label kind --code-size 2 --epochs 30 --lr 3 --optimizer sgd --test-share 0.2 "
        "--validation 0.25 --patience 3 --clip-norm 10 --out patient"
    )
    opened = Run.open("patient")
    rows = opened.history().rows
    losses = [row["validation_loss"] for row in rows]
    best = 1 + int(np.argmin(losses))
    assert f"kept: the weights of epoch {best}," in told
    assert len(rows) == min(30, best + 3) < 30
    data = opened.data()
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 12, 12)
    assert np.bincount(data.validation.y).tolist() == [4, 6, 2]
    assert_allclose(ta.evaluate(opened.model(), data.validation)["loss"], losses[best - 1], rtol=1e-5)


def test_without_validation_the_held_out_curve_is_called_test():
    columns = trained("sorted.csv", "--label kind").run.history().columns
    assert "test_loss" in columns
    assert not [name for name in columns if name.startswith("validation")]


@pytest.mark.parametrize("options", [
    "--scaling standard", "--scaling robust --validation 0.2 --patience 2", "--scaling minmax",
    "--missing mean --scaling standard", "--window 20 --validation 0.2",
])  # fmt: skip
def test_test_data_choose_nothing(options):
    """With other values in the test part everything that was trained, fitted and chosen is the same to the last bit."""
    recording = "window" in options
    rows = (PRESSURE if recording else FLOWERS).astype(object)
    if "missing" in options:
        rows[::7, 1] = ""
    header = "p,d" if recording else "a,b,c,d"
    command = f"train basic --epochs 3 --code-size 2 {options} --force --data"
    Path("before.csv").write_text(lines(header, rows.tolist()))
    run(command, "before.csv --out before")
    for n in range(240, 300) if recording else Run.open("before").data().test.ids:
        rows[n] = [value if value == "" else -1e3 * value + n for value in rows[n]]
    Path("after.csv").write_text(lines(header, rows.tolist()))
    run(command, "after.csv --out after")
    before, after = Run.open("before"), Run.open("after")
    assert (before.data().test.x != after.data().test.x).any()
    assert_equal(load_arrays(before.path), load_arrays(after.path))
    assert_equal(before.training_scores(), after.training_scores())
    for entry in ("schema", "arguments"):
        assert before.config[entry] == after.config[entry]
    assert before.detector().threshold == after.detector().threshold


# ---------------------------------------------------------------------------------------------------------------------
# Two weeks later: the folder of the run is all that is left.


@pytest.fixture(scope="module")
def left(desk) -> tuple[Run, dict[str, Any]]:
    """A run whose training file was deleted, and what it said before."""
    path = Path(shutil.copy("sorted.csv", "gone.csv"))
    run("train basic --data gone.csv --label kind --epochs 3 --code-size 3 --activation tanh --out left")
    opened = Run.open("left")
    said = {
        "codes": opened.encode(str(path)), "scores": opened.score(str(path)), "made": opened.reconstruct(str(path)),
        "threshold": opened.detector().threshold,
    }  # fmt: skip
    path.unlink()
    return Run.open("left"), said


def test_a_row_a_frame_or_a_file_two_weeks_later(left):
    opened, said = left
    row = dict(zip(NAMES, FLOWERS[7].tolist(), strict=True))
    sources: list[Any] = [row, "one.csv", Path("one.csv"), FLOWERS[7], FLOWERS[7:8], {n: [v] for n, v in row.items()}]
    with contextlib.suppress(ImportError):
        import pandas

        frame = pandas.DataFrame([row])
        sources += [frame, pandas.Series(row), frame[["width", "petal", "sepal", "weight"]]]
    for source in sources:
        assert_allclose(opened.encode(source), said["codes"][7:8], atol=1e-6)
        assert_allclose(opened.score(source), said["scores"][7:8], rtol=1e-5)
        made = opened.reconstruct(source)
        assert list(made) == list(NAMES)
        assert_allclose(matrix(made, NAMES)[0], matrix(said["made"], NAMES)[7], rtol=1e-6)
        assert opened.flag(source).tolist() == [said["scores"][7] > said["threshold"]]
    assert opened.detector().threshold == said["threshold"]


def test_the_codes_of_a_run_without_its_file_can_be_decoded(left):
    opened, said = left
    made = opened.decode(said["codes"])
    assert_allclose([made[name] for name in NAMES], [said["made"][name] for name in NAMES], rtol=1e-6)


def test_commands_without_the_file(left):
    run("anomalies left --data one.csv --out later.csv")
    assert_allclose(numbers(table_in("later.csv")["score"]), left[1]["scores"][7], rtol=1e-5)
    assert "gone.csv" in refused("anomalies left --out later.csv")


def test_a_frame_is_a_table(left):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv("sorted.csv").rename_axis("row")
    data = ta.data.table(frame, label="kind")
    check_rows(data, FLOWERS, list(NAMES))
    assert_array_equal(left[0].encode(frame).shape, (60, 3))
    made = pandas.DataFrame(left[0].reconstruct(frame))
    assert made.shape == (60, 4)


def test_a_recording_as_a_frame(prophet):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(PRESSURE, columns=["Druck", "Dichte"])
    assert_allclose(prophet.forecast(frame[["Dichte", "Druck"]])["Druck"], prophet.forecast()["Druck"], rtol=1e-6)
    assert_allclose(prophet.score(frame)[0], prophet.score(PRESSURE)[0], rtol=1e-6)


def test_parquet_in_and_out(shifted):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.read_csv("reordered.csv").to_parquet("reordered.parquet")
    run("reconstruct shifted --data reordered.parquet --out made.parquet")
    run("reconstruct shifted --data reordered.csv --out made.csv")
    found, expected = pandas.read_parquet("made.parquet"), pandas.read_csv("made.csv")
    pandas.testing.assert_frame_equal(found, expected, rtol=1e-12)


def test_the_history_as_a_frame():
    pytest.importorskip("pandas")
    frame = trained("sorted.csv", "--label kind").run.history().to_frame()
    assert frame["epoch"].tolist() == [1]
    assert "train_loss" in frame.columns


def test_a_file_that_changed_under_the_same_name_is_noticed(desk):
    Path("changing.csv").write_text(lines("a,b,c,d", FLOWERS.tolist()))
    run("train basic --data changing.csv --epochs 1 --code-size 2 --out changing")
    threshold = Run.open("changing").detector().threshold
    Path("changing.csv").write_text(lines("a,b,c,d", FLOWERS[:19].tolist()))
    told = run("anomalies changing --out changed.csv")
    assert "has changed since" in told
    assert f"threshold {threshold:.4g}" in told


def test_everything_a_run_knows_is_in_its_folder(left):
    """Names, order, roles, scaler, class names and checksum, as plain text that one can read."""
    config = json.loads((left[0].path / "config.json").read_text())
    schema = config["schema"]
    assert [name for name, *_ in schema["features"]] == list(NAMES)
    assert (schema["label"], schema["class_names"]) == ("kind", ["lilac", "rose", "white"])
    assert len(schema["scaler"][0]) == 4
    assert config["environment"]["data"]
