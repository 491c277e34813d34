"""`check_case`: every question that can be asked of one operation, layer or model.

Each question is a function of a case and a generator that returns nothing or raises AssertionError. The test suite asks
them one by one, so that a failure names the question; `check_case` asks all that apply, in one line of your own tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from tinyae.autodiff import Primitive, Tensor, grad
from tinyae.backend import CPU, Backend
from tinyae.testing.gradcheck import gradcheck
from tinyae.testing.module_case import ModuleCase
from tinyae.testing.op_case import OpCase
from tinyae.testing.probe import bounded_signs
from tinyae.testing.report import GradcheckReport

Case = OpCase | ModuleCase
Question = Callable[[Any, np.random.Generator], None]


def check_case(case: Case, *, seed: int = 0) -> None:
    """Ask a case everything; the first wrong answer raises AssertionError with the case, the question and the numbers.

    Of an `OpCase`: value against the reference, first and second order, complex step where it is analytic, equal
    gradients from both modes of the rules, float32 kept, inputs only read, strided arrays; of one of order 0, that it
    carries no gradient. Of a `ModuleCase`: first and second order for inputs and parameters, float32 kept.

    Args:
        case: what to check.
        seed: of the inputs and cotangents.

    Example:
        >>> from tinyae import ops
        >>> from tinyae.testing import cases
        >>> for case in cases(ops.tanh, [((3, 4),), ((),), ((0, 2),)], np.tanh):
        ...     check_case(case)
    """
    for question in questions(case):
        try:
            question(case, np.random.default_rng(seed))
        except AssertionError as error:
            detail = " ".join(str(error).split())
            raise AssertionError(f"{case.name}: {question.__name__.replace('_', ' ')}: {detail}") from error


def questions(case: Case) -> list[Question]:
    """The questions that apply to a case, in the order in which a mistake is easiest to understand."""
    if isinstance(case, ModuleCase):
        return [first_derivatives, *([second_derivatives] if case.order > 1 else []), module_keeps_float32]
    asked: list[Question] = [equals_the_reference, arrays_are_only_read, keeps_float32]
    if case.order == 0:
        return [*asked, carries_no_gradient]
    asked += [first_derivatives, both_rule_modes_agree, strided_arrays_give_the_same]
    if case.order > 1:
        asked.append(second_derivatives)
    if case.analytic:
        asked.append(derivatives_equal_the_complex_step)
    if isinstance(case.op, Primitive):
        asked.append(rules_on_raw_arrays_keep_float32)
    return asked


def equals_the_reference(case: OpCase, rng: np.random.Generator) -> None:
    """The values are the reference's to 12 digits, on arrays and on Tensors."""
    arguments = case.make_inputs(rng)
    expected = np.asarray(case.reference(*arguments, **case.params))
    out = call(case, arguments)
    assert np.shape(out) == expected.shape, f"shape {np.shape(out)}, the reference gives {expected.shape}"
    assert_allclose(out, expected, rtol=1e-12, atol=1e-14)
    wrapped = call(case, as_leaves(case, arguments))
    assert isinstance(wrapped, Tensor), f"Tensors in, {type(wrapped).__name__} out"
    assert_array_equal(wrapped.data, out)


def first_derivatives(case: Case, rng: np.random.Generator) -> None:
    """The gradient equals central differences to 1e-6."""
    gradient_report(case, rng, order=1, method="central")


def second_derivatives(case: Case, rng: np.random.Generator) -> None:
    """The gradient of the gradient equals central differences to 1e-5, for inputs and cotangent."""
    gradient_report(case, rng, order=case.order, method="central")


def derivatives_equal_the_complex_step(case: OpCase, rng: np.random.Generator) -> None:
    """Every order of the case equals the complex step to 1e-10."""
    gradient_report(case, rng, order=case.order, method="complex")


def gradient_report(case: Case, rng: np.random.Generator, backend: Backend = CPU, **options: Any) -> GradcheckReport:
    """`gradcheck` of a case on some device, with inputs drawn anew where they sit on a kink.

    Args:
        case: an operation, layer or model.
        rng: draws the inputs.
        backend: where to compute.
        options: of `gradcheck`.
    """
    subject = case.subject(rng, backend)
    return gradcheck(
        subject.fn, subject.inputs, names=subject.names, redraw=lambda: case.subject(rng, backend).inputs, **options
    )


def both_rule_modes_agree(case: OpCase, rng: np.random.Generator) -> None:
    """The rules give the same numbers on raw arrays and on Tensors: to the bit, or to rounding for a fused primitive."""
    arguments = case.make_inputs(rng)
    weights = cotangent(case, arguments, rng)
    fused = getattr(case.op, "composed", None) is not None
    raw, recorded = gradients(case, arguments, weights), gradients(case, arguments, weights, create_graph=True)
    for a, b in zip(raw, recorded, strict=True):
        assert_allclose(a, b, rtol=1e-12 if fused else 0, atol=1e-14 if fused else 0)


