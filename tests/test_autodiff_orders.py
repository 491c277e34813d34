"""Derivatives of higher order: one rule gives them all."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, example, given
from numpy.testing import assert_allclose, assert_array_equal

from tests.conftest import leaf
from tinyae import nn, ops
from tinyae.autodiff import Tensor, grad
from tinyae.testing import complex_step, gradcheck


def derivatives(function: Any, x: Tensor, order: int) -> list[float]:
    """f(x), f'(x), f''(x), ..., by differentiating again and again."""
    y = function(x)
    found = [y.item()]
    for k in range(order):
        y = grad(y, x, create_graph=k < order - 1, allow_unused=True)
        found.append(y.item())
    return found


@pytest.mark.parametrize("at", [0.5, -1.5, 0.0])
@pytest.mark.parametrize(("function", "expected"), [
    *((power, lambda x: [x**4, 4 * x**3, 12 * x**2, 24 * x, 24.0])
      for power in (lambda x: x**4, lambda x: x * x * x * x, lambda x: ops.square(ops.square(x)))),
    (ops.tanh, lambda x: [t := np.tanh(x), s := 1 - t * t, -2 * t * s, s * (6 * t * t - 2)]),
    (ops.sin, lambda x: [np.sin(x + k * np.pi / 2) for k in range(9)]),  # they come round after four
])  # fmt: skip
def test_derivatives_of_known_functions(function, expected, at):
    wanted = expected(at)
    assert_allclose(derivatives(function, leaf(at), len(wanted) - 1), wanted, rtol=1e-14, atol=1e-15)


def test_derivatives_of_the_exponential_are_itself():
    assert derivatives(ops.exp, leaf(0.4), 6) == [np.exp(0.4)] * 7


def test_a_linear_function_has_no_second_derivative():
    x = leaf(2.0)
    slope = grad(3.0 * x, x, create_graph=True)
    assert slope.item() == 3.0
    assert grad(slope * x, x).item() == 3.0


def network(x: Tensor, w: Tensor, v: Tensor) -> Tensor:
    hidden = ops.dense(x, w, np.array([0.1, -0.2, 0.3]), activation="tanh")
    return ops.logsumexp(ops.matmul(hidden, v)) + ops.softplus(hidden).mean()


def test_hessian_vector_product_equals_differences_of_gradients(rng):
    x, v = rng.normal(size=(5, 4)), rng.normal(size=(3, 2))
    start, direction = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))

    def gradient(w: np.ndarray) -> np.ndarray:
        leaf_w = leaf(w)
        return grad(network(x, leaf_w, v), leaf_w).data

    w = leaf(start)
    slope = grad(network(x, w, v), w, create_graph=True)
    product = grad((slope * direction).sum(), w).data
    h = 1e-5
    expected = (gradient(start + h * direction) - gradient(start - h * direction)) / (2 * h)
    assert_allclose(product, expected, rtol=1e-7, atol=1e-10)


def test_a_loss_on_a_gradient_trains_like_any_other():
    """The penalty of a contractive autoencoder: the squared norm of a Jacobian, by the weights."""
    w = leaf([[0.5, -0.3], [0.2, 0.9]])

    def penalty(w: Tensor) -> Tensor:
        x = leaf([[0.4, -0.6]])
        code = ops.tanh(ops.matmul(x, w))
        rows = [grad(code[0, k], x, create_graph=True) for k in range(2)]
        return (rows[0] ** 2).sum() + (rows[1] ** 2).sum()

    penalty(w).backward()
    code = np.tanh(np.array([[0.4, -0.6]]) @ w.data)
    jacobian = w.data * (1 - code**2)
    assert_allclose(penalty(w).item(), (jacobian**2).sum(), rtol=1e-13)
    gradcheck(penalty, [w])
    exact = complex_step(lambda w: ((w * (1 - np.tanh(np.array([[0.4, -0.6]]) @ w) ** 2)) ** 2).sum(), [w.data])[0]
    assert_allclose(w.grad.data, exact, rtol=1e-12)


def test_backward_with_create_graph_deposits_differentiable_gradients():
    x = leaf([1.0, 2.0])
    (x**3).sum().backward(create_graph=True)
    assert_array_equal(x.grad.data, [3.0, 12.0])
    slope = x.grad
    assert_array_equal(grad(slope.sum(), x).data, [6.0, 12.0])


