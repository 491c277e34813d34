"""`Module`: the base class of layers and models, which have parameters and a `forward`.

Nothing is registered. The parameters, buffers and inner modules of a module are its attributes, found by walking
`vars(self)`, including lists, tuples and dicts. So they are in the order of assignment in `__init__`, a replaced attribute
is gone, and a parameter that two layers share is found twice and counted once.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike

from tinyae.autodiff import Node, Observer, Tensor, constant, no_grad, observers, set_observers
from tinyae.autodiff.tape import observed, scope
from tinyae.backend import Array, backend_named, backend_of
from tinyae.checks import check_kind
from tinyae.notebook import Printed, table

Result = TypeVar("Result", covariant=True)


class _Runs(Protocol[Result]):
    """An object whose call returns the result of `forward`."""

    @property
    def forward(self) -> Callable[..., Result]: ...


class Module:
    """Base class of layers and models. A subclass assigns its parts in `__init__` and defines `forward`.

    Attributes:
        training: True in training mode, False in evaluation mode; Dropout and BatchNorm depend on it.
        recipe: the arguments of the builder, which a file of the model stores; None without a builder.
        changes_in_training: names of the attributes that training changes, apart from Tensors and random generators.

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
    changes_in_training: ClassVar[tuple[str, ...]] = ()

    forward: Callable[..., Any]
    """Computes the output from the inputs. Call `module(x)`, not `module.forward(x)`."""

    def __call__(self: _Runs[Result], *inputs: object, **options: object) -> Result:
        """Run `forward`. Floating-point arrays become constant Tensors, so `model(array)` works."""
        inputs = tuple([_wrapped(x) for x in inputs])
        for name, value in options.items():
            options[name] = _wrapped(value)
        try:
            forward = self.forward
        except AttributeError:
            raise NotImplementedError(f"{type(self).__name__} has no forward: define forward(self, x) in it.") from None
        watching = observers()
        if not watching:
            return forward(*inputs, **options)
        with observed(self):
            output = forward(*inputs, **options)
        for observer in watching:
            observer.called(self, inputs, output)
        return output

    # Finding the parts.

    def members(self) -> Iterator[tuple[str, Module | Tensor]]:
        """The modules and Tensors among the attributes; those in lists, tuples and dicts have dotted names.

        Override it to share or rename a part.
        """
        return _members(vars(self))

    def named_parts(self, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Module | Tensor]]:
        """All modules and Tensors inside with their dotted names, depth first in order of assignment, each object once."""
        seen = {id(self)} if seen is None else seen
        for name, part in self.members():
            if id(part) not in seen:
                seen.add(id(part))
                yield prefix + name, part
                if isinstance(part, Module):
                    yield from part.named_parts(f"{prefix}{name}.", seen)

    def named_modules(self) -> list[tuple[str, Module]]:
        """This module (named "") and all modules inside, outer before inner, each once."""
        return [("", self), *((name, part) for name, part in self.named_parts() if isinstance(part, Module))]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """(dotted name, parameter) in order of assignment; a shared parameter once, under its first name."""
        return [(name, part) for name, part in self._state().items() if isinstance(part, Parameter)]

    def named_buffers(self) -> list[tuple[str, Tensor]]:
        """Constant Tensors among the attributes, such as running averages: saved and moved, but not trained."""
        return [(name, part) for name, part in self._state().items() if not isinstance(part, Parameter)]

    def named_generators(self) -> list[tuple[str, np.random.Generator]]:
        """(dotted name, random generator) of every attribute that refers to one: a shared one under each of its names."""
        found = []
        for name, module in self.named_modules():
            prefix = f"{name}." if name else ""
            found += [(prefix + key, part) for key, part in _members(vars(module), kinds=(np.random.Generator,))]
        return found

    def parameters(self) -> list[Parameter]:
        """All parameters, including frozen ones, each once."""
        return [part for part in self._state().values() if isinstance(part, Parameter)]

    def parameter_count(self) -> int:
        """Number of elements of all parameters; shared ones are counted once."""
        return sum(part.size for part in self.parameters())

    def _state(self) -> dict[str, Tensor]:
        """Parameters and buffers by dotted name. A Tensor that was computed from others is neither."""
        state: dict[str, Tensor] = {}
        for name, part in self.named_parts():
            if isinstance(part, Module):
                continue
            if part.requires_grad and not isinstance(part, Parameter):
                if not part.is_leaf:
                    continue
                raise TypeError(
                    f"{type(self).__name__}: {name} is a Tensor with requires_grad=True, which would not be trained: "
                    "make it nn.Parameter(array), or detach() it."
                )
            if name in state:
                raise ValueError(
                    f"two parts of {type(self).__name__} are named {name!r}: use distinct names without dots as dict keys."
                )
            state[name] = part
        return state

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the parameters; float32 without parameters."""
        return next((part.dtype for part in self.parameters()), np.dtype(np.float32))

    @property
    def device(self) -> str:
        """The device of the parameters, `"cpu"` or `"gpu"`; `"cpu"` without parameters."""
        return next((part.device for part in self.parameters()), "cpu")

    # State.

    def state_dict(self) -> dict[str, np.ndarray]:
        """A NumPy copy of every parameter and buffer by dotted name, in C order, ready for `numpy.savez`."""
        return {name: np.array(part.numpy(), order="C") for name, part in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Array | Tensor]) -> None:
        """Copy values into the existing arrays, on their device and in their dtype.

        The arrays remain the same objects, because an optimizer may hold views of them.

        Raises ValueError for missing, unexpected and non-numeric entries and for wrong shapes. The message lists all of
        them, and nothing is changed.
        """
        parts = self._state()
        values = {name: v.numpy() if isinstance(v, Tensor) else np.asarray(v) for name, v in state.items()}
        problems = _problems(parts, values)
        if problems:
            raise ValueError(
                f"the state does not match this {type(self).__name__}, nothing was loaded: {'; '.join(problems)}. "
                "Build the model with the same sizes as the saved one."
            )
        for name, part in parts.items():
            backend, target = backend_of(part.data), part.data
            backend.xp.copyto(target, backend.to_device(values[name], target.dtype))
            part._data = target
            part.bump_version()

    # Changing all parts at once.

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all modules inside to training mode; returns self.

        What is frozen stays in evaluation mode: a module with parameters, all of them frozen, and everything inside it.
        """
        if not isinstance(mode, bool):
            check_kind("mode", mode, bool)
        for module in (modules := [module for _, module in self.named_modules()]):
            module.training = mode
        if mode and any(isinstance(p, Parameter) and not p.requires_grad for _, p in self.named_parts()):
            for module in modules:
                if (own := module.parameters()) and not any(parameter.requires_grad for parameter in own):
                    module.eval()
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode: no dropout, BatchNorm with running averages; returns self."""
        return self.train(False)

    def to(self, device: str | None = None, *, dtype: DTypeLike | None = None) -> Self:
        """Move parameters and buffers to `"cpu"`, `"gpu"` or `"auto"`, dropping gradients; returns self.

        dtype: also convert them to this floating-point type, e.g. `model.to(dtype="float64")`.

        Create the optimizer afterwards: it holds views of the arrays.
        """
        if dtype is not None and np.dtype(dtype).kind != "f":
            raise TypeError(f"parameters are floating-point numbers, got dtype {np.dtype(dtype)}: use e.g. 'float64'.")
        for part in self._state().values():
            source = backend_of(part.data)
            target = source if device is None else backend_named(device)
            wanted = part.dtype if dtype is None or part.dtype.kind != "f" else np.dtype(dtype)
            if source is not target or wanted != part.dtype:
                part._data = target.to_device(source.to_host(part.data), wanted)
                part.bump_version()
                part.grad = part._buffer = None
        return self

    def zero_grad(self) -> None:
        """Drop all gradients, so that the next `backward()` does not add to them."""
        for parameter in self.parameters():
            parameter.grad = None

    def freeze(self) -> Self:
        """Make all parameters constant, so that training does not change what this module computes; returns self.

        From the next `train()` on, which `tinyae.fit` calls before every epoch, the module and everything inside it are in
        evaluation mode: BatchNorm neither uses nor follows the statistics of a batch, and nothing is dropped. A layer
        without parameters, such as Dropout, follows the nearest module around it that has some.
        """
        for parameter in self.parameters():
            parameter.node = parameter.grad = None
        return self

    def unfreeze(self) -> Self:
        """Undo `freeze`, and the evaluation mode at the next `train()`; returns self.

        Parameters that are not frozen remain part of recorded graphs.
        """
        for parameter in self.parameters():
            if parameter.node is None:
                parameter.node = Node(leaf=weakref.ref(parameter))
        return self

    # Display.

    def summary(self, input_shape: int | tuple[int, ...]) -> str:
        """A table of all layers with their output shapes and parameter counts.

        Args:
            input_shape: the shape of one sample, without N: `(784,)` or just 784, `(28, 28, 1)`.

        The shapes are observed in a forward pass of a batch of two zeros, in evaluation mode and without a graph.
        """
        return Printed(_summary(self, (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)))

    def extra_repr(self) -> str:
        """The part of the repr in parentheses, before the inner modules: the arguments of the constructor."""
        return constructor_arguments(type(self), vars(self))

    def __repr__(self) -> str:
        return _tree(self, set())

    def _repr_html_(self) -> str:
        rows = []
        for name, part in self.named_modules():
            own = [value for _, value in part.members() if isinstance(value, Parameter)]
            if own or not any(isinstance(value, Module) for _, value in part.members()):
                rows.append((name, f"{type(part).__name__}({part.extra_repr()})", f"{sum(p.size for p in own):,}"))
        total = f"{type(self).__name__}: {self.parameter_count():,} parameters"
        return table(rows, ("", "layer", "parameters"), total)


def constructor_arguments(kind: type, values: Mapping[str, object]) -> str:
    """The arguments with which `kind` was called, read from the attributes of the same names.

    These are the numbers, strings and tuples that differ from the default. For a flag that creates a parameter (`bias`,
    `peepholes`), a Tensor means True and None means False.
    """
    words: list[str] = []
    for name, argument in inspect.signature(kind).parameters.items():
        default = argument.default
        value = values.get(name, default)
        if isinstance(default, bool):
            value = isinstance(value, Tensor) or bool(value)
        if not isinstance(value, (int, float, str, tuple)) or value == default:
            continue
        if argument.kind is argument.VAR_POSITIONAL and isinstance(value, tuple):
            words += map(repr, value)
        else:
            words.append(repr(value) if default is argument.empty else f"{name}={value!r}")
    return ", ".join(words)


def _wrapped(value: Any) -> Any:
    """A floating-point array of any device as a constant Tensor; anything else as it is."""
    if isinstance(value, (Tensor, np.generic)) or getattr(getattr(value, "dtype", None), "kind", "") != "f":
        return value
    return Tensor(value)


def _members(
    container: dict[Any, Any] | list[Any] | tuple[Any, ...], prefix: str = "", kinds: tuple[type, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """The values of `kinds` (modules and Tensors if none are given) in nested containers, with dotted names."""
    for key, value in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(value, kinds or (Module, Tensor)):
            yield f"{prefix}{key}", value
        elif isinstance(value, (list, tuple, dict)):
            yield from _members(value, f"{prefix}{key}.", kinds)


def _tree(module: Module, seen: set[int]) -> str:
    """The repr of a module with its inner modules, one per line; a module that occurs again is abbreviated."""
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


# ---------------------------------------------------------------------------------------------------------------------
# `Parameter`, a Tensor that is trained, and `Sequential`, modules applied one after another.


class Parameter(Tensor):
    """A leaf Tensor that a `Module` finds among its attributes and an optimizer updates in place.

    Args:
        data: array or nested list of floating-point numbers of any shape; it is copied. Other dtypes raise TypeError.
        dtype: convert to this dtype; without it, nested lists become float32.

    `Module.freeze()` removes the parameter's node, which makes it constant until `Module.unfreeze()`. A deep copy or pickle
    keeps the values and whether it is frozen, but not the gradient.
    """

    __slots__ = ()

    def __init__(self, data: Array, *, dtype: DTypeLike | None = None) -> None:
        super().__init__(data, requires_grad=True, dtype=dtype)
        self._data = backend_of(self._data).xp.array(self._data, order="C")

    def __repr__(self) -> str:
        frozen = "" if self.requires_grad else ", frozen"
        return f"Parameter(shape={self.shape}, dtype={self.dtype}{frozen})"

    def __reduce__(self) -> tuple[Callable[[Array, bool], Parameter], tuple[Array, bool]]:
        return _rebuild, (self._data, self.requires_grad)


def _rebuild(data: Array, trainable: bool) -> Parameter:
    parameter = Parameter(data)
    if not trainable:
        parameter.node = None
    return parameter


class Sequential(Module):
    """f_n(... f_2(f_1(x))). Parts are named by position: "0.weight", "2.bias".

    Args:
        modules: f_1 to f_n. An empty Sequential is the identity.

    It supports `model[0]`, `model[-1]`, `len(model)` and `for layer in model`; a slice is a Sequential of the same modules.
    """

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential: argument {i} must be a Module, got {type(module).__name__}: "
                    "write Sequential(layer, layer), Sequential(*list_of_layers), and nn.ReLU() rather than ops.relu."
                )
        self.layers = list(modules)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def members(self) -> Iterator[tuple[str, Module | Tensor]]:
        """The attributes, with the modules named by position."""
        return ((name.removeprefix("layers."), part) for name, part in super().members())

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[index]


# ---------------------------------------------------------------------------------------------------------------------
# The check of a saved state, evaluation mode in a `with` block, and observing calls from outside.


def _problems(parts: Mapping[str, Tensor], values: Mapping[str, np.ndarray]) -> list[str]:
    """How a saved state differs from the module that is to load it, one phrase per entry."""
    missing = [f"missing {name} {part.shape}" for name, part in parts.items() if name not in values]
    unexpected = [f"unexpected {name} {value.shape}" for name, value in values.items() if name not in parts]
    wrong = []
    for name, part in parts.items():
        value = values.get(name)
        if value is not None and value.shape != part.shape:
            wrong.append(f"{name} has shape {value.shape}, expected {part.shape}")
        elif value is not None and value.dtype.kind not in "fiub":
            wrong.append(f"{name} holds {value.dtype}, expected numbers")
    return missing + unexpected + wrong


@scope
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode within `with evaluating(model):`; afterwards, even after an error, the modes are restored."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@scope
def observe_calls(callback: Callable[[Module, tuple[Any, ...], Any], None]) -> Iterator[None]:
    """Within the block, call `callback(module, inputs, output)` after every module call in this thread.

    Inner modules finish first and are reported first. `inputs` are the positional arguments. An exception raised by the
    callback stops the forward pass.

    Example:
        >>> from tinyae import Tensor, nn
        >>> shapes = []
        >>> with observe_calls(lambda module, inputs, output: shapes.append(output.shape)):
        ...     _ = nn.Dense(3, 2)(Tensor([[1.0, 2.0, 3.0]]))
        >>> shapes
        [(1, 2)]
    """
    observer = Observer()
    observer.called = callback  # type: ignore[method-assign, assignment]
    with set_observers(*observers(), observer):
        yield


# ---------------------------------------------------------------------------------------------------------------------
# The outputs of all modules for an input: for figures of feature maps, and for the shapes in the summary.


def layer_outputs(model: Module, x: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of all inner modules for a batch x (N, ...), as NumPy arrays by dotted name, in the order of the calls.

    The model is called once, in evaluation mode and without a graph. If a module is called several times, its last output
    is returned; modules that are not called, and outputs that are not a single Tensor, are left out.

    >>> import numpy as np
    >>> from tinyae import nn
    >>> model = nn.Sequential(nn.Dense(4, 3, activation="relu"), nn.Dense(3, 2))
    >>> {name: y.shape for name, y in layer_outputs(model, np.ones((5, 4), "float32")).items()}
    {'0': (5, 3), '1': (5, 2)}
    """
    names = {id(module): name for name, module in model.named_modules() if name}
    outputs = _outputs(model, x)
    return {names[key]: y.numpy() for key, y in outputs.items() if key in names and isinstance(y, Tensor)}


