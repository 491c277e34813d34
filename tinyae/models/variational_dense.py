"""Ready-made variational autoencoders of dense layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinyae.backend import as_generator
from tinyae.models.importance import ImportanceWeightedAutoencoder
from tinyae.models.likelihoods import likelihood_named
from tinyae.models.pair import Shape, sample_shape
from tinyae.models.recipe import remembered
from tinyae.models.variational import VariationalAutoencoder
from tinyae.nn import Dense, Flatten, Module, Reshape, Sequential
from tinyae.nn.checks import check_size


@remembered("vae")
def variational_autoencoder(
    input_shape: Shape = 784,
    sizes: Sequence[int] = (400,),
    latent_size: int = 20,
    *,
    activation: str = "relu",
    likelihood: str = "grey-bce",
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
        latent_size: K, numbers in a code.
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
