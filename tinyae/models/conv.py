"""The convolutional autoencoder, and its denoising and variational variants by composition.

A convolution sees the same pattern everywhere, so the network need not learn a stroke anew at each place, and the number
of its weights does not depend on the size of the image: the Keras blog's network has 4,385, the dense 784-32-784 has
50,992.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyae.backend import as_generator
from tinyae.models.autoencoder import Autoencoder
from tinyae.models.conv_pair import conv_pair, maps_shape, usual_channels
from tinyae.models.denoising import DenoisingAutoencoder
from tinyae.models.likelihoods import likelihood_named
from tinyae.models.pair import Shape
from tinyae.models.recipe import remembered
from tinyae.models.variational import VariationalAutoencoder
from tinyae.nn import Module, noise_named
from tinyae.nn.checks import check_size


class ConvAutoencoder(Autoencoder):
    """An autoencoder of images by convolutions (Masci, Meier, Ciresan and Schmidhuber 2011).

    code = encoder(x) (N, K),   output = decoder(code) (N, H, W, C),   loss = distance(output, x)

    Args:
        encoder: module from images (N, H, W, C) to codes (N, K).
        decoder: module from codes (N, K) to x's shape. With loss "bce" it gives logits.
        code_shape: (h, w, c) with h * w * c = K if a code is a stack of small images, laid out in a row; (K,) if it is a
            plain row of numbers.
        loss, sample: as for `Autoencoder`.
    """

    def __init__(
        self,
        encoder: Module,
        decoder: Module,
        code_shape: Sequence[int],
        *,
        loss: str = "bce",
        sample: str = "image",
    ) -> None:
        super().__init__(encoder, decoder, loss=loss, sample=sample)
        self.code_shape = tuple(check_size("ConvAutoencoder", "code_shape", n) for n in code_shape)

    def encode_maps(self, x: Any, batch_size: int = 1024) -> Any:
        """Codes of x as the encoder's last maps (N, h, w, c): `encode`, not laid out in a row."""
        codes = self.encode(x, batch_size)
        return codes.reshape(len(codes), *self.code_shape)

    def remarks(self, x: np.ndarray, labels: Any = None) -> list[str]:
        """How many numbers a code has, and a warning if they are no fewer than a sample has."""
        size, elements = math.prod(self.code_shape), math.prod(x.shape[1:])
        line = f"code: {' x '.join(map(str, self.code_shape))} = {size} numbers for {elements} of an {self.noun}"
        return [line if size < elements else f"{line}: no bottleneck, a copy would be a perfect solution"]

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        return f"code_shape={self.code_shape}, {super().extra_repr()}"


@remembered("conv")
def conv_autoencoder(
    input_shape: Shape = (28, 28, 1),
    *,
    form: str = "keras",
    channels: Sequence[int] | None = None,
    kernel_size: int = 3,
    code_size: int | None = None,
    upsampling: str = "nearest",
    activation: str = "relu",
    loss: str = "bce",
    sample: str = "image",
    generator: np.random.Generator | None = None,
) -> ConvAutoencoder:
    """By default 28x28x1 -> 14x14x16 -> 7x7x8 -> 4x4x8 and back, the network of the Keras blog (Chollet 2016).

    The blog upsamples its 4x4 maps to 8x8, 16x16 and, by a convolution without padding, 28x28. Here each step gives the
    size that the encoder had, 7, 14 and 28, which is the same number of weights on fewer pixels.

    Args:
        input_shape: (H, W, C), any.
        form: "keras", convolution and max pooling; "strided", convolutions that move by 2.
        channels: of the stages, each of which halves the image; by default 16, 8, 8 for "keras", 32, 64 for "strided".
        kernel_size: of every convolution.
        code_size: K, of a dense layer after the last stage; None for a code that is the stage's maps.
        upsampling: how the decoder doubles an image: "nearest", "bilinear", "transposed" or "pixelshuffle".
        activation: after every convolution but the last.
        loss, sample: see `Autoencoder`.
        generator: for the initial weights; None draws fresh entropy.
    """
    channels = usual_channels(form) if channels is None else channels
    pair = conv_pair(
        input_shape, channels, code_size, form=form, kernel_size=kernel_size, activation=activation,
        upsampling=upsampling, generator=as_generator(generator),
    )  # fmt: skip
    code_shape = maps_shape(input_shape, channels) if code_size is None else (code_size,)
    return ConvAutoencoder(*pair, code_shape, loss=loss, sample=sample)


