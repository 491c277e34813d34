"""The metrics that every run prints, in the same units for all losses; and the same metrics for baselines."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.autodiff import no_grad
from tinyae.backend import backend_named, backend_of
from tinyae.data import Dataset, Split
from tinyae.data.dataset import as_samples
from tinyae.losses import Loss
from tinyae.models import (
    PCA,
    Autoencoder,
    Batch,
    blend_weight,
    copy_last,
    linear_prediction,
    mean_sequence,
    sequence_errors,
    sequence_nats,
    shuffled_code,
    split_future,
)
from tinyae.models.autoencoder import check_samples
from tinyae.nn import evaluating

# ---------------------------------------------------------------------------------------------------------------------
# `evaluate`: metrics with their units.

_EPS = 1e-7


class Metrics(dict[str, float]):
    """Metrics by name, and `units`, the unit of each by the same name."""

    def __init__(self, numbers: dict[str, float], units: dict[str, str]) -> None:
        super().__init__(numbers)
        self.units = {name: units[name] for name in numbers}


def evaluate(model: Autoencoder, samples: Split | Batch | npt.ArrayLike, batch_size: int = 1024) -> Metrics:
    """Evaluate a model on samples (N, ...), in batches and in evaluation mode; a Split also has labels and lengths.

    Returns:
        loss: the model's own loss (and its terms, if there are several), and what the model measures itself;
        squared_error: sum over a sample's elements of (x - r)**2, mean over samples;
        mse: the same per element that the model outputs (see `Batch.mask`: neither padding nor input);
        bce, bce_element: Bernoulli cross-entropy of the reconstruction per sample and per element, if x lies in [0, 1]
        (for it reconstructions are clipped to [1e-7, 1 - 1e-7]).
        A term of the loss that is a function of a mean over samples (`Loss.of_mean`) is that of the mean over all of them,
        in float64. Random draws are the same at every call.
    """
    if not isinstance(samples, Split | Batch):
        samples = Split(as_samples(samples, "expected an array of numbers or a Split (of a Dataset, data.test)"))
    count = len(samples)
    if not count:
        shape = (samples.source if isinstance(samples, Split) else samples.target).shape
        raise ValueError(f"got an empty array of shape {shape}: there is nothing to evaluate.")
    whole = samples if isinstance(samples, Batch) else model.batch(check_samples(samples, "x", model))
    backend, dtype = backend_named(model.device), model.dtype
    bounded = bool(whole.target.min() >= 0 and whole.target.max() <= 1)
    totals: dict[str, float] = {}
    units: dict[str, str] = {}
    gathered: dict[str, npt.NDArray[np.float64]] = {}
    functions: dict[str, Callable[[Any], Any]] = {}
    generator = np.random.default_rng(0)  # not the model's own: evaluation must not change what training draws next
    with no_grad(), evaluating(model):
        for start in range(0, count, batch_size):
            batch = whole.rows(slice(start, start + batch_size)).to(backend, dtype).tensors()
            loss = model.loss(batch, generator=generator)
            for name, (value, unit) in _batch_sums(model, batch, loss, bounded).items():
                totals[name], units[name] = totals.get(name, 0.0) + float(value), unit
            for name, (values, functions[name]) in loss.of_mean.items():
                summed = backend.to_host(values).sum(axis=0, dtype=np.float64)
                gathered[name] = gathered.get(name, np.zeros(())) + summed
    elements = totals.pop("elements") / count
    means = {name: total / count for name, total in totals.items()}
    for name, summed in gathered.items():
        of_batches, means[name] = means[name], float(functions[name](summed / count))
        means["loss"] += means[name] - of_batches
    means["mse"] = means["squared_error"] / elements
    if bounded:
        means["bce_element"] = means["bce"] / elements
    return Metrics(means, units | {"mse": "squared error per element", "bce_element": "nats per element"})


def _batch_sums(model: Autoencoder, batch: Batch, loss: Loss, bounded: bool) -> dict[str, tuple[Any, str]]:
    """Sums over the samples of one batch, on the device, and their units; "elements" counts the elements compared."""
    n = float(len(batch))
    sums: dict[str, tuple[Any, str]] = {"loss": (loss.total.data * n, loss.unit)}
    if len(loss.terms) > 1:
        sums |= {name: (term.data * n, loss.unit) for name, term in loss.terms.items()}
    x, r = batch.target.data, model.reconstruct(batch).data
    backend, written = backend_of(x), batch.mask
    mask: Any = 1.0 if written is None else backend.to_device(written, x.dtype)
    sums["elements"] = (x.size if written is None else mask.sum() * (x.size / mask.size), "elements")
    difference = (r - x) * mask
    sums["squared_error"] = ((difference * difference).sum(), f"squared error per {model.sample_name}")
    if bounded:
        p = backend.xp.clip(r, _EPS, 1.0 - _EPS)
        nats = (x * backend.xp.log(p) + (1.0 - x) * backend.xp.log1p(-p)) * mask
        sums["bce"] = (-nats.sum(), f"nats per {model.sample_name}")
    return sums | {name: (value * n, unit) for name, (value, unit) in loss.measured.items()}


# ---------------------------------------------------------------------------------------------------------------------
# Comparison of a sequence model with baselines, on held-out samples.
#
# A squared error of 0.3 alone says little. The table compares it with the mean sequence, the last value repeated, and a
# linear code of the same size, all fitted on the training part; and a loss in nats with the entropy of the gray levels, which
# is a lower bound for every prediction.

LARGEST_PCA = 4096
"""Largest dimension of a sample for which PCA is computed: the covariance matrix has its square as entries."""

_ASKED = 1000
"""How many codes of test samples are shuffled, and how many training samples fit the weight of the copies."""

_COPY = "last value repeated"


def compare_sequences(model: Autoencoder, data: Dataset) -> list[str]:
    """Report lines: the model and the baselines on the test sequences, and the shuffled-code test.

    Empty for data that are not sequences, and for a model with other inputs, such as the class. One table each for
    reconstruction and prediction, as far as the model does them: squared errors per sequence and, for a model trained with
    cross-entropy, nats per step (per frame of a film).
    """
    if data.kind not in ("sequences", "series") or model.batch(data.test).x.ndim != 3:
        return []
    train, test = model.batch(data.train), model.batch(data.test)
    past, past_ends, past_future = split_future(train.target, train.future, train.lengths)
    seen, _, future = split_future(test.target, test.future, test.lengths)
    ends, steps = test.context, test.future
    code_size, elements = math.prod(model.encode(test.rows(slice(0, 1))).shape[1:]), math.prod(past.shape[1:])
    linear = code_size <= min(len(past), elements) and elements <= LARGEST_PCA
    lines: list[str] = []
    if not test.future_only:
        candidates = {
            "this model": model.reconstruct(Batch(seen, lengths=ends)),
            "mean sequence": mean_sequence(past, past_ends),
        }
        if linear:
            candidates[f"PCA, {code_size} components"] = PCA(code_size).fit(past).reconstruct(seen)
        lines += _table(model, data, "reconstruction", candidates, seen, ends)
    if steps:
        predicted = split_future(model.reconstruct(test), steps, test.lengths)[2]
        mean, last = mean_sequence(past_future), copy_last(seen, steps, ends)
        candidates = {"this model": predicted, "mean sequence": mean, _COPY: last}
        if model.reconstruction.bounded:
            copies = copy_last(past, steps, past_ends)[:_ASKED]
            share = blend_weight(copies, mean, past_future[:_ASKED])
            candidates[f"last value at {share:.0%}, mean at {1 - share:.0%}"] = share * last + (1.0 - share) * mean
        if linear:
            prediction = linear_prediction(past, past_future, code_size)
            candidates[f"linear, from {code_size} components"] = prediction(seen)
        lines += _table(model, data, "prediction", candidates, future, None)
    if len(seen) > 1:
        asked = slice(0, _ASKED)
        few = None if ends is None else ends[asked]
        target, lengths = (future, None) if test.future_only else (seen, few)
        decode = model.decode if lengths is None else partial(model.decode, lengths=lengths)
        coder = SimpleNamespace(encode=lambda x: model.encode(Batch(x, lengths=few)), decode=decode)
        shuffled = shuffled_code(coder, seen[asked], target=target[asked], lengths=lengths)
        lines.append(shuffled.line(model.sample_name))
    return lines


def _table(
    model: Autoencoder, data: Dataset, task: str, candidates: dict[str, Any], truth: np.ndarray, lengths: Any
) -> list[str]:
    """One line per candidate: squared error per sequence, and nats per step if the loss of the model is in nats.

    candidates: predictions by name, each (N, T, D), or (T, D) for all sequences.
    """
    nats = model.reconstruction.quantity == "nats"
    steps = truth.shape[1] if lengths is None else float(lengths.mean())
    step = "frame" if data.frame_shape is not None else "step"
    last = f"{'nats per ' + step:>18}" if nats else ""
    lines = [f"{task + ' of test ' + model.sample_name + 's':34}{'squared error per ' + model.sample_name:>28}{last}"]
    for name, prediction in candidates.items():
        row = f"  {name:32}{sequence_errors(truth, prediction, lengths).mean():>28.5g}"
        if nats and name != _COPY:  # a copied pixel that changes can cost infinitely many nats
            row += f"{sequence_nats(truth, prediction, lengths).mean() / steps:>18.5g}"
        lines.append(row)
    if nats:
        bound = sequence_nats(truth, truth, lengths).mean() / steps
        lines.append(f"  {'entropy of the values themselves':60}{bound:>18.5g}")
    return lines
