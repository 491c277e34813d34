"""A model of sequences beside what needs no training, on samples that took no part in any choice.

A squared error of 0.3 says little by itself. Beside it stand the mean sequence, the last value repeated, and a linear
code of the same size; and, where the model is scored in nats, what the gray levels of the pixels cost even if they are
known. All guesses are fitted on the training part, as the model was.

A value between 0 and 1 has an entropy of its own in nats: no guess is below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae.data import Dataset
from tinyae.models import (
    PCA,
    Autoencoder,
    ConditionalVariationalAutoencoder,
    copy_last,
    linear_prediction,
    mean_sequence,
    sequence_errors,
    sequence_nats,
    shuffled_code,
    softened,
    split_future,
)

_LARGEST_PCA = 4096
"""Longest sample for which a linear code is computed: its covariance matrix has this number squared entries."""

_ASKED = 1000
"""Test samples whose codes are shuffled, and training samples on which the doubt of copies is chosen."""

_COPY = "last value repeated"

Guesses = dict[str, Any]
"""Name -> what is guessed, (N, T, D), or (T, D) for all alike."""


def compare_sequences(model: Autoencoder, data: Dataset) -> list[str]:
    """Lines of a report: the model and the baselines on the test sequences, and the shuffled-code test.

    Empty for data that are no sequences, and for a conditional model, whose guesses know the class. One table for what
    the model does, reconstruction, prediction or both; numbers are squared errors per sequence and, for a model trained
    by cross-entropy, nats per step (per frame of a film).
    """
    if data.kind not in ("sequences", "series") or isinstance(model, ConditionalVariationalAutoencoder):
        return []
    parts = _Parts(model, data)
    lines = []
    if not parts.predicts_only:
        lines += _table(model, data, "reconstruction", _reconstructions(parts), parts.seen, parts.ends)
    if parts.steps:
        lines += _table(model, data, "prediction", _predictions(parts), parts.future, None)
    if len(parts.seen) > 1:
        asked = slice(0, _ASKED)
        few = None if parts.ends is None else parts.ends[asked]
        target, lengths = (parts.future, None) if parts.predicts_only else (parts.seen, few)
        coder = _Coder(model, few, lengths)
        shuffled = shuffled_code(coder, parts.seen[asked], target=target[asked], lengths=lengths)
        lines.append(shuffled.line(model.noun))
    return lines


class _Parts:
    """Training and test windows, divided into what the model sees and what follows."""

    def __init__(self, model: Autoencoder, data: Dataset) -> None:
        self.model = model
        self.steps = int(getattr(model, "future_steps", 0))
        self.predicts_only = getattr(model, "mode", "") == "predict"
        self.past, self.past_ends, self.past_future = split_future(data.train.x, self.steps, data.train.lengths)
        self.seen, self.ends, self.future = split_future(data.test.x, self.steps, data.test.lengths)
        self.known: dict[str, Any] = {} if self.ends is None else {"lengths": self.ends}
        first: dict[str, Any] = {} if self.ends is None else {"lengths": self.ends[:1]}
        code = model.encode(self.seen[:1], **first)
        self.code_size = int(np.prod(code.shape[1:]))
        elements = int(np.prod(self.past.shape[1:]))
        self.linear = self.code_size <= min(len(self.past), elements) and elements <= _LARGEST_PCA


def _reconstructions(parts: _Parts) -> Guesses:
    guesses = {
        "this model": parts.model.reconstruct(parts.seen, **parts.known),
        "mean sequence": mean_sequence(parts.past, parts.past_ends),
    }
    if parts.linear:
        guesses[f"PCA, {parts.code_size} components"] = PCA(parts.code_size).fit(parts.past).reconstruct(parts.seen)
    return guesses


def _predictions(parts: _Parts) -> Guesses:
    mean = mean_sequence(parts.past_future)
    last = copy_last(parts.seen, parts.steps, parts.ends)
    predict: Any = getattr(parts.model, "predict")  # noqa: B009  (only a model with a future has it)
    guesses = {"this model": predict(parts.seen, **parts.known), "mean sequence": mean, _COPY: last}
    if parts.model.reconstruction.bounded:
        copies = copy_last(parts.past, parts.steps, parts.past_ends)[:_ASKED]
        share = softened(copies, mean, parts.past_future[:_ASKED])
        guesses[f"last value at {share:.0%}, mean at {1 - share:.0%}"] = share * last + (1.0 - share) * mean
    if parts.linear:
        guess = linear_prediction(parts.past, parts.past_future, parts.code_size)
        guesses[f"linear, from {parts.code_size} components"] = guess(parts.seen)
    return guesses


class _Coder:
    """A model that reads sequences of known lengths, and writes sequences of lengths of their own."""

    def __init__(self, model: Autoencoder, read: Any, written: Any) -> None:
        self.model = model
        self.read, self.written = ({} if ends is None else {"lengths": ends} for ends in (read, written))

    def encode(self, x: Any) -> Any:
        """Codes of sequences."""
        return self.model.encode(x, **self.read)

    def decode(self, code: Any) -> Any:
        """Sequences from codes."""
        return self.model.decode(code, **self.written)


def _table(
    model: Autoencoder, data: Dataset, task: str, guesses: Guesses, truth: np.ndarray, lengths: Any
) -> list[str]:
    """One line for each guess: squared error per sequence, and nats per step where the model counts nats."""
    nats = model.reconstruction.quantity == "nats"
    steps = truth.shape[1] if lengths is None else float(lengths.mean())
    step = "frame" if data.frame_shape is not None else "step"
    last = f"{'nats per ' + step:>18}" if nats else ""
    lines = [f"{task + ' of test ' + model.noun + 's':34}{'squared error per ' + model.noun:>28}{last}"]
    for name, guess in guesses.items():
        row = f"  {name:32}{sequence_errors(truth, guess, lengths).mean():>28.5g}"
        if nats and name != _COPY:  # a copied pixel that turns would cost as many nats as one likes
            row += f"{sequence_nats(truth, guess, lengths).mean() / steps:>18.5g}"
        lines.append(row)
    if nats:
        bound = sequence_nats(truth, truth, lengths).mean() / steps
        lines.append(f"  {'entropy of the values themselves':60}{bound:>18.5g}")
    return lines
