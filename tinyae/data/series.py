"""Data sets from tables: rows as samples (`table`), lines as steps of a recording (`load_series`), and cutting into windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from tinyae.checks import choose, number
from tinyae.data.arrays import SCALINGS, TEST_SHARE, Scaler, as_series
from tinyae.data.dataset import MONTH, Dataset, Kind, Split, Timeline, drawn, labeled_lines
from tinyae.data.schema import Columns, Schema
from tinyae.data.tables import TableSource, Times

# ---------------------------------------------------------------------------------------------------------------------
# A table of samples: one row, one sample.

TABLE_KINDS: tuple[Kind, ...] = ("vectors", "sequences")
"""What a row of a table can be."""


def table(
    source: TableSource,
    *,
    kind: Annotated[str, TABLE_KINDS] = "vectors",
    scaling: Annotated[str, tuple(SCALINGS)] = "standard",
    test_share: float = TEST_SHARE,
    seed: int = 0,
    **columns: Any,
) -> Dataset:
    """A table as a data set of its rows, scaled, with a training and a test part and its `schema`.

    Args:
        source: a .csv, .tsv, .txt or .data file (also .gz), .parquet or .feather, a data frame, a dict of columns, or an array (N, D).
        kind: what a row is: a vector (N, D), or a sequence of numbers (N, T, 1).
        scaling: "standard", "robust", "minmax" or "none", see `Scaler.fit`, fitted to the training part.
        test_share: share of the rows for testing, see `divide`: of each class if there are labels.
        seed: of the draw of the test rows.
        columns: label, id, time, drop, use, group, header, missing, time_format, decimal: see `Columns`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: what cannot be read or used, with all faults of the table.

    >>> data = table({"height": [1.5, 1.7, 1.6], "color": ["red", "blue", "red"]}, test_share=0.4)
    >>> data.feature_names, len(data.train), len(data.test)
    (('height', 'color=blue', 'color=red'), 2, 1)
    """
    choose("kind", kind, TABLE_KINDS)
    number("test_share", test_share, above=0, below=1, advice="0.1 is usual")
    asked = Columns(**columns)
    read = asked.read(source)
    schema = Schema.of_table(read, asked, kind)
    rows = schema.encode(read)
    samples = Split(rows.x, rows.y, None, rows.ids, rows.times, rows.groups)
    train, test, note = drawn(samples, test_share, seed, read.name, "rows", "rows")
    with _of(read.name):
        schema = schema.fitted(train.x, scaling)
        train, test = (replace(part, x=schema.prepared(part.x)) for part in (train, test))
    made = Dataset(
        Path(read.name).name, "your own table", "sequences" if kind == "sequences" else "vectors", train, test,
        class_names=schema.class_names, origin=read.name, scaler=schema.scaler, schema=schema,
        feature_names=() if kind == "sequences" else schema.encoded_names,
    )  # fmt: skip
    return made.noted([note, *read.lines_to_print(), *schema.hints(read), *rows.notes])


@contextmanager
def _of(name: str) -> Iterator[None]:
    """Let errors about the numbers of a file begin with its name."""
    try:
        yield
    except ValueError as error:
        raise error if name in str(error) else ValueError(f"{name}: {error}") from error


# ---------------------------------------------------------------------------------------------------------------------
# A recording from a table: one line per step, with an optional time column; the other columns are features.
#
# The times show that the lines are in order and how far apart they are, so that a window can be named by its date.

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
        schema: how it was read, or None.
        origin: the path.
        notes: what was understood of the table, as lines to print.
    """

    values: npt.NDArray[np.float64]
    names: tuple[str, ...]
    times: Times | None = None
    counted: bool = False
    schema: Schema | None = None
    origin: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        columns = zip(self.names, self.values.T, strict=True)
        rows = [("features", ", ".join(f"{name} in [{v.min():.4g}, {v.max():.4g}]" for name, v in columns))]
        if self.times is not None:
            clock = self.timeline
            apart = "not evenly spaced" if clock is None else f"one step every {clock.pace}"
            first, last = (str(time.astype("datetime64[s]")).replace("T", " ") for time in self.times[[0, -1]])
            rows.append(("times", f"{first} to {last}, {apart}"))
        return "\n".join([f"a recording of {len(self):,} steps of {len(self.names)}", *labeled_lines(rows)])

    @property
    def timeline(self) -> Timeline | None:
        """The times of the steps; None without times, or if they are not evenly spaced, to a tenth of a step or by the month."""
        if self.times is None or len(self) < 2:
            return None
        start = str(self.times[0].astype("datetime64[s]"))
        months = self.times.astype("datetime64[M]")
        apart, within = np.diff(months).astype(np.int64), self.times - months
        if apart[0] > 0 and (apart == apart[0]).all() and (within == within[0]).all():
            return Timeline(start, float(apart[0] * MONTH), monthly=True)
        steps = np.diff(self.times).astype(np.int64)
        step = int(np.median(steps))
        if np.abs(steps - step).max() > step / 10:
            return None
        return Timeline(start, step / 1000, counted=self.counted)


