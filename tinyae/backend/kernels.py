"""Fast kernels for the CPU; optional reading.

Convolution and the gradient of max pooling. Each kernel computes the same result as a short method of `Backend` in
`tinyae.backend.base`, and is tested against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinyae.backend.base import padded
from tinyae.backend.parallel import chunks, in_parts
from tinyae.backend.windows import ConvSpec, Padding, Pair

# ---------------------------------------------------------------------------------------------------------------------
# Convolution on the CPU: a few samples at a time, so that intermediate results stay in the processor's cache.
#
# The reference copies all windows into one matrix, which is KH * KW times as large as the images: 58 MB for a batch of
# 128 images of 28 x 28 x 16 and a 3 x 3 kernel. Writing it to memory and reading it back costs more than the product
# itself. Here the matrix of a few samples is filled, multiplied, and overwritten by the next. Two more measures:
#
# 1. The gradient of the images is gathered, not scattered: the gradient of a pixel is a window of the outputs' gradients
#    times the flipped kernel. Filling a matrix is several times as fast as adding pieces to an image. With a stride,
#    pixels fall into stride * stride phases, each with every stride-th tap of the kernel. The same matrix gives the
#    gradient of the weights.
# 2. With one channel, windows are the columns of the matrix instead of its rows, so that whole image rows are copied
#    instead of single pixels.

Finish = Callable[[np.ndarray], None] | None

_CONV_CACHED = 1 << 21
"""Bytes of the matrix and its product that a thread works on at a time.

