"""Layers on images (N, H, W, C): convolution, pooling, upsampling and cropping."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.backend.windows import ConvSpec, Padding, Pair, by, short
from tinyae.checks import choose
from tinyae.nn.layers import Initializer, check_activation, check_dtype, check_floats, check_size, initializer_named
from tinyae.nn.module import Module, Parameter
from tinyae.ops import convolution as geometry
from tinyae.ops.convolution import Numbers, Paddings
from tinyae.ops.images import UPSAMPLE_MODES

# ---------------------------------------------------------------------------------------------------------------------
# Convolution layers: every output sees a window of the input, through the same weights wherever the window is.


class Convolution(Module):
    """What `Conv2d` and `ConvTranspose2d` share: settings, initial weights, checks and the repr."""

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
        # Inputs before outputs, so that the initializer sees the true fan-in.
        shape = (*self.kernel_size, self.in_channels, self.out_channels)
        drawn = initializer_named(initializer)(shape, as_generator(generator), dtype=dtype)
        self.weight = Parameter(drawn)
        self.bias = Parameter(np.zeros(self.out_channels, dtype)) if bias else None

    def _check(self, x: Tensor) -> None:
        """Raise unless x is (N, H, W, in_channels); says what to change."""
        check_floats(self, x)
        if x.ndim == 4 and x.shape[3] == self.in_channels:
            return
        if x.ndim == 4 and x.shape[1] == self.in_channels:
            fix = "channels stand last: write numpy.moveaxis(x, 1, -1)"
        elif x.ndim == 3 and x.shape[2] == self.in_channels:
            fix = "one image is a batch of one: write x[None]"
        elif x.ndim == 3 and self.in_channels == 1:
            fix = "give gray images their channel: write x[..., None]"
        elif x.ndim == 2:
            fix = "rows become images by nn.Reshape(H, W, C)"
        else:
            fix = f"build the layer for {x.shape[-1]} channels" if x.ndim == 4 else "reshape the input"
        raise ValueError(f"{self}: the input must be (N, H, W, {self.in_channels}), got shape {x.shape}: {fix}.")

    def extra_repr(self) -> str:
        """Channels and kernel, and what differs from the defaults."""
        words = [str(self.in_channels), str(self.out_channels), f"kernel_size={short(self.kernel_size)}"]
        defaults = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "output_padding": (0, 0)}
        given = {name: getattr(self, name) for name, default in defaults.items() if getattr(self, name) != default}
        words += [f"{name}={short(value)}" for name, value in given.items()]
        words += [f"activation={self.activation!r}"] if self.activation != "identity" else []
        return ", ".join(words + ([] if self.bias is not None else ["bias=False"]))


class Conv2d(Convolution):
    """y = f(conv2d(x, W) + b): the same weights at every place of a window that slides over the image.

    x (N, H, W, in_channels), W (KH, KW, in_channels, out_channels), b (out_channels,),
    y (N, OH, OW, out_channels), OH = floor((H + top + bottom - KH) / stride) + 1.

    Args:
        in_channels, out_channels: before and after.
        kernel_size: of the window, a number or (vertical, horizontal).
        stride: by how many pixels the window moves.
        padding: zeros around x: a number, a pair, ((top, bottom), (left, right)), `"same"` or `"valid"`.
        activation: f, one of `"identity"`, `"relu"`, `"elu"`, `"sigmoid"`, `"tanh"`, fused with the sums.
        bias: False leaves b out.
        initializer: how W starts: a name in `INITIALIZERS` or a function of the same form. b starts at 0.
        generator: the `numpy.random.Generator` to draw W from; None draws from fresh entropy (not repeatable).
        dtype: of W and b.

    Attributes:
        weight: Parameter (KH, KW, in_channels, out_channels).
        bias: Parameter (out_channels,), or None.

    Gradients: see `tinyae.ops.convolution`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """f(conv2d(x, W) + b); raises, with the arithmetic, if x has other channels or no window fits."""
        self._check(x)
        spec = self.spec((x.shape[1], x.shape[2]))
        if self.bias is not None:
            return ops.biased_conv2d(x, self.weight, self.bias, spec=spec, activation=self.activation)
        return geometry.activated(ops.convolve(x, self.weight, spec=spec), self.activation)

    def spec(self, size: Pair) -> ConvSpec:
        """The convolution of images of `size` (H, W) as numbers; raises if no window fits.

        `spec.out` is the output's size. Several sizes may lead to one: 7x7 and 8x8 both give 3x3 with kernel 3 and stride 2.
        `spec.output_padding` is what a `ConvTranspose2d` of the same kernel, stride and padding needs to make `size` again.
        """
        return geometry.conv_spec(self, size, self.kernel_size, self.stride, self.padding)


