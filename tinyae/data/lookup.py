"""`load`: data by name, or from the user's own file or folder; and how full sets are found and downloaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinyae.checks import check_kind, unknown
from tinyae.data.arrays import TEST_SHARE
from tinyae.data.catalog import ENTRIES, Entry, RemoteFile, canonical, megabytes, names
from tinyae.data.dataset import Dataset, Split
from tinyae.data.embedded import build, labeled, load_embedded
from tinyae.data.files import SUFFIXES, load_file
from tinyae.data.formats import parse_idx, parse_ts, read_payload
from tinyae.data.moving import moving_digits
from tinyae.data.pictures import load_folder


def load(
    name_or_path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    image_size: tuple[int, int] | int | None = None,
    gray: bool = False,
    skip_broken: bool = False,
    progress: bool = True,
    test_share: float = TEST_SHARE,
    seed: int = 0,
) -> Dataset:
    """Load a data set as float32 arrays: images (N, H, W, C), sequences (N, T, D), vectors (N, D).

    Args:
        name_or_path: a name in `names()` (case-insensitive, `_` for `-` allowed), a `.npy`, `.npz`, `.csv` or
            IDX file, or a folder of pictures, PNG, JPEG, WebP, BMP or GIF.
        root: the folder with the files of a full set, or its parent. If given, no other folder is searched.
        download: whether a full set that is not found may be downloaded into the user's cache.
        image_size, gray, skip_broken, progress: for a folder of pictures, see `load_folder`.
        test_share, seed: of the test part of the user's own data, see `divide`; published sets have their own.

    Full sets are searched for in `root`, `$TINYAE_DATA/<name>`, the user's cache and the folder of the Debian package, and
    then downloaded; every file is verified. A mini set never replaces a full one.

    Raises:
        ValueError: an unknown name, a damaged file, or values that cannot be used.
        FileNotFoundError: a file is missing; the message has its size, its address and the embedded alternative.

    >>> load("optdigits").train.x.shape
    (3823, 8, 8, 1)
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(
            f"load takes a name, a file or a folder, got {type(name_or_path).__name__}: give a table to tinyae.data.table, and "
            "arrays to fit as they are."
        )
    for flag, value in {"download": download, "gray": gray, "skip_broken": skip_broken, "progress": progress}.items():
        check_kind(flag, value, bool)
    text = os.fspath(name_or_path)
    if not text:
        raise ValueError('the name of the data is empty, "": give a name in tinyae.data.names(), or a path.')
    is_path = isinstance(name_or_path, os.PathLike)
    entry = None if is_path else ENTRIES.get(canonical(text))
    path = Path(text).expanduser()
    if (image_size is not None or gray or skip_broken) and (entry is not None or not path.is_dir()):
        raise ValueError(
            f"image_size, gray=True and skip_broken=True are for a folder of pictures, but {text!r} is not a folder: leave them "
            "out, or correct the path."
        )
    if entry is not None and entry.films:
        return _films(entry, root, download)
    if entry is not None and not entry.embedded:
        return load_full(entry, None if root is None else Path(root).expanduser(), download)
    if root is not None:
        raise ValueError(f"root is the folder of a full set, and {text!r} is not a full set: leave root out.")
    if entry is not None:
        return load_embedded(entry)
    if path.is_dir():
        return load_folder(
            path,
            image_size=image_size,
            gray=gray,
            skip_broken=skip_broken,
            progress=progress,
            test_share=test_share,
            seed=seed,
        )
    if is_path or path.exists() or path.suffix.lower() in SUFFIXES or path.name != text:
        return load_file(path, test_share=test_share, seed=seed)
    own = ", or give the path of your own data: a .npy, .npz, .csv or IDX file, or a folder of pictures"
    raise unknown("data set", text, names(), otherwise=own)


def _films(entry: Entry, root: str | os.PathLike[str] | None, download: bool) -> Dataset:
    """A set generated from another one."""
    assert entry.films is not None
    source, digit_size = entry.films
    made = moving_digits(load(source, root=root, download=download), entry.counts, digit_size=digit_size)
    return replace(build(entry, made.train, made.test, made.origin), horizon=made.horizon, frame_shape=made.frame_shape)


# ---------------------------------------------------------------------------------------------------------------------
# Finding and downloading the files of a full set.
#
# A folder counts only if it contains all files of a set, so two incomplete copies never mix. A file that fails verification
# is an error: a damaged copy should be replaced, not silently skipped.

Found = Mapping[str, tuple[Path, RemoteFile]]
"""Role -> path and catalog entry of a file of a full set."""

DEBIAN_FOLDER = Path("/usr/share/datasets")
TIMEOUT = 30
"""Timeout of a download address, in seconds."""


def load_full(entry: Entry, root: str | Path | None = None, download: bool = True) -> Dataset:
    """Find, verify and read a full set; arguments and errors are those of `load`."""
    tried = candidates(entry, root)
    folder = next((f for f in tried if all(locate(f, file) for file in entry.remote)), None)
    if folder is None:
        if root is not None or not download:
            raise _not_found(entry, tried, "", root)
        folder = fetch(entry, tried)
    found = {file.role: (locate(folder, file) or folder / file.stem, file) for file in entry.remote}
    read = _sequences if "train" in found else _examples
    return build(entry, read(entry, found, "train"), read(entry, found, "test"), str(folder))


