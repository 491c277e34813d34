"""Ready-made dense autoencoders: the basic one with one hidden layer, and the deep one of Hinton and Salakhutdinov."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import numpy as np

from tinyae import nn
from tinyae.backend import as_generator
from tinyae.checks import checked, choose
from tinyae.models.autoencoder import Autoencoder, remembered
from tinyae.models.settings import passes_on, split
from tinyae.ops.linear import ACTIVATIONS

# ---------------------------------------------------------------------------------------------------------------------
# A dense encoder and its mirror image, the decoder: every dense autoencoder is built from them.
#
# The encoder starts by flattening a sample, the decoder ends by restoring its shape, so that input and output are images.

Shape = int | Sequence[int]
"""The shape of one sample: D, or (H, W, C)."""

NORMALIZATIONS = ("none", "batch", "layer")
"""What can be inserted between a hidden layer and its activation."""


@checked
def dense_pair(
    input_shape: Shape,
    sizes: Sequence[int],
    *,
    activation: Annotated[str, ACTIVATIONS] = "relu",
    code_activation: Annotated[str, ACTIVATIONS] = "identity",
    output_activation: Annotated[str, ACTIVATIONS] = "identity",
    tied: bool = False,
    normalization: Annotated[str, NORMALIZATIONS] = "none",
    generator: np.random.Generator | None = None,
) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder D -> sizes[0] -> ... -> K and decoder K -> ... -> sizes[0] -> D.

    Args:
        input_shape: shape of one sample; D is the product of its numbers.
        sizes: widths of the encoder's layers; the last is K, the code.
        activation: of the hidden layers.
        code_activation: of the code.
        output_activation: of the decoder's last layer; "identity" if the loss takes logits.
        tied: the decoder uses the encoder's weights, transposed (Vincent et al. 2010, section 2.2).
        normalization: of the hidden layers before their activation, over the batch or over each layer.
        generator: for the initial weights; None draws fresh entropy.
    """
    shape = sample_shape(input_shape)
    if not len(sizes) or any(not isinstance(n, (int, np.integer)) or n < 1 for n in sizes):
        raise ValueError(f"sizes must be whole numbers of at least 1, got {tuple(sizes)}: write e.g. (256, 32).")
    check_normalization(normalization, len(sizes) - 1)
    rng = as_generator(generator)
    widths = [math.prod(shape), *sizes]
    hidden = [activation] * (len(sizes) - 1)
    layers = dense_layers(widths, [*hidden, code_activation], rng)
    back = [*hidden, output_activation]
    mirror: Sequence[nn.Module]
    if tied:
        mirror = [nn.TiedDense(layer, activation=f) for layer, f in zip(reversed(layers), back, strict=True)]
    else:
        mirror = dense_layers(widths[::-1], back, rng)
    encoder = [*normalized(layers[:-1], normalization), layers[-1]]
    decoder = [*normalized(mirror[:-1], normalization), mirror[-1]]
    if len(shape) == 1:
        return nn.Sequential(*encoder), nn.Sequential(*decoder)
    return nn.Sequential(nn.Flatten(), *encoder), nn.Sequential(*decoder, nn.Reshape(*shape))


def dense_layers(
    widths: Sequence[int], activations: Sequence[str], generator: np.random.Generator, initializer: Any = None
) -> list[nn.Dense]:
    """Layers from width to width, with the initial weights for their activations or those of `initializer`."""
    return [
        nn.Dense(a, b, activation=f, initializer=initializer or initializer_for(f), generator=generator)
        for (a, b), f in zip(pairwise(widths), activations, strict=True)
    ]


def initializer_for(activation: str) -> str:
    """He's initial weights for relu, which halves the variance of a signal, else Glorot's."""
    return "he_uniform" if activation == "relu" else "glorot_uniform"


