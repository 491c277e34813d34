"""One reader for tables: text files, Parquet, data frames and dicts of columns become a `Table` of columns with kinds.

A line is a sample for `tinyae.data.table` and a step for `tinyae.data.load_series`; what the columns mean is `schema.py`. In a text
file the delimiter (tab, semicolon, comma or white space), the decimal comma, the header, the kind of each column and its missing
values are found out, and `Table.lines_to_print` says what was found. Faults are collected, so that one report has them all.
"""

from __future__ import annotations

import csv
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.checks import checked, reading
from tinyae.data.formats import check_exists, read_npy, text_of

TEXTS = (".csv", ".tsv", ".txt", ".data")
COLUMNAR = (".parquet", ".pq", ".feather", ".arrow")
"""Endings of tables as text (each also with .gz), and of formats that pyarrow reads."""

Times = npt.NDArray[np.datetime64]
TableSource = Any
"""A path, a data frame (pandas, polars, pyarrow), a dict of columns or of single values, an array (N, D) or (D,), or a `Table`."""

MISSING = frozenset(
    ("", "?", "-", "--", ".", "na", "n/a", "#n/a", "nan", "nat", "<na>", "null", "none", "nil", "missing")
)
"""Fields that are missing values, in lower case."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Attributes:
        name: in the header, or "column 3".
        kind: "numbers", "words", "truth" (True and False), "times", or "mixed" (numbers, and words among them).
        values: (N,) float64 with NaN for what is missing, or for words among numbers; datetime64[ms] of times; words as objects.
        missing: which values are missing, (N,).
        texts: the fields as written, where they are known.
        fault: why the values cannot be used, with what to do; "" for most columns.
    """

    name: str
    kind: str
    values: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_]
    texts: Sequence[str] | None = None
    fault: str = ""

    def words(self) -> list[str]:
        """The values as text: as written where that is known, whole numbers without a point."""
        if self.kind == "truth":
            return [str(bool(value)) for value in self.values]
        if self.texts is not None:
            return [text.strip() for text in self.texts]
        return [short(value) if self.kind == "numbers" else str(value) for value in self.values]

    def classes(self) -> list[str]:
        """The values as names of classes: 1, 1.0 and 1e0 are one."""
        return [short(value) for value in self.values] if self.kind == "numbers" else self.words()

    def distinct(self) -> list[str]:
        """The classes that occur, sorted, numbers by size."""
        found = {word for word, gap in zip(self.classes(), self.missing, strict=True) if not gap}
        return sorted(found, key=float) if self.kind == "numbers" else sorted(found)


def short(value: float) -> str:
    """A number as text, a whole number without a point."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(float(value))


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length, as read.

    Attributes:
        name: the path, or what the table is.
        columns: the D columns.
        lines: for each of the N rows the line of the file where it ends, from 1; for a frame, the row from 0.
        header: whether the columns have names of their own.
        delimiter: in words; "" if there is none.
        index: the column that counts or names the rows, if it is an index and no feature; else None.
        faults: what is wrong with whole lines.
        notes: what was decided that may surprise.
        place: "line" or "row", what `lines` counts.
    """

    name: str
    columns: list[Column]
    lines: npt.NDArray[np.int64]
    header: bool
    delimiter: str = ""
    index: str | None = None
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    place: str = "line"

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    @property
    def by_name(self) -> dict[str, Column]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}

    def find_column(self, name: str | int) -> int:
        """The index of a column given by name or by index (also as a string); ValueError for an unknown one."""
        if isinstance(name, str) and name not in self.names and name.isdecimal():
            name = int(name)  # an index from the command line
        known: Sequence[str | int] = self.names if isinstance(name, str) else range(len(self.names))
        if name not in known:
            raise ValueError(f"{self.name} has no column {name!r}: its columns are {listed(self.names, 40)}.")
        return known.index(name)

    def lines_to_print(self) -> list[str]:
        """What was understood: header, delimiter, rows, the columns of each kind, and missing values by column."""
        parted = f", separated by {self.delimiter}" if self.delimiter else ""
        lines = [f"header: {'yes' if self.header else 'no'}; {len(self.columns)} columns{parted}, {len(self):,} rows"]
        if self.index is not None:
            lines.append(f"{self.index} counts or names the rows: it is their id, not a feature")
        for kind, title in KINDS.items():
            if names := [column.name for column in self.columns if column.kind == kind]:
                lines.append(f"{title}: {listed(names)}")
        if gaps := [f"{c.name} {np.count_nonzero(c.missing):,}" for c in self.columns if c.missing.any()]:
            lines.append(f"missing values: {listed(gaps)}")
        return lines + self.notes


