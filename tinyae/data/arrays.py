"""Arrays before they are a `Dataset`: padding of sequences, the split into training and test part, scaling fitted to the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.checks import checked, choose, number, whole_number

Floats = npt.NDArray[np.float64]


# ---------------------------------------------------------------------------------------------------------------------
# Sequences of unequal length in one array: (N, T, D) padded with zeros, and the length of each, (N,).
#
# T is the length of the longest. Only the lengths show which steps are valid: a padding zero looks like a measured zero. So
# lengths are checked once, here, and stored with the samples.

Lengths = npt.NDArray[np.int64]


def pad(sequences: Iterable[npt.ArrayLike], dtype: npt.DTypeLike = np.float32) -> tuple[npt.NDArray[Any], Lengths]:
    """Sequences of unequal length, each (T_i, D) or (T_i,), as one array (N, T, D) and their lengths (N,).

    Raises ValueError, with the sequence and the step, for no sequences, a sequence of length 0, different numbers of
    features, and NaN or infinity.

    >>> x, lengths = pad([[1, 2, 3], [4]])
    >>> x[:, :, 0].tolist(), lengths.tolist()
    ([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]], [3, 1])
    """
    parts = [as_series(sequence, f"sequence {index}") for index, sequence in enumerate(sequences)]
    if not parts:
        raise ValueError("pad() got no sequences: pass a list of arrays (T, D).")
    features = parts[0].shape[1]
    lengths = np.array([len(part) for part in parts], np.int64)
    x = np.zeros((len(parts), int(lengths.max()), features), dtype)
    for index, part in enumerate(parts):
        if part.shape[1] != features:
            raise ValueError(
                f"sequence {index} has {part.shape[1]} features, but sequence 0 has {features}: give all the same number."
            )
        with np.errstate(over="ignore"):
            x[index, : len(part)] = part
        _refuse(~np.isfinite(x[index]), f"sequence {index}", f"too large for {x.dtype}")
    return x, lengths


def as_series(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Values (T,) or (T, D) as (T, D) in float64.

    ValueError for another shape, no steps, complex numbers, masked values, NaN or infinity.
    """
    try:
        raw = np.asarray(values)
        series = np.asarray(raw.real if raw.dtype.kind == "c" else raw, np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} is not an array of numbers (T, D): pass lists of unequal length to tinyae.data.pad, "
            "which returns one padded array and the lengths."
        ) from error
    if raw.dtype.kind == "c":
        raise ValueError(f"{name} holds complex numbers: pass real and imaginary part as two features.")
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
    """Raise ValueError for values marked in `bad` (T, D), with the position of the first."""
    if bad.any():
        step, feature = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{name} holds {np.count_nonzero(bad):,} values that are {kind}, the first at step {step}, feature "
            f"{feature}: fill the gap or cut the series there."
        )


def check_lengths(lengths: object, x: npt.NDArray[np.generic]) -> None:
    """Raise unless `lengths` are whole numbers (N,) from 1 to T for x (N, T, D), and x is 0 after each end."""
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
            f"sequence {first} has length {lengths[first]}, but the array has {x.shape[1]} steps: give lengths from 1 to "
            f"{x.shape[1]}."
        )
    behind = (x != 0) & padding(lengths, x.shape[1]).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    if behind.any():
        first = int(np.argmax(behind.reshape(len(x), -1).any(axis=1)))
        raise ValueError(
            f"sequence {first} has length {lengths[first]} but nonzero values after its end: set them to 0, or correct "
            "its length."
        )


def padding(lengths: Lengths, steps: int) -> npt.NDArray[np.bool_]:
    """Which of `steps` steps are after the end of each sequence, (N, T)."""
    behind: npt.NDArray[np.bool_] = np.arange(steps) >= lengths[:, None]
    return behind


# ---------------------------------------------------------------------------------------------------------------------
# The split into a training and a test part: one rule for files, tables, folders of pictures and parts of them.
#
# Samples are drawn, with labels the same share of each class, because files are often sorted by class. A recording is cut: its
# end is the test part, since its neighbors in time are too similar. What belongs together (a patient) stays together.

