"""The variational autoencoder: a code is a distribution, and the loss is a bound on the log-probability of the data.

The two terms of the bound are sums over different things, pixels and code numbers, and both are in nats per sample.
"Sum or mean?" has one answer: sum both, then average over the samples of a batch. Any other choice is a different
beta in disguise; with means over pixels and over code numbers, 784/20 = 39.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.losses import Loss, unit
from tinyae.models.autoencoder import Autoencoder
from tinyae.models.binarize import binarized, check_binarize, fixed_binarization
from tinyae.models.likelihoods import Likelihood, likelihood_named
from tinyae.models.posterior import LatentReport, Posterior
from tinyae.nn import Module


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
        free_bits: nats per code number that are free of charge: a number whose mean KL over the batch is below is
            counted as this (Kingma et al. 2016, section 4). Named as in the paper; the unit is nats.
        binarize: how grey levels become black and white for the "bernoulli" likelihood: "none"; "dynamic", a pixel of
            grey x is white with probability x, drawn anew at every presentation; "fixed", drawn once.
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
        likelihood: str | Likelihood = "grey-bce",
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
                "grey-bce"
            ).as_reconstruction()  # greys in [0, 1] are what is drawn from
        self.beta = _check_weight("beta", beta, "1 is the bound, 4 a beta-VAE")
        self.free_bits = _check_weight("free_bits", free_bits, "0.1 nats per code number is a usual value")
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
        """x itself; with fixed binarisation its black-and-white version, the same at every call."""
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
        """Nats per sample; where samples are binarised, the unit says how."""
        how = {"none": "", "dynamic": "dynamically binarised ", "fixed": "fixedly binarised "}[self.binarize]
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
        code numbers are 0.
        """
        return self.decode(self.plane(n, dims))

    def plane(self, n: int, dims: tuple[int, int] = (0, 1)) -> np.ndarray:
        """The codes (n * n, K) of `manifold`."""
        if self.code_size < 2 or len({d % self.code_size for d in dims}) < 2:
            raise ValueError(
                f"the plane of codes needs two different code numbers, got dims={dims} of a code of {self.code_size}."
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
        """KL per code number, active numbers, and whether the posterior collapsed, on samples x (N, ...)."""
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
