"""Stacks: what is trained when, the order of decoding, and classifiers against closed forms and naive counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from scipy.optimize import minimize
from scipy.special import log_softmax

from tests.test_plots import told
from tinyae import data, fit, load, models, nn, optim, plots, save, training
from tinyae.cli.main import main
from tinyae.data import Split
from tinyae.models import Autoencoder, StackedAutoencoder, build, stacked_autoencoder
from tinyae.training import History, fit_classifier, fit_stack, fit_stack_classifier
from tinyae.training.pictures import draw_curves, projected_filters
from tinyae.training.stack import codes_below

DIGITS = data.load("optdigits")
SOME = Split(DIGITS.train.x[:600], DIGITS.train.y[:600])
OTHERS = Split(DIGITS.test.x[:300], DIGITS.test.y[:300])
LABELS = DIGITS.train.y[:5]


def small_stack(layer: str = "plain", sizes: tuple[int, ...] = (12, 6), **options) -> StackedAutoencoder:
    rng = np.random.default_rng(0)
    return stacked_autoencoder((8, 8, 1), sizes, layer=layer, sample="image", generator=rng, **options)


def linear_layer(d: int, k: int, rng: np.random.Generator) -> Autoencoder:
    encoder, decoder = nn.Dense(d, k, generator=rng, dtype="float64"), nn.Dense(k, d, generator=rng, dtype="float64")
    return Autoencoder(encoder, decoder, loss="squared_error")


def test_it_encodes_upwards_and_decodes_downwards(rng):
    layers = [linear_layer(7, 5, rng), linear_layer(5, 4, rng), linear_layer(4, 2, rng)]
    stack = StackedAutoencoder(layers)
    x, code = rng.normal(size=(3, 7)), rng.normal(size=(3, 2))
    up, down = x, code
    for layer in layers:
        up = up @ layer.encoder.weight.numpy()
    for layer in layers[::-1]:
        down = down @ layer.decoder.weight.numpy()
    assert_allclose(stack.encode(x), up, rtol=1e-12)
    assert_allclose(stack.decode(code), down, rtol=1e-12)


@pytest.mark.parametrize("layer", ["sparse", "denoising", "plain"])
def test_a_layer_is_decoded_to_what_it_was_given(layer):
    """Between layers the output of a layer trained on logits is a sigmoid again."""
    stack = small_stack(layer)
    code = stack.encode(OTHERS.x)
    lower = stack.layers[1].decode(code)
    assert ((lower > 0) & (lower < 1)).all()
    assert_allclose(stack.decode(code), stack.layers[0].decode(lower), rtol=1e-5, atol=1e-6)
    assert_allclose(code, stack.layers[1].encode(stack.layers[0].encode(OTHERS.x)), rtol=1e-6)


def test_the_layers_are_parts_of_the_whole():
    stack = small_stack(classes=10)
    names = [name for name, _ in stack.named_parameters()]
    assert len(names) == len(set(names)) == 4 * 2 + 2
    assert stack.layers[1].encoder[0].weight is stack.encoder[1][0].weight
    assert stack.classifier.features is stack.encoder
    assert stack.parameter_count() == (64 * 12 + 12 + 12 * 64 + 64) + (12 * 6 + 6 + 6 * 12 + 12) + (6 * 10 + 10)


@pytest.mark.parametrize(("layer", "method"), [
    ("sparse", optim.Adam), ("denoising", optim.Adam), ("plain", optim.Adam), ("sparse", optim.LBFGS),
])  # fmt: skip
def test_the_layers_can_be_tied_and_learn(layer, method):
    stack = small_stack(layer, tied=True)
    assert stack.parameter_count() == (64 * 12 + 12 + 64) + (12 * 6 + 6 + 12)
    histories = fit_stack(stack, SOME, epochs=15 if method is optim.LBFGS else 3, optimizer=method, progress=False)
    assert all(history["train_loss"][-1] < history["train_loss"][0] for history in histories)


@pytest.mark.parametrize("layer", ["sparse", "denoising", "plain"])
def test_lower_layers_do_not_move_while_a_higher_one_learns(layer):
    stack = small_stack(layer, (12, 6, 4))
    seen: list[list[np.ndarray]] = []

    def note(number: int, history: History) -> None:
        seen.append([p.numpy().copy() for p in stack.layers[number - 1].parameters()])
        assert stack.trained.numpy().tolist() == [1.0] * number + [0.0] * (3 - number)

    before = [[p.numpy().copy() for p in part.parameters()] for part in stack.layers]
    fit_stack(stack, SOME, epochs=2, batch_size=50, progress=False, after_layer=note)
    for part, then, start in zip(stack.layers, seen, before, strict=True):
        for parameter, noted, first in zip(part.parameters(), then, start, strict=True):
            assert_array_equal(parameter.numpy(), noted)
            assert (noted != first).any()


def test_a_layer_is_trained_on_the_codes_of_those_below():
    """The same as training a single autoencoder on these codes by hand."""
    stack, twin = small_stack(), small_stack()
    fit_stack(stack, SOME, epochs=3, batch_size=50, seed=4, progress=False)
    fit(twin.layers[0], SOME.x, epochs=3, batch_size=50, seed=4, progress=False)
    codes = twin.layers[0].encode(SOME.x)
    history = fit(twin.layers[1], codes, epochs=3, batch_size=50, seed=4, progress=False)
    assert_equal([p.numpy() for p in stack.parameters()], [p.numpy() for p in twin.parameters()])
    assert_array_equal(codes_below(stack, 1, SOME.x), codes)
    assert history["train_loss"][-1] < history["train_loss"][0]


def test_an_interrupted_stack_goes_on_with_the_layer_it_was_at():
    stack = small_stack()

    def stop(number: int, history: History) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_stack(stack, SOME, epochs=2, progress=False, after_layer=stop)
    first = stack.layers[0].encoder[1].weight.numpy().copy()
    assert not stack.is_trained
    assert len(fit_stack(stack, SOME, epochs=2, progress=False)) == 1
    assert stack.is_trained
    assert_array_equal(stack.layers[0].encoder[1].weight.numpy(), first)


def test_what_is_trained_is_saved(tmp_path):
    arguments = {"input_shape": [8, 8, 1], "sizes": [12, 6], "layer": "plain", "classes": 10}
    stack = build("stacked", arguments, np.random.default_rng(0))
    fit_stack(stack, SOME, epochs=1, progress=False)
    again = load(save(stack, tmp_path / "stack.safetensors"))
    assert again.is_trained
    assert_array_equal(again.encode(OTHERS.x), stack.encode(OTHERS.x))
    assert_array_equal(again.classifier.predict(OTHERS.x), stack.classifier.predict(OTHERS.x))


def test_fine_tuning_improves_on_the_frozen_codes():
    stack = small_stack(sizes=(40, 15), classes=10)
    adam = lambda parameters: optim.Adam(parameters, lr=1e-2)  # noqa: E731
    fit_stack(stack, SOME, epochs=15, batch_size=50, optimizer=adam, progress=False)
    codes = stack.encode(OTHERS.x)
    options = {"epochs": (30, 20), "batch_size": 50, "optimizer": adam, "progress": False}
    before, (first, second) = fit_stack_classifier(stack, SOME, OTHERS, **options)
    after = stack.classifier.accuracy(OTHERS.x, OTHERS.y)
    assert 0.5 < before < after
    assert after > 0.85
    assert before == pytest.approx(first["validation_accuracy"][-1])
    assert after == pytest.approx(second["validation_accuracy"][-1])
    assert (stack.encode(OTHERS.x) != codes).any(), "fine-tuning moves the encoder"


def test_the_first_stage_leaves_the_codes_alone(monkeypatch):
    stack = small_stack(classes=10)
    fit_stack(stack, SOME, epochs=1, progress=False)
    before, calls = stack.state_dict(), []

    def first_only(classifier, *arguments, **options):
        calls.append(classifier)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit_classifier(classifier, *arguments, **options)

    monkeypatch.setattr("tinyae.training.stack.fit_classifier", first_only)
    with pytest.raises(KeyboardInterrupt):
        fit_stack_classifier(stack, SOME, OTHERS, epochs=(2, 2), progress=False)
    assert calls[0].output is stack.classifier.output
    moved = {name for name, value in stack.state_dict().items() if (value != before[name]).any()}
    assert moved == {"classifier.output.weight", "classifier.output.bias"}


def test_softmax_regression_is_the_minimum_that_scipy_finds():
    x, y = SOME.x.reshape(600, -1).astype("float64")[:, 20:30], SOME.y
    decay = 0.1

    def cost(theta: np.ndarray) -> float:
        w, b = theta[:100].reshape(10, 10), theta[100:]
        logp = log_softmax(x @ w + b, axis=1)
        return float(-logp[np.arange(600), y].mean() + decay / 2 * (w**2).sum())

    expected = minimize(cost, np.zeros(110), method="BFGS").fun
    classifier = models.SoftmaxClassifier(None, 10, 10, weight_decay=decay, generator=np.random.default_rng(0))
    classifier.to(dtype="float64")
    method = optim.LBFGS(classifier.parameters())
    history = fit_classifier(classifier, Split(x, y), epochs=500, optimizer=method, progress=False)
    assert history.last["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_the_confusion_matrix_is_a_count(rng):
    labels, predicted = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    counts = np.zeros((4, 4), int)
    for truth, guess in zip(labels, predicted, strict=True):
        counts[truth, guess] += 1
    assert_array_equal(models.confusion_matrix(labels, predicted, 4), counts)
    with pytest.raises(ValueError, match=r"predictions must lie in 0 \.\.\. 2, got 0 to 3"):
        models.confusion_matrix(np.zeros(4, int), np.arange(4), 3)
    figure = plots.confusion(counts, ["a", "b", "c", "d"])
    assert f"{np.trace(counts)} of 50 are correct" in told(figure)
    shown = {text.get_text() for text in figure.axes[0].texts}
    assert {str(n) for n in counts.ravel() if n} <= shown


def test_projected_filters_are_products():
    stack = small_stack()
    w1, w2 = stack.layers[0].encoder[1].weight.numpy(), stack.layers[1].encoder[0].weight.numpy()
    first, second = projected_filters(stack)
    assert_array_equal(first, w1)
    assert_allclose(second, w1 @ w2, rtol=1e-6)


def test_fine_tuning_comes_after_training():
    with pytest.raises(ValueError, match=r"needs a trained stack, got an untrained layer 1.*fit_stack first"):
        fit_stack_classifier(small_stack(classes=10), SOME)
    with pytest.raises(ValueError, match="got a stack without: build it with classes="):
        fit_stack_classifier(small_stack(), SOME)


@pytest.mark.parametrize(("labels", "words"), [
    (None, "no labels"),
    (LABELS.astype("float64"), "5 whole numbers"),
    (np.full(5, 10), r"0 ... 9, got 10 to 10"),
    (np.full(5, -1), "got -1 to -1"),
])  # fmt: skip
def test_labels_are_checked(labels, words):
    classifier = models.SoftmaxClassifier(nn.Flatten(), 64, 10)
    with pytest.raises(ValueError, match=words):
        fit_classifier(classifier, Split(SOME.x[:5], labels), progress=False)
    with pytest.raises(ValueError, match="2 whole numbers"):
        classifier.accuracy(SOME.x[:2], LABELS)
    assert classifier.predict(SOME.x[:0]).shape == (0,)


def test_the_history_of_the_whole_keeps_the_stages_apart():
    """Each stage's loss has a unit of its own, and its epochs start from 1 again."""
    first, second = History({"train_loss": "squared error", "seconds": "s"}), History({"train_loss": "nats"})
    for epoch in (1, 2):
        first.append({"epoch": epoch, "train_loss": 3.0 - epoch, "seconds": 1.5})
    second.append({"epoch": 1, "train_loss": 0.7, "validation_accuracy": 0.5})
    whole = training.whole_history([("layer 1", first), ("fine-tuning", second)])
    assert (whole["stage"], whole["epoch"]) == ([1, 1, 2], [1, 2, 1])
    assert whole.rows[1] == {"stage": 1, "epoch": 2, "layer_1_loss": 1.0, "seconds": 1.5}
    assert whole.rows[2] == {
        "stage": 2, "epoch": 1, "fine_tuning_loss": 0.7, "fine_tuning_validation_accuracy": 0.5,
    }  # fmt: skip
    assert whole.units == {"layer_1_loss": "squared error", "seconds": "s", "fine_tuning_loss": "nats"}