def test_gradients_of_grad_output():
    """The gradient is linear in its weights: its derivative by them is the Jacobian."""
    x, weights = leaf([1.0, 2.0]), leaf([0.5, 0.25])
    slope = grad(ops.exp(x), x, weights, create_graph=True)
    assert_array_equal(grad(slope, weights, np.ones(2)).data, np.exp(x.data))


def test_no_graph_without_create_graph():
    x = leaf(2.0)
    assert not grad(x * x, x).requires_grad
    assert grad(x * x, x, create_graph=True).requires_grad


OPERATIONS = [
    ops.tanh, ops.sin, ops.square, ops.softplus, ops.softmax, lambda x: x * 0.5 + 1.0, lambda x: ops.exp(-x),
    lambda x: x * x[::-1], lambda x: ops.concatenate(x[1:], x[:1]), lambda x: ops.cos(x) * x.mean(),
]  # fmt: skip


@example([9, 9, 4], 160)  # a softmax of three numbers that are almost equal: gradients of 6e-10
@given(st.lists(st.integers(0, len(OPERATIONS) - 1), min_size=1, max_size=5), st.integers(0, 2**31))
def test_random_compositions_pass_the_second_order_check(steps, seed):
    def composed(x: Tensor) -> Tensor:
        for i in steps:
            x = OPERATIONS[i](x)
        return x

    x = leaf(np.random.default_rng(seed).uniform(-1, 1, 3))
    slope = grad(composed(x), x, np.array([1.0, -0.5, 0.7]))
    assume(np.abs(slope.data).max() > 1e-6)  # what is left after many digits have canceled cannot be measured
    gradcheck(composed, [x], order=2, rtol=1e-5)


def test_third_order_check():
    gradcheck(lambda x: ops.tanh(x) * ops.exp(x), [np.array([0.1, -0.4])], order=3, rtol=1e-5)


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_have_the_dtype_of_what_they_belong_to(create_graph):
    a, b = leaf([1.0, 2.0], "float32"), leaf([3.0, 4.0])
    found = grad((a * a * b).sum(), [a, b], create_graph=create_graph)
    assert [g.dtype for g in found] == [np.float32, np.float64]
    assert_array_equal([g.data for g in found], [2 * a.data * b.data, a.data**2])
    middle = a * a
    assert grad((middle * b).sum(), middle, create_graph=create_graph).dtype == np.float32
    for _ in range(2):
        (a * a * b).sum().backward(create_graph=create_graph)
        assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)
    assert_array_equal(a.grad.data, 4 * a.data * b.data)
    weights = leaf([1.0, 2.0])
    slope = grad(a * a, a, weights, create_graph=create_graph)
    assert slope.dtype == np.float32
    if create_graph:
        mixed = grad(slope.sum(), [a, weights])
        assert [g.dtype for g in mixed] == [np.float32, np.float64]
        assert_array_equal([g.data for g in mixed], [2 * weights.data, 2 * a.data])


def test_a_layer_that_met_a_float64_constant_has_float32_gradients(rng):
    layer = nn.Dense(3, 2, activation="tanh", generator=rng)
    x = rng.normal(size=(4, 3)).astype("float32")
    (layer(x) * np.full((4, 2), 2.0)).sum().backward(create_graph=True)
    for p in layer.parameters():
        assert p.grad.dtype == np.float32
        assert grad((p.grad * p.grad).sum(), p).dtype == np.float32


def test_a_cast_is_differentiable_and_casts_its_gradient_back():
    x = leaf([0.1, 0.2], "float32")
    y = ops.cast(x, dtype="float64")
    assert y.data is not x.data
    assert_array_equal(y.data, x.data.astype("float64"))
    slope = grad((y * y * y).sum(), x, create_graph=True)
    curve = grad(slope.sum(), x)
    assert slope.dtype == curve.dtype == np.float32
    assert_allclose([slope.data, curve.data], [3 * x.data**2, 6 * x.data], rtol=1e-6)
    assert_array_equal(ops.cast(Tensor([1, 2]), dtype=np.float32).data, np.array([1, 2], "float32"))
    with pytest.raises(TypeError, match="cast: dtype must be a floating-point one, got int64"):
        ops.cast(x, dtype=int)
