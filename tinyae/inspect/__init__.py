"""Inspecting computation graphs and backward passes, and checkerboard artifacts in images.

A loss refers to its whole computation: the nodes in the order of their creation. `graph(loss)` takes a snapshot of it
(numbers, names and shapes, no arrays), with the norm of the gradient at *every* node, not only at the leaves. `show(loss)`
prints it. Read the table downwards for the forward pass and upwards for the backward pass: the gradient of the last line is
1, and the gradient of each other line is the sum of the contributions from the lines below that use it. A norm that drops
from one line to another shows where a gradient vanishes; the first `nan` shows where it began.

Inspection has no side effects: no `.grad` is written, and `backward()` can still be called.

`step(loss)` makes a page that steps through the backward pass in a browser and shows every gradient as a sum of products.

`detect_anomaly` finds the first NaN or infinity of a training step, `profile` measures where its time goes, and
`checkerboard_score` the periodic pattern that the strides of a decoder leave in images.
"""

from tinyae.inspect.anomaly import AnomalyError, detect_anomaly
from tinyae.inspect.checkerboard import PeriodicPower, checkerboard_score
from tinyae.inspect.graphs import Constant, Graph, GraphNode, graph, show
from tinyae.inspect.pages import StepPage, step
from tinyae.inspect.profiles import Profile, ProfileRow, profile

__all__ = [
    "AnomalyError",
    "Constant",
    "Graph",
    "GraphNode",
    "PeriodicPower",
    "Profile",
    "ProfileRow",
    "StepPage",
    "checkerboard_score",
    "detect_anomaly",
    "graph",
    "profile",
    "show",
    "step",
]
