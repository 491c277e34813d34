"""Numerical derivatives: finite differences, the complex step, and the report of a gradient check."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tinyae.autodiff import Node, Observer, RuleError, Tensor, grad, observers, primitive, set_observers
from tinyae.autodiff.tape import holomorphic
from tinyae.backend import Array, backend_of
from tinyae.checks import checked

# ---------------------------------------------------------------------------------------------------------------------
# `Probe`: one function at one point, and two independent ways to measure its slopes.
#
# The function is turned into one number, phi = sum(c * fn(x, y, ...)), with a random weight c for each output. The rules
# give the gradient of phi; a measurement gives its slope along one direction d of length 1, by
#
#     central differences   (phi(x + h d) - phi(x - h d)) / 2h        error h**2 phi'''/6 and rounding of order eps/h
#     the complex step      Im phi(x + i h d) / h                     error h**2 phi'''/6, no subtraction, h = 1e-30
#
# Nothing cancels in the second, so it is exact to machine precision (Squire and Trapp 1998). It needs a function that accepts
# complex numbers and is analytic: no maximum, no absolute value, no comparison. That is tested: for an analytic function the
# slope along i h d is i times the slope along h d (Cauchy-Riemann equations), so the two measurements agree.

Function = Callable[..., Any]
"""A function of Tensors, or a Module."""

SMALL = 64
"""Inputs of up to this many elements are checked element by element."""

EPS = float(np.finfo(np.float64).eps)

STEP = 1e-30
"""The step of the complex step; its square is negligible."""

MEASURED = 1e-6
"""The largest error of a slope, relative to it, that a measurement of that error can excuse."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One slope according to the rules and as measured.

    Attributes:
        coordinate: index of the input element that was varied; None for a random direction.
        analytic: the derivative according to the rules.
        numeric: the derivative as measured.
        error: |analytic - numeric| relative to the larger of the two (or to the rounding error).
        rtol: the allowed error.
        method: how the slope was measured, "central" or "complex".
        step: the step h of that measurement, in the unit of the input.
        jump: difference of the one-sided slopes; 0 unless the point is a kink.
        bend: relative change of the slope within one step, if that is what makes a correct rule differ; else 0.
    """

    coordinate: tuple[int, ...] | None = None
    analytic: float = 0.0
    numeric: float = 0.0
    error: float = 0.0
    rtol: float = 0.0
    method: str = "central"
    step: float = 0.0
    jump: float = 0.0
    bend: float = 0.0

    @property
    def place(self) -> str:
        """The coordinate as a phrase."""
        return "along a random direction" if self.coordinate is None else f"at coordinate {self.coordinate}"


class Probe:
    """A function of one Tensor per float64 array, weighted to a single number; `eps` and `method` as for `gradcheck`.

    Raises:
        Fault: `fn` cannot be checked.
    """

    def __init__(
        self,
        fn: Function,
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
        self.sizes = Sizes()
        with observing(self.sizes):
            out = self._called(fn, leaves)
        self.value = out.numpy().copy()
        if not np.array_equal(self.value, self._called(fn, leaves).numpy(), equal_nan=True):
            raise Fault(
                "random",
                "fn returned different values for the same inputs: create its generator inside fn, from a fixed seed.",
            )
        self._finite(self.value, "fn itself gives {found}", 0)
        self.weights = bounded_signs(rng, self.value.shape)
        self.cotangent = self.backend.to_device(self.weights)
        self.gradients = self._gradients(leaves)
        for argument, gradient in enumerate(self.gradients):
            self._finite(gradient, "fn is finite, but a rule gives {found} for argument {{argument}}", argument)

    def _finite(self, array: np.ndarray, words: str, argument: int) -> None:
        """Raise a Fault if an array contains NaN or infinity."""
        wrong = np.flatnonzero(~np.isfinite(array))
        if len(wrong):
            at = index_of(wrong[0], array.shape)
            found = words.format(found=f"{array[at]:g} at {at}")
            raise Fault("not finite", f"{found}: move the inputs to where the function is smooth.", argument)

    def _called(self, fn: Function, leaves: list[Tensor]) -> Tensor:
        """The result of fn; a Fault if it is not a float64 Tensor."""
        out = fn(*leaves)
        if not isinstance(out, Tensor):
            raise Fault(
                "not a tensor",
                f"fn must return a Tensor, got {type(out).__name__}: use Tensors and tinyae.ops throughout, "
                "without .data or .numpy().",
            )
        if out.dtype != np.float64:
            raise Fault(
                "output dtype",
                f"fn must return a float64 Tensor, got dtype {out.dtype}: convert parameters inside fn to float64 "
                "and avoid conversions to float32, which is too coarse for differences.",
            )
        return out

    def _gradients(self, leaves: list[Tensor]) -> list[np.ndarray]:
        """The gradient of phi by the rules, one host array per input."""
        out = self.fn(*[watched(leaf, argument=i, seen=self.seen) for i, leaf in enumerate(leaves)])
        if not out.requires_grad:
            return [np.zeros(leaf.shape) for leaf in leaves]
        try:
            with observing(self.sizes):
                gradients = grad(out, leaves, self.cotangent, allow_unused=True)
        except RuleError as error:
            raise Fault("gradient shape", str(error)) from error
        for argument, dtype in self.seen:
            if dtype != np.float64:
                raise Fault(
                    "gradient dtype",
                    f"the gradient arrives as {dtype} at a float64 input: a rule converts it; keep the dtype "
                    "of g (Python numbers and ops.indicator do).",
                    argument,
                )
        return [g.numpy() for g in gradients]

    def compare(self, argument: int) -> list[Comparison]:
        """One comparison for every direction in which this argument is varied.

        Raises:
            Fault: the point is a kink, or the step is too large there.
        """
        size = math.prod(self.arrays[argument].shape)
        everything = list(range(size))
        method = self._method_for(argument, everything) if size else "central"
        if size <= SMALL:
            return [self._measurable(argument, self._along(argument, [i], method)) for i in everything]
        found = self._along(argument, everything, method)
        if found.error > found.rtol or found.jump:
            found = self._narrowed(argument, everything, method, found)
        return [self._measurable(argument, found)]

    def _method_for(self, argument: int, everything: list[int]) -> str:
        """The method: the complex step if requested, or if allowed and the function is analytic."""
        if self.method == "central":
            return "central"
        direction = self._direction(argument, everything)
        try:
            exact = self._complex_slope(argument, direction)
        except Exception as error:  # a function that was not written for complex numbers may raise anything
            if self.method == "complex":
                raise ValueError(
                    f"gradcheck: method='complex' needs a function that accepts complex numbers; this one raised "
                    f"{type(error).__name__}: {error} Use method='auto'."
                ) from error
            return "central"
        ahead, behind, numeric = self._differences(argument, direction, self.eps)
        gap, slope = abs(exact - numeric), max(abs(exact), abs(numeric))
        same = gap <= 1e-6 * slope or gap <= self._noise(argument, direction, "central", gap)
        if same and not self._jump(argument, direction, ahead, behind):
            return "complex"
        if self.method == "complex":
            raise ValueError(
                f"gradcheck: method='complex' needs an analytic function; the slope of this one is {numeric:.9g} along "
                f"the real axis and {exact:.9g} along the imaginary one. Use method='auto'."
            )
        return "central"

    def _measurable(self, argument: int, found: Comparison) -> Comparison:
        """The comparison itself; a Fault if its slope could not be measured."""
        where, rule = f"{found.place} of argument {{argument}}", f"(rule {found.analytic:.6g})"
        leaves = f"the step eps={self.eps:g} leaves the domain"
        problem: Problem = "step"
        if not math.isfinite(found.numeric):
            words = (
                f"{leaves}: pass eps= smaller than the distance to its edge; one step away {where}, fn gives no finite "
            )
            words += f"number {rule}."
        elif found.bend:
            words = f"{leaves} or is too large: pass eps= smaller; within one step {where}, the slope changes by "
            words += f"{found.bend:.0%} {rule}."
        elif found.jump:
            problem = "kink"
            words = f"fn has a kink at the point: {where} the slopes on the two sides differ by {found.jump:.3g} {rule}, so "
            words += "there is no derivative to compare with; move the inputs away from it, or pass redraw=."
        else:
            return found
        raise Fault(problem, words, argument, found)

    def _narrowed(self, argument: int, indices: list[int], method: str, found: Comparison) -> Comparison:
        """Bisect a failing direction, keeping the half with the larger error, down to one element or as far as it fails."""

        def badness(part: Comparison) -> float:
            error = part.jump if found.jump else abs(part.analytic - part.numeric)
            return math.inf if math.isnan(error) else error

        while len(indices) > 1:
            middle = len(indices) // 2
            halves = [(self._along(argument, part, method), part) for part in (indices[:middle], indices[middle:])]
            worse, indices = max(halves, key=lambda half: badness(half[0]))
            if worse.error <= worse.rtol and not worse.jump:
                break
            found = worse
        return found

    def _direction(self, argument: int, indices: list[int]) -> np.ndarray:
        """A unit vector in the elements at the given flat indices, no component of which is small."""
        shape = self.arrays[argument].shape
        direction = np.zeros(math.prod(shape))
        direction[indices] = 1.0 if len(indices) == 1 else bounded_signs(self.rng, (len(indices),))
        return (direction / np.linalg.norm(direction)).reshape(shape)

    def _along(self, argument: int, indices: list[int], method: str) -> Comparison:
        """Compare the slopes along one direction."""
        direction = self._direction(argument, indices)
        analytic = float(np.sum(self.gradients[argument] * direction))
        rtol, step, jump, bend = self.rtol[method], self.eps, 0.0, 0.0
        if method == "complex":
            numeric, step = self._complex_slope(argument, direction), STEP
            error = self._error(argument, direction, analytic, numeric, method)
        else:
            ahead, behind, numeric = self._differences(argument, direction, step)
            error = self._error(argument, direction, analytic, numeric, method)
            jump = self._jump(argument, direction, ahead, behind, sure=error > rtol)
            if error > rtol and not jump:
                # If phi' is nearly 0, the error h**2 phi'''/6 of the differences can be larger: one step of Richardson
                # extrapolation removes that term.
                change = (self._differences(argument, direction, 0.5 * step)[2] - numeric) * 4.0 / 3.0
                numeric += change
                error = self._error(argument, direction, analytic, numeric, method, change)
            if error > rtol or jump:
                bend = self._bend(argument, direction, analytic)
        at = index_of(indices[0], self.arrays[argument].shape) if len(indices) == 1 else None
        slopes = {"analytic": analytic, "numeric": numeric, "error": error, "jump": jump, "bend": bend}
        return Comparison(coordinate=at, rtol=rtol, method=method, step=step, **slopes)

    def _error(
        self, argument: int, direction: np.ndarray, analytic: float, numeric: float, method: str, change: float = 0.0
    ) -> float:
        """The difference relative to the larger slope; at most rtol if the error of the measurement explains it.

        `change` is what an extrapolation changed: c h**2 relative to the slope, of which an error of order (c h**2)**2 is left.
        """
        gap, slope, rtol = abs(analytic - numeric), max(abs(analytic), abs(numeric), 1e-300), self.rtol[method]
        if not math.isfinite(gap):
            return math.inf
        if gap > rtol * slope:
            errors = self._noise(argument, direction, method, gap, slope) + min(change**2 / slope, MEASURED * slope)
            if gap <= errors:
                return rtol * gap / errors
        return gap / slope

    def _phi(self, argument: int, direction: np.ndarray, step: float) -> np.ndarray:
        """The result at x + step * direction; NaN where that is outside the domain of fn."""
        moved = list(self.arrays)
        moved[argument] = self.backend.to_device(self.backend.to_host(self.arrays[argument]) + step * direction)
        try:
            return self.fn(*[Tensor(a, requires_grad=True) for a in moved]).numpy()
        except (ArithmeticError, ValueError):
            return np.full(self.value.shape, np.nan)

    def _differences(self, argument: int, direction: np.ndarray, step: float) -> tuple[float, float, float]:
        """The forward, backward and central difference quotients."""
        ends = [self._phi(argument, direction, sign * step) for sign in (1.0, -1.0)]
        ahead = float(np.sum(self.weights * (ends[0] - self.value)) / step)
        behind = float(np.sum(self.weights * (self.value - ends[1])) / step)
        return ahead, behind, float(np.sum(self.weights * (ends[0] - ends[1])) / (2.0 * step))

    def _bend(self, argument: int, direction: np.ndarray, analytic: float) -> float:
        """h phi''/phi' if phi is smooth on a smaller scale, with the slope of the rule there, but not on that of a step h."""
        for part in (1e-2, 1e-3, 1e-4):
            ahead, behind, slope = self._differences(argument, direction, part * self.eps)
            there, back, _ = self._differences(argument, direction, 0.5 * part * self.eps)
            gap, half = ahead - behind, there - back
            smooth = abs(2.0 * half - gap) <= 0.1 * abs(gap) and abs(slope - analytic) <= 1e-2 * abs(analytic)
            if smooth and (bend := abs(gap / part)) > 1e-2 * abs(slope):
                return bend / abs(slope)
        return 0.0

    def _jump(self, argument: int, direction: np.ndarray, ahead: float, behind: float, sure: bool = False) -> float:
        """The jump of the slope within one step of the point; 0 if the function is smooth.

        The one-sided slopes of a smooth function differ by D(h) = h phi'', which halves with the step; at a kink it does not.
        So 2 D(h/2) - D(h) vanishes for the former only. It would also vanish for a kink a third of a step away, so it is
        computed for half the step too.
        """
        size = max(abs(ahead), abs(behind))
        gaps = [ahead - behind]
        least = 16.0 * self._noise(argument, direction, "central")
        if not math.isfinite(gaps[0]) or (not sure and abs(gaps[0]) <= 1e-3 * size + least):
            return 0.0
        for part in (0.5, 0.25):
            there, back, _ = self._differences(argument, direction, part * self.eps)
            gaps.append(there - back)
        jump = max(abs(2.0 * gaps[1] - gaps[0]), abs(2.0 * gaps[2] - gaps[1]))
        if jump <= 1e-3 * size + least or jump <= 8.0 * self._noise(argument, direction, "central", jump / 8.0):
            return 0.0
        return jump

    def _complex_slope(self, argument: int, direction: np.ndarray, ahead: float = 0.0) -> float:
        """Im phi(x + i h d) / h, or that at x + ahead * d; raises if the function drops the imaginary part."""
        points = [self.backend.to_device(self.backend.to_host(a), "complex128") for a in self.arrays]
        x = self.backend.to_host(self.arrays[argument])
        points[argument] = self.backend.to_device(x + (ahead + 1j * STEP) * direction)
        with warnings.catch_warnings(), holomorphic():
            warnings.simplefilter("error")  # NumPy only warns when an imaginary part is discarded
            out = self.fn(*[Tensor(p, requires_grad=True) for p in points]).numpy()
        if out.dtype.kind != "c":
            raise TypeError(f"it returned dtype {out.dtype} for complex input.")
        slope = float(np.sum(self.weights * out.imag) / STEP)
        if not math.isfinite(slope):
            raise ArithmeticError(f"its complex slope is {slope}.")
        return slope

    def _noise(self, argument: int, direction: np.ndarray, method: str, gap: float = 0.0, slope: float = 0.0) -> float:
        """The rounding error of a measured slope: from all values on the way, or as much of `gap` as is found by measuring.

        A relative error EPS of a value v changes phi by EPS v dphi/dv, also where v cancels later (row sums of a softmax). What
        is computed inside one primitive does not show, so it is measured: within a step a smooth phi is a cubic, and what is left
        of ten values is error. A kink is no cubic either, so no more is granted than the rounding of the largest value, or of 1,
        or a millionth of `slope`.
        """
        central = method == "central"
        gradient = self.gradients[argument]
        inputs = np.linalg.norm(self.backend.to_host(self.arrays[argument]) * gradient)
        values = 1e-30 + np.linalg.norm(self.weights * self.value) + inputs + 4.0 * self.sizes.rounding
        if central:
            least = float(EPS * (values / self.eps + 16.0 * self.sizes.back))
        else:
            least = float(64.0 * EPS * (values + np.linalg.norm(gradient) + self.sizes.back))
        if gap <= least:
            return least
        sizes = Sizes()
        with observing(sizes):
            places = self.eps * np.cos(np.linspace(0.1, 3.0, 10))
            if central:
                found = [np.sum(self.weights * (self._phi(argument, direction, t) - self.value)) for t in places]
            else:
                found = [self._complex_slope(argument, direction, t) for t in places]
        scale = max(sizes.forward, self.sizes.forward, *map(largest, self.arrays)) * math.sqrt(self.value.size)
        rest = found - np.polynomial.Polynomial.fit(places, found, 3)(places)
        errors = 16.0 * float(np.sqrt(np.sum(rest**2) / (len(places) - 4)))
        step = self.eps if central else 1.0
        most = max(16.0 * EPS * scale, MEASURED * slope * step)
        return max(least, min(errors, most) / step) if math.isfinite(errors) else least


