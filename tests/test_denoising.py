"""The denoising autoencoder against Vincent et al. 2010, section 4.2, transcribed in NumPy, and what it must not do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng as seeded
from numpy.testing import assert_array_equal, assert_equal
from scipy import special

from tests.test_models import double
from tinyae import data, fit, load, nn, optim, save
from tinyae.autodiff import Tensor
from tinyae.models import Autoencoder, Batch, DenoisingAutoencoder, build, denoising_autoencoder
from tinyae.testing.verification import check_module
from tinyae.training import evaluate
from tinyae.training.pictures import draw_denoising

D, K, N = 12, 20, 9
emphases = pytest.mark.parametrize(("alpha", "beta"), [(1, 1), (1, 0), (0, 1), (1, 0.5), (0.3, 2), (2, 2)])
both_losses = pytest.mark.parametrize("loss", ["bce", "squared_error"])


def small(seed: int = 0, **options) -> DenoisingAutoencoder:
    """A float64 model 12-20-12 with noise from a generator of its own."""
    model = denoising_autoencoder(D, K, generator=seeded(1), **{"level": 0.4, "sample": "image", **options})
    model.noise.generator = seeded(seed)
    return double(model)


def elements(model: DenoisingAutoencoder, noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The losses of the elements, written out: -x log z - (1 - x) log(1 - z), or (x - z)**2."""
    w1, b1, w2, b2 = [p.numpy() for p in model.parameters()]
    raw = np.maximum(noisy @ w1 + b1, 0) @ w2 + b2
    if model.reconstruction.name == "bce":
        return -clean * special.log_expit(raw) - (1 - clean) * special.log_expit(-raw)
    return (clean - raw) ** 2


@both_losses
@emphases
@pytest.mark.parametrize("corruption", ["masking", "salt-and-pepper"])
def test_the_emphasized_loss_as_printed(corruption, alpha, beta, loss, rng):
    model = small(seed=5, corruption=corruption, alpha=alpha, beta=beta, loss=loss)
    x = rng.uniform(size=(N, D))
    draws = seeded(5).random(x.shape)
    hit = draws < 0.4
    grains = 0.0 if corruption == "masking" else np.where(draws < 0.2, 0.0, 1.0)
    losses = elements(model, np.where(hit, grains, x), x)
    expected = alpha * losses[hit].sum() / N + beta * losses[~hit].sum() / N
    found = model.loss(Tensor(x))
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert found.unit == ("nats per image" if loss == "bce" else "squared error per image")
    # The roles of alpha and beta, and of the clean and the damaged samples, are not interchangeable.
    if alpha != beta:
        swapped = beta * losses[hit].sum() / N + alpha * losses[~hit].sum() / N
        assert found.item() != pytest.approx(swapped, rel=1e-4)
    if alpha > 0:
        copied = elements(model, np.where(hit, grains, x), np.where(hit, grains, x))
        assert found.item() != pytest.approx((alpha * copied[hit].sum() + beta * copied[~hit].sum()) / N, rel=1e-4)


@both_losses
def test_gaussian_noise_and_another_target(loss, rng):
    model = small(seed=6, corruption="gaussian", loss=loss)
    x, target = rng.uniform(size=(N, D)), rng.uniform(size=(N, D))
    noisy = x + 0.4 * seeded(6).standard_normal(x.shape)
    expected = elements(model, noisy, target).sum() / N
    assert model.loss(Batch(Tensor(x), Tensor(target))).item() == pytest.approx(expected, rel=1e-12)


def test_noise_is_drawn_anew_at_each_presentation():
    model = small(level=0.5)
    x = Tensor(seeded(3).uniform(size=(N, D)))
    values = [model.loss(x).item() for _ in range(5)]
    assert len(set(values)) == 5
    again = small(level=0.5)
    assert values == [again.loss(x).item() for _ in range(5)]


def test_in_evaluation_mode_it_is_the_ordinary_loss_of_clean_samples(rng):
    model = small(alpha=3.0, beta=0.5).eval()
    x = rng.uniform(size=(N, D))
    state = model.noise.generator.bit_generator.state
    assert model.loss(Tensor(x)).item() == pytest.approx(elements(model, x, x).sum() / N, rel=1e-12)
    assert model.noise.generator.bit_generator.state == state
    assert model.loss(Tensor(x), generator=seeded(1)).item() != pytest.approx(model.loss(Tensor(x)).item(), rel=1e-3)


