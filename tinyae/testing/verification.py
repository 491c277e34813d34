"""`check_case` and `check_module`: all checks of one function or module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from tinyae.autodiff import Tensor
from tinyae.backend import CPU, Backend
from tinyae.checks import checked
from tinyae.nn import Module
from tinyae.testing.differences import GradcheckReport
from tinyae.testing.gradients import gradcheck, holding_detached
from tinyae.testing.invariances import assert_dtype_kept, assert_layout_independent
from tinyae.testing.laws import assert_inputs_unchanged
from tinyae.testing.subject import Function, Subject, function_of

# ---------------------------------------------------------------------------------------------------------------------
# `OpCase`: what a function should compute, on which inputs, and how smooth it is there.
#
# One case has a function, its arguments, and an independent reference in NumPy or SciPy that shares no code with it.
# Derivatives can only be measured where the function is smooth, so each case also has a domain, which draws inputs away from
# kinks and poles:
#
#     cases(ops.log, [((3, 4),), ((),)], np.log, positive)
#
# defines two cases, a (3, 4) array and a single number, both drawn from 0.3 to 2.5.

Shape = tuple[int, ...]
"""The shape of one array."""

Domain = Callable[[np.random.Generator, list[Shape]], list[np.ndarray]]
"""Draws one float64 array for each shape."""


def between(low: float, high: float) -> Domain:
    """The domain of uniform draws in [low, high)."""
    return lambda rng, shapes: [np.asarray(rng.uniform(low, high, shape)) for shape in shapes]


real = between(-2.0, 2.0)
"""Both signs, up to 2."""

positive = between(0.3, 2.5)
"""For logarithms and roots."""


def nonzero(rng: np.random.Generator, shapes: list[Shape]) -> list[np.ndarray]:
    """Both signs, at least 0.2 from 0: for divisors, and for functions with a kink at 0."""
    return [np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.2, 2.0, shape)) for shape in shapes]


def apart(rng: np.random.Generator, shapes: list[Shape]) -> list[np.ndarray]:
    """Any two elements, of one array or of two, differ by at least 0.2: no ties, for maxima and distances."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    values = (rng.permutation(sum(sizes)) - sum(sizes) / 2) * 0.3 + rng.uniform(-0.05, 0.05, sum(sizes))
    return [part.reshape(shape) for part, shape in zip(np.split(values, np.cumsum(sizes)[:-1]), shapes, strict=True)]


def whole(rng: np.random.Generator, shapes: list[Shape]) -> list[np.ndarray]:
    """Whole numbers from -2 to 2: many ties, for comparisons."""
    return [np.asarray(rng.integers(-2, 3, shape).astype(float)) for shape in shapes]


@dataclass(frozen=True)
class OpCase:
    """One function with one set of shapes and parameters.

    Attributes:
        op: a primitive, or a function composed of primitives.
        name: shown in reports and by pytest.
        arguments: one entry per positional argument: a shape (drawn from `domain` and differentiated), or a fixed value.
        reference: an independent implementation on raw arrays.
        domain: draws the inputs, away from points where the function is not smooth.
        params: keyword parameters.
        analytic: whether the function is analytic and NumPy supports it for complex arrays.
        order: highest order of derivative to check; 0 for piecewise constant functions.
    """

    op: Function
    name: str
    arguments: tuple[Any, ...]
    reference: Function
    domain: Domain = real
    params: dict[str, Any] = field(default_factory=dict)
    analytic: bool = True
    order: int = 2

    @property
    def shapes(self) -> list[Shape]:
        """Shapes of the differentiable arguments."""
        return [a for a in self.arguments if isinstance(a, tuple)]

    @property
    def moving(self) -> list[int]:
        """Positions of the differentiable arguments."""
        return [i for i, a in enumerate(self.arguments) if isinstance(a, tuple)]

    def make_inputs(self, rng: np.random.Generator, dtype: str = "float64") -> list[Any]:
        """All positional arguments, the differentiable ones freshly drawn."""
        drawn = iter(self.domain(rng, self.shapes))
        return [next(drawn).astype(dtype) if isinstance(a, tuple) else a for a in self.arguments]

    @property
    def names(self) -> list[str]:
        """Names of the differentiable arguments; `xs[0]`, `xs[1]` for a variadic function."""
        names: list[str] = []
        for parameter in inspect.signature(self.op).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                names += [f"{parameter.name}[{i}]" for i in range(len(self.arguments) - len(names))]
            elif parameter.kind is not parameter.KEYWORD_ONLY:
                names.append(parameter.name)
        return [names[i] for i in self.moving]

    def subject(self, rng: np.random.Generator, backend: Backend = CPU) -> Subject:
        """The function of only the differentiable arguments, with random values for those."""
        arguments, params = moved((tuple(self.make_inputs(rng)), self.params), backend)

        def function(*moving: Any) -> Any:
            full = list(arguments)
            for i, x in zip(self.moving, moving, strict=True):
                full[i] = x
            return self.op(*full, **params)

        return Subject(function, [arguments[i] for i in self.moving], self.names)


