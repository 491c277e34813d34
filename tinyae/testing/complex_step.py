"""Derivatives without subtraction: the complex step.

For an analytic f with real values on the real line, f(x + ih) = f(x) + ih f'(x) - h**2 f''(x)/2 - ..., so the
imaginary part divided by h is f'(x) with an error of order h**2. Nothing is subtracted, so nothing cancels, and
h can be 1e-30: the result is right to the last digits (Squire and Trapp 1998). The price is a function that
accepts complex numbers and is analytic: no maximum, no absolute value, no comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

STEP = 1e-30
"""The imaginary step. Its square is far below the last digit of any number it is compared with."""


def complex_step(fn: Callable[..., Any], inputs: Sequence[Any], cotangent: Any = None) -> list[np.ndarray]:
    """Gradient of sum(cotangent * fn(*inputs)) for each input, exact to rounding.

    Args:
        fn: a function of raw arrays that is analytic in each: primitives qualify wherever NumPy computes them
            on complex arrays, and so does a function written with operators and `tinyae.ops`.
        inputs: real NumPy arrays or numbers.
        cotangent: weights of the outputs, of the output's shape; may be left out if `fn` gives one number.

    Returns:
        One float64 array per input, of that input's shape. One call of `fn` is made per element.

    Raises:
        TypeError: `fn` lost the imaginary part on the way, so it is not analytic (or converts to a real dtype).
        ValueError: the cotangent's shape is not the output's.
    """
    arrays = [np.asarray(x, dtype=np.complex128) for x in inputs]
    gradients = []
    for position, x in enumerate(arrays):
        gradient = np.empty(x.shape)
        for index in np.ndindex(x.shape):
            moved = x.copy()
            moved[index] += 1j * STEP
            out = np.asarray(fn(*arrays[:position], moved, *arrays[position + 1 :]))
            gradient[index] = np.sum(_weights(cotangent, out) * out.imag) / STEP
        gradients.append(gradient)
    return gradients


def _weights(cotangent: Any, out: np.ndarray) -> np.ndarray:
    if out.dtype.kind != "c":
        raise TypeError(
            f"complex_step: the function gave dtype {out.dtype} for complex input, so it is not analytic: "
            "use gradcheck for it."
        )
    if cotangent is None:
        if out.size != 1:
            raise ValueError(
                f"complex_step: the function gives shape {out.shape}, not one number: pass cotangent= of that shape."
            )
        return np.ones(out.shape)
    weights = np.asarray(cotangent)
    if weights.shape != out.shape:
        raise ValueError(
            f"complex_step: cotangent has shape {weights.shape}, the function gives {out.shape}; they must be equal."
        )
    return weights
