"""The snapshot: what stands on the tape behind a Tensor, as plain numbers, names and shapes.

The tape itself keeps raw arrays and dies with the loss; a snapshot keeps none, so it can be stored, compared and
printed later. The value of a node is read from the operation that used it, because that is the array its gradient
rule will see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.autodiff import Node, Tensor, ancestors, grad, recorded
from tinyae.backend import Array, backend_of
from tinyae.inspect import diagram, table
from tinyae.inspect.snapshot import Constant, GraphNode, Snapshot

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

    def to_text(self, limit: int | None = table.LIMIT) -> str:
        """The table that `show` prints, at most `limit` nodes of it (None: all)."""
        return table.text(self, limit)

    def to_dot(self, limit: int | None = None) -> str:
        """The graph in Graphviz' DOT language (for `dot -Tsvg`): leaves boxed, operations rounded, shapes on edges."""
        return diagram.dot(self, limit)

    def to_mermaid(self, limit: int | None = None) -> str:
        """The graph as a Mermaid flowchart, which GitHub and many note-takers draw inside Markdown."""
        return diagram.mermaid(self, limit)


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
        if node.primitive is not None and node.args is None:
            raise RuntimeError(
                f"inspect: the graph behind {node.primitive.name} was freed by backward(): look before it, "
                "or call backward(retain_graph=True)."
            )


def _values(y: Tensor, order: list[Node]) -> dict[Node, Array]:
    """The raw array of every node; a leaf's is found at its uses, which outlive the user's Tensor."""
    values: dict[Node, Array] = {}
    for node in order:
        for position, parent in zip(node.positions, node.parents, strict=True):
            values[parent] = (node.args or ())[position]
    values[order[-1]] = y.data
    return values


def _params(node: Node) -> dict[str, str]:
    return {k: table.brief(v) for k, v in (node.params or {}).items() if v is not None and v is not False}


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
    for position, arg in enumerate(node.args or ()):
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
        args = [a for a in node.args or () if hasattr(a, "nbytes")]
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


def _owner(array: Array) -> Array:
    """The array whose memory a view looks into; the array itself if it is no view."""
    while hasattr(getattr(array, "base", None), "nbytes"):
        array = array.base
    return array


def _arrays_in(residuals: Any) -> list[Array]:
    if isinstance(residuals, (tuple, list)):
        return [array for part in residuals for array in _arrays_in(part)]
    return [residuals] if hasattr(residuals, "nbytes") else []
