"""`fit` against a training loop written out in NumPy, what it records and reports, and what it refuses."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal, assert_equal

from tests.launch_budgets import build_small, class_numbers, small_batch
from tinyae import data, fit, models, nn, optim, save
from tinyae.autodiff import Tensor
from tinyae.data import Dataset, Split
from tinyae.models import MODELS, Autoencoder, SoftmaxClassifier, basic_autoencoder, build
from tinyae.training import Epoch, TrainingInterrupted, evaluate, fit_classifier, fit_stack

DIGITS = data.load("optdigits")
SOME, OTHERS = DIGITS.train.x[:500], DIGITS.test.x[:200]


def digits_model(seed: int = 0, **options) -> Autoencoder:
    return basic_autoencoder((8, 8, 1), 10, sample="image", generator=np.random.default_rng(seed), **options)


def quiet_fit(model: Autoencoder, train: Any = SOME, *arguments, **options):
    return fit(model, train, *arguments, progress=False, **options)


def numpy_sgd(x, w, a, v, b, *, epochs, batch_size, seed, rates, clip_norm) -> list[float]:
    """Train c = x W + a, y = c V + b on squared error per sample by plain SGD, in place; the loss of each epoch."""
    generator = np.random.default_rng(seed)
    losses = []
    for epoch in range(epochs):
        order, total = generator.permutation(len(x)), 0.0
        for start in range(0, len(x), batch_size):
            batch = x[order[start : start + batch_size]]
            code = batch @ w + a
            difference = code @ v + b - batch
            total += np.sum(difference**2)
            dy = 2 * difference / len(batch)
            dc = dy @ v.T
            gradients = [batch.T @ dc, dc.sum(0), code.T @ dy, dy.sum(0)]
            norm = np.sqrt(sum(np.sum(g * g) for g in gradients))
            factor = 1.0 if clip_norm is None else min(1.0, clip_norm / (norm + 1e-6))
            for parameter, gradient in zip((w, a, v, b), gradients, strict=True):
                parameter -= rates[epoch] * factor * gradient
        losses.append(total / len(x))
    return losses


@pytest.mark.parametrize(("clip_norm", "scheduled"), [(None, False), (0.5, False), (None, True)])
def test_fit_is_the_loop_written_out_in_numpy(clip_norm, scheduled, rng):
    model = basic_autoencoder(6, 3, activation="identity", loss="squared_error", generator=rng)
    model.to(dtype="float64")
    weights = [parameter.data.copy() for parameter in model.parameters()]
    x = rng.uniform(size=(23, 6))
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    schedule = optim.StepLR(optimizer, step_size=1, gamma=0.5) if scheduled else None
    order = {"epochs": 3, "batch_size": 5, "seed": 7}
    history = quiet_fit(model, x, optimizer=optimizer, clip_norm=clip_norm, schedule=schedule, **order)
    rates = [0.05, 0.025, 0.0125] if scheduled else [0.05] * 3
    losses = numpy_sgd(x, *weights, rates=rates, clip_norm=clip_norm, **order)
    assert_allclose(history["train_loss"], losses, rtol=1e-9)
    for parameter, expected in zip(model.parameters(), weights, strict=True):
        assert_allclose(parameter.data, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("loss", ["bce", "squared_error", "absolute_error", "huber"])
def test_training_beats_the_mean_image(loss):
    model = models.deep_autoencoder((8, 8, 1), (32, 10), loss=loss, generator=np.random.default_rng(0))
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    history = quiet_fit(model, DIGITS, DIGITS.test, epochs=5, batch_size=64, optimizer=optimizer)
    assert all(later < earlier for earlier, later in pairwise(history["train_loss"]))
    flat = DIGITS.test.flat
    mean_image = np.sum((flat - DIGITS.train.flat.mean(axis=0)) ** 2) / len(flat)
    assert history.last["validation_squared_error"] < 0.6 * mean_image


@pytest.mark.parametrize("name", MODELS)
def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(name, tmp_path):
    x = small_batch(name)
    samples, recipe = Split(x, class_numbers(name, x)), build_small(name).recipe

    def trained(weights: int, order: int) -> bytes:
        model = build(name, recipe["arguments"], np.random.default_rng(weights))
        quiet_fit(model, samples, epochs=2, batch_size=3, seed=order)
        return save(model, tmp_path / f"{weights}-{order}").read_bytes()

    first = trained(0, 0)
    assert first == trained(0, 0)
    assert first != trained(1, 0)
    assert first != trained(0, 1)


def test_history_has_a_row_per_epoch_and_a_unit_per_column():
    model = digits_model()
    history = quiet_fit(model, SOME, OTHERS, epochs=3)
    measured = ["loss", "squared_error", "bce", "mse", "bce_element"]
    validation = [f"validation_{name}" for name in measured]
    assert history.columns == ["epoch", "train_loss", *validation, "seconds", "samples_per_second"]
    assert history.units == {
        "train_loss": "nats per image", "validation_loss": "nats per image", "validation_bce": "nats per image",
        "validation_squared_error": "squared error per image", "validation_mse": "squared error per element",
        "validation_bce_element": "nats per element", "seconds": "s", "samples_per_second": "images/s",
    }  # fmt: skip
    assert history["epoch"] == [1, 2, 3]
    for name, value in evaluate(model, OTHERS).items():
        assert history.last[f"validation_{name}"] == value
    for row in history.rows:
        assert row["seconds"] > 0
        assert row["samples_per_second"] == pytest.approx(500 / row["seconds"])
    without = quiet_fit(digits_model(), epochs=1)
    assert without.columns == ["epoch", "train_loss", "seconds", "samples_per_second"]


def test_data_sets_splits_and_arrays_are_the_same_data():
    small = Dataset("small", "", "images", Split(SOME), Split(OTHERS))
    rows = []
    for train, validation in [(SOME, OTHERS), (small.train, small.test), (small, small)]:
        row = quiet_fit(digits_model(), train, validation, epochs=1).last
        rows.append({name: value for name, value in row.items() if "second" not in name})
    tested = {name.replace("test_", "validation_"): value for name, value in rows.pop().items()}
    assert rows[0] == rows[1] == tested  # a data set's own test part is called by its name


def test_the_data_are_only_read_and_the_model_ends_in_evaluation_mode():
    x = SOME.copy()
    x.flags.writeable = False
    model = digits_model()
    quiet_fit(model, x, x, epochs=1)
    assert_array_equal(x, SOME)
    assert not any(module.training for _, module in model.named_modules())


def test_layers_train_in_training_mode_and_are_measured_in_evaluation_mode(rng):
    modes: list[bool] = []

    class Spy(nn.Module):
        def forward(self, x):
            modes.append(self.training)
            return x

    model = Autoencoder(nn.Sequential(nn.Dense(6, 2, generator=rng), Spy()), nn.Dense(2, 6, generator=rng))
    x = rng.uniform(size=(10, 6)).astype("float32")
    quiet_fit(model, x, x, epochs=2, batch_size=5)
    assert modes == [True, True, False, False] * 2


def test_callbacks_see_every_complete_epoch_in_order():
    seen: list[tuple[str, Epoch]] = []
    model = digits_model()
    optimizer = optim.Adam(model.parameters())
    lengths: list[int] = []
    callbacks = [
        lambda epoch: seen.append(("a", epoch)),
        lambda epoch: seen.append(("b", epoch)),
        lambda epoch: lengths.append(len(epoch.history)),
    ]
    history = quiet_fit(model, epochs=2, optimizer=optimizer, callbacks=callbacks)
    assert [(name, epoch.number) for name, epoch in seen] == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert lengths == [1, 2]
    for _, epoch in seen:
        assert epoch.model is model
        assert epoch.optimizer is optimizer
        assert epoch.history is history
        assert epoch.row == history.rows[epoch.number - 1]


def test_a_second_fit_starts_its_schedule_anew(rng):
    """A cosine that has ended would otherwise train at the rate 0."""
    model, x = basic_autoencoder(6, 2, generator=rng), rng.random((8, 6)).astype("float32")
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    schedule = optim.WarmupLR(optimizer, 2, after=optim.CosineLR(optimizer, 3))
    rates = []
    for _ in range(2):
        seen: list[float] = []
        fit(model, x, epochs=5, optimizer=optimizer, schedule=schedule, progress=False,
            callbacks=[lambda epoch, seen=seen: seen.append(epoch.optimizer.lr)])  # fmt: skip
        rates.append(seen)
    assert rates[0] == rates[1]
    assert rates[0][-1] == 0.0


def test_a_schedule_steps_once_per_epoch():
    model = digits_model()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    rates: list[float] = []
    schedule = optim.StepLR(optimizer, step_size=2, gamma=0.1)
    callbacks = [lambda epoch: rates.append(epoch.optimizer.lr)]
    quiet_fit(model, epochs=5, optimizer=optimizer, schedule=schedule, callbacks=callbacks)
    assert schedule.steps == 5
    assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.001])


def test_lbfgs_through_fit():
    model = digits_model()
    optimizer = optim.LBFGS(model.parameters())
    measured: list[float] = []
    callbacks = [lambda epoch: measured.append(evaluate(epoch.model, SOME)["loss"])]
    history = quiet_fit(model, epochs=15, optimizer=optimizer, callbacks=callbacks)
    assert history["epoch"] == list(range(1, 16))
    losses = [evaluate(digits_model(), SOME)["loss"], *history["train_loss"]]
    assert all(after < before for before, after in pairwise(losses))
    assert measured == pytest.approx(history["train_loss"], rel=1e-5), "a callback sees the point that was accepted"
    assert optimizer.steps == 15


@pytest.mark.parametrize(("train", "model"), [
    (fit, basic_autoencoder(6, 2)), (fit_classifier, SoftmaxClassifier(None, 6, 3)),
])  # fmt: skip
def test_lbfgs_on_minibatches_is_refused(train, model, rng):
    samples = Split(rng.random((20, 6)).astype("float32"), np.arange(20) % 3)
    common = {"epochs": 2, "optimizer": optim.LBFGS(model.parameters()), "progress": False}
    with pytest.raises(
        ValueError, match="LBFGS uses all 20 samples at once, got batch_size=8: leave it out, or use Adam"
    ):
        train(model, samples, batch_size=8, **common)
    train(model, samples, batch_size=20, **common)


def test_lbfgs_ends_where_it_has_converged(rng):
    x = rng.normal(size=(30, 3)).astype("float64")
    model = Autoencoder(*(nn.Dense(3, 3, generator=rng, dtype="float64") for _ in range(2)), loss="squared_error")
    history = fit(model, x, epochs=5000, optimizer=optim.LBFGS(model.parameters()), progress=False)
    assert 3 < len(history) < 5000
    assert history.last["train_loss"] < 1e-3


def test_lbfgs_refuses_a_loss_that_draws_noise(rng):
    encoder = nn.Sequential(nn.Dropout(0.5, rng), nn.Dense(64, 4, generator=rng))
    model = Autoencoder(encoder, nn.Dense(4, 64, generator=rng))
    before = model.state_dict()
    with pytest.raises(ValueError, match="draws noise, so train it with Adam"):
        fit(model, SOME.reshape(len(SOME), -1), optimizer=optim.LBFGS(model.parameters()), progress=False)
    assert_equal(model.state_dict(), before)


def test_an_interrupted_lbfgs_keeps_the_last_complete_iteration():
    model = digits_model()

    def interrupt(epoch: Any) -> None:
        if epoch.number == 4:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted) as stopped:
        quiet_fit(model, epochs=50, optimizer=optim.LBFGS(model.parameters()), callbacks=[interrupt])
    assert len(stopped.value.history) == 4
    assert evaluate(model, SOME)["loss"] == pytest.approx(stopped.value.history.last["train_loss"], rel=1e-5)


def test_the_progress_bar_names_epoch_loss_unit_and_speed(capsys):
    fit(digits_model(), SOME, epochs=2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "epoch 2/2" in shown.err
    assert "nats per image" in shown.err
    assert "images/s" in shown.err
    quiet_fit(digits_model(), epochs=1)
    assert capsys.readouterr().err == ""


def with_value(value: float) -> np.ndarray:
    x = SOME.copy()
    x[3, 2, 1, 0] = value
    return x


def test_only_bounded_losses_need_targets_between_0_and_1():
    history = quiet_fit(digits_model(loss="squared_error"), with_value(1.5), epochs=1)
    assert "train_loss" in history.columns


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"train": with_value(np.nan)}, ValueError,
     r"train: 1 values are NaN or infinite, the first at index \(3, 2, 1, 0\)"),
    ({"train": with_value(-np.inf)}, ValueError, "NaN or infinite"),
    ({"train": with_value(1.5)}, ValueError,
     r"'bce' needs targets in \[0, 1\], got values from 0 to 1.5: scale the data"),
    ({"train": with_value(-0.25)}, ValueError, "got values from -0.25 to 1"),
    ({"train": SOME[:0]}, ValueError, r"with N > 0, got shape \(0, 8, 8, 1\)"),
    ({"train": SOME[0, 0, :, 0]}, ValueError, r"samples must be \(N, ...\) with N > 0, got shape \(8,\)"),
    ({"train": (SOME * 16).astype("uint8")}, TypeError, "must be floating point, got dtype uint8: scale them first"),
    ({"train": SOME.astype("complex64")}, TypeError, "must be floating point, got dtype complex64"),
    ({"train": {0.5}}, TypeError, "expected an array of numbers, a Split or a Dataset, got set"),
    ({"train": SOME[:, :7]}, ValueError, "64"),
    ({"validation": with_value(np.nan)}, ValueError, "validation: 1 values are NaN"),
    ({"validation": SOME[:, :4]}, ValueError, r"validation samples have shape \(4, 8, 1\), training samples"),
    ({"epochs": 0}, ValueError, "epochs must be a whole number of at least 1, got 0"),
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1, got 0"),
    ({"batch_size": 2.5}, ValueError, "batch_size must be a whole number of at least 1, got 2.5"),
    ({"clip_norm": -1.0}, ValueError, "clip_norm must be a finite number, above 0"),
])  # fmt: skip
def test_bad_arguments_are_refused_before_the_first_step(options, error, words):
    model = digits_model()
    state = model.state_dict()
    with pytest.raises(error, match=words):
        quiet_fit(model, **options)
    assert_equal(model.state_dict(), state)


@pytest.mark.parametrize("by", ["fit", "classifier"])
def test_the_codes_of_a_frozen_encoder_stay_to_the_last_bit(by, rng):
    """BatchNorm and Dropout inside, trained further on other samples."""
    encoder = nn.Sequential(nn.Dense(8, 6, generator=rng), nn.BatchNorm(6), nn.ReLU(), nn.Dropout(0.3, generator=rng))
    model = Autoencoder(encoder, nn.Dense(6, 8, generator=rng), loss="squared_error")
    x = rng.random((50, 8)).astype("float32")
    quiet_fit(model, x, epochs=2, batch_size=10)
    codes, state, decoded = model.encode(x), encoder.state_dict(), model.decode(model.encode(x))
    encoder.freeze()
    if by == "fit":
        quiet_fit(model, 3 * x + 1, epochs=2, batch_size=10)
        assert (model.decode(codes) != decoded).all()
    else:
        classifier = SoftmaxClassifier(encoder, 6, 2, generator=rng)
        fit_classifier(classifier, Split(3 * x + 1, np.arange(50) % 2), epochs=2, batch_size=10, progress=False)
    assert_array_equal(model.encode(x), codes)
    assert_equal(encoder.state_dict(), state)
    encoder.unfreeze()
    quiet_fit(model, x, epochs=1, batch_size=10)
    assert (encoder.state_dict()["1.running_mean"] != state["1.running_mean"]).all()


def normalized_model(rng) -> Autoencoder:
    encoder = nn.Sequential(nn.Dense(8, 6, generator=rng), nn.BatchNorm(6))
    return Autoencoder(encoder, nn.Dense(6, 8, generator=rng), loss="squared_error")


@pytest.mark.parametrize(("samples", "batch_size"), [(23, 5), (20, 5), (7, 7)])
def test_drop_last_leaves_out_a_smaller_last_batch(samples, batch_size, rng):
    """Against the loop written out: the order is that of all samples, the loss the mean over those used."""
    model = basic_autoencoder(6, 3, loss="squared_error", generator=rng)
    twin = basic_autoencoder(6, 3, loss="squared_error")
    twin.load_state_dict(model.state_dict())
    x = rng.random((samples, 6)).astype("float32")
    history = quiet_fit(model, x, epochs=2, batch_size=batch_size, drop_last=True)
    optimizer, order, losses = optim.Adam(twin.parameters(), lr=1e-3), np.random.default_rng(0), []
    for _ in range(2):
        rows, losses = order.permutation(samples), []
        for start in range(0, samples - batch_size + 1, batch_size):
            optimizer.zero_grad()
            loss = twin.loss(Tensor(x[rows[start : start + batch_size]]))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert history.last["train_loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert_equal(model.state_dict(), twin.state_dict())


@pytest.mark.parametrize("train", [
    lambda x, **options: quiet_fit(basic_autoencoder(8, 3), x, **options),
    lambda x, **options: fit_stack(models.stacked_autoencoder(8, (3,)), x, progress=False, **options),
    lambda x, **options: fit_classifier(SoftmaxClassifier(None, 8, 2), Split(x, np.ones(7, int)), progress=False, **options),
])  # fmt: skip
def test_drop_last_that_leaves_nothing_is_refused(train, rng):
    with pytest.raises(ValueError, match="leaves out the only batch, got 7 samples for batch_size=8"):
        train(rng.random((7, 8)).astype("float32"), batch_size=8, drop_last=True)
    assert train(rng.random((7, 8)).astype("float32"), batch_size=6, drop_last=True, epochs=1)


@pytest.mark.parametrize(("samples", "batch_size", "advice"), [
    (129, 128, "drop_last=True"), (9, 1, "another batch_size"),
])  # fmt: skip
@pytest.mark.parametrize("by", ["fit", "classifier"])
def test_a_last_batch_of_one_beside_batchnorm_is_refused_before_the_first_step(samples, batch_size, advice, by, rng):
    model, x = normalized_model(rng), rng.random((samples, 8)).astype("float32")
    classifier = SoftmaxClassifier(model.encoder, 6, 2, generator=rng)

    def train(**options):
        if by == "fit":
            return quiet_fit(model, x, epochs=1, batch_size=batch_size, **options)
        labels = np.arange(samples) % 2
        return fit_classifier(classifier, Split(x, labels), epochs=1, batch_size=batch_size, progress=False, **options)

    before = {**model.state_dict(), **classifier.state_dict()}
    with pytest.raises(ValueError, match=f"BatchNorm.*got a last batch of 1 of {samples} samples.*{advice}"):
        train()
    assert_equal({**model.state_dict(), **classifier.state_dict()}, before)
    if batch_size > 1:
        train(drop_last=True)
    model.encoder.freeze()
    train()


def test_a_last_batch_of_one_is_taken_where_batchnorm_sees_more_numbers(rng):
    model = Autoencoder(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm(2)), nn.Conv2d(2, 1, 1), loss="squared_error")
    quiet_fit(model, rng.random((5, 4, 4, 1)).astype("float32"), epochs=1, batch_size=4)


OUT_OF_REACH = [
    (lambda: models.sparse_autoencoder(6, 3, sparsity="none"), -1.3, 2.0, "sigmoid, from 0 to 1"),
    (lambda: models.stacked_autoencoder(6, (3,), layer="sparse").layers[0], 0.0, 1.5, "sigmoid, from 0 to 1"),
    (lambda: models.deep_autoencoder(6, (4, 2), output_activation="relu", loss="huber"), -0.5, 9.0, "relu, from 0 to inf"),
    (lambda: models.deep_autoencoder((2, 3, 1), (4, 2), output_activation="tanh", loss="squared_error"), -1.5, 1.0, "tanh"),
    (lambda: Autoencoder(nn.Dense(6, 2), nn.Sequential(nn.Dense(2, 6), nn.Sigmoid()), loss="absolute_error"),
     -0.1, 0.9, "sigmoid"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "low", "high", "words"), OUT_OF_REACH)
def test_samples_that_the_output_cannot_reach_are_pointed_out(build, low, high, words, rng):
    model = build()
    x = np.linspace(low, high, 24).reshape(4, 6).astype("float32")
    if words == "tanh":
        x = x.reshape(4, 2, 3, 1)
    with pytest.warns(UserWarning, match=f"the output of this model is a {words}.*samples go from"):
        quiet_fit(model, x, epochs=1)
    quiet_fit(model, np.clip(x, 0, 1), epochs=1)
    quiet_fit(basic_autoencoder(x.shape[1:], 3, loss="squared_error"), x, epochs=1)


def test_a_look_at_the_output_changes_no_draw(rng):
    """The first batch sees the first numbers of a generator from which the model draws in any mode."""
    seen = []

    class Noisy(nn.Module):
        def __init__(self):
            self.generator = np.random.default_rng(0)

        def forward(self, x):
            seen.append(self.generator.normal())
            return x

    model = Autoencoder(nn.Sequential(nn.Dense(6, 6), Noisy()), nn.Identity(), loss="squared_error")
    quiet_fit(model, 3 * rng.normal(size=(4, 6)).astype("float32"), epochs=1)
    assert seen == [np.random.default_rng(0).normal()] * 2
