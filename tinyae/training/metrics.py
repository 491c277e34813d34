"""The numbers every run prints, always in the same three units, whatever the model was trained with."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import backend_named
from tinyae.backend.ragged import array_advice
from tinyae.data import Lengths, Split
from tinyae.models import Autoencoder
from tinyae.nn import evaluating

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
