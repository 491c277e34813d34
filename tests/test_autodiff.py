"""The reverse sweep: random graphs against the naive engine, and the rules that every graph must obey."""

from __future__ import annotations

import math
import operator
import threading
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from numpy.testing import assert_allclose, assert_array_equal

from tests.naive import Value, parents_first
from tinyae import ops
from tinyae.autodiff import Tensor, grad, no_grad

numbers = st.floats(-2.0, 2.0).map(lambda x: round(x, 3))


def leaf(value: Any, dtype: str = "float64") -> Tensor:
    return Tensor(np.asarray(value, dtype=dtype), requires_grad=True)


class TwoEngines(RuleBasedStateMachine):
    """Grows one graph in both engines and compares values and gradients after every step.

    A pair is (Tensor, Value). `freed` holds the naive values whose Tensor's node was freed by a backward pass.
    """

    pairs = Bundle("pairs")

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[tuple[Tensor, Value]] = []
        self.freed: set[Value] = set()

    def keep(self, tensor: Tensor, value: Value) -> Any:
        """Add a result to the bundle, unless it is so large that rounding would swamp a comparison."""
        assert_allclose(tensor.item(), value.number, rtol=1e-9, atol=1e-9)
        return (tensor, value) if abs(value.number) < 1e3 else multiple()

    @rule(target=pairs, number=numbers)
    def leaf(self, number: float) -> Any:
        pair = (leaf(number), Value(number))
        self.leaves.append(pair)
        return pair

    @rule(target=pairs, a=pairs, b=pairs, name=st.sampled_from(["add", "sub", "mul", "truediv"]))
    def combine(self, a: Any, b: Any, name: str) -> Any:
        if name == "truediv" and abs(b[1].number) < 0.1:
            return multiple()
        method = f"__{name}__"
        return self.keep(getattr(a[0], method)(b[0]), getattr(a[1], method)(b[1]))

    @rule(target=pairs, a=pairs, number=numbers)
    def combine_with_a_number(self, a: Any, number: float) -> Any:
        return self.keep(number - a[0] * number, Value(number) - a[1] * Value(number))

    @rule(target=pairs, a=pairs, name=st.sampled_from(["tanh", "exp", "log", "relu"]))
    def apply(self, a: Any, name: str) -> Any:
        x = a[1].number
        if {"exp": x > 5, "log": x < 0.1, "relu": 0 < abs(x) < 1e-9}.get(name, False):
            return multiple()
        return self.keep(getattr(ops, name)(a[0]), getattr(a[1], name)())

    @rule(target=pairs, a=pairs)
    def detach(self, a: Any) -> Any:
        assert not a[0].detach().requires_grad
        return self.keep(a[0].detach(), a[1].detach())

    @rule(target=pairs, a=pairs, b=pairs)
    def multiply_without_recording(self, a: Any, b: Any) -> Any:
        with no_grad():
            product = a[0] * b[0]
        assert not product.requires_grad
        return self.keep(product, (a[1] * b[1]).detach())

    @rule(a=pairs, retain=st.booleans(), seed=st.sampled_from([1.0, -0.5]))
    def backward(self, a: Any, retain: bool, seed: float) -> None:
        tensor, value = a
        if not tensor.requires_grad:
            with pytest.raises(TypeError, match="nothing was recorded"):
                tensor.backward()
            return
        behind = [v for v in parents_first(value) if v.parents and self.differentiable(v)]
        if any(v in self.freed for v in behind):
            with pytest.raises(RuntimeError, match="retain_graph=True"):
                tensor.backward(retain_graph=True)
            return
        tensor.backward(np.asarray(seed), retain_graph=retain)
        value.backward(seed)
        if not retain:
            self.freed.update(behind)

    @rule(a=pairs, b=pairs)
    def gradient_at_any_point(self, a: Any, b: Any) -> None:
        """grad() to an intermediate result: in the naive engine, the slope to a cut-off copy of it."""
        y, x = a[0], b[0]
        behind = [v for v in parents_first(a[1]) if v.parents and self.differentiable(v)]
        if not (x.requires_grad and y.requires_grad) or any(v in self.freed for v in behind):
            return
        arrived = {a[1]: 1.0}
        for value in reversed(parents_first(a[1])):
            for parent, slope in value.parents:
                arrived[parent] = arrived.get(parent, 0.0) + arrived[value] * slope
        found = grad(y, x, allow_unused=True).item()
        assert_allclose(found, arrived.get(b[1], 0.0), rtol=1e-8, atol=1e-8)

    def differentiable(self, value: Value) -> bool:
        """Whether one of the machine's leaves is behind this value; numbers and detached values are constants."""
        ours = {v for _, v in self.leaves}
        return any(v in ours for v in parents_first(value))

    @invariant()
    def gradients_agree(self) -> None:
        for tensor, value in self.leaves:
            found = 0.0 if tensor.grad is None else tensor.grad.item()
            assert_allclose(found, value.grad, rtol=1e-8, atol=1e-8)


TestTwoEngines = TwoEngines.TestCase


def test_a_value_waits_for_all_of_its_uses():
    a = leaf(1.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad.item() == 4.0


def test_the_same_in_the_naive_engine():
    a = Value(1.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad == 4.0


def test_uses_of_unequal_depth():
    a = leaf(2.0)
    late = a
    for _ in range(5):
        late = late * a
    (late + a * late).backward()
    assert a.grad.item() == 6 * 2.0**5 + 7 * 2.0**6


def test_a_ladder_of_diamonds_is_not_walked_path_by_path():
    x = leaf(1.0)
    y = x
    for _ in range(200):
        y = 0.5 * y + 0.5 * y
    y.backward()
    assert x.grad.item() == 1.0  # 2**200 paths


@given(st.lists(st.tuples(st.sampled_from("+*t"), st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=12))
def test_random_graphs_of_arrays_equal_one_naive_graph_per_element(steps):
    start = np.array([[0.3, -1.1], [0.8, 0.05]])
    x = leaf(start)
    tensors, columns = [x, leaf(start[0])], [[Value(v) for v in start.ravel()], [Value(v) for v in start[0]]]
    columns[1] = columns[1] * 2  # a (2,) row broadcast over two rows
    row = columns[1][:2]
    for kind, i, k in steps:
        i, k = i % len(tensors), k % len(tensors)
        if kind == "t":
            tensors.append(ops.tanh(tensors[i]))
            columns.append([v.tanh() for v in columns[i]])
        else:
            join = operator.add if kind == "+" else operator.mul
            tensors.append(ops.tanh(join(tensors[i], tensors[k])))
            columns.append([join(a, b).tanh() for a, b in zip(columns[i], columns[k], strict=True)])
    last = tensors[-1] if tensors[-1].ndim == 2 else tensors[-1] * np.ones((2, 1))
    last.sum().backward()
    for value in columns[-1]:
        value.backward()
    for tensor, values in ((x, columns[0]), (tensors[1], row)):
        found = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.data
        assert_allclose(found.ravel(), [v.grad for v in values], rtol=1e-10, atol=1e-12)


def test_gradients_add_up_over_calls():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (3.0 * x).sum().backward()
    assert_array_equal(x.grad.data, [5.0, 7.0])


def test_retain_graph_allows_a_second_pass():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12.0


def test_backward_from_a_leaf():
    x = leaf([1.0, 2.0])
    x.backward(np.array([5.0, 6.0]))
    assert_array_equal(x.grad.data, [5.0, 6.0])


def test_grad_reaches_intermediate_results_and_deposits_nothing():
    x = leaf(2.0)
    y = x * x
    z = y * y * x
    dz_dy, dz_dx, dz_dz = grad(z, [y, x, z])
    assert (dz_dy.item(), dz_dx.item(), dz_dz.item()) == (2 * 4 * 2, 5 * 16, 1)
    assert x.grad is None
    assert y.grad is None
    assert grad(z, x).item() == 80.0  # and the graph is still there


def test_grad_keeps_the_order_and_kind_of_its_argument():
    x, y = leaf(2.0), leaf(3.0)
    z = x * y
    assert isinstance(grad(z, x), Tensor)
    assert [g.item() for g in grad(z, (y, x, y))] == [2.0, 3.0, 2.0]


def test_unused_inputs_raise_or_give_zeros():
    x, y = leaf(2.0), leaf([1.0, 1.0])
    with pytest.raises(ValueError, match=r"xs\[1\] of shape \(2,\).*allow_unused=True"):
        grad(x * x, [x, y])
    used, unused = grad(x * x, [x, y], allow_unused=True)
    assert used.item() == 4.0
    assert_array_equal(unused.data, [0.0, 0.0])


def test_weights_of_the_output():
    x = leaf([1.0, 2.0, 3.0])
    weights = np.array([1.0, 0.0, -2.0])
    assert_array_equal(grad(x * x, x, weights).data, 2 * x.data * weights)
    assert_array_equal(grad(x * x, x, Tensor(weights)).data, 2 * x.data * weights)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("weight", [2.0, 2, np.float64(2.0), np.asarray(2.0)], ids=["float", "int", "numpy", "array"])
def test_a_number_as_weight_of_a_single_output(weight, create_graph):
    x = leaf([1.0, 2.0])
    assert_array_equal(grad((x * x).sum(), x, weight, create_graph=create_graph).data, [4.0, 8.0])
    x.sum().backward(weight)
    assert_array_equal(x.grad.data, [2.0, 2.0])


def test_no_grad_as_block_and_as_decorator():
    x = leaf(2.0)

    @no_grad()
    def constant() -> Tensor:
        return x * x

    with no_grad():
        assert not (x * x).requires_grad
    assert not constant().requires_grad
    assert not constant().requires_grad
    assert (x * x).requires_grad


def test_no_grad_ends_with_an_error_too():
    x = leaf(2.0)
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    assert (x * x).requires_grad


def test_no_grad_in_one_thread_does_not_reach_another():
    x = leaf(2.0)
    inside, done = threading.Event(), threading.Event()
    seen = []

    def worker() -> None:
        with no_grad():
            inside.set()
            done.wait(10)
            seen.append((x * x).requires_grad)

    thread = threading.Thread(target=worker)
    thread.start()
    assert inside.wait(10)
    recorded = (x * x).requires_grad
    done.set()
    thread.join(10)
    assert recorded
    assert seen == [False]


def test_graphs_built_in_many_threads():
    results: list[float] = []

    def worker(start: float) -> None:
        x = leaf(start)
        y = x
        for _ in range(200):
            y = y * 0.5 + x
        y.backward()
        results.append(x.grad.item())

    threads = [threading.Thread(target=worker, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 4
    assert all(math.isclose(r, 2.0) for r in results)


def test_integers_and_masks_pass_through_as_constants():
    x = leaf([1.0, 2.0, 3.0])
    counts = Tensor([1, 2, 3])
    y = x * counts * (x > 1.5)
    assert_array_equal(grad(y.sum(), x).data, [0.0, 2.0, 3.0])
