"""The embedded sets: their bytes, shapes, ranges, labels, and the errors that PCA makes on them.

The PCA figures were measured on the original files by another program; they hold only if selection, order, scaling and
split are all as described.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyae import data
from tinyae.data.catalog import ENTRIES
from tinyae.data.dataset import Dataset, Split

FOLDER = Path(data.__file__).with_name("embedded")
EMBEDDED = [name for name, entry in ENTRIES.items() if entry.embedded]

SHA256 = {
    "ecg208.npz": "f20ad3365fb9b7f845d0e5c48b6fe67081377ee466c3a220b7f69f35c8958baf",
    "fashion-mini-t10k-images-idx3-ubyte.gz": "1d883f3966f98d7fc5011e0ff22f6e190d3b994ad0583bfd53c4b120eb39f754",
    "fashion-mini-t10k-labels-idx1-ubyte.gz": "4f81dd80fbbee90c38545ee999e120b1c191bf127f0aa516f21ef7e023d316a9",
    "fashion-mini-train-images-idx3-ubyte.gz": "3e0dde4ce779de64e88a8377d8b86874cf1d5ff178cd271acdd5a65303d5f92a",
    "fashion-mini-train-labels-idx1-ubyte.gz": "02870ffe5057f94696feb79d1f7c04012b347609c51d2ac2aaedcbd3f1e1fcdc",
    "natural_gray256.npz": "b99620f4e38a7d519797415ce91c27ffeb20fcbdb44f344497994f022a1ddd03",
    "nyc_taxi.npz": "852440db68fd4522c68609b884d9da6d77cdb72f3b4f7478117772156fb68ff8",
    "optdigits.npz": "6e33daeb507f599b2b63a6f88e6f53ae598ade015ecef35d829b115daf531d05",
    "pendigits.npz": "8ce06fba69c9af55f2a3e96ecdf5c3e6425b2009d2a25a90bbd5d74b81ccc6db",
}

# name: kind, train shape, test shape, (min, max) over both splits
FACTS = {
    "fashion-mini": ("images", (4000, 28, 28, 1), (1000, 28, 28, 1), (0, 1)),
    "optdigits": ("images", (3823, 8, 8, 1), (1797, 8, 8, 1), (0, 1)),
    "pendigits": ("sequences", (7494, 8, 2), (3498, 8, 2), (0, 1)),
    "nyc-taxi": ("series", (121, 48, 1), (94, 48, 1), (8 / 30000, 39197 / 30000)),
    "ecg208": ("series", (240, 360, 1), (60, 360, 1), (-3.485, 3.65)),
    "natural-images": ("images", (6, 256, 256, 1), (2, 256, 256, 1), (0, 1)),
    "natural-patches": ("images", (10000, 8, 8, 1), (2000, 8, 8, 1), (0.1, 0.9)),
    "moving-digits": ("sequences", (2000, 10, 1024), (500, 10, 1024), (0, 1)),
}

# name: {code size: mean squared error per element of PCA on the test set}
PCA = {
    "fashion-mini": {2: 0.04638, 32: 0.01550},
    "optdigits": {2: 0.05362, 16: 0.01188},
    "pendigits": {2: 0.04257, 8: 0.00515},
    "nyc-taxi": {2: 0.00363, 8: 0.00068},
}


def pca_error(train: np.ndarray, test: np.ndarray, size: int) -> float:
    """Mean squared error per element of test vectors projected on the first `size` principal axes of train."""
    train, test = train.astype(np.float64), test.astype(np.float64)
    mean = train.mean(axis=0)
    _, axes = np.linalg.eigh((train - mean).T @ (train - mean))
    basis = axes[:, -size:]
    centered = test - mean
    return float(((centered - centered @ basis @ basis.T) ** 2).mean())


def test_the_files_are_the_published_ones_and_nothing_else_travels():
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.iterdir()}
    licenses = found.pop("DATA_LICENSES")
    assert licenses
    assert found == SHA256
    assert {name for row in ENTRIES.values() for name in row.files} == set(SHA256)


def test_sizes_in_the_catalog_are_those_on_disk_and_every_embedded_set_is_in_the_facts_here():
    assert set(EMBEDDED) == set(FACTS)
    for name in EMBEDDED:
        assert ENTRIES[name].size == sum((FOLDER / file).stat().st_size for file in ENTRIES[name].files), name


@pytest.mark.parametrize("name", FACTS)
def test_shapes_types_and_ranges(name):
    kind, train, test, (low, high) = FACTS[name]
    read = data.load(name)
    assert (read.kind, read.train.x.shape, read.test.x.shape) == (kind, train, test)
    assert read.train.x.dtype == read.test.x.dtype == np.float32
    both = np.concatenate([read.train.x, read.test.x])
    np.testing.assert_allclose([both.min(), both.max()], [low, high], rtol=1e-6)
    assert (len(read.train), len(read.test)) == ENTRIES[name].counts
    assert read.example_shape == ENTRIES[name].shape
    assert read.image_shape == (train[1:] if kind == "images" else None)
    assert read.train.flat.shape == (train[0], np.prod(train[1:]))
    assert np.shares_memory(read.train.flat, read.train.x)


@pytest.mark.parametrize(("name", "size", "error"), [(n, k, e) for n, row in PCA.items() for k, e in row.items()])
def test_pca_makes_the_error_measured_on_the_original_files(name, size, error):
    read = data.load(name)
    assert pca_error(read.train.flat, read.test.flat, size) == pytest.approx(error, abs=6e-6)


COUNTS = {
    "fashion-mini": ([400] * 10, [100] * 10),
    "optdigits": (
        [376, 389, 380, 389, 387, 376, 377, 387, 380, 382],
        [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
    ),
    "pendigits": (
        [780, 779, 780, 719, 780, 720, 720, 778, 719, 719],
        [363, 364, 364, 336, 364, 335, 336, 364, 336, 336],
    ),
}
"""Examples of each class in train and test; sets that are not here have no classes, but for films of digits."""


@pytest.mark.parametrize("name", sorted(FACTS.keys() - {"moving-digits"}))
def test_labels_and_their_counts_or_none(name):
    read = data.load(name)
    assert read.has_labels == (name in COUNTS)
    assert len(read.class_names) == (10 if name in COUNTS else 0)
    for split, counts in zip((read.train, read.test), COUNTS.get(name, (None, None)), strict=True):
        if counts is None:
            assert split.y is None
        else:
            assert split.y.dtype == np.int64
            assert np.bincount(split.y).tolist() == counts


def test_taxi_days_are_in_order_and_in_passengers():
    read = data.load("nyc-taxi")
    passengers = np.concatenate([read.train.x, read.test.x]).ravel() * read.scale
    assert passengers[:3].round().tolist() == [10844, 8127, 6210]  # 2014-07-01 00:00, 00:30, 01:00
    assert divmod(int(passengers.argmax()), 48) == (124, 2)  # 2014-11-02 01:00: clocks go back, an hour counted twice
    assert read.unit == "passengers per half hour"


def test_ecg_is_in_millivolts_and_cut_without_gap():
    read = data.load("ecg208")
    signal = np.concatenate([read.train.x, read.test.x]).ravel()
    assert len(signal) == 108000
    np.testing.assert_allclose(signal[:3], [-0.245, -0.215, -0.185], atol=1e-6)
    np.testing.assert_allclose(signal[-3:], [-0.405, -0.395, -0.385], atol=1e-6)
    assert (read.unit, read.scale) == ("mV", 1.0)


def test_pixels_are_divided_exactly():
    raw = np.load(FOLDER / "natural_gray256.npz")["images"]
    read = data.load("natural-images")
    both = np.concatenate([read.train.x, read.test.x])[..., 0]
    assert np.array_equal(both, raw.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("spelling", ["optdigits", "OptDigits", " optdigits ", "nyc_taxi"])
def test_a_name_is_found_however_it_is_spelled(spelling):
    assert data.load(spelling).name in ("optdigits", "nyc-taxi")


@pytest.mark.parametrize(
    ("wrong", "meant"), [("mnst", "mnist"), ("fashion", "fashion-mini"), ("ecg", "ecg208"), ("zzz", "")]
)
def test_an_unknown_name_lists_close_ones_and_all(wrong, meant):
    with pytest.raises(ValueError, match="unknown data set") as raised:
        data.load(wrong)
    message = str(raised.value)
    assert ("did you mean" in message) == bool(meant)
    assert meant in message.partition("did you mean ")[2].partition("?")[0]
    assert all(name in message for name in data.names())


def test_root_is_refused_where_it_means_nothing(tmp_path):
    with pytest.raises(ValueError, match="leave root out"):
        data.load("optdigits", root=tmp_path)


@pytest.mark.parametrize("name", FACTS)
def test_repr_is_one_screen_with_what_one_must_know(name):
    read = data.load(name)
    lines = repr(read).splitlines()
    assert len(lines) <= 16
    assert max(map(len, lines)) <= 110
    counts = (f"{len(read.train):,} of", f"{len(read.test):,} of")
    for needed in (name, read.license.split()[0], *counts, read.origin, read.unit):
        assert needed in repr(read)


def test_describe_lists_every_set():
    table = data.describe().splitlines()
    assert [line.split()[0] for line in table] == list(data.names())
    assert ["embedded" in line for line in table] == [ENTRIES[name].embedded for name in data.names()]


def test_the_attributions_are_complete():
    text = (FOLDER / "DATA_LICENSES").read_text(encoding="utf-8")
    named = [
        "Copyright (c) 2017 Zalando SE",
        "Copyright 2014-2024 Numenta Inc.",
        "Lav Varshney",
        "Rachel Michetti",
        "NASA",
    ]
    for needed in (*SHA256, *named, "SpaceX", "10.24432/C5MG6K", "10.13026/C2F305", "licenses/by/4.0"):
        assert needed in text
    assert text.count("The above copyright notice and this permission notice shall be included") == 2
    assert text.count("THE SOFTWARE IS PROVIDED") == 2


def test_an_installation_without_the_files_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("tinyae.data.embedded.FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"lacks optdigits\.npz .* reinstall tinyae"):
        data.load("optdigits")


@pytest.mark.parametrize(("make", "says"), [
    (lambda x: Split(x, np.zeros(2, np.int64)), r"labels of shape \(2,\) do not fit 3 examples"),
    (lambda x: Dataset("a", "b", "video", Split(x), Split(x)), "unknown kind 'video'"),
    (lambda x: Dataset("a", "b", "images", Split(x), Split(x)), "images need 4 axes"),
    (lambda x: Dataset("a", "b", "vectors", Split(x), Split(x[:, :2])), "examples of the same shape in both"),
])  # fmt: skip
def test_a_record_that_contradicts_itself_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make(np.zeros((3, 4), np.float32))


def test_an_empty_split_has_a_flat_view_and_a_repr():
    empty = Split(np.zeros((0, 3, 2), np.float32))
    assert empty.flat.shape == (0, 6)
    assert len(empty) == 0
    assert "empty" in repr(Dataset("a", "b", "sequences", empty, empty))


DRAW = "import numpy; plots.save_figure(plots.code_scatter(numpy.eye(4)), 'a.svg')"


@pytest.mark.parametrize(("code", "unused"), [
    ("import tinyae.data", {"pooch", "tqdm", "scipy", "matplotlib", "cupy", "requests"}),
    ("import tinyae.optim", {"scipy"}),
    ("import tinyae.plots", {"matplotlib"}),
    (f"from tinyae import plots; {DRAW}", {"matplotlib.pyplot"}),
])  # fmt: skip
def test_a_room_imports_no_more_than_it_needs(code, unused, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(data.__file__).parents[2]))
    code += f"; import sys; print({unused!r} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