KINDS = {
    "numbers": "numbers", "truth": "True or False", "words": "words", "times": "times", "mixed": "numbers and words mixed",
}  # fmt: skip
"""Kinds of columns, and what to call them."""


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names in a row, with the number of those left out."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def is_table(path: Path) -> bool:
    """Whether a file is a table by its name: .csv, .tsv, .txt, .data, each also with .gz, or a format that pyarrow reads."""
    name = path.name.lower()
    return name.removesuffix(".gz").endswith(TEXTS) or name.endswith(COLUMNAR)


@checked
def read_table(
    source: TableSource,
    *,
    header: bool | None = None,
    decimal: str | None = None,
    time_format: str | None = None,
    expected: Iterable[str] = (),
) -> Table:
    """Read a table; raises FileNotFoundError and ValueError with the path, and the line if there is one.

    Args:
        source: see `TableSource`.
        header: whether the first line of a text file names the columns; None finds out.
        decimal: the decimal mark of a text file, "." or ","; None finds out.
        time_format: how times are written, as for `datetime.strptime`, where ISO 8601 or a clear date is not enough.
        expected: names of columns, which make the first line that holds them a header.
    """
    if isinstance(source, Table):
        return source
    if not isinstance(source, str | Path):
        return _from_frame(source, time_format)
    path = Path(source).expanduser()
    check_exists(path)
    if path.suffix.lower() == ".npy":
        values = read_npy(path)
        return replace(_from_frame(values[:, None] if values.ndim == 1 else values, time_format), name=str(path))
    if path.suffix.lower() in COLUMNAR:
        return _read_columnar(path, time_format)
    with reading(path, "a table", "write one row per line, as UTF-8 text"):
        return _read_text(path, header, decimal, time_format, frozenset(expected))


# ---------------------------------------------------------------------------------------------------------------------
# Text: lines, then the delimiter, then the header, then the columns.

_DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", " ": "white space"}
"""Delimiter -> its name, in the order in which they are preferred if the lines do not decide."""

_SAMPLE = 200
"""Lines that decide about delimiter and header."""


