"""One comparison of values and derivatives, and the list of the differences that are meant.

A sample input of PyTorch goes to both sides as the same memory, strides included. `compare` demands equal shapes, dtypes
and numbers of f(x), of J^T c for random cotangents c, and of the gradient of <u, J^T c> with random u with respect to x
and c: orders 0, 1 and 2.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import tinyae as ta
from tests.peers.operations import NEUTRAL, TABLE, NotOffered, Row, need

TOLERANCE = {torch.float64: (1e-10, 5e-13), torch.float32: (1e-4, 2e-5)}
"""Largest error relative to a number itself, and relative to the largest of its array (or to 1 if that is larger)."""


class Fault(AssertionError):
    """The two sides differ; `at` says in what: "value", "derivative 1" or "derivative 2"."""

    def __init__(self, at: str, message: str) -> None:
        super().__init__(f"{at}: {message}")
        self.at = at


def is_float(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def samples(op: Any, dtype: torch.dtype) -> Iterator[tuple[Any, ...]]:
    """(x, args, kwargs) of the reference inputs, which contain the sample inputs; float32 as noncontiguous copies."""
    try:
        found = list(op.reference_inputs("cpu", dtype, requires_grad=True))
    except ValueError:  # `where` and `clamp` ask for integers that require gradients
        found = list(op.reference_inputs("cpu", dtype))
        found = [s.transform(lambda x: x.requires_grad_() if is_float(x) else x) for s in found]
    for s in found if dtype == torch.float64 else [s.noncontiguous() for s in found]:
        yield s.input, s.args, s.kwargs


def compare(op: Any, row: Row, inputs: tuple[Any, ...], order: int) -> int:
    """Compare up to `order`. Returns the order reached: 0 for what has no derivative. Raises Fault or NotOffered."""
    flat, tree = tree_flatten(inputs)
    need(any(map(is_float, flat)), "a call without an array of floats")
    need(not any(isinstance(value, complex) for value in flat), "complex numbers")
    theirs = [value.detach().requires_grad_(value.requires_grad) if is_float(value) else value for value in flat]
    ours = [_ours(value) for value in theirs]
    leaves = [(x, y) for x, y in zip(ours, theirs, strict=True) if is_float(y) and y.requires_grad]
    xs, ys = [x for x, _ in leaves], [y for _, y in leaves]
    expected = _call(op, *tree_unflatten(theirs, tree))
    results = _call(_offered(row), *tree_unflatten(ours, tree))
    _agree("value", results, expected)
    if not any(y.requires_grad for y in expected):
        return 0
    if all(x.node is None for x in results):  # piecewise constant: nothing is recorded, and PyTorch must say 0
        _agree("derivative 1", [ta.Tensor(np.zeros_like(x.data)) for x in xs], _gradient(expected, expected, ys))
        return 0
    rng = np.random.default_rng(0)
    for n in range(1, order + 1):
        cs = [rng.standard_normal(x.shape).astype(x.dtype) for x in results]
        ours, theirs = [ta.Tensor(c, requires_grad=True) for c in cs], [torch.tensor(c, requires_grad=True) for c in cs]
        expected = _gradient(expected, theirs, ys)
        total = sum(ta.ops.sum(x * c) for x, c in zip(results, ours, strict=True))
        results = ta.grad(total, xs, create_graph=True, allow_unused=True)
        _agree(f"derivative {n}", results, expected)
        xs, ys = xs + ours, ys + theirs
    return order


def _gradient(results: Any, cotangents: Any, ys: list[torch.Tensor]) -> Any:
    total = sum((y * c).sum() for y, c in zip(results, cotangents, strict=True))
    try:
        return torch.autograd.grad(total, ys, create_graph=True, allow_unused=True, materialize_grads=True)
    except RuntimeError:
        raise NotOffered("a derivative at which PyTorch itself fails") from None


def _ours(value: Any) -> Any:
    if is_float(value):
        return ta.Tensor(value.detach().numpy(), requires_grad=value.requires_grad)
    return value.numpy() if isinstance(value, torch.Tensor) else value


def _call(function: Callable[..., Any], x: Any, args: Any, kwargs: Any) -> Any:
    """The results, one or several, as a sequence."""
    result = function(x, *args, **kwargs)
    need(result is not NotImplemented, "a call that PyTorch does not have either")
    return result if isinstance(result, (list, tuple)) else [result]


def _offered(row: Row) -> Row:
    """The row; raises NotOffered for an argument that it or our operation does not have."""

    def function(*args: Any, **kwargs: Any) -> Any:
        kwargs = {key: value for key, value in kwargs.items() if value not in NEUTRAL.get(key, ())}
        try:
            inspect.signature(row).bind(*args, **kwargs)
        except TypeError as error:
            raise NotOffered(str(error)) from None
        try:
            return row(*args, **kwargs)
        except TypeError as error:
            need(not re.search("unexpected keyword argument|has no option", str(error)), str(error))
            raise

    return function


def _agree(at: str, ours: Any, theirs: Any) -> None:
    for x, y in zip(ours, theirs, strict=True):
        a, b = x.numpy(), y.detach().numpy(force=True)
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise Fault(at, f"{a.dtype}{a.shape}, PyTorch {b.dtype}{b.shape}")
        relative, absolute = TOLERANCE.get(y.dtype, (0.0, 0.0))
        largest = np.abs(b[np.isfinite(b)]).max(initial=1.0) if absolute else 0.0
        wrong = ~np.isclose(a, b, rtol=relative, atol=absolute * largest, equal_nan=True)
        if wrong.any():
            raise Fault(at, f"{a[wrong][:3]}, PyTorch {b[wrong][:3]} ({wrong.sum()} of {wrong.size})")


# ---------------------------------------------------------------------------------------------------------------------
# Differences that are meant. Each is confined to the inputs that `removed` takes away: what is left of the sample must agree.


class Difference(NamedTuple):
    """Operations that differ from PyTorch in the value, in a derivative, or in that we refuse what it accepts."""

    reason: str
    at: str
    names: tuple[str, ...]
    removed: Callable[[Any], Any] | None  # None: all inputs differ, but in nothing before `at`


def _on(chosen: Callable[[torch.Tensor], bool], change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], Any]:
    """`change` applied to the arrays of a sample that are `chosen`."""

    def removed(inputs: Any) -> Any:
        def changed(x: Any) -> Any:
            new = isinstance(x, torch.Tensor) and chosen(x)
            return change(x.detach()).requires_grad_(x.requires_grad) if new else x

        return tree_map(changed, inputs)

    return removed


_without_nan = _on(is_float, lambda x: torch.where(x.isnan(), 0.5, x))

DIFFERENCES = (
    Difference("sign(NaN) is NaN, as in NumPy; 0 in PyTorch", "value", ("sign",), _without_nan),
    Difference("the slope of abs at NaN is NaN; 0 in PyTorch", "derivative 1", ("abs",), _without_nan),
    Difference(
        "clip passes the gradient of a NaN on, as relu and maximum do; 0 in PyTorch",
        "derivative 1",
        ("clamp", "clamp_min", "clamp_max"),
        _without_nan,
    ),
    Difference(
        "mixed dtypes promote as in NumPy, integers and float32 to float64",
        "value",
        ("where", "clamp"),
        _on(lambda x: x.dtype != torch.bool, lambda x: x.float()),
    ),
    Difference(
        "an axis of a single number is refused; PyTorch takes it for a vector",
        "refused",
        ("sum", "mean", "prod", "amax", "amin", "logsumexp", "linalg.vector_norm", "softmax", "log_softmax", "cumsum"),
        _on(lambda x: x.ndim == 0, lambda x: x[None]),
    ),
    Difference(
        "an empty vector beside matrices is refused; PyTorch leaves it out",
        "refused",
        ("cat",),
        lambda inputs: ([x for x in inputs[0] if x.shape != (0,)], *inputs[1:]),
    ),
    Difference(
        "d2/dxdy of x**y is 1/x at y = 0, where PyTorch has 0; finite at x = 0, where PyTorch has NaN",
        "derivative 2",
        ("pow", "__rpow__"),
        _on(is_float, lambda x: x.abs() + 0.25),
    ),
    Difference(
        "PyTorch adds 1e-12 to p and 1 - p in the second derivative; the first must agree",
        "derivative 2",
        ("nn.functional.binary_cross_entropy",),
        None,
    ),
)


def judge(name: str, op: Any, inputs: tuple[Any, ...], order: int) -> tuple[str, object]:
    """("passed", order), ("not offered", why), ("stated", reason) or ("fault", message)."""
    try:
        return "passed", compare(op, TABLE[name], inputs, order)
    except NotOffered as error:
        return "not offered", str(error)
    except Exception as error:
        at = error.at if isinstance(error, Fault) else "refused"
        for difference in DIFFERENCES:
            if name in difference.names and at == difference.at:
                rest, reached = (difference.removed(inputs), order) if difference.removed else (inputs, order - 1)
                try:
                    compare(op, TABLE[name], rest, reached)
                except NotOffered as reason:
                    return "not offered", str(reason)
                except Exception:
                    continue
                return "stated", difference.reason
        return "fault", f"{type(error).__name__} {error}"
