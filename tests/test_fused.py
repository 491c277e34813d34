"""Fused primitives against the readable twins they name: values, first and second derivatives."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinyae import ops
from tinyae.autodiff import Primitive, Tensor, grad, primitive
from tinyae.ops.linear import ACTIVATIONS, dense_composed
from tinyae.testing import OpCase
from tinyae.testing.tables import CASES, discovered_primitives

FUSED = [case for case in CASES if isinstance(case.op, Primitive) and case.op.composed is not None]
every_fused_case = pytest.mark.parametrize("case", FUSED, ids=operator.attrgetter("name"))


def derivatives(function: Any, case: OpCase, arguments: list[Any], weights: list[np.ndarray]) -> list[np.ndarray]:
    """Value, gradients, and the gradients of one random combination of the gradients."""
    given = [a if a is None else Tensor(a, requires_grad=True) for a in arguments]
    leaves = [given[i] for i in case.moving]
    cotangent = Tensor(weights[0], requires_grad=True)
    out = function(*given, **case.params)
    plain = grad(out, leaves, cotangent)
    first = grad(out, leaves, cotangent, create_graph=True)
    mixed = first[0].sum() * 0.0
    for g, w in zip(first, weights[1:], strict=True):
        mixed = mixed + (g * w).sum()
    second = grad(mixed, [*leaves, cotangent], allow_unused=True)
    return [t.data for t in (out, *plain, *first, *second)]


@every_fused_case
def test_equals_its_composed_twin_up_to_second_order(case, rng):
    arguments = case.make_inputs(rng)
    out = np.asarray(case.op(*arguments, **case.params))
    weights = [np.asarray(rng.normal(size=s)) for s in [out.shape, *[arguments[i].shape for i in case.moving]]]
    fused = derivatives(case.op, case, arguments, weights)
    composed = derivatives(case.op.composed, case, arguments, weights)
    for a, b in zip(fused, composed, strict=True):
        assert a.shape == b.shape
        assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@every_fused_case
def test_gives_one_gradient_alone_as_among_others(case, rng):
    arguments = case.make_inputs(rng)
    weights = rng.normal(size=np.shape(case.op(*arguments, **case.params)))
    leaves = [a if a is None else Tensor(a, requires_grad=True) for a in arguments]
    together = grad(case.op(*leaves, **case.params), [leaves[i] for i in case.moving], weights)
    for i, expected in zip(case.moving, together, strict=True):
        alone = [Tensor(a, requires_grad=True) if i == k else a for k, a in enumerate(arguments)]
        assert_allclose(grad(case.op(*alone, **case.params), alone[i], weights).data, expected.data, rtol=1e-13)


def test_all_fused_primitives_are_in_the_table():
    fused = {p.name for p in discovered_primitives().values() if p.composed is not None}
    assert {"dense", "bce_with_logits", "squared_error"} <= fused == {case.op.name for case in FUSED}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("lead", [(6,), (2, 3), ()])
def test_third_derivatives_of_dense(activation, lead, rng):
    values = [rng.normal(size=(*lead, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)]
    found = []
    for function in (ops.dense, dense_composed):
        x, w, b = (Tensor(v, requires_grad=True) for v in values)
        first = grad((function(x, w, b, activation=activation) * 0.7).sum(), w, create_graph=True)
        second = grad((first * first).sum(), x, create_graph=True)
        third = grad((second * second).sum(), [x, w, b], allow_unused=True)
        found.append([t.data for t in (first, second, *third)])
    for a, b in zip(*found, strict=True):
        assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_with_one_tensor_in_two_places(activation, rng):
    values = rng.normal(size=(3, 3))
    found = []
    for function in (ops.dense, dense_composed):
        x = Tensor(values, requires_grad=True)
        slope = grad(function(x, x, x[0], activation=activation).sum(), x, create_graph=True)
        found.append((slope.data, grad((slope * slope).sum(), x, allow_unused=True).data))
    for a, b in zip(*found, strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_relu_at_exactly_zero_has_slope_zero_in_both():
    x, w, b = np.zeros((2, 3)), np.ones((3, 2)), np.zeros(2)
    for function in (ops.dense, dense_composed):
        leaf = Tensor(b, requires_grad=True)
        assert not grad(function(x, w, leaf, activation="relu").sum(), leaf).data.any()


@pytest.mark.parametrize(("shapes", "activation", "words"), [
    (((2, 3), (4, 5), (5,)), "relu", r"dense: .*\(2, 3\), \(4, 5\)"),
    (((2, 3), (3, 5), (4,)), "relu", r"dense: .*\(3, 5\), \(4,\)"),
    (((2, 3), (3, 5), (5,)), "swish", "unknown activation 'swish'.*identity, relu, elu, sigmoid, tanh"),
])  # fmt: skip
def test_dense_names_what_does_not_fit(shapes, activation, words):
    with pytest.raises(ValueError, match=words):
        ops.dense(*[np.ones(s) for s in shapes], activation=activation)


def test_a_fused_rule_needs_a_composed_twin():
    @primitive
    def twice(x):
        return 2 * x

    with pytest.raises(ValueError, match=r"twice.*composed"):
        twice.fused_vjp(lambda *args: None)
