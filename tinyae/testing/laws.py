"""Laws: properties of every correct function or layer, as assertions for your own tests.

A unit test needs expected values; a law does not. The backward pass *is* linear; the output for a sample *does not* depend on
its position in the batch or on padding. So a law can be checked for any layer and any input, and it finds mistakes that a
gradient check cannot find.

    check_layer(layer, x)                  all applicable laws; the error names the law that is broken
    assert_permutation_equivariant(f, x)   one law, for a Module or any function of Tensors

Everything is computed in float64, parameters are treated as inputs, and generators and buffers are restored, so a layer is
unchanged afterwards.
"""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.autodiff import RuleError, Tensor, grad, no_grad
from tinyae.backend import CPU, Backend, backend_of
from tinyae.nn import Module, evaluating
from tinyae.testing.gradients import gradcheck, gradient_function
from tinyae.testing.verification import Function, Subject, function_of, input_names, is_floating, result_of

Call = Function | None
"""A function from (fn, *inputs) to one Tensor, if that is not `fn(*inputs)`."""

# ---------------------------------------------------------------------------------------------------------------------
# `law` and `LawError`: a name, a formula, and an error with both.


class LawError(AssertionError):
    """A law does not hold.

    Attributes:
        law: its name, e.g. "permutation equivariance".
        formula: what should be true.
        detail: the numbers that contradict it.
    """

    def __init__(self, subject: str, law: str, formula: str, detail: str) -> None:
        super().__init__(f"{subject} breaks the law of {law}, {formula}: {detail}")
        self.law = law
        self.formula = formula
        self.detail = detail


