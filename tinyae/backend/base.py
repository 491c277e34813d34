"""The interface to an array library, with reference implementations in plain `xp` code.

Only a `Backend` knows which array library it uses. Its namespace `xp` has NumPy's functions; its methods are the few
things that NumPy and CuPy do differently (transfers, random numbers, synchronization) and the kernels: operations that
deserve a hand-written implementation on some device. A subclass may override a kernel, and every override is tested
against the reference here. The file ends with the device errors and the advice for sequences of unequal length.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tinyae.backend.windows import ConvSpec

Array: TypeAlias = npt.NDArray[Any]
"""A raw array. For type checkers it is NumPy's; CuPy's has the same attributes and methods but no common base class."""


class Backend:
    """One array library on one device.

    Attributes:
        name: the device name, `"cpu"` or `"gpu"`.
        xp: the array namespace, `numpy` or `cupy`.
    """

    name: str
    xp: ModuleType

    def to_device(self, array: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> Array:
        """A host array (or nested list) on this device, cast to `dtype` if given; copied only if necessary."""
        return self.xp.asarray(array, dtype=dtype)

    def to_host(self, array: Array) -> Array:
        """Return an array of this device as a NumPy array. A GPU is synchronized first."""
        raise NotImplementedError

    def generator(self, seed: int) -> np.random.Generator:
        """A generator that draws arrays on this device: PCG64 with NumPy, XORWOW (a different stream) with CuPy."""
        return self.xp.random.default_rng(seed)

    def synchronize(self) -> None:
        """Wait until the device has finished all its work (for timings)."""

    def describe(self) -> str:
        """One line for `tinyae info`: library, version and device."""
        return f"{self.name}: {self.xp.__name__} {self.xp.__version__}"

    def __repr__(self) -> str:
        return f"<Backend {self.name} ({self.xp.__name__})>"

    # Random draws. The host generator, an explicit argument, is the single source of randomness. A device that cannot
    # use it directly draws one seed from it for each call, so a run is repeatable on each device.

    def uniform(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Uniform draws in [0, 1) of the given shape and dtype."""
        drawn = self._device_stream(generator).random(shape, dtype=_drawn(dtype)).astype(dtype, copy=False)
        return drawn if drawn.dtype.itemsize > 2 else self.xp.minimum(drawn, 1.0 - 2.0**-11)  # 1 by rounding

    def normal(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Standard normal draws of the given shape and dtype."""
        return self._device_stream(generator).standard_normal(shape, dtype=_drawn(dtype)).astype(dtype, copy=False)

    def _device_stream(self, generator: np.random.Generator) -> Any:
        return self.generator(int(generator.integers(2**32)))

    def by_samples(self, work: Callable[[slice], None], n: int, entries: int) -> None:
        """Call `work` for all of n samples, at once or in parts; in all it reads or writes `entries` numbers."""
        work(slice(None))

    # Named kernels: reference bodies.

    def matmul(self, a: Array, b: Array) -> Array:
        """a @ b, as in NumPy."""
        return self.xp.matmul(a, b)

    def mean(self, x: Array, axis: int | tuple[int, ...] | None, keepdims: bool) -> Array:
        """The mean over `axis`, as in NumPy."""
        return x.mean(axis=axis, keepdims=keepdims)

    def affine(self, x: Array, weight: Array, bias: Array, finish: Callable[[Array], None] | None = None) -> Array:
        """x @ weight + bias with x (..., D), weight (D, K), bias (K,).

        `finish`, e.g. an activation, is applied in place to parts of the result (n, k).
        """
        out = self.xp.matmul(x, weight)
        out += bias
        if finish is not None:
            finish(out)
        return out

    def affine_backward(
        self, slope: Callable[[slice], Array], x: Array, weight: Array, wanted: Collection[int]
    ) -> tuple[Array | None, ...]:
        """The wanted gradients of `affine`, for (x, weight, bias), with x (N, D).

        `slope` gives the gradient dz (n, K) of the results of the samples in a slice: dz W^T, x^T dz, and the sum of dz.
        """
        dz = slope(slice(None))
        return (
            dz @ weight.T if 0 in wanted else None,
            x.T @ dz if 1 in wanted else None,
            dz.sum(axis=0) if 2 in wanted else None,
        )

    def bce_with_logits(self, logits: Array, targets: Array, factor: float) -> tuple[Array, Array]:
        """`factor` times the sum of softplus(z) - t z, and its derivative, factor (sigmoid(z) - t)."""
        elements = self.softplus(logits)
        elements -= targets * logits
        slope = self.sigmoid(logits)
        slope -= targets
        slope *= factor
        return elements.sum() * factor, slope

    def scaled(self, array: Array, factor: Array) -> Array:
        """array * factor, which may be the array itself; `factor` holds one number."""
        return array * factor

    def squared_error(self, predictions: Array, targets: Array) -> tuple[Array, Array]:
        """The sum of (y - t)**2, and y - t."""
        difference = predictions - targets
        flat = difference.reshape(-1)
        return flat @ flat, difference

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), accurate to the last digits also where it is tiny."""
        if x.dtype.kind == "c":  # 1 / (infinity + NaN i) would be NaN
            e = self.xp.exp(self.xp.where(x.real < 0.0, x, -x))
            return self.xp.where(x.real < 0.0, e, 1.0) / (1.0 + e)
        with np.errstate(over="ignore"):  # 1 / (1 + infinity) is 0
            return 1.0 / (1.0 + self.xp.exp(0.0 - x))  # of integers float64, where -x would wrap

    def softplus(self, x: Array) -> Array:
        """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)), finite for every finite input."""
        return self.xp.maximum(x, 0.0) + self.xp.log1p(self.xp.exp(self.xp.minimum(x, 0.0 - x)))

    def erf(self, x: Array) -> Array:
        """2/sqrt(pi) times the integral of exp(-t**2) from 0 to x. NumPy has none: each device names its library's."""
        raise NotImplementedError

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
        """One Adam update in place (Kingma and Ba 2015, Algorithm 1, in the reordered form of section 2).

        All arrays are flat and have the same length. `step` and `eps` already include the bias correction; `decay` is
        the decoupled weight decay (AdamW): param <- (1 - decay) param - step * mean / (sqrt(square) + eps).
        """
        mean *= beta1
        mean += (1.0 - beta1) * grad
        square *= beta2
        square += (1.0 - beta2) * grad * grad
        if decay:
            param *= 1.0 - decay
        param -= step * (mean / (self.xp.sqrt(square) + eps))

    # A convolution is the product of the matrix of window contents and the kernel; its two adjoints are matrix products
    # as well. Images are (N, H, W, C), kernels (KH, KW, C, O), outputs (N, OH, OW, O); see `unfold` and `fold` below.

    def conv2d(self, x: Array, w: Array, spec: ConvSpec, finish: Callable[[Array], None] | None = None) -> Array:
        """Each output is the sum of a window of x times w: the matrix of windows times the kernel as a matrix.

        `finish`, e.g. a bias and an activation, is applied in place to the outputs (N, OH, OW, O) in C order, whole
        samples at a time.
        """
        y = (unfold(self.xp, x, spec) @ _matrix(w)).reshape(x.shape[0], *spec.out, w.shape[3])
        if finish is not None:
            finish(y)
        return y

    def conv_transpose2d(
        self, y: Array, w: Array, spec: ConvSpec, finish: Callable[[Array], None] | None = None
    ) -> Array:
        """The adjoint of `conv2d` in x: each output y times w, added to the pixels of its window; (N, H, W, C)."""
        x = self.xp.ascontiguousarray(fold(self.xp, _matrix(y) @ _matrix(w).T, spec))
        if finish is not None:
            finish(x)
        return x

    def conv2d_weight_grad(self, x: Array, y: Array, spec: ConvSpec) -> Array:
        """The adjoint of `conv2d` in w: for each tap, its pixels times y, summed over positions; (KH, KW, C, O)."""
        return (unfold(self.xp, x, spec).T @ _matrix(y)).reshape(*spec.kernel, x.shape[3], y.shape[3])

    def conv2d_backward(
        self, slope: Callable[[slice], Array], x: Array, w: Array, spec: ConvSpec, wanted: Collection[int]
    ) -> tuple[Array | None, ...]:
        """The wanted gradients of z = conv2d(x, w) + bias, for (x, w, bias); `slope` as in `affine_backward`."""
        dz = slope(slice(None))
        return (
            self.conv_transpose2d(dz, w, spec) if 0 in wanted else None,
            self.conv2d_weight_grad(x, dz, spec) if 1 in wanted else None,
            dz.sum(axis=(0, 1, 2)) if 2 in wanted else None,
        )

    def conv_transpose2d_backward(
        self, slope: Callable[[slice], Array], y: Array, w: Array, spec: ConvSpec, wanted: Collection[int]
    ) -> tuple[Array | None, ...]:
        """The wanted gradients of z = conv_transpose2d(y, w) + bias, for (y, w, bias)."""
        dz = slope(slice(None))
        return (
            self.conv2d(dz, w, spec) if 0 in wanted else None,
            self.conv2d_weight_grad(dz, y, spec) if 1 in wanted else None,
            dz.sum(axis=(0, 1, 2)) if 2 in wanted else None,
        )

    def max_pool2d_grad(self, g: Array, out: Array, x: Array, spec: ConvSpec) -> Array:
        """The gradient g of the maxima `out` (N, OH, OW, C), passed to the pixels of x that are the maximum.

        Tied pixels share it evenly.
        """
        xp = self.xp
        image = padded(xp, x, spec, -float("inf"))
        won = [(seen, image[seen] == out) for _, seen in spec.taps()]
        winners = xp.zeros(out.shape, dtype=g.dtype)
        for _, mask in won:
            winners += mask
        share = g / winners
        dx = xp.zeros(image.shape, dtype=g.dtype)
        for seen, mask in won:
            dx[seen] += share * mask
        return dx[spec.inside]


def _drawn(dtype: npt.DTypeLike) -> npt.DTypeLike:
    """The dtype in which random numbers of `dtype` are drawn: generators know float32 and float64 only."""
    return dtype if np.dtype(dtype) in (np.float32, np.float64) else np.float64


# ---------------------------------------------------------------------------------------------------------------------
# The contents of windows as the rows of a matrix (im2col), and its adjoint, the sum of those rows (col2im).


def padded(xp: ModuleType, x: Array, spec: ConvSpec, value: float = 0.0) -> Array:
    """x (N, H, W, C) with its padding, filled with `value`; x itself if there is no padding."""
    if not spec.pads:
        return x
    image = xp.full((x.shape[0], *spec.padded, x.shape[3]), value, dtype=x.dtype)
    image[spec.inside] = x
    return image


def unfold(xp: ModuleType, x: Array, spec: ConvSpec) -> Array:
    """im2col: x (N, H, W, C) as a matrix (N OH OW, KH KW C), one row for each position of the window."""
    (sh, sw), (kh, kw) = spec.stride, spec.kernel
    windows = xp.lib.stride_tricks.sliding_window_view(padded(xp, x, spec), (kh, kw), axis=(1, 2))[:, ::sh, ::sw]
    n, oh, ow, c = windows.shape[:4]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * oh * ow, kh * kw * c)


