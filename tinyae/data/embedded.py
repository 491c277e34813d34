"""The sets that travel with the package: how the stored integers become the float32 arrays a model sees.

One short function for each form of storage. The divisor comes from the catalogue, so the unit printed by a
data set is the one its numbers were divided by. All divisions are done in float32, once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.data.dataset import Dataset, Split
from tinyae.data.entry import Entry
from tinyae.data.idx import read_idx
from tinyae.data.patches import natural_patches
from tinyae.data.timeline import TIMELINES

FOLDER = Path(__file__).with_name("embedded")

ECG_OFFSET, ECG_STEPS_PER_MV = 1024, 200
"""The converter of the MIT-BIH recordings: millivolts = (x - 1024) / 200."""


def load_embedded(entry: Entry) -> Dataset:
    """Read an embedded set from the package. Raises FileNotFoundError if the installation lacks its files."""
    missing = [name for name in entry.files if not (FOLDER / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{entry.name} is part of tinyae, but this installation lacks {', '.join(missing)} in {FOLDER}: "
            "install tinyae again."
        )
    train, test = _recording(entry) if entry.kind == "series" else _examples(entry)
    return build(entry, train, test, "embedded in the package")


def build(entry: Entry, train: Split, test: Split, origin: str) -> Dataset:
    """The data set of a row of the catalogue. ValueError for counts or shapes not the row's."""
    for split, count in zip((train, test), entry.counts, strict=True):
        if split.x.shape != (count, *entry.shape):
            raise ValueError(
                f"{entry.name} should hold {count} examples of shape {entry.shape}, got an array of shape "
                f"{split.x.shape} from {origin}: fetch the files again."
            )
    return Dataset(
        entry.name,
        entry.title,
        entry.kind,
        train,
        test,
        entry.class_names,
        entry.unit,
        entry.scale,
        entry.source,
        entry.licence,
        origin,
        entry.notes,
        TIMELINES.get(entry.name),
        feature_names=entry.feature_names,
    )


def scaled(raw: npt.NDArray[Any], scale: float) -> npt.NDArray[np.float32]:
    """raw / scale in float32."""
    values: npt.NDArray[np.float32] = np.divide(raw, scale, dtype=np.float32)
    return values


def labelled(x: npt.NDArray[Any], y: npt.NDArray[Any], scale: float, axes: int) -> Split:
    """A split of scaled examples with int64 labels; (N, H, W) gains the channel axis if `axes` is 4."""
    return Split(scaled(x[..., None] if x.ndim < axes else x, scale), y.astype(np.int64))


def _examples(entry: Entry) -> tuple[Split, Split]:
    axes = 1 + len(entry.shape)
    if len(entry.files) == 4:
        train_x, train_y, test_x, test_y = (read_idx(FOLDER / name) for name in entry.files)
    else:
        stored = _stored(entry)
        if entry.name == "natural-patches":
            train, test = natural_patches(stored["images"], entry.counts, entry.shape[0])
            return Split(train[..., None]), Split(test[..., None])
        if "images" in stored:
            images = scaled(stored["images"][..., None], entry.scale)
            return Split(images[: entry.counts[0]]), Split(images[entry.counts[0] :])
        train_x, train_y, test_x, test_y = (stored[key] for key in ("train_x", "train_y", "test_x", "test_y"))
    return labelled(train_x, train_y, entry.scale, axes), labelled(test_x, test_y, entry.scale, axes)


def _recording(entry: Entry) -> tuple[Split, Split]:
    """One long recording cut into windows (N, T, 1) in time order; the first ones train, the rest test."""
    stored = _stored(entry)
    if "ecg" in stored:
        values = scaled(stored["ecg"].astype(np.int32) - ECG_OFFSET, ECG_STEPS_PER_MV)
    else:
        values = scaled(stored["passengers"], entry.scale)
    windows = values.reshape(-1, *entry.shape)
    return Split(windows[: entry.counts[0]]), Split(windows[entry.counts[0] :])


def _stored(entry: Entry) -> dict[str, npt.NDArray[Any]]:
    with np.load(FOLDER / entry.files[0], allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}
