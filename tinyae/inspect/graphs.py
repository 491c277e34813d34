"""`graph` and `show`: a plain snapshot of the tape behind a result, as a table or a diagram."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

from tinyae.autodiff import Node, Tensor, grad
from tinyae.autodiff.tape import ancestors, recorded
from tinyae.backend import Array, backend_of

# ---------------------------------------------------------------------------------------------------------------------
# The parts of a snapshot: nodes, constants, and the tape of one Tensor, oldest first.


@dataclass(frozen=True)
class Constant:
    """An argument that no gradient flows to: a number, an array, or a Tensor without `requires_grad`.

    Attributes:
        number: counted from 0 in order of first use; an array used twice is one constant.
        shape, dtype: of the array; a Python number has shape () and its type's name.
        value: the number itself if there is only one, else None.
        name: the name it was given in `names`, or None.
    """

    number: int
    shape: tuple[int, ...]
    dtype: str
    value: float | complex | None
    name: str | None


@dataclass(frozen=True)
class GraphNode:
    """One line of the tape.

    Attributes:
        number: position in the graph, from 0, oldest first.
        serial: creation number of the tape, unique in the process; sorts like `number`.
        op: name of the primitive, `"leaf"` for a leaf.
        params: the keyword parameters it was called with, as text; those that are None or False are left out.
        shape, dtype: of its value.
        arguments: what it was called with, in order: the number of a node, or a `Constant`.
        name: the name it was given in `names`, or None.
        value_norm: Euclidean norm of its value.
        gradient_norm: Euclidean norm of the gradient of the result with respect to it.
    """

    number: int
    serial: int
    op: str
    params: dict[str, str]
    shape: tuple[int, ...]
    dtype: str
    arguments: tuple[int | Constant, ...]
    name: str | None
    value_norm: float
    gradient_norm: float

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it (a parameter, say), not an operation."""
        return self.op == "leaf"

    @property
    def parents(self) -> tuple[int, ...]:
        """Numbers of the nodes it was computed from, in argument order; `a + a` names `a` twice."""
        return tuple(a for a in self.arguments if isinstance(a, int))


@dataclass(frozen=True)
class Snapshot:
    """The tape behind one Tensor, without its arrays; `snapshot[i]` is node number i.

    Attributes:
        nodes: oldest first; the last one is the Tensor that was asked about.
        constants: the arguments that are not nodes.
        bytes_held: memory in bytes of the distinct arrays that the graph refers to: leaves, constants, results and
            what fused operations saved. A result that is a view of its argument counts nothing; two constants that
            look into one memory count twice.
        device: where the values live, `"cpu"` or `"gpu"`.
        unused: the given names that do not occur in the graph; a parameter among them gets no gradient.
    """

    nodes: tuple[GraphNode, ...]
    constants: tuple[Constant, ...]
    bytes_held: int
    device: str
    unused: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, number: int) -> GraphNode:
        return self.nodes[number]


# ---------------------------------------------------------------------------------------------------------------------
# A graph as text: one line per node, oldest first.
#
# Numbers with `#` are nodes, `c` marks constants; what stands in the column "from" is the argument list of the
# operation, in order.

LIMIT = 200
"""Nodes printed unless another limit is asked for."""

HEADER = ("#", "serial", "op", "shape", "dtype", "from", "|value|", "|gradient|")


def text(graph: Snapshot, limit: int | None) -> str:
    """The table: a header, the lines of the nodes, and the totals."""
    left_out = omitted(len(graph), limit)
    rows = [_row(node) for node in graph.nodes if node.number not in left_out]
    widths = [max(len(row[i]) for row in [HEADER, *rows]) for i in range(len(HEADER))]
    lines = [_line(row, widths) for row in [HEADER, *rows]]
    if left_out:
        gap = f"... {len(left_out):,} nodes left out (limit={limit}; limit=None prints all) ..."
        lines.insert(1 + left_out.start, gap)
    return "\n".join([*lines, *totals(graph)])


