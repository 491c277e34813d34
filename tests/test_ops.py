"""Every primitive, asked the same questions: see `op_cases.py` for the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.op_cases import CASES, OpCase, discovered_primitives, ids
from tinyae import losses, ops
from tinyae.autodiff import Primitive, Tensor, grad
from tinyae.testing import complex_step, gradcheck

SMOOTH = [case for case in CASES if case.order >= 1]
every_case = pytest.mark.parametrize("case", CASES, ids=ids)
every_smooth_case = pytest.mark.parametrize("case", SMOOTH, ids=ids)


def call(case: OpCase, arguments: list[Any]) -> Any:
    return case.op(*arguments, **case.params)


def as_leaves(case: OpCase, arguments: list[Any]) -> list[Any]:
    return [Tensor(a, requires_grad=True) if i in case.moving else a for i, a in enumerate(arguments)]


def gradients(case: OpCase, arguments: list[Any], weights: np.ndarray, create_graph: bool = False) -> list[np.ndarray]:
    """Gradients of sum(weights * op(...)) for the differentiable arguments."""
    leaves = as_leaves(case, arguments)
    found = grad(call(case, leaves), [leaves[i] for i in case.moving], weights, create_graph=create_graph)
    return [g.data for g in found]


def function_and_inputs(case: OpCase, arguments: list[Any]) -> tuple[Callable[..., Any], list[np.ndarray]]:
    """The operation as a function of its differentiable arguments alone, and their values."""

    def function(*moving: Any) -> Any:
        full = list(arguments)
        for i, x in zip(case.moving, moving, strict=True):
            full[i] = x
        return call(case, full)

    return function, [arguments[i] for i in case.moving]


def weights_for(case: OpCase, arguments: list[Any], rng: np.random.Generator) -> np.ndarray:
    out = np.asarray(call(case, arguments))
    return np.asarray(rng.uniform(0.5, 1.5, out.shape) * rng.choice([-1.0, 1.0], out.shape), dtype=out.dtype)


def test_every_primitive_has_a_case():
    covered = {id(case.op) for case in CASES}
    missing = sorted(p.name for key, p in discovered_primitives().items() if key not in covered)
    assert not missing, f"add lines to tests/op_cases.py for {missing}"


@pytest.mark.parametrize("length", [0, 1])
def test_every_primitive_has_a_case_with_an_axis_of_that_length(length):
    covered = {id(case.op) for case in CASES if any(length in shape for shape in case.shapes)}
    missing = sorted(p.name for key, p in discovered_primitives().items() if key not in covered)
    assert not missing


@every_case
def test_matches_the_reference(case, rng):
    arguments = case.make_inputs(rng)
    expected = np.asarray(case.reference(*arguments, **case.params))
    out = call(case, arguments)
    assert np.shape(out) == expected.shape
    assert_allclose(out, expected, rtol=1e-12, atol=1e-14)
    wrapped = call(case, as_leaves(case, arguments))
    assert isinstance(wrapped, Tensor)
    assert_array_equal(wrapped.data, out)


@every_smooth_case
def test_first_derivatives(case, rng):
    gradcheck(*function_and_inputs(case, case.make_inputs(rng)))


@every_smooth_case
def test_second_derivatives(case, rng):
    gradcheck(*function_and_inputs(case, case.make_inputs(rng)), order=case.order, rtol=2e-6)


@pytest.mark.parametrize("case", [case for case in SMOOTH if case.analytic], ids=ids)
def test_gradients_equal_the_complex_step(case, rng):
    arguments = case.make_inputs(rng)
    weights = weights_for(case, arguments, rng)
    exact = complex_step(*function_and_inputs(case, arguments), weights)
    for found, expected in zip(gradients(case, arguments, weights), exact, strict=True):
        assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


@every_smooth_case
def test_both_rule_modes_give_the_same_numbers(case, rng):
    arguments = case.make_inputs(rng)
    weights = weights_for(case, arguments, rng)
    fused = getattr(case.op, "composed", None) is not None
    raw, recorded = gradients(case, arguments, weights), gradients(case, arguments, weights, create_graph=True)
    for a, b in zip(raw, recorded, strict=True):
        assert_allclose(a, b, rtol=1e-12 if fused else 0, atol=1e-14 if fused else 0)


@every_case
def test_float32_stays_float32(case, rng):
    arguments = case.make_inputs(rng, "float32")
    out = call(case, arguments)
    if case.order == 0:
        assert out.dtype in (np.float32, np.bool_)
        return
    assert out.dtype == np.float32
    leaves = as_leaves(case, arguments)
    result = call(case, leaves)
    weights = weights_for(case, arguments, rng)
    for create_graph in (False, True):
        assert all(g.dtype == np.float32 for g in gradients(case, arguments, weights, create_graph))
    result.backward(weights, retain_graph=True)
    result.backward(weights)
    assert all(leaves[i].grad.dtype == np.float32 for i in case.moving)


@pytest.mark.parametrize("case", [case for case in SMOOTH if isinstance(case.op, Primitive)], ids=ids)
def test_rules_on_raw_arrays_keep_float32(case, rng):
    arguments = case.make_inputs(rng, "float32")
    out, residuals = case.op.forward(*arguments, **case.params), None
    if case.op.composed is not None:
        out, residuals = out
    g = weights_for(case, arguments, rng)
    for i in case.moving:
        if case.op.vjp_all is not None:
            c = case.op.vjp_all(g, out, residuals, [i], *arguments, **case.params)[i]
        elif i in case.op.vjps:
            c = case.op.vjps[i](g, out, *arguments, **case.params)
        else:
            c = case.op.vjp_each(g, out, i, *arguments, **case.params)
        assert c.dtype == np.float32, f"argument {i}"


@every_case
def test_arrays_are_only_read(case, rng):
    arguments = case.make_inputs(rng)
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    copies = [a.copy() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    out = call(case, as_leaves(case, arguments))
    if case.order >= 1:
        weights = weights_for(case, arguments, rng)
        weights.flags.writeable = False
        if isinstance(out._data, np.ndarray):
            out._data.flags.writeable = False
        leaves = as_leaves(case, arguments)
        grad(call(case, leaves), [leaves[i] for i in case.moving], weights, create_graph=True)
        grad(call(case, leaves), [leaves[i] for i in case.moving], weights)
        out.backward(weights)
    for array, copy in zip(arrays, copies, strict=True):
        assert_array_equal(array, copy)


@every_smooth_case
def test_strided_arrays_give_the_same(case, rng):
    arguments = case.make_inputs(rng)
    weights = weights_for(case, arguments, rng)
    strided = [scattered_in_memory(a) if i in case.moving else a for i, a in enumerate(arguments)]
    assert_allclose(call(case, strided), call(case, arguments), rtol=1e-13, atol=1e-14)
    found = gradients(case, strided, scattered_in_memory(weights))
    for plain, other in zip(gradients(case, arguments, weights), found, strict=True):
        assert_allclose(other, plain, rtol=1e-13, atol=1e-14)


def scattered_in_memory(x: np.ndarray) -> np.ndarray:
    """The same values, axes in reverse order in memory and every second element unused."""
    room = np.full(tuple(2 * n for n in x.shape[::-1]), np.nan)
    view = room.transpose()[(..., *[slice(None, None, 2)] * x.ndim)]
    view[...] = x
    return view


@pytest.mark.parametrize("case", [case for case in CASES if case.order == 0], ids=ids)
def test_piecewise_constants_carry_no_gradient(case, rng):
    assert not call(case, as_leaves(case, case.make_inputs(rng))).requires_grad


EXTREMES = np.array([-1e3, -50.0, -1.0, 0.0, 1.0, 50.0, 1e3])
ROW_EXTREMES = np.array([[1e3, -1e3, 0.0], [-1e3, -1e3, -1e3], [1e3, 1e3, 1e3], [0.0, 1.0, -1e3]])
FINITE_EVERYWHERE = [
    (ops.sigmoid, EXTREMES, {}),
    (ops.tanh, EXTREMES, {}),
    (ops.softplus, EXTREMES, {}),
    (ops.relu, EXTREMES, {}),
    (ops.leaky_relu, EXTREMES, {}),
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
        (ops.leaky_relu, 0.0, 0.01),
        (lambda x: ops.maximum(x, 1.0), 1.0, 0.5),
        (lambda x: ops.minimum(1.0, x), 1.0, 0.5),
        (lambda x: ops.clip(x, low=0.0, high=1.0), 1.0, 1.0),
        (lambda x: ops.clip(x, low=0.0, high=1.0), 0.0, 1.0),
        (lambda x: x**1, 0.0, 1.0),
        (lambda x: x**2, 0.0, 0.0),
        (lambda x: x**0, 0.0, 0.0),
    ],
)
def test_sub_gradients_at_kinks_are_the_documented_ones(op, at, slope):
    x = Tensor(np.array([at, at]), requires_grad=True)
    assert_array_equal(grad(op(x), x, np.ones(2)).data, [slope, slope])


def test_ties_of_max_share_the_gradient():
    x = Tensor(np.array([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0]]), requires_grad=True)
    assert_allclose(grad(ops.max(x, axis=1), x, np.array([1.0, 6.0])).data, [[0.5, 0, 0.5], [2, 2, 2]])


@pytest.mark.gpu
@every_case
def test_gpu_equals_cpu(case, rng, gpu):
    arguments = case.make_inputs(rng)
    there = [gpu.to_device(a) if isinstance(a, np.ndarray) else a for a in arguments]
    assert_allclose(gpu.to_host(call(case, there)), call(case, arguments), rtol=1e-12, atol=1e-13)
    if case.order >= 1:
        weights = weights_for(case, arguments, rng)
        pairs = zip(gradients(case, there, gpu.to_device(weights)), gradients(case, arguments, weights), strict=True)
        for device, host in pairs:
            assert_allclose(gpu.to_host(device), host, rtol=1e-12, atol=1e-13)
