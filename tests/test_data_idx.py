"""The IDX reader against files written by hand, byte by byte, and against broken ones."""

from __future__ import annotations

import gzip
import re
import struct

import numpy as np
import pytest

from tinyae.data import read_idx

# type byte, struct format of one value, NumPy's name, three values that only this type keeps
TYPES = [
    (0x08, "B", "uint8", (0, 200, 255)),
    (0x09, "b", "int8", (-128, 0, 127)),
    (0x0B, "h", "int16", (-32768, 258, 32767)),
    (0x0C, "i", "int32", (-2147483648, 16909060, 2147483647)),
    (0x0D, "f", "float32", (-1.5, 0.0, 2.0**70)),
    (0x0E, "d", "float64", (-1.5, 1e-300, 3.25e200)),
]


def idx_bytes(code: int, form: str, shape: tuple[int, ...], values: tuple[float, ...]) -> bytes:
    header = bytes([0, 0, code, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return header + struct.pack(f">{len(values)}{form}", *values)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(("code", "form", "dtype", "values"), TYPES, ids=[row[2] for row in TYPES])
def test_every_type_is_read_in_native_order(tmp_path, code, form, dtype, values, packed):
    content = idx_bytes(code, form, (3,), values)
    path = tmp_path / ("a-idx1.gz" if packed else "a-idx1")
    path.write_bytes(gzip.compress(content) if packed else content)
    read = read_idx(path)
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    assert read.tolist() == list(values)


def test_axes_are_in_row_major_order(tmp_path):
    path = tmp_path / "a-idx3-ubyte"
    path.write_bytes(idx_bytes(0x08, "B", (2, 3, 2), tuple(range(12))))
    read = read_idx(path)
    assert read.shape == (2, 3, 2)
    assert read[1, 2, 0] == 10
    assert read[0, 1, 1] == 3
    read[0, 0, 0] = 7  # an array of one's own, not a read-only view of the file's bytes


def test_no_examples_is_an_array_of_length_zero(tmp_path):
    path = tmp_path / "none-idx3-ubyte"
    path.write_bytes(idx_bytes(0x08, "B", (0, 28, 28), ()))
    assert read_idx(path).shape == (0, 28, 28)


GOOD = idx_bytes(0x08, "B", (2, 2, 2), tuple(range(8)))
BROKEN = {
    "empty": ("a-idx3-ubyte", b"", "empty (0 bytes)"),
    "wrong magic": ("a-idx3-ubyte", b"\x89PNG\r\n\x1a\n", "89 50 4e 47"),
    "unknown type": ("a-idx3-ubyte", b"\0\0\x0a\1\0\0\0\1\0", "00 00 0a 01"),
    "no axes": ("a-idx3-ubyte", b"\0\0\x08\0\1", "00 00 08 00"),
    "short magic": ("a-idx3-ubyte", b"\0\0", "00 00"),
    "half a header": ("a-idx3-ubyte", GOOD[:10], "needs 16 bytes, got 10"),
    "truncated": ("a-idx3-ubyte", GOOD[:-3], "need 24 bytes, got 21"),
    "too long": ("a-idx3-ubyte", GOOD + b"\0", "need 24 bytes, got 25"),
    "lengths beyond memory": ("a-idx3-ubyte", b"\0\0\x0e\3" + b"\xff" * 12 + b"\0", "got 17"),
    "not gzipped": ("a-idx3-ubyte.gz", b"<!DOCTYPE html><html>", "not gzipped (it starts with b'<!DOCTYPE html"),
    "truncated gzip": ("a-idx3-ubyte.gz", gzip.compress(GOOD)[:-12], "ends early, after 2"),
    "damaged gzip": ("a-idx3-ubyte.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 40, "damaged gzip"),
    "wrong checksum": ("a-idx3-ubyte.gz", gzip.compress(GOOD)[:-8] + b"\0" * 8, "damaged gzip"),
    "gzipped rubbish": ("a-idx3-ubyte.gz", gzip.compress(b"hello"), "68 65 6c 6c"),
}


@pytest.mark.parametrize(("name", "content", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_with_what_was_expected_and_found(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(says)) as raised:
        read_idx(path)
    assert str(path) in str(raised.value)


def test_a_gzipped_file_without_gz_in_its_name_is_read(tmp_path):
    path = tmp_path / "a-idx3-ubyte"
    path.write_bytes(gzip.compress(GOOD))
    assert read_idx(path).ravel().tolist() == list(range(8))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere-idx1"):
        read_idx(tmp_path / "nowhere-idx1")
