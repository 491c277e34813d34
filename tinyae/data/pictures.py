"""A folder of pictures as a `Dataset` of images (N, H, W, C).

    photos/a.png  photos/b.jpg                 images without labels
    photos/cat/a.png  photos/dog/b.jpg         the folder's name is the class, as in torchvision's ImageFolder
    photos/train/...  photos/test/...          either of these, with a separate test set

PNG, JPEG, WebP, BMP and GIF are read (of several frames the first), in the order of their names; names that begin with a dot
and other files are skipped, and `notes` says so of pictures in other formats.
Without a `test` folder the test pictures are drawn, a tenth of each class, see `arrays.divide`.
Frames of a video or of a burst are too similar for such a split: create `train` and `test` by hand.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyae.checks import check_kind, checked
from tinyae.data.arrays import TEST_SHARE
from tinyae.data.dataset import Dataset, Split, by, drawn
from tinyae.data.tables import listed
from tinyae.streams import printable, progress_bar

if TYPE_CHECKING:
    from PIL.Image import Image


_PARTS = frozenset(("train", "test", "val", "valid", "validation"))
_DELAY = 2.0
"""Seconds before a progress bar appears."""


def load_folder(
    path: str | os.PathLike[str],
    *,
    image_size: tuple[int, int] | int | None = None,
    gray: bool = False,
    skip_broken: bool = False,
    progress: bool = True,
    test_share: float = TEST_SHARE,
    seed: int = 0,
) -> Dataset:
    """Read all PNG, JPEG, WebP, BMP and GIF files of a folder; the text at the top of this module has the rules.

    Args:
        path: the folder.
        image_size: (H, W), or one number for both, to scale and crop every picture to; None requires equal sizes.
        gray: whether to convert colors to gray levels. Otherwise all pictures get 3 channels if one is in color.
        skip_broken: whether to skip files that cannot be read, and list them in `notes`, instead of raising.
        progress: whether to show a progress bar after two seconds.
        test_share, seed: of the test pictures, see `divide`, or 1 for new data, all for testing; not used with a `test` folder.

    Raises:
        FileNotFoundError, NotADirectoryError: no such folder.
        ValueError: no pictures, broken ones, several sizes without `image_size`, or another folder structure.
    """
    for flag, value in {"gray": gray, "skip_broken": skip_broken, "progress": progress}.items():
        check_kind(flag, value, bool)
    folder, size = Path(path), _checked_size(image_size)
    listing, others = _listing(folder)
    x, files, skipped = _read(folder, listing, size, gray, skip_broken, progress)
    names = tuple(sorted({file.label for file in files} - {""}))
    y = np.array([names.index(file.label) for file in files], dtype=np.int64) if names else None
    ids = np.array([file.path.as_posix() for file in files])
    train, test, note = _divided(folder, files, Split(x, y, ids=ids), test_share, seed)
    name = Path(os.path.abspath(folder)).name or str(folder)
    made = Dataset(name, "your own pictures", "images", train, test, names, "gray levels", 255.0, origin=str(folder))
    return made.noted([note, *skipped, *others])


@dataclass(frozen=True)
class _File:
    """The path of a picture below the folder, its class from the folder name, or "", and its split, or ""."""

    path: Path
    label: str
    part: str


def _checked_size(size: Size | int | None) -> Size | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, (int, np.integer)) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in pair):
        raise ValueError(f"image_size must be (H, W), whole numbers of at least 1, got {size!r}: write e.g. (64, 64).")
    return pair[0], pair[1]


def _listing(folder: Path) -> tuple[list[_File], list[str]]:
    """Every picture file below a folder, with its class and its split, in the order of names; and a sentence about others."""
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}: check the path.")
    found = sorted(_walk(folder), key=lambda file: file.parts)
    pictures = [file for file in found if file.suffix.lower() in SUFFIXES]
    others = [file.suffix.lower() for file in found if file.suffix.lower() in OTHERS]
    if not pictures:
        seen = f"only files such as {found[0].name}" if found else "no files"
        raise ValueError(
            f"{folder} is a folder without pictures ({', '.join(SUFFIXES)}), {seen}: give a folder of pictures, "
            f"a file (.npy, .npz, .csv or IDX), or, for a full set in that folder, its name, with TINYAE_DATA={folder}."
        )
    tops = {file.parts[0] if len(file.parts) > 1 else "" for file in pictures}
    divided = tops == {"train", "test"}
    if "train" in tops and tops <= _PARTS and not divided:
        raise ValueError(
            f"{folder} contains the folders {', '.join(sorted(tops))}: a split folder has only `train` and `test`; "
            "rename or move the others."
        )
    files = []
    for file in pictures:
        part, inside = (file.parts[0], file.parts[1:]) if divided else ("", file.parts)
        files.append(_File(file, inside[0] if len(inside) > 1 else "", part))
    for part in sorted({file.part for file in files}):
        loose, filed = ([f for f in files if f.part == part and bool(f.label) == labeled] for labeled in (False, True))
        if loose and filed:
            raise ValueError(
                f"{folder / part} contains pictures both outside ({loose[0].path.name}) and inside class folders "
                f"({filed[0].label}/{filed[0].path.name}): move all of them into class folders, or none."
            )
    if bool(files[0].label) != bool(files[-1].label):  # in the order of names, one of `test` and one of `train`
        raise ValueError(f"{folder}: only one of `train` and `test` has class folders: add or remove them.")
    note = f"Not read, {len(others)} in other formats ({', '.join(sorted(set(others)))}): convert them to PNG"
    return files, [note] if others else []


def _walk(folder: Path) -> Iterable[Path]:
    """Every file below a folder, relative to it. Links are followed; each folder is visited once."""

    def fail(error: OSError) -> None:
        raise error

    entered: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=fail):
        here = Path(place)
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        if (real := os.path.realpath(here)) in entered:
            folders.clear()
            continue
        entered.add(real)
        yield from ((here / name).relative_to(folder) for name in files if not name.startswith("."))


def _read(
    folder: Path, listing: list[_File], size: Size | None, gray: bool, skip_broken: bool, progress: bool
) -> tuple[npt.NDArray[np.float32], list[_File], list[str]]:
    """The pictures (N, H, W, C), their files, and a sentence about skipped files, if any."""
    x = np.empty((0, 0, 0, 0), np.float32)
    files: list[_File] = []
    broken: list[BrokenPicture] = []
    what = printable(f"reading {folder}")
    with progress_bar(listing, visible=progress, desc=what, unit=" pictures", delay=_DELAY, leave=False) as bar:
        for file in bar:
            try:
                picture = read_picture(folder / file.path, size, gray)
            except BrokenPicture as error:
                if not skip_broken:
                    raise
                broken.append(error)
                continue
            if not files:
                x = _room(folder, len(listing), picture.shape)  # the first picture determines the shape
            if picture.shape[:2] != x.shape[1:3]:
                raise ValueError(
                    f"the pictures of {folder} have several sizes: {files[0].path} has {by(x.shape[1:3])} pixels "
                    f"(height x width), {file.path} {by(picture.shape[:2])}; set image_size=(H, W) to "
                    "resize them."
                )
            if picture.shape[2] > x.shape[3]:  # the first in color
                x = np.repeat(x, picture.shape[2], axis=3)
            x[len(files)] = picture
            files.append(file)
    if not files:
        raise ValueError(
            f"none of the {len(broken)} pictures in {folder} can be read; the first: {broken[0].path} "
            f"({broken[0].reason})."
        )
    named = [f"{error.path.relative_to(folder)} ({error.reason})" for error in broken]
    skipped = f"Skipped {len(broken)} of {len(listing)} files that cannot be read: {listed(named, 5)}"
    return x[: len(files)], files, [skipped] if broken else []


def _room(folder: Path, count: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """An empty array for all pictures; MemoryError with the size needed if there is not enough memory."""
    try:
        return np.empty((count, *shape), np.float32)
    except MemoryError:
        wanted = 4 * count * int(np.prod(shape)) / 1e9
        raise MemoryError(
            f"the {count:,} pictures of {folder}, {shape[0]} x {shape[1]} pixels each, need {wanted:,.1f} GB: scale "
            "them down with image_size=(H, W)."
        ) from None


def _divided(
    folder: Path, files: list[_File], everything: Split, test_share: float, seed: int
) -> tuple[Split, Split, str]:
    """Training and test pictures, as in the folders or a share of each class drawn for testing; and a sentence about them."""
    y = everything.y
    most = len(files) if y is None else np.bincount(y.astype(np.intp)).max()
    if test_share == 1 or (not files[0].part and most > 1):
        return drawn(everything, test_share, seed, str(folder), "pictures", "pictures")
    testing = np.array([file.part == "test" for file in files])
    if testing.all() or not testing.any():
        raise ValueError(
            f"{folder} has {len(files)} readable pictures, at most one per class or none in `train` or `test`: "
            "add pictures, for training and test."
        )
    return everything.rows(~testing), everything.rows(testing), "train and test split as in the folders"


# ---------------------------------------------------------------------------------------------------------------------
# One picture file as numbers between 0 (black) and 1 (white).
#
# Pillow decodes; the conversion to numbers is:
#
#     8 bits      n / 255                    16 bits (gray)   n / 65535, not reduced to 8 bits
#     palette     its colors                transparent      composited on white
#     EXIF        rotated upright
#     gray        L = 0.299 R + 0.587 G + 0.114 B  (ITU-R BT.601), the luma of Pillow's own "L"
#     resized     scaled, with its aspect ratio, until the picture covers the frame, then cropped at the center
#
# Resizing uses a triangle filter that widens as the picture shrinks (Pillow's BILINEAR), so small pictures do not alias and
# no value leaves [0, 1]. Pillow is imported when the first file is read.

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
"""Accepted formats, recognized by content: a JPEG named `.png` is read as a JPEG."""

OTHERS = (".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".ppm", ".pgm", ".tga", ".psd", ".svg", ".dng")
"""Pictures that are not read, and are mentioned."""

DENSEST = 10_000
"""Pixels that a byte of a file can hold: 1032 times 8 in a blank PNG of one bit."""

_DEPTH = 24
"""Where a PNG says how many bits a level has."""

DEEP = ("I", "I;16", "I;16L", "I;16B")
"""Pillow's names for gray pictures of 16 bits."""

