"""What users have becomes an array at one door, `as_array`; a Tensor's memory goes out again through DLPack."""

from __future__ import annotations

import array
import collections
import datetime
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_array_equal

import tinyae as ta
from tinyae import nn
from tinyae.autodiff import Tensor
from tinyae.autodiff.tape import constant
from tinyae.models import LSTMAutoencoder, basic_autoencoder
from tinyae.testing import strict_device


class OnlyArray:
    """An array of a library that has `__array__` alone."""

    def __init__(self, values: object) -> None:
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


class OnlyDlpack:
    """An array of a library that has DLPack alone."""

    def __init__(self, values: np.ndarray, device: tuple[int, int] = (1, 0)) -> None:
        self.values, self.device = values, device

    def __dlpack__(self, **how):
        return self.values.__dlpack__(**how)

    def __dlpack_device__(self):
        return self.device


X = np.random.default_rng(0).random((6, 2)).astype("float32")
READ_ONLY = np.frombuffer(X.tobytes(), "float32")
SUBCLASS = type("Subclass", (np.ndarray,), {})
SHARED = [OnlyArray(X), OnlyDlpack(X), OnlyDlpack(X, (3, 0)), memoryview(X), array.array("d", [1, 2]), bytearray(b"ab")]
SHARED += [X.view(np.matrix), X.view(SUBCLASS), READ_ONLY, X.astype(">f4"), X[::-2, :1]]


@pytest.mark.parametrize("given", SHARED, ids=lambda given: type(given).__name__)
def test_arrays_of_other_libraries_share_their_memory(given):
    x, expected = Tensor(given), np.asarray(getattr(given, "values", given))
    assert (type(x.data), x.dtype) == (np.ndarray, expected.dtype)
    assert np.shares_memory(x.data, expected)
    assert_array_equal(x.data, expected)


@pytest.mark.parametrize(("given", "dtype"), [
    ((X, X), "float32"), ((np.ones(2), np.ones(2)), "float32"), (1j, "complex128"), (range(3), "int64"),
    (collections.deque([1.0, 2.0]), "float64"), (OnlyArray(np.float16(2.0)), "float16"),
])  # fmt: skip
def test_sequences_and_numbers_are_read_as_numpy_reads_them(given, dtype):
    assert Tensor(given).dtype == dtype
    assert_array_equal(Tensor(given).data, np.asarray(given))


def test_a_dtype_is_applied_to_the_values_as_they_were_given():
    assert Tensor([0.1], dtype="float64").data == np.array([0.1])  # not by way of float32
    assert_array_equal(Tensor(np.array([1, 2.5], object), dtype="float32").data, np.array([1, 2.5], "float32"))
    assert_array_equal(Tensor(OnlyDlpack(X), dtype="float64").data, X.astype("float64"))


def test_an_array_of_a_device_stays_there():
    x = strict_device().to_device(X)
    assert Tensor(x).data is x
    assert Tensor(x, dtype="float64").device == "strict"


RECORDS = np.zeros(2, [("a", "f4"), ("b", "i4")])


@pytest.mark.parametrize(("given", "words"), [
    (None, "NoneType: give an array or a nested list of numbers"),
    ({1.0}, "set: give an array"),
    ((n for n in range(3)), "generator: give an array"),
    (Fraction(1, 2), r"fractions\.Fraction: give an array"),
    ("1.5", r"str of dtype <U3: if these are numbers, write numpy\.asarray\(x, dtype=numpy\.float32\)"),
    (b"ab", "bytes of dtype .S2"),
    ([1.0, "a"], "list of dtype <U32"),
    (OnlyArray(["a"]), r".*OnlyArray of dtype <U1"),
    ([[1.0], [None]], r"list with a NoneType in it: replace it by a number, e\.g\. numpy\.nan"),
    (np.array([2.0, datetime.date(2020, 1, 1)], object), r"numpy\.ndarray with a date in it"),
    (np.array([1, 2.5], object), "numpy.ndarray of dtype object: if these are numbers"),
    ([2**70], "list of dtype object"),
    (np.array(["2020-01-01"], "M8[D]"), r"numpy\.ndarray of dtype datetime64\[D\]: subtract a date and divide by a unit"),
    (np.datetime64("2020-01-01"), r"numpy\.datetime64 .*subtract a date"),
    (np.ones(2, "m8[s]"), r".*timedelta64\[s\]: divide by a unit"),
    (RECORDS, r".*take one field, or all: numpy\.lib\.recfunctions"),
    (RECORDS.view(np.recarray), r"numpy\.recarray.*take one field"),
    (np.ma.masked_array([1.0, 2.0], [0, 1]), r"numpy\.MaskedArray, .*masked values need a number, e\.g\. x\.filled\(0\.0\)"),
    ([X[0], np.ma.masked_array([1.0, 2.0], [0, 1])], r"list, .*masked values"),
    (scipy.sparse.csr_array(np.eye(2)), r"a sparse scipy\.csr_array: write x\.toarray\(\)"),
    (OnlyDlpack(X, (2, 0)), r".*on another device, copy it to the host, e\.g\. x\.cpu\(\)"),
    (nn.Sequential(nn.Dense(2, 3)), r"tinyae\.Sequential with a Dense in it"),
    ([Tensor(1.0)], r"list, which has to be converted first: .* use x\.numpy\(\)"),
])  # fmt: skip
def test_what_holds_no_numbers_is_refused_with_the_fix(given, words):
    with pytest.raises(TypeError, match=f"^expected an array of numbers, got {words}"):
        Tensor(given)


