"""`Dataset`: two splits of arrays with their unit, source and meaning; also the times of windows.

`scale` converts `x` back into the unit of measurement, so that reports can print errors in that unit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tinyae.backend.devices import as_array
from tinyae.checks import choose
from tinyae.data.arrays import Lengths, Scaler, check_lengths, divide
from tinyae.data.schema import Schema
from tinyae.data.source import LazyRows, Source, pieces
from tinyae.data.tables import listed

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
        ids: what the source calls each example, (N,): its id or index, the number of its row from 0, or the path of a picture;
            of a window the number of its first step. None for published sets.
        times: the time of each example, or of the first step of a window, datetime64 (N,), or None.
        groups: what each example belongs to, such as a patient, who is in one part only, (N,), or None.

    Raises ValueError unless there is one label and one length from 1 to T for each example.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64] | None = None
    lengths: Lengths | None = None
    ids: npt.NDArray[Any] | None = None
    times: npt.NDArray[np.datetime64] | None = None
    groups: npt.NDArray[Any] | None = None

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
        for name, names in (("ids", self.ids), ("times", self.times), ("groups", self.groups)):
            if names is not None and len(names) != len(self):
                raise ValueError(f"{len(names)} {name} do not fit {len(self)} examples: give one for each, or None.")

    def __len__(self) -> int:
        return len(self.source)

    @property
    def source(self) -> npt.NDArray[Any] | LazyRows:
        """The examples as they are kept: x, or `LazyRows` that are read when a batch needs them."""
        return vars(self)["x" if "x" in vars(self) else "_rows"]

    def __getattr__(self, name: str) -> Any:
        if name != "x" or "_rows" not in vars(self):
            raise AttributeError(f"a Split has no attribute {name!r}")
        vars(self)["x"] = vars(self).pop("_rows")[:]
        return self.x

    def rows(self, index: slice | npt.NDArray[Any]) -> Split:
        """The examples selected by a slice, indices or a boolean mask, with all that belongs to them."""
        source = self.source
        x = source.select(index) if isinstance(source, LazyRows) else source[index]
        parts = (self.y, self.lengths, self.ids, self.times, self.groups)
        return Split(x, *(None if part is None else part[index] for part in parts))  # type: ignore[arg-type]

    @property
    def flat(self) -> npt.NDArray[np.float32]:
        """The examples as vectors (N, D), D the number of values per example. A view, not a copy."""
        return self.x.reshape(len(self.x), math.prod(self.x.shape[1:]))

    def __repr__(self) -> str:
        labels = "no labels" if self.y is None else "labeled"
        lengths = "" if self.lengths is None else f", lengths {self.lengths.min()} to {self.lengths.max()}"
        return f"<Split of {len(self):,} x {by(self.source.shape[1:])} {self.source.dtype}, {labels}{lengths}>"


def as_rows(data: object) -> LazyRows | None:
    """The `LazyRows` of a source, or `LazyRows` as they are; None for an array, a list and anything else."""
    if isinstance(data, Source) and not any(hasattr(data, name) for name in ("__array__", "__dlpack__")):
        return LazyRows(data)
    return data if isinstance(data, LazyRows) else None


def as_samples(data: object, expected: str) -> Any:
    """An array or nested list as an array (N, ...) on the host, as in `as_array`; a source as `LazyRows`.

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


def drawn(samples: Split, test_share: float, seed: int, name: str, rows: str, things: str) -> tuple[Split, Split, str]:
    """Training and test part of samples, see `divide`, and a sentence about them; of a share of 1, all are for testing."""
    if test_share == 1:
        return samples.rows(slice(0, 0)), samples, ""
    y, groups = samples.y, samples.groups
    testing = divide(len(samples), labels=y, groups=groups, test_share=test_share, seed=seed, name=name)
    each = "whole groups" if groups is not None else f"all {rows}" if y is None else "each class"
    said = f"drawn from {each}, seed {seed} ({np.count_nonzero(testing):,} {things}), train the rest"
    return samples.rows(~testing), samples.rows(testing), f"test is {test_share:.0%} {said}"


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
        validation: samples taken from the training part to choose by, see `hold_out`; None without.
        schema: of a table or a recording from a file, what new data need to be read in the same way; None for other data.
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
    schema: Schema | None = None
    validation: Split | None = None

    def hold_out(self, share: float, seed: int = 0) -> Dataset:
        """With a share of the training samples as `validation`: divided by the rule of `divide`; of a recording the last windows.

        Windows that overlap those are left out. Scaling and filling of gaps were fitted to both parts.
        """
        train, timeline = self.train, self.timeline
        if self.kind == "series":
            chosen = divide(len(train), ordered=True, test_share=share, name=self.name)
            first = np.arange(len(train)) * train.x.shape[1] if train.ids is None else train.ids
            before = first + train.x.shape[1] <= first[chosen].min()
            parts = train.rows(before), train.rows(chosen)
            if timeline is not None:  # the test windows keep their times
                timeline = replace(timeline, border=(len(parts[0]), timeline.begin(len(train))))
        else:
            chosen = divide(
                len(train), labels=train.y, groups=train.groups, test_share=share, seed=seed, name=self.name
            )
            parts = train.rows(~chosen), train.rows(chosen)
        if not all(map(len, parts)):
            raise ValueError(f"a validation share of {share:g} of {len(train)} training samples leaves one part empty.")
        notes = f"{self.notes.removesuffix('.')}. Validation: {share:.0%} of the training samples ({len(parts[1]):,})"
        return replace(self, train=parts[0], validation=parts[1], timeline=timeline, notes=notes)

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

    def class_counts(self) -> dict[str, tuple[int, int]]:
        """The training and test samples of each class by name; empty without labels. A class without a name is its number."""
        if self.train.y is None or self.test.y is None:
            return {}
        train, test = (dict(zip(*np.unique(y, return_counts=True), strict=True)) for y in (self.train.y, self.test.y))
        known = range(len(self.class_names))
        names = {n: self.class_names[n] if n in known else str(n) for n in sorted({*known, *train, *test})}
        return {name: (int(train.get(n, 0)), int(test.get(n, 0))) for n, name in names.items()}

    def noted(self, notes: Iterable[str]) -> Dataset:
        """With these notes, and a warning for each part that lacks classes of the other; new data have one part."""
        lines = [note for note in notes if note]
        classes = self.class_counts().items() if len(self.train) else ()
        for has, part in enumerate(("training", "test")):
            if alone := [name for name, counts in classes if counts[has] and not counts[1 - has]]:
                lines.append(f"warning: only the {part} part has samples of {listed(alone)}: divide it otherwise")
        return replace(self, notes=". ".join(lines))

    def in_units(self, x: npt.NDArray[np.generic]) -> Any:
        """Values of examples as their source has them: of a table a dict of columns; images in [0, 1]; else as `measured`."""
        if self.schema is not None:
            return self.schema.inverse(x)
        return x if self.kind == "images" else self.measured(x)

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


