"""`expand` and `sum_to`: the one adjoint pair the engine itself needs.

Adding a (K,) bias to an (N, K) batch copies the bias N times. A copy read N times collects N gradients, so the
gradient of a broadcast is the sum over the broadcast axes; and the gradient of that sum is the broadcast again.
"""

from __future__ import annotations

from typing import Any

from tinyae.autodiff.primitive import adjoint_pair, primitive
from tinyae.backend import backend_of


@primitive
def expand(x: Any, *, shape: tuple[int, ...]) -> Any:
    """Broadcast x to `shape` by repeating axes of length 1 and adding leading ones.   Adjoint: `sum_to`."""
    return backend_of(x).xp.broadcast_to(x, shape)


@primitive
def sum_to(x: Any, *, shape: tuple[int, ...]) -> Any:
    """Sum x over the axes along which `shape` would be repeated to give x's shape.   Adjoint: `expand`."""
    lead = x.ndim - len(shape)
    stretched = tuple(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    axes = tuple(range(lead)) + stretched
    return x.sum(axis=axes, keepdims=True).reshape(shape) if axes else x.reshape(shape)


def _shape_of(x: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"shape": x.shape}


adjoint_pair(expand, sum_to, _shape_of)
