"""Looking at a graph and at a backward pass, with the tape itself as the only source; and at what a decoder draws.

A loss carries its whole history: the nodes behind it, in the order of their creation. `graph(loss)` takes a
plain snapshot of that history (numbers, names and shapes, no arrays), together with the gradient that one
reverse sweep brings to *every* node and not only to the leaves. `show(loss)` prints it. Read the table
downwards for the forward pass, upwards for the backward pass: the gradient of the last line is 1, and each line
above collects what the lines below that name it hand back. A norm that falls from one line to the next is a
vanishing gradient caught at the operation that does it; a `nan` has its first line.

Looking changes nothing: no `.grad` is written, and the graph stays ready for `backward()`.

`detect_anomaly` finds the first NaN or infinity of a training step. `checkerboard_score` looks at images for the pattern
that a decoder's strides leave in them.
"""

from tinyae.inspect.anomaly import AnomalyError, detect_anomaly
from tinyae.inspect.checkerboard import PeriodicPower, checkerboard_score
from tinyae.inspect.graphs import Constant, Graph, GraphNode, graph, show

__all__ = [
    "AnomalyError",
    "Constant",
    "Graph",
    "GraphNode",
    "PeriodicPower",
    "checkerboard_score",
    "detect_anomaly",
    "graph",
    "show",
]