@remembered("conv-denoising")
def conv_denoising_autoencoder(
    input_shape: Shape = (28, 28, 1),
    *,
    corruption: str = "gaussian",
    level: float = 0.5,
    alpha: float = 1.0,
    beta: float = 1.0,
    form: str = "keras",
    channels: Sequence[int] | None = None,
    kernel_size: int = 3,
    code_size: int | None = None,
    upsampling: str = "nearest",
    activation: str = "relu",
    loss: str = "bce",
    sample: str = "image",
    generator: np.random.Generator | None = None,
) -> DenoisingAutoencoder:
    """A `DenoisingAutoencoder` of convolutions, by default 28x28x1 -> 14x14x32 -> 7x7x32 and back under Gaussian noise of
    standard deviation 0.5: the denoiser of the Keras blog.

    Its code has 1568 numbers for 784 pixels: what keeps it from copying is the noise.

    Args:
        corruption, level, alpha, beta: as for `denoising_autoencoder`.
        channels: of the stages, by default 32, 32.
        form, kernel_size, code_size, upsampling, activation, loss, sample: as for `conv_autoencoder`.
        generator: for the initial weights and, from there on, for the noise; None draws fresh entropy.
    """
    rng = as_generator(generator)
    noise = noise_named(corruption, level, rng)
    pair = conv_pair(
        input_shape, (32, 32) if channels is None else channels, code_size, form=form, kernel_size=kernel_size,
        activation=activation, upsampling=upsampling, generator=rng,
    )  # fmt: skip
    return DenoisingAutoencoder(*pair, noise, alpha=alpha, beta=beta, loss=loss, sample=sample)


@remembered("conv-vae")
def conv_variational_autoencoder(
    input_shape: Shape = (28, 28, 1),
    latent_size: int = 20,
    *,
    form: str = "strided",
    channels: Sequence[int] | None = None,
    kernel_size: int = 3,
    upsampling: str = "transposed",
    activation: str = "relu",
    likelihood: str = "grey-bce",
    scale: float | None = None,
    beta: float = 1.0,
    warmup: int = 0,
    free_bits: float = 0.0,
    binarize: str = "none",
    sample: str = "image",
    generator: np.random.Generator | None = None,
) -> VariationalAutoencoder:
    """A `VariationalAutoencoder` of convolutions, by default 28x28x1 -> 14x14x32 -> 7x7x64 -> a code of 20 and back.

    Args:
        latent_size: K, numbers in a code.
        form, channels, kernel_size, upsampling, activation: as for `conv_autoencoder`.
        likelihood, scale: as for `variational_autoencoder`.
        beta, warmup, free_bits, binarize, sample: see `VariationalAutoencoder`.
        generator: for the initial weights and, from there on, for the noise; None draws fresh entropy.
    """
    rng = as_generator(generator)
    k = check_size("conv_variational_autoencoder", "latent_size", latent_size)
    chosen = likelihood_named(likelihood, scale=scale)
    pair = conv_pair(
        input_shape, usual_channels(form) if channels is None else channels, k, form=form, kernel_size=kernel_size,
        activation=activation, upsampling=upsampling, code_outputs=2, outputs=chosen.outputs, generator=rng,
    )  # fmt: skip
    return VariationalAutoencoder(
        *pair, likelihood=chosen, beta=beta, warmup=warmup, free_bits=free_bits, binarize=binarize, sample=sample,
        generator=rng,
    )  # fmt: skip