TEST_SHARE = 0.1
"""The share of samples that are test samples, unless another one is asked for."""


@checked
def divide(
    count: int,
    *,
    labels: npt.NDArray[Any] | None = None,
    groups: npt.NDArray[Any] | None = None,
    ordered: bool = False,
    test_share: float = TEST_SHARE,
    seed: int = 0,
    name: str = "the data",
) -> npt.NDArray[np.bool_]:
    """Which of `count` samples are test samples, (N,).

    Both parts have at least one sample, and at least one of each class that has two. A class with one is in the training part.

    Args:
        labels: the class of each sample; each class is divided in the same proportion.
        groups: what each sample belongs to; a group is in one part only.
        ordered: whether the samples are steps in time order: the last ones are the test part.
        test_share: share of test samples, above 0 and below 1.
        seed: of the draw.
        name: of the data, for errors.

    Raises ValueError for fewer than two samples, or fewer than two groups.
    """
    share = number("test_share", test_share, above=0, below=1, advice="0.1 is usual")
    if count < 2:
        raise ValueError(f"{name} holds {count} example: save at least two, for training and test.")
    if ordered:
        return np.arange(count) >= count - _part_of(count, share)
    draw = np.random.default_rng(whole_number("seed", seed, at_least=0))
    classes = np.zeros(count, np.int64) if labels is None else np.unique(labels, return_inverse=True)[1]
    testing = np.zeros(count, bool)
    if groups is None:
        for label in range(classes.max() + 1):
            (members,) = np.nonzero(classes == label)
            if len(members) > 1:
                testing[draw.permutation(members)[: _part_of(len(members), share)]] = True
        if not testing.any():  # no class has two members
            testing[draw.permutation(count)[: _part_of(count, share)]] = True
        return testing
    found, member = np.unique(groups, return_inverse=True)
    if len(found) < 2:
        raise ValueError(f"{name} has only one group, {found[0]!r}, and a group is in one part: choose another column.")
    counts = np.zeros((len(found), classes.max() + 1))
    np.add.at(counts, (member, classes), 1.0)
    wanted, taken, chosen = share * counts.sum(axis=0), np.zeros(classes.max() + 1), np.zeros(len(found), bool)
    for group in draw.permutation(len(found)):  # each group that brings the counts closer to the share of each class
        closer = np.square(wanted - taken - counts[group]).sum() < np.square(wanted - taken).sum()
        if closer and chosen.sum() < len(found) - 1:
            chosen[group], taken = True, taken + counts[group]
    if not chosen.any():
        chosen[np.argmin(np.square(wanted - counts).sum(axis=1))] = True
    return chosen[member]


def _part_of(count: int, share: float) -> int:
    """The number of test samples among `count`, at least one and not all."""
    return min(max(1, int(count * share + 1e-9)), count - 1)


# ---------------------------------------------------------------------------------------------------------------------
# Scaling of a series: an offset and a scale per feature, fitted to the training part.
#
# A scaler fitted to the whole series would leak the range of the test part into training and make every test error look
# better. So the part it is fitted to is an argument, never a default.


