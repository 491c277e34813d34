"""Recurrent layers over whole sequences (N, T, D): the LSTM. See `ops.lstm` for its equations."""

from __future__ import annotations

from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike

from tinyae import checks, ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.nn.layers import Initializer, check_dtype, check_floats, check_size, initializer_named
from tinyae.nn.module import Module, Parameter
from tinyae.nn.noise import Dropout
from tinyae.ops.recurrent import Lengths, settled

States = tuple[Tensor, Tensor]
"""The recurrent state: (h, c)."""


class LSTMLayer(Module):
    """One layer of H units in one direction: the weights of an LSTM and one call of `ops.lstm`.

    Args:
        input_size: D; 0 for a layer without input.
        hidden_size: H.
        peepholes: whether the gates also depend on the cell (Gers, Schraudolph and Schmidhuber 2002; Graves 2013).
        forget_bias: initial bias of the forget gate; at 1 the cell initially remembers (Jozefowicz et al. 2015).
        initializer, recurrent_initializer: of the weights of each gate from x and from h.
        generator, dtype: as for `Dense`.

    Attributes:
        weight_x: Parameter (D, 4H), None if D is 0. The gates are in the order i, f, g, o.
        weight_h: Parameter (H, 4H).
        bias: Parameter (4H,).
        peepholes: Parameter (3, H) for i, f and o, starts at 0; None without peepholes.
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
        dtype: DTypeLike = np.float32,
    ) -> None:
        checks.check_kind("LSTMLayer: peepholes", peepholes, bool)
        rng = as_generator(generator)
        self.input_size = d = _input_size("LSTMLayer", input_size)
        self.hidden_size = h = check_size("LSTMLayer", "hidden_size", hidden_size)
        dtype = check_dtype("LSTMLayer", dtype)

        def gate_weights(rows: int, initializer: str | Initializer) -> Parameter:
            draw = initializer_named(initializer)  # gate by gate, so that each one is orthogonal
            return Parameter(np.concatenate([draw((rows, h), rng, dtype=dtype) for _ in range(4)], axis=1))

        self.weight_x = gate_weights(d, initializer) if d else None
        self.weight_h = gate_weights(h, recurrent_initializer)
        bias = np.zeros(4 * h, dtype)
        bias[h : 2 * h] = checks.number("LSTMLayer: forget_bias", forget_bias)
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
        """Outputs (N, T, H) for x (N, T, D), and the final (h, c), (N, H) each; see `ops.lstm` for the arguments."""
        h0, c0 = _pair(self, states)
        weights = (self.weight_x, self.weight_h, self.bias, self.peepholes)
        out = ops.lstm(x, h0, c0, *weights, lengths=lengths, reverse=reverse, steps=steps)
        if reverse:
            return out[:, :-1], (out[:, 0], out[:, -1])
        tail = out[:, -2:]  # the final h and c in one slice: one gradient to scatter instead of two
        return out[:, :-1], (tail[:, 0], tail[:, 1])


class LayerOptions(TypedDict, total=False):
    """The options that `LSTM` passes to each `LSTMLayer`."""

    peepholes: bool
    forget_bias: float
    initializer: str | Initializer
    recurrent_initializer: str | Initializer
    dtype: DTypeLike


class LSTM(Module):
    """Layers of long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    output, (h, c) = lstm(x), with x (N, T, D), output (N, T, H * directions) of the last layer, and the states after the
    last step, h and c (num_layers * directions, N, H). They can be the initial states of the next call: lstm(x, (h, c)).
    A code x (N, D) is the input of all steps: lstm(x, steps=T).

    Args:
        input_size: D; 0 for an LSTM without input: lstm(None, (h, c), steps=T).
        hidden_size: H.
        num_layers: number of layers; the input of each is the output of the one before.
        bidirectional: whether each layer has a second set of units that processes the sequences backwards.
        dropout: dropout rate between layers in training mode.
        generator: for the weights and the dropout.
        options: of every layer: peepholes, forget_bias, initializer, recurrent_initializer, dtype; see `LSTMLayer`.

    Attributes:
        layers: for each layer a list of its directions, each an `LSTMLayer`.
        directions: 2 if bidirectional, else 1.
        state_size: S, the size of the state of one sequence: h and c of all layers and directions.

    With `lengths` (N,), a padded batch gives the same results as the separate sequences: outputs after the end of a sequence
    repeat its last one (backwards: the initial state), and the final states are those after its last step.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        *,
        generator: np.random.Generator | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        rng = as_generator(generator)
        self.input_size = _input_size("LSTM", input_size)
        self.hidden_size = h = check_size("LSTM", "hidden_size", hidden_size)
        self.num_layers = check_size("LSTM", "num_layers", num_layers)
        checks.check_kind("LSTM: bidirectional", bidirectional, bool)
        self.bidirectional = bidirectional
        self.directions = 2 if bidirectional else 1
        self.state_size = 2 * self.num_layers * self.directions * self.hidden_size
        inner = self.directions * h
        self.layers = [
            [LSTMLayer(inner if n else self.input_size, h, generator=rng, **options) for _ in range(self.directions)]
            for n in range(self.num_layers)
        ]
        between = Dropout(dropout, rng)
        self.dropout = between.rate
        self.between = between if dropout and num_layers > 1 else None

    def forward(
        self, x: Tensor | None, states: States | None = None, *, lengths: Lengths = None, steps: int | None = None
    ) -> tuple[Tensor, States]:
        """Outputs (N, T, H * directions) of the last layer, and the final (h, c) of all layers.

        Raises ValueError for an input or a state of the wrong shape, or if both are missing, and TypeError for a state that
        is not a pair (h, c).
        """
        self._check(x, states, steps)
        if lengths is not None:
            n, count = x.shape[:2] if steps is None else (len(states[0][0] if x is None else x), steps)  # type: ignore
            lengths = settled("LSTM", lengths, n, count, self.layers[0][0].weight_h)
        last: list[States] = []
        for number, directions in enumerate(self.layers):
            if number and self.between is not None:
                x = self.between(x)
            outputs = []
            for direction, layer in enumerate(directions):
                own = None if states is None else (states[0][len(last)], states[1][len(last)])
                out, after = layer(x, own, lengths=lengths, reverse=direction == 1, steps=steps)
                outputs.append(out)
                last.append(after)
            x = outputs[0] if len(outputs) == 1 else ops.concatenate(*outputs, axis=-1)
            steps = None  # the following layers see the steps of x
        h, c = zip(*last, strict=True)
        return x, (ops.stack(*h, axis=0), ops.stack(*c, axis=0))  # type: ignore[return-value]  # x is the output of a layer

    def _check(self, x: Tensor | None, states: States | None, steps: int | None) -> None:
        if x is not None:
            check_floats(self, x)
            if not self.input_size or x.ndim not in (3, 3 if steps is None else 2) or x.shape[-1] != self.input_size:
                wanted = f"(N, T, {self.input_size}), or (N, {self.input_size}) with steps=T"
                wanted = wanted if self.input_size else "None, with steps=T"
                raise ValueError(f"{self}: the input must be {wanted}, got shape {x.shape}.")
        elif self.input_size or states is None or steps is None:
            raise ValueError(f"{self}: a call without an input needs input_size=0, an initial state and steps=T.")
        places = self.num_layers * self.directions
        for state in _pair(self, states):
            if state is not None and (
                state.ndim != 3 or state.shape[0] != places or state.shape[2] != self.hidden_size
            ):
                raise ValueError(
                    f"{self}: a state must be ({places}, N, {self.hidden_size}), one for each layer and direction, "
                    f"got shape {state.shape}: pass the second result of a call."
                )

    def __repr__(self) -> str:
        return f"LSTM({self.extra_repr()})"  # without its inner layers, whose sizes follow

    def flat(self, states: States) -> Tensor:
        """The states of all layers concatenated, (N, S): one vector for each sequence."""
        n = states[0].shape[1]
        return ops.concatenate(*(ops.reshape(ops.transpose(s, axes=(1, 0, 2)), shape=(n, -1)) for s in states), axis=1)

    def unflat(self, vector: Tensor) -> States:
        """The states in a vector (N, S); the inverse of `flat`."""
        if vector.ndim != 2 or vector.shape[1] != self.state_size:
            raise ValueError(
                f"{self}: the states as vectors, or codes, must be (N, {self.state_size}), got shape {vector.shape}: pass "
                "codes of the encoder that belongs to this decoder."
            )
        shape = (len(vector), self.num_layers * self.directions, self.hidden_size)
        both = ops.split(vector, lengths=(self.state_size // 2,) * 2, axis=1)
        h, c = (ops.transpose(ops.reshape(part, shape=shape), axes=(1, 0, 2)) for part in both)
        return h, c


def _input_size(owner: str, value: int) -> int:
    """D, a whole number of at least 1, or 0 for a layer without input."""
    return 0 if value == 0 and not isinstance(value, bool) else check_size(owner, "input_size", value)


def _pair(layer: Module, states: States | None) -> States | tuple[None, None]:
    """The states (h, c) given to `layer`, or two Nones. Raises TypeError unless they are Tensors or arrays."""
    if states is None:
        return None, None
    if isinstance(states, (tuple, list)) and len(states) == 2 and all(hasattr(s, "ndim") for s in states):
        return states
    got = f"{len(states)} in a {type(states).__name__}" if isinstance(states, (tuple, list)) else type(states).__name__
    raise TypeError(
        f"{layer}: the state must be (h, c), each a Tensor or array, got {got}: pass the second result of a call."
    )
