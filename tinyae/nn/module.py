"""`Module`: a layer or a model, something with parameters and a `forward`; and all that every module can do.

Nothing is registered anywhere. A module's parameters, buffers and inner modules are its attributes, and they
are found by walking `vars(self)` in the order in which they were assigned, through lists, tuples and dicts.
So the order is the one you read in `__init__`, an attribute that is replaced is gone, and a parameter that
two layers share is met twice and counted once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from tinyae.autodiff import Node, Observer, Tensor, constant, no_grad, observers, set_observers
from tinyae.autodiff.tape import observed
from tinyae.backend import CPU, Array, backend_named, backend_of

Result = TypeVar("Result", covariant=True)


class _Runs(Protocol[Result]):
    """What has a `forward`, whose result is that of a call."""

    @property
    def forward(self) -> Callable[..., Result]: ...


class Module:
    """Base of layers and models. A subclass assigns its parts in `__init__` and defines `forward`.

    Attributes:
        training: True while training, False after `eval()`; Dropout and BatchNorm behave differently.
        recipe: how a builder made it, so that a file can say it; None for what was built otherwise.

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
        watching = observers()
        if not watching:
            return forward(*inputs, **options)
        with observed(self):
            output = forward(*inputs, **options)
        for observer in watching:
            observer.called(self, inputs, output)
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

    def __init__(self, data: Any, *, dtype: Any = None) -> None:
        super().__init__(data, requires_grad=True, dtype=dtype)
        self._data = backend_of(self._data).xp.array(self._data, order="C")

    def __repr__(self) -> str:
        frozen = "" if self.requires_grad else ", frozen"
        return f"Parameter(shape={self.shape}, dtype={self.dtype}{frozen})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A node points weakly at its leaf; copied as it stands, the copy's gradients would go to the original.
        return _rebuild, (self._data, self.requires_grad)


def freeze(parameter: Parameter) -> None:
    """Make `parameter` a constant: no gradient is computed for it and an old one is dropped."""
    parameter.node = None
    parameter.grad = None


def unfreeze(parameter: Parameter) -> None:
    """Make a frozen `parameter` a leaf again; one that is not frozen is left alone."""
    if parameter.node is None:
        parameter.node = Node(leaf=weakref.ref(parameter))


def _rebuild(data: Array, trainable: bool) -> Parameter:
    parameter = Parameter(data)
    if not trainable:
        freeze(parameter)
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

    def forward(self, x: Any) -> Any:
        """Apply every module in turn."""
        for layer in self.layers:
            x = layer(x)
        return x

    def entries(self) -> Iterable[tuple[str, Any]]:
        """The attributes, with the modules named by position alone."""
        for name, value in vars(self).items():
            if value is self.layers:
                yield from ((str(i), layer) for i, layer in enumerate(self.layers))
            else:
                yield name, value

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
# Reading and writing the state of a module: plain host arrays by dotted name.


