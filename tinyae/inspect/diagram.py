"""A graph as a drawing, in the two text formats that most tools can draw: Graphviz' DOT and Mermaid.

Leaves are boxes, operations are rounded, constants are dashed; an edge carries the shape of what flows along
it. Edges point the way of the forward pass; the backward pass walks every one of them against its arrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tinyae.inspect.snapshot import GraphNode, Snapshot
from tinyae.inspect.table import constant, omitted, operation

_MERMAID_ENTITIES = {'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "|": "#124;"}


@dataclass(frozen=True)
class Shape:
    """One thing to draw: an identifier, the lines of its label, and its kind: leaf, operation, constant or gap."""

    key: str
    lines: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Edge:
    """An arrow from an argument to the operation that used it, labelled with the argument's shape."""

    start: str
    end: str
    label: str


def dot(graph: Snapshot, limit: int | None = None) -> str:
    """Graphviz text; at most `limit` nodes, the middle ones then stand as one."""
    style = {
        "leaf": "shape=box",
        "operation": 'shape=box, style="rounded"',
        "constant": 'shape=box, style="dashed"',
        "gap": "shape=plaintext",
    }
    lines = ["digraph tape {", '  node [fontname="Helvetica"];', '  edge [fontname="Helvetica", fontsize=10];']
    shapes, edges = drawing(graph, limit)
    for s in shapes:
        label = "\\n".join(_escape_dot(line) for line in s.lines)
        lines.append(f'  {s.key} [{style[s.kind]}, label="{label}"];')
    lines += [f'  {e.start} -> {e.end} [label="{_escape_dot(e.label)}"];' for e in edges]
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(graph: Snapshot, limit: int | None = None) -> str:
    """Mermaid flowchart text; at most `limit` nodes (Mermaid itself refuses more than 500 edges)."""
    dashed = ("[", "]:::constant")
    brackets = {"leaf": ("[", "]"), "operation": ("(", ")"), "constant": dashed, "gap": dashed}
    lines = ["flowchart TD", "  classDef constant stroke-dasharray: 4"]
    shapes, edges = drawing(graph, limit)
    for s in shapes:
        left, right = brackets[s.kind]
        label = "<br/>".join(_escape_mermaid(line) for line in s.lines)
        lines.append(f'  {s.key}{left}"{label}"{right}')
    lines += [f'  {e.start} -->|"{_escape_mermaid(e.label)}"| {e.end}' for e in edges]
    return "\n".join(lines) + "\n"


def drawing(graph: Snapshot, limit: int | None) -> tuple[list[Shape], list[Edge]]:
    """What both formats draw. Edges into and out of the left-out nodes end at the one shape that stands for them."""
    left_out = omitted(len(graph), limit)
    shown = [node for node in graph.nodes if node.number not in left_out]
    edges = list(dict.fromkeys(_gap_edges(graph, left_out)))
    edges += [e for node in shown for e in _edges_into(graph, node, left_out)]
    used = {e.start for e in edges}
    shapes = [_node_shape(node) for node in shown]
    shapes += [Shape(f"c{c.number}", (constant(c),), "constant") for c in graph.constants if f"c{c.number}" in used]
    if left_out:
        shapes.append(Shape("gap", (f"{len(left_out):,} nodes left out",), "gap"))
    return shapes, edges


def _node_shape(node: GraphNode) -> Shape:
    title = node.name or "leaf" if node.is_leaf else f"{operation(node)} {node.name or ''}".rstrip()
    norms = f"|value| {node.value_norm:.4g}, |gradient| {node.gradient_norm:.4g}"
    lines = (f"#{node.number} {title}", f"{node.shape}", norms)
    return Shape(f"n{node.number}", lines, "leaf" if node.is_leaf else "operation")


def _edges_into(graph: Snapshot, node: GraphNode, left_out: range) -> Iterator[Edge]:
    for argument in node.arguments:
        if not isinstance(argument, int):
            yield Edge(f"c{argument.number}", f"n{node.number}", str(argument.shape))
        else:
            start = "gap" if argument in left_out else f"n{argument}"
            yield Edge(start, f"n{node.number}", str(graph[argument].shape))


def _gap_edges(graph: Snapshot, left_out: range) -> Iterator[Edge]:
    for number in left_out:
        for parent in graph[number].parents:
            if parent not in left_out:
                yield Edge(f"n{parent}", "gap", str(graph[parent].shape))


def _escape_dot(line: str) -> str:
    return line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_mermaid(line: str) -> str:
    return "".join(_MERMAID_ENTITIES.get(character, character) for character in line.replace("\n", " "))
