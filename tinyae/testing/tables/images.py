"""The operations on images: convolution, pooling and resizing, with references from `scipy.signal`.

SciPy's correlation knows neither stride nor padding. The reference builds them around it in the most literal way: zeros are
written around the image, and of the full result every `stride`-th number is kept. The other convolutions, unpooling and the
like are transposes: of a matrix that is made by giving the reference every unit image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy import interpolate, signal

from tinyae import ops
from tinyae.backend.windows import ConvSpec, Pair
from tinyae.ops.convolution import Numbers, Paddings
from tinyae.testing.tables.ops import activated, transposed
from tinyae.testing.verification import OpCase, apart, cases


def both(value: Numbers) -> Pair:
    """A number for both axes, or (vertical, horizontal)."""
    return value if isinstance(value, tuple) else (value, value)


def spec_of(size: Pair, kernel: Numbers, stride: Numbers = 1, padding: Paddings = 0) -> ConvSpec:
    """What stride and padding as a user writes them mean for an image of `size`."""
    kernel, stride = both(kernel), both(stride)
    if padding == "same":
        total = [max(((n + s - 1) // s - 1) * s + k - n, 0) for n, s, k in zip(size, stride, kernel, strict=True)]
        padding = tuple((t // 2, t - t // 2) for t in total)  # type: ignore[assignment]
    vertical, horizontal = (0, 0) if isinstance(padding, str) else both(padding)  # type: ignore[arg-type]
    return ConvSpec(size, kernel, stride, (both(vertical), both(horizontal)))


def conv2d_reference(x: np.ndarray, w: np.ndarray, spec: ConvSpec) -> np.ndarray:
    """A full correlation of each image with each kernel, of which every `stride`-th number is kept."""
    x = np.pad(x, [(0, 1), *spec.padding, (0, 0)])  # SciPy gives no shape for no samples, so there is one more of zeros
    flipped = [w[None, ::-1, ::-1, ::-1, k] for k in range(w.shape[3])]
    channels = [signal.convolve(x, kernel, mode="valid", method="direct")[..., 0] for kernel in flipped]
    return np.stack(channels, axis=-1)[:-1, :: spec.stride[0], :: spec.stride[1]]


def conv1d_reference(x: np.ndarray, w: np.ndarray, stride: int = 1, padding: Paddings = 0) -> np.ndarray:
    """Window by window of the padded sequences."""
    spec = spec_of((1, x.shape[1]), (1, len(w)), (1, stride), padding if padding == "same" else (0, padding))  # type: ignore[arg-type]
    x = np.pad(x, ((0, 0), spec.padding[1], (0, 0)))
    return np.stack([np.tensordot(x[:, p * stride : p * stride + len(w)], w, 2) for p in range(spec.out[1])], axis=1)


def conv_transpose2d_reference(y: np.ndarray, w: np.ndarray, spec: ConvSpec) -> np.ndarray:
    """The transpose of the correlation."""
    return transposed(lambda units: conv2d_reference(units, w, spec), y, *spec.size, w.shape[2])


def conv2d_weight_grad_reference(x: np.ndarray, y: np.ndarray, spec: ConvSpec) -> np.ndarray:
    """Products of y with the pixels under each weight, which are the correlations of x with all unit kernels."""
    kernel = (*spec.kernel, x.shape[3])
    pixels = conv2d_reference(x, np.eye(math.prod(kernel)).reshape(*kernel, -1), spec)
    return np.tensordot(pixels, y, ((0, 1, 2), (0, 1, 2))).reshape(*kernel, y.shape[3])


def biased(convolution: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The reference with a bias and the activation by its definition."""
    return lambda x, w, b, spec, activation: activated(convolution(x, w, spec) + b, activation)


def pool_reference(
    x: np.ndarray,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Paddings = 0,
    *,
    combine: Callable[..., np.ndarray],
    fill: float,
) -> np.ndarray:
    """`combine` of every window, window by window, padding filled with `fill`."""
    spec = spec_of(x.shape[1:3], kernel_size, kernel_size if stride is None else stride, padding)
    (kh, kw), (sh, sw) = spec.kernel, spec.stride
    x = np.pad(x, [(0, 0), *spec.padding, (0, 0)], constant_values=fill)
    rows, columns = range(0, x.shape[1] - kh + 1, sh), range(0, x.shape[2] - kw + 1, sw)
    return np.stack(
        [np.stack([combine(x[:, i : i + kh, j : j + kw], axis=(1, 2)) for j in columns], axis=1) for i in rows], axis=1
    )


max_pool_reference = partial(pool_reference, combine=np.max, fill=-np.inf)
avg_pool_reference = partial(pool_reference, combine=np.mean, fill=0.0)


