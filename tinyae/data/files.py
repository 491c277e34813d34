"""The user's own arrays: `.npy`, `.npz`, `.csv` and IDX files as a `Dataset`.

The number of axes decides their meaning: (N, D) are vectors, (N, T, D) sequences, (N, H, W, C) images. Three axes of uint8,
and any IDX file, are gray images (N, H, W). Only uint8 is scaled, by 1/255; all other numbers are only converted to float32.
A file without a test set is divided by `arrays.divide`: a tenth is drawn, with labels a tenth of each class. Windows of a
recording that overlap should have their own test set (`train_x`, `test_x` in a `.npz`).

A `.npz` contains `x`, or `train_x` and optionally `test_x`, each with optional class numbers `y`, `train_y`, `test_y`;
sequences of unequal length, padded with zeros, also need `lengths` (or `train_lengths` and `test_lengths`). A `.csv` and the
other tables contain one example per line, see `tinyae.data.table`.

Values that no model can use (NaN, infinity, objects, text, no values) are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyae.checks import reading
from tinyae.data.arrays import TEST_SHARE
from tinyae.data.dataset import Dataset, Kind, Split, drawn
from tinyae.data.formats import GZIP_MAGIC, check_exists, looks_like_idx, read_idx, read_npy, read_npz
from tinyae.data.pictures import SUFFIXES as PICTURES
from tinyae.data.series import table
from tinyae.data.source import LazyRows, Values, find, in_unit, scaled
from tinyae.data.tables import COLUMNAR, TEXTS, is_table

SUFFIXES = (".npy", ".npz", ".gz", ".idx", *TEXTS, *COLUMNAR)

_NAMES = ("x", "y", "lengths")

MOST_CLASSES = 1 << 16
"""A class number is less than this: a larger one is the label's name or identity, not its number."""

_KINDS: dict[int, Kind] = {2: "vectors", 3: "sequences", 4: "images"}


def load_file(path: str | Path, *, test_share: float = TEST_SHARE, seed: int = 0) -> Dataset:
    """Load the user's own file; the text at the top of this module has the rules.

    `test_share` and `seed` are of the test part, see `divide`, or 1 for new data, all for testing; not used if the file
    has its own. Raises FileNotFoundError, and ValueError for another format, a damaged file, or values that cannot be
    used.
    """
    path = Path(path)
    check_exists(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes): write the file again.")
    if is_table(path):
        return table(path, test_share=test_share, seed=seed)
    with reading(path, "a file of arrays", "save it again"):
        return _loaded(path, test_share, seed)


def _loaded(path: Path, test_share: float, seed: int) -> Dataset:
    arrays = _read(path)
    for name in _NAMES:
        if name in arrays:
            arrays.setdefault(f"train_{name}", arrays[name])
    raw = arrays["train_x"]
    kind, scale = _kind(raw, path), 255.0 if raw.dtype == np.uint8 else 1.0
    train = _part(arrays, "train", path)
    if "test_x" in arrays:
        other = arrays["test_x"]
        if other.shape[1:] != raw.shape[1:] or other.dtype != raw.dtype:
            raise ValueError(
                f"{path} holds train_x {raw.shape} {raw.dtype} and test_x {other.shape} {other.dtype}: give both "
                "the same shape of example and the same type."
            )
        test, notes = _part(arrays, "test", path), "train and test split as in the file"
    else:
        ids = np.arange(len(train))
        numbered = Split(train.source, train.y, train.lengths, ids)  # type: ignore[arg-type]
        train, test, notes = drawn(numbered, test_share, seed, str(path), "rows", "examples")
        notes = notes or f"{len(test):,} examples"
    if kind == "sequences" and train.lengths is None:
        notes += "; three axes are read as sequences (N, T, D): for gray images save x[..., None]"
    unit = "gray levels" if scale != 1.0 else ""
    made = Dataset(path.name, "your own file", kind, train, test, unit=unit, scale=scale, origin=str(path))
    return made.noted([notes])


