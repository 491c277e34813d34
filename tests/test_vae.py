"""The variational autoencoder: its bound, gradient and draws, against formulas and quadrature; what a run leaves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, stats

from tinyae import fit, load, losses, models, nn, optim
from tinyae.autodiff import Tensor, grad
from tinyae.cli.main import main
from tinyae.data import Split
from tinyae.models import Batch, Posterior, VariationalAutoencoder, variational_autoencoder
from tinyae.models.variational import LOG_VARIANCE
from tinyae.testing import check_module
from tinyae.training import evaluate

every_likelihood = pytest.mark.parametrize("likelihood", models.LIKELIHOODS)


def small(seed: int = 0, shape=6, **options) -> VariationalAutoencoder:
    """6-5-2-5-6 with smooth units."""
    options = {"sizes": (5,), "latent_size": 2, "activation": "tanh", "sample": "image"} | options
    return variational_autoencoder(shape, generator=np.random.default_rng(seed), **options)


def in_doubles(model: VariationalAutoencoder) -> VariationalAutoencoder:
    """The same weights in float64."""
    model.to(dtype="float64")
    return model


def images(rng: np.random.Generator, n: int = 7, binary: bool = False) -> np.ndarray:
    x = rng.random((n, 6))
    return np.round(x) if binary else x


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.3, -2.0), (-0.4, 1.1), (3.0, -9.0), (0.0, 1e-5)])
def test_the_kl_is_that_of_quadrature(mean, log_variance):
    q, p = stats.norm(mean, np.exp(log_variance / 2)), stats.norm(0, 1)
    low, high = q.ppf(1e-13), q.ppf(1 - 1e-13)
    expected = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), low, high, epsabs=1e-13, limit=200)[0]
    found = float(losses.gaussian_kl(np.array([[mean]]), np.array([[log_variance]])))
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-12)
    assert found >= 0


def test_the_kl_is_summed_over_the_code_and_averaged_over_samples(rng):
    mean, log_variance = rng.standard_normal((2, 5, 3))
    each = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)
    assert float(losses.gaussian_kl(mean, log_variance)) == pytest.approx(each.sum(axis=1).mean())
    tiny = np.full((1, 1), 1e-6, "float32")
    assert float(losses.gaussian_kl(tiny * 0, tiny)) == pytest.approx(2.5e-13, rel=0.5), "digits survive near v = 1"


@every_likelihood
def test_the_loss_is_the_written_out_bound(likelihood, rng):
    model = in_doubles(small(likelihood=likelihood))
    x = images(rng, binary=likelihood == "bernoulli")
    first, second, third, fourth = (m for m in [*model.encoder, *model.decoder] if isinstance(m, nn.Dense))

    def layer(a: np.ndarray, dense: nn.Dense) -> np.ndarray:
        return a @ dense.weight.numpy() + dense.bias.numpy()

    raw = layer(np.tanh(layer(x, first)), second)
    mean, log_variance = raw[:, :2], raw[:, 2:]
    z = mean + np.exp(log_variance / 2) * np.random.default_rng(3).standard_normal((7, 2))
    output = layer(np.tanh(layer(z, third)), fourth)
    expected = -float(np.mean(model.likelihood.log_prob(output, x)))
    kl = 0.5 * np.sum(mean**2 + np.exp(log_variance) - 1 - log_variance) / 7
    model.generator = np.random.default_rng(3)
    loss = model.loss(Tensor(x))
    assert loss.unit == "nats per image"
    assert list(loss.terms) == ["reconstruction", "kl"]
    assert loss.terms["reconstruction"].item() == pytest.approx(expected, rel=1e-4)
    assert loss.terms["kl"].item() == pytest.approx(kl, abs=1e-4)
    assert_allclose(model.encode(x), mean, rtol=1e-6)


@every_likelihood
@pytest.mark.parametrize("extra", [
    {}, {"importance_samples": 3}, *[pytest.param(e, marks=pytest.mark.thorough) for e in ({"beta": 2.5}, {"free_bits": 0.3})],
], ids=str)  # fmt: skip
def test_the_gradient_of_the_whole_bound_at_fixed_noise(likelihood, extra, rng):
    """`check_module` rewinds the generator before each call, so every call sees the same noise."""
    x = Tensor(images(rng, 4, binary=likelihood == "bernoulli"))
    check_module(small(likelihood=likelihood, **extra), call=lambda model: model.loss(x).total, rtol=1e-5)


def test_the_mean_gradient_is_the_gradient_of_the_mean_in_a_linear_gaussian_model():
    """x|z ~ N(W z + b, s^2), q(z|x) = N(A x + c, v): here the bound has a closed form, and so has its gradient.

    E_q[-log p(x|z)] = (|x - W m - b|^2 + sum_jk W_jk^2 v_k) / (2 s^2) + const.
    """
    rng = np.random.default_rng(2)
    scale = 0.7
    encoder, decoder = nn.Dense(4, 4, generator=rng), nn.Dense(2, 4, generator=rng)
    model = VariationalAutoencoder(encoder, decoder, likelihood=small(likelihood="gaussian", scale=scale).likelihood)
    model.to(dtype="float64")
    leaves = model.parameters()
    x = rng.standard_normal((3, 4))
    repeats, draws = 400, []
    for seed in range(60):
        many = Tensor(np.repeat(x, repeats, axis=0))
        loss = model.elbo(Batch(many), np.random.default_rng(seed), 1.0).total
        draws.append(np.concatenate([g.data.ravel() for g in grad(loss, leaves)]))

    q = model.posterior(Tensor(x))
    miss = Tensor(x) - decoder(q.mean)
    weights = decoder.weight  # (K, D)
    spread = (q.std * q.std) @ (weights * weights).sum(axis=1).reshape(2, 1)
    exact = ((miss * miss).sum() + spread.sum()) * (1 / (2 * scale**2 * 3)) + q.kl()
    expected = np.concatenate([g.data.ravel() for g in grad(exact, leaves)])
    error = np.std(draws, axis=0, ddof=1) / np.sqrt(len(draws))
    distance = (np.mean(draws, axis=0) - expected) / np.maximum(error, 1e-12)
    assert np.abs(distance).max() < 4.5
    assert np.sqrt(np.mean(distance**2)) < 1.5, "standard errors, so about 1 each"


def test_beta_warmup_and_free_bits_are_told_apart_from_the_bound(rng):
    x = Tensor(images(rng).astype("float32"))
    plain = small().elbo(Batch(x), np.random.default_rng(1))
    model = small(beta=4.0, warmup=3)
    model.begin_epoch(1, Batch(x))
    assert model.kl_weight == 1.0
    loss = model.elbo(Batch(x), np.random.default_rng(1), 4.0)
    kl = plain.terms["kl"].item()
    assert float(loss.measured["kl"][0]) == pytest.approx(kl)
    assert loss.terms["weighted kl"].item() == pytest.approx(4 * kl, rel=1e-5)
    assert loss.item() == pytest.approx(plain.terms["reconstruction"].item() + 4 * kl, rel=1e-5)
    weights = []
    for epoch in range(1, 6):
        model.begin_epoch(epoch, Batch(x))
        weights.append(model.kl_weight)
    assert weights == [1.0, 2.0, 3.0, 4.0, 4.0]
    free = small(free_bits=0.2)
    each = free.posterior(x).kl(reduction="none").data.mean(axis=0)
    charged = free.elbo(Batch(x), np.random.default_rng(1), 1.0).terms["weighted kl"].item()
    assert charged == pytest.approx(np.maximum(each, 0.2).sum(), rel=1e-5)


def test_evaluation_uses_the_full_beta(rng):
    x = images(rng, 50).astype("float32")
    model = small(beta=2.0, warmup=9)
    model.begin_epoch(1, Batch(x))
    scores = evaluate(model, x, batch_size=20)
    assert scores["weighted kl"] == pytest.approx(2 * scores["kl"], rel=1e-5)
    assert scores["loss"] == pytest.approx(scores["reconstruction"] + 2 * scores["kl"], rel=1e-5)


def test_free_bits_are_those_of_the_whole_set(rng):
    """The mean KL of a dimension is over all samples evaluated, not over a batch of them."""
    x, model = images(rng, 50).astype("float32"), small(beta=2.0, free_bits=0.05)
    each = model.posterior(x).kl(reduction="none").mean(axis=0, dtype=float)
    for batch_size in (1, 50):
        scores = evaluate(model, x, batch_size=batch_size)
        assert scores["weighted kl"] == pytest.approx(2 * np.maximum(each, 0.05).sum(), rel=1e-5)
        assert scores["loss"] == pytest.approx(scores["reconstruction"] + scores["weighted kl"], rel=1e-6)


@pytest.mark.parametrize("beta", [1e-2, 1e-6, 1e-8, 1e-20])
@pytest.mark.parametrize("free_bits", [0.0, 1e-3])
def test_the_gradient_of_the_kl_has_the_weight_beta(beta, free_bits, rng):
    """However small: the gradient of everything but the reconstruction is beta times that of the plain KL."""
    x = Tensor(images(rng).astype("float32"))

    def kl_gradient(beta):
        model = small(beta=beta, free_bits=free_bits)
        terms = model.loss(x, generator=np.random.default_rng(1)).terms
        sum(term for name, term in terms.items() if name != "reconstruction").backward()
        return model.encoder.parameters()[-1].grad.numpy().astype(float)

    np.testing.assert_allclose(kl_gradient(beta) / beta, kl_gradient(1.0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("raw", [-1e4, -50.0, 50.0, 1e4])
def test_any_encoder_output_gives_finite_terms(raw):
    output = Tensor(np.array([[0.5, raw]], "float32"), requires_grad=True)
    posterior = Posterior.from_output(output)
    assert LOG_VARIANCE[0] - 1e-4 <= posterior.log_variance.item() <= LOG_VARIANCE[1] + 1e-4
    assert np.isfinite(posterior.kl().item())
    assert np.isfinite(grad(posterior.kl(), [output])[0].data).all()


def test_samples_and_the_manifold_are_decodings():
    model = small(shape=(2, 3, 1))
    z = np.random.default_rng(8).standard_normal((5, 2), dtype=np.float32)
    assert_array_equal(model.sample(5, np.random.default_rng(8)), model.decode(z))
    pixels = model.sample(5, np.random.default_rng(8), pixels=True)
    assert pixels.shape == (5, 2, 3, 1)
    assert set(np.unique(pixels)) <= {0.0, 1.0}
    grid = model.decode(models.latent_grid(3, 2)).reshape(3, 3, 2, 3, 1)
    mark = stats.norm.ppf(5 / 6)
    # The first number grows to the right, the second upwards.
    corner = model.decode(np.array([[-mark, mark]], "float32"))[0]
    assert_allclose(grid[0, 0], corner, rtol=1e-5)
    assert_allclose(grid[1, 1], model.decode(np.zeros((1, 2), "float32"))[0], rtol=1e-5)


def test_reconstruction_uses_the_mean_and_draws_nothing(rng):
    model, x = small(), images(rng).astype("float32")
    assert_array_equal(model.reconstruct(x), model.decode(model.encode(x)))
    posterior = model.posterior(x, batch_size=3)
    assert_allclose(posterior.mean, model.posterior(Tensor(x)).mean.data, rtol=1e-5, atol=1e-6)
    assert_allclose(posterior.std, np.exp(posterior.log_variance / 2), rtol=1e-5)


def test_active_numbers_and_collapse():
    rng = np.random.default_rng(0)
    mean = np.stack([rng.standard_normal(500), 0.05 * rng.standard_normal(500), np.full(500, 3.0)], axis=1)
    report = models.LatentReport.of(Posterior(mean, np.zeros((500, 3))), "image")
    assert report.active == 1
    assert list(report.in_use) == [True, False, False]
    assert report.kl[2] == pytest.approx(4.5)
    assert report.warning is None
    assert "1 of 3 latent dimensions active" in str(report)
    faint = models.LatentReport.of(Posterior(0.2 * mean[:, :1], np.zeros((500, 1))), "image")
    assert (faint.active, faint.kl.sum() < 0.1) == (1, True)
    assert "1 of 1 latent dimensions are active" in faint.warning
    collapsed = models.LatentReport.of(Posterior(0 * mean, np.zeros((500, 3))), "image")
    for word in ("posterior collapse: 0 of 3", "usual cause", "warmup=10", "free_bits=0.1", "smaller beta"):
        assert word in collapsed.warning


def test_a_collapse_is_seen_and_free_bits_prevent_it(rng):
    x = np.repeat(rng.random((10, 6)), 10, axis=0).astype("float32")

    def remarks(**options) -> list[str]:
        model = small(**options)
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        fit(model, x, epochs=25, batch_size=20, optimizer=optimizer, progress=False)
        return model.report(Split(x))

    assert remarks(beta=20.0)[-1].startswith("warning: posterior collapse: 0 of 2")
    assert not any("warning" in line for line in remarks(beta=20.0, free_bits=2.0))


def test_dynamic_binarization_draws_anew_and_the_unit_says_so(rng):
    x = rng.random((4000, 6)).astype("float32")
    model = small(likelihood="bernoulli", binarize="dynamic")
    assert model.loss_unit == "nats per dynamically binarized image"
    seen, target = model.presented(Batch(Tensor(x)), np.random.default_rng(0))
    again, _ = model.presented(Batch(Tensor(x)), np.random.default_rng(1))
    assert seen is target
    assert set(np.unique(seen.data)) == {0.0, 1.0}
    assert (seen.data != again.data).any()
    assert_allclose(seen.data.mean(axis=0), x.mean(axis=0), atol=0.04)
    model.reconstruction.check_targets(x)
    assert evaluate(model, x[:50])["loss"] > 0


def test_fixed_binarization_is_one_draw(rng):
    x = rng.random((50, 6)).astype("float32")
    model = small(likelihood="bernoulli", binarize="fixed")
    assert model.loss_unit == "nats per statically binarized image"
    black_and_white = model.batch(Split(x)).x
    assert_array_equal(black_and_white, model.batch(Split(x)).x)
    assert set(np.unique(black_and_white)) == {0.0, 1.0}
    seen, target = model.presented(Batch(Tensor(black_and_white), Tensor(x)), np.random.default_rng(0))
    assert_array_equal(seen.data, target.data)
    history = fit(model, x, x, epochs=1, progress=False)
    assert np.isfinite(history["validation_loss"]).all()


def test_a_nan_is_reported_with_the_term_its_value_and_the_usual_cause(rng):
    model = small(likelihood="gaussian")
    x = (1e4 * rng.random((40, 6))).astype("float32")
    model.encoder[0].weight.data[...] = 1e30
    model.encoder[1].weight.data[...] = 1e30
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(FloatingPointError) as caught:
        fit(model, x, epochs=1, batch_size=10, progress=False)
    told = str(caught.value)
    assert "the first step to go wrong had reconstruction" in told
    assert "kl inf nats per image" in told
    assert "became NaN or infinite" in told
    assert "usually because the learning rate is too large" in told


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a code of two numbers, one epoch."""
    folder = tmp_path_factory.mktemp("vae") / "run"
    assert (
        main([*["train", "vae", "--data", "optdigits", "--epochs", "1", "--latent-size", "2", "--out"], str(folder)])
        == 0
    )
    return folder


