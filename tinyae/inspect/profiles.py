"""`profile`: time, memory and page faults of every operation in every layer, forward and backward.

Each moment of a block is in one row: of the operation or gradient rule that runs, of everything else, or of the measuring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from time import perf_counter
from typing import Any

from tinyae.autodiff import Node, Observer, observers, set_observers
from tinyae.backend import CPU, Array, Backend, backend_of
from tinyae.checks import check_kind
from tinyae.inspect.anomaly import LayerWatch
from tinyae.nn import Module
from tinyae.notebook import lines_of_text

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SHOWN = 16  # rows of the printed table; the others are summed in one line


@dataclass
class ProfileRow:
    """What one operation cost in one layer, forward or backward."""

    operation: str  # name of the primitive
    layer: str  # innermost layer that called it, as in an `AnomalyError`; empty outside layers, or if unknown
    phase: str  # "forward", or "backward" for the gradient rules
    calls: int = 0  # results computed, or results whose rules ran
    seconds: float = 0.0  # wall-clock time, without the operations that a rule records (`create_graph=True`)
    bytes: int = 0  # size of the results, or of the gradients; a view counts in full
    page_faults: int = 0  # minor ones of the process, as when new memory is first used; 0 on Windows


class Profile(LayerWatch):
    """What a `profile` block measured; `print` it, in the block or after it."""

    def __init__(self, model: Module | None) -> None:
        super().__init__()
        self.layers = [] if model is None else [(model, type(model).__name__)]
        self.other = ProfileRow("(no operation)", "optimizer, data, Python", "")  # what is in no row
        self.overhead = ProfileRow("(profile)", "", "")  # the measuring itself, which is in no share
        self._rows: dict[tuple[str, str, str], ProfileRow] = {}
        self._backend: Backend = CPU  # of the last result
        self._last = perf_counter(), _page_faults()

    @property
    def rows(self) -> list[ProfileRow]:
        """One row for each operation, layer and phase, the most expensive first."""
        return sorted(self._rows.values(), key=lambda row: -row.seconds)

    def starts(self, what: object) -> None:
        """From now on an operation or the rules of a node run."""
        self.charge()
        if isinstance(what, Node):
            self._backend = backend_of(what.out)
            self._backward(what).calls += 1
        self.charge(self.overhead)

    def result(self, name: str, args: Sequence[Any], out: Array, node: Node | None) -> None:
        """An operation has a result."""
        self._backend = backend_of(out)
        row = self._row(name, self._backward(self.rules[-1]).layer if self.rules else self.layer or "", "forward")
        self.charge(row, out)
        row.calls += 1
        if node is not None:
            self.origins[node.serial] = row.layer
        self.charge(self.overhead)

    def gradient(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        """A rule has a result."""
        self.charge(self._backward(node), getattr(c, "_data", c))
        self.charge(self.overhead)

    def charge(self, row: ProfileRow | None = None, made: Array | None = None) -> None:
        """Add what was used since the last event to a row (default: the rule on Tensors that is running, or `other`)."""
        row = row or (self._backward(self.rules[-1]) if self.rules else self.other)
        self._backend.synchronize()
        (since, before), self._last = self._last, (perf_counter(), _page_faults())
        row.seconds += self._last[0] - since
        row.page_faults += self._last[1] - before
        row.bytes += 0 if made is None else made.nbytes

    def _backward(self, node: Node) -> ProfileRow:
        return self._row(node.name, self.origins.get(node.serial, ""), "backward")

    def _row(self, operation: str, layer: str, phase: str) -> ProfileRow:
        return self._rows.setdefault((operation, layer, phase), ProfileRow(operation, layer, phase))

    def __str__(self) -> str:
        rows = self.rows
        whole = sum(row.seconds for row in [*rows, self.other]) or 1.0
        if rest := [astuple(row)[3:] for row in rows[SHOWN:]]:
            rows[SHOWN:] = [ProfileRow(f"and {len(rest)} more", "", "", *map(sum, zip(*rest, strict=True)))]
        lines = [("operation", "layer", "", "calls", "ms", "share", "MB", "page faults")]
        for row in [*rows, self.other]:
            spent = f"{1e3 * row.seconds:,.2f}", f"{row.seconds / whole:.1%}"
            memory = f"{row.bytes / 1e6:,.2f}", f"{row.page_faults:,}" if resource else "-"
            lines.append((row.operation, row.layer, row.phase, f"{row.calls:,}", *spent, *memory))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(f"{x:{a}{n}}" for x, a, n in zip(line, "<<<>>>>>", widths, strict=True)) for line in lines]
        return "\n".join([f"{1e3 * whole:,.1f} ms, and {1e3 * self.overhead.seconds:,.1f} ms for measuring", *text])

    def _repr_html_(self) -> str:
        return lines_of_text(str(self))


@contextmanager
def profile(model: Module | None = None) -> Iterator[Profile]:
    """Within the block, measure each operation of this thread: calls, time, bytes of the results, page faults.

    Layers are named from `model`; without one from the outermost layer called, and layers of one name then share a row. A
    gradient rule belongs to the layer that recorded the result. On a GPU every event waits for the device, so that a row
    has the time of its kernels; how they would overlap is not seen. Results do not change.
    """
    check_kind("profile: model", model, Module | None)
    measured, observer = Profile(model), Observer()
    vars(observer).update({name: getattr(measured, name) for name in ("starts", "result", "gradient", "during")})
    with set_observers(observer, *observers()):  # first, so that what the others do is in no row of an operation
        try:
            yield measured
        finally:
            measured.charge()


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0
