"""A row of the catalogue: what is known about a data set before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tinyae.data.dataset import Kind


@dataclass(frozen=True)
class RemoteFile:
    """One file of a full set.

    Attributes:
        role: "train_x", "train_y", "test_x" or "test_y"; "train" or "test" for a file that holds both.
        stem: the file name without `.gz`.
        payload_bytes: its size uncompressed.
        archive_hash: `algorithm:hexdigest` of the published `.gz`, what a download is checked against; "" where there
            is no download of the single file.
        payload_sha256: SHA-256 of the uncompressed content, or None where nobody published one.
    """

    role: str
    stem: str
    payload_bytes: int
    archive_hash: str
    payload_sha256: str | None = None


@dataclass(frozen=True)
class Entry:
    """One row of the catalogue. Attributes as in `Dataset`; besides:

    Attributes:
        counts: examples in (train, test).
        shape: shape of one example.
        size: bytes on disk (embedded) or of the download.
        embedded: True if the set is part of the package.
        files: names of the embedded files.
        remote: the files of a full set, and
        urls: the addresses they are fetched from, in the order they are tried (`url + stem + ".gz"`).
        alternative: name of the embedded set to use where a full one cannot be had.
        films: how the set is made from another, the arguments of `moving_digits` with the name of its source.
    """

    name: str
    title: str
    kind: Kind
    counts: tuple[int, int]
    shape: tuple[int, ...]
    size: int
    licence: str
    source: str
    unit: str
    scale: float
    notes: str = ""
    class_names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    remote: tuple[RemoteFile, ...] = ()
    urls: tuple[str, ...] = ()
    alternative: str = ""
    films: Mapping[str, Any] = field(default_factory=dict)
    feature_names: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        """True if the set is part of the package."""
        return bool(self.files)

    @property
    def where(self) -> str:
        """Where it comes from, in a word: embedded, download, or on disk for files that no address hands out singly."""
        if self.embedded:
            return "embedded"
        return "download" if self.urls or self.films else "on disk"
