"""`gradcheck`: compare gradient rules with numerical derivatives.

The function is reduced to one number by a random weight c for each output. Weights of 1 would hide mistakes: sum(softmax(x))
is always 1, so a rule that always returns zero would pass. A small input is varied one element at a time; a large one along
one random direction, which is bisected if there is a mistake, down to the element to report. Order 2 applies the same check
to the gradient as a function of the inputs and of c.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, grad
from tinyae.backend import backend_of
from tinyae.checks import checked, number, whole_number
from tinyae.ops import concatenate, reshape
from tinyae.testing.differences import (
    EPS,
    METHODS,
    Comparison,
    Fault,
    GradcheckError,
    GradcheckReport,
    Probe,
    Problem,
    index_of,
    largest,
    observing,
)

MOST_REDRAWS = 20
"""How often inputs at a kink are redrawn before the kink is reported."""

Inputs = Sequence[Any]
Redraw = Callable[[], Inputs] | Iterator[Inputs]


@checked
def gradcheck(
    fn: Callable[..., Any],
    inputs: Inputs,
    *,
    order: int = 1,
    method: str = "auto",
    names: Sequence[str] | None = None,
    redraw: Redraw | None = None,
    seed: int = 0,
    rtol: float | None = None,
    eps: float = 1e-6,
    raise_on_failure: bool = True,
) -> GradcheckReport:
    """Compare the derivatives of `fn` with numerical ones, in float64.

    Args:
        fn: takes one Tensor per input and returns one Tensor of any shape. It must be
            deterministic, and smooth near the inputs: a kink (relu at 0) within `eps` is reported as such.
        inputs: arrays, numbers or Tensors. Floating-point ones are cast to float64 and checked; others (labels,
            masks) are passed to `fn` unchanged, as raw arrays.
        order: 1 checks the gradient; 2 also the gradient of the gradient, and so on.
        method: "central" (differences), "complex" (complex step, for analytic functions that accept complex
            numbers), or "auto": for each input the complex step if it passes a Cauchy-Riemann test, else differences.
        names: names of the inputs, for the report.
        redraw: source of new inputs if the old ones are at a kink: a function without arguments, or an iterator.
        seed: for random weights and directions.
        rtol: allowed relative error where the slope can be measured that well. None means 1e-10 for the complex step and 1e-9
            for differences.
        eps: step of the differences, in the unit of the inputs.
        raise_on_failure: False returns the failing report instead of raising it.

    Raises:
        GradcheckError: a derivative differs, or `fn` cannot be checked: it does not return a float64 Tensor, changes its
            input, is not deterministic, has a kink at the point, or one of its rules returns a gradient of the wrong
            shape or dtype. `error.report.problem` is the kind.
        TypeError, ValueError: wrong arguments, or method "complex" does not apply.
    """
    order = whole_number("gradcheck: order", order, at_least=1, advice="use 1 or 2")
    eps, seed = number("gradcheck: eps", eps, above=0.0), whole_number("gradcheck: seed", seed, at_least=0)
    if method not in ("auto", "central", "complex"):
        raise ValueError(f"gradcheck: method must be 'auto', 'central' or 'complex', got {method!r}.")
    if names is not None and len(names) != len(inputs):
        raise ValueError(f"gradcheck: got {len(names)} names for {len(inputs)} inputs: give one name per input.")
    fresh = _draws(redraw)
    for redraws in itertools.count():
        with np.errstate(**_said_by_the_report()):
            report = replace(_Check(fn, inputs, names).run(order, method, seed, rtol, eps), redraws=redraws)
        if report.problem != "kink" or (drawn := next(fresh, None)) is None:
            break
        inputs = drawn
    if raise_on_failure and not report.passed:
        raise GradcheckError(report)
    return report


def _said_by_the_report() -> dict[str, Any]:
    """Settings that turn NumPy's warnings off, since the report covers NaN and infinity; errors are still raised."""
    return {kind: "ignore" for kind, reaction in np.geterr().items() if reaction == "warn"}


