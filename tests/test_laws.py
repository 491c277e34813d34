"""The laws: every layer of the package obeys them, and for each a planted fault that breaks it and no other."""

from __future__ import annotations

import importlib
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import with_rules
from tinyae import nn, ops
from tinyae.autodiff import Tensor, constant
from tinyae.backend import backend_of
from tinyae.testing import LawError, arrays_nd, arrays_ntd, check_layer, laws, strict_device
from tinyae.testing.subject import draws
from tinyae.testing.tables import LAYERS
from tinyae.testing.tables.modules import discovered_layers

DIFFERENT_IN_TRAINING = (nn.Dropout, nn.Noise, nn.BatchNorm)
"""The layers that are meant to behave differently in training. Whoever adds one declares it here."""


def declared_to_differ(layer: nn.Module) -> bool:
    return isinstance(layer, DIFFERENT_IN_TRAINING) or (
        isinstance(layer, nn.TopK) and layer.evaluation_k not in (None, layer.k)
    )


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)
def test_every_layer_obeys_every_law(case, rng):
    layer = case.module(rng)
    mixes = isinstance(layer, nn.Softmax) and layer.axis == 0  # over the batch, as it says
    differ = any(declared_to_differ(part) for _, part in layer.named_modules())
    # The double gradient is asked of every layer in test_check_tables.py.
    held = check_layer(
        layer,
        *case.make_inputs(rng),
        call=case.call,
        modes_differ=differ,
        order=1,
        device=strict_device(),
        batch=not mixes,
    )
    always = "gradient, precision, memory layout, independent calls, registered parameters, modes, save and load"
    assert {*always.split(", "), "device agreement", "inputs are only read"} <= set(held)
    if not mixes:
        assert {"batch independence", "empty batch"} <= set(held)
        assert ("permutation equivariance" in held) == (case.shapes[0][0] > 1)


def test_no_layer_is_left_out(rng):
    checked = {type(part) for case in LAYERS for _, part in case.build(rng).named_modules()}
    assert set(discovered_layers()) <= checked


def test_adjointness_is_asked_of_linear_layers_and_of_no_others(rng):
    x = rng.normal(size=(3, 4))
    assert "adjointness" in check_layer(nn.Dense(4, 2, generator=rng), x)
    assert "adjointness" not in check_layer(nn.Dense(4, 2, activation="tanh", generator=rng), x)
    assert "adjointness" in check_layer(ops.transpose, x, batch=False)
    with pytest.raises(ValueError, match="not linear"):
        laws.assert_adjoint(ops.tanh, x)


# Faults. Each is right in all respects but one.


def sine(rule: Any) -> Any:
    return with_rules(lambda x: backend_of(x).xp.sin(x), rule)


def clipped(g: Any, out: Any, x: Any) -> Any:
    return ops.maximum(ops.minimum(g, 1.0), -1.0) * ops.cos(x)


third = with_rules(lambda x: backend_of(x).xp.ldexp(x, 1) / 6.0, lambda g, out, x: g * 0.3333333333, elementwise=False)
"""x / 3, its rule with ten digits of that constant. ldexp takes no complex numbers."""

LAST = []
remembers = with_rules(
    lambda x: (LAST.append(x), x * x)[1], lambda g, out, x: g * 2.0 * (x if isinstance(x, Tensor) else LAST[-1])
)
"""x**2, with a rule that reads what the last call left behind."""


class CenteredOnTheFirst(nn.Module):
    """Declared to use the batch in training; but of all samples the first."""

    def __init__(self) -> None:
        self.mean = Tensor(np.zeros(4, "float32"))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return ops.tanh(x - self.mean)
        mean = ops.mean(x[:1], axis=0)
        self.mean.data = backend_of(x.data).to_device(mean.data.real, self.mean.dtype)
        return ops.tanh(x - mean)


OUTSIDE = nn.Parameter(np.linspace(0.5, 1.0, 4, dtype="float32"))


class OverPadding(nn.Module):
    """The mean over all steps, padding included; `right` over the valid ones."""

    def __init__(self, right: bool = False) -> None:
        self.right = right

    def forward(self, x: Tensor, lengths: Any) -> Tensor:
        backend = backend_of(x.data)
        ends = np.asarray(backend.to_host(lengths) if hasattr(lengths, "shape") else lengths)
        if not self.right:
            return ops.mean(ops.tanh(x), axis=1)
        valid = (np.arange(x.shape[1]) < ends[:, None])[..., None]
        shares = backend.to_device(valid / np.maximum(ends, 1)[:, None, None], x.dtype)
        return ops.sum(ops.tanh(x) * shares, axis=1)


class Forgetful(nn.Module):
    """Subtracts a running mean that it keeps where `state_dict` does not look."""

    def __init__(self) -> None:
        self.level = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return ops.tanh(x - self.level)
        mean = ops.mean(x)
        self.level = 0.9 * self.level + 0.1 * float(np.real(mean.item()))
        return ops.tanh(x - mean)


