"""Gated recurrent units over whole sequences. The formulas stand at `tinyae.ops.gru`."""

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
