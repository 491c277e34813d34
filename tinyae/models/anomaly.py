"""Anomalies: samples that a model trained on ordinary ones cannot reconstruct.

An autoencoder that has only seen ordinary days spends its few code numbers on what ordinary days have in common. A
day of another kind does not fit into the code, and its reconstruction shows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae.models.autoencoder import Autoencoder


class AnomalyDetector:
    """Flags samples whose reconstruction error is larger than that of nearly all training samples.

    score(x) = sum over the elements of (x - reconstruction)**2,   x is flagged if score(x) > threshold

    The threshold is a quantile of the training samples' scores. If new samples were like the training samples, a share
    of 1 - quantile of them would be flagged; no assumption on the scores' distribution is made.

    Args:
        model: a trained autoencoder.
        quantile: of the training scores, in (0, 1).

    Attributes:
        threshold: in the unit of the score, squared error per sample; None before `fit`.
    """

    def __init__(self, model: Autoencoder, quantile: float = 0.99) -> None:
        if not 0.0 < quantile < 1.0:
            raise ValueError(f"quantile must lie between 0 and 1, got {quantile:g}: 0.99 flags the worst hundredth.")
        self.model = model
        self.quantile = float(quantile)
        self.threshold: float | None = None

    def fit(
        self, x: np.ndarray, lengths: np.ndarray | None = None, labels: np.ndarray | None = None
    ) -> AnomalyDetector:
        """Take the threshold from samples x (N, ...) that are known to be ordinary; see `score` for the rest."""
        self.threshold = float(np.quantile(self.score(x, lengths, labels), self.quantile))
        return self

    def score(self, x: np.ndarray, lengths: np.ndarray | None = None, labels: np.ndarray | None = None) -> np.ndarray:
        """Squared error of each sample (N,), float64.

        lengths: (N,) of sequences of unequal length, which are compared over their own steps. labels: (N,) class numbers,
        for a model that is told the class.
        """
        known: dict[str, Any] = {} if lengths is None else {"lengths": lengths}
        difference = (x - self.model.restore(self.model.inputs_for(x, labels), **known)).reshape(len(x), -1)
        return np.square(difference, dtype=np.float64).sum(axis=1)

    def flag(self, x: np.ndarray, lengths: np.ndarray | None = None, labels: np.ndarray | None = None) -> np.ndarray:
        """Which samples (N,) are anomalies, as booleans; arguments as for `score`."""
        if self.threshold is None:
            raise ValueError("the detector has no threshold yet: call fit(training samples) first.")
        return self.score(x, lengths, labels) > self.threshold
