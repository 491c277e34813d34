"""The operations on sequences, with references that walk through one sequence at a time, each at its own length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from tinyae import ops
from tinyae.testing.op_case import OpCase, between, cases

LENGTHS = np.array([2, 3, 1])
"""Of three sequences of at most three steps; none of them fills the batch but the second."""

Step = Callable[[np.ndarray, list[np.ndarray]], list[np.ndarray]]
"""From the projected input of one step of one sequence and its states to the new states."""


def lstm_reference(
    x: Any,
    h0: Any,
    c0: Any,
    w_x: Any,
    w_h: np.ndarray,
    b: np.ndarray,
    peepholes: Any = None,
    lengths: Any = None,
    reverse: bool = False,
    steps: int | None = None,
) -> np.ndarray:
    """The equations of Graves 2013, number by number, for one sequence after the other."""
    p = np.zeros((3, len(w_h))) if peepholes is None else peepholes

    def step(z: np.ndarray, states: list[np.ndarray]) -> list[np.ndarray]:
        h, c = states
        i, f, g, o = np.split(z + np.einsum("h,hk->k", h, w_h), 4)
        new = special.expit(f + p[1] * c) * c + special.expit(i + p[0] * c) * np.tanh(g)
        return [special.expit(o + p[2] * new) * np.tanh(new), new]

    h, c = walked(step, x, [h0, c0], w_x, w_h, b, lengths, reverse, steps)
    last = c[:, :1] if reverse else c[:, -1:]
    return np.concatenate([h, last], axis=1)


def gru_reference(
    x: Any,
    h0: Any,
    w_x: Any,
    w_h: np.ndarray,
    b: np.ndarray,
    b_n: np.ndarray,
    lengths: Any = None,
    reverse: bool = False,
    steps: int | None = None,
) -> np.ndarray:
    """The equations of `ops.gru`, for one sequence after the other."""

    def step(z: np.ndarray, states: list[np.ndarray]) -> list[np.ndarray]:
        (h,) = states
        (zr, zk, zn), (ur, uk, un) = np.split(z, 3), np.split(np.einsum("h,hk->k", h, w_h), 3)
        keep = special.expit(zk + uk)
        return [(1 - keep) * np.tanh(zn + special.expit(zr + ur) * (un + b_n)) + keep * h]

    return walked(step, x, [h0], w_x, w_h, b, lengths, reverse, steps)[0]


def walked(
    step: Step, x: Any, states: list[Any], w_x: Any, w_h: Any, b: Any, lengths: Any, reverse: bool, steps: int | None
) -> list[np.ndarray]:
    """Each state after every step, (N, T, H); a sequence is cut to its length, and its last state stands in the rest."""
    samples, count = (len(states[0]), int(steps or 0)) if x is None else x.shape[:2]
    found = [np.zeros((samples, count, len(w_h))) for _ in states]
    for n in range(samples):
        now = [np.zeros(len(w_h)) if state is None else state[n] for state in states]
        length = count if lengths is None else int(lengths[n])
        own = range(length)[::-1] if reverse else range(length)
        waiting = range(length, count)
        for t in [*waiting, *own] if reverse else [*own, *waiting]:
            if t < length:
                now = step(b if x is None else np.einsum("d,dk->k", x[n, t], w_x) + b, now)
            for array, state in zip(found, now, strict=True):
                array[n, t] = state
    return found


LSTM = [
    ((3, 3, 1), (3, 2), (3, 2), (1, 8), (2, 8), (8,)),
    ((3, 3, 2), None, None, (2, 4), (1, 4), (4,), (3, 1)),
]
FULL_LSTM = ((2, 3, 2), (2, 2), (2, 2), (2, 8), (2, 8), (8,), (3, 2))
NARROW_LSTM = [((0, 2, 3), (0, 1), (0, 1), (3, 4), (1, 4), (4,)), ((1, 1, 1), None, None, (1, 4), (1, 4), (4,))]
BLIND_LSTM = (None, (3, 2), (3, 2), None, (2, 8), (8,))
GRU = [((3, 3, 1), (3, 2), (1, 6), (2, 6), (6,), (2,))]
NARROW_GRU = [((0, 2, 3), (0, 1), (3, 3), (1, 3), (3,), (1,)), ((1, 2, 1), None, (1, 3), (1, 3), (3,), (1,))]
MILD = between(-1.0, 1.0)

SEQUENCES: list[OpCase] = [
    *cases(ops.lstm, [FULL_LSTM, *NARROW_LSTM], lstm_reference, MILD),
    *cases(ops.lstm, [LSTM[0]], lstm_reference, MILD, lengths=LENGTHS),
    *cases(ops.lstm, LSTM, lstm_reference, MILD, reverse=True, lengths=LENGTHS),
    *cases(ops.lstm, [BLIND_LSTM], lstm_reference, MILD, steps=3, lengths=LENGTHS),
    *cases(ops.gru, NARROW_GRU, gru_reference, MILD),
    *cases(ops.gru, GRU, gru_reference, MILD, lengths=LENGTHS),
    *cases(ops.gru, GRU, gru_reference, MILD, reverse=True),
    *cases(ops.gru, [(None, (3, 2), None, (2, 6), (6,), (2,))], gru_reference, MILD, steps=3, lengths=LENGTHS),
]
"""Every operation on sequences with every set of shapes."""
