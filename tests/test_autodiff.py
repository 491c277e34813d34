"""The reverse sweep: random graphs against the naive engine, and the rules that every graph must obey."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import reduce
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from numpy.testing import assert_allclose, assert_array_equal

from tests.conftest import leaf
from tests.naive import Value, parents_first
from tinyae import nn, ops, optim
from tinyae.autodiff import Node, Observer, Tensor, grad, no_grad, observers, set_observers, set_recording
from tinyae.inspect import detect_anomaly

numbers = st.floats(-2.0, 2.0).map(lambda x: round(x, 3))


SHAPES = [(), (3,), (1, 3), (2, 1), (2, 3)]
"""Any two of these broadcast."""


def many(values: Any) -> np.ndarray:
    """Naive values as an array of objects: NumPy broadcasts it and calls Value's operators element by element."""
    return np.asarray(values, dtype=object)


def each(function: Any, values: np.ndarray) -> np.ndarray:
    return many(np.frompyfunc(function, 1, 1)(values))


def read(values: np.ndarray, what: str = "number") -> np.ndarray:
    return np.array([getattr(v, what) for v in values.ravel()], dtype=float).reshape(values.shape)


def joined(values: np.ndarray, weights: np.ndarray) -> Value:
    """One value whose gradient for each of `values` is its weight: where a backward pass from an array starts."""
    return Value(0.0, tuple(zip(values.ravel(), weights.ravel().tolist(), strict=True)))


def arriving(root: Value) -> dict[Value, float]:
    """The gradient of `root` for everything behind it, intermediate results too."""
    arrived = {root: 1.0}
    for value in reversed(parents_first(root)):
        for parent, slope in value.parents:
            arrived[parent] = arrived.get(parent, 0.0) + arrived[value] * slope
    return arrived


