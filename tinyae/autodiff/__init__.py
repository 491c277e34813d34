"""The automatic differentiation engine: Tensors, the tape, primitives and the reverse sweep.

`tape` records operations as they are computed (`Node`, `Tensor`, `Primitive`); `reverse` walks the record backward
(`grad`, `backward`). The operations themselves, from addition to convolution, are defined in `tinyae.ops`.
"""

from tinyae.autodiff.reverse import RuleError, backward, cast, grad
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
    "cast",
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
