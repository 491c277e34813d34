"""What a run of a sequence model tells and draws: the table beside the baselines, its pictures, its anomalies."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.testing import assert_allclose

from tinyae import data, models, plots
from tinyae.data import Dataset, Split, moving_digits, pad
from tinyae.models import AnomalyDetector, gradient_per_step, lstm_autoencoder, split_future
from tinyae.training import History, compare_sequences, draw_run, evaluate
from tinyae.training.pictures import Restored, draw_predictions, draw_reconstructions

PENS = data.load("pendigits")
FEW = replace(PENS, train=PENS.train.rows(slice(0, 60)), test=PENS.test.rows(slice(0, 40)))


def model(shape=(8, 2), **options):
    return lstm_autoencoder(shape, 6, **{"code_size": 3, "generator": np.random.default_rng(0), **options})


def ragged(rng, count=24) -> Dataset:
    splits = []
    for _ in range(2):
        x, lengths = pad([rng.random((int(n), 3)) for n in [*rng.integers(4, 9, count - 1), 9]])
        splits.append(Split(x, np.arange(count) % 4, lengths))
    return Dataset("ragged", "toys", "sequences", *splits)


def numbers(lines: list[str], task: str) -> dict[str, list[float]]:
    """The rows of a table by name."""
    start = next(i for i, line in enumerate(lines) if line.startswith(task))
    rows = {}
    for line in lines[start + 1 :]:
        if not line.startswith("  "):
            break
        name, *values = re.split(r"\s{2,}", line.strip())
        rows[name] = [float(value) for value in values]
    return rows


def test_the_table_is_what_a_loop_finds():
    made = model(mode="composite", future_steps=3)
    lines = compare_sequences(made, FEW)
    past, test = FEW.train.x[:, :5].astype(float), FEW.test.x.astype(float)
    mean = past.mean(axis=0)
    flat = past.reshape(60, -1)
    axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)[2][:3]
    centered = test[:, :5].reshape(40, -1) - flat.mean(axis=0)
    found = numbers(lines, "reconstruction")
    assert list(found) == ["this model", "mean training sequence", "PCA, 3 components"]
    own = ((made.reconstruct(FEW.test.x[:, :5]) - test[:, :5]) ** 2).sum() / 40
    pca = ((centered - centered @ axes.T @ axes) ** 2).sum() / 40
    expected = [own, ((test[:, :5] - mean) ** 2).sum() / 40, pca]
    assert_allclose([row[0] for row in found.values()], expected, rtol=1e-4)
    found = numbers(lines, "prediction")
    assert list(found) == ["this model", "mean training sequence", "last value repeated", "linear, from 3 components"]
    last = sum(((row[5:] - row[4]) ** 2).sum() for row in test) / 40
    assert found["last value repeated"][0] == pytest.approx(last, rel=1e-4)
    own = ((made.predict(FEW.test.x[:, :5]) - test[:, 5:]) ** 2).sum() / 40
    assert found["this model"][0] == pytest.approx(own, rel=1e-4)
    assert lines[-1].startswith("shuffled codes")


def test_a_model_of_nats_has_nats_and_their_bound():
    made = model(mode="predict", future_steps=3, loss="bce")
    rows = numbers(compare_sequences(made, FEW), "prediction")
    x = FEW.test.x[:, 5:].astype(float)
    p = made.predict(FEW.test.x[:, :5]).astype(float)
    nats = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum() / 40 / 3
    assert rows["this model"][1] == pytest.approx(nats, rel=1e-4)
    (bound,) = rows["entropy of the values themselves"]
    assert all(row[-1] > bound for name, row in rows.items() if name not in ("entropy of the values themselves",))
    assert len(rows["last value repeated"]) == 1
    assert any(re.fullmatch(r"last value at \d+%, mean at \d+%", name) for name in rows)


@pytest.mark.parametrize("options", [{}, *({"mode": mode, "future_steps": 2} for mode in ("composite", "predict"))])
def test_unequal_lengths_are_reported_and_drawn(tmp_path, rng, options, unpainted):
    toys = ragged(rng)
    made = model((9, 3), **options)
    lines = compare_sequences(made, toys)
    steps = options.get("future_steps", 0)
    assert any("prediction of" in line for line in lines) == bool(steps)
    own = list(zip(toys.test.x, toys.test.lengths - steps, strict=True))
    if made.mode != "predict":
        total = sum(((made.reconstruct(x[None, :n])[0] - x[:n]) ** 2).sum() for x, n in own)
        assert numbers(lines, "reconstruction")["this model"][0] == pytest.approx(total / len(toys.test), rel=1e-4)
    if steps:
        total = sum(((made.predict(x[None, :n])[0] - x[n : n + steps]) ** 2).sum() for x, n in own)
        assert numbers(lines, "prediction")["this model"][0] == pytest.approx(total / len(toys.test), rel=1e-4)
    files = {file.name for file in draw_run(made, toys, History(), tmp_path)}
    assert {"codes.png", "gradients.png"} <= files
    assert ("reconstructions.png" in files) == (made.mode != "predict")
    assert ("predictions.png" in files) == bool(steps)


def test_windows_of_unequal_length_are_divided_at_their_own_end(rng):
    x, lengths = pad([np.arange(1.0, n + 1) for n in (4, 6, 3)])
    seen, ends, future = split_future(x, 2, lengths)
    assert seen[:, :, 0].tolist() == [[1, 2, 0, 0], [1, 2, 3, 4], [1, 0, 0, 0]]
    assert ends.tolist() == [2, 4, 1]
    assert future[:, :, 0].tolist() == [[3, 4], [5, 6], [2, 3]]
    with pytest.raises(ValueError, match="more than"):
        split_future(x, 3, lengths)


def test_anomaly_scores_are_over_the_own_steps(rng):
    toys = ragged(rng)
    made = model((9, 3))
    scores = AnomalyDetector(made).fit(toys.train).score(toys.test)
    for score, x, length in zip(scores, toys.test.x, toys.test.lengths, strict=True):
        alone = x[None, :length]
        assert score == pytest.approx(((made.reconstruct(alone) - alone) ** 2).sum(), rel=1e-4)


def test_gradients_of_windows_are_those_of_what_is_seen(rng):
    made = model(mode="predict", future_steps=3)
    assert gradient_per_step(made, FEW.test).shape == (5,)
    toys = ragged(rng)
    made = model((9, 3))
    norms = gradient_per_step(made, toys.test, of="code")
    own = zip(toys.test.x, toys.test.lengths, strict=True)
    alone = [gradient_per_step(made, Split(x[None, :n]), of="code") for x, n in own]
    assert norms.shape == (9,)
    assert norms[0] > 0
    # The signs of the estimate differ from sequence to sequence, the sizes do not: the first steps agree within it.
    assert norms[0] == pytest.approx(np.sqrt(np.mean([n[0] ** 2 for n in alone])), rel=0.5)


def test_a_film_is_drawn_as_frames(tmp_path):
    films = moving_digits(data.load("optdigits"), (12, 8), frames=4, size=10)
    made = model((4, 100), mode="composite", future_steps=2, loss="bce")
    files = {file.name for file in draw_run(made, films, History(), tmp_path)}
    assert {"film.png", "film.gif", "codes.png", "gradients.png"} <= files
    assert "reconstructions.png" not in files
    assert "nats per frame" in "".join(compare_sequences(made, films))


def test_a_model_says_which_steps_it_saw(rng):
    x, lengths = pad([rng.random((n, 2)) for n in (4, 8, 5)])
    made = model(mode="predict", future_steps=3)
    assert Restored.of(made, Split(x, lengths=lengths)).seen.tolist() == [1, 5, 2]
    assert Restored.of(made, Split(x)).seen.tolist() == [5, 5, 5]
    assert Restored.of(model(), Split(x)).seen is None
    for mode, outputs in {"predict": ("prediction",), "composite": ("reconstruction", "prediction")}.items():
        assert model(mode=mode, future_steps=2).batch(Split(x)).outputs == outputs
    assert model().batch(Split(x)).outputs == ("reconstruction",)


@pytest.mark.parametrize("mode", ["predict", "composite"])
@pytest.mark.parametrize("source", ["equal", "ragged"])
def test_what_was_given_is_not_shown_as_made(rng, mode, source):
    toys = FEW if source == "equal" else ragged(rng)
    made = model(toys.example_shape, mode=mode, future_steps=2)
    restored = Restored.of(made, toys.test)
    lengths = np.full(len(toys.test), toys.example_shape[0]) if toys.test.lengths is None else toys.test.lengths
    assert restored.seen.tolist() == (lengths - 2).tolist()
    for x, got, length in zip(toys.test.x, restored.made, lengths, strict=True):
        seen = x[None, : length - 2]
        past = np.full_like(seen[0], np.nan) if mode == "predict" else made.reconstruct(seen)[0]
        expected = np.concatenate([past, made.predict(seen)[0]])
        assert_allclose(got[:length], expected, rtol=1e-4, atol=1e-6)
        assert np.isnan(got[length:]).all()
    scores = AnomalyDetector(made).score(toys.test)
    assert_allclose(restored.errors, scores, rtol=1e-4)
    if mode == "composite":
        first = restored.past()
        assert first.x.shape[1] == toys.example_shape[0] - 2
        pairs = list(zip(toys.test.x, lengths, strict=True))
        own = [((made.reconstruct(x[None, : n - 2]) - x[: n - 2]) ** 2).sum() for x, n in pairs]
        assert_allclose(first.errors, own, rtol=1e-4)


def test_a_number_that_is_no_number_is_an_error_and_no_gap():
    x, made = np.zeros((2, 3, 2)), np.ones((2, 3, 2))
    made[0, 0], made[1, 0, 0] = np.nan, np.nan
    errors = Restored(x, made).errors
    assert errors[0] == 4.0
    assert np.isnan(errors[1])


def drawn(monkeypatch, name, draw=lambda *x, **options: Figure()):
    """What the pictures of this name are asked to draw; they are empty, unless `draw` draws them."""
    calls = []
    monkeypatch.setattr(plots, name, lambda *x, **options: calls.append((x, options)) or draw(*x, **options))
    return calls


def test_as_many_predictions_of_unequal_sequences_as_have_one_length(rng, tmp_path, monkeypatch, unpainted):
    toys = ragged(rng, 60)
    calls = drawn(monkeypatch, "vector_reconstructions")
    made = model((9, 3), mode="composite", future_steps=2)
    draw_predictions(made, toys, tmp_path / "predictions.png", 6)
    ((shown, _), options) = calls[0]
    values, counts = np.unique(toys.test.lengths, return_counts=True)
    assert len(shown) == 6
    assert shown.shape[1] == options["seen"][0] + 2 == values[counts == counts.max()].max()
    assert len(options["labels"]) == 6


def test_recordings_are_drawn_in_their_own_units(tmp_path, monkeypatch, unpainted, rng):
    values = rng.normal(size=(120, 3)) * [40.0, 1.0, 0.1] + [1000.0, 5.0, 0.0]
    cut = data.windows(values, 8, horizon=2, feature_names=("pressure", "temperature", "rain"))
    calls = drawn(monkeypatch, "vector_reconstructions")
    draw_predictions(model(cut.example_shape, mode="predict", future_steps=2), cut, tmp_path / "p.png", 3)
    draw_reconstructions(model(cut.example_shape), cut, tmp_path / "r.png", 3)
    for (shown, _), options in calls:
        assert_allclose(shown[0], values[96:106], rtol=1e-5, atol=1e-5)  # the first 96 of 120 steps train
        assert options["feature_names"] == ("pressure", "temperature", "rain")


def test_lines_carry_the_names_of_features_and_the_border(tmp_path, monkeypatch, unpainted):
    lines, strokes = drawn(monkeypatch, "vector_reconstructions"), drawn(monkeypatch, "pen_strokes", plots.pen_strokes)
    draw_run(model(mode="predict", future_steps=3), FEW, History(), tmp_path)
    draw_run(model(mode="composite", future_steps=3), FEW, History(), tmp_path)
    assert len(lines) == 3  # a model that only predicts has one picture of lines
    assert lines[0][1]["feature_names"] == lines[1][1]["feature_names"] == ("x", "y")
    assert set(lines[0][1]["seen"]) == set(strokes[0][1]["seen"]) == {5}
    assert np.isnan(strokes[0][0][1][:, :5]).all()
    assert np.isnan(lines[0][0][1][:, :5]).all()
    assert "prediction" in lines[0][1]["title"]
    assert lines[1][0][1].shape[1] == 5
    assert lines[1][1]["seen"] is None


def test_films_are_never_drawn_as_lines(tmp_path, monkeypatch, unpainted):
    films = moving_digits(data.load("optdigits"), (12, 8), frames=4, size=10)
    lines, strips = drawn(monkeypatch, "vector_reconstructions"), drawn(monkeypatch, "frame_strips")
    basic = models.basic_autoencoder((4, 100), 3, loss="squared_error", sample="film")
    files = {file.name for file in draw_run(basic, films, History(), tmp_path)}
    assert {"film.png", "film.gif"} <= files
    made = model((4, 100), mode="predict", future_steps=2, loss="bce")
    draw_reconstructions(made, films, tmp_path / "again.png", 3)
    assert not lines
    assert [options["seen"] for _, options in strips] == [None, 2]
    assert np.isnan(strips[1][0][0]["model"][:, :2]).all()


@pytest.mark.parametrize(("mode", "words"), [
    ("predict", "prediction error"), ("composite", "reconstruction and prediction error"),
])  # fmt: skip
def test_anomalies_say_what_kind_of_error(tinyae, monkeypatch, mode, words, unpainted):
    scores, lines = drawn(monkeypatch, "score_timeline"), drawn(monkeypatch, "vector_reconstructions")
    cut = "--data nyc-taxi --window 30 --horizon 6 --stride 25"
    tinyae("train lstm --hidden-size 4 --epochs 1 --out run", cut, "--mode", mode)
    tinyae("anomalies run --quantile 0.3")
    assert words in scores[0][1]["title"]
    assert scores[0][1]["breaks"] == [scores[0][1]["train"]]
    assert set(lines[-1][1]["seen"]) == {30}
    assert lines[-1][1]["labels"][0].startswith("201")


def test_the_command_reports_and_draws(tmp_path, tinyae, pictured):
    cut = "--data nyc-taxi --window 24 --stride 24 --horizon 6"
    told = tinyae("train lstm --mode composite --hidden-size 4 --epochs 1 --out run", cut)
    for words in ("reconstruction of test windows", "prediction of test windows", "last value repeated", "shuffled"):
        assert words in told
    assert (tmp_path / "run" / "predictions.png").stat().st_size > 1000
    assert (tmp_path / "run" / "gradients.png").exists()
    tinyae("anomalies run")
    assert (tmp_path / "run" / "anomalies.png").exists()
    tinyae("encode run --out codes.npy")


def test_other_models_of_sequences_are_compared_too(rng):
    made = models.basic_autoencoder((8, 2), 3, loss="squared_error", sample="sequence", generator=rng)
    rows = numbers(compare_sequences(made, FEW), "reconstruction")
    assert list(rows) == ["this model", "mean training sequence", "PCA, 3 components"]
    assert compare_sequences(made, data.load("optdigits")) == []
    conditional = models.build("cvae", {"input_shape": [8, 2], "classes": 10, "sizes": [4], "latent_size": 2})
    assert compare_sequences(conditional, FEW) == []


def test_codes_are_shuffled_with_the_lengths_of_their_sequences(rng):
    """The error with its own code is that of the table above it, however unequal the sequences and whatever their order."""
    some = ragged(rng)
    for options in ({}, {"reverse_target": False}, {"mode": "composite", "future_steps": 2}):
        lines = compare_sequences(model((9, 3), **options), some)
        own = float(re.search(r"([\d.e+-]+) with its own", lines[-1])[1])
        assert own == pytest.approx(numbers(lines, "reconstruction")["this model"][0], rel=1e-3)


@pytest.mark.parametrize("unequal", [False, True])
def test_a_model_that_predicts_is_measured_on_what_it_predicts(unequal, rng):
    made = model((9, 3), mode="predict", future_steps=2, loss="bce")
    split = ragged(rng).test if unequal else Split(rng.random((24, 9, 3)).astype("float32"))
    found = evaluate(made, split, batch_size=7)
    seen, ends, future = split_future(split.x, 2, split.lengths)
    guess = made.predict(seen, **({} if ends is None else {"lengths": ends})).astype(float)
    assert found["mse"] == pytest.approx(((guess - future) ** 2).mean(), rel=1e-5)
    nats = -(future * np.log(guess) + (1 - future) * np.log1p(-guess))
    assert found["bce_element"] == pytest.approx(nats.mean(), rel=1e-5)
    assert found["bce"] == pytest.approx(nats.sum(axis=(1, 2)).mean(), rel=1e-5)
