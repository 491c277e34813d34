"""`graph` and `show`: a snapshot of the tape behind a result, as a table or a diagram."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np

from tinyae.autodiff import Node, Operand, Tensor, grad
from tinyae.autodiff.tape import ancestors, recorded
from tinyae.backend import Array, backend_of
from tinyae.checks import check_kind, whole_number
from tinyae.nn import Module
from tinyae.notebook import lines_of_text

# ---------------------------------------------------------------------------------------------------------------------
# The parts of a snapshot: nodes and constants.


@dataclass(frozen=True)
class Constant:
    """An argument that no gradient flows to: a number, an array, or a Tensor without `requires_grad`.

    Attributes:
        number: counted from 0 in order of first use; an array used twice is one constant.
        shape: of the array; () for a Python number.
        dtype: of the array; the name of the type for a Python number.
        value: the number if there is only one, else None.
        name: its name in `names`, or None.
    """

    number: int
    shape: tuple[int, ...]
    dtype: str
    value: float | complex | None
    name: str | None

    def __str__(self) -> str:
        """Its value if it is an unnamed number, else its name or `number`, and its shape."""
        if self.value is not None and self.name is None:
            return f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)
        return f"{self.name or f'c{self.number}'} {self.shape}"


@dataclass(frozen=True)
class GraphNode:
    """One line of the tape.

    Attributes:
        number: position in the graph, from 0, oldest first.
        serial: creation number of the tape, unique in the process; sorts like `number`.
        op: name of the primitive, `"leaf"` for a leaf.
        params: its keyword parameters as strings, except those that are None or False.
        shape: of its value.
        dtype: of its value.
        arguments: its arguments in order: the number of a node, or a `Constant`.
        name: its name in `names`, or None.
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
        """Whether it was created by the user (e.g. a parameter), not by an operation."""
        return self.op == "leaf"

    @property
    def label(self) -> str:
        """`leaf`, or the name of the primitive with its parameters."""
        return " ".join([self.op, *(f"{key}={value}" for key, value in self.params.items())])

    @property
    def parents(self) -> tuple[int, ...]:
        """Numbers of the nodes it was computed from, in argument order; `a + a` names `a` twice."""
        return tuple(a for a in self.arguments if isinstance(a, int))


# ---------------------------------------------------------------------------------------------------------------------
# The tape of one Tensor: as a table, one line per node, oldest first, and as a diagram, in Graphviz' DOT language or Mermaid.
#
# In the table `#` marks nodes and `c` constants; the column "from" has the arguments of the operation. In a diagram leaves
# are boxes, operations are rounded, constants are dashed; an edge is labeled with a shape. Edges have the direction of the
# forward pass; the backward pass follows them in reverse.

LIMIT = 200
"""Default number of nodes printed."""

HEADER = ("#", "serial", "op", "shape", "dtype", "from", "|value|", "|gradient|")

_LOOKS = {
    "leaf": ("shape=box", "[", "]"),
    "operation": ('shape=box, style="rounded"', "(", ")"),
    "constant": ('shape=box, style="dashed"', "[", "]:::constant"),
    "gap": ("shape=plaintext", "[", "]:::constant"),
}
"""Of each kind of box: its style in DOT, and its brackets in Mermaid."""

