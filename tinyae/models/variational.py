"""The variational autoencoder: a code is a distribution, and the loss is a bound on the log-probability of the data.

The two terms of the bound are sums over different things, pixels and latent dimensions, and both are in nats per sample.
"Sum or mean?" has one answer: sum both, then average over the samples of a batch. Any other choice is a different
beta in disguise; with means over pixels and over latent dimensions, 784/20 = 39.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import Array, as_generator, backend_named, backend_of
from tinyae.losses import Loss, gaussian_kl, unit
from tinyae.models.autoencoder import Autoencoder, remembered
from tinyae.models.dense import Shape, sample_shape
from tinyae.models.likelihoods import (
    Likelihood,
    binarized,
    check_binarize,
    fixed_binarization,
    likelihood_named,
    soft_clip,
)
from tinyae.nn import Dense, Flatten, Module, Reshape, Sequential, evaluating
from tinyae.nn.layers import check_size


class VariationalAutoencoder(Autoencoder):
    """An autoencoder with Gaussian codes (Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014).

    q(z|x) = N(m(x), diag v(x)),   z = m + sqrt(v) * noise,
    loss = E_q[-log p(x|z)] + KL(q(z|x) || N(0, I)) >= -log p(x)     (the negative ELBO, nats per sample)

    Args:
        encoder: any module from x (N, ...) to (N, 2 K): K means, then K log-variances (kept in a safe range).
        decoder: any module from codes (N, K) to what the likelihood needs: x's shape, with a last axis
            `likelihood.outputs` times as long.
        likelihood: p(x|z): a name of `LIKELIHOODS` or an object.
        beta: weight of the KL in the objective, at least 0 (Higgins et al. 2017); 1 is the bound.
        warmup: epochs in which the weight of the KL grows in equal steps to beta (Bowman et al. 2016); 0 for none.
        free_bits: nats per latent dimension that are free of charge: a number whose mean KL over the batch is below is
            counted as this (Kingma et al. 2016, section 4). Named as in the paper; the unit is nats.
        binarize: how gray levels become black and white for the "bernoulli" likelihood: "none"; "dynamic", a pixel of
            gray x is white with probability x, drawn anew at every presentation; "fixed", drawn once.
        sample: what one sample is called in units.
        generator: for the noise; None draws fresh entropy.

    Attributes:
        generator: the generator, whose state a checkpoint needs for repeating a run (as with `Dropout`).
        kl_weight: the weight of the KL in training mode now; `begin_epoch` sets it.

    The terms of `loss` are "reconstruction" and "kl", unweighted, and where beta, warm-up or free bits change the
    objective "reweighting", what they add. In any mode `loss` draws one code per sample. `encode` gives the posterior
    mean, `reconstruct` decodes it; neither draws.
    """

    def __init__(
        self,
        encoder: Module,
        decoder: Module,
        *,
        likelihood: str | Likelihood = "gray-bce",
        beta: float = 1.0,
        warmup: int = 0,
        free_bits: float = 0.0,
        binarize: str = "none",
        sample: str = "sample",
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(encoder, decoder, sample=sample)
        self.likelihood = likelihood_named(likelihood) if isinstance(likelihood, str) else likelihood
        self.binarize = check_binarize(binarize, self.likelihood)
        self.reconstruction = self.likelihood.as_reconstruction()
        if binarize != "none":
            self.reconstruction = likelihood_named(
                "gray-bce"
            ).as_reconstruction()  # grays in [0, 1] are what is drawn from
        self.beta = _check_weight("beta", beta, "1 is the bound, 4 a beta-VAE")
        self.free_bits = _check_weight("free_bits", free_bits, "0.1 nats per latent dimension is a usual value")
        if not isinstance(warmup, int) or warmup < 0:
            raise ValueError(f"warmup must be a whole number of epochs of at least 0, got {warmup!r}: write warmup=10.")
        self.warmup = warmup
        self.kl_weight = self.beta
        self.generator = as_generator(generator)
        self._latest: Array | None = None

    # The model.

    def posterior(self, x: Any, batch_size: int = 1024) -> Posterior:
        """q(z|x) of x (N, ...): of Tensors as Tensors, of a host array (in batches, evaluation mode) as arrays."""
        if isinstance(x, Tensor):
            return Posterior.from_output(self._checked(self.encoder(x)))
        both = self._apply(lambda v: self._joined(self.posterior(v)), x, batch_size)
        return Posterior(*np.split(both, 2, axis=1))

    def encode(self, x: Any, batch_size: int = 1024) -> Any:
        """Posterior means (N, K) of x (N, ...)."""
        return self.posterior(x, batch_size).mean

    def forward(self, x: Tensor) -> Tensor:
        """The decoder's raw output for the posterior mean of x."""
        return self.decoder(self.decoder_input(self.posterior(x).mean, x))

    def decoder_input(self, z: Tensor, x: Tensor) -> Tensor:
        """What the decoder is given for codes z of inputs x: z itself. A conditional model adds the class."""
        return z

    def decode(self, code: Any, batch_size: int = 1024) -> Any:
        """E[x|z] (N, ...) of codes (N, K)."""
        return self._apply(lambda c: self.likelihood.mean(self.decoder(c)), code, batch_size)

    def reconstruct(self, x: Any, batch_size: int = 1024) -> Any:
        """E[x|z] at the posterior mean of x."""
        return self._apply(lambda v: self.likelihood.mean(self(v)), x, batch_size)

    # The objective.

    def loss(self, x: Tensor, target: Tensor | None = None) -> Loss:
        """The negative ELBO of a batch (as weighted now), estimated with one code per sample, in nats per sample."""
        loss = self.objective(x, target, self.generator, self.kl_weight if self.training else self.beta)
        if self.training:
            self._watch(loss)
        return loss

    def evaluation_loss(self, x: Tensor, target: Tensor, generator: np.random.Generator) -> Loss:
        """The loss with the full beta and noise from `generator`."""
        return self.objective(x, target, generator, self.beta)

    def objective(self, x: Tensor, target: Tensor | None, generator: np.random.Generator, weight: float) -> Loss:
        """Reconstruction, KL, and what `weight` and free bits add to it."""
        x, target = self.presented(x, target, generator)
        q = self.posterior(x)
        output = self.decoder(self.decoder_input(q.sample(generator), x))
        terms = {"reconstruction": self.likelihood.nats(output, target), "kl": q.kl()}
        return Loss(terms | self._reweighting(q, terms["kl"], weight), self.loss_unit)

    def presented(self, x: Tensor, target: Tensor | None, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """What the encoder sees and what is to be reconstructed: one draw of black and white where that is asked for."""
        if self.binarize == "dynamic":
            x = target = Tensor(binarized(x.data, generator))
        if self.binarize == "fixed" or target is None:
            target = x
        return x, target

    def inputs_for(self, x: Array, labels: Any = None) -> Array:
        """x itself; with fixed binarization its black-and-white version, the same at every call."""
        return fixed_binarization(x) if self.binarize == "fixed" else x

    def begin_epoch(self, number: int) -> None:
        """Set `kl_weight` for the epoch `number` (from 1): beta * number / (warmup + 1), at most beta."""
        self.kl_weight = self.beta * min(1.0, number / (self.warmup + 1))
        self._latest = None

    @property
    def anneals(self) -> bool:
        """While the KL is warmed up."""
        return self.warmup > 0

    @property
    def loss_unit(self) -> str:
        """Nats per sample; where samples are binarized, the unit says how."""
        how = {"none": "", "dynamic": "dynamically binarized ", "fixed": "fixedly binarized "}[self.binarize]
        return unit("nats", "per_sample", how + self.noun)

    @property
    def measure_units(self) -> dict[str, str]:
        """Every term is in the unit of the loss."""
        return dict.fromkeys(("reconstruction", "kl"), self.loss_unit)

    # Making samples.

    def sample(self, n: int, generator: np.random.Generator | None = None, *, pixels: bool = False) -> np.ndarray:
        """n new samples (n, ...): z ~ N(0, I), then E[x|z], or with `pixels` a draw from p(x|z).

        `generator` in place of the model's own, which training draws from.
        """
        if n < 1:
            raise ValueError(f"sample: n must be at least 1, got {n}.")
        rng = self.generator if generator is None else as_generator(generator)
        z = rng.standard_normal((n, self.code_size), dtype=np.float32)
        if not pixels:
            return self.decode(z)
        return self._apply(lambda c: Tensor(self.likelihood.sample(self.decoder(c), rng)), z, 1024)

    def interpolate(self, a: np.ndarray, b: np.ndarray, steps: int = 8) -> np.ndarray:
        """`steps` samples (steps, ...) on the straight line between the codes of two samples a and b (...)."""
        if steps < 2:
            raise ValueError(f"interpolate: steps must be at least 2, the two ends themselves, got {steps}.")
        ends = self.encode(np.stack([a, b]))
        t = np.linspace(0.0, 1.0, steps, dtype=ends.dtype)[:, None]
        return self.decode((1.0 - t) * ends[0] + t * ends[1])

    def manifold(self, n: int = 20, dims: tuple[int, int] = (0, 1)) -> np.ndarray:
        """n * n samples (n * n, ...), row by row, from codes on a grid in which each cell has the same probability.

        The grid is that of the quantiles (i + 1/2) / n of N(0, 1), put through the inverse distribution function
        (Kingma and Welling 2014, figure 4). The first of `dims` grows to the right, the second upwards; other
        latent dimensions are 0.
        """
        return self.decode(self.plane(n, dims))

    def plane(self, n: int, dims: tuple[int, int] = (0, 1)) -> np.ndarray:
        """The codes (n * n, K) of `manifold`."""
        if self.code_size < 2 or len({d % self.code_size for d in dims}) < 2:
            raise ValueError(
                f"the plane of codes needs two different latent dimensions, got dims={dims} of a code of {self.code_size}."
            )
        marks = self.quantiles(n)
        codes = np.zeros((n * n, self.code_size), np.float32)
        codes[:, dims[0]] = np.tile(marks, n)
        codes[:, dims[1]] = np.repeat(marks[::-1], n)
        return codes

    @staticmethod
    def quantiles(n: int) -> np.ndarray:
        """The values (n,) that cut N(0, 1) into n parts of equal probability, one in the middle of each."""
        from scipy.special import ndtri

        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}.")
        return ndtri((np.arange(n) + 0.5) / n).astype(np.float32)

    @property
    def code_size(self) -> int:
        """K, found by asking the decoder's first layer that knows."""
        for _, module in self.decoder.named_modules():
            for name in ("in_features", "in_channels", "input_size"):
                if hasattr(module, name):
                    return int(getattr(module, name))
        raise ValueError(f"{type(self.decoder).__name__} does not say how long a code is: give its class in_features.")

    # What the numbers say.

    def latent_report(self, x: np.ndarray, batch_size: int = 1024) -> LatentReport:
        """KL per latent dimension, active dimensions, and whether the posterior collapsed, on samples x (N, ...)."""
        return LatentReport.of(self.posterior(self.inputs_for(x), batch_size), self.noun)

    def remarks(self, x: np.ndarray, labels: Any = None) -> list[str]:
        """What the unit means, how the code is used, and a warning if it is not."""
        report = LatentReport.of(self.posterior(self.inputs_for(x, labels)), self.noun)
        lines = [f"likelihood {self.likelihood.name}: {self.likelihood.meaning}", str(report)]
        return lines + ([f"warning: {report.warning}"] if report.warning else [])

    def failure(self) -> str:
        """Which term was the first of this epoch to be NaN or infinite, with its value and the usual cause."""
        if self._latest is None:
            return ""
        names = ("reconstruction", "KL")
        values = backend_of(self._latest).to_host(self._latest)[:2]
        broken = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
        if not broken:
            return ""
        told = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))
        return (
            f"the first step to go wrong had {told} {self.loss_unit}: the {' and the '.join(broken)} became NaN or "
            "infinite first, usually by a learning rate that is too large or by inputs that are not scaled"
        )

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        return f"likelihood={self.likelihood.name!r}, beta={self.beta:g}"

    def _reweighting(self, q: Posterior, kl: Tensor, weight: float) -> dict[str, Tensor]:
        if self.free_bits == 0.0:
            return {} if weight == 1.0 else {"reweighting": (weight - 1.0) * kl}
        each = ops.mean(q.kl(reduction="none"), axis=0)
        charged = ops.sum(ops.maximum(each, self.free_bits))
        return {"reweighting": weight * charged - kl}

    def _watch(self, loss: Loss) -> None:
        """Keep the terms of the latest step, or those of the first one that was not finite; nothing waits for the device."""
        xp = backend_of(loss.total.data).xp
        now = xp.stack([term.data for term in loss.terms.values()])
        if self._latest is not None:
            now = xp.where(xp.isfinite(self._latest).all(), now, self._latest)
        self._latest = now

    def _checked(self, output: Tensor) -> Tensor:
        if output.ndim != 2 or output.shape[1] != 2 * self.code_size:
            raise ValueError(
                f"the encoder must give (N, {2 * self.code_size}), {self.code_size} means and as many log-variances for the "
                f"decoder's codes of {self.code_size}, got {output.shape}: end it with Dense(..., {2 * self.code_size})."
            )
        return output

    @staticmethod
    def _joined(posterior: Posterior) -> Tensor:
        return ops.concatenate(posterior.mean, posterior.log_variance, axis=1)


