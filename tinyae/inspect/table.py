"""A graph as text: one line per node, oldest first.

Numbers with `#` are nodes, `c` marks constants; what stands in the column "from" is the argument list of the
operation, in order.
"""

from __future__ import annotations

from typing import Any

from tinyae.inspect.snapshot import Constant, GraphNode, Snapshot

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