def test_a_run_leaves_every_picture(run, tinyae):
    names = {path.name for path in run.glob("*.png")}
    assert names >= {
        "samples.png", "manifold.png", "interpolation.png", "kl.png", "aggregate_posterior.png", "codes.png",
        "reconstructions.png", "loss.png",
    }  # fmt: skip
    told = tinyae("evaluate", run)
    for words in ("KL", "reconstruction", "likelihood gray-bce: cross-entropy of gray levels, not a log-l", "code: "):
        assert words in told


def test_sample_writes_pictures_and_arrays(run, tmp_path, tinyae, pictured):
    assert "5 images, seed 3" in tinyae("sample", run, "-n 5 --seed 3 --out s.npy")
    assert_array_equal(np.load("s.npy"), load(run).sample(5, np.random.default_rng(3)))
    tinyae("sample", run, "-n 4 --pixels --out s.png")
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_sampled_is_explained(tinyae, refused):
    tinyae("train basic --data optdigits --epochs 1 --out basic")
    assert "has no prior to sample from" in refused("sample basic")
    assert "leave --importance-samples out" in refused("evaluate basic --importance-samples 5")
    gaussian = "--likelihood gaussian --scale 0.3 --kl-warmup 2 --free-bits 0.1"
    tinyae("train vae --data pendigits --epochs 1 --out vectors", gaussian)
    assert "give --out a name that ends in .npy" in refused("sample vectors --out v.png")
    tinyae("sample vectors --out v.npy")
