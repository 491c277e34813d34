"""The engine: Tensors, the tape, primitives, and the reverse sweep. There is no arithmetic in here.

Read in this order: `node` (what is recorded), `tensor` (what users hold), `primitive` (a function and its gradient
rules), `broadcasting` (why a broadcast's gradient is a sum), `backward` (the sweep).
"""

from tinyae.autodiff.backward import RuleError, backward, grad
from tinyae.autodiff.broadcasting import expand, sum_to
from tinyae.autodiff.node import Node, Watch, ancestors, current_watch, no_grad, set_recording, watches
from tinyae.autodiff.primitive import Primitive, adjoint_pair, primitive
from tinyae.autodiff.tensor import Tensor, constant, recorded

Tensor.backward = backward  # type: ignore[assignment, method-assign]

__all__ = [
    "Node",
    "Primitive",
    "RuleError",
    "Tensor",
    "Watch",
    "adjoint_pair",
    "ancestors",
    "backward",
    "constant",
    "current_watch",
    "expand",
    "grad",
    "no_grad",
    "primitive",
    "recorded",
    "set_recording",
    "sum_to",
    "watches",
]
