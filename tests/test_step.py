"""Stepping through a backward pass: the products, against the engine's gradients and measured slopes, for every model."""

from __future__ import annotations

import json
import math
import xml.dom.minidom
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinyae as ta
from tinyae import nn, ops
from tinyae.autodiff import Primitive, Tensor, primitive
from tinyae.autodiff.tape import set_observers
from tinyae.cli.options import SAMPLE_NOUNS, class_count
from tinyae.inspect.formulas import formula, mathml, rule_source
from tinyae.inspect.products import Places, Sweep
from tinyae.models import MODELS, build

SAMPLE = [("basic", False), ("basic", True), ("sparse", True), ("vae", False), ("vqvae", True), ("memory", False)]
EVERY = [pytest.param(*both, marks=() if both in SAMPLE else pytest.mark.thorough) for both in
         [(name, unfused) for name in MODELS for unfused in (False, True)]]  # fmt: skip


def swept(name: str, unfused: bool) -> Sweep:
    """The sweep of a training step of a model on two samples."""
    samples = ta.data.load(MODELS[name].data)
    arguments: dict[str, Any] = {"input_shape": list(samples.example_shape), "sample": SAMPLE_NOUNS[samples.kind]}
    if MODELS[name].conditional:
        arguments["classes"] = class_count(samples)
    model = build(name, arguments, np.random.default_rng(0))
    places = Places(model)
    with set_observers(places):
        loss = model.loss(model.batch(samples.train.rows(slice(0, 2))).tensors())
    return Sweep(loss.total, dict(model.named_parameters()), places, unfused)


@pytest.mark.parametrize(("name", "unfused"), EVERY)
def test_products_add_up_to_the_gradient_and_to_the_measured_slope(name: str, unfused: bool) -> None:
    sweep = swept(name, unfused)
    assert sweep.left_out == 0
    assert any(visit.layer for visit in sweep.visits)
    for visit in sweep.visits:
        scale = float(np.abs(visit.gradient).max())
        assert visit.focus, visit
        for focus in visit.focus:
            where = (name, visit.number, visit.op, focus.index)
            if visit.number < len(sweep.order) - 1:
                assert abs(math.fsum(use.sum for use in focus.uses) - focus.gradient) <= 1e-9 * scale, where
            for use in focus.uses:
                for product in use.top:
                    assert product.leaves == product.arrives * product.slope
                    assert product.arrives == sweep.gradients[use.node][product.index]
                assert use.count is not None
                assert len(use.top) == min(use.count, 8)
                if use.count <= 8:
                    assert abs(math.fsum(p.leaves for p in use.top) - use.sum) <= 1e-12 * max(scale, abs(use.sum))
            measured = focus.measured
            assert measured is not None
            if not measured.kink:
                assert measured.error <= 1e-3 * max(1.0, abs(focus.gradient)), where
                assert abs(measured.slope - focus.gradient) <= 10 * measured.error + 1e-9 * scale, where
            if focus.gradient == 0:
                assert focus.zero, where


def primitives() -> dict[str, Primitive]:
    """All primitives of the engine, the operations and the losses that have a derivative."""
    package, found = Path(ta.__file__).parent, {}
    for file in [f for room in ("autodiff", "ops", "losses") for f in sorted((package / room).glob("[!_]*.py"))]:
        for value in vars(import_module(f"tinyae.{file.parent.name}.{file.stem}")).values():
            if isinstance(value, Primitive) and value.differentiable:
                found[value.name] = value
    return found


@pytest.mark.parametrize("name", primitives())
def test_every_primitive_has_a_formula_that_is_set_as_mathml(name: str) -> None:
    op = primitives()[name]
    assert "=" in formula(op), f"the docstring of {name} states no derivative that the page can set"
    math = xml.dom.minidom.parseString(mathml(formula(op)))
    names = {element.firstChild.data for element in math.getElementsByTagName("mi")}
    assert math.getElementsByTagName("mo")
    assert names, name
    assert rule_source(op)


@pytest.mark.parametrize(("text", "expected"), [
    ("x**2", "<msup><mrow><mi>x</mi></mrow><mrow><mrow><mn>2</mn></mrow></mrow></msup>"),
    ("h_{t-1}", "<msub><mrow><mi>h</mi></mrow><mrow><mrow><mi>t</mi><mo>&#x2212;</mo><mn>1</mn></mrow></mrow></msub>"),
    ("d/dx", "<mfrac><mrow><mi>d</mi></mrow><mrow><mi>dx</mi></mrow></mfrac>"),
    ("sqrt(pi)", "<msqrt><mrow><mi>&#x3C0;</mi></mrow></msqrt>"),
    ("for <b>", "<mtext>&#xA0;for&#xA0;</mtext><mo>&lt;</mo><mi>b</mi><mo>&gt;</mo>"),
    ("((", "<mrow><mo>(</mo><mrow><mo>(</mo><mo></mo></mrow><mo></mo></mrow>"),
])  # fmt: skip
def test_mathml(text: str, expected: str) -> None:
    assert f"<mtd>{expected}</mtd>" in mathml(text)
    xml.dom.minidom.parseString(mathml(text))
