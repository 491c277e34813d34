"""Readers of file formats: IDX, and the `.ts` format of sequences; tables are in `tables.py`."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.data.arrays import Lengths, pad

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


def read_idx(path: str | Path) -> npt.NDArray[Any]:
    """Read an IDX file, plain or gzipped, as an array in native byte order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated, too long, damaged, or not an IDX file.
    """
    return parse_idx(read_payload(path), str(path))


def read_payload(path: str | Path) -> bytes:
    """The bytes of a file, uncompressed if they are gzipped (the content decides, not the name).

    Raises ValueError for a file named `.gz` that is not gzipped: usually an error page saved under that name.
    """
    import gzip
    import zlib

    path = Path(path)
    raw = path.read_bytes()
    if not raw:
        raise ValueError(f"{path} is empty (0 bytes): {_FETCH_AGAIN}.")
    if not raw.startswith(GZIP_MAGIC):
        if path.suffix == ".gz":
            raise ValueError(f"{path} is named .gz but is not gzipped (it starts with {raw[:16]!r}): {_FETCH_AGAIN}.")
        return raw
    try:
        return gzip.decompress(raw)
    except EOFError as error:
        raise ValueError(f"{path} ends early, after {len(raw):,} gzipped bytes: {_FETCH_AGAIN}.") from error
    except (OSError, zlib.error) as error:
        raise ValueError(f"{path} holds damaged gzip data ({error}): {_FETCH_AGAIN}.") from error


def looks_like_idx(payload: bytes) -> bool:
    """Whether the uncompressed bytes begin like an IDX file."""
    return len(payload) >= 4 and payload[:2] == b"\0\0" and payload[2] in _TYPES and payload[3] > 0


def parse_idx(payload: bytes, where: str) -> npt.NDArray[Any]:
    """The array in the uncompressed bytes of an IDX file; ValueError, with the name `where`, if they are malformed."""
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
    shape = struct.unpack(f">{axes}I", payload[4:header])
    expected = header + math.prod(shape) * dtype.itemsize
    if len(payload) != expected:
        fault = "is truncated" if len(payload) < expected else "is too long"
        raise ValueError(
            f"{where} {fault}: {dtype.newbyteorder('=')} values of shape {shape} need {expected:,} bytes, "
            f"got {len(payload):,}: {_FETCH_AGAIN}."
        )
    return np.frombuffer(payload, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


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
    return np.stack(rows, axis=1)