def cases(
    op: Function,
    variants: Sequence[tuple[Any, ...]],
    reference: Function,
    domain: Domain = real,
    *,
    analytic: bool = True,
    order: int = 2,
    **params: Any,
) -> Iterator[OpCase]:
    """One case per tuple of arguments in `variants`, all with the same parameters; see `OpCase`."""
    for arguments in variants:
        words = [_word(a) for a in arguments] + [f"{name}={value}" for name, value in params.items()]
        name = f"{op.__name__}({', '.join(words)})".replace("\n", "")
        yield OpCase(op, name, tuple(arguments), reference, domain, params, analytic, order)


def moved(value: Any, backend: Backend) -> Any:
    """Arguments and parameters with their arrays moved to another device; unchanged for the CPU."""
    if backend is CPU:
        return value
    if isinstance(value, (np.ndarray, list)):
        return backend.to_device(np.asarray(value))
    if isinstance(value, tuple):
        return tuple(moved(item, backend) for item in value)
    if isinstance(value, dict):
        return {name: moved(item, backend) for name, item in value.items()}
    return value


def _word(argument: Any) -> str:
    if isinstance(argument, tuple):
        return "x".join(map(str, argument)) or "0d"
    return type(argument).__name__ if isinstance(argument, np.ndarray) else repr(argument)


# ---------------------------------------------------------------------------------------------------------------------
# `ModuleCase`: a layer or a model as a function of its inputs and parameters, see `function_of`.


@checked
def check_module(module: Module, *inputs: Any, call: Function | None = None, **options: Any) -> GradcheckReport:
    """Check the gradients of a layer or model for its inputs and every parameter, in its current mode.

    Args:
        module: of any dtype; it is computed in float64 and not changed.
        inputs: arrays or Tensors. Floating-point ones are checked.
        call: from (module, *inputs) to one Tensor; by default `module(*inputs)`. For a model, e.g.
            `lambda model, x: model.loss(x).total`.
        options: of `gradcheck`, such as `order=2`.

    Raises:
        GradcheckError: names the parameter, e.g. `decoder.0.weight`.

    Example:
        >>> from tinyae import nn
        >>> report = check_module(nn.Dense(3, 2, activation="tanh"), np.ones((4, 3)), order=2)
        >>> report.passed, sorted(report.errors)
        (True, ['bias', 'input', 'weight', 'weights of the output'])
    """
    subject = function_of(module, *inputs, call=call)
    return gradcheck(subject.fn, subject.inputs, names=subject.names, **options)


@dataclass(frozen=True)
class ModuleCase:
    """One layer or model with one set of sizes.

    Attributes:
        name: shown in reports and by pytest.
        build: from a random generator to the module, of any dtype.
        shapes: of the inputs, drawn from `domain` and differentiated like the parameters.
        domain: draws the inputs.
        training: whether it is checked in training or in evaluation mode.
        call: from (module, *inputs) to a Tensor; None calls the module.
        order: highest order of derivative to check.
        held: whether its gradient is that of the function in which every `detach()` is constant, see `holding_detached`.
    """

    name: str
    build: Callable[[np.random.Generator], Module]
    shapes: tuple[Shape, ...]
    domain: Domain = real
    training: bool = True
    call: Function | None = None
    order: int = 2
    held: bool = False

    def module(self, rng: np.random.Generator) -> Module:
        """A new module in the mode of the case, with noise added to the initial zeros and ones of its parameters."""
        module = self.build(rng)
        for p in module.parameters():
            p.data = (p.data + 0.3 * rng.normal(size=p.shape)).astype(p.dtype)
        return module.train(self.training)

    def make_inputs(self, rng: np.random.Generator, dtype: str = "float64") -> list[np.ndarray]:
        """Freshly drawn inputs."""
        return [x.astype(dtype) for x in self.domain(rng, list(self.shapes))]

    def subject(self, rng: np.random.Generator, backend: Backend = CPU) -> Subject:
        """The module as a function of inputs and parameters, with random values."""
        module = self.module(rng).to(backend.name)
        subject = function_of(module, *[backend.to_device(x) for x in self.make_inputs(rng)], call=self.call)
        return replace(subject, fn=holding_detached(subject.fn)) if self.held else subject


# ---------------------------------------------------------------------------------------------------------------------
# `check_case`: all checks of one operation, layer or model.
#
# Each check is a function of a case and a random generator that returns nothing or raises AssertionError. The test suite runs
# them one by one; `check_case` runs all that apply.

Case = OpCase | ModuleCase
Question = Callable[[Any, np.random.Generator], None]