def _draws(redraw: Redraw | None) -> Iterator[Inputs]:
    if redraw is None:
        return iter(())
    endless = (redraw() for _ in itertools.count()) if callable(redraw) else iter(redraw)
    return itertools.islice(endless, MOST_REDRAWS)


class _Check:
    """One check at one point: one probe for each order."""

    def __init__(self, fn: Callable[..., Any], inputs: Inputs, names: Sequence[str] | None) -> None:
        self.fn = fn
        self.names = list(names) if names is not None else [""] * len(inputs)
        self.values = [x.data if isinstance(x, Tensor) else x for x in inputs]
        kinds = [(x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype).kind for x in self.values]
        self.floating = [i for i, kind in enumerate(kinds) if kind == "f"]
        if not self.floating:
            raise TypeError(
                "gradcheck: no input is floating-point, so nothing can be differentiated: pass a float array."
            )
        self.worst: GradcheckReport | None = None
        self.errors: dict[str, float] = {}
        self.methods: dict[str, str] = {}
        self.compared = 0

    def run(self, order: int, method: str, seed: int, rtol: float | None, eps: float) -> GradcheckReport:
        """The report, also of a Fault."""
        rng, level = np.random.default_rng(seed), 0
        allowed = {"central": 1e-9, "complex": 1e-10} if rtol is None else dict.fromkeys(METHODS, rtol)
        try:
            arrays = [backend_of(self.values[i]).xp.array(self.values[i], dtype="float64") for i in self.floating]
            function: Callable[..., Any] = self._function
            before: Probe | None = None
            for level in range(1, order + 1):
                probe = Probe(function, arrays, rng, eps, method, allowed)
                if before is not None:
                    self._same_gradient(before, probe)
                for argument in range(len(arrays)):
                    self._take(level, argument, probe)
                if self.worst is not None and not self.worst.passed:
                    break
                before = probe
                function, arrays = gradient_function(function, len(arrays)), [*arrays, probe.cotangent]
        except Fault as fault:
            self.worst = self._report(fault.found, level, fault.argument, fault.problem, str(fault))
        worst = self.worst or GradcheckReport(passed=True, order=order)
        return replace(worst, compared=self.compared, errors=self.errors, methods=self.methods)

    def _function(self, *moving: Any) -> Any:
        """fn as a function of the floating-point inputs; a Fault if it writes into any input."""
        arguments = list(self.values)
        for i, x in zip(self.floating, moving, strict=True):
            arguments[i] = x
        raw = [x.data if isinstance(x, Tensor) else x for x in arguments]
        copies = [backend_of(x).xp.array(x) if hasattr(x, "shape") else x for x in raw]
        out = self.fn(*arguments)
        for i, (x, copy) in enumerate(zip(raw, copies, strict=True)):
            now = arguments[i].data if isinstance(arguments[i], Tensor) else x
            if hasattr(x, "shape") and (now is not x or not _equal(x, copy)):
                raise Fault(
                    "input modified",
                    f"fn changed argument {i} in place: return new arrays instead of writing into the input.",
                    self.floating.index(i) if i in self.floating else 0,
                )
        return out

    def _take(self, level: int, argument: int, probe: Probe) -> None:
        """Compare one argument, and keep the worst comparison relative to its tolerance."""
        position, name = self._place(argument)
        key = name or f"argument {position}"
        for found in probe.compare(argument):
            self.compared += 1
            if found.error >= self.errors.get(key, 0.0):
                self.errors[key], self.methods[key] = found.error, found.method
            if self.worst is None or found.error / found.rtol > self.worst.error / self.worst.rtol:
                self.worst = self._report(found, level, argument, None if found.error <= found.rtol else "gradient")

    def _same_gradient(self, before: Probe, probe: Probe) -> None:
        """Raise a Fault unless the rules agree on raw arrays (`before.gradients`) and on Tensors (the next order)."""
        ends = np.cumsum([raw.size for raw in before.gradients])[:-1]
        for argument, (raw, flat) in enumerate(zip(before.gradients, np.split(probe.value, ends), strict=True)):
            recorded = flat.reshape(raw.shape)
            rounding = 1e-12 * max(largest(raw), largest(recorded)) + 64.0 * EPS * before.sizes.back
            if not np.allclose(raw, recorded, rtol=0.0, atol=rounding):
                at = index_of(int(np.argmax(np.abs(raw - recorded))), raw.shape)
                raise Fault(
                    "modes",
                    f"the gradient for argument {{argument}} at coordinate {at} is {raw[at]:.9g} on raw arrays and "
                    f"{recorded[at]:.9g} with create_graph=True: a rule differs between the two, or a fused primitive "
                    "differs from its composed version.",
                    argument,
                    Comparison(coordinate=at, analytic=float(raw[at]), numeric=float(recorded[at]), error=np.inf),
                )

    def _report(
        self, found: Comparison, level: int, argument: int, problem: Problem | None, explanation: str = ""
    ) -> GradcheckReport:
        position, name = self._place(argument)
        return GradcheckReport(
            **vars(found),
            passed=problem is None,
            order=level,
            argument=position,
            name=name,
            problem=problem,
            explanation=explanation.replace("{argument}", f"{position} ({name})" if name else str(position)),
        )

    def _place(self, argument: int) -> tuple[int, str]:
        """Position and name of a differentiable argument; the weights of the output come after the inputs."""
        beyond = argument - len(self.floating)
        if beyond >= 0:
            return len(self.values) + beyond, "weights of the output"
        return self.floating[argument], self.names[self.floating[argument]]