class InPlaceShortcut(nn.Module):
    """Saves memory where no gradient is needed, in the caller's array."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return ops.tanh(x)
        x.data[...] = ops.tanh(x.data)
        return constant(x.data)


def in_order(x: Any) -> bool:
    return not isinstance(x, np.ndarray) or x.flags.c_contiguous


FAULTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gradient": (sine(lambda g, out, x: g * ops.cos(x) * 1.01), {}),
    "double gradient": (sine(lambda g, out, x: g * ops.cos(x.detach() if isinstance(x, Tensor) else x)), {}),
    "linearity of the backward pass": (sine(clipped), {}),
    "adjointness": (third, {}),
    "permutation equivariance": (CenteredOnTheFirst(), {"modes_differ": True}),
    "batch independence": (lambda x: ops.softmax(x, axis=0), {}),
    "empty batch": (lambda x: ops.tanh(x) * (len(x) / len(x)), {}),
    "registered parameters": (lambda x: ops.tanh(x * OUTSIDE), {}),
    "independent calls": (remembers, {}),
    "memory layout": (sine(lambda g, out, x: g * ops.cos(x) * (1.0 if in_order(x) else 1.01)), {}),
    "precision": (sine(lambda g, out, x: g * ops.cos(x) * (1.01 if x.dtype == np.float32 else 1.0)), {}),
    "one rule": (sine(lambda g, out, x: g * ops.cos(x) * (1.0 + 1e-8 * isinstance(x, Tensor))), {}),
    "one result": (lambda x: (ops.tanh(x), x), {}),
    "padding invariance": (OverPadding(), {"lengths": np.array([3, 1, 2])}),
    "modes": (nn.Dropout(0.5, np.random.default_rng(1)), {}),
    "save and load": (Forgetful(), {"modes_differ": True}),
    "device agreement": (lambda x: ops.tanh(x) * np.linspace(0.5, 1.0, x.shape[-1]).astype(x.dtype), {}),
    "inputs are only read": (InPlaceShortcut(), {}),
    "gradients of their own": (lambda x, y: x + y, {}),
}


LAWS = [value for value in vars(laws).values() if hasattr(value, "formula") and not isinstance(value, type)]


def broken_laws(fn: Any, *inputs: Any, lengths: Any = None, modes_differ: bool = False) -> list[str]:
    """Every law that fits, asked by itself; the names of those that are broken."""
    call = None if lengths is None else lambda f, *xs: f(*xs[:-1], lengths=xs[-1])
    given = inputs if lengths is None else (*inputs, lengths)
    options = {
        laws.assert_device_agreement: {"backend": strict_device()},
        laws.assert_modes_agree: {"differ": modes_differ},
        laws.assert_dtype_kept: {"compare": not (isinstance(fn, nn.Module) and draws(fn))},
    }
    fits = {
        laws.assert_adjoint: laws.is_linear(laws.subject_of(fn, given, call)),
        laws.assert_padding_invariant: lengths is not None,
        **dict.fromkeys((laws.assert_modes_agree, laws.assert_save_load), isinstance(fn, nn.Module)),
        laws.assert_permutation_equivariant: not isinstance(fn, nn.Dropout),
        laws.assert_device_agreement: not isinstance(fn, nn.Dropout) and fn is not FAULTS["registered parameters"][0],
        laws.assert_batch_independent: not (isinstance(fn, nn.Dropout) or modes_differ),
    }
    found = []
    for law in LAWS:
        if fits.get(law, True):
            try:
                law(fn, *given, call=call, **options.get(law, {}))
            except LawError as error:
                found.append(error.law)
    return found


def planted(law: str, monkeypatch: Any) -> tuple[Any, list[Any], dict[str, Any]]:
    fn, options = FAULTS[law]
    shape = (3, 3, 2) if "lengths" in options else (3, 4)
    rng = np.random.default_rng(5)
    inputs = [rng.normal(size=shape)]
    if law == "gradients of their own":
        inputs.append(rng.normal(size=shape))
        engine = importlib.import_module("tinyae.autodiff.reverse")
        copies = engine._fresh
        monkeypatch.setattr(engine, "_fresh", lambda c, like: copies(c, like) if isinstance(c, Tensor) else constant(c))
    return fn, inputs, options


@pytest.mark.parametrize("law", sorted(FAULTS.keys() - {"one result"}))  # without one, no law holds
def test_a_planted_fault_breaks_its_law_and_no_other(law, monkeypatch):
    fn, inputs, options = planted(law, monkeypatch)
    assert broken_laws(fn, *inputs, **options) == [law]


@pytest.mark.parametrize("law", FAULTS)
def test_check_layer_names_the_law(law, monkeypatch):
    fn, inputs, options = planted(law, monkeypatch)
    with pytest.raises(LawError, match=f"breaks the law of {re.escape(law)}, ") as caught:
        check_layer(fn, *inputs, device=strict_device(), **options)
    assert caught.value.law == law
    assert caught.value.formula in str(caught.value)
    assert caught.value.detail


def test_every_law_has_a_planted_fault():
    assert {law.law for law in LAWS} == FAULTS.keys()


def test_the_same_without_the_faults(monkeypatch):
    lengths = np.array([3, 1, 2])
    x = np.random.default_rng(5).normal(size=(3, 3, 2))
    assert broken_laws(OverPadding(right=True), x, lengths=lengths) == []
    assert "padding invariance" in check_layer(OverPadding(right=True), x, lengths=lengths, device=strict_device())
    assert broken_laws(sine(lambda g, out, x: g * ops.cos(x)), x) == []
    assert broken_laws(lambda x, y: x + y, x, x) == []


# The parts of the laws that the faults above do not reach.


class Follows(nn.Module):
    """Learns in evaluation mode too."""

    def __init__(self) -> None:
        self.mean = Tensor(np.zeros(4, "float32"))

    def forward(self, x: Tensor) -> Tensor:
        out = x - self.mean.data
        self.mean.data = self.mean.data + np.float32(0.1) * x.data.mean(axis=0).astype("float32")
        return out


def reads_padding(x: Any, lengths: Any) -> Any:
    """Per step, but with a mean over all steps in it."""
    return ops.tanh(x) * ops.mean(x, axis=1, keepdims=True)


def leaks(x: Any, lengths: Any) -> Any:
    """Masked, with a gradient that is not."""
    valid = (np.arange(x.shape[1]) < lengths[:, None])[..., None]
    return with_rules(lambda x: x * valid, lambda g, out, x: g + 1e-3, elementwise=False)(x)


def padded(x: Any) -> Any:
    return ops.pad(x, widths=((1, 0), (0, 2)))


X, STEPS = (np.random.default_rng(6).normal(size=shape) for shape in ((3, 4), (3, 4, 2)))
LENGTHS = np.array([4, 0, 2])
mixing = sine(lambda g, out, x: g * ops.cos(x) + (0.1 * g[:1] if len(g) > 1 else 0.0))


@pytest.mark.parametrize(("ask", "words"), [
    (lambda: laws.assert_adjoint(padded, X, adjoint=lambda y: y[:-1, :4]), r"<A x, y> is .*, <x, A\^T y> is "),
    (lambda: laws.assert_adjoint(padded, X, adjoint=lambda y: y[:, :4]), r"A\^T y has shape \(4, 4\)"),
    (lambda: laws.assert_padding_invariant(reads_padding, STEPS, LENGTHS), "a result at a valid step of padded x is"),
    (lambda: laws.assert_padding_invariant(leaks, STEPS, LENGTHS), "the padding gets a gradient"),
    (lambda: laws.assert_permutation_equivariant(mixing, X), "gradient for input of permuted samples"),
    (lambda: laws.assert_permutation_equivariant(ops.sum, X), "does not start with N = 3"),
    (lambda: check_layer(nn.Dense(4, 2), X, modes_differ=True), "declared to differ, but both modes"),
    (lambda: laws.assert_modes_agree(Follows(), X), "two calls in evaluation mode"),
    *[(lambda law=law: law(lambda x: x.data, X), "ndarray")
      for law in (laws.assert_backward_linear, laws.assert_gradients_unshared, laws.assert_gradient)],
])  # fmt: skip
def test_other_faults_are_told(ask, words):
    with pytest.raises(LawError, match=words):
        ask()


def test_the_same_laws_where_they_hold():
    laws.assert_adjoint(padded, X, adjoint=lambda y: y[1:, :4])
    laws.assert_padding_invariant(lambda x, lengths: ops.tanh(x), STEPS, LENGTHS)
    with pytest.raises(ValueError, match="at least 2"):
        laws.assert_permutation_equivariant(ops.tanh, X[:1])


def test_a_buffer_that_moves_without_effect_must_be_declared(rng):
    class Counts(nn.Module):
        def __init__(self) -> None:
            self.calls = Tensor(np.zeros(1, "float32"))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.calls.data = self.calls.data + np.float32(1.0)
            return ops.tanh(x)

    x = rng.normal(size=(3, 4))
    with pytest.raises(LawError, match="a call in training mode changes calls"):
        check_layer(Counts(), x)
    assert "modes" in check_layer(Counts(), x, modes_differ=True)


def test_a_layer_is_left_as_it_was(rng):
    layer = nn.Sequential(nn.Dense(4, 3, generator=rng), nn.BatchNorm(3), nn.Dropout(0.5, rng))
    layer[1].eval()
    state, stream = layer.state_dict(), rng.bit_generator.state
    check_layer(layer, np.random.default_rng(1).normal(size=(5, 4)), modes_differ=True)
    assert rng.bit_generator.state == stream
    assert [part.training for _, part in layer.named_modules()] == [True, True, False, True]
    np.testing.assert_equal(layer.state_dict(), state)


@given(arrays_nd(N=(0, 3), D=(1, 3)), st.sampled_from(["identity", "tanh"]))
def test_laws_hold_for_any_batch(x, activation):
    layer = nn.Dense(x.shape[1], 2, activation=activation, generator=np.random.default_rng(0))
    assert ("permutation equivariance" in check_layer(layer, x, order=1)) == (len(x) > 1)


@given(arrays_ntd(min_length=0, N=(1, 3), D=(1, 2)))
def test_padding_invariance_holds_for_any_lengths(drawn):
    laws.assert_padding_invariant(OverPadding(right=True), *drawn)
