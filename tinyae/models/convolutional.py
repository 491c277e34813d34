"""The convolutional autoencoder, and its denoising and variational variants by composition.

A convolution applies the same weights everywhere, so the network need not learn a stroke again at each position, and the
number of weights does not depend on the image size: the Keras blog's network has 4,385, the dense 784-32-784 has 50,992.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

import numpy as np

from tinyae import nn
from tinyae.backend import as_generator
from tinyae.checks import choose
from tinyae.models.autoencoder import Autoencoder, remembered
from tinyae.models.denoising import DenoisingAutoencoder
from tinyae.models.dense import NORMALIZATIONS, Shape, dense_layers, initializer_for, normalized, sample_shape
from tinyae.models.settings import defaults, passes_on, split
from tinyae.models.variational import VariationalAutoencoder, decoder_outputs
from tinyae.nn import NOISES, Module, Sequential, noise_named
from tinyae.nn.layers import check_size
from tinyae.ops.linear import ACTIVATIONS


class ConvAutoencoder(Autoencoder):
    """A convolutional autoencoder of images (Masci, Meier, Ciresan and Schmidhuber 2011).

    code = encoder(x) (N, K),   output = decoder(code) (N, H, W, C),   loss = distance(output, x)

    Args:
        encoder, decoder, settings: as for `Autoencoder`, of images (N, H, W, C).
        code_shape: (h, w, c) with h * w * c = K if a code is flattened feature maps; (K,) if it is a plain vector.
    """

    @passes_on(Autoencoder)
    def __init__(
        self, encoder: Module, decoder: Module, code_shape: Sequence[int], *, sample: str = "image", **settings: Any
    ) -> None:
        super().__init__(encoder, decoder, sample=sample, **settings)
        self.code_shape = tuple(check_size("ConvAutoencoder", "code_shape", n) for n in code_shape)

    def encode_maps(self, x: Any, batch_size: int = 1024) -> Any:
        """Codes of x as the encoder's last maps (N, h, w, c): `encode` without the flattening."""
        codes = self.encode(x, batch_size)
        return codes.reshape(len(codes), *self.code_shape)


# ---------------------------------------------------------------------------------------------------------------------
# A convolutional encoder and its mirror image, the decoder: every convolutional autoencoder is built from them.
#
# The encoder halves the image at every stage, rounding odd sides up: 28, 14, 7, 4. The decoder passes through exactly the
# same sizes in reverse. Both 7 and 8 are halved to 4, and doubling 4 gives 8, so each step of the decoder gets the right
# size by a crop or by the output padding of a transposed convolution. Any image size works.

FORMS = {"keras": (16, 8, 8), "strided": (32, 64)}
"""How an image is halved, and the default channels of the stages. "keras": a convolution, then 2x2 pooling; "strided": a
convolution with stride 2."""

UPSAMPLINGS = ("nearest", "bilinear", "transposed", "pixelshuffle")
"""How the decoder doubles an image."""

