"""How a loss per element becomes one number, and in which unit that number is.

"Sum or mean?" is the question that decides whether two terms of a loss may be added. Here every loss names its answer:

    reduction       formula                                   unit of a squared error        unit of a cross-entropy
    "per_sample"    sum over a sample's elements,             squared error per sample       nats per sample
                    mean over the N samples
    "mean"          mean over all elements                    squared error per element      nats per element
    "sum"           sum over everything                       squared error                  nats
    "none"          the losses of the elements                squared error per element      nats per element

The default is "per_sample": it does not change when an image gets more pixels only by being cut differently, and it
is the one in which a reconstruction error in nats may be added to a penalty in nats.
"""

from __future__ import annotations

import math
from typing import Any

from tinyae import ops

REDUCTIONS = ("per_sample", "mean", "sum", "none")


def reduce(elements: Any, reduction: str) -> Any:
    """Reduce losses per element (N, ...) as the table above says."""
    if reduction == "none":
        return elements
    return ops.sum(elements) * scale(elements.shape, reduction)


def scale(shape: tuple[int, ...], reduction: str) -> float:
    """The factor that turns a sum over all elements of an array of `shape` into the reduction."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}: choose one of {', '.join(REDUCTIONS)}.")
    if reduction == "mean":
        return 1.0 / max(math.prod(shape), 1)
    if reduction == "per_sample":
        if not shape:
            raise ValueError(
                "reduction 'per_sample' needs an axis of samples, got a single number: use 'sum' or 'mean'."
            )
        return 1.0 / max(shape[0], 1)
    return 1.0


def unit(quantity: str, reduction: str, sample: str = "sample") -> str:
    """The unit of a reduced loss, e.g. unit("nats", "per_sample", "image") is "nats per image"."""
    per = {"per_sample": f" per {sample}", "mean": " per element", "none": " per element", "sum": ""}
    if reduction not in per:
        raise ValueError(f"unknown reduction {reduction!r}: choose one of {', '.join(REDUCTIONS)}.")
    return quantity + per[reduction]


def check_shapes(name: str, predictions: Any, targets: Any) -> None:
    """Raise unless both have one shape: a silent broadcast of (N, 1) against (N,) would compare every pair."""
    if predictions.shape != targets.shape:
        raise ValueError(
            f"{name}: predictions have shape {predictions.shape}, targets {targets.shape}; they must be equal "
            "(losses do not broadcast): reshape one of them."
        )
