"""Readers of file formats: IDX, text tables (`.csv`), the `.ts` format of sequences, and NumPy's."""

from __future__ import annotations

import csv
import io
import math
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from tinyae.checks import reading
from tinyae.data.dataset import Lengths, pad
from tinyae.data.source import LARGE

# ---------------------------------------------------------------------------------------------------------------------
# The IDX format of MNIST and its relatives: a header of big-endian numbers, then the values in row-major
# order.
#
#     byte 0, 1   zero
#     byte 2      type of the values: 08 uint8, 09 int8, 0B int16, 0C int32, 0D float32, 0E float64
#     byte 3      number of axes
#     then        one 32-bit length for each axis, then the values, everything big-endian
#
# A file may be gzipped. Errors name the file, the number of bytes expected and the number found: the usual cause is an
# incomplete download.
# Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section "File formats".

GZIP_MAGIC = b"\x1f\x8b"

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_FETCH_AGAIN = "delete the file and download it again"


Promise = Callable[[bytearray], float]
"""From the bytes of a file so far, how many it should have in all."""


def read_idx(path: str | Path) -> npt.NDArray[Any]:
    """Read an IDX file, plain or gzipped, as an array in native byte order. No more is unpacked than its header promises.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated, too long, damaged, or not an IDX file.
    """
    with reading(path, "an IDX file", _FETCH_AGAIN):
        return parse_idx(read_payload(path, promised_by_idx), str(path))


def read_payload(path: str | Path, promised: Promise = lambda start: math.inf) -> bytearray:
    """The bytes of a file, uncompressed if they are gzipped (the content decides, not the name).

    `promised` gives, from the bytes so far, how many there should be: of a file with more, one more is read.

    Raises ValueError for a file named `.gz` that is not gzipped: usually an error page saved under that name.
    """
    import gzip
    import zlib

    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        file.seek(0)
        if not start:
            raise ValueError(f"{path} is empty (0 bytes): {_FETCH_AGAIN}.")
        packed = start.startswith(GZIP_MAGIC)
        if path.suffix == ".gz" and not packed:
            raise ValueError(f"{path} is named .gz but is not gzipped (it starts with {start!r}): {_FETCH_AGAIN}.")
        try:
            content: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
            return _read_as_promised(content, promised, bytearray())
        except EOFError as error:
            raise ValueError(f"{path} ends early, after {size:,} gzipped bytes: {_FETCH_AGAIN}.") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} holds damaged gzip data ({error}): {_FETCH_AGAIN}.") from error


def _read_as_promised(file: IO[bytes], promised: Promise, payload: bytearray) -> bytearray:
    """Append to `payload` what a file has, but no more than one byte beyond the promise, a piece at a time: it may be a lie."""
    while (missing := promised(payload) + 1 - len(payload)) > 0 and (piece := file.read(int(min(_PIECE, missing)))):
        payload += piece
    return payload


_PIECE = 1 << 20


def looks_like_idx(payload: bytes | bytearray) -> bool:
    """Whether the uncompressed bytes begin like an IDX file."""
    return len(payload) >= 4 and payload[:2] == b"\0\0" and payload[2] in _TYPES and payload[3] > 0


def promised_by_idx(start: bytearray) -> int:
    """The length in bytes that the header of an IDX file promises; less than that of the header if this is not complete."""
    header = 4 + 4 * start[3] if looks_like_idx(start) else 4
    if len(start) < header or header == 4:
        return header - 1
    shape = struct.unpack_from(f">{start[3]}I", start, 4)
    return header + math.prod(shape) * np.dtype(_TYPES[start[2]]).itemsize


