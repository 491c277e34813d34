"""`Module`: a layer or a model, something with parameters and a `forward`; and all that every module can do.

Nothing is registered anywhere. A module's parameters, buffers and inner modules are its attributes, and they
are found by walking `vars(self)` in the order in which they were assigned, through lists, tuples and dicts.
So the order is the one you read in `__init__`, an attribute that is replaced is gone, and a parameter that
two layers share is met twice and counted once.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, Self, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike

from tinyae.autodiff import Node, Tensor, Watch, constant, current_watch, no_grad
from tinyae.backend import Array, backend_named, backend_of

Result = TypeVar("Result", covariant=True)


class _Runs(Protocol[Result]):
    """What has a `forward`, whose result is that of a call."""

    @property
    def forward(self) -> Callable[..., Result]: ...


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

    def __call__(self: _Runs[Result], *inputs: object, **options: object) -> Result:
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
            with in_layer(watch, self):  # type: ignore[arg-type]
                output = forward(*inputs, **options)
        for observer in observers.active:
            observer(self, inputs, output)  # type: ignore[arg-type]
        return output

    # Finding the parts.

    def members(self) -> Iterator[tuple[str, Module | Tensor]]:
        """The modules and Tensors held directly, those in lists, tuples and dicts by dotted names.

        Override it to borrow or rename a part.
        """
        return _members(vars(self))

    def named_parts(self, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Module | Tensor]]:
        """Everything inside with its dotted name, depth first in the order of assignment, each object once."""
        seen = {id(self)} if seen is None else seen
        for name, part in self.members():
            if id(part) not in seen:
                seen.add(id(part))
                yield prefix + name, part
                if isinstance(part, Module):
                    yield from part.named_parts(f"{prefix}{name}.", seen)

    def named_modules(self) -> list[tuple[str, Module]]:
        """This module (named "") and every module inside, outer before inner, each once."""
        return [("", self), *((name, part) for name, part in self.named_parts() if isinstance(part, Module))]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """(dotted name, parameter) in the order of assignment; a shared parameter once, under the first name."""
        return [(name, part) for name, part in self._state().items() if isinstance(part, Parameter)]

    def named_buffers(self) -> list[tuple[str, Tensor]]:
        """Constant Tensors kept as attributes, such as running statistics: saved and moved, but not trained."""
        return [(name, part) for name, part in self._state().items() if not isinstance(part, Parameter)]

    def parameters(self) -> list[Parameter]:
        """All parameters, frozen ones too, each once."""
        return [part for part in self._state().values() if isinstance(part, Parameter)]

    def parameter_count(self) -> int:
        """How many numbers the parameters hold, shared ones counted once."""
        return sum(part.size for part in self.parameters())

    def _state(self) -> dict[str, Tensor]:
        """Parameters and buffers by dotted name. A Tensor with a history, a result somebody kept, is neither."""
        state: dict[str, Tensor] = {}
        for name, part in self.named_parts():
            if isinstance(part, Module):
                continue
            if part.requires_grad and not isinstance(part, Parameter):
                if not part.is_leaf:
                    continue
                raise TypeError(
                    f"{type(self).__name__}: {name} is a Tensor with requires_grad=True, which training does not find: "
                    "make it nn.Parameter(array), or detach() it."
                )
            if name in state:
                raise ValueError(
                    f"two parts of {type(self).__name__} are called {name!r}: "
                    "give the keys of its dicts distinct names without dots."
                )
            state[name] = part
        return state

    @property
    def dtype(self) -> np.dtype:
        """Of the parameters; float32 where there are none."""
        return next((part.dtype for part in self.parameters()), np.dtype(np.float32))

    @property
    def device(self) -> str:
        """Where the parameters live, `"cpu"` or `"gpu"`; "cpu" where there are none."""
        return next((part.device for part in self.parameters()), "cpu")

    # State.

    def state_dict(self) -> dict[str, np.ndarray]:
        """A host copy of every parameter and buffer by dotted name, C-ordered, ready for `numpy.savez`."""
        return {name: np.array(part.numpy(), order="C") for name, part in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Array | Tensor]) -> None:
        """Copy values into the existing arrays, on whatever device they are, cast to their dtype.

        The arrays stay the same objects, because an optimizer may hold views of them.

        Raises:
            ValueError: any missing, unexpected, misshapen or non-numeric entry. The message lists all of them and
                nothing is changed.
        """
        parts = self._state()
        values = {name: v.numpy() if isinstance(v, Tensor) else np.asarray(v) for name, v in state.items()}
        problems = _problems(parts, values)
        if problems:
            raise ValueError(
                f"the state does not fit this {type(self).__name__}, nothing was loaded: {'; '.join(problems)}. "
                "Build the model with the sizes it was saved with."
            )
        for name, part in parts.items():
            backend, target = backend_of(part.data), part.data
            backend.xp.copyto(target, backend.to_device(values[name], target.dtype))
            part._data = target
            part.bump_version()

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
            parameter.node = parameter.grad = None
        return self

    def unfreeze(self) -> Self:
        """Undo `freeze`; returns self. A parameter that is not frozen keeps its place in recorded graphs."""
        for parameter in self.parameters():
            if parameter.node is None:
                parameter.node = Node(leaf=parameter)
        return self

    # Looking at it.

    def summary(self, input_shape: int | tuple[int, ...]) -> str:
        """A table of all layers with their output shapes and parameter counts.

        Args:
            input_shape: the shape of one sample, without N: `(784,)` or just 784, `(28, 28, 1)`.

        The shapes are observed: a batch of two zeros is run in evaluation mode, nothing recorded, modes
        restored.
        """
        return _summary(self, (input_shape,) if isinstance(input_shape, int) else tuple(input_shape))

    def extra_repr(self) -> str:
        """What stands in the parentheses of the repr before the inner modules: the arguments of the constructor.

        They are read from the attributes of the same names: numbers, strings and tuples that are not the default. For a
        flag that made a part (`bias`, `peepholes`), the part says True and None says False.
        """
        words: list[str] = []
        for name, argument in inspect.signature(type(self)).parameters.items():
            default = argument.default
            value = vars(self).get(name, default)
            if isinstance(default, bool):
                value = isinstance(value, Tensor) or bool(value)
            if not isinstance(value, (int, float, str, tuple)) or value == default:
                continue
            if argument.kind is argument.VAR_POSITIONAL and isinstance(value, tuple):
                words += map(repr, value)
            else:
                words.append(repr(value) if default is argument.empty else f"{name}={value!r}")
        return ", ".join(words)

    def __repr__(self) -> str:
        return _tree(self, set())


def _wrapped(value: Any) -> Any:
    """A raw floating-point array of any device as a constant Tensor; everything else as it is."""
    if isinstance(value, (Tensor, np.generic)) or getattr(getattr(value, "dtype", None), "kind", "") != "f":
        return value
    return constant(value)


def _members(container: dict[Any, Any] | list[Any] | tuple[Any, ...], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(value, (Module, Tensor)):
            yield f"{prefix}{key}", value
        elif isinstance(value, (list, tuple, dict)):
            yield from _members(value, f"{prefix}{key}.")


def _tree(module: Module, seen: set[int]) -> str:
    """The repr of a module in lines, its inner modules below it; one that was shown already is not shown again."""
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
# `Parameter`: the Tensor that training changes.


class Parameter(Tensor):
    """A leaf Tensor that a `Module` finds among its attributes and an optimizer updates in place.

    Args:
        data: array or nested list of floating-point numbers of any shape. It is copied: training never writes
            into the caller's array.
        dtype: convert to this dtype; nested lists become float32 without it.

    `Module.freeze()` takes the parameter's node away, which makes it a constant until `Module.unfreeze()`. A
    deep copy or pickle keeps values and frozen state; the gradient stays behind.

    Raises:
        TypeError: whole numbers or booleans, which have no gradient.
    """

    __slots__ = ()

    def __init__(self, data: Array, *, dtype: DTypeLike | None = None) -> None:
        super().__init__(data, requires_grad=True, dtype=dtype)
        self._data = backend_of(self._data).xp.array(self._data, order="C")

    def __repr__(self) -> str:
        frozen = "" if self.requires_grad else ", frozen"
        return f"Parameter(shape={self.shape}, dtype={self.dtype}{frozen})"

    def __reduce__(self) -> tuple[Callable[[Array, bool], Parameter], tuple[Array, bool]]:
        # A node points weakly at its leaf; copied as it stands, the copy's gradients would go to the original.
        return _rebuild, (self._data, self.requires_grad)


def _rebuild(data: Array, trainable: bool) -> Parameter:
    parameter = Parameter(data)
    if not trainable:
        parameter.node = None
    return parameter


# ---------------------------------------------------------------------------------------------------------------------
# `Sequential`: modules one after another.


class Sequential(Module):
    """f_n(... f_2(f_1(x))). Parts are named by position: "0.weight", "2.bias".

    Args:
        modules: the modules in the order of their application. None at all is the identity.

    `model[0]`, `model[-1]`, `len(model)` and `for layer in model` work; a slice is a Sequential of the same
    modules, sharing their parameters.
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
        """Apply every module in turn."""
        for layer in self.layers:
            x = layer(x)
        return x

    def members(self) -> Iterator[tuple[str, Module | Tensor]]:
        """The attributes, with the modules named by position alone."""
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
# How a saved state differs from the module that is to load it.


