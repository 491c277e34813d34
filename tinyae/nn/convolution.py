"""Layers on images (N, H, W, C): convolution, pooling, upsampling and cropping."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.backend.windows import ConvSpec, Padding, Pair, by, shortest
from tinyae.checks import check_kind, choose
from tinyae.nn.layers import Initializer, check_activation, check_dtype, check_floats, check_size, initializer_named
from tinyae.nn.module import Module, Parameter, constructor_arguments
from tinyae.ops import convolution as geometry
from tinyae.ops.convolution import Numbers, Paddings
from tinyae.ops.images import UPSAMPLE_MODES

# ---------------------------------------------------------------------------------------------------------------------
# What these layers share. In their constructors, one number may replace a pair: kernel_size=3 means (3, 3).


class ImageLayer(Module):
    """Base class of the layers on images, with a repr that writes (3, 3) as 3."""

    def extra_repr(self) -> str:
        """The arguments of the constructor."""
        return constructor_arguments(type(self), {name: shortest(value) for name, value in vars(self).items()})


def _checked(layer: ImageLayer, x: Tensor) -> Tensor:
    """Return the input x of `layer`. Raises TypeError or ValueError unless it is a floating-point Tensor (N, H, W, C)."""
    check_floats(layer, x)
    geometry.check_image(layer, x)
    return x


# ---------------------------------------------------------------------------------------------------------------------
# Convolution layers: every output depends on a window of the input, through the same weights at every position.


class Convolution(ImageLayer):
    """Base class of `Conv2d` and `ConvTranspose2d`."""

    output_padding: Pair = (0, 0)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Paddings = 0,
        *,
        activation: str = "identity",
        bias: bool = True,
        initializer: str | Initializer = "glorot_uniform",
        generator: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        owner = type(self).__name__
        self.in_channels = check_size(owner, "in_channels", in_channels)
        self.out_channels = check_size(owner, "out_channels", out_channels)
        self.kernel_size = geometry.pair(owner, "kernel_size", kernel_size)
        self.stride = geometry.pair(owner, "stride", stride)
        self.padding: str | Padding = geometry.check_padding(owner, padding)
        self.activation = check_activation(owner, activation)
        dtype = check_dtype(owner, dtype)
        check_kind(f"{owner}: bias", bias, bool)
        # Input channels before output channels, so that the initializer computes the right fan-in.
        shape = (*self.kernel_size, self.in_channels, self.out_channels)
        drawn = initializer_named(initializer)(shape, as_generator(generator), dtype=dtype)
        self.weight = Parameter(drawn)
        self.bias = Parameter(np.zeros(self.out_channels, dtype)) if bias else None

    def _check(self, x: Tensor) -> None:
        """Raise TypeError or ValueError unless x is a floating-point Tensor (N, H, W, in_channels)."""
        check_floats(self, x)
        if x.ndim == 4 and x.shape[3] == self.in_channels:
            return
        if x.ndim == 4 and x.shape[1] == self.in_channels:
            fix = "channels come last: write numpy.moveaxis(x, 1, -1)"
        elif x.ndim == 3 and x.shape[2] == self.in_channels:
            fix = "a single image needs a batch axis: write x[None]"
        elif x.ndim == 3 and self.in_channels == 1:
            fix = "gray images need a channel axis: write x[..., None]"
        elif x.ndim == 2:
            fix = "turn vectors into images with nn.Reshape(H, W, C)"
        else:
            fix = f"build the layer for {x.shape[-1]} channels" if x.ndim == 4 else "reshape the input"
        raise ValueError(f"{self}: the input must be (N, H, W, {self.in_channels}), got shape {x.shape}: {fix}.")


class Conv2d(Convolution):
    """y = f(conv2d(x, W) + b): a window slides over the image, with the same weights at every position.

    x (N, H, W, in_channels), W (KH, KW, in_channels, out_channels), b (out_channels,),
    y (N, OH, OW, out_channels), OH = floor((H + top + bottom - KH) / stride) + 1.

    Args:
        in_channels, out_channels: number of channels of x and of y.
        kernel_size: size of the window, a number or (vertical, horizontal).
        stride: step of the window in pixels.
        padding: zeros around x: a number, a pair, ((top, bottom), (left, right)), `"same"` or `"valid"`.
        activation, bias, initializer, generator, dtype: as for `Dense`.

    Attributes:
        weight: Parameter (KH, KW, in_channels, out_channels).
        bias: Parameter (out_channels,), or None.

    Gradients: see `tinyae.ops.convolution`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """f(conv2d(x, W) + b). Raises ValueError if x has another number of channels or no window fits."""
        self._check(x)
        spec = self.spec((x.shape[1], x.shape[2]))
        if self.bias is not None:
            return ops.biased_conv2d(x, self.weight, self.bias, spec=spec, activation=self.activation)
        return geometry.activated(ops.convolve(x, self.weight, spec=spec), self.activation)

    def spec(self, size: Pair) -> ConvSpec:
        """The geometry of the convolution of images of `size` (H, W). Raises ValueError if no window fits.

        `spec.out` is the size of the output. Several input sizes can give the same one: 7x7 and 8x8 both give 3x3 with
        kernel 3 and stride 2. A `ConvTranspose2d` with `spec.output_padding` returns to `size`.
        """
        return geometry.conv_spec(self, size, self.kernel_size, self.stride, self.padding)


