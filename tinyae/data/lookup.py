"""Where the files of a full set are, and how they get there.

The order is fixed and said aloud in the error: the folder given, `$TINYAE_DATA`, the user's cache, the folder
of the Debian package, and last a download into the cache. A folder counts only if it holds all files of a
set, so two half-copies never mix. What is found is verified, and a file that fails is an error, not a reason
to look further: a damaged copy should be mended, not stepped over in silence.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.data.catalogue import megabytes
from tinyae.data.dataset import Dataset, Split
from tinyae.data.embedded import build, labelled
from tinyae.data.entry import Entry, RemoteFile
from tinyae.data.idx import parse_idx, read_payload
from tinyae.data.ts import parse_ts

DEBIAN_FOLDER = Path("/usr/share/datasets")
TIMEOUT = 30
"""Seconds to wait for an address to answer before the next one is tried."""


def load_full(entry: Entry, root: str | Path | None = None, download: bool = True) -> Dataset:
    """Find, verify and read a full set.

    With `root` only that folder is searched (and, in it, a folder of the set's name).

    Raises:
        FileNotFoundError: the files are nowhere, with what was tried and what to do.
        ValueError: a file is damaged or not the published one.
    """
    tried = candidates(entry, root)
    folder = next((f for f in tried if all(locate(f, file) for file in entry.remote)), None)
    if folder is None:
        if root is not None or not download:
            raise FileNotFoundError(_not_found(entry, tried, "", root))
        folder = fetch(entry, tried)
    paths = {file.role: (locate(folder, file) or folder / file.stem, file) for file in entry.remote}
    if "train" in paths:
        return build(entry, _whole(*paths["train"], entry), _whole(*paths["test"], entry), str(folder))
    arrays = {role: parse_idx(verified(*found), str(found[0])) for role, found in paths.items()}
    axes = 1 + len(entry.shape)
    train, test = (
        labelled(arrays[f"{part}_x"], _classes(arrays[f"{part}_y"]), entry.scale, axes) for part in ("train", "test")
    )
    return build(entry, train, test, str(folder))


def candidates(entry: Entry, root: str | Path | None = None) -> list[Path]:
    """The folders that are searched for a set, in order; with `root`, that one and the set's folder in it."""
    spellings = dict.fromkeys((entry.name, entry.name.replace("-", "_")))
    if root is not None:
        return [Path(root), *(Path(root) / name for name in spellings)]
    data = os.environ.get("TINYAE_DATA")
    folders = [Path(data).expanduser() / name for name in spellings] if data else []
    cache = cache_folder()
    return folders + ([cache / entry.name] if cache else []) + [DEBIAN_FOLDER / entry.name]


def cache_folder() -> Path | None:
    """The user's cache folder for tinyae on this platform; None without the pooch package, which knows it."""
    pooch = _pooch()
    return None if pooch is None else Path(pooch.os_cache("tinyae"))


def locate(folder: Path, file: RemoteFile) -> Path | None:
    """The file in a folder: plain or `.gz`, with `-idx` or `.idx` in its name; None if it is not there."""
    for stem in (file.stem, file.stem.replace("-idx", ".idx")):
        for name in (stem, stem + ".gz"):
            if (folder / name).is_file():
                return folder / name
    return None


def verified(path: Path, file: RemoteFile) -> bytes:
    """The uncompressed content of a file of a full set, checked by its size and SHA-256. Raises ValueError."""
    import hashlib

    payload = read_payload(path)
    if len(payload) != file.payload_bytes:
        raise ValueError(
            f"{path} is not the published file: expected {file.payload_bytes:,} bytes uncompressed, got "
            f"{len(payload):,}: delete it and fetch it again."
        )
    digest = hashlib.sha256(payload).hexdigest()
    if file.payload_sha256 not in (None, digest):
        raise ValueError(
            f"{path} is not the published file: expected SHA-256 {file.payload_sha256} of the uncompressed "
            f"content, got {digest}: delete it and fetch it again."
        )
    return payload


def _whole(path: Path, file: RemoteFile, entry: Entry) -> Split:
    """A part of a set of sequences from its one file, padded to the steps of the longest in both parts."""
    x, labels, lengths = parse_ts(verified(path, file).decode("ascii"), str(path))
    padded = np.zeros((len(x), *entry.shape), np.float32)
    padded[:, : x.shape[1]] = x
    return Split(padded, labels, lengths)


def fetch(entry: Entry, tried: list[Path]) -> Path:
    """Download a set into the user's cache, checking each archive, and return the folder.

    An interrupted download leaves nothing behind: pooch writes to a temporary file and moves it when it is
    complete. Raises FileNotFoundError if pooch is missing or no address answers with the published file.
    """
    cache = cache_folder()
    if not entry.urls:
        raise FileNotFoundError(_not_found(entry, tried, "It is not downloaded: its source packs it in an archive."))
    if cache is None:
        reason = "Downloading needs the pooch package, which is not installed (pip install pooch)."
        raise FileNotFoundError(_not_found(entry, tried, reason))
    folder = cache / entry.name
    for file in entry.remote:
        failures: list[str] = []
        for url in entry.urls:
            try:
                retrieve(url + file.stem + ".gz", file.archive_hash, folder)
                break
            except (OSError, ValueError) as error:
                failures.append(f"{url} ({type(error).__name__})")
        else:
            reason = f"The download of {file.stem}.gz failed at {', '.join(failures)}."
            raise FileNotFoundError(_not_found(entry, tried, reason))
    return folder


def retrieve(url: str, archive_hash: str, folder: Path) -> None:
    """Download one address into `folder`, with a progress bar where tqdm is installed, and check its hash.

    Raises OSError if the address does not answer, ValueError if what it sends is not the published file.
    """
    pooch: Any = _pooch()
    progress = importlib.util.find_spec("tqdm") is not None
    downloader = pooch.HTTPDownloader(progressbar=progress, timeout=TIMEOUT)
    pooch.retrieve(url, archive_hash, fname=url.rpartition("/")[2], path=folder, downloader=downloader)


def _pooch() -> Any | None:
    """The pooch package, imported only when a full set is asked for; None if not installed."""
    try:
        return importlib.import_module("pooch")
    except ImportError:
        return None


def _classes(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Class numbers (N,); QMNIST keeps them in the first of eight columns."""
    return np.ascontiguousarray(labels[:, 0]) if labels.ndim == 2 else labels


def _not_found(entry: Entry, tried: list[Path], reason: str, root: str | Path | None = None) -> str:
    """What is missing, how large it is, where it was looked for, where to get it, what to take instead."""
    best = max(tried, key=lambda folder: sum(locate(folder, file) is not None for file in entry.remote))
    missing = [file.stem for file in entry.remote if locate(best, file) is None]
    found = f" ({best} holds some of them)" if len(missing) < len(entry.remote) else ""
    if root is not None:
        advice = f"Put them there, or leave root out to have {entry.name} looked for and downloaded."
    else:
        advice = f"Put them into a folder {entry.name} and set TINYAE_DATA to the folder above it"
        advice += "." if reason else ", or allow the download."
    size, places = megabytes(entry.size), ", ".join(map(str, tried))
    needs = f"{entry.name} needs {', '.join(missing)} (.gz or plain, {size} in all){found}; not in {places}."
    last = f"Embedded alternative, no download: {entry.alternative!r}."
    address = f"Address: {entry.urls[0]} ." if entry.urls else f"Source: {entry.source}."
    return " ".join(part for part in (needs, reason, address, advice, last) if part)
