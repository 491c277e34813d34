"""Laws: sentences that must hold for every correct function or layer, as assertions for your own tests.

A unit test compares with numbers that somebody worked out. A law needs none: the backward pass *is* linear, a sample's
output *does not* depend on where in the batch it stands, padding *is* nothing. So a law can be asked of any layer on any
input, and finds mistakes that a gradient check cannot see.

    check_layer(layer, x)                  all laws that fit; the error names the one that is broken
    assert_permutation_equivariant(f, x)   one law, of a Module or of any function of Tensors

Everything is computed in float64, parameters count as inputs, generators are rewound and buffers put back, so a layer is
left as it was.
"""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.autodiff import RuleError, Tensor, grad, no_grad
from tinyae.backend import CPU, Backend, backend_of
from tinyae.nn import Module
from tinyae.testing.differences import bounded_signs
from tinyae.testing.gradients import gradcheck, gradient_function
from tinyae.testing.verification import function_of

# ---------------------------------------------------------------------------------------------------------------------
# What makes a law: a name, a formula, and an error that says both.


class LawError(AssertionError):
    """A law does not hold.

    Attributes:
        law: its name, e.g. "permutation equivariance".
        formula: what should have been true.
        detail: the numbers that say otherwise.
    """

    def __init__(self, subject: str, law: str, formula: str, detail: str) -> None:
        super().__init__(f"{subject} breaks the law of {law}, {formula}: {detail}")
        self.law = law
        self.formula = formula
        self.detail = detail