def copied(parts: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Host copies, C-ordered, that later training steps do not touch."""
    return {name: np.array(part.numpy(), order="C") for name, part in parts.items()}


def load_in_place(owner: str, parts: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Copy `state` into the arrays of `parts`, all or nothing.

    Args:
        owner: the model's type, for the message.
        parts: the Tensors to fill; they keep their arrays, devices and dtypes.
        state: an array per name, of the same shape.

    Raises:
        ValueError: names every missing, unexpected, misshapen or non-numeric entry.
    """
    values = {name: _host(value) for name, value in state.items()}
    problems = _problems(parts, values)
    if problems:
        raise ValueError(
            f"the state does not fit this {owner}, nothing was loaded: {'; '.join(problems)}. "
            "Build the model with the sizes it was saved with."
        )
    for name, part in parts.items():
        backend = backend_of(part.data)
        target = part.data
        backend.xp.copyto(target, backend.to_device(values[name], target.dtype))
        part._data = target
        part.bump_version()


def _host(value: Any) -> np.ndarray:
    return value.numpy() if isinstance(value, Tensor) else np.asarray(value)


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
# Watching modules being called, from outside: the summary table needs every module's output, and that should not be written
# into the layers.


@contextmanager
def observe_calls(callback: Callable[[Module, tuple[Any, ...], Any], None]) -> Iterator[None]:
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
    told = Observer()
    told.called = callback  # type: ignore[method-assign, assignment]
    with set_observers(*observers(), told):
        yield


# ---------------------------------------------------------------------------------------------------------------------
# What every layer of a model makes of an input, by the layer's name: the numbers behind a picture of feature maps.


def layer_outputs(model: Module, x: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """The outputs of all inner modules for a batch x (N, ...), as host arrays by dotted name, in the order of calls.

    The model is called once, in evaluation mode, with nothing recorded. Of a module that is called several times the last
    output counts; modules that are not called, and outputs that are not a single Tensor, are left out.

    >>> import numpy as np
    >>> from tinyae import nn
    >>> model = nn.Sequential(nn.Dense(4, 3, activation="relu"), nn.Dense(3, 2))
    >>> {name: y.shape for name, y in layer_outputs(model, np.ones((5, 4), "float32")).items()}
    {'0': (5, 3), '1': (5, 2)}
    """
    like = next((parameter.data for parameter in model.parameters()), None)
    backend = CPU if like is None else backend_of(like)
    batch = constant(backend.to_device(x, x.dtype if like is None else like.dtype))
    found: dict[int, Any] = {}

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            found[id(module)] = output.data

    with evaluating(model), no_grad(), observe_calls(note):
        model(batch)
    names = {id(module): name for name, module in model.named_modules() if name}
    return {names[key]: backend.to_host(value) for key, value in found.items() if key in names}


# ---------------------------------------------------------------------------------------------------------------------
# The table that says what a model is made of.
#
# Output shapes are not computed from rules that could disagree with the layers: two samples of zeros are pushed
# through and the calls are watched.

_BATCH = 2
_HEADER = ("layer", "type", "output", "parameters")


def summary_table(model: Module, input_shape: int | tuple[int, ...]) -> str:
    """One line per module: name, type, output shape with N for the batch, own parameters; then the totals.

    Args:
        model: any module whose `forward` takes one batch.
        input_shape: the shape of one sample, without N.

    A parameter that modules share is counted in the first line that has it and once in the total.
    """
    sample = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    outputs = observed_outputs(model, sample)
    rows = [_HEADER]
    counted: set[int] = set()
    modules = model.named_modules()
    for name, module in modules:
        own = [part for _, part in module.members() if isinstance(part, Parameter) and id(part) not in counted]
        counted.update(id(part) for part in own)
        if module is model and not own and len(modules) > 1:
            continue
        shape = _shape_text(outputs[id(module)]) if id(module) in outputs else "not called"
        rows.append((name or "(model)", type(module).__name__, shape, f"{sum(p.size for p in own):,}"))
    title = f"{type(model).__name__}, input {_shape_text(sample, lead='N')}"
    return "\n".join([title, *_aligned(rows), _totals(model)])


def observed_outputs(model: Module, sample: tuple[int, ...]) -> dict[int, Any]:
    """What each module returned for a batch of two zeros, as shapes by `id(module)`; the last call counts.

    Runs in evaluation mode without recording. Every module's own training mode is restored, also after an
    error.
    """
    parameters = model.parameters()
    like = parameters[0].data if parameters else np.zeros(0, np.float32)
    backend = backend_of(like) if parameters else CPU
    batch = constant(backend.xp.zeros((_BATCH, *sample), dtype=like.dtype))
    outputs: dict[int, Any] = {}

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        outputs[id(module)] = _shapes(output)

    with evaluating(model), no_grad(), observe_calls(note):
        model(batch)
    return outputs


def _shapes(output: Any) -> Any:
    """The shapes in an output: a tuple of numbers for a Tensor, a list of such for several."""
    if isinstance(output, Tensor):
        return output.shape
    if isinstance(output, (tuple, list)):
        return [_shapes(part) for part in output]
    return type(output).__name__


def _shape_text(shape: Any, lead: str = "") -> str:
    if isinstance(shape, str):
        return shape
    if isinstance(shape, list):
        return ", ".join(_shape_text(part) for part in shape)
    lengths = [str(n) for n in shape]
    if lead:
        lengths.insert(0, lead)
    elif shape and shape[0] == _BATCH:
        lengths[0] = "N"
    return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"


def _aligned(rows: list[tuple[str, str, str, str]]) -> list[str]:
    """Columns padded to their widest entry; the last one, numbers, to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    lines = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c:<{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]
    rule = "  " + "-" * (sum(widths) + 6)
    return [lines[0], rule, *lines[1:], rule]


def _totals(model: Module) -> str:
    trainable = sum(part.size for part in model.parameters() if part.requires_grad)
    buffers = sum(part.size for _, part in model.named_buffers())
    return f"  {model.parameter_count():,} parameters, {trainable:,} trainable, {buffers:,} numbers in buffers"
