"""Stepping through a backward pass: the products, against the engine's gradients and measured slopes, for every model."""

from __future__ import annotations

import itertools
import json
import math
import re
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
from tinyae.inspect import step
from tinyae.inspect.formulas import formula, mathml, rule_source
from tinyae.inspect.products import Places, Sweep
from tinyae.models import MODELS, build

SAMPLE = [("basic", False), ("basic", True), ("sparse", True), ("vae", False), ("vqvae", True), ("memory", False)]
EVERY = [pytest.param(*both, marks=() if both in SAMPLE else (pytest.mark.thorough, pytest.mark.matrix)) for both in
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
    assert len(sweep.visits) == len(sweep.order)
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
                assert len(use.top) == min(use.count, 8)
                if use.count <= 8:
                    assert abs(math.fsum(p.leaves for p in use.top) - use.sum) <= 1e-12 * max(scale, abs(use.sum))
            measured = focus.measured
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
    ("to_do(x)", "<mrow><mi>to_do</mi><mrow><mo>(</mo><mi>x</mi><mo>)</mo></mrow></mrow>"),
    ("((", "<mrow><mo>(</mo><mrow><mo>(</mo><mo></mo></mrow><mo></mo></mrow>"),
])  # fmt: skip
def test_mathml(text: str, expected: str) -> None:
    assert f"<mtd>{expected}</mtd>" in mathml(text)
    xml.dom.minidom.parseString(mathml(text))


# The page: its data, its size, its bytes, and what it says where something cannot be shown.


def small(seed: int = 0, **options: Any) -> Any:
    """The page of a 4-2-4 network on three samples."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Dense(4, 2, activation="relu", generator=rng), nn.Dense(2, 4, generator=rng))
    x = rng.random((3, 4))
    return step(lambda: ta.losses.squared_error(model(x), x), model, **options)


def test_the_data_hold_what_the_schema_says() -> None:
    page = small(title="a title")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.html, re.S)[1])  # type: ignore[index]
    assert (data["schema"], data["title"], [node["id"] for node in data["nodes"]]) == (1, "a title", list(range(7)))
    assert data == json.loads(json.dumps(page.data))
    assert [node["layer"] for node in data["nodes"] if node["op"] == "dense"] == ["0", "1"]
    assert [group["label"] for group in data["groups"]] == ["outside of any layer", "1", "0", "parameters"]
    focus = data["nodes"][0]["focus"][0]
    (use,) = focus["uses"]
    total = sum(row[3] for row in use["top"]) + use.get("rest", [0, 0.0])[1]
    assert abs(total - focus["g"]) < 1e-11
    assert all(abs(a * s - leaves) < 1e-11 for _, a, s, leaves in use["top"])
    breaks = {op: len(entry["breaks"]) for op, entry in data["ops"].items()}
    assert breaks == {"leaf": 0, "dense": 3, "squared_error": 3}


def test_the_forward_half_adds_up() -> None:
    for unfused in (False, True):
        checked = 0
        for node in small(unfused=unfused).data["nodes"]:
            for focus in node["focus"]:
                made = focus.get("made")
                if made and "total" in made:
                    total = sum(value * slope for _, _, value, slope in made["rows"]) + made["rest"]
                    assert abs(total - made["total"]) < 1e-10, node
                    reached = max(made["total"], 0.0) if made.get("activation") == "relu" else made["total"]
                    assert abs(reached - focus["v"]) < 1e-10
                    checked += 1
        assert checked > 6


def test_an_operation_whose_products_do_not_add_up_is_not_called_linear() -> None:
    """A square root's one product, 4 * 1/4, is half of its value 2."""
    x = Tensor(np.array([4.0]), requires_grad=True)
    nodes = step(ops.sum(ops.sqrt(x)), {"x": x}).data["nodes"]
    (made,) = [focus["made"] for node in nodes if node["op"] == "sqrt" for focus in node["focus"]]
    assert "total" not in made


def test_a_convolution_shows_its_window_in_the_input() -> None:
    rng = np.random.default_rng(0)
    x, conv = rng.random((2, 6, 6, 1)), nn.Conv2d(1, 2, 3, generator=rng)
    node = next(n for n in step(lambda: ops.sum(conv(x)), conv).data["nodes"] if "conv" in n["op"])
    n, i, j, o = node["focus"][0]["i"]
    low, high, slopes, channel = node["focus"][0]["made"]["window"]
    assert (low, high, channel) == ((n, i, j, 0), (n + 1, i + 3, j + 3, 1), 0)
    np.testing.assert_allclose(slopes, conv.weight.numpy()[:, :, 0, o], rtol=1e-3)
    assert (node["input"]["rows"], node["input"]["cols"], node["constants"][0]) == (6, 6, "the input (2, 6, 6, 1)")