def read_series(source: TableSource, *, schema: Schema | None = None, **columns: Any) -> Series:
    """Read a recording with one line per step, see `table` for what can be read.

    Args:
        schema: of a run, to read a recording as its own was read; there is nothing else to say about the columns then.
        columns: time, drop, use, header, missing, time_format, decimal: see `Columns`. Without a time the first column of dates (ISO
            8601, such as 2014-07-01 00:30:00; with an offset such as +02:00 they are converted to UTC) is taken, if there is one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: what cannot be read or used, with all faults of the file, or times that do not increase.
    """
    asked = Columns(**columns)
    if schema is None:
        read, notes = asked.read(source), list[str]()
        schema = Schema.of_table(read, asked, "series")
    elif columns:
        raise ValueError(f"the schema says what the columns are: leave {', '.join(columns)} out.")
    else:
        read, notes = schema.table_of(source)
    rows = schema.encode(read)
    if rows.times is not None and (late := np.diff(rows.times) <= np.timedelta64(0)).any():
        row = int(np.argmax(late)) + 1
        written = int(np.searchsorted(read.lines, rows.lines[row]))
        found = " ".join(read.by_name[name].words()[written] for name in schema.time)
        raise ValueError(
            f"{read.name}, {read.place} {rows.lines[row]}: the time {found} is not later than that of the line "
            "before: sort the file."
        )
    counted = False
    if rows.times is not None and len(schema.time) == 1 and rows.times[0] < _EARLIEST:
        counted = read.by_name[schema.time[0]].kind == "numbers"
    said = (*read.lines_to_print(), *schema.hints(read), *notes, *rows.notes)
    return Series(rows.x, schema.encoded_names, rows.times, counted, schema, read.name, said)


def load_series(
    source: TableSource,
    length: int,
    *,
    stride: int | None = None,
    horizon: int = 0,
    train: float | int = 0.8,
    scaling: str | Scaler = "standard",
    schema: Schema | None = None,
    **columns: Any,
) -> Dataset:
    """Windows of the user's own recording.

    Args:
        source, columns: as for `read_series`.
        length, horizon, train, scaling: as for `windows`.
        stride: as for `windows`; None cuts without overlap.
        schema: of a run, whose reading, filling and scaling are used instead of what is fitted here.
    """
    series = read_series(source, schema=schema, **columns)
    assert series.schema is not None
    with _of(series.origin):
        border = _border(train, len(series))
        fitted = schema or series.schema.fitted(series.values[:border], scaling)
        assert fitted.scaler is not None
        made = _windows(
            np.concatenate([fitted.filled(part) for part in (series.values[:border], series.values[border:])]),
            length, stride or length, horizon, border, fitted.scaler,
            "fitted to the training part" if schema is None and isinstance(scaling, str) else "fitted beforehand",
            unit=series.names[0] if len(series.names) == 1 else "", timeline=series.timeline, times=series.times,
            name=Path(series.origin).name, feature_names=series.names,
        )  # fmt: skip
    uneven = " Times are not evenly spaced, so windows have no dates." if series.times is not None else ""
    notes = [made.notes + ("" if series.timeline is not None else uneven), *series.notes]
    return replace(made, origin=series.origin, schema=fitted, notes=". ".join(note.removesuffix(".") for note in notes))


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
        scaling: "standard", "robust", "minmax" or "none", see `Scaler.fit`, fitted to the training part; or a scaler fitted
            beforehand.
        name, unit: of the series. Several features have no common unit once each is scaled separately.
        timeline: the timeline of the series, whose windows are single steps.
        feature_names: names of the D features, or none.

    Returns:
        A data set of kind "series" with `horizon` and `scaler`: `data.scaler.inverse(x)` has the unit of the series.
    """
    values = as_series(series, "the series")
    border = _border(train, len(values))
    scaler = scaling if isinstance(scaling, Scaler) else Scaler.fit(values[:border], scaling)
    fitted = "fitted beforehand" if isinstance(scaling, Scaler) else "fitted to the training part"
    return _windows(
        values, length, stride, horizon, border, scaler, fitted,
        name=name, unit=unit, timeline=timeline, feature_names=tuple(feature_names),
    )  # fmt: skip


def _windows(
    values: npt.NDArray[np.float64], length: int, stride: int, horizon: int, border: int, scaler: Scaler, fitted: str, *,
    unit: str, timeline: Timeline | None, times: Times | None = None, **named: Any,
) -> Dataset:  # fmt: skip
    """Windows of a series with a border and a scaler."""
    _check_sizes(length, stride, horizon, border, f"the training part ({border} of {len(values)} steps)")
    _check_sizes(length, stride, horizon, len(values) - border, f"the test part ({len(values) - border} steps)")
    if scaler.offset.shape != values.shape[1:]:
        raise ValueError(
            f"a scaler of {len(scaler.offset)} features does not fit a series of {values.shape[1]}: fit it to such a series."
        )
    parts = []
    for first, part in ((0, values[:border]), (border, values[border:])):
        x = cut_windows(scaler.apply(part), length, stride=stride, horizon=horizon).astype(np.float32)
        steps = first + stride * np.arange(len(x))
        parts.append(Split(x, ids=steps, times=None if times is None else times[steps]))
    single = values.shape[1] == 1
    title = f"windows of {length} steps" + (f" and the next {horizon}" if horizon else "")
    return Dataset(
        title=title,
        kind="series",
        train=parts[0],
        test=parts[1],
        unit=(unit or "units of the series") if single or scaler.method == "none" else "",
        scale=float(scaler.scale[0]) if single else 1.0,
        origin="cut from a series",
        notes=f"One window every {stride} steps. Train is the first {border:,} steps, test the other "
        f"{len(values) - border:,}; no window overlaps both. Scaling: {scaler.method}, {fitted}.",
        timeline=None if timeline is None else timeline.of_windows(length + horizon, stride, len(parts[0]), border),
        scaler=scaler,
        horizon=horizon,
        **named,
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
