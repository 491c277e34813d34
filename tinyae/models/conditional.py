"""The conditional variational autoencoder: encoder and decoder receive the class, so the code need not contain it.

The code then contains what the classes share: slant, thickness, size. Decoded as each class in turn, one code shows all ten
digits in the same handwriting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.checks import check_kind
from tinyae.data import Split
from tinyae.models.autoencoder import Batch, as_input, remembered
from tinyae.models.dense import Shape
from tinyae.models.settings import passes_on, split
from tinyae.models.variational import Posterior, VariationalAutoencoder, decoder_outputs, variational_pair
from tinyae.nn import Module
from tinyae.nn.layers import check_size


class ConditionalVariationalAutoencoder(VariationalAutoencoder):
    """A variational autoencoder of p(x | class) (Sohn, Lee and Yan 2015; Kingma et al. 2014, model M2).

    q(z|x, y), p(x|z, y), p(z) = N(0, I),
    loss = E_q[-log p(x|z, y)] + KL(q(z|x, y) || N(0, I)) >= -log p(x|y)     (nats per sample)

    Args:
        encoder: module from (N, D + C), a flat sample with its one-hot class appended, to (N, 2 K).
        decoder: module from (N, K + C) to x's shape.
        classes: C.
        settings: as for `VariationalAutoencoder`.

    The network's input is samples and classes in one array (N, D + C): `batch(Split(x, labels)).x`, which `encode` and
    `reconstruct` take. `tinyae.fit` and `tinyae.evaluate` build it from data with labels.
    """

    classes: int

    @passes_on(VariationalAutoencoder, without=("binarize",))
    def __init__(self, encoder: Module, decoder: Module, classes: int, **settings: Any) -> None:
        super().__init__(encoder, decoder, **settings)
        self.classes = check_size("ConditionalVariationalAutoencoder", "classes", classes)
        if self.binarize != "none":
            raise ValueError("the conditional model cannot binarize, got binarize: binarize the samples beforehand.")

    def batch(self, samples: Split) -> Batch:
        """Samples (N, ...) as targets; as input, flat samples with one-hot classes appended, (N, D + C).

        Raises ValueError without labels, class numbers (N,) from 0 to C - 1.
        """
        if samples.y is None:
            raise ValueError(
                "the conditional model needs a class for each sample, got none: give it data with labels, "
                "e.g. tinyae.fit(model, dataset), or model.batch(Split(x, labels))."
            )
        given = ops.concatenate(samples.flat, self.one_hot(samples.y, samples.x), axis=1)
        return replace(super().batch(samples), x=given)

    def one_hot(self, labels: Any, like: Array) -> Array:
        """One-hot classes (N, C), with the dtype and device of `like`."""
        numbers = np.asarray(labels)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be whole numbers (N,), got {numbers.dtype} of shape {numbers.shape}: give class numbers."
            )
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < self.classes):
            raise ValueError(
                f"labels must be from 0 to {self.classes - 1} for {self.classes} classes, got {numbers.min()} to "
                f"{numbers.max()}."
            )
        return backend_of(like).to_device(np.eye(self.classes, dtype=np.float32)[numbers], like.dtype)

    def example_inputs(self, x: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """x (N, ...) and one-hot `labels` (N, C)."""
        return {"x": x, "labels": self.one_hot(generator.integers(self.classes, size=len(x)), x)}

    def named_outputs(self, part: str, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """What a part computes from x or a code, and from one-hot `labels` (N, C)."""
        name = "code" if part == "decoder" else "x"
        joined = ops.concatenate(ops.flatten(inputs[name]), inputs["labels"], axis=1)
        return super().named_outputs(part, {name: joined})

    def posterior(self, x: Any, batch_size: int = 1024) -> Posterior:
        """q(z|x, y) of samples with their classes (N, D + C); its condition is the classes."""
        x = x.x if isinstance(x, Batch) else as_input(x)
        return replace(super().posterior(x, batch_size), condition=x[:, -self.classes :])

    def reconstruct(self, x: Any, batch_size: int = 1024) -> Any:
        """E[x|z, y] at the posterior mean z, of a Batch or of samples with their classes (N, D + C)."""
        if isinstance(x, Batch):
            return super().reconstruct(x, batch_size)
        return self._restored(self._samples(x), batch_size)

    @property
    def code_size(self) -> int:
        """K."""
        return super().code_size - self.classes

    def decode(self, code: Any, batch_size: int = 1024, *, labels: Any = None) -> Any:
        """E[x|z, y] of host codes (N, K) with classes `labels` (N,), or of codes with appended classes (N, K + C)."""
        code = self._codes(code)
        if labels is not None:
            code = np.concatenate([code, self.one_hot(labels, code)], axis=1)
        elif code.shape[1] == self.code_size:
            raise ValueError("decode needs the class of each code, got codes only: write decode(code, labels=...).")
        return super().decode(code, batch_size)

    def sample(
        self, n: int, generator: np.random.Generator | None = None, *, pixels: bool = False, labels: Any = None
    ) -> np.ndarray:
        """n new samples (n, ...) of classes `labels` (n,), by default of each class in turn; see the base class."""
        n, pixels = check_size("sample", "n", n), check_kind("sample: pixels", pixels, bool)
        numbers = np.arange(n) % self.classes if labels is None else np.asarray(labels)
        if numbers.shape != (n,):
            raise ValueError(f"sample: needs one label for each of n={n}, got labels of shape {numbers.shape}.")
        rng = self.generator if generator is None else as_generator(generator)
        z = rng.standard_normal((n, self.code_size), dtype=np.float32)
        if not pixels:
            return self.decode(z, labels=numbers)
        joined = np.concatenate([z, self.one_hot(numbers, z)], axis=1)
        return self._apply(lambda c: Tensor(self.likelihood.sample(self.decoder(c), rng)), joined, 1024)

    def restyle(self, x: np.ndarray, labels: Any) -> np.ndarray:
        """Each sample x (N, ...) with its class in `labels`, decoded from its code as every class: (N, C, ...)."""
        codes = self.encode(self.batch(Split(x, labels)))
        every = np.tile(np.arange(self.classes), len(codes))
        made = self.decode(np.repeat(codes, self.classes, axis=0), labels=every)
        return made.reshape(len(codes), self.classes, *made.shape[1:])


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
    """(D + C) -> sizes -> K, and (K + C) -> reversed sizes -> D.

    Args:
        classes: C, the number of classes.
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