def _check_weight(name: str, value: float, advice: str) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be at least 0 and finite, got {value!r}: {advice}.")
    return float(value)


# ---------------------------------------------------------------------------------------------------------------------
# The Gaussian over codes that a variational encoder gives for each sample.

LOG_VARIANCE = (-20.0, 10.0)
"""The range of a log-variance: standard deviations from 5e-5 to 150. exp of it can overflow nowhere."""

ACTIVE = 0.01
"""The variance of the posterior mean, over the data, above which a latent dimension is active (Burda et al. 2016)."""


@dataclass(frozen=True)
class Posterior:
    """q(z|x) = N(mean, diag(exp(log_variance))) for each of N samples.

    Attributes:
        mean, log_variance: (N, K), both Tensors or both arrays.
    """

    mean: Any
    log_variance: Any

    @classmethod
    def from_output(cls, output: Any) -> Posterior:
        """From an encoder's output (N, 2 K): K means, then K log-variances, which are kept in `LOG_VARIANCE`."""
        k = output.shape[-1] // 2
        raw = ops.getitem(output, index=(slice(None), slice(k, None)))
        return cls(ops.getitem(output, index=(slice(None), slice(0, k))), soft_clip(raw, *LOG_VARIANCE))

    @property
    def std(self) -> Any:
        """The standard deviation (N, K): exp(log_variance / 2). Not the variance: that mistake is a classic."""
        return ops.exp(0.5 * self.log_variance)

    def sample(self, generator: np.random.Generator) -> Any:
        """A draw z (N, K), differentiable in mean and log-variance ("reparameterized", Kingma and Welling 2014, 2.4).

        z = mean + std * noise,  noise ~ N(0, 1);   dz/dmean = 1,   dz/d log_variance = std * noise / 2
        """
        raw = self.mean.data if isinstance(self.mean, Tensor) else self.mean
        return self.mean + self.std * backend_of(raw).normal(generator, raw.shape, raw.dtype)

    def kl(self, *, reduction: str = "per_sample") -> Any:
        """KL(q(z|x) || N(0, I)) in nats, see `losses.gaussian_kl`."""
        return gaussian_kl(self.mean, self.log_variance, reduction=reduction)


