"""Sequences of unequal length in `fit` and `evaluate`: padding is never learned or measured; lists are explained."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_equal

import tinyae as ta
from tinyae import evaluate, fit, losses, nn, ops, optim
from tinyae.autodiff import Tensor
from tinyae.backend.base import is_ragged
from tinyae.data import Split, pad, padding
from tinyae.losses import Loss
from tinyae.models import Autoencoder, Batch, LSTMAutoencoder


class Steps(Autoencoder):
    """Every step by itself, D -> K -> D; knows which steps are real."""

    def __init__(self, features: int, generator: np.random.Generator) -> None:
        encoder = nn.Dense(features, 3, activation="tanh", generator=generator)
        decoder = nn.Dense(3, features, generator=generator)
        super().__init__(encoder, decoder, loss="squared_error", sample="sequence")
        self.seen: list[tuple[int, list[int]]] = []

    def batch(self, samples):
        return Batch(samples.x, lengths=samples.lengths)

    def objective(self, batch, *, generator=None):
        x, lengths = batch.x, batch.lengths
        self.seen.append((x.shape[1], [] if lengths is None else lengths.tolist()))
        real = 1.0 if lengths is None else ~padding(lengths, x.shape[1])[..., None]
        difference = (self(x) - batch.target) * np.asarray(real, x.dtype)
        return Loss({"reconstruction": ops.sum(ops.square(difference)) * (1.0 / len(x))}, self.loss_unit)


@pytest.fixture
def ragged(rng):
    parts = [rng.uniform(0.1, 0.9, (length, 2)) for length in (3, 5, 1, 4, 2, 5, 3)]
    x, lengths = pad(parts)
    return [part.astype(np.float32) for part in parts], Split(x, None, lengths)


def alone(model: Steps, part: np.ndarray) -> np.ndarray:
    """What the model makes of one sequence without padding."""
    return model.reconstruct(part[None])[0]


def test_measures_are_those_of_the_sequences_one_by_one(ragged, rng):
    parts, split = ragged
    model = Steps(2, rng)
    model.decoder.bias.data[...] = 0.5  # a reconstruction of padding that is far from 0
    found = evaluate(model, split, batch_size=3)
    squared = [((alone(model, part) - part) ** 2).sum() for part in parts]
    elements = sum(part.size for part in parts)
    assert found["loss"] == pytest.approx(np.mean(squared), rel=1e-5)
    assert found["squared_error"] == pytest.approx(np.mean(squared), rel=1e-5)
    assert found["mse"] == pytest.approx(np.sum(squared) / elements, rel=1e-5)
    nats = 0.0
    for part in parts:
        p = np.clip(alone(model, part), 1e-7, 1 - 1e-7)
        nats -= (part * np.log(p) + (1 - part) * np.log(1 - p)).sum()
    assert found["bce"] == pytest.approx(nats / len(parts), rel=1e-5)
    assert found["bce_element"] == pytest.approx(nats / elements, rel=1e-5)


def test_a_step_of_training_is_that_of_the_sequences_one_by_one(ragged):
    parts, split = ragged
    padded, single = (Steps(2, np.random.default_rng(0)) for _ in range(2))
    fit(padded, split, epochs=1, batch_size=7, optimizer=optim.SGD(padded.parameters(), lr=0.1), progress=False)
    optimizer = optim.SGD(single.parameters(), lr=0.1)
    optimizer.zero_grad()
    total = sum(losses.squared_error(single(Tensor(part[None])), Tensor(part[None]), reduction="sum") for part in parts)
    (total * (1.0 / len(parts))).backward()
    optimizer.step()
    for ours, theirs in zip(padded.parameters(), single.parameters(), strict=True):
        assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-7)


def test_batches_are_as_long_as_needed_and_lengths_stay_with_their_samples(ragged, rng):
    _, split = ragged
    model = Steps(2, rng)
    history = fit(model, split, split, epochs=1, batch_size=2, progress=False)
    training = model.seen[:4]
    assert all(steps == max(lengths) for steps, lengths in training)
    assert sorted(n for _, lengths in training for n in lengths) == sorted(split.lengths.tolist())
    assert model.seen[4] == (5, split.lengths.tolist())
    assert "validation_squared_error" in history.columns


def test_the_full_batch_has_lengths_too(ragged, rng):
    _, split = ragged
    model = Steps(2, rng)
    before = evaluate(model, split)["loss"]
    fit(model, split, epochs=5, optimizer=optim.LBFGS(model.parameters()), progress=False)
    assert evaluate(model, split)["loss"] < before
    assert all(lengths == split.lengths.tolist() for _, lengths in model.seen)


def test_equal_lengths_need_none(rng):
    x = rng.random((6, 4, 2), dtype=np.float32)
    one, other = (Steps(2, np.random.default_rng(0)) for _ in range(2))
    fit(one, Split(x), epochs=2, batch_size=3, progress=False)
    fit(other, Split(x, None, np.full(6, 4)), epochs=2, batch_size=3, progress=False)
    assert_equal(one.state_dict(), other.state_dict())


RAGGED = [[[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]]
DOORS = {
    "Split": lambda x: ta.data.Split(x),
    "fit": lambda x: ta.fit(LSTMAutoencoder(2, 3), x),
    "evaluate": lambda x: ta.evaluate(LSTMAutoencoder(2, 3), x),
    "encode": lambda x: LSTMAutoencoder(2, 3).encode(x),
    "reconstruct with lengths": lambda x: LSTMAutoencoder(2, 3).reconstruct(x, lengths=[1, 2]),
    "a layer": lambda x: nn.LSTM(2, 3)(x),
    "a model": lambda x: LSTMAutoencoder(2, 3)(x),
    "Tensor": lambda x: ta.Tensor(x),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("arrays", [False, True], ids=["lists", "arrays"])
def test_unequal_sequences_are_told_how_to_come_in(door, arrays):
    given = [np.array(sequence) for sequence in RAGGED] if arrays else RAGGED
    with pytest.raises((TypeError, ValueError), match=r"joined by x, lengths = tinyae\.data\.pad\(sequences\)"):
        door(given)


@pytest.mark.parametrize("value", [[[1.0], [2.0]], [], ["a"], [None], 3, np.zeros((2, 3)), [ta.Tensor([1.0])]])
def test_what_an_array_holds_is_not_ragged(value):
    assert not is_ragged(value)
