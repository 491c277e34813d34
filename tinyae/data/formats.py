"""Readers of file formats: IDX, the `.ts` format of sequences, and NumPy's; tables are in `tables.py`."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from tinyae.checks import reading
from tinyae.data.arrays import Lengths, pad
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


def text_of(path: Path) -> str:
    """The text of a file, unpacked and with plain line ends; ValueError if it is none."""
    raw: bytes | bytearray = path.read_bytes()
    if raw.startswith(GZIP_MAGIC) or path.suffix == ".gz":
        raw = read_payload(path)
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}, line {line} holds a NUL byte, which no text has: export the table again.")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def check_exists(path: Path) -> None:
    """Raise FileNotFoundError unless `path` is a file."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: check the path.")


# ---------------------------------------------------------------------------------------------------------------------
# The `.ts` text format of the UEA archive of time series, with sequences of unequal length.
#
# Lines beginning with # are comments, lines beginning with @ describe the format. After @data each line is a sequence:
# features separated by colons, the steps of a feature by commas, and the class last.


def parse_ts(text: str, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None, Lengths]:
    """Padded sequences (N, T, D), class numbers (N,) or None, and lengths (N,) from the text of a `.ts` file.

    Class numbers are indices into the list of classes in the file. ValueError, with the line, if the text is malformed.
    """
    classes: list[str] | None = None
    sequences: list[npt.NDArray[Any]] = []
    labels: list[int] = []
    data = False
    with reading(name, "a .ts file", _FETCH_AGAIN):
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
                    raise ValueError(
                        f"{name}, line {number} comes before @data and is neither # nor @: is it a .ts file?"
                    )
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
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = _HEADERS[version](file) if version in _HEADERS else ((), False, np.dtype("u1"))
    except Exception as error:  # NumPy's own words quote all of the header, or an object of its parser
        raise ValueError(f"{where} is damaged or not a NumPy file (its header is not one): {_SAVE_AGAIN}.") from error
    if version not in _HEADERS:
        raise ValueError(f"{where} has version {version} of the format, for records: save a plain array of numbers.")
    if dtype.hasobject:
        raise ValueError(
            f"{where} holds Python objects, which are not loaded (they can run code): save an array of "
            "numbers, numpy.asarray(values, dtype=numpy.float32)."
        )
    expected, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if expected != there or min(shape, default=0) < 0:
        sizes = f"{dtype} values of shape {shape} need {expected:,} bytes, got {there:,}"
        raise ValueError(f"{where} is damaged or not a NumPy file ({sizes}): {_SAVE_AGAIN}.")
    return dtype, shape, "F" if fortran else "C", file.tell(), expected


_LONGEST_NPY = 12 + 10_000  # NumPy's own limit
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
