"""The operations on images: convolution, pooling and resizing, with references from `scipy.signal`.

SciPy's correlation knows no stride, padding, dilation or groups. Each reference builds them around it in the most
literal way: zeros are written around the image, between the taps of the kernel, or between the places of the output,
and of the full result every `stride`-th number is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import interpolate, signal

from tinyae import ops
from tinyae.testing.tables.ops import activated
from tinyae.testing.verification import OpCase, apart, cases


def spaced(x: np.ndarray, step: Any) -> np.ndarray:
    """x (N, H, W, ...) with step - 1 zeros between neighbors along H and W."""
    (sh, sw) = step if isinstance(step, tuple) else (step, step)
    n, h, w = x.shape[:3]
    out = np.zeros((n, (h - 1) * sh + 1, (w - 1) * sw + 1, *x.shape[3:]), x.dtype)
    out[:, ::sh, ::sw] = x
    return out


def sides(padding: Any, size: tuple[int, int], span: tuple[int, int], stride: tuple[int, int]) -> list[tuple[int, int]]:
    """((top, bottom), (left, right)) of a padding as users write it."""
    if padding == "same":
        total = [max(((n + s - 1) // s - 1) * s + e - n, 0) for n, s, e in zip(size, stride, span, strict=True)]
        return [(t // 2, t - t // 2) for t in total]
    pair = (0, 0) if padding == "valid" else padding if isinstance(padding, tuple) else (padding, padding)
    return [side if isinstance(side, tuple) else (side, side) for side in pair]


def conv2d_reference(
    x: np.ndarray, w: np.ndarray, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> np.ndarray:
    """A full correlation of each image with each kernel, of which every `stride`-th number is kept."""
    kernel = spaced(w[None], dilation)[0]
    (sh, sw) = stride if isinstance(stride, tuple) else (stride, stride)
    widths = sides(padding, x.shape[1:3], kernel.shape[:2], (sh, sw))
    x = np.pad(x, [(0, 1), *widths, (0, 0)])  # SciPy gives no shape for no samples, so there is one more of zeros
    c, o = w.shape[2], w.shape[3] // groups
    channels = []
    for k in range(w.shape[3]):
        part = x[..., k // o * c : (k // o + 1) * c]
        flipped = kernel[None, ::-1, ::-1, ::-1, k]
        channels.append(signal.convolve(part, flipped, mode="valid", method="direct")[:, ::sh, ::sw, 0])
    return np.stack(channels, axis=-1)[:-1]


def conv_transpose2d_reference(
    y: np.ndarray,
    w: np.ndarray,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    output_padding: Any = 0,
) -> np.ndarray:
    """A full convolution of y, spaced out by the stride, with each kernel; then the padding is cut off."""
    kernel = spaced(w[None], dilation)[0]
    (sh, sw) = stride if isinstance(stride, tuple) else (stride, stride)
    (oh, ow) = output_padding if isinstance(output_padding, tuple) else (output_padding, output_padding)
    c, o = w.shape[2], w.shape[3] // groups
    full = np.zeros((y.shape[0], *(np.add(spaced(y, stride).shape[1:3], kernel.shape[:2]) - 1), c * groups), y.dtype)
    for k in range(w.shape[3]):
        spread = signal.convolve(spaced(y[..., k : k + 1], stride), kernel[None, :, :, :, k], method="direct")
        full[..., k // o * c : (k // o + 1) * c] += spread
    size = (y.shape[1] * sh, y.shape[2] * sw)
    (top, bottom), (left, right) = sides(padding, size, kernel.shape[:2], (sh, sw))
    if padding == "same":
        oh, ow = max(size[0] - full.shape[1], 0), max(size[1] - full.shape[2], 0)
    full = np.pad(full, [(0, 0), (0, oh), (0, ow), (0, 0)])
    return full[:, top : full.shape[1] - bottom, left : full.shape[2] - right]


def conv2d_weight_grad_reference(
    x: np.ndarray,
    y: np.ndarray,
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> np.ndarray:
    """A correlation of the images with y, spaced out by the stride, of which every `dilation`-th number is kept."""
    (kh, kw) = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    (dh, dw) = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    stride = stride if isinstance(stride, tuple) else (stride, stride)
    span = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    x = np.pad(x, [(0, 0), *sides(padding, x.shape[1:3], span, stride), (0, 0)])
    taps = spaced(y, stride)
    c, o = x.shape[3] // groups, y.shape[3] // groups
    out = np.zeros((kh, kw, c, y.shape[3]), np.result_type(x, y))
    for k in range(y.shape[3]):
        for i in range(c):
            channel = x[..., k // o * c + i]
            found = signal.convolve(channel, taps[::-1, ::-1, ::-1, k], mode="valid", method="direct")
            out[:, :, i, k] = found[0, ::dh, ::dw][:kh, :kw]
    return out


def biased_reference(x: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str = "identity", **walk: Any) -> Any:
    """The correlation, the bias, and the activation by its definition."""
    return activated(conv2d_reference(x, w, **walk) + b, activation)


def biased_transpose_reference(
    y: np.ndarray, w: np.ndarray, b: np.ndarray, activation: str = "identity", **walk: Any
) -> Any:
    """The full convolution, the bias, and the activation by its definition."""
    return activated(conv_transpose2d_reference(y, w, **walk) + b, activation)


def pool_reference(x: np.ndarray, combine: Any, fill: float, kernel_size: Any, stride: Any, padding: Any) -> np.ndarray:
    """`combine` of every window, window by window."""
    kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    step = kernel if stride is None else stride if isinstance(stride, tuple) else (stride, stride)
    widths = sides(padding, x.shape[1:3], kernel, step)
    x = np.pad(x, [(0, 0), *widths, (0, 0)], constant_values=fill)
    rows = range(0, x.shape[1] - kernel[0] + 1, step[0])
    columns = range(0, x.shape[2] - kernel[1] + 1, step[1])
    return np.stack(
        [
            np.stack([combine(x[:, i : i + kernel[0], j : j + kernel[1]], axis=(1, 2)) for j in columns], axis=1)
            for i in rows
        ],
        axis=1,
    )


def max_pool_reference(x: np.ndarray, kernel_size: Any, stride: Any = None, padding: Any = 0) -> np.ndarray:
    """The largest number of every window."""
    return pool_reference(x, np.max, -np.inf, kernel_size, stride, padding)


def avg_pool_reference(x: np.ndarray, kernel_size: Any, stride: Any = None, padding: Any = 0) -> np.ndarray:
    """The mean of every window, padding included."""
    return pool_reference(x, np.mean, 0.0, kernel_size, stride, padding)


def avg_unpool_reference(
    y: np.ndarray, size: Any, kernel_size: Any, stride: Any = None, padding: Any = 0
) -> np.ndarray:
    """The transpose of the matrix of `avg_pool_reference`, which is made by pooling every unit image."""
    units = np.eye(size[0] * size[1]).reshape(-1, *size, 1)
    matrix = avg_pool_reference(units, kernel_size, stride, padding)[..., 0]
    return np.einsum("upq,npqc->nuc", matrix, y).reshape(y.shape[0], *size, y.shape[3])


def bilinear_reference(x: np.ndarray, factor: Any, mode: str = "bilinear") -> np.ndarray:
    """SciPy's linear interpolation between the pixels' centers, each axis on its own, flat beyond the outermost."""
    for axis, f in zip((1, 2), factor if isinstance(factor, tuple) else (factor, factor), strict=True):
        n = x.shape[axis]
        if n == 1:
            x = np.repeat(x, f, axis)
            continue
        places = np.clip((np.arange(n * f) + 0.5) / f - 0.5, 0, n - 1)
        x = interpolate.make_interp_spline(np.arange(n), x, k=1, axis=axis)(places)
    return x


def bilinear_adjoint_reference(y: np.ndarray, factor: Any) -> np.ndarray:
    """The transpose of the matrix of `bilinear_reference`, which is made by resizing every unit image."""
    fh, fw = factor if isinstance(factor, tuple) else (factor, factor)
    h, w = y.shape[1] // fh, y.shape[2] // fw
    matrix = bilinear_reference(np.eye(h * w).reshape(-1, h, w, 1), factor)[..., 0]
    return np.einsum("upq,npqc->nuc", matrix, y).reshape(y.shape[0], h, w, y.shape[3])


def nearest_reference(x: np.ndarray, factor: Any, mode: str = "nearest") -> np.ndarray:
    """Repeated rows, then repeated columns."""
    fh, fw = factor if isinstance(factor, tuple) else (factor, factor)
    return np.repeat(np.repeat(x, fh, axis=1), fw, axis=2)


def block_sum_reference(y: np.ndarray, factor: Any) -> np.ndarray:
    """Sums of the rows of each block, then of its columns."""
    fh, fw = factor if isinstance(factor, tuple) else (factor, factor)
    return np.add.reduceat(np.add.reduceat(y, range(0, y.shape[1], fh), axis=1), range(0, y.shape[2], fw), axis=2)


def shuffle_reference(x: np.ndarray, factor: Any) -> np.ndarray:
    """Channel by channel, laid on every factor-th pixel."""
    fh, fw = factor if isinstance(factor, tuple) else (factor, factor)
    n, h, w, c = x.shape
    y = np.zeros((n, h * fh, w * fw, c // (fh * fw)), x.dtype)
    for k in range(c):
        block, channel = divmod(k, c // (fh * fw))
        y[:, block // fw :: fh, block % fw :: fw, channel] = x[..., k]
    return y


def unshuffle_reference(y: np.ndarray, factor: Any) -> np.ndarray:
    """Every factor-th pixel, offset by offset, side by side."""
    fh, fw = factor if isinstance(factor, tuple) else (factor, factor)
    return np.concatenate([y[:, i::fh, j::fw] for i in range(fh) for j in range(fw)], axis=-1)


MIXED: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
CONV = [((2, 4, 5, 2), (3, 2, 2, 3)), ((0, 3, 3, 1), (2, 2, 1, 2)), ((1, 1, 1, 1), (1, 1, 1, 1))]
TRANSPOSED = [((2, 2, 3, 3), (3, 2, 2, 3)), ((0, 2, 2, 2), (2, 2, 1, 2)), ((1, 1, 1, 1), (1, 1, 1, 1))]
POOLED = [((2, 4, 5, 2),), ((0, 3, 3, 1),), ((1, 3, 3, 1),)]

IMAGES: list[OpCase] = [
    *cases(ops.conv2d, CONV, conv2d_reference),
    *cases(ops.conv2d, CONV, conv2d_reference, padding="same", stride=2),
    *cases(ops.conv2d, [((2, 4, 5, 4), (3, 2, 2, 4))], conv2d_reference, **MIXED),
    *cases(ops.conv_transpose2d, TRANSPOSED, conv_transpose2d_reference),
    *cases(ops.conv_transpose2d, TRANSPOSED, conv_transpose2d_reference, padding="same", stride=(2, 3)),
    *cases(
        ops.conv_transpose2d,
        [((2, 2, 4, 4), (3, 2, 2, 4))],
        conv_transpose2d_reference,
        **MIXED,
        output_padding=(1, 0),
    ),
    *cases(
        ops.conv2d_weight_grad,
        [((2, 4, 5, 2), (2, 2, 4, 3)), ((0, 3, 2, 1), (0, 1, 1, 1)), ((1, 3, 2, 1), (1, 1, 1, 1))],
        conv2d_weight_grad_reference,
        kernel_size=(3, 2),
    ),
    *cases(
        ops.conv2d_weight_grad,
        [((2, 4, 5, 4), (2, 2, 6, 4))],
        conv2d_weight_grad_reference,
        kernel_size=(3, 2),
        **MIXED,
    ),
    *cases(ops.biased_conv2d, [(*shapes, (shapes[1][3],)) for shapes in CONV], biased_reference),
    *cases(ops.biased_conv2d, [((2, 4, 5, 4), (3, 2, 2, 4), (4,))], biased_reference, activation="tanh", **MIXED),
    *cases(
        ops.biased_conv2d,
        [((2, 4, 5, 2), (3, 3, 2, 3), (3,))],
        biased_reference,
        analytic=False,
        activation="relu",
        padding="same",
    ),
    *cases(ops.biased_conv_transpose2d, [(*s, (s[1][2],)) for s in TRANSPOSED], biased_transpose_reference),
    *cases(
        ops.biased_conv_transpose2d,
        [((2, 2, 3, 3), (3, 3, 2, 3), (2,))],
        biased_transpose_reference,
        activation="sigmoid",
        stride=2,
        padding=1,
        output_padding=1,
    ),
    *cases(
        ops.biased_conv_transpose2d,
        [((1, 2, 3, 4), (2, 2, 1, 4), (2,))],
        biased_transpose_reference,
        analytic=False,
        activation="elu",
        groups=2,
    ),
    *cases(ops.max_pool2d, POOLED, max_pool_reference, apart, analytic=False, kernel_size=2),
    *cases(
        ops.max_pool2d,
        [((2, 4, 5, 2),)],
        max_pool_reference,
        apart,
        analytic=False,
        kernel_size=(3, 2),
        stride=(1, 2),
        padding=1,
    ),
    *cases(ops.avg_pool2d, POOLED, avg_pool_reference, kernel_size=2),
    *cases(ops.avg_pool2d, [((2, 4, 5, 2),)], avg_pool_reference, kernel_size=(3, 2), stride=(1, 2), padding=1),
    *cases(
        ops.avg_unpool2d,
        [((2, 2, 2, 2),), ((0, 2, 2, 1),), ((1, 2, 2, 1),)],
        avg_unpool_reference,
        size=(4, 5),
        kernel_size=2,
    ),
    *cases(
        ops.avg_unpool2d,
        [((2, 4, 3, 2),)],
        avg_unpool_reference,
        size=(4, 5),
        kernel_size=(3, 2),
        stride=(1, 2),
        padding=1,
    ),
    *cases(ops.upsample_nearest, [((2, 2, 3, 2),), ((0, 2, 1, 1),)], nearest_reference, factor=(3, 2)),
    *cases(ops.block_sum, [((2, 3, 4, 2),), ((0, 3, 2, 1),)], block_sum_reference, factor=(3, 2)),
    *cases(ops.upsample_bilinear, [((2, 2, 3, 2),), ((1, 1, 4, 1),)], bilinear_reference, factor=(3, 2)),
    *cases(ops.upsample_bilinear, [((1, 3, 2, 1),), ((0, 2, 2, 1),)], bilinear_reference, factor=4),
    *cases(
        ops.upsample_bilinear_adjoint,
        [((2, 6, 4, 2),), ((0, 3, 2, 1),), ((1, 3, 2, 1),)],
        bilinear_adjoint_reference,
        factor=(3, 2),
    ),
    *cases(ops.upsample, [((2, 2, 3, 2),)], bilinear_reference, factor=2, mode="bilinear"),
    *cases(ops.upsample, [((1, 2, 3, 2),)], nearest_reference, factor=2, mode="nearest"),
    *cases(ops.pixel_shuffle, [((2, 2, 3, 12),), ((0, 2, 1, 6),), ((1, 1, 1, 6),)], shuffle_reference, factor=(3, 2)),
    *cases(ops.pixel_unshuffle, [((2, 3, 4, 2),), ((0, 3, 2, 1),)], unshuffle_reference, factor=(3, 2)),
    *cases(ops.pixel_unshuffle, [((1, 2, 2, 1),)], unshuffle_reference, factor=2),
]
"""Every operation on images with every set of shapes."""
