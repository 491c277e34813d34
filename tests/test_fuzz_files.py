"""Damaged data files: whatever the bytes, they give finite data or one sentence with the path, in little memory.

Seeds are small valid files of every kind, and files with a pickle that would leave a trace if it ran. A mutant is a seed after
a few random damages; where the format packs or checks its content, the damage is also done inside and packed again, so that it
gets past the checksum. `CORPUS` has every file that failed once, by name.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import struct
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinyae import data
from tinyae.data import Dataset, Split
from tinyae.data.formats import parse_ts
from tinyae.data.pictures import DENSEST

Bytes = bytes
Mutator = Callable[[np.random.Generator, Bytes], Bytes]

SLACK = 4 << 20
"""Bytes that reading may need beside three times the file and what came of it: one piece of an unpacked file, modules."""

# ---------------------------------------------------------------------------------------------------------------------
# The seeds.


class Trap:
    """An object that makes a folder, below the current one, when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


def npy(array: np.ndarray, version: tuple[int, int] | None = None) -> Bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def zipped(members: dict[str, Bytes], method: int = zipfile.ZIP_DEFLATED) -> Bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def idx(code: int, shape: tuple[int, ...], content: Bytes) -> Bytes:
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


def picture(form: str, seed: int = 0) -> Bytes:
    file = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    Image.fromarray(values).save(file, form)
    return file.getvalue()


X = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
LABELS = np.arange(24, dtype=np.int64) % 3
PADDED = np.where(np.arange(4)[:, None] < (LABELS + 1)[:, None, None], 0.5, 0.0) * np.ones((24, 4, 2))
MEMBERS = {"x.npy": npy(X), "y.npy": npy(LABELS), "extra.npy": npy(X.astype(str))}
PARTS = {"train_x.npy": npy(PADDED), "train_lengths.npy": npy(LABELS + 1), "train_y.npy": npy(LABELS.astype(np.uint8))}
PIXELS = bytes(range(0, 240, 10))
TS = b"""# words
@problemName toy
@classLabel true a b
@data
1,2.5,3:4,5,6:a
1,2:3,4:b
-1e-3,0,0,1:9,8,7,6:a
"""


TRAPPED = npy(np.array([[Trap(), 1], [2, 3]], object))


