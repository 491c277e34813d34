"""`Tensor`: what it keeps, what it converts, and how it behaves beside NumPy arrays and Python numbers."""

from __future__ import annotations

import copy
import operator
import pickle
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.conftest import leaf
from tinyae import ops
from tinyae.autodiff import Tensor, grad
from tinyae.backend import Backend, backend_named


@pytest.mark.parametrize(("data", "dtype"), [
    (1.5, "float32"),
    ([1.0, 2.0], "float32"),
    ((1.0, 2), "float32"),
    (3, "int64"),
    ([1, 2], "int64"),
    (True, "bool"),
    (np.ones(2), "float64"),
    (np.ones(2, "float32"), "float32"),
    (np.float64(1.0), "float64"),
    (np.float32(1.0), "float32"),
    (np.sum(np.ones(3)), "float64"),
    (np.int32(4), "int32"),
])  # fmt: skip
def test_numbers_and_lists_become_float32_and_numpy_values_keep_their_dtype(data, dtype):
    assert Tensor(data).dtype == dtype


def test_an_array_is_kept_and_not_copied():
    data = np.ones((2, 3))
    x = Tensor(data)
    assert x.data is data
    assert x.numpy() is data
    assert (x.shape, x.ndim, x.size, len(x), x.device) == ((2, 3), 2, 6, 2, "cpu")
    assert Tensor(data, dtype="float32").dtype == np.float32


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Tensor([1, 2], requires_grad=True), "only floating-point.*int64.*dtype='float32'"),
    (lambda: Tensor(Tensor(1.0)), r"detach\(\)"),
    (lambda: Tensor([[1.0], [1.0, 2.0]]), r"sequences of unequal length .* tinyae\.data\.pad"),
    (lambda: Tensor({1: 2}), "expected an array of numbers, got dict: give an array or a nested list"),
])  # fmt: skip
def test_what_a_tensor_cannot_hold(make, words):
    with pytest.raises(TypeError, match=words):
        make()


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]


@pytest.mark.parametrize("function", OPERATORS)
@pytest.mark.parametrize("number", [2.0, 3, True])
def test_python_numbers_keep_float32(function, number):
    x = leaf([1.0, 2.0], "float32")
    for out in (function(x, number), function(number, x)):
        assert out.dtype == np.float32
        slope = grad(out.sum(), x, create_graph=True)
        assert slope.dtype == np.float32
        if slope.requires_grad:
            assert grad(slope.sum(), x, allow_unused=True).dtype == np.float32


def test_a_float32_computation_stays_float32_throughout():
    x = leaf(np.full((2, 3), 0.5), "float32")
    y = ops.dense(x, np.ones((3, 2), "float32"), np.zeros(2, "float32"), activation="sigmoid")
    y = ops.softmax(2.0 * y / 3 - 1, axis=1).mean() + 0.1 * ops.variance(y) + ops.maximum(y, 0.0).max()
    y.backward(retain_graph=True)
    y.backward()
    assert y.dtype == x.grad.dtype == np.float32


MATRIX = np.array([[1.0, 2.0], [3.0, 1.5]])


@pytest.mark.parametrize("other", [MATRIX, np.float64(2.0), np.float32(2.0), np.int64(3), np.array(2.0)])
def test_operators_with_numpy_values_are_recorded_on_either_side(other):
    x = leaf([[2.0, 1.0], [0.5, 3.0]])
    for function in [*OPERATORS, operator.matmul] if other.ndim else OPERATORS:
        for a, b, turn in ((other, x, False), (x, other, True)):
            out = function(a, b)
            assert isinstance(out, Tensor)
            assert_array_equal(out.data, function(x.data, other) if turn else function(other, x.data))
            same = function(x, Tensor(other)) if turn else function(Tensor(other), x)
            assert_array_equal(grad(out.sum(), x).data, grad(same.sum(), x).data)
    for function in (operator.lt, operator.le, operator.gt, operator.ge):
        assert_array_equal(function(other, x).data, function(other, x.data))
        assert_array_equal(function(x, other).data, function(x.data, other))
    for function in (operator.eq, operator.ne):
        with pytest.raises(TypeError, match=r"tinyae\.ops\.(not_)?equal"):
            function(other, x)


