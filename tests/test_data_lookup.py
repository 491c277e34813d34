"""Full sets: where they are looked for, how they are checked, and what is said when they are nowhere.

A toy set of four tiny files stands in for MNIST. Nothing here leaves the machine: the download is replaced, and where
pooch itself is tried, it fetches from a server of this process.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import http.server
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tinyae import data
from tinyae.data import lookup
from tinyae.data.catalog import ENTRIES, RemoteFile

X = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 2, 2) * 20
PAYLOADS = {
    "train_x": b"\0\0\x08\3" + b"".join(n.to_bytes(4, "big") for n in (3, 2, 2)) + X.tobytes(),
    "train_y": b"\0\0\x08\1\0\0\0\3" + bytes([2, 0, 1]),
    "test_x": b"\0\0\x08\3" + b"".join(n.to_bytes(4, "big") for n in (1, 2, 2)) + X[2].tobytes(),
    "test_y": b"\0\0\x0c\2\0\0\0\1\0\0\0\2" + (1).to_bytes(4, "big") + (99).to_bytes(4, "big"),  # as QMNIST has them
}
STEMS = dict(zip(PAYLOADS, (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx2-int",
), strict=True))  # fmt: skip
RETRIEVE = lookup.retrieve
ARCHIVES = {role: gzip.compress(payload, mtime=0) for role, payload in PAYLOADS.items()}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The toy set in the catalog, every place of the search below `tmp_path`, and no way out to a network."""
    files = tuple(
        RemoteFile(role, STEMS[role], len(payload), f"sha256:{sha256(ARCHIVES[role])}", sha256(payload))
        for role, payload in PAYLOADS.items()
    )
    toy = dataclasses.replace(
        ENTRIES["mnist"], name="toy-set", title="toys", counts=(3, 1), shape=(2, 2, 1), size=123_456, remote=files,
        class_names=("a", "b", "c"), urls=("https://one.invalid/", "https://two.invalid/"), alternative="fashion-mini",
    )  # fmt: skip
    monkeypatch.setitem(ENTRIES, "toy-set", toy)
    monkeypatch.setenv("TINYAE_DATA", str(tmp_path / "env"))
    monkeypatch.setattr(lookup, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(lookup, "DEBIAN_FOLDER", tmp_path / "debian")

    def no_network(url, archive_hash, folder):
        raise AssertionError(f"a test would have downloaded {url}")

    monkeypatch.setattr(lookup, "retrieve", no_network)
    return tmp_path


def put(folder: Path, packed: bool = True, dotted: bool = False, roles: tuple[str, ...] = tuple(STEMS)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for role in roles:
        stem = STEMS[role].replace("-idx", ".idx") if dotted else STEMS[role]
        (folder / (stem + ".gz" * packed)).write_bytes(ARCHIVES[role] if packed else PAYLOADS[role])
    return folder


def test_values_labels_and_origin(places):
    folder = put(places / "env" / "toy-set")
    read = data.load("toy-set")
    assert np.array_equal(read.train.x, X[..., None].astype(np.float32) / np.float32(255))
    assert read.train.y.tolist() == [2, 0, 1]
    assert read.test.y.tolist() == [1]
    assert read.test.y.dtype == np.int64
    assert read.origin == str(folder)


def test_the_order_of_the_search(places):
    order = [put(places / folder) for folder in ("env/toy-set", "env/toy_set", "cache/toy-set", "debian/toy-set")]
    root = put(places / "root")
    assert data.load("toy-set", root=root).origin == str(root)
    for folder in order:
        assert data.load("toy-set").origin == str(folder)
        for path in folder.iterdir():
            path.unlink()
    with pytest.raises(AssertionError, match="would have downloaded"):
        data.load("toy-set")


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("dotted", [True, False], ids=["dot", "hyphen"])
@pytest.mark.parametrize("inside", ["", "toy-set", "toy_set"])
def test_root_is_the_folder_or_the_one_above_and_files_have_any_of_their_names(places, inside, dotted, packed):
    folder = put(places / "root" / inside, packed, dotted)
    read = data.load("toy-set", root=str(places / "root"))
    assert (read.origin, len(read.train)) == (str(folder), 3)


def test_an_explicit_root_is_never_stepped_over(places):
    put(places / "env" / "toy-set")
    with pytest.raises(FileNotFoundError, match="Put them there, or leave root out") as raised:
        data.load("toy-set", root=places / "root")
    assert str(places / "root") in str(raised.value)
    assert str(places / "env") not in str(raised.value)


def test_a_folder_with_some_of_the_files_is_not_used(places):
    put(places / "env" / "toy-set", roles=("train_x", "train_y"))
    whole = put(places / "cache" / "toy-set")
    assert data.load("toy-set").origin == str(whole)


def test_the_error_names_file_size_address_and_the_embedded_alternative(places):
    put(places / "env" / "toy-set", roles=("train_x", "train_y"))
    with pytest.raises(FileNotFoundError) as raised:
        data.load("toy-set", download=False)
    told = [STEMS["test_x"], STEMS["test_y"], "0.1 MB", "https://one.invalid/", "'fashion-mini'", "TINYAE_DATA"]
    told += ["contains some of them", "allow the download", *(str(places / p) for p in ("env", "cache", "debian"))]
    assert not [words for words in told if words not in str(raised.value)]
    assert STEMS["train_x"] not in str(raised.value)


@pytest.mark.parametrize("role", STEMS)
def test_one_changed_byte_is_found(places, role):
    folder = put(places / "env" / "toy-set")
    changed = PAYLOADS[role][:-1] + bytes([PAYLOADS[role][-1] ^ 1])
    (folder / (STEMS[role] + ".gz")).write_bytes(gzip.compress(changed))
    with pytest.raises(ValueError, match="not the published file: expected SHA-256") as raised:
        data.load("toy-set")
    assert STEMS[role] in str(raised.value)
    assert sha256(changed) in str(raised.value)


def test_a_wrong_size_is_found_where_no_sha256_is_published(places, monkeypatch):
    toy = ENTRIES["toy-set"]
    files = tuple(dataclasses.replace(file, payload_sha256=None) for file in toy.remote)
    monkeypatch.setitem(ENTRIES, "toy-set", dataclasses.replace(toy, remote=files))
    folder = put(places / "env" / "toy-set")
    assert len(data.load("toy-set").train) == 3
    (folder / (STEMS["test_x"] + ".gz")).write_bytes(gzip.compress(PAYLOADS["train_x"]))
    with pytest.raises(ValueError, match="expected 20 bytes uncompressed, got 21 or more"):
        data.load("toy-set")


def test_a_truncated_archive_is_an_error_and_not_a_reason_to_look_further(places):
    folder = put(places / "env" / "toy-set")
    put(places / "cache" / "toy-set")
    (folder / (STEMS["train_x"] + ".gz")).write_bytes(ARCHIVES["train_x"][:-9])
    with pytest.raises(ValueError, match="ends early"):
        data.load("toy-set")


def test_files_of_another_shape_are_refused(places, monkeypatch):
    monkeypatch.setitem(ENTRIES, "toy-set", dataclasses.replace(ENTRIES["toy-set"], counts=(4, 1)))
    put(places / "env" / "toy-set")
    with pytest.raises(ValueError, match=r"should have 4 examples of shape \(2, 2, 1\), got .* \(3, 2, 2, 1\)"):
        data.load("toy-set")


def test_the_download_goes_to_the_cache_and_tries_the_next_address(places, monkeypatch):
    asked = []

    def from_the_second(url, archive_hash, folder):
        asked.append(url)
        if url.startswith("https://one"):
            raise ConnectionError("no answer")
        role = next(r for r, stem in STEMS.items() if url.endswith(f"/{stem}.gz"))
        assert archive_hash == f"sha256:{sha256(ARCHIVES[role])}"
        put(folder, roles=(role,))

    monkeypatch.setattr(lookup, "retrieve", from_the_second)
    read = data.load("toy-set")
    assert read.origin == str(places / "cache" / "toy-set")
    assert asked[:2] == [f"https://{n}.invalid/{STEMS['train_x']}.gz" for n in ("one", "two")]
    assert len(asked) == 8
    asked.clear()
    assert data.load("toy-set").origin == read.origin
    assert asked == []


def test_a_failed_download_says_where_and_what_else(places, monkeypatch):
    def broken(url, archive_hash, folder):
        raise ConnectionError("no answer") if "one" in url else ValueError("hash does not match")

    monkeypatch.setattr(lookup, "retrieve", broken)
    with pytest.raises(FileNotFoundError) as raised:
        data.load("toy-set")
    told = [f"download of {STEMS['train_x']}.gz failed", "https://one.invalid/ (ConnectionError)"]
    told += ["https://two.invalid/ (ValueError)", "0.1 MB", "'fashion-mini'"]
    assert not [words for words in told if words not in str(raised.value)]


def test_without_pooch_what_is_on_disk_is_still_found(places, monkeypatch):
    monkeypatch.setattr(lookup, "retrieve", RETRIEVE)
    monkeypatch.setitem(sys.modules, "pooch", None)
    folder = put(places / "debian" / "toy-set")
    assert data.load("toy-set").origin == str(folder)
    next(folder.iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match="pip install pooch"):
        data.load("toy-set")


def test_without_the_variable_the_search_begins_at_the_cache(places, monkeypatch):
    put(places / "env" / "toy-set")
    cached = put(places / "cache" / "toy-set")
    monkeypatch.delenv("TINYAE_DATA")
    assert data.load("toy-set").origin == str(cached)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "qmnist"])
