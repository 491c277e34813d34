"""L-BFGS: a full-batch quasi-Newton method, which estimates curvature from previous steps. SciPy implements it.

For a small model and all of its data, it needs far fewer passes than a gradient method and has no learning rate: a line
search chooses every step length. The search evaluates the loss repeatedly, so `step` takes a closure.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinyae.autodiff import Tensor, observers
from tinyae.optim.optimizers import Optimizer

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult


@dataclass(frozen=True)
class LBFGSResult:
    """The outcome of a run of L-BFGS.

    Attributes:
        loss: the final loss.
        iterations: number of accepted steps.
        evaluations: number of calls of the closure.
        converged: True if a tolerance was met; False at `max_iterations`, or if the line search failed.
        message: SciPy's description.
    """

    loss: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


class LBFGS(Optimizer):
    """SciPy's L-BFGS-B (Byrd, Lu, Nocedal and Zhu 1995), without bounds, as an optimizer.

    SciPy computes in float64 on the CPU, whatever the dtype and device of the parameters.

    Args:
        tensors: the leaves to train.
        max_iterations: largest number of accepted steps in one `step(closure)`, at least 1.
        history: number of previous steps from which curvature is estimated, at least 1.
        gradient_tolerance: stop when no gradient element is larger in magnitude, at least 0.
        loss_tolerance: stop when a step reduces the loss by less than this fraction, at least 0.

    Attributes:
        result: the outcome of the last `step`, None before the first.

    Example:
            optimizer = LBFGS(model.parameters())
            final = optimizer.step(lambda: model.loss(images))
    """

    full_batch: ClassVar[bool] = True
    max_iterations: int
    history: int
    gradient_tolerance: float
    loss_tolerance: float

    def __init__(
        self,
        tensors: Iterable[Tensor],
        max_iterations: int = 400,
        history: int = 10,
        gradient_tolerance: float = 1e-5,
        loss_tolerance: float = 2.2e-9,
    ) -> None:
        super().__init__(
            tensors,
            max_iterations=max_iterations,
            history=history,
            gradient_tolerance=gradient_tolerance,
            loss_tolerance=loss_tolerance,
        )
        self.result: LBFGSResult | None = None

    def step(  # type: ignore[override]
        self,
        closure: Callable[[], Tensor] | None = None,
        callback: Callable[[int, float], None] | None = None,
    ) -> float:
        """Minimize the loss until a tolerance or `max_iterations` is reached; returns the final loss.

        Args:
            closure: returns the loss of all data, a Tensor of one number, and must be deterministic (no dropout or
                noise). Gradients are cleared and computed here.
            callback: called as `callback(iteration, loss)` after every accepted step, counted from 1. It may raise
                StopIteration to end the run.

        Raises:
            ValueError: a loss or gradient that is not finite, or a parameter without a gradient.
            TypeError: no closure, or one that does not return a loss.

        After an exception, including KeyboardInterrupt, the parameters are those of the last accepted step.
        """
        if closure is None:
            raise TypeError("L-BFGS evaluates the loss many times in a step: use step(lambda: model.loss(data)).")
        from scipy.optimize import minimize

        self.flat.check_views()
        accepted = self.flat.to_host(self.flat.data).astype(np.float64)
        iteration = 0

        def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
            self._assign(x)
            return self._loss_and_gradient(closure)

        def after_step(intermediate_result: OptimizeResult) -> None:
            nonlocal accepted, iteration
            accepted = np.array(intermediate_result.x)
            iteration += 1
            for observer in observers():
                observer.updated(type(self).__name__, None, None)
            if callback is not None:
                self._assign(accepted)  # not the point that was evaluated last
                callback(iteration, float(intermediate_result.fun))

        options = {
            "maxiter": self.max_iterations,
            "maxcor": self.history,
            "gtol": self.gradient_tolerance,
            "ftol": self.loss_tolerance,
            "maxfun": sys.maxsize,
        }
        try:
            found = minimize(evaluate, accepted, jac=True, method="L-BFGS-B", callback=after_step, options=options)
        except BaseException:
            self._assign(accepted)
            raise
        self._assign(found.x)
        self.steps += int(found.nit)
        self.result = LBFGSResult(
            float(found.fun), int(found.nit), int(found.nfev), bool(found.success), str(found.message)
        )
        return self.result.loss

    def _assign(self, x: np.ndarray) -> None:
        self.flat.from_host(x, self.flat.data)
        self.flat.bump_versions()

    def _loss_and_gradient(self, closure: Callable[[], Tensor]) -> tuple[float, np.ndarray]:
        self.zero_grad()
        loss = closure()
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"a Tensor of shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"the closure must return the loss, a Tensor of one number, got {got}.")
        value = float(loss.item())
        if math.isfinite(value):
            loss.backward()
            gradient = self.flat.to_host(self.flat.gather()).astype(np.float64)
            if np.isfinite(gradient).all():
                return value, gradient
        raise ValueError(
            f"L-BFGS found a loss or a gradient that is not finite (loss {value}) and restored the last good parameters: "
            "look for NaN or infinity in the data, start from smaller weights, or use Adam."
        )