def parse_idx(payload: bytearray, where: str) -> npt.NDArray[Any]:
    """The array in the uncompressed bytes of an IDX file, in the same memory if it is in native byte order.

    Raises ValueError, with the name `where`, if the bytes are malformed.
    """
    if not looks_like_idx(payload):
        raise ValueError(
            f"{where} is not an IDX file: expected it to start with 00 00, a type "
            f"({', '.join(f'{t:02X}' for t in _TYPES)}) and the number of axes, got "
            f"{payload[:4].hex(' ') or 'nothing'}."
        )
    dtype, axes = np.dtype(_TYPES[payload[2]]), payload[3]
    header = 4 + 4 * axes
    if len(payload) < header:
        raise ValueError(
            f"{where} is truncated: the header of {axes} axes needs {header} bytes, got {len(payload)}: {_FETCH_AGAIN}."
        )
    shape, expected = struct.unpack_from(f">{axes}I", payload, 4), promised_by_idx(payload)
    if len(payload) != expected:
        fault, more = ("is truncated", "") if len(payload) < expected else ("is too long", " or more")
        raise ValueError(
            f"{where} {fault}: {dtype.newbyteorder('=')} values of shape {shape} need {expected:,} bytes, "
            f"got {len(payload):,}{more}: {_FETCH_AGAIN}."
        )
    values = np.frombuffer(payload, dtype, offset=header).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


# ---------------------------------------------------------------------------------------------------------------------
# Text tables, one row per line: an example for `files.load_file`, a step of a recording for `series.read_series`.


@dataclass(frozen=True, eq=False)
class Table:
    """The fields of a table as strings.

    Attributes:
        path: the file.
        names: names of the D columns.
        columns: the N fields of each column.
        lines: for each of the N rows the line of the file where it ends, from 1.
    """

    path: Path
    names: list[str]
    columns: list[tuple[str, ...]]
    lines: list[int]

    def find_column(self, name: str | int) -> int:
        """The index of a column given by name or by index (also as a string); ValueError for an unknown one."""
        if isinstance(name, str) and name not in self.names and name.isdecimal():
            name = int(name)  # an index from the command line
        known: Sequence[str | int] = self.names if isinstance(name, str) else range(len(self.names))
        if name not in known:
            raise ValueError(f"{self.path} has no column {name!r}: its columns are {', '.join(self.names)}.")
        return known.index(name)

    def numbers(self, columns: Iterable[int]) -> npt.NDArray[np.float64]:
        """Some columns as finite numbers (N, len(columns)); ValueError, with line and column, for any other field."""
        return np.column_stack([self._numbers(column) for column in columns])

    def _numbers(self, column: int) -> npt.NDArray[np.float64]:
        texts = self.columns[column]
        try:
            values = np.array(list(map(float, texts)))
            if np.isfinite(values).all():
                return values
        except ValueError:
            pass  # the field is found below
        row, text = next(it for it in enumerate(texts) if not is_number(it[1]) or not math.isfinite(float(it[1])))
        found = repr(text[:40]) if text else "nothing"
        raise ValueError(
            f"{self.path}, line {self.lines[row]}, column {self.names[column]!r} holds {found}: {_advice(text)}."
        )


def read_table(path: Path) -> Table:
    """Read a file of fields separated by commas (or, if the first line has none, by semicolons or tabs).

    The first line contains the column names if none of its fields is a number or a time; otherwise the columns are named
    "column 0", "column 1", and so on. Spaces around fields and blank lines are ignored.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not text in UTF-8, no rows, or rows of different lengths, with the line.
    """
    text, delimiter = _table_text(path)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        lines = [(reader.line_num, [field.strip() for field in fields]) for fields in reader]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num} cannot be read: {error}; correct the line.") from error
    rows = [(line, fields) for line, fields in lines if fields not in ([], [""])]
    names = [f"column {n}" for n in range(len(rows[0][1]))] if rows else []
    if rows and _is_header(rows[0][1]):
        names, rows = rows[0][1], rows[1:]
    if not rows:
        raise ValueError(f"{path} contains no line of numbers: write one row per line, fields separated by commas.")
    for line, fields in rows:
        if len(fields) != len(names):
            raise ValueError(
                f"{path}, line {line} has {len(fields)} fields, but the first line has {len(names)}: correct one of them."
            )
    return Table(path, names, list(zip(*(fields for _, fields in rows), strict=True)), [line for line, _ in rows])


def read_numbers(path: Path) -> npt.NDArray[np.float64]:
    """All columns of a table as finite numbers (N, D); raises as `read_table` and `Table.numbers` do.

    A table of plain numbers is left to NumPy's parser, which is several times faster. Any other one is read field by
    field: either it is fine too, or the error names the line and the column.
    """
    text, delimiter = _table_text(path)
    head, _, rest = text.lstrip().partition("\n")
    names = [field.strip() for field in next(csv.reader([head], delimiter=delimiter), [])]
    body = rest if _is_header(names) else text
    if body.strip():
        with suppress(ValueError):
            values = np.loadtxt(io.StringIO(body), delimiter=delimiter, comments=None, ndmin=2)
            if values.shape[1] == len(names) and np.isfinite(values).all():
                return values
    table = read_table(path)
    return table.numbers(range(len(table.names)))