def test_the_lanes_of_an_lstm() -> None:
    """Against the engine's gradients, and gates that are computed here from the equations."""
    rng = np.random.default_rng(0)
    x, layer = rng.normal(size=(2, 5, 3)), nn.LSTM(3, 4, generator=rng)
    data = step(lambda: ops.sum(layer(x)[0] ** 2), layer, unfused=True).data
    (film,) = data["unrolled"]
    w_x, w_h, bias = (p.numpy().astype(float) for p in layer.parameters())
    h, c, forget = np.zeros((2, 4)), np.zeros((2, 4)), []
    for t in range(5):
        i, f, g, o = np.split(x[:, t] @ w_x + h @ w_h + bias, 4, axis=1)
        forget.append(1 / (1 + np.exp(-f)))
        c = forget[t] * c + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    checked = 0
    for unit, t in itertools.product(film["units"], range(5)):
        for lane in ("h", "c"):
            for focus in data["nodes"][film["steps"][t][lane]]["focus"]:
                if focus["i"] == unit["i"]:
                    assert math.isclose(sum(unit[lane][t][:2]), focus["g"], rel_tol=1e-3, abs_tol=1e-4)
                    checked += 1
        if t < 4:
            _, right, gate = unit["c"][t]
            assert math.isclose(gate, forget[t + 1][unit["i"]], rel_tol=1e-3)
            assert math.isclose(right, sum(unit["c"][t + 1][:2]) * gate, rel_tol=2e-3, abs_tol=1e-5)
    assert checked >= 10


def test_how_many_products_make_up_a_gradient() -> None:
    factors = np.random.default_rng(0).permutation(1.0 / np.arange(1, 101)) * np.tile([1.0, -1.0], 50)
    x = Tensor(np.array(0.5), requires_grad=True)
    (use,) = step(ops.sum(x * factors), {"x": x}).data["nodes"][0]["focus"][0]["uses"]
    needed = next(n for n in range(101) if sum(sorted(abs(factors))[100 - n :]) >= 0.9 * sum(abs(factors)))
    assert (use["most"], use["count"]) == (needed, 100)


def test_frozen_parameters_are_named() -> None:
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(4, 2, generator=rng), nn.Dense(2, 4, generator=rng).freeze())
    x = rng.random((3, 4))
    data = step(lambda: ta.losses.squared_error(model(x), x), model).data
    assert data["frozen"] == [{"name": "1.weight", "shape": [2, 4]}, {"name": "1.bias", "shape": [4]}]
    assert [node["name"] for node in data["nodes"] if node["op"] == "leaf"] == ["0.weight", "0.bias"]
    assert "1.weight, frozen" in data["nodes"][-2]["constants"][1]
    assert small().data["frozen"] == []


def test_equal_seeds_give_equal_bytes(tinyae: Any) -> None:
    for name in ("a", "b"):
        tinyae("step denoising --data optdigits --seed 3 --out", f"{name}.html")
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()
    assert small().html == small().html != small(1).html