# The doors of data into models and training.

MODEL = basic_autoencoder(2, 2, generator=np.random.default_rng(0))


def fitted(x, validation=None):
    model = basic_autoencoder(2, 2, generator=np.random.default_rng(0))
    ta.fit(model, x, validation, epochs=1, batch_size=4, progress=False)
    return model.encode(X)


DOORS = {
    "fit": fitted,
    "validation": lambda x: fitted(X, x),
    "evaluate": lambda x: ta.evaluate(MODEL, x)["loss"],
    "Split": lambda x: ta.data.Split(x).x,
    "encode": MODEL.encode,
    "decode": MODEL.decode,
    "reconstruct": MODEL.reconstruct,
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_every_door_takes_and_refuses_the_same(door):
    for given in (X.tolist(), tuple(X), OnlyArray(X), OnlyDlpack(X), memoryview(X), X.view(np.matrix)):
        assert_array_equal(door(given), door(X))
    for given, words in [
        ({1.0}, "got set: give an array"),
        (np.ma.masked_array(X), "filled"),
        (np.float32(0.5), r"got a single number: put it in a list, \[x\]"),
        (strict_device().to_device(X), r"got one on a GPU: copy it to the host, tinyae\.Tensor\(x\)\.numpy\(\)"),
    ]:
        if door is not DOORS["Split"] or isinstance(given, (set, np.ma.MaskedArray)):  # a Split may be on a GPU
            with pytest.raises(TypeError, match=words):
                door(given)


@pytest.mark.parametrize("door", ["fit", "evaluate", "Split"])
def test_a_tensor_for_training_is_told_to_become_an_array(door):
    with pytest.raises(TypeError, match=r"got tinyae\.Tensor, .* use x\.numpy\(\)"):
        DOORS[door](Tensor(X))


def test_labels_and_sequences_enter_as_lists():
    assert ta.data.Split(X, [0, 1, 0, 1, 0, 1]).y.dtype == "int64"
    model, x = LSTMAutoencoder(2, 3), np.zeros((2, 3, 2), "float32")
    for lengths in ([1, 3], OnlyArray([1, 3]), memoryview(np.array([1, 3]))):
        assert_array_equal(model.encode(x.tolist(), lengths=lengths), model.encode(x, lengths=np.array([1, 3])))


# Out again.


def test_dlpack_hands_constants_on_without_a_copy():
    x = Tensor(X.copy())
    out = np.from_dlpack(x)
    x.data[0, 0] = 7.0
    assert out[0, 0] == 7.0
    assert np.from_dlpack(x.sum()).shape == ()


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x * 2.0, lambda x: nn.Parameter(x.numpy())])
def test_dlpack_of_what_requires_gradients_is_refused(make):
    x = make(Tensor(X, requires_grad=True))
    with pytest.raises(BufferError, match=r"detach\(\) it first"):
        np.from_dlpack(x)
    assert_array_equal(np.from_dlpack(x.detach()), x.numpy())


def test_dlpack_passes_every_argument_to_the_array_of_the_device():
    class DeviceArray:
        __dlpack__ = staticmethod(lambda **how: how)
        __dlpack_device__ = staticmethod(lambda: (2, 1))

    x, how = constant(DeviceArray()), {"stream": 7, "max_version": (1, 0), "dl_device": (2, 1), "copy": False}
    assert (x.__dlpack__(**how), x.__dlpack_device__()) == (how, (2, 1))


# With the libraries themselves.


def test_tensors_of_torch():
    torch = pytest.importorskip("torch")
    given = torch.arange(6.0).reshape(3, 2) / 8.0
    x = Tensor(given)
    torch.from_dlpack(x)[0, 1] = 0.75
    assert given[0, 1] == 0.75
    assert x.dtype == "float32"
    assert_array_equal(MODEL.encode(given), MODEL.encode(x.numpy()))
    leaf = given.clone().requires_grad_()
    for other, words in [
        (leaf, r"got torch\.Tensor, .*detach\(\)"), ([leaf], r"got list, .*detach\(\)"), (given.to("meta"), "device"),
        (given.to(torch.bfloat16), "BFloat16"), (given.to_sparse(), r"to_dense\(\)"),
    ]:  # fmt: skip
        with pytest.raises(TypeError, match=words):
            Tensor(other)


def test_tables_and_columns_of_pandas():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=["a", "b"])
    for given in (table, table["a"], table["a"].astype("Float32")):
        assert_array_equal(Tensor(given).data, given.to_numpy("float32"))
    assert_array_equal(fitted(table), fitted(X))
    with pytest.raises(TypeError, match="DataFrame of dtype object: if these are numbers, write"):
        Tensor(table.astype("Float32"))
    table["when"] = pandas.to_datetime("2020-01-01")
    table["kind"] = pandas.Categorical(list("uvuvuv"))
    with pytest.raises(TypeError, match=r"train: .*Frame with columns 'when' \(datetime64.*'kind' \(category\): leave"):
        fitted(table)
    with pytest.raises(TypeError, match=r"pandas\.Series with a str in it"):
        Tensor(table["kind"])