def fold(xp: ModuleType, rows: Array, spec: ConvSpec) -> Array:
    """col2im, the adjoint of `unfold`: rows (N OH OW, KH KW C) added to the pixels of their windows, (N, H, W, C).

    Each tap of the kernel adds one strided slice, so that no addition writes a pixel twice.
    """
    (oh, ow), (kh, kw) = spec.out, spec.kernel
    n, c = rows.shape[0] // (oh * ow), rows.shape[1] // (kh * kw)
    image = xp.zeros((n, *spec.padded, c), dtype=rows.dtype)
    pieces = rows.reshape(n, oh, ow, kh, kw, c)
    for (i, j), seen in spec.taps():
        image[seen] += pieces[:, :, :, i, j]
    return image[spec.inside]


def _matrix(a: Array) -> Array:
    """A kernel (KH, KW, C, O) or outputs (N, OH, OW, O) as a matrix of O columns."""
    return a.reshape(a.shape[0] * a.shape[1] * a.shape[2], a.shape[3])


# ---------------------------------------------------------------------------------------------------------------------
# Device errors, one class per cause. Each message includes the fix.


class DeviceError(RuntimeError):
    """The requested device cannot be used here. The command line turns this into exit code 2."""


class CupyMissingError(DeviceError):
    """`gpu` was requested and CuPy is not installed (or its installation is broken)."""


