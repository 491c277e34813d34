"""Cross-entropies, in nats: Bernoulli from logits and from probabilities, and categorical from logits.

From logits is the form to train with. A probability is rounded to 0 or 1 long before its logit overflows, and then
the logarithm is infinite and the gradient gone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor, primitive
from tinyae.backend import Array, backend_of
from tinyae.losses.reduction import check_shapes, reduce, scale


def bce_with_logits_composed(logits: Any, targets: Any, *, reduction: str = "per_sample") -> Any:
    """softplus(z) - t z, reduced: the definition of `bce_with_logits` in primitives."""
    return reduce(ops.softplus(logits) - targets * logits, reduction)


@primitive(composed=bce_with_logits_composed)
def bce_with_logits(logits: Any, targets: Any, *, reduction: str = "per_sample") -> Any:
    """Bernoulli cross-entropy -t log p - (1 - t) log(1 - p) with p = sigmoid(z), from the logits z.   dL/dz = p - t

    Written as softplus(z) - t z, which is exact for every z. Targets t in [0, 1] of the logits' shape (N, ...); dL/dt
    = -z.
    Unit: nats per sample. With grey-level targets the minimum over p is not 0 but the entropy of t.
    """
    check_shapes("bce_with_logits", logits, targets)
    backend = backend_of(logits)
    elements = backend.softplus(logits)
    elements -= targets * logits
    if reduction == "none":
        return elements, None
    return elements.sum() * scale(logits.shape, reduction), None


@bce_with_logits.fused_vjp
def _(
    g: Array,
    out: Array,
    residuals: None,
    wanted: list[int],
    logits: Array,
    targets: Array,
    reduction: str = "per_sample",
) -> tuple:
    if reduction != "none":
        g = g * scale(logits.shape, reduction)
    slope = None
    if 0 in wanted:
        slope = backend_of(logits).sigmoid(logits)
        slope -= targets
        slope *= g
    return slope, -logits * g if 1 in wanted else None


def bce(probabilities: Any, targets: Any, *, reduction: str = "per_sample", eps: float = 1e-7) -> Any:
    """Bernoulli cross-entropy -t log p - (1 - t) log(1 - p) from probabilities p in [0, 1].   dL/dp = (p - t) / (p (1
    - p))

    p is clipped to [eps, 1 - eps], so the loss of one element is at most -log(eps) (16.1 nats) and its gradient is 0
    beyond. If you have logits, use `bce_with_logits`: it needs no clipping. Unit: nats per sample.
    """
    check_shapes("bce", probabilities, targets)
    if not 0.0 < eps < 0.5:
        raise ValueError(f"bce: eps must lie between 0 and 0.5, got {eps!r}: 1e-7 keeps p off 0 and 1.")
    p = ops.clip(probabilities, low=eps, high=1.0 - eps)
    return reduce(-(targets * ops.log(p) + (1.0 - targets) * ops.log(1.0 - p)), reduction)


def softmax_cross_entropy(logits: Any, targets: Any, *, reduction: str = "per_sample") -> Any:
    """Categorical cross-entropy -log softmax(z)[t] from logits z (N, K).   dL/dz = softmax(z) - onehot(t)

    Targets: class numbers (N,) from 0 to K - 1 of integer dtype, or probabilities (N, K); an array, a Tensor or a list.
    The range of class numbers is checked on the host only: on a device that would wait. Unit: nats per sample.
    """
    targets = np.asarray(targets) if isinstance(targets, (list, tuple)) else targets
    if logits.ndim != 2:
        raise ValueError(f"softmax_cross_entropy: logits must be (N, K), got shape {logits.shape}.")
    n = len(logits)
    logp = ops.log_softmax(logits, axis=1)
    if targets.dtype.kind in "iu":
        if targets.shape != (n,):
            raise ValueError(f"softmax_cross_entropy: class numbers must have shape ({n},), got {targets.shape}.")
        numbers = targets.data if isinstance(targets, Tensor) else targets
        _check_classes(numbers, logits.shape[1])
        losses = -ops.getitem(logp, index=(backend_of(numbers).xp.arange(n), numbers))
    else:
        check_shapes("softmax_cross_entropy", logits, targets)
        losses = -ops.sum(targets * logp, axis=1)
    return reduce(losses, "mean" if reduction == "per_sample" else reduction)


def _check_classes(numbers: Any, classes: int) -> None:
    """Raise ValueError for class numbers on the host outside 0 ... classes - 1: -1 would silently mean the last one."""
    if isinstance(numbers, np.ndarray) and numbers.size and not (numbers.min() >= 0 and numbers.max() < classes):
        raise ValueError(
            f"softmax_cross_entropy: class numbers must lie in 0 ... {classes - 1}, got {numbers.min()} to "
            f"{numbers.max()}: count classes from 0, or give logits for more of them."
        )
