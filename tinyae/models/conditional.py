"""The conditional variational autoencoder: encoder and decoder are given the class, so the code need not say it.

What is left in the code is what the classes share: slant, thickness, size. One code decoded as each class in turn
shows the same hand writing all ten digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.models.autoencoder import remembered
from tinyae.models.dense import Shape
from tinyae.models.settings import passes_on, split
from tinyae.models.variational import LatentReport, VariationalAutoencoder, decoder_outputs, variational_pair
from tinyae.nn import Module
from tinyae.nn.layers import check_size


class ConditionalVariationalAutoencoder(VariationalAutoencoder):
    """A variational autoencoder of p(x | class) (Sohn, Lee and Yan 2015; Kingma et al. 2014, model M2).

    q(z|x, y), p(x|z, y), p(z) = N(0, I),
    loss = E_q[-log p(x|z, y)] + KL(q(z|x, y) || N(0, I)) >= -log p(x|y)     (nats per sample)

    Args:
        encoder: module from (N, D + C), a flat sample and its class as C numbers, one of them 1, to (N, 2 K).
        decoder: module from (N, K + C) to x's shape.
        classes: C.
        settings: as for `VariationalAutoencoder`.

    What the network is given is `inputs_for(x, labels)`, samples and classes in one array (N, D + C); `encode`,
    `reconstruct` and `loss(inputs, x)` take that. `tinyae.fit` and `tinyae.evaluate` make it from data with labels.
    """

    @passes_on(VariationalAutoencoder, without=("binarize",))
    def __init__(self, encoder: Module, decoder: Module, classes: int, **settings: Any) -> None:
        super().__init__(encoder, decoder, **settings)
        self.classes = check_size("ConditionalVariationalAutoencoder", "classes", classes)
        if self.binarize != "none":
            raise ValueError("the conditional model takes samples as they are: make them black and white beforehand.")

    def inputs_for(self, x: Any, labels: Any = None) -> Any:
        """Flat samples with their classes beside them, (N, D + C): an array, or a Tensor of a Tensor x (N, ...).

        labels: class numbers (N,) from 0 to C - 1; raises ValueError without them.
        """
        if labels is None:
            raise ValueError(
                "the conditional model needs a class for each sample, and got none: give it data with labels, "
                "e.g. tinyae.fit(model, dataset), or model.inputs_for(x, labels)."
            )
        hot = self.one_hot(labels, x.data if isinstance(x, Tensor) else x)
        return ops.concatenate(ops.reshape(x, shape=(len(x), -1)), hot, axis=1)

    def one_hot(self, labels: Any, like: Array) -> Array:
        """Classes as (N, C), 1 in the column of the class, with the dtype and device of `like`."""
        numbers = np.asarray(labels)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise ValueError(f"labels must be whole numbers (N,), got {numbers.dtype} of shape {numbers.shape}.")
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < self.classes):
            raise ValueError(
                f"labels must be from 0 to {self.classes - 1} for {self.classes} classes, got {numbers.min()} to "
                f"{numbers.max()}."
            )
        return backend_of(like).to_device(np.eye(self.classes, dtype=np.float32)[numbers], like.dtype)

    def decoder_input(self, z: Tensor, x: Tensor) -> Tensor:
        """The code with the class of the inputs x beside it."""
        return ops.concatenate(z, ops.getitem(x, index=(slice(None), slice(-self.classes, None))), axis=1)

    @property
    def code_size(self) -> int:
        """K."""
        return super().code_size - self.classes

    def decode(self, code: Any, batch_size: int = 1024, *, labels: Any = None) -> Any:
        """E[x|z, y] of host codes (N, K) as the classes `labels` (N,), or of joined codes (N, K + C) as they are."""
        if labels is not None:
            code = np.concatenate([code, self.one_hot(labels, code)], axis=1)
        elif code.shape[1] == self.code_size:
            raise ValueError("a code alone does not say which class to decode: write decode(code, labels=...).")
        return super().decode(code, batch_size)

    def sample(
        self, n: int, generator: np.random.Generator | None = None, *, pixels: bool = False, labels: Any = None
    ) -> np.ndarray:
        """n new samples (n, ...) of the classes `labels` (n,), by default each class in turn; see the base class."""
        numbers = np.arange(n) % self.classes if labels is None else np.asarray(labels)
        if n < 1 or len(numbers) != n:
            raise ValueError(f"sample: needs n >= 1 and one label for each, got n={n} and {len(numbers)} labels.")
        rng = self.generator if generator is None else as_generator(generator)
        z = rng.standard_normal((n, self.code_size), dtype=np.float32)
        if not pixels:
            return self.decode(z, labels=numbers)
        joined = np.concatenate([z, self.one_hot(numbers, z)], axis=1)
        return self._apply(lambda c: Tensor(self.likelihood.sample(self.decoder(c), rng)), joined, 1024)

    def restyle(self, x: np.ndarray, labels: Any) -> np.ndarray:
        """Each sample x (N, ...) of the classes `labels`, decoded from its own code as every class: (N, C, ...)."""
        codes = self.encode(self.inputs_for(x, labels))
        every = np.tile(np.arange(self.classes), len(codes))
        made = self.decode(np.repeat(codes, self.classes, axis=0), labels=every)
        return made.reshape(len(codes), self.classes, *made.shape[1:])

    def interpolate(self, a: np.ndarray, b: np.ndarray, steps: int = 8) -> np.ndarray:
        """`steps` samples on the line between two inputs a and b (D + C,), in code and in class."""
        if steps < 2:
            raise ValueError(f"interpolate: steps must be at least 2, the two ends themselves, got {steps}.")
        pair = np.stack([a, b])
        ends = np.concatenate([self.encode(pair), pair[:, -self.classes :]], axis=1)
        t = np.linspace(0.0, 1.0, steps, dtype=ends.dtype)[:, None]
        return self.decode((1.0 - t) * ends[0] + t * ends[1])

    def manifold(self, n: int = 20, dims: tuple[int, int] = (0, 1), *, label: int = 0) -> np.ndarray:
        """The plane of codes of `VariationalAutoencoder.manifold`, decoded as one class."""
        codes = self.plane(n, dims)
        return self.decode(codes, labels=np.full(len(codes), label))

    def latent_report(self, x: np.ndarray, batch_size: int = 1024, *, labels: Any = None) -> LatentReport:
        """As in the base class, of samples with their labels."""
        return LatentReport.of(self.posterior(self.inputs_for(x, labels), batch_size), self.noun)

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        return f"{super().extra_repr()}, classes={self.classes}"


@remembered("cvae")
@passes_on(ConditionalVariationalAutoencoder, variational_pair, without=("outputs", "extra"))
def conditional_variational_autoencoder(
    input_shape: Shape = 784,
    classes: int = 10,
    sizes: Sequence[int] = (400,),
    latent_size: int = 20,
    *,
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> ConditionalVariationalAutoencoder:
    """(D + C) -> sizes -> K, and (K + C) -> sizes backwards -> D.

    Args:
        classes: C, how many classes there are.
        input_shape, sizes, latent_size: as for `variational_pair`.
        generator: for the initial weights and, from there on, for the noise; None draws fresh entropy.
        settings: of `ConditionalVariationalAutoencoder`, `activation` and `normalization`.
    """
    rng = as_generator(generator)
    network, settings = split(settings, variational_pair)
    outputs = decoder_outputs(settings)
    c = check_size("conditional_variational_autoencoder", "classes", classes)
    pair = variational_pair(input_shape, sizes, latent_size, outputs=outputs, extra=c, generator=rng, **network)
    return ConditionalVariationalAutoencoder(*pair, c, generator=rng, **settings)