def law(name: str, formula: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator that turns an AssertionError into a `LawError` with the name and formula of the law."""

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(check)
        def asserted(fn: Function, *inputs: Any, **options: Any) -> None:
            try:
                check(fn, *inputs, **options)
            except AssertionError as error:
                called = getattr(fn, "__name__", type(fn).__name__)
                raise LawError(called, name, formula, " ".join(str(error).split())) from error

        asserted.law = name  # type: ignore[attr-defined]
        asserted.formula = formula  # type: ignore[attr-defined]
        return asserted

    return decorate


# ---------------------------------------------------------------------------------------------------------------------
# `check_layer`: all applicable laws.


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
            are checked, and they must differ.
        batch: whether the first axis has independent samples; False omits permutation equivariance.
        order: 1 omits the double gradient.
        device: another device to compare with, such as `strict_device()`.

    Raises:
        LawError: a law does not hold; the message has its name, its formula and the numbers.

    Example:
        >>> import numpy as np
        >>> from tinyae import nn
        >>> len(check_layer(nn.Dense(3, 2), np.ones((4, 3))))
        9
    """
    if lengths is not None:
        inputs = (*inputs, np.asarray(lengths))
        call = call or (lambda layer, *given: layer(*given[:-1], lengths=given[-1]))
    module = layer if isinstance(layer, Module) else None
    held: list[str] = []

    def ask(law: Any, **options: Any) -> None:
        law(layer, *inputs, call=call, **options)
        if law.law not in held:
            held.append(law.law)

    ask(assert_inputs_unchanged)
    for training in (True, False) if module is not None and modes_differ else (None,):
        with nullcontext() if module is None or training is None else evaluating(module):
            if module is not None and training:
                module.train()
            ask(assert_gradient)
            if order > 1:
                ask(assert_double_gradient)
            ask(assert_backward_linear)
            if is_linear(subject_of(layer, inputs, call)):
                ask(assert_adjoint)
            ask(assert_gradients_unshared)
            random = module is not None and draws(module) and training is not False
            if batch and not random and np.ndim(inputs[0]) and len(inputs[0]) > 1:
                ask(assert_permutation_equivariant)
    if lengths is not None:
        ask(assert_padding_invariant)
    if module is not None:
        ask(assert_modes_agree, differ=modes_differ)
        ask(assert_save_load)
    if device is not None:
        with nullcontext() if module is None or not draws(module) else evaluating(module):
            ask(assert_device_agreement, backend=device)
    return held


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
    weights = subject.cotangent(np.random.default_rng(0))
    given: dict[str, Any] = {"rtol": 1e-5, **options}
    gradcheck(gradient_function(subject.smooth, len(arrays)), [*arrays, weights], names=names, **given)


@law("linearity of the backward pass", "J^T (a u + b v) = a J^T u + b J^T v")
def assert_backward_linear(fn: Function, *inputs: Any, call: Call = None, seed: int = 0) -> None:
    """J^T (a u + b v) = a J^T u + b J^T v for all cotangents u, v: a rule must not clip, square or branch on c.

    The coefficients are -3 and 1000, to find rules that are correct only for small cotangents. Arguments as for
    `assert_gradient`; `seed` is that of u and v.
    """
    subject = subject_of(fn, inputs, call)
    rng = np.random.default_rng(seed)
    u, v = subject.cotangent(rng), subject.cotangent(rng)
    a, b = -3.0, 1000.0
    both = a * u + b * v
    together, one, other = (subject.gradients(c) for c in (both, u, v))
    for i, sum_, first, second in zip(subject.moving, together, one, other, strict=True):
        close(sum_, a * first + b * second, f"the gradient for {subject.names[i]} at the cotangent a u + b v", both)


@law("adjointness", "<A x, y> = <x, A^T y>")
def assert_adjoint(
    fn: Function, x: Any, *others: Any, adjoint: Function | None = None, call: Call = None, seed: int = 0
) -> None:
    """<A x, y> = <x, A^T y> to rounding, with A x = fn(x) - fn(0) a linear map of the first input.

    Args:
        fn: linear in `x`, up to a constant.
        x: array of any shape.
        others: further inputs, held constant.
        adjoint: the function that should be A^T, from y to the shape of x; None for the backward pass of fn.
        call: as for `assert_gradient`.
        seed: for x, which is redrawn, and y.

    Raises:
        ValueError: `fn` is not linear in x.
    """
    subject = subject_of(fn, [x, *others], call)
    if not is_linear(subject):
        raise ValueError("assert_adjoint: fn(x) - fn(0) is not linear in x, so it has no adjoint: use assert_gradient.")
    rng = np.random.default_rng(seed)
    fixed = subject.inputs[1:]
    drawn = rng.normal(size=subject.inputs[0].shape)
    image = subject.value([drawn, *fixed]) - subject.value([np.zeros_like(drawn), *fixed])
    y = rng.normal(size=image.shape)
    back = subject.gradients(y)[0] if adjoint is None else np.asarray(_raw(adjoint(Tensor(y))))
    assert back.shape == drawn.shape, f"A^T y has shape {back.shape}, x has {drawn.shape}."
    left, right = float(np.sum(image * y)), float(np.sum(drawn * back))
    scale = float(np.linalg.norm(image) * np.linalg.norm(y) + np.linalg.norm(drawn) * np.linalg.norm(back))
    assert abs(left - right) <= 1e-12 * scale, f"<A x, y> is {left:.12g}, <x, A^T y> is {right:.12g}."


@law("inputs are only read", "a call does not change x, parameters or c")
def assert_inputs_unchanged(fn: Function, *inputs: Any, call: Call = None) -> None:
    """Forward and backward pass do not change x, parameters or c; for a Module, in both modes.

    Arguments as for `assert_gradient`.
    """
    if not isinstance(fn, Module):
        _unchanged(fn, inputs, call, "")
        return
    with evaluating(fn):
        for training, mode in ((True, "training"), (False, "evaluation")):
            fn.train(training)
            _unchanged(fn, inputs, call, f" in {mode} mode")


def _unchanged(fn: Function, inputs: Sequence[Any], call: Call, where: str) -> None:
    subject = subject_of(fn, inputs, call)
    weights = subject.cotangent(np.random.default_rng(0))
    read = [*zip(subject.names, subject.inputs, strict=True), ("the cotangent", weights)]
    arrays = [(name, x, x.copy()) for name, x in read if isinstance(x, np.ndarray)]
    out = subject.smooth(*[Tensor(subject.inputs[i], requires_grad=True) for i in subject.moving])
    if out.requires_grad:
        with suppress(RuleError):  # a gradient of the wrong shape is reported by the gradient law
            out.backward(weights)
    for name, x, before in arrays:
        assert np.array_equal(x, before, equal_nan=x.dtype.kind == "f"), f"{name} was written into{where}."


@law("gradients of their own", "no two gradients share memory")
def assert_gradients_unshared(fn: Function, *inputs: Any, call: Call = None) -> None:
    """Every gradient has separate memory: writing into one changes no other gradient, no input and no cotangent.

    With shared memory, clipping or scaling the gradient of one parameter would change that of another. Arguments as for `assert_gradient`.
    """
    subject = subject_of(fn, inputs, call)
    weights = subject.cotangent(np.random.default_rng(0))
    leaves, out = subject.applied()
    if not out.requires_grad:
        return
    gradients = grad(out, leaves, weights, allow_unused=True)
    names = [subject.names[i] for i in subject.moving]
    others = [(f"the gradient of {name}", g.data) for name, g in zip(names, gradients, strict=True)]
    others += [(name, leaf.data) for name, leaf in zip(names, leaves, strict=True)]
    others += [("the cotangent", weights), ("the result", out.data)]
    for i, name in enumerate(names):
        before = [np.array(array) for _, array in others]
        others[i][1][...] += 1.0
        for k, ((other, array), held) in enumerate(zip(others, before, strict=True)):
            assert k == i or np.array_equal(array, held), f"the gradient of {name} shares memory with {other}."


def is_linear(subject: Subject, seed: int = 0) -> bool:
    """Whether fn(x) - fn(0) is a linear map of the first input, tested at two random points."""
    if 0 not in subject.moving or not subject.inputs[0].size:
        return False
    rng = np.random.default_rng(seed)
    x, y = (rng.normal(size=subject.inputs[0].shape) for _ in range(2))
    fixed = subject.inputs[1:]
    try:
        at = [subject.value([v, *fixed]) for v in (x + 2.0 * y, x, y, np.zeros_like(x))]
    except (ArithmeticError, ValueError):
        return False
    gap = at[0] - at[1] - 2.0 * at[2] + 2.0 * at[3]
    return bool(np.abs(gap).max(initial=0.0) <= 1e-12 * max(np.abs(a).max(initial=0.0) for a in at))


# ---------------------------------------------------------------------------------------------------------------------
# Laws of symmetry: what a result must not depend on. A gradient check does not cover these: the derivative of a wrong function
# may be right.


@law("permutation equivariance", "f(x[p]) = f(x)[p]")
def assert_permutation_equivariant(fn: Function, *inputs: Any, call: Call = None, seed: int = 0) -> None:
    """f(x[p]) = f(x)[p] for a permutation p of the samples, and the same for gradients: J^T(x[p]) c[p] = (J^T c)[p]; those
    of parameters do not change.

    Args:
        fn: a Module or function from arrays with a leading axis N to one Tensor with it; deterministic.
        inputs: all with the same N, at least 2; integer inputs (labels, lengths) are permuted too.
        call: from (fn, *inputs) to one Tensor, if that is not `fn(*inputs)`.
        seed: for the permutation and the cotangent.
    """
    subject = subject_of(fn, inputs, call)
    count = len(inputs)
    n = len(subject.inputs[0]) if np.ndim(subject.inputs[0]) else 0
    if n < 2 or any(np.ndim(x) and len(x) != n for x in subject.inputs[:count]):
        raise ValueError(
            "assert_permutation_equivariant: inputs must share a leading axis N of at least 2, got shapes "
            f"{[np.shape(x) for x in subject.inputs[:count]]}."
        )
    rng = np.random.default_rng(seed)
    out, weights = subject.value(), subject.cotangent(rng)
    assert out.shape[:1] == (n,), f"f(x) has shape {out.shape}, which does not start with N = {n}."
    gradients = subject.gradients(weights)
    for order in (np.arange(n)[::-1], rng.permutation(n)):
        permuted = [x[order] if i < count and np.ndim(x) else x for i, x in enumerate(subject.inputs)]
        close(subject.value(permuted), out[order], "f(x[p])")
        for i, found, g in zip(subject.moving, subject.gradients(weights[order], permuted), gradients, strict=True):
            expected = g[order] if i < count and np.ndim(g) else g
            close(found, expected, f"the gradient for {subject.names[i]} of permuted samples", weights)


@law("padding invariance", "f(x, lengths) does not depend on x beyond the lengths")
def assert_padding_invariant(
    fn: Function, x: Any, lengths: Sequence[int] | np.ndarray, *, call: Call = None, extra: int = 3, seed: int = 0
) -> None:
    """f(pad(x), lengths) = f(x, lengths) at valid steps, for any values in the padding; the same for the gradients,
    which are 0 in the padding.

    Args:
        fn: a Module or function from x (N, T, D) and `lengths=` to (N, T, K) or, with one result per sequence, (N, ...).
        x: (N, T, D).
        lengths: (N,) whole numbers from 0 to T.
        call: from (fn, x, lengths) to one Tensor, if that is not `fn(x, lengths=lengths)`.
        extra: number of steps added to T.
        seed: for the values in the padding and the cotangent.
    """
    rng = np.random.default_rng(seed)
    ends = np.asarray(lengths)
    apply = call or (lambda fn, x, lengths: fn(x, lengths=lengths))
    short = subject_of(fn, [x, ends], apply)
    n, steps, *features = short.inputs[0].shape
    wide = np.concatenate([short.inputs[0], np.zeros((n, extra, *features))], axis=1)
    valid = np.arange(steps + extra) < ends[:, None]
    wide[~valid] = 10.0 + rng.normal(size=wide[~valid].shape)
    long = subject_of(fn, [wide, ends], apply)
    out, padded = short.value(), long.value()
    weights = longer = np.asarray(rng.choice([-1.0, 1.0], out.shape))
    if out.ndim > 1 and out.shape[1] == steps and padded.shape[1:2] == (steps + extra,):
        close(padded[:, :steps][valid[:, :steps]], out[valid[:, :steps]], "a result at a valid step of padded x")
        weights[~valid[:, :steps]] = 0.0  # results in the padding are not used, so they have no gradient
        longer = np.concatenate([weights, np.zeros((n, extra, *out.shape[2:]))], axis=1)
    else:
        close(padded, out, "a result of padded x")
    for i, found, expected in zip(short.moving, long.gradients(longer), short.gradients(weights), strict=True):
        if i == 0:
            assert not np.any(found[~valid]), "the padding gets a gradient that is not 0."
            found, expected = found[valid], expected[valid[:, :steps]]
        close(found, expected, f"the gradient for {short.names[i]} with padded x", weights)


# ---------------------------------------------------------------------------------------------------------------------
# Laws of state: training mode, saving and devices do not change the result.


@law("modes", "train and eval differ where declared, and only there")
def assert_modes_agree(module: Module, *inputs: Any, call: Call = None, differ: bool = False) -> None:
    """f_train(x) = f_eval(x), and a call changes no buffer; with `differ`, results or buffers must differ. In evaluation mode
    two calls always give identical results.

    Args:
        module: of any dtype; a copy is called, in that dtype.
        inputs: arrays.
        call: from (module, *inputs) to one Tensor, if that is not `module(*inputs)`.
        differ: whether the module should behave differently in training (dropout, noise, batch statistics).
    """
    twin = copy.deepcopy(module)
    before = twin.state_dict()
    evaluated = _called(twin.eval(), inputs, call)
    again = _called(twin, inputs, call)
    assert np.array_equal(evaluated, again, equal_nan=True), "two calls in evaluation mode give different results."
    moved = _moved(before, twin)
    assert not moved, f"a call in evaluation mode changes {', '.join(moved)}."
    trained = _called(twin.train(), inputs, call)
    moved = _moved(before, twin)
    same = trained.shape == evaluated.shape and np.allclose(trained, evaluated, rtol=1e-5, atol=1e-7)
    if differ:
        assert moved or not same, "it is declared to differ, but both modes give the same result and no buffer changes."
        return
    assert same, (
        "the two modes give different results; if that is intended, declare it (differ=True, modes_differ=True)."
    )
    assert not moved, f"a call in training mode changes {', '.join(moved)}; if that is intended, declare it."


@law("save and load", "load(save(f)) = f")
def assert_save_load(module: Module, *inputs: Any, call: Call = None) -> None:
    """load(save(f)) = f, bit by bit: `state_dict()` has everything that training changes.

    One copy is modified (called in training mode, parameters changed), and its state is loaded into an unmodified one: by
    `load_state_dict`, and by `tinyae.save` and `tinyae.load`. State in an attribute that is neither Parameter nor Tensor would
    be missing. Arguments as for `assert_modes_agree`.
    """
    from tinyae.training import load, save

    used, fresh, filed = (copy.deepcopy(module) for _ in range(3))
    rng = np.random.default_rng(0)
    for parameter in used.parameters():
        parameter.data = (parameter.data + 0.1 * rng.normal(size=parameter.shape)).astype(parameter.dtype)
    _called(used.train(), inputs, call)
    _called(used, inputs, call)
    state = used.state_dict()
    expected = _called(used.eval(), inputs, call)
    fresh.load_state_dict(state)
    with tempfile.TemporaryDirectory() as folder:
        load(save(used, Path(folder) / "module.safetensors"), filed)
    for way, other in (("load_state_dict(state_dict())", fresh), ("a file", filed)):
        moved = _moved(state, other)
        assert not moved, f"{', '.join(moved)} differs after {way}."
        assert np.array_equal(_called(other.eval(), inputs, call), expected, equal_nan=True), (
            f"after {way} the result differs: part of the state is neither Parameter nor Tensor."
        )


@law("device agreement", "f on the device = f on the CPU")
def assert_device_agreement(
    fn: Function, *inputs: Any, backend: Backend, call: Call = None, rtol: float = 1e-9
) -> None:
    """f on the device = f on the CPU, values and gradients, in float64; a function that raises an error there breaks the law.

    Args:
        fn: a Module (a copy is moved) or a function of Tensors; deterministic, since random numbers differ between devices.
        inputs: arrays on the CPU.
        backend: the other device, such as `strict_device()` or `backend_named("gpu")`.
        call: as above.
        rtol: allowed difference, relative to the largest element.
    """
    here = subject_of(fn, inputs, call)
    weights = here.cotangent(np.random.default_rng(0))
    expected, gradients = here.value(), here.gradients(weights)
    other = copy.deepcopy(fn).to(backend.name) if isinstance(fn, Module) else fn
    try:
        there = subject_of(other, inputs, call, backend)
        found, others = there.value(), there.gradients(weights)
    except Exception as error:  # any error on the device breaks the law
        raise AssertionError(f"on {backend.name} it raises {type(error).__name__}: {error}") from error
    close(found, expected, f"the result on {backend.name}", rtol=rtol)
    for i, g, h in zip(here.moving, others, gradients, strict=True):
        close(g, h, f"the gradient for {here.names[i]} on {backend.name}", weights, rtol)


def _called(module: Module, inputs: Sequence[Any], call: Call) -> np.ndarray:
    """The result for copies of the inputs, floating-point ones in the dtype of the module's parameters."""
    dtype = next((p.dtype for p in module.parameters()), None)
    arrays = [np.array(x.numpy() if isinstance(x, Tensor) else x) for x in inputs]
    given = [Tensor(x.astype(dtype or x.dtype)) if is_floating(x) else x for x in arrays]
    with no_grad():
        return np.array(result_of(call, module, *given).numpy())


def _moved(before: dict[str, np.ndarray], module: Module) -> list[str]:
    """Names of the parameters and buffers that changed."""
    now = module.state_dict()
    return [name for name in before if not np.array_equal(before[name], now[name], equal_nan=True)]


# ---------------------------------------------------------------------------------------------------------------------
# A function or a layer at one point, in float64, with parameters as inputs; and the comparison of two results.

RTOL = 1e-9
"""Allowed difference of two float64 results of the same formula, relative to the largest element."""


def subject_of(fn: Function, inputs: Sequence[Any], call: Call = None, backend: Backend = CPU) -> Subject:
    """A function or Module with its inputs, in float64.

    Args:
        fn: a Module, or a function of Tensors.
        inputs: arrays, numbers or Tensors; floating-point ones are cast to float64, others are passed unchanged.
        call: from (fn, *inputs) to one Tensor; by default `fn(*inputs)`.
        backend: where to compute.
    """
    raw = [_float64(x, backend) for x in inputs]
    if isinstance(fn, Module):
        return function_of(fn, *raw, call=call)
    return Subject(fn if call is None else functools.partial(call, fn), raw, input_names(len(raw)))


def close(
    found: np.ndarray, expected: np.ndarray, what: str, weights: np.ndarray | float = 0.0, rtol: float = RTOL
) -> None:
    """Raise AssertionError, with the largest difference, unless two arrays agree.

    `weights` is the cotangent of a gradient, a scale for rounding errors where the gradient is 0 by cancellation.
    """
    assert found.shape == expected.shape, f"{what} has shape {found.shape}, expected {expected.shape}."
    if not found.size:
        return
    scale = max(np.abs(found).max(), np.abs(expected).max(), 1e-3 * np.abs(weights).max(initial=0.0))
    gap = np.abs(found - expected)
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape))
    assert gap[worst] <= rtol * scale + 1e-300, (
        f"{what} is {found[worst]:.9g} at {worst}, expected {expected[worst]:.9g}."
    )


def draws(module: Module) -> bool:
    """Whether a module or a submodule has a random generator."""
    parts = [part for _, part in module.named_modules()]
    return any(isinstance(value, np.random.Generator) for part in parts for value in vars(part).values())


def _raw(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _float64(x: Any, backend: Backend) -> Any:
    raw = np.asarray(x) if isinstance(x, (float, list)) else _raw(x)
    if not hasattr(raw, "shape"):
        return raw
    return backend.to_device(np.array(backend_of(raw).to_host(raw)), "float64" if is_floating(raw) else None)
