"""The importance-weighted bound, where the true log-likelihood is known, and how it grows with the number of codes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.test_vae import small
from tinyae import fit, models, nn
from tinyae.autodiff import Tensor, grad
from tinyae.models import Batch, VariationalAutoencoder, log_likelihood
from tinyae.models.likelihoods import Gaussian
from tinyae.models.variational import log_weights
from tinyae.training import evaluate

SCALE = 0.8


def linear_gaussian(exact: bool, rng: np.random.Generator) -> tuple[VariationalAutoencoder, stats.rv_continuous]:
    """A model with p(x) = N(b, W'W + s^2 I) known, and a posterior that is the true one, or one that is too wide.

    The rows of W are orthogonal, so the true posterior has a diagonal covariance: v_k = 1 / (1 + |w_k|^2 / s^2) and
    mean v_k w_k (x - b) / s^2.
    """
    weights = stats.ortho_group.rvs(4, random_state=3)[:2] * np.array([[1.5], [0.7]])  # (K, D)
    offset = rng.standard_normal(4)
    model = VariationalAutoencoder(nn.Dense(4, 4), nn.Dense(2, 4), likelihood=Gaussian(SCALE), sample="image")
    model.to(dtype="float64")
    variance = 1 / (1 + (weights**2).sum(axis=1) / SCALE**2)
    gain = weights.T * variance / SCALE**2
    wider = 0.0 if exact else 1.0
    model.encoder.weight.data[...] = np.concatenate([gain, np.zeros((4, 2))], axis=1)
    model.encoder.bias.data[...] = np.concatenate([-offset @ gain, np.log(variance) + wider])
    model.decoder.weight.data[...] = weights
    model.decoder.bias.data[...] = offset
    return model, stats.multivariate_normal(offset, weights.T @ weights + SCALE**2 * np.eye(4))


@pytest.mark.parametrize("k", [1, 3, 100])
def test_with_the_true_posterior_every_code_gives_the_true_likelihood(k, rng):
    model, truth = linear_gaussian(True, rng)
    x = truth.rvs(6, random_state=1)
    np.testing.assert_allclose(log_likelihood(model, x, k), truth.logpdf(x), atol=2e-4)


def test_with_another_posterior_the_bound_closes_as_k_grows(rng):
    model, truth = linear_gaussian(False, rng)
    x = truth.rvs(300, random_state=1)
    gaps = [
        float(np.mean(truth.logpdf(x) - log_likelihood(model, x, k, generator=np.random.default_rng(4))))
        for k in (1, 5, 50)
    ]
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0
    np.testing.assert_allclose(log_likelihood(model, x[:20], 5000), truth.logpdf(x[:20]), atol=0.1)


def test_the_weights_are_the_densities_written_out(rng):
    model, _ = linear_gaussian(False, rng)
    x = Tensor(rng.standard_normal((3, 4)))
    q = model.posterior(x)
    found = log_weights(model, q, x, 5, np.random.default_rng(9)).data
    z = q.mean.data + q.std.data * np.random.default_rng(9).standard_normal((5, 3, 2))
    output = z @ model.decoder.weight.data + model.decoder.bias.data
    expected = (
        stats.norm.logpdf(x.data, output, SCALE).sum(axis=2)
        + stats.norm.logpdf(z).sum(axis=2)
        - stats.norm.logpdf(z, q.mean.data, q.std.data).sum(axis=2)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_each_code_counts_by_its_share_of_the_weights(rng):
    """d log mean w / d theta = sum of w_i / sum(w) * d log w_i / d theta."""
    model = small(likelihood="gaussian", importance_samples=4).to(dtype="float64")
    x = Tensor(rng.random((1, 6)))
    bias = model.decoder[-1].bias
    (found,) = grad(model.objective(Batch(x), generator=np.random.default_rng(2)).total, [bias])
    weights = log_weights(model, model.posterior(x), x, 4, np.random.default_rng(2))
    each = [grad(weights[i].sum(), [bias])[0].data for i in range(4)]
    shares = np.exp(weights.data[:, 0] - weights.data.max())
    shares /= shares.sum()
    np.testing.assert_allclose(found.data, -sum(s * g for s, g in zip(shares, each, strict=True)), rtol=1e-6)


def test_one_code_is_the_elbo_on_average(rng):
    x = Tensor(np.repeat(rng.random((3, 6)), 3000, axis=0).astype("float32"))
    one, elbo = small(importance_samples=1), small()
    bound = one.objective(Batch(x), generator=np.random.default_rng(0)).item()
    assert bound == pytest.approx(elbo.objective(Batch(x), generator=np.random.default_rng(1)).item(), abs=0.02)


def test_of_a_conditional_model_it_is_the_likelihood_given_the_class(rng):
    """x = z w + offset of the class + noise: p(x|class) is N(offset, w'w + s^2 I), whatever the encoder says."""
    encoder, decoder = nn.Dense(2 + 3, 2, generator=rng), nn.Dense(1 + 3, 2)
    model = models.ConditionalVariationalAutoencoder(encoder, decoder, 3, likelihood=Gaussian(SCALE))
    model.to(dtype="float64")
    offsets = rng.standard_normal((3, 2))
    decoder.weight.data[...] = np.concatenate([[[1.2, -0.5]], offsets])
    decoder.bias.data[...] = 0.0
    x, labels = rng.standard_normal((12, 2)), np.arange(12) % 3
    covariance = np.outer([1.2, -0.5], [1.2, -0.5]) + SCALE**2 * np.eye(2)
    truth = stats.multivariate_normal(np.zeros(2), covariance).logpdf(x - offsets[labels])
    np.testing.assert_allclose(log_likelihood(model, x, 20_000, labels=labels), truth, atol=0.2)
    with pytest.raises(ValueError, match="needs a class for each sample"):
        log_likelihood(model, x, 10)


def test_memory_is_bounded_and_the_estimate_does_not_depend_on_the_bound(rng):
    model, truth = linear_gaussian(False, rng)
    x = truth.rvs(7, random_state=1)
    sizes = []
    decoder = model.decoder

    class Watched(nn.Module):
        in_features = 2

        def forward(self, z: Tensor) -> Tensor:
            sizes.append(len(z))
            return decoder(z)

    model.decoder = Watched()
    some = log_likelihood(model, x, 2000, rows=300)
    assert max(sizes) <= 300
    assert sum(sizes) == 7 * 2000
    model.decoder = decoder
    np.testing.assert_allclose(some, log_likelihood(model, x, 2000, rows=100_000), atol=0.15)
    np.testing.assert_array_equal(log_likelihood(model, x, 10), log_likelihood(model, x, 10))


def test_it_trains_is_measured_and_says_what_it_is(rng):
    x = rng.random((60, 6)).astype("float32")
    model = small(likelihood="bernoulli", binarize="dynamic", importance_samples=4)
    assert isinstance(model, models.ImportanceWeightedAutoencoder)
    history = fit(model, x, x, epochs=2, batch_size=20, progress=False)
    assert history["train_loss"][1] < history["train_loss"][0]
    assert evaluate(model, x).keys().isdisjoint({"kl", "reconstruction"})
    assert "importance_samples=4" in repr(model)
    assert model.loss_unit == "nats per dynamically binarized image"


def test_an_estimate_from_no_sample_is_refused(rng):
    with pytest.raises(ValueError, match="importance_samples must be a whole number"):
        log_likelihood(small(), rng.random((2, 6)), 0)


def test_the_command_line_names_all_that_a_number_depends_on(tinyae):
    how = "--likelihood bernoulli --binarize dynamic --importance-samples 3"
    told = tinyae("train vae --data optdigits --epochs 1 --sizes 16 --latent-size 2 --out run", how)
    assert "nats per dynamically binarized image" in told
    line = tinyae("evaluate run --importance-samples 20 --first 30").splitlines()[-1]
    assert line.startswith("-log p(x) of 30 test images by k = 20 importance samples")
    assert "nats per dynamically binarized image, likelihood bernoulli, seed 0" in line