def _read(path: Path) -> dict[str, Values]:
    """The arrays of a file by name; in a format with one array it is `x`."""
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        start = file.read(6)
    if suffix in (".npy", ".npz"):
        if not start.startswith(b"PK"):
            return {"x": read_npy(path)}
        arrays, names = read_npz(path, [f"{part}{name}" for part in ("", "train_", "test_") for name in _NAMES])
        if not {"x", "train_x"} & arrays.keys():
            raise ValueError(f"{path} holds {', '.join(names) or 'no arrays'}: name the examples 'x' or 'train_x'.")
        return arrays
    if suffix in SUFFIXES or "idx" in path.name or looks_like_idx(start) or start.startswith(GZIP_MAGIC):
        values = read_idx(path)
        return {"x": values[..., None] if values.ndim == 3 else values}
    if suffix in PICTURES:
        raise ValueError(f"{path} is one picture: give the folder that contains it.")
    raise ValueError(f"{path} has an unknown format: use .npy, .npz, .csv or an IDX file (plain or .gz).")


def _kind(raw: Values, path: Path) -> Kind:
    if raw.ndim == 3 and raw.dtype == np.uint8:
        return "images"
    if raw.ndim == 1:
        raise ValueError(
            f"{path} holds one axis of {len(raw):,} values: give one row for each example, shape (N, D); "
            "a recording is a .npy cut into windows by --window L (tinyae.data.load_series)."
        )
    if raw.ndim not in _KINDS:
        raise ValueError(
            f"{path} holds an array of shape {raw.shape}: give vectors (N, D), sequences (N, T, D) or images "
            "(N, H, W, C)."
        )
    if raw.ndim == 4 and raw.shape[3] > 4 and raw.shape[1] in (1, 3, 4):
        raise ValueError(
            f"{path} holds images of shape {raw.shape}, channels first: give (N, H, W, C), x.transpose(0, 2, 3, 1)."
        )
    return _KINDS[raw.ndim]


def _examples(raw: Values, path: Path) -> npt.NDArray[np.float32] | LazyRows:
    """The examples as finite float32; uint8 divided by 255."""
    if raw.dtype.kind not in "buif":
        raise ValueError(f"{path} holds values of type {raw.dtype}: save x.astype(numpy.float32).")
    if raw.size == 0:
        raise ValueError(f"{path} holds an array of shape {raw.shape}, no values: save at least two examples.")
    if raw.dtype == np.uint8:
        return in_unit(raw[..., None] if raw.ndim == 3 else raw, 255.0)
    with np.errstate(over="ignore"):
        wrong, first = find(lambda part: ~np.isfinite(scaled(part, 1.0)), raw)
    if wrong:
        value = raw[first]
        cause = "NaN or infinite" if not np.isfinite(value) else "too large for float32"
        raise ValueError(
            f"{path} holds {wrong:,} values that are {cause}, the first at "
            f"[{', '.join(map(str, first))}] ({value}): replace or remove them."
        )
    return in_unit(raw, 1.0)


def _part(arrays: Mapping[str, Values], part: str, path: Path) -> Split:
    """The examples of a part, checked, with class numbers and lengths if present."""
    x = _examples(arrays[f"{part}_x"], path)
    y, lengths = arrays.get(f"{part}_y"), arrays.get(f"{part}_lengths")
    if y is not None and (y.shape != x.shape[:1] or y.dtype.kind not in "bui"):
        raise ValueError(
            f"{path} holds labels of shape {y.shape} and type {y.dtype}: give one class number from 0 for "
            f"each example, whole numbers of shape ({len(x)},)."
        )
    if y is not None and not 0 <= int(y.min()) <= int(y.max()) < MOST_CLASSES:
        raise ValueError(
            f"{path} holds labels from {y.min()} to {y.max()}: give class numbers from 0 for each example, below "
            f"{MOST_CLASSES:,} (numpy.unique(y, return_inverse=True)[1] makes them)."
        )
    try:
        return Split(x, None if y is None else y.astype(np.int64), lengths)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
