"""The sparse autoencoder: only a few code units are active at a time.

An overcomplete code can still be a good description if each sample uses few units. The units then specialize: each represents
a feature that is rarely present. On patches of photographs, that is an edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from tinyae.autodiff import T, Tensor
from tinyae.backend import Array, backend_of
from tinyae.checks import choose
from tinyae.data import Split
from tinyae.losses import Loss, bernoulli_kl, l1, weight_decay
from tinyae.models.analysis import SELECTIVE, count_oriented
from tinyae.models.autoencoder import RECONSTRUCTIONS, Autoencoder, Batch, remembered
from tinyae.models.dense import Shape, dense_pair, sample_shape
from tinyae.models.settings import defaults, passes_on, split
from tinyae.nn import Dense, Module, Sequential, TiedDense, TopK
from tinyae.ops.linear import ACTIVATIONS

SPARSITIES = ("kl", "l1", "topk", "none")
"""Kinds of sparsity penalty."""


class SparseAutoencoder(Autoencoder):
    """Reconstruction + beta * sparsity penalty + lambda * weight decay, each a named term of the loss.

    L = (reconstruction)  +  beta * P(code)  +  lambda / 2 * sum of all squared weights

    P is, by `sparsity`:

    - "kl": sum over units of KL(rho || rho_hat_j), rho_hat_j the mean of code j over the batch (Ng, CS294A notes;
      Lee et al. 2008). The codes must lie in [0, 1].
    - "l1": sum over units of |code_j|, mean over the batch.
    - "topk": no penalty; `nn.TopK` in the encoder keeps the k largest activations (Makhzani and Frey 2014). Training begins by
      centering the inputs, see `Center`: otherwise most units of a wide code are never active.
    - "none": no penalty; weight decay only.

    With loss "half_squared_error" and "kl" this is exactly the cost of the UFLDL exercise.

    Args:
        encoder, decoder, settings: as for `Autoencoder`.
        sparsity: the penalty P that keeps few units active. See above.
        rho: target mean activation, for "kl", in (0, 1).
        beta: weight of the penalty, at least 0.
        weight_decay: lambda, the weight of half the squared weights, at least 0. Biases are excluded, a tied weight counts
            once.
        loss: reconstruction loss; by default "half_squared_error", for "topk" "squared_error".

    The penalty is the same in training and in evaluation mode. "kl" is a property of a batch and depends on the batch size;
    `tinyae.evaluate` takes the mean code over all its samples.
    """

    @passes_on(Autoencoder)
    def __init__(
        self,
        encoder: Module,
        decoder: Module,
        *,
        sparsity: Annotated[str, SPARSITIES] = "kl",
        rho: float = 0.01,
        beta: float = 3.0,
        weight_decay: float = 1e-4,
        loss: Annotated[str, tuple(RECONSTRUCTIONS)] | None = None,
        **settings: Any,
    ) -> None:
        choose("sparsity", sparsity, SPARSITIES)
        super().__init__(encoder, decoder, loss=loss or _usual_loss(sparsity), **settings)
        if not 0.0 < rho < 1.0:
            raise ValueError(f"rho must lie between 0 and 1, got {rho:g}: 0.05 is usual.")
        for name, weight in (("beta", beta), ("weight_decay", weight_decay)):
            if not 0.0 <= weight < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {weight:g}.")
        self.sparsity = sparsity
        self.rho = float(rho)
        self.beta = float(beta)
        self.weight_decay = float(weight_decay)
        self._unchecked = True

    def begin_epoch(self, number: int, train: Batch) -> None:
        """Have the codes of the first batch of this epoch checked; start a new `Center`, and a linear output, at the mean of the data."""
        self._unchecked = True
        center = next((part for _, part in self.encoder.named_modules() if isinstance(part, Center)), None)
        if number == 1 and center is not None and not center.mean.data.any():
            center.fit(train)
            last = [part for _, part in self.decoder.named_modules() if isinstance(part, Dense | TiedDense)][-1]
            if last.activation == "identity" and not self.reconstruction.bounded and last.bias is not None:
                last.bias.data[...] = center.mean.data.reshape(-1)

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The terms "reconstruction", "sparsity" and "weight decay", those whose weights are above 0.

        Raises ValueError for sparsity "kl" and codes outside [0, 1]; in training, the first batch of an epoch is checked.
        """
        code = self.encoder(batch.x)
        terms = {"reconstruction": self.reconstruction.loss(self.decoder(code), batch.target)}
        if self.beta and self.sparsity == "kl":
            if self._unchecked or not self.training:
                _check_probabilities(code.data)
                self._unchecked = not self.training
            terms["sparsity"] = self._kl(code)
        elif self.beta and self.sparsity == "l1":
            terms["sparsity"] = self.beta * l1(code)
        if self.weight_decay:
            matrices = [parameter for parameter in self.parameters() if parameter.ndim > 1]
            terms["weight decay"] = self.weight_decay * weight_decay(*matrices)
        loss = Loss(terms, self.loss_unit)
        if "sparsity" in terms and self.sparsity == "kl":
            loss.of_mean["sparsity"] = (code.data, lambda mean: self._kl(mean[None]))
        return loss

    def _kl(self, code: T) -> T:
        return self.beta * bernoulli_kl(code, rho=self.rho)

    def report(self, samples: Split) -> list[str]:
        """How active the units are on held-out samples."""
        x = samples.x
        code = self.encode(x)
        mean = code.reshape(len(code), -1).mean(axis=0)
        silent = float(np.mean(np.abs(code) < 0.05))
        line = (
            f"mean activation of the {mean.size} code units: {mean.min():.3g} to {mean.max():.3g}, "
            f"mean {mean.mean():.3g}; {silent:.1%} of all activations are below 0.05"
        )
        lines = [line]
        first = next((module for _, module in self.encoder.named_modules() if isinstance(module, Dense)), None)
        if first is not None and x.ndim == 4 and x.shape[3] == 1 and len(first.weight) == math.prod(x.shape[1:]):
            oriented = count_oriented(first.weight.numpy(), x.shape[1:])
            lines.append(
                f"{oriented} of {first.out_features} filters are oriented (selectivity at least {SELECTIVE:g})"
            )
        return lines