def test_an_array_of_a_device_leaves_the_work_to_the_tensor_too(device: Backend):
    x = Tensor(device.to_device(np.array([2.0, 3.0])), requires_grad=True)
    assert_array_equal(grad((device.to_device(np.array([4.0, 5.0])) * x).sum(), x).numpy(), [4.0, 5.0])
    assert_array_equal((np.float64(2.0) * x).numpy(), [4.0, 6.0])


@pytest.mark.parametrize(("call", "code"), [
    (np.exp, "numpy.exp does not take Tensors: use tinyae.ops.exp(x), or x.numpy()"),
    (lambda x: np.maximum(x, 0), "numpy.maximum does not take Tensors: use tinyae.ops.maximum(x, y)"),
    (lambda x: np.exp(x, out=np.ones(2)), "tinyae.ops.exp(x)"),
    (lambda x: np.exp(np.ones(2), out=x), "tinyae.ops.exp(x)"),
    (lambda x: np.add(x, np.ones(2)), "tinyae.ops.add(x, y)"),
    (lambda x: operator.iadd(np.ones(2), x), "tinyae.ops.add(x, y)"),
    (lambda x: np.ones(2) // x, "numpy.floor_divide does not take Tensors"),
    (np.add.reduce, "numpy.add.reduce does not take Tensors: use an operation of tinyae.ops, or x.numpy()"),
    (np.arctan, "numpy.arctan does not take Tensors: use an operation of tinyae.ops"),
    (np.sum, "numpy.sum does not take Tensors: use tinyae.ops.sum(x)"),
    (np.linalg.norm, "numpy.linalg.norm does not take Tensors: use tinyae.ops.norm(x)"),
    (lambda x: np.concatenate([np.ones(2), x]), "tinyae.ops.concatenate(*xs)"),
    (lambda x: np.where(x.data > 0, x, 0.0), "tinyae.ops.where(condition, x, y)"),
    (lambda x: np.dot(x, x), "x @ y"),
    (lambda x: np.array_equal(x, x), "numpy.array_equal does not take Tensors"),
])  # fmt: skip
def test_a_function_of_numpy_says_what_to_write(call, code):
    with pytest.raises(TypeError, match=re.escape(code)):
        call(leaf([1.0, 2.0]))


def test_functions_of_numpy_that_read_no_values_take_tensors():
    x = leaf(np.ones((2, 3)), "float32")
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1)) == ((2, 3), 2, 6, 3)
    assert np.result_type(x, np.float64) == np.float64


@pytest.mark.parametrize(("name", "code"), [
    ("tanh", "tinyae.ops.tanh(x)"),
    ("matmul", "tinyae.ops.matmul(a, b)"),
    ("clip", "tinyae.ops.clip(x, low=..., high=...)"),
    ("view", "x.reshape(...)"),
    ("unsqueeze", "x[:, None]"),
    ("cpu", 'x.to("cpu")'),
    ("zero_", "x.grad = None"),
    ("requires_grad_", "tinyae.Tensor(x.data, requires_grad=True)"),
])  # fmt: skip
def test_a_method_of_other_libraries_says_what_to_write(name, code):
    x = leaf([1.0, 2.0])
    with pytest.raises(AttributeError, match=f"Tensor has no method {name}: write .*{re.escape(code)}"):
        getattr(x, name)
    assert not hasattr(x, name)
    assert not hasattr(Tensor, name)
    assert name not in dir(x)
    assert "reshape" in dir(x)


def test_operators_and_methods_are_the_primitives():
    x = leaf([[1.0, -2.0], [3.0, 4.0]])
    assert_array_equal((-x).data, -x.data)
    assert_array_equal(abs(x).data, abs(x.data))
    assert_array_equal(x[1].data, x.data[1])
    assert_array_equal(x.T.data, x.data.T)
    assert_array_equal(x.transpose(1, 0).data, x.transpose((1, 0)).data)
    assert_array_equal(x.reshape(4).data, x.reshape((2, 2)).reshape(-1).data)
    assert_array_equal(x.sum(axis=0, keepdims=True).data, [[4.0, 2.0]])
    assert (x.mean().item(), x.max().item(), x.min().item(), x.sum(axis=1).shape) == (1.5, 4.0, -2.0, (2,))
    assert [row.data.tolist() for row in x] == x.data.tolist()


def test_tensors_are_keys_by_identity():
    x, y = Tensor(1.0), Tensor(1.0)
    assert {x: "x", y: "y"}[y] == "y"


