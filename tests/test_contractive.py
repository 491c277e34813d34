"""The contractive autoencoder: three ways to the norm of the Jacobian, and differences that know none of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.test_models import double
from tinyae import data, evaluate, fit, nn, plots
from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import Backend
from tinyae.models import Autoencoder, ContractiveAutoencoder, contractive_autoencoder
from tinyae.training.pictures import draw_contractive

figure = plots.directions


def norm_by_differences(model: Autoencoder, x: np.ndarray, h: float = 1e-6) -> float:
    """Mean over samples of the squared Frobenius norm, column by column."""
    total = 0.0
    for index in np.ndindex(x.shape[1:]):
        moved = [x.copy() for _ in range(2)]
        for part, step in zip(moved, (h, -h), strict=True):
            part[(slice(None), *index)] += step
        total += (((model.encode(moved[0]) - model.encode(moved[1])) / (2 * h)) ** 2).sum()
    return total / len(x)


@pytest.mark.parametrize(("sizes", "activation"), [
    ([4], "sigmoid"), ([4], "tanh"), ([4], "relu"), ([4], "elu"), ([4], "identity"), ([5, 3], "tanh"),
])  # fmt: skip
def test_the_norm_is_that_of_the_derivative(sizes, activation, rng):
    model = double(contractive_autoencoder(7, sizes, activation=activation, generator=rng))
    x = rng.uniform(size=(5, 7))
    found = model.jacobian_norm(Tensor(x)).item()
    exact = ContractiveAutoencoder(model.encoder, model.decoder, jacobian="exact").jacobian_norm(Tensor(x)).item()
    assert model.jacobian == ("closed" if len(sizes) == 1 else "exact")
    assert found == pytest.approx(exact, rel=1e-10)
    assert found == pytest.approx(norm_by_differences(model, x), rel=1e-6)


def test_two_ways_have_the_same_gradients(rng):
    options = {"contraction": 0.7, "loss": "squared_error"}
    model = double(contractive_autoencoder((3, 2), [4], generator=rng, **options))
    other = ContractiveAutoencoder(model.encoder, model.decoder, jacobian="exact", **options)
    x = Tensor(rng.uniform(size=(5, 3, 2)))
    gradients = []
    for form in (model, other):
        form.zero_grad()
        form.loss(x).backward()
        gradients.append([p.grad.numpy().copy() for p in form.parameters()])
    for closed, exact in zip(*gradients, strict=True):
        assert_allclose(closed, exact, rtol=1e-9, atol=1e-12)


def test_random_directions_are_right_on_average(rng):
    model = double(contractive_autoencoder(6, [5, 4], activation="tanh", generator=rng))
    x = Tensor(rng.uniform(size=(8, 6)))
    truth = model.jacobian_norm(x).item()
    estimator = ContractiveAutoencoder(model.encoder, model.decoder, jacobian="hutchinson", generator=rng)
    draws = np.array([estimator.jacobian_norm(x).item() for _ in range(400)])
    assert abs(draws.mean() - truth) < 4 * draws.std() / 20
    assert draws.std() > 0
    many = ContractiveAutoencoder(model.encoder, model.decoder, jacobian="hutchinson", probes=16, generator=rng)
    assert np.std([many.jacobian_norm(x).item() for _ in range(60)]) < 0.5 * draws.std()


def test_it_is_measured_in_evaluation_too(rng):
    model = contractive_autoencoder(64, [5, 4], generator=rng)
    x = data.load("optdigits").test.flat[:50]
    scores = evaluate(model, x)
    with no_grad():
        norm = model.jacobian_norm(Tensor(x)).item()
    assert scores["contraction"] == pytest.approx(0.1 * norm, rel=1e-4)
    assert scores["loss"] == pytest.approx(scores["reconstruction"] + scores["contraction"], rel=1e-5)


def test_measuring_takes_its_random_directions_from_elsewhere(rng):
    model = contractive_autoencoder(6, [5, 4], jacobian="hutchinson", generator=rng)
    stream = rng.bit_generator.state
    x = np.random.default_rng(1).random((9, 6), dtype=np.float32)
    assert evaluate(model, x)["contraction"] == evaluate(model, x)["contraction"] > 0
    assert rng.bit_generator.state == stream


def test_more_contraction_gives_a_flatter_code():
    digits = data.load("optdigits").train.flat[:500]
    norms = []
    for contraction in (0.0, 1.0, 10.0):
        model = contractive_autoencoder(64, [20], contraction=contraction, generator=np.random.default_rng(0))
        fit(model, digits, epochs=30, progress=False)
        norms.append(model.jacobian_norm(Tensor(digits)).item())
    assert norms[2] < 0.8 * norms[1] < 0.5 * norms[0]


def test_any_encoder_will_do(rng):
    encoder = nn.Sequential(nn.Dense(6, 4, generator=rng), nn.Softplus(), nn.LayerNorm(4))
    model = ContractiveAutoencoder(encoder, nn.Dense(4, 6, generator=rng), loss="squared_error")
    assert model.jacobian == "exact"
    model.loss(Tensor(rng.normal(size=(3, 6)).astype("float32"))).backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())


def test_the_jacobian_itself(rng, device: Backend):
    model = contractive_autoencoder((3, 2), [4, 3], activation="tanh", generator=rng).to(device.name)
    x = rng.uniform(size=(5, 3, 2)).astype("float32")
    found = model.jacobian_at(x)
    assert found.shape == (5, 3, 3, 2)
    w1, b1, w2, b2 = (device.to_host(p.data) for p in model.encoder.parameters())
    hidden = np.tanh(x.reshape(5, 6) @ w1 + b1)
    code = np.tanh(hidden @ w2 + b2)
    chain = np.einsum("nk,jk,nj,ij->nki", 1 - code**2, w2, 1 - hidden**2, w1)
    assert_allclose(found.reshape(5, 3, 6), chain, rtol=1e-4, atol=1e-6)
    norm = model.jacobian_norm(Tensor(device.to_device(x))).item()
    assert np.square(found).sum() / 5 == pytest.approx(norm, rel=1e-5)
    assert model.training, "and the mode is what it was"


def test_the_picture_shows_the_directions_that_move_the_code(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "directions", lambda *given, **words: drawn.append(given) or figure(*given, **words))
    digits = data.load("optdigits")
    model = contractive_autoencoder((8, 8, 1), [20], generator=np.random.default_rng(0))
    assert draw_contractive(model, digits, tmp_path) == [tmp_path / "tangents.png"]
    ((images, tangents, strengths),) = drawn
    assert (tangents.shape, strengths.shape) == ((6, 8, 64), (6, 8))
    step = 1e-2 * tangents[:, 0].reshape(6, 8, 8, 1)
    moved = np.linalg.norm(model.encode(images + step) - model.encode(images - step), axis=1) / 2e-2
    assert_allclose(moved, strengths[:, 0], rtol=1e-3)
    assert (np.diff(strengths) <= 0).all()
    assert draw_contractive(contractive_autoencoder((48, 1), [4]), data.load("nyc-taxi"), tmp_path) == []


@pytest.mark.thorough
@pytest.mark.matrix
def test_the_command(tinyae):
    digits = "train contractive --data optdigits --epochs 2"
    assert "contraction" in tinyae(digits, "--sizes 8 --out one")
    tinyae(digits, "--sizes 8,4 --jacobian hutchinson --probes 2 --out two")
    tinyae("evaluate two")
