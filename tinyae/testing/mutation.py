"""Would the check notice? Every gradient rule broken on purpose, and the check asked again.

A gradient check that passes says little until one knows that it can fail. So each rule of each primitive is replaced by
one with a mistake in it (`mutators` lists the mistakes), the gradient checks of its cases are run, and at least one must
fail. A mistake that changes no gradient of any case, of first or second order, is no mistake as far as the cases can
tell: it is measured, counted as equivalent and not as caught.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tinyae.autodiff import Primitive, Tensor, grad
from tinyae.testing.gradcheck import gradcheck
from tinyae.testing.mutators import Call, Mutator, broken, mutators, rules
from tinyae.testing.op_case import OpCase, Subject
from tinyae.testing.probe import bounded_signs

Verdict = Literal["caught", "crashed", "equivalent", "escaped"]
"""What became of a mutation: a check failed; the rule raised an error; no gradient changed; or nobody noticed."""


@dataclass(frozen=True)
class Mutation:
    """One rule with one mistake.

    Attributes:
        primitive: whose rule it is.
        position: the argument whose gradient is spoiled; None for the composed twin of a fused primitive.
        mutator: the mistake.
    """

    primitive: Primitive
    position: int | None
    mutator: Mutator

    @property
    def kind(self) -> str:
        """The class of mistake."""
        return self.mutator.kind

    def __str__(self) -> str:
        where = "composed twin" if self.position is None else f"rule {self.position}"
        return f"{self.primitive.name}, {where}: {self.mutator.kind} ({self.mutator.detail})"


def mutations_of(primitive: Primitive) -> list[Mutation]:
    """Every way in which the rules of a primitive can be broken."""
    found = rules(primitive)
    planned = [Mutation(primitive, i, m) for i in found for m in mutators(len(found))]
    if primitive.composed is not None:
        planned += [Mutation(primitive, None, m) for m in mutators(0) if m.kind in ("sign", "factor", "off by one")]
    return [m for m in planned if m.position is not None or m.mutator.after is not None]


@contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """The primitive has the broken rule, for a block; restored afterwards, also after an error."""
    primitive, position = mutation.primitive, mutation.position
    before = (dict(primitive.vjps), primitive.vjp_each, primitive.vjp_all, primitive.composed)
    if position is None:
        primitive.composed = _broken_twin(primitive, mutation.mutator)
    else:
        _plant(primitive, position, broken(rules(primitive)[position], mutation.mutator))
    try:
        yield
    finally:
        primitive.vjps, primitive.vjp_each, primitive.vjp_all, primitive.composed = before


def _plant(primitive: Primitive, position: int, spoiled: Callable[[Call], Any]) -> None:
    """Put a broken rule where the engine looks for it, whichever way the rule was registered."""
    every, each = primitive.vjp_all, primitive.vjp_each
    if every is not None:

        def all_arguments(g: Any, out: Any, residuals: Any, wanted: list[int], *args: Any, **params: Any) -> tuple:
            right = list(every(g, out, residuals, wanted, *args, **params))
            if position in wanted:
                right[position] = spoiled(Call(primitive, position, g, out, residuals, args, params))
            return tuple(right)

        primitive.vjp_all = all_arguments
    elif each is not None:

        def each_argument(g: Any, out: Any, i: int, *args: Any, **params: Any) -> Any:
            if i != position:
                return each(g, out, i, *args, **params)
            return spoiled(Call(primitive, i, g, out, None, args, params))

        primitive.vjp_each = each_argument
    else:
        primitive.vjps = dict(primitive.vjps)
        primitive.vjps[position] = lambda g, out, *args, **params: spoiled(
            Call(primitive, position, g, out, None, args, params)
        )


def _broken_twin(primitive: Primitive, mutator: Mutator) -> Callable[..., Any]:
    twin, after = primitive.composed, mutator.after
    assert twin is not None
    assert after is not None

    def spoiled(*args: Any, **params: Any) -> Any:
        return after(twin(*args, **params), Call(primitive, 0, None, None, None, args, params))

    return spoiled


class Trial:
    """The cases of one primitive, with what its right rules give on them.

    Args:
        primitive: to be broken.
        cases: of that primitive; those without a gradient or without elements are left out.
        seed: of inputs and cotangents.
    """

    def __init__(self, primitive: Primitive, cases: Sequence[OpCase], seed: int = 0) -> None:
        self.primitive = primitive
        rng = np.random.default_rng(seed)
        mine = [c for c in cases if c.op is primitive and c.order and any(np.prod(s) for s in c.shapes)]
        self.subjects = [(case, case.subject(rng)) for case in mine]
        self.right = [derivatives(subject, case.order) for case, subject in self.subjects]

    def verdict(self, mutation: Mutation) -> Verdict:
        """Plant a mutation and ask the gradient checks of all cases until one fails."""
        changed = False
        with planted(mutation), np.errstate(all="ignore"):
            for (case, subject), right in zip(self.subjects, self.right, strict=True):
                try:
                    found = derivatives(subject, case.order)
                    if _same(found, right):
                        continue
                    changed = True
                    report = gradcheck(
                        subject.fn, subject.inputs, names=subject.names, order=case.order, raise_on_failure=False
                    )
                except Exception:  # whatever a broken rule raises
                    return "crashed"
                if not report.passed:
                    return "caught"
        return "escaped" if changed else "equivalent"


def derivatives(subject: Subject, order: int, seed: int = 0) -> list[np.ndarray]:
    """Gradients under random cotangents: on raw arrays, on Tensors, and from order 2 the gradients of those."""
    rng = np.random.default_rng(seed)
    leaves = [Tensor(x, requires_grad=True) for x in subject.inputs]
    out = subject.fn(*leaves)
    cotangent = Tensor(np.asarray(bounded_signs(rng, out.shape)), requires_grad=True)
    raw = grad(out, leaves, cotangent, allow_unused=True)
    first = grad(out, leaves, cotangent, create_graph=True, allow_unused=True)
    found = [*raw, *first]
    if order > 1:
        mixed = [(g * np.asarray(bounded_signs(rng, g.shape))).sum() for g in first]
        for total in mixed:
            if total.requires_grad:
                found += grad(total, [*leaves, cotangent], allow_unused=True)
            else:
                found += [Tensor(np.zeros(x.shape)) for x in [*leaves, cotangent]]
    return [g.numpy() for g in found]


def _same(found: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> bool:
    return len(found) == len(right) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12 * max(1.0, np.abs(b).max(initial=0.0)))
        for a, b in zip(found, right, strict=True)
    )


def survey(cases: Sequence[OpCase], each: Callable[[Any], Any] = iter) -> dict[Mutation, Verdict]:
    """Break every rule of every primitive that the cases call, in every way, and say what became of it.

    Args:
        cases: e.g. `tinyae.testing.tables.CASES`, or those of your own primitives.
        each: wraps the list of primitives, e.g. in a progress bar.
    """
    primitives = list(dict.fromkeys(c.op for c in cases if isinstance(c.op, Primitive) and rules(c.op)))
    verdicts: dict[Mutation, Verdict] = {}
    for primitive in each(primitives):
        trial = Trial(primitive, cases)
        verdicts.update((mutation, trial.verdict(mutation)) for mutation in mutations_of(primitive))
    return verdicts
