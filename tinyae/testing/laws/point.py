"""`Point`: a function or a layer at one point, in float64, with parameters as inputs like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, grad, no_grad
from tinyae.backend import CPU, Backend, backend_of
from tinyae.nn import Module
from tinyae.testing.module_case import function_of
from tinyae.testing.probe import bounded_signs

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
