"""Ready-made dense autoencoders: the basic one with one hidden layer, and the deep one of Hinton and Salakhutdinov."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyae.backend import as_generator
from tinyae.models.autoencoder import Autoencoder, remembered
from tinyae.nn import Dense, Flatten, Module, Reshape, Sequential, TiedDense


@remembered("basic")
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
    pair = dense_pair(input_shape, [code_size], code_activation=activation, tied=tied, generator=generator)
    return Autoencoder(*pair, loss=loss, sample=sample)


@remembered("deep")
def deep_autoencoder(
    input_shape: Shape = 784,
    sizes: Sequence[int] = (1000, 500, 250, 30),
    *,
    activation: str = "relu",
    code_activation: str = "identity",
    output_activation: str = "identity",
    loss: str = "bce",
    tied: bool = False,
    sample: str = "sample",
    generator: np.random.Generator | None = None,
) -> Autoencoder:
    """Several hidden layers, the decoder mirroring the encoder: by default 784-1000-500-250-30-250-500-1000-784.

    The shape is that of Hinton and Salakhutdinov 2006 (linear code), who had to pre-train it layer by layer; with
    rectified linear units, He initialization and Adam it trains from scratch.

    Args:
        input_shape: shape of one sample.
        sizes: widths of the encoder's layers; the last is the code.
        activation: of the hidden layers.
        code_activation: of the code.
        output_activation: of the decoder's last layer. With loss "bce" it must stay "identity", as the loss takes
            logits; with "squared_error", "sigmoid" keeps reconstructions of pixels in [0, 1].
        loss, tied, sample, generator: as in `basic_autoencoder`.
    """
    if loss == "bce" and output_activation != "identity":
        raise ValueError(
            f"loss 'bce' takes logits and applies the sigmoid itself, got output_activation {output_activation!r}: "
            "leave it 'identity', or use loss='squared_error'."
        )
    pair = dense_pair(
        input_shape,
        sizes,
        activation=activation,
        code_activation=code_activation,
        output_activation=output_activation,
        tied=tied,
        generator=generator,
    )
    return Autoencoder(*pair, loss=loss, sample=sample)


# ---------------------------------------------------------------------------------------------------------------------
# An encoder and its mirror image: the two stacks of dense layers that every autoencoder of the dense family starts from.
#
# The encoder first flattens a sample, the decoder last gives it its shape back, so that images go in and images come
# out.

Shape = int | Sequence[int]
"""The shape of one sample: D, or (H, W, C)."""


def dense_pair(
    input_shape: Shape,
    sizes: Sequence[int],
    *,
    activation: str = "relu",
    code_activation: str = "identity",
    output_activation: str = "identity",
    tied: bool = False,
    generator: np.random.Generator | None = None,
) -> tuple[Sequential, Sequential]:
    """Encoder D -> sizes[0] -> ... -> K and decoder K -> ... -> sizes[0] -> D.

    Args:
        input_shape: shape of one sample; D is the product of its numbers.
        sizes: widths of the encoder's layers; the last is K, the code.
        activation: of the hidden layers on both sides.
        code_activation: of the code.
        output_activation: of the decoder's last layer ("identity" where the loss takes logits).
        tied: the decoder's layers use the encoder's weights, transposed.
        generator: for the initial weights; None draws fresh entropy.
    """
    shape = sample_shape(input_shape)
    if not sizes or any(not isinstance(n, (int, np.integer)) or n < 1 for n in sizes):
        raise ValueError(f"sizes must be whole numbers of at least 1, got {tuple(sizes)}.")
    rng = as_generator(generator)
    widths = [math.prod(shape), *sizes]
    forth = [activation] * (len(sizes) - 1) + [code_activation]
    back = [activation] * (len(sizes) - 1) + [output_activation]
    layers = [dense_layer(a, b, f, rng) for a, b, f in zip(widths[:-1], widths[1:], forth, strict=True)]
    mirror: list[Module]
    if tied:
        mirror = [TiedDense(layer, activation=f) for layer, f in zip(reversed(layers), back, strict=True)]
    else:
        ends = widths[::-1]
        mirror = [dense_layer(a, b, f, rng) for a, b, f in zip(ends[:-1], ends[1:], back, strict=True)]
    if len(shape) == 1:
        return Sequential(*layers), Sequential(*mirror)
    return Sequential(Flatten(), *layers), Sequential(*mirror, Reshape(*shape))


def dense_layer(fan_in: int, fan_out: int, activation: str, generator: Any) -> Dense:
    """A layer with the initial weights its activation wants: He's for relu, which loses half of the signal, else
    Glorot's.
    """
    initializer = "he_uniform" if activation == "relu" else "glorot_uniform"
    return Dense(fan_in, fan_out, activation=activation, initializer=initializer, generator=generator)


def sample_shape(input_shape: Shape) -> tuple[int, ...]:
    """The shape of one sample as a tuple; raises ValueError unless it is whole numbers of at least 1."""
    shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if not shape or any(not isinstance(n, (int, np.integer)) or n < 1 for n in shape):
        raise ValueError(f"input_shape must be whole numbers of at least 1, got {shape}.")
    return shape