def test_a_mistake_in_a_rule_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The products are made from the rules, so a wrong rule agrees with itself; the measured slope does not."""
    assert _wrong(Sweep(_chain(), None)) == set()
    monkeypatch.setitem(ops.tanh.vjps, 0, lambda g, out, x: g * (1.0 - out))
    assert _wrong(Sweep(_chain(), None)) == {"leaf", "multiply"}


def _chain() -> Tensor:
    return ops.sum(ops.tanh(2.0 * Tensor(np.array([0.3, -0.8]), requires_grad=True)))


def _wrong(sweep: Sweep) -> set[str]:
    """The operations of the nodes whose gradient is not the measured slope."""
    foci = [(visit.op, focus) for visit in sweep.visits for focus in visit.focus]
    return {op for op, f in foci if f.measured and abs(f.measured.slope - f.gradient) > 10 * f.measured.error + 1e-9}


@pytest.mark.parametrize(("loss", "reason"), [
    (lambda x: ops.sum(ops.relu(x)), "dead relu"),
    (lambda x: ops.max(x * np.array([1.0, 2.0])), "nothing arrives"),
    (lambda x: ops.max(x), "another element was chosen"),
    (lambda x: ops.sum(ops.clip(x, 0.0, 1.0)), "clipped"),
    (lambda x: ops.sum(ops.where(x > 0, x, 1.0)), "masked"),
    (lambda x: ops.sum(x * np.array([0.0, 1.0])), "multiplied by is 0"),
    (lambda x: ops.sum(x[1:]), "cut away"),
    (lambda x: ops.sum(x - x), "cancel"),
])  # fmt: skip
def test_why_a_gradient_is_zero(loss: Any, reason: str) -> None:
    x = Tensor(np.array([-0.5, 0.7]), requires_grad=True)
    page = step(loss(x), {"x": x})
    zeros = [focus["zero"] for focus in page.data["nodes"][0]["focus"] if focus["g"] == 0]
    assert zeros
    assert reason in zeros[0]


def test_a_detached_value_is_held_and_named() -> None:
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    page = step(lambda: ops.sum(x * x.detach()), {"x": x})
    product = page.data["nodes"][1]
    assert "detached value of x" in product["constants"][1]
    focus = page.data["nodes"][0]["focus"][0]
    assert focus["g"] == 2.0
    assert abs(focus["measured"][0] - 2.0) < 1e-8


def test_nan_is_said() -> None:
    x = Tensor(np.array([0.0, 4.0]), requires_grad=True)
    page = step(ops.sum(ops.sqrt(x) * 0.0), {"x": x})
    focus = page.data["nodes"][0]["focus"][0]
    assert (focus["g"], focus["why"]) == ("NaN", "nan")
    assert "not finite" in page.data["remarks"][0]
    assert "detect_anomaly" in page.data["remarks"][0]


def test_a_name_cannot_end_the_script() -> None:
    x = Tensor(np.array([1.0]), requires_grad=True)
    name = "</script><img src=x onerror=alert(1)>"
    loss = ops.sum(x)
    with ta.no_grad():
        page = step(loss, {name: x}, title=name)
    assert page.html.count("</script>") == 2
    assert page.data["nodes"][0]["name"] == name
    assert page._repr_html_().count("<iframe") == 1
    assert "<script" not in page._repr_html_()


def test_a_primitive_of_your_own_without_a_formula() -> None:
    @primitive
    def twice(x: Any) -> Any:
        return 2.0 * x

    @twice.vjp(0)
    def _(g: Any, out: Any, x: Any) -> Any:
        return 2.0 * g

    x = Tensor(np.array([1.0, 3.0], np.float32), requires_grad=True)
    data = step(ops.sum(twice(x)), {"x": x}).data
    assert data["ops"]["twice"]["formula"] == ""
    assert "return 2.0 * g" in data["ops"]["twice"]["rule"]
    assert data["nodes"][0]["focus"][0]["uses"][0]["top"] == [[(0,), 1, 2, 2]]


@pytest.mark.thorough
def test_a_long_tape_is_cut_in_the_middle() -> None:
    x = Tensor(np.array([0.5]), requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y * 1.0001
    page = step(ops.sum(y), {"x": x})
    assert [node["id"] for node in page.data["nodes"]] == [*range(50), *range(19_952, 20_002)]
    assert "19,902 of 20,002 nodes are left out" in page.data["remarks"][0]
    assert any("not measured" in remark for remark in page.data["remarks"])
    assert "No rule is broken" in page.data["remarks"][-1]
    assert page.kib <= 150


@pytest.mark.thorough
def test_a_large_array_is_not_taken_apart() -> None:
    x = Tensor(np.linspace(-1, 1, 5_000_000, dtype=np.float32), requires_grad=True)
    page = step(ops.sum(x * x), {"x": x})
    assert any("too large" in remark for remark in page.data["remarks"])
    focus = page.data["nodes"][0]["focus"][0]
    assert focus["uses"][0]["count"] is None
    assert abs(abs(focus["g"]) - 2.0) < 1e-6


@pytest.mark.parametrize(("loss", "error", "message"), [
    (lambda: Tensor(1.0), TypeError, "nothing was recorded"),
    (lambda: Tensor([1.0, 2.0], requires_grad=True) * 2.0, ValueError, "must be one number, got shape"),
])  # fmt: skip
def test_a_loss_that_cannot_be_stepped_through(loss: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        step(loss)


@pytest.mark.parametrize(("name", "unfused"), EVERY)
def test_the_command_for_every_model(name: str, unfused: bool, tinyae: Any) -> None:
    printed = tinyae("step", name, "--unfused" * unfused, "--out page.html")
    size = Path("page.html").stat().st_size / 1024
    assert size <= (600 if unfused else 300 if "conv" in name or name == "lstm" else 150)
    assert f"{size:.0f} KiB" in printed
    data = json.loads(re.search(r'id="data">(.*?)</script>', Path("page.html").read_text(), re.S)[1])  # type: ignore[index]
    assert data["command"].startswith(f"tinyae step {name}")
    for node in data["nodes"][:-1]:
        largest = max(abs(focus["g"]) for focus in node["focus"])
        for focus in node["focus"]:
            sums = [use["sum"] for use in focus["uses"]]
            assert abs(math.fsum(sums) - focus["g"]) <= 1e-9 * largest
            for use in focus["uses"]:
                shown = [row[3] for row in use["top"]] + use.get("rest", [0, 0.0])[1:]
                assert abs(math.fsum(shown) - use["sum"]) <= 1e-9 * max(abs(part) for part in [*shown, largest])


def test_the_command_on_a_run_and_its_errors(tinyae: Any, refused: Any) -> None:
    tinyae("train basic --data optdigits --epochs 1 --out run")
    printed = tinyae("step run --index 5 --element 3,2 --out page.html")
    assert "page.html: " in printed
    assert '"why":"user"' in Path("page.html").read_text()
    assert "no model and no run folder elsewhere" in refused("step elsewhere")
    assert "--element is auto, first or an index" in refused("step basic --element 1;2")
    assert "--index is at most 3999" in refused("step basic --index 4000")