def test_the_curves_of_a_stack_are_one_line_for_each_stage(tmp_path, monkeypatch):
    rows = [{"epoch": epoch, "train_loss": 1.0 / epoch} for epoch in (1, 2, 3)]
    stages = [(name, History({"train_loss": unit}, rows)) for name, unit in (("layer 1", "a"), ("classifier", "b"))]
    drawn = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: drawn.append(figure))
    draw_curves(training.whole_history(stages), tmp_path / "loss.png")
    panels = [(a.get_ylabel(), [t.get_text() for t in a.get_legend().get_texts()]) for a in drawn[0].axes]
    assert panels == [("a", ["layer 1 loss"]), ("b", ["classifier loss"])]


def test_the_command(tmp_path, tinyae, capsys, unpainted):
    command = "train stacked --data optdigits --sizes 12,6 --epochs 2 --classifier-epochs 2 --tuning-epochs 2"
    assert main([*command.split(), "--out", "run"]) == 0
    told = capsys.readouterr()
    assert "test accuracy of the classifier on the frozen codes:" in told.out
    for stage in ("layer 1 of 2", "layer 2 of 2", "classifier", "fine-tuning"):
        assert stage in told.err
    drawn = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"confusion.png", "filters.png", "filters2.png", "codes.png"} <= drawn
    stack = load("run")
    assert stack.is_trained
    assert training.evaluate(stack, OTHERS.x)["squared_error"] > 0
    assert "accuracy" in tinyae("evaluate run")
    np.save("rows.npy", np.random.default_rng(0).uniform(size=(40, 6)))
    assert "rows.npy has no labels" in tinyae("train stacked --data rows.npy --sizes 4,2 --epochs 1 --out rows")
    assert load("rows").classifier is None


