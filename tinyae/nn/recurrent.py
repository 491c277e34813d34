"""What recurrent layers share: how their weights start, and how layers and directions are stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.nn.checks import check_floats, check_size
from tinyae.nn.dropout import Dropout
from tinyae.nn.initializers import Initializer, initializer_named
from tinyae.nn.module import Module
from tinyae.nn.parameter import Parameter
from tinyae.ops.sequence import Lengths, settled

States = tuple[Tensor, ...]
"""What a layer hands on from step to step, (N, H) each: (h, c) for an LSTM, (h,) for a GRU."""


def gate_weights(
    rows: int, size: int, gates: int, initializer: str | Initializer, generator: np.random.Generator, dtype: Any
) -> Parameter:
    """(rows, gates * size): each gate's matrix drawn by itself, so that an orthogonal one is orthogonal."""
    draw = initializer_named(initializer)
    return Parameter(np.concatenate([draw((rows, size), generator, dtype=dtype) for _ in range(gates)], axis=1))


def check_input_size(owner: str, value: Any) -> int:
    """D: a whole number of at least 1, or 0 for a layer that is given no input at all."""
    return 0 if value == 0 and not isinstance(value, bool) else check_size(owner, "input_size", value)


def check_states(layer: Module, names: tuple[str, ...], states: Any) -> None:
    """Raise TypeError unless the states given to `layer` are Tensors or arrays, one for each of `names`."""
    if isinstance(states, (tuple, list)) and len(states) == len(names) and all(hasattr(s, "ndim") for s in states):
        return
    got = f"{len(states)} in a {type(states).__name__}" if isinstance(states, (tuple, list)) else type(states).__name__
    form = f"({', '.join(names)}{',' * (len(names) == 1)})"
    raise TypeError(
        f"{layer}: the state must be {form}, each a Tensor or array, got {got}: the second result of a call has that "
        "form."
    )


class RecurrentStack(Module):
    """Layers of recurrent units, each in one direction or in both.

    A subclass names its states in `state_names` and says in `layer` of what it is made: a module made by (input_size,
    hidden_size, generator=, ...), called with (x, states, lengths=, reverse=, steps=), that gives all its outputs
    (N, T, H) and its last states (N, H).

    Args:
        input_size, hidden_size, num_layers, bidirectional, dropout, generator: as for `LSTM`.
        options: further arguments of every layer.
    """

    layer: ClassVar[Callable[..., Module]]
    state_names: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        *,
        generator: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        name, rng = type(self).__name__, as_generator(generator)
        self.input_size = check_input_size(name, input_size)
        self.hidden_size = check_size(name, "hidden_size", hidden_size)
        self.num_layers = check_size(name, "num_layers", num_layers)
        self.bidirectional = bool(bidirectional)
        width = self.hidden_size * self.directions
        sizes = [self.input_size] + [width] * (self.num_layers - 1)
        make = type(self).layer
        self.layers = [
            [make(size, hidden_size, generator=rng, **options) for _ in range(self.directions)] for size in sizes
        ]
        between = Dropout(dropout, rng)
        self.dropout = between if dropout and num_layers > 1 else None

    @property
    def directions(self) -> int:
        """2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def run(
        self, x: Tensor | None, states: Sequence[Tensor] | None, lengths: Lengths, steps: int | None
    ) -> tuple[Tensor, States]:
        """Outputs (N, T, H * directions) of the last layer, and the last states of all, (num_layers * directions, N, H)."""
        self._check(x, states, steps)
        if lengths is not None:
            count = steps if x is None else x.shape[1]
            n = states[0].shape[1] if x is None and states else len(x)  # type: ignore[arg-type]
            lengths = settled(type(self).__name__, lengths, n, count or 0, self.parameters()[0])
        last: list[States] = []
        for number, both in enumerate(self.layers):
            if number:
                x, steps = x if self.dropout is None else self.dropout(x), None
            outputs = []
            for direction, layer in enumerate(both):
                at = number * self.directions + direction
                own = None if states is None else tuple(state[at] for state in states)
                out, after = layer(x, own, lengths=lengths, reverse=direction == 1, steps=steps)
                outputs.append(out)
                last.append(after)
            x = outputs[0] if len(outputs) == 1 else ops.concatenate(*outputs, axis=-1)
        return x, tuple(ops.stack(*parts, axis=0) for parts in zip(*last, strict=True))  # type: ignore[return-value]

    def _check(self, x: Any, states: Any, steps: int | None) -> None:
        if x is not None:
            check_floats(self, x)
            if not self.input_size or x.ndim != 3 or x.shape[2] != self.input_size:
                wanted = f"(N, T, {self.input_size})" if self.input_size else "None, with steps=T"
                raise ValueError(f"{self}: the input must be {wanted}, got shape {x.shape}.")
        elif self.input_size or states is None or steps is None:
            raise ValueError(f"{self}: without an input it needs input_size=0, an initial state and steps=T.")
        if states is not None:
            check_states(self, self.state_names, states)
        places = self.num_layers * self.directions
        for state in states or ():
            if state.ndim != 3 or state.shape[0] != places or state.shape[2] != self.hidden_size:
                raise ValueError(
                    f"{self}: a state must be ({places}, N, {self.hidden_size}), one for each layer and direction, "
                    f"got shape {state.shape}: the second result of a call has that form."
                )

    def extra_repr(self) -> str:
        """Sizes, and what differs from the defaults."""
        words = [f"{self.input_size}, {self.hidden_size}"]
        words += [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        words += ["bidirectional=True"] if self.bidirectional else []
        return ", ".join(words + ([f"dropout={self.dropout.rate}"] if self.dropout is not None else []))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def flat(self, states: States) -> Tensor:
        """The last states of all layers side by side, (N, S), S = `state_size`: a vector of fixed length."""
        n = states[0].shape[1]
        parts = [ops.reshape(ops.transpose(s, axes=(1, 0, 2)), shape=(n, -1)) for s in states]
        return parts[0] if len(parts) == 1 else ops.concatenate(*parts, axis=1)

    def unflat(self, vector: Tensor) -> States:
        """The states that a vector (N, S) holds: `flat` undone."""
        n, places = vector.shape[0], self.num_layers * self.directions
        width, count = places * self.hidden_size, len(self.state_names)
        if vector.ndim != 2 or vector.shape[1] != width * count:
            raise ValueError(
                f"{self}: its state as vectors, or as codes, is (N, {width * count}), got shape {vector.shape}: give "
                "codes of the encoder that this was built for."
            )
        parts = ops.split(vector, lengths=(width,) * count, axis=1)
        shape = (n, places, self.hidden_size)
        return tuple(ops.transpose(ops.reshape(part, shape=shape), axes=(1, 0, 2)) for part in parts)