def _read_text(
    path: Path, header: bool | None, decimal: str | None, time_format: str | None, expected: frozenset[str]
) -> Table:
    lines = text_of(path).split("\n")
    kept = [n for n, line in enumerate(lines) if line and line[0] != "#" and not line.isspace()]
    told = re.fullmatch(r'"?sep=([^\w"])"?', lines[kept[0]]) if kept else None  # as Excel writes it
    kept = kept[1:] if told else kept
    if not kept:
        raise ValueError(f"{path} contains no line of numbers: write one row per line, fields separated by commas.")
    last = len(kept)
    while last > 1 and len(set(lines[kept[last - 1]])) == 1 and not lines[kept[last - 1]].isalnum():
        last -= 1  # of delimiters alone, perhaps: the empty rows below the table of a spreadsheet
    sample = [lines[n] for n in kept[: min(last, _SAMPLE)]]
    delimiter, rows = (told[1], _fields(sample, told[1])) if told else _delimiter(sample)
    notes = []
    if last < len(kept) and all(set(lines[n]) == {delimiter} for n in kept[last:]):
        notes.append(f"{len(kept) - last} empty rows at the end are left out")
        del lines[kept[last] :], kept[last:]
    above = lines[kept[0] - 1].strip() if kept[0] else ""  # a comment right above the table may name the columns
    comment = _fields([above if above[1:].startswith(delimiter) else above[1:].strip() or "#"], delimiter)[0]
    headed = _is_header(rows, expected) if header is None else header
    names, body = (rows[0], kept[1:]) if headed else ([f"column {n}" for n in range(len(rows[0]))], kept)
    named = header is None and not headed and above.startswith("#") and len(comment) == len(rows[0]) > 1
    if named and _is_header([comment, *rows], expected):
        names, headed = comment, True
    if not body:
        raise ValueError(f"{path} contains no line of numbers below its header: write one row per line.")
    shift = len(kept) - len(body)
    if headed and len(names) == len(rows[-1]) - 1 and all(len(row) == len(rows[-1]) for row in rows[1:]):
        names = ["", *names]  # R leaves out the name of the row names
    comma = decimal == "," or (decimal is None and delimiter != "," and _decimal_comma(rows[shift:]))
    columns, where, faults = _columns(path, lines, body, names, delimiter, comma, time_format)
    while len(columns) > 1 and columns[-1].missing.all() and (not headed or not columns[-1].name):
        columns = columns[:-1]  # a delimiter at the end of each line
    index = len(columns) > 1 and (not headed or columns[0].name in ("", "Unnamed: 0")) and _is_index(columns[0], headed)
    seen: Counter[str] = Counter()
    distinct = []
    for number, column in enumerate(columns):
        wanted = column.name or f"column {number}"
        seen[wanted] += 1
        distinct.append(replace(column, name=wanted if seen[wanted] == 1 else f"{wanted}.{seen[wanted] - 1}"))
        if seen[wanted] == 2:
            notes.append(f"several columns are called {wanted!r}: the second is now {wanted}.1")
    by = _DELIMITERS.get(delimiter, repr(delimiter)) if len(names) > 1 else ""
    return Table(str(path), distinct, where, headed, by, distinct[0].name if index else None, faults, notes)