POOLINGS: dict[str, type[nn.MaxPool2d] | type[nn.AvgPool2d]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
"""Kinds of 2x2 pooling in the form "keras"."""

Size = tuple[int, int]


def conv_encoder(
    input_shape: Shape,
    channels: Sequence[int],
    code_size: int | None = None,
    *,
    form: Annotated[str, FORMS] = "keras",
    kernel_size: int = 3,
    pooling: Annotated[str, POOLINGS] = "max",
    activation: Annotated[str, ACTIVATIONS] = "relu",
    normalization: Annotated[str, NORMALIZATIONS] = "none",
    generator: np.random.Generator,
) -> Sequential:
    """From images (N, H, W, C) to codes (N, K): the last stage's maps, flattened, or a dense layer on them.

    Args:
        input_shape: (H, W, C).
        channels: of the stages, each of which halves the image.
        code_size: K, latent dimensions, by a dense layer; by default the code is the last stage's maps.
        form: how an image is halved: "keras", convolution and pooling; "strided", convolutions with stride 2.
        kernel_size: of every convolution.
        pooling: in the form "keras": the maximum or the mean of 2x2 pixels.
        activation: of all layers but the last.
        normalization: of all layers but the last, before the activation: of each channel over the batch, or over the
            channels of each pixel.
        generator: for the initial weights.
    """
    check_design(form, channels)
    choose("pooling", pooling, POOLINGS)
    if form != "keras" and pooling != "max":
        raise ValueError(f"form {form!r} has strides instead of pooling, got pooling={pooling!r}: leave it out.")
    shape, layers = image_shape(input_shape), list[Module]()
    stride = 1 if form == "keras" else 2
    for into, out in pairwise([shape[2], *channels]):
        layers += normalized([_conv(into, out, kernel_size, activation, generator, stride)], normalization)
        layers += [POOLINGS[pooling](2, padding="same")] if form == "keras" else []
    layers.append(nn.Flatten())
    if code_size is not None:
        layers += dense_layers([math.prod(maps_shape(shape, channels)), code_size], ["identity"], generator)
    return Sequential(*layers)


@passes_on(conv_encoder, without=("pooling",))
def conv_decoder(
    input_shape: Shape,
    channels: Sequence[int],
    code_size: int | None = None,
    *,
    upsampling: Annotated[str, UPSAMPLINGS] = "nearest",
    outputs: int = 1,
    generator: np.random.Generator,
    **settings: Any,
) -> Sequential:
    """From codes (N, K) to images (N, H, W, C * outputs), the stages of `conv_encoder` in reverse.

    Each step doubles the image and has one convolution; the form "keras" has one more before the first step. The last layer
    is linear.

    Args:
        input_shape, channels, code_size, generator: as for the encoder.
        upsampling: how the decoder doubles an image: "nearest" and "bilinear" enlarge, then convolve; "transposed" does
            both at once; "pixelshuffle" convolves to four times the channels and rearranges them as pixels.
        outputs: decoder outputs per element of an image, if a likelihood needs more than one.
        settings: form, kernel_size, activation and normalization, as for the encoder.
    """
    form, kernel_size, activation, normalization = (
        (defaults(conv_encoder) | settings)[name] for name in ("form", "kernel_size", "activation", "normalization")
    )
    check_design(form, channels)
    shape = image_shape(input_shape)
    maps = maps_shape(shape, channels)
    layers: list[Module] = []
    if code_size is not None:
        layers += normalized(dense_layers([code_size, math.prod(maps)], [activation], generator), normalization)
    layers.append(nn.Reshape(*maps))
    if form == "keras":
        layers += normalized([_conv(maps[2], maps[2], kernel_size, activation, generator)], normalization)
    widths = [*reversed(channels), shape[2] * outputs]
    sizes = stage_sizes(shape[:2], len(channels))[::-1]
    for i, (into, out) in enumerate(pairwise(widths)):
        last = i == len(channels) - 1
        after = "identity" if last else activation
        step = _enlarge(upsampling, into, out, kernel_size, sizes[i], sizes[i + 1], after, generator)
        layers += step if last else normalized(step, normalization)
    return Sequential(*layers)


@passes_on(conv_encoder, conv_decoder, without=("outputs",))
def conv_pair(
    input_shape: Shape,
    channels: Sequence[int],
    code_size: int | None = None,
    *,
    generator: np.random.Generator,
    code_outputs: int = 1,
    outputs: int = 1,
    **settings: Any,
) -> tuple[Sequential, Sequential]:
    """`conv_encoder` and `conv_decoder` with the same sizes.

    Args:
        code_outputs: encoder outputs per latent dimension: 2 for a mean and a variance.
        input_shape, channels, code_size, outputs, generator, settings: see there.
    """
    of_encoder, _ = split(settings, conv_encoder)
    of_decoder, _ = split(settings, conv_decoder)
    from_encoder = None if code_size is None else code_size * code_outputs
    encoder = conv_encoder(input_shape, channels, from_encoder, generator=generator, **of_encoder)
    return encoder, conv_decoder(input_shape, channels, code_size, outputs=outputs, generator=generator, **of_decoder)


def _enlarge(
    how: str, into: int, out: int, kernel: int, size: Size, wanted: Size, activation: str, generator: Any
) -> list[Module]:
    """The layers of one step, from maps of `size` to maps of `wanted`, twice as large or one pixel less on each side."""
    exact = wanted == (2 * size[0], 2 * size[1])
    crop: list[Module] = [] if exact else [nn.Crop(*wanted)]
    if how in ("nearest", "bilinear"):
        return [nn.Upsample(2, how), *crop, _conv(into, out, kernel, activation, generator)]
    if how == "pixelshuffle":
        return [_conv(into, 4 * out, kernel, activation, generator), nn.PixelShuffle(2), *crop]
    choose("upsampling", how, UPSAMPLINGS)
    back = (wanted[0] - 2 * size[0] + 1, wanted[1] - 2 * size[1] + 1)  # with this padding H = 2 OH - 1 + output_padding
    return [
        nn.ConvTranspose2d(
            into, out, kernel, 2, _padding(kernel), back,
            activation=activation, initializer=initializer_for(activation), generator=generator,
        )
    ]  # fmt: skip


def _conv(into: int, out: int, kernel: int, activation: str, generator: Any, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size, or with stride 2 halves it, rounding up."""
    return nn.Conv2d(
        into, out, kernel, stride, _padding(kernel),
        activation=activation, initializer=initializer_for(activation), generator=generator,
    )  # fmt: skip


def _padding(kernel: int) -> tuple[Size, Size]:
    """kernel - 1 zeros on each axis, half of them in front: the output has ceil(H / stride) pixels for every H."""
    kernel = check_size("conv_pair", "kernel_size", kernel)
    around = ((kernel - 1) // 2, kernel // 2)
    return around, around


def stage_sizes(size: Size, stages: int) -> list[Size]:
    """(H, W) of the image and after each stage: halved, rounding up."""
    h, w = size
    return [(-(-h // 2**stage), -(-w // 2**stage)) for stage in range(stages + 1)]


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
            "images, add the channel of gray images by x[..., None], or use a dense model such as 'deep'."
        )
    return shape


def usual_channels(form: str) -> tuple[int, ...]:
    """The default channels of a form; raises ValueError with the known forms."""
    return FORMS[choose("form", form, FORMS)]


def check_design(form: str, channels: Sequence[int]) -> None:
    """Raise ValueError unless the form is known and there is at least one stage."""
    usual = usual_channels(form)
    if not len(channels):
        raise ValueError(f"channels must list at least one stage, got none: write channels={usual}.")
    for width in channels:
        check_size("conv_pair", "channels", width)


@remembered("conv")
@passes_on(conv_pair, ConvAutoencoder, without=("code_outputs", "outputs"))
def conv_autoencoder(
    input_shape: Shape = (28, 28, 1),
    *,
    form: Annotated[str, FORMS] = "strided",
    channels: Sequence[int] | None = None,
    code_size: int | None = None,
    upsampling: Annotated[str, UPSAMPLINGS] | None = None,
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> ConvAutoencoder:
    """By default 28x28x1 -> 14x14x16 -> 7x7x32 -> a code of 32 and back, by strided and transposed convolutions.

    With form "keras" it is the network of the Keras blog (Chollet 2016), 28x28x1 -> 14x14x16 -> 7x7x8 -> 4x4x8. The blog
    upsamples the 4x4 maps to 8x8, 16x16 and, by a convolution without padding, 28x28. Here the steps have the sizes of the
    encoder, 7, 14 and 28: the same number of weights on fewer pixels.

    Args:
        input_shape: (H, W, C), any.
        form: how an image is halved: "keras", convolution and pooling; "strided", convolutions with stride 2.
        channels: of the stages, each of which halves the image; by default 16,32, for form "keras" 16,8,8.
        code_size: K, latent dimensions, by a dense layer; 0 for the last stage's maps as the code, as in form "keras" by
            default; else 32.
        upsampling: how the decoder doubles an image, see `conv_decoder`; by default "transposed", for form "keras" "nearest".
        generator: for the initial weights; None draws fresh entropy.
        settings: of `conv_pair` and `ConvAutoencoder`.
    """
    design, settings = split(settings, conv_pair)
    blog = form == "keras"
    channels = ((16, 8, 8) if blog else (16, 32)) if channels is None else channels
    size = (0 if blog else 32) if code_size is None else code_size
    how = upsampling or ("nearest" if blog else "transposed")
    pair = conv_pair(
        input_shape, channels, size or None, form=form, upsampling=how, generator=as_generator(generator), **design
    )
    return ConvAutoencoder(*pair, (size,) if size else maps_shape(input_shape, channels), **settings)


@remembered("conv-denoising")
@passes_on(DenoisingAutoencoder, conv_pair, without=("code_outputs", "outputs"))
def conv_denoising_autoencoder(
    input_shape: Shape = (28, 28, 1),
    *,
    corruption: Annotated[str, NOISES] = "gaussian",
    level: float = 0.5,
    channels: Sequence[int] = (32, 32),
    code_size: int | None = None,
    sample: str = "image",
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> DenoisingAutoencoder:
    """A `DenoisingAutoencoder` of convolutions, by default 28x28x1 -> 14x14x32 -> 7x7x32 and back under Gaussian noise of
    standard deviation 0.5: the denoiser of the Keras blog.

    Its code has 1568 values for 784 pixels: only the noise prevents copying.

    Args:
        corruption: kind of noise.
        level: fraction of corrupted elements, or the standard deviation of Gaussian noise.
        generator: for the initial weights and, from there on, for the noise; None draws fresh entropy.
        settings: of `conv_pair` and `DenoisingAutoencoder`.
    """
    rng = as_generator(generator)
    design, settings = split(settings, conv_pair)
    noise = noise_named(corruption, level, rng)
    pair = conv_pair(input_shape, channels, code_size, generator=rng, **design)
    return DenoisingAutoencoder(*pair, noise, sample=sample, **settings)


@remembered("conv-vae")
@passes_on(VariationalAutoencoder, conv_pair, without=("code_outputs", "outputs"))
def conv_variational_autoencoder(
    input_shape: Shape = (28, 28, 1),
    latent_size: int = 20,
    *,
    form: Annotated[str, FORMS] = "strided",
    channels: Sequence[int] | None = None,
    upsampling: Annotated[str, UPSAMPLINGS] = "transposed",
    sample: str = "image",
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> VariationalAutoencoder:
    """A `VariationalAutoencoder` of convolutions, by default 28x28x1 -> 14x14x32 -> 7x7x64 -> a code of 20 and back.

    Args:
        input_shape: (H, W, C), any.
        latent_size: K, latent dimensions.
        channels: of the stages, each of which halves the image; by default 32,64, for form "keras" 16,8,8.
        generator: for the initial weights and, from there on, for the noise; None draws fresh entropy.
        settings, and the others: of `conv_pair` and `VariationalAutoencoder`.
    """
    rng = as_generator(generator)
    design, settings = split(settings, conv_pair)
    k = check_size("conv_variational_autoencoder", "latent_size", latent_size)
    outputs = decoder_outputs(settings)
    pair = conv_pair(
        input_shape, usual_channels(form) if channels is None else channels, k, form=form, upsampling=upsampling,
        code_outputs=2, outputs=outputs, generator=rng, **design,
    )  # fmt: skip
    return VariationalAutoencoder(*pair, sample=sample, generator=rng, **settings)
