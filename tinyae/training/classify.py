"""Supervised training of a classifier: the same steps as `fit`, with labels in place of the samples themselves."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend import Array, backend_named
from tinyae.data import Split
from tinyae.models import SoftmaxClassifier
from tinyae.models.classifier import check_labels
from tinyae.optim import Adam, Optimizer
from tinyae.training.history import History
from tinyae.training.loop import TrainingInterrupted
from tinyae.training.progress import Progress
from tinyae.training.steps import full_batch_run, minibatch_steps, samples_per_step

UNITS = {"train_loss": "nats per sample", "validation_accuracy": "share of samples", "seconds": "s"}


def fit_classifier(
    classifier: SoftmaxClassifier,
    train: Split,
    validation: Split | None = None,
    *,
    epochs: int = 10,
    batch_size: int | None = None,
    optimizer: Optimizer | None = None,
    seed: int = 0,
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
        progress: show one progress bar (on standard error); title: words before the epoch on it.

    Returns:
        History with columns epoch, train_loss, seconds, and validation_accuracy where there is validation.

    Raises:
        ValueError: labels are missing, of another length than the samples, or out of range.
        FloatingPointError: the loss became NaN or infinite; TrainingInterrupted: Ctrl-C. Either leaves the weights of
            the last complete epoch.
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
    history, kept = History(UNITS), classifier.state_dict()
    bar = Progress(epochs, len(labels), "nats per sample", "sample", title=title, visible=progress)
    started = time.perf_counter()

    def loss_of(x: Array, y: Array) -> Tensor:
        return classifier.loss(Tensor(x), y).total

    def after(number: int, loss: float) -> None:
        nonlocal kept, started
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the classifier's loss became {loss} in epoch {number}: try a smaller learning rate."
            )
        row: dict[str, Any] = {"epoch": number, "train_loss": loss}
        if validation is not None and validation.y is not None:
            row["validation_accuracy"] = classifier.accuracy(validation.x, validation.y)
        history.append(row | {"seconds": time.perf_counter() - started})
        kept, started = classifier.state_dict(), time.perf_counter()

    def after_iteration(number: int, loss: float) -> None:
        bar.advance(number, len(labels), loss)
        after(number, loss)
        classifier.train()

    generator = np.random.default_rng(seed)
    try:
        classifier.train()
        if optimizer.full_batch:
            full_batch_run(loss_of, optimizer, arrays, epochs, after_iteration)
        else:
            for number in range(1, epochs + 1):
                classifier.train()
                with np.errstate(over="ignore", invalid="ignore"):
                    steps = minibatch_steps(loss_of, optimizer, arrays, batch_size, generator, None)
                    after(number, bar.follow(number, steps))
    except KeyboardInterrupt:
        classifier.load_state_dict(kept)
        raise TrainingInterrupted(history) from None
    except FloatingPointError:
        classifier.load_state_dict(kept)
        raise
    finally:
        bar.close()
        classifier.eval()
    return history
