"""A model of sequences beside what needs no training, on samples that took no part in any choice.

A squared error of 0.3 says little by itself. Beside it stand the mean sequence, the last value repeated, and a linear
code of the same size; and, where the model is scored in nats, what the gray levels of the pixels cost even if they are
known. All guesses are fitted on the training part, as the model was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae.data import Dataset
from tinyae.models import (
    PCA,
    Autoencoder,
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

Row = dict[str, float]


def compare_sequences(model: Autoencoder, data: Dataset) -> list[str]:
    """Lines of a report: a table of the model and the baselines on the test sequences, and the shuffled-code test.

    Empty for data that are no sequences. Columns are what the model does, reconstruction and prediction; numbers are
    squared errors per sequence and, for a model trained by cross-entropy, nats per step (per frame of a film).
    """
    if data.kind not in ("sequences", "series"):
        return []
    steps = int(getattr(model, "future_steps", 0))
    past, train_ends, train_future = split_future(data.train.x, steps, data.train.lengths)
    seen, ends, future = split_future(data.test.x, steps, data.test.lengths)
    known: dict[str, Any] = {} if ends is None else {"lengths": ends}
    codes = model.encode(seen[:1], **({} if ends is None else {"lengths": ends[:1]}))
    size = int(np.prod(codes.shape[1:]))
    tables: list[tuple[str, dict[str, Any], Any, Any, Any]] = []
    if not steps or getattr(model, "mode", "") != "predict":
        guesses: dict[str, Any] = {"this model": model.reconstruct(seen, **known)}
        guesses["mean sequence"] = mean_sequence(past, train_ends)
        if _has_linear_code(past, size):
            guesses[f"PCA, {size} numbers"] = PCA(size).fit(past).reconstruct(seen)
        tables.append(("reconstruction", guesses, seen, ends, None))
    if steps:
        mean = mean_sequence(train_future)
        guesses = {"this model": model.predict(seen, **known), "mean sequence": mean}  # type: ignore[operator]
        guesses["last value repeated"] = copy_last(seen, steps, ends)
        if _has_linear_code(past, size):
            guesses[f"linear, from {size} components"] = linear_prediction(past, train_future, size)(seen)
        if model.reconstruction.bounded:
            share = softened(copy_last(past, steps, train_ends)[:_ASKED], mean, train_future[:_ASKED])
            guesses[f"last value, {share:.0%} sure"] = share * guesses["last value repeated"] + (1.0 - share) * mean
        tables.append(("prediction", guesses, future, None, mean))
    lines = []
    for task, guesses, truth, lengths, _ in tables:
        lines += _table(task, guesses, truth, lengths, model, data.frame_shape is not None)
    target, of = (future, None) if getattr(model, "mode", "") == "predict" else (seen, ends)
    if size > 0 and len(seen) > 1:
        asked = slice(0, _ASKED)
        few = None if ends is None else ends[asked]
        shuffled = shuffled_code(
            _Coder(model, few), seen[asked], target=target[asked], lengths=None if of is None else of[asked]
        )
        lines.append(shuffled.line(model.noun))
    return lines


class _Coder:
    """A model whose codes are those of sequences of known lengths."""

    def __init__(self, model: Autoencoder, lengths: Any) -> None:
        self.model = model
        self.known: dict[str, Any] = {} if lengths is None else {"lengths": lengths}

    def encode(self, x: Any) -> Any:
        """Codes of sequences."""
        return self.model.encode(x, **self.known)

    def decode(self, code: Any) -> Any:
        """Sequences from codes."""
        return self.model.decode(code)


def _has_linear_code(past: np.ndarray, size: int) -> bool:
    elements = int(np.prod(past.shape[1:]))
    return size <= min(len(past), elements) and elements <= _LARGEST_PCA


def _table(
    task: str, guesses: dict[str, Any], truth: np.ndarray, lengths: Any, model: Autoencoder, film: bool
) -> list[str]:
    """One line for each guess: squared error per sequence, and nats per step where the model counts nats."""
    nats = model.reconstruction.quantity == "nats"
    steps = truth.shape[1] if lengths is None else float(lengths.mean())
    step = "frame" if film else "step"
    head = f"{task} of test {model.noun}s"
    lines = [f"{head:34}{'squared error per ' + model.noun:>28}" + (f"{'nats per ' + step:>18}" if nats else "")]
    for name, guess in guesses.items():
        row = f"  {name:32}{sequence_errors(truth, guess, lengths).mean():>28.5g}"
        if nats and name != "last value repeated":  # a copied pixel that turns would cost as many nats as one likes
            row += f"{sequence_nats(truth, guess, lengths).mean() / steps:>18.5g}"
        lines.append(row)
    if nats:
        bound = sequence_nats(truth, truth, lengths).mean() / steps
        lines.append(f"  {'entropy of the gray levels':32}{'':>28}{bound:>18.5g}   no guess is below")
    return lines