class Sizes:
    """The largest absolute values that are computed: forward (at least 1; tangents of the complex step too), and back.

    `rounding` is the size of the change of phi if every value v changes by v: the norm of all v dphi/dv.
    """

    def __init__(self) -> None:
        self.forward, self.back, self.rounding = 1.0, 0.0, 0.0

    def result(self, name: str, args: Sequence[Any], out: Any, node: Node | None) -> None:
        """A value on the way to the result, or a rule that is recorded."""
        self.forward = max(self.forward, largest(out))

    def gradient(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        """The result of a rule, and the size of what a rule works with: g times the value."""
        self.back = max(self.back, largest(c), largest(total), largest(g) * largest(node.out))
        value, share = (backend_of(_raw(x)).to_host(_raw(x)) for x in (node.args[position], c))
        with np.errstate(all="ignore"):
            effect = np.abs(np.where(np.isfinite(value), value, 0.0) * share)
        self.rounding = math.hypot(self.rounding, float(np.linalg.norm(np.where(np.isfinite(effect), effect, 0.0))))


@contextmanager
def observing(callbacks: Any) -> Iterator[None]:
    """Within the block, the public methods of an object are those of an `Observer`."""
    observer = Observer()
    vars(observer).update((name, getattr(callbacks, name)) for name in vars(type(callbacks)) if name[0] != "_")
    with set_observers(*observers(), observer):
        yield


def largest(x: Any) -> float:
    """The largest finite absolute value, of a complex number that of its tangent too; 0 for what is not floating-point."""
    raw = _raw(x)
    if getattr(getattr(raw, "dtype", None), "kind", "") not in ("f", "c"):
        return 0.0
    host = backend_of(raw).to_host(raw)
    parts = [host] if host.dtype.kind == "f" else [host.real, host.imag / STEP]
    return max(float(np.max(np.abs(part), initial=0.0, where=np.isfinite(part))) for part in parts)


def _raw(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def index_of(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of an element by its position in C order."""
    return tuple(int(i) for i in np.unravel_index(flat, shape))


def bounded_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of both signs with absolute values from 0.5 to 1."""
    return np.asarray(rng.choice([-1.0, 1.0], size=shape) * rng.uniform(0.5, 1.0, size=shape))


@primitive
def watched(x: Any, *, argument: int, seen: list[tuple[int, Any]]) -> Any:
    """A leaf behind a node that records the dtype of its gradient before the engine casts it."""
    return x


@watched.vjp(0)
def _(g: Any, out: Any, x: Any, *, argument: int, seen: list[tuple[int, Any]]) -> Any:
    seen.append((argument, g.dtype))
    return g


# ---------------------------------------------------------------------------------------------------------------------
# `complex_step`: all derivatives of a function of raw arrays by the complex step.


@checked
def complex_step(fn: Function, inputs: Sequence[Any], cotangent: Any = None) -> list[np.ndarray]:
    """Gradient of sum(cotangent * fn(*inputs)) for each input, exact to rounding.

    Args:
        fn: a function of raw arrays, analytic in each; operators, `tinyae.ops` and primitives work if NumPy supports
            them for complex arrays.
        inputs: real NumPy arrays or numbers.
        cotangent: weights of the output, of the same shape; optional if `fn` returns one number.

    Returns:
        One float64 array per input, of the same shape. `fn` is called once per element.

    Raises:
        TypeError: `fn` dropped the imaginary part, so it is not analytic (or converts to a real dtype).
        ValueError: cotangent and output have different shapes.
    """
    arrays = [np.array(x, dtype=np.complex128) for x in inputs]
    gradients = [np.empty(x.shape) for x in arrays]
    for x, gradient in zip(arrays, gradients, strict=True):
        for index in np.ndindex(x.shape):
            real = x[index]
            x[index] += 1j * STEP
            out = np.asarray(fn(*arrays))
            x[index] = real
            if out.dtype.kind != "c":
                raise TypeError(
                    f"complex_step: the function returned dtype {out.dtype} for complex input, so it is not analytic: "
                    "use gradcheck for it."
                )
            if cotangent is None and out.size != 1:
                raise ValueError(
                    f"complex_step: the function returned shape {out.shape}, not one number: pass cotangent= of that shape."
                )
            weights = np.ones(out.shape) if cotangent is None else np.asarray(cotangent)
            if weights.shape != out.shape:
                raise ValueError(
                    f"complex_step: cotangent has shape {weights.shape}, the output {out.shape}: they must be equal."
                )
            gradient[index] = np.sum(weights * out.imag) / STEP
    return gradients


# ---------------------------------------------------------------------------------------------------------------------
# The report of a gradient check.

Problem = Literal[
    "gradient",
    "kink",
    "step",
    "modes",
    "not a tensor",
    "output dtype",
    "gradient shape",
    "gradient dtype",
    "not finite",
    "input modified",
    "random",
]
"""The derivative differs; the point is a kink; the step is too large there; the rules give different gradients on raw arrays
and on Tensors; or the function cannot be checked.
"""

METHODS = {"central": "central differences", "complex": "complex step"}
"""Methods of measuring a slope, and their names in reports."""


@dataclass(frozen=True, kw_only=True)
class GradcheckReport(Comparison):
    """The largest disagreement in a gradient check: a `Comparison`, and where it is.

    Attributes:
        passed: whether every comparison stayed within its tolerance and nothing else was wrong.
        order: the order of the derivative.
        argument: position of the input; at order 2, a position after the last input is the weight c of the outputs.
        name: the name of that input; "" without `names=`.
        compared: number of derivatives compared, of all orders.
        problem: a `Problem`, or None.
        explanation: for a problem other than a wrong derivative, one sentence with its cause and solution.
        errors: the largest relative error of each input by name ("argument 0" without `names=`), over all orders.
        methods: the method of measurement for each of these errors.
        redraws: how often new inputs were drawn because the old ones were at a kink.
    """

    passed: bool
    order: int
    argument: int = 0
    name: str = ""
    compared: int = 0
    problem: Problem | None = None
    explanation: str = ""
    errors: dict[str, float] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    redraws: int = 0

    def __str__(self) -> str:
        if self.explanation:
            return f"gradcheck failed: {self.explanation}"
        if not self.compared:
            return "gradcheck passed: the inputs have no elements, so nothing was compared."
        name = f" ({self.name})" if self.name else ""
        verdict = "passed" if self.passed else "failed"
        return (
            f"gradcheck {verdict}: order {self.order}, argument {self.argument}{name}, {self.place}: "
            f"analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, relative error {self.error:.1e} "
            f"(allowed {self.rtol:.0e}; {METHODS[self.method]} with step {self.step:g}; {self.compared} derivatives "
            "compared, this one is the worst)"
        )


class GradcheckError(AssertionError):
    """A gradient check failed; `report` has the details."""

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(str(report))
        self.report = report


class Fault(Exception):
    """A problem other than a wrong derivative: ends a check and becomes its report.

    Attributes:
        problem: the kind of problem.
        argument: position among the differentiable inputs; `{argument}` in the explanation is replaced by its name.
        found: the comparison, as far as it is known.
    """

    def __init__(
        self, problem: Problem, explanation: str, argument: int = 0, found: Comparison = Comparison(error=math.inf)
    ) -> None:
        super().__init__(explanation)
        self.problem: Problem = problem
        self.argument = argument
        self.found = found
