"""A series from the user's own CSV, and the windows it is cut into."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.data.dataset import Dataset, Scaler, Split, Timeline, as_series, table
from tinyae.data.formats import is_number

# ---------------------------------------------------------------------------------------------------------------------
# A series from the user's own CSV: one line for each step, a column of times if there is one, the rest features.
#
# The counterpart of a table of examples, where a line is a sample. Times say two things: that the lines are in order, and
# how far apart they are, so that a window can later be named by its date.

_EARLIEST = np.datetime64("1973-03-03T09:46:40", "ms")
"""A hundred million seconds after 1970-01-01: where Unix time has fewer, numbers are taken for a stopwatch's."""

_GAPS = frozenset(("", "?", "-", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing"))
"""How files write that there is no number."""

_OFFSET = re.compile(r"[T :]\d\d(\.\d+)? ?[+-]\d\d(:?\d\d)?$")
"""A clock time with an offset from UTC at its end."""


@dataclass(frozen=True, eq=False, repr=False)
class Series:
    """A recording in time order.

    Attributes:
        values: (T, D), float64.
        names: of the features, D.
        times: (T,) datetime64[ms], or None where the file has no column of times.
        counted: True if the times are seconds from a zero of the recording's own, and no dates.
    """

    values: npt.NDArray[np.float64]
    names: tuple[str, ...]
    times: npt.NDArray[Any] | None = None
    counted: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        columns = zip(self.names, self.values.T, strict=True)
        rows = [("features", ", ".join(f"{name} in [{v.min():.4g}, {v.max():.4g}]" for name, v in columns))]
        if self.times is not None:
            clock = self.timeline
            apart = "not evenly spaced" if clock is None else f"a step every {clock.window_seconds:g} s"
            first, last = (str(time.astype("datetime64[s]")).replace("T", " ") for time in self.times[[0, -1]])
            rows.append(("times", f"{first} to {last}, {apart}"))
        return "\n".join([f"a recording of {len(self):,} steps of {len(self.names)}", *table(rows)])

    @property
    def timeline(self) -> Timeline | None:
        """The clock of the steps; None without times, or where they are not evenly spaced (to a tenth of a step)."""
        if self.times is None or len(self) < 2:
            return None
        steps = np.diff(self.times).astype(np.int64)
        step = int(np.median(steps))
        if np.abs(steps - step).max() > step / 10:
            return None
        return Timeline(str(self.times[0].astype("datetime64[s]")), step / 1000, counted=self.counted)


def read_series(path: str | Path, *, time: str | int | None = None) -> Series:
    """Read a `.csv` with one line for each step, fields separated by commas (or, where the first line has none of them,
    by semicolons or tabs).

    Args:
        time: the column of times, by name or number from 0. None takes the first column that holds dates
            (ISO 8601, such as 2014-07-01 00:30:00; with an offset such as +02:00 they become UTC); a file without
            one has no times.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no table of numbers, a missing value, or times that do not increase, with the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the path.")
    header, rows = _table(path)
    column = _time_column(header, rows[0][1], time, path)
    times = None if column is None else _times(rows, column, path)
    kept = [number for number in range(len(header)) if number != column]
    if not kept:
        raise ValueError(f"{path} holds times and nothing else: add a column of numbers.")
    values = np.empty((len(rows), len(kept)))
    for place, (number, fields) in enumerate(rows):
        for feature, source in enumerate(kept):
            values[place, feature] = _number(fields[source], path, number, header[source])
    counted = times is not None and column is not None and is_number(rows[0][1][column]) and times[0] < _EARLIEST
    return Series(values, tuple(header[number] for number in kept), times, bool(counted))


def load_series(
    path: str | Path, length: int, *, time: str | int | None = None, stride: int | None = None, horizon: int = 0,
    train: float | int = 0.8, scaling: str | Scaler = "standard",
) -> Dataset:  # fmt: skip
    """Windows of a `.csv` of the user's own; see `read_series` and `windows`. `stride` None cuts without overlap."""
    series = read_series(path, time=time)
    made = windows(
        series.values, length, stride=stride or length, horizon=horizon, train=train, scaling=scaling,
        name=Path(path).name, unit=series.names[0] if len(series.names) == 1 else "", timeline=series.timeline,
        feature_names=series.names,
    )  # fmt: skip
    uneven = " Times are not evenly spaced, so windows have no dates." if series.times is not None else ""
    notes = made.notes + ("" if series.timeline is not None else uneven)
    return replace(made, origin=str(path), notes=f"{notes} Features: {', '.join(series.names)}.")


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of the columns, and the rows of texts with their line numbers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(first))
            rows = [(reader.line_num, [field.strip() for field in fields]) for fields in reader if any(fields)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    names = rows and not any(is_number(field) or _moment(field) is not None for field in rows[0][1])
    header = rows[0][1] if names else [f"column {n}" for n in range(len(rows[0][1]))] if rows else []
    rows = rows[1:] if names else rows
    if not rows:
        raise ValueError(f"{path} holds no line of numbers: write one step a line, fields separated by commas.")
    for number, fields in rows:
        if len(fields) != len(header):
            raise ValueError(f"{path}, line {number} has {len(fields)} fields, not {len(header)} as the first line.")
    return header, rows


def _delimiter(first: str) -> str:
    """What separates the fields, by the first line: a comma unless it has none."""
    return next((mark for mark in ",;\t" if mark in first), ",")


def _time_column(header: list[str], first: list[str], time: str | int | None, path: Path) -> int | None:
    if time is None:
        return next((n for n, field in enumerate(first) if not is_number(field) and _moment(field) is not None), None)
    if isinstance(time, str) and time not in header and time.isdecimal():
        time = int(time)  # as the command line gives a number
    known: list[Any] = header if isinstance(time, str) else list(range(len(header)))
    if time not in known:
        raise ValueError(f"{path} has no column {time!r}: its columns are {', '.join(header)}.")
    return known.index(time)


def _times(rows: list[tuple[int, list[str]]], column: int, path: Path) -> npt.NDArray[Any]:
    """Increasing times (T,), datetime64[ms]; a plain number counts seconds from 1970 on."""
    times: list[np.datetime64] = []
    for number, fields in rows:
        text = fields[column]
        moment = np.datetime64(round(1000 * float(text)), "ms") if is_number(text) else _moment(text)
        if moment is None:
            raise ValueError(f"{path}, line {number}: {text[:40]!r} is not a time; write 2014-07-01 00:30:00.")
        if times and moment <= times[-1]:
            raise ValueError(f"{path}, line {number}: the time {text} is not after the line before; sort the file.")
        times.append(moment)
    return np.array(times)


def _number(text: str, path: Path, line: int, column: str) -> float:
    value = float(text) if is_number(text) else float("nan")
    if not np.isfinite(value):
        found = repr(text[:40]) if text else "nothing"
        raise ValueError(f"{path}, line {line}, column {column!r} holds {found}: {_advice(text)}.")
    return value


def _advice(text: str) -> str:
    """What to do about a field that holds no number."""
    if text.lower() in _GAPS or is_number(text):
        return "fill the gap or cut the file there"
    if ";" in text:
        return "the file looks separated by semicolons; write commas between fields, and points in numbers"
    if is_number(text.replace(",", ".")):
        return "write a point, not a comma, in numbers"
    return "these are words; drop the column, or write numbers"


def _moment(text: str) -> np.datetime64 | None:
    """A date or a time of ISO 8601, a space for the T allowed, one with an offset in UTC; None for anything else."""
    if len(text) < 8 or not text[:4].isdecimal():
        return None
    try:
        if _OFFSET.search(text):
            moment = datetime.fromisoformat(re.sub(r" (?=[+-])", "", text)).astimezone(UTC).replace(tzinfo=None)
            return np.datetime64(moment, "ms")
        return np.datetime64(text.replace(" ", "T", 1).removesuffix("Z"), "ms")
    except (ValueError, OverflowError):
        return None


# ---------------------------------------------------------------------------------------------------------------------
# Windows: a long series cut into samples of equal length, for training and, from a later part, for testing.
#
# No window reaches across the border between the two parts, and the scaling is fitted on the training part alone, so that
# nothing of the test part is known before it is measured. With a horizon every window carries the steps that follow it:
# the future that a model is to predict.


def cut_windows(series: Any, length: int, *, stride: int = 1, horizon: int = 0) -> npt.NDArray[np.float64]:
    """All windows (N, length + horizon, D) of a series (T,) or (T, D), one beginning every `stride` steps.

    Window n is series[n stride : n stride + length + horizon]; N = floor((T - length - horizon) / stride) + 1.

    Raises ValueError for sizes below 1, for a horizon or a window longer than the series, and for NaN, with its place.

    >>> cut_windows([1, 2, 3, 4, 5], 2, stride=2, horizon=1)[:, :, 0].tolist()
    [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]
    """
    values = as_series(series, "the series")
    _check_sizes(length, stride, horizon, len(values), f"the series of {len(values)} steps")
    view = np.lib.stride_tricks.sliding_window_view(values, length + horizon, axis=0)[::stride]
    return np.ascontiguousarray(view.transpose(0, 2, 1))


def windows(
    series: Any,
    length: int,
    *,
    stride: int = 1,
    horizon: int = 0,
    train: float | int = 0.8,
    scaling: str | Scaler = "standard",
    name: str = "series",
    unit: str = "",
    timeline: Timeline | None = None,
    feature_names: tuple[str, ...] = (),
) -> Dataset:
    """A series (T,) or (T, D) in time order as a data set of windows.

    Args:
        length: steps that a model sees.
        stride: steps from one window to the next; `length` cuts without overlap.
        horizon: steps that follow each window and are to be predicted; samples have length + horizon steps.
        train: the training part from the start of the series: a share in (0, 1), or a whole number of steps.
        scaling: "standard", "range" or "none", see `Scaler.fit`; fitted on the training part. Or a scaler that is fitted
            already, to see these data as a model saw others.
        name, unit: of the series. Several features have no unit in common once each is scaled by itself.
        timeline: the clock of the series, one window of it being one step.
        feature_names: what each feature is, D words, or none.

    Returns:
        A data set of kind "series" with `horizon` and `scaler`: `data.scaler.inverse(x)` has the unit of the series.
    """
    values = as_series(series, "the series")
    border = _border(train, len(values))
    _check_sizes(length, stride, horizon, border, f"the training part ({border} of {len(values)} steps)")
    _check_sizes(length, stride, horizon, len(values) - border, f"the test part ({len(values) - border} steps)")
    scaler = scaling if isinstance(scaling, Scaler) else Scaler.fit(values[:border], scaling)
    if scaler.offset.shape != values.shape[1:]:
        raise ValueError(f"a scaler of {len(scaler.offset)} features does not fit a series of {values.shape[1]}.")
    before, after = (
        Split(cut_windows(scaler.apply(part), length, stride=stride, horizon=horizon).astype(np.float32))
        for part in (values[:border], values[border:])
    )
    fitted = (
        f"{scaling.method}, fitted beforehand"
        if isinstance(scaling, Scaler)
        else f"{scaling}, fitted on the training part"
    )
    single = values.shape[1] == 1
    return Dataset(
        name,
        f"windows of {length} steps" + (f" and the {horizon} that follow" if horizon else ""),
        "series",
        before,
        after,
        unit=unit or "units of the series" if single or scaling == "none" else "",
        scale=float(scaler.scale[0]) if single else 1.0,
        origin="cut from a series",
        notes=f"A window every {stride} steps. Train is the first {border:,} steps, test the other "
        f"{len(values) - border:,}; no window lies in both. Scaling: {fitted}.",
        timeline=None if timeline is None else timeline.of_windows(length + horizon, stride, len(before), border),
        scaler=scaler,
        horizon=horizon,
        feature_names=tuple(feature_names),
    )


def rewindow(
    data: Dataset, length: int, *, stride: int | None = None, horizon: int = 0, scaling: str | None = None
) -> Dataset:
    """A recording that was cut into windows without gap or overlap, cut anew; both parts stay what they were.

    `stride` None cuts without overlap. `scaling` None keeps the numbers as they are.
    """
    if data.kind != "series" or data.horizon or (data.timeline is not None and data.timeline.strided):
        raise ValueError(
            f"{data.name} is not a recording cut into windows end to end, so it cannot be cut anew: "
            "give a series to tinyae.data.windows."
        )
    parts = [split.x.reshape(-1, split.x.shape[2]) for split in (data.train, data.test)]
    made = windows(
        np.concatenate(parts), length, stride=stride or length, horizon=horizon, train=len(parts[0]),
        scaling=scaling or "none", name=data.name, unit=data.unit,
        timeline=None if data.timeline is None else data.timeline.finer(data.train.x.shape[1]),
        feature_names=data.feature_names,
    )  # fmt: skip
    assert made.scaler is not None
    features = len(made.scaler.scale)
    first = data.scaler or Scaler(np.zeros(features), np.full(features, data.scale))
    return replace(
        made,
        source=data.source,
        license=data.license,
        origin=data.origin,
        scale=made.scale * data.scale,
        scaler=made.scaler.after(first),
    )


def _border(train: float | int, steps: int) -> int:
    """The number of training steps. ValueError unless both parts keep some."""
    if steps < 2:
        raise ValueError(f"a series of {steps} step cannot be divided: give two or more, to train and to test with.")
    border = int(train) if isinstance(train, int | np.integer) else round(float(train) * steps)
    if not 0 < border < steps:
        raise ValueError(
            f"train={train!r} leaves {border} of {steps} steps to train with: give a share such as 0.8, or a number of "
            f"steps from 1 to {steps - 1}."
        )
    return border


def _check_sizes(length: int, stride: int, horizon: int, steps: int, whole: str) -> None:
    for name, size, least in (("length", length, 1), ("stride", stride, 1), ("horizon", horizon, 0)):
        if not isinstance(size, int | np.integer) or isinstance(size, bool) or size < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {size!r}.")
    if horizon >= steps:
        raise ValueError(
            f"a horizon of {horizon} steps is longer than {whole}: predict fewer steps or give a longer series."
        )
    if length + horizon > steps:
        raise ValueError(
            f"a window of {length} steps with a horizon of {horizon} does not fit into {whole}: "
            "make it shorter or give a longer series."
        )
