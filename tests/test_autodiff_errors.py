"""What the engine refuses, and that it says what to write instead."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.conftest import leaf
from tinyae import ops, optim
from tinyae.autodiff import Tensor, grad, no_grad, primitive
from tinyae.backend import MixedDevicesError

SWEEPS = {
    "backward": lambda y, x: y.backward(),
    "grad": lambda y, x: grad(y, x),
    "allow_unused": lambda y, x: grad(y, x, allow_unused=True),
    "create_graph": lambda y, x: grad(y, x, create_graph=True),
}
every_sweep = pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS)


@every_sweep
def test_a_graph_that_was_freed_in_whole_or_in_part_says_so(sweep):
    """Not 'does not depend on x', and above all not zeros."""
    x = leaf(2.0)
    shared = ops.exp(x)
    first, second = shared * 2.0, shared * 3.0
    first.backward()
    for y, names in ((first, "exp|multiply"), (second, "exp")):
        with pytest.raises(RuntimeError, match=rf"graph behind ({names}) was freed by an earlier .*retain_graph=True"):
            sweep(y, x)
    assert x.grad.item() == 2.0 * np.exp(2.0)


@pytest.mark.parametrize("change", [
    lambda x: setattr(x, "data", x.data * 2.0),
    lambda x: (x.data.__imul__(2.0), x.bump_version()),
    lambda x: setattr(x, "data", x.data.__iadd__(1.0)),
], ids=["assigned", "bumped", "augmented"])  # fmt: skip
@every_sweep
def test_a_change_in_place_between_forward_and_backward_raises(change, sweep):
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    change(x)
    with pytest.raises(RuntimeError, match=r"multiply was changed in place.*forward pass again"):
        sweep(y, x)
    (x * x).sum().backward()  # a new forward pass is fine
    assert_array_equal(x.grad.data, 2 * x.data)
    change(y := ops.exp(x))  # whose rule needs its own result
    with pytest.raises(RuntimeError, match="exp was changed in place"):
        sweep(y.sum(), x)


def test_a_change_before_the_forward_pass_or_of_what_a_result_does_not_use_is_fine():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    x.data = x.data * 3.0
    y = (x * x).sum()
    _ = x * w
    w.data = w.data * 0.0
    y.backward()
    assert_array_equal(x.grad.data, [6.0, 12.0])


def test_backward_needs_one_number_or_weights():
    x = leaf([1.0, 2.0])
    for sweep in (lambda: (x * x).backward(), lambda: grad(x * x, x)):
        with pytest.raises(ValueError, match=r"shape \(2,\), not one number.*grad_output"):
            sweep()
    assert_array_equal(grad(x.sum().reshape((1, 1)), x).data, [1.0, 1.0])  # one number may have axes


@pytest.mark.parametrize("weights", [np.ones(3), np.ones((2, 1)), 1.0, Tensor(np.ones((1, 2)))], ids=np.shape)
def test_weights_of_another_shape_are_refused(weights):
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"grad_output has shape .*, y has \(2,\); they must be equal"):
        (x * x).backward(weights)


@pytest.mark.parametrize("y", [Tensor(1.0), no_grad(lambda: leaf(1.0) * 2.0)(), 3.0, np.ones(1)])
def test_constants_have_nothing_to_differentiate(y):
    with pytest.raises(TypeError, match=r"nothing was recorded.*requires_grad=True.*no_grad"):
        grad(y, leaf(1.0))


@pytest.mark.parametrize("x", [Tensor(1.0), np.ones(1), 2.0], ids=["constant", "array", "number"])
def test_grad_to_a_constant_is_refused(x):
    y = leaf(1.0)
    with pytest.raises(TypeError, match=r"xs\[1\] must be a Tensor with requires_grad=True"):
        grad(y * y, [y, x])
    with pytest.raises(TypeError, match=r"xs\[0\] must be a Tensor with requires_grad=True"):
        grad(y * y, x)


def test_a_rule_of_the_wrong_shape_is_named():
    @primitive
    def halves(x: Any, y: Any) -> Any:
        return x + y

    @halves.vjp(1)
    def _(g: Any, out: Any, x: Any, y: Any) -> Any:
        return g

    x, y = leaf(np.ones((2, 3))), leaf(np.ones(3))
    for create_graph in (False, True):
        words = r"halves for argument 1 .*\(2, 3\).*expected \(3,\).*sum_to.*elementwise=True"
        with pytest.raises(ValueError, match=words):
            grad(halves(x.detach(), y).sum(), y, create_graph=create_graph)


@primitive
def scaled(x: Any, y: Any, *, by: float, shift: float = 0.0) -> Any:
    return x * y * by + shift


scaled.vjp(0)(lambda g, out, x, y, by, shift=0.0: g * y * by)


@primitive
def total(*xs: Any, weight: float = 1.0) -> Any:
    return weight * sum(xs[1:], start=xs[0])


total.vjp(...)(lambda g, out, position, *xs, weight=1.0: weight * g)
A, B = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.5, -1.0], [2.0, 0.0]])


@pytest.mark.parametrize(("by_position", "by_name"), [
    (lambda x, y: ops.sum(x, 0), lambda x, y: ops.sum(x, axis=0)),
    (lambda x, y: ops.mean(x, (0, 1), True), lambda x, y: ops.mean(x, axis=(0, 1), keepdims=True)),
    (lambda x, y: ops.softmax(x, 0), lambda x, y: ops.softmax(x, axis=0)),
    (lambda x, y: ops.reshape(x, (4,)), lambda x, y: ops.reshape(x, shape=(4,))),
    (lambda x, y: ops.clip(x, 2, high=3), lambda x, y: ops.clip(x, low=2, high=3)),
    (lambda x, y: ops.variance(x, 0), lambda x, y: ops.variance(x, axis=0)),
    (lambda x, y: ops.getitem(x, np.array([1])), lambda x, y: ops.getitem(x, index=np.array([1]))),
    (lambda x, y: ops.dense(x, y, y[0], "tanh"), lambda x, y: ops.dense(x, y, y[0], activation="tanh")),
    (lambda x, y: scaled(x, y, 3.0, 1.0), lambda x, y: scaled(x, y, by=3.0, shift=1.0)),
    (lambda x, y: total([x, y], 2.0), lambda x, y: total(x, y, weight=2.0)),
    (lambda x, y: ops.concatenate([x, y]), lambda x, y: ops.concatenate(x, y, axis=0)),
    (lambda x, y: ops.concatenate((x, y), 1), lambda x, y: ops.concatenate(x, y, axis=1)),
    (lambda x, y: ops.concatenate(x, y, 1), lambda x, y: ops.concatenate(x, y, axis=1)),
    (lambda x, y: ops.stack([x, y], axis=-1), lambda x, y: ops.stack(x, y, axis=-1)),
])  # fmt: skip
def test_options_by_position_and_arrays_in_a_list(by_position, by_name):
    assert_array_equal(by_position(A, B), by_name(A, B))
    x, y = leaf(A), leaf(B)
    one, other = by_position(x, y), by_name(x, y)
    assert_array_equal(one.data, other.data)
    weights = np.arange(1.0, one.size + 1).reshape(one.shape)
    assert_array_equal(grad(one, x, weights, create_graph=True).data, grad(other, x, weights).data)


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda x, y: ops.sum(x, dim=0), "sum() has no option dim: it has axis, keepdims; dim is called axis."),
    (lambda x, y: x.mean(0, keepdim=True), "it has axis, keepdims; keepdim is called keepdims."),
    (lambda x, y: x.sum(axis=0, out=None), "sum() has no option out: it has axis, keepdims."),
    (lambda x, y: ops.exp(x, out=A), "exp() has no option out: it has none."),
    (lambda x, y: ops.sum(x, where=A > 0), "sum() has no option where: it has axis, keepdims."),
    (lambda x, y: ops.multiply(x, y=y), "arrays are positional: multiply(x, y)."),
    (lambda x, y: ops.add(x, other=y), "arrays are positional: add(x, y)."),
    (lambda x, y: ops.sum(input=x), "arrays are positional: sum(x)."),
    (lambda x, y: scaled(x, y=y, by=2.0), "arrays are positional: scaled(x, y, by=...)."),
    (lambda x, y: ops.tanh(x, y), "tanh() takes x, got 2 arguments by position: write tanh(x)."),
    (lambda x, y: ops.sum(x, 0, axis=0), "got 2 arguments by position and axis by name: write sum(x)."),
    (lambda x, y: ops.reshape(x, 4, 1), "got 3 arguments by position: write reshape(x, shape=(4, 1))."),
    (lambda x, y: ops.mean([x, y]), "mean() takes an array, got a list of Tensors: join them with tinyae.ops"),
    (lambda x, y: ops.multiply([x], 2), "multiply() takes an array, got a list of Tensors"),  # or [x, x]
    (lambda x, y: ops.mean([1.0, 2.0]), "mean() takes an array, got list: make one with numpy.asarray(...)."),
])  # fmt: skip
def test_a_call_that_does_not_fit_says_what_to_write(call, sentence):
    with pytest.raises(TypeError, match=re.escape(sentence)):
        call(leaf(A), leaf(B))


@pytest.mark.parametrize("result", [lambda x: (x, x), lambda x: [x], lambda x: None, lambda x: float(x.sum()), Tensor])
def test_a_primitive_returns_one_array(result):
    wrong = primitive(lambda x: result(x))
    for x in (leaf(A), A):
        with pytest.raises(TypeError, match=r"<lambda> returned an object of type \w+: a primitive returns one array"):
            wrong(x)
    assert ops.add(2.0, 3.0) == 5.0  # numbers give a number


@pytest.mark.parametrize("error", [TypeError, ValueError, AttributeError])
def test_an_error_of_a_forward_function_is_not_touched(error):
    raised = error("its own")

    @primitive
    def fails(x: Any, *, by: float = 1.0) -> Any:
        raise raised

    for call in (lambda: fails(leaf(A)), lambda: fails(leaf(A), 2.0), lambda: fails(A, by=2.0)):
        with pytest.raises(error) as caught:
            call()
        assert caught.value is raised
        assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(("function", "name"), [
    (ops.sign, "sign"),
    (lambda x: x > 2.0, "greater"),
    (lambda x: ops.mean(3.0 * ops.sign(x)), "sign"),
    (primitive(differentiable=False)(lambda x: np.floor(x)), "<lambda>"),
    (lambda x: grad(abs(x).sum(), x, create_graph=True), "sign"),
])  # fmt: skip
def test_piecewise_constant_operations_are_named(function, name):
    x = leaf(A)
    with pytest.raises(TypeError, match=f"{name} is piecewise constant, its gradient is 0 everywhere"):
        function(x).sum().backward()
    for y in (ops.sign(x.detach()), ops.sign(x).detach()):
        with pytest.raises(TypeError, match="nothing was recorded"):
            y.sum().backward()


def test_results_and_weights_are_not_lists():
    x = leaf([1.0, 2.0])
    with pytest.raises(TypeError, match=r"y is one Tensor, got a list.*y\[0\]\.sum\(\) \+ y\[1\]\.sum\(\)"):
        grad([x * x, x + x], x)
    for y, weights in ((x * x, [1.0, 2.0]), (x.sum(), (1.0,))):
        with pytest.raises(TypeError, match=r"grad_output is a Tensor or an array.*numpy\.asarray"):
            grad(y, x, weights)


def test_a_missing_rule_is_named():
    @primitive
    def lookup(x: Any, table: Any) -> Any:
        return x + table

    @lookup.vjp(0)
    def _(g: Any, out: Any, x: Any, table: Any) -> Any:
        return g

    x, table = leaf([1.0]), leaf([2.0])
    grad(lookup(x, table), x)  # a rule that is not needed is not missed
    with pytest.raises(TypeError, match=r"lookup has no gradient rule for argument 1.*lookup\.vjp\(1\)"):
        grad(lookup(x, table), table)


def test_a_rule_is_given_once():
    @primitive
    def same(x: Any) -> Any:
        return x

    same.vjp(0)(lambda g, out, x: g)
    with pytest.raises(ValueError, match="same has a rule for argument 0 already"):
        same.vjp(0)(lambda g, out, x: g)


def test_rules_that_are_not_needed_never_run():
    calls = []

    @primitive
    def product(x: Any, y: Any) -> Any:
        return x * y

    product.vjp(0)(lambda g, out, x, y: (calls.append(0), g * y)[1])
    product.vjp(1)(lambda g, out, x, y: (calls.append(1), g * x)[1])
    x, y = leaf(2.0), leaf(3.0)
    grad(product(x, 3.0), x)
    grad(product(x, y), y)
    assert calls == [0, 1]


def test_arrays_of_two_devices_do_not_meet(elsewhere):
    here, there = Tensor(np.ones(2)), Tensor(elsewhere.to_device(np.ones(2)))
    for x, y in ((here, there), (there, here), (here.data, there), (here, there.data), (here.data, there.data)):
        with pytest.raises(MixedDevicesError) as caught:
            ops.add(x, y)
        assert all(word in str(caught.value) for word in ("add", "cpu", elsewhere.name, ".to("))
    with pytest.raises(TypeError) as caught:
        ops.add(there, "text")
    assert not isinstance(caught.value, MixedDevicesError)


TURN = np.array([1.0 + 2.0j, -0.5j])


@pytest.mark.parametrize("loss", [
    lambda x: abs(x * TURN).sum(),
    lambda x: x.sum() + (x * x).sum() + abs(x * x + x * TURN).sum(),
    lambda x: abs(ops.matmul(x.reshape((1, 2)), np.outer(TURN, TURN))).sum(),
    lambda x: ops.cast(abs(x * TURN), dtype="float32").sum(),
    lambda x: (x * TURN).sum(),
    lambda x: ops.cast(x * TURN, dtype="float32").sum(),
], ids=["abs", "sum", "matmul", "cast", "complex result", "complex cast"])  # fmt: skip
@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_through_complex_numbers_are_refused(loss, create_graph):
    x, z = leaf([1.0, 2.0]), Tensor(TURN, requires_grad=True)
    optim.SGD([buffered := leaf([1.0, 2.0])], lr=0.1)  # its gradient is written into a buffer
    for y, at in ((loss(x), x), (loss(z), z), (loss(buffered), buffered)):
        for sweep in (lambda: grad(y, at, create_graph=create_graph), lambda: y.backward(create_graph=create_graph)):  # noqa: B023
            with pytest.raises(TypeError, match="gradients of complex numbers are not defined here"):
                sweep()
    for seed in (1j, np.array(1j), Tensor(np.array(1j))):
        with pytest.raises(TypeError, match="gradients of complex numbers"):
            grad((x * x).sum(), x, seed, create_graph=create_graph)


def test_the_values_of_complex_numbers_are_computed():
    assert_array_equal(ops.square(Tensor(TURN)).data, TURN * TURN)
    assert ops.cast(Tensor(TURN), dtype="float32").dtype == np.complex64
