"""The importance-weighted bound: the same model, a tighter bound, from several codes per sample.

log p(x) is the log of a mean over codes, and the ELBO is the mean of a log; Jensen's inequality is the gap. Averaging
k codes inside of the logarithm closes it as k grows. Trained with it a model becomes better; measured with a large k any
variational autoencoder gets a number that is nearly its true log-likelihood.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import as_generator, backend_named, backend_of
from tinyae.losses import Loss
from tinyae.models.posterior import Posterior
from tinyae.models.variational import VariationalAutoencoder
from tinyae.nn import Module, evaluating
from tinyae.nn.checks import check_size


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
        generator: for codes (and binarisation); None starts from seed 0, so that a number can be repeated.
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
            found.append(backend.to_host(total) - math.log(k))
    return np.concatenate(found)
