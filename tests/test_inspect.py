"""The snapshot of a tape: against hand-computed graphs, and against `grad`."""

from __future__ import annotations

import gc
import io
import re
import weakref

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import losses, ops
from tinyae.autodiff import Tensor, grad, no_grad
from tinyae.inspect import Constant, Graph, graph, show, step
from tinyae.inspect.graphs import LIMIT
from tinyae.losses import Loss


def doubled_and_squared() -> tuple[Tensor, Tensor, Tensor]:
    """b = a + a; c = b * b at a = 3, in float64: c = 4 a**2, so dc/db = 2 b = 12 and dc/da = 8 a = 24."""
    a = Tensor(np.array(3.0), requires_grad=True)
    b = a + a
    return a, b, b * b


def dense_loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """A two-layer autoencoder's loss; also its named Tensors and its hidden layer."""
    x = Tensor(rng.random((5, 4)))
    named = {
        "W": Tensor(rng.standard_normal((4, 3)), requires_grad=True),
        "b": Tensor(np.zeros(3), requires_grad=True),
        "V": Tensor(rng.standard_normal((3, 4)), requires_grad=True),
        "c": Tensor(np.zeros(4), requires_grad=True),
        "x": x,
    }
    hidden = ops.dense(x, named["W"], named["b"], activation="tanh")
    return losses.bce_with_logits(ops.dense(hidden, named["V"], named["c"]), x), named, hidden


def test_by_hand() -> None:
    a, _, c = doubled_and_squared()
    g = graph(c, {"a": a})
    assert [(n.number, n.op, n.name, n.parents, n.shape, n.dtype) for n in g.nodes] == [
        (0, "leaf", "a", (), (), "float64"),
        (1, "add", None, (0, 0), (), "float64"),
        (2, "multiply", None, (1, 1), (), "float64"),
    ]
    assert [n.value_norm for n in g.nodes] == [3.0, 6.0, 36.0]
    assert [n.gradient_norm for n in g.nodes] == [24.0, 12.0, 1.0]
    assert [n.is_leaf for n in g.nodes] == [True, False, False]
    serials = [n.serial for n in g.nodes]
    assert serials == list(range(serials[0], serials[0] + 3))
    assert (g.bytes_held, g.device, g.constants, g.unused, len(g)) == (24, "cpu", (), (), 3)


def test_norms_equal_grad(rng: np.random.Generator) -> None:
    loss, named, hidden = dense_loss(rng)
    g = graph(loss, {**named, "hidden": hidden})
    by_name = {n.name: n for n in g.nodes if n.name}
    wanted = {**{k: v for k, v in named.items() if k != "x"}, "hidden": hidden}
    assert by_name.keys() == wanted.keys()
    for name, gradient in zip(wanted, grad(loss, list(wanted.values())), strict=True):
        assert_allclose(by_name[name].gradient_norm, np.sqrt((gradient.numpy() ** 2).sum()), rtol=1e-12)
        assert_allclose(by_name[name].value_norm, np.sqrt((wanted[name].numpy() ** 2).sum()), rtol=1e-12)
    assert [n.op for n in g.nodes] == ["leaf"] * 4 + ["dense", "dense", "bce_with_logits"]
    assert g[4].params == {"activation": "tanh"}
    assert [g[i].parents for i in (4, 5, 6)] == [(0, 1), (4, 2, 3), (5,)]
    assert g[6].gradient_norm == 1.0


def test_constants_are_listed_once(rng: np.random.Generator) -> None:
    loss, named, _ = dense_loss(rng)
    x = Constant(number=0, shape=(5, 4), dtype="float64", value=None, name="x")
    g = graph(loss, named)
    assert g.constants == (x,)  # input and target are one array
    assert g[4].arguments == (x, 0, 1)
    assert g[6].arguments == (5, x)
    a = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    scaled = graph((2.5 * a * np.array([3.0, 4.0])).sum())
    assert [(c.shape, c.dtype, c.value, c.name) for c in scaled.constants] == [
        ((), "float", 2.5, None),
        ((2,), "float64", None, None),
    ]


def test_looking_changes_nothing(rng: np.random.Generator) -> None:
    loss, named, _ = dense_loss(rng)
    first = graph(loss)
    assert all(t.grad is None for t in named.values())
    assert graph(loss) == first
    expected = grad(loss, named["W"]).numpy()
    loss.backward()
    assert_array_equal(named["W"].grad.numpy(), expected)


def test_a_snapshot_keeps_no_tensor_alive(rng: np.random.Generator) -> None:
    gc.disable()
    try:
        loss, named, hidden = dense_loss(rng)
        g = graph(loss, named)
        watched = weakref.ref(hidden.node.out)
        del loss, named, hidden
        assert watched() is None
        assert len(g) == 7
    finally:
        gc.enable()