def _equal(x: Any, y: Any) -> bool:
    host = backend_of(x).to_host
    return np.array_equal(host(x), host(y), equal_nan=np.asarray(host(x)).dtype.kind in "fc")


def gradient_function(fn: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The gradient of sum(c * fn(*inputs)), all inputs in one vector, as a function of the inputs and of c."""

    def gradient(*arguments: Any) -> Any:
        inputs, cotangent = arguments[:count], arguments[count]
        out = fn(*inputs)
        if out.requires_grad:
            gradients = grad(out, inputs, cotangent, create_graph=True, allow_unused=True)
        else:
            gradients = [x * 0.0 for x in inputs]
        return concatenate(*[reshape(g, shape=(-1,)) for g in gradients])

    return gradient


# ---------------------------------------------------------------------------------------------------------------------
# `holding_detached`: stop-gradients in numerical derivatives.
#
# For the rules, `detach()` makes a value constant, but finite differences vary it with the input, so the two disagree although
# there is no mistake. An example is the straight-through estimator `z + (e - z).detach()`: its gradient is on purpose not its
# derivative, but that of the function in which e - z is constant. That function can be measured.


def holding_detached(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` in which every `detach()` always returns its value from the first call.

    The first call, which a gradient check makes at the point itself, fixes the constants; wrap `fn` again for another point.

    Example:
        >>> import numpy as np
        >>> from tinyae.testing import gradcheck
        >>> def rounded(z):
        ...     return z + (Tensor(np.round(z.data)) - z).detach()
        >>> z = np.array([0.3, 1.8])
        >>> gradcheck(rounded, [z], raise_on_failure=False).passed
        False
        >>> gradcheck(holding_detached(rounded), [z]).passed
        True
    """
    constants: list[Tensor] = []
    calls = itertools.count()

    def held(*arguments: Any) -> Any:
        with observing(_Held(constants, first=next(calls) == 0)):
            return fn(*arguments)

    return held


class _Held:
    """One call: the first one records the values of `detach()`, later ones return them."""

    def __init__(self, constants: list[Tensor], first: bool) -> None:
        self.constants, self.first, self.position = constants, first, 0

    def detached(self, constant: Tensor) -> Tensor:
        """The value of the same call of `detach()` in the first call of fn."""
        if self.first:
            self.constants.append(constant)
        elif self.position == len(self.constants):
            raise RuntimeError(
                f"holding_detached: fn called detach() {self.position} times in the first call and now more often: it must "
                "call it the same number of times in every call."
            )
        self.position += 1
        return self.constants[self.position - 1]
