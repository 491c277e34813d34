"""Mutation testing of the gradient check: break every gradient rule on purpose, and see whether the check fails.

Each rule of each primitive is replaced by one with a mistake (`mutators` lists the mistakes), the gradient checks of its
cases are run, and at least one must fail. A mistake that changes no gradient of any case is counted as equivalent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tinyae import ops
from tinyae.autodiff import Primitive, Tensor, expand, grad
from tinyae.backend import backend_of
from tinyae.backend.windows import ConvSpec
from tinyae.ops.arrays import along
from tinyae.ops.convolution import conv_spec
from tinyae.testing.differences import bounded_signs
from tinyae.testing.gradients import gradcheck
from tinyae.testing.subject import Subject, is_floating
from tinyae.testing.verification import OpCase

Verdict = Literal["caught", "crashed", "equivalent", "escaped"]
"""The result of a mutation: a check failed; the rule raised an error; no gradient changed; or it was not noticed."""


@dataclass(frozen=True)
class Mutation:
    """One rule with one mistake.

    Attributes:
        primitive: whose rule it is.
        position: the argument whose gradient is wrong; None for the composed version of a fused primitive.
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
    """All mutations of the rules of a primitive."""
    found = rules(primitive)
    planned = [Mutation(primitive, i, m) for i in found for m in mutators(len(found))]
    if primitive.composed is not None:
        of_results = [m for m in mutators(0) if m.kind in ("sign", "factor", "off by one") and m.after is not None]
        planned += [Mutation(primitive, None, m) for m in of_results]
    return planned


VARIADIC = 3
"""Number of arguments of a variadic primitive whose rules are broken."""


def rules(primitive: Primitive) -> dict[int, Rule]:
    """The rules of a primitive by argument."""
    every, each, own = primitive.vjp_all, primitive.vjp_each, primitive.vjps
    if every is not None:
        arguments = range(primitive.forward.__code__.co_argcount)
        return dict.fromkeys(
            arguments, lambda c: every(c.g, c.out, c.residuals, [c.position], *c.args, **c.params)[c.position]
        )
    if each is not None:
        return dict.fromkeys(range(VARIADIC), lambda c: each(c.g, c.out, c.position, *c.args, **c.params))
    return dict.fromkeys(sorted(own), lambda c: own[c.position](c.g, c.out, *c.args, **c.params))