@dataclass(frozen=True)
class LatentReport:
    """How the numbers of a code are used, measured on samples.

    Attributes:
        kl: nats per sample that each latent dimension costs, (K,); their sum is the KL of the bound.
        variance: of each number's posterior mean over the samples, (K,).
        noun: what one sample is called.
    """

    kl: np.ndarray
    variance: np.ndarray
    noun: str = "sample"

    @classmethod
    def of(cls, posterior: Posterior, noun: str) -> LatentReport:
        """From the posteriors of many samples, on the host."""
        kl = gaussian_kl(posterior.mean, posterior.log_variance, reduction="none")
        return cls(kl.mean(axis=0, dtype=np.float64), posterior.mean.var(axis=0, dtype=np.float64), noun)

    @property
    def in_use(self) -> np.ndarray:
        """Which numbers of the code are in use (K,): their posterior mean varies by more than `ACTIVE`."""
        return self.variance > ACTIVE

    @property
    def active(self) -> int:
        """How many numbers of the code are in use."""
        return int(self.in_use.sum())

    @property
    def warning(self) -> str | None:
        """Posterior collapse: what it is, where it comes from, what helps; None if at least a tenth is in
        use and carries a nat or more.
        """
        if self.active > 0 and self.active >= 0.1 * len(self.kl) and self.kl.sum() >= 1.0:
            return None
        return (
            f"posterior collapse: {self.active} of {len(self.kl)} latent dimensions are in use (KL {self.kl.sum():.2g} nats "
            f"per {self.noun}), so the decoder is told next to nothing about the {self.noun} it is to give back. The usual "
            "cause: early in training the KL costs more than the still useless code saves. Let the KL come in slowly "
            "(warmup=10 epochs), leave each number some nats free of charge (free_bits=0.1), or weigh the reconstruction "
            "more: a smaller beta, or a smaller scale of a Gaussian likelihood."
        )

    def __str__(self) -> str:
        return (
            f"code: {self.active} of {len(self.kl)} latent dimensions active (variance of the posterior mean above {ACTIVE:g}); "
            f"KL {self.kl.sum():.4g} nats per {self.noun}, {self.kl.max():.3g} in the most active one"
        )


