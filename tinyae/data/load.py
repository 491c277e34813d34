"""One door to all data: a name of the catalogue, or the path of the user's own file or folder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tinyae.data.catalogue import ENTRIES, canonical, names
from tinyae.data.dataset import Dataset
from tinyae.data.embedded import build, load_embedded
from tinyae.data.entry import Entry
from tinyae.data.files import SUFFIXES, load_file
from tinyae.data.folder import load_folder
from tinyae.data.lookup import load_full
from tinyae.data.moving import moving_digits


def load(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    image_size: tuple[int, int] | int | None = None,
    grey: bool = False,
    skip_broken: bool = False,
    progress: bool = True,
) -> Dataset:
    """Load a data set as float32 arrays: images (N, H, W, C), sequences (N, T, D), vectors (N, D).

    Args:
        name_or_path: a name of `names()` (case and `_` for `-` do not matter), a `.npy`, `.npz`, `.csv` or
            IDX file, or a folder of pictures, PNG or JPEG.
        root: the folder of a full set's files, or the folder above it. Given, nowhere else is searched.
        download: whether a full set that is not found may be downloaded into the user's cache.
        image_size, grey, skip_broken, progress: for a folder of pictures, see `load_folder`.

    Full sets are looked for in `root`, `$TINYAE_DATA/<name>`, the user's cache and the folder of the Debian
    package, and then downloaded; every file is checked. A mini set is never returned for a full one.

    Raises:
        ValueError: an unknown name, a damaged file, or numbers that cannot be used, with what to do.
        FileNotFoundError: a file that is nowhere, with its size, its address and the embedded alternative.

    >>> load("optdigits").train.x.shape
    (3823, 8, 8, 1)
    """
    text = os.fspath(name_or_path)
    is_path = isinstance(name_or_path, os.PathLike)
    entry = None if is_path else ENTRIES.get(canonical(text))
    path = Path(text).expanduser()
    if (image_size is not None or grey or skip_broken) and (entry is not None or not path.is_dir()):
        raise ValueError(
            f"image_size, grey and skip_broken are for a folder of pictures, and {text!r} is none: leave them out, or "
            "correct the path."
        )
    if entry is not None and entry.films:
        return _films(entry, root, download)
    if entry is not None and not entry.embedded:
        return load_full(entry, None if root is None else Path(root).expanduser(), download)
    if root is not None:
        raise ValueError(f"root says where the files of a full set are; {text!r} has none: leave root out.")
    if entry is not None:
        return load_embedded(entry)
    if path.is_dir():
        return load_folder(path, image_size=image_size, grey=grey, skip_broken=skip_broken, progress=progress)
    if is_path or path.exists() or path.suffix.lower() in SUFFIXES or path.name != text:
        return load_file(path)
    raise ValueError(_unknown(text))


def _films(entry: Entry, root: str | os.PathLike[str] | None, download: bool) -> Dataset:
    """A set that is made from another one; what cannot be found is the other."""
    arguments = dict(entry.films)
    source = load(arguments.pop("source"), root=root, download=download)
    made = moving_digits(source, entry.counts, **arguments)
    return replace(build(entry, made.train, made.test, made.origin), horizon=made.horizon, frame_shape=made.frame_shape)


def _unknown(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(canonical(name), names(), n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return (
        f"unknown data set {name!r}.{meant} The names are {', '.join(names())}; "
        "data of your own are given by their path: a .npy, .npz, .csv or IDX file, or a folder of pictures."
    )
