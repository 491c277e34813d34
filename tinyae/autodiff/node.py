"""The tape: one `Node` for every recorded result, and the switch that says whether to record.

A node knows how its value was made (primitive, raw arguments, raw result) and which nodes that needed. It keeps raw
arrays and never Tensors, and only ever points to *older* nodes, so there are no reference cycles: a graph is freed by
reference counting the moment its last Tensor goes. Every node carries a serial number. A result is always created
after its arguments, so sorting by serial number is a topological sort, whatever the shape of the graph.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from operator import attrgetter
from typing import Any, Protocol

_next_serial = count().__next__


class Node:
    """One recorded operation, or (with `primitive` None) a leaf: a Tensor the user asked gradients for.

    Attributes:
        serial: creation number; parents always have smaller ones.
        primitive: the operation, None for a leaf.
        args: its raw positional arguments; None once the graph was freed.
        params: its keyword parameters.
        out: its raw result.
        residuals: what a fused primitive saved for its own rule.
        parents: the nodes of those arguments that have one.
        positions: the argument position of each parent.
        version: how often the leaf's array was changed in place.
        stamp: the sum of the parents' versions when they were read; versions only grow, so a changed parent changes
            the sum.
        leaf: weak reference to the leaf's Tensor.
    """

    __slots__ = (
        "args",
        "leaf",
        "out",
        "params",
        "parents",
        "positions",
        "primitive",
        "residuals",
        "serial",
        "stamp",
        "version",
    )

    def __init__(
        self,
        primitive: Any = None,
        args: Any = (),
        params: Any = None,
        out: Any = None,
        residuals: Any = None,
        parents: Sequence[Node] = (),
        positions: Sequence[int] = (),
        stamp: int = 0,
        leaf: Any = None,
    ) -> None:
        self.serial = _next_serial()
        self.primitive = primitive
        self.args = args
        self.params = params
        self.out = out
        self.residuals = residuals
        self.parents = parents
        self.positions = positions
        self.version = 0
        self.stamp = stamp
        self.leaf = None if leaf is None else weakref.ref(leaf)

    def free(self) -> None:
        """Drop the arrays and the way back. A later sweep that needs them raises."""
        self.args = self.params = self.out = self.residuals = None
        self.parents = self.positions = ()

    def __repr__(self) -> str:
        name = "leaf" if self.primitive is None else self.primitive.name
        return f"<Node {self.serial} {name}>"


def ancestors(root: Node, since: int = 0) -> list[Node]:
    """`root` and everything it was made from, newest first; nodes with a serial below `since` are left out.

    Newest first is the order of a reverse sweep: when a node's turn comes, all its uses have been seen.
    """
    seen = {root}
    stack = [root]
    while stack:
        for parent in stack.pop().parents:
            if parent not in seen and parent.serial >= since:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=attrgetter("serial"), reverse=True)


class _Recording(threading.local):
    on = True


recording = _Recording()
"""`recording.on`: whether operations on Tensors are put on the tape. One switch per thread."""


@contextmanager
def set_recording(on: bool) -> Iterator[None]:
    """Switch recording for a block; restored afterwards, also when an error leaves the block."""
    before = recording.on
    recording.on = on
    try:
        yield
    finally:
        recording.on = before


def no_grad() -> Any:
    """`with no_grad():` operations give constants; nothing is recorded and no memory is kept for a backward pass.

    Works as a decorator too.
    """
    return set_recording(False)


class Watch(Protocol):
    """Who looks at every result and every gradient of a thread as soon as there is one, e.g. for the first NaN.

    Attributes:
        scopes: (owner, name) of the layers being called, outermost first; the owners are none of the engine's business.
    """

    scopes: list[tuple[Any, str]]

    def check_result(self, name: str, raw: list[Any], out: Any, node: Node | None) -> None:
        """A primitive of that name made `out` of the arguments `raw`, recorded as `node` (None if it was not)."""

    def check_rule(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        """A rule of `node` made c of the cotangent g; `total` is what has arrived at `parent` so far."""

    def check_update(self, method: str, param: Any, grad: Any) -> None:
        """An optimizer has updated the parameters: a training step is done."""

    def next_step(self) -> None:
        """A training step is done that nothing is to be checked in."""

    def around(self, rules: Callable[..., Any]) -> Callable[..., Any]:
        """`rules(primitive, node, ...)`, with a note of whose rule it is that computes."""


watches: dict[int, Watch] = {}
"""The open watches by thread. Empty unless somebody is looking."""


def current_watch() -> Watch | None:
    """The watch of this thread, None if there is none."""
    return watches.get(threading.get_ident()) if watches else None
