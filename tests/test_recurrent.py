"""LSTM layers: against a transcription, against each sequence alone, and through every step back."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import nn, ops
from tinyae.autodiff import Tensor, grad
from tinyae.backend import threads
from tinyae.ops.recurrent import lstm_composed
from tinyae.testing.tables.ops import lstm_reference

LENGTHS = [5, 2, 1, 4]
STACKS = {
    f"{layers} layers, {'both ways' if both else 'one way'}{', peepholes' if peep else ''}": (layers, both, peep)
    for layers, both, peep in itertools.product((1, 2), (False, True), (False, True))
}
every_stack = pytest.mark.parametrize("name", STACKS)


def made(name: str, rng: np.random.Generator) -> Any:
    layers, both, peep = STACKS[name]
    stack = nn.LSTM(2, 3, layers, both, generator=rng, dtype="float64", peepholes=peep)
    for p in stack.parameters():
        p.data = p.data + 0.3 * rng.normal(size=p.shape)
    return stack


@every_stack
def test_a_stack_is_its_equations(name, rng):
    stack, x = made(name, rng), rng.normal(size=(4, 5, 2))
    output, states = stack(x, lengths=LENGTHS)
    for number, layers in enumerate(stack.layers):
        parts = []
        for direction, layer in enumerate(layers):
            p = {key: value.data for key, value in layer.named_parameters()}
            weights = (p["weight_x"], p["weight_h"], p["bias"], p.get("peepholes"))
            found = lstm_reference(x, None, None, *weights, lengths=LENGTHS, reverse=direction == 1)
            for state, expected in zip(states, (found[:, 0 if direction else -2], found[:, -1]), strict=True):
                assert_allclose(state.data[number * stack.directions + direction], expected, rtol=1e-12, atol=1e-14)
            parts.append(found[:, :-1])
        x = np.concatenate(parts, axis=2)
    assert_allclose(output.data, x, rtol=1e-12, atol=1e-14)


@every_stack
def test_a_padded_batch_is_each_sequence_alone(name, rng):
    """Values and gradients to 1e-12, whatever stands in the padding."""
    stack, x = made(name, rng), rng.normal(size=(4, 5, 2))
    for n, length in enumerate(LENGTHS):
        x[n, length:] = (1e3, np.nan, -np.inf, 1e30)[n]
    leaf = Tensor(x, requires_grad=True)
    output, states = stack(leaf, lengths=LENGTHS)
    weights = rng.normal(size=output.shape)
    ends = [rng.normal(size=s.shape) for s in states]
    total = sum(((s * w).sum() for s, w in zip(states, ends, strict=True)), Tensor(0.0, dtype="float64"))
    alone = total * 0.0
    inputs = []
    for n, length in enumerate(LENGTHS):
        total = total + (output[n, :length] * weights[n, :length]).sum()
        inputs.append(Tensor(x[n : n + 1, :length], requires_grad=True))
        own, after = stack(inputs[-1])
        assert_allclose(output.data[n, :length], own.data[0], rtol=1e-12, atol=1e-13)
        held = output.data[n, length - 1] * (np.arange(output.shape[2]) < 3)  # by the walk forwards
        assert (output.data[n, length:] == held).all()
        alone = alone + (own[0] * weights[n, :length]).sum()
        for state, mine, w in zip(states, after, ends, strict=True):
            assert_allclose(state.data[:, n], mine.data[:, 0], rtol=1e-12, atol=1e-13)
            alone = alone + (mine[:, 0] * w[:, n]).sum()
    together = grad(total, [leaf, *stack.parameters()])
    apart = grad(alone, [*inputs, *stack.parameters()])
    for n, length in enumerate(LENGTHS):
        assert_allclose(together[0].data[n, :length], apart[n].data[0], rtol=1e-12, atol=1e-13)
        assert not together[0].data[n, length:].any()
    for a, b in zip(together[1:], apart[len(LENGTHS) :], strict=True):
        assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-12)


def test_a_state_is_handed_on(rng):
    """Five steps are two steps and then three, values and gradients."""
    stack, x = made("2 layers, one way, peepholes", rng), rng.normal(size=(4, 5, 2))
    output, states = stack(x)
    first, between = stack(x[:, :2])
    second, after = stack(x[:, 2:], between)
    assert_allclose(np.concatenate([first.data, second.data], axis=1), output.data, rtol=1e-13)
    for a, b in zip([output[:, -1], *states], [second[:, -1], *after], strict=True):
        for p, q in zip(grad(a.sum(), stack.parameters()), grad(b.sum(), stack.parameters()), strict=True):
            assert_allclose(p.data, q.data, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("reverse", [False, True])
def test_threads_change_no_byte(reverse, rng):
    samples, steps, size = 33, 7, 96  # enough to be shared
    shapes = [(samples, steps, 5), *[(samples, size)] * 2, (5, 4 * size), (size, 4 * size), (4 * size,), (3, size)]
    values = [0.3 * rng.normal(size=shape) for shape in shapes]
    params = {"reverse": reverse, "lengths": rng.integers(1, steps + 1, samples)}

    def found(op: Any) -> list[Any]:
        leaves = [Tensor(v, requires_grad=True) for v in values]
        out = op(*leaves, **params)
        return [out.data, *(g.data for g in grad((out * out).sum(), leaves))]

    runs = []
    for count in (1, 2, 3):
        with threads(count):
            runs.append(found(ops.lstm))
    for *same, cell_by_cell in zip(*runs, found(lstm_composed), strict=True):
        assert len({array.tobytes() for array in same}) == 1
        assert_allclose(same[0], cell_by_cell, rtol=1e-9, atol=1e-10)


def test_a_constant_input_is_that_input_at_each_step(rng):
    stack, x = nn.LSTM(2, 3, 2, True, generator=rng, dtype="float64"), rng.normal(size=(4, 2))
    for lengths in (None, LENGTHS):
        output, states = stack(x, lengths=lengths, steps=5)
        expected, last = stack(np.stack([x] * 5, axis=1), lengths=lengths)
        for a, b in zip([output, *states], [expected, *last], strict=True):
            assert_allclose(a.data, b.data, rtol=1e-13)


STEPS = 45
WALKS = {
    f"{'backwards' if reverse else 'forwards'}{', unequal' if lengths else ''}{', peepholes' if peep else ''}": (
        peep, {"reverse": reverse, "lengths": lengths}
    )
    for reverse, lengths, peep in itertools.product((False, True), (None, [STEPS, 21]), (False, True))
}  # fmt: skip


@pytest.mark.parametrize("name", WALKS)
def test_the_gradient_of_the_last_step_reaches_the_first(name, rng):
    """Backpropagation through time that stops early anywhere, in any kind of walk, has another gradient."""
    peep, params = WALKS[name]
    shapes = [(2, STEPS, 1), (2, 2), (2, 2), (1, 8), (2, 8), (8,)]
    values = [rng.normal(size=shape) * (2.0 if len(shape) == 2 else 1.0) for shape in shapes]
    values += [0.3 * rng.normal(size=(3, 2))] if peep else []
    values[5][2:6] += 2.0  # gates that keep, so that there is something to see
    last = 0 if params["reverse"] else STEPS - 1

    def out(*arrays: Any) -> Any:
        return ops.lstm(*arrays, **params)[:, last].sum()

    leaves = [Tensor(v, requires_grad=True) for v in values]
    gradients = grad(out(*leaves), leaves)
    for sequence, length in enumerate(params["lengths"] or [STEPS, STEPS]):
        reach = np.abs(gradients[0].data[sequence, :, 0])
        assert reach[:length].min() > 1e-12, "the example must have something to lose at every step"
        assert not reach[length:].any()
    for i, v in enumerate(values):
        for place in np.ndindex(v.shape):
            moved = [a.astype(complex) for a in values]
            moved[i][place] += 1e-30j
            assert_allclose(gradients[i].data[place], np.imag(out(*moved)) / 1e-30, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("shared", [0, 1 << 60], ids=["halves", "whole"])
@pytest.mark.parametrize("shapes", [
    [(3, 4, 7), None, (3, 2), (7, 8)],  # halves of 1 and 2, x wider than h
    [(3, 4, 1), (3, 2), None, (1, 8)],
    [(3, 7), (3, 2), (3, 2), (7, 8)],
    [None, (3, 2), None, None],
    [(1, 4, 7), None, None, (7, 8)],
    [(0, 4, 7), None, None, (7, 8)],
], ids=str)  # fmt: skip
@pytest.mark.parametrize("dtypes", [("f8",) * 4, ("f4", "f8", "f8", "f4")], ids=str)
def test_in_halves_or_whole_it_is_the_composed_one(dtypes, shapes, shared, rng, monkeypatch):
    """Any arguments missing, any asked for; NaN in the padding; backwards."""
    monkeypatch.setattr("tinyae.ops.recurrent._SHARED", shared)
    x = shapes[0] or shapes[1]
    params: dict[str, Any] = {"lengths": [4, 2, 1][: x[0]], "reverse": True} | ({} if len(x) == 3 else {"steps": 4})
    kinds = (*dtypes, "f8", "f8", "f8")
    values = [
        None if shape is None else rng.normal(size=shape).astype(kind)
        for shape, kind in zip([*shapes, (2, 8), (8,), (3, 2)], kinds, strict=True)
    ]
    if len(x) == 3 and x[0] > 1:
        values[0][1, 2:] = np.nan
    there = [k for k, value in enumerate(values) if value is not None]
    for asked in (there, there[::2], there[1::2]):
        found = []
        for op in (ops.lstm, lstm_composed):
            leaves = [v if v is None else Tensor(v, requires_grad=k in asked) for k, v in enumerate(values)]
            out = op(*leaves, **params)
            found.append([out.data, *(g.data for g in grad((out * out).sum(), [leaves[k] for k in asked]))])
        for fused, composed in zip(*found, strict=True):
            assert fused.dtype == composed.dtype
            close = 1e-4 if "f4" in dtypes else 1e-11
            assert_allclose(fused, composed, rtol=close, atol=close)


def test_an_lstm_without_input_is_driven_by_its_state(rng):
    blind = nn.LSTM(0, 3, 2, generator=rng, dtype="float64")
    seeing = nn.LSTM(1, 3, 2, generator=rng, dtype="float64")
    seeing.load_state_dict({**seeing.state_dict(), **blind.state_dict()})
    states = tuple(Tensor(rng.normal(size=(2, 4, 3))) for _ in range(2))
    output, after = blind(None, states, steps=6)
    expected, last = seeing(np.zeros((4, 6, 1)), states)
    assert_allclose(output.data, expected.data, rtol=1e-13)
    assert_allclose(after[1].data, last[1].data, rtol=1e-13)
    assert all(p.shape[0] > 0 for p in blind.parameters())


def test_states_as_one_vector_and_back(rng):
    stack = nn.LSTM(2, 3, 2, True, generator=rng)
    _, states = stack(rng.normal(size=(4, 5, 2)).astype("float32"))
    vector = stack.flat(states)
    assert vector.shape == (4, stack.state_size)
    for a, b in zip(stack.unflat(vector), states, strict=True):
        assert_array_equal(a.data, b.data)


def test_weights_start_as_said(rng):
    layer = nn.LSTMLayer(3, 5, forget_bias=2.0, peepholes=True, generator=rng)
    for gate in np.split(layer.weight_h.data, 4, axis=1):
        assert_allclose(gate.T @ gate, np.eye(5), atol=1e-6)
    assert np.abs(layer.weight_x.data).max() <= np.sqrt(6 / 8)
    assert_array_equal(layer.bias.data, [0] * 5 + [2] * 5 + [0] * 10)
    assert not layer.peepholes.data.any()


def test_dropout_stands_between_layers_only(rng):
    x = rng.normal(size=(3, 4, 2)).astype("float32")
    one = nn.LSTM(2, 3, 1, dropout=0.9, generator=rng)
    assert_array_equal(one(x)[0].data, one(x)[0].data)
    two = nn.LSTM(2, 3, 2, dropout=0.5, generator=rng)
    assert not np.array_equal(two(x)[0].data, two(x)[0].data)
    two.eval()
    assert_array_equal(two(x)[0].data, two(x)[0].data)


def test_time_distributed(rng):
    dense = nn.Dense(3, 2, generator=rng, dtype="float64")
    x = rng.normal(size=(2, 4, 3))
    expected = np.stack([dense(x[:, t]).data for t in range(4)], axis=1)
    assert_allclose(nn.TimeDistributed(dense)(x).data, expected, rtol=1e-13)


@pytest.mark.parametrize(("call", "words"), [
    (lambda m, x: m(x, lengths=[1, 2]), r"lengths must be 3 whole numbers"),
    (lambda m, x: m(x, lengths=[1, 0, 2]), r"lengths must be from 1 to the 4 steps of the batch, got 0 for sequence 1"),
    (lambda m, x: m(x, lengths=[1, 2, 9]), r"got 9 for sequence 2: .* pad the batch"),
    (lambda m, x: m(x, lengths=[1.0, 2.0, 3.0]), r"whole numbers"),
    (lambda m, x: m(x, lengths=np.ones(3)), r"3 whole numbers, .* got float64 .*lengths.astype\('int64'\)"),
    (lambda m, x: m(x, lengths=5), r"3 whole numbers, .* got int64 of shape \(\)"),
    (lambda m, x: m.unflat(Tensor(x[:, 0])), r"or codes, must be \(N, 10\), got shape \(3, 2\)"),
    (lambda m, x: m(x[:, 0]), r"must be \(N, T, 2\), or \(N, 2\) with steps=T, got shape \(3, 2\)"),
    (lambda m, x: m(x, (Tensor(x[0]), Tensor(x[0]))), r"a state must be \(1, N, 5\)"),
    (lambda m, x: m(None, steps=3), "without an input needs input_size=0"),
    (lambda m, x: m(x[:, :0]), "at least one step"),
    (lambda m, x: m(x[:, 0], steps=0, lengths=[1, 1, 1]), "steps must be a whole number of at least 1, got 0"),
    (lambda m, x: m(x[:, 0], steps=2.5), "at least one step, got 2.5"),
    (lambda m, x: ops.lstm(None, x[0], x[0, :1], None, np.ones((2, 8)), np.ones(8), steps=3), r"c0 must be \(4, 2\), .*1, 2"),
    (lambda m, x: nn.TimeDistributed(nn.Tanh())(x[0]), r"sequences \(N, T, ...\)"),
    (lambda m, x: nn.LSTM(2, 0), "hidden_size"),
    (lambda m, x: ops.lstm(x, None, None, x[0], x[0], x[0, 0]), r"lstm: x \(N, T, D\).*do not fit"),
])  # fmt: skip
def test_what_does_not_fit_is_said(call, words, rng):
    with pytest.raises(ValueError, match=words):
        call(nn.LSTM(2, 5, generator=rng), rng.normal(size=(3, 4, 2)).astype("float32"))


@pytest.mark.parametrize(("kind", "state", "words"), [
    (nn.LSTM, lambda h: h, r"the state must be \(h, c\), .* got Tensor"),
    (nn.LSTM, lambda h: (h,), r"the state must be \(h, c\), .* got 1 in a tuple"),
    (nn.LSTM, lambda h: (h, None), r"the state must be \(h, c\)"),
    (nn.LSTMLayer, lambda h: h, r"the state must be \(h, c\), .* got Tensor"),
])  # fmt: skip
def test_a_state_of_another_form_is_said(kind, state, words, rng):
    h = np.zeros((1, 3, 5), "float32")
    with pytest.raises(TypeError, match=words):
        kind(2, 5, generator=rng)(rng.normal(size=(3, 4, 2)).astype("float32"), state(h))