@dataclass(frozen=True, eq=False)
class Scaler:
    """x = (values - offset) / scale, feature by feature.

    Attributes:
        offset, scale: one number per feature, (D,), in the unit of the values.
        method: how they were fitted, one of `SCALINGS`, or "range", the old name of "minmax".
    """

    offset: Floats
    scale: Floats
    method: str = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", _OLD_NAMES.get(self.method, self.method))

    @classmethod
    def fit(cls, values: npt.NDArray[np.generic], method: str = "standard") -> Scaler:
        """Fit offset and scale to a training part (T,) or (T, D).

        "standard": mean and standard deviation. "robust": median and distance of the quartiles, which a few outliers do not change.
        "minmax": the smallest value becomes 0, the largest 1. "none": offset 0, scale 1.
        A feature that is constant but for rounding becomes 0, and what differs from it by rounding stays near 0.
        """
        method = choose("scaling", _OLD_NAMES.get(method, method), SCALINGS)
        series = as_series(values, "the training part")
        with np.errstate(over="ignore", invalid="ignore"):
            offset, scale = SCALINGS[method](series)
            largest, spread = np.abs(series).max(axis=0), series.max(axis=0) - series.min(axis=0)
        if method != "none":
            constant = spread <= 1e-13 * largest
            scale = np.where(constant, np.maximum(largest, 1.0), np.where(scale > 0, scale, spread))
            offset = np.where(constant, series[0], offset)
        wide = ~(np.isfinite(offset) & np.isfinite(scale))
        if wide.any():
            feature = int(np.argmax(wide))
            raise ValueError(
                f"feature {feature} of the training part reaches {np.abs(series[:, feature]).max():.3g}, too large to "
                "scale: use another unit, or the logarithm."
            )
        return cls(offset, scale, method)

    def apply(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Scaled values (..., D) in float32; ValueError if they are too large for float32."""
        with np.errstate(over="ignore"):
            scaled = ((np.asarray(values, np.float64) - self.offset) / self.scale).astype(np.float32)
        if np.isinf(scaled).any():
            raise ValueError(
                f"values up to {np.abs(values).max():.3g} are too large for float32 after scaling {self.method!r}: use "
                "another unit, or scaling 'standard'."
            )
        return scaled

    def inverse(self, x: npt.NDArray[np.generic]) -> Floats:
        """Scaled values (..., D) converted back to the unit of measurement, float64."""
        return np.asarray(x, np.float64) * self.scale + self.offset

    def plain(self) -> list[Any]:
        """The scaler as plain values for JSON."""
        return [self.offset.tolist(), self.scale.tolist(), self.method]

    @classmethod
    def of_plain(cls, values: Sequence[Any]) -> Scaler:
        """The scaler whose `plain()` these values are."""
        return cls(np.array(values[0]), np.array(values[1]), values[2])

    @property
    def fitted(self) -> bool:
        """Whether an offset or a scale was fitted, so that x is not just in a multiple of the unit."""
        return self.method != "none" or bool(self.offset.any())

    def after(self, first: Scaler) -> Scaler:
        """The composition: `first`, then this scaler."""
        method = first.method if self.method == "none" else self.method
        return Scaler(self.offset * first.scale + first.offset, self.scale * first.scale, method)

    def words(self, unit: str) -> str:
        """An axis label: "(mV - 0.3) / 0.52" for one feature in `unit`; for several, the method."""
        if len(self.scale) > 1:
            return _SEVERAL[self.method]
        offset, scale = _short(abs(float(self.offset[0]))), _short(float(self.scale[0]))
        shifted = unit if offset == "0" else f"({unit} {'+' if self.offset[0] < 0 else '-'} {offset})"
        return f"{shifted} / {scale}"

    def meaning(self, unit: str) -> str:
        """The meaning of 0 and 1 in x, as a phrase."""
        if len(self.scale) > 1:
            return f"{_SEVERAL[self.method]}, feature by feature; scaler.inverse(x) undoes it"
        return f"0 is {_short(float(self.offset[0]))} and 1.0 is {_short(float(self.scale[0]))} more, in {unit}"


def _short(number: float) -> str:
    """Four significant digits; for 1000 and more, all digits of the integer part."""
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"


_SEVERAL = {
    "standard": "standardized values", "robust": "values over the distance of their quartiles",
    "minmax": "values scaled to the range 0 to 1", "none": "values",
}  # fmt: skip
"""Scaling of several features -> description of x."""

_OLD_NAMES = {"range": "minmax"}
"""Names that older runs hold."""

SCALINGS: dict[str, Callable[[Floats], tuple[Floats, Floats]]] = {
    "standard": lambda v: (v.mean(axis=0), v.std(axis=0)),
    "robust": lambda v: (np.median(v, axis=0), np.subtract(*np.quantile(v, (0.75, 0.25), axis=0))),
    "minmax": lambda v: (v.min(axis=0), v.max(axis=0) - v.min(axis=0)),
    "none": lambda v: (np.zeros(v.shape[1]), np.ones(v.shape[1])),
}
"""Ways to fit a `Scaler`: name -> function from values (T, D) to offset and scale (D,)."""
