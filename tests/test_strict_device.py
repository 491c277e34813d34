"""The strict double itself: right numbers, right accounts, policies that nest, and the names of CuPy."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae.backend import backend_named, backend_of, devices
from tinyae.testing import strict_device
from tinyae.testing.strict import HiddenCopyError, HiddenSyncError, StrictArray
from tinyae.testing.strict import api as strict_api
from tinyae.testing.strict.api import MODULES, SNAPSHOT, cupy_api, installed_api, snapshot_api, write_snapshot

DEVICE = strict_device()
XP: Any = DEVICE.xp
HOST = np.random.default_rng(7).uniform(0.2, 2.0, (4, 3)).astype("float32")

SAME_AS_NUMPY = {
    "operators": lambda xp, x: (x + 1.0) * x - 2.0 / x + x**2 - (-x) + abs(x - 1) + x // 0.5 + x % 0.7,
    "reflected operators": lambda xp, x: 1.0 + 2.0 * x - (1.0 - x) * (2.0 / (x + 1)) + 2.0**x,
    "comparisons": lambda xp, x: (x > 1) & (x <= 1.5) | ~(x != x) ^ (x == 1) | (x < 0.5) | (x >= 1.8),
    "matmul": lambda xp, x: x @ x.T,
    "functions": lambda xp, x: xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0) + xp.tanh(x) + xp.sqrt(x),
    "reductions": lambda xp, x: x.sum(axis=0, keepdims=True) + x.mean() + x.max(axis=1, keepdims=True) + xp.var(x),
    "shapes": lambda xp, x: xp.concatenate([x.reshape(-1), x.T.ravel(), xp.pad(x, 1).flatten()], 0),
    "indexing": lambda xp, x: x[1:, ::2] + x[0, 0] + x[..., -1:][1:] + x[None, 1:, :1][0],
    "gathering": lambda xp, x: xp.take(x, xp.argsort(x[:, 0]), axis=0)[xp.arange(2), xp.arange(2)],
    "einsum": lambda xp, x: xp.einsum("ij,kj->ik", x, x),
    "where": lambda xp, x: xp.where(x > 1, x, 0.0),
    "linalg": lambda xp, x: xp.linalg.norm(x, axis=0),
    "fft": lambda xp, x: xp.abs(xp.fft.fft(x, axis=0)),
    "windows": lambda xp, x: xp.lib.stride_tricks.sliding_window_view(x, 2, axis=0).sum(axis=-1),
    "outer": lambda xp, x: xp.multiply.outer(x[0], x[1]) + xp.add.reduce(x),
    "split": lambda xp, x: xp.stack(xp.split(x, 2)),
    "astype": lambda xp, x: (x * 10).astype("int32") << 1 >> 1,
    "reshape by name": lambda xp, x: xp.reshape(x, (2, 6), order="C") + xp.ravel(x)[0],
    "conversions": lambda xp, x: xp.ascontiguousarray(x.T) + xp.array(x.T, dtype="float64") + xp.ndim(x) + xp.size(x),
    "clip": lambda xp, x: xp.clip(x, 0.5, 1.5) + x.clip(min=1.0),
}


def in_place(xp: Any, x: Any) -> Any:
    x += 1.0
    x *= x
    x[1:, 0] = 5.0
    x[0] = x[1]
    xp.copyto(x[2], x[3])
    xp.add.at(x, xp.zeros(3, dtype="int64"), 1.0)
    xp.exp(-x, out=x)
    xp.tanh(x, x)
    return x


@pytest.mark.parametrize("body", [*SAME_AS_NUMPY.values(), in_place], ids=[*SAME_AS_NUMPY, "in place"])
def test_the_numbers_are_numpys(body: Any) -> None:
    found, expected = body(XP, DEVICE.to_device(HOST.copy())), body(np, HOST.copy())
    assert (type(found), found.dtype, found.shape) == (StrictArray, expected.dtype, expected.shape)
    assert_array_equal(DEVICE.to_host(found), expected)


def test_powers_are_those_of_numpys_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """On some processors NumPy's `x**2` and `power(x, 2)` differ in the last bit, so the double must use the operator."""
    monkeypatch.setattr(np, "power", SimpleNamespace(nin=2))  # which cannot be called
    x = DEVICE.to_device(HOST.copy())
    assert_array_equal(DEVICE.to_host(x**2), HOST**2)
    assert_array_equal(DEVICE.to_host(2.0**x), 2.0**HOST)
    x **= 2
    assert_array_equal(DEVICE.to_host(x), HOST**2)


