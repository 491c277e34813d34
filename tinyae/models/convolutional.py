"""The convolutional autoencoder, and its denoising and variational variants by composition.

A convolution sees the same pattern everywhere, so the network need not learn a stroke anew at each place, and the number
of its weights does not depend on the size of the image: the Keras blog's network has 4,385, the dense 784-32-784 has
50,992.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinyae.backend import as_generator
from tinyae.checks import choose
from tinyae.data import Split
from tinyae.models.autoencoder import Autoencoder, remembered
from tinyae.models.denoising import DenoisingAutoencoder
from tinyae.models.dense import Shape, dense_layer, sample_shape
from tinyae.models.likelihoods import likelihood_named
from tinyae.models.variational import VariationalAutoencoder
from tinyae.nn import (
    Conv2d,
    ConvTranspose2d,
    Crop,
    Flatten,
    MaxPool2d,
    Module,
    PixelShuffle,
    Reshape,
    Sequential,
    Upsample,
    noise_named,
)
from tinyae.nn.layers import check_size


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

    def report(self, samples: Split) -> list[str]:
        """How many numbers a code has, and a warning if they are no fewer than a sample has."""
        size, elements = math.prod(self.code_shape), samples.flat.shape[1]
        line = f"code: {' x '.join(map(str, self.code_shape))} = {size} numbers for {elements} of an {self.sample_name}"
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
    likelihood: str = "gray-bce",
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
        latent_size: K, latent dimensions.
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


# ---------------------------------------------------------------------------------------------------------------------
# An encoder of convolutions and its mirror image: the two stacks that every convolutional autoencoder starts from.
#
# The encoder halves an image at every stage, rounding up where a side is odd: 28, 14, 7, 4. The decoder goes the same way
# back, to exactly the sizes that the encoder came through. A halved 7 and a halved 8 are both 4, and doubling 4 gives 8;
# so every step of the decoder is told which of the two it is, by a crop or by the transposed convolution's output
# padding. Hence any image size will do.

FORMS = {"keras": (16, 8, 8), "strided": (32, 64)}
"""How an image is halved, and the usual channels of the stages. "keras": a convolution, then the largest of 2x2 pixels;
"strided": a convolution that moves by 2."""

UPSAMPLINGS = ("nearest", "bilinear", "transposed", "pixelshuffle")
"""How the decoder doubles an image."""

Size = tuple[int, int]


def conv_pair(
    input_shape: Shape,
    channels: Sequence[int],
    code_size: int | None = None,
    *,
    form: str = "keras",
    kernel_size: int = 3,
    upsampling: str = "nearest",
    activation: str = "relu",
    code_outputs: int = 1,
    outputs: int = 1,
    generator: np.random.Generator,
) -> tuple[Sequential, Sequential]:
    """`conv_encoder` and `conv_decoder` with the same sizes.

    Args:
        code_outputs: numbers from the encoder per number of a code: 2 where a code is a mean and a variance.
        outputs: numbers from the decoder per element of an image, where a likelihood needs more than one.
        input_shape, channels, code_size, form, kernel_size, upsampling, activation, generator: see there.
    """
    same: dict[str, Any] = {"form": form, "kernel_size": kernel_size, "activation": activation, "generator": generator}
    from_encoder = None if code_size is None else code_size * code_outputs
    encoder = conv_encoder(input_shape, channels, from_encoder, **same)
    return encoder, conv_decoder(input_shape, channels, code_size, upsampling=upsampling, outputs=outputs, **same)


def conv_encoder(
    input_shape: Shape,
    channels: Sequence[int],
    code_size: int | None = None,
    *,
    form: str = "keras",
    kernel_size: int = 3,
    activation: str = "relu",
    generator: np.random.Generator,
) -> Sequential:
    """From images (N, H, W, C) to codes (N, K): the last stage's maps laid out in a row, or a dense layer of them.

    Args:
        input_shape: (H, W, C).
        channels: of each stage's maps; every stage halves the image.
        code_size: K, from a linear dense layer on the maps; None if the maps themselves are the code.
        form: a name in `FORMS`.
        kernel_size: of every convolution.
        activation: after every convolution.
        generator: for the initial weights.
    """
    check_design(form, channels)
    shape, layers = image_shape(input_shape), list[Module]()
    into = shape[2]
    for out in channels:
        stride = 1 if form == "keras" else 2
        layers.append(_conv(into, out, kernel_size, activation, generator, stride))
        layers += [MaxPool2d(2, padding="same")] if form == "keras" else []
        into = out
    layers.append(Flatten())
    if code_size is not None:
        layers.append(dense_layer(math.prod(maps_shape(shape, channels)), code_size, "identity", generator))
    return Sequential(*layers)


def conv_decoder(
    input_shape: Shape,
    channels: Sequence[int],
    code_size: int | None = None,
    *,
    form: str = "keras",
    kernel_size: int = 3,
    upsampling: str = "nearest",
    outputs: int = 1,
    activation: str = "relu",
    generator: np.random.Generator,
) -> Sequential:
    """From codes (N, K) to images (N, H, W, C * outputs), the stages of `conv_encoder` in reverse.

    Each step doubles the image and has one convolution. The "keras" form has one more, before the first step. The last
    layer is linear.

    Args:
        input_shape, channels, code_size, form, kernel_size, activation, generator: as of the encoder to be undone.
        upsampling: a name in `UPSAMPLINGS`. "nearest" and "bilinear" enlarge, then convolve; "transposed" does both at
            once; "pixelshuffle" convolves to four times the channels and deals them out.
        outputs: numbers per element of an image, where a likelihood needs more than one.
    """
    check_design(form, channels)
    shape = image_shape(input_shape)
    maps = maps_shape(shape, channels)
    layers: list[Module] = []
    if code_size is not None:
        layers.append(dense_layer(code_size, math.prod(maps), activation, generator))
    layers.append(Reshape(*maps))
    if form == "keras":
        layers.append(_conv(maps[2], maps[2], kernel_size, activation, generator))
    widths = [*reversed(channels), shape[2] * outputs]
    sizes = stage_sizes(shape[:2], len(channels))[::-1]
    for i, (into, out) in enumerate(pairwise(widths)):
        after = activation if i < len(channels) - 1 else "identity"
        layers += _enlarge(upsampling, into, out, kernel_size, sizes[i], sizes[i + 1], after, generator)
    return Sequential(*layers)


def _enlarge(
    how: str, into: int, out: int, kernel: int, size: Size, wanted: Size, activation: str, generator: Any
) -> list[Module]:
    """The layers of one step: maps of `size` to maps of `wanted`, twice as large or a pixel less, on each side."""
    exact = wanted == (2 * size[0], 2 * size[1])
    crop: list[Module] = [] if exact else [Crop(*wanted)]
    if how in ("nearest", "bilinear"):
        return [Upsample(2, how), *crop, _conv(into, out, kernel, activation, generator)]
    if how == "pixelshuffle":
        return [_conv(into, 4 * out, kernel, activation, generator), PixelShuffle(2), *crop]
    choose("upsampling", how, UPSAMPLINGS)
    back = (wanted[0] - 2 * size[0] + 1, wanted[1] - 2 * size[1] + 1)  # with this padding H = 2 OH - 1 + output_padding
    return [
        ConvTranspose2d(
            into, out, kernel, 2, _padding(kernel), back,
            activation=activation, initializer=_initializer(activation), generator=generator,
        )
    ]  # fmt: skip


def _conv(into: int, out: int, kernel: int, activation: str, generator: Any, stride: int = 1) -> Conv2d:
    """A convolution that keeps the size, or with stride 2 halves it, rounding up."""
    return Conv2d(
        into, out, kernel, stride, _padding(kernel),
        activation=activation, initializer=_initializer(activation), generator=generator,
    )  # fmt: skip


def _padding(kernel: int) -> tuple[Size, Size]:
    """kernel - 1 zeros on each axis, half of them before: the output has ceil(H / stride) pixels for every H."""
    kernel = check_size("conv_pair", "kernel_size", kernel)
    around = ((kernel - 1) // 2, kernel // 2)
    return around, around


def _initializer(activation: str) -> str:
    return "he_uniform" if activation == "relu" else "glorot_uniform"


def stage_sizes(size: Size, stages: int) -> list[Size]:
    """(H, W) of the image and after each stage: halved, rounding up."""
    sizes = [size]
    for _ in range(stages):
        h, w = sizes[-1]
        sizes.append((-(-h // 2), -(-w // 2)))
    return sizes


def maps_shape(input_shape: Shape, channels: Sequence[int]) -> tuple[int, int, int]:
    """(h, w, c) of the last stage's maps: 4 x 4 x 8 for 28 x 28 images and channels 16, 8, 8."""
    shape = image_shape(input_shape)
    return (*stage_sizes(shape[:2], len(channels))[-1], channels[-1])


def image_shape(input_shape: Shape) -> tuple[int, int, int]:
    """(H, W, C); raises ValueError, with the fix, if samples are not images."""
    shape = sample_shape(input_shape)
    if len(shape) != 3:
        raise ValueError(
            f"a convolutional autoencoder takes images (H, W, C), got samples of shape {shape}: choose a data set of "
            "images, give gray images their channel by x[..., None], or use a dense model such as 'deep'."
        )
    return shape


def usual_channels(form: str) -> tuple[int, ...]:
    """The channels of the stages in `FORMS`; raises ValueError with the known forms."""
    choose("form", form, FORMS)
    return FORMS[form]


def check_design(form: str, channels: Sequence[int]) -> None:
    """Raise ValueError unless the form is known and there is at least one stage."""
    usual = usual_channels(form)
    if not channels:
        raise ValueError(f"channels must name at least one stage, got none: write channels={usual}.")
    for width in channels:
        check_size("conv_pair", "channels", width)
