"""Every primitive and every loss, asked every question of `check_case`; and what the tables cannot ask."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import losses, ops
from tinyae.autodiff import Tensor, grad
from tinyae.testing.tables import CASES, discovered_primitives
from tinyae.testing.verification import questions

ASKED = [(question, case) for case in CASES for question in questions(case)]


@pytest.mark.parametrize(("question", "case"), ASKED, ids=[f"{q.__name__}-{c.name}" for q, c in ASKED])
def test_every_operation_answers(question, case, rng):
    question(case, rng)


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_are_finite_for_extreme_predictions(dtype):
    z = Tensor(ROW_EXTREMES.astype(dtype), requires_grad=True)
    targets = (ROW_EXTREMES > 0).astype(dtype)
    p = ops.sigmoid(z)
    for value in (
        losses.bce_with_logits(z, targets),
        losses.bce_with_logits(z, 1 - targets),
        losses.squared_error(z, targets),
        losses.softmax_cross_entropy(z, np.array([1, 2, 0, 2])),
        losses.absolute_error(z, targets),
        losses.huber(z, targets),
        losses.bce(p, targets),
        losses.bce(p, 1 - targets),
    ):
        assert np.isfinite(value.data).all()
        assert np.isfinite(grad(value, z).data).all()


@pytest.mark.parametrize(
    ("op", "at", "slope"),
    [
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
    ],
)
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


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        (np.ones((3, 2)), np.ones((3, 2)), r"inner lengths differ: \(3, 2\) @ \(3, 2\); the last axis of a must equal"),
        (np.ones(2), np.ones(3), r"inner lengths differ: \(2,\) @ \(3,\)"),
        (np.ones((3, 2)), 2.0, r"at least one axis on both sides: use \* for a number"),
    ],
)
def test_matrices_that_do_not_fit_are_explained(a, b, sentence):
    with pytest.raises(ValueError, match=sentence):
        ops.matmul(Tensor(a), b)