# ---------------------------------------------------------------------------------------------------------------------
# The importance-weighted bound: the same model, a tighter bound, from several codes per sample.
#
# log p(x) is the log of a mean over codes, and the ELBO is the mean of a log; Jensen's inequality is the gap. Averaging
# k codes inside of the logarithm closes it as k grows. Trained with it a model becomes better; measured with a large k any
# variational autoencoder gets a number that is nearly its true log-likelihood.


class ImportanceWeightedAutoencoder(VariationalAutoencoder):
    """A variational autoencoder trained on the bound of k codes per sample (Burda, Grosse and Salakhutdinov 2016).

    w_i = p(x|z_i) p(z_i) / q(z_i|x),   loss = -E[log (1/k) sum over i of w_i] >= -log p(x)     (nats per sample)

    The gradient weighs each code by its share of the sum, w_i / sum of w, which `ops.logsumexp` brings about by itself.
    k = 1 is the ELBO with the KL estimated too. The bound does not fall into a reconstruction and a KL, so it is one term.

    Args:
        importance_samples: k, codes per sample in training. Work and memory of the decoder grow with it.
        encoder, decoder, and the others: as for `VariationalAutoencoder`; beta, warm-up and free bits have no meaning
            here and are not taken.
    """

    def __init__(self, encoder: Module, decoder: Module, *, importance_samples: int = 5, **settings: Any) -> None:
        super().__init__(encoder, decoder, **settings)
        self.importance_samples = check_size(type(self).__name__, "importance_samples", importance_samples)
        if self.beta != 1.0 or self.warmup or self.free_bits:
            raise ValueError(
                "the importance-weighted bound has no KL term that beta, warmup or free_bits could act on: leave them out, "
                "or train with importance_samples=None."
            )

    def objective(self, x: Tensor, target: Tensor | None, generator: np.random.Generator, weight: float) -> Loss:
        """The negative bound of a batch with k codes per sample."""
        x, target = self.presented(x, target, generator)
        weights = log_weights(self, self.posterior(x), x, target, self.importance_samples, generator)
        bound = ops.logsumexp(weights, axis=0) - math.log(self.importance_samples)
        return Loss({"bound": -ops.mean(bound)}, self.loss_unit)

    @property
    def measure_units(self) -> dict[str, str]:
        """Nothing beside the loss."""
        return {}

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        return f"{super().extra_repr()}, importance_samples={self.importance_samples}"