def test_a_result_is_always_an_array_of_the_device() -> None:
    x = DEVICE.to_device(HOST)
    for value in (x[0, 0], x.sum(), x.max(), XP.exp(1.0), XP.allclose(x, x), XP.argmax(x), XP.float32(1) * x[0, 0]):
        assert (type(value), value.shape) == (StrictArray, ())


def test_the_backend_is_found_by_array_by_name_and_is_one() -> None:
    assert backend_of(DEVICE.to_device([1.0])) is DEVICE
    assert backend_named("strict") is DEVICE is strict_device()
    assert isinstance(DEVICE.to_device([1.0]), XP.ndarray)
    assert not isinstance(HOST, XP.ndarray)
    assert XP.get_array_module(DEVICE.to_device([1.0])) is XP
    assert XP.get_array_module(HOST) is np
    assert "test double" in DEVICE.describe()
    devices.check_gpu(XP)  # the check of a real GPU passes on it


def test_accounts_count_launches_syncs_and_copies() -> None:
    with DEVICE.policy() as account:
        x = DEVICE.to_device(HOST)
        assert all(view.base is x for view in (x.T, x.reshape(-1), x[1:], x[None], XP.broadcast_to(x, (2, 4, 3))))
        assert XP.asarray(x) is x
        assert x.astype("float32", copy=False) is x
        assert (account.launches, account.syncs, account.uploads, account.downloads) == (0, 0, 1, 0)
        y = x * 2.0 + 1.0
        y += x
        y[0] = 0.0
        XP.copyto(y, x)
        assert account.launches == 5
        assert account.log == {"multiply": 1, "add": 2, "setitem": 1, "copyto": 1}
        (x[1:, ::2] @ x[1:, ::2].T).sum()
        assert account.launches == 5 + 4  # each operand is copied for cuBLAS, a product, a sum
        DEVICE.to_host(y)
        float(y[0, 0])
        DEVICE.synchronize()
        assert (account.syncs, account.copies) == (3, 2)
    assert "9 launches (2 copy for cuBLAS" in str(account).replace("2 add, ", "")
    before = DEVICE.account.launches
    x + x
    assert DEVICE.account.launches == before + 1
    assert account.launches == 9  # closed
    DEVICE.account.reset()
    assert (DEVICE.account.launches, DEVICE.account.copies, DEVICE.account.log) == (0, 0, {})


def test_policies_nest_and_end() -> None:
    x = DEVICE.to_device(HOST)
    with DEVICE.policy(forbid_sync=True) as outer:
        with DEVICE.policy(forbid_copy=True) as inner, pytest.raises(HiddenSyncError, match=r"float\(device array\)"):
            float(x.sum())
        with DEVICE.policy(), pytest.raises(HiddenSyncError):
            bool(x[0, 0])
        DEVICE.to_device(HOST)  # copies are allowed again
        assert (outer.launches, inner.launches, outer.syncs, outer.uploads) == (1, 1, 2, 1)
    with DEVICE.policy(forbid_copy=True), pytest.raises(HiddenCopyError, match="copies from device to host"):
        DEVICE.to_host(x)
    assert float(x.sum()) == HOST.sum()


def test_fresh_memory_is_poisoned() -> None:
    for made in (XP.empty((2, 3)), XP.empty_like(DEVICE.to_device(HOST)), XP.ndarray((2,), "float32")):
        assert np.isnan(DEVICE.to_host(made)).all()
    assert (DEVICE.to_host(XP.empty(3, "int32")) == np.iinfo("int32").min).all()
    assert (DEVICE.to_host(XP.empty(3, "uint8")) == 255).all()