class NoGpuError(DeviceError):
    """CuPy is installed, but no NVIDIA driver or GPU responds."""


class CudaLibraryMissingError(DeviceError):
    """CuPy and a GPU are available, but a CUDA library (NVRTC, cuBLAS, ...) is missing."""


class MixedDevicesError(TypeError):
    """One operation received arrays of two devices; arrays are never moved implicitly."""


# ---------------------------------------------------------------------------------------------------------------------
# Lists of sequences of unequal length do not form an array; every message gives the same advice.

PADDING_ADVICE = (
    "sequences of unequal length are joined by x, lengths = tinyae.data.pad(sequences) and given as x with "
    "lengths=lengths, or as Split(x, lengths=lengths)"
)
"""The advice, as the end of a sentence."""


def is_ragged(value: object) -> bool:
    """Whether a list or tuple has entries of unequal length, so that it does not form a rectangular array."""
    if not isinstance(value, (list, tuple)):
        return False
    try:
        np.asarray(value)
    except ValueError:
        return True
    except Exception:  # entries that cannot be converted to an array at all
        return False
    return False


def array_advice(value: object, otherwise: str) -> str:
    """How to get an array from `value`: padding for sequences of unequal length, else `otherwise`."""
    return PADDING_ADVICE if is_ragged(value) else otherwise
