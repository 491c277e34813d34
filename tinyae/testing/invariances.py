"""What a result must not depend on: other samples, padding, other calls, memory layout, precision, mode, files, device.

A gradient check does not cover these: the derivative of a wrong function may be right.
"""

from __future__ import annotations

import random
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.autodiff import Node, RuleError, Tensor, no_grad
from tinyae.backend import Backend
from tinyae.nn import Module
from tinyae.testing.differences import bounded_signs, largest, observing, watched
from tinyae.testing.state import GENERATORS, Snapshot, untouched
from tinyae.testing.subject import (
    Call,
    Function,
    Subject,
    close,
    each_mode,
    is_floating,
    law,
    pulled_back,
    result_of,
    subject_of,
)

# ---------------------------------------------------------------------------------------------------------------------
# Laws of samples.


_IF_MEANT = "; for a first axis that does not index samples, check_layer takes batch=False"


def _samples(law: str, fn: Function, inputs: Sequence[Any], call: Call, least: int) -> tuple[Subject, int, int]:
    """The subject, the number of inputs, and N, the common length of their first axes; ValueError if there is none."""
    subject, count = subject_of(fn, inputs, call), len(inputs)
    n = len(subject.inputs[0]) if count and np.ndim(subject.inputs[0]) else 0
    if n < least or any(np.ndim(x) and len(x) != n for x in subject.inputs[:count]):
        raise ValueError(
            f"{law}: inputs must share a leading axis N of at least {least}, got shapes "
            f"{[np.shape(x) for x in subject.inputs[:count]]}{_IF_MEANT}."
        )
    return subject, count, n


def _rows(inputs: Sequence[Any], count: int, index: Any) -> list[Any]:
    """The inputs with only the samples at an index, of the first `count`; the others are parameters."""
    return [x[index] if i < count and np.ndim(x) else x for i, x in enumerate(inputs)]


