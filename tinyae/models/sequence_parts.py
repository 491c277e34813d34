"""The two halves of a sequence autoencoder: sequences to vectors of fixed length, and vectors to sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator, backend_of
from tinyae.nn import LSTM, Dense, Module, TimeDistributed
from tinyae.nn.checks import check_size
from tinyae.ops.sequence import Lengths

FEEDINGS = ("teacher", "own", "scheduled")
"""What a conditional decoder is fed in training: the truth, its own output, or either by the toss of a coin."""


class SequenceEncoder(Module):
    """Sequences x (N, T, D) of any length as codes (N, K): the state that an LSTM ends with.

    code = (h, c) of all layers and directions side by side,   or with a `code_size`: code = (h, c) W + b

    Args:
        features: D.
        hidden_size: units of each layer and direction.
        code_size: K; None takes the state itself, as Srivastava et al. 2015 do.
        generator: for the weights.
        options: of `nn.LSTM`: num_layers, bidirectional, peepholes, dropout, forget_bias.
    """

    def __init__(
        self,
        features: int,
        hidden_size: int,
        code_size: int | None = None,
        *,
        generator: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        rng = as_generator(generator)
        self.lstm = LSTM(check_size("SequenceEncoder", "features", features), hidden_size, generator=rng, **options)
        self.code_size = (
            self.lstm.state_size if code_size is None else check_size("SequenceEncoder", "code_size", code_size)
        )
        self.project = None if code_size is None else Dense(self.lstm.state_size, code_size, generator=rng)

    def forward(self, x: Tensor, lengths: Lengths = None) -> Tensor:
        """Codes (N, K). With `lengths` (N,) the padding of x leaves no trace in them."""
        _, states = self.lstm(x, lengths=lengths)
        state = self.lstm.flat(states)
        return state if self.project is None else self.project(state)


class SequenceDecoder(Module):
    """Codes (N, K) as sequences (N, T, D): the code sets the state of an LSTM, which then runs for T steps.

    Unconditional, it is given nothing but its state. Conditional, each step is given the sample of the step before (zeros
    at the first): in training what `feeding` says, in evaluation mode always what the decoder has just made itself.

    Args:
        features: D.
        hidden_size: units of each layer.
        code_size: K. Where it is the length of the state the code is copied, else W code + b is the state.
        conditional: whether a step is given the sample before.
        feeding: "teacher" (the truth), "own" (its own output), "scheduled" (the truth with probability `truth_share`,
            for each step and sequence anew; Bengio et al. 2015); None for an unconditional decoder.
        output: decoder output -> sample, what is fed back: the sigmoid where outputs are logits.
        project: True makes W even where the code could be copied.
        generator: for the weights and the coins.
        options: of `nn.LSTM`: num_layers, peepholes, dropout, forget_bias.
    """

    def __init__(
        self,
        features: int,
        hidden_size: int,
        code_size: int,
        *,
        conditional: bool = False,
        feeding: str | None = None,
        output: Callable[[Any], Any] = lambda y: y,
        project: bool = False,
        generator: np.random.Generator | None = None,
        **options: Any,
    ) -> None:
        rng = as_generator(generator)
        self.features = check_size("SequenceDecoder", "features", features)
        self.conditional = bool(conditional)
        self.feeding = check_feeding(feeding, self.conditional)
        self.lstm = LSTM(features if conditional else 0, hidden_size, generator=rng, **options)
        copied = code_size == self.lstm.state_size and not project
        self.start = None if copied else Dense(code_size, self.lstm.state_size, generator=rng)
        self.readout = TimeDistributed(Dense(hidden_size, features, generator=rng))
        self.output = output
        self.truth_share = 1.0
        self.generator = rng

    def forward(self, code: Tensor, steps: int, truth: Tensor | None = None) -> Tensor:
        """Raw outputs (N, steps, D) from codes (N, K).

        truth: the samples (N, steps, D) to come. It is looked at in training mode alone, and never by an unconditional
        decoder or with feeding "own".
        """
        states = self.lstm.unflat(code if self.start is None else self.start(code))
        if not self.conditional:
            return self.readout(self.lstm(None, states, steps=steps)[0])
        truth = truth if self.training and self.feeding != "own" else None
        xp, n = backend_of(code.data).xp, code.shape[0]
        if truth is not None and self.feeding == "teacher":
            first = xp.zeros((n, 1, self.features), dtype=code.dtype)
            fed = ops.concatenate(first, ops.getitem(truth, index=(slice(None), slice(0, steps - 1))), axis=1)
            return self.readout(self.lstm(fed, states)[0])
        coins = None if truth is None else self._coins(code, steps)
        sample = Tensor(xp.zeros((n, self.features), dtype=code.dtype))
        outputs: list[Tensor] = []
        for t in range(steps):
            out, states = self.lstm(sample[:, None], states)
            outputs.append(self.readout.module(out[:, 0]))
            sample = self.output(outputs[-1])
            if coins is not None and truth is not None:
                sample = ops.where(coins[t], truth[:, t], sample)
        return ops.stack(*outputs, axis=1)

    def _coins(self, code: Tensor, steps: int) -> Any:
        """Where the truth is fed, (T, N, 1), drawn anew."""
        draws = backend_of(code.data).uniform(self.generator, (steps, code.shape[0], 1), np.dtype("float32"))
        return draws < self.truth_share

    def extra_repr(self) -> str:
        """What each step is given in training."""
        return f"feeding={self.feeding!r}" if self.conditional else "unconditional"


def check_feeding(feeding: str | None, conditional: bool) -> str | None:
    """The feeding of a decoder, "teacher" by default for a conditional one; raises where it makes no sense."""
    if not conditional:
        if feeding is not None:
            raise ValueError(
                f"feeding={feeding!r} was asked of an unconditional decoder, which is fed nothing: "
                "write conditional=True, or leave feeding out."
            )
        return None
    if feeding is None:
        return "teacher"
    if feeding not in FEEDINGS:
        raise ValueError(f"unknown feeding {feeding!r}: choose one of {', '.join(FEEDINGS)}.")
    return feeding
