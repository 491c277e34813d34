"""The numbers every run prints, in the same units whatever the model was trained with; and the same for baselines."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import backend_named
from tinyae.backend.base import array_advice
from tinyae.data import Dataset, Lengths, Split
from tinyae.models import (
    PCA,
    Autoencoder,
    ConditionalVariationalAutoencoder,
    blend_weight,
    copy_last,
    linear_prediction,
    mean_sequence,
    sequence_errors,
    sequence_nats,
    shuffled_code,
    split_future,
)
from tinyae.nn import evaluating

# ---------------------------------------------------------------------------------------------------------------------
# `evaluate`, and the units of its numbers.

_EPS = 1e-7


def metric_units(model: Autoencoder) -> dict[str, str]:
    """Metric name -> unit, for `evaluate`'s result."""
    return {
        "loss": model.loss_unit,
        "squared_error": f"squared error per {model.noun}",
        "mse": "squared error per element",
        "bce": f"nats per {model.noun}",
        "bce_element": "nats per element",
    } | model.measure_units


def evaluate(model: Autoencoder, x: Split | np.ndarray, batch_size: int = 1024) -> dict[str, float]:
    """Score a model on samples x (N, ...), in batches and in evaluation mode; as a Split they bring labels and lengths.

    Returns:
        loss: the model's own loss (and its terms, where there are several);
        squared_error: sum over a sample's elements of (x - r)**2, mean over samples;
        mse: the same per element that the model had to guess (see `Autoencoder.scored`: no padding, nothing given);
        bce, bce_element: Bernoulli cross-entropy of the reconstruction per sample and per element, where x lies in
        [0, 1] (reconstructions are clipped to [1e-7, 1 - 1e-7] for it);
        what the model's `measures` add, with random draws that are the same at every call.
    """
    x, labels, lengths = (x.x, x.y, x.lengths) if isinstance(x, Split) else (x, None, None)
    if not isinstance(x, np.ndarray):
        raise TypeError(
            f"expected a NumPy array or a Split, got {type(x).__name__}: "
            f"{array_advice(x, 'of a Dataset give data.test, of numbers numpy.asarray(x, dtype=numpy.float32)')}."
        )
    if len(x) == 0:
        raise ValueError(f"got an empty array of shape {x.shape}: there is nothing to evaluate.")
    backend = backend_named(model.device)
    dtype = next(iter(model.parameters())).dtype
    bounded = bool(x.min() >= 0 and x.max() <= 1)
    inputs = model.inputs_for(x, labels)
    totals: dict[str, float] = {}
    generator = np.random.default_rng(0)  # not the model's own: measuring must not change what training draws next
    with no_grad(), evaluating(model):
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            target = Tensor(backend.to_device(x[rows], dtype))
            given = target if inputs is x else Tensor(backend.to_device(inputs[rows], dtype))
            some = None if lengths is None else lengths[rows]
            for name, value in _batch_sums(model, given, target, bounded, generator, some).items():
                totals[name] = totals.get(name, 0.0) + value
    elements = totals.pop("elements") / len(x)
    means = {name: total / len(x) for name, total in totals.items()}
    means["mse"] = means["squared_error"] / elements
    if bounded:
        means["bce_element"] = means["bce"] / elements
    return means


def _batch_sums(
    model: Autoencoder,
    batch: Tensor,
    target: Tensor,
    bounded: bool,
    generator: np.random.Generator,
    lengths: Lengths | None,
) -> dict[str, float]:
    """Sums over the samples `target` of one batch, called up by `batch`; one transfer to the host per number.

    `lengths` (n,): behind them nothing is compared. "elements" counts what was.
    """
    n = len(batch)
    known: dict[str, Any] = {} if lengths is None else {"lengths": lengths}
    loss = model.evaluation_loss(batch, target, generator, **known)
    sums: dict[str, Any] = {"loss": loss.total.data * float(n)}
    if len(loss.terms) > 1:
        sums |= {name: term.data * float(n) for name, term in loss.terms.items()}
    x, r = target.data, model.restore(batch, **known).data
    scored = model.scored(target, lengths)
    sums["elements"] = x.size if scored is None else scored.sum() * (x.size / scored.size)
    difference = r - x if scored is None else (r - x) * scored
    sums["squared_error"] = (difference * difference).sum()
    if bounded:
        xp = backend_named(model.device).xp
        p = xp.clip(r, _EPS, 1.0 - _EPS)
        nats = x * xp.log(p) + (1.0 - x) * xp.log1p(-p)
        sums["bce"] = -(nats if scored is None else nats * scored).sum()
    sums |= model.measures(batch, generator)
    return {name: float(value) for name, value in sums.items()}


# ---------------------------------------------------------------------------------------------------------------------
# The codes of a part of a data set, whatever its model is given of each sample.


def codes_of(model: Any, split: Split) -> np.ndarray:
    """The codes (N, ...) of a split; of sequences whose end is to be predicted, of the steps the encoder sees."""
    given = model.inputs_for(split.x, split.y)
    known = {} if split.lengths is None else {"lengths": split.lengths - (split.x.shape[1] - given.shape[1])}
    codes: np.ndarray = model.encode(given, **known)
    return codes


# ---------------------------------------------------------------------------------------------------------------------
# A model of sequences beside what needs no training, on samples that took no part in any choice.
#
# A squared error of 0.3 says little by itself. Beside it stand the mean sequence, the last value repeated, and a linear
# code of the same size; and, where the model is scored in nats, what the gray levels of the pixels cost even if they are
# known. All guesses are fitted on the training part, as the model was.
#
# A value between 0 and 1 has an entropy of its own in nats: no guess is below it.

LARGEST_PCA = 4096
"""Longest sample for which a linear code is computed: its covariance matrix has this number squared entries."""

_ASKED = 1000
"""Test samples whose codes are shuffled, and training samples on which the weight of the copies is fitted."""

_COPY = "last value repeated"

Guesses = dict[str, Any]
"""Name -> what is guessed, (N, T, D), or (T, D) for all alike."""


def compare_sequences(model: Autoencoder, data: Dataset) -> list[str]:
    """Lines of a report: the model and the baselines on the test sequences, and the shuffled-code test.

    Empty for data that are not sequences, and for a conditional model, whose guesses know the class. One table for what
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
        self.linear = self.code_size <= min(len(self.past), elements) and elements <= LARGEST_PCA


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
        share = blend_weight(copies, mean, parts.past_future[:_ASKED])
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