class ConvTranspose2d(Convolution):
    """x = f(conv_transpose2d(y, W) + b): every input writes a window of the output; the way back from a `Conv2d`.

    y (N, OH, OW, in_channels), W (KH, KW, out_channels, in_channels), b (out_channels,),
    x (N, H, W, out_channels), H = (OH - 1) * stride + KH - top - bottom + output_padding.

    Args:
        in_channels, out_channels: before and after.
        kernel_size, stride, padding: of the convolution that it is the adjoint of, so that padding is cut off here. With
            `"same"`, H = OH * stride.
        output_padding: rows and columns to add at the bottom and right, fewer than the stride.
        activation, bias, initializer, generator, dtype: as for `Conv2d`.

    Attributes:
        weight: Parameter (KH, KW, out_channels, in_channels): that of a `Conv2d(out_channels, in_channels)`.
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
        # A mistake in the padding should show here, and not at the first image.
        geometry.check_output_padding("ConvTranspose2d", self.output_padding, self.stride, self.padding)
        self.weight = Parameter(np.ascontiguousarray(self.weight.data.swapaxes(2, 3)))  # as the convolution has it

    def forward(self, y: Tensor, size: Pair | None = None) -> Tensor:
        """f(conv_transpose2d(y, W) + b); raises if y has other channels.

        With `size`, raises unless the result has that (H, W), and says which output_padding would give it.
        """
        self._check(y)
        spec = self.spec((y.shape[1], y.shape[2]), size)
        if self.bias is not None:
            return ops.biased_conv_transpose2d(y, self.weight, self.bias, spec=spec, activation=self.activation)
        return geometry.activated(ops.convolve_transpose(y, self.weight, spec=spec), self.activation)

    def spec(self, size: Pair, wanted: Pair | None = None) -> ConvSpec:
        """The convolution that leads back to an input of `size` (OH, OW), as numbers: `spec.size` is the output's size.

        With `wanted`, raises unless it is that one.
        """
        window = (self.kernel_size, self.stride, self.padding)
        spec = geometry.transposed_spec(self, size, *window, self.output_padding)
        if wanted is None or wanted == spec.size:
            return spec
        extra = tuple(n - m + e for n, m, e in zip(wanted, spec.size, spec.output_padding, strict=True))
        fix = "change its kernel, stride or padding, or crop or pad the result"
        if all(0 <= e < s for e, s in zip(extra, spec.stride, strict=True)):
            fix = f"use output_padding={short(extra)}"
        raise ValueError(
            f"{self}: {geometry.transposed(spec, size)} gives {by(spec.size)}, wanted {by(wanted)}; {fix}."
        )


# ---------------------------------------------------------------------------------------------------------------------
# Pooling layers: one number for each window and channel.


class Pooling(Module):
    """What `MaxPool2d` and `AvgPool2d` share. It computes nothing itself."""

    def __init__(self, kernel_size: Numbers = 2, stride: Numbers | None = None, padding: Paddings = 0) -> None:
        owner = type(self).__name__
        self.kernel_size = geometry.pair(owner, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else geometry.pair(owner, "stride", stride)
        self.padding = geometry.check_padding(owner, padding)

    def spec(self, size: Pair) -> ConvSpec:
        """The windows on images of `size` (H, W) as numbers, `spec.out` of them; raises if none fits."""
        return geometry.conv_spec(self, size, self.kernel_size, self.stride, self.padding)

    def _window(self, x: Tensor) -> dict[str, Any]:
        check_floats(self, x)
        geometry.check_image(self, x)
        self.spec((x.shape[1], x.shape[2]))
        return {"kernel_size": self.kernel_size, "stride": self.stride, "padding": self.padding}

    def extra_repr(self) -> str:
        """The window, and what differs from the defaults."""
        words = [short(self.kernel_size)]
        words += [f"stride={short(self.stride)}"] if self.stride != self.kernel_size else []
        words += [f"padding={self.padding!r}"] if self.padding != ((0, 0), (0, 0)) else []
        return ", ".join(words)


class MaxPool2d(Pooling):
    """The largest number of each window, channel by channel: (N, H, W, C) to (N, OH, OW, C).

    OH = floor((H + top + bottom - KH) / stride) + 1: what is left over at the bottom and right is not looked at, unless
    `padding="same"`, which gives ceil(H / stride).

    Args:
        kernel_size: of the window, a number or (vertical, horizontal).
        stride: by how many pixels it moves; None for its own size, so that windows lie side by side.
        padding: as for `Conv2d`, smaller than the window; what is padded never wins.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`ops.max_pool2d`; ties share the gradient evenly."""
        return ops.max_pool2d(x, **self._window(x))


class AvgPool2d(Pooling):
    """The mean of each window, channel by channel: (N, H, W, C) to (N, OH, OW, C), with OH as for `MaxPool2d`.

    Args:
        kernel_size, stride: as for `MaxPool2d`.
        padding: as for `Conv2d`, smaller than the window; a padded pixel counts as a 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`ops.avg_pool2d`."""
        return ops.avg_pool2d(x, **self._window(x))


# ---------------------------------------------------------------------------------------------------------------------
# Layers that make images larger by whole factors, without weights.


class Upsample(Module):
    """(N, H, W, C) as (N, H * factor, W * factor, C), pixels repeated or interpolated.

    Args:
        scale_factor: a whole number, or (vertical, horizontal).
        mode: `"nearest"` repeats pixels; `"bilinear"` draws straight lines between their centers (PyTorch's
            `align_corners=False`).
    """

    def __init__(self, scale_factor: Numbers = 2, mode: str = "nearest") -> None:
        self.scale_factor = geometry.pair("Upsample", "scale_factor", scale_factor)
        self.mode = choose("mode", mode, UPSAMPLE_MODES, owner="Upsample")

    def forward(self, x: Tensor) -> Tensor:
        """`ops.upsample`."""
        check_floats(self, x)
        geometry.check_image(self, x)
        return ops.upsample(x, factor=self.scale_factor, mode=self.mode)

    def extra_repr(self) -> str:
        """The factor, and the mode where it is not nearest."""
        return short(self.scale_factor) + ("" if self.mode == "nearest" else f", mode={self.mode!r}")


class PixelShuffle(Module):
    """(N, H, W, f * f * C) as (N, H * f, W * f, C): each pixel's channels become a block of pixels (Shi et al. 2016).

    Args:
        scale_factor: f, a whole number, or (vertical, horizontal).
    """

    def __init__(self, scale_factor: Numbers = 2) -> None:
        self.scale_factor = geometry.pair("PixelShuffle", "scale_factor", scale_factor)

    def forward(self, x: Tensor) -> Tensor:
        """`ops.pixel_shuffle`; raises if the channels do not fill whole blocks."""
        check_floats(self, x)
        geometry.check_image(self, x)
        return ops.pixel_shuffle(x, factor=self.scale_factor)

    def extra_repr(self) -> str:
        """The factor."""
        return short(self.scale_factor)


# ---------------------------------------------------------------------------------------------------------------------
# A layer that cuts images to a size.


class Crop(Module):
    """(N, H, W, C) as (N, height, width, C): the upper left part; rows at the bottom and columns at the right are cut off.

    What `padding="same"` adds where windows do not come out even it adds there, so this undoes it: 7 pixels are pooled to
    4, 4 are upsampled to 8, and the eighth stands where there was none.

    Args:
        height, width: what is left; an image must have as much.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height = check_size("Crop", "height", height)
        self.width = check_size("Crop", "width", width)

    def forward(self, x: Tensor) -> Tensor:
        """The upper left part of every image; the gradient is 0 at what is cut off."""
        geometry.check_image(self, x)
        _, h, w, _ = x.shape
        if h < self.height or w < self.width:
            raise ValueError(
                f"{self}: an image of {h}x{w} has no {self.height}x{self.width} to keep: enlarge it first, e.g. by "
                "Upsample(2), or make the crop smaller."
            )
        if (h, w) == (self.height, self.width):
            return x
        return ops.crop(x, widths=((0, 0), (0, h - self.height), (0, w - self.width), (0, 0)))

    def extra_repr(self) -> str:
        """What is left."""
        return f"{self.height}, {self.width}"


