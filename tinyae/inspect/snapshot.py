"""What a snapshot of the tape holds: plain numbers, names and shapes, oldest first."""

from __future__ import annotations

from dataclasses import dataclass


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
        constants: the arguments that are no nodes.
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
