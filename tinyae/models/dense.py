"""Ready-made dense autoencoders: the basic one with one hidden layer, and the deep one of Hinton and Salakhutdinov.

Both are an `Autoencoder` around two stacks of `Dense` layers. The encoder first flattens a sample, the decoder last
gives it its shape back, so that images go in and images come out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyae.backend import as_generator
from tinyae.models.autoencoder import Autoencoder
from tinyae.nn import Dense, Flatten, Module, Reshape, Sequential, TiedDense

Shape = int | Sequence[int]


def basic_autoencoder(
    input_shape: Shape = 784,
    code_size: int = 32,
    *,
    activation: str = "relu",
    loss: str = "bce",
    tied: bool = False,
    sample: str = "sample",
    generator: np.random.Generator | None = None,
) -> Autoencoder:
    """One hidden layer: D -> K -> D, by default 784-32-784.

    Args:
        input_shape: shape of one sample, e.g. 784 or (28, 28, 1).
        code_size: K, the length of a code.
        activation: of the code; "identity" with loss "squared_error" is the linear autoencoder, which finds PCA's
            subspace (Baldi and Hornik 1989).
        loss: see `Autoencoder`.
        tied: the decoder uses the transpose of the encoder's weights (Vincent et al. 2010, section 2.2).
        sample: what one sample is called in units.
        generator: for the initial weights; None draws fresh entropy.
    """
    return _mirrored(input_shape, [code_size], "identity", activation, loss, tied, sample, generator)


def deep_autoencoder(
    input_shape: Shape = 784,
    sizes: Sequence[int] = (1000, 500, 250, 30),
    *,
    activation: str = "relu",
    code_activation: str = "identity",
    loss: str = "bce",
    tied: bool = False,
    sample: str = "sample",
    generator: np.random.Generator | None = None,
) -> Autoencoder:
    """Several hidden layers, the decoder mirroring the encoder: by default 784-1000-500-250-30-250-500-1000-784.

    The shape is that of Hinton and Salakhutdinov 2006 (linear code), who had to pre-train it layer by layer; with
    rectified linear units, He initialisation and Adam it trains from scratch.

    Args:
        input_shape: shape of one sample.
        sizes: widths of the encoder's layers; the last is the code.
        activation: of the hidden layers.
        code_activation: of the code.
        loss, tied, sample, generator: as in `basic_autoencoder`.
    """
    return _mirrored(input_shape, sizes, activation, code_activation, loss, tied, sample, generator)


def _mirrored(
    input_shape: Shape,
    sizes: Sequence[int],
    activation: str,
    code_activation: str,
    loss: str,
    tied: bool,
    sample: str,
    generator: np.random.Generator | None,
) -> Autoencoder:
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    for what, numbers in (("input_shape", shape), ("sizes", tuple(sizes))):
        if not numbers or any(not isinstance(n, (int, np.integer)) or n < 1 for n in numbers):
            raise ValueError(f"{what} must be whole numbers of at least 1, got {numbers}.")
    rng = as_generator(generator)
    widths = [math.prod(shape), *sizes]
    activations = [activation] * (len(sizes) - 1) + [code_activation]
    encoder: list[Module] = [_dense(a, b, f, rng) for a, b, f in zip(widths, widths[1:], activations, strict=False)]
    back = [activation] * (len(sizes) - 1) + ["identity"]
    decoder: list[Module]
    if tied:
        decoder = [TiedDense(layer, activation=f) for layer, f in zip(reversed(encoder), back, strict=True)]  # type: ignore[arg-type]
    else:
        mirror = widths[::-1]
        decoder = [_dense(a, b, f, rng) for a, b, f in zip(mirror, mirror[1:], back, strict=False)]
    if len(shape) > 1:
        encoder.insert(0, Flatten())
        decoder.append(Reshape(*shape))
    return Autoencoder(Sequential(*encoder), Sequential(*decoder), loss=loss, sample=sample)


def _dense(fan_in: int, fan_out: int, activation: str, generator: Any) -> Dense:
    initializer = "he_uniform" if activation == "relu" else "glorot_uniform"
    return Dense(fan_in, fan_out, activation=activation, initializer=initializer, generator=generator)