def _examples(entry: Entry, found: Found, part: str) -> Split:
    """One split from IDX files of examples and labels; QMNIST has the class numbers in the first of eight columns."""
    x, y = (parse_idx(verified(*found[role]), str(found[role][0])) for role in (f"{part}_x", f"{part}_y"))
    return labeled(entry, x, np.ascontiguousarray(y[:, 0]) if y.ndim == 2 else y)


def _sequences(entry: Entry, found: Found, part: str) -> Split:
    """One split from `.ts` files, padded to the length of the longest sequence in both splits."""
    x, labels, lengths = parse_ts(verified(*found[part]).decode("ascii"), str(found[part][0]))
    padded = np.zeros((len(x), *entry.shape), np.float32)
    padded[:, : x.shape[1]] = x
    return Split(padded, labels, lengths)


def candidates(entry: Entry, root: str | Path | None = None) -> list[Path]:
    """The folders that are searched for a set, in order."""
    spellings = dict.fromkeys((entry.name, entry.name.replace("-", "_")))
    if root is not None:
        return [Path(root), *(Path(root) / name for name in spellings)]
    data = os.environ.get("TINYAE_DATA")
    folders = [Path(data).expanduser() / name for name in spellings] if data else []
    return [*folders, cache_folder() / entry.name, DEBIAN_FOLDER / entry.name]


def cache_folder() -> Path:
    """The user's cache folder for tinyae on each operating system, the same as `pooch.os_cache("tinyae")`."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "tinyae" / "tinyae" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tinyae"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinyae"


def locate(folder: Path, file: RemoteFile) -> Path | None:
    """The path of a file in a folder, plain or `.gz`, with `-idx` or `.idx` in its name; None if it is missing."""
    for stem in (file.stem, file.stem.replace("-idx", ".idx")):
        for name in (stem, stem + ".gz"):
            if (folder / name).is_file():
                return folder / name
    return None


def verified(path: Path, file: RemoteFile) -> bytearray:
    """The uncompressed content of a file of a full set; ValueError if its size or SHA-256 is wrong."""
    import hashlib

    payload = read_payload(path, lambda start: file.payload_bytes)
    if len(payload) != file.payload_bytes:
        more = " or more" if len(payload) > file.payload_bytes else ""
        raise ValueError(
            f"{path} is not the published file: expected {file.payload_bytes:,} bytes uncompressed, got "
            f"{len(payload):,}{more}: delete it and download it again."
        )
    digest = hashlib.sha256(payload).hexdigest()
    if file.payload_sha256 not in (None, digest):
        raise ValueError(
            f"{path} is not the published file: expected SHA-256 {file.payload_sha256} of the uncompressed "
            f"content, got {digest}: delete it and download it again."
        )
    return payload


def fetch(entry: Entry, tried: list[Path]) -> Path:
    """Download a set into the user's cache, verify each archive, and return the folder.

    An interrupted download leaves no file: pooch writes to a temporary file and moves it when it is complete. Raises
    FileNotFoundError if pooch is missing or no address provides the published file.
    """
    if not entry.urls:
        raise _not_found(entry, tried, "It is not downloaded automatically: its source packs it in an archive.")
    folder = cache_folder() / entry.name
    for file in entry.remote:
        failures: list[str] = []
        for url in entry.urls:
            try:
                retrieve(url + file.stem + ".gz", file.archive_hash, folder)
                break
            except ModuleNotFoundError:
                reason = "Downloading needs the pooch package, which is not installed (pip install pooch)."
                raise _not_found(entry, tried, reason) from None
            except (OSError, ValueError) as error:
                failures.append(f"{url} ({type(error).__name__})")
        else:
            reason = f"The download of {file.stem}.gz failed at {', '.join(failures)}."
            raise _not_found(entry, tried, reason)
    return folder


def retrieve(url: str, archive_hash: str, folder: Path) -> None:
    """Download one file into `folder`, with a progress bar, and verify its hash.

    Raises OSError if the address does not respond, ValueError if the file is not the published one, and
    ModuleNotFoundError without pooch.
    """
    import pooch

    downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
    pooch.retrieve(url, archive_hash, fname=url.rpartition("/")[2], path=folder, downloader=downloader)


def _not_found(entry: Entry, tried: list[Path], reason: str, root: str | Path | None = None) -> FileNotFoundError:
    """The error for missing files: which, their size, the folders searched, the address, and the alternative."""
    best = max(tried, key=lambda folder: sum(locate(folder, file) is not None for file in entry.remote))
    missing = [file.stem for file in entry.remote if locate(best, file) is None]
    found = f" ({best} contains some of them)" if len(missing) < len(entry.remote) else ""
    if root is not None:
        advice = f"Put them there, or leave root out to search other folders and download {entry.name}."
    else:
        advice = f"Put them into a folder {entry.name} and set TINYAE_DATA to its parent folder"
        advice += "." if reason else ", or allow the download."
    size, places = megabytes(entry.size), ", ".join(map(str, tried))
    needs = f"{entry.name} needs {', '.join(missing)} (.gz or plain, {size} in all){found}; not in {places}."
    last = f"Embedded alternative, no download: {entry.alternative!r}."
    address = f"Address: {entry.urls[0]} ." if entry.urls else f"Source: {entry.source}."
    return FileNotFoundError(" ".join(part for part in (needs, reason, address, advice, last) if part))
