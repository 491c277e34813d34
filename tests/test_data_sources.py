"""Samples that are not all in memory: the user's own source, maps of large files, pixels kept as bytes."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinyae as ta
from tinyae.data import Split, source
from tinyae.data.source import LazyRows, Stored
from tinyae.models import Batch
from tinyae.models.autoencoder import check_samples
from tinyae.testing import strict_device

X = np.random.default_rng(0).random((300, 6)).astype(np.float32)


class Lines:
    """A source of the smallest kind, which counts how many samples are asked for at once."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.most = x, 0

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: np.ndarray) -> np.ndarray:
        self.most = max(self.most, len(rows))
        return self.x[rows]


def model(**settings: str) -> ta.models.Autoencoder:
    return ta.models.basic_autoencoder(6, 3, generator=np.random.default_rng(1), **settings)


def test_a_source_trains_to_the_same_bits_as_its_array_and_only_batches_are_read(monkeypatch):
    monkeypatch.setattr(source.pieces, "__defaults__", (600,))  # 100 samples
    lines, plain, other = Lines(X), model(), model()
    expected = ta.fit(plain, X, X[:50], epochs=2, batch_size=32, progress=False)
    found = ta.fit(other, lines, Lines(X[:50]), epochs=2, batch_size=32, progress=False)
    for name, value in plain.state_dict().items():
        assert_array_equal(other.state_dict()[name], value)
    assert [row["validation_loss"] for row in found.rows] == [row["validation_loss"] for row in expected.rows]
    assert ta.evaluate(other, lines, batch_size=64) == ta.evaluate(plain, X, batch_size=64)
    assert_array_equal(other.encode(lines, 64), plain.encode(X, 64))
    assert_array_equal(other.reconstruct(lines, 64), plain.reconstruct(X, 64))
    assert lines.most == 100


KINDS = {
    "denoising": {}, "vae": {}, "lstm": {"code_size": 2}, "cvae": {"classes": 3}, "memory": {"count": 40}, "stacked": {"sizes": (3,)},
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_takes_a_source_with_labels(name):
    """Models that need more than batches of it read all of it; the result is that of the array."""
    x = X[:40].reshape(40, 3, 2) if name == "lstm" else X[:40]
    shape = 6 if name == "stacked" else x.shape[1:]
    states = []
    for samples in (x, Lines(x)):
        built = ta.models.build(name, {"input_shape": shape, **KINDS[name]}, np.random.default_rng(0))
        chosen = {"optimizer": ta.optim.LBFGS(built.parameters())} if name == "memory" else {}
        data = Split(samples, np.arange(40) % 3)
        ta.fit(built, data, data, epochs=1, progress=False, **chosen)
        states.append(built.state_dict())
    for key, value in states[0].items():
        assert_array_equal(states[1][key], value)


def test_rows_stand_in_the_place_of_an_array():
    numbers = np.array([7, 3, 4, 250])
    rows = LazyRows(Lines(X)).select(numbers)
    mask = np.array([True, False, True, True])
    for index in (slice(1, 3), np.array([2, 0]), mask, (slice(None), slice(0, 2)), 1, (0, 5)):
        assert_array_equal(rows[index], X[numbers][index])
    assert (rows.shape, rows.ndim, rows.size, len(rows), rows.dtype) == ((4, 6), 2, 24, 4, np.float32)
    assert (rows.min(), rows.max()) == (X[numbers].min(), X[numbers].max())
    assert_array_equal(rows.select(slice(2, None))[:], X[[4, 250]])
    assert_array_equal(np.asarray(rows, np.float64), X[numbers])


def test_a_split_of_a_source_reads_x_when_it_is_asked_for():
    lines = Lines(X)
    split = Split(lines, np.arange(300)).rows(np.array([5, 9, 200])).rows(slice(1, None))
    assert (len(split), split.y.tolist(), lines.most) == (2, [9, 200], 1)
    assert repr(split) == "<Split of 2 x 6 float32, labeled>"
    assert_array_equal(split.x, X[[9, 200]])
    assert split.x is split.x is split.source
    with pytest.raises(AttributeError, match="a Split has no attribute 'z'"):
        _ = split.z
    with pytest.raises(ValueError, match=r"labels of shape \(3,\) do not fit 300 examples"):
        Split(lines, np.arange(3))


def test_what_a_source_returns_is_checked(monkeypatch):
    class Short(Lines):
        def take(self, rows: np.ndarray) -> np.ndarray:
            return self.x[rows[:10]]

    words = r"take\(\) of Short returned .* \(10, 6\) for \d+ samples of shape \(6,\): return one"
    with pytest.raises(ValueError, match=words):
        ta.fit(model(), Short(X), progress=False)
    monkeypatch.setattr(source.pieces, "__defaults__", (60,))
    bad = X.copy()
    bad[[120, 250], 2] = np.nan
    for given in (bad, Lines(bad)):
        with pytest.raises(ValueError, match=r"train: 2 values are NaN or infinite, the first at index \(120, 2\)"):
            ta.fit(model(), given, progress=False)
    with pytest.raises(TypeError, match="must be floating point, got dtype uint8"):
        ta.fit(model(), Lines(X.astype(np.uint8)), progress=False)
    with pytest.raises(ValueError, match=r"targets in \[0, 1\], got values from .* to 2"):
        ta.fit(model(), Lines(2 * X / X.max()), progress=False)


def test_on_another_device_a_source_comes_in_batches_and_an_array_at_once():
    device = strict_device()
    array, lines = LazyRows(Stored(X)), LazyRows(Lines(X))
    assert_array_equal(device.to_host(array.to(device, np.float32)), X)
    moved = lines.to(device, np.float64)
    assert isinstance(moved, LazyRows)
    assert_array_equal(device.to_host(moved[2:5]), X[2:5].astype(np.float64))
    batches = list(Batch(lines).to(device, np.float32).batches(128, np.arange(300)[::-1]))
    assert_array_equal(np.concatenate([device.to_host(batch.x.data) for batch in batches]), X[::-1])


def test_large_arrays_stay_as_they_are_stored(tmp_path, monkeypatch):
    for module in ("formats", "source"):
        monkeypatch.setattr(f"tinyae.data.{module}.LARGE", 1000)
    pixels = np.arange(3000, dtype=np.uint8).reshape(10, 20, 15)
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(X.astype(np.float64)))
    found = ta.data.load(tmp_path / "pixels.npy")
    assert found.train.source.source.array.dtype == np.uint8
    assert "uint8" not in repr(found)
    assert_array_equal(found.train.x[..., 0], (pixels[found.train.ids] / np.float32(255)).astype(np.float32))
    for name in ("x.npy", "fortran.npy"):
        mapped = ta.data.load(tmp_path / name)
        assert isinstance(mapped.train.source.source.array, np.memmap)
        assert_array_equal(mapped.train.x, X[mapped.train.ids])
        copied = ta.data.Dataset("x", "", "vectors", Split(mapped.train.x), Split(mapped.test.x))
        assert mapped.sha256() == copied.sha256()
    bad = X.copy()
    bad[77, 3] = np.inf
    np.save(tmp_path / "bad.npy", bad)
    with pytest.raises(ValueError, match=r"bad.npy holds 1 values that are NaN .* first at \[77, 3\] \(inf\)"):
        ta.data.load(tmp_path / "bad.npy")