class ConvTranspose2d(Convolution):
    """x = f(conv_transpose2d(y, W) + b), the adjoint of a `Conv2d`: every input adds to a window of the output.

    y (N, OH, OW, in_channels), W (KH, KW, out_channels, in_channels), b (out_channels,),
    x (N, H, W, out_channels), H = (OH - 1) * stride + KH - top - bottom + output_padding.

    Args:
        in_channels, out_channels: number of channels of y and of x.
        kernel_size, stride, padding: those of the `Conv2d`, so that padding is removed here. With `"same"`, H = OH * stride.
        output_padding: rows and columns to add at the bottom and right, fewer than the stride.
        activation, bias, initializer, generator, dtype: as for `Conv2d`.

    Attributes:
        weight: Parameter (KH, KW, out_channels, in_channels), as in a `Conv2d(out_channels, in_channels)`.
        bias: Parameter (out_channels,), or None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Numbers,
        stride: Numbers = 1,
        padding: Paddings = 0,
        output_padding: Numbers = 0,
        *,
        activation: str = "identity",
        bias: bool = True,
        initializer: str | Initializer = "glorot_uniform",
        generator: np.random.Generator | None = None,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding,
            activation=activation, bias=bias, initializer=initializer, generator=generator, dtype=dtype,
        )  # fmt: skip
        self.output_padding = geometry.pair("ConvTranspose2d", "output_padding", output_padding, 0)
        # Report wrong padding here, not at the first image.
        geometry.check_output_padding("ConvTranspose2d", self.output_padding, self.stride, self.padding)
        self.weight = Parameter(np.ascontiguousarray(self.weight.data.swapaxes(2, 3)))  # as in Conv2d

    def forward(self, y: Tensor, size: Pair | None = None) -> Tensor:
        """f(conv_transpose2d(y, W) + b). Raises ValueError if y has another number of channels.

        With `size`, also raises unless the output is of that size (H, W), and suggests an output_padding.
        """
        self._check(y)
        spec = self.spec((y.shape[1], y.shape[2]), size)
        if self.bias is not None:
            return ops.biased_conv_transpose2d(y, self.weight, self.bias, spec=spec, activation=self.activation)
        return geometry.activated(ops.convolve_transpose(y, self.weight, spec=spec), self.activation)

    def spec(self, size: Pair, wanted: Pair | None = None) -> ConvSpec:
        """The geometry of the convolution whose output has `size` (OH, OW): `spec.size` is the size of our output.

        Raises ValueError if `wanted` is another one.
        """
        window = (self.kernel_size, self.stride, self.padding)
        spec = geometry.transposed_spec(self, size, *window, self.output_padding)
        if wanted is None or wanted == spec.size:
            return spec
        extra = tuple(n - m + e for n, m, e in zip(wanted, spec.size, spec.output_padding, strict=True))
        fix = "change its kernel, stride or padding, or crop or pad the result"
        if all(0 <= e < s for e, s in zip(extra, spec.stride, strict=True)):
            fix = f"use output_padding={shortest(extra)}"
        raise ValueError(
            f"{self}: {geometry.transposed(spec, size)} gives {by(spec.size)}, wanted {by(wanted)}; {fix}."
        )


# ---------------------------------------------------------------------------------------------------------------------
# Pooling layers: one number for each window and channel.


class Pooling(ImageLayer):
    """Base class of `MaxPool2d` and `AvgPool2d`."""

    def __init__(self, kernel_size: Numbers, stride: Numbers | None = None, padding: Paddings = 0) -> None:
        owner = type(self).__name__
        self.kernel_size = geometry.pair(owner, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else geometry.pair(owner, "stride", stride)
        self.padding = geometry.check_padding(owner, padding)

    def spec(self, size: Pair) -> ConvSpec:
        """The geometry of the windows on images of `size` (H, W), `spec.out` of them. Raises ValueError if none fits."""
        return geometry.conv_spec(self, size, self.kernel_size, self.stride, self.padding)

    def _window(self, x: Tensor) -> dict[str, Any]:
        _, h, w, _ = _checked(self, x).shape
        self.spec((h, w))
        return {"kernel_size": self.kernel_size, "stride": self.stride, "padding": self.padding}


class MaxPool2d(Pooling):
    """The maximum of each window, for each channel: (N, H, W, C) to (N, OH, OW, C).

    OH = floor((H + top + bottom - KH) / stride) + 1: rows and columns left over at the bottom and right are ignored, unless
    `padding="same"`, which gives OH = ceil(H / stride).

    Args:
        kernel_size: size of the window, a number or (vertical, horizontal).
        stride: step of the window in pixels; None means kernel_size, so that the windows do not overlap.
        padding: as for `Conv2d`, smaller than the window; padded pixels are never the maximum.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`ops.max_pool2d(x, ...)`; tied maxima share the gradient equally."""
        return ops.max_pool2d(x, **self._window(x))


class AvgPool2d(Pooling):
    """The mean of each window, for each channel: (N, H, W, C) to (N, OH, OW, C), with OH as for `MaxPool2d`.

    Args:
        kernel_size, stride: as for `MaxPool2d`.
        padding: as for `Conv2d`, smaller than the window; padded pixels count as zeros.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, **self._window(x))