@contextmanager
def _works(when: str) -> Iterator[None]:
    """An error within the block breaks the law."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{when} it raises {type(error).__name__}: {error}") from error


@law("permutation equivariance", "f(x[p]) = f(x)[p]")
def assert_permutation_equivariant(fn: Function, *inputs: Any, call: Call = None) -> None:
    """f(x[p]) = f(x)[p] for a permutation p of the samples, and the same for gradients: J^T(x[p]) c[p] = (J^T c)[p]; those
    of parameters do not change.

    Args:
        fn: a Module or function from arrays with a leading axis N to one Tensor with it; deterministic.
        inputs: all with the same N, at least 2; integer inputs (labels, lengths) are permuted too.
        call: as for `assert_gradient`.
    """
    subject, count, n = _samples("assert_permutation_equivariant", fn, inputs, call, 2)
    rng, out = np.random.default_rng(0), subject.value()
    weights = bounded_signs(rng, out.shape)
    assert out.shape[:1] == (n,), f"f(x) has shape {out.shape}, which does not start with N = {n}{_IF_MEANT}."
    gradients = subject.gradients(weights)
    for order in (np.arange(n)[::-1], rng.permutation(n)):
        permuted = _rows(subject.inputs, count, order)
        subject.close(subject.value(permuted), out[order], "f(x[p])")
        expected = [g[order] if i < count and g.ndim else g for i, g in zip(subject.moving, gradients, strict=True)]
        found = subject.gradients(weights[order], permuted)
        subject.close_gradients(found, expected, " of permuted samples", weights)


@law("batch independence", "f(x)[i:i+1] = f(x[i:i+1])")
def assert_batch_independent(fn: Function, *inputs: Any, call: Call = None) -> None:
    """f(x)[i:i+1] = f(x[i:i+1]): a sample's result and its gradients do not depend on the other samples, nor on there being any.

    Arguments as for `assert_permutation_equivariant`; a layer with batch statistics is in evaluation mode, and a batch of one is
    compared with a batch of that sample twice.
    """
    subject, count, n = _samples("assert_batch_independent", fn, inputs, call, 1)
    batch = _rows(subject.inputs, count, np.repeat(np.arange(n), 2 if n == 1 else 1))
    with _works("on a batch"):
        out = subject.value(batch)
    assert out.shape[:1] == (max(n, 2),), f"f(x) has shape {out.shape}, not ({max(n, 2)}, ...){_IF_MEANT}."
    weights = bounded_signs(np.random.default_rng(0), out.shape)
    for k in dict.fromkeys(np.linspace(0, n - 1, 6).astype(np.intp).tolist()):
        one = slice(k, k + 1)
        alone = _rows(batch, count, one)
        with _works(f"on sample {k} alone, a batch of one,"):
            found, expected = subject.value(alone), out[one]
            subject.close(found, expected, f"the result for sample {k} alone, without the rest of its batch,")
            own = np.zeros_like(weights)
            own[one] = weights[one]
            pairs = zip(
                subject.moving, subject.gradients(weights[one], alone), subject.gradients(own, batch), strict=True
            )
        for i, g, of_batch in pairs:
            name = subject.names[i]
            if i < count and np.ndim(g):
                others = np.delete(of_batch, k, axis=0)
                what = f"the gradient of the result for sample {k} for {name} of the other samples in the batch"
                subject.close(others, np.zeros_like(others), what, weights)
                of_batch = of_batch[one]
            subject.close(g, of_batch, f"the gradient for {name} of sample {k} alone, without its batch,", weights)


@law("empty batch", "f(x[:0]) has shape (0, ...), and no gradient; or a ValueError says why not")
def assert_empty_batch(fn: Function, *inputs: Any, call: Call = None) -> None:
    """f(x[:0]) = f(x)[:0], with gradients of 0 for parameters; `fn` may refuse an empty batch with a ValueError.

    Arguments as for `assert_batch_independent`.
    """
    subject, count, _ = _samples("assert_empty_batch", fn, inputs, call, 1)
    out, none = subject.value()[:0], _rows(subject.inputs, count, slice(0))
    with np.errstate(all="ignore"), warnings.catch_warnings(), _works("on an empty batch"):
        warnings.simplefilter("ignore")
        try:
            found = subject.value(none)
            assert found.shape == out.shape, (
                f"the result of an empty batch has shape {found.shape}, expected {out.shape}."
            )
            gradients = subject.gradients(out, none)
        except ValueError:
            return
    for i, g in zip(subject.moving, gradients, strict=True):
        close(g, np.zeros_like(g), f"the gradient for {subject.names[i]} of an empty batch")


@law("padding invariance", "f(x, lengths) does not depend on x beyond the lengths")
def assert_padding_invariant(fn: Function, x: Any, lengths: Sequence[int] | np.ndarray, *, call: Call = None) -> None:
    """f(pad(x), lengths) = f(x, lengths) at valid steps, for any values in the padding; the same for the gradients,
    which are 0 in the padding.

    Args:
        fn: a Module or function from x (N, T, D) and `lengths=` to (N, T, K) or, with one result per sequence, (N, ...).
        x: (N, T, D).
        lengths: (N,) whole numbers from 0 to T.
        call: from (fn, x, lengths) to one Tensor, if that is not `fn(x, lengths=lengths)`.
    """
    rng = np.random.default_rng(0)
    ends, extra = np.asarray(lengths), 3
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
        short.close(padded[:, :steps][valid[:, :steps]], out[valid[:, :steps]], "a result at a valid step of padded x")
        weights[~valid[:, :steps]] = 0.0  # results in the padding are not used, so they have no gradient
        longer = np.concatenate([weights, np.zeros((n, extra, *out.shape[2:]))], axis=1)
    else:
        short.close(padded, out, "a result of padded x")
    found, expected = long.gradients(longer), short.gradients(weights)
    assert not np.any(found[0][~valid]), "the padding gets a gradient that is not 0."
    found[0], expected[0] = found[0][valid], expected[0][valid[:, :steps]]
    short.close_gradients(found, expected, " with padded x", weights)


# ---------------------------------------------------------------------------------------------------------------------
# Laws of calls and arrays.


@law("independent calls", "a call changes nothing for another one")
def assert_calls_independent(fn: Function, *inputs: Any, call: Call = None, order: int = 2) -> None:
    """After calls at x and at y, the results of both and the gradients at x are those of a single call; for a Module, in both modes.

    What a layer keeps for its backward pass belongs to one call: not to an attribute, a buffer that is used again, or a cache.
    y is x backward along every axis, with slightly different parameters. Buffers and generators are put back between the calls.

    Arguments as for `assert_gradient`; `order` 1 omits gradients with `create_graph=True`.
    """
    for where in each_mode(fn):
        session = subject_of(fn, inputs, call, whole=False)
        x, y = session.inputs, _elsewhere(session, len(inputs))
        globally = _global_numbers()
        with untouched(fn, call):
            expected, _ = session.value(x), session.sizes  # which calls fn: not between two calls below
        with untouched(fn, call):
            again = session.value(x)
        generator = "keep a numpy.random.Generator in an attribute"
        assert _global_numbers() == globally, (
            f"it draws the global random numbers of NumPy or Python{where}: {generator}."
        )
        session.close(
            again, expected, f"the result of an equal call{where}, as if it drew unseeded numbers ({generator}),"
        )
        try:
            with untouched(fn, call):
                later = session.value(y)
        except (ArithmeticError, ValueError):  # y is not in the domain of fn
            y, later = x, expected
        weights = bounded_signs(np.random.default_rng(0), expected.shape)
        for create_graph, mode in ((False, ""), (True, " with create_graph=True"))[:order]:
            try:
                with untouched(fn, call):
                    alone = session.gradients(weights.copy(), x, create_graph)
            except RuleError:  # the gradient law reports it
                return
            with untouched(fn, call) as before:
                leaves, out = session.applied(x)
                first = np.array(out.numpy())
                second = session.applied(y)[1].numpy()
                keeps = f"{where}, as if it kept {', '.join(before.changed()) or 'something'} from call to call,"
                assert np.array_equal(first, out.numpy(), equal_nan=True), (
                    f"a second call overwrites the result of the first{where}: return a new array."
                )
                session.close(second, later, f"the result of a second call{keeps}")
                with _works(f"in the backward pass of a first call after a second one{where}"):
                    found = pulled_back(leaves, out, weights.copy(), create_graph)
                session.close(session.value(x), expected, f"the result of the same call again{keeps}")
            session.close_gradients(found, alone, f" of a first call after a second one{mode}{keeps}", weights)


def _global_numbers() -> tuple[object, ...]:
    """The state of the generators that everybody shares."""
    return random.getstate(), str(np.random.get_state(legacy=False))  # noqa: NPY002


def _elsewhere(subject: Subject, count: int) -> list[Any]:
    """Other inputs that are as valid: backward along every axis (integers: the first), or a little smaller; other parameters."""
    signs = np.random.default_rng(1)
    inputs = list(subject.inputs)
    for i, x in enumerate(inputs):
        if i >= count:
            inputs[i] = x + 1e-3 * bounded_signs(signs, x.shape)
        elif np.ndim(x):
            inputs[i] = np.flip(x) if is_floating(x) else np.flip(x, axis=0)
            if is_floating(x) and np.array_equal(x, inputs[i], equal_nan=True):
                inputs[i] = x * (1.0 - 2.0**-10)
    return inputs


@law("memory layout", "f does not depend on the strides of arrays")
def assert_layout_independent(fn: Function, *inputs: Any, call: Call = None) -> None:
    """f and its gradients are the same for contiguous arrays and for transposed, strided and reversed ones: x, parameters and c.

    Arguments as for `assert_gradient`.
    """
    subject = subject_of(fn, inputs, call)
    weights = subject.cotangent()
    out, gradients = subject.value(), subject.gradients(weights)
    for layout, arranged in LAYOUTS.items():
        arrays = (*subject.inputs, weights)
        *given, cotangent = [arranged(x) if isinstance(x, np.ndarray) and x.ndim else x for x in arrays]
        for x in given:
            if isinstance(x, np.ndarray):
                x.flags.writeable = False
        with _works(f"on arrays with {layout}"):
            found, others = subject.value(given), subject.gradients(cotangent, given)
        subject.close(found, out, f"the result for arrays with {layout}")
        subject.close_gradients(others, gradients, f", arrays with {layout},", weights)


def _scattered(x: np.ndarray) -> np.ndarray:
    """The same values, axes in reverse order in memory and every second element unused."""
    room = np.full(tuple(2 * n for n in x.shape[::-1]), np.nan if is_floating(x) else 0, x.dtype)
    view = room.T[(slice(None, None, 2),) * x.ndim]
    view[...] = x
    return view


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "transposed memory": np.asfortranarray,
    "negative strides": lambda x: np.flip(np.flip(x).copy()),
    "strides between elements": _scattered,
}
"""Copies of an array that are not contiguous in C order."""


@law("precision", "float32 in, float32 out with the numbers of float64; float64 in, float64 out")
def assert_dtype_kept(fn: Function, *inputs: Any, call: Call = None, order: int = 2, compare: bool = True) -> None:
    """Results and gradients have the dtype of inputs and parameters, and are those of float64 up to the rounding of float32.

    Arguments as for `assert_gradient`; `order` 1 omits gradients with `create_graph=True`, and without `compare` only dtypes are
    compared, for a layer that draws different numbers in float32.
    """
    double, single = (subject_of(fn, inputs, call, dtype=dtype) for dtype in ("float64", "float32"))
    if not single.moving:
        return
    wide, promoted = double.applied()[1], _Promotion()
    seen: list[tuple[int, Any]] = []
    assert wide.dtype != np.float32, "float64 in, float32 out: use the dtype of the input, x.dtype."
    if wide.dtype != np.float64:
        return
    weights = double.cotangent().astype("float32")
    modes = ((False, ""), (True, " with create_graph=True"))[:order]
    with np.errstate(all="ignore"), suppress(RuleError):  # the gradient law reports a gradient of the wrong shape
        for create_graph, mode in modes:
            leaves = [Tensor(single.inputs[i].copy(), requires_grad=True) for i in single.moving]
            with observing(promoted), _works("on float32 arrays"):
                out = single.smooth(
                    *[watched(leaf, argument=i, seen=seen) for i, leaf in zip(single.moving, leaves, strict=True)]
                )
            assert out.dtype == np.float32, f"float32 in, {out.dtype} out{promoted.where}."
            gradients = pulled_back(leaves, out, weights, create_graph)
            for i, dtype in seen:
                assert dtype == np.float32, (
                    f"the gradient for {single.names[i]} arrives as {dtype} at float32{mode}: a rule converts it; "
                    "keep the dtype of g."
                )
            if compare:
                _same_numbers(double, single, out.numpy(), gradients, weights, mode)


class _Promotion:
    """The first operation that turned float32 into float64, as the end of a sentence."""

    def __init__(self) -> None:
        self.where = ""

    def result(self, name: str, args: Sequence[Any], out: Any, node: Node | None) -> None:
        if not self.where and out.dtype == np.float64:
            self.where = f": {name} met a float64 array or NumPy number; use Python numbers, or give it the dtype of x"


def _same_numbers(
    double: Subject, single: Subject, out: np.ndarray, gradients: list[np.ndarray], weights: np.ndarray, mode: str
) -> None:
    """Compare results and gradients in float32 with those of float64 at the same point.

    The rounding on the way has the effect of inputs that are a little different, so that effect is allowed.
    """
    eps = float(np.finfo(np.float32).eps)
    at = [x.astype("float64") if is_floating(x) else x for x in single.inputs]
    expected, others = double.value(at), double.gradients(weights, at)
    forward, back = double.sizes
    if max(forward, back, *map(largest, at)) > 1e36 or not np.isfinite(expected).all():
        return
    rng = np.random.default_rng(2)
    spreads = np.zeros(1 + len(others))
    for _ in range(2):
        moved = [x + eps * (np.abs(x) + forward) * bounded_signs(rng, x.shape) if is_floating(x) else x for x in at]
        try:
            near = [double.value(moved), *double.gradients(weights, moved)]
        except (ArithmeticError, ValueError):  # the edge of the domain is that near
            return
        gaps = [np.abs(a - b).max(initial=0.0) for a, b in zip(near, (expected, *others), strict=True)]
        spreads = np.maximum(spreads, np.nan_to_num(gaps, nan=np.inf))
    close(out, expected, "the result in float32", 64.0 * eps * forward + 8.0 * spreads[0], rtol=1e-4)
    for i, g, h, spread in zip(single.moving, gradients, others, spreads[1:], strict=True):
        close(g, h, f"the gradient for {single.names[i]} in float32{mode}", 64.0 * eps * back + 8.0 * spread, rtol=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# Laws of state: training mode, saving and devices do not change the result.


@law("modes", "train and eval differ where declared, and only there")
def assert_modes_agree(module: Module, *inputs: Any, call: Call = None, differ: bool = False) -> None:
    """f_train(x) = f_eval(x), and a call changes no buffer; with `differ`, results or buffers must differ. In evaluation mode
    two calls always give identical results.

    Args:
        module: of any dtype; it is called in that dtype.
        inputs: arrays.
        call: from (module, *inputs) to one Tensor, if that is not `module(*inputs)`.
        differ: whether the module should behave differently in training (dropout, noise, batch statistics).
    """
    before = module.state_dict()
    evaluated = _called(module.eval(), inputs, call)
    again = _called(module, inputs, call)
    assert np.array_equal(evaluated, again, equal_nan=True), "two calls in evaluation mode give different results."
    moved = _moved(before, module)
    assert not moved, f"a call in evaluation mode changes {', '.join(moved)}."
    trained = _called(module.train(), inputs, call)
    moved = _moved(before, module)
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

    The module is modified (called in training mode, parameters changed), put back, and given the state of before: by
    `load_state_dict`, and by `tinyae.save` and `tinyae.load`. State in an attribute that is neither Parameter nor Tensor would
    be missing. Arguments as for `assert_modes_agree`.
    """
    from tinyae.training import load, save

    def results(start: Snapshot) -> tuple[np.ndarray, np.ndarray]:
        evaluated = _called(module.eval(), inputs, call)
        start.put_back(GENERATORS)
        return evaluated, _called(module.train(), inputs, call)

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        with untouched(module, call) as start:
            for parameter in module.parameters():
                parameter.data = (parameter.data + 0.1 * rng.normal(size=parameter.shape)).astype(parameter.dtype)
            _called(module.train(), inputs, call)
            _called(module, inputs, call)
            state, file = module.state_dict(), save(module, Path(folder) / "module.safetensors")
            hidden = [name for name in start.changed() if name not in state and not name.endswith("training")]
            expected = results(start)
        for way, load_state in (
            ("load_state_dict(state_dict())", lambda: module.load_state_dict(state)),
            ("a file", lambda: load(file, module)),
        ):
            with untouched(module, call) as start:
                with _works(f"in {way}"):
                    load_state()
                moved = _moved(state, module)
                assert not moved, f"{', '.join(moved)} differs after {way}."
                for found, right in zip(results(start), expected, strict=True):
                    assert np.array_equal(found, right, equal_nan=True), (
                        f"after {way} the result differs: part of the state is neither Parameter nor Tensor "
                        f"({', '.join(hidden) or 'outside the module'}): make it a Tensor, self.name = Tensor(array)."
                    )


@law("device agreement", "f on the device = f on the CPU")
def assert_device_agreement(fn: Function, *inputs: Any, backend: Backend, call: Call = None) -> None:
    """f on the device = f on the CPU, values and gradients, in float64; a function that raises an error there breaks the law.

    Args:
        fn: a Module (it is moved there and back) or a function of Tensors; deterministic, since random numbers differ between devices.
        inputs: arrays on the CPU.
        backend: the other device, such as `strict_device()` or `backend_named("gpu")`.
        call: as above.
    """
    here = subject_of(fn, inputs, call)
    weights = here.cotangent()
    expected, gradients = here.value(), here.gradients(weights)
    with untouched(fn), _works(f"on {backend.name}"):
        there = subject_of(fn.to(backend.name) if isinstance(fn, Module) else fn, inputs, call, backend)
        found, others = there.value(), there.gradients(weights)
    here.close(found, expected, f"the result on {backend.name}")
    here.close_gradients(others, gradients, f" on {backend.name}", weights)


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
