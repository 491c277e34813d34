"""How weights start.

A signal that passes L layers is multiplied by L weight matrices. If each one scales its variance by a factor
other than 1, it dies out or explodes with depth, and the gradient does the same on its way back. Every rule
here picks the spread of the random entries from the fan-in (inputs summed into one output) and the fan-out
(outputs one input feeds).

All are drawn on the host, in float64, from a generator that the caller hands over: a model starts from the
same numbers on every device, and a float32 model from the rounded numbers of its float64 twin.

Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010.
He, Zhang, Ren and Sun, Delving deep into rectifiers, ICCV 2015. Saxe, McClelland and Ganguli, Exact solutions
to the nonlinear dynamics of learning in deep linear networks, ICLR 2014.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Initializer = Callable[..., np.ndarray]
"""Called as `initializer(shape, generator, dtype=...)`; returns a host array."""


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (D, K) or a convolution kernel (KH, KW, C_in, C_out).

    A kernel sums KH * KW * C_in inputs into one output, and one input feeds KH * KW * C_out outputs.
    """
    if len(shape) < 2:
        raise ValueError(
            f"fan-in and fan-out need a shape (D, K) or (KH, KW, C_in, C_out), got {shape}: use 'zeros' for it."
        )
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def glorot_uniform(shape: Shape, generator: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)), variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 16)."""
    limit = math.sqrt(6.0 / sum(fans(shape)))
    return generator.uniform(-limit, limit, shape).astype(dtype)


def glorot_normal(shape: Shape, generator: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """Normal with variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 12), for tanh and sigmoid."""
    return _normal(shape, generator, math.sqrt(2.0 / sum(fans(shape))), dtype)


def he_uniform(shape: Shape, generator: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """Uniform in +-sqrt(6 / fan_in), variance 2 / fan_in (He et al. 2015, eq. 10)."""
    limit = math.sqrt(6.0 / fans(shape)[0])
    return generator.uniform(-limit, limit, shape).astype(dtype)


def he_normal(shape: Shape, generator: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """Normal with variance 2 / fan_in (He et al. 2015, eq. 10), for relu, which lets half of the signal through."""
    return _normal(shape, generator, math.sqrt(2.0 / fans(shape)[0]), dtype)


def orthogonal(shape: Shape, generator: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """A uniformly drawn matrix with orthonormal columns (rows, if there are fewer) (Saxe et al. 2014, section 3).

    A convolution kernel is orthogonal as the matrix (KH * KW * C_in, C_out).
    """
    fan_in, _ = fans(shape)
    columns = shape[-1]
    tall = generator.standard_normal((max(fan_in, columns), min(fan_in, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diag(r) < 0.0, -1.0, 1.0)  # without the signs of R the draw would not be uniform
    return (q if fan_in >= columns else q.T).reshape(shape).astype(dtype)


def zeros(shape: Shape, generator: np.random.Generator, dtype: Any = np.float32) -> np.ndarray:
    """All zeros, for biases. As a weight it keeps every unit of a layer equal to its neighbours for ever."""
    return np.zeros(shape, dtype)


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": glorot_uniform,
    "glorot_normal": glorot_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
    "orthogonal": orthogonal,
    "zeros": zeros,
}
"""The initialisers by the names that layers take."""


def initializer_named(initializer: str | Initializer) -> Initializer:
    """The function of a name in `INITIALIZERS`; a function is returned as it is. Raises ValueError on other names."""
    if callable(initializer):
        return initializer
    if initializer not in INITIALIZERS:
        raise ValueError(f"unknown initializer {initializer!r}: choose one of {', '.join(INITIALIZERS)}.")
    return INITIALIZERS[initializer]


def _normal(shape: Shape, generator: np.random.Generator, deviation: float, dtype: Any) -> np.ndarray:
    return (generator.standard_normal(shape) * deviation).astype(dtype)