class Center(Module):
    """x - m, with m the mean of the training samples: the pre-bias of a k-sparse autoencoder (Gao et al. 2024, section 2).

    A large mean is a direction that all samples share. Units that point away from it are not among the k largest for any
    sample, get no gradient, and are dead from the beginning (Simon, Adams and Zou 2026).

    Args:
        shape: of one sample.

    Attributes:
        mean: m, 0 before `fit`; saved with the weights.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.mean = Tensor(np.zeros(tuple(shape), np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, ...) minus the mean."""
        return x - self.mean

    def fit(self, train: Batch) -> None:
        """Take the mean of the samples."""
        backend = backend_of(self.mean.data)
        total = sum(backend.to_host(part.x.data).sum(axis=0, dtype=np.float64) for part in train.batches(1024))
        self.mean.data[...] = backend.to_device(total / len(train), self.mean.dtype)


def _check_probabilities(code: Array) -> None:
    """Raise ValueError for codes outside [0, 1], up to rounding; NaN is a matter of the training loop."""
    low, high = float(code.min()), float(code.max())
    if low < -1e-5 or high > 1.0 + 1e-5:
        raise ValueError(
            f"sparsity 'kl' compares probabilities, so codes must lie in [0, 1], got {low:.4g} to {high:.4g}: end the "
            "encoder with a sigmoid (activation='sigmoid' or nn.Sigmoid()), or use sparsity 'l1' or 'topk'."
        )


@remembered("sparse")
@passes_on(SparseAutoencoder, dense_pair, without=("code_activation", "output_activation", "normalization"))
def sparse_autoencoder(
    input_shape: Shape = 64,
    code_size: int = 25,
    *,
    k: int | None = None,
    evaluation_k: int | None = None,
    activation: Annotated[str, ACTIVATIONS] | None = None,
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> SparseAutoencoder:
    """D -> K -> D, by default the 64-25-64 network of the UFLDL exercise on 8 x 8 patches.

    Args:
        input_shape: shape of one sample; D is the product of its numbers.
        code_size: K, latent dimensions.
        k: units that stay active, for sparsity "topk"; by default a tenth.
        evaluation_k: the same in evaluation mode; by default k. Makhzani and Frey recommend a few times k for codes that
            another model uses.
        activation: of the code; by default "sigmoid", for "l1" and "topk" "relu".
        generator: for the initial weights; None draws fresh entropy.
        settings: of `SparseAutoencoder`, and `tied`.
    """
    network, settings = split(settings, dense_pair)
    known = defaults(SparseAutoencoder) | settings
    if activation is None:
        activation = "relu" if known["sparsity"] in ("l1", "topk") else "sigmoid"
    if known["sparsity"] == "kl" and activation != "sigmoid":
        raise ValueError(
            f"sparsity 'kl' compares probabilities, so codes must lie in (0, 1); got activation {activation!r}: "
            "use 'sigmoid', or sparsity 'l1' or 'topk'."
        )
    # With "topk", output units are linear: a sigmoid that is saturated on dark pixels lets most units die.
    usual = known["loss"] or _usual_loss(choose("sparsity", known["sparsity"], SPARSITIES))
    output = "sigmoid" if usual == "half_squared_error" else "identity"
    encoder, decoder = dense_pair(
        input_shape, [code_size], code_activation=activation, output_activation=output, generator=generator, **network
    )
    if known["sparsity"] == "topk":
        k = max(1, code_size // 10) if k is None else k
        for name, number in (("k", k), ("evaluation_k", evaluation_k)):
            if number is not None and not 1 <= number <= code_size:
                raise ValueError(
                    f"{name} must lie between 1 and the code size {code_size}, got {number}: a tenth of it is usual."
                )
        encoder = Sequential(Center(sample_shape(input_shape)), *encoder, TopK(k, evaluation_k))
    elif k is not None or evaluation_k is not None:
        raise ValueError(
            f"k and evaluation_k need sparsity 'topk', got k={k}, evaluation_k={evaluation_k} with {known['sparsity']!r}: "
            "leave them out."
        )
    return SparseAutoencoder(encoder, decoder, **settings)


def _usual_loss(sparsity: str) -> str:
    """The reconstruction loss where none is given."""
    return "squared_error" if sparsity == "topk" else "half_squared_error"