def _problems(parts: Mapping[str, Tensor], values: Mapping[str, np.ndarray]) -> list[str]:
    """One phrase per entry that does not fit."""
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


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation mode for the length of a block.


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """`with evaluating(model):` is in evaluation mode; every module gets its own mode back, also after an error."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


# ---------------------------------------------------------------------------------------------------------------------
# Watching modules being called, from outside.
#
# The summary table needs every module's output, and the search for the first NaN the name of the module being called;
# neither should be written into the layers. So `Module.__call__` tells whoever is listening in this thread; with no
# listener that is one look-up for each.

Observer = Callable[["Module", tuple[Any, ...], Any], None]
"""Called as `observer(module, inputs, output)` after each `module(*inputs)`."""


class _Observers(threading.local):
    active: tuple[Observer, ...] = ()


observers = _Observers()
"""`observers.active`: who is listening. One tuple per thread."""


@contextmanager
def observe_calls(callback: Observer) -> Iterator[None]:
    """Within the block, call `callback(module, inputs, output)` after every module call of this thread.

    Inner modules finish first and are reported first. `inputs` are the positional arguments. An error raised
    by the callback stops the forward pass; the callback is removed when the block ends, also by an error.

    Example:
        >>> from tinyae import Tensor, nn
        >>> shapes = []
        >>> with observe_calls(lambda module, inputs, output: shapes.append(output.shape)):
        ...     _ = nn.Dense(3, 2)(Tensor([[1.0, 2.0, 3.0]]))
        >>> shapes
        [(1, 2)]
    """
    before = observers.active
    observers.active = (*before, callback)
    try:
        yield
    finally:
        observers.active = before


@contextmanager
def in_layer(watch: Watch, module: Module) -> Iterator[None]:
    """Tell an anomaly watch that `module` is being called, by its dotted name in the module that was called first."""
    watch.scopes.append((module, _label(watch.scopes, module)))
    try:
        yield
    finally:
        watch.scopes.pop()


def _label(scopes: list[tuple[Any, str]], module: Module) -> str:
    """`Autoencoder.encoder.0 (Dense)`; `Outer > Inner` for one that is called by another but is not part of it."""
    kind = type(module).__name__
    if not scopes:
        return kind
    root: Module = scopes[0][0]
    name = next((name for name, part in root.named_modules() if part is module), None)
    if name is None:
        return f"{scopes[-1][1]} > {kind}"
    return f"{type(root).__name__}.{name} ({kind})" if name else kind


# ---------------------------------------------------------------------------------------------------------------------
# What every module returns for an input: the numbers behind a picture of feature maps, and the shapes of the summary.


def layer_outputs(model: Module, x: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of all inner modules for a batch x (N, ...), as host arrays by dotted name, in the order of calls.

    The model is called once, in evaluation mode, with nothing recorded. Of a module that is called several times the last
    output counts; modules that are not called, and outputs that are not a single Tensor, are left out.

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
    """What each module returns for a batch, by `id(module)`: one call of the model, every training mode restored."""
    found: dict[int, object] = {}

    def note(module: Module, inputs: tuple[object, ...], output: object) -> None:
        found[id(module)] = output

    batch = constant(backend_named(model.device).to_device(x, model.dtype))
    with evaluating(model), no_grad(), observe_calls(note):
        model(batch)
    return found


def _summary(model: Module, sample: tuple[int, ...]) -> str:
    """`Module.summary`: name, type, output shape, own parameters of each module; then the totals.

    Output shapes are not computed from rules that could disagree with the layers: they are looked at. A parameter that
    modules share is counted in the first line that has it and once in the total.
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
"""Samples in the batch that is pushed through for a summary; an axis of that length in front is shown as N."""


def _shape_text(output: object) -> str:
    if isinstance(output, (tuple, list)):
        return ", ".join(map(_shape_text, output))
    if not isinstance(output, Tensor):
        return type(output).__name__
    return _axes(*("N" if axis == 0 and n == _BATCH else n for axis, n in enumerate(output.shape)))


def _axes(*lengths: int | str) -> str:
    """Lengths written as Python writes a tuple."""
    return f"({', '.join(map(str, lengths))}{',' * (len(lengths) == 1)})"