def _table_text(path: Path) -> tuple[str, str]:
    """The text of a table and the mark between its fields."""
    check_exists(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    return text, next((mark for mark in ",;\t" if mark in first), ",")


def _is_header(fields: list[str]) -> bool:
    """Whether the first row holds the names of the columns: no field is a number or a time."""
    return not any(is_number(field) or parse_time(field) is not None for field in fields)


def check_exists(path: Path) -> None:
    """Raise FileNotFoundError unless `path` is a file."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the path.")


def is_number(text: str) -> bool:
    """Whether a field is a number in Python notation, including NaN and infinity."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_time(text: str) -> np.datetime64 | None:
    """An ISO 8601 date or time (a space in place of the T is allowed), converted to UTC if it has an offset; else None."""
    if len(text) < 8 or not text[:4].isdecimal():
        return None
    try:
        if _UTC_OFFSET.search(text):
            moment = datetime.fromisoformat(re.sub(r" (?=[+-])", "", text)).astimezone(UTC).replace(tzinfo=None)
            return np.datetime64(moment, "ms")
        return np.datetime64(text.replace(" ", "T", 1).removesuffix("Z"), "ms")
    except (ValueError, OverflowError):
        return None


_UTC_OFFSET = re.compile(r"[T :]\d\d(\.\d+)? ?[+-]\d\d(:?\d\d)?$")
"""A time of day that ends with an offset from UTC."""

_MISSING = frozenset(("", "?", "-", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing"))
"""Missing-value markers."""


def _advice(text: str) -> str:
    """How to correct a field that is not a finite number."""
    if text.lower() in _MISSING or is_number(text):
        return "fill the gap, remove the row, or end the recording there"
    if parse_time(text) is not None:
        return "this is a time; cut the recording into windows (tinyae.data.load_series, --window)"
    if ";" in text:
        return "the fields seem to be separated by semicolons; use commas between fields and decimal points"
    if is_number(text.replace(",", ".")):
        return "use decimal points, not commas"
    return "this is text; remove the column or replace it by numbers"


# ---------------------------------------------------------------------------------------------------------------------
# The `.ts` text format of the UEA archive of time series, with sequences of unequal length.
#
# Lines beginning with # are comments, lines beginning with @ describe the format. After @data each line is a sequence:
# features separated by colons, the steps of a feature by commas, and the class last.


def parse_ts(text: str, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None, Lengths]:
    """Padded sequences (N, T, D), class numbers (N,) or None, and lengths (N,) from the text of a `.ts` file.

    Class numbers are indices into the list of classes in the file. ValueError, with the line, if the text is malformed.
    """
    with reading(name, "a .ts file", _FETCH_AGAIN):
        return _parsed(text, name)


def _parsed(text: str, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None, Lengths]:
    classes: list[str] | None = None
    sequences: list[npt.NDArray[Any]] = []
    labels: list[int] = []
    data = False
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        if not data:
            key, _, rest = words.partition(" ")
            if key.lower() == "@classlabel" and rest.split()[:1] == ["true"]:
                classes = rest.split()[1:]
            elif key.lower() == "@timestamps" and rest.strip().lower() == "true":
                raise ValueError(f"{name}, line {number}: time stamps in .ts files are not supported: remove them.")
            elif not key.startswith("@"):
                raise ValueError(f"{name}, line {number} comes before @data and is neither # nor @: is it a .ts file?")
            data = key.lower() == "@data"
            continue
        fields = words.split(":")
        if classes is not None:
            label = fields.pop()
            if label not in classes:
                raise ValueError(
                    f"{name}, line {number}: class {label[:20]!r} is not one of {', '.join(classes)}: correct it."
                )
            labels.append(classes.index(label))
        sequences.append(_sequence(fields, f"{name}, line {number}"))
    if not sequences:
        raise ValueError(f"{name} contains no sequence after a line @data: is it a .ts file?")
    x, lengths = pad(sequences)
    return x, None if classes is None else np.array(labels, np.int64), lengths


def _sequence(fields: list[str], place: str) -> npt.NDArray[np.float64]:
    """One sequence (T, D) from the fields of its features."""
    try:
        rows = [np.array(field.split(","), np.float64) for field in fields]
    except ValueError as error:
        raise ValueError(f"{place}: {error}; missing values are not supported: fill the gap.") from error
    if len({len(row) for row in rows}) != 1:
        raise ValueError(
            f"{place}: features of {', '.join(str(len(row)) for row in rows)} steps: give all the same number."
        )
    series = np.stack(rows, axis=1)
    if not (np.abs(series) <= np.finfo(np.float32).max).all():
        raise ValueError(f"{place} holds a value that is NaN, infinite or too large for float32: correct it.")
    return series


# ---------------------------------------------------------------------------------------------------------------------
# NumPy's formats. A `.npy` is a header (type, order of the axes, shape) and then the values; a `.npz` is a zip archive of
# such files. Both are read here and not by `numpy.load`, which makes room for what a header promises before it looks at
# what is there, and unpacks members that nobody asked for.
# Source: NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".


def read_npy(path: str | Path) -> npt.NDArray[Any]:
    """The array of a `.npy`. A large one is a read-only memory map: the system reads what is used, when it is used.

    Raises ValueError for a damaged file, for Python objects, and for a file shorter or longer than its header promises.
    """
    path = Path(path)
    check_exists(path)
    with reading(path, "a NumPy file", _SAVE_AGAIN), path.open("rb") as file:
        dtype, shape, order, offset, expected = _npy_header(file.read(_LONGEST_NPY), path.stat().st_size, str(path))
        if expected < LARGE:
            file.seek(offset)
            return np.fromfile(file, dtype, expected // max(dtype.itemsize, 1)).reshape(shape, order=order)
        return np.memmap(path, dtype, "r", offset, shape, order)


def read_npz(path: str | Path, wanted: Iterable[str]) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """The arrays of a `.npz` that are `wanted`, as far as it has them, and the names of all its members.

    Raises ValueError if one that is wanted is damaged, not an array, or made of Python objects.
    """
    with reading(path, "a NumPy file", _SAVE_AGAIN), Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        found = {name: _member(archive, members[name], f"{path}, array {name!r}") for name in wanted if name in members}
    return found, list(members)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> npt.NDArray[Any]:
    """The array of one member of a `.npz`."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others know no bound
        raise ValueError(f"{where} is compressed by another method than deflate: use numpy.savez_compressed.")
    with archive.open(info) as member:
        content = bytearray(member.read(_LONGEST_NPY))
        dtype, shape, order, offset, expected = _npy_header(content, info.file_size, where)
        _read_as_promised(member, lambda _: offset + expected, content)  # to the end, where the checksum is compared
    if len(content) != offset + expected:
        raise ValueError(f"{where} has {len(content):,} bytes, not {offset + expected:,}: {_SAVE_AGAIN}.")
    return np.frombuffer(content, dtype, offset=offset).reshape(shape, order=order)


_SAVE_AGAIN = "save it again"


Header = tuple[np.dtype[Any], tuple[int, ...], Literal["C", "F"], int, int]


def _npy_header(start: bytes | bytearray, size: int, where: str) -> Header:
    """Of a `.npy` of `size` bytes: type, shape and order of the values, where they begin, and how many bytes they need.

    ValueError unless there are that many.
    """
    file = io.BytesIO(start)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"{where} has version {version} of the format, for records: save a plain array of numbers.")
    shape, fortran, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError(
            f"{where} holds Python objects, which are not loaded (they can run code): save an array of "
            "numbers, numpy.asarray(values, dtype=numpy.float32)."
        )
    expected, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if expected != there or min(shape, default=0) < 0:
        raise ValueError(
            f"{where} is damaged or not a NumPy file ({dtype} values of shape {shape} need {expected:,} bytes, got "
            f"{there:,}): {_SAVE_AGAIN}."
        )
    return dtype, shape, "F" if fortran else "C", file.tell(), expected


_LONGEST_NPY = 12 + 10_000  # NumPy's own limit
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