Half of it would fit a common second-level cache, but takes twice as many steps, and at each the threads may have to wait for
each other to hand over the interpreter lock.
"""

_SHARED = 1 << 17
"""Entries of the whole matrix, or of pooled outputs, from which a second thread is worth its cost."""


class Slopes:
    """The gradients (N, H, W, C) that `slope` computes for a few samples, to be read like an array, each sample once.

    What is read is also added up, for the bias. Threads read different samples, so each sample has a place of its own for its sum
    over rows, (W C).
    """

    def __init__(self, slope: Callable[[slice], np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.slope, self.shape, self.dtype = slope, shape, dtype
        self.sums = np.empty((shape[0], shape[2] * shape[3]), dtype)

    def __getitem__(self, samples: slice) -> np.ndarray:
        """The gradients of the samples."""
        dz = self.slope(samples)
        rows = dz.reshape(*dz.shape[:2], self.sums.shape[1])  # long rows add faster than single pixels
        np.add.reduce(rows, axis=1, out=self.sums[samples])
        return dz

    def total(self) -> np.ndarray:
        """The sum over all samples and places, (C,)."""
        return self.sums.sum(axis=0).reshape(self.shape[2:]).sum(axis=0)


Images = np.ndarray | Slopes
"""Images or outputs (N, H, W, C), of which a kernel reads a few samples at a time."""


class Patches:
    """Scratch memory of one thread: padded samples, and the matrix of their windows.

    Args:
        x: the images (N, H, W, C), or outputs, that the windows slide over.
        n: how many of them this thread works on.
        padding: ((top, bottom), (left, right)).
        patch_entries: entries of the largest matrix for one sample.
        dtype: of the matrix.
        extra: other numbers in use at the same time for one sample, such as its outputs.
    """

    def __init__(
        self, x: Images, n: int, padding: Padding, patch_entries: int, dtype: np.dtype, extra: int = 0
    ) -> None:
        (_, h, w, c), ((top, bottom), (left, right)) = x.shape, padding
        self.x = x
        self.chunk = _chunk(n, patch_entries + extra, dtype)
        self.image = np.zeros((self.chunk, h + top + bottom, w + left + right, c), dtype)
        self.inside = (slice(top, top + h), slice(left, left + w))
        self.columns = np.empty(self.chunk * patch_entries, dtype)
        self.loaded = slice(0)

    def chunks(self, start: int, stop: int) -> Iterator[slice]:
        """The samples from `start` to `stop` in chunks, each loaded before it is yielded."""
        for samples in chunks(start, stop, self.chunk):
            self.loaded = slice(0, samples.stop - samples.start)
            self.image[(self.loaded, *self.inside)] = self.x[samples]
            yield samples

    def windows(self, taps: Pair, places: Pair, stride: Pair = (1, 1), first: Pair = (0, 0)) -> np.ndarray:
        """The windows, (N, OH, OW, KH, KW, C), as a view; the first window starts at pixel `first`."""
        image = self.image[:, first[0] :, first[1] :]
        sample, row, column, channel = image.strides
        steps = (sample, row * stride[0], column * stride[1], row, column, channel)
        return as_strided(image, (len(image), *places, *taps, image.shape[3]), steps)

    def rows(self, windows: np.ndarray) -> np.ndarray:
        """The windows of the loaded samples as a matrix (n OH OW, KH KW C), valid until the next call."""
        seen = windows[self.loaded]
        n, oh, ow, kh, kw, c = seen.shape
        matrix = self.columns[: seen.size]
        if c == 1:
            matrix.reshape(kh, kw, n, oh, ow)[...] = seen[..., 0].transpose(3, 4, 0, 1, 2)
            return matrix.reshape(kh * kw, n * oh * ow).T
        matrix.reshape(seen.shape)[...] = seen
        return matrix.reshape(n * oh * ow, kh * kw * c)


def _chunk(n: int, entries: int, dtype: np.dtype) -> int:
    """How many of n samples, of `entries` numbers each, are worked on at a time."""
    return max(1, min(n, _CONV_CACHED // (max(entries, 1) * dtype.itemsize)))


def _dtype(*arrays: Images | None) -> np.dtype:
    """The dtype of results; arrays are given to NumPy themselves, so that one of another device is rejected."""
    return np.result_type(*[a.dtype if isinstance(a, Slopes) else a for a in arrays if a is not None])


def _parts(entries: int) -> int:
    """2 for work that is worth two threads, else 1."""
    return 2 if entries >= _SHARED else 1


def conv2d(x: np.ndarray, w: np.ndarray, spec: ConvSpec, finish: Finish = None) -> np.ndarray:
    """`Backend.conv2d`: the matrix of windows times the kernel.

    With stride 1 it equals a transposed convolution with the kernel flipped. For one output channel that is faster:
    the products of every pixel are shifted and added, without a matrix of windows.
    """
    (top, bottom), (left, right) = spec.padding
    tall, wide = spec.kernel[0] - 1, spec.kernel[1] - 1
    mirrored = (tall - top, tall - bottom), (wide - left, wide - right)
    if w.shape[3] == 1 < w.shape[2] and spec.stride == (1, 1) and min(*mirrored[0], *mirrored[1]) >= 0:
        flipped = ConvSpec(spec.out, spec.kernel, padding=mirrored)
        return scatter(x, w[::-1, ::-1].swapaxes(2, 3), flipped, finish)
    return correlate(x, spec, w, finish=finish)[0]


def correlate(
    x: Images, spec: ConvSpec, w: np.ndarray | None = None, y: Images | None = None, finish: Finish = None
) -> list[np.ndarray]:
    """[`conv2d(x, w)`] given w, [`conv2d_weight_grad(x, y)`] given y, or both from the same matrix given both."""
    dtype = _dtype(x, w, y)
    kernel = None if w is None else np.ascontiguousarray(w.reshape(-1, w.shape[3]), dtype)
    n, c, o = x.shape[0], x.shape[3], next(a.shape[3] for a in (w, y) if a is not None)
    k, places = math.prod(spec.kernel) * c, math.prod(spec.out)
    out = None if w is None else np.empty((n, *spec.out, o), dtype)

    def work(start: int, stop: int) -> np.ndarray:
        total, extra = np.zeros((o, k), dtype), places * o if y is None else 0
        patches = Patches(x, stop - start, spec.padding, places * k, dtype, extra)
        seen = patches.windows(spec.kernel, spec.out, spec.stride)
        for samples in patches.chunks(start, stop):
            rows = patches.rows(seen)
            if y is not None:
                total += y[samples].reshape(-1, o).T @ rows
            if out is not None and kernel is not None:
                np.matmul(rows, kernel, out=out[samples].reshape(-1, o))
                if finish is not None:
                    finish(out[samples])
        return total

    totals = in_parts(work, n, _parts(n * places * k))
    dw = None if y is None else np.add.reduce(totals).T.reshape(*spec.kernel, c, o)
    return [a for a in (out, dw) if a is not None]


@dataclass(frozen=True)
class StridePhase:
    """The pixels with the same position modulo the stride, and the outputs and taps that reach them.

    Attributes:
        pixels: their rows and columns, as slices.
        places: how many rows and columns there are.
        start: the first output that reaches the first of them; may be negative.
        taps: the part of the kernel that reaches them.
        count: (TH, TW), the number of these taps.
    """

    pixels: tuple[slice, slice]
    places: Pair
    start: Pair
    taps: tuple[slice, slice]
    count: Pair


def stride_phases(spec: ConvSpec) -> list[StridePhase]:
    """The stride * stride phases of pixels.

    Pixel h of phase a, h = a + stride * q, lies at a + top + stride * q in the padded image. With r and q0 the
    remainder and quotient of a + top by the stride, the taps r + stride * t reach it, from output q + q0 - t.
    """
    axes = []
    for n, k, s, (before, _) in zip(spec.size, spec.kernel, spec.stride, spec.padding, strict=True):
        axis = []
        for a in range(min(s, n)):
            quotient, remainder = divmod(a + before, s)
            count = len(range(remainder, k, s))
            places = len(range(a, n, s))
            axis.append((slice(a, None, s), places, quotient - count + 1, slice(remainder, None, s), count))
        axes.append(axis)
    return [StridePhase(*zip(v, h, strict=True)) for v in axes[0] for h in axes[1]]  # type: ignore[arg-type]


def gather(
    y: Images, w: np.ndarray, spec: ConvSpec, finish: Finish = None, x: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """`conv_transpose2d(y, w)` and, given x, `conv2d_weight_grad(x, y)`, both from the same matrix."""
    n, dtype = y.shape[0], _dtype(y, w, x)
    c, o, phases = w.shape[2], w.shape[3], stride_phases(spec)
    image = np.empty((n, *spec.size, c), dtype)
    kernels = [w[m.taps][::-1, ::-1].swapaxes(2, 3).reshape(-1, c).astype(dtype, copy=False) for m in phases]
    patch_entries = max(math.prod(m.places) * math.prod(m.count) * o for m in phases)
    tall, wide = spec.kernel[0] - 1, spec.kernel[1] - 1  # a window reaches no further beyond the outputs

    def work(start: int, stop: int) -> list[np.ndarray]:
        totals = [np.zeros(kernel.shape[::-1], dtype) for kernel in kernels]
        patches = Patches(y, stop - start, ((tall, tall), (wide, wide)), patch_entries, dtype)
        seen = [patches.windows(m.count, m.places, first=(m.start[0] + tall, m.start[1] + wide)) for m in phases]
        for samples in patches.chunks(start, stop):
            part = image[samples]
            for m, kernel, total, windows in zip(phases, kernels, totals, seen, strict=True):
                here = (slice(None), *m.pixels)
                if not kernel.size:  # a stride larger than the kernel: no window sees these pixels
                    part[here] = 0.0
                    continue
                rows = patches.rows(windows)
                whole = spec.stride == (1, 1)
                pixels = part if whole else np.empty((len(part), *m.places, c), dtype)
                np.matmul(rows, kernel, out=pixels.reshape(-1, c))
                if not whole:
                    part[here] = pixels
                if x is not None:
                    total += x[samples][here].reshape(-1, c).T @ rows
            if finish is not None:
                finish(part)
        return totals

    totals = in_parts(work, n, _parts(n * patch_entries))
    if x is None:
        return image, None
    dw = np.zeros(w.shape, dtype)
    for m, *parts in zip(phases, *totals, strict=True):
        dw[m.taps] = np.add.reduce(parts).T.reshape(*m.count, o, c)[::-1, ::-1].swapaxes(2, 3)
    return image, dw


def scatter(y: np.ndarray, w: np.ndarray, spec: ConvSpec, finish: Finish = None) -> np.ndarray:
    """`conv_transpose2d` to images of one channel: the products of each tap form an image, shifted and added."""
    dtype = np.result_type(y, w)
    y = np.ascontiguousarray(y, dtype)
    o, taps, places = w.shape[3], math.prod(spec.kernel), math.prod(spec.out)
    kernel = np.ascontiguousarray(w.reshape(taps, o), dtype).T
    out = np.empty((len(y), *spec.size, 1), dtype)

    def work(start: int, stop: int) -> None:
        chunk = _chunk(stop - start, places * taps, dtype)
        products = np.empty(chunk * places * taps, dtype)
        image = np.empty((chunk, *spec.padded), dtype)
        for samples in chunks(start, stop, chunk):
            n = samples.stop - samples.start
            columns = products[: n * places * taps].reshape(taps, n * places)
            np.matmul(y[samples].reshape(-1, o), kernel, out=columns.T)
            image[:n] = 0.0
            for column, (_, seen) in zip(columns, spec.taps(), strict=True):
                image[:n][seen] += column.reshape(n, *spec.out)
            out[samples, :, :, 0] = image[:n][spec.inside]
            if finish is not None:
                finish(out[samples])

    in_parts(work, len(y), _parts(y.size + len(y) * places * taps))
    return out


# ---------------------------------------------------------------------------------------------------------------------
# The gradient of max pooling on the CPU, for windows that do not overlap: a few samples at a time, in the cache.
#
# The reference in `base` computes a mask, a product and a sum as large as the batch for each tap, and each goes to memory
# and back. Here they are as large as a few samples. Each pixel belongs to one window only, so nothing is accumulated.

MOST_TAPS = 255
"""The largest number of taps for which ties are counted in one byte."""

_POOL_CACHED = 1 << 20
"""Bytes of the outputs of one chunk, repeated along the row; with masks and images they fit in a common third-level cache."""


def max_pool2d_grad(g: np.ndarray, out: np.ndarray, x: np.ndarray, spec: ConvSpec) -> np.ndarray:
    """`Backend.max_pool2d_grad` for a stride equal to the kernel's size.

    Outputs are repeated along the row, so that whole rows of pixels are compared, not every kw-th pixel at a time.
    """
    image = padded(np, x, spec, -np.inf)
    (kh, kw), (n, oh, ow, c) = spec.kernel, out.shape
    whole = out.size * kh * kw == image.size
    dx = (np.empty if whole else np.zeros)(image.shape, g.dtype)
    chunk = max(1, _POOL_CACHED // max(1, out[:1].nbytes * kw))
    rows = [(slice(None), slice(i, i + kh * oh, kh), slice(0, kw * ow)) for i in range(kh)]

    def work(start: int, stop: int) -> None:
        masks = np.empty((kh, min(chunk, stop - start), oh, ow * kw, c), np.bool_)
        for samples in chunks(start, stop, chunk):
            seen, into = image[samples], dx[samples]
            won = masks[:, : len(seen)]
            best = np.repeat(out[samples], kw, axis=2)
            for mask, row in zip(won, rows, strict=True):
                np.equal(seen[row], best, out=mask)
            columns = np.add.reduce(won.view(np.uint8), axis=0, dtype=np.uint8)
            winners = sum(columns[:, :, j::kw] for j in range(kw))  # the ufunc's own sum along this axis is slow
            share = np.repeat(g[samples] / winners, kw, axis=2)
            for mask, row in zip(won, rows, strict=True):
                np.multiply(share, mask, out=into[row])

    in_parts(work, n, _parts(out.size))
    return dx[spec.inside]