def test_a_mini_set_never_stands_in_for_a_full_one(places, name):
    with pytest.raises(FileNotFoundError, match=f"^{name} needs"):
        data.load(name, download=False)


def test_every_full_set_has_a_complete_row():
    full = [entry for entry in ENTRIES.values() if entry.urls]
    assert {entry.name for entry in full} == {"mnist", "fashion-mnist", "qmnist"}
    assert {entry.name for entry in ENTRIES.values() if entry.where == "on disk"} == {"japanese-vowels"}
    for entry in full:
        assert [file.role for file in entry.remote] == ["train_x", "train_y", "test_x", "test_y"]
        assert ENTRIES[entry.alternative].embedded
        assert entry.urls
        for file, count in zip(entry.remote, np.repeat(entry.counts, 2), strict=True):
            if file.role.endswith("_x"):
                assert file.payload_bytes == 16 + count * 28 * 28
            algorithm, _, digest = file.archive_hash.partition(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[algorithm]
            assert int(digest, 16) > 0


def test_a_set_of_two_text_files_is_checked_and_padded(places, monkeypatch):
    texts = {"train": "1,2:3,4:b\n5:6:a\n", "test": "7,8,9:1,2,3:a\n"}
    texts = {role: f"@classLabel true a b\n@data\n{lines}" for role, lines in texts.items()}
    files = tuple(
        RemoteFile(role, f"Toy_{role}.ts", len(text), "", sha256(text.encode())) for role, text in texts.items()
    )
    row = dataclasses.replace(
        ENTRIES["japanese-vowels"], name="toy-series", counts=(2, 1), shape=(3, 2), remote=files, class_names=("a", "b")
    )
    monkeypatch.setitem(ENTRIES, "toy-series", row)
    with pytest.raises(FileNotFoundError, match=r"not downloaded automatically: .* Source: UCI .* 'pendigits'"):
        data.load("toy-series")
    folder = places / "env" / "toy_series"
    folder.mkdir(parents=True)
    for role, text in texts.items():
        (folder / f"Toy_{role}.ts").write_text(text)
    read = data.load("toy-series")
    assert read.train.x.tolist() == [[[1, 3], [2, 4], [0, 0]], [[5, 6], [0, 0], [0, 0]]]
    assert (read.train.lengths.tolist(), read.test.lengths.tolist()) == ([2, 1], [3])
    assert (read.train.y.tolist(), read.test.y.tolist()) == ([1, 0], [0])
    (folder / "Toy_test.ts").write_text(texts["test"].replace("7", "8"))
    with pytest.raises(ValueError, match="SHA-256"):
        data.load("toy-series")


@pytest.fixture
def server(tmp_path):
    """An address of this machine that serves the folder `served`."""
    folder = put(tmp_path / "served")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *words: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(("platform", "variables", "folder"), [
    ("linux", {}, ".cache/tinyae"),
    ("linux", {"XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/tinyae"),
    ("linux", {"XDG_CACHE_HOME": ""}, ".cache/tinyae"),
    ("darwin", {}, "Library/Caches/tinyae"),
    ("win32", {}, "AppData/Local/tinyae/tinyae/Cache"),
    ("win32", {"LOCALAPPDATA": "/local"}, "/local/tinyae/tinyae/Cache"),
])  # fmt: skip
def test_the_cache_is_where_each_system_keeps_such_things(platform, variables, folder, tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert lookup.cache_folder() == tmp_path / folder


def test_the_cache_is_the_one_that_pooch_names():
    pooch = pytest.importorskip("pooch")
    assert lookup.cache_folder() == Path(pooch.os_cache("tinyae"))


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_pooch_fetches_and_checks(tmp_path, server, algorithm):
    pytest.importorskip("pooch")
    archive, name = ARCHIVES["train_x"], STEMS["train_x"] + ".gz"
    lookup.retrieve(server + name, f"{algorithm}:{hashlib.new(algorithm, archive).hexdigest()}", tmp_path / "cache")
    assert (tmp_path / "cache" / name).read_bytes() == archive


def test_pooch_refuses_what_is_not_the_published_file_and_leaves_nothing(tmp_path, server):
    pytest.importorskip("pooch")
    for name, error, words in ((STEMS["train_x"] + ".gz", ValueError, "hash"), ("nothing.gz", OSError, "404")):
        with pytest.raises(error, match=words):
            lookup.retrieve(server + name, "sha256:" + "0" * 64, tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []
