"""Depth, memory and aliasing: what a graph costs, when it goes, and that nobody holds anybody else's array."""

from __future__ import annotations

import gc
import importlib
import itertools
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.conftest import leaf
from tinyae import ops
from tinyae.autodiff import Node, Tensor, grad, no_grad
from tinyae.autodiff.tape import ancestors


class Watched(np.ndarray):
    """An array that can be referred to weakly, and whose results are of its own kind."""


def watched(value: Any) -> np.ndarray:
    return np.array(value, dtype="float64").view(Watched)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Without the cyclic garbage collector, only reference counting frees memory."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def chain(x: Tensor, depth: int) -> Tensor:
    for _ in range(depth):
        x = x + 1.0
    return x


@pytest.mark.parametrize("backward", [True, False])
def test_a_chain_of_100000_steps_is_freed_with_a_backward_pass_or_without(backward, no_collector):
    x = leaf(0.5)
    y = chain(x, 100_000)
    array = first_result(y)
    if backward:
        y.backward()
        assert x.grad.item() == 1.0
    else:
        del y
    assert array() is None


def test_a_node_is_two_objects_for_the_cyclic_collector(no_collector):
    x = leaf(0.5)
    before = len(gc.get_objects())
    y = chain(x, 1000)
    gc.collect()
    assert 1000 <= len(gc.get_objects()) - before <= 2100
    assert y.node.parents[0].parents  # the graph was alive


def first_result(y: Tensor) -> weakref.ref:
    """The array of the oldest result of a chain."""
    node = y.node
    while node.parents[0].primitive is not None:
        node = node.parents[0]
    return watch(node)


def watch(node: Node) -> weakref.ref:
    """Put an array that can be referred to weakly in the place of a node's result, and refer to it."""
    node.out = watched(node.out)
    return weakref.ref(node.out)


def test_a_deep_graph_of_second_order_is_freed(no_collector):
    x = leaf(0.5)
    y = x
    for _ in range(5_000):
        y = y * 0.9 + x * x * 0.001
    slope = grad(y, x, create_graph=True)
    grad(slope, x)
    arrays = [watch(y.node), watch(slope.node)]
    del y, slope
    assert [a() for a in arrays] == [None, None]


def test_backward_frees_the_arrays_between_leaf_and_loss(no_collector):
    x = Tensor(watched([1.0, 2.0]), requires_grad=True)
    y = ops.exp(x)
    z = y * y
    loss = z.sum()
    arrays = [weakref.ref(t._data) for t in (y, z)]
    del y, z
    assert all(a() is not None for a in arrays)
    loss.backward()
    assert all(a() is None for a in arrays)
    assert loss.requires_grad  # the loss is still there, its history is not


def test_dropping_the_result_frees_the_graph_and_the_leaf(no_collector):
    x = Tensor(watched([1.0, 2.0]), requires_grad=True)
    y = ops.tanh(ops.exp(x) * x)
    inner = weakref.ref(y.node.args[0])
    tensor, array = weakref.ref(x), weakref.ref(x._data)
    del y
    assert inner() is None
    del x
    assert tensor() is None
    assert array() is None


def test_a_leaf_that_is_gone_gets_no_gradient(no_collector):
    x, w = leaf(2.0), leaf(3.0)
    y = x * w
    del x
    y.backward()
    assert w.grad.item() == 2.0


def test_no_grad_keeps_nothing(no_collector):
    x = Tensor(watched([1.0, 2.0]), requires_grad=True)
    with no_grad():
        y = ops.exp(x)
        inner = weakref.ref(y._data)
        z = ops.tanh(y)
        del y
        assert inner() is None
        assert z.node is None


@pytest.mark.parametrize("deposit", [False, True])
def test_create_graph_leaks_nothing(deposit, no_collector):
    arrays = []
    for _ in range(3):
        x = Tensor(watched([0.3, 0.7]), requires_grad=True)
        y = (ops.tanh(x) * x).sum()
        arrays.append(weakref.ref(y.node.args[0]))
        if deposit:
            y.backward(create_graph=True)
            slope = x.grad
        else:
            slope = grad(y, x, create_graph=True)
        arrays += [weakref.ref(x._data), weakref.ref(slope.node.args[0])]
        (slope * slope).sum().backward()
        del x, y, slope
        assert [a() for a in arrays] == [None] * len(arrays)
        arrays.clear()


@pytest.mark.parametrize("dense", [False, True])
def test_thousand_training_steps_keep_the_number_of_objects(dense, no_collector):
    w, b = leaf(np.ones((3, 2))), leaf(np.zeros(2))
    x = np.ones((4, 3))

    def step() -> None:
        y = ops.dense(x, w, b, activation="tanh") if dense else ops.tanh(ops.matmul(x, w) + b)
        w.grad = b.grad = None
        (y * y).mean().backward()

    for _ in range(5):
        step()
    before = len(gc.get_objects())
    for _ in range(200):
        step()
    assert len(gc.get_objects()) - before < 50


def tangle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """A graph whose rules mostly hand the incoming cotangent on as it is, or as a view of it."""
    d = a + b
    e = ops.reshape(ops.transpose(d - c), shape=(4,)) + ops.reshape(ops.transpose(a + c), shape=(4,))
    return ops.concatenate(e[:2], e[1:], ops.pad(e, widths=((0, 1),)))


def plain_sum(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return a + b + c


@pytest.mark.parametrize("graph", [plain_sum, tangle])
def test_no_two_gradients_share_memory(graph):
    """Nor does one with a result, a leaf or the weights: who clips a gradient in place changes nothing else."""
    leaves = [leaf(np.full((2, 2), v)) for v in (1.0, 2.0, 3.0)]
    y = graph(*leaves)
    weights = np.arange(1.0, 1.0 + y.size).reshape(y.shape)
    arrays = [weights, *(t.data for t in (y, *leaves))]
    for _ in range(2):
        arrays += [g.data for g in grad(y, leaves, weights)]
    for create_graph in (True, False):
        y.backward(weights, create_graph=create_graph)
        arrays += [t.grad.data for t in leaves]
        for t in leaves:
            t.grad = None
    assert all(a.flags.writeable for a in arrays)
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(arrays, 2))


def test_a_sum_of_cotangents_is_not_written_into_what_was_handed_on():
    """The cotangent of d collects twice; g, which e also passed to f, must keep its value."""
    a, f = leaf([1.0]), leaf([1.0])
    d = a + 0.0
    e = d + f
    y = e + d + d
    found = grad(y, [a, f, d, e], np.array([1.0]))
    assert [g.item() for g in found] == [3.0, 1.0, 3.0, 1.0]


def test_accumulating_does_not_change_an_earlier_gradient_object():
    x = leaf([1.0])
    (x * 2.0).sum().backward()
    first = x.grad
    (x * 3.0).sum().backward()
    assert first.item() == 2.0
    assert x.grad.item() == 5.0


def test_second_order_looks_at_each_node_of_a_fused_stack_a_few_times(monkeypatch):
    """Twice the depth may cost twice the visits, not four times: no layer walks all the history below it."""
    module = importlib.import_module("tinyae.autodiff.reverse")
    visited: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        nodes = ancestors(*args, **kwargs)
        visited.append(len(nodes))
        return nodes

    monkeypatch.setattr(module, "ancestors", counted)

    def visits(depth: int) -> int:
        w, b, x = leaf(np.eye(2) * 0.9), leaf(np.zeros(2)), Tensor(np.ones((1, 2)))
        for _ in range(depth):
            x = ops.dense(x, w, b, activation="tanh")
        visited.clear()
        grad(x.sum(), w, create_graph=True)
        return sum(visited)

    assert visits(200) < 2.5 * visits(100)


def test_serial_numbers_only_grow():
    x = leaf(1.0)
    y = x * 2.0
    z = Tensor(np.ones(1), requires_grad=True)
    assert isinstance(y.node, Node)
    assert x.node.serial < y.node.serial < z.node.serial
