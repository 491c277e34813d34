"""The numbers every run prints, always in the same three units, whatever the model was trained with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import backend_named
from tinyae.models import Autoencoder
from tinyae.nn import evaluating

_EPS = 1e-7


def metric_units(model: Autoencoder) -> dict[str, str]:
    """Metric name -> unit, for `evaluate`'s result."""
    return {
        "loss": model.loss_unit,
        "squared_error": f"squared error per {model.sample}",
        "mse": "squared error per element",
        "bce": f"nats per {model.sample}",
        "bce_element": "nats per element",
    }


def evaluate(model: Autoencoder, x: np.ndarray, batch_size: int = 1024) -> dict[str, float]:
    """Score a model on samples x (N, ...), in batches and in evaluation mode.

    Returns:
        loss: the model's own loss (and its terms, where there are several);
        squared_error: sum over a sample's elements of (x - r)**2, mean over samples;
        mse: the same per element;
        bce, bce_element: Bernoulli cross-entropy of the reconstruction per sample and per element, where x lies in
        [0, 1] (reconstructions are clipped to [1e-7, 1 - 1e-7] for it).
    """
    if len(x) == 0:
        raise ValueError(f"got an empty array of shape {x.shape}: there is nothing to evaluate.")
    backend = backend_named(model.device)
    dtype = next(iter(model.parameters())).dtype
    bounded = bool(x.min() >= 0 and x.max() <= 1)
    totals: dict[str, float] = {}
    with no_grad(), evaluating(model):
        for start in range(0, len(x), batch_size):
            batch = Tensor(backend.to_device(x[start : start + batch_size], dtype))
            for name, value in _batch_sums(model, batch, bounded).items():
                totals[name] = totals.get(name, 0.0) + value
    means = {name: total / len(x) for name, total in totals.items()}
    elements = math.prod(x.shape[1:])
    means["mse"] = means["squared_error"] / elements
    if bounded:
        means["bce_element"] = means["bce"] / elements
    return means


def _batch_sums(model: Autoencoder, batch: Tensor, bounded: bool) -> dict[str, float]:
    """Sums over the samples of one batch; one transfer to the host per number."""
    n = len(batch)
    loss = model.loss(batch)
    sums: dict[str, Any] = {"loss": loss.total.data * float(n)}
    if len(loss.terms) > 1:
        sums |= {name: term.data * float(n) for name, term in loss.terms.items()}
    x, r = batch.data, model.reconstruct(batch).data
    difference = r - x
    sums["squared_error"] = (difference * difference).sum()
    if bounded:
        xp = backend_named(model.device).xp
        p = xp.clip(r, _EPS, 1.0 - _EPS)
        sums["bce"] = -(x * xp.log(p) + (1.0 - x) * xp.log1p(-p)).sum()
    return {name: float(value) for name, value in sums.items()}
