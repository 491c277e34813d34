"""Folders of pictures: what the numbers mean, how folders are read, and every picture that is not as it should be.

The oracle for what a file holds is a PNG writer of a few lines, from the format's definition (RFC 2083): Pillow, which
reads in tinyae, does not write here, except JPEG.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from tests.conftest import in_order
from tinyae import data, load
from tinyae.data.pictures import BrokenPicture, read_picture
from tinyae.training import Run

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
ORIENTATION = 0x0112


def png(values: np.ndarray, kind: int = GRAY, extra: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A PNG file of `values` (H, W) or (H, W, C), uint8 or uint16; `extra` chunks go before the pixels."""
    height, width = values.shape[:2]
    depth = values.dtype.itemsize * 8
    rows = values.astype(values.dtype.newbyteorder(">")).reshape(height, -1)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)), *extra]
    chunks += [(b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(c)) + t + c + struct.pack(">I", zlib.crc32(t + c)) for t, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def bmp(values: np.ndarray, size: tuple[int, int] | None = None) -> bytes:
    """A BMP file of colors (H, W, 3): rows from below, each B G R and padded to four bytes. `size`: another (H, W) to claim."""
    height, width = size or values.shape[:2]
    rows = [row[:, ::-1].tobytes() for row in values[::-1]]
    body = b"".join(row + b"\0" * (-len(row) % 4) for row in rows)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + header + body


def gray(seed: int, height: int = 6, width: int = 5, top: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, (height, width), np.uint8 if top == 256 else np.uint16)


def color(seed: int, height: int = 6, width: int = 5, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@pytest.fixture
def fill(tmp_path) -> Callable[..., Path]:
    """Write files into a folder `photos` (name -> bytes, or an array for a PNG of it) and return it."""

    def fill_folder(files: dict[str, Any]) -> Path:
        for name, content in files.items():
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                content = png(content, RGB if content.ndim == 3 else GRAY)
            path.write_bytes(content)
        return tmp_path / "photos"

    return fill_folder


def jpeg(values: np.ndarray, path: Path, **options: Any) -> bytes:
    Image.fromarray(values).save(path, "JPEG", **options)
    content = path.read_bytes()
    path.unlink()
    return content


def one(tmp_path: Path, content: bytes, name: str = "a.png", **options: Any) -> np.ndarray:
    (tmp_path / name).write_bytes(content)
    return read_picture(tmp_path / name, **options)


LEVEL, EXACT, ABOUT = np.float32(255), {"rtol": 0}, {"atol": 1.01 / 255}
COLORS, VEILED = color(4, 1, 7)[0], color(6, channels=4)
VEILED[0, :2, 3] = 0, 255
ON_WHITE = VEILED[..., :3] / 255 * (VEILED[..., 3:] / 255) + 1 - VEILED[..., 3:] / 255
DEEP, DEEP_COLORS = gray(2, top=65536), gray(3, 4, 9, top=65536).reshape(4, 3, 3)


def clear_as(levels: np.ndarray) -> tuple[tuple[bytes, bytes], ...]:
    """The chunk that makes one color transparent."""
    return ((b"tRNS", levels.astype(">u2").tobytes()),)


CLEAR = ((b"PLTE", bytes([10, 20, 30, 40, 50, 60])), (b"tRNS", bytes([255, 0])))


@pytest.mark.parametrize(("values", "kind", "chunks", "expected", "tolerance"), [
    (gray(0), GRAY, (), gray(0)[..., None] / LEVEL, EXACT),
    (color(1), RGB, (), color(1) / LEVEL, EXACT),
    (DEEP, GRAY, (), DEEP[..., None] / 65535, {"rtol": 1e-6}),  # Pillow would cut off what is above 255
    (DEEP_COLORS, RGB, (), DEEP_COLORS / 65535, {"atol": 1 / 255}),
    (gray(5) % 7, PALETTE, ((b"PLTE", COLORS.tobytes()),), COLORS[gray(5) % 7] / LEVEL, EXACT),
    (VEILED, RGBA, (), ON_WHITE, ABOUT),
    (VEILED[..., [0, 3]], GRAY_ALPHA, (), ON_WHITE[..., :1], ABOUT),  # gray and transparent is still gray
    (np.array([[0, 1]], np.uint8), PALETTE, CLEAR, np.array([[[10, 20, 30], [255] * 3]], "f4") / LEVEL, EXACT),
    (gray(0), GRAY, clear_as(gray(0)[0, :1]), np.where(gray(0) == gray(0)[0, 0], 1, gray(0) / LEVEL)[..., None], EXACT),
    (DEEP, GRAY, clear_as(DEEP[0, :1]), np.where(DEEP[0, 0] == DEEP, 1, DEEP / 65535)[..., None], {"rtol": 1e-6}),
    (DEEP, GRAY, clear_as(DEEP[0, :1] ^ 1), DEEP[..., None] / 65535, {"rtol": 1e-6}),  # no pixel is that color
    (color(1), RGB, clear_as(color(1)[0, 0]), np.where((color(1) == color(1)[0, 0]).all(2, keepdims=True), 1, color(1) / LEVEL), EXACT),
], ids=["gray", "colors", "16 bits", "16 bits, colors", "palette", "alpha", "gray alpha", "clear palette", "clear gray",
        "clear 16 bits", "clear none", "clear color"])  # fmt: skip
def test_what_the_numbers_of_a_file_mean(tmp_path, values, kind, chunks, expected, tolerance):
    found = one(tmp_path, png(values, kind, chunks))
    assert found.dtype == np.float32
    assert_allclose(found, expected, **tolerance)


@pytest.mark.parametrize(
    ("bits", "packed", "levels"), [(1, 0b01000000, (0, 1)), (2, 0b01100000, (1, 2)), (4, 0x36, (3, 6))]
)
def test_a_transparent_gray_of_few_bits(bits, packed, levels, tmp_path):
    content = png(np.array([[packed]], np.uint8), GRAY, clear_as(np.array(levels[:1])))
    header = struct.pack(">IIBBBBB", 2, 1, bits, GRAY, 0, 0, 0)
    content = content[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:]
    assert_allclose(one(tmp_path, content).ravel(), [1, levels[1] / (2**bits - 1)], rtol=1e-6)


def test_a_transparent_color_of_16_bits_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of its colors of 16 bits is transparent: save it with 8 bits"):
        one(tmp_path, png(DEEP_COLORS, RGB, clear_as(DEEP_COLORS[0, 0])))


def test_gray_is_the_luma_of_colors(tmp_path):
    x = color(7)
    found = one(tmp_path, png(x, RGB), gray=True)
    assert found.shape == (6, 5, 1)
    assert_allclose(found[..., 0], x @ [0.299, 0.587, 0.114] / 255, atol=0.51 / 255)


@pytest.mark.parametrize(("orientation", "upright"), [
    (1, lambda x: x), (3, lambda x: x[::-1, ::-1]), (6, lambda x: np.rot90(x, -1)), (8, np.rot90),
    (2, lambda x: x[:, ::-1]), (5, lambda x: x.T),
])  # fmt: skip
def test_a_camera_held_sideways(tmp_path, orientation, upright):
    x = gray(8, 16, 24)
    tag = Image.Exif()
    tag[ORIENTATION] = orientation
    content = jpeg(x, tmp_path / "x", quality=100, exif=tag)
    plain = one(tmp_path, jpeg(x, tmp_path / "x", quality=100), "a.jpg")
    assert_array_equal(one(tmp_path, content, "a.jpg")[..., 0], upright(plain[..., 0]))
    sized = one(tmp_path, content, "a.jpg", size=(4, 8))
    assert sized.shape == (4, 8, 1), "the size is that of the upright picture"


def test_notes_of_a_camera_that_are_damaged_are_no_damage_to_the_picture(tmp_path):
    x = gray(8, 16, 24)
    plain = one(tmp_path, jpeg(x, tmp_path / "x"), "a.jpg")
    for notes in (b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        assert_array_equal(one(tmp_path, jpeg(x, tmp_path / "x", exif=notes), "a.jpg"), plain)


def test_jpeg_is_close_to_what_was_saved(tmp_path):
    ramp = np.add.outer(np.arange(32) * 4, np.arange(40) * 3).astype(np.uint8)
    assert_allclose(one(tmp_path, jpeg(ramp, tmp_path / "x", quality=95), "a.jpeg")[..., 0], ramp / 255, atol=0.02)


def test_scaling_averages_and_keeps_the_proportions(tmp_path):
    ramp = np.tile(np.arange(0, 240, dtype=np.uint8), (60, 1))
    found = one(tmp_path, png(ramp), size=(10, 20))
    # 60 x 240 covers 10 x 20 when it is 10 x 40: the middle half remains, 6 pixels of the ramp to one.
    assert_allclose(found[5, :, 0] * 255, 60 + 6 * np.arange(20) + 2.5, atol=0.75)
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert_allclose(one(tmp_path, png(board), size=(8, 8)), 0.5, atol=0.01)
    assert one(tmp_path, png(ramp), size=(3, 3)).shape == (3, 3, 1)
    assert_array_equal(one(tmp_path, png(gray(0)), size=(6, 5)), one(tmp_path, png(gray(0))))


def test_scaling_keeps_sixteen_bits_in_range(tmp_path):
    x = (np.indices((40, 40)).sum(axis=0) // 9 % 2 * 65535).astype(np.uint16)
    found = one(tmp_path, png(x), size=(33, 33))
    assert found.min() >= 0
    assert found.max() <= 1
    x = np.full((9, 9), 12345, np.uint16)
    assert_allclose(one(tmp_path, png(x), size=(4, 4)), 12345 / 65535, rtol=1e-6)


def test_a_large_jpeg_is_scaled_as_if_read_in_full(tmp_path):
    wave = np.add.outer(np.sin(np.arange(640) / 40), np.cos(np.arange(480) / 30))
    picture = (127.5 + 60 * wave).astype(np.uint8)
    found = one(tmp_path, jpeg(picture, tmp_path / "x", quality=95), "a.jpg", size=(16, 12))
    means = picture.reshape(16, 40, 12, 40).mean(axis=(1, 3)) / 255
    assert_allclose(found[1:-1, 1:-1, 0], means[1:-1, 1:-1], atol=0.03)


def test_a_folder_without_classes(fill):
    pictures = {f"{n:02}.png": gray(n) for n in range(23)}
    found = data.load(fill(dict(reversed(pictures.items()))))
    assert (found.kind, found.name, found.image_shape, found.has_labels) == ("images", "photos", (6, 5, 1), False)
    assert (len(found.train), len(found.test)) == (21, 2)
    expected = np.stack(list(pictures.values()))[..., None] / np.float32(255)
    assert_array_equal(in_order(found), expected)
    for part in (found.train, found.test):
        assert_array_equal(part.x, expected[[int(name.removesuffix(".png")) for name in part.ids]])
    assert found.notes == "test is 10% drawn from all pictures, seed 0 (2 pictures), train the rest"
    assert (found.scale, found.unit, found.class_names) == (255.0, "gray levels", ())


def test_sub_folders_are_classes(fill):
    files = {f"dog/{n:02}.png": gray(n) for n in range(12)} | {f"cat/{n}.png": gray(50 + n) for n in range(3)}
    files |= {"emu/deep/er/0.png": gray(99), ".hidden/0.png": b"", "emu/._0.png": b"", "cat/readme.txt": b"text"}
    found = data.load(fill(files))
    assert found.class_names == ("cat", "dog", "emu")
    assert found.train.y.tolist() == [0] * 2 + [1] * 11 + [2]
    assert found.test.y.tolist() == [0, 1]
    assert found.train.y.dtype == np.int64
    assert_array_equal(found.test.x[..., 0] * 255, np.stack([files[name] for name in found.test.ids]))
    assert "test is 10% drawn from each class, seed 0 (2 pictures)" in found.notes
    assert "warning: only the training part has samples of emu" in found.notes
    other = data.load_folder(found.origin, test_share=0.4, seed=3)
    assert np.bincount(other.test.y).tolist() == [1, 4]


@pytest.mark.parametrize("classes", [("",), ("a/", "b/")])
def test_a_folder_may_name_its_test_set(fill, classes):
    files = {f"{part}/{label}{n}.png": gray(n) for part in ("train", "test") for label in classes for n in range(3)}
    files |= {f"train/{classes[0]}more.png": gray(9)}
    found = data.load(fill(files))
    assert (len(found.train), len(found.test)) == (3 * len(classes) + 1, 3 * len(classes))
    assert found.class_names == (() if classes == ("",) else ("a", "b"))
    assert found.notes == "train and test split as in the folders"


def test_one_picture_in_color_makes_all_of_them_color(fill):
    folder = fill({"a.png": gray(0), "b.png": color(1), "c.png": gray(2)})
    x = in_order(data.load(folder))
    assert x.shape == (3, 6, 5, 3)
    assert_array_equal(x[0], np.repeat(gray(0)[..., None], 3, axis=2) / np.float32(255))
    assert_array_equal(x[1], color(1) / np.float32(255))
    assert data.load(folder, gray=True).example_shape == (6, 5, 1)


def test_sizes_are_brought_to_one_on_request(fill):
    folder = fill({"a.png": gray(0, 9, 7), "b.png": color(1, 30, 12), "c/../d.png": gray(2, 4, 4)})
    assert data.load(folder, image_size=(8, 6)).example_shape == (8, 6, 3)
    assert data.load(folder, image_size=5, gray=True).example_shape == (5, 5, 1)


def test_loops_of_links_end_and_pictures_may_have_one_pixel(fill):
    folder = fill({"cat/a.png": gray(0, 1, 1), "cat/b.png": gray(1, 1, 1)})
    (folder / "cat" / "again").symlink_to(folder)
    found = data.load(folder)
    assert (len(in_order(found)), found.example_shape) == (2, (1, 1, 1))


def cut(keep: float, path: Path) -> bytes:
    content = jpeg(color(1, 64, 64), path)
    return content[: int(keep * len(content))]


HUGE = png(gray(0)).replace(struct.pack(">II", 5, 6), struct.pack(">II", 60_000, 60_000))
HUGE = HUGE[:29] + struct.pack(">I", zlib.crc32(HUGE[12:29])) + HUGE[33:]  # 3.6 thousand million pixels in 100 bytes
BROKEN: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "cut.jpg": (lambda path: cut(0.6, path), "truncated"),
    "head.jpg": (lambda path: cut(0.1, path), "truncated|none of PNG|Truncated"),
    "cut.png": (lambda path: png(gray(0, 40, 40))[:900], "truncated|broken"),
    "crc.png": (lambda path: png(gray(0))[:-20] + b"\0" * 20, "."),
    "empty.png": (lambda path: b"", "it is empty"),
    "text.png": (lambda path: b"hello world", "none of PNG, JPEG, WEBP, BMP, GIF"),
    "page.jpg": (lambda path: b"<!DOCTYPE html>" + b"\0" * 40, "none of PNG, JPEG, WEBP, BMP, GIF"),
    "frame.gif": (lambda path: b"GIF89a" + b"\0" * 40, "none of PNG"),
    "large.bmp": (lambda path: bmp(color(0), size=(9000, 9000)), "150 bytes cannot hold 9000 x 9000 pixels"),
    "huge.png": (lambda path: HUGE, "more than 89,478,485 pixels"),
}


@pytest.mark.parametrize("suffix", ["webp", "gif", "bmp"])
def test_other_formats_are_read_and_of_several_frames_the_first(suffix, fill, tmp_path):
    values = color(3)
    if suffix == "bmp":
        content = bmp(values)
    else:
        frames = [Image.fromarray(frame) for frame in (values, 255 - values)]
        how = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / "x", suffix, save_all=True, append_images=frames[1:], **how)
        content = (tmp_path / "x").read_bytes()
    found = data.load(fill({f"a.{suffix}": content, "b.png": values, "c.tif": b"x", "d.TIF": b"x", "e.txt": b"x"}))
    assert_array_equal(found.train.x[0], values.astype(np.float32) / 255)
    assert found.notes.endswith("Not read, 2 in other formats (.tif): convert them to PNG")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_and_skipped_only_on_request(name, fill, tmp_path):
    make, reason = BROKEN[name]
    folder = fill({"a.png": gray(0), "c.png": gray(1), name: make(tmp_path / "x")})
    with pytest.raises(BrokenPicture, match=f"{name} cannot be read as a picture .*({reason}).*skip_broken=True"):
        data.load(folder)
    found = data.load(folder, skip_broken=True)
    assert_array_equal(in_order(found)[..., 0] * 255, np.stack([gray(0), gray(1)]))
    assert f". Skipped 1 of 3 files that cannot be read: {name} (" in found.notes


def test_labels_keep_to_their_pictures_when_some_are_skipped(fill):
    files = {f"{label}/{n}.png": gray(n) for label in ("a", "b") for n in range(3)}
    files |= {f"a/bad{n}.png": b"bad" for n in range(4)} | {f"b/bad{n}.png": b"bad" for n in range(4)}
    found = data.load(fill(files), skip_broken=True)
    assert found.train.y.tolist() == [0, 0, 1, 1]
    assert found.test.y.tolist() == [0, 1]
    assert_array_equal(found.train.x[..., 0] * 255, np.stack([files[name] for name in found.train.ids]))
    assert "Skipped 8 of 14 files" in found.notes
    assert found.notes.endswith("and 3 more")


@pytest.mark.parametrize(("files", "says"), [
    ({}, "without pictures .*no files.*TINYAE_DATA="),
    ({"a.txt": b"text", "b.heic": b"x"}, r"without pictures \(.png, .jpg, .jpeg, .webp, .*\), only files such as a.txt"),
    ({"a.png": gray(0), "b.png": gray(1, 7, 5)}, r"a.png has 6 x 5 pixels .*b.png 7 x 5.*image_size="),
    ({"a.png": gray(0), "cat/b.png": gray(1)}, r"both outside \(a.png\) and inside class folders \(cat/b.png\)"),
    ({"train/a.png": gray(0), "val/b.png": gray(1)}, "contains the folders train, val: a split folder has"),
    ({"train/a.png": gray(0), "test/c/b.png": gray(1)}, "only one of `train` and `test` has class folders"),
    ({"train/a.png": gray(0), "train/c/b.png": gray(1), "test/a.png": gray(1)}, "train contains pictures both outside"),
    ({"a.png": gray(0)}, "has 1 readable pictures.*add pictures"),
    ({"a/a.png": gray(0), "b/b.png": gray(1)}, "at most one per class"),
])  # fmt: skip
def test_folders_that_cannot_be_used(files, says, fill, tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=says) as raised:
        data.load(fill(files))
    assert "photos" in str(raised.value)


def test_only_broken_files(fill):
    folder = fill({"a.png": b"bad", "b.png": b""})
    with pytest.raises(ValueError, match=r"none of the 2 pictures in .* can be read; the first: .*a\.png"):
        data.load(folder, skip_broken=True)


@pytest.mark.parametrize(("owner", "name", "error", "says"), [
    (Path, "read_bytes", BrokenPicture, r"a.png cannot be read as a picture \(Permission denied\)"),
    (os, "scandir", PermissionError, "photos"),
])  # fmt: skip
def test_files_and_folders_that_may_not_be_read(owner, name, error, says, fill, monkeypatch):
    """Whoever runs the tests may be allowed everything, so the refusal is played."""
    folder = fill({"a.png": gray(0), "b.png": gray(1)})

    def refuse(place: Any) -> Any:
        raise PermissionError(13, os.strerror(13), str(place))

    monkeypatch.setattr(owner, name, refuse)
    with pytest.raises(error, match=says):
        data.load(folder)


def test_more_pictures_than_there_is_room_for(fill, monkeypatch):
    folder = fill({"a.png": gray(0), "b.png": gray(1)})

    def full(shape: Any, dtype: Any) -> Any:
        if shape[0]:
            raise MemoryError
        return np.zeros(shape, dtype)

    monkeypatch.setattr("tinyae.data.pictures.np.empty", full)
    with pytest.raises(MemoryError, match=r"the 2 pictures .* 6 x 5 pixels each, need 0.0 GB: .*image_size="):
        data.load(folder)


@pytest.mark.parametrize("size", [(0, 5), (5,), (5, 6, 3), (2.5, 3), True, "ab"])
def test_sizes_that_are_none(size, fill):
    with pytest.raises(ValueError, match=r"image_size must be \(H, W\)"):
        data.load(fill({"a.png": gray(0), "b.png": gray(1)}), image_size=size)


@pytest.mark.parametrize("options", [{"image_size": (4, 4)}, {"gray": True}, {"skip_broken": True}])
def test_options_for_pictures_are_for_folders(options, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 3)))
    for name in ("optdigits", tmp_path / "a.npy", tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="are for a folder of pictures"):
            data.load(name, **options)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        data.load_folder(tmp_path / "nowhere")


