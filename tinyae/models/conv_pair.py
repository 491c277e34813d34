"""An encoder of convolutions and its mirror image: the two stacks that every convolutional autoencoder starts from.

The encoder halves an image at every stage, rounding up where a side is odd: 28, 14, 7, 4. The decoder goes the same way
back, to exactly the sizes that the encoder came through. A halved 7 and a halved 8 are both 4, and doubling 4 gives 8;
so every step of the decoder is told which of the two it is, by a crop or by the transposed convolution's output
padding. Hence any image size will do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinyae.models.pair import Shape, dense_layer, sample_shape
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
)
from tinyae.nn.checks import check_size

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
    if how != "transposed":
        raise ValueError(f"unknown upsampling {how!r}: choose one of {', '.join(UPSAMPLINGS)}.")
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
    """(H, W, C); raises ValueError, with the fix, if samples are no images."""
    shape = sample_shape(input_shape)
    if len(shape) != 3:
        raise ValueError(
            f"a convolutional autoencoder takes images (H, W, C), got samples of shape {shape}: choose a data set of "
            "images, give grey images their channel by x[..., None], or use a dense model such as 'deep'."
        )
    return shape


def usual_channels(form: str) -> tuple[int, ...]:
    """The channels of the stages in `FORMS`; raises ValueError with the known forms."""
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}: choose one of {', '.join(FORMS)}.")
    return FORMS[form]


def check_design(form: str, channels: Sequence[int]) -> None:
    """Raise ValueError unless the form is known and there is at least one stage."""
    usual = usual_channels(form)
    if not channels:
        raise ValueError(f"channels must name at least one stage, got none: write channels={usual}.")
    for width in channels:
        check_size("conv_pair", "channels", width)
