"""The variational autoencoder: the code is a distribution, and the loss bounds the log-probability of the data.

The two terms of the bound sum over pixels and over latent dimensions; both are in nats per sample. "Sum or mean?" has one
answer: sum both, then average over the batch. Any other choice changes beta: means over pixels and latent dimensions
amount to beta = 784/20 = 39.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Annotated, Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator, backend_named, backend_of
from tinyae.checks import check_kind, whole_number
from tinyae.data import Split
from tinyae.losses import Loss, gaussian_kl, unit
from tinyae.models.autoencoder import Autoencoder, Batch, check_samples, in_batches, remembered
from tinyae.models.dense import NORMALIZATIONS, Shape, check_normalization, dense_layers, normalized, sample_shape
from tinyae.models.likelihoods import (
    BINARIZATIONS,
    LIKELIHOODS,
    Likelihood,
    binarized,
    check_binarize,
    fixed_binarization,
    likelihood_named,
    soft_clip,
)
from tinyae.models.settings import check_weight, defaults, passes_on, split
from tinyae.nn import Flatten, Module, Reshape, Sequential
from tinyae.nn.layers import check_size
from tinyae.ops.linear import ACTIVATIONS


class VariationalAutoencoder(Autoencoder):
    """An autoencoder with Gaussian codes (Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014).

    q(z|x) = N(m(x), diag v(x)),   z = m + sqrt(v) * noise,
    loss = E_q[-log p(x|z)] + KL(q(z|x) || N(0, I)) >= -log p(x)     (the negative ELBO, nats per sample)

    Args:
        encoder: any module from x (N, ...) to (N, 2 K): K means, then K log-variances (kept in a safe range).
        decoder: any module from codes (N, K) to what the likelihood needs: x's shape, with a last axis
            `likelihood.outputs` times as long.
        likelihood: p(x|z): a name in `LIKELIHOODS` or an object.
        scale: standard deviation of a "gaussian" likelihood, in the unit of the data; by default 0.1.
        beta: weight of the KL in the objective, at least 0 (Higgins et al. 2017); 1 is the bound.
        warmup: epochs over which the weight of the KL grows linearly to beta (Bowman et al. 2016); 0 for none.
        free_bits: nats per latent dimension that are free (Kingma et al. 2016): a dimension whose mean KL over
            the batch is lower counts as this. The name is that of the paper; the unit is nats.
        binarize: turn gray levels into black and white, for the "bernoulli" likelihood: "dynamic", at random each time;
            "fixed", once. A pixel of gray level x becomes white with probability x.
        generator: for the noise; None draws fresh entropy.
        settings: as for `Autoencoder`.

    Attributes:
        generator: for the noise; to repeat a run exactly, a checkpoint needs its state (as with `Dropout`).
        kl_weight: current weight of the KL in training mode; `begin_epoch` sets it.

    The terms of `loss` are "reconstruction" and "kl". With beta, warm-up or free bits the second is "weighted kl", what they
    make of the KL, which then is only measured. `loss` draws one code per sample in any mode. `encode` returns the posterior
    mean and `reconstruct` decodes it; neither draws.
    """

    classes: int | None = None
    """Number of classes of a class-conditional model, else None."""

    changes_in_training = ("kl_weight",)

    @passes_on(Autoencoder, without=("loss",))
    def __init__(
        self,
        encoder: Module,
        decoder: Module,
        *,
        likelihood: Annotated[str, tuple(LIKELIHOODS)] | Likelihood = "gray-bce",
        scale: float | None = None,
        beta: float = 1.0,
        warmup: int = 0,
        free_bits: float = 0.0,
        binarize: Annotated[str, BINARIZATIONS] = "none",
        generator: np.random.Generator | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(encoder, decoder, loss="bce", **settings)
        if isinstance(likelihood, Likelihood) and scale is not None:
            raise ValueError(f"{likelihood} has its own scale, got scale={scale!r} too: leave one of them out.")
        self.likelihood = likelihood_named(likelihood, scale=scale) if isinstance(likelihood, str) else likelihood
        self.binarize = check_binarize(binarize, self.likelihood)
        self.reconstruction = self.likelihood.as_reconstruction()
        if binarize != "none":  # the targets are gray levels, from which black and white are drawn
            self.reconstruction = likelihood_named("gray-bce").as_reconstruction()
        self.beta = check_weight("beta", beta, "1 is the bound, 4 a beta-VAE")
        self.free_bits = check_weight("free_bits", free_bits, "0.1 nats per latent dimension is a usual value")
        self.warmup = whole_number("warmup", warmup, at_least=0, advice="write warmup=10, in epochs")
        self.kl_weight = self.beta
        self.generator = as_generator(generator)
        how = {"none": "", "dynamic": "dynamically binarized ", "fixed": "statically binarized "}[binarize]
        self.loss_unit = unit("nats", "per_sample", how + self.sample_name)

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The negative ELBO of a batch; the weight of the KL is `kl_weight` in training mode, beta in evaluation mode."""
        weight = self.kl_weight if self.training else self.beta
        return self.elbo(batch, self.generator if generator is None else generator, weight)

    def elbo(self, batch: Batch, generator: np.random.Generator, weight: float = 1.0) -> Loss:
        """Reconstruction and KL in nats per sample, from one code per sample, with a weight and free bits.

        reconstruction + weight * sum over latent dimensions of max(mean KL of the dimension, free bits)
        """
        x, target = self.presented(batch, generator)
        q = self.posterior(x)
        output = self.decoder(q.given(q.sample(generator)))
        reconstruction, kl = self.likelihood.nats(output, target), q.kl()
        if not self.free_bits and weight == 1.0:
            return Loss({"reconstruction": reconstruction, "kl": kl}, self.loss_unit)
        each = q.kl(reduction="none") if self.free_bits else None

        def charged(mean: Any) -> Any:
            return weight * ops.sum(ops.maximum(mean, self.free_bits))

        weighted = weight * kl if each is None else charged(ops.mean(each, axis=0))
        loss = Loss({"reconstruction": reconstruction, "weighted kl": weighted}, self.loss_unit)
        loss.measured["kl"] = (kl.data, self.loss_unit)
        if each is not None:
            loss.of_mean["weighted kl"] = (each.data, charged)
        return loss

    def presented(self, batch: Batch, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Input of the encoder and target of the decoder; with dynamic binarization both are the same random draw."""
        if self.binarize == "dynamic":
            x = Tensor(binarized(batch.x.data, generator))
            return x, x
        return batch.x, batch.x if self.binarize == "fixed" else batch.target

    def batch(self, samples: Split) -> Batch:
        """Samples; with fixed binarization x is their black-and-white version, the same at every call."""
        batch = super().batch(samples)
        return replace(batch, x=fixed_binarization(samples.x)) if self.binarize == "fixed" else batch

    # The model.

    def posterior(self, x: Any, batch_size: int = 1024) -> Posterior:
        """q(z|x) of x (N, ...): Tensors for a Tensor, arrays for a host array (in batches, in evaluation mode)."""
        x = x.x if isinstance(x, Batch) else x
        if isinstance(x, Tensor):
            output, k = self.encoder(x), self.code_size
            if output.ndim != 2 or output.shape[1] != 2 * k:
                raise ValueError(
                    f"the encoder must output (N, {2 * k}), {k} means and as many log-variances for the decoder's codes of {k}, "
                    f"got {output.shape}: end it with Dense(..., {2 * k})."
                )
            return Posterior.from_output(output)

        def both(v: Tensor) -> Tensor:
            q = self.posterior(v)
            return ops.concatenate(q.mean, q.log_variance, axis=1)

        return Posterior(*np.split(self._apply(both, self._samples(x), batch_size), 2, axis=1))

    def encode(self, x: Any, batch_size: int = 1024) -> Any:
        """Posterior means (N, K) of x (N, ...)."""
        return self.posterior(x, batch_size).mean

    def forward(self, x: Tensor) -> Tensor:
        """The decoder's raw output for the posterior mean of x."""
        q = self.posterior(x)
        return self.decoder(q.given(q.mean))

    def begin_epoch(self, number: int, train: Batch) -> None:
        """Set `kl_weight` for the epoch `number` (from 1): beta * number / (warmup + 1), at most beta."""
        self.kl_weight = self.beta * min(1.0, number / (self.warmup + 1))

    @property
    def objective_changes(self) -> bool:
        """True with warm-up of the KL."""
        return self.warmup > 0

    # Generating samples.

    def sample(self, n: int, generator: np.random.Generator | None = None, *, pixels: bool = False) -> np.ndarray:
        """n new samples (n, ...): z ~ N(0, I), then E[x|z], or with `pixels` a draw from p(x|z).

        `generator` replaces the model's own, from which training draws.
        """
        n, pixels = check_size("sample", "n", n), check_kind("sample: pixels", pixels, bool)
        rng = self.generator if generator is None else as_generator(generator)
        z = rng.standard_normal((n, self.code_size), dtype=np.float32)
        if not pixels:
            return self.decode(z)
        return self._apply(lambda c: Tensor(self.likelihood.sample(self.decoder(c), rng)), z, 1024)

    @property
    def code_size(self) -> int:
        """K, the input size of the decoder's first layer."""
        for _, module in self.decoder.named_modules():
            for name in ("in_features", "in_channels", "input_size"):
                if hasattr(module, name):
                    return int(getattr(module, name))
        raise ValueError(
            f"the code size is the in_features of the decoder, got {type(self.decoder).__name__} without it: add in_features."
        )

    # Reports.

    def latent_report(self, x: np.ndarray, *, labels: np.ndarray | None = None) -> LatentReport:
        """KL per latent dimension, active dimensions, and whether the posterior collapsed, on samples x (N, ...)."""
        return LatentReport.of(self.posterior(self.batch(check_samples(Split(x, labels), "x", self))), self.sample_name)

    def report(self, samples: Split) -> list[str]:
        """The meaning of the unit, how the code is used, and a warning if the posterior collapsed."""
        report = self.latent_report(samples.x, labels=samples.y)
        lines = [f"likelihood {self.likelihood.name}: {self.likelihood.meaning}", str(report)]
        return lines + ([f"warning: {report.warning}"] if report.warning else [])


def normal_quantiles(n: int) -> np.ndarray:
    """The quantiles (n,) of N(0, 1) at (i + 1/2) / n: the medians of n intervals of equal probability."""
    from scipy.special import ndtri

    n = check_size("normal_quantiles", "n", n)
    return ndtri((np.arange(n) + 0.5) / n).astype(np.float32)


def latent_grid(n: int, code_size: int, dims: tuple[int, int] = (0, 1)) -> np.ndarray:
    """Codes (n * n, K), row by row, on a grid whose cells have equal probability under N(0, I).

    The first of `dims` grows to the right and the second upward, along `normal_quantiles`; other latent dimensions are 0.
    `model.decode` of the grid gives figure 4 of Kingma and Welling 2014.
    """
    if code_size < 2 or len({d % code_size for d in dims}) < 2:
        raise ValueError(
            f"the plane of codes needs two different latent dimensions, got dims={dims} for code size {code_size}."
        )
    marks = normal_quantiles(n)
    codes = np.zeros((n * n, code_size), np.float32)
    codes[:, dims[0]] = np.tile(marks, n)
    codes[:, dims[1]] = np.repeat(marks[::-1], n)
    return codes


# ---------------------------------------------------------------------------------------------------------------------
# The posterior: a Gaussian distribution over codes for each sample.

LOG_VARIANCE = (-20.0, 10.0)
"""The range of a log-variance, standard deviations from 5e-5 to 150, in which exp cannot overflow."""

ACTIVE = 0.01
"""The variance of the posterior mean, over the data, above which a latent dimension is active (Burda et al. 2016)."""


@dataclass(frozen=True)
class Posterior:
    """q(z|x) = N(mean, diag(exp(log_variance))) for each of N samples.

    Attributes:
        mean, log_variance: (N, K), both Tensors or both arrays.
        condition: another input of the decoder, (N, C), such as the one-hot class; or None.
    """

    mean: Any
    log_variance: Any
    condition: Any = None

    @classmethod
    def from_output(cls, output: Any) -> Posterior:
        """From an encoder's output (N, 2 K): K means, then K log-variances, clipped softly to `LOG_VARIANCE`."""
        k = output.shape[-1] // 2
        raw = ops.getitem(output, index=(slice(None), slice(k, None)))
        return cls(ops.getitem(output, index=(slice(None), slice(0, k))), soft_clip(raw, *LOG_VARIANCE))

    @property
    def std(self) -> Any:
        """The standard deviation (N, K): exp(log_variance / 2). Mistaking it for the variance is a classic bug."""
        return ops.exp(0.5 * self.log_variance)

    def sample(self, generator: np.random.Generator) -> Any:
        """A draw z (N, K), differentiable in mean and log-variance (reparameterization, Kingma and Welling 2014, 2.4).

        z = mean + std * noise,  noise ~ N(0, 1);   dz/dmean = 1,   dz/d log_variance = std * noise / 2
        """
        raw = self.mean.data if isinstance(self.mean, Tensor) else self.mean
        return self.mean + self.std * backend_of(raw).normal(generator, raw.shape, raw.dtype)

    def given(self, z: Any) -> Any:
        """The decoder's input for codes z (k N, K), k for each of N samples: z, with the condition appended if there is one."""
        if self.condition is None:
            return z
        copies = len(z) // max(len(self.condition), 1)
        condition = self.condition if copies <= 1 else ops.concatenate(*[self.condition] * copies)
        return ops.concatenate(z, condition, axis=1)

    def kl(self, *, reduction: str = "per_sample") -> Any:
        """KL(q(z|x) || N(0, I)) in nats, see `losses.gaussian_kl`."""
        return gaussian_kl(self.mean, self.log_variance, reduction=reduction)


@dataclass(frozen=True)
class LatentReport:
    """How the latent dimensions are used, measured on samples.

    Attributes:
        kl: of each latent dimension in nats per sample, (K,); the sum is the KL of the bound.
        variance: over the samples of the posterior mean of each latent dimension, (K,).
        sample_name: what one sample is called.
    """

    kl: np.ndarray
    variance: np.ndarray
    sample_name: str = "sample"

    @classmethod
    def of(cls, posterior: Posterior, sample_name: str) -> LatentReport:
        """From the posteriors of many samples, on the host."""
        kl = gaussian_kl(posterior.mean, posterior.log_variance, reduction="none")
        return cls(kl.mean(axis=0, dtype=np.float64), posterior.mean.var(axis=0, dtype=np.float64), sample_name)

    @property
    def in_use(self) -> np.ndarray:
        """Which latent dimensions are active (K,): the variance of their posterior mean is above `ACTIVE`."""
        return self.variance > ACTIVE

    @property
    def active(self) -> int:
        """The number of active latent dimensions."""
        return int(self.in_use.sum())

    @property
    def warning(self) -> str | None:
        """Posterior collapse, its usual cause and the remedies; None if at least a tenth of the latent dimensions are
        active and the KL is at least one nat.
        """
        if self.active > 0 and self.active >= 0.1 * len(self.kl) and self.kl.sum() >= 1.0:
            return None
        return (
            f"posterior collapse: {self.active} of {len(self.kl)} latent dimensions are active (KL {self.kl.sum():.2g} nats "
            f"per {self.sample_name}), so the decoder gets almost no information about the {self.sample_name} to "
            "reconstruct. The usual cause: early in training the KL costs more than the still useless code saves. Increase "
            "the KL weight gradually (warmup=10 epochs), allow free bits per latent dimension (free_bits=0.1), or give the "
            "reconstruction more weight: a smaller beta, or a smaller scale of a Gaussian likelihood."
        )

    def __str__(self) -> str:
        return (
            f"code: {self.active} of {len(self.kl)} latent dimensions active (variance of the posterior mean above {ACTIVE:g}); "
            f"KL {self.kl.sum():.4g} nats per {self.sample_name}, {self.kl.max():.3g} in the most active one"
        )


# ---------------------------------------------------------------------------------------------------------------------
# The importance-weighted bound: the same model with a tighter bound, from several codes per sample.
#
# log p(x) is the log of a mean over codes, the ELBO the mean of a log; by Jensen's inequality it is lower. Averaging k codes
# inside the logarithm closes the gap as k grows. Training on this bound gives better models; with a large k it estimates
# the log-likelihood of any variational autoencoder.


class ImportanceWeightedAutoencoder(VariationalAutoencoder):
    """A variational autoencoder trained on the bound of k codes per sample (Burda, Grosse and Salakhutdinov 2016).

    w_i = p(x|z_i) p(z_i) / q(z_i|x),   loss = -E[log (1/k) sum over i of w_i] >= -log p(x)     (nats per sample)

    The gradient weights each code by w_i / sum of w, the derivative of `ops.logsumexp`. k = 1 is the ELBO with an estimated
    KL. The bound does not split into a reconstruction and a KL, so it is a single term.

    Args:
        importance_samples: k, codes per sample in training; the decoder's time and memory are proportional to it.
        encoder, decoder, settings: as for `VariationalAutoencoder`; beta, warm-up and free bits have no meaning here and
            must keep their defaults.
    """

    @passes_on(VariationalAutoencoder)
    def __init__(self, encoder: Module, decoder: Module, *, importance_samples: int = 5, **settings: Any) -> None:
        super().__init__(encoder, decoder, **settings)
        self.importance_samples = check_size(type(self).__name__, "importance_samples", importance_samples)
        if self.beta != 1.0 or self.warmup or self.free_bits:
            raise ValueError(
                "the importance-weighted bound has no KL term, got beta, warmup or free_bits, which act on it: leave them out, "
                "or train without importance_samples."
            )

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The negative bound of a batch, from k codes per sample."""
        rng = self.generator if generator is None else generator
        x, target = self.presented(batch, rng)
        weights = log_weights(self, self.posterior(x), target, self.importance_samples, rng)
        bound = ops.logsumexp(weights, axis=0) - math.log(self.importance_samples)
        return Loss({"bound": -ops.mean(bound)}, self.loss_unit)


def log_weights(
    model: VariationalAutoencoder, q: Posterior, x: Tensor, k: int, generator: np.random.Generator
) -> Tensor:
    """log w (k, N) of k codes for each of N samples x: log p(x|z) + log p(z) - log q(z|x), in nats.

    With z = m + s e, the log-ratio of the Gaussian densities of prior and posterior is (e**2 - z**2) / 2 + log s, summed
    over latent dimensions.
    """
    n, size = q.mean.shape
    noise = backend_of(q.mean.data).normal(generator, (k, n, size), q.mean.dtype)
    z = q.mean + q.std * noise
    ratio = ops.sum(0.5 * (noise * noise - z * z) + 0.5 * q.log_variance, axis=2)
    output = model.decoder(q.given(ops.reshape(z, shape=(k * n, size))))
    return ops.reshape(model.likelihood.log_prob(output, ops.concatenate(*[x] * k)), shape=(k, n)) + ratio


def log_likelihood(
    model: VariationalAutoencoder,
    x: np.ndarray,
    importance_samples: int = 5000,
    *,
    labels: np.ndarray | None = None,
    generator: np.random.Generator | None = None,
    rows: int = 1000,
) -> np.ndarray:
    """Estimated log p(x) of each sample (N,), in nats, from `importance_samples` codes each (Burda et al. 2016);
    for a conditional model log p(x|class).

    A lower bound in expectation, close to log p(x) at 5000 codes. At most `rows` codes are decoded at once: the memory does
    not grow with the number of codes.

    Args:
        model: any variational autoencoder.
        x: host array (N, ...); with `binarize` it is binarized first, with "dynamic" once.
        importance_samples: k.
        labels: class numbers (N,), for a conditional model.
        generator: for codes (and binarization); None uses seed 0, so that the result is reproducible.
        rows: codes decoded at once.
    """
    k = check_size("log_likelihood", "importance_samples", importance_samples)
    rng = np.random.default_rng(0) if generator is None else as_generator(generator)

    def total(batch: Batch) -> Tensor:
        given, target = model.presented(batch, rng)
        q, most = model.posterior(given), max(1, rows // len(batch))
        counts = [min(most, k - done) for done in range(0, k, most)]
        sums = (ops.logsumexp(log_weights(model, q, target, count, rng), axis=0).data for count in counts)
        return Tensor(reduce(backend_named(model.device).xp.logaddexp, sums))

    samples = model.batch(check_samples(Split(x, labels), "x", model))
    return in_batches(model, total, samples, max(1, rows // k)) - math.log(k)


# ---------------------------------------------------------------------------------------------------------------------
# Variational autoencoders of dense layers.


def variational_pair(
    input_shape: Shape,
    sizes: Sequence[int],
    latent_size: int,
    *,
    activation: Annotated[str, ACTIVATIONS] = "relu",
    normalization: Annotated[str, NORMALIZATIONS] = "none",
    outputs: int = 1,
    extra: int = 0,
    generator: np.random.Generator,
) -> tuple[Sequential, Sequential]:
    """Encoder D -> sizes -> 2 K and decoder K -> reversed sizes -> `outputs` numbers per element.

    Args:
        input_shape: shape of one sample; D is the product of its numbers.
        sizes: widths before the code; the decoder has them in reverse.
        latent_size: K, latent dimensions.
        activation: of the hidden layers.
        normalization: of the hidden layers before their activation, over the batch or over each layer.
        outputs: decoder outputs per element, see `decoder_outputs`.
        extra: inputs that are appended to the sample and to the code, such as a one-hot class. The encoder then takes
            flat samples.
        generator: for the initial weights.
    """
    shape = sample_shape(input_shape)
    k = check_size("variational_autoencoder", "latent_size", latent_size)
    widths = [check_size("variational_autoencoder", "sizes", n) for n in sizes]
    check_normalization(normalization, len(widths))
    pixels = math.prod(shape)
    activations = [activation] * len(widths) + ["identity"]
    initializer = _near_zero if activation == "relu" else None
    forth = dense_layers([pixels + extra, *widths, 2 * k], activations, generator, initializer)
    back = dense_layers([k + extra, *reversed(widths), outputs * pixels], activations, generator, initializer)
    start: list[Module] = [Flatten()] if len(shape) > 1 and not extra else []
    end: list[Module] = [Reshape(*shape[:-1], outputs * shape[-1])] if len(shape) > 1 else []
    encoder = Sequential(*start, *normalized(forth[:-1], normalization), forth[-1])
    return encoder, Sequential(*normalized(back[:-1], normalization), back[-1], *end)


def decoder_outputs(settings: dict[str, Any]) -> int:
    """Numbers that the decoder outputs per element, which depends on the likelihood in a builder's settings."""
    known = defaults(VariationalAutoencoder) | settings
    return likelihood_named(known["likelihood"], scale=known["scale"]).outputs


def _near_zero(shape: tuple[int, ...], generator: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """Uniform in +-1 / sqrt(fan_in), 0.4 of He's limit, so that the initial posteriors are close to the prior.

    After ten epochs with relu units on MNIST this gains 0.8 nats per image. With tanh it loses two: use Glorot's there.
    """
    limit = 1.0 / math.sqrt(shape[0])
    return generator.uniform(-limit, limit, shape).astype(dtype)


@remembered("vae")
@passes_on(VariationalAutoencoder, variational_pair, without=("outputs", "extra"))
def variational_autoencoder(
    input_shape: Shape = 784,
    sizes: Sequence[int] = (400,),
    latent_size: int = 20,
    *,
    importance_samples: int | None = None,
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> VariationalAutoencoder:
    """D -> sizes -> K -> reversed sizes -> D, by default 784-400-20-400-784.

    Args:
        input_shape, sizes, latent_size: as for `variational_pair`.
        importance_samples: codes per sample, to train on the importance-weighted bound; by default the ELBO. See
            `ImportanceWeightedAutoencoder`.
        generator: for the initial weights and, from there on, for the noise; None draws fresh entropy.
        settings: of `VariationalAutoencoder`, `activation` and `normalization`.
    """
    rng = as_generator(generator)
    network, settings = split(settings, variational_pair)
    outputs = decoder_outputs(settings)
    pair = variational_pair(input_shape, sizes, latent_size, outputs=outputs, generator=rng, **network)
    if importance_samples is None:
        return VariationalAutoencoder(*pair, generator=rng, **settings)
    return ImportanceWeightedAutoencoder(*pair, importance_samples=importance_samples, generator=rng, **settings)
