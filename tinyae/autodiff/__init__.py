"""The engine: Tensors, the tape, primitives, and the reverse sweep. There is no arithmetic in here.

Two chapters: `tape` is what is recorded while a result is computed (`Node`, `Tensor`, `Primitive`, and why the gradient of a
broadcast is a sum), and `reverse` walks it backward (`grad`, `backward`).
"""

from tinyae.autodiff.reverse import RuleError, backward, grad
from tinyae.autodiff.tape import (
    Node,
    Primitive,
    Tensor,
    Watch,
    adjoint_pair,
    ancestors,
    constant,
    current_watch,
    expand,
    no_grad,
    primitive,
    recorded,
    set_recording,
    sum_to,
    watches,
)

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
