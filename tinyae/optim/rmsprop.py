"""RMSprop: Adagrad with a memory that fades."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from tinyae.autodiff import Tensor
from tinyae.backend import Array
from tinyae.optim.optimizer import Optimizer, number


class RMSprop(Optimizer):
    """square <- alpha * square + (1 - alpha) * grad^2,  param <- param - lr * grad / (sqrt(square) + eps).

    Hinton, Neural Networks for Machine Learning (2012), lecture 6e, where alpha is 0.9; 0.99 is PyTorch's
    default and ours.

    Args:
        tensors: the leaves to train.
        lr: learning rate, above 0.
        alpha: how much of the running mean square is kept from step to step, at least 0, below 1.
        eps: keeps the quotient finite, above 0.
    """

    numbers: ClassVar[tuple[str, ...]] = ("lr", "alpha", "eps")

    def __init__(self, tensors: Iterable[Tensor], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8) -> None:
        self.check(lr=lr, alpha=alpha, eps=eps)
        super().__init__(tensors, lr)
        self.alpha = float(alpha)
        self.eps = float(eps)
        self.buffers["square"] = self.flat.new_buffer()

    def check(self, **values: Any) -> None:
        """Raise ValueError unless the numbers are in range."""
        super().check(**values)
        number("alpha", values["alpha"], at_least=0.0, below=1.0)
        number("eps", values["eps"], above=0.0)

    def update(self, param: Array, grad: Array) -> None:
        """One step on the flat buffers."""
        square = self.buffers["square"]
        square *= self.alpha
        square += (1.0 - self.alpha) * grad * grad
        param -= self.lr * grad / (self.flat.backend.xp.sqrt(square) + self.eps)
