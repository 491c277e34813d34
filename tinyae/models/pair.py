"""An encoder and its mirror image: the two stacks of dense layers that every autoencoder of the dense family starts from.

The encoder first flattens a sample, the decoder last gives it its shape back, so that images go in and images come
out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyae.backend import as_generator
from tinyae.nn import Dense, Flatten, Module, Reshape, Sequential, TiedDense

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
