"""Recurrent layers over whole sequences (N, T, D): LSTM and GRU. The formulas stand at `tinyae.ops.recurrent`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.nn.layers import Initializer, check_dtype, check_floats, check_size, initializer_named
from tinyae.nn.module import Module, Parameter
from tinyae.nn.noise import Dropout
from tinyae.ops.recurrent import Lengths, settled

# ---------------------------------------------------------------------------------------------------------------------
# What recurrent layers share: how their weights start, and how layers and directions are stacked.

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


# ---------------------------------------------------------------------------------------------------------------------
# Long short-term memory: a cell, and layers of cells; the formulas stand at `ops.lstm`.


class LSTMLayer(Module):
    """H units over a whole sequence, in one direction: the weights of an LSTM and one call of `ops.lstm`.

    Args:
        input_size: D; 0 for units that are given no input.
        hidden_size: H.
        peepholes: the gates see the cell too (Gers, Schraudolph and Schmidhuber 2002; Graves 2013).
        forget_bias: the forget gate's bias at the start; 1 keeps what is stored (Jozefowicz et al. 2015).
        initializer, recurrent_initializer: how each gate's weights start, from the input and from h.
        generator, dtype: as for `Dense`.

    Attributes:
        weight_x: Parameter (D, 4H), None if D is 0. The gates stand in the order i, f, g, o.
        weight_h: Parameter (H, 4H).
        bias: Parameter (4H,).
        peepholes: Parameter (3, H) for i, f and o, 0 at the start; None without.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        peepholes: bool = False,
        forget_bias: float = 1.0,
        initializer: str | Initializer = "glorot_uniform",
        recurrent_initializer: str | Initializer = "orthogonal",
        generator: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        name, rng = type(self).__name__, as_generator(generator)
        self.input_size = d = check_input_size(name, input_size)
        self.hidden_size = h = check_size(name, "hidden_size", hidden_size)
        dtype = check_dtype(name, dtype)
        self.weight_x = gate_weights(d, h, 4, initializer, rng, dtype) if d else None
        self.weight_h = gate_weights(h, h, 4, recurrent_initializer, rng, dtype)
        bias = np.zeros(4 * h, dtype)
        bias[h : 2 * h] = forget_bias
        self.bias = Parameter(bias)
        self.peepholes = Parameter(np.zeros((3, h), dtype)) if peepholes else None

    def forward(
        self,
        x: Tensor | None,
        states: States | None = None,
        *,
        lengths: Lengths = None,
        reverse: bool = False,
        steps: int | None = None,
    ) -> tuple[Tensor, States]:
        """Outputs (N, T, H) of x (N, T, D), and the last (h, c), (N, H) each; see `ops.lstm` for the arguments."""
        if states is not None:
            check_states(self, ("h", "c"), states)
        h0, c0 = (None, None) if states is None else states
        weights = (self.weight_x, self.weight_h, self.bias, self.peepholes)
        out = ops.lstm(x, h0, c0, *weights, lengths=lengths, reverse=reverse, steps=steps)
        if reverse:
            return out[:, :-1], (out[:, 0], out[:, -1])
        tail = out[:, -2:]  # the last h and c in one piece: one gradient to scatter instead of two
        return out[:, :-1], (tail[:, 0], tail[:, 1])

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.input_size}, {self.hidden_size}{', peepholes=True' if self.peepholes is not None else ''}"


class LSTMCell(LSTMLayer):
    """One step: (h, c) = cell(x, (h, c)) with x (N, D) and states (N, H), for loops that one writes oneself.

    The arguments and parameters are those of `LSTMLayer`; the state is an argument and the result.
    """

    def forward(self, x: Tensor | None, states: States | None = None) -> States:  # type: ignore[override]
        """The new (h, c). Without states they start at 0; x is None for a cell of input_size 0."""
        if x is not None and x.ndim != 2:
            raise ValueError(f"{self}: x must be (N, {self.input_size}), got shape {x.shape}: nn.LSTM takes sequences.")
        sequence = None if x is None else x[:, None]
        return super().forward(sequence, states, steps=1 if x is None else None)[1]


