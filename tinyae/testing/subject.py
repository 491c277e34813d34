"""A function or layer at a point, with parameters as inputs; the comparison of two results; and what a law is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, grad, no_grad
from tinyae.backend import CPU, Array, Backend, backend_of
from tinyae.checks import checked
from tinyae.nn import Module, evaluating
from tinyae.testing.differences import EPS, Function, Sizes, bounded_signs, observing
from tinyae.testing.state import GENERATORS, Snapshot, parts, untouched, writeable

Arrays = Sequence[np.ndarray]

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
    """Decorator that turns an AssertionError into a `LawError` with the name and formula, and leaves `fn` as it was found."""

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        check = checked(check)

        @functools.wraps(check)
        def asserted(fn: Function, *inputs: Any, **options: Any) -> None:
            try:
                with untouched(fn, options.get("call")):
                    check(fn, *inputs, **options)
            except AssertionError as error:
                called = getattr(fn, "__name__", type(fn).__name__)
                raise LawError(called, name, formula, " ".join(str(error).split())) from error

        asserted.law = name  # type: ignore[attr-defined]
        asserted.formula = formula  # type: ignore[attr-defined]
        return asserted

    return decorate


# ---------------------------------------------------------------------------------------------------------------------
# `Subject`: a function at a point.


def is_floating(x: object) -> bool:
    """Whether x is a floating-point array, on any device."""
    return getattr(getattr(x, "dtype", None), "kind", "") == "f"


def input_names(count: int) -> list[str]:
    """Default names of the inputs of a function."""
    return ["input"] if count == 1 else [f"input {i}" for i in range(count)]


def result_of(call: Function | None, fn: Function, *inputs: Any) -> Tensor:
    """`call(fn, *inputs)`, by default `fn(*inputs)`; AssertionError if that is not a Tensor."""
    out = fn(*inputs) if call is None else call(fn, *inputs)
    assert isinstance(out, Tensor), f"it returned {type(out).__name__}, not a Tensor."
    return out


@dataclass(frozen=True)
class Subject:
    """A function with its inputs, for laws and for `gradcheck(subject.fn, subject.inputs, names=subject.names)`.

    Attributes:
        fn: function of only the inputs.
        inputs: raw arrays on one device, or numbers. The floating-point arrays are differentiated.
        names: names of the inputs.
    """

    fn: Function
    inputs: list[Any]
    names: list[str]

    @property
    def moving(self) -> list[int]:
        """Positions of the floating-point inputs."""
        return [i for i, x in enumerate(self.inputs) if is_floating(x)]

    def smooth(self, *leaves: Tensor, inputs: Sequence[Any] | None = None) -> Tensor:
        """fn as a function of only the floating-point inputs; the others are from `inputs`, by default `self.inputs`."""
        arguments = list(self.inputs if inputs is None else inputs)
        for i, leaf in zip(self.moving, leaves, strict=True):
            arguments[i] = leaf
        return result_of(None, self.fn, *arguments)

    def applied(self, inputs: Sequence[Any] | None = None) -> tuple[list[Tensor], Tensor]:
        """Leaf Tensors with copies of the floating-point inputs, in their layout, and the result of fn."""
        given = self.inputs if inputs is None else inputs
        leaves = [Tensor(_copied(given[i]), requires_grad=True) for i in self.moving]
        return leaves, self.smooth(*leaves, inputs=given)

    def value(self, inputs: Sequence[Any] | None = None) -> np.ndarray:
        """The result on the host, computed without recording."""
        with no_grad():
            return np.array(self.applied(inputs)[1].numpy())

    def gradients(
        self, cotangent: np.ndarray, inputs: Sequence[Any] | None = None, create_graph: bool = False
    ) -> list[np.ndarray]:
        """J^T c for every floating-point input: the gradient of sum(c * fn(...)), on the host."""
        return pulled_back(*self.applied(inputs), cotangent, create_graph)

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """That of the result."""
        return self.value().shape

    def cotangent(self, seed: int = 0) -> np.ndarray:
        """Random weights of both signs for the result, none of them small."""
        return bounded_signs(np.random.default_rng(seed), self.shape)

    @functools.cached_property
    def sizes(self) -> tuple[float, float]:
        """The largest number on the way to the result (at least 1), and on the way back from a cotangent of size 1.

        What a result loses by cancellation is rounding of these numbers, however small the result is.
        """
        seen = Sizes()
        with observing(seen):
            leaves, out = self.applied()
            pulled_back(leaves, out, np.sign(self.cotangent()))
        return seen.forward, seen.back

    def close(
        self,
        found: np.ndarray,
        expected: np.ndarray,
        what: str,
        weights: np.ndarray | None = None,
        rtol: float = 1e-9,
    ) -> None:
        """Raise AssertionError, with the largest difference, unless two results agree, or two gradients for `weights`.

        The allowed difference is relative to the largest element, or the rounding of what was computed on the way.
        """
        forward, back = self.sizes
        size = forward if weights is None else back * float(np.abs(weights).max(initial=0.0))
        close(found, expected, what, 64.0 * EPS * size, rtol)

    def close_gradients(
        self, found: Arrays, expected: Arrays, what: str, weights: np.ndarray, rtol: float = 1e-9
    ) -> None:
        """`close` for the gradient of each floating-point input; `what` follows "the gradient for NAME" in the message."""
        for i, g, h in zip(self.moving, found, expected, strict=True):
            self.close(g, h, f"the gradient for {self.names[i]}{what}", weights, rtol)


def pulled_back(
    leaves: list[Tensor], out: Tensor, cotangent: np.ndarray, create_graph: bool = False
) -> list[np.ndarray]:
    """The gradient of sum(c * out) for every leaf, on the host."""
    if not out.requires_grad:
        return [np.zeros(leaf.shape) for leaf in leaves]
    weights = backend_of(out.data).to_device(cotangent, out.dtype)
    return [np.array(g.numpy()) for g in grad(out, leaves, weights, create_graph, allow_unused=True)]


def _copied(x: Array) -> Array:
    """A copy with the same strides; a read-only view is passed on, as nothing can write into it."""
    return backend_of(x).xp.array(x) if writeable(x) else x


def close(found: np.ndarray, expected: np.ndarray, what: str, rounding: float = 0.0, rtol: float = 1e-9) -> None:
    """Raise AssertionError, with the largest difference, unless two arrays agree to `rtol` of the largest element."""
    assert found.shape == expected.shape, f"{what} has shape {found.shape}, expected {expected.shape}."
    with np.errstate(invalid="ignore"):  # infinities, which are equal or are not
        gap = np.where((found == expected) | (np.isnan(found) & np.isnan(expected)), 0.0, np.abs(found - expected))
    if not gap.size:
        return
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape))  # argmax takes a NaN first
    scale = np.max(np.abs([found, expected]), initial=0.0, where=np.isfinite([found, expected]))
    assert gap[worst] <= rtol * scale + rounding + 1e-300, (
        f"{what} is {found[worst]:.9g} at {worst}, expected {expected[worst]:.9g}."
    )


# ---------------------------------------------------------------------------------------------------------------------
# A layer as a function of its parameters.
#
# During a call each parameter has the array and the tape node of the Tensor that the check passes in, and gradients flow to that
# Tensor. After each call everything is put back, so dropout always draws the same mask and running averages do not change.


def subject_of(
    fn: Function,
    inputs: Sequence[Any],
    call: Call = None,
    backend: Backend = CPU,
    *,
    dtype: str = "float64",
    whole: bool = True,
) -> Subject:
    """A function or Module with its inputs on one device; `whole` as for `function_of`.

    Floating-point inputs, parameters and buffers are cast to `dtype`, others are passed unchanged.
    """
    raw = [as_input(x, backend, dtype) for x in inputs]
    if isinstance(fn, Module):
        return function_of(fn, *raw, call=call, dtype=dtype, whole=whole)
    return Subject(fn if call is None else functools.partial(call, fn), raw, input_names(len(raw)))


def as_input(x: Any, backend: Backend, dtype: str) -> Any:
    """A raw array of a dtype if it is floating-point; what is not an array, as it is."""
    raw = np.asarray(x) if isinstance(x, (float, list)) else x.data if isinstance(x, Tensor) else x
    if not hasattr(raw, "shape"):
        return raw
    return backend.to_device(np.array(backend_of(raw).to_host(raw)), dtype if is_floating(raw) else None)


def function_of(
    module: Module, *inputs: Any, call: Function | None = None, dtype: str = "float64", whole: bool = True
) -> Subject:
    """A module as a function of its inputs and parameters: see `check_module` for the arguments.

    After a call the whole state is put back; without `whole`, only what a layer declares: buffers and generators.
    """
    named = module.named_parameters()
    parameters = [p for _, p in named]
    buffers = [buffer for _, buffer in module.named_buffers()]
    given = {id(p) for p in parameters}
    kept = [part for part in parts(module, code=False) if id(part[1]) not in given]
    if not whole:
        kept = [part for part in kept if isinstance(part[1], (Tensor, *GENERATORS))]

    def function(*arguments: Any) -> Any:
        before = Snapshot(kept)
        own = [(p, p._data, p.node) for p in parameters]
        try:
            for parameter, tensor in zip(parameters, arguments[len(inputs) :], strict=True):
                parameter._data, parameter.node = tensor._data, tensor.node
            for buffer in buffers:
                if is_floating(buffer._data):
                    buffer._data = backend_of(buffer._data).xp.array(buffer._data, dtype=dtype)
            first = arguments[: len(inputs)]
            return module(*first) if call is None else call(module, *first)
        finally:
            before.put_back()
            for parameter, data, node in own:
                parameter._data, parameter.node = data, node

    values = [x.data if isinstance(x, Tensor) else x for x in inputs]
    values += [backend_of(p.data).xp.array(p.data, dtype=dtype) for _, p in named]
    return Subject(function, values, input_names(len(inputs)) + [name for name, _ in named])


def draws(module: Module) -> bool:
    """Whether a module has a random generator, in itself or in anything that it holds."""
    return any(isinstance(part, GENERATORS) for _, part in parts(module))


def each_mode(fn: Function) -> Iterator[str]:
    """Put a Module into training mode, then into evaluation mode; gives each as the end of a sentence. "" for a function."""
    if not isinstance(fn, Module):
        yield ""
        return
    with evaluating(fn):
        for training, mode in ((True, "training"), (False, "evaluation")):
            fn.train(training)
            yield f" in {mode} mode"
