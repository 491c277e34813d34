"""What an autoencoder is asked to reconstruct well: one row per reconstruction loss.

A decoder's raw output is not always the reconstruction. With the Bernoulli cross-entropy the decoder gives logits,
the loss is computed from them, and the picture is their sigmoid; with the others the output is the reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae import losses, ops


@dataclass(frozen=True)
class Reconstruction:
    """One way to score a reconstruction.

    Attributes:
        name: as users write it, `loss="bce"`.
        loss: function of (decoder output, targets, reduction=...).
        output: decoder output -> reconstruction.
        quantity: what the loss counts, e.g. "nats".
        bounded: whether targets must lie in [0, 1].
    """

    name: str
    loss: Callable[..., Any]
    output: Callable[[Any], Any]
    quantity: str
    bounded: bool

    def check_targets(self, targets: np.ndarray) -> None:
        """Raise once, before training, if targets cannot be what this loss needs."""
        if self.bounded and targets.size and not (targets.min() >= 0 and targets.max() <= 1):
            raise ValueError(
                f"loss {self.name!r} needs targets in [0, 1], got values from {targets.min():g} to {targets.max():g}: "
                "scale the data (e.g. divide by its maximum), or use loss='squared_error' (--loss squared_error)."
            )


def _identity(x: Any) -> Any:
    return x


RECONSTRUCTIONS = {
    row.name: row
    for row in (
        Reconstruction("bce", losses.bce_with_logits, ops.sigmoid, "nats", bounded=True),
        Reconstruction("squared_error", losses.squared_error, _identity, "squared error", bounded=False),
        Reconstruction("half_squared_error", losses.half_squared_error, _identity, "half squared error", bounded=False),
        Reconstruction("absolute_error", losses.absolute_error, _identity, "absolute error", bounded=False),
        Reconstruction("huber", losses.huber, _identity, "Huber error", bounded=False),
    )
}
"""The reconstruction losses by name."""


def reconstruction_named(name: str) -> Reconstruction:
    """The row of a reconstruction loss; raises ValueError with the known names."""
    if name not in RECONSTRUCTIONS:
        raise ValueError(f"unknown reconstruction loss {name!r}: choose one of {', '.join(RECONSTRUCTIONS)}.")
    return RECONSTRUCTIONS[name]