Size = tuple[int, int]


class BrokenPicture(ValueError):
    """A file that cannot be read as a picture, with its `path` and a short `reason`."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read as a picture ({reason}): replace or remove it, or skip such files with "
            "skip_broken=True."
        )
        self.path, self.reason = path, reason


@checked
def read_picture(path: Path, size: Size | None = None, gray: bool = False) -> npt.NDArray[np.float32]:
    """A picture file as float32 (H, W, C), resized to `size`, (H, W), if given; C = 1 if gray or with `gray`, else 3.

    Raises BrokenPicture for a missing, damaged or unreadable file, and for more pixels than Pillow allows or the file
    can hold.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Most of Pillow's warnings do not concern the pixels, e.g. truncated metadata. One does: a small file may
            # claim more pixels than there is memory.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            content = path.read_bytes()  # of a file, Pillow's readers make room for what its headers claim
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > DENSEST * (len(content) + 100):
                    raise BrokenPicture(path, f"its {len(content):,} bytes cannot hold {by(image.size[::-1])} pixels")
                if image.format == "PNG" and "transparency" in image.info:  # as written; Pillow scales the pixels only
                    if image.mode == "RGB" and content[_DEPTH] == 16:
                        raise BrokenPicture(path, "one of its colors of 16 bits is transparent: save it with 8 bits")
                    if image.mode == "L":
                        image.info["transparency"] *= {2: 85, 4: 17}.get(content[_DEPTH], 1)
                return _pixels(image, size, gray)
    except (BrokenPicture, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenPicture(path, f"it has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        reason = f"it is none of {', '.join(FORMATS)}" if path.stat().st_size else "it is empty"
        raise BrokenPicture(path, reason) from error
    except Exception as error:  # a decoder may raise anything for malformed bytes
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BrokenPicture(path, reason or type(error).__name__) from error


def _pixels(image: Image, size: Size | None, gray: bool) -> npt.NDArray[np.float32]:
    from PIL import ImageOps
    from PIL.Image import Resampling

    if size is not None:
        # A JPEG can be decoded at an eighth of its size or more; twice the size wanted leaves enough to average.
        # Which side is which is not known before the picture is upright.
        image.draft(image.mode, (2 * max(size), 2 * max(size)))
    image.load()
    upright = ImageOps.exif_transpose(image)
    plain, white = _plain(upright, gray)
    if size is not None:  # scaled to cover (H, W), then cropped at the center
        height, width = size
        plain = ImageOps.fit(plain, (width, height), Resampling.BILINEAR)
    values = np.asarray(plain)
    values = values[:, :, np.newaxis] if values.ndim == 2 else values
    return np.divide(values, np.float32(white), dtype=np.float32)


def _plain(image: Image, gray: bool) -> tuple[Image, float]:
    """The picture in Pillow's mode "L", "RGB" or "F", without transparency, and the value of white."""
    from PIL import Image as pillow

    if image.mode in DEEP:
        levels = np.asarray(image.convert("F"))
        clear = levels == image.info.get("transparency", -1)
        return pillow.fromarray(np.where(clear, np.float32(65535.0), levels)), 65535.0
    wanted = "L" if gray or image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        paper = pillow.new("RGBA", image.size, "white")
        image = pillow.alpha_composite(paper, image.convert("RGBA"))
    return image.convert(wanted), 255.0