# ---------------------------------------------------------------------------------------------------------------------
# How often a transposed convolution writes each pixel.
#
# Every input place p and every tap k write the pixel p * stride + k - padding. A kernel that is not a multiple of the
# stride writes some pixels more often than others, in a pattern with the stride as its period: the checkerboard
# (Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill). The two axes are independent,
# so the counts of an image are the product of the counts of its axes.


def overlap_counts(
    size: Numbers, kernel_size: Numbers, stride: Numbers = 1, padding: Paddings = 0, output_padding: Numbers = 0
) -> npt.NDArray[np.int64]:
    """How many pairs of an input place and a kernel tap write each output pixel, int64 (H, W).

        count[h] = number of (p, k) with  p * stride + k - top = h,      count[h, w] = count[h] count[w]

    It is what `ops.conv_transpose2d` makes of an input of ones with a kernel of ones. Away from the borders, count[h] is
    ceil((KH - r) / stride) with r = (h + top) mod stride, so that it is the same everywhere if the stride divides the
    kernel.

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
    counts = []
    for places, taps, step, (before, _), n in zip(out, spec.kernel, spec.stride, spec.padding, spec.size, strict=True):
        written = np.add.outer(np.arange(places) * step, np.arange(taps)) - before
        counts.append(np.bincount(written[(written >= 0) & (written < n)], minlength=n).astype(np.int64))
    return np.outer(*counts)
