"""The user's own files: what their axes mean, how they are split, what is refused at the door; IDX byte by byte."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import in_order
from tinyae import data
from tinyae.data import read_idx


def saved(path: Path, array: np.ndarray, **arguments) -> Path:
    np.save(path, array, **arguments)
    return path


@pytest.mark.parametrize(("shape", "dtype", "kind", "example", "image"), [
    ((20, 5), np.float64, "vectors", (5,), None),
    ((20, 5), np.uint8, "vectors", (5,), None),
    ((20, 7, 3), np.float32, "sequences", (7, 3), None),
    ((20, 7, 3), np.uint8, "images", (7, 3, 1), (7, 3, 1)),
    ((20, 7, 6, 3), np.uint8, "images", (7, 6, 3), (7, 6, 3)),
    ((20, 7, 6, 1), np.float16, "images", (7, 6, 1), (7, 6, 1)),
    ((20, 4), np.int16, "vectors", (4,), None),
    ((20, 4), np.bool_, "vectors", (4,), None),
])  # fmt: skip
def test_axes_kinds_and_values(tmp_path, rng, shape, dtype, kind, example, image):
    array = rng.integers(0, 100, shape).astype(dtype)
    read = data.load(saved(tmp_path / "a.npy", array))
    assert (read.kind, read.example_shape, read.image_shape) == (kind, example, image)
    both = in_order(read)
    assert both.dtype == np.float32
    assert both.flags.c_contiguous
    expected = array.astype(np.float32) / (np.float32(255) if dtype == np.uint8 else 1)
    assert np.array_equal(both.reshape(shape), expected)
    assert read.scale == (255.0 if dtype == np.uint8 else 1.0)
    assert not read.has_labels
    assert read.name == "a.npy"
    assert read.origin == str(tmp_path / "a.npy")


@pytest.mark.parametrize(("n", "test"), [(2, 1), (9, 1), (10, 1), (19, 1), (20, 2), (105, 10)])
def test_a_tenth_is_drawn_for_testing(tmp_path, n, test):
    read = data.load(saved(tmp_path / "a.npy", np.arange(2.0 * n).reshape(n, 2)))
    assert (len(read.train), len(read.test)) == (n - test, test)
    assert in_order(read)[:, 0].tolist() == list(range(0, 2 * n, 2))
    assert f"seed 0 ({test} examples)" in read.notes


def test_npz_with_x_and_labels_is_split_together(tmp_path):
    """Sorted by class, as files often are: both parts have every class, and each label stays with its example."""
    np.savez(tmp_path / "a.npz", x=np.arange(60.0).reshape(30, 2), y=np.repeat(np.arange(3, dtype=np.uint8), 10))
    read = data.load(tmp_path / "a.npz")
    for part, count in ((read.train, 9), (read.test, 1)):
        assert part.y.tolist() == [label for label in range(3) for _ in range(count)]
        assert (part.x[:, 0] // 20).tolist() == part.y.tolist()
    assert read.has_labels
    assert read.train.y.dtype == np.int64


def test_npz_that_names_its_test_set_keeps_it(tmp_path):
    train_x, test_x = np.zeros((4, 3), np.uint8), np.full((6, 3), 255, np.uint8)
    np.savez_compressed(tmp_path / "a.npz", train_x=train_x, train_y=np.arange(4) % 2, test_x=test_x, test_y=[1] * 6)
    read = data.load(str(tmp_path / "a.npz"))
    assert (len(read.train), len(read.test)) == (4, 6)
    assert read.test.x.min() == 1.0
    assert read.test.y.tolist() == [1] * 6
    np.savez(tmp_path / "b.npz", train_x=train_x)
    assert len(data.load(tmp_path / "b.npz").test) == 1


@pytest.mark.parametrize("name", ["pictures-idx3-ubyte", "pictures-idx3-ubyte.gz", "pictures.idx", "pictures"])
def test_idx_images(tmp_path, name):
    content = b"\0\0\x08\3\0\0\0\4\0\0\0\2\0\0\0\3" + bytes(range(0, 240, 10))
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    read = data.load(str(tmp_path / name))
    assert read.kind == "images"
    assert read.train.x.shape == (3, 2, 3, 1)
    assert in_order(read).ravel().tolist() == [np.float32(v) / np.float32(255) for v in range(0, 240, 10)]


@pytest.mark.parametrize(("value", "dtype", "cause"), [
    (np.nan, np.float32, "NaN or infinite"),
    (np.inf, np.float64, "NaN or infinite"),
    (-np.inf, np.float32, "NaN or infinite"),
    (1e300, np.float64, "too large for float32"),
])  # fmt: skip
def test_numbers_that_are_not_finite_are_counted_and_located(tmp_path, value, dtype, cause):
    array = np.zeros((10, 4, 3), dtype)
    array[7, 2, 1] = array[7, 3, 0] = array[9, 0, 0] = value
    with pytest.raises(ValueError, match=cause) as raised:
        data.load(saved(tmp_path / "a.npy", array))
    assert "holds 3 values" in str(raised.value)
    assert "[7, 2, 1]" in str(raised.value)


def test_a_nan_in_the_test_set_is_found_too(tmp_path):
    np.savez(tmp_path / "a.npz", train_x=np.zeros((4, 2)), test_x=np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="holds 8 values that are NaN"):
        data.load(tmp_path / "a.npz")


@pytest.mark.parametrize(("array", "says"), [
    (np.zeros(12), r"one axis of 12 values.*\(N, D\).*--window L"),
    (np.zeros((2, 2, 2, 2, 2)), r"shape \(2, 2, 2, 2, 2\)"),
    (np.float64(3), r"shape \(\)"),
    (np.zeros((0, 5)), r"shape \(0, 5\), no values"),
    (np.zeros((5, 0)), r"shape \(5, 0\), no values"),
    (np.zeros((1, 5)), "holds 1 example: save at least two"),
    (np.zeros((4, 3, 28, 28)), r"channels first.*transpose\(0, 2, 3, 1\)"),
    (np.zeros((4, 2), complex), "complex128"),
    (np.full((4, 2), "a"), "<U1"),
    (np.zeros((4, 2), "datetime64[s]"), "datetime64"),
])  # fmt: skip
def test_arrays_that_cannot_be_used(tmp_path, array, says):
    with pytest.raises(ValueError, match=says) as raised:
        data.load(saved(tmp_path / "a.npy", array))
    assert str(tmp_path / "a.npy") in str(raised.value)


@pytest.mark.parametrize(("name", "content", "says"), [
    ("a.csv", "1,2\n3\n5,6\n", "line 2 has 1 fields, but the first line has 2"),
    ("a.csv", "a,b\n1,2\n3,x\n5,6\n", "line 3, column 'b' holds 'x': this is text"),
    ("a.csv", "a,b\n\n1,2\n3,\n", "line 4, column 'b' holds nothing: fill the gap"),
    ("a.csv", "a,b\nc,d\n1,2\n", "line 2, column 'a' holds 'c'"),
    ("a.csv", "a,b\n", "no line of numbers"),
    ("a.csv", "1,\n3,4\n5,6\n", "line 1, column 'column 1' holds nothing"),
    ("a.csv", "1,2,0\n3,4,5\n5,6,x\n", "line 3, column 'column 2' holds 'x'"),
    ("a.csv", "\n\n", "no line of numbers"),
    ("a.csv", "1,2\nnan,4\n5,inf\n", "line 2, column 'column 0' holds 'nan': fill the gap"),
    ("a.csv", "2020-01-01,1,2020-01-03\n2020-01-02,2,2020-01-03\n", "'column 2' holds '2020-01-03' .* a time.*load_ser"),
    ("a.csv", "1,2\n\xff\xfe\n", r"is not UTF-8 text .* at byte 4"),
    ("a-idx1-ubyte", "\0\0\x08\1\0\0\0\3\0\0\0", "one axis of 3 values"),
    ("a.txt", "1 2 3", "holds 1 example: save at least two"),
    ("a.xls", "1 2 3", "an unknown format"),
    ("a.png", "pixels", "is one picture: give the folder"),
    *[(f"a{end}", "", r"is empty \(0 bytes\)") for end in (".npy", ".npz", ".csv", "-idx3-ubyte", ".gz", ".txt")],
])  # fmt: skip
def test_what_is_no_table_and_no_pictures_names_the_line_or_what_it_is(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=says):
        data.load(tmp_path / name)


@pytest.mark.parametrize(("arrays", "says"), [
    ({"images": np.zeros((4, 2))}, "holds images: name the examples 'x' or 'train_x'"),
    ({}, "holds no arrays"),
    ({"x": np.zeros((4, 2)), "y": np.zeros(3, int)}, r"labels of shape \(3,\)"),
    ({"train_x": np.zeros((4, 2)), "test_x": np.zeros((4, 3))}, "the same shape of example"),
    ({"train_x": np.zeros((4, 2)), "test_x": np.zeros((4, 2), np.uint8)}, "and the same type"),
    ({"train_x": np.zeros((4, 2)), "test_x": np.zeros((0, 2))}, "no values"),
])  # fmt: skip
def test_npz_that_cannot_be_used(tmp_path, arrays, says):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=says):
        data.load(tmp_path / "a.npz")


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match="is a folder without pictures"):
        data.load(tmp_path)
    for missing in (tmp_path / "mnist", "nowhere.npy"):
        with pytest.raises(FileNotFoundError, match=f"there is no file {missing}"):
            data.load(missing)
    with pytest.raises(FileNotFoundError, match="nowhere-idx1"):
        read_idx(tmp_path / "nowhere-idx1")


def test_three_axes_are_sequences_and_that_is_said(tmp_path):
    np.save(tmp_path / "gray.npy", np.zeros((20, 8, 8)))
    np.save(tmp_path / "images.npy", np.zeros((20, 8, 8, 1)))
    assert data.load(tmp_path / "gray.npy").kind == "sequences"
    assert "for gray images save x[..., None]" in data.load(tmp_path / "gray.npy").notes
    assert data.load(tmp_path / "images.npy").kind == "images"
    assert "fourth" not in data.load(tmp_path / "images.npy").notes


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
    path.write_bytes(gzip.compress(GOOD))  # packed, without .gz in its name
    assert read_idx(path).ravel().tolist() == list(range(8))
    path.write_bytes(idx_bytes(0x08, "B", (0, 28, 28), ()))
    assert read_idx(path).shape == (0, 28, 28)


GOOD = idx_bytes(0x08, "B", (2, 2, 2), tuple(range(8)))
PICTURES, PACKED = "a-idx3-ubyte", "a-idx3-ubyte.gz"
BROKEN = {
    "empty": (PICTURES, b"", "empty (0 bytes)"),
    "wrong magic": (PICTURES, b"\x89PNG\r\n\x1a\n", "89 50 4e 47"),
    "unknown type": (PICTURES, b"\0\0\x0a\1\0\0\0\1\0", "00 00 0a 01"),
    "no axes": (PICTURES, b"\0\0\x08\0\1", "00 00 08 00"),
    "short magic": (PICTURES, b"\0\0", "00 00"),
    "half a header": (PICTURES, GOOD[:10], "needs 16 bytes, got 10"),
    "truncated": (PICTURES, GOOD[:-3], "need 24 bytes, got 21"),
    "too long": (PICTURES, GOOD + b"\0", "need 24 bytes, got 25"),
    "lengths beyond memory": (PICTURES, b"\0\0\x0e\3" + b"\xff" * 12 + b"\0", "got 17"),
    "not gzipped": (PACKED, b"<!DOCTYPE html><html>", "not gzipped (it starts with b'<!DOCTYPE html"),
    "truncated gzip": (PACKED, gzip.compress(GOOD)[:-12], "ends early, after 2"),
    "damaged gzip": (PACKED, b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 40, "damaged gzip"),
    "wrong checksum": (PACKED, gzip.compress(GOOD)[:-8] + b"\0" * 8, "damaged gzip"),
    "gzipped rubbish": (PACKED, gzip.compress(b"hello"), "68 65 6c 6c"),
}


@pytest.mark.parametrize(("name", "content", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_with_what_was_expected_and_found(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(says)) as raised:
        read_idx(path)
    assert str(path) in str(raised.value)
