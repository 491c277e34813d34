"""A linear probe: what a linear classifier can tell from codes that never saw a label (Alain and Bengio 2016).

The autoencoder stays as it is. A softmax regression is fitted to its codes, and the share of test samples it gets right says
whether the classes lie apart in the code, which reconstruction alone does not ask for.
"""

from __future__ import annotations

import numpy as np

from tinyae.data import Split
from tinyae.models import SoftmaxClassifier
from tinyae.optim import LBFGS
from tinyae.training.classify import fit_classifier
from tinyae.training.history import History


class LinearProbe:
    """Softmax regression on standardised vectors, fitted by L-BFGS.

    p(class | v) = softmax(s(v) W + b),   s(v) = (v - mean) / deviation,   both of the samples it is fitted to

    Args:
        weight_decay: lambda in lambda / 2 * sum of squared W, added to the mean cross-entropy in nats; at least 0.
        iterations: of L-BFGS, at most.

    Attributes:
        classifier: a `SoftmaxClassifier` of standardised vectors, None before `fit`.
        history: of the fit.
    """

    def __init__(self, weight_decay: float = 0.0, iterations: int = 200) -> None:
        if not (np.isfinite(weight_decay) and weight_decay >= 0):
            raise ValueError(f"weight_decay must be a finite number of at least 0, got {weight_decay}.")
        self.weight_decay = float(weight_decay)
        self.iterations = iterations
        self.classifier: SoftmaxClassifier | None = None
        self.history: History | None = None

    def fit(self, vectors: np.ndarray, labels: np.ndarray, *, progress: bool = False, title: str = "") -> LinearProbe:
        """Fit to vectors (N, K) and class numbers (N,). It is convex: where W starts does not matter.

        progress: show one progress bar (on standard error), with `title` before the iteration.
        """
        if vectors.ndim != 2 or len(vectors) == 0:
            raise ValueError(f"vectors must be (N, K) with N > 0, got shape {vectors.shape}: flatten each sample.")
        if not np.isfinite(vectors).all():
            raise ValueError("vectors hold NaN or infinite values: the model that made them has diverged.")
        self._mean = vectors.mean(axis=0, dtype=np.float64)
        deviation = vectors.std(axis=0, dtype=np.float64)
        # What hardly varies is left as it is: divided by its deviation, rounding errors would look like a signal.
        self._deviation = np.where(deviation > 1e-6 * max(deviation.max(), 1e-30), deviation, 1.0)
        classes = max(int(labels.max()) + 1, 2)
        classifier = SoftmaxClassifier(
            None, vectors.shape[1], classes, weight_decay=self.weight_decay, generator=np.random.default_rng(0)
        )
        self.history = fit_classifier(
            classifier,
            Split(self._standardised(vectors), labels),
            optimizer=LBFGS(classifier.parameters()),
            epochs=self.iterations,
            progress=progress,
            title=title,
        )
        self.classifier = classifier
        return self

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """The most probable class number (M,) of each of the vectors (M, K)."""
        if self.classifier is None:
            raise ValueError("this probe has seen no labels yet: call fit(vectors, labels) first.")
        return self.classifier.predict(self._standardised(vectors))

    def accuracy(self, vectors: np.ndarray, labels: np.ndarray) -> float:
        """The share of the vectors (M, K) whose most probable class is the right one. Classes it never saw count as missed."""
        return float(np.mean(self.predict(vectors) == labels))

    def _standardised(self, vectors: np.ndarray) -> np.ndarray:
        return ((vectors - self._mean) / self._deviation).astype(np.float32)
