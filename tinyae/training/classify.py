"""Supervised training of a classifier: the same steps as `fit`, with labels in place of the samples themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend import backend_named
from tinyae.data import Split
from tinyae.models import SoftmaxClassifier
from tinyae.models.classifier import check_labels
from tinyae.optim import Adam, Optimizer
from tinyae.training.epochs import run_epochs
from tinyae.training.history import History
from tinyae.training.progress import Progress
from tinyae.training.steps import Steps, samples_per_step

UNITS = {
    "train_loss": "nats per sample",
    "validation_accuracy": "share of samples",
    "seconds": "s",
    "samples_per_second": "samples/s",
}


def fit_classifier(
    classifier: SoftmaxClassifier,
    train: Split,
    validation: Split | None = None,
    *,
    epochs: int = 10,
    batch_size: int | None = None,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    schedule: Any = None,
    clip_norm: float | None = None,
    progress: bool = True,
    title: str = "classifier",
) -> History:
    """Train a classifier on labelled samples.

    Args:
        classifier: trained in place: its own layer, and its features unless they are frozen.
        train: samples x (N, ...) and class numbers y (N,).
        validation: labelled samples whose accuracy is noted after every epoch; nothing is selected by it.
        epochs: passes over the data; with LBFGS, iterations at most.
        batch_size: samples per step, by default 128; left out with LBFGS.
        optimizer: made from the parameters that are to move; default `Adam(lr=1e-3)` on all that are not frozen.
        seed: for the order of samples.
        schedule: learning-rate schedule; its `.step()` is called after every epoch.
        clip_norm: clip the norm of all gradients together.
        progress: show one progress bar (on standard error); title: words before the epoch on it.

    Returns:
        History with columns epoch, train_loss, seconds, samples_per_second, and validation_accuracy where there is
        validation.

    Raises:
        ValueError: labels are missing, of another length than the samples, or out of range.
        FloatingPointError: the loss or a weight became NaN or infinite; TrainingInterrupted: Ctrl-C. Either leaves the
            weights of the last complete epoch.
    """
    labels = check_labels(train.y, len(train.x), classifier.classes)
    if validation is not None:
        check_labels(validation.y, len(validation.x), classifier.classes)
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}.")
    moving = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    optimizer = Adam(moving, lr=1e-3) if optimizer is None else optimizer
    batch_size = samples_per_step(optimizer, batch_size, len(train.x))
    weight = classifier.output.weight
    backend = backend_named(weight.device)
    arrays = (backend.to_device(train.x, weight.dtype), backend.to_device(labels, "int64"))
    steps = Steps(
        lambda x, y: classifier.loss(Tensor(x), y).total,
        optimizer, arrays, batch_size, np.random.default_rng(seed), clip_norm,
    )  # fmt: skip

    def measure() -> dict[str, float]:
        if validation is None or validation.y is None:
            return {}
        return {"validation_accuracy": classifier.accuracy(validation.x, validation.y)}

    bar = Progress(epochs, len(labels), UNITS["train_loss"], "sample", title=title, visible=progress)
    return run_epochs(classifier, steps, epochs, History(UNITS), bar, measure=measure, schedule=schedule)