@pytest.fixture
def album(fill) -> Path:
    """Thirty pictures in color of two classes and of many sizes, and a broken one."""
    files: dict[str, Any] = {f"{'ab'[n % 2]}/{n:02}.png": color(n, 10 + n, 24) for n in range(30)}
    return fill(files | {"a/bad.png": b"bad"})


def test_a_run_remembers_how_its_pictures_were_read(album, tinyae, refused):
    how = "--image-size 8,6 --gray --skip-broken"
    told = tinyae("train basic --data photos --epochs 1 --code-size 4", how)
    assert "on photos (28 training and 2 test images of 8 x 6 x 1)" in told
    assert "photos: test is 10% drawn from each class" in told
    assert "Skipped 1 of 31 files that cannot be read: a/bad.png (it is none of PNG, JPEG, WEBP, BMP, GIF)." in told
    run = Path("runs/basic-photos")
    config = json.loads((run / "config.json").read_text())
    assert config["data_options"] == {"image_size": [8, 6], "gray": True, "skip_broken": True}
    found = data.load("photos", image_size=(8, 6), gray=True, skip_broken=True)
    assert "Skipped 1 of 31 files" in tinyae("encode", run, "--out codes.npy")
    assert_array_equal(np.load("codes.npy"), load(run).encode(found.test.x))
    for command in ("evaluate", "reconstruct --count 2"):
        tinyae(command, run)
    # Another folder is read as the run's own; other data are not folders, and their shape is what is wrong.
    assert "b (15 new images)" in tinyae("evaluate", run, "--data photos/b")
    assert "samples of shape (8, 8, 1)" in refused("evaluate", run, "--data optdigits")
    other = refused("evaluate", run, "--data photos/b --image-size 9")
    assert "choose data of that shape, or add --image-size 8,6." in other
    assert "--image-size is about new pictures" in refused("evaluate", run, "--image-size 9")


