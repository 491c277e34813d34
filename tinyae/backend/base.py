"""What every array library must offer, written once in plain `xp` code.

A `Backend` is the only object that knows which array library it speaks to. Its namespace `xp` has NumPy's names;
the methods below are the few things NumPy and CuPy do differently (transfers, random numbers, waiting) and the
named kernels: pieces of work worth a hand-made body on some device. The bodies here are the readable reference;
a subclass may override one, and every override is tested against the body it replaces. At the end stand the errors of
devices, and what is said of lists that no array holds.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tinyae.backend.windows import ConvSpec

Array: TypeAlias = npt.NDArray[Any]
"""A raw array. To type checkers it is NumPy's: CuPy's has the same attributes and methods, but no class in common."""


class Backend:
    """One array library on one device.

    Attributes:
        name: the device as users write it, `"cpu"` or `"gpu"`.
        xp: the array namespace, `numpy` or `cupy`.
    """

    name: str
    xp: ModuleType

    def to_device(self, array: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> Array:
        """A host array (or nested list) on this device, cast to `dtype` if given; no copy is made where none is needed."""
        return self.xp.asarray(array, dtype=dtype)

    def to_host(self, array: Array) -> Array:
        """Return an array of this device as a NumPy array. On a GPU this waits for the device: the only exit."""
        raise NotImplementedError

    def generator(self, seed: int) -> np.random.Generator:
        """A generator whose draws live on this device. NumPy's is PCG64, CuPy's XORWOW, with another stream."""
        return self.xp.random.default_rng(seed)

    def synchronize(self) -> None:
        """Wait until all work handed to the device is done (for timings)."""

    def describe(self) -> str:
        """One line for `tinyae info`: library, version and device."""
        return f"{self.name}: {self.xp.__name__} {self.xp.__version__}"

    def __repr__(self) -> str:
        return f"<Backend {self.name} ({self.xp.__name__})>"

    # Random draws. The host generator is the single source of randomness: it is handed in explicitly, and a device
    # that cannot use it directly takes one key from it per draw, so a run is repeatable on each device.

    def uniform(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Uniform draws in [0, 1) of the given shape and dtype."""
        return self._device_stream(generator).random(shape, dtype=dtype)

    def normal(self, generator: np.random.Generator, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """Standard normal draws of the given shape and dtype."""
        return self._device_stream(generator).standard_normal(shape, dtype=dtype)

    def _device_stream(self, generator: np.random.Generator) -> Any:
        return self.generator(int(generator.integers(2**32)))

    # Named kernels: reference bodies.

    def affine(self, x: Array, weight: Array, bias: Array) -> Array:
        """x @ weight + bias with x (..., D), weight (D, K), bias (K,)."""
        out = self.xp.matmul(x, weight)
        out += bias
        return out

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), through tanh so that no input overflows."""
        return self.xp.tanh(x * 0.5) * 0.5 + 0.5

    def softplus(self, x: Array) -> Array:
        """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)), finite for every finite input."""
        return self.xp.maximum(x, 0.0) + self.xp.log1p(self.xp.exp(-self.xp.abs(x)))

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
        """One Adam update in place (Kingma and Ba 2015, Algorithm 1, in the form before section 3).

        All arrays are flat and of one length. `step` and `eps` are already corrected for bias, `decay` is the
        factor of decoupled weight decay (AdamW): param <- (1 - decay) param - step * mean / (sqrt(square) + eps).
        """
        mean *= beta1
        mean += (1.0 - beta1) * grad
        square *= beta2
        square += (1.0 - beta2) * grad * grad
        if decay:
            param *= 1.0 - decay
        param -= step * (mean / (self.xp.sqrt(square) + eps))

    # A convolution is a matrix product of what the windows see, and so are its two adjoints. Images are (N, H, W, C),
    # kernels (KH, KW, C, O), outputs (N, OH, OW, O); `unfold` and `fold` stand below.

    def conv2d(self, x: Array, w: Array, spec: ConvSpec, finish: Callable[[Array], None] | None = None) -> Array:
        """Each output is the sum over a window of x times w: rows of what is seen, times the kernel as a matrix.

        `finish` is applied in place to the outputs (N, OH, OW, O) in C order, whole samples at a time: a bias, an
        activation.
        """
        y = (unfold(self.xp, x, spec) @ _matrix(w)).reshape(x.shape[0], *spec.out, w.shape[3])
        if finish is not None:
            finish(y)
        return y

    def conv_transpose2d(
        self, y: Array, w: Array, spec: ConvSpec, finish: Callable[[Array], None] | None = None
    ) -> Array:
        """The adjoint of `conv2d` in x: each output y times w, added to the pixels that its window saw; (N, H, W, C)."""
        x = self.xp.ascontiguousarray(fold(self.xp, _matrix(y) @ _matrix(w).T, spec))
        if finish is not None:
            finish(x)
        return x

    def conv2d_weight_grad(self, x: Array, y: Array, spec: ConvSpec) -> Array:
        """The adjoint of `conv2d` in w: for each tap, what it saw times y, summed over all places; (KH, KW, C, O)."""
        return (unfold(self.xp, x, spec).T @ _matrix(y)).reshape(*spec.kernel, x.shape[3], y.shape[3])

    def conv2d_backward(
        self, g: Array, x: Array, w: Array, spec: ConvSpec, wanted: tuple[bool, bool]
    ) -> tuple[Array | None, Array | None]:
        """Both gradients of `conv2d(x, w)` at once, each where it is wanted: a device may share work between them."""
        return (
            self.conv_transpose2d(g, w, spec) if wanted[0] else None,
            self.conv2d_weight_grad(x, g, spec) if wanted[1] else None,
        )

    def conv_transpose2d_backward(
        self, g: Array, y: Array, w: Array, spec: ConvSpec, wanted: tuple[bool, bool]
    ) -> tuple[Array | None, Array | None]:
        """Both gradients of `conv_transpose2d(y, w)` at once, each where it is wanted."""
        return (
            self.conv2d(g, w, spec) if wanted[0] else None,
            self.conv2d_weight_grad(g, y, spec) if wanted[1] else None,
        )

    def max_pool2d_grad(self, g: Array, out: Array, x: Array, spec: ConvSpec) -> Array:
        """The gradient g of the largest numbers `out` (N, OH, OW, C), handed to the pixels of x that were the largest.

        Those that were equally large share it evenly.
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