def totals(graph: Snapshot) -> list[str]:
    """What stands under the table: counts, memory in bytes, and names that were not found."""
    leaves = sum(node.is_leaf for node in graph.nodes)
    kinds = f"{_count(leaves, 'leaf', 'leaves')}, {_count(len(graph) - leaves, 'operation')}"
    held = f"{_count(graph.bytes_held, 'byte')} held on {graph.device}"
    lines = [f"{_count(len(graph), 'node')}: {kinds}; {_count(len(graph.constants), 'constant')}; {held}."]
    if graph.unused:
        lines.append(f"Named but not in this graph (no gradient arrives there): {', '.join(graph.unused)}.")
    return lines


def omitted(n: int, limit: int | None) -> range:
    """The numbers of the nodes that a limit leaves out: the middle; the oldest and the newest stay."""
    if limit is None or n <= limit:
        return range(0)
    if limit < 2:
        raise ValueError(f"limit must be at least 2 (oldest and newest node), got {limit}: use limit=None for all.")
    return range(limit - limit // 2, n - limit // 2)


def brief(value: Any) -> str:
    """A keyword parameter in a few characters: arrays by shape, slices as written."""
    if isinstance(value, (tuple, list)):
        inner = ", ".join(brief(part) for part in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, slice):
        ends = ["" if end is None else str(end) for end in (value.start, value.stop, value.step)]
        return ":".join(ends if value.step is not None else ends[:2])
    if value is Ellipsis:
        return "..."
    if getattr(value, "shape", ()):
        return f"array{value.shape}"
    return str(value)


def operation(node: GraphNode) -> str:
    """What made the node: `leaf`, or the name of the primitive with the parameters that were set."""
    return " ".join([node.op, *(f"{key}={value}" for key, value in node.params.items())])


def constant(c: Constant) -> str:
    """A constant as an argument: its value if it is one number, else its name or number, and its shape."""
    if c.value is not None and c.name is None:
        return f"{c.value:.6g}" if isinstance(c.value, float) else str(c.value)
    return f"{c.name or f'c{c.number}'} {c.shape}"


def _row(node: GraphNode) -> tuple[str, ...]:
    label = operation(node) if node.name is None else f"{operation(node)} {node.name!r}"
    arguments = ", ".join(f"#{a}" if isinstance(a, int) else constant(a) for a in node.arguments)
    return (
        str(node.number),
        str(node.serial),
        label,
        str(node.shape),
        node.dtype,
        arguments or "-",
        f"{node.value_norm:.5g}",
        f"{node.gradient_norm:.5g}",
    )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    padded = zip(row, widths, strict=True)
    return "  ".join(c.ljust(w) if 2 <= i <= 5 else c.rjust(w) for i, (c, w) in enumerate(padded)).rstrip()


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


# ---------------------------------------------------------------------------------------------------------------------
# A graph as a drawing, in the two text formats that most tools can draw: Graphviz' DOT and Mermaid.
#
# Leaves are boxes, operations are rounded, constants are dashed; an edge carries the shape of what flows along
# it. Edges point the way of the forward pass; the backward pass walks every one of them against its arrow.

_MERMAID_ENTITIES = {'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "|": "#124;"}


@dataclass(frozen=True)
class Shape:
    """One thing to draw: an identifier, the lines of its label, and its kind: leaf, operation, constant or gap."""

    key: str
    lines: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Edge:
    """An arrow from an argument to the operation that used it, labeled with the argument's shape."""

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


# ---------------------------------------------------------------------------------------------------------------------
# `graph`: taking the snapshot of the tape behind a Tensor.
#
# The tape itself keeps raw arrays and dies with the loss; a snapshot keeps none, so it can be stored, compared and
# printed later. The value of a node is read from the operation that used it, because that is the array its gradient
# rule will see.

Names = Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]


@dataclass(frozen=True, repr=False)
class Graph(Snapshot):
    """A snapshot that can be shown: `print(graph)` gives the table, `to_dot` and `to_mermaid` a drawing.

    Its attributes are those of `Snapshot`: nodes, constants, bytes_held, device, unused.
    """

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Graph of {len(self)} nodes, {self.bytes_held} bytes>"

    def to_text(self, limit: int | None = LIMIT) -> str:
        """The table that `show` prints, at most `limit` nodes of it (None: all)."""
        return text(self, limit)

    def to_dot(self, limit: int | None = None) -> str:
        """The graph in Graphviz' DOT language (for `dot -Tsvg`): leaves boxed, operations rounded, shapes on edges."""
        return dot(self, limit)

    def to_mermaid(self, limit: int | None = None) -> str:
        """The graph as a Mermaid flowchart, which GitHub and many note-takers draw inside Markdown."""
        return mermaid(self, limit)


def graph(y: Tensor, names: Names | None = None, grad_output: Any = None) -> Graph:
    """Take a snapshot of the tape behind `y`, with the norm of every value and of every gradient.

    One reverse sweep finds the gradients of all nodes. Nothing is deposited in `.grad` and the graph is not freed.

    Args:
        y: the result to look behind, usually a loss.
        names: names for leaves, constants or results, e.g. `dict(model.named_parameters())`.
        grad_output: cotangent of `y`, of its shape; may be left out if `y` holds one number.

    Raises:
        TypeError: `y` was not recorded.
        ValueError: `y` holds several numbers and `grad_output` is missing.
        RuntimeError: `backward()` has freed the graph, or an input was changed in place since.

    Example:
        >>> a = Tensor(3.0, requires_grad=True)
        >>> b = a + a
        >>> [(n.op, n.parents, n.gradient_norm) for n in graph(b * b, {"a": a})]
        [('leaf', (), 24.0), ('add', (0, 0), 12.0), ('multiply', (1, 1), 1.0)]
    """
    if not isinstance(y, Tensor) or y.node is None:
        what = f"a constant of shape {y.shape}" if isinstance(y, Tensor) else f"an object of type {type(y).__name__}"
        raise TypeError(
            f"inspect: nothing was recorded for {what}: pass the result of operations on a Tensor with "
            "requires_grad=True, computed outside no_grad()."
        )
    order = ancestors(y.node)[::-1]
    _check_not_freed(order)
    values = _values(y, order)
    gradients = grad(y, [recorded(values[node], node) for node in order], grad_output)
    node_names, constant_names = _split_names(names)
    numbers = {node: i for i, node in enumerate(order)}
    constants: dict[Any, Constant] = {}
    nodes = []
    for node, gradient in zip(order, gradients, strict=True):
        value = values[node]
        nodes.append(
            GraphNode(
                number=numbers[node],
                serial=node.serial,
                op="leaf" if node.primitive is None else node.primitive.name,
                params=_params(node),
                shape=tuple(value.shape),
                dtype=str(value.dtype),
                arguments=_arguments(node, numbers, constants, constant_names),
                name=node_names.get(node),
                value_norm=euclidean_norm(value),
                gradient_norm=euclidean_norm(gradient.data),
            )
        )
    given = [*node_names.values(), *(name for name, _ in constant_names.values())]
    found = {n.name for n in nodes} | {c.name for c in constants.values()}
    return Graph(
        nodes=tuple(nodes),
        constants=tuple(constants.values()),
        bytes_held=_bytes_held(order, values),
        device=y.device,
        unused=tuple(name for name in given if name not in found),
    )


def euclidean_norm(array: Array) -> float:
    """sqrt(sum |x|**2) over all elements, summed in float64 so that large float32 entries do not overflow.

    Infinities and NaN are what one looks for, so they come out as they are, without a warning.
    """
    host = backend_of(array).to_host(array)
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(host.astype(np.result_type(host.dtype, np.float64)).ravel()))


