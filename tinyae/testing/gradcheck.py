"""`gradcheck`: the gradient rules against finite differences.

The function is turned into one number, phi = sum(c * fn(x, y, ...)), with a random weight c for each output.
All-ones weights would hide mistakes: sum(softmax(x)) is 1 whatever x is, so a rule that always returns zero
would pass. The slope of phi is then measured as (phi(x + h d) - phi(x - h d)) / 2h and compared with what the
rules say:

- a small input is moved one element at a time, which checks every single derivative;
- a large one is moved along one random direction d of length 1 in which no component is close to 0, so that a
  mistake in any element shows. If it does show, the direction is cut in halves until one element is left to
  report.

Order 2 applies the same check to the gradient itself, as a function of the inputs and of c.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, grad
from tinyae.backend import Array, backend_of
from tinyae.ops import concatenate, reshape

SMALL = 64
"""Inputs of up to this many elements are checked element by element."""


@dataclass(frozen=True)
class GradcheckReport:
    """The worst disagreement that a gradient check found.

    Attributes:
        passed: whether every comparison stayed within `rtol`.
        order: the order of derivative that the numbers below belong to.
        argument: position of the input; at order 2, a position after the last input is the weight c of the outputs.
        coordinate: index of the element in that input; None for a direction through all its elements.
        analytic: the derivative according to the rules.
        numeric: the derivative according to central differences.
        error: |analytic - numeric| relative to the larger of the two (or to what rounding allows to see).
        rtol: the error that was allowed.
        compared: how many derivatives were compared, all orders together.
    """

    passed: bool
    order: int
    argument: int
    coordinate: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    rtol: float
    compared: int

    def __str__(self) -> str:
        if not self.compared:
            return "gradcheck passed: the inputs have no elements, nothing was compared."
        place = "along a random direction" if self.coordinate is None else f"at coordinate {self.coordinate}"
        verdict = "passed" if self.passed else "failed"
        return (
            f"gradcheck {verdict}: order {self.order}, argument {self.argument}, {place}: "
            f"analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, relative error {self.error:.1e} "
            f"(allowed {self.rtol:.0e}; {self.compared} derivatives compared, this one is the worst)"
        )


class GradcheckError(AssertionError):
    """A gradient check failed; `report` holds the numbers."""

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(str(report))
        self.report = report


def gradcheck(
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    order: int = 1,
    seed: int = 0,
    rtol: float = 1e-6,
    eps: float = 1e-6,
    raise_on_failure: bool = True,
) -> GradcheckReport:
    """Compare the derivatives of `fn` with central differences, in float64.

    Args:
        fn: takes as many Tensors as there are inputs and returns one Tensor of any shape. It must be
            deterministic, and smooth near the inputs: stay away from kinks (relu at 0) by more than `eps`.
        inputs: arrays, numbers or Tensors. Floating-point ones are cast to float64 and checked; others (labels,
            masks) reach `fn` unchanged, as raw arrays.
        order: 1 checks the gradient; 2 also the gradient of the gradient, and so on.
        seed: of the random weights and directions.
        rtol: allowed relative error.
        eps: step of the differences, in the unit of the inputs.
        raise_on_failure: False returns the failing report instead of raising it.

    Raises:
        GradcheckError: a derivative differs; the message names argument, coordinate and both values.
        TypeError: `fn` returned something else than a float64 Tensor.
        ValueError: `fn` is not deterministic, or `order` is below 1.
    """
    if order < 1:
        raise ValueError(f"gradcheck: order must be 1 or more, got {order}.")
    rng = np.random.default_rng(seed)
    values = [x.data if isinstance(x, Tensor) else x for x in inputs]
    floating = [i for i, x in enumerate(values) if getattr(x, "dtype", np.asarray(x).dtype).kind == "f"]
    if not floating:
        raise TypeError("gradcheck: no input is floating-point, so nothing can be differentiated: pass a float array.")

    def checked(*moving: Any) -> Any:
        arguments = list(values)
        for i, x in zip(floating, moving, strict=True):
            arguments[i] = x
        return fn(*arguments)

    arrays = [backend_of(values[i]).xp.array(values[i], dtype="float64") for i in floating]
    worst = None
    compared = 0
    for level in range(1, order + 1):
        probe = _Probe(checked, arrays, rng, rtol, eps)
        for argument in range(len(arrays)):
            for coordinate, analytic, numeric, error in probe.compare(argument):
                compared += 1
                if worst is None or error > worst.error:
                    beyond = argument - len(floating)
                    position = floating[argument] if beyond < 0 else len(values) + beyond
                    numbers = (analytic, numeric, error, rtol)
                    worst = GradcheckReport(error <= rtol, level, position, coordinate, *numbers, compared=0)
        if worst is not None and not worst.passed:
            break
        checked, arrays = _gradient_function(checked, len(arrays)), [*arrays, probe.cotangent]
    worst = worst or GradcheckReport(True, order, 0, None, 0.0, 0.0, 0.0, rtol, 0)
    report = GradcheckReport(**{**vars(worst), "compared": compared})
    if raise_on_failure and not report.passed:
        raise GradcheckError(report)
    return report


class _Probe:
    """One function, weighted to a single number: its slopes by the rules and by central differences."""

    def __init__(
        self, fn: Callable[..., Any], arrays: list[Array], rng: np.random.Generator, rtol: float, eps: float
    ) -> None:
        self.fn, self.arrays, self.rng, self.rtol, self.eps = fn, arrays, rng, rtol, eps
        self.backend = backend_of(arrays[0])
        leaves = [Tensor(a, requires_grad=True) for a in arrays]
        out = fn(*leaves)
        if not isinstance(out, Tensor) or out.dtype != np.float64:
            got = f"a Tensor of dtype {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
            raise TypeError(
                f"gradcheck: fn must return a float64 Tensor, got {got}: convert parameters inside fn to float64 "
                "and leave out conversions to float32, which are too coarse for differences."
            )
        self.value = out.numpy()
        if not np.array_equal(self.value, fn(*leaves).numpy(), equal_nan=True):
            raise ValueError(
                "gradcheck: fn gave two values for the same inputs: make its generator inside fn, from a fixed seed."
            )
        self.weights = _bounded_signs(rng, self.value.shape)
        self.cotangent = self.backend.to_device(self.weights)
        if out.requires_grad:
            gradients = grad(out, leaves, self.cotangent, allow_unused=True)
            self.gradients = [g.numpy() for g in gradients]
        else:
            self.gradients = [np.zeros(a.shape) for a in arrays]

    def compare(self, argument: int) -> list[tuple[tuple[int, ...] | None, float, float, float]]:
        """(coordinate, analytic, numeric, error) for every direction in which this argument is moved."""
        shape = self.arrays[argument].shape
        if math.prod(shape) <= SMALL:
            return [self._along(argument, [i]) for i in range(math.prod(shape))]
        everything = list(range(math.prod(shape)))
        found = self._along(argument, everything)
        return [found if found[3] <= self.rtol else self._narrow(argument, everything)]

    def _narrow(self, argument: int, indices: list[int]) -> tuple[tuple[int, ...] | None, float, float, float]:
        """Halve a failing direction down to one element, keeping the half with the larger disagreement."""
        found = self._along(argument, indices)
        while len(indices) > 1:
            middle = len(indices) // 2
            halves = [(self._along(argument, part), part) for part in (indices[:middle], indices[middle:])]
            found, indices = max(halves, key=lambda half: abs(half[0][1] - half[0][2]))
        return found

    def _along(self, argument: int, indices: list[int]) -> tuple[tuple[int, ...] | None, float, float, float]:
        """Compare the slopes along one unit direction through the elements at the given flat indices."""
        shape = self.arrays[argument].shape
        direction = np.zeros(math.prod(shape))
        direction[indices] = 1.0 if len(indices) == 1 else _bounded_signs(self.rng, (len(indices),))
        direction = (direction / np.linalg.norm(direction)).reshape(shape)
        analytic = float(np.sum(self.gradients[argument] * direction))
        numeric = self._difference(argument, direction)
        error = abs(analytic - numeric) / max(abs(analytic), abs(numeric), self._noise(argument) / self.rtol)
        coordinate = tuple(int(i) for i in np.unravel_index(indices[0], shape)) if len(indices) == 1 else None
        return coordinate, analytic, numeric, error if math.isfinite(error) else math.inf

    def _difference(self, argument: int, direction: np.ndarray) -> float:
        """(phi(x + h d) - phi(x - h d)) / 2h."""
        x = self.backend.to_host(self.arrays[argument])
        ends = []
        for sign in (1.0, -1.0):
            moved = list(self.arrays)
            moved[argument] = self.backend.to_device(x + sign * self.eps * direction)
            ends.append(self.fn(*[Tensor(a, requires_grad=True) for a in moved]).numpy())
        return float(np.sum(self.weights * (ends[0] - ends[1])) / (2.0 * self.eps))

    def _noise(self, argument: int) -> float:
        """What rounding of the outputs and of the inputs can contribute to a difference quotient."""
        outputs = np.linalg.norm(self.weights * self.value)
        inputs = np.linalg.norm(self.backend.to_host(self.arrays[argument]) * self.gradients[argument])
        return float(8.0 * np.finfo(np.float64).eps * (1e-30 + outputs + inputs) / self.eps)


def _bounded_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of both signs, sizes 0.5 to 1: scaled to length 1, none is smaller than 0.5 / sqrt(n)."""
    return rng.choice([-1.0, 1.0], size=shape) * rng.uniform(0.5, 1.0, size=shape)


def _gradient_function(fn: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The gradient of sum(c * fn(*inputs)), all inputs in one vector, as a function of the inputs and of c."""

    def gradient(*arguments: Any) -> Any:
        inputs, cotangent = arguments[:count], arguments[count]
        gradients = grad(fn(*inputs), inputs, cotangent, create_graph=True, allow_unused=True)
        return concatenate(*[reshape(g, shape=(-1,)) for g in gradients])

    return gradient
