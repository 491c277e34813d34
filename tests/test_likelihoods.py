"""Likelihoods against scipy.stats, and against what a density must do: integrate to 1, and have the mean it says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, special, stats

from tinyae import losses
from tinyae.autodiff import Tensor, grad
from tinyae.backend import Backend
from tinyae.models.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    ContinuousBernoulli,
    ElementGaussian,
    Gaussian,
    GrayLevelCrossEntropy,
    ScaledGaussian,
    likelihood_named,
    soft_clip,
)
from tinyae.testing import gradcheck

every_likelihood = pytest.mark.parametrize("name", LIKELIHOODS)
LOGITS = [-40.0, -5.0, -0.6, -0.4, -1e-3, -1e-9, 0.0, 1e-6, 0.2, 0.499, 0.501, 3.0, 40.0]
GRAYS = np.array([0.0, 0.2, 0.7, 1.0])


def output_for(name: str, rng: np.random.Generator, shape: tuple[int, ...] = (5, 3, 2)) -> np.ndarray:
    """What a decoder might give for samples of `shape`."""
    outputs = likelihood_named(name).outputs
    return rng.standard_normal((*shape[:-1], shape[-1] * outputs))


def samples_for(name: str, rng: np.random.Generator, shape: tuple[int, ...] = (5, 3, 2)) -> np.ndarray:
    """Samples that the likelihood allows."""
    x = rng.random(shape)
    return np.round(x) if name == "bernoulli" else x


def scipy_log_prob(name: str, likelihood, output: np.ndarray, x: np.ndarray) -> np.ndarray:
    """log p(x|z) per element, from SciPy's distributions."""
    if name == "bernoulli":
        return stats.bernoulli.logpmf(x, special.expit(output))
    if name == "gray-bce":
        p = special.expit(output)
        return x * np.log(p) + (1 - x) * np.log(1 - p)
    if name == "continuous-bernoulli":
        # x has the density of an exponential variable cut off at 1, mirrored where the logit is positive.
        size = np.abs(output)
        return stats.truncexpon.logpdf(np.where(output > 0, 1 - x, x), b=size, scale=1 / size)
    if name == "gaussian":
        return stats.norm.logpdf(x, output, 0.1)
    if name == "gaussian-scalar":
        return stats.norm.logpdf(x, output, np.exp(bounded(likelihood.log_scale.numpy())))
    half = output.shape[-1] // 2
    return stats.norm.logpdf(x, output[..., :half], np.exp(bounded(output[..., half:])))


def bounded(raw: np.ndarray) -> np.ndarray:
    """The log of a scale kept between 0.01 and 1000, by the formula."""
    low, high = np.log(0.01), np.log(1000.0)
    return low + np.logaddexp(0, high - low - np.logaddexp(0, high - raw))


@every_likelihood
def test_log_probabilities_are_scipys_summed_over_the_sample(name, rng):
    likelihood = likelihood_named(name)
    output, x = output_for(name, rng), samples_for(name, rng)
    likelihood.to(dtype="float64")
    expected = scipy_log_prob(name, likelihood, output, x).reshape(5, -1)
    tensors = likelihood.log_prob(Tensor(output), Tensor(x))
    assert tensors.shape == (5,)
    assert_allclose(tensors.data, expected.sum(axis=1), rtol=1e-6)
    assert_allclose(likelihood.log_prob(output, x), expected.sum(axis=1), rtol=1e-6)
    assert_allclose(likelihood.nats(Tensor(output), Tensor(x)).data, -expected.sum() / 5, rtol=1e-6)
    assert_allclose(likelihood.nats(Tensor(output), Tensor(x), reduction="mean").data, -expected.mean(), rtol=1e-6)


@every_likelihood
def test_its_gradient_is_right(name, rng):
    likelihood = likelihood_named(name)
    x = Tensor(samples_for(name, rng))
    gradcheck(lambda output: likelihood.log_prob(output, x), [output_for(name, rng)], order=2)


