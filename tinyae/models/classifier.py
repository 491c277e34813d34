"""Softmax regression on codes: the smallest classifier there is, to see what a code knows about classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import as_generator, backend_named, backend_of
from tinyae.losses import Loss, softmax_cross_entropy, weight_decay
from tinyae.nn import Dense, Identity, Module, evaluating


class SoftmaxClassifier(Module):
    """p(class | x) = softmax(features(x) W + b).

    Args:
        features: module from x (N, ...) to features (N, K), e.g. an encoder; `nn.Identity()` for plain vectors.
        size: K.
        classes: how many.
        weight_decay: lambda in the term lambda / 2 * sum of squared W; the features' own weights are left out.
        generator: for W, which starts small; None draws fresh entropy.

    Freeze the features (`classifier.features.freeze()`) and only W and b are trained: what does the code know? Leave
    them free and the whole network is fine-tuned.
    """

    def __init__(
        self,
        features: Module | None,
        size: int,
        classes: int,
        *,
        weight_decay: float = 0.0,
        generator: np.random.Generator | None = None,
    ) -> None:
        if classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes, got {classes}.")
        if not 0.0 <= weight_decay < math.inf:
            raise ValueError(f"weight_decay must be at least 0 and finite, got {weight_decay!r}: 1e-4 is a start.")
        self.features = Identity() if features is None else features
        self.output = Dense(size, classes, generator=as_generator(generator))
        self.weight_decay = float(weight_decay)

    @property
    def classes(self) -> int:
        """How many classes."""
        return self.output.out_features

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of x (N, ...)."""
        return self.output(self.features(x))

    def loss(self, x: Tensor, labels: Any) -> Loss:
        """Softmax cross-entropy in nats per sample, with the weight decay of W beside it. Labels (N,) are class numbers."""
        terms = {"cross-entropy": softmax_cross_entropy(self(x), labels)}
        if self.weight_decay:
            terms["weight decay"] = self.weight_decay * weight_decay(self.output.weight)
        return Loss(terms, "nats per sample")

    def predict(self, x: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """The most probable class number (N,) of each sample x (N, ...), in batches and in evaluation mode."""
        weight = self.output.weight
        backend = backend_named(weight.device)
        found = []
        with no_grad(), evaluating(self):
            for start in range(0, len(x), batch_size):
                logits = self(Tensor(backend.to_device(x[start : start + batch_size], weight.dtype))).data
                found.append(backend_of(logits).to_host(logits).argmax(axis=1))
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def accuracy(self, x: np.ndarray, labels: np.ndarray) -> float:
        """The share of samples whose most probable class is the right one."""
        return float(np.mean(self.predict(x) == check_labels(labels, len(x), self.classes)))


def check_labels(labels: np.ndarray | None, samples: int, classes: int, name: str = "labels") -> np.ndarray:
    """Class numbers (N,) as int64; raises ValueError unless there is one in 0 ... classes - 1 for each sample."""
    if labels is None:
        raise ValueError("the data have no labels: a classifier needs one class number for each sample.")
    labels = np.asarray(labels)
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be {samples} whole numbers, one for each sample, got shape {labels.shape} of {labels.dtype}."
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"{name} must lie in 0 ... {classes - 1}, got {labels.min()} to {labels.max()}: count classes from 0, or "
            "build the classifier for more of them."
        )
    return labels.astype(np.int64)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """counts[i, j]: how many samples of class i were taken for class j; (classes, classes), int64.

    Raises:
        ValueError: labels or predictions (N,) that are not whole numbers in 0 ... classes - 1.
    """
    labels = check_labels(labels, len(labels), classes)
    predicted = check_labels(predicted, len(labels), classes, "predictions")
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)