SEEDS: dict[str, list[Bytes]] = {
    "a.npy": [
        npy(X), npy(np.asfortranarray(X.astype("f8")), (2, 0)), npy(np.arange(96, dtype=np.uint8).reshape(6, 4, 4)),
    ],
    "recording.npy": [npy(X), npy(X[:, 0].astype(">f8"))],
    "a.npz": [
        zipped(MEMBERS), zipped(MEMBERS, zipfile.ZIP_STORED), zipped(PARTS | {"test_x.npy": npy(PADDED[:3])}),
        zipped(MEMBERS | {"more.npy": TRAPPED}),
    ],
    "a.csv": [b"a,b\n1,2.5\n3,4e-1\n-5,6\n", b"\xef\xbb\xbf width; height\r\n1;2\r\n\r\n3;4\r\n"],
    "recording.csv": [b"t,v\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(20))],
    "a-idx3-ubyte": [idx(8, (4, 2, 3), PIXELS), idx(13, (2, 3), PIXELS)],
    "a.gz": [gzip.compress(idx(8, (4, 2, 3), PIXELS)), gzip.compress(idx(11, (2, 3, 2), PIXELS))],
    "a.png": [picture(form) for form in ("PNG", "JPEG", "WEBP", "BMP", "GIF")],  # told apart by their content
    "a.ts": [TS],
}  # fmt: skip
TRAPS: dict[str, list[Bytes]] = {
    "a.npy": [TRAPPED, pickle.dumps(Trap())],
    "recording.npy": [TRAPPED],
    "a.npz": [zipped({"x.npy": TRAPPED}), zipped(MEMBERS, zipfile.ZIP_LZMA)],
}
"""Files that are always refused, whose mutants are read all the same."""

# ---------------------------------------------------------------------------------------------------------------------
# The damages.

SIZES = [0, 1, 2, 3, 65, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1]
WORDS = [
    b"-1", b"1e400", b"1e300", b"nan", b"inf", b"", b"1.5", b"True", b"'", b"(", b"}", b'"', b"\n", b",", b":",
    b"|O", b"9" * 30,
]  # fmt: skip


def flipped(rng: np.random.Generator, content: Bytes) -> Bytes:
    found = bytearray(content)
    for place in rng.integers(0, len(found), rng.integers(1, 6)):
        found[place] ^= int(rng.integers(1, 256))
    return bytes(found)


def resized(rng: np.random.Generator, content: Bytes) -> Bytes:
    """Another size at some place, in the binary forms that headers have."""
    size, form = int(rng.choice(np.array(SIZES, object))), str(rng.choice(["B", "<H", "<I", ">I", "<Q"]))
    width = struct.calcsize(form)
    place = int(rng.integers(0, min(len(content), 128)))
    return content[:place] + struct.pack(form, size % 256**width) + content[place + width :]


def reworded(rng: np.random.Generator, content: Bytes) -> Bytes:
    """Another number in place of one that is written out, as in the header of a .npy."""
    numbers = list(re.finditer(rb"\d+", content))
    if not numbers:
        return flipped(rng, content)
    old = numbers[int(rng.integers(len(numbers)))]
    words = [*WORDS, *(str(size).encode() for size in SIZES)]
    return content[: old.start()] + words[int(rng.integers(len(words)))] + content[old.end() :]


def cut(rng: np.random.Generator, content: Bytes) -> Bytes:
    return content[: int(rng.integers(0, len(content)))]


def rearranged(rng: np.random.Generator, content: Bytes) -> Bytes:
    """A slice dropped, repeated, or moved to another place."""
    first, last, place = np.sort(rng.integers(0, len(content) + 1, 3)).tolist()
    part = content[first:last]
    found = (content[:first] + content[last:], content[:last] + part + content[last:], part + content[place:])
    return found[rng.integers(3)]


def spliced(rng: np.random.Generator, content: Bytes) -> Bytes:
    """The beginning of one file and the end of another."""
    kinds = list(SEEDS.values())
    other = kinds[int(rng.integers(len(kinds)))][0]
    return content[: int(rng.integers(1, len(content) + 1))] + other[int(rng.integers(len(other))) :]


MUTATORS: list[Mutator] = [flipped, resized, reworded, cut, rearranged, spliced]


def damaged(rng: np.random.Generator, content: Bytes) -> Bytes:
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        content = MUTATORS[int(rng.integers(len(MUTATORS)))](rng, content) or content
    return content


def mutant(rng: np.random.Generator, content: Bytes) -> Bytes:
    """The content damaged, or, half of the packed files, their content damaged and packed again."""
    inside = rng.random() < 0.5
    if inside and content[:2] == b"\x1f\x8b":
        return gzip.compress(damaged(rng, gzip.decompress(content)), 1)
    if inside and content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = list(members)[int(rng.integers(len(members)))]
        return zipped(members | {name: damaged(rng, members[name])})
    return damaged(rng, content)


# ---------------------------------------------------------------------------------------------------------------------
# What is promised of every file.


def loaded(path: Path) -> list[Split]:
    """The parts of what a reader makes of a file."""
    if path.suffix == ".ts":
        return [Split(*parse_ts(path.read_text("latin-1"), str(path)))]
    if path.stem == "recording":
        found: Dataset = data.load_series(path, 3)
    elif path.parent.name == "photos":
        found = data.load(path.parent, progress=False)
    else:
        found = data.load(path)
    return [found.train, found.test]


def declared(path: Path) -> int:
    """The bytes in float32 of the pixels that a picture claims, of as many as are believed."""
    with suppress(Exception), warnings.catch_warnings(), Image.open(path) as image:
        warnings.simplefilter("ignore")
        return 12 * min(image.width * image.height, DENSEST * (path.stat().st_size + 100))
    return 0


def check(path: Path, trace: Path) -> str:
    """Read a file that may be damaged, hold the outcome to the promise, and return the sentence, or "" for data."""
    present = path.stat().st_size + (declared(path) if path.suffix == ".png" else 0)
    said, parts = "", []
    began = time.process_time()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # as in a user's session, not as in a test
            warnings.simplefilter("ignore")
            parts = loaded(path)
    except (ValueError, OSError) as error:
        said = str(error)
        where = str(path.parent) if path.parent.name == "photos" else str(path)
        assert where in said
        assert "object at 0x" not in said
        assert "\n" not in said.strip() or " faults:\n  " in said  # all of a table in one report
    peak = tracemalloc.get_traced_memory()[1] - before
    assert time.process_time() - began < 5.0
    for split in parts:
        assert split.x.dtype == np.float32
        assert np.isfinite(split.x).all()
        assert split.y is None or (split.y.dtype == np.int64 and (split.y >= 0).all() and len(split.y) == len(split.x))
        assert split.lengths is None or (split.lengths.dtype == np.int64 and (split.lengths >= 1).all())
    assert peak <= 3 * (present + sum(split.x.nbytes for split in parts)) + SLACK
    assert not trace.exists()
    return said


@pytest.fixture
def trace(tmp_path, monkeypatch):
    """The folder that a pickle makes if it runs; memory is traced."""
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    yield tmp_path / "sprung"
    tracemalloc.stop()


@pytest.fixture
def place(tmp_path):
    """Write a file where it belongs: a picture among others in a folder, anything else alone."""
    (tmp_path / "photos").mkdir()
    for n in range(2):
        (tmp_path / "photos" / f"{n}.png").write_bytes(picture("PNG", n + 1))

    def write(name: str, content: Bytes) -> Path:
        path = tmp_path / "photos" / name if name.endswith(".png") else tmp_path / name
        path.write_bytes(content)
        return path

    return write


EACH = 500
MORE = [pytest.mark.thorough, pytest.mark.matrix]
CHUNKS = [0, *(pytest.param(n, marks=MORE[: 1 + (n > 3)]) for n in range(1, 200))]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_mutants(chunk, place, trace):
    kinds = list(SEEDS)
    outcomes = dict.fromkeys(kinds, 0)
    for number in range(EACH):
        rng = np.random.default_rng((chunk, number))
        name = kinds[number % len(kinds)]
        seeds = SEEDS[name] + TRAPS.get(name, [])
        content = mutant(rng, seeds[int(rng.integers(len(seeds)))])
        path = place(name, content)
        try:
            outcomes[name] += not check(path, trace)
        except BaseException as error:
            error.add_note(f"mutant {number} of chunk {chunk}, {name}: {content[:2000]!r}")
            raise
        path.unlink()
    assert all(0 < count < EACH / len(kinds) for count in outcomes.values()), outcomes  # some load, not all


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_load_and_traps_do_not(name, place, trace):
    for content in SEEDS[name] + TRAPS.get(name, []):
        assert bool(check(place(name, content), trace)) == (content in TRAPS.get(name, []))


# ---------------------------------------------------------------------------------------------------------------------
# Every file that failed once: its name, its content, and what is said of it; "" of one that is read.

LARGE = zipped({"junk.npy": npy(np.zeros(25_000_000, np.uint8)), "x.npy": npy(X), "y.npy": npy(LABELS)})


def header(words: str, version: Bytes = b"\1\0") -> Bytes:
    """A .npy with a header of these words, and no values."""
    text = words.encode("latin-1")
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(text)) + text