@pytest.mark.parametrize("z", LOGITS)
def test_the_continuous_bernoulli_integrates_to_one_and_has_its_moments(z):
    def density(x: float) -> float:
        return float(np.exp(-losses.continuous_bernoulli_nll(np.array([[z]]), np.array([[x]]))))

    def moment(power: int) -> float:
        points = None if abs(z) < 1 else [min(1.0, 5 / abs(z)), max(0.0, 1 - 5 / abs(z))]
        return integrate.quad(lambda x: x**power * density(x), 0, 1, points=points, epsabs=1e-13)[0]

    assert moment(0) == pytest.approx(1, rel=1e-12)
    mean = float(losses.continuous_bernoulli_mean(np.array(z)))
    assert mean == pytest.approx(moment(1), rel=1e-10)
    variance = float(losses.continuous_bernoulli_variance(Tensor(np.array(z))).data)
    assert variance == pytest.approx(integrate.quad(lambda x: (x - mean) ** 2 * density(x), 0, 1)[0], rel=1e-7)


def test_it_is_smooth_where_the_series_meets_the_closed_form():
    z = np.linspace(-0.51, 0.51, 20001)
    for function in (losses.continuous_bernoulli_log_norm, losses.continuous_bernoulli_mean):
        steps = np.diff(function(z))
        assert np.abs(np.diff(steps)).max() < 1e-9, "no jump at +-0.5"
    third = grad(losses.continuous_bernoulli_variance(t := Tensor(np.array([0.3]), requires_grad=True)).sum(), [t])[0]
    h = 1e-4
    ends = [float(losses.continuous_bernoulli_variance(Tensor(np.array(0.3 + s * h))).data) for s in (1, -1)]
    assert third.data[0] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5)


@pytest.mark.parametrize("z", [-1e3, -88.0, 88.0, 1e3])
def test_huge_logits_stay_finite_in_float32(z):
    logits = Tensor(np.full((1, 4), z, "float32"), requires_grad=True)
    x = Tensor(GRAYS[None].astype("float32"))
    for likelihood in (GrayLevelCrossEntropy(), ContinuousBernoulli()):
        value = likelihood.nats(logits, x)
        assert value.dtype == np.float32
        assert np.isfinite(value.data)
        assert np.isfinite(grad(value, [logits])[0].data).all()
    assert losses.continuous_bernoulli_mean(logits).data[0, 0] == pytest.approx(float(z > 0), abs=0.02)


@every_likelihood
def test_draws_have_the_mean_and_the_log_probability_that_it_states(name, device: Backend):
    likelihood = likelihood_named(name).to(device.name)
    output = np.repeat(output_for(name, np.random.default_rng(4), (1, 2, 3)), 40_000, axis=0).astype("float32")
    on_device = device.to_device(output)
    draws = device.to_host(likelihood.sample(on_device, np.random.default_rng(1)))
    assert draws.dtype == np.float32
    mean = device.to_host(likelihood.mean(Tensor(on_device)).data)[0]
    error = draws.std(axis=0) / np.sqrt(len(draws)) + 1e-6
    assert (np.abs(draws.mean(axis=0) - mean) < 4.5 * error).all()
    again = device.to_host(likelihood.sample(on_device, np.random.default_rng(1)))
    assert_allclose(again, draws)


def test_continuous_bernoulli_draws_follow_the_distribution():
    z = 2.5
    draws = ContinuousBernoulli().sample(np.full((20_000, 1), z), np.random.default_rng(0)).ravel()
    assert stats.kstest(1 - draws, stats.truncexpon(b=z, scale=1 / z).cdf).pvalue > 0.001
    flat = ContinuousBernoulli().sample(np.zeros((20_000, 1)), np.random.default_rng(0)).ravel()
    assert stats.kstest(flat, stats.uniform.cdf).pvalue > 0.001


