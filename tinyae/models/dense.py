"""Ready-made dense autoencoders: the basic one with one hidden layer, and the deep one of Hinton and Salakhutdinov."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyae.models.autoencoder import Autoencoder
from tinyae.models.pair import Shape, dense_pair
from tinyae.models.recipe import remembered


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
    rectified linear units, He initialisation and Adam it trains from scratch.

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
