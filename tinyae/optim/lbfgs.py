"""L-BFGS: a full-batch quasi-Newton method, which estimates curvature from previous steps.

For a small model and all of its data, it needs far fewer passes than a gradient method and has no learning rate: a line
search chooses every step length. The search evaluates the loss repeatedly, so `step` takes a closure. Algorithms and equations
have their numbers in Nocedal and Wright, Numerical Optimization (second edition, 2006).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from tinyae.autodiff import Tensor, observers
from tinyae.backend import Array
from tinyae.optim.optimizers import Optimizer

DECREASE, CURVATURE = 1e-4, 0.9
"""c1 and c2 of the Wolfe conditions: what Nocedal and Wright suggest for quasi-Newton methods."""

TRIALS = 20
"""Largest number of step lengths tried in one line search."""

_QUIET = np.errstate(over="ignore", invalid="ignore", divide="ignore")  # a number that is not finite is noticed here


@_QUIET
def two_loop(gradient: Array, pairs: Sequence[tuple[Array, Array]]) -> Array:
    """H g: the gradient (L,) times an estimate H of the inverse Hessian, which is never formed (Algorithm 7.4).

    H begins as a multiple of I (7.20), and every pair (s, y), oldest first, updates it (7.16):

        H = (s.y / y.y) I of the latest pair;   H <- V^T H V + rho s s^T,   V = I - rho y s^T,   rho = 1 / y.s

    s (L,) is the change of the parameters in a previous step, and y (L,) that of the gradient. Without pairs, H = I.
    """
    q, alphas = gradient, []
    for s, y in reversed(pairs):
        alpha = (s @ q) / (s @ y)
        q = q - alpha * y
        alphas.append(alpha)
    if pairs:
        s, y = pairs[-1]
        q = (s @ y) / (y @ y) * q
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        beta = (y @ q) / (s @ y)
        q = q + (alpha - beta) * s
    return q


class Trial(NamedTuple):
    """A point x + step d on a line: phi(step) = f(x + step d), phi'(step) = g.d, and the gradient g (L,) there."""

    step: float
    loss: float
    slope: float
    gradient: Array


def line_search(evaluate: Callable[[float], Trial], start: Trial, rounding: float = 0.0) -> Trial | None:
    """A step that meets the strong Wolfe conditions (3.7), by bracketing and zooming (Algorithms 3.5 and 3.6).

        phi(step) <= phi(0) + c1 step phi'(0),   |phi'(step)| <= c2 |phi'(0)|,   c1 = 1e-4,   c2 = 0.9

    `low` is the lowest trial that meets the first condition. The loss falls from it toward `high`, so that a step between
    the two meets both; until there is a `high`, the steps grow: 1, 4, 16, ...

    Args:
        evaluate: the trial of a step; a loss of NaN means that the step is too long.
        start: the trial of step 0, with a negative slope.
        rounding: the error of a loss, which the first condition allows for.

    Returns:
        The trial that meets both conditions, or `low` after `TRIALS` trials, because at a kink none may meet the second;
        None if `low` is not below the start. It was evaluated last.
    """
    low, high, step = start, None, 1.0
    for count in range(TRIALS):
        trial = evaluate(step)
        if not trial.loss <= min(start.loss + DECREASE * step * start.slope, low.loss) + rounding:
            high = trial
        elif abs(trial.slope) <= -CURVATURE * start.slope and (trial.loss < start.loss or trial.slope >= 0.0):
            return trial  # a step that only rounding hides from being lower, and that still descends, is too short
        else:
            if trial.slope * (high.step - low.step if high else 1.0) >= 0.0:
                high = low
            low = trial
        if high is None:
            step *= 4.0
        else:  # one trial in three bisects, because the cubic alone may shrink the interval slowly
            share = 0.5 if count % 3 == 2 else cubic_minimizer(low, high)
            step = low.step + share * (high.step - low.step)
    return evaluate(low.step) if low.loss < start.loss else None


