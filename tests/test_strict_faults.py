"""Mistakes with devices, planted one by one: NumPy forgives each of them, the strict double catches every one.

Each row has a counterpart that does the same thing rightly, so that a double which refuses everything would fail.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyae.backend import CPU, Backend
from tinyae.testing import strict_device
from tinyae.testing.strict import Float64Error, HiddenCopyError, HiddenSyncError

Body = Callable[["Scene"], Any]


class Scene:
    """What a body works on: arrays of one device, and the host array that they came from."""

    def __init__(self, device: Backend) -> None:
        rng = np.random.default_rng(0)
        self.host = rng.uniform(0.5, 1.5, (4, 3)).astype("float32")
        self.device, self.xp = device, device.xp
        self.x = device.to_device(self.host.copy())
        self.mask = device.to_device(self.host > 1.0)
        self.index = device.to_device(np.array([2, 0, 1]))
        self.row = self.x[0]


@dataclass(frozen=True)
class Fault:
    """One mistake: what it looks like, how it is refused, and how the same is done rightly."""

    name: str
    kind: str
    wrong: Body
    error: type[Exception] | tuple[type[Exception], ...]
    right: Body
    numpy_forgives: bool = True


def reads_memory_never_written(value: Any) -> None:
    """What a test does that compares with the CPU: read the result, and notice NaN."""
    host = value.get() if hasattr(value, "get") else value
    if not np.isfinite(host).all() or (host.dtype.kind == "i" and abs(host).max() > 1e6):
        raise FloatingPointError("memory that nobody wrote was read")


def filled(scene: Scene) -> Any:
    out = scene.xp.empty((3,), "float32")
    out[...] = 1.0
    return reads_memory_never_written(out)


def assign(target: Any, key: Any, value: Any) -> None:
    target[key] = value


def accumulated(scene: Scene) -> None:
    total = scene.xp.zeros((3,), "float32")
    scene.xp.add.at(total, scene.xp.zeros((3,), "int64"), scene.row)


def on(kind: str, *rows: tuple) -> list[Fault]:
    return [Fault(row[0], kind, *row[1:]) for row in rows]


NUMPY_FUNCTION = on(
    "a NumPy function on a device array",
    ("np.maximum(x, 0)", lambda s: np.maximum(s.x, 0), TypeError, lambda s: s.xp.maximum(s.x, 0)),
    ("np.sum(x)", lambda s: np.sum(s.x), TypeError, lambda s: s.xp.sum(s.x)),
    ("np.zeros_like(x)", lambda s: np.zeros_like(s.x), TypeError, lambda s: s.xp.zeros_like(s.x)),
    ("np.concatenate", lambda s: np.concatenate([s.x, s.x]), TypeError, lambda s: s.xp.concatenate([s.x, s.x])),
    ("np.asarray(x)", lambda s: np.asarray(s.x), TypeError, lambda s: s.device.to_host(s.x)),
    ("np.array([x0, x1])", lambda s: np.array([s.x[0], s.x[1]]), TypeError, lambda s: s.xp.stack([s.x[0], s.x[1]])),
    ("np.add.reduce(x)", lambda s: np.add.reduce(s.x), TypeError, lambda s: s.xp.add.reduce(s.x)),
    ("np.exp(x, out=x)", lambda s: np.exp(s.x, out=s.x), TypeError, lambda s: s.xp.exp(s.x, out=s.x)),
)
MIXING = on(
    "device and host mixed",
    ("x + host", lambda s: s.x + s.host, TypeError, lambda s: s.x + s.device.to_device(s.host)),
    ("host * x", lambda s: s.host * s.x, TypeError, lambda s: s.device.to_device(s.host) * s.x),
    ("host.T @ x", lambda s: s.host.T @ s.x, TypeError, lambda s: s.x.T @ s.x),
    ("x @ host", lambda s: s.x @ s.host.T, TypeError, lambda s: s.x @ s.x.T),
    ("x += host", lambda s: s.x.__iadd__(s.host), TypeError, lambda s: s.x.__iadd__(s.x)),
    ("x + 0-d host", lambda s: s.x + np.array(1.0, "float32"), TypeError, lambda s: s.x + np.float32(1.0)),
    ("x[0] = host[0]", lambda s: assign(s.x, 0, s.host[0]), ValueError, lambda s: assign(s.x, 0, s.x[1])),
    ("host[0] = x[0]", lambda s: assign(s.host, 0, s.x[0]), (TypeError, ValueError), lambda s: s.device.to_host(s.row)),
    ("xp.dot(host, host)", lambda s: s.xp.dot(s.host.T, s.host), TypeError, lambda s: s.xp.dot(s.x.T, s.x)),
    ("xp.sum(host)", lambda s: s.xp.sum(s.host), TypeError, lambda s: s.xp.sum(s.x)),
    ("xp.exp(host)", lambda s: s.xp.exp(s.host), TypeError, lambda s: s.xp.exp(s.x)),
    ("xp.exp(x, out=host)", lambda s: s.xp.exp(s.x, out=s.host), TypeError, lambda s: s.xp.exp(s.x, out=s.x)),
    ("x[host index]", lambda s: s.x[np.array([1, 0])], TypeError, lambda s: s.x[s.index]),
    ("x[[1, 0]]", lambda s: s.x[[1, 0]], TypeError, lambda s: s.xp.take(s.x, s.index, 0)),
    ("xp.where(host, x, x)", lambda s: s.xp.where(s.host > 1, s.x, 0), TypeError, lambda s: s.xp.where(s.mask, s.x, 0)),
)
LACKING = on(
    "names and keywords that CuPy lacks",
    ("xp.vecdot", lambda s: s.xp.vecdot(s.x, s.x), AttributeError, lambda s: (s.x * s.x).sum(axis=-1)),
    ("xp.errstate", lambda s: s.xp.errstate(all="ignore"), AttributeError, lambda s: s.xp.nan_to_num(s.x)),
    ("xp.block", lambda s: s.xp.block([s.x, s.x]), AttributeError, lambda s: s.xp.hstack([s.x, s.x])),
    ("xp.linalg.vector_norm", lambda s: s.xp.linalg.vector_norm(s.x), AttributeError, lambda s: s.xp.linalg.norm(s.x)),
    ("add(where=)", lambda s: s.xp.add(s.x, 1, out=s.x, where=s.mask), TypeError,
     lambda s: s.xp.where(s.mask, s.x + 1, s.x)),
    ("sum(initial=)", lambda s: s.xp.sum(s.x, initial=1.0), TypeError, lambda s: s.xp.sum(s.x) + 1.0),
    ("x.max(where=)", lambda s: s.x.max(where=s.mask, initial=0), TypeError, lambda s: (s.x * s.mask).max()),
    ("maximum.reduce", lambda s: s.xp.maximum.reduce(s.x), NotImplementedError, lambda s: s.x.max(axis=0)),
    ("multiply.at", lambda s: s.xp.multiply.at(s.x, s.index, 2), NotImplementedError, accumulated),
    ("take(mode=)", lambda s: s.xp.take(s.x, 1, mode="clip"), TypeError, lambda s: s.xp.take(s.x, 1)),
    ("clip(min=)", lambda s: s.xp.clip(s.x, min=0, max=1), TypeError, lambda s: s.xp.clip(s.x, 0, 1)),
    ("zeros(device=)", lambda s: s.xp.zeros(3, device="cpu"), TypeError, lambda s: s.xp.zeros(3)),
    ("einsum(out=)", lambda s: s.xp.einsum("ij->i", s.x, out=s.x[:, 0]), TypeError,
     lambda s: s.xp.einsum("ij->i", s.x)),
    ("rng.normal", lambda s: s.device.generator(0).normal(), AttributeError, lambda s: s.device.generator(0).random()),
    ("rng.permutation", lambda s: s.device.generator(0).permutation(3), AttributeError, lambda s: s.xp.arange(3)),
    ("x.itemset, x.ctypes", lambda s: s.x.ctypes, AttributeError, lambda s: s.x.nbytes),
)  # fmt: skip
SYNC = on(
    "a hidden synchronization",
    ("float(loss)", lambda s: float((s.x * s.x).mean()), HiddenSyncError, lambda s: (s.x * s.x).mean()),
    ("if norm > 1", lambda s: 1 if (s.x * s.x).sum() > 1 else 0, HiddenSyncError,
     lambda s: s.xp.minimum(s.x.sum(), 1.0)),
    ("f'{loss:.3f}'", lambda s: f"{s.x.mean():.3f}", HiddenSyncError, lambda s: s.x.mean()),
    ("print(x)", lambda s: str(s.x), HiddenSyncError, lambda s: str(s.x.shape)),
    ("loss.item()", lambda s: s.x.mean().item(), HiddenSyncError, lambda s: 0.0 + s.x.mean()),
    ("x.tolist()", lambda s: s.x.tolist(), HiddenSyncError, lambda s: list(s.x)),
    ("x[x > 1]", lambda s: s.x[s.mask], HiddenSyncError, lambda s: s.xp.where(s.mask, s.x, 0.0)),
    ("where(mask)", lambda s: s.xp.where(s.mask), HiddenSyncError, lambda s: s.xp.where(s.mask, 1.0, 0.0)),
    ("nonzero", lambda s: s.mask.nonzero(), HiddenSyncError, lambda s: s.mask.sum()),
    ("unique", lambda s: s.xp.unique(s.x), HiddenSyncError, lambda s: s.xp.sort(s.x)),
    ("range(n)", lambda s: range(s.index[0]), TypeError, lambda s: range(len(s.index))),
)  # fmt: skip
COPY = on(
    "a hidden copy",
    ("to_host in the step", lambda s: s.device.to_host(s.x), (HiddenCopyError, HiddenSyncError), lambda s: s.x.copy()),
    ("to_device in the step", lambda s: s.device.to_device(s.host), HiddenCopyError, lambda s: s.xp.ones_like(s.x)),
    ("xp.asarray(number)", lambda s: s.xp.asarray(0.5, "float32"), HiddenCopyError, lambda s: s.xp.full((), 0.5, "f4")),
)
FLOAT64 = on(
    "float64 creeping in",
    ("x * np.sqrt(2.0)", lambda s: s.x * np.sqrt(2.0), Float64Error, lambda s: s.x * float(np.sqrt(2.0))),
    ("xp.zeros(n)", lambda s: s.x + s.xp.zeros(3), Float64Error, lambda s: s.x + s.xp.zeros(3, "float32")),
    ("mask * 0.5", lambda s: s.mask * 0.5, Float64Error, lambda s: s.mask.astype(s.x.dtype) * 0.5),
    ("rng.random(n)", lambda s: s.device.generator(0).random(3), Float64Error,
     lambda s: s.device.generator(0).random(3, "f4")),
    ("index / n", lambda s: s.index / 3, Float64Error, lambda s: s.index.astype("float32") / 3),
    ("x.sum(dtype=)", lambda s: s.x.sum(dtype="float64"), Float64Error, lambda s: s.x.sum()),
)  # fmt: skip
INDEX = on(
    "indices repeated or out of bounds",
    ("x[i] = v, i repeated", lambda s: assign(s.x, s.xp.zeros(2, "int64"), 1.0), IndexError, accumulated),
    ("x[i, j] = v, a pair repeated", lambda s: assign(s.x, (s.xp.ones(2, "int64"), s.xp.ones(2, "int64")), 1.0),
     IndexError, lambda s: assign(s.x, (s.xp.ones(3, "int64"), s.index), 1.0)),
    ("x[i] += v, i repeated", lambda s: assign(s.row, s.index * 0, s.row), IndexError,
     lambda s: assign(s.row, s.index, 1.0)),
    ("x[n]", lambda s: s.x[s.index + 2], IndexError, lambda s: s.x[s.index], False),
    ("take(x, n)", lambda s: s.xp.take(s.x, s.index + 10), IndexError, lambda s: s.xp.take(s.x, s.index + 9), False),
)  # fmt: skip
MEMORY = on(
    "uninitialized memory",
    ("empty, read", lambda s: reads_memory_never_written(s.xp.empty((64,), "f4")), FloatingPointError, filled),
    ("empty_like, added to", lambda s: reads_memory_never_written(s.xp.empty_like(s.x) + s.x), FloatingPointError,
     lambda s: reads_memory_never_written(s.xp.zeros_like(s.x) + s.x)),
    ("empty of integers", lambda s: reads_memory_never_written(s.xp.empty((64,), "int64") // 2), FloatingPointError,
     lambda s: reads_memory_never_written(s.xp.zeros((64,), "int64"))),
)  # fmt: skip
FAULTS = [*NUMPY_FUNCTION, *MIXING, *LACKING, *SYNC, *COPY, *FLOAT64, *INDEX, *MEMORY]
every_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind}: {fault.name}")


def guarded(fault: Fault) -> Any:
    """The policy that a fault of this kind offends against."""
    return strict_device().policy(forbid_sync=fault in SYNC, forbid_copy=fault in COPY, forbid_float64=fault in FLOAT64)


@every_fault
def test_the_strict_device_catches_what_numpy_forgives(fault: Fault) -> None:
    """Why the double is needed: on the CPU the same body runs (but for indices that do not exist)."""
    with guarded(fault), pytest.raises(fault.error, match=r"\S"):
        fault.wrong(Scene(strict_device()))
    if fault not in MEMORY:
        with nullcontext() if fault.numpy_forgives else pytest.raises(IndexError):
            fault.wrong(Scene(CPU))


@every_fault
def test_both_accept_the_right_form(fault: Fault) -> None:
    # What mixes device and host is put right by copies, and some end on the host, rightly.
    allowed = fault in MIXING or fault in MEMORY or fault.name == "np.asarray(x)"
    scene = Scene(strict_device())
    with guarded(fault), strict_device().policy(forbid_copy=not allowed, forbid_sync=not allowed):
        fault.right(scene)
    fault.right(Scene(CPU))


def test_the_documentation_counts_the_faults() -> None:
    page = Path(__file__).parents[1] / "docs" / "devices.md"
    assert f"plants {len(FAULTS)} bugs" in page.read_text(encoding="utf-8")