def test_random_streams_repeat_and_are_not_numpys() -> None:
    for draw in (DEVICE.uniform, DEVICE.normal):
        first, again = (DEVICE.to_host(draw(np.random.default_rng(3), (50, 40), "float32")) for _ in range(2))
        assert_array_equal(first, again)
        assert first.dtype == np.float32
        on_cpu = getattr(backend_named("cpu"), draw.__name__)
        assert not np.array_equal(first, on_cpu(np.random.default_rng(3), (50, 40), "float32"))
    generator = XP.random.default_rng(1)
    out = XP.zeros(5, "float32")
    assert generator.random(5, dtype="float32", out=out) is out
    assert float(out.sum()) > 0
    assert not np.array_equal(DEVICE.to_host(XP.random.default_rng(1).random(3)), np.random.default_rng(1).random(3))
    XP.random.seed(4)
    drawn = XP.random.normal(size=(3,), dtype="float32")
    XP.random.seed(4)
    assert_array_equal(DEVICE.to_host(XP.random.normal(size=(3,), dtype="float32")), DEVICE.to_host(drawn))
    assert not np.allclose(DEVICE.to_host(drawn), np.random.RandomState(4).normal(size=3))


def test_copies_and_pickles() -> None:
    x = DEVICE.to_device(HOST)
    for other in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        other[0] = 9.0
        assert_array_equal(DEVICE.to_host(x), HOST)
        assert_array_equal(DEVICE.to_host(other)[1:], HOST[1:])
    y = XP.zeros_like(x)
    y.set(HOST)
    assert_allclose(y.get(), HOST)
    into = np.zeros_like(HOST)
    assert y.get(out=into) is into
    assert_array_equal(into, HOST)
    with pytest.raises(ValueError, match="set"):
        y.set(HOST[0])
    with pytest.raises(TypeError, match=r"Only numpy\.ndarray"):
        y.set([1.0])


def test_views_name_their_owner() -> None:
    x = DEVICE.to_device(HOST)
    rows = x[1:]
    assert x.base is None
    assert rows.base is x
    assert rows.T.reshape(-1).base is not x  # that was a copy
    assert rows[None].base is rows.T.base is x
    orphan = (x + 1.0)[1:]
    assert orphan.base is orphan[1:].base is not None


def test_scalars_leave_the_device_openly() -> None:
    x = DEVICE.to_device(np.float32(2.5))
    assert (float(x), int(x), complex(x), bool(x), x.item(), x.tolist()) == (2.5, 2, 2.5 + 0j, True, 2.5, 2.5)
    assert (f"{x:.2f}", str(x), repr(DEVICE.to_device([1]))) == ("2.50", "2.5", "array([1])")
    assert (XP.array_str(x), XP.isscalar(x)) == ("2.5", False)
    for wrong in (lambda: len(x), lambda: iter(x), lambda: hash(x), lambda: memoryview(x), lambda: [1, 2][x]):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(DEVICE.to_device([1, 2]))