def _check_not_freed(order: list[Node]) -> None:
    for node in order:
        if node.stamp < 0:
            raise RuntimeError(
                f"inspect: the graph behind {node.name} was freed by backward(): look before it, "
                "or call backward(retain_graph=True)."
            )


def _values(y: Tensor, order: list[Node]) -> dict[Node, Array]:
    """The raw array of every node; a leaf's is found at its uses, which outlive the user's Tensor."""
    values: dict[Node, Array] = {}
    for node in order:
        for position, parent in zip(node.positions, node.parents, strict=True):
            values[parent] = node.args[position]
    values[order[-1]] = y.data
    return values


def _params(node: Node) -> dict[str, str]:
    return {k: brief(v) for k, v in node.params.items() if v is not None and v is not False}


ConstantNames = dict[int, tuple[str, Array]]
"""By the identity of the array, which is kept so that no identity is given out twice."""


def _split_names(names: Names | None) -> tuple[dict[Node, str], ConstantNames]:
    """Names of nodes, and names of constants by the identity of their arrays."""
    nodes: dict[Node, str] = {}
    constants: ConstantNames = {}
    for name, tensor in dict(names or {}).items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"inspect: names must map names to Tensors, got {type(tensor).__name__} for {name!r}: "
                "use dict(model.named_parameters()), or {'W': W}."
            )
        if tensor.node is not None:
            nodes[tensor.node] = name
        else:
            array = tensor.data
            constants[id(array)] = (name, array)
    return nodes, constants


