"""`Module`: a layer or a model, something with parameters and a `forward`.

Nothing is registered anywhere. A module's parameters, buffers and inner modules are its attributes, and they
are found by walking `vars(self)` in the order in which they were assigned, through lists, tuples and dicts.
So the order is the one you read in `__init__`, an attribute that is replaced is gone, and a parameter that
two layers share is met twice and counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from tinyae.autodiff import Tensor, constant, current_watch
from tinyae.backend import backend_named, backend_of
from tinyae.nn.observe import in_layer, observers
from tinyae.nn.parameter import Parameter, freeze, unfreeze
from tinyae.nn.state import copied, load_in_place
from tinyae.nn.summary import summary_table


class Module:
    """Base of layers and models. A subclass assigns its parts in `__init__` and defines `forward`.

    Attributes:
        training: True while training, False after `eval()`; Dropout and BatchNorm behave differently.
        recipe: how a builder of `tinyae.models` made it, for `tinyae.save`; None for what was built otherwise.

    Example:
        >>> class Squeeze(Module):
        ...     def __init__(self, generator):
        ...         self.encoder = Dense(784, 32, activation="relu", generator=generator)
        ...         self.decoder = Dense(32, 784, generator=generator)
        ...     def forward(self, x):
        ...         return self.decoder(self.encoder(x))
    """

    training: bool = True
    recipe: dict[str, Any] | None = None

    forward: Callable[..., Any]
    """What the module computes, from Tensors to Tensors. Call the module itself, `module(x)`, not `forward`."""

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run `forward`. Raw floating-point arrays become constant Tensors, so `model(array)` works."""
        inputs = tuple([_wrapped(x) for x in inputs])
        for name, value in options.items():
            options[name] = _wrapped(value)
        try:
            forward = self.forward
        except AttributeError:
            raise NotImplementedError(f"{type(self).__name__} has no forward: define forward(self, x) in it.") from None
        watch = current_watch()
        if watch is None:
            output = forward(*inputs, **options)
        else:
            with in_layer(watch, self):
                output = forward(*inputs, **options)
        for observer in observers.active:
            observer(self, inputs, output)
        return output

    # Finding the parts.

    def entries(self) -> Iterable[tuple[str, Any]]:
        """(name, value) pairs that are searched for parts: the attributes. Override it to borrow or rename a part."""
        return vars(self).items()

    def members(self) -> Iterator[tuple[str, Module | Tensor]]:
        """The modules and Tensors held directly, containers flattened to dotted names; nothing inside inner modules."""
        return _members(self.entries())

    def named_modules(self) -> list[tuple[str, Module]]:
        """This module (named "") and every module inside, outer before inner, each once."""
        return [("", self), *((name, part) for name, part in _walk(self) if isinstance(part, Module))]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """(dotted name, parameter) in the order of assignment; a shared parameter once, under the first name."""
        return [(name, part) for name, part in _tensors(self) if isinstance(part, Parameter)]

    def named_buffers(self) -> list[tuple[str, Tensor]]:
        """Constant Tensors kept as attributes, such as running statistics: saved and moved, but not trained."""
        return [(name, part) for name, part in _tensors(self) if not isinstance(part, Parameter)]

    def parameters(self) -> list[Parameter]:
        """All parameters, frozen ones too, each once."""
        return [part for _, part in self.named_parameters()]

    def parameter_count(self) -> int:
        """How many numbers the parameters hold, shared ones counted once."""
        return sum(part.size for part in self.parameters())

    # State.

    def state_dict(self) -> dict[str, np.ndarray]:
        """A host copy of every parameter and buffer by dotted name, ready for `numpy.savez`."""
        return copied(self._state())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy values into the existing arrays, on whatever device they are, cast to their dtype.

        The arrays stay the same objects, because an optimizer may hold views of them.

        Raises:
            ValueError: any missing, unexpected or misshapen entry. The message lists all of them and nothing
                is changed.
        """
        load_in_place(type(self).__name__, self._state(), state)

    def _state(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for name, part in _tensors(self):
            if name in state:
                raise ValueError(
                    f"two parts of {type(self).__name__} are called {name!r}: "
                    "give the keys of its dicts distinct names without dots."
                )
            state[name] = part
        return state

    # Changing all parts at once.

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all inside to training mode; returns self."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode: Dropout off, BatchNorm on running statistics; returns self."""
        return self.train(False)

    def to(self, device: str) -> Self:
        """Move parameters and buffers to `"cpu"`, `"gpu"` or `"auto"`; returns self.

        Gradients are dropped. Move first and make the optimizer afterwards: it holds views of the arrays it
        found.
        """
        target = backend_named(device)
        for part in self._state().values():
            source = backend_of(part.data)
            if source is not target:
                part.data = target.to_device(source.to_host(part.data))
                part.grad = part._buffer = None
        return self

    def zero_grad(self) -> None:
        """Forget all gradients; the next `backward()` starts afresh instead of adding."""
        for parameter in self.parameters():
            parameter.grad = None

    def freeze(self) -> Self:
        """Make all parameters constants, so that training leaves them alone; returns self.

        Running statistics still follow in training mode: `eval()` stops those.
        """
        for parameter in self.parameters():
            freeze(parameter)
        return self

    def unfreeze(self) -> Self:
        """Undo `freeze`; returns self."""
        for parameter in self.parameters():
            unfreeze(parameter)
        return self

    # Looking at it.

    def summary(self, input_shape: int | tuple[int, ...]) -> str:
        """A table of all layers with their output shapes and parameter counts.

        Args:
            input_shape: the shape of one sample, without N: `(784,)` or just 784, `(28, 28, 1)`.

        The shapes are observed: a batch of two zeros is run in evaluation mode, nothing recorded, modes
        restored.
        """
        return summary_table(self, input_shape)

    def extra_repr(self) -> str:
        """What stands in the parentheses of the repr before the inner modules. For subclasses to define."""
        return ""

    def __repr__(self) -> str:
        return _tree(self, set())


