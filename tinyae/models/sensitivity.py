"""How much of the gradient arrives at each time step: what a recurrent network can learn from, and what it cannot.

The gradient walks back through time and is multiplied by a matrix at every step, so it tends to vanish or to explode
(Hochreiter 1991; Bengio, Simard and Frasconi 1994). Where it has vanished, nothing is learnt about that step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.autodiff import Tensor, grad
from tinyae.backend import backend_named
from tinyae.models.autoencoder import Autoencoder
from tinyae.nn import evaluating


def gradient_per_step(
    model: Autoencoder, x: npt.NDArray[Any], *, of: str = "loss", lengths: npt.NDArray[Any] | None = None
) -> npt.NDArray[np.float64]:
    """The size (T,) of the gradient that arrives at each step that the network sees of sequences x (N, T + F, D).

    of="loss": sqrt(mean over n of |dL_n / dx_t|^2), L_n the loss of sequence n, x_t being the input alone and not what
    it is compared with. of="code": the same of the code's numbers together, sqrt(mean of |d code_n / dx_t|_F^2), exact up to
    a random sign: the sum of squares is estimated by one random vector v of +-1, as E |v' J|^2 = |J|_F^2.
    `lengths` (N,): of sequences of unequal length; a step's mean is over those that have it. All in one batch.
    """
    if of not in ("loss", "code"):
        raise ValueError(f"of must be 'loss' or 'code', got {of!r}.")
    if x.ndim != 3 or not len(x):
        raise ValueError(f"gradients per step are those of sequences (N, T, D), got shape {x.shape}.")
    backend = backend_named(model.device)
    dtype = next(iter(model.parameters())).dtype
    inputs = model.inputs_for(x)
    given = Tensor(backend.to_device(inputs, dtype), requires_grad=True)
    known: dict[str, Any] = {} if lengths is None else {"lengths": lengths}
    ends = None if lengths is None else lengths - (x.shape[1] - inputs.shape[1])
    with evaluating(model):
        if of == "loss":
            # The loss is a mean over samples: times N it is the sum, whose gradient is each sample's own.
            target = Tensor(backend.to_device(x, dtype))
            total = model.loss(given, target, **known).total * float(len(x))
        else:
            code = model.encode(given, **({} if ends is None else {"lengths": ends}))
            signs = np.random.default_rng(0).integers(0, 2, code.shape) * 2.0 - 1.0
            total = (code * backend.to_device(signs, dtype)).sum()
        (slope,) = grad(total, [given])
    squares = np.square(backend.to_host(slope.data).astype(np.float64)).sum(axis=2)
    count = len(x) if ends is None else np.maximum((np.arange(inputs.shape[1]) < ends[:, None]).sum(axis=0), 1)
    norms: npt.NDArray[np.float64] = np.sqrt(squares.sum(axis=0) / count)
    return norms