def log_weights(
    model: VariationalAutoencoder, q: Posterior, inputs: Tensor, x: Tensor, k: int, generator: np.random.Generator
) -> Tensor:
    """log w (k, N) of k codes for each of N samples: log p(x|z) + log p(z) - log q(z|x), in nats.

    `inputs` is what the network was given for the samples x: x itself, or for a conditional model x with its classes.
    With z = m + s e the densities of the prior and the posterior are both Gaussian, and what is left of their ratio is
    (e**2 - z**2) / 2 + log s, summed over the code.
    """
    n, size = q.mean.shape
    noise = backend_of(q.mean.data).normal(generator, (k, n, size), q.mean.dtype)
    z = q.mean + q.std * noise
    ratio = ops.sum(0.5 * (noise * noise - z * z) + 0.5 * q.log_variance, axis=2)
    repeated = ops.concatenate(*[x] * k)
    given = repeated if inputs is x else ops.concatenate(*[inputs] * k)
    output = model.decoder(model.decoder_input(ops.reshape(z, shape=(k * n, size)), given))
    return ops.reshape(model.likelihood.log_prob(output, repeated), shape=(k, n)) + ratio


def log_likelihood(
    model: VariationalAutoencoder,
    x: np.ndarray,
    importance_samples: int = 5000,
    *,
    labels: np.ndarray | None = None,
    generator: np.random.Generator | None = None,
    rows: int = 1000,
) -> np.ndarray:
    """Estimated log p(x) of each sample (N,), in nats, from `importance_samples` codes each (Burda et al. 2016, eq. 8);
    of a conditional model log p(x|class).

    A lower bound in expectation, close to log p(x) at 5000 codes. Never more than `rows` codes are decoded at once: the
    sum over codes is kept as a running logarithm, so the memory does not grow with their number.

    Args:
        model: any variational autoencoder.
        x: host array (N, ...); with `binarize` it is made black and white first, "dynamic" once here.
        importance_samples: k.
        labels: class numbers (N,), for a conditional model.
        generator: for codes (and binarization); None starts from seed 0, so that a number can be repeated.
        rows: codes decoded at once.
    """
    k = check_size("log_likelihood", "importance_samples", importance_samples)
    rng = np.random.default_rng(0) if generator is None else as_generator(generator)
    backend = backend_named(model.device)
    dtype = next(iter(model.parameters())).dtype
    inputs = model.inputs_for(x, labels)
    at_once = max(1, min(len(x), rows // k))
    found = []
    with no_grad(), evaluating(model):
        for start in range(0, len(x), at_once):
            part = slice(start, start + at_once)
            target = None if inputs is x else Tensor(backend.to_device(x[part], dtype))
            batch, target = model.presented(Tensor(backend.to_device(inputs[part], dtype)), target, rng)
            q = model.posterior(batch)
            total, left = None, k
            while left:
                some = min(left, max(1, rows // len(batch)))
                summed = ops.logsumexp(log_weights(model, q, batch, target, some, rng), axis=0).data
                total = summed if total is None else backend.xp.logaddexp(total, summed)
                left -= some
            assert total is not None  # k is at least 1
            found.append(backend.to_host(total) - math.log(k))
    return np.concatenate(found)


# ---------------------------------------------------------------------------------------------------------------------
# Ready-made variational autoencoders of dense layers.


@remembered("vae")
def variational_autoencoder(
    input_shape: Shape = 784,
    sizes: Sequence[int] = (400,),
    latent_size: int = 20,
    *,
    activation: str = "relu",
    likelihood: str = "gray-bce",
    scale: float | None = None,
    beta: float = 1.0,
    warmup: int = 0,
    free_bits: float = 0.0,
    binarize: str = "none",
    importance_samples: int | None = None,
    sample: str = "sample",
    generator: np.random.Generator | None = None,
) -> VariationalAutoencoder:
    """D -> sizes -> K -> sizes backwards -> D, by default 784-400-20-400-784.

    Args:
        input_shape: shape of one sample.
        sizes: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent_size: K, latent dimensions.
        activation: of the hidden layers.
        likelihood: a name of `LIKELIHOODS`.
        scale: of the "gaussian" likelihood, in the unit of the data (by default 0.1); the others have none.
        beta, warmup, free_bits, binarize, sample: see `VariationalAutoencoder`.
        importance_samples: k, to train on the bound of k codes per sample, see `ImportanceWeightedAutoencoder`; None for
            the ELBO.
        generator: for the initial weights and, from there on, for the noise; None draws fresh entropy.
    """
    rng = as_generator(generator)
    chosen = likelihood_named(likelihood, scale=scale)
    encoder, decoder = variational_pair(
        input_shape, sizes, latent_size, activation=activation, outputs=chosen.outputs, generator=rng
    )
    settings: dict[str, Any] = {
        "likelihood": chosen, "beta": beta, "warmup": warmup, "free_bits": free_bits, "binarize": binarize,
        "sample": sample, "generator": rng,
    }  # fmt: skip
    if importance_samples is None:
        return VariationalAutoencoder(encoder, decoder, **settings)
    return ImportanceWeightedAutoencoder(encoder, decoder, importance_samples=importance_samples, **settings)


def variational_pair(
    input_shape: Shape,
    sizes: Sequence[int],
    latent_size: int,
    *,
    activation: str = "relu",
    outputs: int = 1,
    extra: int = 0,
    generator: np.random.Generator,
) -> tuple[Sequential, Sequential]:
    """Encoder D -> sizes -> 2 K and decoder K -> sizes backwards -> `outputs` numbers per element.

    `extra`: numbers that are given to both beside the sample and beside the code, such as a class. The encoder then
    takes flat samples.
    """
    shape = sample_shape(input_shape)
    k = check_size("variational_autoencoder", "latent_size", latent_size)
    widths = [check_size("variational_autoencoder", "sizes", n) for n in sizes]
    pixels = math.prod(shape)
    forth = _stack([pixels + extra, *widths, 2 * k], activation, generator)
    back = _stack([k + extra, *reversed(widths), outputs * pixels], activation, generator)
    start: list[Module] = [Flatten()] if len(shape) > 1 and not extra else []
    end: list[Module] = [Reshape(*shape[:-1], outputs * shape[-1])] if len(shape) > 1 else []
    return Sequential(*start, *forth), Sequential(*back, *end)


def _stack(widths: Sequence[int], activation: str, generator: np.random.Generator) -> list[Module]:
    """Dense layers from width to width; the last one is linear."""
    last = len(widths) - 2
    start = _near_zero if activation == "relu" else "glorot_uniform"
    return [
        Dense(a, b, activation="identity" if i == last else activation, initializer=start, generator=generator)
        for i, (a, b) in enumerate(pairwise(widths))
    ]


def _near_zero(shape: tuple[int, ...], generator: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """Uniform in +-1 / sqrt(fan_in): 0.4 of He's limit, so that the first posteriors are close to the prior.

    After ten epochs of relu units on MNIST that is worth 0.8 nats per image. With tanh it costs two: there Glorot's.
    """
    limit = 1.0 / math.sqrt(shape[0])
    return generator.uniform(-limit, limit, shape).astype(dtype)