def _wrapped(value: Any) -> Any:
    """A raw floating-point array of any device as a constant Tensor; everything else as it is."""
    if isinstance(value, (Tensor, np.generic)) or getattr(getattr(value, "dtype", None), "kind", "") != "f":
        return value
    return constant(value)


def _members(entries: Iterable[tuple[Any, Any]], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in entries:
        name = f"{prefix}{key}"
        if isinstance(value, (Module, Tensor)):
            yield name, value
        elif isinstance(value, (list, tuple)):
            yield from _members(enumerate(value), name + ".")
        elif isinstance(value, dict):
            yield from _members(value.items(), name + ".")


def _walk(root: Module) -> Iterator[tuple[str, Module | Tensor]]:
    """Everything below `root` with its dotted name, depth first in order of assignment, each object once."""
    return _walk_below(root, "", {id(root)})


def _walk_below(module: Module, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module | Tensor]]:
    for name, part in module.members():
        if id(part) not in seen:
            seen.add(id(part))
            yield prefix + name, part
            if isinstance(part, Module):
                yield from _walk_below(part, f"{prefix}{name}.", seen)


def _tensors(root: Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers. A Tensor with a history is a result somebody kept; any other leaf is a mistake."""
    for name, part in _walk(root):
        if isinstance(part, Parameter) or (isinstance(part, Tensor) and not part.requires_grad):
            yield name, part
        elif isinstance(part, Tensor) and part.is_leaf:
            raise TypeError(
                f"{type(root).__name__}: {name} is a Tensor with requires_grad=True, which training does not find: "
                "make it nn.Parameter(array), or detach() it."
            )


def _tree(module: Module, seen: set[int]) -> str:
    name = type(module).__name__
    if id(module) in seen:
        return f"{name}(...)"
    seen.add(id(module))
    parts = [(key, part) for key, part in module.members() if isinstance(part, Module)]
    extra = module.extra_repr()
    if not parts:
        return f"{name}({extra})"
    lines = [f"  {key}: " + _tree(part, seen).replace("\n", "\n  ") for key, part in parts]
    return "\n".join([f"{name}({extra}", *lines, ")"])
