"""The embedded sets: from stored integers to float32 arrays; and whitened patches of photographs.

The divisor is the `scale` of the catalog entry, which is also the unit that a data set prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyae.data.arrays import Floats
from tinyae.data.catalog import ROLES, Entry
from tinyae.data.dataset import Dataset, Split
from tinyae.data.formats import read_idx
from tinyae.data.source import Values, in_unit, scaled

FOLDER = Path(__file__).with_name("embedded")

ECG_OFFSET, ECG_STEPS_PER_MV = 1024, 200
"""Calibration of the MIT-BIH recordings: millivolts = (x - 1024) / 200."""


def load_embedded(entry: Entry) -> Dataset:
    """Read an embedded set; FileNotFoundError if its files are missing from the installation."""
    missing = [name for name in entry.files if not (FOLDER / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{entry.name} is part of tinyae, but this installation lacks {', '.join(missing)} in {FOLDER}: "
            "reinstall tinyae."
        )
    if len(entry.files) == 4:
        stored = dict(zip(ROLES, (read_idx(FOLDER / name) for name in entry.files), strict=True))
    else:
        with np.load(FOLDER / entry.files[0], allow_pickle=False) as archive:
            stored = dict(archive)
    return build(entry, *_splits(entry, stored), "embedded in the package")


def _splits(entry: Entry, stored: Mapping[str, Values]) -> tuple[Split, Split]:
    """Training and test split from the stored integers: four arrays, or one array whose first examples are for training."""
    if set(ROLES) <= stored.keys():
        train_x, train_y, test_x, test_y = (stored[role] for role in ROLES)
        return labeled(entry, train_x, train_y), labeled(entry, test_x, test_y)
    if entry.name == "natural-patches":
        train, test = natural_patches(stored["images"], entry.counts, entry.shape[0])
        return Split(train[..., None]), Split(test[..., None])
    if "ecg" in stored:
        values = scaled(stored["ecg"].astype(np.int32) - ECG_OFFSET, ECG_STEPS_PER_MV)
    else:
        (integers,) = stored.values()
        values = scaled(integers, entry.scale)
    examples = values.reshape(-1, *entry.shape)
    return Split(examples[: entry.counts[0]]), Split(examples[entry.counts[0] :])


def build(entry: Entry, train: Split, test: Split, origin: str) -> Dataset:
    """The data set of a catalog entry; ValueError if counts or shapes differ from it."""
    for split, count in zip((train, test), entry.counts, strict=True):
        if split.source.shape != (count, *entry.shape):
            raise ValueError(
                f"{entry.name} should have {count} examples of shape {entry.shape}, got an array of shape "
                f"{split.source.shape} from {origin}: download the files again."
            )
    shared = vars(entry).keys() & {field.name for field in fields(Dataset)}
    return Dataset(train=train, test=test, origin=origin, **{name: getattr(entry, name) for name in shared})


def labeled(entry: Entry, x: Values, y: Values) -> Split:
    """A split of examples in the entry's shape and scale, with int64 class numbers; (N, H, W) gets a channel axis."""
    x = x[..., None] if x.ndim == len(entry.shape) else x
    return Split(in_unit(x, entry.scale), y.astype(np.int64))  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------------
# Whitened patches of photographs, the data of the first sparse coding models.
#
# Neighboring pixels of a photograph are nearly equal, and its power falls off as 1/f**2, so a model of raw patches mostly
# learns slow changes of brightness. Whitening flattens the spectrum up to where noise begins
# (Olshausen and Field 1997).

CUT_OFF = 0.4
"""Frequency where the low-pass filter is 1/e, in cycles per pixel; the Nyquist frequency is 0.5."""

VARIANCE = 0.1
"""Variance of a whitened photograph; its value does not matter, since patches are scaled afterwards."""


def whiten(photograph: Floats) -> Floats:
    """A square photograph (S, S) filtered by R(f) = f exp(-(f / f0)**4), with mean 0 and variance 0.1.

    f is the distance from frequency 0 and f0 is `CUT_OFF`. The factor f undoes the 1/f of natural amplitudes; the other
    removes the highest frequencies, which are mostly noise and artifacts of the pixel grid.
    """
    size = photograph.shape[0]
    if photograph.shape != (size, size):
        raise ValueError(f"a photograph must be square, (S, S), got shape {photograph.shape}: crop it first.")
    frequencies = np.fft.fftfreq(size)
    f = np.hypot(frequencies[:, None], frequencies[None, :])
    spectrum = np.fft.fft2(photograph - photograph.mean()) * f * np.exp(-((f / CUT_OFF) ** 4))
    filtered: Floats = np.fft.ifft2(spectrum).real
    return filtered / filtered.std() * np.sqrt(VARIANCE)


def cut_patches(photographs: Floats, count: int, size: int, generator: np.random.Generator) -> Floats:
    """`count` patches (count, size, size) from random places of random photographs (M, H, W)."""
    which = generator.integers(len(photographs), size=count)
    rows = generator.integers(photographs.shape[1] - size + 1, size=count)
    columns = generator.integers(photographs.shape[2] - size + 1, size=count)
    windows = np.lib.stride_tricks.sliding_window_view(photographs, (size, size), axis=(1, 2))
    return np.array(windows[which, rows, columns])


def normalize_patches(patches: Floats, spread: float) -> npt.NDArray[np.float32]:
    """Subtract the mean of each patch, then map +-3 `spread` to 0.1 and 0.9 and clip values beyond.

    A sigmoid output can reach all these values. `spread`: the standard deviation of the training patches.
    """
    centered = patches - patches.mean(axis=(1, 2), keepdims=True)
    limited = np.clip(centered / (3.0 * spread), -1.0, 1.0)
    return (0.5 + 0.4 * limited).astype(np.float32)


def natural_patches(
    photographs: Values, counts: tuple[int, int], size: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Training and test patches (N, size, size) of photographs (M, S, S), the same at every call.

    The left three quarters of every photograph give training patches and the right quarter test patches, so that no
    pixel is in both.
    """
    generator = np.random.default_rng(0)
    white = np.stack([whiten(photograph.astype(np.float64)) for photograph in photographs])
    border = photographs.shape[2] * 3 // 4
    train = cut_patches(white[:, :, :border], counts[0], size, generator)
    test = cut_patches(white[:, :, border:], counts[1], size, generator)
    spread = float((train - train.mean(axis=(1, 2), keepdims=True)).std())
    return normalize_patches(train, spread), normalize_patches(test, spread)
