"""`ModuleCase`: a layer or a model as something a gradient check can ask about.

A module hides its parameters, and a check needs a function of them. So while the function runs, each parameter *becomes*
the Tensor that the check hands in: it takes over that Tensor's array and its node on the tape, and everything the module
computes from the parameter leads back there. Afterwards it is itself again. Generators are rewound before each call and
buffers put back after it, so dropout draws one mask and running averages do not move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend import CPU, Backend, backend_of
from tinyae.nn import Module
from tinyae.testing.gradcheck import gradcheck
from tinyae.testing.held import holding_detached
from tinyae.testing.op_case import Domain, Shape, Subject, real
from tinyae.testing.report import GradcheckReport


def check_module(
    module: Module, *inputs: Any, call: Callable[..., Any] | None = None, **options: Any
) -> GradcheckReport:
    """Check the gradients of a layer or model for its inputs and every parameter, in its present mode.

    Args:
        module: of any dtype; it is computed in float64 and left as it was.
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


def function_of(module: Module, *inputs: Any, call: Callable[..., Any] | None = None) -> Subject:
    """A module as a function of its inputs and parameters: see `check_module` for the arguments."""
    named = module.named_parameters()
    apply = call or (lambda module, *xs: module(*xs))

    def function(*arguments: Any) -> Any:
        with _standing_in([p for _, p in named], arguments[len(inputs) :]), _unmoved(module):
            return apply(module, *arguments[: len(inputs)])

    values = [x.data if isinstance(x, Tensor) else x for x in inputs]
    values += [backend_of(p.data).xp.array(p.data, dtype="float64") for _, p in named]
    labels = ["input"] if len(inputs) == 1 else [f"input {i}" for i in range(len(inputs))]
    return Subject(function, values, labels + [name for name, _ in named])


@contextmanager
def _standing_in(parameters: list[Any], tensors: Any) -> Iterator[None]:
    """Each parameter has the array and the node of a Tensor, for a block."""
    own = [(p._data, p.node) for p in parameters]
    try:
        for parameter, tensor in zip(parameters, tensors, strict=True):
            parameter._data, parameter.node = tensor._data, tensor.node
        yield
    finally:
        for parameter, (data, node) in zip(parameters, own, strict=True):
            parameter._data, parameter.node = data, node


@contextmanager
def _unmoved(module: Module) -> Iterator[None]:
    """Buffers and generators are after the block what they were before it."""
    buffers = [(b, b._data, backend_of(b._data).xp.array(b._data)) for _, b in module.named_buffers()]
    found = [v for _, m in module.named_modules() for v in vars(m).values() if isinstance(v, np.random.Generator)]
    streams = [(g, g.bit_generator.state) for g in found]
    try:
        yield
    finally:
        for buffer, array, copy in buffers:
            backend_of(array).xp.copyto(array, copy)
            buffer._data = array
        for generator, state in streams:
            generator.bit_generator.state = state


@dataclass(frozen=True)
class ModuleCase:
    """One layer or model with one set of sizes.

    Attributes:
        name: what reports and pytest show.
        build: from a generator to the module, of any dtype.
        shapes: of the inputs, drawn from `domain` and differentiated like the parameters.
        domain: draws the inputs.
        training: whether it is checked in training or in evaluation mode.
        call: from (module, *inputs) to a Tensor; None calls the module.
        order: highest order of derivative to check.
        held: whether its gradient is that of the function in which every `detach()` stays what it is at the point: see
            `holding_detached`.
    """

    name: str
    build: Callable[[np.random.Generator], Module]
    shapes: tuple[Shape, ...]
    domain: Domain = real
    training: bool = True
    call: Callable[..., Any] | None = None
    order: int = 2
    held: bool = False

    def module(self, rng: np.random.Generator) -> Module:
        """A fresh module in the case's mode, its parameters moved away from the zeros and ones they start with."""
        module = self.build(rng)
        for p in module.parameters():
            p.data = (p.data + 0.3 * rng.normal(size=p.shape)).astype(p.dtype)
        return module.train(self.training)

    def make_inputs(self, rng: np.random.Generator, dtype: str = "float64") -> list[np.ndarray]:
        """Freshly drawn inputs."""
        return [x.astype(dtype) for x in self.domain(rng, list(self.shapes))]

    def subject(self, rng: np.random.Generator, backend: Backend = CPU) -> Subject:
        """The module as a function of inputs and parameters, and fresh values for all of them."""
        module = self.module(rng).to(backend.name)
        subject = function_of(module, *[backend.to_device(x) for x in self.make_inputs(rng)], call=self.call)
        return subject._replace(fn=holding_detached(subject.fn)) if self.held else subject
