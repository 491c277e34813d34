"""The check tables: nothing is missing, everything in them passes, and they would notice."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tinyae import losses, nn, ops
from tinyae.autodiff import Tensor, primitive
from tinyae.models import registry
from tinyae.testing import OpCase, cases, check_case, check_module, differences, gradcheck
from tinyae.testing.tables import CASES, LAYERS, MODELS_TABLE, MODULES, missing_entries, modules
from tinyae.testing.verification import (
    apart,
    function_of,
    gradient_report,
    nonzero,
    positive,
    questions,
    second_derivatives,
    whole,
)

SAMPLE = {"first_derivatives": 1, "second_derivatives": 1}
"""Configurations of each model whose derivatives are asked for by default; of all in the thorough run."""

SLOW = {"conv", "conv-vae", "conv-denoising", "cvae", "deep", "lstm", "memory", "sparse", "stacked", "vae", "vqvae"}
"""Models whose second derivatives are asked for in the thorough run only."""


def asked() -> Iterator[Any]:
    """(question, case) for every layer and model."""
    met: Counter[str] = Counter()
    for case in MODULES:
        model = case.name.partition("(")[0] if case in MODELS_TABLE else ""
        met[model] += 1
        for question in questions(case):
            most = 0 if model in SLOW and question is second_derivatives else SAMPLE.get(question.__name__, 1000)
            more = model and met[model] > most
            marks = [pytest.mark.thorough] if more else []
            yield pytest.param(question, case, marks=marks, id=f"{question.__name__}-{case.name}")


@pytest.mark.parametrize(("question", "case"), list(asked()))
def test_every_layer_and_model_answers(question, case, rng):
    question(case, rng)


FIRST = {case.name.partition("(")[0]: case for case in reversed([*CASES, *MODULES]) if case.order}


@pytest.mark.parametrize("name", FIRST)
def test_gradients_are_right_on_every_device(name, elsewhere, rng, monkeypatch):
    """Along one direction through all elements of each parameter: the CPU moves the elements one by one."""
    monkeypatch.setattr(differences, "SMALL", 8)
    report = gradient_report(FIRST[name], rng, elsewhere)
    assert report.passed
    assert report.compared


def test_everything_in_the_package_has_an_entry():
    missing = missing_entries(CASES, LAYERS, MODELS_TABLE)
    assert not missing, "\n".join(missing)


def test_what_has_no_entry_is_named_with_the_line_to_add():
    without = missing_entries(
        [c for c in CASES if c.op not in (ops.tanh, losses.huber) and c.params.get("reduction") != "none"],
        [c for c in LAYERS if not c.name.startswith("BatchNorm")],
        [c for c in MODELS_TABLE if not c.name.partition("(")[0].endswith("denoising")],
    )
    text = "\n".join(without)
    assert "the primitive tanh: add `*cases(ops.tanh" in text
    assert "the loss huber: add `*each_reduction(losses.huber" in text
    assert "the loss bce with reduction 'none'" in text
    assert "the layer nn.BatchNorm: add `layer(nn.BatchNorm, ...)`" in text
    assert "the model 'denoising': add `model('denoising', ...)`" in text
    assert "the class models.DenoisingAutoencoder" in text
    assert len(without) == len({*without})


def test_a_new_model_in_the_registry_is_asked_for(monkeypatch):
    before = missing_entries(CASES, LAYERS, MODELS_TABLE)
    entry = dataclasses.replace(registry.MODELS["basic"], name="brand-new")
    monkeypatch.setitem(registry.MODELS, "brand-new", entry)
    after = missing_entries(CASES, LAYERS, MODELS_TABLE)
    assert set(after) - set(before) == {"the model 'brand-new': add `model('brand-new', ...)` to tables/modules.py"}


def test_discovery_finds_layers_that_are_not_exported():
    kinds = modules.discovered_layers()
    assert {nn.Dense, nn.TiedDense, nn.Sequential, nn.MaskingNoise} <= set(kinds)
    assert nn.Module not in kinds


def test_every_module_has_a_case_whose_gradients_do_not_vanish():
    """A gradient of zeros proves nothing; the masks of dropout and noise leave some of it, as does relu."""
    for case in MODULES:
        rng = np.random.default_rng(0)  # anew for each: a row more does not change the others
        subject = case.subject(rng)
        leaves = [Tensor(x, requires_grad=True) for x in subject.inputs]
        out = subject.fn(*leaves)
        out.backward(rng.normal(size=out.shape))
        for name, leaf in zip(subject.names, leaves, strict=True):
            assert leaf.grad is not None or (case.name.startswith("memory") and "input" in name), f"{case.name}: {name}"
            assert leaf.grad is None or np.abs(leaf.grad.data).max() > 1e-6, f"{case.name}: {name}"


def test_a_module_is_itself_again_after_a_check(rng):
    layer = nn.Sequential(nn.Dense(4, 3, generator=rng), nn.BatchNorm(3), nn.Dropout(0.5, rng))
    x = rng.normal(size=(5, 4))
    state, stream = layer.state_dict(), rng.bit_generator.state
    nodes = [p.node for p in layer.parameters()]
    check_module(layer, x)
    assert rng.bit_generator.state == stream
    assert [p.node for p in layer.parameters()] == nodes
    for name, value in layer.state_dict().items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, state[name])


def test_a_parameter_with_a_wrong_gradient_is_named(rng):
    @primitive
    def scaled(x: Any, weight: Any) -> Any:
        return x * weight

    scaled.vjp(0)(lambda g, out, x, weight: g * weight)
    scaled.vjp(1)(lambda g, out, x, weight: (g * x).sum(axis=0) * 1.001)

    class Scale(nn.Module):
        def __init__(self) -> None:
            self.gain = nn.Parameter(np.ones(4, np.float32))

        def forward(self, x: Tensor) -> Tensor:
            return scaled(x, self.gain)

    with pytest.raises(AssertionError, match=r"argument 1 \(0\.gain\), at coordinate"):
        check_module(nn.Sequential(Scale()), rng.normal(size=(3, 4)))


def test_several_inputs_and_whole_numbers_go_through(rng):
    class Pick(nn.Module):
        def __init__(self) -> None:
            self.table = nn.Parameter(rng.normal(size=(4, 2)))

        def forward(self, x: Tensor, rows: Any) -> Tensor:
            return ops.getitem(self.table, index=rows) * x

    subject = function_of(Pick(), rng.normal(size=(3, 2)), np.array([0, 3, 3]))
    assert subject.names == ["input 0", "input 1", "table"]
    report = gradcheck(subject.fn, subject.inputs, names=subject.names, order=2)
    assert set(report.errors) == {"input 0", "table", "weights of the output"}


def faulty(rule: Any, out: Any = None) -> Any:
    """A sine with this rule, and results of the type `out`."""

    @primitive(elementwise=True)
    def sine(x: Any) -> Any:
        return np.sin(x) if out is None else np.sin(x).astype(out)

    sine.vjp(0)(rule)
    return sine


def on_arrays(array: Any, tensor: Any) -> Any:
    """A sine whose rule has a factor on raw arrays and another on Tensors."""
    return faulty(lambda g, out, x: g * ops.cos(x) * (array if isinstance(x, np.ndarray) else tensor))


def in_place(g: Any, out: Any, x: Any) -> Any:
    if isinstance(g, np.ndarray):
        g *= ops.cos(x)
        return g
    return g * ops.cos(x)


def detached(g: Any, out: Any, x: Any) -> Any:
    return g * ops.cos(x if isinstance(x, np.ndarray) else x.detach())


def in_order_of_memory(g: Any, out: Any, x: Any) -> Any:
    if isinstance(g, np.ndarray) and not x.flags.c_contiguous:
        return g * np.cos(x.ravel(order="K")[: x.size].reshape(x.shape))
    return g * ops.cos(x)


@pytest.mark.parametrize(("question", "op", "reference", "options"), [
    ("equals the reference", ops.sin, np.cos, {}),
    ("first derivatives", on_arrays(1.001, 1.001), np.sin, {}),
    ("keeps float32", faulty(lambda g, out, x: g * ops.cos(x), np.float64), np.sin, {}),
    ("keeps float32: .* arrives as float64.*", on_arrays(np.ones(1), 1.0), np.sin, {}),
    ("keeps float32: .* arrives as float64.*", on_arrays(1.0, np.ones(1)), np.sin, {}),
    ("both rule modes agree", on_arrays(1.0, 1.0 + 1e-13), np.sin, {}),
    ("second derivatives", faulty(detached), np.sin, {}),
    ("derivatives equal the complex step", faulty(lambda g, out, x: g * (ops.cos(x) + 2e-10)), np.sin, {}),
    ("arrays are only read", faulty(in_place), np.sin, {}),
    ("strided arrays give the same", faulty(in_order_of_memory), np.sin, {}),
    ("carries no gradient", ops.sin, np.sin, {"order": 0}),
])  # fmt: skip
def test_check_case_names_the_question_that_failed(question, op, reference, options):
    (case,) = cases(op, [((3, 4),)], reference, **options)
    with pytest.raises(AssertionError, match=rf"^(sin|sine)\(3x4\): {question}: "):
        check_case(case)


def test_check_case_passes_what_is_right():
    for case in cases(ops.log, [((3, 4),), ((),), ((0, 3),)], np.log, positive):
        check_case(case)
    check_case(LAYERS[0])


def test_names_of_arguments_come_from_the_function():
    (case,) = cases(ops.where, [(np.array([True, False]), (2,), (2,))], np.where)
    assert case.names == ["x", "y"]
    assert OpCase(ops.stack, "", ((2,), (2,)), np.stack).names == ["xs[0]", "xs[1]"]


def test_domains_keep_their_promises(rng):
    x, y = apart(rng, [(20,), (3, 4)])
    values = np.sort(np.concatenate([x, y.ravel()]))
    assert np.diff(values).min() > 0.2
    (z,) = nonzero(rng, [(500,)])
    assert np.abs(z).min() >= 0.2
    assert (z < 0).any()
    assert (z > 0).any()
    assert set(whole(rng, [(200,)])[0]) == {-2.0, -1.0, 0.0, 1.0, 2.0}