def cubic_minimizer(low: Trial, high: Trial) -> float:
    """Where the cubic with the losses and slopes of two trials is lowest, as a share of the way from low to high (3.59).

    At least 0.1 and at most 0.9, so that the interval shrinks; 0.5 if there is no such cubic.
    """
    width = high.step - low.step
    a, b = low.slope * width, high.slope * width
    d1 = a + b - 3.0 * (high.loss - low.loss)
    square = d1 * d1 - a * b
    d2 = math.sqrt(square) if 0.0 <= square < math.inf else math.nan
    divisor = b - a + 2.0 * d2
    return min(max(1.0 - (b + d2 - d1) / divisor, 0.1), 0.9) if divisor > 0.0 else 0.5


@dataclass(frozen=True)
class LBFGSResult:
    """The outcome of a run of L-BFGS.

    Attributes:
        loss: the final loss.
        iterations: number of accepted steps.
        evaluations: number of calls of the closure.
        converged: True if a tolerance was met, or if the loss cannot fall by more than its rounding error.
        message: why the run ended.
    """

    loss: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


class LBFGS(Optimizer):
    """param <- param - step * H grad, with H by `two_loop` and the step by `line_search` (Algorithm 7.5).

    The first direction is -grad, scaled to length 1. So is one after a search that failed, and the pairs are dropped then.
    The parameters are the rounded `point`: everything here is computed in float64, on their device, whatever their dtype.

    Args:
        tensors: the leaves to train.
        max_iterations: largest number of accepted steps in one `step(closure)`, at least 1.
        history: number of previous steps from which curvature is estimated, at least 1.
        gradient_tolerance: stop when no gradient element is larger in magnitude, at least 0.
        loss_tolerance: stop when a step reduces the loss by less than this fraction, at least 0: as in SciPy, when
            before - after <= loss_tolerance * max(|before|, |after|, 1).

    Attributes:
        result: the outcome of the last `step`, None before the first.
        point: (L,), in float64.
        pairs: (s, y) of the latest steps, oldest first, at most `history`.

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
        self.point: Array = self.flat.data.astype(np.float64)
        self.pairs: list[tuple[Array, Array]] = []

    def step(  # type: ignore[override]
        self,
        closure: Callable[[], Tensor] | None = None,
        callback: Callable[[int, float], None] | None = None,
    ) -> float:
        """Minimize the loss until a tolerance or `max_iterations` is reached; returns the final loss.

        Unless the parameters were changed since the last call, the run continues it: k iterations and m more equal k + m.

        Args:
            closure: returns the loss of all data, a Tensor of one number, and must be deterministic (no dropout or
                noise). Gradients are cleared and computed here.
            callback: called as `callback(iteration, loss)` after every accepted step, counted from 1; the closure was last
                called with the accepted parameters. It may raise StopIteration to end the run.

        Raises:
            ValueError: a loss or gradient that is not finite, or a parameter without a gradient.
            TypeError: no closure, or one that does not return a loss.

        After an exception, including KeyboardInterrupt, the parameters are those of the last accepted step.
        """
        if closure is None:
            raise TypeError("L-BFGS evaluates the loss many times in a step: use step(lambda: model.loss(data)).")
        self.flat.check_views()
        if not bool((self.point.astype(self.flat.data.dtype) == self.flat.data).all()):
            self.point, self.pairs = self.flat.data.astype(np.float64), []
        try:
            self.result = self._minimize(closure, callback or (lambda iteration, loss: None))
        finally:
            self._assign(self.point)
        return self.result.loss

    def _minimize(self, closure: Callable[[], Tensor], callback: Callable[[int, float], None]) -> LBFGSResult:
        xp, epsilon = self.flat.backend.xp, float(np.finfo(self.flat.data.dtype).eps)
        iterations = evaluations = 0
        direction = xp.zeros_like(self.point)

        @_QUIET
        def evaluate(step: float) -> Trial:
            nonlocal evaluations
            evaluations += 1
            self._assign(self.point + step * direction)
            loss, gradient = self._loss_and_gradient(closure)
            slope = float(gradient @ direction)  # not finite if an element of the gradient is not
            if step == 0.0 and not math.isfinite(loss + slope):
                raise ValueError(
                    f"L-BFGS found a loss or a gradient that is not finite (loss {loss}) and restored the last good "
                    "parameters: look for NaN or infinity in the data, start from smaller weights, or use Adam."
                )
            return Trial(step, loss if math.isfinite(loss + slope) else math.nan, slope, gradient)

        def ended(converged: bool, message: str) -> LBFGSResult:
            return LBFGSResult(here.loss, iterations, evaluations, converged, message)

        here = evaluate(0.0)
        while True:
            largest = float(abs(here.gradient).max())
            if largest <= self.gradient_tolerance:
                return ended(True, f"converged: no gradient element is larger than {self.gradient_tolerance:g}")
            if iterations == self.max_iterations:
                return ended(False, f"ended after max_iterations = {iterations}")
            if self.pairs:
                direction = -two_loop(here.gradient, self.pairs)
            else:
                direction = here.gradient / -largest  # its squares do not overflow
                direction /= xp.sqrt(direction @ direction)
            here = here._replace(step=0.0, slope=float(here.gradient @ direction))
            found = line_search(evaluate, here, epsilon * abs(here.loss)) if here.slope < 0.0 else None
            if found is None:
                if not self.pairs:
                    return ended(False, "ended because no step along the negative gradient reduces the loss")
                self.pairs, direction = [], xp.zeros_like(direction)
                here = evaluate(0.0)
                continue
            if found.loss >= here.loss:
                return ended(True, "converged: no step reduces the loss by more than its rounding error")
            s, y = found.step * direction, found.gradient - here.gradient
            if found.slope - here.slope > -epsilon * here.slope:  # y.s > 0, up to rounding: positive curvature
                self.pairs = [*self.pairs, (s, y)][-self.history :]
            before, here, self.point = here.loss, found, self.point + s
            iterations, self.steps = iterations + 1, self.steps + 1
            for observer in observers():
                observer.updated(type(self).__name__, None, None)
            try:
                callback(iterations, here.loss)
            except StopIteration:
                return ended(False, "ended by the callback")
            if before - here.loss <= self.loss_tolerance * max(abs(before), abs(here.loss), 1.0):
                return ended(True, f"converged: a step reduced the loss by a fraction below {self.loss_tolerance:g}")

    def _assign(self, x: Array) -> None:
        self.flat.backend.xp.copyto(self.flat.data, x)
        self.flat.bump_versions()

    def _loss_and_gradient(self, closure: Callable[[], Tensor]) -> tuple[float, Array]:
        self.zero_grad()
        loss = closure()
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"a Tensor of shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"the closure must return the loss, a Tensor of one number, got {got}.")
        loss.backward()
        return float(loss.item()), self.flat.gather().astype(np.float64)

    def state_dict(self) -> dict[str, object]:
        """Everything needed to continue exactly: the numbers, `point` (size,), and `pairs` (count, 2, size)."""
        pairs = np.array([[self.flat.to_host(change) for change in pair] for pair in self.pairs])
        more = {"point": self.flat.to_host(self.point), "pairs": pairs.reshape(-1, 2, self.flat.size)}
        return super().state_dict() | more

    def _check(self, state: Mapping[str, object]) -> None:
        super()._check(state)
        point, pairs = (np.asarray(state[name]).shape for name in ("point", "pairs"))
        if point != (self.flat.size,) or len(pairs) != 3 or pairs[1:] != (2, *point):
            raise ValueError(
                f"the saved point and pairs of LBFGS have shapes {point} and {pairs}, these parameters need "
                f"({self.flat.size},) and (count, 2, {self.flat.size}): load it for the model it was saved with."
            )

    def _take(self, state: Mapping[str, object]) -> None:
        super()._take(state)

        def padded(values: np.ndarray) -> Array:
            buffer = self.flat.backend.xp.zeros_like(self.point)
            self.flat.from_host(values, buffer)
            return buffer

        self.point = padded(np.asarray(state["point"]))
        self.pairs = [(padded(s), padded(y)) for s, y in np.asarray(state["pairs"])]
