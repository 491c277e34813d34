"""Stochastic gradient descent, with momentum on request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from tinyae.autodiff import Tensor
from tinyae.backend import Array
from tinyae.optim.optimizer import Optimizer, number


class SGD(Optimizer):
    """param <- param - lr * velocity,  velocity <- momentum * velocity + grad.

    Momentum is Polyak's heavy ball (1964). `nesterov` looks one step ahead (Sutskever et al. 2013): the step
    is along grad + momentum * velocity. As in PyTorch, the learning rate multiplies the velocity and not the
    gradient, so that a change of `lr` acts at once.

    Args:
        tensors: the leaves to train.
        lr: learning rate, above 0.
        momentum: share of the velocity kept from step to step, at least 0, below 1.
        nesterov: use the look-ahead form; needs momentum above 0.
        weight_decay: adds weight_decay * param to the gradient (the penalty weight_decay / 2 * ||param||^2),
            at least 0.
    """

    numbers: ClassVar[tuple[str, ...]] = ("lr", "momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        tensors: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.check(lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
        super().__init__(tensors, lr)
        self.momentum = float(momentum)
        self.nesterov = bool(nesterov)
        self.weight_decay = float(weight_decay)
        if self.momentum:
            self.buffers["velocity"] = self.flat.new_buffer()

    def check(self, **values: Any) -> None:
        """Raise ValueError unless the numbers are in range."""
        super().check(**values)
        number("momentum", values["momentum"], at_least=0.0, below=1.0)
        number("weight_decay", values["weight_decay"], at_least=0.0)
        if values["nesterov"] and not values["momentum"]:
            raise ValueError("nesterov=True needs momentum above 0: pass e.g. momentum=0.9.")

    def update(self, param: Array, grad: Array) -> None:
        """One step on the flat buffers."""
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        if self.momentum:
            velocity = self.buffers["velocity"]
            velocity *= self.momentum
            velocity += grad
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        param -= self.lr * grad