@contextmanager
def planted(mutation: Mutation) -> Iterator[None]:
    """Within the block the primitive has the broken rule; the right one is restored even after an error."""
    primitive, position, mutator = mutation.primitive, mutation.position, mutation.mutator
    before: tuple[Any, Any, Any] = (primitive.vjps, primitive.vjp_all, primitive.composed)
    _, every, twin = before
    rule = rules(primitive)[position] if position is not None else lambda call: twin(*call.args, **call.params)

    def broken(g: Any, out: Any, residuals: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        call = Call(primitive, position or 0, g, out, residuals, args, params)
        with np.errstate(all="ignore"):
            result = rule(mutator.before(call) if mutator.before else call)
            return mutator.after(result, call) if mutator.after else result

    def at_position(g: Any, out: Any, *args: Any, **params: Any) -> Any:
        return broken(g, out, None, args, params)

    def at_all(g: Any, out: Any, residuals: Any, wanted: list[int], *args: Any, **params: Any) -> tuple:
        right = list(every(g, out, residuals, wanted, *args, **params))
        if position in wanted:
            right[position] = broken(g, out, residuals, args, params)
        return tuple(right)

    if position is None:
        primitive.composed = lambda *args, **params: broken(None, None, None, args, params)
    else:  # the engine asks `vjp_all` first, and a rule in `vjps` before the one in `vjp_each`
        primitive.vjps = {**primitive.vjps, position: at_position}
        primitive.vjp_all = None if every is None else at_all
    try:
        yield
    finally:
        primitive.vjps, primitive.vjp_all, primitive.composed = before


class Trial:
    """The cases of one primitive, with the gradients of its right rules.

    Args:
        primitive: to be broken.
        cases: those of other primitives, without a gradient or without elements are ignored.
        seed: for inputs and cotangents.
    """

    def __init__(self, primitive: Primitive, cases: Sequence[OpCase], seed: int = 0) -> None:
        self.primitive = primitive
        rng = np.random.default_rng(seed)
        mine = [c for c in cases if c.op is primitive and c.order and any(np.prod(s) for s in c.shapes)]
        self.subjects = [(case, case.subject(rng)) for case in mine]
        self.right = [derivatives(subject, case.order) for case, subject in self.subjects]

    def verdict(self, mutation: Mutation) -> Verdict:
        """Plant a mutation and run the gradient checks of all cases until one fails."""
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
                except Exception:  # a broken rule may raise anything
                    return "crashed"
                if not report.passed:
                    return "caught"
        return "escaped" if changed else "equivalent"


def derivatives(subject: Subject, order: int, seed: int = 0) -> list[Tensor]:
    """Gradients under random cotangents: on raw arrays, on Tensors, and for order 2 the gradients of those."""
    rng = np.random.default_rng(seed)
    leaves = [Tensor(x, requires_grad=True) for x in subject.inputs]
    out = subject.fn(*leaves)
    backend = backend_of(out.data)
    cotangent = Tensor(backend.to_device(bounded_signs(rng, out.shape)), requires_grad=True)
    raw = grad(out, leaves, cotangent, allow_unused=True)
    first = grad(out, leaves, cotangent, create_graph=True, allow_unused=True)
    found = [*raw, *first]
    if order > 1:
        variables = [*leaves, cotangent]
        for total in [(g * backend.to_device(bounded_signs(rng, g.shape))).sum() for g in first]:
            if total.requires_grad:
                found += grad(total, variables, allow_unused=True)
            else:
                found += [Tensor(backend.xp.zeros(x.shape)) for x in variables]
    return found


def _same(found: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    pairs = [(a.data, b.data) for a, b in zip(found, right, strict=True)]
    return all(np.allclose(a, b, rtol=1e-9, atol=1e-12 * max(1.0, np.abs(b).max(initial=0.0))) for a, b in pairs)


def survey(cases: Sequence[OpCase], each: Callable[[Any], Any] = iter) -> dict[Mutation, Verdict]:
    """Run all mutations of all primitives in the cases, and return their verdicts.

    Args:
        cases: e.g. `tinyae.testing.tables.CASES`, or those of your own primitives.
        each: a wrapper for the list of primitives, e.g. a progress bar.
    """
    primitives = list(dict.fromkeys(c.op for c in cases if isinstance(c.op, Primitive) and rules(c.op)))
    verdicts: dict[Mutation, Verdict] = {}
    for primitive in each(primitives):
        trial = Trial(primitive, cases)
        verdicts.update((mutation, trial.verdict(mutation)) for mutation in mutations_of(primitive))
    return verdicts


# ---------------------------------------------------------------------------------------------------------------------
# Mutators: typical mistakes in gradient rules.
#
# A rule computes a gradient from the cotangent g, the saved result, the arguments and the parameters. A mutator either
# changes one of those before the rule is called (a transposed operand, a stale value) or changes what the rule returns (a
# sign, a missing sum). It uses `tinyae.ops`, so that the broken rule still works on arrays and on Tensors, and keeps the
# shape: a mistake that raises an error needs no gradient check.
#
# A mutator that does not apply (no second axis to transpose, no broadcasting to undo) changes nothing, and the mutation is
# counted as equivalent.


@dataclass(frozen=True)
class Call:
    """One call of a gradient rule.

    Attributes:
        primitive: whose rule it is.
        position: of the argument whose gradient is computed.
        g, out, residuals, args, params: the arguments of the rule.
    """

    primitive: Primitive
    position: int
    g: Any
    out: Any
    residuals: Any
    args: tuple[Any, ...]
    params: dict[str, Any]


Rule = Callable[[Call], Any]
"""A gradient rule, however it was registered."""


@dataclass(frozen=True)
class Mutator:
    """One way to break any rule.

    Attributes:
        kind: the class of mistake, e.g. "sign".
        detail: the exact mistake.
        before: changes the call, or None.
        after: changes the result, or None.
    """

    kind: str
    detail: str
    before: Callable[[Call], Call] | None = None
    after: Callable[[Any, Call], Any] | None = None


def mutators(arguments: int) -> Iterator[Mutator]:
    """All mutators for a rule of a primitive with this number of arguments."""
    yield Mutator("sign", "-gradient", after=lambda c, call: -c)
    yield Mutator("dropped term", "gradient 0", after=lambda c, call: c * 0.0)
    yield Mutator("factor", "1% too large", after=lambda c, call: c * 1.01)
    yield Mutator("factor", "twice", after=lambda c, call: c * 2.0)
    yield Mutator("missing sum", "first copy only", after=_first_copy)
    yield Mutator("missing sum", "mean instead of sum", after=_mean_copy)
    yield Mutator("missing sum", "first row of g only", before=lambda call: replace(call, g=_first_only(call.g, 0)))
    yield Mutator("dropped broadcast", "first element of the last axis only", after=lambda c, call: _first_only(c, -1))
    yield Mutator("dropped broadcast", "first element of the first axis only", after=lambda c, call: _first_only(c, 0))
    yield Mutator("off by one", "gradient, axis 0", after=lambda c, call: _rolled(c, 0))
    yield Mutator("off by one", "gradient, axis -1", after=lambda c, call: _rolled(c, -1))
    yield Mutator("off by one", "the axis after", before=_next_axis)
    yield Mutator("off by one", "before and after exchanged", before=_exchanged_widths)
    yield Mutator("off by one", "the stride of a window", before=_windows(_longer_stride))
    yield Mutator("off by one", "the first pixel of a window", before=_windows(_moved_window))
    yield Mutator("transposed operand", "gradient", after=lambda c, call: _transposed(c))
    yield Mutator("transposed operand", "axes not inverted", after=_forward_axes)
    yield Mutator("stale value", "result of another call", before=_result_of_another_call)
    yield Mutator("stale value", "argument in place of the result", before=_argument_for_result)
    yield Mutator("swapped arguments", "rule of the neighbor", after=_gradient_of_neighbor)
    yield Mutator("swapped arguments", "arguments reversed", before=_reversed_arguments)
    for name in ("g", "out", *range(arguments)):
        word = f"argument {name}" if isinstance(name, int) else name
        for kind, change in (
            ("dropped term", lambda x: x * 0.0),
            ("off by one", _rolled),
            ("transposed operand", _transposed),
            ("cut history", lambda x: x.detach() if isinstance(x, Tensor) else x),
            *([("stale value", lambda x: x * 0.9)] if isinstance(name, int) else []),  # what it was a step ago
        ):
            yield Mutator(kind, word, before=_changing(name, change))


def _changing(name: str | int, change: Callable[[Any], Any]) -> Callable[[Call], Call]:
    """Change g, the saved result, or the argument at a position if it is a floating-point array."""

    def before(call: Call) -> Call:
        if isinstance(name, str):
            return replace(call, **{name: change(getattr(call, name))})
        if name >= len(call.args) or not is_floating(call.args[name]):
            return call
        return replace(call, args=(*call.args[:name], change(call.args[name]), *call.args[name + 1 :]))

    return before


def _rolled(x: Any, axis: int = -1) -> Any:
    """Every element one place further along an axis, the last one first."""
    if not x.ndim or x.shape[axis] < 2:
        return x
    n = x.shape[axis]
    last, rest = along(x, axis, n - 1, n), along(x, axis, 0, n - 1)
    return ops.concatenate(ops.getitem(x, index=last), ops.getitem(x, index=rest), axis=axis)


def _transposed(x: Any) -> Any:
    """The last two axes exchanged but the shape kept, like a wrong memory layout."""
    return ops.reshape(ops.swap_last(x), shape=x.shape) if x.ndim > 1 else x


def _first_only(x: Any, axis: int) -> Any:
    """Zeros but for the first place along an axis."""
    if not x.ndim or x.shape[axis] < 2:
        return x
    first, rest = along(x, axis, 0, 1), along(x, axis, 1, x.shape[axis])
    return ops.concatenate(ops.getitem(x, index=first), ops.getitem(x, index=rest) * 0.0, axis=axis)


def _copies(call: Call) -> tuple[Any, ...] | None:
    """The index of the first copy of an argument that is broadcast; None if it is not."""
    shape = getattr(call.args[call.position], "shape", None)
    if not call.primitive.elementwise or shape is None or shape == call.g.shape or not math.prod(call.g.shape):
        return None
    lead = len(call.g.shape) - len(shape)
    kept = [slice(0, 1) if n == 1 else slice(None) for n in shape]
    return (*[0] * lead, *kept)


def _first_copy(c: Any, call: Call) -> Any:
    index = _copies(call)
    return c if index is None else ops.getitem(expand(c, shape=call.g.shape), index=index)


def _mean_copy(c: Any, call: Call) -> Any:
    if _copies(call) is None:
        return c
    return c * (math.prod(call.args[call.position].shape) / math.prod(call.g.shape))


def _next_axis(call: Call) -> Call:
    """`axis` replaced by the next axis, if that has the same length."""
    axis, x = call.params.get("axis"), call.args[0]
    if not isinstance(axis, int) or x.ndim < 2:
        return call
    other = (axis + 1) % x.ndim
    return replace(call, params={**call.params, "axis": other}) if x.shape[other] == x.shape[axis] else call


def _exchanged_widths(call: Call) -> Call:
    widths = call.params.get("widths")
    return call if widths is None else replace(call, params={**call.params, "widths": tuple(w[::-1] for w in widths)})


def _windows(change: Callable[[ConvSpec], ConvSpec]) -> Callable[[Call], Call]:
    """Change the windows of a convolution or pooling."""

    def before(call: Call) -> Call:
        params = call.params
        if "spec" in params:
            return replace(call, params={**params, "spec": change(params["spec"])})
        if "kernel_size" not in params:
            return call
        kernel, size = params["kernel_size"], params.get("size", call.args[0].shape[1:3])
        stride, padding = params.get("stride") or kernel, params.get("padding", 0)
        spec = change(conv_spec(call.primitive.name, size, kernel, stride, padding))
        residuals = spec if isinstance(call.residuals, ConvSpec) else call.residuals
        return replace(call, params={**params, "stride": spec.stride, "padding": spec.padding}, residuals=residuals)

    return before


def _longer_stride(spec: ConvSpec) -> ConvSpec:
    """Windows one pixel further apart along the last axis, with padding for the same number of windows."""
    (down, across), (rows, (left, right)) = spec.stride, spec.padding
    return replace(spec, stride=(down, across + 1), padding=(rows, (left, right + spec.out[1] - 1)))


def _moved_window(spec: ConvSpec) -> ConvSpec:
    """Every window one pixel further along the last axis, where the padding leaves room for it."""
    rows, (left, right) = spec.padding
    return replace(spec, padding=(rows, (left - 1, right + 1))) if left else spec


def _forward_axes(c: Any, call: Call) -> Any:
    """The permutation of the forward pass in place of its inverse."""
    axes = call.params.get("axes")
    again = None if axes is None else ops.transpose(call.g, axes=axes)
    return c if again is None else ops.reshape(again, shape=c.shape)


def _result_of_another_call(call: Call) -> Call:
    others = [x * 0.9 if is_floating(x) and hasattr(x, "ndim") else x for x in call.args]
    raw = [x.data if isinstance(x, Tensor) else x for x in others]
    out = call.primitive.forward(*raw, **call.params)
    residuals = call.residuals
    if call.primitive.composed is not None:
        out, residuals = out
    elif isinstance(call.g, Tensor):
        out = call.primitive(*others, **call.params)
    return replace(call, out=out, residuals=residuals)


def _argument_for_result(call: Call) -> Call:
    first = next((x for x in call.args if is_floating(x)), None)
    return replace(call, out=first) if first is not None and first.shape == call.out.shape else call


def _reversed_arguments(call: Call) -> Call:
    shapes = {getattr(x, "shape", None) for x in call.args}
    return replace(call, args=call.args[::-1]) if len(shapes) == 1 else call


def _gradient_of_neighbor(c: Any, call: Call) -> Any:
    """The gradient of the next argument, if it has the same shape."""
    count = len(call.args)
    neighbor = (call.position + 1) % count
    rule = rules(call.primitive).get(neighbor)
    if count < 2 or rule is None or getattr(call.args[neighbor], "shape", None) != call.args[call.position].shape:
        return c
    return rule(replace(call, position=neighbor))
