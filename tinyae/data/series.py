"""Series from the user's own CSV files, and cutting series into windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyae.data.dataset import Dataset, Scaler, Split, Timeline, as_series, labeled_lines
from tinyae.data.formats import Table, is_number, parse_time, read_npy, read_table

# ---------------------------------------------------------------------------------------------------------------------
# A series from the user's own CSV: one line per step, with an optional time column; the other columns are features.
#
# (In a table of examples, a line is a sample instead.) The times show that the lines are in order and how far apart they
# are, so that a window can be named by its date.

Times = npt.NDArray[np.datetime64]

_EARLIEST = np.datetime64("1973-03-03T09:46:40", "ms")
"""A hundred million seconds after 1970-01-01: smaller numbers are taken for the elapsed time of a recording."""


@dataclass(frozen=True, eq=False, repr=False)
class Series:
    """A recording in time order.

    Attributes:
        values: (T, D), float64.
        names: of the features, D.
        times: (T,) datetime64[ms], or None without a time column.
        counted: True if the times are seconds since the beginning of the recording, not dates.
    """

    values: npt.NDArray[np.float64]
    names: tuple[str, ...]
    times: Times | None = None
    counted: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        columns = zip(self.names, self.values.T, strict=True)
        rows = [("features", ", ".join(f"{name} in [{v.min():.4g}, {v.max():.4g}]" for name, v in columns))]
        if self.times is not None:
            clock = self.timeline
            apart = "not evenly spaced" if clock is None else f"one step every {clock.window_seconds:g} s"
            first, last = (str(time.astype("datetime64[s]")).replace("T", " ") for time in self.times[[0, -1]])
            rows.append(("times", f"{first} to {last}, {apart}"))
        return "\n".join([f"a recording of {len(self):,} steps of {len(self.names)}", *labeled_lines(rows)])

    @property
    def timeline(self) -> Timeline | None:
        """The times of the steps; None without times, or if they are not evenly spaced (to a tenth of a step)."""
        if self.times is None or len(self) < 2:
            return None
        steps = np.diff(self.times).astype(np.int64)
        step = int(np.median(steps))
        if np.abs(steps - step).max() > step / 10:
            return None
        return Timeline(str(self.times[0].astype("datetime64[s]")), step / 1000, counted=self.counted)


def read_series(path: str | Path, *, time: str | int | None = None) -> Series:
    """Read a `.csv` with one line per step, see `tinyae.data.formats.read_table`, or a `.npy` of steps, (T,) or (T, D).

    Args:
        time: the time column, by name or index from 0. None takes the first column of dates (ISO 8601, such as
            2014-07-01 00:30:00; with an offset such as +02:00 they are converted to UTC), if there is one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a table of numbers, a missing value, or times that do not increase, with the line.
    """
    if Path(path).suffix.lower() == ".npy":
        if time is not None:
            raise ValueError(f"{path} has no names and no times, got time={time!r}: leave it out, or save a .csv.")
        values = as_series(read_npy(path), str(path))
        return Series(values, tuple(f"column {n}" for n in range(values.shape[1])))
    table = read_table(Path(path))
    column = _first_times(table) if time is None else table.find_column(time)
    times = None if column is None else _times(table, column)
    features = [number for number in range(len(table.names)) if number != column]
    if not features:
        raise ValueError(f"{path} contains only times: add a column of numbers.")
    counted = column is not None and times is not None and is_number(table.columns[column][0]) and times[0] < _EARLIEST
    names = tuple(table.names[number] for number in features)
    return Series(table.numbers(features), names, times, bool(counted))


def load_series(
    path: str | Path, length: int, *, time: str | int | None = None, stride: int | None = None, horizon: int = 0,
    train: float | int = 0.8, scaling: str | Scaler = "standard",
) -> Dataset:  # fmt: skip
    """Windows of the user's own `.csv` or `.npy`; see `read_series` and `windows`. `stride` None cuts without overlap."""
    series = read_series(path, time=time)
    try:
        made = windows(
            series.values, length, stride=stride or length, horizon=horizon, train=train, scaling=scaling,
            name=Path(path).name, unit=series.names[0] if len(series.names) == 1 else "", timeline=series.timeline,
            feature_names=series.names,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    uneven = " Times are not evenly spaced, so windows have no dates." if series.times is not None else ""
    notes = made.notes + ("" if series.timeline is not None else uneven)
    return replace(made, origin=str(path), notes=f"{notes} Features: {', '.join(series.names)}.")


def _first_times(table: Table) -> int | None:
    """The index of the first column whose first field is a date or a time, not a number; None if there is none."""
    first = [texts[0] for texts in table.columns]
    return next((n for n, text in enumerate(first) if not is_number(text) and parse_time(text) is not None), None)


def _times(table: Table, column: int) -> Times:
    """Increasing times (T,) of a column; a number is in seconds since 1970."""
    times: list[np.datetime64] = []
    for line, text in zip(table.lines, table.columns[column], strict=True):
        moment = np.datetime64(round(1000 * float(text)), "ms") if is_number(text) else parse_time(text)
        if moment is None:
            raise ValueError(
                f"{table.path}, line {line}: {text[:40]!r} is not a time: write it like 2014-07-01 00:30:00."
            )
        if times and moment <= times[-1]:
            raise ValueError(
                f"{table.path}, line {line}: the time {text} is not later than that of the line before: sort the file."
            )
        times.append(moment)
    return np.array(times)


# ---------------------------------------------------------------------------------------------------------------------
# Windows: a long series cut into samples of equal length, the earlier part for training and the later one for test.
#
# No window crosses the border between the two parts, and the scaling is fitted to the training part only, so that the test
# part stays unseen. With a horizon, each window includes the steps that follow it: the future to predict.


def cut_windows(series: npt.ArrayLike, length: int, *, stride: int = 1, horizon: int = 0) -> npt.NDArray[np.float64]:
    """All windows (N, length + horizon, D) of a series (T,) or (T, D), one every `stride` steps.

    Window n is series[n stride : n stride + length + horizon]; N = floor((T - length - horizon) / stride) + 1.

    Raises ValueError for sizes below 1, for a horizon or a window longer than the series, and for NaN, with its position.

    >>> cut_windows([1, 2, 3, 4, 5], 2, stride=2, horizon=1)[:, :, 0].tolist()
    [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]
    """
    values = as_series(series, "the series")
    _check_sizes(length, stride, horizon, len(values), f"the series of {len(values)} steps")
    view = np.lib.stride_tricks.sliding_window_view(values, length + horizon, axis=0)[::stride]
    return np.ascontiguousarray(view.transpose(0, 2, 1))


def windows(
    series: npt.ArrayLike,
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
        length: steps that the model sees.
        stride: steps from one window to the next; `length` cuts without overlap.
        horizon: steps to predict after each window; samples have length + horizon steps.
        train: size of the training part, at the start of the series: a fraction in (0, 1), or a number of steps.
        scaling: "standard", "range" or "none", see `Scaler.fit`, fitted to the training part; or a scaler fitted
            beforehand.
        name, unit: of the series. Several features have no common unit once each is scaled separately.
        timeline: the timeline of the series, whose windows are single steps.
        feature_names: names of the D features, or none.

    Returns:
        A data set of kind "series" with `horizon` and `scaler`: `data.scaler.inverse(x)` has the unit of the series.
    """
    values = as_series(series, "the series")
    border = _border(train, len(values))
    _check_sizes(length, stride, horizon, border, f"the training part ({border} of {len(values)} steps)")
    _check_sizes(length, stride, horizon, len(values) - border, f"the test part ({len(values) - border} steps)")
    scaler = scaling if isinstance(scaling, Scaler) else Scaler.fit(values[:border], scaling)
    if scaler.offset.shape != values.shape[1:]:
        raise ValueError(
            f"a scaler of {len(scaler.offset)} features does not fit a series of {values.shape[1]}: fit it to such a series."
        )
    before, after = (
        Split(cut_windows(scaler.apply(part), length, stride=stride, horizon=horizon).astype(np.float32))
        for part in (values[:border], values[border:])
    )
    fitted = "fitted beforehand" if isinstance(scaling, Scaler) else "fitted to the training part"
    single = values.shape[1] == 1
    return Dataset(
        name,
        f"windows of {length} steps" + (f" and the next {horizon}" if horizon else ""),
        "series",
        before,
        after,
        unit=unit or "units of the series" if single or scaling == "none" else "",
        scale=float(scaler.scale[0]) if single else 1.0,
        origin="cut from a series",
        notes=f"One window every {stride} steps. Train is the first {border:,} steps, test the other "
        f"{len(values) - border:,}; no window overlaps both. Scaling: {scaler.method}, {fitted}.",
        timeline=None if timeline is None else timeline.of_windows(length + horizon, stride, len(before), border),
        scaler=scaler,
        horizon=horizon,
        feature_names=tuple(feature_names),
    )


def rewindow(
    data: Dataset, length: int, *, stride: int | None = None, horizon: int = 0, scaling: str | None = None
) -> Dataset:
    """Join windows that were cut without gaps or overlap, and cut them again; training and test part remain the same.

    `stride` None cuts without overlap. `scaling` None leaves the values unchanged.
    """
    if data.kind != "series" or data.horizon or (data.timeline is not None and data.timeline.strided):
        raise ValueError(
            f"{data.name} is not a recording in consecutive windows, so it cannot be cut again: "
            "pass the series to tinyae.data.windows."
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
    """The number of training steps; ValueError unless there are both training and test steps."""
    if steps < 2:
        raise ValueError(f"a series of {steps} step cannot be split: give at least two, for training and test.")
    border = int(train) if isinstance(train, int | np.integer) else round(float(train) * steps)
    if not 0 < border < steps:
        raise ValueError(
            f"train={train!r} gives {border} of {steps} steps for training: give a fraction such as 0.8, or a number of "
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
