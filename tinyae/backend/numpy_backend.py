"""The CPU: NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyae.backend import convolution, pooling
from tinyae.backend.base import Array, Backend
from tinyae.backend.convolution import Finish
from tinyae.backend.threads import in_halves
from tinyae.backend.windows import Windows

_CHUNK = 65536
"""Elements per pass of a chunked kernel. Smaller ones suit a smaller cache, but the calls then cost more."""

_SHARED = 1 << 20
"""Elements from which a second thread pays for itself in a chunked kernel."""


class NumpyBackend(Backend):
    """Arrays in host memory."""

    name = "cpu"
    xp = np

    def to_device(self, array: Any, dtype: Any = None) -> Array:
        """Return `array` as a NumPy array; no copy is made where none is needed."""
        return np.asarray(array, dtype=dtype)

    def to_host(self, array: Array) -> np.ndarray:
        """Return the array itself: it is on the host already."""
        return np.asarray(array)

    def generator(self, seed: int) -> np.random.Generator:
        """NumPy's default generator (PCG64)."""
        return np.random.default_rng(seed)

    def _device_stream(self, generator: np.random.Generator) -> np.random.Generator:
        return generator

    def adam(
        self,
        param: Array,
        grad: Array,
        mean: Array,
        square: Array,
        *,
        step: float,
        beta1: float,
        beta2: float,
        eps: float,
        decay: float,
    ) -> None:
        """The reference update in cache-sized chunks, to the same bits; two threads share a long array."""
        arrays = (param, grad, mean, square)
        numbers = (step, beta1, 1.0 - beta1, beta2, 1.0 - beta2, eps, 1.0 - decay)
        scalars = [np.asarray(number, param.dtype) for number in numbers]

        def work(start: int, stop: int) -> None:
            _adam_chunks([array[start:stop] for array in arrays], scalars, decay != 0.0)

        if param.size < _SHARED:
            work(0, param.size)
        else:
            in_halves(work, param.size)

    # Convolution: `tinyae.backend.convolution` has the fast forms, for one group of channels and at least one sample.

    def conv2d(self, x: Array, w: Array, windows: Windows, groups: int = 1, finish: Finish = None) -> Array:
        """The reference's numbers to rounding, chunk by chunk on two threads."""
        if groups > 1 or not x.size:
            return super().conv2d(x, w, windows, groups, finish)
        return convolution.conv2d(x, w, windows, finish)

    def conv_transpose2d(self, y: Array, w: Array, windows: Windows, groups: int = 1, finish: Finish = None) -> Array:
        """The reference's numbers to rounding: gathered where it can be, and scattered to a single channel."""
        if groups > 1 or not y.size:
            return super().conv_transpose2d(y, w, windows, groups, finish)
        if w.shape[2] == 1:
            return convolution.scatter(y, w, windows, finish)
        if windows.dilation != (1, 1):
            return super().conv_transpose2d(y, w, windows, groups, finish)
        return convolution.gather(y, w, windows, finish)[0]

    def conv2d_weight_grad(self, x: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
        """The reference's numbers to rounding, chunk by chunk on two threads."""
        if groups > 1 or not x.size:
            return super().conv2d_weight_grad(x, y, windows, groups)
        return convolution.weight_grad(x, y, windows)[0]

    def conv2d_backward(
        self, g: Array, x: Array, w: Array, windows: Windows, groups: int, wanted: tuple[bool, bool]
    ) -> tuple[Array | None, Array | None]:
        """One matrix of what the pixels get serves both gradients."""
        if all(wanted) and groups == 1 and g.size and w.shape[2] > 1 and windows.dilation == (1, 1):
            return convolution.gather(g, w, windows, x=x)
        return super().conv2d_backward(g, x, w, windows, groups, wanted)

    def conv_transpose2d_backward(
        self, g: Array, y: Array, w: Array, windows: Windows, groups: int, wanted: tuple[bool, bool]
    ) -> tuple[Array | None, Array | None]:
        """One matrix of what the windows see serves both gradients."""
        if all(wanted) and groups == 1 and g.size:
            dw, dy = convolution.weight_grad(g, y, windows, w)
            return dy, dw
        return super().conv_transpose2d_backward(g, y, w, windows, groups, wanted)

    def max_pool2d_grad(self, g: Array, out: Array, x: Array, windows: Windows) -> Array:
        """The reference's numbers; windows side by side a few samples at a time, on two threads."""
        if windows.stride != windows.kernel or math.prod(windows.kernel) > pooling.MOST_TAPS or not x.size:
            return super().max_pool2d_grad(g, out, x, windows)
        return pooling.max_pool2d_grad(g, out, x, windows)


def _adam_chunks(arrays: Sequence[Array], scalars: Sequence[Array], decays: bool) -> None:
    """Adam chunk by chunk: one trip through memory instead of twelve.

    The scalars are 0-d arrays of the parameters' dtype, because NumPy would convert a Python float at every
    call.
    """
    step, beta1, rest1, beta2, rest2, eps, shrink = scalars
    size = arrays[0].size
    work = np.empty(min(_CHUNK, size), arrays[0].dtype)
    for start in range(0, size, _CHUNK):
        p, g, m, s = [array[start : start + _CHUNK] for array in arrays]
        t = work[: p.size]
        np.multiply(g, rest1, out=t)
        np.multiply(m, beta1, out=m)
        np.add(m, t, out=m)
        np.multiply(g, rest2, out=t)
        np.multiply(t, g, out=t)
        np.multiply(s, beta2, out=s)
        np.add(s, t, out=s)
        np.sqrt(s, out=t)
        np.add(t, eps, out=t)
        np.divide(m, t, out=t)
        np.multiply(t, step, out=t)
        if decays:
            np.multiply(p, shrink, out=p)
        np.subtract(p, t, out=p)