def _arguments(
    node: Node, numbers: dict[Node, int], constants: dict[Any, Constant], names: ConstantNames
) -> tuple[int | Constant, ...]:
    """The arguments of one operation in order; constants met for the first time join `constants`."""
    node_at = dict(zip(node.positions, node.parents, strict=True))
    arguments: list[int | Constant] = []
    for position, arg in enumerate(node.args):
        if position in node_at:
            arguments.append(numbers[node_at[position]])
            continue
        is_array = hasattr(arg, "shape")
        key = id(arg) if is_array else ("number", len(constants))  # a number written twice is two constants
        if key not in constants:
            single = backend_of(arg).to_host(arg).item() if is_array and arg.size == 1 else None
            constants[key] = Constant(
                number=len(constants),
                shape=tuple(arg.shape) if is_array else (),
                dtype=str(arg.dtype) if is_array else type(arg).__name__,
                value=single if is_array else arg,
                name=names.get(id(arg), (None, None))[0],
            )
        arguments.append(constants[key])
    return tuple(arguments)


def _bytes_held(order: list[Node], values: dict[Node, Array]) -> int:
    """Bytes of the distinct arrays reachable from the tape; a result that is a view of an argument has none."""
    seen: set[int] = set()
    total = 0
    for node in order:
        args = [a for a in node.args if hasattr(a, "nbytes")]
        owners = {id(_owner(a)) for a in args}
        results = [values[node], *_arrays_in(node.residuals)]
        total += sum(a.nbytes for a in _new(args, seen))
        total += sum(r.nbytes for r in _new(results, seen) if id(_owner(r)) not in owners)
    return total


def _new(arrays: list[Array], seen: set[int]) -> Iterator[Array]:
    """Those arrays that were not seen yet; they count as seen from then on."""
    for array in arrays:
        if id(array) not in seen:
            seen.add(id(array))
            yield array


def _owner(array: Any) -> Array:
    """The array whose memory a view looks into; the array itself if it is not a view."""
    while hasattr(getattr(array, "base", None), "nbytes"):
        array = array.base
    return array


def _arrays_in(residuals: Any) -> list[Array]:
    if isinstance(residuals, (tuple, list)):
        return [array for part in residuals for array in _arrays_in(part)]
    return [residuals] if hasattr(residuals, "nbytes") else []


# ---------------------------------------------------------------------------------------------------------------------
# `show`: print a graph. The function to reach for first.


def show(
    loss: Tensor,
    names: Names | None = None,
    file: TextIO | None = None,
    *,
    grad_output: Any = None,
    limit: int | None = LIMIT,
) -> Graph:
    """Print every node behind `loss`, oldest first, and return the `Graph`, so that `show(loss).to_dot()` chains.

    One line holds: number, serial, operation, shape, dtype, arguments, Euclidean norm of the value and of the
    gradient. Call it before `backward()`, which frees the graph; it deposits nothing.

    Args:
        loss: the result to look behind.
        names: names for leaves, constants or results, e.g. `dict(model.named_parameters())`.
        file: where to print; standard output by default.
        grad_output: cotangent of `loss`, of its shape, if it holds more than one number.
        limit: print at most so many nodes, the oldest and the newest, and say how many were left out; None
            prints all.
    """
    snapshot = graph(loss, names, grad_output)
    print(snapshot.to_text(limit), file=sys.stdout if file is None else file)
    return snapshot
