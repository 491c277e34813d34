"""What `fit` keeps when training cannot go on: the last complete epoch, after Ctrl-C and after a NaN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_equal

from tests.test_training_fit import DIGITS, OTHERS, SOME, digits_model
from tinyae import data, optim
from tinyae import fit as loud_fit
from tinyae.models import Autoencoder, Batch, SoftmaxClassifier
from tinyae.training import EarlyStopping, Epoch, TrainingInterrupted, evaluate, fit_classifier


def fit(model: Autoencoder, *arguments, **options):
    return loud_fit(model, SOME, *arguments, progress=False, **options)


class Keeper:
    """A callback that remembers the weights of every epoch and does something after one of them."""

    def __init__(self, after: int, act: Any) -> None:
        self.after, self.act, self.states = after, act, []

    def __call__(self, epoch: Epoch) -> None:
        self.states.append(epoch.model.state_dict())
        if epoch.number == self.after:
            self.act(epoch)


def raise_rate(epoch: Epoch) -> None:
    epoch.optimizer.lr = 1e30


def test_a_loss_that_becomes_nan_ends_training_with_the_last_complete_epoch():
    model, keeper = digits_model(), Keeper(2, raise_rate)
    words = r"^train loss became (nan|inf) in epoch 3: try a smaller learning rate \(now 1e\+30\)"
    with np.errstate(all="warn"), pytest.raises(FloatingPointError, match=words):
        fit(model, epochs=5, callbacks=[keeper])
    assert len(keeper.states) == 2
    assert_equal(model.state_dict(), keeper.states[-1])
    assert np.isfinite(evaluate(model, SOME)["loss"])


@pytest.mark.parametrize(("lr", "validation", "words"), [
    (1e6, None, "^train loss became (nan|inf) in epoch 1"),
    (1e15, OTHERS, "^validation loss became (nan|inf) in epoch 1"),
    (1e39, None, r"^encoder.1.weight is NaN or infinite in epoch 1"),
])  # fmt: skip
def test_an_epoch_that_ends_in_nan_is_not_kept(lr, validation, words):
    model = digits_model(loss="squared_error")
    state = model.state_dict()
    optimizer = optim.SGD(model.parameters(), lr=lr)
    batch_size = 50 if validation is None and lr < 1e30 else len(SOME)  # in one batch the loss is that before the step
    with np.errstate(all="warn"), pytest.raises(FloatingPointError, match=words):
        fit(model, validation, epochs=2, batch_size=batch_size, optimizer=optimizer)
    assert_equal(model.state_dict(), state)


@pytest.mark.parametrize("epoch", [1, 3])
def test_ctrl_c_between_two_steps_goes_back_to_the_last_complete_epoch(epoch, monkeypatch):
    started: list[int] = []
    batches = Batch.batches

    def interrupted_batches(self: Batch, *options: Any) -> Iterator[Batch]:
        started.append(1)
        for number, batch in enumerate(batches(self, *options)):
            if len(started) == epoch and number == 2:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(Batch, "batches", interrupted_batches)
    model, keeper = digits_model(), Keeper(0, None)
    state = model.state_dict()
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(model, epochs=5, batch_size=64, callbacks=[keeper])
    assert isinstance(caught.value, TrainingInterrupted)
    assert ("no epoch was complete" if epoch == 1 else "2 complete epochs are kept") in str(caught.value)
    assert len(caught.value.history) == epoch - 1
    assert_equal(model.state_dict(), [state, *keeper.states][-1])
    assert not model.training


@pytest.mark.parametrize(("epoch", "error", "words"), [
    *[(n, FloatingPointError, rf"in epoch {n}: try a smaller learning rate \(now 1e\+39\)") for n in (1, 3)],
    (2, TrainingInterrupted, "the first epoch is kept"),
])  # fmt: skip
def test_a_classifier_that_breaks_keeps_the_last_complete_epoch(epoch, error, words):
    classifier = SoftmaxClassifier(None, 64, 10, generator=np.random.default_rng(0))
    optimizer = optim.SGD(classifier.parameters(), lr=0.1)
    accuracy, states = classifier.accuracy, [classifier.state_dict()]

    def measured(*samples: Any) -> float:
        states.append(classifier.state_dict())
        if error is FloatingPointError and len(states) == epoch:
            optimizer.lr = 1e39
        if error is TrainingInterrupted and len(states) > epoch:
            raise KeyboardInterrupt
        return accuracy(*samples)

    if epoch == 1:
        optimizer.lr = 1e39
    classifier.accuracy = measured  # what `fit_classifier` asks after each epoch
    digits = data.Split(SOME.reshape(-1, 64), DIGITS.train.y[:500])
    with np.errstate(all="warn"), pytest.raises(error, match=words):
        fit_classifier(classifier, digits, digits, epochs=5, batch_size=500, optimizer=optimizer, progress=False)
    assert_equal(classifier.state_dict(), states[epoch - 1])
    assert not classifier.training


def test_a_classifier_clips_its_gradients():
    moved = []
    for clip_norm in (None, 1e-3):
        classifier = SoftmaxClassifier(None, 64, 10, generator=np.random.default_rng(0))
        before = classifier.state_dict()
        optimizer = optim.SGD(classifier.parameters(), lr=0.1)
        digits = data.Split(SOME.reshape(-1, 64), DIGITS.train.y[:500])
        common = {"epochs": 1, "batch_size": 500, "clip_norm": clip_norm, "progress": False}
        fit_classifier(classifier, digits, optimizer=optimizer, **common)
        after = classifier.state_dict()
        moved.append(np.sqrt(sum(((after[name] - value) ** 2).sum() for name, value in before.items())))
    assert moved[1] == pytest.approx(0.1 * 1e-3, rel=1e-3)
    assert moved[0] > 2 * moved[1]


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_early_stopping_ends_a_run_and_keeps_the_best_weights_at_hand(method):
    model = digits_model()
    values = iter([5.0, 3.0, 4.0, 2.95, 3.5, 9.0, 1.0])
    stop = EarlyStopping("told", patience=2, least=0.1)
    keeper = Keeper(0, None)

    def tell(epoch: Epoch) -> None:
        epoch.row["told"] = next(values)

    optimizer = optim.LBFGS(model.parameters()) if method == "lbfgs" else optim.Adam(model.parameters())
    history = fit(model, epochs=7, optimizer=optimizer, callbacks=[tell, keeper, stop])
    assert history["epoch"] == [1, 2, 3, 4]  # 2.95 is not a tenth below 3
    assert (stop.best, stop.best_epoch) == (3.0, 2)
    assert repr(stop) == "EarlyStopping('told', patience=2, least=0.1; best 3 in epoch 2)"
    assert not model.training
    model.load_state_dict(stop.best_state)
    assert_equal(model.state_dict(), keeper.states[1])


def test_early_stopping_by_validation_loss_ends_where_it_has_risen():
    model = digits_model()
    stop = EarlyStopping(patience=1)
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    history = fit(model, OTHERS, epochs=200, batch_size=20, optimizer=optimizer, callbacks=[stop])
    losses = history["validation_loss"]
    assert len(losses) < 200
    assert losses[-1] >= min(losses)
    assert stop.best == min(losses) == losses[-2]


def test_early_stopping_says_what_it_lacks():
    with pytest.raises(ValueError, match="no column 'validation_loss': choose one of epoch, train_loss"):
        fit(digits_model(), epochs=1, callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match="patience must be a whole number of at least 1"):
        EarlyStopping(patience=0)


def test_a_foreign_schedule_is_refused():
    model = digits_model()
    optimizer, other = (optim.Adam(model.decoder.parameters()) for _ in range(2))
    with pytest.raises(ValueError, match="schedule belongs to another optimizer"):
        fit(model, epochs=1, optimizer=optimizer, schedule=optim.CosineLR(other, 5))
