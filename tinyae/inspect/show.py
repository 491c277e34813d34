"""`show`: print a graph. The function to reach for first."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tinyae.autodiff import Tensor
from tinyae.inspect.graph import Graph, Names, graph
from tinyae.inspect.table import LIMIT


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
