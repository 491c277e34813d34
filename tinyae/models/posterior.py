"""The Gaussian over codes that a variational encoder gives for each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import backend_of
from tinyae.losses import gaussian_kl
from tinyae.models.safe_range import keep_between

LOG_VARIANCE = (-20.0, 10.0)
"""The range of a log-variance: standard deviations from 5e-5 to 150. exp of it can overflow nowhere."""

ACTIVE = 0.01
"""The variance of the posterior mean, over the data, above which a number of the code is in use (Burda et al. 2016)."""


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
        return cls(ops.getitem(output, index=(slice(None), slice(0, k))), keep_between(raw, *LOG_VARIANCE))

    @property
    def std(self) -> Any:
        """The standard deviation (N, K): exp(log_variance / 2). Not the variance: that mistake is a classic."""
        return ops.exp(0.5 * self.log_variance)

    def sample(self, generator: np.random.Generator) -> Any:
        """A draw z (N, K), differentiable in mean and log-variance ("reparameterised", Kingma and Welling 2014, 2.4).

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
        kl: nats per sample that each number of the code costs, (K,); their sum is the KL of the bound.
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
            f"posterior collapse: {self.active} of {len(self.kl)} code numbers are in use (KL {self.kl.sum():.2g} nats "
            f"per {self.noun}), so the decoder is told next to nothing about the {self.noun} it is to give back. The usual "
            "cause: early in training the KL costs more than the still useless code saves. Let the KL come in slowly "
            "(warmup=10 epochs), leave each number some nats free of charge (free_bits=0.1), or weigh the reconstruction "
            "more: a smaller beta, or a smaller scale of a Gaussian likelihood."
        )

    def __str__(self) -> str:
        return (
            f"code: {self.active} of {len(self.kl)} numbers in use (variance of the posterior mean above {ACTIVE:g}); "
            f"KL {self.kl.sum():.4g} nats per {self.noun}, {self.kl.max():.3g} in the busiest number"
        )
