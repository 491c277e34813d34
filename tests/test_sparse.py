"""The sparse autoencoder: each penalty by its formula, the whole UFLDL cost and gradient by hand, and edges on patches."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from tests.test_models import double
from tinyae import data, fit, losses, models, nn, optim
from tinyae.autodiff import Tensor
from tinyae.data import embedded
from tinyae.data.embedded import whiten
from tinyae.models import PCA, count_oriented, sparse_autoencoder
from tinyae.training import evaluate


def ufldl_cost(x, w1, b1, w2, b2, lam, rho, beta):
    """Cost and gradients as in the lecture notes, samples in rows: forward, then deltas from the output backwards."""
    n = len(x)
    a2 = special.expit(x @ w1 + b1)
    a3 = special.expit(a2 @ w2 + b2)
    mean = a2.mean(axis=0)
    kl = (special.rel_entr(rho, mean) + special.rel_entr(1 - rho, 1 - mean)).sum()
    cost = 0.5 * ((a3 - x) ** 2).sum() / n + lam / 2 * ((w1**2).sum() + (w2**2).sum()) + beta * kl
    delta3 = (a3 - x) * a3 * (1 - a3)
    sparsity = beta * (-rho / mean + (1 - rho) / (1 - mean))
    delta2 = (delta3 @ w2.T + sparsity) * a2 * (1 - a2)
    grads = [x.T @ delta2 / n + lam * w1, delta2.mean(axis=0), a2.T @ delta3 / n + lam * w2, delta3.mean(axis=0)]
    return cost, grads


@pytest.mark.parametrize(
    ("lam", "rho", "beta"), [(1e-4, 0.01, 3.0), (3e-3, 0.1, 3.0), (0.0, 0.2, 1.0), (0.1, 0.05, 0.0)]
)
def test_cost_and_gradient_are_those_of_the_lecture_notes(lam, rho, beta, rng):
    x = rng.uniform(0.1, 0.9, (20, 9))
    model = double(sparse_autoencoder(9, 4, rho=rho, beta=beta, weight_decay=lam, generator=rng))
    loss = model.loss(Tensor(x))
    loss.backward()
    w1, b1, w2, b2 = (p.numpy() for p in model.parameters())
    cost, expected = ufldl_cost(x, w1, b1, w2, b2, lam, rho, beta)
    assert loss.item() == pytest.approx(cost, rel=1e-12)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_units_that_are_always_off_or_on_cost_much_but_not_infinity(value):
    cost = losses.bernoulli_kl(np.full((4, 2), value, "float32"), rho=0.1)
    assert 1.0 < float(cost) < 40.0


def test_weight_decay_of_no_weights_is_refused():
    with pytest.raises(ValueError, match="no weights"):
        losses.weight_decay()


@pytest.mark.parametrize("sparsity", ["kl", "l1", "none"])
@pytest.mark.parametrize("tied", [False, True])
def test_every_term_has_a_name_and_is_the_formula(sparsity, tied, rng):
    x = rng.uniform(0.1, 0.9, (8, 6))
    options = {"sparsity": sparsity, "rho": 0.2, "beta": 2.0, "weight_decay": 0.5, "tied": tied}
    model = double(sparse_autoencoder(6, 3, generator=rng, **options))
    terms = {name: term.item() for name, term in model.loss(Tensor(x)).terms.items()}
    code = model.encode(x)
    half = 0.5 * ((model.reconstruct(x) - x) ** 2).sum() / 8
    assert terms.pop("reconstruction") == pytest.approx(half, rel=1e-12)
    squares = sum((p.numpy() ** 2).sum() for name, p in model.named_parameters() if "weight" in name)
    assert terms.pop("weight decay") == pytest.approx(0.25 * squares, rel=1e-12)
    if sparsity == "none":
        assert terms == {}
        return
    penalty = losses.bernoulli_kl(code, rho=0.2) if sparsity == "kl" else np.abs(code).sum() / 8
    assert terms == {"sparsity": pytest.approx(2.0 * float(penalty), rel=1e-12)}


def test_top_k_keeps_the_k_largest_and_their_gradients(rng):
    layer = nn.TopK(2, evaluation_k=3)
    x = rng.permutation(20).reshape(4, 5).astype("float64")
    leaf = Tensor(x, requires_grad=True)
    out = layer(leaf)
    expected = np.array([[v if v >= sorted(row)[-2] else 0.0 for v in row] for row in x])
    assert_array_equal(out.numpy(), expected)
    cotangent = rng.normal(size=(4, 5))
    out.backward(cotangent)
    assert_array_equal(leaf.grad.numpy(), np.where(expected != 0, cotangent, 0.0))
    assert (layer.eval()(Tensor(x + 1)).numpy() != 0).sum(axis=1).tolist() == [3, 3, 3, 3]
    with pytest.raises(ValueError, match="at least 6"):
        nn.TopK(6)(Tensor(x))


def test_a_second_fit_keeps_the_trained_bias_and_center(rng):
    """A step of almost no size leaves the loss where it was, also on a few of the samples."""
    x = rng.random((90, 10)).astype("float32") ** 2
    model = sparse_autoencoder(10, 20, sparsity="topk", k=3, generator=rng)
    fit(model, x, epochs=20, progress=False)
    for samples in (x, x[:10]):
        before = evaluate(model, x)["loss"]
        fit(model, samples, epochs=1, optimizer=optim.SGD(model.parameters(), lr=1e-12), progress=False)
        assert evaluate(model, x)["loss"] == pytest.approx(before, rel=1e-5)


def test_a_k_sparse_code_has_k_numbers(rng):
    model = sparse_autoencoder(30, 20, sparsity="topk", k=4, evaluation_k=7, loss="squared_error", generator=rng)
    x = rng.normal(size=(9, 30)).astype("float32")
    assert ((model.encode(Tensor(x)).data != 0).sum(axis=1) == 4).all(), "in training mode"
    assert ((model.encode(x) != 0).sum(axis=1) == 7).all()
    assert set(model.loss(Tensor(x)).terms) == {"reconstruction", "weight decay"}


def test_training_reaches_the_wanted_mean_activation():
    digits = data.load("optdigits").train.flat[:600]
    means = {}
    for beta in (0.0, 3.0):
        model = sparse_autoencoder(64, 30, rho=0.05, beta=beta, weight_decay=1e-4, generator=np.random.default_rng(0))
        fit(model, digits, epochs=80, optimizer=optim.LBFGS(model.parameters()), progress=False)
        means[beta] = model.encode(digits).mean(axis=0)
    assert np.abs(means[3.0] - 0.05).max() < 0.03
    assert np.abs(means[0.0] - 0.05).max() > 0.2


def grating(theta: float, frequency: float = 0.2, phase: float = 0.3) -> np.ndarray:
    y, x = np.mgrid[:8, :8] - 3.5
    envelope = np.exp(-(x**2 + y**2) / 12)
    return (envelope * np.cos(2 * np.pi * frequency * (x * np.cos(theta) + y * np.sin(theta)) + phase)).ravel()


def test_edges_are_oriented_and_blobs_and_noise_are_not(rng):
    angles = np.linspace(0, np.pi, 12, endpoint=False)
    edges = np.stack([grating(theta) for theta in angles], axis=1)
    y, x = np.mgrid[:8, :8] - 3.5
    blobs = np.stack([np.exp(-(x**2 + y**2) / (2 * s**2)).ravel() for s in (1.0, 1.5, 2.0)], axis=1)
    noise = rng.normal(size=(64, 500))
    assert models.orientation_selectivity(edges, (8, 8)).min() > 0.6
    assert models.orientation_selectivity(blobs, (8, 8)).max() < 0.1
    assert (models.orientation_selectivity(noise, (8, 8, 1)) > 0.5).mean() < 0.01
    assert_array_equal(models.orientation_selectivity(np.ones((64, 1)), (8, 8)), [0.0])


def test_turning_a_filter_by_a_right_angle_changes_nothing(rng):
    w = rng.normal(size=(8, 8))
    both = np.stack([w.ravel(), np.rot90(w).ravel()], axis=1)
    first, second = models.orientation_selectivity(both, (8, 8))
    assert first == pytest.approx(second)


def test_weak_filters_are_not_counted():
    filters = np.stack([grating(0.0), 0.1 * grating(1.0), grating(2.0)], axis=1)
    assert count_oriented(filters, (8, 8)) == 2
    with pytest.raises(ValueError, match="D = H W"):
        count_oriented(filters, (8, 9))


def test_whitening_flattens_the_spectrum():
    photograph = data.load("natural-images").train.x[0, :, :, 0].astype("float64")
    f = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None, :])
    power = [np.abs(np.fft.fft2(image - image.mean())) ** 2 for image in (photograph, whiten(photograph))]
    low, high = (f > 0.02) & (f < 0.05), (f > 0.15) & (f < 0.25)
    ratio = [p[low].mean() / p[high].mean() for p in power]
    assert ratio[0] > 15
    assert 0.2 < ratio[1] < 5
    white = whiten(photograph)
    assert white.mean() == pytest.approx(0.0, abs=1e-12)
    assert white.var() == pytest.approx(0.1)
    with pytest.raises(ValueError, match="square"):
        whiten(photograph[:100])


def test_patches_are_the_same_at_every_call():
    first, again = data.load("natural-patches"), data.load("natural-patches")
    assert first.train.x.shape == (10000, 8, 8, 1)
    assert_array_equal(first.train.x, again.train.x)
    assert first.train.x.min() == pytest.approx(0.1)
    assert first.train.x.max() == pytest.approx(0.9)
    assert first.train.x.mean() == pytest.approx(0.5, abs=0.01)


def test_train_and_test_patches_share_no_pixel(monkeypatch):
    monkeypatch.setattr(embedded, "whiten", lambda photograph: photograph)
    monkeypatch.setattr(embedded, "normalize_patches", lambda cut, spread: cut)
    picture = np.full((2, 256, 256), 50, np.uint8)
    picture[:, :, 192:] = 200
    train, test = embedded.natural_patches(picture, (300, 100), 8)
    assert train.shape == (300, 8, 8)
    assert (train == 50).all()
    assert (test == 200).all()


def test_sparse_units_on_patches_become_edges_in_seconds():
    some = data.load("natural-patches").train.x[:3000]
    model = sparse_autoencoder((8, 8, 1), 25, generator=np.random.default_rng(0))
    history = fit(model, some, epochs=150, optimizer=optim.LBFGS(model.parameters()), progress=False)
    assert history.last["train_loss"] < 0.6
    weights = model.encoder[1].weight.numpy()
    principal = PCA(25).fit(some).components_.T
    assert count_oriented(weights, (8, 8)) >= 13
    assert count_oriented(weights, (8, 8)) > count_oriented(principal, (8, 8))


@pytest.mark.slow
def test_the_ufldl_exercise_on_natural_patches():
    every = data.load("natural-patches")
    model = sparse_autoencoder((8, 8, 1), 25, generator=np.random.default_rng(0))
    history = fit(model, every, epochs=400, optimizer=optim.LBFGS(model.parameters()), progress=False)
    assert history.last["train_loss"] == pytest.approx(0.42, abs=0.02)
    assert count_oriented(model.encoder[1].weight.numpy(), (8, 8)) >= 15


@pytest.mark.thorough
def test_the_command(tinyae):
    told = tinyae("train sparse --epochs 8 --out run")
    for words in ("weight decay", "sparsity", "mean activation of the 25 code units", "filters are oriented"):
        assert words in told
    tinyae("evaluate run")
    digits = "train sparse --data optdigits --optimizer adam --epochs 2"
    tinyae(digits, "--sparsity topk --k 5 --loss squared_error --out topk")
    tinyae(digits, "--sparsity l1 --loss bce --out l1")


def test_any_encoder_can_be_made_sparse(rng):
    layers = nn.Dense(6, 5, activation="tanh", generator=rng), nn.Dense(5, 4, activation="sigmoid", generator=rng)
    model = models.SparseAutoencoder(nn.Sequential(*layers), nn.Dense(4, 6, generator=rng), rho=0.1, sample="row")
    assert "sparsity" in model.loss(Tensor(rng.uniform(size=(3, 6)).astype("float32"))).terms


@pytest.mark.parametrize(("end", "taken"), [
    (lambda: nn.Sigmoid(), True),
    (lambda: nn.Sequential(nn.Sigmoid(), nn.TopK(2)), True),
    (lambda: nn.Sequential(nn.Sigmoid(), nn.LayerNorm(4)), False),
    (lambda: nn.Tanh(), False),
    (lambda: nn.Identity(), False),
])  # fmt: skip
def test_codes_must_be_probabilities_for_the_kl(end, taken, rng):
    """What counts is their values, whatever layers made them; seen at the first batch, and by `evaluate`."""
    encoder = nn.Sequential(nn.Dense(6, 4, generator=rng), end())
    x = rng.uniform(size=(9, 6)).astype("float32")
    outcome = contextlib.nullcontext() if taken else pytest.raises(ValueError, match=r"codes must lie in \[0, 1\], got")
    for act in (lambda model: fit(model, x, epochs=2, progress=False), lambda model: evaluate(model, x)):
        with outcome:
            act(models.SparseAutoencoder(encoder, nn.Dense(4, 6, generator=rng)))
    for sparsity in ("l1", "none"):
        evaluate(models.SparseAutoencoder(encoder, nn.Dense(4, 6, generator=rng), sparsity=sparsity), x)


def test_codes_that_leave_the_range_later_are_refused_in_the_next_epoch(rng):
    encoder = nn.Sequential(nn.Dense(6, 4, activation="sigmoid", generator=rng), nn.Identity())
    model = models.SparseAutoencoder(encoder, nn.Dense(4, 6, generator=rng))

    def swap(epoch):
        model.encoder.layers[1] = nn.LayerNorm(4)

    with pytest.raises(ValueError, match="codes must lie in"):
        fit(model, rng.uniform(size=(9, 6)).astype("float32"), epochs=2, callbacks=[swap], progress=False)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_evaluation_takes_the_mean_code_of_the_whole_set(batch_size, rng):
    x = rng.uniform(0.1, 0.9, (100, 6))
    model = double(sparse_autoencoder(6, 3, rho=0.05, generator=rng))
    found, whole = evaluate(model, x, batch_size=batch_size), model.loss(Tensor(x))
    assert found["loss"] == pytest.approx(whole.item(), rel=1e-12)
    assert {name: found[name] for name in whole.terms} == pytest.approx(
        {name: term.item() for name, term in whole.terms.items()}, rel=1e-12
    )