@checked
def check_case(case: Case, *, seed: int = 0) -> None:
    """Run all checks of a case; the first failure raises AssertionError with the case, the check and the numbers.

    For an `OpCase`: values against the reference, first and second derivatives, the complex step if it is analytic, equal
    gradients from the rules on raw arrays and on Tensors, float32 preserved, inputs only read, strided arrays; for order 0,
    that it has no gradient. For a `ModuleCase`: first and second derivatives for inputs and parameters, float32 preserved.

    Args:
        case: the case to check.
        seed: for inputs and cotangents.

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
    """The checks that apply to a case, those with the simplest failures first."""
    if isinstance(case, ModuleCase):
        return [first_derivatives, *([second_derivatives] if case.order > 1 else []), module_keeps_float32]
    asked: list[Question] = [equals_the_reference, arrays_are_only_read, keeps_float32]
    if case.order == 0:
        return [*asked, carries_no_gradient]
    return [
        *(*asked, first_derivatives, both_rule_modes_agree, strided_arrays_give_the_same),
        *([second_derivatives] if case.order > 1 else []),
        *([derivatives_equal_the_complex_step] if case.analytic else []),
    ]


def equals_the_reference(case: OpCase, rng: np.random.Generator) -> None:
    """The values are the reference's to 12 digits, on arrays and on Tensors."""
    arguments = case.make_inputs(rng)
    expected = np.asarray(case.reference(*arguments, **case.params))
    out = case.op(*arguments, **case.params)
    assert np.shape(out) == expected.shape, f"shape {np.shape(out)}, the reference gives {expected.shape}"
    assert_allclose(out, expected, rtol=1e-12, atol=1e-14)
    wrapped = case.op(*as_leaves(case, arguments), **case.params)
    assert isinstance(wrapped, Tensor), f"Tensors in, {type(wrapped).__name__} out"
    assert_array_equal(wrapped.data, out)


def first_derivatives(case: Case, rng: np.random.Generator) -> None:
    """The gradient equals central differences."""
    gradient_report(case, rng, order=1, method="central")


def second_derivatives(case: Case, rng: np.random.Generator) -> None:
    """The gradient of the gradient equals central differences, for inputs and cotangent."""
    gradient_report(case, rng, order=case.order, method="central")


def derivatives_equal_the_complex_step(case: OpCase, rng: np.random.Generator) -> None:
    """Every order of the case equals the complex step."""
    gradient_report(case, rng, order=case.order, method="complex")


def gradient_report(case: Case, rng: np.random.Generator, backend: Backend = CPU, **options: Any) -> GradcheckReport:
    """`gradcheck` of a case on some device, with its options; `rng` draws the inputs, anew if they are at a kink."""
    subject = case.subject(rng, backend)
    return gradcheck(
        subject.fn, subject.inputs, names=subject.names, redraw=lambda: case.subject(rng, backend).inputs, **options
    )


def both_rule_modes_agree(case: OpCase, rng: np.random.Generator) -> None:
    """The rules give identical results on raw arrays and on Tensors; for a fused primitive, equal up to rounding."""
    subject = case.subject(rng)
    fused = getattr(case.op, "composed", None) is not None
    raw, recorded = (subject.gradients(subject.cotangent(), create_graph=on) for on in (False, True))
    for a, b in zip(raw, recorded, strict=True):
        assert_allclose(a, b, rtol=1e-12 if fused else 0, atol=1e-14 if fused else 0)


def keeps_float32(case: OpCase, rng: np.random.Generator) -> None:
    """float32 in, float32 out, but for a cast: values, and what each rule returns, on raw arrays and on Tensors."""
    if np.dtype(case.params.get("dtype", np.float32)) != np.float32:
        return
    subject = case.subject(rng)
    assert_dtype_kept(subject.fn, *subject.inputs, compare=False)


def arrays_are_only_read(case: OpCase, rng: np.random.Generator) -> None:
    """Nothing writes into an input, a result or a cotangent, on raw arrays and on Tensors."""
    subject = case.subject(rng)
    assert_inputs_unchanged(subject.fn, *subject.inputs)


def strided_arrays_give_the_same(case: OpCase, rng: np.random.Generator) -> None:
    """Values and gradients do not depend on the memory layout of the arrays."""
    subject = case.subject(rng)
    assert_layout_independent(subject.fn, *subject.inputs)


def carries_no_gradient(case: OpCase, rng: np.random.Generator) -> None:
    """A piecewise constant function returns constants."""
    assert not case.subject(rng).applied()[1].requires_grad, "a constant result requires a gradient"


def module_keeps_float32(case: ModuleCase, rng: np.random.Generator) -> None:
    """A module with float32 parameters returns float32 for float32, with float32 gradients."""
    module = case.module(rng)
    leaves = [Tensor(x, requires_grad=True) for x in case.make_inputs(rng, "float32")]
    out = case.call(module, *leaves) if case.call else module(*leaves)
    assert out.dtype == np.float32, f"float32 in, {out.dtype} out"
    out.backward(np.ones(out.shape, np.float32))
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.dtype == np.float32, f"the gradient of {name} is {parameter.grad.dtype}"


def as_leaves(case: OpCase, arguments: list[Any]) -> list[Any]:
    """The arguments with a leaf Tensor for each differentiable one."""
    return [Tensor(a, requires_grad=True) if i in case.moving else a for i, a in enumerate(arguments)]