def labeled_lines(rows: list[tuple[str, str]]) -> list[str]:
    """Lines of a name and wrapped text; rows without text are left out."""
    import textwrap

    wrapper = textwrap.TextWrapper(100, subsequent_indent=" " * 11, break_long_words=False, break_on_hyphens=False)
    lines: list[str] = []
    for name, text in rows:
        wrapper.initial_indent = f"  {name:<9}"
        lines += wrapper.wrap(text)
    return lines


def _numbers(split: Split) -> str:
    x = split.source
    if not len(split):
        return "empty"
    mean = sum(part.sum(dtype=np.float64) for _, part in pieces(x)) / x.size
    lengths = "" if split.lengths is None else f" (lengths {split.lengths.min()} to {split.lengths.max()})"
    return f"{len(split):,} of {by(x.shape[1:])}{lengths}, {x.dtype} in [{x.min():.4g}, {x.max():.4g}], mean {mean:.4g}"


# ---------------------------------------------------------------------------------------------------------------------
# Times of the windows of a recording, and known incidents: needed to name a window by its date ("the 27th of January") and
# to compare flagged windows with published anomalies.


@dataclass(frozen=True)
class Incident:
    """A known event, from `start` to `end` (ISO 8601 times)."""

    name: str
    start: str
    end: str


MONTH = 2_629_746
"""Seconds of a month, a twelfth of the mean year."""


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
        monthly: True if steps are whole months of the calendar; seconds then count months of `MONTH` seconds.
    """

    start: str
    window_seconds: float
    incidents: tuple[Incident, ...] = ()
    stride_seconds: float | None = None
    border: tuple[int, float] | None = None
    counted: bool = False
    monthly: bool = False

    @property
    def pace(self) -> str:
        """The length of a window in words: "1800 s", "12 months"."""
        return f"{self.window_seconds / MONTH:g} months" if self.monthly else f"{self.window_seconds:g} s"

    @property
    def strided(self) -> bool:
        """Whether windows overlap or leave gaps, or the test windows do not continue the stride of the training windows."""
        return self.stride_seconds is not None or self.border is not None

    def begin(self, window: int) -> float:
        """The beginning of a window, in seconds after the start."""
        stride = self.stride_seconds or self.window_seconds
        index, begin = self.border or (math.inf, math.inf)
        return window * stride if window < index else begin + (window - index) * stride

    def position(self, time: str) -> float:
        """A time in units of windows after the start; 2.5 is the middle of the third window."""
        seconds = float((np.datetime64(time, "s") - np.datetime64(self.start, "s")).astype(np.int64))
        stride = self.stride_seconds or self.window_seconds
        index, begin = self.border or (math.inf, math.inf)
        return min(seconds / stride, index) if seconds < begin else index + (seconds - begin) / stride

    def spans(self) -> list[tuple[str, float, float]]:
        """(name, from, to) of every incident, in units of windows after the start."""
        return [(it.name, self.position(it.start), self.position(it.end)) for it in self.incidents]

    def stamp(self, window: int) -> str:
        """The beginning of a window, to the day, minute, second or millisecond, the coarsest that is exact for all windows.

        A date and time; if times are `counted`, hours, minutes and seconds, such as 00:04:07.250.
        """
        begin, border = self._moment(0).astype(np.int64) / 1000, self.border[1] if self.border else 0
        sizes = (self.window_seconds, self.stride_seconds or 0, border, begin)
        units = (("D", 86_400), ("m", 60), ("s", 1))
        exact = next((name for name, unit in units if all(size % unit == 0 for size in sizes)), "ms")
        moment = self._moment(self.begin(window))
        if self.counted:
            seconds, rest = divmod(int(moment.astype(np.int64)), 1000)
            clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            return f"{clock}.{rest:03}" if exact == "ms" else clock
        return str(moment.astype(f"datetime64[{'D' if self.monthly else exact}]")).replace("T", " ")

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
        apart = None if stride == length else stride * second
        return replace(self, window_seconds=length * second, stride_seconds=apart, border=seam)

    def _moment(self, seconds: float) -> np.datetime64:
        start = np.datetime64(self.start, "ms")
        if self.monthly:
            month = start.astype("datetime64[M]")
            return (month + round(seconds / MONTH)).astype("datetime64[ms]") + (start - month)
        return start + np.timedelta64(round(1000 * seconds), "ms")