def law(name: str, formula: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: an AssertionError raised inside leaves as a `LawError` with the law's name and formula."""

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(check)
        def asserted(fn: Any, *inputs: Any, **options: Any) -> None:
            try:
                check(fn, *inputs, **options)
            except AssertionError as error:
                raise LawError(called(fn), name, formula, " ".join(str(error).split())) from error

        asserted.law = name  # type: ignore[attr-defined]
        asserted.formula = formula  # type: ignore[attr-defined]
        return asserted

    return decorate


def called(fn: Any) -> str:
    """What to call a function or layer in a sentence."""
    return type(fn).__name__ if isinstance(fn, Module) else getattr(fn, "__name__", type(fn).__name__)


# ---------------------------------------------------------------------------------------------------------------------
# `check_layer`: every law that fits, in one line.


def check_layer(
    layer: Any,
    *inputs: Any,
    lengths: Any = None,
    call: Callable[..., Any] | None = None,
    modes_differ: bool = False,
    batch: bool = True,
    order: int = 2,
    device: Backend | None = None,
) -> list[str]:
    """Ask a layer, model or function for every law that fits it; returns the names of those that hold.

    Args:
        layer: a Module of any dtype, or a function of Tensors. It is left as it was.
        inputs: arrays to call it with; floating-point ones are differentiated, so it must be smooth there (for relu,
            away from 0).
        lengths: (N,) of sequences (N, T, D): the layer is called with `lengths=` and asked for padding invariance.
        call: from (layer, *inputs) to one Tensor; by default `layer(*inputs)`.
        modes_differ: whether it is meant to behave differently in training (dropout, noise, batch statistics): then both
            modes are checked, and it must differ.
        batch: whether samples stand along the first axis and are treated alike; False leaves permutations out.
        order: 1 leaves the double gradient out.
        device: another device that must agree, such as `strict_device()`.

    Raises:
        LawError: names the law that is broken, its formula, and the numbers.

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
    options = {"call": call}
    held: list[str] = []

    def ask(law: Any, *arguments: Any, **more: Any) -> None:
        law(layer, *arguments, **more)
        if law.law not in held:
            held.append(law.law)

    ask(assert_inputs_unchanged, *inputs, **options)
    for training in (True, False) if module is not None and modes_differ else (None,):
        with in_mode(module, training) if module is not None and training is not None else nullcontext():
            ask(assert_gradient, *inputs, **options)
            if order > 1:
                ask(assert_double_gradient, *inputs, **options)
            ask(assert_backward_linear, *inputs, **options)
            if is_linear(Point(layer, inputs, call)):
                ask(assert_adjoint, *inputs, **options)
            ask(assert_gradients_unshared, *inputs, **options)
            random = module is not None and draws(module) and training is not False
            if batch and not random and np.ndim(inputs[0]) and len(inputs[0]) > 1:
                ask(assert_permutation_equivariant, *inputs, **options)
    if lengths is not None:
        ask(assert_padding_invariant, *inputs, call=call)
    if module is not None:
        ask(assert_modes_agree, *inputs, differ=modes_differ, **options)
        ask(assert_save_load, *inputs, **options)
    if device is not None:
        with in_mode(module, False) if module is not None and draws(module) else nullcontext():
            ask(assert_device_agreement, *inputs, backend=device, **options)
    return held


# ---------------------------------------------------------------------------------------------------------------------
# Laws of derivatives. J is the matrix of all first derivatives of f at x, J' its transpose, c a cotangent.
#
# The backward pass multiplies c by J'. That it is the *right* matrix is the gradient law; that it is multiplied, and that
# nothing else happens on the way, are laws of their own, because a gradient check at one c cannot see them.

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


# ---------------------------------------------------------------------------------------------------------------------
# Laws of symmetry: what a result must not depend on. A gradient check cannot see these; the derivative may be right
# of a function that is wrong.


@law("permutation equivariance", "f(x[p]) = f(x)[p]")
def assert_permutation_equivariant(
    fn: Any, *inputs: Any, call: Callable[..., Any] | None = None, seed: int = 0
) -> None:
    """f(x[p]) = f(x)[p] for a permutation p of the samples, and the same for gradients: J'(x[p]) c[p] = (J' c)[p]; those
    of parameters stay as they are.

    Args:
        fn: a Module or function from arrays with a leading axis N to one Tensor with it; deterministic.
        inputs: all with the same N, at least 2; whole numbers (labels, lengths) are permuted along.
        call: from (fn, *inputs) to one Tensor, where that is not `fn(*inputs)`.
        seed: of the permutation and the cotangent.
    """
    point = Point(fn, inputs, call)
    n = len(point.values[0]) if np.ndim(point.values[0]) else 0
    if n < 2 or any(np.ndim(x) and len(x) != n for x in point.values[: point.count]):
        raise ValueError(
            "assert_permutation_equivariant: inputs must share a leading axis N of at least 2, got shapes "
            f"{[np.shape(x) for x in point.values[: point.count]]}."
        )
    rng = np.random.default_rng(seed)
    out, weights = point.value(), point.cotangent(rng)
    assert out.shape[:1] == (n,), f"f(x) has shape {out.shape}, which does not start with N = {n}."
    gradients = point.gradients(weights)
    for order in (np.arange(n)[::-1], rng.permutation(n)):
        moved = [x[order] if i < point.count and np.ndim(x) else x for i, x in enumerate(point.values)]
        close(point.value(moved), out[order], "f(x[p])")
        for i, found, g in zip(point.moving, point.gradients(weights[order], moved), gradients, strict=True):
            expected = g[order] if i < point.count and np.ndim(g) else g
            close(found, expected, f"the gradient for {point.names[i]} of permuted samples", weights)


@law("padding invariance", "f(x, lengths) does not depend on x beyond the lengths")
def assert_padding_invariant(
    fn: Any, x: Any, lengths: Any, *, call: Callable[..., Any] | None = None, extra: int = 3, seed: int = 0
) -> None:
    """f(pad(x), lengths) = f(x, lengths) on what is valid, whatever stands in the padding; the same for the gradients,
    which are 0 in the padding.

    Args:
        fn: a Module or function from x (N, T, D) and `lengths=` to (N, T, K) or, one result a sequence, (N, ...).
        x: (N, T, D).
        lengths: (N,) whole numbers from 0 to T.
        call: from (fn, x, lengths) to one Tensor, where that is not `fn(x, lengths=lengths)`.
        extra: by how much T grows.
        seed: of what is written into the padding, and of the cotangent.
    """
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    apply = call or (lambda fn, x, lengths: fn(x, lengths=lengths))
    short = Point(fn, [x, lengths], apply)
    n, steps = short.values[0].shape[:2]
    wide = np.concatenate([short.values[0], np.zeros((n, extra, *short.values[0].shape[2:]))], axis=1)
    valid = np.arange(steps + extra) < lengths[:, None]
    wide[~valid] = 10.0 + rng.normal(size=wide[~valid].shape)
    long = Point(fn, [wide, lengths], apply)
    out, padded = short.value(), long.value()
    sequences = out.ndim > 1 and out.shape[1] == steps and padded.shape[1:2] == (steps + extra,)
    weights = np.asarray(rng.choice([-1.0, 1.0], out.shape))
    if sequences:
        close(padded[:, :steps][valid[:, :steps]], out[valid[:, :steps]], "a result at a valid step of padded x")
        weights[~valid[:, :steps]] = 0.0  # nobody reads results in the padding, so no gradient comes from there
        longer = np.concatenate([weights, np.zeros((n, extra, *out.shape[2:]))], axis=1)
    else:
        close(padded, out, "a result of padded x")
        longer = weights
    names = short.names
    for i, found, expected in zip(short.moving, long.gradients(longer), short.gradients(weights), strict=True):
        if i == 0:
            assert not np.any(found[~valid]), "the padding gets a gradient that is not 0."
            found, expected = found[valid], expected[valid[:, :steps]]
        close(found, expected, f"the gradient for {names[i]} with padded x", weights)


# ---------------------------------------------------------------------------------------------------------------------
# Laws of state: modes, files and devices change where and how a module computes, not what.


@law("modes", "train and eval differ where declared, and only there")
def assert_modes_agree(module: Module, *inputs: Any, call: Call = None, differ: bool = False) -> None:
    """f_train(x) = f_eval(x), and a call changes no buffer; with `differ` the opposite: a declaration that is not true is
    as wrong as a difference that nobody declared. In evaluation mode two calls give equal bits, always.

    Args:
        module: of any dtype; a copy is called, in that dtype.
        inputs: arrays.
        call: from (module, *inputs) to one Tensor, where that is not `module(*inputs)`.
        differ: whether the module is meant to behave differently in training (dropout, noise, batch statistics).
    """
    twin = copy.deepcopy(module)
    given = _in_its_dtype(twin, inputs)
    before = twin.state_dict()
    evaluated = _called(twin.eval(), given, call)
    again = _called(twin, given, call)
    assert np.array_equal(evaluated, again, equal_nan=True), "two calls in evaluation mode give different results."
    moved = _moved(before, twin)
    assert not moved, f"a call in evaluation mode changes {', '.join(moved)}."
    trained = _called(twin.train(), given, call)
    moved = _moved(before, twin)
    same = trained.shape == evaluated.shape and np.allclose(trained, evaluated, rtol=1e-5, atol=1e-7)
    if differ:
        assert moved or not same, "it is declared to differ, but both modes give the same and no buffer changes."
        return
    assert same, (
        "the two modes give different results; where that is meant, declare it (differ=True, modes_differ=True)."
    )
    assert not moved, f"a call in training mode changes {', '.join(moved)}; where that is meant, declare it."


@law("save and load", "load(save(f)) = f")
def assert_save_load(module: Module, *inputs: Any, call: Call = None) -> None:
    """load(save(f)) = f, to the bit: all that training changes is in `state_dict()`, and comes back from a file.

    A copy is used (called in training mode, parameters moved), and its state is loaded into one that was not: by
    `load_state_dict`, and by `tinyae.save` and `tinyae.load` through a file. What a layer keeps elsewhere, in an
    attribute that is neither Parameter nor Tensor, is missing there. Arguments as for `assert_modes_agree`.
    """
    from tinyae.training import load, save

    used, fresh, filed = (copy.deepcopy(module) for _ in range(3))
    given = _in_its_dtype(module, inputs)
    rng = np.random.default_rng(0)
    for parameter in used.parameters():
        parameter.data = (parameter.data + 0.1 * rng.normal(size=parameter.shape)).astype(parameter.dtype)
    _called(used.train(), given, call)
    _called(used, given, call)
    state = used.state_dict()
    expected = _called(used.eval(), given, call)
    fresh.load_state_dict(state)
    with tempfile.TemporaryDirectory() as folder:
        load(save(used, Path(folder) / "module.safetensors"), filed)
    for way, other in (("load_state_dict(state_dict())", fresh), ("a file", filed)):
        moved = _moved(state, other)
        assert not moved, f"{', '.join(moved)} came back otherwise from {way}."
        assert np.array_equal(_called(other.eval(), given, call), expected, equal_nan=True), (
            f"after {way} it computes something else: part of its state is neither Parameter nor Tensor."
        )


@law("device agreement", "f on the device = f on the CPU")
def assert_device_agreement(fn: Any, *inputs: Any, backend: Backend, call: Call = None, rtol: float = 1e-9) -> None:
    """f on the device = f on the CPU, values and gradients, in float64; a function that cannot run there breaks the law.

    Args:
        fn: a Module (a copy is moved) or a function of Tensors; deterministic, since each device draws numbers of its own.
        inputs: arrays on the CPU.
        backend: the other device, such as `strict_device()` or `backend_named("gpu")`.
        call: as above.
        rtol: allowed difference, relative to the largest element.
    """
    here = Point(fn, inputs, call)
    weights = here.cotangent(np.random.default_rng(0))
    expected, gradients = here.value(), here.gradients(weights)
    other = copy.deepcopy(fn).to(backend.name) if isinstance(fn, Module) else fn
    try:
        there = Point(other, inputs, call, backend)
        found, others = there.value(), there.gradients(weights)
    except Exception as error:  # whatever a device says to host code: that is the finding
        raise AssertionError(f"on {backend.name} it raises {type(error).__name__}: {error}") from error
    close(found, expected, f"the result on {backend.name}", rtol=rtol)
    for i, g, h in zip(here.moving, others, gradients, strict=True):
        close(g, h, f"the gradient for {here.names[i]} on {backend.name}", weights, rtol)


def _in_its_dtype(module: Module, inputs: Any) -> list[Any]:
    """Host copies of the inputs, floating-point ones in the dtype of the module's parameters."""
    dtype = next((p.dtype for p in module.parameters()), None)
    arrays = [x.numpy() if isinstance(x, Tensor) else np.asarray(x) for x in inputs]
    return [np.array(x, dtype=dtype if x.dtype.kind == "f" else None) for x in arrays]


