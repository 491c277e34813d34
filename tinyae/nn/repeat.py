"""Between vectors and sequences: one vector at every step, one layer at every step."""

from __future__ import annotations

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.nn.checks import check_floats, check_size
from tinyae.nn.module import Module


class RepeatVector(Module):
    """x (N, K) at each of `steps` steps, (N, T, K).   dL/dx is the sum over the steps.

    Args:
        steps: T.
    """

    def __init__(self, steps: int) -> None:
        self.steps = check_size("RepeatVector", "steps", steps)

    def forward(self, x: Tensor) -> Tensor:
        """x repeated; raises unless x is (N, K)."""
        check_floats(self, x)
        if x.ndim != 2:
            raise ValueError(
                f"{self}: the input must be vectors (N, K), got shape {x.shape}: put nn.Flatten() before it."
            )
        n, k = x.shape
        return ops.expand(ops.reshape(x, shape=(n, 1, k)), shape=(n, self.steps, k))

    def extra_repr(self) -> str:
        """T."""
        return f"{self.steps}"


class TimeDistributed(Module):
    """One module applied to every step by itself: (N, T, ...) becomes (N T, ...) and back.

    Args:
        module: takes a batch of steps; all steps share its parameters, and their gradients add up.
    """

    def __init__(self, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"TimeDistributed: needs a Module, got {type(module).__name__}: write nn.Dense(8, 2), say.")
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """The module's outputs (N, T, ...); raises unless x has an axis of steps."""
        check_floats(self, x)
        if x.ndim < 3:
            raise ValueError(f"{self}: the input must be sequences (N, T, ...), got shape {x.shape}.")
        n, steps = x.shape[:2]
        y = self.module(ops.reshape(x, shape=(n * steps, *x.shape[2:])))
        return ops.reshape(y, shape=(n, steps, *y.shape[1:]))