def test_a_leaf_whose_tensor_is_gone_is_still_measured() -> None:
    loss = (Tensor(np.array([3.0, 4.0]), requires_grad=True) * 2.0).sum()
    assert [n.value_norm for n in graph(loss).nodes] == [5.0, 10.0, 14.0]


def test_several_numbers_need_a_cotangent() -> None:
    a = Tensor(np.array([3.0, 4.0]), requires_grad=True)
    y = a * a
    g = graph(y, grad_output=np.array([1.0, 0.0]))
    assert [n.gradient_norm for n in g.nodes] == [6.0, 1.0]


def test_unused_names_are_reported() -> None:
    a, _, c = doubled_and_squared()
    g = graph(c, {"a": a, "forgotten.bias": Tensor(0.0, requires_grad=True), "input": Tensor(1.0)})
    assert g.unused == ("forgotten.bias", "input")
    assert "forgotten.bias, input" in str(g)


def test_bytes_count_every_array_once() -> None:
    a = Tensor(np.zeros((4, 6)), requires_grad=True)  # 192 bytes
    view = a.reshape(24).reshape(6, 4)  # no bytes of their own
    out = view * view  # 192
    assert graph(out.sum()).bytes_held == 192 + 192 + 8
    flat = np.zeros(10)
    w, v = Tensor(flat[:4], requires_grad=True), Tensor(flat[4:8], requires_grad=True)  # 32 each, of one buffer
    assert graph(w * v, grad_output=np.ones(4)).bytes_held == 32 + 32 + 32


def test_infinities_are_shown() -> None:
    a = Tensor(np.array([np.inf, 1e300], dtype=np.float64), requires_grad=True)
    with np.errstate(all="ignore"):
        g = graph((a * 1e300).sum())
    assert [n.value_norm for n in g.nodes] == [np.inf] * 3
    assert graph(Tensor(np.float32(3e38), requires_grad=True) * 1.0)[0].value_norm == pytest.approx(3e38)


def freed() -> tuple[Tensor, Tensor]:
    """A result whose graph was freed, and one that hangs on it."""
    _, b, c = doubled_and_squared()
    c.backward()
    return c, b * 2.0


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: graph(freed()[0]), RuntimeError, "retain_graph"),
    (lambda: graph(freed()[1]), RuntimeError, "retain_graph"),
    (lambda: graph(no_grad()(doubled_and_squared)()[2]), TypeError, "no_grad"),
    (lambda: graph(Tensor([3.0, 4.0], requires_grad=True) * 2.0), ValueError, "grad_output"),
    (lambda: graph(Tensor(1.0)), TypeError, "requires_grad"),
    (lambda: graph(3.0), TypeError, "float"),  # type: ignore[arg-type]
    (lambda: graph(doubled_and_squared()[2], {"a": 3.0}), TypeError, "'a'"),  # type: ignore[dict-item]
    (lambda: show(doubled_and_squared()[2], limit=1), ValueError, "limit"),
    (lambda: show(doubled_and_squared()[2], limit="all"), TypeError, "limit must be a number"),  # type: ignore[arg-type]
    (lambda: show(doubled_and_squared()[2], file="a.txt"), TypeError, "file must be an open file, got 'a.txt'"),  # type: ignore[arg-type]
    (lambda: graph(doubled_and_squared()[2], 5), TypeError, "names must be .* got 5"),  # type: ignore[arg-type]
    (lambda: graph(doubled_and_squared()[2], ["a"]), TypeError, "names must be"),  # type: ignore[list-item]
    (lambda: graph(Loss({"a": doubled_and_squared()[2]}, "nats")), TypeError, "pass its total"),  # type: ignore[arg-type]
    (lambda: step(doubled_and_squared()[2], path=5), TypeError, "path must be a string or a path or None, got 5"),  # type: ignore[arg-type]
])  # fmt: skip
def test_bad_input_is_one_clear_sentence(make, error, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        make()


def test_show_prints_the_table_and_returns_the_graph(capsys: pytest.CaptureFixture[str]) -> None:
    a, _, c = doubled_and_squared()
    g = show(c, {"a": a})
    printed = capsys.readouterr().out
    assert printed == str(g) + "\n"
    lines = printed.splitlines()
    assert len(lines) == 5
    assert lines[0].split() == ["#", "serial", "op", "shape", "dtype", "from", "|value|", "|gradient|"]
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines[1:4]]
    assert [row[:1] + row[2:] for row in cells] == [
        ["0", "leaf 'a'", "()", "float64", "-", "3", "24"],
        ["1", "add", "()", "float64", "#0, #0", "6", "12"],
        ["2", "multiply", "()", "float64", "#1, #1", "36", "1"],
    ]
    assert lines[4] == "3 nodes: 1 leaf, 2 operations; 0 constants; 24 bytes held on cpu."
    file = io.StringIO()
    show(c, file=file)
    assert file.getvalue()
    assert capsys.readouterr().out == ""


