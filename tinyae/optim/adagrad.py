"""Adagrad: a learning rate of its own for every parameter, which only ever shrinks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from tinyae.autodiff import Tensor
from tinyae.backend import Array
from tinyae.optim.optimizer import Optimizer, number


class Adagrad(Optimizer):
    """total <- total + grad^2,  param <- param - lr * grad / (sqrt(total) + eps).

    Duchi, Hazan and Singer (2011), diagonal form. Parameters that rarely see a gradient keep large steps.

    Args:
        tensors: the leaves to train.
        lr: learning rate, above 0; 0.01 as in PyTorch.
        eps: keeps the quotient finite where no gradient came yet, above 0.
    """

    numbers: ClassVar[tuple[str, ...]] = ("lr", "eps")

    def __init__(self, tensors: Iterable[Tensor], lr: float = 1e-2, eps: float = 1e-10) -> None:
        self.check(lr=lr, eps=eps)
        super().__init__(tensors, lr)
        self.eps = float(eps)
        self.buffers["total"] = self.flat.new_buffer()

    def check(self, **values: Any) -> None:
        """Raise ValueError unless the numbers are in range."""
        super().check(**values)
        number("eps", values["eps"], above=0.0)

    def update(self, param: Array, grad: Array) -> None:
        """One step on the flat buffers."""
        total = self.buffers["total"]
        total += grad * grad
        param -= self.lr * grad / (self.flat.backend.xp.sqrt(total) + self.eps)