@pytest.mark.parametrize("spoiled", [False, True])
def test_looking_for_nan_needs_a_few_megabytes(spoiled):
    x = np.zeros((100_000, 160), np.float32)
    x[70_000, 3] = np.nan if spoiled else 0.5
    one = ta.models.basic_autoencoder(160, 2)
    tracemalloc.start()
    try:
        if spoiled:
            with pytest.raises(ValueError, match=r"1 values are NaN or infinite, the first at index \(70000, 3\)"):
                check_samples(x, "x", one)
        else:
            check_samples(x, "x", one)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # the array has 64
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------------------------
# Peak memory, in a process of its own.

LIMITED = """
import resource, sys
limit = int(sys.argv[1]) << 20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # of memory that is not a map of a file
from tinyae.cli.main import main
code = main(sys.argv[2:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""


def limited(megabytes: int, *words: str | Path) -> str:
    """What a command prints that runs with so many megabytes at most."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the limit is Linux's")
    command, env = (
        [sys.executable, "-c", LIMITED, str(megabytes), *map(str, words)],
        os.environ | {"OMP_NUM_THREADS": "1"},
    )
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.thorough
@pytest.mark.matrix
def test_a_file_larger_than_the_memory_trains(tmp_path):
    """Of zeros but for a few values, so that the disk holds a hole: 400 MB, where 250 are allowed."""
    header = tmp_path / "large.npy"
    shape = (100_000, 1000)
    large = np.lib.format.open_memmap(header, "w+", np.float32, shape)
    large[::10_000] = 0.5
    large.flush()
    assert header.stat().st_size > 4 * 10**8
    words = ("train", "basic", "--data", header, "--code-size", "2", "--epochs", "1", "--out", tmp_path / "run")
    out = limited(250, *words)
    assert "90,000 training and 10,000 test rows of 1000" in out
    limited(250, "encode", tmp_path / "run", "--out", tmp_path / "codes.npy")
    assert np.load(tmp_path / "codes.npy").shape == (10_000, 2)


@pytest.mark.slow
def test_full_mnist_peaks_below_one_and_a_half_times_its_size(tmp_path):
    out = limited(1000, "train", "basic", "--data", "mnist", "--epochs", "1", "--out", tmp_path / "run")
    assert int(out.split("peak ")[1]) < 282
