"""The metrics that every run prints, in the same units for all losses; and the same metrics for baselines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.autodiff import no_grad
from tinyae.backend import backend_named, backend_of
from tinyae.data import Split
from tinyae.data.dataset import as_samples
from tinyae.losses import Loss
from tinyae.models import Autoencoder, Batch
from tinyae.models.autoencoder import check_samples
from tinyae.nn import evaluating

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
