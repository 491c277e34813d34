"""`evaluate` against the same numbers computed in one piece and in float64, and `History` on its way through a file."""

from __future__ import annotations

import csv
import math
import pickle

import numpy as np
import pytest
from scipy import special

from tests.launch_budgets import build_small, class_numbers, small_batch
from tests.test_training_fit import digits_model
from tinyae import data, losses, nn
from tinyae.data import Split
from tinyae.losses import Loss
from tinyae.models import MODELS, RECONSTRUCTIONS, Autoencoder
from tinyae.training import History, evaluate

DIGITS = data.load("optdigits").test.x[:333]


def in_one_piece(model: Autoencoder, x: np.ndarray) -> dict[str, float]:
    """All metrics in float64 from the weights of a basic autoencoder."""
    state = {name: value.astype("float64") for name, value in model.state_dict().items()}
    flat = x.reshape(len(x), -1).astype("float64")
    code = np.maximum(flat @ state["encoder.1.weight"] + state["encoder.1.bias"], 0)
    raw = code @ state["decoder.0.weight"] + state["decoder.0.bias"]
    name = model.reconstruction.name
    output = special.expit(raw) if name == "bce" else raw
    p = np.clip(output, 1e-7, 1 - 1e-7)
    elements = {
        "bce": -flat * special.log_expit(raw) - (1 - flat) * special.log_expit(-raw),
        "squared_error": (output - flat) ** 2,
        "half_squared_error": (output - flat) ** 2 / 2,
        "absolute_error": abs(output - flat),
        "huber": special.huber(1.0, output - flat),
    }[name]
    cross_entropy = -special.xlogy(flat, p) - special.xlogy(1 - flat, 1 - p)
    squared = (output - flat) ** 2
    return {
        "loss": elements.sum() / len(x), "squared_error": squared.sum() / len(x), "mse": squared.mean(),
        "bce": cross_entropy.sum() / len(x), "bce_element": cross_entropy.mean(),
    }  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 100, 1024])
@pytest.mark.parametrize("loss", RECONSTRUCTIONS)
def test_evaluate_is_the_direct_computation(loss, batch_size):
    model = digits_model(loss=loss)
    x = DIGITS[:101] if batch_size == 1 else DIGITS
    measured, expected = evaluate(model, x, batch_size=batch_size), in_one_piece(model, x)
    assert measured.keys() == expected.keys() == measured.units.keys()
    for name, value in measured.items():
        # Float32 cannot hold 1 - 1e-7: a linear output clipped there costs 15.94 instead of 16.12 nats.
        clipped = name.startswith("bce") and loss != "bce"
        assert value == pytest.approx(expected[name], rel=5e-3 if clipped else 1e-5), name


def test_data_outside_0_and_1_have_no_cross_entropy():
    model = digits_model(loss="squared_error")
    measured = evaluate(model, 2 * DIGITS)
    assert set(measured) == {"loss", "squared_error", "mse"}
    assert measured["loss"] == pytest.approx(measured["squared_error"], rel=1e-6)
    assert measured["mse"] == pytest.approx(measured["squared_error"] / 64, rel=1e-12)


def test_the_units_of_the_metrics():
    assert evaluate(digits_model(loss="huber"), DIGITS[:5]).units == {
        "loss": "Huber error per image", "squared_error": "squared error per image",
        "mse": "squared error per element", "bce": "nats per image", "bce_element": "nats per element",
    }  # fmt: skip


def test_the_terms_of_a_loss_are_measured_apart():
    class Penalized(Autoencoder):
        def objective(self, batch, *, generator=None):
            code = self.encoder(batch.x)
            penalty = losses.squared_error(code, 0.0 * code.detach())
            return super().objective(batch) + 0.25 * Loss({"penalty": penalty}, self.loss_unit)

    rng = np.random.default_rng(0)
    model = Penalized(nn.Dense(64, 5, generator=rng), nn.Dense(5, 64, generator=rng), loss="squared_error")
    flat = DIGITS.reshape(-1, 64)
    measured = evaluate(model, flat, batch_size=100)
    assert measured["penalty"] == pytest.approx(0.25 * np.sum(model.encode(flat) ** 2) / len(flat), rel=1e-5)
    assert measured["reconstruction"] == pytest.approx(measured["squared_error"], rel=1e-5)
    assert measured["loss"] == pytest.approx(measured["penalty"] + measured["reconstruction"], rel=1e-5)


@pytest.mark.parametrize("name", [*MODELS, "dropout"])
def test_measuring_repeats_and_leaves_no_trace(name, rng):
    """Of models that draw noise, too: weights, buffers, generators and modes are what they were."""
    if name == "dropout":
        encoder = nn.Sequential(nn.Flatten(), nn.Dense(64, 5, generator=rng), nn.Dropout(0.5, rng))
        model, x = Autoencoder(encoder, nn.Sequential(nn.Dense(5, 64), nn.Reshape(8, 8, 1))), DIGITS
    else:
        model, x = build_small(name), small_batch(name)
    samples = Split(x, class_numbers(name, x) if name in MODELS else None)
    before = pickle.dumps(model.train())
    assert evaluate(model, samples, batch_size=3) == evaluate(model, samples, batch_size=3)
    assert pickle.dumps(model) == before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nothing_to_measure():
    with pytest.raises(ValueError, match=r"empty array of shape \(0, 8, 8, 1\)"):
        evaluate(digits_model(), DIGITS[:0])


def filled() -> History:
    history = History({"train_loss": "nats per image", "seconds": "s"})
    history.append({"epoch": 1, "train_loss": 123.456789, "seconds": 0.25})
    history.append({"epoch": 2, "train_loss": 1.5e-7, "seconds": 12345678.0, "penalty": -2.0})
    return history


def test_columns_rows_and_the_last_row():
    history, row = filled(), {"epoch": 1}
    assert len(history) == 2
    assert history.columns == ["epoch", "train_loss", "seconds", "penalty"]
    assert history["train_loss"] == [123.456789, 1.5e-7]
    assert math.isnan(history["penalty"][0])
    assert history.last["epoch"] == 2
    last = "epoch 2, train_loss 1.5e-07 nats per image, seconds 1.23457e+07 s, penalty -2"
    assert repr(history) == f"History(2 epochs; last: {last})"
    with pytest.raises(KeyError, match="no column 'loss' in this history; there are: epoch, train_loss"):
        history["loss"]
    history.append(row)
    row["epoch"] = 9
    assert history.last == {"epoch": 1}, "a history keeps its own copy of a row"


def test_an_empty_history_says_so(tmp_path):
    history = History()
    assert repr(history) == "History(no complete epoch)"
    with pytest.raises(IndexError, match="no epoch was completed"):
        _ = history.last
    with pytest.raises(KeyError, match="none yet"):
        history["epoch"]
    assert len(History.load(history.save(tmp_path / "metrics.csv"))) == 0


def test_a_file_is_plain_csv_with_units_and_comes_back(tmp_path):
    history = filled()
    path = history.save(tmp_path / "metrics.csv")
    with path.open(newline="") as file:
        table = list(csv.reader(file))
    assert table == [
        ["epoch", "train_loss [nats per image]", "seconds [s]", "penalty"],
        ["1", "123.456789", "0.25", ""],
        ["2", "1.5e-07", "12345678.0", "-2.0"],
    ]
    back = History.load(path)
    assert (back.units, back.columns) == (history.units, history.columns)
    for row, original in zip(back.rows, history.rows, strict=True):
        assert row == original
        assert isinstance(row["epoch"], int)
    assert back.save(tmp_path / "again.csv").read_bytes() == path.read_bytes()
