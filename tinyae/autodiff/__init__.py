"""The engine: Tensors, the tape, primitives, and the reverse sweep. There is no arithmetic in here.

Two chapters: `tape` is what is recorded while a result is computed (`Node`, `Tensor`, `Primitive`, and why the gradient of a
broadcast is a sum), and `reverse` walks it backward (`grad`, `backward`).
"""

from tinyae.autodiff.reverse import RuleError, backward, grad
from tinyae.autodiff.tape import (
    Node,
    Observer,
    Operand,
    Primitive,
    T,
    Tensor,
    adjoint_pair,
    constant,
    expand,
    no_grad,
    observers,
    primitive,
    set_observers,
    set_recording,
    sum_to,
)

Tensor.backward = backward  # type: ignore[assignment, method-assign]

__all__ = [
    "Node",
    "Observer",
    "Operand",
    "Primitive",
    "RuleError",
    "T",
    "Tensor",
    "adjoint_pair",
    "backward",
    "constant",
    "expand",
    "grad",
    "no_grad",
    "observers",
    "primitive",
    "set_observers",
    "set_recording",
    "sum_to",
]