def shaped(shape: str, descr: str = "'<f4'") -> Bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n")


def labeled(labels: Any) -> Bytes:
    return zipped({"x.npy": npy(X), "y.npy": npy(labels)})


def method(number: int) -> Bytes:
    """An archive that names another method of compression for all of its members."""
    content = zipped({"x.npy": npy(X)})
    for signature, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        at = content.index(signature) + place
        content = content[:at] + struct.pack("<H", number) + content[at + 2 :]
    return content


def corrupt(content: Bytes, at: float = 0.4) -> Bytes:
    place = int(at * len(content))
    return content[:place] + bytes(255 - byte for byte in content[place : place + 8]) + content[place + 8 :]


def chunk_of(size: int) -> Bytes:
    """A PNG whose pixels claim `size` bytes."""
    content = picture("PNG")
    at = content.index(b"IDAT") - 4
    return content[:at] + struct.pack(">I", size) + content[at + 4 :]


CORPUS: dict[str, tuple[str, Bytes, str]] = {
    "header without its end": ("a.npy", shaped("(2, 3)")[:-2], "not a NumPy file"),
    "header nested": ("a.npy", header("(" * 5000), "not a NumPy file"),
    "header that computes": ("a.npy", header("__import__('os').mkdir('sprung')"), "not a NumPy file"),
    "header longer than the file": ("a.npy", header("{}", b"\2\0")[:10] + b"\xff\0\0", "not a NumPy file"),
    "records": ("a.npy", npy(np.zeros(4, [("a", "<f4"), ("b", "<f4")])), "type .*save x.astype|one axis"),
    "20 GB": ("a.npy", shaped("(2, 2500000000)"), "need 20,000,000,000 bytes, got 0"),
    "20 GB in an archive": ("a.npz", zipped({"x.npy": shaped("(2, 2500000000)")}), "'x' .*need 20,000,000,000 bytes"),
    "class numbers far apart":
        ("a.npz", zipped({"x.npy": npy(np.zeros((12, 2), "f4")), "y.npy": npy(np.arange(12) % 4 * 21_000)}), ""),
    "axis of 2**62": ("a.npy", shaped("(2, 4611686018427387904)"), "bytes, got 0"),
    "many axes of 2**62": ("a.npy", shaped("(4611686018427387904,) * 2"), "not a NumPy file"),
    "no bytes of 2**62": ("a.npy", shaped("(4611686018427387904, 2)", "'<U0'"), "damaged|type"),
    "negative axis": ("a.npy", shaped("(-2, -3)"), r"shape \(-2, -3\)"),
    "axis that is a word": ("a.npy", shaped("(2, 'a')"), "not a NumPy file"),
    "name in the header": ("a.npy", npy(X).replace(b"False", b"Falze"), "its header is not one"),
    "call in the header": ("a.npy", npy(X).replace(b"(24, 5)", b"open(5)"), "its header is not one"),
    "text in the header": ("a.npy", npy(X).replace(b"'shape'", b"'shape "), "its header is not one"),
    "bytes behind the values": ("a.npy", npy(X) + b"more", "need 480 bytes, got 484"),
    "member x no array": ("a.npz", zipped({"x.npy": b"hello", "y.npy": npy(LABELS)}), "not a NumPy file"),
    "member y no array": ("a.npz", zipped({"x.npy": npy(X), "y": b"hello"}), "not a NumPy file"),
    "member of text beside": ("a.npz", zipped({"x.npy": npy(X), "readme.txt": b"hello"}), ""),
    "member of objects beside": ("a.npz", zipped(MEMBERS | {"more.npy": TRAPPED}), ""),
    "member of 25 MB beside": ("a.npz", LARGE, ""),
    "damaged member": ("a.npz", corrupt(zipped({"x.npy": npy(X)})), "not a NumPy file"),
    "damaged member of LZMA": ("a.npz", corrupt(zipped({"x.npy": npy(X)}, zipfile.ZIP_LZMA)), "another method"),
    "unknown compression": ("a.npz", method(99), "another method"),
    "unsigned label": ("a.npz", labeled(LABELS.astype("u8") + np.uint64(2**63)), "labels from 9223372036854775808"),
    "negative label": ("a.npz", labeled(LABELS - 1), "labels from -1 to 1"),
    "large label": ("a.npz", labeled(LABELS + 2**40), "labels from 1099511627776 .* below 65,536"),
    "label between": ("a.npz", labeled(LABELS + 0.5), "type float64: give one class number"),
    "label of text": ("a.npz", labeled(LABELS.astype(str)), "type <U21: give one class number"),
    "label of objects": ("a.npz", zipped({"x.npy": npy(X), "y.npy": TRAPPED}), "'y' holds Python objects"),
    "unsigned length":
        ("a.npz", zipped(PARTS | {"train_lengths.npy": npy(LABELS.astype(np.uint64) - np.uint64(1))}), "length"),
    "objects": ("a.npy", TRAPPED, "Python objects, which are not loaded"),
    "text": ("a.npy", b"hello world", "not a NumPy file"),
    "text of an archive": ("a.npz", b"hello world", "not a NumPy file"),
    **{f"{name} cut to {keep} bytes": (name, content[:keep], "damaged or not a NumPy file")
       for name, content in (("a.npy", npy(X)), ("a.npz", zipped(MEMBERS))) for keep in (20, 60, 300, 500)},
    "pickle": ("a.npy", pickle.dumps(Trap()), "not a NumPy file"),
    "open quote": ("a.csv", b'1,2\n3,"4\n5,6\n', "line"),
    "long field": ("a.csv", b"1,2\n3," + b"9" * 140_000 + b"\n", "line|type|large"),
    "huge axes of nothing": ("a-idx3-ubyte", idx(8, (0, 2**32 - 1, 2**32 - 1), b""), "an IDX file|no values"),
    "65 axes": ("a-idx3-ubyte", idx(8, (1,) * 65, b"\0"), "an IDX file"),
    "255 axes": ("a-idx3-ubyte", idx(8, (1,) * 255, b"\0"), "an IDX file"),
    "bomb": ("a.gz", gzip.compress(idx(8, (6, 1), b"\0" * 200_000_000)), "need 18 bytes, got 19 or more"),
    "promise beyond the file": ("a.gz", gzip.compress(idx(14, (2**31, 2**31), PIXELS)), "truncated"),
    "chunk of 4 GB": ("a.png", chunk_of(2**32 - 1), ""),
    "too many pixels":
        ("a.png", picture("BMP")[:18] + struct.pack("<ii", 9000, 9000) + picture("BMP")[26:], "cannot hold"),
    "infinite step": ("a.ts", TS.replace(b"2.5", b"1e300"), "line 5 holds a value"),
    "time 1e400": ("recording.csv", b"t,v\n1,2\n1e400,3\n", "line 3"),
}  # fmt: skip
"""Name -> file, content, sentence."""


@pytest.mark.parametrize("name", CORPUS)
def test_corpus(name, place, trace):
    file, content, says = CORPUS[name]
    said = check(place(file, content), trace)
    assert bool(said) == bool(says)
    assert re.search(says, said), said
