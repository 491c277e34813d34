"""The double against the installed CuPy, as far as that can be asked without a GPU.

CuPy imports without a driver, and its arrays can be laid over host memory; so names, keywords, shapes, strides and
the type of an exception can be compared. Skipped where CuPy is not installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyae.testing import strict_device
from tinyae.testing.strict.api import installed_api, snapshot_api, write_snapshot

INSTALLED = installed_api()
pytestmark = pytest.mark.skipif(INSTALLED is None, reason="CuPy is not installed")

HOST = np.arange(12, dtype="float32").reshape(3, 4)

PROBES: dict[str, Callable[[Any], Any]] = {
    "np.asarray(a)": np.asarray,
    "np.array([a])": lambda a: np.array([a]),
    "np.array([a0, a1])": lambda a: np.array([a[0, 0], a[0, 1]]),
    "np.float32(a)": np.float32,
    "range(a[0, 0])": lambda a: range(a[0, 0]),
    "[1, 2][a[0, 0]]": lambda a: [1, 2][a[0, 0]],
    "hash(a)": hash,
    "memoryview(a)": memoryview,
    "bool(a)": bool,
    "host[0] = a[0]": lambda a: np.zeros((3, 4), "f4").__setitem__(0, a[0]),
    "a[0] = host[0]": lambda a: a.__setitem__(0, HOST[0]),
    "a[0] = list": lambda a: a.__setitem__(0, ["text"]),
    "a + host": lambda a: a + HOST,
    "host + a": lambda a: HOST + a,
    "a @ host": lambda a: a @ HOST.T,
    "host @ a": lambda a: HOST.T @ a,
    "a + None": lambda a: a + None,
    "a + object": lambda a: a + object(),
    "len(a[0, 0])": lambda a: len(a[0, 0]),
    "iter(a[0, 0])": lambda a: iter(a[0, 0]),
    "a.T.strides": lambda a: a.T.strides,
    "a[1:, ::2]": lambda a: (a[1:, ::2].shape, a[1:, ::2].strides),
    "a[0, 0].shape": lambda a: a[0, 0].shape,
    "a[..., None]": lambda a: a[..., None].shape,
    "a[:, 9]": lambda a: a[:, 9],
    "a[5]": lambda a: a[5],
    "a.reshape(-1)": lambda a: a.reshape(-1).shape,
    "a.reshape((4, 3))": lambda a: a.reshape((4, 3)).strides,
    "a.reshape(5)": lambda a: a.reshape(5),
    "a.transpose(1, 0)": lambda a: a.transpose(1, 0).shape,
    "a.swapaxes(0, 1)": lambda a: a.swapaxes(0, 1).strides,
    "a.squeeze(0)": lambda a: a.squeeze(0),
    "a.base": lambda a: (a.base is None, a[1:].base is a),
    "a.sum(initial=0)": lambda a: a.sum(initial=0),
    "a.max(where=True)": lambda a: a.max(where=True),
    "a.sum(5 positional)": lambda a: a.sum(0, None, None, False, 1),
    "a.resize": lambda a: a.resize,
    "a.ctypes": lambda a: a.ctypes,
    "a.to_device": lambda a: a.to_device,
    "a.__array_interface__": lambda a: a.__array_interface__,
    "a.__array_namespace__": lambda a: a.__array_namespace__,
    "a.itemset": lambda a: a.itemset,
    "(nbytes, itemsize, ndim, size)": lambda a: (a.nbytes, a.itemsize, a.ndim, a.size),
}

STRICTER = {
    "np.exp(a)": np.exp,
    "np.sum(a)": np.sum,
    "np.zeros_like(a)": np.zeros_like,
    "np.shape(a)": np.shape,
    "a[1.5]": lambda a: a[1.5],
}
"""CuPy does something with these; the double refuses, because they are mistakes."""

NAMESPACE_PROBES: dict[str, Callable[[Any, Any], Any]] = {
    "xp.exp(host)": lambda xp, a: xp.exp(HOST),
    "xp.exp([1.0])": lambda xp, a: xp.exp([1.0]),
    "xp.add(where=)": lambda xp, a: xp.add(a, a, where=True),
    "xp.add(order=)": lambda xp, a: xp.add(a, a, order="C"),
    "xp.exp(out=host)": lambda xp, a: xp.exp(a, out=HOST),
    "xp.sum(initial=)": lambda xp, a: xp.sum(a, initial=0),
    "xp.take(mode=)": lambda xp, a: xp.take(a, 1, mode="clip"),
    "xp.clip(min=)": lambda xp, a: xp.clip(a, min=0, max=1),
    "xp.concatenate(arrays=)": lambda xp, a: xp.concatenate(arrays=[a, a]),
    "xp.einsum(order=)": lambda xp, a: xp.einsum("ij->i", a, order="C"),
    "xp.zeros(device=)": lambda xp, a: xp.zeros(3, device="cpu"),
    "xp.zeros(like=)": lambda xp, a: xp.zeros(3, like=a),
    "xp.maximum.reduce": lambda xp, a: xp.maximum.reduce(a),
    "xp.multiply.at": lambda xp, a: xp.multiply.at(a, 0, 2),
    "xp.vecdot": lambda xp, a: xp.vecdot,
    "xp.errstate": lambda xp, a: xp.errstate,
    "xp.block": lambda xp, a: xp.block,
    "xp.scatter_add": lambda xp, a: xp.scatter_add,
    "xp.linalg.vector_norm": lambda xp, a: xp.linalg.vector_norm,
    "xp.random.Generator.normal": lambda xp, a: xp.random.Generator.normal,
    "xp.broadcast_to": lambda xp, a: xp.broadcast_to(a, (2, 3, 4)).strides,
    "xp.asarray(a) is a": lambda xp, a: xp.asarray(a) is a,
    "xp.asnumpy(host) is host": lambda xp, a: xp.asnumpy(HOST) is HOST,
    "xp.get_array_module": lambda xp, a: xp.get_array_module(a) is xp,
    "isinstance": lambda xp, a: isinstance(a, xp.ndarray),
}


def real_array() -> Any:
    """A CuPy array; where there is no GPU one over host memory: its metadata is real, and nothing can compute with it."""
    import cupy

    if cupy.cuda.is_available():
        return cupy.asarray(HOST)
    memory = cupy.cuda.UnownedMemory(HOST.ctypes.data, HOST.nbytes, HOST, device_id=0)
    return cupy.ndarray(HOST.shape, "float32", memptr=cupy.cuda.MemoryPointer(memory, 0))


def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = call()
    except Exception as error:
        if type(error).__name__ == "CUDARuntimeError":
            pytest.skip("CuPy asks the GPU first")
        return "raised", type(error).__name__
    return "gave", value if isinstance(value, (tuple, bool)) else type(value).__name__


@pytest.mark.parametrize("name", PROBES)
def test_an_array_behaves_as_cupys(name: str) -> None:
    found, expected = (outcome(lambda a=a: PROBES[name](a)) for a in (strict_device().to_device(HOST), real_array()))
    assert found == expected


@pytest.mark.parametrize("name", NAMESPACE_PROBES)
def test_the_namespace_behaves_as_cupys(name: str) -> None:
    import cupy

    pairs = ((strict_device().xp, strict_device().to_device(HOST)), (cupy, real_array()))
    found, expected = (outcome(lambda xp=xp, a=a: NAMESPACE_PROBES[name](xp, a)) for xp, a in pairs)
    assert found == expected


@pytest.mark.parametrize("name", STRICTER)
def test_the_double_is_stricter_on_purpose(name: str) -> None:
    assert outcome(lambda: STRICTER[name](strict_device().to_device(HOST)))[0] == "raised"


def test_the_snapshot_is_that_of_the_installed_release(tmp_path: Path) -> None:
    """A new CuPy shows here: `write_snapshot()` brings `cupy_api.json` up to date, and the diff tells what changed."""
    assert INSTALLED is not None
    snapshot = snapshot_api()
    if INSTALLED.version == snapshot.version:
        write_snapshot(tmp_path / "api.json")
        assert snapshot == INSTALLED
    lost = [
        f"{module}.{name}"
        for module, names in snapshot.modules.items()
        for name in names
        if name not in INSTALLED.modules[module]
    ]
    assert not lost, f"CuPy {INSTALLED.version} has lost names that {snapshot.version} had"
    assert set(snapshot.methods) <= set(INSTALLED.methods)
    assert set(snapshot.generator) <= set(INSTALLED.generator)
