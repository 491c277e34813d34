"""What objects show in a notebook: HTML that parses and holds their numbers, and pictures without a magic line."""

from __future__ import annotations

import pickle
import re
from xml.etree import ElementTree

import numpy as np
import pytest

import tinyae as ta
from tinyae import inspect, plots

NAME = "<b>&amp;"  # as it is typed: HTML would read it as something else


def parsed(thing) -> ElementTree.Element:
    """The HTML of an object, read by a strict parser, which stumbles over a `<` that was not escaped."""
    return ElementTree.fromstring(f"<body>{thing._repr_html_()}</body>")


def cells(thing) -> list[list[str]]:
    return [[cell.text or "" for cell in row] for row in parsed(thing).iter("tr")]


def history(losses) -> ta.training.History:
    rows = [{"epoch": n + 1, "train_loss": x, "test_loss": 2 * x, "seconds": 0.5} for n, x in enumerate(losses)]
    return ta.training.History({"train_loss": f"nats per {NAME}"}, rows)


@pytest.mark.parametrize(
    ("losses", "scale"), [([8.0, np.nan, 6.0, 2.0, 1.5, 1.25], 1), ([8.0, 0.5], np.log), ([1.0], None)]
)
def test_a_history_shows_its_last_epochs_and_its_curve(losses, scale):
    shown = history(losses)
    head, *rows = cells(shown)
    assert head == ["epoch", f"train_loss [nats per {NAME}]", "test_loss"]
    assert rows == [[str(n + 1), f"{x:g}", f"{2 * x:g}"] for n, x in enumerate(losses)][-5:]
    lines = [re.findall(r"[\d.]+", line.get("points")) for line in parsed(shown).iter("polyline")]
    assert len(lines) == (0 if scale is None else 2)
    for line, values in zip(lines, ([x for x in losses if x == x], [2 * x for x in losses if x == x]), strict=False):
        heights = np.array(values) if scale == 1 else np.log(values)
        ends = np.array([0.5, 16.0]) if scale is np.log else np.array([1.25, 16.0])
        low, high = ends if scale == 1 else np.log(ends)
        np.testing.assert_allclose(np.array(line[1::2], float), 5 + 70 * (high - heights) / (high - low), atol=0.06)


def test_a_module_shows_its_layers_and_a_summary_its_lines():
    model = ta.nn.Sequential(ta.nn.Dense(3, 2), ta.nn.Tanh(), ta.nn.Sequential(ta.nn.Dense(2, 3, bias=False)))
    rows = [(name, layer.partition("(")[0], count) for name, layer, count in cells(model)[1:]]
    assert rows == [("0", "Dense", "8"), ("1", "Tanh", "0"), ("2.0", "Dense", "6")]
    assert "Sequential: 14 parameters" in "".join(parsed(model).itertext())
    assert parsed(model.summary(3)).find("pre").text == model.summary(3)


@pytest.mark.parametrize(("values", "words"), [
    ([[1.0, -2.0], [4.0, 5.0]], "Tensor (2, 2) float32, min -2, mean 2, max 5"),
    (np.zeros((0, 3)), "Tensor (0, 3) float64"),
    (np.arange(10_000), "Tensor (10000,) int64, min 0, mean 4999.5, max 9999"),
])  # fmt: skip
def test_a_tensor_shows_its_shape_and_range(values, words):
    assert parsed(ta.Tensor(values)).find("div").text == words
    assert len(ta.Tensor(values)._repr_html_()) < 500


@pytest.mark.parametrize("count", [3, 90])
def test_a_graph_shows_an_arc_from_each_argument(count):
    w = ta.Tensor([2.0], requires_grad=True)
    y = w * w
    for _ in range(count):
        y = y + 1.0
    body = parsed(inspect.graph(y, {NAME: w}))
    lines = next(body.iter("pre")).text.splitlines()
    at = {int(row.split()[0]): 18 * n + 9 for n, row in enumerate(lines) if re.match(r" *\d+ +\d+ ", row)}
    arcs = [re.findall(r"[\d.]+", arc.get("d")) for arc in body.iter("path")]
    assert {(int(arc[1]), int(arc[5])) for arc in arcs} == {(at[n], at[n + 1]) for n in at if n + 1 in at}
    assert len(arcs) == (count + 1 if count == 3 else 58)
    assert NAME in lines[1]


def test_a_history_is_drawn_and_the_picture_is_the_result_of_a_cell():
    figure = plots.loss_curves(history([8.0, 4.0, 0.5]))
    assert [line.get_ydata().tolist() for axes in figure.axes for line in axes.lines] == [[8, 4, 0.5], [16, 8, 1]]
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert pickle.loads(pickle.dumps(figure))._repr_png_() == figure._repr_png_()
    assert figure._repr_png_().startswith(b"\x89PNG")