def test_gray_levels_have_no_bernoulli_probability():
    """The mistake by its name: exp(-cross-entropy) of a gray level does not integrate to 1."""
    z = 0.3

    def weight(x: float) -> float:
        return float(np.exp(-losses.bce_with_logits(np.array([[z]]), np.array([[x]]))))

    total = integrate.quad(weight, 0, 1)[0]
    assert total == pytest.approx(np.exp(float(losses.continuous_bernoulli_log_norm(np.array(z)))) / (1 + np.exp(z)))
    assert total < 0.52
    with pytest.raises(ValueError, match="black-and-white images, got 50% of the values"):
        Bernoulli().check_targets(GRAYS)
    Bernoulli().check_targets(np.round(GRAYS))
    GrayLevelCrossEntropy().check_targets(GRAYS)
    assert "not a log-likelihood" in GrayLevelCrossEntropy.meaning


def test_a_learned_scale_finds_the_root_mean_squared_error(rng):
    likelihood = ScaledGaussian()
    x = Tensor(rng.standard_normal((200, 5)).astype("float32"))
    mean = Tensor(x.data + 0.37 * rng.standard_normal((200, 5)).astype("float32"))
    for _ in range(300):
        (gradient,) = grad(likelihood.nats(mean, x, reduction="mean"), [likelihood.log_scale])
        likelihood.log_scale.data = likelihood.log_scale.data - 0.3 * gradient.data
    _, log_scale = likelihood.split(mean)
    assert np.exp(log_scale.data[0]) == pytest.approx(np.sqrt(np.mean((x.data - mean.data) ** 2)), rel=1e-3)


@pytest.mark.parametrize("scale", [0.0101, 0.02, 0.1, 1.0, 30.0, 999.0])
def test_a_learned_scale_starts_at_what_was_asked(scale):
    likelihood = ScaledGaussian(scale)
    assert np.exp(bounded(likelihood.log_scale.numpy().astype("float64")))[0] == pytest.approx(scale, rel=1e-4)
    assert np.exp(likelihood.split(Tensor([0.0]))[1].item()) == pytest.approx(scale, rel=1e-4)


@pytest.mark.parametrize("name", ["bernoulli", "gray-bce", "continuous-bernoulli"])
@pytest.mark.parametrize("bad", [[-0.1, 0.5], [0.0, 255.0]], ids=str)
def test_values_outside_the_range_are_refused_with_their_range(name, bad):
    words = rf"needs values in \[0, 1\], got values from {bad[0]:g} to {bad[1]:g}.*gaussian"
    with pytest.raises(ValueError, match=words):
        likelihood_named(name).as_reconstruction().check_targets(np.array(bad))


@pytest.mark.parametrize(("make", "words"), [
    (lambda: likelihood_named("bce"), "unknown likelihood 'bce': choose one of gray-bce"),
    *[(lambda scale=scale: Gaussian(scale), "scale must be above 0") for scale in (0.0, -1.0, np.inf)],
    (lambda: ElementGaussian(floor=0.0), "floor must be"),
    *[(lambda scale=scale: ScaledGaussian(scale), rf"between the floor 0.01 and 1000, got {scale}: .*lower the floor")
      for scale in (0.005, 0.01, 1000.0)],
    (lambda: Gaussian().nats(np.zeros((2, 3)), np.zeros((2, 4))), "equal"),
])  # fmt: skip
def test_wrong_arguments_are_explained(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_keep_between_stays_inside_and_keeps_its_gradient():
    raw = Tensor(np.array([-35.0, -30.0, 0.0, 5.0, 25.0]), requires_grad=True)
    kept = soft_clip(raw, -20.0, 10.0)
    assert ((kept.data >= -20) & (kept.data <= 10 + 1e-12)).all()
    assert kept.data[2] == pytest.approx(0, abs=1e-4)
    slope = grad(kept.sum(), [raw])[0].data
    assert (slope > 0).all()
    assert slope[2] == pytest.approx(1, abs=1e-4)