class LSTM(RecurrentStack):
    """Layers of long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    output, (h, c) = lstm(x), with x (N, T, D), output (N, T, H * directions) of the last layer, and the states after the
    last step, h and c (num_layers * directions, N, H), which the next call may start from: lstm(x, (h, c)).

    Args:
        input_size: D; 0 for an LSTM that only its initial state drives: lstm(None, (h, c), steps=T).
        hidden_size: H.
        num_layers: each layer sees the outputs of the one below.
        bidirectional: a second set of units walks backwards, from each sequence's own last step.
        dropout: share of outputs set to 0 between layers in training mode.
        peepholes, forget_bias, initializer, recurrent_initializer, dtype: as for `LSTMLayer`.
        generator: for the weights and the dropout.

    With `lengths` (N,) a padded batch gives what each sequence alone would give: outputs after a sequence's end repeat
    its last one (backwards: the initial state), and the final states are those after its own last step.
    """

    layer = LSTMLayer
    state_names = ("h", "c")

    @property
    def state_size(self) -> int:
        """Numbers in the states of one sequence, h and c of all layers and directions."""
        return 2 * self.num_layers * self.directions * self.hidden_size

    def forward(
        self, x: Tensor | None, states: States | None = None, *, lengths: Lengths = None, steps: int | None = None
    ) -> tuple[Tensor, States]:
        """Outputs and the last (h, c)."""
        return self.run(x, states, lengths, steps)


# ---------------------------------------------------------------------------------------------------------------------
# Gated recurrent units; the formulas stand at `ops.gru`.


class GRULayer(Module):
    """H gated recurrent units over a whole sequence, in one direction; the arguments are those of `LSTMLayer`.

    Attributes:
        weight_x: Parameter (D, 3H), None if D is 0. The gates stand in the order r, k, n.
        weight_h: Parameter (H, 3H).
        bias: Parameter (3H,).
        bias_n: Parameter (H,), inside the reset.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        initializer: str | Initializer = "glorot_uniform",
        recurrent_initializer: str | Initializer = "orthogonal",
        generator: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        rng = as_generator(generator)
        self.input_size = d = check_input_size("GRU", input_size)
        self.hidden_size = h = check_size("GRU", "hidden_size", hidden_size)
        dtype = check_dtype("GRU", dtype)
        self.weight_x = gate_weights(d, h, 3, initializer, rng, dtype) if d else None
        self.weight_h = gate_weights(h, h, 3, recurrent_initializer, rng, dtype)
        self.bias = Parameter(np.zeros(3 * h, dtype))
        self.bias_n = Parameter(np.zeros(h, dtype))

    def forward(
        self,
        x: Tensor | None,
        states: States | None = None,
        *,
        lengths: Lengths = None,
        reverse: bool = False,
        steps: int | None = None,
    ) -> tuple[Tensor, States]:
        """Outputs (N, T, H) of x (N, T, D), and the last (h,), (N, H); see `ops.gru` for the arguments."""
        if states is not None:
            check_states(self, ("h",), states)
        h0 = None if states is None else states[0]
        weights = (self.weight_x, self.weight_h, self.bias, self.bias_n)
        out = ops.gru(x, h0, *weights, lengths=lengths, reverse=reverse, steps=steps)
        return out, (out[:, 0 if reverse else -1],)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.input_size}, {self.hidden_size}"


class GRU(RecurrentStack):
    """Layers of gated recurrent units (Cho et al. 2014): output, h = gru(x), or gru(x, h).

    Shapes, arguments and `lengths` are those of `LSTM`; the state is h (num_layers * directions, N, H) alone.
    """

    layer = GRULayer
    state_names = ("h",)

    def forward(
        self, x: Tensor | None, state: Tensor | None = None, *, lengths: Lengths = None, steps: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs and the last h."""
        if state is not None and not hasattr(state, "ndim"):
            raise TypeError(
                f"{self}: the state must be h, a Tensor or array, got {type(state).__name__}: write gru(x, h)."
            )
        output, (last,) = self.run(x, None if state is None else (state,), lengths, steps)
        return output, last
