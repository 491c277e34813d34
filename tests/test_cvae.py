"""The conditional model: the class goes to both halves, the bound is that of p(x|y), and labels are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.test_vae import in_doubles
from tinyae import data, fit, load
from tinyae.autodiff import Tensor
from tinyae.data import Split
from tinyae.models import AnomalyDetector, Batch, ConditionalVariationalAutoencoder, build, interpolate
from tinyae.training import evaluate


def small(**options) -> ConditionalVariationalAutoencoder:
    """(6 + 3)-5-2 and (2 + 3)-5-6."""
    sizes = {"input_shape": [2, 3, 1], "classes": 3, "sizes": [5], "latent_size": 2}
    return build("cvae", {**sizes, "activation": "tanh", "sample": "image", **options}, np.random.default_rng(0))


def labeled(rng: np.random.Generator, n: int = 9) -> Split:
    return Split(rng.random((n, 2, 3, 1)).astype("float32"), np.arange(n) % 3)


def test_the_bound_is_written_out_with_the_class_in_both_halves(rng):
    model, data = in_doubles(small()), labeled(rng)
    x, hot = data.x.astype("float64"), np.eye(3)[data.y]
    first, second, third, fourth = (p.numpy() for p in model.parameters() if p.ndim == 2)
    raw = np.tanh(np.concatenate([x.reshape(9, 6), hot], axis=1) @ first) @ second
    mean, log_variance = raw[:, :2], raw[:, 2:]
    z = mean + np.exp(log_variance / 2) * np.random.default_rng(3).standard_normal((9, 2))
    logits = np.tanh(np.concatenate([z, hot], axis=1) @ third) @ fourth
    loss = model.elbo(Batch(Tensor(model.batch(Split(x, data.y)).x), Tensor(x)), np.random.default_rng(3))
    nats = np.sum(np.logaddexp(0, logits) - x.reshape(9, 6) * logits) / 9
    assert loss.terms["reconstruction"].item() == pytest.approx(nats, rel=1e-4)
    kl = 0.5 * np.sum(mean**2 + np.exp(log_variance) - 1 - log_variance) / 9
    assert loss.terms["kl"].item() == pytest.approx(kl, abs=1e-4)


def test_told_the_class_the_code_need_not_say_it(rng):
    """Images that are nothing but their class: the conditional model reconstructs them with a code that says nothing."""
    patterns = rng.random((3, 2, 3, 1)).astype("float32").round()
    data = Split(np.tile(patterns, (40, 1, 1, 1)), np.arange(120) % 3)
    model = small(activation="relu", sizes=[16])
    fit(model, data, epochs=60, batch_size=20, progress=False)
    scores = evaluate(model, data)
    assert scores["kl"] < 0.3
    made = model.sample(6, np.random.default_rng(0))
    assert_allclose(made, np.tile(patterns, (2, 1, 1, 1)), atol=0.45)


def test_samples_restyling_and_planes_take_the_class(rng):
    model, data = small(), labeled(rng)
    z, labels = np.random.default_rng(8).standard_normal((4, 2), dtype=np.float32), [2, 0, 1, 1]
    decoded = model.decode(z, labels=np.array(labels))
    assert_array_equal(model.sample(4, np.random.default_rng(8), labels=labels), decoded)
    assert set(np.unique(model.sample(4, pixels=True))) <= {0.0, 1.0}
    inputs = model.batch(Split(data.x, data.y)).x
    styles = model.restyle(data.x, data.y)
    assert styles.shape == (9, 3, 2, 3, 1)
    assert_allclose(styles[np.arange(9), data.y], model.reconstruct(inputs), rtol=1e-5)
    q = model.posterior(inputs)
    line = model.decode(interpolate(*q.given(q.mean)[:2], steps=3))
    assert_allclose(line[[0, 2]], model.reconstruct(inputs[:2]), rtol=1e-5)
    assert model.latent_report(data.x, labels=data.y).kl.shape == (2,)


def test_labels_are_asked_for_in_one_sentence(rng):
    model, data = small(), labeled(rng)
    none = "the conditional model needs a class for each sample, got none"
    for wrong, words in (
        (lambda: fit(model, data.x, epochs=1), none),
        (lambda: evaluate(model, data.x), none),
        (lambda: model.batch(Split(data.x)), none),
        (lambda: model.batch(Split(data.x[:2], np.array([0, 3]))), "from 0 to 2 for 3 classes, got 0 to 3"),
        (lambda: model.batch(Split(data.x[:2], np.array([0.5, 1.0]))), "whole numbers"),
        (lambda: model.decode(np.zeros((1, 2), "float32")), "needs the class of each code"),
        (lambda: model.sample(3, labels=[1]), "one label for each"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()


@pytest.mark.thorough
@pytest.mark.matrix
def test_the_commands(tmp_path, tinyae, refused, unpainted):
    tinyae("train cvae --data optdigits --epochs 1 --sizes 16 --out run")
    drawn = {path.name for path in (tmp_path / "run").glob("*.png")}
    assert drawn >= {"samples.png", "restyled.png", "kl.png", "interpolation.png"}
    told = tinyae("evaluate run --importance-samples 3 --first 20")
    assert "-log p(x|class) of 20 test images by k = 3 importance samples" in told
    tinyae("sample run -n 10")
    tinyae("sample run -n 4 --label 7 --out s.npy")
    model, digits = load("run"), data.load("optdigits").test
    assert_array_equal(np.load("s.npy"), model.sample(4, np.random.default_rng(0), labels=[7] * 4))
    assert "labels must be from 0 to 9 for 10 classes" in refused("sample run --label 10")
    tinyae("encode run --out codes.npy")
    assert_array_equal(np.load("codes.npy"), model.encode(model.batch(digits).x))
    tinyae("anomalies run")
    x, y = digits.x[:50], digits.y[:50]
    expected = ((model.reconstruct(model.batch(Split(x, y)).x) - x).astype(float) ** 2).reshape(50, -1).sum(axis=1)
    assert_allclose(AnomalyDetector(model).score(Split(x, y)), expected, rtol=1e-5)