# ---------------------------------------------------------------------------------------------------------------------
# What windows see of images, as the rows of a matrix (im2col), and those rows added back (col2im). The two are each
# other's adjoint.


def padded(xp: ModuleType, x: Array, spec: ConvSpec, value: float = 0.0) -> Array:
    """x (N, H, W, C) with its padding, filled with `value`; x itself where there is none."""
    if not spec.pads:
        return x
    image = xp.full((x.shape[0], *spec.padded, x.shape[3]), value, dtype=x.dtype)
    image[spec.inside] = x
    return image


def unfold(xp: ModuleType, x: Array, spec: ConvSpec) -> Array:
    """im2col: x (N, H, W, C) as a matrix (N OH OW, KH KW C), a row for each place of the window."""
    (sh, sw), (kh, kw) = spec.stride, spec.kernel
    windows = xp.lib.stride_tricks.sliding_window_view(padded(xp, x, spec), (kh, kw), axis=(1, 2))[:, ::sh, ::sw]
    n, oh, ow, c = windows.shape[:4]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * oh * ow, kh * kw * c)


def fold(xp: ModuleType, rows: Array, spec: ConvSpec) -> Array:
    """col2im, the adjoint of `unfold`: rows (N OH OW, KH KW C) added up where they were seen, (N, H, W, C).

    One addition of a strided slice for each tap of the kernel, so that no pixel is ever written by two at once.
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
# What can be wrong with a device, one class per cause, each with its fix in the sentence.


class DeviceError(RuntimeError):
    """A device was asked for that cannot be used here. The command line turns it into exit code 2."""


class CupyMissingError(DeviceError):
    """`gpu` was asked for and CuPy is not installed (or its installation is broken)."""


class NoGpuError(DeviceError):
    """CuPy is there, but no NVIDIA driver or no GPU answers."""


class CudaLibraryMissingError(DeviceError):
    """CuPy and a GPU are there, but a CUDA library (NVRTC, cuBLAS, ...) is not."""


class MixedDevicesError(TypeError):
    """Arrays of two devices met in one operation; nothing is ever moved silently."""


# ---------------------------------------------------------------------------------------------------------------------
# Sequences of unequal length as a list: no array holds them, and every door says the same about what to do.

PADDING_ADVICE = (
    "sequences of unequal length are joined by x, lengths = tinyae.data.pad(sequences) and given as x with "
    "lengths=lengths, or as Split(x, lengths=lengths)"
)
"""What to do with them, the end of a sentence."""


def is_ragged(value: object) -> bool:
    """Whether a list or tuple has entries of unequal length, so that no rectangular array holds it."""
    if not isinstance(value, (list, tuple)):
        return False
    try:
        np.asarray(value)
    except ValueError:
        return True
    except Exception:  # entries that refuse to become an array at all
        return False
    return False


def array_advice(value: object, otherwise: str) -> str:
    """How to get an array from `value`: padding for sequences of unequal length, else `otherwise`."""
    return PADDING_ADVICE if is_ragged(value) else otherwise
