"""Sequences of unequal length in one array: (N, T, D) padded with zeros, and the length of each, (N,).

T is that of the longest. Which steps are real is known by the lengths alone: a zero behind the end and a zero that was
measured look the same. So lengths are checked once, here, and then travel with the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Lengths = npt.NDArray[np.int64]


def pad(sequences: Sequence[Any], dtype: Any = np.float32) -> tuple[npt.NDArray[Any], Lengths]:
    """Sequences of unequal length, each (T_i, D) or (T_i,), as one array (N, T, D) and their lengths (N,).

    Raises ValueError for no sequences, a sequence of length 0, features that differ in number, and values that are NaN
    or infinite, naming the sequence and the step.

    >>> x, lengths = pad([[1, 2, 3], [4]])
    >>> x[:, :, 0].tolist(), lengths.tolist()
    ([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]], [3, 1])
    """
    if not len(sequences):
        raise ValueError("pad() was given no sequences: give a list of arrays (T, D), one for each.")
    parts = [as_series(sequence, f"sequence {number}") for number, sequence in enumerate(sequences)]
    features = parts[0].shape[1]
    for number, part in enumerate(parts):
        if part.shape[1] != features:
            raise ValueError(
                f"sequence {number} has {part.shape[1]} features and sequence 0 has {features}: give all the same number."
            )
    lengths = np.array([len(part) for part in parts], np.int64)
    x = np.zeros((len(parts), int(lengths.max()), features), dtype)
    for row, part in zip(x, parts, strict=True):
        row[: len(part)] = part
    return x, lengths


def as_series(values: Any, name: str) -> npt.NDArray[np.float64]:
    """Values (T,) or (T, D) as (T, D) in float64.

    ValueError for another shape, no steps, complex numbers, masked values, NaN or infinity.
    """
    try:
        raw = np.asarray(values)
        series = np.asarray(raw.real if raw.dtype.kind == "c" else raw, np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} is no array of numbers (T, D): lists of unequal length are sequences, give them to "
            "tinyae.data.pad, which returns one padded array and the lengths."
        ) from error
    if raw.dtype.kind == "c":
        raise ValueError(f"{name} holds complex numbers: give real and imaginary part as two features.")
    if series.ndim == 1:
        series = series[:, None]
    if series.ndim != 2 or not series.shape[1]:
        raise ValueError(f"{name} has shape {series.shape}: give steps and features, (T, D), or (T,) for one feature.")
    if not len(series):
        raise ValueError(f"{name} has length 0: leave it out, or give at least one step.")
    if isinstance(values, np.ma.MaskedArray):
        _refuse(np.ma.getmaskarray(values).reshape(series.shape), name, "masked")
    _refuse(~np.isfinite(series), name, "NaN or infinite")
    return series


def _refuse(bad: npt.NDArray[np.bool_], name: str, kind: str) -> None:
    """Raise ValueError for values marked in `bad` (T, D), with the place of the first."""
    if bad.any():
        step, feature = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} holds {np.count_nonzero(bad):,} values that are {kind}, the first at step {step}, feature "
            f"{feature}: fill the gap or cut the series there."
        )


def check_lengths(lengths: Any, x: npt.NDArray[Any]) -> None:
    """Raise unless `lengths` are whole numbers (N,) from 1 to T for x (N, T, D), and x is 0 behind each end."""
    if not isinstance(lengths, np.ndarray) or lengths.dtype.kind not in "iu":
        kind = lengths.dtype if isinstance(lengths, np.ndarray) else type(lengths).__name__
        raise TypeError(f"lengths must be an array of whole numbers (N,), got {kind}: numpy.array(lengths) may help.")
    if x.ndim < 3:
        raise ValueError(f"lengths belong to sequences (N, T, D), got samples of shape {x.shape}: leave lengths out.")
    if lengths.shape != x.shape[:1]:
        raise ValueError(
            f"got lengths of shape {lengths.shape} for {len(x)} sequences: give one for each, ({len(x)},)."
        )
    wrong = np.flatnonzero((lengths < 1) | (lengths > x.shape[1]))
    if len(wrong):
        first = int(wrong[0])
        raise ValueError(
            f"sequence {first} has length {lengths[first]}, and the array has {x.shape[1]} steps: lengths go from 1 to "
            f"{x.shape[1]}."
        )
    behind = (x != 0) & padding(lengths, x.shape[1]).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    if behind.any():
        first = int(np.argmax(behind.reshape(len(x), -1).any(axis=1)))
        raise ValueError(
            f"sequence {first} has length {lengths[first]} and values other than 0 behind its end: set them to 0, or "
            "correct its length."
        )


def padding(lengths: Lengths, steps: int) -> npt.NDArray[np.bool_]:
    """Which of `steps` steps lie behind the end of each sequence, (N, T)."""
    behind: npt.NDArray[np.bool_] = np.arange(steps) >= lengths[:, None]
    return behind