@pytest.mark.parametrize(("value", "act", "error", "words"), [
    *(([1.0, 2.0], lambda x, compare=compare, other=other: compare(x, other), TypeError, r"tinyae\.ops\.(not_)?equal")
      for compare in (operator.eq, operator.ne) for other in (1.0, None, Tensor(1.0), np.ones(2))),
    *(([1.0, 2.0], act, TypeError, r"use x\.numpy\(\), or tinyae\.ops")
      for act in (np.asarray, lambda x: np.array([x, x]), lambda x: np.ones(2)[x])),
    ([True, False], bool, ValueError, r"truth value of a Tensor of shape \(2,\) is ambiguous.*\.all\(\)"),
    ([1.0, 2.0], Tensor.item, ValueError, r"item\(\) needs exactly one element, got shape \(2,\)"),
    ([1, 2], int, ValueError, "exactly one element"),
    *((value, operator.index, TypeError, r"an index is one whole number.*int\(x\)") for value in (1.0, True, [1, 2])),
    ([1.0, 2.0], lambda x: operator.setitem(x, 0, 3.0), TypeError, r"ops\.where or concatenate"),
    ([1.0, 2.0], lambda x: f"{x:.2f}", TypeError, r"'\.2f' is for one number, .* Tensor of shape \(2,\).*x\.mean\(\)"),
    (1.0, len, TypeError, "0-d"),
    *((1.0, act, TypeError, "iteration over a 0-d Tensor")
      for act in (list, sum, iter, lambda x: list(zip(x, [1], strict=False)), lambda x: [*x])),
])  # fmt: skip
def test_what_a_tensor_refuses_is_said_with_what_to_write(value, act, error, words):
    with pytest.raises(error, match=words):
        act(Tensor(value))


def test_one_element_is_a_number():
    assert Tensor([[2.5]]).item() == float(Tensor(2.5)) == 2.5
    assert bool(Tensor(2.0))
    assert not bool(Tensor([[0.0]]))
    assert [int(Tensor(value)) for value in (2.9, -2.9, [[4]], True)] == [2, -2, 4, 1]
    assert [10, 20, 30][Tensor(1)] == 20
    assert list(range(Tensor([2]))) == [0, 1]


@pytest.mark.parametrize(("value", "spec"), [(2.5, ".3f"), ([[1e-7]], "8.1e"), (3, "05d"), (True, "d"), (0.25, ".0%")])
def test_one_element_is_formatted_as_its_number(value, spec):
    assert format(Tensor(value), spec) == format(np.asarray(value).item(), spec)


def test_a_tensor_of_several_elements_is_formatted_as_it_is_shown():
    x = leaf([1.0, 2.0])
    assert f"{x}" == str(x) == repr(x)


def test_augmented_assignment_rebinds_and_keeps_history():
    x = leaf([1.0, 2.0])
    y = x
    y *= 3.0
    assert y is not x
    assert_array_equal(x.data, [1.0, 2.0])
    assert_array_equal(grad(y.sum(), x).data, [3.0, 3.0])


@pytest.mark.parametrize(("value", "error", "words"), [
    (np.array([3, 4]), TypeError, "dtype int64 to a Tensor that requires gradients.*astype"),
    (np.array([True, False]), TypeError, "dtype bool"),
    (np.array([3.0, 4.0], object), TypeError, "dtype object"),
    (np.array([3j, 4j]), TypeError, "dtype complex128"),
    ([3.0, 4.0], TypeError, r"is an array, got list: assign numpy\.asarray"),
    (3.0, TypeError, "is an array, got float"),
    (np.ones((2, 1)), ValueError, r"shape \(2, 1\) to a Tensor of shape \(2,\)"),
])  # fmt: skip
def test_what_the_data_and_the_gradient_of_a_leaf_cannot_be(value, error, words):
    x = leaf([1.0, 2.0], "float32")
    with pytest.raises(error, match=f"data .*{words}"):
        x.data = value
    with pytest.raises(TypeError, match=r"grad is a Tensor or None, got \w+: assign tinyae\.Tensor\(array\)"):
        x.grad = value
    if isinstance(value, np.ndarray) and value.dtype != object:  # of which there is no Tensor
        with pytest.raises(error, match=f"grad .*{words}"):
            x.grad = Tensor(value)
    with pytest.raises(TypeError, match="data is an array, got Tensor"):
        x.data = x
    assert_array_equal(x.data, [1.0, 2.0])
    assert x.grad is None