_MERMAID_ENTITIES = {'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "|": "#124;"}

Box = tuple[str, str, Sequence[str]]
"""A box of a diagram: an identifier, its kind (leaf, operation, constant or gap), and the lines of its label."""
Edge = tuple[str, str, str]
"""An arrow from an argument to the operation that used it, and the argument's shape."""


@dataclass(frozen=True, repr=False)
class Graph:
    """The tape behind one Tensor, without its arrays; `graph[i]` is node number i.

    `print(graph)` prints the table; `to_dot` and `to_mermaid` return diagrams.

    Attributes:
        nodes: oldest first; the last one is the Tensor itself.
        constants: the arguments that are not nodes.
        bytes_held: memory in bytes of the distinct arrays that the graph refers to: leaves, constants, results and
            residuals of fused operations. A result that is a view of its argument is not counted; two constants that
            share memory are counted twice.
        device: of the values, `"cpu"` or `"gpu"`.
        unused: the names that do not occur in the graph; a parameter among them gets no gradient.
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

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Graph of {len(self)} nodes, {self.bytes_held} bytes>"

    def _repr_html_(self) -> str:
        """The table, and on its left an arc from every node to each that it was computed from."""
        limit, line = 60, 18
        left_out = _left_out(len(self), limit)
        shown = [node for node in self.nodes if node.number not in left_out]
        gap = [left_out.start] if left_out else []  # lines of the table without a node
        at = {node.number: 1 + place + (place >= left_out.start if gap else 0) for place, node in enumerate(shown)}
        arcs = ""
        for node in shown:
            for parent in sorted({number for number in node.parents if number in at}):
                top, bottom = (line * at[number] + line // 2 for number in (parent, node.number))
                arcs += f'<path d="M98 {top} Q{98 - min(16 + (bottom - top) / 2, 190):g} {(top + bottom) / 2:g} 98 {bottom}"/>'
        svg = f'<svg width="100" height="{line * (len(shown) + 2)}" fill="none" stroke="currentColor" opacity="0.6">{arcs}</svg>'
        text = lines_of_text(self.to_text(limit), f"margin:0;padding:0;line-height:{line}px")
        return f'<div style="display:flex;overflow-x:auto">{svg}{text}</div>'

    def to_text(self, limit: int | None = LIMIT) -> str:
        """The table that `show` prints: a header, at most `limit` nodes (None: all), and the totals."""
        left_out = _left_out(len(self), limit)
        rows = [HEADER, *(_row(node) for node in self.nodes if node.number not in left_out)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(f"{text:{side}{width}}" for text, side, width in zip(row, ">><<<<>>", widths, strict=True))
            for row in rows
        ]
        if left_out:
            gap = f"... {len(left_out):,} nodes left out (limit={limit}; limit=None prints all) ..."
            lines.insert(1 + left_out.start, gap)
        leaves = sum(node.is_leaf for node in self.nodes)
        kinds = f"{_count(leaves, 'leaf', 'leaves')}, {_count(len(self) - leaves, 'operation')}"
        held = f"{_count(self.bytes_held, 'byte')} held on {self.device}"
        lines.append(f"{_count(len(self), 'node')}: {kinds}; {_count(len(self.constants), 'constant')}; {held}.")
        if self.unused:
            lines.append(f"Named but not in this graph (no gradient arrives there): {', '.join(self.unused)}.")
        return "\n".join(line.rstrip() for line in lines)

    def to_dot(self, limit: int | None = None) -> str:
        """The graph in Graphviz' DOT language (for `dot -Tsvg`); at most `limit` nodes, the middle ones replaced by one."""
        lines = ["digraph tape {", '  node [fontname="Helvetica"];', '  edge [fontname="Helvetica", fontsize=10];']
        boxes, edges = self._drawing(limit)
        for key, kind, label in boxes:
            text = "\\n".join(map(_escape_dot, label))
            lines.append(f'  {key} [{_LOOKS[kind][0]}, label="{text}"];')
        lines += [f'  {start} -> {end} [label="{_escape_dot(shape)}"];' for start, end, shape in edges]
        return "\n".join([*lines, "}"]) + "\n"

    def to_mermaid(self, limit: int | None = None) -> str:
        """The graph as a Mermaid flowchart, which GitHub renders in Markdown.

        At most `limit` nodes; Mermaid itself refuses more than 500 edges.
        """
        lines = ["flowchart TD", "  classDef constant stroke-dasharray: 4"]
        boxes, edges = self._drawing(limit)
        for key, kind, label in boxes:
            _, left, right = _LOOKS[kind]
            lines.append(f'  {key}{left}"{"<br/>".join(map(_escape_mermaid, label))}"{right}')
        lines += [f'  {start} -->|"{_escape_mermaid(shape)}"| {end}' for start, end, shape in edges]
        return "\n".join(lines) + "\n"

    def _drawing(self, limit: int | None) -> tuple[list[Box], list[Edge]]:
        """Boxes and edges of both formats. Omitted nodes are replaced by one box."""
        left_out = _left_out(len(self), limit)
        into_gap: list[Edge] = []
        edges: list[Edge] = []
        boxes: list[Box] = []
        for node in self.nodes:
            for argument in node.arguments:
                if isinstance(argument, Constant):
                    start, shape = f"c{argument.number}", argument.shape
                else:
                    start, shape = "gap" if argument in left_out else f"n{argument}", self[argument].shape
                if node.number not in left_out:
                    edges.append((start, f"n{node.number}", str(shape)))
                elif start.startswith("n"):
                    into_gap.append((start, "gap", str(shape)))
            if node.number not in left_out:
                title = node.name or "leaf" if node.is_leaf else f"{node.label} {node.name or ''}".rstrip()
                norms = f"|value| {node.value_norm:.4g}, |gradient| {node.gradient_norm:.4g}"
                lines = (f"#{node.number} {title}", f"{node.shape}", norms)
                boxes.append((f"n{node.number}", "leaf" if node.is_leaf else "operation", lines))
        edges = [*dict.fromkeys(into_gap), *edges]
        used = {start for start, _, _ in edges}
        boxes += [(f"c{c.number}", "constant", (str(c),)) for c in self.constants if f"c{c.number}" in used]
        return boxes + [("gap", "gap", (f"{len(left_out):,} nodes left out",))] * bool(left_out), edges


def _left_out(n: int, limit: int | None) -> range:
    """The numbers of the nodes omitted because of a limit: those in the middle."""
    least = min(n, 2)
    if limit is None or n <= whole_number("limit", limit, at_least=least, advice="oldest and newest; None for all"):
        return range(0)
    return range(limit - limit // 2, n - limit // 2)


def _row(node: GraphNode) -> tuple[str, ...]:
    label = node.label if node.name is None else f"{node.label} {node.name!r}"
    arguments = ", ".join(f"#{a}" if isinstance(a, int) else str(a) for a in node.arguments)
    norms = (f"{node.value_norm:.5g}", f"{node.gradient_norm:.5g}")
    return (str(node.number), str(node.serial), label, str(node.shape), node.dtype, arguments or "-", *norms)


def _count(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def _escape_dot(line: str) -> str:
    return line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_mermaid(line: str) -> str:
    return "".join(_MERMAID_ENTITIES.get(character, character) for character in line.replace("\n", " "))


# ---------------------------------------------------------------------------------------------------------------------
# `graph`: taking the snapshot.
#
# The tape refers to arrays and is freed with the loss; a snapshot has no arrays, so it can be stored, compared and printed
# later. The value of a node is read from the operation that used it, because its gradient rule gets that array.

Names = Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]


def graph(y: Tensor, names: Module | Names | None = None, grad_output: Tensor | Array | None = None) -> Graph:
    """Take a snapshot of the tape behind `y`, with the norm of every value and of every gradient.

    One reverse sweep computes the gradients of all nodes. `.grad` is not changed and the graph is not freed.

    Args:
        y: the result to inspect, usually a loss.
        names: a Module, or names for leaves, constants or results, e.g. `{"W": W}`.
        grad_output: cotangent of `y`, of its shape; optional if `y` is a single number.

    Raises:
        TypeError: `y` was not recorded.
        ValueError: `y` is not a single number and `grad_output` is missing.
        RuntimeError: `backward()` has freed the graph, or an input was changed in place since.

    Example:
        >>> a = Tensor(3.0, requires_grad=True)
        >>> b = a + a
        >>> [(n.op, n.parents, n.gradient_norm) for n in graph(b * b, {"a": a})]
        [('leaf', (), 24.0), ('add', (0, 0), 12.0), ('multiply', (1, 1), 1.0)]
    """
    order = check_recorded(y)
    values = values_of(y, order)
    gradients = grad(y, [recorded(values[node], node) for node in order], grad_output)
    named = named_tensors(names)  # keeps the constants alive, so that every id is unique
    node_names, constant_names = _split_names(named)
    numbers = {node: i for i, node in enumerate(order)}
    constants: dict[int, Constant] = {}
    nodes = []
    for node, gradient in zip(order, gradients, strict=True):
        value = values[node]
        nodes.append(
            GraphNode(
                number=numbers[node],
                serial=node.serial,
                op="leaf" if node.primitive is None else node.primitive.name,
                params={k: brief(v) for k, v in node.params.items() if v is not None and v is not False},
                shape=tuple(value.shape),
                dtype=str(value.dtype),
                arguments=_arguments(node, numbers, constants, constant_names),
                name=node_names.get(node),
                value_norm=euclidean_norm(value),
                gradient_norm=euclidean_norm(gradient.data),
            )
        )
    found = {n.name for n in nodes} | {c.name for c in constants.values()}
    return Graph(
        nodes=tuple(nodes),
        constants=tuple(constants.values()),
        bytes_held=_bytes_held(order, values),
        device=y.device,
        unused=tuple(name for name in named if name not in found),
    )


def named_tensors(names: Module | Names | None) -> dict[str, Tensor]:
    """The Tensors by name: of a Module its parameters."""
    check_kind("names", names, Module | Names | None)
    named = dict(names.named_parameters() if isinstance(names, Module) else names or {})
    for name, tensor in named.items():
        if not isinstance(tensor, Tensor):
            got = f"{type(tensor).__name__} for {name!r}"
            raise TypeError(f"inspect: names must map names to Tensors, got {got}: pass the model, or {{'W': W}}.")
    return named


def check_recorded(y: object) -> list[Node]:
    """The nodes behind `y`, oldest first; raises as `graph` does where there are none any more, or never were."""
    if not isinstance(y, Tensor) or y.node is None:
        what = f"a constant of shape {y.shape}" if isinstance(y, Tensor) else f"an object of type {type(y).__name__}"
        raise TypeError(
            f"inspect: nothing was recorded for {what}: pass {'its total' if hasattr(y, 'total') else 'the result'} of "
            "operations on a Tensor with requires_grad=True, computed outside no_grad()."
        )
    order = ancestors(y.node)[::-1]
    for node in order:
        if node.stamp < 0:
            raise RuntimeError(
                f"inspect: the graph behind {node.name} was freed by backward(): inspect it before, "
                "or call backward(retain_graph=True)."
            )
    return order


def euclidean_norm(array: Array) -> float:
    """sqrt(sum |x|**2) over all elements, summed in float64 so that large float32 entries do not overflow.

    Infinity and NaN are returned without a warning.
    """
    host = backend_of(array).to_host(array)
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(host.astype(np.result_type(host.dtype, np.float64)).ravel()))


def values_of(y: Tensor, order: list[Node]) -> dict[Node, Array]:
    """The raw array of every node, from the operations that use it, since the user's Tensor may be gone."""
    values: dict[Node, Array] = {}
    for node in order:
        for position, parent in zip(node.positions, node.parents, strict=True):
            values[parent] = node.args[position]
    values[order[-1]] = y.data
    return values


def brief(value: object) -> str:
    """A keyword parameter as a short string: arrays by shape, slices in Python notation."""
    if isinstance(value, (tuple, list)):
        inner = ", ".join(brief(part) for part in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, slice):
        ends = ["" if end is None else str(end) for end in (value.start, value.stop, value.step)]
        return ":".join(ends if value.step is not None else ends[:2])
    if value is Ellipsis:
        return "..."
    shape = getattr(value, "shape", ())
    return f"array{shape}" if shape else str(value)


def _split_names(names: Mapping[str, Tensor]) -> tuple[dict[Node, str], dict[int, str]]:
    """Names of nodes, and names of constants by the id of their arrays."""
    nodes = {tensor.node: name for name, tensor in names.items() if tensor.node is not None}
    return nodes, {id(tensor.data): name for name, tensor in names.items() if tensor.node is None}


def _arguments(
    node: Node, numbers: dict[Node, int], constants: dict[int, Constant], names: dict[int, str]
) -> tuple[int | Constant, ...]:
    """The arguments of one operation in order; new constants are added to `constants`."""
    node_at = dict(zip(node.positions, node.parents, strict=True))
    arguments: list[int | Constant] = []
    for position, arg in enumerate(node.args):
        if position in node_at:
            arguments.append(numbers[node_at[position]])
            continue
        is_array = hasattr(arg, "shape")
        # No id is negative: equal numbers are separate constants.
        key = id(arg) if is_array else -1 - len(constants)
        if key not in constants:
            single = backend_of(arg).to_host(arg).item() if is_array and arg.size == 1 else None
            constants[key] = Constant(
                number=len(constants),
                shape=tuple(arg.shape) if is_array else (),
                dtype=str(arg.dtype) if is_array else type(arg).__name__,
                value=single if is_array else arg,
                name=names.get(id(arg)),
            )
        arguments.append(constants[key])
    return tuple(arguments)


def _bytes_held(order: list[Node], values: dict[Node, Array]) -> int:
    """Bytes of the distinct arrays reachable from the tape; a result that is a view of an argument is not counted."""
    held: dict[int, int] = {}  # by the id of each array, from where it occurs first
    for node in order:
        args = [a for a in node.args if hasattr(a, "nbytes")]
        owners = {id(_owner(a)) for a in args}
        for arg in args:
            held.setdefault(id(arg), arg.nbytes)
        for result in (values[node], *_arrays_in(node.residuals)):
            held.setdefault(id(result), 0 if id(_owner(result)) in owners else result.nbytes)
    return sum(held.values())


def _owner(array: Operand) -> Array:
    """The array that owns the memory of a view; the array itself if it is not a view."""
    while hasattr(getattr(array, "base", None), "nbytes"):
        array = array.base
    return array


def _arrays_in(residuals: Operand) -> list[Array]:
    if isinstance(residuals, (tuple, list)):
        return [array for part in residuals for array in _arrays_in(part)]
    return [residuals] if hasattr(residuals, "nbytes") else []


# ---------------------------------------------------------------------------------------------------------------------
# `show`: print a graph.


def show(
    loss: Tensor,
    names: Module | Names | None = None,
    file: TextIO | None = None,
    *,
    grad_output: Tensor | Array | None = None,
    limit: int | None = LIMIT,
) -> Graph:
    """Print every node behind `loss`, oldest first, and return the `Graph`, e.g. for `show(loss).to_dot()`.

    Each line has number, serial, operation, shape, dtype, arguments, and Euclidean norms of the value and of the gradient.
    Call it before `backward()`, which frees the graph; `.grad` is not changed.

    Args:
        loss: the result to inspect.
        names: a Module, or names for leaves, constants or results, e.g. `{"W": W}`.
        file: where to print; standard output by default.
        grad_output: cotangent of `loss`, of its shape, if it is not a single number.
        limit: maximum number of nodes to print, the oldest and the newest; None prints all.
    """
    if not hasattr(file or sys.stdout, "write"):
        raise TypeError(f"show: file must be an open file, got {file!r}: write open(path, 'w'), or print(graph(loss)).")
    snapshot = graph(loss, names, grad_output)
    print(snapshot.to_text(limit), file=sys.stdout if file is None else file)
    return snapshot
