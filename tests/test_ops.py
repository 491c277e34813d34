"""Every primitive and every loss, asked every question of `check_case`; and what the tables cannot ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from tinyae import ops
from tinyae.autodiff import Tensor, grad
from tinyae.backend.windows import ConvSpec
from tinyae.testing.tables import CASES, discovered_primitives
from tinyae.testing.verification import questions

SLOW = {"second_derivatives", "derivatives_equal_the_complex_step"}
"""Asked of the first case of each operation by default, of the second in the thorough run, of all in the matrix."""
MORE = [pytest.mark.thorough, pytest.mark.matrix]


def asked() -> Iterator[Any]:
    """(case, questions) for every operation."""
    met: Counter[str] = Counter()
    for case in CASES:
        met[name := case.name.partition("(")[0]] += 1
        slow = [question for question in questions(case) if question.__name__ in SLOW and met[name] > 1]
        yield pytest.param(case, [question for question in questions(case) if question not in slow], id=case.name)
        if slow:
            yield pytest.param(case, slow, marks=MORE[: met[name] - 1], id=f"slow-{case.name}")


@pytest.mark.parametrize(("case", "asked"), list(asked()))
def test_every_operation_answers(case, asked):
    for question in asked:
        question(case, np.random.default_rng(20240229))


@pytest.mark.parametrize("length", [0, 1])
def test_every_primitive_has_a_case_with_an_axis_of_that_length(length):
    covered = {id(case.op) for case in CASES if any(length in shape for shape in case.shapes)}
    missing = sorted(p.name for key, p in discovered_primitives().items() if key not in covered)
    assert not missing


EXTREMES = np.array([-1e3, -50.0, -1.0, 0.0, 1.0, 50.0, 1e3])
ROW_EXTREMES = np.array([[1e3, -1e3, 0.0], [-1e3, -1e3, -1e3], [1e3, 1e3, 1e3], [0.0, 1.0, -1e3]])
FINITE_EVERYWHERE = [
    (ops.sigmoid, EXTREMES, {}),
    (ops.tanh, EXTREMES, {}),
    (ops.softplus, EXTREMES, {}),
    (ops.relu, EXTREMES, {}),
    (ops.elu, EXTREMES, {}),
    (ops.sin, EXTREMES, {}),
    (ops.cos, EXTREMES, {}),
    (ops.square, EXTREMES, {}),
    (ops.absolute, EXTREMES, {}),
    (ops.clip, EXTREMES, {"low": -1.0, "high": 1.0}),
    (ops.logsumexp, EXTREMES, {}),
    (ops.logsumexp, ROW_EXTREMES, {"axis": -1}),
    (ops.softmax, ROW_EXTREMES, {}),
    (ops.softmax, ROW_EXTREMES, {"axis": 0}),
    (ops.log_softmax, ROW_EXTREMES, {}),
    (ops.log_softmax, ROW_EXTREMES, {"axis": 0}),
    (ops.max, ROW_EXTREMES, {"axis": 0}),
    (ops.min, ROW_EXTREMES, {"axis": 0}),
    (ops.norm, ROW_EXTREMES, {"axis": 0}),
    (ops.norm, np.zeros((2, 3)), {"axis": 1}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("op", "values", "params"), FINITE_EVERYWHERE, ids=lambda v: getattr(v, "name", None))
def test_inputs_of_a_thousand_give_finite_values_and_gradients(op, values, params, dtype):
    x = Tensor(values.astype(dtype), requires_grad=True)
    out = op(x, **params)
    assert np.isfinite(out.data).all()
    for create_graph in (False, True):
        slope = grad(out, x, np.ones(out.shape, dtype), create_graph=create_graph)
        assert np.isfinite(slope.data).all()
    if slope.requires_grad:
        assert np.isfinite(grad(slope, x, np.ones(slope.shape, dtype), allow_unused=True).data).all()


def test_extreme_values_are_the_right_ones():
    assert_array_equal(ops.sigmoid(EXTREMES)[[0, -1]], [0.0, 1.0])
    assert_allclose(ops.softplus(EXTREMES)[[1, 3, -1]], [np.exp(-50.0), np.log(2.0), 1e3], rtol=1e-15)
    assert_array_equal(ops.softmax(ROW_EXTREMES)[:3], [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3]])
    assert ops.logsumexp(EXTREMES) == 1e3
    assert ops.log_softmax(ROW_EXTREMES)[0, 1] == -2e3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["identity", "relu", "elu", "sigmoid", "tanh"])
def test_dense_is_finite_for_extreme_sums(activation, dtype):
    arrays = (EXTREMES[:, None], np.ones((1, 2)), np.array([1e3, -1e3]))
    x, w, b = (Tensor(a.astype(dtype), requires_grad=True) for a in arrays)
    out = ops.dense(x, w, b, activation=activation)
    found = grad(out, [x, w, b], np.ones(out.shape, dtype))
    assert all(np.isfinite(a.data).all() for a in (out, *found))


@pytest.mark.parametrize(("op", "at", "slope"), [
    (ops.relu, 0.0, 0.0),
    (ops.absolute, 0.0, 0.0),
    (lambda x: ops.maximum(x, 1.0), 1.0, 0.5),
    (lambda x: ops.minimum(1.0, x), 1.0, 0.5),
    (lambda x: ops.clip(x, low=0.0, high=1.0), 1.0, 1.0),
    (lambda x: ops.clip(x, low=0.0, high=1.0), 0.0, 1.0),
    (ops.norm, 0.0, 0.0),
    (lambda x: x**1, 0.0, 1.0),
    (lambda x: x**2, 0.0, 0.0),
    (lambda x: x**0, 0.0, 0.0),
])  # fmt: skip
def test_sub_gradients_at_kinks_are_the_documented_ones(op, at, slope):
    x = Tensor(np.array([at, at]), requires_grad=True)
    out = op(x)
    assert_array_equal(grad(out, x, np.ones(out.shape)).data, [slope, slope])


def test_ties_of_max_and_min_share_the_gradient():
    x = Tensor(np.array([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0]]), requires_grad=True)
    assert_allclose(grad(ops.max(x, axis=1), x, np.array([1.0, 6.0])).data, [[0.5, 0, 0.5], [2, 2, 2]])
    assert_allclose(grad(ops.min(-x, axis=1), x, np.array([1.0, 6.0])).data, [[-0.5, 0, -0.5], [-2, -2, -2]])


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.0), (np.nan, 1.0)])
def test_clip_needs_its_limits_in_order(low, high):
    with pytest.raises(ValueError, match="low must not be above high"):
        ops.clip(np.zeros(2), low=low, high=high)


def test_the_norm_of_some_rows_may_be_0():
    x = Tensor(np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 0.0]]), requires_grad=True)
    out = ops.norm(x, axis=1)
    assert_array_equal(out.data, [5.0, 0.0, np.nan])
    assert_allclose(grad(out, x, np.ones(3)).data[:2], [[0.6, 0.8], [0.0, 0.0]])


@pytest.mark.parametrize(("a", "b", "sentence"), [
    (np.ones((3, 2)), np.ones((3, 2)), r"inner lengths differ: \(3, 2\) @ \(3, 2\); the last axis of a must equal"),
    (np.ones(2), np.ones(3), r"inner lengths differ: \(2,\) @ \(3,\)"),
    (np.ones((3, 2)), 2.0, r"at least one axis on both sides: use \* for a number"),
])  # fmt: skip
def test_matrices_that_do_not_fit_are_explained(a, b, sentence):
    with pytest.raises(ValueError, match=sentence):
        ops.matmul(Tensor(a), b)


def slopes(y, x):
    """The first and second derivatives of an elementwise function."""
    first = grad(y, x, np.ones(y.shape), create_graph=True)
    assert_array_equal(grad(y, x, np.ones(y.shape)).data, first.data)
    second = grad(first, x, np.ones(y.shape), allow_unused=True) if first.requires_grad else first * 0.0
    assert first.dtype == second.dtype == x.dtype
    return first.data, second.data


KINDS = [int, float, np.int64, np.float32, np.float64, np.asarray, lambda v: np.full(3, v), lambda v: Tensor(float(v))]
KINDS_AS_IDS = ["int", "float", "int64", "float32", "float64", "0d", "array", "Tensor"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS, ids=KINDS_AS_IDS)
def test_powers_of_0_and_of_negative_numbers(kind, dtype):
    y = Tensor(np.array([0.0, 0.5, 2.0], dtype), requires_grad=True)
    assert_array_equal(slopes(ops.power(kind(0), y), y), np.zeros((2, 3)))
    with np.errstate(invalid="ignore"):
        assert np.isnan(grad(ops.power(kind(-2), y).sum(), y).data).all()
    x = Tensor(np.array([0.0, -2.0, 3.0], dtype), requires_grad=True)
    assert_array_equal(slopes(ops.power(x, kind(0)), x), np.zeros((2, 3)))
    assert_array_equal(slopes(ops.power(x, kind(1)), x), [[1, 1, 1], [0, 0, 0]])
    assert_array_equal(slopes(ops.power(x, kind(2)), x), [[0, -4, 6], [2, 2, 2]])


def test_powers_of_0_with_an_array_of_exponents():
    x = Tensor(np.zeros(4), requires_grad=True)
    y = Tensor(np.array([0.0, 1.0, 2.0, 3.0]), requires_grad=True)
    by_x, by_y = grad(ops.power(x, y), [x, y], np.ones(4), create_graph=True)
    assert_array_equal(by_x.data, [0, 1, 0, 0])
    assert_array_equal(by_y.data, np.zeros(4))
    assert_array_equal(grad(by_x[2:], x, np.ones(2)).data, [0, 0, 2, 0])
    assert_array_equal(grad(by_x[2:], y, np.ones(2)).data, np.zeros(4))
    x = Tensor(2.0, requires_grad=True)
    by_x = grad(x ** y[0], x, create_graph=True)
    assert grad(by_x, y).data[0] == 0.5  # d/dy of y x**(y - 1) at 0


INFINITE_ROWS = np.array([[-np.inf, -np.inf], [np.inf, 0.0], [-np.inf, 0.5], [-1e4, np.inf], [0.5, 0.5]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logsumexp_of_infinities(dtype):
    x = Tensor(INFINITE_ROWS.astype(dtype), requires_grad=True)
    out = ops.logsumexp(x, axis=1)
    assert_allclose(out.data, special.logsumexp(x.data, axis=1), rtol=1e-6)
    assert_array_equal(ops.logsumexp(x, axis=1, keepdims=True).data[:, 0], out.data)
    with np.errstate(invalid="ignore"):
        for create_graph in (False, True):
            slope = grad(out, x, np.ones(5), create_graph=create_graph)
            assert_allclose(slope.data, [[0, 0], [np.nan, 0], [0, 1], [0, np.nan], [0.5, 0.5]], rtol=1e-6)
        curve = grad(slope[:, 0], x, np.ones(5)).data
    assert_allclose(curve[[0, 2, 4]], [[0, 0], [0, 0], [0.25, -0.25]], rtol=1e-6)


def test_softmax_and_logsumexp_of_nothing():
    for op in (ops.softmax, ops.log_softmax):
        for shape, axis in (((2, 0), 1), ((0, 3), 0), ((0, 3), 1)):
            x = Tensor(np.ones(shape, "float32"), requires_grad=True)
            out = op(x, axis=axis)
            assert (out.shape, out.dtype) == (shape, np.float32)
            assert grad(out, x, np.ones(shape)).shape == shape
    assert_array_equal(ops.logsumexp(np.ones((0, 2)), axis=0), [-np.inf, -np.inf])


@pytest.mark.parametrize("axis", [0, -1, (0,)])
@pytest.mark.parametrize(
    "op",
    [ops.sum, ops.mean, ops.max, ops.min, ops.logsumexp, ops.softmax, ops.log_softmax, ops.variance, ops.norm],
    ids=lambda op: op.__name__,
)
def test_a_0d_array_has_no_axis(op, axis):
    for x in (Tensor(2.0, requires_grad=True), np.array(2.0), np.float64(2.0)):
        with pytest.raises(ValueError, match=r"axis -?[01] does not exist in an array of shape \(\)"):
            op(x, axis=axis)


CHOICES = [
    ops.relu,
    lambda x: ops.maximum(x, 0.5),
    lambda x: ops.minimum(0.5, x),
    lambda x: ops.clip(x, low=-1.0, high=1.0),
    lambda x: ops.dense(x, np.eye(2), np.zeros(2), activation="relu"),
    lambda x: ops.biased_conv2d(
        x.reshape((1, 1, 2, 1)),
        np.ones((1, 1, 1, 1)),
        np.zeros(1),
        spec=ConvSpec((1, 2), (1, 1), (1, 1), ((0, 0), (0, 0))),
        activation="relu",
    ),
]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("choose", CHOICES, ids=["relu", "maximum", "minimum", "clip", "dense", "conv"])
def test_a_choice_passes_the_gradient_of_a_nan_on(choose, create_graph):
    x = Tensor(np.array([np.nan, np.nan]), requires_grad=True)
    out = choose(x)
    assert np.isnan(out.data).all()
    slope = grad(out, x, np.full(out.shape, 3.0), create_graph=create_graph).data
    assert not (slope == 0).any()
    assert choose is CHOICES[4] or (slope == 3.0).all()


@pytest.mark.parametrize("function", [ops.absolute, ops.elu, ops.square, ops.softplus, ops.max])
def test_a_slope_computed_from_a_nan_is_nan(function):
    x = Tensor(np.array([np.nan]), requires_grad=True)
    with np.errstate(invalid="ignore"):
        assert np.isnan(grad(function(x).sum(), x).data).all()


# The value and its first two derivatives, by mpmath with 40 digits.
DIGITS = [
    (ops.softplus, -30.0, [9.3576229688397368e-14, 9.357622968839299e-14, 9.3576229688384233e-14]),
    (ops.softplus, -10.0, [4.5398899216864647e-05, 4.5397868702434395e-05, 4.5395807735951671e-05]),
    (ops.softplus, 30.0, [30.000000000000094, 0.99999999999990642, 9.3576229688384233e-14]),
    (ops.expm1, 0.0009765625, [0.00097703949241653524, 1.0009770394924165, 1.0009770394924165]),
    (ops.expm1, -20.0, [-0.99999999793884638, 2.0611536224385578e-09, 2.0611536224385578e-09]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("function", "at", "expected"), DIGITS, ids=[f"{f.name} {x}" for f, x, _ in DIGITS])
def test_small_values_and_slopes_keep_their_digits(function, at, expected, dtype):
    x = Tensor(np.array(at, dtype), requires_grad=True)
    out = function(x)
    assert_allclose([out.data, *slopes(out, x)], expected, rtol=20 * np.finfo(dtype).eps)