class TwoEngines(RuleBasedStateMachine):
    """Grows one graph in both engines, arrays here and one naive value per element there, and compares values and
    gradients after every step.

    A pair is (Tensor, array of Values); drawing one twice makes reuse and diamonds. Each result is a group, what the
    engine frees as a whole: `group` tells the group of each naive value, `freed` the groups whose tape is gone.
    """

    pairs = Bundle("pairs")

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[tuple[Tensor, np.ndarray]] = []
        self.ours: set[Value] = set()  # what depends on a leaf; all else is a constant
        self.group: dict[Value, int] = {}
        self.freed: set[int] = set()

    def keep(self, tensor: Tensor, values: np.ndarray) -> Any:
        """Add a result to the bundle, unless it is so large that rounding would swamp a comparison."""
        assert tensor.shape == values.shape
        assert_allclose(tensor.numpy(), read(values), rtol=1e-9, atol=1e-9)
        for value in values.ravel():
            for v in parents_first(value):
                if v.parents and v not in self.group:
                    self.group[v] = len(self.group)
                    if any(parent in self.ours for parent, _ in v.parents):
                        self.ours.add(v)
        first = next((self.group[v] for v in values.ravel() if v in self.group), None)
        for value in values.ravel():
            if value in self.group and first is not None:
                self.group[value] = first
        assert tensor.requires_grad == any(v in self.ours for v in values.ravel())
        self.compare(tensor, values, self.leaves, np.cos(np.arange(tensor.size)).reshape(tensor.shape))
        return (tensor, values) if np.abs(read(values)).max() < 1e3 else multiple()

    def behind(self, values: np.ndarray) -> set[int]:
        """The groups that a backward pass from `values` runs through."""
        every = parents_first(joined(values, np.ones(values.shape)))[:-1]
        return {self.group[v] for v in every if v in self.ours and v in self.group}

    @rule(target=pairs, shape=st.sampled_from(SHAPES), some=st.lists(numbers, min_size=6, max_size=6))
    def leaf(self, shape: tuple[int, ...], some: list[float]) -> Any:
        data = np.array(some[: math.prod(shape)]).reshape(shape)
        pair = (leaf(data), each(Value, data.astype(object)))
        self.leaves.append(pair)
        self.ours.update(pair[1].ravel())
        return pair

    @rule(target=pairs, a=pairs, b=pairs, name=st.sampled_from(["add", "sub", "mul", "truediv"]))
    def combine(self, a: Any, b: Any, name: str) -> Any:
        if name == "truediv" and np.abs(read(b[1])).min() < 0.1:
            return multiple()
        join = getattr(operator, name)
        return self.keep(join(a[0], b[0]), many(join(a[1], b[1])))

    @rule(target=pairs, a=pairs, number=numbers)
    def combine_with_a_number(self, a: Any, number: float) -> Any:
        return self.keep(number - a[0] * number, many(many(Value(number)) - a[1] * many(Value(number))))

    @rule(target=pairs, a=pairs, name=st.sampled_from(["tanh", "exp", "log", "relu"]))
    def apply(self, a: Any, name: str) -> Any:
        x = read(a[1])
        if {"exp": x.max() > 5, "log": x.min() < 0.1, "relu": bool(((np.abs(x) < 1e-9) & (x != 0)).any())}.get(name):
            return multiple()
        return self.keep(getattr(ops, name)(a[0]), each(lambda v: getattr(v, name)(), a[1]))

    @rule(target=pairs, a=pairs, axis=st.sampled_from([None, 0, -1]))
    def add_up(self, a: Any, axis: Any) -> Any:
        if a[1].ndim == 0:
            return multiple()
        total = np.add.reduce(a[1] + many(Value(0.0)), axis=axis, keepdims=True)
        return self.keep(ops.sum(a[0], axis=axis, keepdims=True), many(total))

    @rule(target=pairs, a=pairs, shape=st.sampled_from(SHAPES))
    def broadcast(self, a: Any, shape: tuple[int, ...]) -> Any:
        return self.keep(a[0] * np.ones(shape), many(a[1] * each(Value, np.ones(shape, dtype=object))))

    @rule(target=pairs, a=pairs, b=pairs, length=st.integers(2, 40))
    def chain(self, a: Any, b: Any, length: int) -> Any:
        """Deep, and with a use of b at every step."""
        tensor, values = a
        for _ in range(length):
            tensor = tensor * 0.5 + b[0]
            values = many(many(values * many(Value(0.5))) + b[1])
        return self.keep(tensor, values)

    @rule(target=pairs, a=pairs)
    def detach(self, a: Any) -> Any:
        return self.keep(a[0].detach(), each(Value.detach, a[1]))

    @rule(target=pairs, a=pairs, b=pairs)
    def multiply_without_recording(self, a: Any, b: Any) -> Any:
        with no_grad():
            product = a[0] * b[0]
        return self.keep(product, each(Value.detach, many(a[1] * b[1])))

    @rule(a=pairs, retain=st.booleans(), weights=st.lists(numbers, min_size=6, max_size=6))
    def backward(self, a: Any, retain: bool, weights: list[float]) -> None:
        tensor, values = a
        seed = np.array(weights[: tensor.size]).reshape(tensor.shape)
        if not tensor.requires_grad:
            with pytest.raises(TypeError, match="nothing was recorded"):
                tensor.backward(seed)
            return
        behind = self.behind(values)
        if behind & self.freed:
            with pytest.raises(RuntimeError, match="retain_graph=True"):
                tensor.backward(seed, retain_graph=True)
            return
        root = joined(values, seed)
        if max(map(abs, arriving(root).values())) > 1e4:
            return
        tensor.backward(seed, retain_graph=retain)
        root.backward()
        if not retain:
            self.freed |= behind

    @rule(a=pairs, b=pairs, weights=st.lists(numbers, min_size=6, max_size=6))
    def gradient_at_any_point(self, a: Any, b: Any, weights: list[float]) -> None:
        """grad() to an intermediate result, which may be behind the other or not."""
        self.compare(*a, [b], np.array(weights[: a[0].size]).reshape(a[0].shape))

    def compare(
        self, y: Tensor, values: np.ndarray, targets: list[tuple[Tensor, np.ndarray]], seed: np.ndarray
    ) -> None:
        """grad() of y for all targets at once against what arrives there in the naive engine; deposits nothing."""
        targets = [pair for pair in targets if pair[0].requires_grad]
        if not y.requires_grad or not targets or self.behind(values) & self.freed:
            return
        arrived = arriving(joined(values, seed))
        if max(map(abs, arrived.values())) > 1e4:
            return
        found = grad(y, [x for x, _ in targets], seed, allow_unused=True)
        for g, (x, behind) in zip(found, targets, strict=True):
            expected = np.array([arrived.get(v, 0.0) for v in behind.ravel()]).reshape(x.shape)
            assert_allclose(g.numpy(), expected, rtol=1e-8, atol=1e-8)

    @invariant()
    def gradients_agree(self) -> None:
        for tensor, values in self.leaves:
            found = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.data
            assert_allclose(found, read(values, "grad"), rtol=1e-8, atol=1e-8)