def test_assigned_data_and_gradients_are_cast_to_the_dtype_of_a_leaf():
    x = leaf([1.0, 2.0], "float32")
    x.data, x.grad = np.array([3.0, 4.0]), Tensor(np.array([5.0, 6.0]))
    assert x.dtype == x.grad.dtype == np.float32
    assert_array_equal([x.data, x.grad.data], [[3, 4], [5, 6]])
    exact = np.zeros(2, "float32")
    x.data, x.grad = exact, (slope := x * 2.0)
    assert x.data is exact
    assert x.grad is slope  # what fits is kept, with its history
    constant = Tensor([1, 2])
    constant.data = np.array([0.5, 1.5])
    assert constant.dtype == np.float64


def test_iteration_goes_over_the_rows_with_their_history():
    rows = leaf([[1.0, 2.0], [3.0, 4.0]])
    first, second = rows
    assert_array_equal(grad((first * second).sum(), rows).data, [[3.0, 4.0], [1.0, 2.0]])
    assert list(leaf(np.zeros((0, 2)))) == []


def test_results_of_one_number_have_array_data():
    y = leaf([1.0, 2.0]).sum()
    assert isinstance(y.data, np.ndarray)
    assert y.data.shape == ()
    assert y.item() == 3.0


def test_detach_shares_values_and_forgets_history():
    x = leaf([1.0, 2.0])
    y = (x * 2.0).detach()
    assert not y.requires_grad
    assert y.is_leaf
    assert_array_equal(grad((x * y).sum(), x).data, y.data)


def test_a_move_to_where_it_is_changes_nothing():
    x = leaf([1.0])
    assert x.to("cpu") is x
    assert (x.to("auto") is x) == (backend_named("auto").name == "cpu")


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copy", "pickle"])
def test_a_copy_of_a_leaf_has_its_own_gradient(twin):
    x = leaf([1.0, 2.0])
    (x * 3.0).sum().backward()
    other = twin(x)
    assert other.grad is None
    (other * other).sum().backward()
    assert_array_equal(other.grad.data, [2.0, 4.0])
    assert_array_equal(x.grad.data, [3.0, 3.0])
    other.data[...] = 0.0
    assert_array_equal(x.data, [1.0, 2.0])
    assert not twin(x.detach()).requires_grad
    assert_array_equal(twin(Tensor(True)).data, True)
    with pytest.raises(TypeError, match=r"made by 'multiply' cannot be copied .* detach\(\) first"):
        twin(x * 2.0)


def test_repr_tells_values_dtype_and_origin():
    x = leaf([1.0, 2.0], "float32")
    assert repr(x) == "Tensor([1., 2.], dtype=float32, requires_grad=True)"
    assert repr(x * 2) == "Tensor([2., 4.], dtype=float32, made_by=multiply)"
    assert repr(x.detach()) == "Tensor([1., 2.], dtype=float32)"
    assert len(repr(Tensor(np.zeros((1000, 1000))))) < 2000


def test_tensors_select_as_their_arrays_do(device: Backend):
    x = Tensor(device.to_device(np.array([[1.0, -2.0], [3.0, 4.0]])), requires_grad=True)
    rows = Tensor(device.to_device(np.array([1, 1])))
    assert_array_equal(x[x > 0].numpy(), [1.0, 3.0, 4.0])
    assert_array_equal(grad(x[x > 0].sum(), x).numpy(), [[1.0, 0.0], [1.0, 1.0]])
    assert_array_equal(x[rows].numpy(), [[3.0, 4.0], [3.0, 4.0]])
    assert_array_equal(grad(x[rows, 0].sum(), x).numpy(), [[0.0, 0.0], [2.0, 0.0]])
    with pytest.raises(IndexError):
        x[x]


def test_accumulated_gradients_keep_the_dtype_of_their_leaf():
    x = leaf([1.0, 2.0], "float32")
    for _ in range(2):
        (x * np.array([3.0, 4.0])).sum().backward()  # float64 data meets a float32 parameter
    assert x.grad.dtype == np.float32
    assert_array_equal(x.grad.data, [6.0, 8.0])
