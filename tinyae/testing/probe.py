"""`Probe`: one function at one point, and two independent ways of asking for its slopes.

The function is turned into one number, phi = sum(c * fn(x, y, ...)), with a random weight c for each output. The rules
give the gradient of phi at once; a measurement gives its slope along one direction d of length 1, by

    central differences   (phi(x + h d) - phi(x - h d)) / 2h        error h**2 phi'''/6 and rounding of order eps/h
    the complex step      Im phi(x + i h d) / h                     error h**2 phi'''/6, no subtraction, h = 1e-30

The second needs an analytic function, which cannot be seen from outside. So it is tested: for an analytic function the
slope along i h d is i times the slope along h d (Cauchy and Riemann), and the two measurements agree.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.autodiff import RuleError, Tensor, grad, primitive
from tinyae.backend import Array, backend_of
from tinyae.testing.complex_step import STEP
from tinyae.testing.report import Fault

SMALL = 64
"""Inputs of up to this many elements are checked element by element."""

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Comparison:
    """One slope by the rules and by measurement; the fields are those of `GradcheckReport`."""

    coordinate: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    method: str
    step: float
    rtol: float
    jump: float = 0.0


class Probe:
    """A function of float64 arrays, weighted to a single number.

    Args:
        fn: from as many Tensors as there are arrays to one Tensor.
        arrays: the point, on one device.
        rng: draws weights and directions.
        eps: the step of central differences.
        method: "central", "complex", or "auto" for the complex step wherever the function is analytic.
        rtol: the allowed error of each method.

    Raises:
        Fault: `fn` is not something that can be checked.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        arrays: list[Array],
        rng: np.random.Generator,
        eps: float,
        method: str,
        rtol: dict[str, float],
    ) -> None:
        self.fn, self.arrays, self.rng, self.eps, self.method, self.rtol = fn, arrays, rng, eps, method, rtol
        self.backend = backend_of(arrays[0])
        self.seen: list[tuple[int, Any]] = []
        leaves = [Tensor(a, requires_grad=True) for a in arrays]
        out = self._called(fn, leaves)
        self.value = out.numpy().copy()
        if not np.array_equal(self.value, self._called(fn, leaves).numpy(), equal_nan=True):
            raise Fault(
                "random", "fn gave two values for the same inputs: make its generator inside fn, from a fixed seed."
            )
        self._finite(self.value, "fn itself gives {found}", 0)
        self.weights = bounded_signs(rng, self.value.shape)
        self.cotangent = self.backend.to_device(self.weights)
        self.gradients = self._gradients(leaves)
        for argument, gradient in enumerate(self.gradients):
            self._finite(gradient, "fn is finite, but a rule gives {found} for argument {{argument}}", argument)

    def _finite(self, array: np.ndarray, words: str, argument: int) -> None:
        """A fault if there is a NaN or an infinity in an array: nothing can be compared with it."""
        wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):
            at = tuple(int(i) for i in wrong[0])
            found = words.format(found=f"{array[at]:g} at {at}")
            raise Fault("not finite", f"{found}: move the inputs to where the function is smooth.", argument)

    def _called(self, fn: Callable[..., Any], leaves: list[Tensor]) -> Tensor:
        """fn's result, after a look at its type and at what it did to the inputs."""
        out = fn(*leaves)
        if not isinstance(out, Tensor):
            raise Fault(
                "not a tensor",
                f"fn must return a Tensor, got {type(out).__name__}: compute with Tensors and tinyae.ops to the end, "
                "without .data or .numpy().",
            )
        if out.dtype != np.float64:
            raise Fault(
                "output dtype",
                f"fn must return a float64 Tensor, got dtype {out.dtype}: convert parameters inside fn to float64 "
                "and leave out conversions to float32, which are too coarse for differences.",
            )
        return out

    def _gradients(self, leaves: list[Tensor]) -> list[np.ndarray]:
        """The gradient of phi by the rules, one host array per input, before anything has cast or reshaped it."""
        out = self.fn(*[watched(leaf, i, self.seen) for i, leaf in enumerate(leaves)])
        if not out.requires_grad:
            return [np.zeros(leaf.shape) for leaf in leaves]
        try:
            gradients = grad(out, leaves, self.cotangent, allow_unused=True)
        except RuleError as error:
            raise Fault("gradient shape", str(error)) from error
        for argument, dtype in self.seen:
            if dtype != np.float64:
                raise Fault(
                    "gradient dtype",
                    f"the gradient arrives as {dtype} at a float64 input: a rule converts on the way; keep the dtype "
                    "of g in it (Python numbers and ops.indicator do).",
                    argument,
                )
        return [g.numpy() for g in gradients]

    def compare(self, argument: int) -> list[Comparison]:
        """One comparison for every direction in which this argument is moved.

        Raises:
            Fault: the point is a kink.
        """
        size = math.prod(self.arrays[argument].shape)
        everything = list(range(size))
        method = self._method_for(argument, everything) if size else "central"
        if size <= SMALL:
            return [self._at_kink(argument, self._along(argument, [i], method)) for i in everything]
        found = self._along(argument, everything, method)
        if found.error > found.rtol or found.jump:
            found = self._narrowed(argument, everything, method, bool(found.jump))
        return [self._at_kink(argument, found)]

    def _method_for(self, argument: int, everything: list[int]) -> str:
        """Which measurement to take: the complex step if asked for, or if allowed and the function is analytic."""
        if self.method == "central":
            return "central"
        direction = self._direction(argument, everything)
        try:
            exact = self._complex_slope(argument, direction)
        except Exception as error:  # anything may go wrong in a function that was not written for complex numbers
            if self.method == "complex":
                raise ValueError(
                    f"gradcheck: method='complex' needs a function that takes complex numbers; this one raised "
                    f"{type(error).__name__}: {error} Use method='auto'."
                ) from error
            return "central"
        ahead, behind, numeric = self._differences(argument, direction, self.eps)
        allowed = max(1e-6 * max(abs(exact), abs(numeric)), self._noise(argument, "central"))
        if abs(exact - numeric) <= allowed and not self._jump(argument, direction, ahead, behind):
            return "complex"
        if self.method == "complex":
            raise ValueError(
                f"gradcheck: method='complex' needs an analytic function; the slope of this one is {numeric:.9g} along "
                f"the real axis and {exact:.9g} along the imaginary one. Use method='auto'."
            )
        return "central"

    def _at_kink(self, argument: int, found: Comparison) -> Comparison:
        if found.jump:
            place = "along a random direction" if found.coordinate is None else f"at coordinate {found.coordinate}"
            raise Fault(
                "kink",
                f"fn has a kink at the point: {place} of argument {{argument}} the slopes on the two sides differ by "
                f"{found.jump:.3g} (rule {found.analytic:.6g}), so there is no derivative to compare with; move the "
                "inputs away from it, or pass redraw=.",
                argument,
                coordinate=found.coordinate,
                analytic=found.analytic,
                numeric=found.numeric,
                error=found.error,
                step=found.step,
            )
        return found

    def _narrowed(self, argument: int, indices: list[int], method: str, kink: bool) -> Comparison:
        """Halve a failing direction down to one element, keeping the half that is worse."""

        def badness(found: Comparison) -> float:
            return found.jump if kink else abs(found.analytic - found.numeric)

        found = self._along(argument, indices, method)
        while len(indices) > 1:
            middle = len(indices) // 2
            halves = [(self._along(argument, part, method), part) for part in (indices[:middle], indices[middle:])]
            found, indices = max(halves, key=lambda half: badness(half[0]))
        return found

    def _direction(self, argument: int, indices: list[int]) -> np.ndarray:
        """A unit vector through the elements at the given flat indices, none of them with a small share."""
        shape = self.arrays[argument].shape
        direction = np.zeros(math.prod(shape))
        direction[indices] = 1.0 if len(indices) == 1 else bounded_signs(self.rng, (len(indices),))
        return (direction / np.linalg.norm(direction)).reshape(shape)

    def _along(self, argument: int, indices: list[int], method: str) -> Comparison:
        """Compare the slopes along one direction."""
        direction = self._direction(argument, indices)
        analytic = float(np.sum(self.gradients[argument] * direction))
        jump = 0.0
        if method == "complex":
            numeric, step = self._complex_slope(argument, direction), STEP
        else:
            step = self.eps
            ahead, behind, numeric = self._differences(argument, direction, step)
        rtol = self.rtol[method]
        error = self._error(argument, analytic, numeric, method)
        if method == "central":
            jump = self._jump(argument, direction, ahead, behind, sure=error > rtol)
            if error > rtol and not jump:
                # Where phi' is nearly 0, the error h**2 phi'''/6 of the differences can be larger than it: one step of
                # Richardson's extrapolation takes that term away.
                half = self._differences(argument, direction, 0.5 * step)[2]
                numeric = (4.0 * half - numeric) / 3.0
                error = self._error(argument, analytic, numeric, method)
        shape = self.arrays[argument].shape
        coordinate = tuple(int(i) for i in np.unravel_index(indices[0], shape)) if len(indices) == 1 else None
        return Comparison(coordinate, analytic, numeric, error, method, step, rtol, jump)

    def _error(self, argument: int, analytic: float, numeric: float, method: str) -> float:
        """The difference relative to the larger slope, or to the smallest that rounding allows to see."""
        floor = self._noise(argument, method) / self.rtol[method]
        error = abs(analytic - numeric) / max(abs(analytic), abs(numeric), floor)
        return error if math.isfinite(error) else math.inf

    def _differences(self, argument: int, direction: np.ndarray, step: float) -> tuple[float, float, float]:
        """The slopes ahead, behind, and across the point."""
        x = self.backend.to_host(self.arrays[argument])
        ends = []
        for sign in (1.0, -1.0):
            moved = list(self.arrays)
            moved[argument] = self.backend.to_device(x + sign * step * direction)
            ends.append(self.fn(*[Tensor(a, requires_grad=True) for a in moved]).numpy())
        ahead = float(np.sum(self.weights * (ends[0] - self.value)) / step)
        behind = float(np.sum(self.weights * (self.value - ends[1])) / step)
        return ahead, behind, float(np.sum(self.weights * (ends[0] - ends[1])) / (2.0 * step))

    def _jump(self, argument: int, direction: np.ndarray, ahead: float, behind: float, sure: bool = False) -> float:
        """By how much the slope jumps within one step of the point; 0 where the function is smooth.

        The one-sided slopes of a smooth function differ by h phi'', which halves with the step; at a kink the
        difference stays. So 2 D(h/2) - D(h) vanishes for the first and not for the second. A kink a third of a step
        away would cancel there as well, hence the same again with half the step.
        """
        noise = self._noise(argument, "central")
        size = max(abs(ahead), abs(behind))
        gaps = [ahead - behind]
        if not math.isfinite(gaps[0]) or (not sure and abs(gaps[0]) <= 1e-3 * size + 16.0 * noise):
            return 0.0
        for part in (0.5, 0.25):
            there, back, _ = self._differences(argument, direction, part * self.eps)
            gaps.append(there - back)
        jump = max(abs(2.0 * gaps[1] - gaps[0]), abs(2.0 * gaps[2] - gaps[1]))
        return jump if jump > 1e-3 * size + 64.0 * noise else 0.0

    def _complex_slope(self, argument: int, direction: np.ndarray) -> float:
        """Im phi(x + i h d) / h; raises if the function drops the imaginary part on the way."""
        points = [self.backend.to_device(self.backend.to_host(a), "complex128") for a in self.arrays]
        points[argument] = self.backend.to_device(self.backend.to_host(self.arrays[argument]) + 1j * STEP * direction)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns when an imaginary part is thrown away
            out = self.fn(*[Tensor(p, requires_grad=True) for p in points]).numpy()
        if out.dtype.kind != "c":
            raise TypeError(f"it gave dtype {out.dtype} for complex input.")
        slope = float(np.sum(self.weights * out.imag) / STEP)
        if not math.isfinite(slope):
            raise ArithmeticError(f"its complex slope is {slope}.")
        return slope

    def _noise(self, argument: int, method: str) -> float:
        """What rounding of the outputs and of the inputs can contribute to a measured slope."""
        outputs = np.linalg.norm(self.weights * self.value)
        gradient = self.gradients[argument]
        inputs = np.linalg.norm(self.backend.to_host(self.arrays[argument]) * gradient)
        if method == "complex":
            return float(64.0 * EPS * (1e-30 + outputs + inputs + np.linalg.norm(gradient)))
        return float(8.0 * EPS * (1e-30 + outputs + inputs) / self.eps)


def bounded_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of both signs, sizes 0.5 to 1: scaled to length 1, none is smaller than 0.5 / sqrt(n)."""
    return rng.choice([-1.0, 1.0], size=shape) * rng.uniform(0.5, 1.0, size=shape)


def watched(leaf: Tensor, argument: int, seen: list[tuple[int, Any]]) -> Tensor:
    """The leaf under a node that notes the dtype of the gradient that reaches it, before the engine casts it."""

    @primitive
    def watch(x: Any) -> Any:
        return x

    @watch.vjp(0)
    def _(g: Any, out: Any, x: Any) -> Any:
        seen.append((argument, g.dtype))
        return g

    return watch(leaf)