TestTwoEngines = TwoEngines.TestCase


@pytest.mark.parametrize("engine", [leaf, Value])
@pytest.mark.parametrize(("function", "slope"), [
    (lambda x: (y := x + x) + y, 4.0),
    (lambda x: (y := reduce(operator.mul, [x] * 6)) + x * y, 6 * 2.0**5 + 7 * 2.0**6),  # uses of unequal depth
    (lambda x: reduce(lambda y, _: y + y, range(200), x), 2.0**200),  # as many paths, which nobody may walk one by one
    (lambda x: reduce(lambda y, _: y + x, range(20_000), x), 20_001.0),  # deeper than the interpreter's stack
])  # fmt: skip
def test_a_value_waits_for_all_of_its_uses(engine, function, slope):
    x = engine(2.0)
    function(x).backward()
    assert float(x.grad) == slope


def test_grad_gives_what_it_is_asked_for_and_deposits_nothing():
    x, y = leaf(2.0), leaf(3.0)
    z = x * y
    assert isinstance(grad(z, x), Tensor)
    assert [g.item() for g in grad(z * z, (y, z, x, y))] == [24.0, 12.0, 36.0, 24.0]
    assert x.grad is y.grad is z.grad is None


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

    def recorded(factor: float = 1.0) -> bool:
        return (x * factor).requires_grad

    with no_grad():
        assert not recorded()
    with pytest.raises(ZeroDivisionError), no_grad():
        raise ZeroDivisionError
    for constant in (no_grad()(recorded), no_grad(recorded)):
        assert [constant(factor=3.0), constant(), recorded()] == [False, False, True]


def test_no_grad_around_a_generator_function_covers_its_body_only():
    x, cleaned = leaf(2.0), []

    @no_grad()
    def squares(start: float) -> Iterator[Any]:
        """Squares of what is sent."""
        try:
            while start < 100.0:
                try:
                    start = (yield (x * start).requires_grad) or start
                except KeyError:
                    start = 50.0
        finally:
            cleaned.append((x * x).requires_grad)
        return "end"

    def recorded() -> bool:
        return (x * x).requires_grad

    made = squares(1.0)
    assert squares.__doc__ == "Squares of what is sent."
    assert [next(made), recorded(), made.send(3.0), recorded(), made.throw(KeyError()), recorded()] == [False, True] * 3
    made.close()
    assert cleaned == [False]
    made = squares(1.0)
    next(made)
    with pytest.raises(ZeroDivisionError):
        made.throw(ZeroDivisionError())
    assert recorded()
    made = squares(1.0)
    next(made)
    with pytest.raises(StopIteration) as end:
        made.send(100.0)
    assert end.value.value == "end"
    assert cleaned == [False] * 3
    assert list(set_recording(True)(no_grad(squares))(100.0)) == []