def test_parameters_and_constants_in_the_table(rng: np.random.Generator) -> None:
    x = Tensor(rng.random((3, 4)), requires_grad=True)
    y = (0.25 * x[1:, [0, 0]]).sum(axis=0)
    text = str(graph(y, grad_output=np.ones(2)))
    assert "getitem index=(1:, (0, 0))" in text
    assert "0.25, #1" in text
    assert "sum axis=0 " in text
    assert "keepdims" not in text


def chain(length: int) -> Graph:
    y = Tensor(1.0, requires_grad=True)
    for _ in range(length):
        y = y * 1.0
    return graph(y)


def test_a_large_graph_is_cut_in_the_middle() -> None:
    g = chain(5000)
    lines = str(g).splitlines()
    assert len(lines) == LIMIT + 3
    gap = next(line for line in lines if line.startswith("..."))
    assert "4,801 nodes left out (limit=200" in gap
    assert [line.split()[0] for line in g.to_text(limit=5).splitlines()[1:-1]] == ["0", "1", "2", "...", "4999", "5000"]
    assert len(g.to_text(limit=None).splitlines()) == 5003
    nodes, edges = read_dot(g.to_dot(limit=4))
    assert sorted(nodes) == ["c0", "c4998", "c4999", "gap", "n0", "n1", "n4999", "n5000"]
    expected = "c0 n1, n0 n1, n1 gap, gap n4999, c4998 n4999, c4999 n5000, n4999 n5000"
    assert sorted(edges) == sorted(tuple(edge.split()) for edge in expected.split(", "))


QUOTED = r'"((?:[^"\\]|\\.)*)"'


def read_dot(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Labels by identifier and the edges of a DOT text; fails on any line that is neither."""
    lines = text.strip().splitlines()
    assert (lines[0], lines[-1]) == ("digraph tape {", "}")
    nodes, edges = {}, []
    for line in lines[1:-1]:
        if edge := re.fullmatch(rf"  (\w+) -> (\w+) \[label={QUOTED}\];", line):
            edges.append((edge[1], edge[2]))
        elif node := re.fullmatch(rf'  ([nc]\d+|gap) \[shape=\w+,(?: style="\w+",)? label={QUOTED}\];', line):
            nodes[node[1]] = node[0]
        else:
            assert re.fullmatch(r'  ((node|edge) \[fontname="Helvetica"(, fontsize=10)?\]);', line), line
    assert {end for edge in edges for end in edge} <= nodes.keys()
    return nodes, edges


def read_mermaid(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The same of a Mermaid text; identifiers with the bracket that opens their shape."""
    lines = text.strip().splitlines()
    assert lines[0] == "flowchart TD"
    nodes, edges = {}, []
    for line in lines[2:]:
        if edge := re.fullmatch(r'  (\w+) -->\|"[^"|]*"\| (\w+)', line):
            edges.append((edge[1], edge[2]))
        else:
            node = re.fullmatch(r'  (\w+)(?:(\[)"[^"]*"\](?::::constant)?|(\()"[^"]*"\))', line)
            assert node, line
            nodes[node[1]] = node[2] or node[3]
    assert {end for edge in edges for end in edge} <= nodes.keys()
    return nodes, edges


def edges_of(g: Graph) -> list[tuple[str, str]]:
    return [(f"n{a}" if isinstance(a, int) else f"c{a.number}", f"n{n.number}") for n in g.nodes for a in n.arguments]


def test_dot_and_mermaid_draw_the_parents(rng: np.random.Generator) -> None:
    loss, named, _ = dense_loss(rng)
    g = graph(loss, named)
    nodes, edges = read_dot(g.to_dot())
    assert edges == edges_of(g)
    assert list(nodes) == [f"n{i}" for i in range(7)] + ["c0"]
    assert ["shape=box, label" in nodes[f"n{i}"] for i in range(7)] == [True] * 4 + [False] * 3
    assert all('style="rounded"' in nodes[f"n{i}"] for i in (4, 5, 6))
    assert '[label="(4, 3)"]' in g.to_dot()
    brackets, mermaid_edges = read_mermaid(g.to_mermaid())
    assert mermaid_edges == edges
    assert brackets == {**{f"n{i}": "[" for i in range(4)}, **{f"n{i}": "(" for i in (4, 5, 6)}, "c0": "["}


def test_awkward_names_are_escaped() -> None:
    a, _, c = doubled_and_squared()
    g = graph(c, {'a"\\]; <b> #1\n`|': a})
    nodes, edges = read_dot(g.to_dot())
    assert (len(nodes), edges) == (3, [("n0", "n1")] * 2 + [("n1", "n2")] * 2)
    assert r"a\"\\]; <b> #1\n`|" in nodes["n0"]
    brackets, edges = read_mermaid(g.to_mermaid())
    assert (len(brackets), len(edges)) == (3, 4)
    assert "a#quot;\\]; #lt;b#gt; #35;1 #96;#124;" in g.to_mermaid()
