"""Long short-term memory: a cell, and layers of cells over whole sequences. The formulas stand at `tinyae.ops.lstm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.nn.checks import check_dtype, check_size
from tinyae.nn.initializers import Initializer
from tinyae.nn.module import Module
from tinyae.nn.parameter import Parameter
from tinyae.nn.recurrent import RecurrentStack, States, check_input_size, check_states, gate_weights
from tinyae.ops.sequence import Lengths


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
