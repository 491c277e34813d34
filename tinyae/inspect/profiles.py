"""`profile`: time, memory traffic and page faults of every operation in every layer, forward and backward.

A training step is some dozens of operations, and seldom are all of them worth making faster. Within `with profile():` the
engine reports when an operation or a gradient rule starts and when it has a result. Each moment of the block belongs to one
row of the table, so times add up: to the operation or rule that was running, to everything else, or to the measuring itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from time import perf_counter
from typing import Any

from tinyae.autodiff import Node, Observer, observers, set_observers
from tinyae.backend import CPU, Array, Backend, backend_of
from tinyae.inspect.anomaly import LayerWatch
from tinyae.notebook import lines_of_text

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SHOWN = 16
"""Operations in the printed table; the rest is one line."""


@dataclass
class ProfileRow:
    """What one operation cost in one layer.

    Attributes:
        operation: name of the primitive.
        layer: innermost layer that called it, e.g. "Autoencoder.encoder.0 (Dense)"; empty outside any layer, and for the
            backward pass of what was computed before the block.
        forward_calls: results computed.
        forward_seconds: time of computing them.
        forward_bytes: size of the results; a view, as of a reshape, counts in full.
        backward_calls: results through which a gradient passed back.
        backward_seconds: time of their gradient rules, without operations that the rules record (`create_graph=True`).
        page_faults: minor page faults of the process meanwhile, mostly new memory used for the first time; 0 on Windows.
    """

    operation: str
    layer: str
    forward_calls: int = 0
    forward_seconds: float = 0.0
    forward_bytes: int = 0
    backward_calls: int = 0
    backward_seconds: float = 0.0
    page_faults: int = 0

    @property
    def seconds(self) -> float:
        """Time forward and backward."""
        return self.forward_seconds + self.backward_seconds


class Profile(LayerWatch, Observer):
    """What a `profile` block measured; `print` it, in the block or after it.

    Attributes:
        other: the time outside any operation: the optimizer, the data, Python between operations.
        overhead: the time of the measuring itself, which is in no share.
    """

    def __init__(self) -> None:
        super().__init__()
        self.other = ProfileRow("(no operation)", "optimizer, data, Python")
        self.overhead = ProfileRow("(profile)", "")
        self._rows: dict[tuple[str, str], ProfileRow] = {}
        self._row_of: dict[int, ProfileRow] = {}  # by the serial number of the node
        self._backend: Backend = CPU  # of the last result
        self._last = perf_counter(), _page_faults()

    @property
    def rows(self) -> list[ProfileRow]:
        """One row for each operation in each layer, the most expensive first."""
        return sorted(self._rows.values(), key=lambda row: -row.seconds)

    @property
    def seconds(self) -> float:
        """Time of the block without the overhead."""
        return sum(row.seconds for row in self._rows.values()) + self.other.seconds

    def starts(self, what: object) -> None:
        """End what was running; the operation or the rules of a node run from now on."""
        self._charge()
        if isinstance(what, Node):
            self._backend = backend_of(what.out)
            self._recorded(what).backward_calls += 1
        self._charge(self.overhead)

    def result(self, name: str, args: Sequence[Any], out: Array, node: Node | None) -> None:
        """Count the result of an operation, and remember in which row it is for its backward pass."""
        self._backend = backend_of(out)
        row = self._row(name, self._recorded(self.rules[-1]).layer if self.rules else self.layer or "")
        self._charge(row)
        row.forward_calls += 1
        row.forward_bytes += out.nbytes
        if node is not None:
            self._row_of[node.serial] = row
        self._charge(self.overhead)

    def gradient(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        """End the rule of a node for one argument."""
        self._charge(self._recorded(node), backward=True)
        self._charge(self.overhead)

    @contextmanager
    def during(self, scope: object) -> Iterator[None]:
        """Follow the layers, and the rules that run on Tensors."""
        self._charge()
        with super().during(scope):
            self._charge(self.overhead)
            try:
                yield
            finally:
                self._charge()
        self._charge(self.overhead)

    def _row(self, operation: str, layer: str) -> ProfileRow:
        return self._rows.setdefault((operation, layer), ProfileRow(operation, layer))

    def _recorded(self, node: Node) -> ProfileRow:
        """The row in which the result of a node was counted."""
        return self._row_of.get(node.serial) or self._row(node.name, "")

    def _charge(self, row: ProfileRow | None = None, backward: bool = False) -> None:
        """Add the time since the last event, of the device too, to a row: by default to the rule on Tensors, or `other`."""
        if row is None:
            row, backward = (self._recorded(self.rules[-1]), True) if self.rules else (self.other, False)
        self._backend.synchronize()
        (since, before), self._last = self._last, (perf_counter(), _page_faults())
        if backward:
            row.backward_seconds += self._last[0] - since
        else:
            row.forward_seconds += self._last[0] - since
        row.page_faults += self._last[1] - before

    def __str__(self) -> str:
        rows = [astuple(row) for row in self.rows]
        if rest := rows[SHOWN:]:
            numbers = [sum(column) for column in list(zip(*rest, strict=True))[2:]]
            rows[SHOWN:] = [(f"and {len(rest)} more", "", *numbers)]
        whole = self.seconds or 1.0
        lines = [("operation", "layer", "calls", "ms", "MB", "backward", "ms", "faults", "share")]
        for operation, layer, calls, forward, size, back_calls, backward, faults in [*rows, astuple(self.other)]:
            counted = f"{faults:,}" if resource else "-"
            times = f"{1e3 * forward:,.2f}", f"{size / 1e6:,.2f}", f"{back_calls:,}", f"{1e3 * backward:,.2f}"
            lines.append((operation, layer, f"{calls:,}", *times, counted, f"{(forward + backward) / whole:.1%}"))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [f"{1e3 * self.seconds:,.1f} ms, and {1e3 * self.overhead.seconds:,.1f} ms for measuring"]
        for operation, layer, *cells in lines:
            right = [f"{cell:>{width}}" for cell, width in zip(cells, widths[2:], strict=True)]
            text.append("  ".join([f"{operation:<{widths[0]}}", f"{layer:<{widths[1]}}", *right]))
        return "\n".join(text)

    def _repr_html_(self) -> str:
        return lines_of_text(str(self))


@contextmanager
def profile() -> Iterator[Profile]:
    """Within the block, measure every operation of this thread: calls, time, bytes of the results, and page faults.

    Times are of the wall clock, and an operation's own: those that it calls are in their own rows. The time of a gradient
    rule is in the row of the operation that it belongs to. On a GPU every event waits for the device, so that a row has the
    time of its kernels; what they would have overlapped with is not seen. Results stay the same, bit for bit.

    Example:
        >>> from tinyae import Tensor, ops
        >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> with profile() as measured:
        ...     ops.exp(x).sum().backward()
        >>> sorted((row.operation, row.forward_calls, row.forward_bytes, row.backward_calls) for row in measured.rows)
        [('exp', 1, 16, 1), ('sum', 1, 4, 1)]
    """
    measured = Profile()
    with set_observers(measured, *observers()):  # first, so that the others are not in its times
        measured._charge(measured.overhead)
        try:
            yield measured
        finally:
            measured._charge()


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0
