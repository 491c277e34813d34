"""Laws of derivatives. J is the matrix of all first derivatives of f at x, J' its transpose, c a cotangent.

The backward pass multiplies c by J'. That it is the *right* matrix is the gradient law; that it is multiplied, and that
nothing else happens on the way, are laws of their own, because a gradient check at one c cannot see them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tinyae.autodiff import RuleError, Tensor, grad
from tinyae.backend import backend_of
from tinyae.nn import Module
from tinyae.testing.gradcheck import gradcheck, gradient_function
from tinyae.testing.laws.law import law
from tinyae.testing.laws.point import Point, close, in_mode

Call = Callable[..., Any] | None
"""From (fn, *inputs) to one Tensor, where that is not `fn(*inputs)`."""


@law("gradient", "J' c = d/dx sum(c f(x))")
def assert_gradient(fn: Any, *inputs: Any, call: Call = None, **options: Any) -> None:
    """J' c = d/dx sum(c * f(x)): the backward pass gives what differences or the complex step measure.

    Args:
        fn: a Module (its parameters are checked too) or a function of Tensors, smooth at the inputs.
        inputs: arrays or Tensors.
        call: how to call `fn` where that is not `fn(*inputs)`.
        options: of `gradcheck`.
    """
    point = Point(fn, inputs, call)
    gradcheck(point.fn, point.values, names=point.names, **options)


@law("double gradient", "d/dx (J' c) is what differences measure")
def assert_double_gradient(fn: Any, *inputs: Any, call: Call = None, **options: Any) -> None:
    """d/dx sum(u * J' c), by the rules = measured: the gradient, with `create_graph=True`, has the right gradient in turn.

    It holds of a wrong gradient that is differentiated rightly; `assert_gradient` asks for the other half. Arguments as
    there.
    """
    point = Point(fn, inputs, call)
    arrays = [point.values[i] for i in point.moving]
    names = [point.names[i] for i in point.moving]
    weights = point.cotangent(np.random.default_rng(0))
    function = gradient_function(point.smooth, len(arrays))
    given: dict[str, Any] = {"rtol": 1e-5, **options}
    gradcheck(function, [*arrays, weights], names=[*names, "weights of the output"], **given)


@law("linearity of the backward pass", "J'(a u + b v) = a J'u + b J'v")
def assert_backward_linear(fn: Any, *inputs: Any, call: Call = None, seed: int = 0) -> None:
    """J'(a u + b v) = a J' u + b J' v for all cotangents u, v: a rule multiplies, it does not clip, square or switch.

    The coefficients are -3 and 1000, so that a rule which is only right for small cotangents is found. Arguments as for
    `assert_gradient`; `seed` is that of u and v.
    """
    point = Point(fn, inputs, call)
    rng = np.random.default_rng(seed)
    u, v = point.cotangent(rng), point.cotangent(rng)
    a, b = -3.0, 1000.0
    both = a * u + b * v
    together, one, other = (point.gradients(c) for c in (both, u, v))
    for i, sum_, first, second in zip(point.moving, together, one, other, strict=True):
        close(sum_, a * first + b * second, f"the gradient for {point.names[i]} at the cotangent a u + b v", both)


@law("adjointness", "<A x, y> = <x, A' y>")
def assert_adjoint(
    fn: Any, x: Any, *others: Any, adjoint: Callable[..., Any] | None = None, call: Call = None, seed: int = 0
) -> None:
    """<A x, y> = <x, A' y> to rounding, with A x = fn(x) - fn(0) a linear map of the first input.

    Args:
        fn: linear in `x`, up to a constant.
        x: array of any shape.
        others: further inputs, held fixed.
        adjoint: the function that is claimed to be A', from y (of fn's shape) to x's; None for fn's backward pass.
        call: as for `assert_gradient`.
        seed: of x, drawn anew, and y.

    Raises:
        ValueError: `fn` is not linear in x.
    """
    point = Point(fn, [x, *others], call)
    if not is_linear(point):
        raise ValueError("assert_adjoint: fn(x) - fn(0) is not linear in x, so it has no adjoint: use assert_gradient.")
    rng = np.random.default_rng(seed)
    fixed = point.values[1:]
    drawn = rng.normal(size=point.values[0].shape)
    image = point.value([drawn, *fixed]) - point.value([np.zeros_like(drawn), *fixed])
    y = rng.normal(size=image.shape)
    back = point.gradients(y)[0] if adjoint is None else np.asarray(_host(adjoint(Tensor(y))))
    assert back.shape == drawn.shape, f"A' y has shape {back.shape}, x has {drawn.shape}."
    left, right = float(np.sum(image * y)), float(np.sum(drawn * back))
    scale = float(np.linalg.norm(image) * np.linalg.norm(y) + np.linalg.norm(drawn) * np.linalg.norm(back))
    assert abs(left - right) <= 1e-12 * scale, f"<A x, y> is {left:.12g}, <x, A' y> is {right:.12g}."


@law("inputs are only read", "x, parameters and c are after a call what they were before it")
def assert_inputs_unchanged(fn: Any, *inputs: Any, call: Call = None) -> None:
    """x, parameters and c are the same after the forward and the backward pass; for a Module in either mode.

    Arguments as for `assert_gradient`.
    """
    if isinstance(fn, Module):
        for training in (True, False):
            with in_mode(fn, training):
                _unchanged(fn, inputs, call, f" in {'training' if training else 'evaluation'} mode")
    else:
        _unchanged(fn, inputs, call, "")


def _unchanged(fn: Any, inputs: Any, call: Call, where: str) -> None:
    point = Point(fn, inputs, call)
    copies = [np.array(x) if isinstance(x, np.ndarray) else x for x in point.values]
    weights = point.cotangent(np.random.default_rng(0))
    kept = weights.copy()
    out = point.fn(*point.placed(point.values, [Tensor(point.values[i], requires_grad=True) for i in point.moving]))
    if out.requires_grad:
        with suppress(RuleError):  # a gradient of the wrong shape is the gradient law's to report
            out.backward(weights)
    for name, value, before in zip(point.names, point.values, copies, strict=True):
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, before, equal_nan=value.dtype.kind == "f"), f"{name} was written into{where}."
    assert np.array_equal(weights, kept), f"the cotangent was written into{where}."


@law("gradients of their own", "no two gradients share memory")
def assert_gradients_unshared(fn: Any, *inputs: Any, call: Call = None) -> None:
    """Every gradient is an array of its own: writing into one changes no other gradient, no input and no cotangent.

    Sharing makes clipping or scaling one parameter's gradient change another's. Arguments as for `assert_gradient`.
    """
    point = Point(fn, inputs, call)
    weights = point.cotangent(np.random.default_rng(0))
    leaves = [Tensor(backend_of(point.values[i]).xp.array(point.values[i]), requires_grad=True) for i in point.moving]
    out = point.smooth(*leaves)
    if not out.requires_grad:
        return
    gradients = grad(out, leaves, weights, allow_unused=True)
    names = [point.names[i] for i in point.moving]
    others = [(f"the gradient of {name}", g.data) for name, g in zip(names, gradients, strict=True)]
    others += [(name, leaf.data) for name, leaf in zip(names, leaves, strict=True)]
    others += [("the cotangent", weights), ("the result", out.data)]
    for i, name in enumerate(names):
        before = [np.array(array) for _, array in others]
        others[i][1][...] += 1.0
        for k, ((other, array), held) in enumerate(zip(others, before, strict=True)):
            assert k == i or np.array_equal(array, held), f"the gradient of {name} shares memory with {other}."


def is_linear(point: Point, seed: int = 0) -> bool:
    """Whether fn(x) - fn(0) is a linear map of the first input, tried at two random points of its shape."""
    if 0 not in point.moving or not point.values[0].size:
        return False
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=point.values[0].shape) for _ in range(2))
    fixed = point.values[1:]
    try:
        at = [point.value([v, *fixed]) for v in (x + 2.0 * y, x, y, np.zeros_like(x))]
    except (ArithmeticError, ValueError):
        return False
    gap = at[0] - at[1] - 2.0 * at[2] + 2.0 * at[3]
    return bool(np.abs(gap).max(initial=0.0) <= 1e-12 * max(np.abs(a).max(initial=0.0) for a in at))


def _host(out: Any) -> Any:
    return out.numpy() if isinstance(out, Tensor) else out
