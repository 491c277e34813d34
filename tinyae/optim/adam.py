"""Adam and AdamW: running mean of the gradient, divided by the root of its running mean square.

Both run through the backend's fused `adam` kernel. The kernel wants the bias corrections of Algorithm 1
folded into two scalars: with c1 = 1 - beta1^t and c2 = 1 - beta2^t,

    lr * (mean / c1) / (sqrt(square / c2) + eps)  =  step * mean / (sqrt(square) + eps'),
    step = lr * sqrt(c2) / c1,   eps' = eps * sqrt(c2).

This is the algorithm itself and no approximation: the same update to the last rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from tinyae.autodiff import Tensor
from tinyae.backend import Array
from tinyae.optim.optimizer import Optimizer, number


class Adam(Optimizer):
    """param <- param - lr * mhat / (sqrt(vhat) + eps), mhat and vhat the running means of grad and grad^2.

    The means start at zero and are corrected for that bias. Kingma and Ba (2015), Algorithm 1.

    Args:
        tensors: the leaves to train.
        lr: learning rate, above 0: about the size of one step in each parameter.
        betas: how much of the running means (of the gradient, of its square) is kept from step to step, in
            [0, 1).
        eps: keeps the quotient finite, above 0.
        weight_decay: adds weight_decay * param to the gradient, at least 0. The moments see it; `AdamW`
            decays apart from them.
    """

    numbers: ClassVar[tuple[str, ...]] = ("lr", "beta1", "beta2", "eps", "weight_decay")

    def __init__(
        self,
        tensors: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise ValueError(f"betas must be a pair of numbers such as (0.9, 0.999), got {betas!r}.") from None
        self.check(lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)
        super().__init__(tensors, lr)
        self.beta1 = float(beta1)
        self.beta2 = float(beta2)
        self.eps = float(eps)
        self.weight_decay = float(weight_decay)
        self.buffers["mean"] = self.flat.new_buffer()
        self.buffers["square"] = self.flat.new_buffer()

    def check(self, **values: Any) -> None:
        """Raise ValueError unless the numbers are in range."""
        super().check(**values)
        number("beta1", values["beta1"], at_least=0.0, below=1.0)
        number("beta2", values["beta2"], at_least=0.0, below=1.0)
        number("eps", values["eps"], above=0.0)
        number("weight_decay", values["weight_decay"], at_least=0.0)

    def update(self, param: Array, grad: Array) -> None:
        """One step on the flat buffers."""
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        self._fused(param, grad, decay=0.0)

    def _fused(self, param: Array, grad: Array, decay: float) -> None:
        root = math.sqrt(1.0 - self.beta2**self.steps)
        self.flat.backend.adam(
            param,
            grad,
            self.buffers["mean"],
            self.buffers["square"],
            step=self.lr * root / (1.0 - self.beta1**self.steps),
            beta1=self.beta1,
            beta2=self.beta2,
            eps=self.eps * root,
            decay=decay,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: each step also shrinks param by the factor 1 - lr * weight_decay.

    Loshchilov and Hutter (2019), Algorithm 2, with the schedule multiplier folded into `lr` as PyTorch does.

    Args:
        tensors: the leaves to train.
        lr, betas, eps: as in `Adam`.
        weight_decay: the decay, in units of the learning rate, at least 0.
    """

    def __init__(
        self,
        tensors: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(tensors, lr, betas, eps, weight_decay)

    def update(self, param: Array, grad: Array) -> None:
        """One step on the flat buffers."""
        self._fused(param, grad, decay=self.lr * self.weight_decay)
