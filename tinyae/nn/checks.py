"""The checks that layers share, so that one mistake reads the same in every layer."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend.ragged import array_advice
from tinyae.nn.module import Module
from tinyae.ops.dense import ACTIVATIONS


def check_size(owner: str, name: str, value: Any) -> int:
    """Return a length given to a constructor as an int; it must be a whole number >= 1."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{owner}: {name} must be a whole number, got {value!r}: write e.g. {name}=32.") from None
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{owner}: {name} must be a whole number >= 1, got {value!r}: write e.g. {name}=32.")
    return number


def check_dtype(owner: str, dtype: Any) -> np.dtype:
    """Return a dtype given to a constructor; it must be a floating-point one."""
    kind = np.dtype(dtype)
    if kind.kind != "f":
        raise TypeError(f"{owner}: parameters need a floating-point dtype, got {kind}: write dtype='float32'.")
    return kind


def check_floats(layer: Module, x: Any) -> None:
    """Raise TypeError unless the input of `layer` is a floating-point Tensor."""
    if not isinstance(x, Tensor) or x.dtype.kind != "f":
        got = f"{type(x).__name__} of {x.dtype}" if hasattr(x, "dtype") else type(x).__name__
        raise TypeError(
            f"{layer}: the input must be a Tensor or array of floating-point numbers, got {got}: "
            f"{array_advice(x, 'convert it first, e.g. numpy.asarray(x, dtype=numpy.float32)')}."
        )


def check_last_axis(layer: Module, x: Any, expected: int) -> None:
    """Raise unless the input of `layer` is a floating-point Tensor (..., `expected`); says how to get there."""
    check_floats(layer, x)
    if x.ndim >= 1 and x.shape[-1] == expected:
        return
    if x.ndim > 2 and math.prod(x.shape[1:]) == expected:
        fix = "put nn.Flatten() before it"
    elif x.ndim == 1 and x.size and x.size % expected == 0:
        fix = f"give it rows, e.g. x.reshape({x.size // expected}, {expected})"
    else:
        fix = "reshape the input, or build the layer for " + (f"{x.shape[-1]} features" if x.ndim else "it")
    raise ValueError(f"{layer}: the last axis of the input must be {expected}, got shape {x.shape}: {fix}.")


def check_activation(owner: str, activation: str) -> str:
    """Return the name of an activation that the layer can fuse with its sums, or raise ValueError."""
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"{owner}: unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}, "
            "or put a module such as nn.Softplus() after the layer."
        )
    return activation
