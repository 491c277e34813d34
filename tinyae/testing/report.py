"""What a gradient check found: one record, which also knows how to say it in a sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Problem = Literal[
    "gradient",
    "kink",
    "modes",
    "not a tensor",
    "output dtype",
    "gradient shape",
    "gradient dtype",
    "not finite",
    "input modified",
    "random",
]
"""What can be wrong: the derivative differs; the point is a kink; the rules give one gradient on raw arrays and another
on Tensors; or the function is not one that can be checked.
"""

METHODS = {"central": "central differences", "complex": "complex step"}
"""The ways of measuring a slope, and what they are called."""


@dataclass(frozen=True)
class GradcheckReport:
    """The worst disagreement that a gradient check found.

    Attributes:
        passed: whether every comparison stayed within its tolerance and nothing else was wrong.
        order: the order of derivative that the numbers below belong to.
        argument: position of the input; at order 2, a position after the last input is the weight c of the outputs.
        coordinate: index of the element in that input; None for a direction through all its elements.
        analytic: the derivative according to the rules.
        numeric: the derivative as measured.
        error: |analytic - numeric| relative to the larger of the two (or to what rounding allows to see).
        rtol: the error that was allowed.
        compared: how many derivatives were compared, all orders together.
        name: what the caller calls that input; "" without `names=`.
        method: how the slope was measured, "central" or "complex".
        step: the step h of that measurement, in the unit of the input.
        problem: what is wrong, None if nothing is; see `Problem`.
        explanation: where the problem is not a wrong derivative, one sentence that says what it is and what to do.
        errors: the largest relative error of each input by name ("argument 0" without `names=`), all orders together.
        methods: how the slopes with those errors were measured, under the same names.
        redraws: how often new inputs were drawn because the old ones sat on a kink.
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
    name: str = ""
    method: str = "central"
    step: float = 0.0
    problem: Problem | None = None
    explanation: str = ""
    errors: dict[str, float] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    redraws: int = 0

    def __str__(self) -> str:
        if self.explanation:
            return f"gradcheck failed: {self.explanation}"
        if not self.compared:
            return "gradcheck passed: the inputs have no elements, nothing was compared."
        place = "along a random direction" if self.coordinate is None else f"at coordinate {self.coordinate}"
        name = f" ({self.name})" if self.name else ""
        verdict = "passed" if self.passed else "failed"
        return (
            f"gradcheck {verdict}: order {self.order}, argument {self.argument}{name}, {place}: "
            f"analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, relative error {self.error:.1e} "
            f"(allowed {self.rtol:.0e}; {METHODS[self.method]} with step {self.step:g}; {self.compared} derivatives "
            "compared, this one is the worst)"
        )


class GradcheckError(AssertionError):
    """A gradient check failed; `report` holds the numbers."""

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(str(report))
        self.report = report


class Fault(Exception):
    """Something other than a wrong derivative: ends a check and becomes its report.

    Attributes:
        problem: which of `Problem`.
        argument: position among the inputs that are moved.
        numbers: fields of the report that are known.
    """

    def __init__(self, problem: Problem, explanation: str, argument: int = 0, **numbers: object) -> None:
        super().__init__(explanation)
        self.problem: Problem = problem
        self.argument = argument
        self.numbers = numbers