def test_only_the_loss_is_noisy(rng):
    """`encode`, `reconstruct` and a forward pass take samples as they are, in training mode too."""
    model = small(level=0.9)
    x = rng.uniform(size=(N, D))
    assert model.training
    plain = Autoencoder(model.encoder, model.decoder)
    for method in ("encode", "reconstruct"):
        assert_array_equal(getattr(model, method)(Tensor(x)).data, getattr(plain, method)(Tensor(x)).data)
        assert_array_equal(getattr(model, method)(x), getattr(plain, method)(x))
    assert (model.corrupt(x) != x).mean() > 0.7
    assert_array_equal(model.eval().corrupt(x, seeded(3)), nn.MaskingNoise(0.9, seeded(3)).corrupt(x))


OPTIONS = [
    {}, {"tied": True}, {"alpha": 1.0, "beta": 0.2}, {"corruption": "gaussian"}, {"corruption": "salt-and-pepper"},
    {"alpha": 0.5, "beta": 0.5}, {"beta": 0.0}, {"hidden_sizes": (6,), "activation": "tanh"},
]  # fmt: skip


@pytest.mark.parametrize(("options", "loss"), [
    pytest.param(options, loss, marks=[pytest.mark.thorough] if (n + k) % 2 else [])
    for n, options in enumerate(OPTIONS) for k, loss in enumerate(("squared_error", "bce"))
])  # fmt: skip
def test_the_gradient_of_the_whole_loss_at_a_fixed_draw(options, loss, rng):
    """`check_module` rewinds the generator before each call, so every call sees the same noise."""
    model = small(loss=loss, **{"activation": "sigmoid"} | options)
    x = rng.uniform(0.1, 0.9, size=(4, D))
    report = check_module(model, x, call=lambda m, v: m.loss(v).total, order=2)
    assert report.passed
    assert any(name.startswith("decoder") for name in report.errors)


def test_a_run_goes_on_where_it_was_saved_if_the_generator_is_kept(tmp_path):
    x = data.load("optdigits").train.x[:100]
    build_one = {"input_shape": [8, 8, 1], "code_size": 70}

    def train(model: DenoisingAutoencoder, epochs: int) -> None:
        fit(model, x, epochs=epochs, optimizer=optim.SGD(model.parameters(), lr=0.1), progress=False)

    whole = build("denoising", build_one, seeded(1))
    train(whole, 1)
    save(whole, tmp_path / "half.safetensors")
    kept = whole.noise.generator.bit_generator.state
    train(whole, 1)

    resumed, forgot = load(tmp_path / "half.safetensors"), load(tmp_path / "half.safetensors")
    assert isinstance(resumed, DenoisingAutoencoder)
    resumed.noise.generator.bit_generator.state = kept
    train(resumed, 1)
    train(forgot, 1)
    assert_equal(resumed.state_dict(), whole.state_dict())
    assert any(not np.array_equal(value, forgot.state_dict()[name]) for name, value in whole.state_dict().items())


def test_it_repairs_what_a_plain_one_cannot():
    digits = data.load("optdigits")
    errors = []
    damaged = nn.MaskingNoise(0.5).corrupt(digits.test.x, seeded(9))
    for level in (0.5, 0.0):
        model = denoising_autoencoder((8, 8, 1), 100, level=level, generator=seeded(0))
        fit(model, digits, epochs=10, optimizer=optim.Adam(model.parameters(), lr=0.01), progress=False)
        errors.append(np.square(model.reconstruct(damaged) - digits.test.x).sum() / len(damaged))
    damage = np.square(damaged - digits.test.x).sum() / len(damaged)
    assert errors[0] < 0.6 * errors[1]
    assert errors[0] < 0.4 * damage


def test_a_linear_one_learns_the_wiener_filter_and_not_to_copy():
    """The expected loss of x~ A is trace((A - I)' S (A - I)) + s**2 trace(A' A); its minimum is (S + s**2 I)^-1 S."""
    x = data.load("optdigits").train.flat.astype("float64")
    x -= x.mean(axis=0)
    covariance, std, identity = x.T @ x / len(x), 0.3, np.eye(64)
    rng = seeded(0)
    encoder, decoder = nn.Dense(64, 100, generator=rng), nn.Dense(100, 64, generator=rng)
    model = DenoisingAutoencoder(encoder, decoder, nn.GaussianNoise(std, rng), loss="squared_error")
    fit(model, x, epochs=20, progress=False)

    def expected(a: np.ndarray) -> float:
        return np.trace((a - identity).T @ covariance @ (a - identity)) + std**2 * np.trace(a.T @ a)

    wiener = np.linalg.solve(covariance + std**2 * identity, covariance)
    learned = encoder.weight.numpy().astype("float64") @ decoder.weight.numpy()
    assert expected(wiener) < expected(learned) < 1.03 * expected(wiener) < 0.3 * expected(identity)
    assert np.linalg.norm(learned - wiener) < 0.2 * np.linalg.norm(identity - wiener)
    # 3823 samples of 64 values: the measured damage has a relative standard error of sqrt(2 / 244672), 0.3 %.
    assert evaluate(model, x)["corrupted_squared_error"] == pytest.approx(expected(identity), rel=0.012)