def _fields(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """The fields of each line, stripped."""
    rows: Iterable[list[str]] = (line.split(None if delimiter == " " else delimiter) for line in lines)
    if any('"' in line for line in lines):
        spaced = (_spaced(line).rstrip() for line in lines) if delimiter == " " else lines
        rows = csv.reader(spaced, delimiter=delimiter, skipinitialspace=True)
    return [[text.strip() for text in row] for row in rows if row]


def _spaced(line: str) -> str:
    """A line with spaces in place of tabs outside quotes, and none before the first field."""
    return re.sub(r'((?<![^ \t])"[^"]*(?:""[^"]*)*"?)|\t', lambda found: found[1] or " ", line).lstrip()


def _delimiter(sample: list[str]) -> tuple[str, list[list[str]]]:
    """The delimiter that gives the most lines the same number of fields, and the most fields that are numbers or times."""
    best, found = -1.0, (",", [[line.strip().strip('"')] for line in sample])
    for delimiter in _DELIMITERS:
        with suppress(csv.Error):
            rows = _fields(sample, delimiter)
            lines, width = max((count, width) for width, count in Counter(map(len, rows)).items())
            if width < 2 and len(rows[0]) < 2:
                continue
            fields = [text for row in rows for text in row]
            plain = sum(_plain(text, delimiter != ",") for text in fields) / len(fields)
            fits = 1.0 if len(rows[0]) in (width, width - 1) else 0.5  # "1 Jan 2020,3" is below "date,x"
            score = (0.2 + plain) * (lines / len(rows)) * (fits if width > 1 else 0.1)
            if score > best + 1e-9:
                best, found = score, (delimiter, rows)
    return found


def _plain(text: str, comma: bool) -> bool:
    return is_number(text, comma) or text.lower() in MISSING or first_time(text)


def _is_header(rows: list[list[str]], expected: frozenset[str] = frozenset()) -> bool:
    """Whether the first row names the columns.

    A word above numbers (or times) is a name, so that one word is enough; without any, words that do not occur again below are.
    Numbers are names if they count the columns, 0 to D - 1, or are whole and distinct above rows of decimals: years, say. A
    first field that is empty above a count of rows is the place of an index.
    """
    first, below = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    names = [name for name in first if name]
    if expected and len(set(first)) == len(first) and 2 * len(expected.intersection(first)) >= len(expected):
        return True
    if not below:
        return not any(_plain(text, True) and text.lower() not in MISSING for text in first)
    columns = list(zip(*below, strict=True))
    kinds = [_kind_of(column) for column in columns]
    word = [text.lower() not in MISSING and _kind_of([text]) == "words" for text in first]
    if any(w and kind != "words" for w, kind in zip(word, kinds, strict=True)):
        return True
    if all(kind == "words" for kind in kinds):
        distinct = len(set(first)) == len(first)
        return distinct and all(word) and not any(t in column for t, column in zip(first, columns, strict=True))
    index = (
        first[0] == "" and len(first) > 1 and all(map(str.isdecimal, columns[0])) and len(set(columns[0])) == len(below)
    )
    if not all(map(str.isdecimal, names)) or len(set(names)) < len(names) or len(names) < len(first) - index:
        return False
    counts = names == [str(n) for n in range(len(names))] and len(names) > 1
    continued = first[0] == "0" and columns[0][0] in ("1", "1.0")  # a count of rows, from 0
    whole = [sum(text.lstrip("+-").isdecimal() for text in column) / len(column) for column in columns[index:]]
    return (counts and not continued) or math.prod(whole) < 0.01


def _kind_of(texts: Sequence[str]) -> str:
    """The kind of most fields, for the decision about a header."""
    given = [text for text in texts if text.lower() not in MISSING]
    usual = sum(is_number(t, True) or first_time(t) or t.lower() in ("true", "false") for t in given)
    return "numbers" if 2 * usual > len(given) or not given else "words"


_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def _decimal_comma(rows: list[list[str]]) -> bool:
    """Whether numbers have a decimal comma: 1,5 does; 1,500 in every field could be thousands, and is not taken for it."""
    return any(_COMMA.fullmatch(text) and not _THOUSANDS.fullmatch(text) for row in rows for text in row)


def _columns(
    path: Path, lines: list[str], body: list[int], names: list[str], delimiter: str, comma: bool, time_format: str | None
) -> tuple[list[Column], npt.NDArray[np.int64], list[str]]:  # fmt: skip
    """The columns, the line of each row, and faults of whole lines.

    Columns of plain numbers are left to NumPy's parser. Without quotes lines are split at the delimiter, else by `csv`.
    """
    width, where, chosen = len(names), np.array(body, np.int64) + 1, [lines[n] for n in body]
    rows: list[list[str]] = []
    if '"' in "".join(chosen):
        rows, where = _quoted(path, lines[body[0] :], body[0], delimiter)
    elif delimiter == " ":
        rows = [line.split() for line in chosen]
    counts = np.array([len(row) for row in rows] if rows else [line.count(delimiter) + 1 for line in chosen])
    fits, faults = counts == width, []
    if not fits.all():
        first, others = int(np.argmin(fits)), np.count_nonzero(~fits) - 1
        also = f" (and {others:,} more do not fit)" if others else ""
        faults.append(
            f"line {where[first]} has {counts[first]} fields, but the first line has {width}{also}: correct one of them"
        )
        if not fits.any():
            raise ValueError(f"{path}, {faults[0]}.")
        where, rows, chosen = where[fits], list(compress(rows, fits)), list(compress(chosen, fits))
    numbers = {} if rows or comma else _plain_numbers(chosen, delimiter, names)
    if rows:
        texts: list[Sequence[str]] = list(zip(*rows, strict=True))
    elif len(numbers) > width // 2:  # few columns to look for
        texts = [[line.split(delimiter, n + 1)[n] for line in chosen] if n not in numbers else [] for n in range(width)]
    else:
        flat = delimiter.join(chosen).split(delimiter)
        texts = [flat[n::width] for n in range(width)]
    columns = [
        numbers[n] if n in numbers else column_of(name, texts[n], comma, time_format) for n, name in enumerate(names)
    ]
    return columns, where, faults


_CODE = re.compile(r"0\d|\d{16}")
"""The beginning of a number whose digits matter: 007, or one that float64 cannot hold."""


def _plain_numbers(lines: list[str], delimiter: str, names: list[str]) -> dict[int, Column]:
    """The columns whose first and last fields are numbers, as NumPy reads them, if it can."""
    some = list(zip(*_fields(lines[:20] + lines[-5:], delimiter), strict=True))
    chosen = [n for n, fields in enumerate(some) if all(map(is_number, fields)) and not any(map(_CODE.match, fields))]
    with suppress(ValueError), warnings.catch_warnings():
        warnings.simplefilter("error")
        values = np.loadtxt(lines, delimiter=delimiter, comments=None, ndmin=2, usecols=chosen)
        if np.isfinite(values).all():
            gaps = np.zeros(len(values), bool)
            return {n: Column(names[n], "numbers", column, gaps) for n, column in zip(chosen, values.T, strict=True)}
    return {}


def _quoted(path: Path, lines: list[str], before: int, delimiter: str) -> tuple[list[list[str]], npt.NDArray[np.int64]]:
    """Rows with quoted fields, in which delimiters and line ends are text, and the line where each ends."""
    rows, ends, last = [], [], 0

    def plain() -> Iterator[str]:
        for n, line in enumerate(lines):
            inside = '"' if n != last else ""  # the row of the line above goes on, in quotes
            line = "" if line.startswith("#") and not inside else line
            yield (_spaced(inside + line)[len(inside) :] if delimiter == " " else line) + "\n"

    reader = csv.reader(plain(), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            last = reader.line_num
            if delimiter == " " and row and not row[-1].strip() and lines[last - 1][-1:].isspace():
                row.pop()
            if row and (len(row) > 1 or row[0].strip()):
                rows.append(row)
                ends.append(before + last)
    except csv.Error as error:
        open_quote = "unexpected end" in str(error) or "field larger" in str(error)
        reason = "a quote is opened and not closed" if open_quote else str(error)
        raise ValueError(f"{path}, line {before + last + 1} cannot be read: {reason}; correct the line.") from error
    return rows, np.array(ends, np.int64)


def _is_index(column: Column, header: bool) -> bool:
    """Whether a first column without a name counts or names the rows; in a file without a header only 0, 1, 2, ... do."""
    if column.missing.any() or not len(column.values):
        return False
    if column.kind == "numbers":
        whole = bool((column.values == np.round(column.values)).all())
        counts = len(column.values) > 2 and bool((column.values == np.arange(len(column.values))).all())
        return counts or (header and whole and len(np.unique(column.values)) == len(column.values))
    return header and column.kind == "words" and len(set(column.words())) == len(column.values)


# ---------------------------------------------------------------------------------------------------------------------
# The kind of a column.


def column_of(name: str, texts: Sequence[str], comma: bool = False, time_format: str | None = None) -> Column:
    """A column from its fields: numbers, True and False, times, words, or a mix; raises nothing."""
    if not comma:
        with suppress(ValueError):
            values = np.array(list(map(float, texts)))
            if np.isfinite(values).all() and "_" not in "".join(texts):
                return Column(name, "numbers", values, np.zeros(len(texts), bool), texts)
    if texts and time_format is None and (times := _iso_times(texts)) is not None:
        return Column(name, "times", times, np.zeros(len(texts), bool), texts)
    fields = [text.strip() for text in texts]
    distinct = set(fields)
    gaps = {text for text in distinct if text.lower() in MISSING}
    missing = np.array([text in gaps for text in fields], bool) if gaps else np.zeros(len(fields), bool)
    given = [text for text in fields if text not in gaps] if gaps else fields
    if given and not is_number(given[0]) and (time_format or first_time(given[0])):
        found = parse_times(given, time_format)
        when = np.full(len(fields), np.datetime64("NaT"), "M8[ms]")
        if isinstance(found, str):
            return Column(name, "times", when, missing, fields, found)
        if 2 * np.isnat(found).sum() <= len(found):
            when[~missing] = found
            return Column(name, "times", when, missing, fields)
    number = {text: to_number(text, comma) for text in distinct - gaps}
    words = [text for text, value in number.items() if math.isnan(value)]
    if words and all(text.lower() in ("true", "false") for text in number):
        number, words = {text: float(text.lower() == "true") for text in number}, []
        kind = "truth"
    else:
        kind = "mixed" if words else "numbers"
    wordy = {text for text in words if _ALMOST.fullmatch(text) is None}
    if wordy and 2 * sum(text in wordy for text in given) > len(given):
        return Column(name, "words", np.array(fields, object), missing, fields)
    return Column(name, kind, np.array([number.get(text, math.nan) for text in fields]), missing, fields)


_ALMOST = re.compile(r"[+-]?[$€£]?[\d.,]*\d[\d.,]*(e[+-]?\d+|d[+-]\d+)?[%$€£]?|[+-]?(inf|infinity|nan)", re.IGNORECASE)
"""A number, or what was meant as one: 1,500 or 12%."""


def to_number(text: str, comma: bool = False) -> float:
    """The number that a field is in Python notation, without underscores, perhaps infinite; NaN if it is none."""
    if comma and "," in text:
        text = text.replace(".", "").replace(",", ".")
    with suppress(ValueError):
        return math.nan if "_" in text else float(text.replace("\u2212", "-"))
    return math.nan


def is_number(text: str, comma: bool = False) -> bool:
    """Whether a field is a number."""
    return not math.isnan(to_number(text, comma))


# ---------------------------------------------------------------------------------------------------------------------
# Times: ISO 8601 at NumPy's speed; days written 31/12/2010, 31.12.2010 or 2010/12/31, with a time of day; any other with a format.

_DATE = re.compile(r"(\d{1,4})([/.-])(\d{1,2})\2(\d{1,4})")
_CLOCK = re.compile(r"(\d{1,2})[:.](\d\d)(?:[:.](\d\d(?:\.\d+)?))?(?: ?([AaPp])\.?[Mm]\.?)?")


def first_time(text: str) -> bool:
    """Whether a field is written like a date, with or without a time of day."""
    day, clock = _halves(text)
    date = _DATE.fullmatch(day) is not None and not math.isnan(seconds_of(clock))
    return len(text) >= 8 and (date or not np.isnat(parse_time(text)))


def _halves(text: str) -> tuple[str, str]:
    day, _, clock = text.partition(" " if " " in text else "T")
    return day, clock.strip()


def parse_time(text: str, time_format: str | None = None) -> np.datetime64:
    """A time in ISO 8601 (a space in place of the T is allowed) or in a format, converted to UTC if it has an offset; NaT for else."""
    with suppress(ValueError, OverflowError):
        if time_format is not None:
            moment = datetime.strptime(text, time_format)
        elif len(text) >= 8 and text[:4].isdecimal():
            moment = datetime.fromisoformat(re.sub(r" (?=[+-])", "", text))
        else:
            return np.datetime64("NaT")
        return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment, "ms")
    return np.datetime64("NaT")


def _iso_times(texts: Sequence[str]) -> Times | None:
    """Times that are all written in ISO 8601, without an offset from UTC, at NumPy's speed; None for all else."""
    with suppress(ValueError, Warning), warnings.catch_warnings():
        warnings.simplefilter("error")
        if all(text[:4].isdecimal() and len(text) >= 8 for text in texts):
            return np.array(texts, "M8[ms]")
    return None


def parse_times(texts: Sequence[str], time_format: str | None = None) -> Times | str:
    """Times (N,), NaT for what is not one; or a sentence if day and month cannot be told apart.

    >>> parse_times(["31/12/2010 6:30", "01/02/2011 00:00"]).astype("datetime64[m]").tolist()
    [datetime.datetime(2010, 12, 31, 6, 30), datetime.datetime(2011, 2, 1, 0, 0)]
    """
    if time_format is not None:
        return np.array([parse_time(text, time_format) for text in texts], "M8[ms]")
    if (times := _iso_times(texts)) is not None:
        return times
    halves = [_halves(text) for text in texts]
    days, row = np.unique([day for day, _ in halves], return_inverse=True)
    found = [_DATE.fullmatch(day) for day in days]
    styles = {(len(m[1]) == 4, len(m[4]) == 4, m[2]) for m in found if m is not None}
    second = {clock: seconds_of(clock) for clock in {clock for _, clock in halves}}
    clocks = np.array([second[clock] for _, clock in halves])
    if len(styles) != 1 or (styles == {(True, False, "-")} and np.isnan(clocks).any()):  # an offset from UTC
        return np.array([parse_time(text) for text in texts], "M8[ms]")
    ((year_first, year_last, mark),) = styles
    a, b, c = np.array([[int(m[n]) for n in (1, 3, 4)] if m else [0, 0, 0] for m in found]).T
    if year_first:
        return moments(a[row], b[row], c[row], clocks)
    if not year_last:
        return "years of two digits can be read in several ways: say how times are written, time_format='%d/%m/%y', say"
    day_first, month_first = moments(c[row], b[row], a[row], clocks), moments(c[row], a[row], b[row], clocks)
    wrong = np.isnat(day_first).sum() - np.isnat(month_first).sum()
    if mark == "." or wrong < 0 or np.array_equal(day_first, month_first, equal_nan=True):
        return day_first
    if wrong > 0:
        return month_first
    clock = " %H:%M:%S"[: 3 * halves[0][1].count(":") + 3] if halves[0][1] else ""
    written = f"%d{mark}%m{mark}%Y{clock}"
    return f"{texts[0]!r} may begin with the day or the month: say which, time_format={written!r} or with %m before %d"


def seconds_of(clock: str) -> float:
    """Seconds since midnight of a time of day, 24:00 the last; 0 for "", NaN for what is not one."""
    match = _CLOCK.fullmatch(clock)
    if match is None:
        return math.nan if clock else 0.0
    hours, minutes, seconds = int(match[1]), int(match[2]), float(match[3] or 0)
    if match[4]:
        hours = hours % 12 + 12 * (match[4] in "Pp") if 1 <= hours <= 12 else 99
    total = 3600 * hours + 60 * minutes + seconds
    return total if minutes < 60 and seconds < 60 and total <= 86400 else math.nan


def moments(year: Any, month: Any, day: Any, seconds: Any) -> Times:
    """Times (N,) from numbers, with seconds since midnight; NaT where there is no such day, or for what is not a whole number."""
    parts, limits = np.array([year, month, day, seconds], np.float64), ([99999, 12, 31, 86400], [-99999, 1, 1, 0])
    largest, least = np.array(limits)[:, :, None]
    ok = ((parts >= least) & (parts <= largest)).all(axis=0) & (parts[:3] == np.round(parts[:3])).all(axis=0)
    years, months, days, clock = np.where(ok, parts, [[1970], [1], [1], [0]])
    first = ((years - 1970) * 12 + months - 1).astype(np.int64).astype("M8[M]")
    whole = first.astype("M8[D]") + (days - 1).astype(np.int64)
    made = whole.astype("M8[ms]") + np.round(1000 * clock).astype(np.int64)
    made[~ok | (whole.astype("M8[M]") != first)] = np.datetime64("NaT")
    return made


def first_times(columns: Sequence[Column]) -> tuple[str, ...]:
    """The first column of dates, with the time of day if that is in the next one."""
    for column, *others in (columns[n : n + 2] for n in range(len(columns))):
        if column.kind == "times":
            clocks = [other for other in others if other.texts is not None and other.kind in ("words", "times")]
            clocks = [
                other for other in clocks if not any(math.isnan(seconds_of(t or "?")) for t in set(other.words()))
            ]
            return tuple(found.name for found in (column, *clocks))
    return ()


def times_of(columns: Sequence[Column], time_format: str | None = None) -> Times:
    """Times (N,), NaT for what is not one.

    One column: dates; years, if it is called so; other numbers are seconds since 1970. Several: year, month, day, hour, minute,
    second, as far as they go, or texts that make a time together, such as a date and a time of day.

    Raises ValueError if they are ambiguous.
    """
    if all(column.kind == "numbers" for column in columns):
        values = [column.values for column in columns]
        if len(columns) > 1 or columns[0].name.strip().lower() in ("year", "years"):
            year, month, day, *clock = values + [np.ones(len(values[0]))] * (3 - len(values))
            parts = (size * part for size, part in zip((3600, 60, 1), clock, strict=False))
            return moments(year, month, day, sum(parts, np.zeros(len(year))))
        usable = np.abs(values[0]) < 1e14
        milliseconds = np.round(1000 * np.where(usable, values[0], 0)).astype(np.int64)
        return np.where(usable, milliseconds.astype("M8[ms]"), np.datetime64("NaT"))
    if len(columns) == 1 and columns[0].kind == "times" and not columns[0].fault:
        return columns[0].values
    texts = [" ".join(fields) for fields in zip(*(column.words() for column in columns), strict=True)]
    found = parse_times(texts, time_format)
    if isinstance(found, str):
        raise ValueError(f"the time in column {columns[0].name!r}: {found}")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Frames, dicts and arrays; Parquet and Feather where pyarrow is installed.


def _from_frame(source: TableSource, time_format: str | None) -> Table:
    """A table from columns in memory; TypeError for what has none."""
    index = None
    if not isinstance(source, Mapping | np.ndarray) and hasattr(source, "columns"):
        index = getattr(source, "index", None)
        if type(index).__name__ == "RangeIndex" and index is not None and (index.start, index.name) == (0, None):
            index = None
        source = {name: source[name] for name in getattr(source, "column_names", source.columns)}  # of pyarrow
    elif not isinstance(source, Mapping) and hasattr(source, "to_dict"):  # one row of pandas
        source = dict(source.to_dict())
    named = isinstance(source, Mapping)
    if not named:
        try:
            array = np.asarray(source)
        except ValueError:
            array = np.empty(0, object)
        array = array[None] if array.ndim == 1 else array
        if array.ndim != 2 or array.dtype.kind not in "biufUO":
            raise TypeError(
                f"expected a table: a path, a data frame, a dict of columns or an array (N, D), got {type(source).__name__}."
            )
        source = {f"column {n}": column for n, column in enumerate(array.T)}
    arrays = {str(name): np.atleast_1d(_host(values)) for name, values in source.items()}
    if len(lengths := {len(values) for values in arrays.values()}) != 1 or not lengths - {0}:
        raise ValueError(
            f"the columns of a table need one length of at least 1, got {sorted(lengths)}: pass equal ones."
        )
    columns = [_from_array(name, values, time_format) for name, values in arrays.items()]
    if index is not None:
        columns.insert(0, _from_array(str(index.name or "index"), _host(index), time_format))
    called = None if index is None else columns[0].name
    return Table("the table", columns, np.arange(lengths.pop()), named, index=called, place="row")


def _host(values: Any) -> npt.NDArray[Any]:
    zoned = getattr(getattr(values, "dtype", None), "tz", None) is not None  # pandas, which then gives UTC
    return np.asarray(values, "M8[ms]" if zoned else None)


def _from_array(name: str, values: npt.NDArray[Any], time_format: str | None) -> Column:
    if values.ndim != 1:
        raise ValueError(f"column {name!r} has shape {values.shape}: give one value for each row.")
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64)
        return Column(name, "truth" if values.dtype.kind == "b" else "numbers", numbers, np.isnan(numbers))
    if values.dtype.kind == "M":
        return Column(name, "times", values.astype("M8[ms]"), np.isnat(values))
    if values.dtype.kind == "m":
        seconds = values.astype("m8[ms]").astype(np.float64) / 1000
        return Column(name, "numbers", np.where(np.isnat(values), np.nan, seconds), np.isnat(values))
    return column_of(name, ["" if value is None else str(value) for value in values], False, time_format)


def _read_columnar(path: Path, time_format: str | None) -> Table:
    parquet = path.suffix.lower() in COLUMNAR[:2]
    try:
        pyarrow = import_module("pyarrow.parquet" if parquet else "pyarrow.feather")
    except ImportError as error:
        raise ValueError(
            f"{path} needs pyarrow to be read: pip install pyarrow, or save the table as text, frame.to_csv(path, index=False)."
        ) from error
    with reading(path, "a Parquet or Feather file", "save the table again"):
        found = pyarrow.read_table(str(path))
        table = _from_frame(found, time_format)
    saved = (found.schema.pandas_metadata or {}).get("index_columns", [])  # how pandas saves an index
    index = next((name for name in saved if name in table.names), None)
    return replace(table, name=str(path), index=index)
