"""What a run prints: metrics in the same units for all losses, then the code, baselines, and why a model is behind one.

A squared error of 11.6 alone says little. Two baselines need no training by gradients: the mean of the training samples, and as
many principal components as the code has dimensions, which no linear code of that size beats.
"""

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
from tinyae.checks import whole_number
from tinyae.data import Dataset, Split
from tinyae.data.dataset import as_samples
from tinyae.data.source import pieces
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
from tinyae.training.state import History

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
    batch_size = whole_number("batch_size", batch_size, at_least=1)
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
# The code, and baselines: the mean, and principal components.

LARGEST_PCA = 4096
"""Largest dimension of a sample for which PCA is computed: the covariance matrix has its square as entries."""

STILL_FALLING = 0.02
"""The share of the whole fall of the loss, in the last tenth of the epochs, from which longer training is suggested."""


def report(model: Autoencoder, data: Dataset, history: History | None = None, error: float | None = None) -> list[str]:
    """Lines on the code of a trained model, on the model itself, and on the baselines; on the loss, if its history is given.

    For new data, which have no training part, those on the model itself only. `error` is as for `compare`.
    """
    tested = len(data.test) > 0
    if not len(data.train):
        return model.report(data.test)
    lines = [*code_use(model, data), *(model.report(data.test) if tested else [])]
    if getattr(model, "classifier", None) is None:  # fine-tuning leaves encoders that do not fit their decoders
        lines += (compare_sequences(model, data) if tested else []) or compare(model, data, error=error)
    return lines + ([] if history is None else still_falling(history))


def code_use(model: Autoencoder, data: Dataset) -> list[str]:
    """The code size and the size of a sample, and how many units are dead: they have one value for all training samples."""
    low: Any = math.inf
    high: Any = -math.inf
    for start in range(0, len(data.train), 1024):
        batch = model.batch(data.train.rows(slice(start, start + 1024)))
        code = np.asarray(model.encode(batch), np.float64).reshape(len(batch), -1)
        low, high = np.minimum(low, code.min(axis=0)), np.maximum(high, code.max(axis=0))
    given = batch.x if batch.x.ndim > 1 else batch.target  # a memory is given the numbers of its samples
    elements = math.prod(given.shape[1:])
    dead = int(np.sum(high - low <= 1e-6 * np.abs([low, high]).max()))
    line = f"code: {low.size} values for the {elements} of each {model.sample_name}"
    if low.size >= elements and not batch.future_only:
        line += ", not smaller than the sample: without noise or a penalty, copying would be a perfect solution"
    seen = f"{len(data.train):,} {model.sample_name}s"
    if not dead:
        return [line, f"none of the {low.size} code units is dead: each varies over the {seen}"]
    return [line, f"{dead} of {low.size} code units are dead: the same for all {seen}"]


def compare(model: Autoencoder, data: Dataset, minimizes: str = "", error: float | None = None) -> list[str]:
    """Squared errors of the model and of baselines on the test samples, or on the training samples if there are no others.

    PCA is included if the code is smaller than a sample. A discrete code counts as many components as its bits are
    32-bit numbers. If PCA is better, a line says what it minimizes, and what the model `minimizes`, by default its loss.
    `error` is the model's squared error on these samples, if it was evaluated before.
    """
    train, name = data.train, model.sample_name
    samples, part = (data.test, "test") if len(data.test) else (train, "training")
    elements = math.prod(data.example_shape)
    if elements != math.prod(model.batch(samples.rows(slice(0, 1))).target.shape[1:]):
        return []
    mean = sum(x.sum(axis=0, dtype=np.float64) for _, x in pieces(train.source, 1 << 20)) / len(train)
    off = sum(float(np.square(x - mean).sum()) for _, x in pieces(samples.source, 1 << 20)) / len(samples)
    own = evaluate(model, samples)["squared_error"] if error is None else error
    found = {"this model": own, f"mean training {name}": off}
    code_size = model.encode(model.batch(samples.rows(slice(0, 1)))).size
    bits = code_size * model.value_bits
    size = max(1, int(bits / 32))
    share = "" if size == code_size else f", {32 * size} bits for the {bits:.0f} of the code"
    linear = size < elements <= LARGEST_PCA and size <= len(train)
    if linear:
        pca = PCA(size).fit(train.source)
        best = found[f"PCA, {size} components{share}"] = float(pca.squared_error(samples.source))
    lines = [f"squared error of {part} {name}s", *(f"  {label:52}{value:>12.5g}" for label, value in found.items())]
    if linear and best < own:
        lines.append(f"PCA minimizes this error and nothing else; {minimizes or _objective(model, data)}")
    return lines


def _objective(model: Autoencoder, data: Dataset) -> str:
    """What a model that is behind PCA minimizes, in words."""
    batch = model.batch(data.train.rows(slice(0, 2))).to(backend_named(model.device), model.dtype).tensors()
    with no_grad(), evaluating(model):
        terms = list(model.loss(batch, generator=np.random.default_rng(0)).terms)
    if len(terms) == 1 and "squared" in model.loss_unit:
        return "this model minimizes the same error, but it is not at the minimum: train longer, or change --lr"
    return f"this model minimizes {' + '.join(terms)}, in {model.loss_unit}"


def still_falling(history: History) -> list[str]:
    """A sentence if the loss still fell in the last tenth of the epochs by more than `STILL_FALLING` of its whole fall."""
    loss = history["train_loss"] if "train_loss" in history.columns else []
    recent = len(loss) - max(1, len(loss) // 10) - 1
    if recent < 1 or not (whole := loss[0] - loss[-1]) > 0:
        return []
    share = (loss[recent] - loss[-1]) / whole
    last = f"{share:.1%} of its whole fall came in the last {len(loss) - 1 - recent} of {len(loss)} epochs"
    return [f"the training loss still fell: {last}; --resume RUN --epochs N trains longer"] * (share > STILL_FALLING)


# ---------------------------------------------------------------------------------------------------------------------
# A sequence model compared with the mean sequence, the last value repeated and a linear code of the same size, all fitted on
# the training part; and a loss in nats with the entropy of the gray levels, a lower bound for every prediction.

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
    steps = test.future
    seen, ends, future = split_future(test.target, steps, test.lengths)
    code_size, elements = math.prod(model.encode(test.rows(slice(0, 1))).shape[1:]), math.prod(past.shape[1:])
    linear = code_size <= min(len(past), elements) and elements <= LARGEST_PCA
    lines: list[str] = []
    if not test.future_only:
        candidates = {
            "this model": model.reconstruct(Batch(seen, lengths=ends)),
            "mean training sequence": mean_sequence(past, past_ends),
        }
        if linear:
            candidates[f"PCA, {code_size} components"] = PCA(code_size).fit(past).reconstruct(seen)
        lines += _table(model, data, "reconstruction", candidates, seen, ends)
    if steps:
        predicted = split_future(model.reconstruct(test), steps, test.lengths)[2]
        mean, last = mean_sequence(past_future), copy_last(seen, steps, ends)
        candidates = {"this model": predicted, "mean training sequence": mean, _COPY: last}
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