def test_a_context_may_be_used_again_nested_and_in_many_threads():
    x, off, seen = leaf(2.0), no_grad(), []

    def use(deep: int) -> None:
        with off:
            seen.append((x * x).requires_grad)
            if deep:
                use(deep - 1)
            with set_recording(True):
                seen.append(not (x * x).requires_grad)
            seen.append((x * x).requires_grad)

    def outermost(_: int) -> None:
        for _ in range(20):
            with off:
                use(2)
            seen.append(not (x * x).requires_grad)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(outermost, range(4)))
    assert len(seen) == 4 * 20 * 10
    assert not any(seen)


def test_other_contexts_may_be_used_again_and_decorate_generator_functions_too():
    module = nn.Tanh()
    for context, inside in (
        (set_observers(Observer()), observers),
        (nn.observe_calls(print), observers),
        (detect_anomaly(), observers),
        (nn.evaluating(module), lambda: not module.training),
    ):
        watched = context(lambda: (yield inside()))  # noqa: B023
        for _ in range(2):
            with context, context:
                assert inside()
            made = watched()
            assert next(made)
            assert not inside()
            assert list(made) == []


def test_no_grad_in_one_thread_does_not_reach_another():
    x, context = leaf(2.0), no_grad()
    with ThreadPoolExecutor(1) as other:
        other.submit(context.__enter__).result()
        assert (x * x).requires_grad
        assert not other.submit(lambda: (x * x).requires_grad).result()


def test_graphs_built_in_many_threads():
    def slope(start: float) -> float:
        x = y = leaf(start)
        for _ in range(200):
            y = y * 0.5 + x
        y.backward()
        return x.grad.item()

    with ThreadPoolExecutor(4) as threads:
        assert_allclose(list(threads.map(slope, range(4))), 2.0, rtol=1e-9)


def test_integers_and_masks_pass_through_as_constants():
    x = leaf([1.0, 2.0, 3.0])
    counts = Tensor([1, 2, 3])
    y = x * counts * (x > 1.5)
    assert_array_equal(grad(y.sum(), x).data, [0.0, 2.0, 3.0])


class Notes(Observer):
    """Writes down what it is told; at `detach()` it gives a 7 instead."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def starts(self, what: Any) -> None:
        self.heard.append(f"{what.name} starts")

    def result(self, name: str, args: Any, out: Any, node: Node | None) -> None:
        self.heard.append(f"{name} {'recorded' if node else 'not recorded'}")

    def gradient(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        self.heard.append(f"{node.name} to {position}")

    @contextmanager
    def during(self, scope: object) -> Iterator[None]:
        self.heard.append(f"begin {scope}")
        try:
            yield
        finally:
            self.heard.append("end")

    def called(self, module: object, inputs: tuple[object, ...], output: object) -> None:
        self.heard.append(f"called with {len(inputs)}")

    def updated(self, method: str, param: Any, grad: Any) -> None:
        self.heard.append(method)

    def detached(self, constant: Tensor) -> Tensor:
        return Tensor(7.0)


def test_an_observer_hears_of_everything_in_its_thread_and_block():
    layer, notes = nn.Tanh(), Notes()
    p = nn.Parameter(np.ones(2))
    with set_observers(*observers(), notes):
        layer(p).sum().backward()
        optim.SGD([p], lr=0.1).step()
        assert p.detach().item() == 7.0
        with pytest.raises(TypeError):
            layer(None)
    layer(p)
    assert not observers()
    assert notes.heard == [
        *("begin Tanh()", "tanh starts", "tanh recorded", "end", "called with 1", "sum starts", "sum recorded"),
        *("sum starts", "sum to 0", "tanh starts", "tanh to 0", "SGD", "begin Tanh()", "end"),
    ]


def test_the_rules_of_a_recorded_backward_pass_run_in_the_course_of_their_node():
    notes, x = Notes(), Tensor([0.5], requires_grad=True)
    y = ops.exp(x)
    with set_observers(notes):
        grad(y, x, create_graph=True)
    assert notes.heard == ["exp starts", f"begin {y.node}", "multiply starts", "multiply recorded", "end", "exp to 0"]
