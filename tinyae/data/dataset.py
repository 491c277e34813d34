"""`Dataset`: two splits of arrays with their unit, source and meaning; also padding, scaling, and times of windows.

`scale` converts `x` back into the unit of measurement, so that reports can print errors in that unit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tinyae.backend.devices import as_array
from tinyae.checks import choose
from tinyae.data.source import Rows, Source, pieces

Kind = Literal["images", "sequences", "series", "vectors"]
"""images (N, H, W, C); sequences (N, T, D); series (N, T, D), windows of one recording
in time order; vectors (N, D)."""

_AXES: dict[str, int] = {"images": 4, "sequences": 3, "series": 3, "vectors": 2}


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Attributes:
        x: the examples, float32, first axis N; of a source, they are read at the first access, all of them.
        y: the class of each example, int64 (N,), or None without labels.
        lengths: for sequences of unequal length, int64 (N,), the number of valid steps; x is 0 after them. None if all
            sequences have T steps.

    Raises ValueError unless there is one label and one length from 1 to T for each example.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64] | None = None
    lengths: Lengths | None = None

    def __post_init__(self) -> None:
        expected = "the examples and labels of a Split must be arrays of numbers (N, ...)"
        rows = as_rows(self.x)
        if rows is None:
            object.__setattr__(self, "x", as_array(self.x, expected=expected))
        else:
            vars(self)["_rows"] = rows
            del vars(self)["x"]  # which __getattr__ makes when it is asked for
        if self.y is not None:
            object.__setattr__(self, "y", as_array(self.y, expected=expected))
        if self.y is not None and self.y.shape != self.source.shape[:1]:
            raise ValueError(
                f"labels of shape {self.y.shape} do not fit {len(self)} examples: give one class number "
                f"for each, shape ({len(self)},)."
            )
        if self.lengths is not None:
            check_lengths(self.lengths, self.x)
            object.__setattr__(self, "lengths", self.lengths.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.source)

    @property
    def source(self) -> npt.NDArray[Any] | Rows:
        """The examples as they are kept: x, or `Rows` that are read when a batch needs them."""
        return vars(self)["x" if "x" in vars(self) else "_rows"]

    def __getattr__(self, name: str) -> Any:
        if name != "x" or "_rows" not in vars(self):
            raise AttributeError(f"a Split has no attribute {name!r}")
        vars(self)["x"] = vars(self).pop("_rows")[:]
        return self.x

    def rows(self, index: slice | npt.NDArray[Any]) -> Split:
        """The examples selected by a slice, indices or a boolean mask, with their labels and lengths."""
        source = self.source
        x = source.select(index) if isinstance(source, Rows) else source[index]
        return Split(x, *(None if part is None else part[index] for part in (self.y, self.lengths)))  # type: ignore[arg-type]

    @property
    def flat(self) -> npt.NDArray[np.float32]:
        """The examples as vectors (N, D), D the number of values per example. A view, not a copy."""
        return self.x.reshape(len(self.x), math.prod(self.x.shape[1:]))

    def __repr__(self) -> str:
        labels = "no labels" if self.y is None else "labeled"
        lengths = "" if self.lengths is None else f", lengths {self.lengths.min()} to {self.lengths.max()}"
        return f"<Split of {len(self):,} x {by(self.source.shape[1:])} {self.source.dtype}, {labels}{lengths}>"


def as_rows(data: object) -> Rows | None:
    """The `Rows` of a source, or `Rows` as they are; None for an array, a list and anything else."""
    if isinstance(data, Source) and not any(hasattr(data, name) for name in ("__array__", "__dlpack__")):
        return Rows(data)
    return data if isinstance(data, Rows) else None


def as_samples(data: object, expected: str) -> Any:
    """An array or nested list as an array (N, ...) on the host, as in `as_array`; a source as `Rows`.

    Raises TypeError for anything else.
    """
    rows = as_rows(data)
    if rows is not None:
        return rows
    array = as_array(data, expected=expected)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{expected}, got one on a GPU: copy it to the host, tinyae.Tensor(x).numpy().")
    if not array.ndim:
        raise TypeError(f"{expected}, got a single number: put it in a list, [x].")
    return array


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split, with their description.

    Attributes:
        name: the name in the catalog, or the file name.
        title: a one-line description.
        kind: "images" (N, H, W, C), "sequences" and "series" (N, T, D), "vectors" (N, D).
        train, test: the two splits, each a `Split`.
        class_names: the names of the classes; empty if unknown.
        unit: the unit of measurement, in words.
        scale: the value of 1.0 in `x` in this unit (255 gray levels, 30000 passengers, 1 mV).
        source, license: where the data come from, and their license.
        origin: where they were read from.
        notes: how the splits were made, and other remarks.
        timeline: the times of the windows of a recording; None for other data.
        scaler: the scaling of a series before it was cut into windows; None if none was fitted.
        horizon: how many of the last steps of each sequence are the future to predict.
        frame_shape: (H, W) if each step of a sequence is an image of D = H W pixels, else None.
        feature_names: the names of the D values of a step or vector; empty if unknown.
    """

    name: str
    title: str
    kind: Kind
    train: Split
    test: Split
    class_names: tuple[str, ...] = ()
    unit: str = ""
    scale: float = 1.0
    source: str = ""
    license: str = ""
    origin: str = ""
    notes: str = ""
    timeline: Timeline | None = None
    scaler: Scaler | None = None
    horizon: int = 0
    frame_shape: tuple[int, int] | None = None
    feature_names: tuple[str, ...] = ()

    def sha256(self) -> str:
        """The checksum of all samples, labels and lengths, as they are used: scaled, split and in order."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            for part in (split.source, split.y, split.lengths):
                if part is not None:
                    digest.update(f"{part.dtype} {part.shape}".encode())
                    for _, piece in pieces(part):
                        digest.update(np.ascontiguousarray(piece).data)
        return digest.hexdigest()

    def __post_init__(self) -> None:
        choose("kind", self.kind, get_args(Kind))
        train, test = self.train.source.shape, self.test.source.shape
        if len(train) != _AXES[self.kind] or train[1:] != test[1:]:
            raise ValueError(
                f"{self.kind} need {_AXES[self.kind]} axes, with examples of the same shape in both splits, got "
                f"train {train} and test {test}: reshape x or change kind."
            )
        if self.frame_shape is not None and math.prod(self.frame_shape) != train[-1]:
            raise ValueError(
                f"frames of {self.frame_shape} pixels do not fit steps of {train[-1]} values: give (H, W) with H W values."
            )
        if self.feature_names and len(self.feature_names) != train[-1]:
            raise ValueError(
                f"{len(self.feature_names)} feature_names do not fit {train[-1]} features: give one for each, or none."
            )

    @property
    def has_labels(self) -> bool:
        """Whether both splits have labels."""
        return self.train.y is not None and self.test.y is not None

    @property
    def has_lengths(self) -> bool:
        """Whether the sequences have unequal lengths."""
        return self.train.lengths is not None or self.test.lengths is not None

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one example: (H, W, C), (T, D) or (D,)."""
        return self.train.source.shape[1:]

    def measured(self, x: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Values of examples in the unit of measurement: passengers, millivolts, gray levels."""
        return x.astype(np.float64) * self.scale if self.scaler is None else self.scaler.inverse(x)

    @property
    def value_name(self) -> str:
        """An axis label for values of `x`: "mV", "passengers per half hour / 30000", "(mV - 0.3) / 0.52"."""
        if self.scaler is not None and self.scaler.fitted:
            return self.scaler.words(self.unit or "value")
        return f"{self.unit} / {self.scale:g}" if self.unit and self.scale != 1.0 else self.unit or "value"

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) for images, None for other data."""
        if self.kind != "images":
            return None
        height, width, channels = self.example_shape
        return height, width, channels

    def __repr__(self) -> str:
        rows = [("train", _numbers(self.train)), ("test", _numbers(self.test))]
        if self.class_names:
            rows.append(("classes", f"{len(self.class_names)}: {', '.join(self.class_names)}"))
        elif self.train.y is not None:
            rows.append(("classes", f"{len(np.unique(self.train.y))} without names"))
        if self.scaler is not None and self.scaler.fitted:
            rows.append(("unit", self.scaler.meaning(self.unit or "value")))
        elif self.unit:
            rows.append(("unit", f"1.0 is {self.scale:g} {self.unit}"))
        rows += [(key, getattr(self, key)) for key in ("notes", "source", "license", "origin")]
        return "\n".join([f"{self.name}: {self.title} ({self.kind})", *labeled_lines(rows)])


def by(shape: tuple[int, ...]) -> str:
    """A shape in words: `28 x 28 x 1`."""
    return " x ".join(str(n) for n in shape)


def labeled_lines(rows: list[tuple[str, str]], width: int = 100) -> list[str]:
    """Lines of a name and wrapped text; rows without text are left out."""
    import textwrap

    lines: list[str] = []
    for name, text in rows:
        lines += textwrap.wrap(
            text,
            width,
            initial_indent=f"  {name:<9}",
            subsequent_indent=" " * 11,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def _numbers(split: Split) -> str:
    x = split.source
    if not len(split):
        return "empty"
    mean = sum(part.sum(dtype=np.float64) for _, part in pieces(x)) / x.size
    lengths = "" if split.lengths is None else f" (lengths {split.lengths.min()} to {split.lengths.max()})"
    return f"{len(split):,} of {by(x.shape[1:])}{lengths}, {x.dtype} in [{x.min():.4g}, {x.max():.4g}], mean {mean:.4g}"


# ---------------------------------------------------------------------------------------------------------------------
# Sequences of unequal length in one array: (N, T, D) padded with zeros, and the length of each, (N,).
#
# T is the length of the longest. Only the lengths show which steps are valid: a padding zero looks like a measured zero. So
# lengths are checked once, here, and stored with the samples.

Lengths = npt.NDArray[np.int64]


def pad(sequences: Sequence[npt.ArrayLike], dtype: npt.DTypeLike = np.float32) -> tuple[npt.NDArray[Any], Lengths]:
    """Sequences of unequal length, each (T_i, D) or (T_i,), as one array (N, T, D) and their lengths (N,).

    Raises ValueError, with the sequence and the step, for no sequences, a sequence of length 0, different numbers of
    features, and NaN or infinity.

    >>> x, lengths = pad([[1, 2, 3], [4]])
    >>> x[:, :, 0].tolist(), lengths.tolist()
    ([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]], [3, 1])
    """
    if not len(sequences):
        raise ValueError("pad() got no sequences: pass a list of arrays (T, D).")
    parts = [as_series(sequence, f"sequence {number}") for number, sequence in enumerate(sequences)]
    features = parts[0].shape[1]
    for number, part in enumerate(parts):
        if part.shape[1] != features:
            raise ValueError(
                f"sequence {number} has {part.shape[1]} features, but sequence 0 has {features}: give all the same number."
            )
    lengths = np.array([len(part) for part in parts], np.int64)
    x = np.zeros((len(parts), int(lengths.max()), features), dtype)
    for row, part in zip(x, parts, strict=True):
        row[: len(part)] = part
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
# Scaling of a series: an offset and a scale per feature, fitted to the training part.
#
# A scaler fitted to the whole series would leak the range of the test part into training and make every test error look
# better. So the part it is fitted to is an argument, never a default.

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scaler:
    """x = (values - offset) / scale, feature by feature.

    Attributes:
        offset, scale: one number per feature, (D,), in the unit of the values.
        method: how they were fitted, one of `SCALINGS`.
    """

    offset: Floats
    scale: Floats
    method: str = "none"

    @classmethod
    def fit(cls, values: npt.NDArray[np.generic], method: str = "standard") -> Scaler:
        """Fit offset and scale to a training part (T,) or (T, D).

        "standard": mean and standard deviation. "range": the smallest value becomes 0, the largest 1. "none": offset 0, scale 1.
        A constant feature gets the scale 1, so that it becomes 0 and not NaN.
        """
        choose("scaling", method, SCALINGS)
        series = as_series(values, "the training part")
        with np.errstate(over="ignore", invalid="ignore"):
            offset, scale = SCALINGS[method](series)
        wide = ~(np.isfinite(offset) & np.isfinite(scale))
        if wide.any():
            feature = int(np.argmax(wide))
            raise ValueError(
                f"feature {feature} of the training part reaches {np.abs(series[:, feature]).max():.3g}, too large to "
                "scale: use another unit, or the logarithm."
            )
        return cls(offset, np.where(scale > 0, scale, 1.0), method)

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
        values: Floats = np.asarray(x, np.float64) * self.scale + self.offset
        return values

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


_SEVERAL = {"standard": "standardized values", "range": "values scaled to the range 0 to 1", "none": "values"}
"""Scaling of several features -> description of x."""

SCALINGS: dict[str, Callable[[Floats], tuple[Floats, Floats]]] = {
    "standard": lambda v: (v.mean(axis=0), v.std(axis=0)),
    "range": lambda v: (v.min(axis=0), v.max(axis=0) - v.min(axis=0)),
    "none": lambda v: (np.zeros(v.shape[1]), np.ones(v.shape[1])),
}
"""Ways to fit a `Scaler`: name -> function from values (T, D) to offset and scale (D,)."""


# ---------------------------------------------------------------------------------------------------------------------
# Times of the windows of a recording, and known incidents: needed to name a window by its date ("the 27th of January") and
# to compare flagged windows with published anomalies.


@dataclass(frozen=True)
class Incident:
    """A known event, from `start` to `end` (ISO 8601 times)."""

    name: str
    start: str
    end: str


@dataclass(frozen=True)
class Timeline:
    """The times of the windows of a recording.

    Attributes:
        start: beginning of the first training window, ISO 8601.
        window_seconds: length of one window.
        incidents: known incidents.
        stride_seconds: time from the beginning of one window to that of the next; None for consecutive windows.
        border: (index, seconds) of the first test window and its beginning, if it does not follow the last training
            window at the common stride: no window crosses the border between the splits.
        counted: True if the date is unknown, and times count from the beginning of the recording as 1970-01-01T00:00.
    """

    start: str
    window_seconds: float
    incidents: tuple[Incident, ...] = ()
    stride_seconds: float | None = None
    border: tuple[int, float] | None = None
    counted: bool = False

    @property
    def strided(self) -> bool:
        """Whether windows overlap or leave gaps, or the test windows do not continue the stride of the training windows."""
        return self.stride_seconds is not None or self.border is not None

    def begin(self, window: int) -> float:
        """The beginning of a window, in seconds after the start."""
        stride = self.stride_seconds or self.window_seconds
        if self.border is None or window < self.border[0]:
            return window * stride
        return self.border[1] + (window - self.border[0]) * stride

    def position(self, time: str) -> float:
        """A time in units of windows after the start; 2.5 is the middle of the third window."""
        seconds = float((np.datetime64(time, "s") - np.datetime64(self.start, "s")).astype(np.int64))
        stride = self.stride_seconds or self.window_seconds
        if self.border is None or seconds < self.border[1]:
            return min(seconds / stride, float("inf") if self.border is None else self.border[0])
        return self.border[0] + (seconds - self.border[1]) / stride

    def spans(self) -> list[tuple[str, float, float]]:
        """(name, from, to) of every incident, in units of windows after the start."""
        return [(it.name, self.position(it.start), self.position(it.end)) for it in self.incidents]

    def stamp(self, window: int) -> str:
        """The beginning of a window, to the day, minute, second or millisecond, the coarsest that is exact for all windows.

        A date and time; if times are `counted`, hours, minutes and seconds, such as 00:04:07.250.
        """
        sizes = (
            self.window_seconds,
            self.stride_seconds or 0,
            0 if self.border is None else self.border[1],
            self._moment(0).astype("datetime64[ms]").astype(np.int64) / 1000,
        )
        units = (("D", 86_400), ("m", 60), ("s", 1))
        digits = next((name for name, unit in units if all(size % unit == 0 for size in sizes)), "ms")
        moment = self._moment(self.begin(window))
        if self.counted:
            return _clock(int(moment.astype("datetime64[ms]").astype(np.int64)), digits == "ms")
        return str(moment.astype(f"datetime64[{digits}]")).replace("T", " ")

    def incidents_in(self, window: int) -> list[str]:
        """Names of the incidents that overlap a window."""
        begin = self._moment(self.begin(window))
        end = self._moment(self.begin(window) + self.window_seconds)
        return [it.name for it in self.incidents if np.datetime64(it.start) < end and np.datetime64(it.end) > begin]

    def finer(self, parts: int) -> Timeline:
        """The timeline of the steps, if a window has `parts` steps."""
        return replace(self, window_seconds=self.window_seconds / parts)

    def of_windows(self, length: int, stride: int, train: int, border: int) -> Timeline:
        """The timeline of windows of `length` steps every `stride`, `train` of them before step `border`; one step is a window here."""
        second = self.window_seconds
        seam = None if train * stride == border else (train, border * second)
        return replace(
            self,
            window_seconds=length * second,
            stride_seconds=None if stride == length else stride * second,
            border=seam,
        )

    def _moment(self, seconds: float) -> np.datetime64:
        return np.datetime64(self.start, "ms") + np.timedelta64(round(1000 * seconds), "ms")


def _clock(milliseconds: int, fine: bool) -> str:
    """Hours (beyond 24 if needed), minutes and seconds, with milliseconds if `fine`."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{rest:03}" if fine else "")