def avg_unpool_reference(
    y: np.ndarray, size: Pair, kernel_size: Numbers, stride: Numbers | None = None, padding: Paddings = 0
) -> np.ndarray:
    """The transpose of average pooling."""
    return transposed(lambda units: avg_pool_reference(units, kernel_size, stride, padding), y, *size, y.shape[3])


def bilinear_reference(x: np.ndarray, factor: Numbers, mode: str = "bilinear") -> np.ndarray:
    """SciPy's linear interpolation between the pixels' centers, each axis on its own, flat beyond the outermost."""
    for axis, f in zip((1, 2), both(factor), strict=True):
        n = x.shape[axis]
        if n == 1:
            x = np.repeat(x, f, axis)
            continue
        places = np.clip((np.arange(n * f) + 0.5) / f - 0.5, 0, n - 1)
        x = interpolate.make_interp_spline(np.arange(n), x, k=1, axis=axis)(places)
    return x


def bilinear_adjoint_reference(y: np.ndarray, factor: Numbers) -> np.ndarray:
    """The transpose of linear interpolation."""
    (fh, fw), (_, h, w, c) = both(factor), y.shape
    return transposed(lambda units: bilinear_reference(units, factor), y, h // fh, w // fw, c)


def nearest_reference(x: np.ndarray, factor: Numbers, mode: str = "nearest") -> np.ndarray:
    """Repeated rows, then repeated columns."""
    fh, fw = both(factor)
    return np.repeat(np.repeat(x, fh, axis=1), fw, axis=2)


def block_sum_reference(y: np.ndarray, factor: Numbers) -> np.ndarray:
    """Sums of the rows of each block, then of its columns."""
    fh, fw = both(factor)
    return np.add.reduceat(np.add.reduceat(y, range(0, y.shape[1], fh), axis=1), range(0, y.shape[2], fw), axis=2)


def unshuffle_reference(y: np.ndarray, factor: Numbers) -> np.ndarray:
    """Every factor-th pixel, offset by offset, side by side."""
    fh, fw = both(factor)
    return np.concatenate([y[:, i::fh, j::fw] for i in range(fh) for j in range(fw)], axis=-1)


def shuffle_reference(x: np.ndarray, factor: Numbers) -> np.ndarray:
    """The transpose of the permutation above, which is its inverse."""
    (fh, fw), (_, h, w, c) = both(factor), x.shape
    return transposed(lambda units: unshuffle_reference(units, factor), x, h * fh, w * fw, c // (fh * fw))


def of_spec(spec: ConvSpec, n: int = 2, c: int = 2, o: int = 3) -> Iterator[OpCase]:
    """The three convolutions of n images with c channels, and kernels with o outputs."""
    x, w, y = (n, *spec.size, c), (*spec.kernel, c, o), (n, *spec.out, o)
    yield from cases(ops.convolve, [(x, w)], conv2d_reference, spec=spec)
    yield from cases(ops.convolve_transpose, [(y, w)], conv_transpose2d_reference, spec=spec)
    yield from cases(ops.convolve_weight_grad, [(x, y)], conv2d_weight_grad_reference, spec=spec)


def of_layers(
    spec: ConvSpec, n: int = 2, c: int = 2, o: int = 3, *, activation: str = "identity", analytic: bool = True
) -> Iterator[OpCase]:
    """The two fused layers, likewise."""
    x, w, y = (n, *spec.size, c), (*spec.kernel, c, o), (n, *spec.out, o)
    for op, arguments, reference in (
        (ops.biased_conv2d, (x, w, (o,)), biased(conv2d_reference)),
        (ops.biased_conv_transpose2d, (y, w, (c,)), biased(conv_transpose2d_reference)),
    ):
        yield from cases(op, [arguments], reference, analytic=analytic, spec=spec, activation=activation)


def at(spec: ConvSpec, reference: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The reference with what the keywords of a case should mean."""
    return lambda a, b, **keywords: reference(a, b, spec)


PLAIN = ConvSpec((4, 5), (3, 2))
EMPTY = ConvSpec((3, 3), (2, 2))
ONE = ConvSpec((1, 1), (1, 1))
SAME = spec_of((4, 5), (3, 2), 2, "same")
WIDER = spec_of((4, 9), (3, 2), (2, 3), "same")  # a stride larger than the kernel
MIXED = ConvSpec((5, 5), (3, 2), (2, 1), ((1, 0), (2, 1)))
HALVED = ConvSpec((6, 4), (3, 3), (2, 2), ((1, 1), (1, 1)))
BY_HALF: dict[str, Any] = {"stride": 2, "padding": 1}  # the same as keywords
BACK, KERNEL = {**BY_HALF, "output_padding": 1}, {**BY_HALF, "kernel_size": 3}
POOLED = [((2, 4, 5, 2),), ((0, 3, 3, 1),), ((1, 3, 3, 1),)]
UNPOOLED = [((2, 2, 2, 2),), ((0, 2, 2, 1),), ((1, 2, 2, 1),)]
RESIZED = [((2, 6, 4, 2),), ((0, 3, 2, 1),), ((1, 3, 2, 1),)]
OVERLAPPING: dict[str, Any] = {"kernel_size": (3, 2), "stride": (1, 2), "padding": 1}

IMAGES: list[OpCase] = [
    *of_spec(PLAIN),
    *of_spec(EMPTY, 0, 1, 2),
    *of_spec(ONE, 1, 1, 1),
    *of_spec(SAME),
    *of_spec(SAME, 1, 1, 1),
    *of_spec(WIDER),
    *of_spec(MIXED),
    *cases(ops.conv2d, [((2, 6, 4, 2), (3, 3, 2, 3))], at(HALVED, conv2d_reference), **BY_HALF),
    *cases(ops.conv1d, [((2, 6, 2), (3, 2, 3)), ((0, 3, 1), (1, 1, 2))], conv1d_reference),
    *cases(ops.conv1d, [((2, 5, 2), (4, 2, 3))], conv1d_reference, stride=2, padding=(3, 1)),
    *cases(ops.conv1d, [((2, 6, 1), (3, 1, 2))], conv1d_reference, stride=3, padding="same"),
    *cases(ops.conv_transpose2d, [((2, 3, 2, 3), (3, 3, 2, 3))], at(HALVED, conv_transpose2d_reference), **BACK),
    *cases(ops.conv2d_weight_grad, [((2, 6, 4, 2), (2, 3, 2, 3))], at(HALVED, conv2d_weight_grad_reference), **KERNEL),
    *of_layers(PLAIN),
    *of_layers(EMPTY, 0, 1, 2),
    *of_layers(ONE, 1, 1, 1),
    *of_layers(MIXED, activation="tanh"),
    *of_layers(HALVED, activation="sigmoid"),
    *of_layers(PLAIN, activation="gelu"),
    *of_layers(SAME, activation="silu"),
    *of_layers(PLAIN, activation="elu", analytic=False),
    *of_layers(SAME, activation="relu", analytic=False),
    *cases(ops.max_pool2d, POOLED, max_pool_reference, apart, analytic=False, kernel_size=2),
    *cases(ops.max_pool2d, POOLED[:1], max_pool_reference, apart, analytic=False, **OVERLAPPING),
    *cases(ops.avg_pool2d, POOLED, avg_pool_reference, kernel_size=2),
    *cases(ops.avg_pool2d, POOLED[:1], avg_pool_reference, **OVERLAPPING),
    *cases(ops.avg_unpool2d, UNPOOLED, avg_unpool_reference, size=(4, 5), kernel_size=2),
    *cases(ops.avg_unpool2d, [((2, 4, 3, 2),)], avg_unpool_reference, size=(4, 5), **OVERLAPPING),
    *cases(ops.upsample_nearest, [((2, 2, 3, 2),), ((0, 2, 1, 1),)], nearest_reference, factor=(3, 2)),
    *cases(ops.block_sum, [((2, 3, 4, 2),), ((0, 3, 2, 1),)], block_sum_reference, factor=(3, 2)),
    *cases(ops.upsample_bilinear, [((2, 2, 3, 2),), ((1, 1, 4, 1),)], bilinear_reference, factor=(3, 2)),
    *cases(ops.upsample_bilinear, [((1, 3, 2, 1),), ((0, 2, 2, 1),)], bilinear_reference, factor=4),
    *cases(ops.upsample_bilinear_adjoint, RESIZED, bilinear_adjoint_reference, factor=(3, 2)),
    *cases(ops.upsample, [((2, 2, 3, 2),)], bilinear_reference, factor=2, mode="bilinear"),
    *cases(ops.upsample, [((1, 2, 3, 2),)], nearest_reference, factor=2, mode="nearest"),
    *cases(ops.pixel_shuffle, [((2, 2, 3, 12),), ((0, 2, 1, 6),), ((1, 1, 1, 6),)], shuffle_reference, factor=(3, 2)),
    *cases(ops.pixel_unshuffle, [((2, 3, 4, 2),), ((0, 3, 2, 1),)], unshuffle_reference, factor=(3, 2)),
    *cases(ops.pixel_unshuffle, [((1, 2, 2, 1),)], unshuffle_reference, factor=2),
]
"""Every operation on images with every set of shapes."""