def keeps_float32(case: OpCase, rng: np.random.Generator) -> None:
    """float32 in, float32 out: values, gradients, and what `backward` deposits."""
    arguments = case.make_inputs(rng, "float32")
    out = call(case, arguments)
    if case.order == 0:
        assert out.dtype in (np.float32, np.bool_), f"float32 in, {out.dtype} out"
        return
    assert out.dtype == np.float32, f"float32 in, {out.dtype} out"
    leaves = as_leaves(case, arguments)
    result = call(case, leaves)
    weights = cotangent(case, arguments, rng)
    for create_graph in (False, True):
        found = [g.dtype for g in gradients(case, arguments, weights, create_graph)]
        assert all(dtype == np.float32 for dtype in found), f"gradients of float32 arrays are {found}"
    result.backward(weights, retain_graph=True)
    result.backward(weights)
    assert all(leaves[i].grad.dtype == np.float32 for i in case.moving)


def rules_on_raw_arrays_keep_float32(case: OpCase, rng: np.random.Generator) -> None:
    """Each rule alone gives float32 for float32, before the engine casts its result."""
    arguments = case.make_inputs(rng, "float32")
    op = case.op
    out, residuals = op.forward(*arguments, **case.params), None
    if op.composed is not None:
        out, residuals = out
    g = cotangent(case, arguments, rng)
    for i in case.moving:
        if op.vjp_all is not None:
            c = op.vjp_all(g, out, residuals, [i], *arguments, **case.params)[i]
        elif i in op.vjps:
            c = op.vjps[i](g, out, *arguments, **case.params)
        else:
            c = op.vjp_each(g, out, i, *arguments, **case.params)
        assert c.dtype == np.float32, f"the rule for argument {i} gives {c.dtype} for float32"


def arrays_are_only_read(case: OpCase, rng: np.random.Generator) -> None:
    """Nothing writes into an input, a result or a cotangent, in any mode."""
    arguments = case.make_inputs(rng)
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    copies = [a.copy() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    try:
        _read_only_passes(case, arguments, rng)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise AssertionError("it writes into an input, a result or a cotangent") from error
    finally:
        for a in arrays:
            a.flags.writeable = True
    for array, copy in zip(arrays, copies, strict=True):
        assert_array_equal(array, copy)


def _read_only_passes(case: OpCase, arguments: list[Any], rng: np.random.Generator) -> None:
    out = call(case, as_leaves(case, arguments))
    if case.order == 0:
        return
    weights = cotangent(case, arguments, rng)
    weights.flags.writeable = False
    if isinstance(out._data, np.ndarray):
        out._data.flags.writeable = False
    gradients(case, arguments, weights, create_graph=True)
    gradients(case, arguments, weights)
    out.backward(weights)


def strided_arrays_give_the_same(case: OpCase, rng: np.random.Generator) -> None:
    """Values and gradients do not depend on how the arrays lie in memory."""
    arguments = case.make_inputs(rng)
    weights = cotangent(case, arguments, rng)
    strided = [scattered_in_memory(a) if i in case.moving else a for i, a in enumerate(arguments)]
    assert_allclose(call(case, strided), call(case, arguments), rtol=1e-13, atol=1e-14)
    found = gradients(case, strided, scattered_in_memory(weights))
    for plain, other in zip(gradients(case, arguments, weights), found, strict=True):
        assert_allclose(other, plain, rtol=1e-13, atol=1e-14)


def carries_no_gradient(case: OpCase, rng: np.random.Generator) -> None:
    """A piecewise constant function gives constants."""
    assert not call(case, as_leaves(case, case.make_inputs(rng))).requires_grad, "a constant result requires a gradient"


def module_keeps_float32(case: ModuleCase, rng: np.random.Generator) -> None:
    """A module of float32 parameters gives float32 for float32, and float32 gradients."""
    module = case.module(rng)
    leaves = [Tensor(x, requires_grad=True) for x in case.make_inputs(rng, "float32")]
    out = case.call(module, *leaves) if case.call else module(*leaves)
    assert out.dtype == np.float32, f"float32 in, {out.dtype} out"
    out.backward(np.ones(out.shape, np.float32))
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.dtype == np.float32, f"the gradient of {name} is {parameter.grad.dtype}"


def call(case: OpCase, arguments: list[Any]) -> Any:
    """The function of a case on all its positional arguments."""
    return case.op(*arguments, **case.params)


def as_leaves(case: OpCase, arguments: list[Any]) -> list[Any]:
    """The arguments with a leaf Tensor for each differentiable one."""
    return [Tensor(a, requires_grad=True) if i in case.moving else a for i, a in enumerate(arguments)]


def gradients(case: OpCase, arguments: list[Any], weights: Any, create_graph: bool = False) -> list[Any]:
    """Gradients of sum(weights * op(...)) for the differentiable arguments."""
    leaves = as_leaves(case, arguments)
    found = grad(call(case, leaves), [leaves[i] for i in case.moving], weights, create_graph=create_graph)
    return [g.data for g in found]


def cotangent(case: OpCase, arguments: list[Any], rng: np.random.Generator) -> np.ndarray:
    """Random weights of both signs and of the output's shape and dtype, none of them small."""
    out = np.asarray(call(case, arguments))
    return np.asarray(bounded_signs(rng, out.shape), dtype=out.dtype)


def scattered_in_memory(x: np.ndarray) -> np.ndarray:
    """The same values, axes in reverse order in memory and every second element unused."""
    room = np.full(tuple(2 * n for n in x.shape[::-1]), np.nan)
    every_second: tuple[Any, ...] = (..., *[slice(None, None, 2)] * x.ndim)
    view = room.transpose()[every_second]
    view[...] = x
    return view