def test_a_run_on_the_present_folder_is_called_after_it(album, monkeypatch):
    monkeypatch.chdir(album)
    assert data.load(".", image_size=4, skip_broken=True).name == "photos"
    assert Run.create(None, {"model": "basic", "data": "."}).path == Path("runs/basic-photos")


def test_data_and_show_take_a_folder(album, tinyae):
    told = tinyae("data photos --image-size 8 --skip-broken")
    assert "28 of 8 x 8 x 3, float32 in [0." in told
    assert "2: a, b" in told
    assert "(N, 8, 8, 1)" in tinyae("show basic --data photos/b --image-size 8 --gray")


@pytest.mark.parametrize(("arguments", "says"), [
    ("--data photos --image-size 4", "a/bad.png cannot be read as a picture"),
    ("--data photos --skip-broken", "have several sizes"),
    ("--data photos --image-size 0", "--image-size: must be a whole number of at least 1"),
    ("--data photos --image-size 1,2,3", "--image-size: must be H,W, or one number for both"),
    ("--data optdigits --gray", "are for a folder of pictures, but 'optdigits' is not a folder"),
    ("--data photoz --gray", "are for a folder of pictures, but 'photoz' is not a folder"),
])  # fmt: skip
def test_the_command_refuses_in_one_sentence(arguments, says, album, refused):
    assert says in refused("train basic", arguments)
    assert not Path("runs").exists()


def test_a_large_folder_shows_how_far_it_is(fill, monkeypatch, capsys):
    monkeypatch.setattr("tinyae.data.pictures._DELAY", 0.0)
    folder = fill({f"{n}.png": gray(n) for n in range(20)})
    data.load(folder)
    assert "reading" in capsys.readouterr().err
    data.load(folder, progress=False)
    assert capsys.readouterr().err == ""
