"""Linear probes: against SciPy's minimum of the same convex loss, and `tinyae probe` from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from scipy.special import logsumexp

from tinyae import data, load
from tinyae.data import Dataset, Split
from tinyae.training import LinearProbe
from tinyae.training.pictures import draw_confusion


@pytest.fixture
def blobs(rng) -> tuple[np.ndarray, np.ndarray]:
    """300 vectors of three overlapping classes, each number with another unit."""
    labels = rng.integers(0, 3, 300)
    vectors = rng.normal(size=(300, 4)) + np.array([[0, 0, 0, 0], [2, 0, 1, 0], [0, 2, 0, 0]])[labels]
    return (vectors * [1, 100, 0.01, 5] + [3, -50, 0, 7]).astype("float32"), labels


def softmax_regression(vectors: np.ndarray, labels: np.ndarray, decay: float) -> np.ndarray:
    """Logits of the fitted samples at SciPy's minimum, in float64."""
    v = vectors.astype("float64")
    v = (v - v.mean(axis=0)) / v.std(axis=0)
    classes = labels.max() + 1

    def logits(flat: np.ndarray) -> np.ndarray:
        weights = flat.reshape(-1, classes)
        return v @ weights[:-1] + weights[-1]

    def loss(flat: np.ndarray) -> float:
        z = logits(flat)
        weights = flat.reshape(-1, classes)[:-1]
        return (logsumexp(z, axis=1) - z[np.arange(len(z)), labels]).mean() + decay / 2 * (weights**2).sum()

    return logits(minimize(loss, np.zeros((v.shape[1] + 1) * classes), options={"gtol": 1e-7}).x)


@pytest.mark.parametrize("decay", [0.01, 0.3])
def test_it_finds_the_minimum_that_scipy_finds(decay, blobs):
    vectors, labels = blobs
    expected = softmax_regression(vectors, labels, decay)
    probe = LinearProbe(decay).fit(vectors, labels)
    assert_array_equal(probe.predict(vectors), expected.argmax(axis=1))
    log_share = expected - logsumexp(expected, axis=1, keepdims=True)
    assert probe.history.last["train_loss"] == pytest.approx(
        -log_share[np.arange(300), labels].mean() + decay / 2 * (probe.classifier.output.weight.numpy() ** 2).sum(),
        rel=1e-4,
    )
    assert probe.accuracy(vectors, labels) == np.mean(expected.argmax(axis=1) == labels)


def test_units_do_not_matter(blobs):
    vectors, labels = blobs
    first = LinearProbe(0.1).fit(vectors, labels).predict(vectors)
    scaled = (vectors * [1000, 1e-4, 7, 0.5] + [0, 5, -5, 1]).astype("float32")
    assert np.mean(first == LinearProbe(0.1).fit(scaled, labels).predict(scaled)) > 0.99


def test_a_number_that_never_varies_changes_nothing(blobs):
    vectors, labels = blobs
    more = np.concatenate([vectors, np.full((300, 1), 0.1, "float32")], axis=1)
    before, after = (LinearProbe(0.01).fit(v, labels) for v in (vectors, more))
    assert_array_equal(before.predict(vectors), after.predict(more))
    assert_allclose(after.classifier.output.weight.numpy()[-1], 0.0, atol=1e-3)


def test_a_class_it_never_saw_is_missed(blobs):
    vectors, labels = blobs
    probe = LinearProbe(0.01).fit(vectors, labels)
    assert probe.accuracy(vectors, np.full(300, 7)) == 0.0


@pytest.mark.parametrize(("vectors", "words"), [
    (np.zeros((4, 2, 2), "float32"), r"\(N, K\) with N > 0, got shape \(4, 2, 2\)"),
    (np.zeros((0, 2), "float32"), "N > 0"),
    (np.array([[1.0, np.nan]] * 4, "float32"), "NaN or infinite"),
])  # fmt: skip
def test_what_cannot_be_probed_is_refused(vectors, words):
    with pytest.raises(ValueError, match=words):
        LinearProbe().fit(vectors, np.zeros(len(vectors), int))


def test_what_else_is_refused(blobs):
    vectors, labels = blobs
    with pytest.raises(ValueError, match=r"call fit\(vectors, labels\) first"):
        LinearProbe().predict(vectors)
    with pytest.raises(ValueError, match="do not fit 300 examples"):
        LinearProbe().fit(vectors, labels[:-1])
    for decay in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="at least 0"):
            LinearProbe(decay)


def rows_of(told: str) -> dict[str, list[str]]:
    """What `tinyae probe` prints: the words of each row behind its name."""
    return {line[:24].strip(): line[24:].split() for line in told.splitlines()}


def shares(words: list[str]) -> list[float]:
    return [float(word.rstrip("%")) / 100 for word in words if word.endswith("%")]


def test_the_command_prints_what_python_measures(tinyae, pictured):
    tinyae("train basic --data optdigits --epochs 2 --code-size 8 --out run")
    weights = Path("run/model.safetensors").read_bytes()
    rows = rows_of(tinyae("probe run --weight-decay 0.01 --iterations 40"))
    digits, model = data.load("optdigits"), load("run")
    train, test = (model.encode(split.x) for split in (digits.train, digits.test))
    probe = LinearProbe(0.01, 40).fit(train, digits.train.y)
    expected = [probe.accuracy(train, digits.train.y), probe.accuracy(test, digits.test.y)]
    assert rows["codes"][0] == "8"
    assert_allclose(shares(rows["codes"]), expected, atol=6e-5)
    assert rows["raw inputs"][0] == "64"
    assert shares(rows["raw inputs"])[1] > 0.9
    largest = np.bincount(digits.train.y).argmax()
    expected = [np.mean(split.y == largest) for split in (digits.train, digits.test)]
    assert_allclose(shares(rows["always the largest class"]), expected, atol=6e-5)
    assert Path("run/probe.png").stat().st_size > 5000
    assert Path("run/model.safetensors").read_bytes() == weights


def test_sequences_are_probed_by_the_steps_the_encoder_sees(tinyae, rng):
    """Padding and the steps to be predicted take no part: the class lies in the last step that is seen."""
    labels = rng.integers(0, 2, 120)
    lengths = rng.integers(4, 7, 120)
    x = 0.1 * rng.normal(size=(120, 6, 1))
    x[np.arange(120), lengths - 3, 0] += labels  # two steps are to be predicted
    x[np.arange(6) >= lengths[:, None]] = 0
    np.savez("s.npz", x=x.astype("float32"), y=labels, lengths=lengths)
    tinyae("train lstm --data s.npz --mode composite --future-steps 2 --hidden-size 8 --epochs 2 --out run")
    assert shares(rows_of(tinyae("probe run"))["codes"])[1] > 0.95


def test_data_without_labels_say_so(tinyae, refused):
    np.save("x.npy", np.random.default_rng(0).random((50, 6)).astype("float32"))
    tinyae("train basic --data x.npy --epochs 1 --code-size 2 --out run")
    assert "a classifier needs a class for each sample, and x.npy has no labels" in refused("probe run")


def test_more_classes_than_a_picture_holds_are_not_drawn(tmp_path):
    split = Split(np.zeros((50, 2), "float32"), np.arange(50))
    many = Dataset("many", "", "vectors", split, split)
    assert draw_confusion(many, split.y, 50, tmp_path / "c.png", title="t") == []
    assert not list(tmp_path.iterdir())