def test_evaluate_gives_clean_and_denoising_numbers(rng):
    model = small(alpha=1.0, beta=0.5, level=0.3)
    x = rng.uniform(size=(50, D))
    found = evaluate(model, x, batch_size=50)
    draws = seeded(0).random(x.shape)
    hit = draws < 0.3
    noisy = np.where(hit, 0.0, x)
    losses = elements(model, noisy, x)
    assert found["loss"] == pytest.approx((losses * np.where(hit, 1.0, 0.5)).sum() / 50, rel=1e-10)
    assert found["corrupted_squared_error"] == pytest.approx(np.square(noisy - x).sum() / 50, rel=1e-10)
    for name, given in (("denoised_squared_error", noisy), ("squared_error", x)):
        assert found[name] == pytest.approx(np.square(model.reconstruct(given) - x).sum() / 50, rel=1e-10)
    names = ("corrupted_squared_error", "denoised_squared_error")
    assert {name: found.units[name] for name in names} == dict.fromkeys(names, "squared error per image")


def test_the_builder_makes_what_it_says():
    model = denoising_autoencoder()
    assert (model.encoder[0].in_features, model.encoder[0].out_features) == (784, 1000)
    assert repr(model.noise) == "MaskingNoise(0.25)"
    assert (model.alpha, model.beta) == (1.0, 1.0)
    deep = denoising_autoencoder((2, 3, 2), 5, hidden_sizes=(9, 7), corruption="gaussian", level=0.1, tied=True)
    assert [layer.out_features for layer in deep.encoder if isinstance(layer, nn.Dense)] == [9, 7, 5]
    assert isinstance(deep.decoder[0], nn.TiedDense)
    assert repr(deep).startswith("DenoisingAutoencoder(loss='bce'\n")
    assert "beta=0.5, loss='bce'" in repr(denoising_autoencoder(4, 2, beta=0.5))
    shared = seeded(3)
    assert denoising_autoencoder(4, 2, generator=shared).noise.generator is shared


@pytest.mark.parametrize("options", [
    {}, {"corruption": "salt-and-pepper"}, {"level": 0.0}, pytest.param({"corruption": "gaussian"}, marks=pytest.mark.thorough),
    pytest.param({"level": 0.8}, marks=pytest.mark.thorough),
], ids=str)  # fmt: skip
def test_the_picture(options, tmp_path):
    digits = data.load("optdigits")
    model = denoising_autoencoder((8, 8, 1), 10, **options)
    assert draw_denoising(model, digits, tmp_path) == [tmp_path / "denoising.png"]
    assert (tmp_path / "denoising.png").read_bytes().startswith(b"\x89PNG")


def test_no_picture_where_there_is_none_to_draw(tmp_path):
    class Blur(nn.Noise):
        def corrupt_with_mask(self, x, generator=None):
            return x, np.zeros(x.shape)

    digits, taxi = data.load("optdigits"), data.load("nyc-taxi")
    other = DenoisingAutoencoder(nn.Dense(4, 3), nn.Dense(3, 4), Blur())
    assert draw_denoising(other, digits, tmp_path) == []
    assert draw_denoising(denoising_autoencoder((48, 1), 4), taxi, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_command_from_end_to_end(tinyae, unpainted):
    options = "--corruption masking --level 0.5 --code-size 100 --beta 0.5"
    told = tinyae("train denoising --data optdigits --epochs 2", options)
    run = Path("runs/denoising-optdigits")
    assert f"picture: {run}/denoising.png" in told
    assert {"filters.png", "denoising.png", "reconstructions.png"} <= {file.name for file in run.iterdir()}
    model = load(run)
    assert (model.noise.rate, model.beta, model.encoder[1].out_features) == (0.5, 0.5, 100)
    printed = tinyae("evaluate", run)
    measured = evaluate(model, data.load("optdigits").test.x)
    for label, key in (("corrupted input", "corrupted_squared_error"), ("denoised", "denoised_squared_error")):
        (line,) = [line for line in printed.splitlines() if line.startswith(label)]
        assert line.endswith("squared error per image")
        assert float(line.split()[-5]) == pytest.approx(measured[key], rel=1e-4)
