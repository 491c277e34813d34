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


@pytest.mark.parametrize(("losses", "scale"), [([8.0, 7.0, 6.0, 2.0, 1.5, 1.25], float), ([8.0, 2.0, 0.5], np.log)])
def test_a_history_shows_its_last_epochs_and_its_curve(losses, scale):
    head, *rows = cells(history(losses))
    assert head == ["epoch", f"train_loss [nats per {NAME}]", "test_loss"]
    assert rows == [[str(n + 1), f"{x:g}", f"{2 * x:g}"] for n, x in enumerate(losses)][-5:]
    first, _ = parsed(history(losses)).iter("polyline")
    low, high = scale(min(losses)), scale(2 * max(losses))
    heights = [5 + 70 * (high - scale(loss)) / (high - low) for loss in losses]
    np.testing.assert_allclose(np.array(re.findall(r"[\d.]+", first.get("points"))[1::2], float), heights, atol=0.06)


def test_a_module_shows_its_layers_and_a_summary_its_lines():
    model = ta.nn.Sequential(ta.nn.Dense(3, 2), ta.nn.Tanh(), ta.nn.Sequential(ta.nn.Dense(2, 3, bias=False)))
    rows = [(name, layer.partition("(")[0], count) for name, layer, count in cells(model)[1:]]
    assert rows == [("0", "Dense", "8"), ("1", "Tanh", "0"), ("2.0", "Dense", "6")]
    assert "Sequential: 14 parameters" in "".join(parsed(model).itertext())
    assert parsed(model.summary(3)).find("pre").text == model.summary(3)


def test_a_tensor_shows_its_shape_and_range():
    many = parsed(ta.Tensor(np.arange(10_000)))
    assert many.find("div").text == "Tensor (10000,) int64, min 0, mean 4999.5, max 9999"
    assert len(many.find("pre").text) < 100
    assert parsed(ta.Tensor(np.zeros((0, 3)))).find("div").text == "Tensor (0, 3) float64"


def test_a_graph_shows_an_arc_from_each_argument():
    w = ta.Tensor([2.0], requires_grad=True)
    y = w * w
    for _ in range(90):  # more nodes than are shown
        y = y + 1.0
    body = parsed(inspect.graph(y, {NAME: w}))
    lines = next(body.iter("pre")).text.splitlines()
    at = {int(row.split()[0]): 18 * n + 9 for n, row in enumerate(lines) if re.match(r" *\d+ +\d+ ", row)}
    arcs = [re.findall(r"[\d.]+", arc.get("d")) for arc in body.iter("path")]
    assert [(int(arc[1]), int(arc[5])) for arc in arcs] == [(at[n], at[n + 1]) for n in at if n + 1 in at]
    assert len(arcs) == 58
    assert NAME in lines[1]


def test_a_history_is_drawn_and_the_picture_is_the_result_of_a_cell():
    figure = plots.loss_curves(history([8.0, 4.0, 0.5]))
    assert [line.get_ydata().tolist() for axes in figure.axes for line in axes.lines] == [[8, 4, 0.5], [16, 8, 1]]
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert pickle.loads(pickle.dumps(figure))._repr_png_() == figure._repr_png_()
    assert figure._repr_png_().startswith(b"\x89PNG")