# ---------------------------------------------------------------------------------------------------------------------
# Layers that resize images without weights.


class Upsample(ImageLayer):
    """Resize (N, H, W, C) to (N, H * factor, W * factor, C).

    Args:
        scale_factor: a whole number, or (vertical, horizontal).
        mode: `"nearest"` repeats pixels; `"bilinear"` interpolates between pixel centers (`align_corners=False` in PyTorch).
    """

    def __init__(self, scale_factor: Numbers, mode: str = "nearest") -> None:
        self.scale_factor = geometry.pair("Upsample", "scale_factor", scale_factor)
        self.mode = choose("mode", mode, UPSAMPLE_MODES, owner="Upsample")

    def forward(self, x: Tensor) -> Tensor:
        return ops.upsample(_checked(self, x), factor=self.scale_factor, mode=self.mode)


class PixelShuffle(ImageLayer):
    """Rearrange (N, H, W, f * f * C) to (N, H * f, W * f, C): channels become blocks of pixels (Shi et al. 2016).

    Args:
        scale_factor: f, a whole number, or (vertical, horizontal).
    """

    def __init__(self, scale_factor: Numbers) -> None:
        self.scale_factor = geometry.pair("PixelShuffle", "scale_factor", scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """`ops.pixel_shuffle(x, factor=scale_factor)`. Raises ValueError unless the channels divide evenly into blocks."""
        return ops.pixel_shuffle(_checked(self, x), factor=self.scale_factor)


class Crop(ImageLayer):
    """Crop (N, H, W, C) to (N, height, width, C): rows at the bottom and columns at the right are removed.

    This undoes `padding="same"`, which pads there: 7 pixels are pooled to 4, upsampled to 8, and cropped to 7 again.

    Args:
        height, width: the size of the output, at most that of the input.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height = check_size("Crop", "height", height)
        self.width = check_size("Crop", "width", width)

    def forward(self, x: Tensor) -> Tensor:
        """The upper left part of every image; the gradient of the removed pixels is 0."""
        _, h, w, _ = _checked(self, x).shape
        if h < self.height or w < self.width:
            raise ValueError(
                f"{self}: the input must be at least {self.height}x{self.width}, got {h}x{w}: enlarge it first, e.g. with "
                "Upsample(2), or make the crop smaller."
            )
        if (h, w) == (self.height, self.width):
            return x
        return ops.crop(x, widths=((0, 0), (0, h - self.height), (0, w - self.width), (0, 0)))


# ---------------------------------------------------------------------------------------------------------------------
# Checkerboard artifacts of transposed convolutions.
#
# Unless the kernel size is a multiple of the stride, some pixels receive more contributions than others, in a pattern that
# repeats with the stride: the checkerboard (Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts",
# Distill).


def overlap_counts(
    size: Numbers, kernel_size: Numbers, stride: Numbers = 1, padding: Paddings = 0, output_padding: Numbers = 0
) -> npt.NDArray[np.int64]:
    """The number of contributions to each output pixel of a transposed convolution, int64 (H, W).

        count[h] = number of (p, k) with  p * stride + k - top = h,      count[h, w] = count[h] count[w]

    This is `ops.conv_transpose2d` of an input of ones with a kernel of ones. Away from the borders, count[h] is
    ceil((KH - r) / stride) with r = (h + top) mod stride, which is constant if the stride divides KH.

    Args:
        size: (OH, OW) of the input, or a number for both.
        kernel_size, stride, padding, output_padding: as for `ConvTranspose2d`.

    >>> overlap_counts(3, 3, 2)
    array([[1, 1, 2, 1, 2, 1, 1],
           [1, 1, 2, 1, 2, 1, 1],
           [2, 2, 4, 2, 4, 2, 2],
           [1, 1, 2, 1, 2, 1, 1],
           [2, 2, 4, 2, 4, 2, 2],
           [1, 1, 2, 1, 2, 1, 1],
           [1, 1, 2, 1, 2, 1, 1]])
    """
    out = geometry.pair("overlap_counts", "size", size)
    spec = geometry.transposed_spec("overlap_counts", out, kernel_size, stride, padding, output_padding)
    counts = ops.convolve_transpose(np.ones((1, *out, 1)), np.ones((*spec.kernel, 1, 1)), spec=spec)
    return counts[0, :, :, 0].astype(np.int64)