def _called(module: Module, given: list[Any], call: Call) -> np.ndarray:
    arguments = [np.array(x) for x in given]
    with no_grad():
        out = module(*arguments) if call is None else call(module, *[_wrapped(x) for x in arguments])
    assert isinstance(out, Tensor), f"it returned {type(out).__name__}, not a Tensor."
    return np.array(out.numpy())


def _wrapped(x: np.ndarray) -> Any:
    return Tensor(x) if x.dtype.kind == "f" else x


def _moved(before: dict[str, np.ndarray], module: Module) -> list[str]:
    """Names of what is not in the module's state what it was."""
    now = module.state_dict()
    return [name for name in before if not np.array_equal(before[name], now[name], equal_nan=True)]


# ---------------------------------------------------------------------------------------------------------------------
# `Point`: a function or a layer at one point, in float64, with parameters as inputs like any other.

RTOL = 1e-9
"""How far two float64 results of the same formula may lie apart, relative to the largest element."""


class Point:
    """Where a law is asked: a function of arrays, and the arrays.

    Args:
        fn: a Module, or a function of Tensors.
        inputs: arrays, numbers or Tensors; floating-point ones are cast to float64, others are handed over as they are.
        call: from (fn, *inputs) to one Tensor; by default `fn(*inputs)`.
        backend: where to compute.

    Attributes:
        values: the raw arrays, inputs first, then the parameters of a Module.
        names: what they are called.
        count: how many of them are inputs.
        moving: positions of the floating-point ones, which gradients are asked for.
    """

    def __init__(
        self, fn: Any, inputs: Sequence[Any], call: Callable[..., Any] | None = None, backend: Backend = CPU
    ) -> None:
        raw = [_float64(x, backend) for x in inputs]
        self.count = len(raw)
        if isinstance(fn, Module):
            self.fn, self.values, self.names = function_of(fn, *raw, call=call)
        else:
            self.fn = fn if call is None else lambda *xs: call(fn, *xs)
            self.values = raw
            self.names = ["input"] if len(raw) == 1 else [f"input {i}" for i in range(len(raw))]
        self.moving = [i for i, x in enumerate(self.values) if _kind(x) == "f"]

    def smooth(self, *leaves: Any) -> Any:
        """fn as a function of the floating-point values alone."""
        return self.fn(*self.placed(self.values, leaves))

    def value(self, values: Sequence[Any] | None = None) -> np.ndarray:
        """The result on the host, computed without recording."""
        given = self.values if values is None else values
        with no_grad():
            out = self.fn(*self.placed(given, [Tensor(_copy(given[i])) for i in self.moving]))
        return np.array(_tensor(out).numpy())

    def gradients(self, cotangent: Any, values: Sequence[Any] | None = None) -> list[np.ndarray]:
        """J' c for every floating-point value: the gradient of sum(c * fn(...)), on the host."""
        given = self.values if values is None else values
        leaves = [Tensor(_copy(given[i]), requires_grad=True) for i in self.moving]
        out = _tensor(self.fn(*self.placed(given, leaves)))
        if not out.requires_grad:
            return [np.zeros(leaf.shape) for leaf in leaves]
        weights = backend_of(out.data).to_device(np.asarray(cotangent, dtype="float64"))
        return [np.array(g.numpy()) for g in grad(out, leaves, weights, allow_unused=True)]

    def cotangent(self, rng: np.random.Generator) -> np.ndarray:
        """Random weights of both signs for the result, none of them small."""
        return np.asarray(bounded_signs(rng, self.value().shape))

    def placed(self, values: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
        """All arguments of fn: `values`, with `leaves` in the places of the floating-point ones."""
        arguments = list(values)
        for i, leaf in zip(self.moving, leaves, strict=True):
            arguments[i] = leaf
        return arguments


def close(found: np.ndarray, expected: np.ndarray, what: str, weights: Any = 0.0, rtol: float = RTOL) -> None:
    """Raise AssertionError unless two arrays agree; says where they differ most.

    `weights` is the cotangent of a gradient: its rounding shows where the gradient itself is 0, by cancellation.
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


@contextmanager
def in_mode(module: Module, training: bool) -> Iterator[None]:
    """All of a module in one mode for a block; every part gets its own mode back."""
    modes = [(part, part.training) for _, part in module.named_modules()]
    module.train(training)
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def draws(module: Module) -> bool:
    """Whether a module or one inside owns a random generator."""
    parts = [part for _, part in module.named_modules()]
    return any(isinstance(value, np.random.Generator) for part in parts for value in vars(part).values())


def _tensor(out: Any) -> Tensor:
    assert isinstance(out, Tensor), f"it returned {type(out).__name__}, not a Tensor."
    return out


def _kind(x: Any) -> str:
    return getattr(getattr(x, "dtype", None), "kind", "")


def _float64(x: Any, backend: Backend) -> Any:
    raw = x.data if isinstance(x, Tensor) else x
    if isinstance(raw, (float, list)):
        raw = np.asarray(raw)
    if not hasattr(raw, "shape"):
        return raw
    return backend.to_device(np.array(backend_of(raw).to_host(raw)), "float64" if _kind(raw) == "f" else None)


def _copy(x: Any) -> Any:
    return backend_of(x).xp.array(x)
