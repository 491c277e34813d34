"""`OpCase`: what a function should compute, on which inputs, and how smooth it is there.

One case is a function, the shapes and values it is called with, and an independent reference: the same thing written
again, in NumPy or SciPy, sharing no code. `check_case` asks it every question that the package asks of its own
primitives. A derivative can only be measured where there is one, so each case also names a domain, which draws inputs
away from kinks and poles:

    cases(ops.log, [((3, 4),), ((),)], np.log, positive)

gives two cases, a (3, 4) array and a single number, both drawn from 0.3 to 2.5.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinyae.backend import CPU, Backend

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
    """-2, -1, 0, 1, 2: many ties, for comparisons."""
    return [np.asarray(rng.integers(-2, 3, shape).astype(float)) for shape in shapes]


class Subject(NamedTuple):
    """What a gradient check is given: `gradcheck(subject.fn, subject.inputs, names=subject.names)`.

    Attributes:
        fn: function of the inputs alone, each of which is differentiated.
        inputs: float64 arrays, on one device.
        names: what they are called.
    """

    fn: Callable[..., Any]
    inputs: list[Any]
    names: list[str]


@dataclass(frozen=True)
class OpCase:
    """One function with one set of shapes and parameters.

    Attributes:
        op: the primitive, or any function composed of some.
        name: what reports and pytest show.
        arguments: one entry per positional argument: a shape (drawn from `domain` and differentiated), or a
            value that is handed over as it is.
        reference: the same function on raw arrays, written independently.
        domain: draws the inputs, away from points where the function is not smooth.
        params: keyword parameters.
        analytic: whether it is an analytic function that NumPy evaluates on complex arrays too.
        order: highest order of derivative to check; 0 for piecewise constants.
    """

    op: Any
    name: str
    arguments: tuple[Any, ...]
    reference: Callable[..., Any]
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
        """What the function calls its differentiable arguments; `xs[0]`, `xs[1]` for a variadic one."""
        names: list[str] = []
        for parameter in inspect.signature(self.op).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                names += [f"{parameter.name}[{i}]" for i in range(len(self.arguments) - len(names))]
            elif parameter.kind is not parameter.KEYWORD_ONLY:
                names.append(parameter.name)
        return [names[i] for i in self.moving]

    def subject(self, rng: np.random.Generator, backend: Backend = CPU) -> Subject:
        """The function with everything but the differentiable arguments fixed, and fresh values for those."""
        arguments = [moved(a, backend) if i in self.moving else a for i, a in enumerate(self.make_inputs(rng))]
        fixed = [moved(a, backend) if i not in self.moving else None for i, a in enumerate(self.arguments)]
        params = moved(self.params, backend)

        def function(*moving: Any) -> Any:
            full = list(fixed)
            for i, x in zip(self.moving, moving, strict=True):
                full[i] = x
            return self.op(*full, **params)

        return Subject(function, [arguments[i] for i in self.moving], self.names)


def cases(
    op: Any,
    variants: Sequence[tuple[Any, ...]],
    reference: Callable[..., Any],
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
    """The arrays within arguments and parameters on another device; on the CPU everything as it is."""
    if backend is CPU:
        return value
    if isinstance(value, np.ndarray):
        return backend.to_device(value)
    if isinstance(value, list):
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
