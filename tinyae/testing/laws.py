"""Laws: properties of every correct function or layer, as assertions for your own tests.

A unit test needs expected values; a law does not. The backward pass *is* linear; the output for a sample *does not* depend on
its batch or on padding. So a law can be checked for any layer and any input, and it finds mistakes that a gradient check
cannot find.

    check_layer(layer, x)                  all applicable laws; the error names the law that is broken
    assert_permutation_equivariant(f, x)   one law, for a Module or any function of Tensors

Everything is computed in float64 unless the law is about precision, parameters are treated as inputs, and a layer is left as it
was found: everything that it holds, not only what it declares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np

from tinyae.autodiff import Node, RuleError, Tensor, grad, no_grad
from tinyae.autodiff.tape import ancestors
from tinyae.backend import CPU, Backend
from tinyae.checks import checked
from tinyae.nn import Module, evaluating
from tinyae.testing.differences import EPS, observing
from tinyae.testing.gradients import gradcheck, gradient_function
from tinyae.testing.invariances import (
    assert_batch_independent,
    assert_calls_independent,
    assert_device_agreement,
    assert_dtype_kept,
    assert_empty_batch,
    assert_layout_independent,
    assert_modes_agree,
    assert_padding_invariant,
    assert_permutation_equivariant,
    assert_save_load,
)
from tinyae.testing.state import parts, untouched
from tinyae.testing.subject import (
    Call,
    Function,
    Subject,
    as_input,
    draws,
    each_mode,
    is_floating,
    law,
    pulled_back,
    result_of,
    subject_of,
)

# ---------------------------------------------------------------------------------------------------------------------
# `check_layer`: all applicable laws.


@checked
def check_layer(
    layer: Function,
    *inputs: Any,
    lengths: Sequence[int] | np.ndarray | None = None,
    call: Call = None,
    modes_differ: bool = False,
    batch: bool = True,
    order: int = 2,
    device: Backend | None = None,
) -> list[str]:
    """Check all laws that apply to a layer, model or function; returns their names.

    Args:
        layer: a Module of any dtype, or a function of Tensors. It is not changed.
        inputs: arrays to call it with; floating-point ones are differentiated, so it must be smooth there (for relu,
            away from 0).
        lengths: (N,) of sequences (N, T, D): the layer is called with `lengths=`, and padding invariance is checked.
        call: from (layer, *inputs) to one Tensor; by default `layer(*inputs)`.
        modes_differ: whether it should behave differently in training (dropout, noise, batch statistics): then both modes
            are checked, they must differ, and in training a sample may depend on its batch.
        batch: whether the first axis has independent samples; False omits permutations, single samples and the empty batch.
        order: 1 omits `create_graph=True` and the double gradient.
        device: another device to compare with, such as `strict_device()`.

    Raises:
        LawError: a law does not hold; the message has its name, its formula and the numbers.

    Example:
        >>> import numpy as np
        >>> from tinyae import nn
        >>> len(check_layer(nn.Dense(3, 2), np.ones((4, 3))))
        17
    """
    if lengths is not None:
        inputs = (*inputs, np.asarray(lengths))
        call = call or (lambda layer, *given: layer(*given[:-1], lengths=given[-1]))
    with untouched(layer, call):
        module = layer if isinstance(layer, Module) else None
        held: dict[str, None] = {}

        def ask(law: Any, **options: Any) -> None:
            law(layer, *inputs, call=call, **options)
            held[law.law] = None

        ask(assert_one_result)
        ask(assert_parameters_found)
        ask(assert_calls_independent, order=order)
        ask(assert_inputs_unchanged)
        if module is not None:
            ask(assert_modes_agree, differ=modes_differ)
            ask(assert_save_load)
        random = module is not None and draws(module)
        samples = len(inputs[0]) if batch and np.ndim(inputs[0]) else 0
        for training in (True, False) if module is not None and modes_differ else (None,):
            with nullcontext() if module is None else evaluating(module):
                if module is not None and training:
                    module.train()
                _ask_of_derivatives(
                    ask, subject_of(layer, inputs, call), order, compare=not (random and training is not False)
                )
                if samples and not (random and training):
                    if samples > 1:
                        ask(assert_permutation_equivariant)
                    if not training:
                        ask(assert_batch_independent)
                        ask(assert_empty_batch)
        if lengths is not None:
            ask(assert_padding_invariant)
        if device is not None:
            with nullcontext() if module is None or not random else evaluating(module):
                ask(assert_device_agreement, backend=device)
        return list(held)


def _ask_of_derivatives(ask: Callable[..., None], subject: Subject, order: int, compare: bool) -> None:
    ask(assert_dtype_kept, order=order, compare=compare)
    if not subject.moving:
        return
    ask(assert_gradient)
    if order > 1:
        ask(assert_rules_agree)
        ask(assert_double_gradient)
    ask(assert_backward_linear)
    if is_linear(subject):
        ask(assert_adjoint)
    ask(assert_gradients_unshared)
    ask(assert_layout_independent)


# ---------------------------------------------------------------------------------------------------------------------
# Laws of what a function is: one result, made of its inputs and parameters, which it only reads.


@law("one result", "f(x) is a Tensor")
def assert_one_result(fn: Function, *inputs: Any, call: Call = None) -> None:
    """f(x) is one Tensor; for a Module, in both modes. `call` picks one of several. Arguments as for `assert_gradient`."""
    for _ in each_mode(fn):
        raw = [as_input(x, CPU, "float64") for x in inputs]
        with no_grad():
            result_of(call, fn, *[Tensor(x) if is_floating(x) else x for x in raw])


@law("registered parameters", "f(x) is made of inputs and parameters()")
def assert_parameters_found(fn: Function, *inputs: Any, call: Call = None) -> None:
    """Every leaf that f(x) is computed from is an input or in `parameters()`; for a Module, in both modes.

    Any other is neither trained nor saved, and no law checks its gradient. It may be an attribute of an object that is not a
    Module, an item of a set, a default, a global, in a closure, or made in the call. A leaf that is made in the call may be a
    variable instead of a parameter: it is one if the call also computes a gradient for it, as for u'(t) at points t in
    `grad(u, t, create_graph=True)`. Arguments as for `assert_gradient`.
    """
    for where in each_mode(fn):
        try:
            subject = subject_of(fn, inputs, call)
        except TypeError as error:  # a leaf that is not a Parameter
            raise AssertionError(str(error)) from error
        inner = _Differentiated()
        with observing(inner):
            leaves, out = subject.applied()
        known = {leaf.node for leaf in leaves}
        for node in ancestors(out.node) if out.node is not None else ():
            if node.primitive is None and node not in known | inner.nodes:
                raise AssertionError(_of_leaf(node, fn, call) + where)


class _Differentiated:
    """The nodes that were made after this object and were given a gradient."""

    def __init__(self) -> None:
        self.nodes: set[Node] = set()
        self.start = Node().serial

    def gradient(self, node: Node, position: int, g: Any, c: Any, parent: Node, total: Any) -> None:
        """A backward pass within a call reaches `parent`."""
        if parent.serial > self.start:
            self.nodes.add(parent)


def _of_leaf(node: Node, fn: Function, call: Call) -> str:
    """Where a leaf is found, and what to do about it."""
    tensors = [(name, x) for name, x in parts(fn, call) if isinstance(x, Tensor) and x.node is not None]
    for name, x in tensors:
        if x.node is not None and x.node is not node and node in ancestors(x.node):
            return f"{name} was computed before the call, so no gradient reaches what it was made of: compute it in forward"
    for name, x in tensors:
        if x.node is node:
            fix = (
                "assign it to an attribute of a Module, or to a list, tuple or dict in one"
                if isinstance(fn, Module)
                else "make it an input, or pass the Module that has it, with call="
            )
            return f"{name} of shape {x.shape} is a leaf that parameters() does not find, so it is neither trained nor checked: {fix}"
    return (
        "a leaf is made in the call itself, and no gradient is computed for it there, so it is neither trained nor checked: "
        "make the Parameter in __init__"
    )


@law("inputs are only read", "a call does not change x, parameters, c or f(x)")
def assert_inputs_unchanged(fn: Function, *inputs: Any, call: Call = None) -> None:
    """Forward and backward pass do not change x, parameters, c or the result; for a Module, in both modes.

    Arguments as for `assert_gradient`.
    """
    for where in each_mode(fn):
        subject = subject_of(fn, inputs, call)
        weights = subject.cotangent()
        read = {**dict(zip(subject.names, subject.inputs, strict=True)), "the cotangent": weights}
        with untouched(read) as before:
            leaves = [Tensor(subject.inputs[i], requires_grad=True) for i in subject.moving]
            out = subject.smooth(*leaves)
            result = out.numpy().copy()
            with suppress(RuleError):  # a gradient of the wrong shape is reported by the gradient law
                pulled_back(leaves, out, weights)
            written = before.changed() + ["the result"] * (not np.array_equal(result, out.numpy(), equal_nan=True))
        assert not written, f"{', '.join(written)} was written into{where}."


# ---------------------------------------------------------------------------------------------------------------------
# Laws of derivatives. J is the matrix of all first derivatives of f at x, J^T its transpose, c a cotangent.
#
# The backward pass multiplies c by J^T. The gradient law checks that the matrix is right; the other laws check that the map is
# linear and has no side effects, which a gradient check at one c cannot show.


@law("gradient", "J^T c = d/dx sum(c f(x))")
def assert_gradient(fn: Function, *inputs: Any, call: Call = None, **options: Any) -> None:
    """J^T c = d/dx sum(c * f(x)): the backward pass agrees with differences or the complex step.

    Args:
        fn: a Module (its parameters are checked too) or a function of Tensors, smooth at the inputs.
        inputs: arrays or Tensors.
        call: how to call `fn` if not as `fn(*inputs)`.
        options: of `gradcheck`.
    """
    subject = subject_of(fn, inputs, call)
    gradcheck(subject.fn, subject.inputs, names=subject.names, **options)


@law("double gradient", "d/dx (J^T c) agrees with differences")
def assert_double_gradient(fn: Function, *inputs: Any, call: Call = None, **options: Any) -> None:
    """The gradient of sum(u * J^T c), computed with `create_graph=True`, agrees with differences.

    This also holds for a wrong gradient that is differentiated correctly; see `assert_gradient`, which has the same
    arguments.
    """
    subject = subject_of(fn, inputs, call)
    arrays = [subject.inputs[i] for i in subject.moving]
    names = [*(subject.names[i] for i in subject.moving), "weights of the output"]
    weights = subject.cotangent()
    gradcheck(gradient_function(subject.smooth, len(arrays)), [*arrays, weights], names=names, **options)


@law("linearity of the backward pass", "J^T (a u + b v) = a J^T u + b J^T v")
def assert_backward_linear(fn: Function, *inputs: Any, call: Call = None) -> None:
    """J^T (a u + b v) = a J^T u + b J^T v for all cotangents u, v: a rule must not clip, square or branch on c.

    The coefficients are -3 and 1000, to find rules that are correct only for small cotangents. Arguments as for
    `assert_gradient`.
    """
    subject = subject_of(fn, inputs, call)
    u, v, a, b = subject.cotangent(), subject.cotangent(seed=1), -3.0, 1000.0
    both = a * u + b * v
    together, one, other = (subject.gradients(c) for c in (both, u, v))
    expected = [a * first + b * second for first, second in zip(one, other, strict=True)]
    subject.close_gradients(together, expected, " at the cotangent a u + b v", both)


@law("adjointness", "<A x, y> = <x, A^T y>")
def assert_adjoint(fn: Function, x: Any, *others: Any, adjoint: Function | None = None, call: Call = None) -> None:
    """<A x, y> = <x, A^T y> to rounding, with A x = fn(x) - fn(0) a linear map of the first input.

    Args:
        fn: linear in `x`, up to a constant.
        x: array of any shape.
        others: further inputs, held constant.
        adjoint: the function that should be A^T, from y to the shape of x; None for the backward pass of fn.
        call: as for `assert_gradient`.

    Raises:
        ValueError: `fn` is not linear in x.
    """
    subject = subject_of(fn, [x, *others], call)
    if not is_linear(subject):
        raise ValueError("assert_adjoint: fn(x) - fn(0) is not linear in x, so it has no adjoint: use assert_gradient.")
    rng = np.random.default_rng(0)
    fixed = subject.inputs[1:]
    drawn = rng.normal(size=subject.inputs[0].shape)
    image = subject.value([drawn, *fixed]) - subject.value([np.zeros_like(drawn), *fixed])
    y = rng.normal(size=image.shape)
    back = subject.gradients(y)[0] if adjoint is None else np.asarray(adjoint(Tensor(y)).data)
    assert back.shape == drawn.shape, f"A^T y has shape {back.shape}, x has {drawn.shape}."
    left, right = float(np.sum(image * y)), float(np.sum(drawn * back))
    scale = float(np.linalg.norm(image) * np.linalg.norm(y) + np.linalg.norm(drawn) * np.linalg.norm(back))
    rounding = 64.0 * EPS * sum(subject.sizes) * float(np.linalg.norm(y) * np.linalg.norm(drawn))
    assert abs(left - right) <= 1e-12 * scale + rounding, f"<A x, y> is {left:.12g}, <x, A^T y> is {right:.12g}."


@law("one rule", "J^T c on arrays = J^T c with create_graph=True")
def assert_rules_agree(fn: Function, *inputs: Any, call: Call = None) -> None:
    """J^T c is the same from the rules on raw arrays and on Tensors (`create_graph=True`), up to rounding.

    Arguments as for `assert_gradient`.
    """
    subject = subject_of(fn, inputs, call)
    weights = subject.cotangent()
    raw, recorded = (subject.gradients(weights, create_graph=create_graph) for create_graph in (False, True))
    what = " with create_graph=True, unlike that on raw arrays,"
    subject.close_gradients(recorded, raw, what, weights, rtol=1e-12)


@law("gradients of their own", "no two gradients share memory")
def assert_gradients_unshared(fn: Function, *inputs: Any, call: Call = None) -> None:
    """Every gradient has separate memory: writing into one changes no other gradient, no input, cotangent or result.

    With shared memory, clipping or scaling the gradient of one parameter would change that of another. Arguments as for `assert_gradient`.
    """
    subject = subject_of(fn, inputs, call)
    weights = subject.cotangent()
    leaves, out = subject.applied()
    if not out.requires_grad:
        return
    names = [subject.names[i] for i in subject.moving]
    gradients = [g.data for g in grad(out, leaves, weights, allow_unused=True)]
    others = [
        *zip(names, [leaf.data for leaf in leaves], strict=True),
        ("the cotangent", weights),
        ("the result", out.data),
    ]
    for name, g in zip(names, gradients, strict=True):
        for other, array in others:
            assert not np.shares_memory(g, array), f"the gradient of {name} shares memory with {other}."
        others.append((f"the gradient of {name}", g))


def is_linear(subject: Subject) -> bool:
    """Whether fn(x) - fn(0) is a linear map of the first input, tested at two random points."""
    if 0 not in subject.moving or not subject.inputs[0].size:
        return False
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=subject.inputs[0].shape) for _ in range(2))
    fixed = subject.inputs[1:]
    try:
        at = [subject.value([v, *fixed]) for v in (x + 2.0 * y, x, y, np.zeros_like(x))]
    except (ArithmeticError, ValueError):
        return False
    gap = at[0] - at[1] - 2.0 * at[2] + 2.0 * at[3]
    return bool(np.abs(gap).max(initial=0.0) <= 1e-12 * max(np.abs(a).max(initial=0.0) for a in at))