def _outputs(model: Module, x: np.ndarray) -> dict[int, object]:
    """The output of each module for a batch, by `id(module)`, from one call of the model in evaluation mode."""
    found: dict[int, object] = {}

    def note(module: Module, inputs: tuple[object, ...], output: object) -> None:
        found[id(module)] = output

    batch = constant(backend_named(model.device).to_device(x, model.dtype))
    with evaluating(model), no_grad(), observe_calls(note):
        model(batch)
    return found


def _summary(model: Module, sample: tuple[int, ...]) -> str:
    """`Module.summary`: name, type, output shape and number of parameters of each module; then the totals.

    A parameter that several modules share is counted for the first of them, and once in the total.
    """
    outputs = _outputs(model, np.zeros((_BATCH, *sample)))
    rows = [("layer", "type", "output", "parameters")]
    counted: set[int] = set()
    modules = model.named_modules()
    for name, module in modules:
        own = [part for _, part in module.members() if isinstance(part, Parameter) and id(part) not in counted]
        counted.update(id(part) for part in own)
        if module is model and not own and len(modules) > 1:
            continue
        shape = _shape_text(outputs[id(module)]) if id(module) in outputs else "not called"
        rows.append((name or "(model)", type(module).__name__, shape, f"{sum(p.size for p in own):,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
    rule = "  " + "-" * (sum(widths) + 6)
    trainable = sum(part.size for part in model.parameters() if part.requires_grad)
    buffers = sum(part.size for _, part in model.named_buffers())
    totals = f"{model.parameter_count():,} parameters, {trainable:,} trainable, {buffers:,} numbers in buffers"
    title = f"{type(model).__name__}, input {_axes('N', *sample)}"
    return "\n".join([title, lines[0], rule, *lines[1:], rule, f"  {totals}"])


_BATCH = 2
"""Samples in the batch of a summary; a first axis of that length is shown as N."""


def _shape_text(output: object) -> str:
    if isinstance(output, (tuple, list)):
        return ", ".join(map(_shape_text, output))
    if not isinstance(output, Tensor):
        return type(output).__name__
    return _axes(*("N" if axis == 0 and n == _BATCH else n for axis, n in enumerate(output.shape)))


def _axes(*lengths: int | str) -> str:
    """Lengths formatted like a tuple."""
    return f"({', '.join(map(str, lengths))}{',' * (len(lengths) == 1)})"
