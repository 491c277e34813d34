"""What a run remembers of a table: its columns in order, their roles and kinds, and how they become the numbers of a model.

`Columns` is what a user says about a file, `Schema` what was found and fitted: with it new data are read as the run's own were,
matched by name, one row or many, and numbers of the model are converted back into the units and words of the table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from tinyae.checks import choose
from tinyae.data.arrays import Floats, Scaler
from tinyae.data.tables import Column, Table, TableSource, Times, first_times, listed, read_table, times_of, to_number

MISSING_RULES = ("error", "drop", "mean", "interpolate")
"""What to do about missing values."""

Names = str | int | Sequence[str | int]
"""Columns by name, or by number from 0; a string may hold several, separated by commas."""

MOST_WORDS = 100
"""Most different words of a column, each of which becomes a column of 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a table are, and how its file is read. A column is given by name, or by number from 0.

    Args:
        label: COLUMN, the class of each row, a word or a whole number.
        id: COLUMN, what each row is called; by default the index without a name, or the number of the row.
        time: COLUMN[,COLUMN...], the time of each row, from several columns if need be: year,month,day,hour; by default the first
            column with dates.
        drop: COLUMN[,COLUMN...], not to be used.
        use: COLUMN[,COLUMN...], the only features, in this order; by default every column without another role.
        group: COLUMN, what rows belong to (a patient): each group is in the training or in the test part.
        header: whether the first line names the columns; by default found out.
        missing: RULE, what to do about missing values: refuse them, drop their rows, or fill them with the mean of the training part
            or by interpolation between rows.
        time_format: FORMAT, how times are written, such as %d/%m/%Y %H:%M; by default ISO 8601 or a clear date.
        decimal: MARK, decimal mark of the file, a point or a comma; by default found out.
    """

    label: str | int | None = None
    id: str | int | None = None
    time: Names | None = None
    drop: Names | None = None
    use: Names | None = None
    group: str | int | None = None
    header: bool | None = None
    missing: Annotated[str, MISSING_RULES] = "error"
    time_format: str | None = None
    decimal: str | None = None

    def __post_init__(self) -> None:
        choose("missing", self.missing, MISSING_RULES)

    def read(self, source: TableSource) -> Table:
        """The table of a source, read as its file was said to be written."""
        return read_table(source, header=self.header, decimal=self.decimal, time_format=self.time_format)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table as a model takes them.

    Attributes:
        x: (N, D) values.
        y: class numbers (N,), or None.
        ids: what each row is called, (N,): its id or index, else its number from 0.
        times: (N,), or None.
        lines: the line of the file where each row ends, from 1, or the row of a frame from 0, (N,).
        groups: what each row belongs to, or None.
        notes: what was reordered, ignored, dropped or filled.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[np.int64] | None
    ids: npt.NDArray[Any]
    times: Times | None
    lines: npt.NDArray[np.int64]
    groups: npt.NDArray[Any] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: npt.NDArray[Any]) -> Rows:
        """Some of the rows, by indices or a boolean mask."""
        parts = (self.x, self.y, self.ids, self.times, self.lines, self.groups)
        return Rows(*(None if part is None else part[index] for part in parts), self.notes)  # type: ignore[arg-type,call-arg]


@dataclass(frozen=True)
class Feature:
    """A column that the model is given: as a number, as 0 and 1 for False and True, or as one 0 or 1 for each of its words.

    Attributes:
        name: of the column.
        kind: "numbers", "truth" or "words".
        words: sorted, one-hot in this order; empty for numbers.
    """

    name: str
    kind: str
    words: tuple[str, ...] = ()

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """The names of its numbers: `wind=NE`, `wind=SW` for words."""
        return tuple(f"{self.name}={word}" for word in self.words) if self.kind == "words" else (self.name,)


@dataclass(frozen=True, eq=False)
class Schema:
    """How a table becomes the numbers of a model, and back.

    Attributes:
        names: all columns of the table, in its order.
        features: what the model is given, in its order.
        header: whether the columns have names of their own; if not, new data are matched by position.
        kind: of the data: "vectors" (N, D), "sequences" (N, T, 1), or "series", steps of a recording.
        label, id, group: the columns with these roles, or None.
        time: the columns that make the time; empty if there is none.
        class_names: of the label, sorted; class numbers are positions in it.
        missing: the rule for missing values, one of `MISSING_RULES`.
        time_format, decimal: as in `Columns`.
        fill: for each number of a row its mean in the training part, (D,).
        scaler: fitted to the training part; numbers of words, True and False stay 0 and 1. Fill and scaler are None before the fit.
    """

    names: tuple[str, ...]
    features: tuple[Feature, ...]
    header: bool = True
    kind: str = "vectors"
    label: str | None = None
    id: str | None = None
    group: str | None = None
    time: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    missing: str = "error"
    time_format: str | None = None
    decimal: str | None = None
    fill: Floats | None = None
    scaler: Scaler | None = None

    # ------------------------------------------------------------------------------------------------------ new data

    def read(self, source: TableSource) -> Rows:
        """New data as the model takes them: scaled float32, with label, id and time where they are there.

        Columns are matched by name, or without names by position. One row is enough: a dict of values, or an array (D,).

        Raises ValueError, naming exactly which columns are missing, which words are unknown, and every other fault.
        """
        table, notes = self.table_of(source)
        rows = self.encode(table)
        return replace(rows, x=self.prepared(rows.x), notes=(*notes, *rows.notes))

    def table_of(self, source: TableSource) -> tuple[Table, list[str]]:
        """The table of new data with the names of this schema, and what there is to say about its columns."""
        header, expected = (None, self.names) if self.header else (False, ())
        if isinstance(source, np.ndarray) and source.ndim == 1 and len(self.features) == 1:
            source = source[:, None]
        table = read_table(source, header=header, decimal=self.decimal, time_format=self.time_format, expected=expected)
        return self._matched(table)

    def inverse(self, x: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Numbers of the model in the units and words of the table: name of each column -> values of shape (N,) or (N, T).

        Words are those with the largest of their numbers, True is above 0.5. `pandas.DataFrame(schema.inverse(x))` is a frame.
        """
        values = np.asarray(x, np.float64) if self.scaler is None else self.scaler.inverse(x)
        values = values[..., 0] if self.kind == "sequences" else values
        ends = np.cumsum([len(feature.encoded_names) for feature in self.features])
        found: dict[str, npt.NDArray[Any]] = {}
        for feature, part in zip(self.features, np.split(values, ends[:-1], axis=-1), strict=True):
            if feature.kind == "words":
                found[feature.name] = np.array(feature.words, object)[part.argmax(axis=-1)]
            else:
                found[feature.name] = part[..., 0] > 0.5 if feature.kind == "truth" else part[..., 0]
        return found

    # ------------------------------------------------------------------------------------------- as plain values, and back

    def plain(self) -> dict[str, Any]:
        """The schema as plain values for JSON."""
        kept = {name: value for name, value in vars(self).items() if name not in ("features", "fill", "scaler")}
        return kept | {
            "features": [[feature.name, feature.kind, list(feature.words)] for feature in self.features],
            "fill": None if self.fill is None else self.fill.tolist(),
            "scaler": self.scaler and self.scaler.plain(),
        }

    @classmethod
    def of_plain(cls, values: Mapping[str, Any]) -> Schema:
        """The schema whose `plain()` these values are, or what JSON made of them."""
        kept: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        kept["features"] = tuple(Feature(name, kind, tuple(words)) for name, kind, words in values["features"])
        kept["fill"] = None if values["fill"] is None else np.array(values["fill"])
        kept["scaler"] = None if values["scaler"] is None else Scaler.of_plain(values["scaler"])
        return cls(**kept)

    # ------------------------------------------------------------------------------------------------- found and fitted

    @classmethod
    def of_table(cls, table: Table, columns: Columns, kind: str = "vectors") -> Schema:
        """The schema of a table before it is fitted; raises ValueError with all faults of the columns that are used."""
        label, id_, group = (
            None if name is None else table.names[table.find_column(name)]
            for name in (columns.label, columns.id, columns.group)
        )
        time = _several(table, columns.time)
        if columns.time is None:
            time = first_times([c for c in table.columns if c.name not in (label, id_, group)])
        drop, use = _several(table, columns.drop), _several(table, columns.use)
        index = None if table.index in (*use, *drop, label, group, *time) else table.index
        id_ = id_ or index
        roles = {name for name in (label, id_, group, index, *time) if name is not None}
        if clash := [name for name in (*use, *drop) if name in roles or (name in use and name in drop)]:
            raise ValueError(f"{table.name}: column {clash[0]!r} cannot be used in two ways: name it once.")
        inputs = use or tuple(name for name in table.names if name not in roles and name not in drop)
        if not inputs:
            only = "only times" if time else "no features"
            raise ValueError(f"{table.name} contains {only}: add a column of numbers.")
        by_name = table.by_name
        features = tuple(_feature(by_name[name]) for name in inputs)
        if kind == "sequences" and (words := [feature.name for feature in features if feature.kind == "words"]):
            raise ValueError(f"{table.name}: a sequence is of numbers, and column {words[0]!r} holds words: drop it.")
        class_names = () if label is None else tuple(by_name[label].distinct())
        return cls(
            tuple(table.names), features, table.header, kind, label, id_, group, time, class_names,
            columns.missing, columns.time_format, columns.decimal,
        )  # fmt: skip

    def encode(self, table: Table) -> Rows:
        """The rows of a table with these columns, before they are filled and scaled; with the rule "drop" the complete ones.

        Raises ValueError with all faults of the table.
        """
        by_name, faults = table.by_name, list(table.faults)
        parts = [self._numbers(table, feature, by_name[feature.name], faults) for feature in self.features]
        x = np.ascontiguousarray(np.column_stack(parts))
        y = times = None
        complete = np.ones(len(table), bool)
        notes: list[str] = []
        if self.label in by_name:
            y = self._classes(table, by_name[self.label], complete, faults, notes)
        if self.time and all(name in by_name for name in self.time):
            times = self._times(table, [by_name[name] for name in self.time], complete, faults)
        if self.missing == "drop":
            complete &= ~np.isnan(x).any(axis=1)
        if faults:
            many = f" has {len(faults)} faults:\n  " if len(faults) > 1 else ", "
            raise ValueError(f"{table.name}{many}" + ";\n  ".join(faults) + ".")
        if not complete.all():
            notes.append(f"{np.count_nonzero(~complete):,} of {len(table):,} rows with missing values are left out")
            if not complete.any():
                raise ValueError(
                    f"{table.name} has no row without missing values: use missing='mean' or 'interpolate'."
                )
        elif np.isnan(x).any():
            rule = "interpolated" if self.missing == "interpolate" else "filled with the means of the training part"
            gaps = [f"{c.name} {np.count_nonzero(c.missing):,}" for c in table.columns if c.missing.any()]
            notes.append(f"missing values were {rule}: {listed(gaps)}")
        called = by_name.get(self.id or "") or by_name.get(table.index or "")
        ids = np.arange(len(table)) if called is None else _ids(called)
        groups = np.array(by_name[self.group].words()) if self.group in by_name else None
        return Rows(x, y, ids, times, table.lines, groups, tuple(notes)).rows(complete)

    def fitted(self, x: npt.NDArray[Any], scaling: str | Scaler = "standard") -> Schema:
        """With fill and scaler fitted to the encoded rows (N, D) of a training part."""
        known = ~np.isnan(x)
        filling = replace(self, fill=np.where(known, x, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        if isinstance(scaling, Scaler):
            return replace(filling, scaler=scaling)
        values = filling.filled(x)
        scaler = Scaler.fit(values.reshape(-1, 1) if self.kind == "sequences" else values, scaling)
        if self.kind != "sequences":
            number = np.array([f.kind == "numbers" for f in self.features for _ in f.encoded_names])
            scaler = replace(
                scaler, offset=np.where(number, scaler.offset, 0.0), scale=np.where(number, scaler.scale, 1.0)
            )
        return replace(filling, scaler=scaler)

    def prepared(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Encoded rows (N, D), filled and scaled: (N, D) float32, for sequences (N, T, 1)."""
        assert self.scaler is not None
        values = self.filled(x)
        return self.scaler.apply(values[:, :, None] if self.kind == "sequences" else values)

    def filled(self, x: Floats) -> Floats:
        """Encoded rows without NaN: interpolated down the rows (in a sequence along it), or the mean of the training part."""
        gaps = np.isnan(x)
        if not gaps.any():
            return x
        assert self.fill is not None
        x = x.copy()
        if self.missing == "interpolate":
            lines = x if self.kind == "sequences" else x.T  # a view: what is written there stands in x
            for line, gap in zip(lines, np.isnan(lines), strict=True):
                if gap.any() and not gap.all():
                    line[gap] = np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), line[~gap])
        return np.where(np.isnan(x), self.fill, x)

    def hints(self, table: Table) -> list[str]:
        """The roles of columns, and features that look like something else (a count of rows, a time, a label), as lines to print."""
        roles = {"label": self.label, "id": self.id, "time": ", ".join(self.time), "group": self.group}
        used = {feature.name for feature in self.features} | {*roles.values(), *self.time}
        roles["not used"] = listed([name for name in table.names if name not in used])
        given = [f"{role} {name}" for role, name in roles.items() if name]
        lines = ["; ".join(given)] if given else []
        for feature in self.features:
            name, word = feature.name, feature.name.lower()
            steps = np.diff(table.by_name[name].values) if feature.kind == "numbers" else np.zeros(0)
            if word not in _TIMES and len(steps) > 1 and (steps == 1).all():
                lines.append(f"column {name!r} counts the rows: if it is no feature, id={name!r} or drop")
            elif word in _TIMES and len(steps) > 1 and (steps > 0).all() and not self.time:
                lines.append(f"column {name!r} only increases: if it is the time, time={name!r}")
            elif word in _LABELS and self.label is None:
                lines.append(f"column {name!r} is a feature: if it is the label, label={name!r}")
        return lines

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """The names of the D numbers of a row: one for each feature, for words one for each word."""
        return tuple(name for feature in self.features for name in feature.encoded_names)

    # ------------------------------------------------------------------------------------------------------- the columns

    def _matched(self, table: Table) -> tuple[Table, list[str]]:
        """The table with the names of this schema, by name or by position, and what there is to say about it."""
        inputs = [feature.name for feature in self.features]
        lacking = [name for name in inputs if name not in table.names]
        if not self.header or not table.header:
            if lacking or len(table.names) != len(self.names) or self.header != table.header:
                return self._by_position(table, inputs)
        elif lacking:
            raise ValueError(
                f"{table.name} has no column {', '.join(map(repr, lacking))}, which the model was trained on: add "
                f"{'it' if len(lacking) == 1 else 'them'}; it has {listed(table.names, 40)}."
            )
        notes = []
        if extra := [name for name in table.names if name not in self.names and name != table.index]:
            notes.append(f"columns that the model was not trained on were ignored: {listed(extra)}")
        order = [name for name in table.names if name in inputs]
        if order != [name for name in self.names if name in order]:
            notes.append("the columns are in another order, and were matched by name")
        return table, notes

    def _by_position(self, table: Table, inputs: list[str]) -> tuple[Table, list[str]]:
        names = next((names for names in (list(self.names), inputs) if len(names) == len(table.columns)), None)
        if names is None:
            raise ValueError(
                f"{table.name} has {len(table.columns)} columns without the names that the model was trained on: name them, or "
                f"give these {len(inputs)} in order: {listed(inputs, 40)}."
            )
        columns = [replace(column, name=name) for column, name in zip(table.columns, names, strict=True)]
        said = f"the columns were taken in order: {listed(names)}"
        return replace(table, columns=columns), [said] if self.header else []

    def _numbers(self, table: Table, feature: Feature, column: Column, faults: list[str]) -> npt.NDArray[Any]:
        """The numbers (N,) or (N, words) of a feature, NaN where a value is missing; faults are added."""
        advice = ""
        if feature.kind == "words":
            words, known = np.array(column.words(), object), np.array(feature.words, object)
            values = (words[:, None] == known).astype(np.float64)
            values[column.missing] = np.nan
            wrong = ~column.missing & ~values.any(axis=1)
            advice = f"the training data do not have this word, but {listed(feature.words)}"
            if len(feature.words) > MOST_WORDS or len(feature.words) == len(table) > 20:
                advice = f"{len(feature.words):,} different words are too many to be features: drop the column, or make it the id"
                wrong = ~column.missing
        elif column.kind == "times":
            values, wrong = np.full(len(table), np.nan), ~column.missing
            advice = column.fault or (
                "this is a time; name the column as the time of the rows or drop it, or cut the recording into windows "
                "(tinyae.data.load_series, --window)"
            )
        else:
            values = np.array([to_number(w) for w in column.words()]) if column.kind == "words" else column.values
            wrong = ~column.missing & ~np.isfinite(values)
        if wrong.any():
            faults.append(_fault(table, column, wrong, advice))
        if column.missing.all() and self.fill is None:
            faults.append(f"column {column.name!r} holds no values: drop it")
        elif column.missing.any() and self.missing == "error":
            faults.append(_fault(table, column, column.missing, _FILL if self.fill is None else _FILL_NEW))
        return values

    def _classes(
        self, table: Table, column: Column, complete: npt.NDArray[np.bool_], faults: list[str], notes: list[str]
    ) -> npt.NDArray[np.int64] | None:
        """Class numbers (N,); None, with a remark, if a class is unknown."""
        if column.kind == "numbers" and (wrong := ~column.missing & (column.values != np.round(column.values))).any():
            advice = "a label is a word or a whole number; leave it out, or use it as a feature"
            faults.append(_fault(table, column, wrong, advice))
            return None
        number = {name: n for n, name in enumerate(self.class_names)}
        unknown = [word for word in column.distinct() if word not in number]
        if self.fill is not None and (unknown or column.missing.any()):  # of new data, which need no labels
            notes.append(f"labels are not used: the training data have no class {listed(unknown) or 'that is missing'}")
            return None
        if self.missing == "error" and column.missing.any():
            faults.append(_fault(table, column, column.missing, "add the label, or drop its row (missing='drop')"))
        complete &= ~column.missing
        return np.array([number.get(word, -1) for word in column.classes()], np.int64)

    def _times(
        self, table: Table, columns: list[Column], complete: npt.NDArray[np.bool_], faults: list[str]
    ) -> Times | None:
        """Times (N,) from one column or several; faults are added."""
        try:
            times = times_of(columns, self.time_format)
        except ValueError as error:
            faults.append(str(error))
            return None
        if self.missing == "drop":
            complete &= ~np.any([column.missing for column in columns], axis=0)
        wrong = np.isnat(times) & complete
        if wrong.any():
            row = int(np.argmax(wrong))
            found = " ".join(column.words()[row] for column in columns)[:40]
            faults.append(
                f"{table.place} {table.lines[row]}: {found!r} is not a time: write it like 2014-07-01 00:30:00, or say how with "
                "time_format"
            )
        return times


# ---------------------------------------------------------------------------------------------------------------------
# Roles, labels, times, and the sentences about faults.


_TIMES = frozenset(("year", "time", "date", "datetime", "timestamp", "t"))
_LABELS = frozenset(("label", "class", "target", "y", "species", "outcome", "diagnosis"))


def _several(table: Table, names: Names | None) -> tuple[str, ...]:
    """Names of columns, from one, several, or a string of several."""
    if names is None:
        return ()
    if isinstance(names, str) and names not in table.names:
        names = [name.strip() for name in names.split(",")]
    every = [names] if isinstance(names, str | int) else names
    return tuple(table.names[table.find_column(name)] for name in every)


def _feature(column: Column) -> Feature:
    if column.kind == "words":
        return Feature(column.name, "words", tuple(column.distinct()))
    return Feature(column.name, "truth" if column.kind == "truth" else "numbers")


def _ids(column: Column) -> npt.NDArray[Any]:
    """Ids as whole numbers where they are written so, else as text."""
    words = column.words()
    whole = all(word.isdecimal() and (word == "0" or word[0] != "0") and len(word) < 19 for word in words)
    return np.array(words, np.int64 if whole else str)


_FILL_NEW = "give the value, because this model was trained with missing='error'"
_FILL = "fill the gap, or say how: missing='drop', 'mean' or 'interpolate'"


def _fault(table: Table, column: Column, wrong: npt.NDArray[np.bool_], advice: str) -> str:
    """A sentence about wrong values: the first one, how many there are, what to do."""
    row, count = int(np.argmax(wrong)), np.count_nonzero(wrong)
    text = column.words()[row] if column.texts is not None or not column.missing[row] else ""
    found = repr(text[:40]) if text else "nothing"
    also = f" ({count:,} such values)" if count > 1 else ""
    return f"{table.place} {table.lines[row]}, column {column.name!r} holds {found}{also}: {advice or _advice(text)}"


def _advice(text: str) -> str:
    """How to correct a field that is not a finite number."""
    if text.lower() in ("+nan", "-nan") or not math.isnan(to_number(text)):
        return "this is not a finite number; replace it, or leave the field empty"
    if "," in text and math.isfinite(to_number(text.replace(",", ""))):
        return "a comma may divide thousands or decimals; write 1500 or 1.5, or say decimal=',' where fields are divided otherwise"
    return "this is text; remove the column or replace it by numbers"