def normalized(layers: Sequence[nn.Module], normalization: str) -> list[nn.Module]:
    """The layers unchanged, or each followed by a normalization before its activation (Ioffe and Szegedy 2015).

    The shift of the normalization takes the place of the bias. Layers without weights, such as `Upsample`, stay unchanged.
    """
    norm = {"batch": nn.BatchNorm, "layer": nn.LayerNorm}.get(choose("normalization", normalization, NORMALIZATIONS))
    found: list[nn.Module] = []
    for layer in layers:
        found.append(layer)
        if norm is not None and isinstance(layer, (nn.Dense, nn.TiedDense, nn.Conv2d, nn.ConvTranspose2d)):
            assert layer.bias is not None
            found += [norm(layer.bias.size), _ACTIVATIONS[layer.activation]()]
            layer.activation = "identity"
            if not isinstance(layer, nn.TiedDense):
                layer.bias = None
    return found


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity, "relu": nn.ReLU, "elu": nn.ELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
    "gelu": nn.GELU, "silu": nn.SiLU,
}  # fmt: skip


def check_normalization(normalization: str, hidden: int) -> None:
    """Raise ValueError for a normalization of a network without `hidden` layers."""
    if normalization != "none" and not hidden:
        raise ValueError(
            f"normalization {normalization!r} acts on hidden layers, got a network without: "
            "leave it out, or make the network deeper."
        )


def sample_shape(input_shape: Shape) -> tuple[int, ...]:
    """The shape of one sample as a tuple; raises ValueError unless it is whole numbers of at least 1."""
    shape = tuple(input_shape) if isinstance(input_shape, Iterable) else (input_shape,)
    if not shape or any(not isinstance(n, (int, np.integer)) or n < 1 for n in shape):
        raise ValueError(
            f"input_shape must be whole numbers of at least 1, got {shape}: write e.g. 784 or (28, 28, 1)."
        )
    return shape


@remembered("deep")
@passes_on(dense_pair, Autoencoder)
def deep_autoencoder(
    input_shape: Shape = 784,
    sizes: Sequence[int] = (1000, 500, 250, 30),
    *,
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> Autoencoder:
    """Several hidden layers, the decoder mirroring the encoder: by default 784-1000-500-250-30-250-500-1000-784.

    The sizes are those of Hinton and Salakhutdinov 2006 (linear code), who had to pre-train layer by layer; with rectified
    linear units, He initialization and Adam the network trains from scratch.

    Args:
        input_shape: shape of one sample, e.g. 784 or (28, 28, 1).
        sizes: widths of the encoder's layers; the last is the code.
        generator: for the initial weights; None draws fresh entropy.
        settings: of `dense_pair` and `Autoencoder`. With loss "bce" the output activation must stay "identity", as the
            loss takes logits; with "squared_error", "sigmoid" keeps reconstructions of pixels in [0, 1].
    """
    network, settings = split(settings, dense_pair)
    pair = dense_pair(input_shape, sizes, generator=generator, **network)
    model = Autoencoder(*pair, **settings)
    output = network.get("output_activation", "identity")
    if model.reconstruction.name == "bce" and output != "identity":
        raise ValueError(
            f"loss 'bce' takes logits and applies the sigmoid itself, got output_activation {output!r}: "
            "leave it 'identity', or use loss='squared_error'."
        )
    return model


@remembered("basic")
@passes_on(deep_autoencoder, without=("code_activation", "normalization"))
def basic_autoencoder(
    input_shape: Shape = 784,
    code_size: int = 32,
    *,
    activation: Annotated[str, ACTIVATIONS] = "relu",
    **settings: Any,
) -> Autoencoder:
    """One hidden layer: D -> K -> D, by default 784-32-784.

    Args:
        input_shape: shape of one sample.
        code_size: K, latent dimensions.
        activation: of the code; "identity" with loss "squared_error" is the linear autoencoder, which finds PCA's
            subspace (Baldi and Hornik 1989).
        settings: as for `deep_autoencoder`.
    """
    return deep_autoencoder(input_shape, [code_size], code_activation=activation, **settings)
