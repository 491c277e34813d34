"""Gradient clipping: a step too long is shortened, its direction kept."""

from __future__ import annotations

from collections.abc import Iterable

from tinyae.autodiff import Tensor, constant
from tinyae.backend import backend_of, check_same_device
from tinyae.optim.flat import unique
from tinyae.optim.optimizer import number


def clip_grad_norm(tensors: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale the gradients of all tensors together so that their joint Euclidean norm is at most `max_norm`.

    Each gradient is multiplied by min(1, max_norm / (norm + 1e-6)) (Pascanu, Mikolov and Bengio 2013;
    PyTorch's form). Call it between `backward()` and `step()`. Tensors without a gradient are passed over,
    one given twice counts once. A scaled gradient is a fresh array, or the optimizer's own buffer; an array
    that someone else may hold is never written to. The factor is computed on the device, so nothing waits. A
    norm that is not finite gives gradients that are not.

    Args:
        tensors: the leaves, e.g. `model.parameters()`.
        max_norm: the largest norm allowed, above 0.

    Returns:
        The norm before clipping, a 0-d Tensor on the device.

    Raises:
        ValueError: no tensor has a gradient, or `max_norm` is no finite number above 0.
        MixedDevicesError: gradients on two devices.
    """
    limit = number("max_norm", max_norm, above=0.0)
    leaves = [(tensor, tensor.grad._data) for tensor in unique(tensors) if tensor.grad is not None]
    if not leaves:
        raise ValueError(
            "none of these tensors has a gradient: call clip_grad_norm after backward() and before step()."
        )
    check_same_device("clip_grad_norm", [grad for _, grad in leaves])
    xp = backend_of(leaves[0][1]).xp
    norm = xp.sqrt(sum(xp.dot(grad.reshape(-1), grad.reshape(-1)) for _, grad in leaves))
    factor = xp.minimum(limit / (norm + 1e-6), 1.0)
    for tensor, grad in leaves:
        if grad is not tensor._buffer:
            tensor.grad = constant((grad * factor).astype(grad.dtype, copy=False))
    for tensor, grad in leaves:  # only now: a gradient assigned to a second leaf was still to be read above
        if grad is tensor._buffer:
            xp.multiply(grad, factor, out=grad)
    return constant(norm)