def test_a_class_that_asks_to_go_first_is_let_go_first() -> None:
    class Tensor:
        __array_ufunc__ = None

        def __radd__(self, other: Any) -> str:
            return "radd"

    class Priority:
        __array_priority__ = 1000

        def __rmul__(self, other: Any) -> str:
            return "rmul"

    x = DEVICE.to_device(HOST)
    assert (x + Tensor(), x * Priority()) == ("radd", "rmul")
    with pytest.raises(TypeError, match="Unsupported type"):
        x + object()


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda x: XP.softmax, AttributeError, "module 'cupy' has no attribute 'softmax'"),
    (lambda x: XP.ElementwiseKernel, NotImplementedError, "NumPy has none"),
    (lambda x: x.scatter_add, NotImplementedError, "NumPy has none"),
    (lambda x: XP.meshgrid(x[0], x[1], order="C"), TypeError, "unexpected keyword"),
    (lambda x: x.softmax, AttributeError, "no attribute 'softmax'"),
    (lambda x: XP.random.default_rng(0).choice, AttributeError, "CuPy's Generator has no 'choice'"),
    (lambda x: x.sum(0, None, None, False, 1.0), TypeError, "takes 4 arguments"),
    (lambda x: XP.sum(x, 0, None, None, False, 1.0), TypeError, "takes 5 arguments"),
    (lambda x: XP.random.default_rng(0).random(3, "f4", method="inv"), TypeError, "unexpected keyword"),
    (lambda x: XP.asarray([x[0], x[1]]), TypeError, "Implicit conversion"),
    (lambda x: XP.exp([1.0]), TypeError, "Unsupported type <class 'list'>"),
    (lambda x: XP.exp(x, out=HOST), TypeError, "out must be a device array"),
    (lambda x: x.__setitem__(0, [1.0, 2.0, 3.0]), ValueError, "list cannot be assigned to a device array"),
    (lambda x: type(x)(), TypeError, "made by the namespace"),
    (lambda x: backend_named("stricter"), ValueError, "unknown device"),
], ids=lambda value: value.__name__ if isinstance(value, type) else None)  # fmt: skip
def test_refusals_say_what_is_wrong(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call(DEVICE.to_device(HOST))
    assert words in str(caught.value)


def test_the_snapshot_knows_the_modules_and_their_keywords() -> None:
    api = snapshot_api()
    assert set(api.modules) == set(MODULES)
    assert int(api.version.split(".")[0]) >= 14
    assert api.modules["cupy"]["add"] == "ufunc"
    assert api.modules["cupy"]["sum"] == ["a", "axis", "dtype", "out", "keepdims"]
    assert api.modules["cupy"]["float32"] == "other"
    assert "vecdot" not in api.modules["cupy"]
    assert api.methods["sum"] == ["axis", "dtype", "out", "keepdims"]
    assert api.methods["reshape"][0] == "*shape"
    assert "normal" not in api.generator
    assert cupy_api() is cupy_api()


def test_names_and_keywords_are_read_from_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small package under CuPy's name, so that the reading is tested where CuPy is not installed."""

    class ufunc:
        """What CuPy's elementwise functions are instances of."""

    class ndarray:
        size = 3
        sum = functools.partial(print)  # a callable whose signature is not known, as those of compiled methods
        take = staticmethod(lambda indices, axis=None: None)

        def fill(self, value: float) -> None:
            """Fill."""

    ndarray.sum.__doc__ = "_ndarray_base.sum(self, axis=None, dtype=None, *, int keepdims=False) -> x\n\nSum."
    cupy = ModuleType("cupy")
    cupy.__version__ = "99.0"
    cupy.add, cupy.float32, cupy.pi, cupy.ndarray = ufunc(), np.float32, 3.14, ndarray
    cupy.mean, cupy.pad, cupy.meshgrid = lambda a, axis=None: a, lambda a, **kwargs: a, lambda *xi, copy=True: xi
    cupy.random = ModuleType("cupy.random")
    cupy.random.Generator = type("Generator", (), {"random": lambda self, size=None: size, "_hidden": 1})
    modules = {name: ModuleType(name) for name in MODULES} | {"cupy": cupy, "cupy.random": cupy.random}
    monkeypatch.setattr(strict_api, "importlib", SimpleNamespace(import_module=modules.__getitem__))
    monkeypatch.setattr(strict_api, "inspect", SimpleNamespace(signature=refuse_print))
    api = installed_api()
    assert api.version == "99.0"
    names = api.modules["cupy"]
    assert (names["add"], names["float32"], names["pi"]) == ("ufunc", "other", "other")
    assert (names["mean"], names["pad"], names["meshgrid"]) == (["a", "axis"], None, ["*xi", "copy"])
    methods = {"sum": ["axis", "dtype", "keepdims"], "take": ["indices", "axis"]}
    assert api.methods == {"fill": ["value"], "size": "other", **methods}
    assert api.generator == {"random": ["size"]}


def refuse_print(function: Any, signature: Any = inspect.signature) -> Any:
    if isinstance(function, functools.partial):
        raise ValueError("no signature found")
    return signature(function)


def test_a_snapshot_is_written_as_it_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tinyae.testing.strict.api.installed_api", snapshot_api)
    write_snapshot(tmp_path / "api.json")
    assert (tmp_path / "api.json").read_text() == SNAPSHOT.read_text()


def test_without_cupy_there_is_nothing_to_take_a_snapshot_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tinyae.testing.strict.api.installed_api", lambda: None)
    with pytest.raises(ImportError, match="pip install cupy"):
        write_snapshot(tmp_path / "api.json")