def test_every_stage_has_its_schedule_and_clips():
    stack = small_stack(classes=10)
    made: list[tuple[Any, int]] = []

    def schedule(optimizer: Any, epochs: int) -> Any:
        made.append((optimizer, epochs))
        return optim.CosineLR(optimizer, epochs)

    fit_stack(stack, SOME, epochs=2, schedule=schedule, progress=False)
    fit_stack_classifier(stack, SOME, epochs=(3, 4), schedule=schedule, progress=False)
    assert [epochs for _, epochs in made] == [2] * len(stack.layers) + [3, 4]
    assert all(optimizer.lr < 1e-9 for optimizer, _ in made), "a cosine ends at 0"

    still = small_stack(classes=10)
    before = still.state_dict()
    common = {"optimizer": lambda p: optim.SGD(p, lr=1.0), "clip_norm": 1e-7, "progress": False}
    fit_stack(still, SOME, epochs=1, **common)
    fit_stack_classifier(still, SOME, epochs=(1, 1), **common)
    for name, value in still.state_dict().items():
        if name != "trained":
            assert np.abs(value - before[name]).max() < 1e-5, name


def test_clipping_means_nothing_to_lbfgs():
    with pytest.raises(ValueError, match="LBFGS chooses its own step lengths"):
        fit_stack(small_stack(), SOME, epochs=1, optimizer=optim.LBFGS, clip_norm=1.0, progress=False)
