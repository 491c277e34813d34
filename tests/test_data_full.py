"""The full sets where TINYAE_DATA points to them: PCA, written in plain NumPy, makes the errors known for them.

13.87 per image for 30 components on MNIST is the figure that Hinton and Salakhutdinov (Science 313, 2006) print.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tinyae import data

DATA = os.environ.get("TINYAE_DATA", "")


def folder_of(name: str) -> Path:
    folder = Path(DATA) / name.replace("-", "_")
    if not DATA or not folder.is_dir():
        pytest.skip(f"TINYAE_DATA names no folder with {folder.name}")
    return folder


def pca_squared_errors(train: np.ndarray, test: np.ndarray, sizes: tuple[int, ...]) -> list[float]:
    """Squared error per test vector of projections on the first `size` principal axes of train."""
    mean = train.mean(axis=0, dtype=np.float64)
    second = (train.T @ train).astype(np.float64) / len(train) - np.outer(mean, mean)
    values, axes = np.linalg.eigh(second)
    centered = test - mean
    whole = (centered**2).sum()
    codes = centered @ axes[:, np.argsort(values)[::-1][: max(sizes)]]
    return [float((whole - (codes[:, :size] ** 2).sum()) / len(test)) for size in sizes]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sizes", "errors", "within"), [
    ("mnist", (30, 32), (13.87, 13.19), 0.01),
    ("fashion-mnist", (32, 64), (784 * 0.01514, 784 * 0.01037), 0.005),
])  # fmt: skip
def test_pca_makes_the_known_error(name, sizes, errors, within):
    folder = folder_of(name)
    read = data.load(name, download=False)
    assert read.origin == str(folder)
    assert (read.train.x.shape, read.test.x.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert read.train.x.min() == 0.0
    assert read.train.x.max() == 1.0
    assert pca_squared_errors(read.train.flat, read.test.flat, sizes) == pytest.approx(errors, abs=within)


@pytest.mark.slow
def test_the_labels_of_mnist():
    folder_of("mnist")
    read = data.load("mnist", download=False)
    assert np.bincount(read.train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(read.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.slow
def test_the_embedded_mini_set_is_the_beginning_of_each_class_of_the_full_one():
    folder_of("fashion-mnist")
    full, mini = data.load("fashion-mnist", download=False), data.load("fashion-mini")
    for whole, part, count in ((full.train, mini.train, 400), (full.test, mini.test, 100)):
        chosen = np.sort(np.concatenate([np.flatnonzero(whole.y == c)[:count] for c in range(10)]))
        assert np.array_equal(whole.x[chosen], part.x)
        assert np.array_equal(whole.y[chosen], part.y)


def test_japanese_vowels_are_the_numbers_of_the_original_files():
    """The set is read from the .ts files; the archive's own files, blocks of lines divided by blank ones, say the same."""
    folder = folder_of("japanese-vowels")
    read = data.load("japanese-vowels", download=False)
    for split, name in ((read.train, "ae.train"), (read.test, "ae.test")):
        if not (folder / name).is_file():
            pytest.skip(f"{folder} lacks {name}")
        blocks = [block for block in (folder / name).read_text().split("\n \n") if block.strip()]
        blocks = blocks if len(blocks) > 1 else [b for b in (folder / name).read_text().split("\n\n") if b.strip()]
        assert len(blocks) == len(split)
        for block, x, length in zip(blocks, split.x, split.lengths, strict=True):
            steps = np.array([line.split() for line in block.splitlines() if line.strip()], np.float32)
            assert len(steps) == length
            assert np.array_equal(x[:length], steps)
            assert not x[length:].any()
    assert np.bincount(read.train.y).tolist() == [30] * 9
    assert np.bincount(read.test.y).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]


def test_moving_mnist_is_made_of_test_digits_in_its_test_part():
    folder_of("mnist")
    read = data.load("moving-mnist", download=False)
    assert (read.train.x.shape, read.test.x.shape) == ((8000, 10, 1024), (1000, 10, 1024))
    assert (read.horizon, read.frame_shape) == (5, (32, 32))
    with pytest.raises(FileNotFoundError, match=r"^mnist needs"):
        data.load("moving-mnist", root="/nowhere", download=False)
