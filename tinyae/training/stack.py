"""Training in stages: a stack layer by layer, a classifier on its codes, and a linear probe of any codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinyae.backend import backend_named, backend_of
from tinyae.data import Dataset, Split
from tinyae.models import Batch, SoftmaxClassifier, StackedAutoencoder
from tinyae.models.autoencoder import check_samples
from tinyae.models.stacked import check_labels
from tinyae.nn import Module, Parameter
from tinyae.optim import LBFGS, Adam, Optimizer
from tinyae.training.loop import Progress, Training, fit, held_out_part, samples_per_step, used_samples
from tinyae.training.metrics import Metrics
from tinyae.training.state import CLOCK, Checkpoint, History, TrainingState

# ---------------------------------------------------------------------------------------------------------------------
# Greedy layer-wise training: one layer at a time, on the codes of the frozen layers below.

OptimizerOf = Callable[[Iterable[Parameter]], Optimizer]
"""Makes an optimizer from parameters: each stage of training has its own."""

ScheduleOf = Callable[[Optimizer, int], Any]
"""Makes a learning-rate schedule from the optimizer of a stage and its number of epochs."""


def fit_stack(
    model: StackedAutoencoder,
    train: Dataset | Split | np.ndarray,
    *,
    epochs: int = 10,
    batch_size: int | None = None,
    drop_last: bool = False,
    optimizer: OptimizerOf = Adam,
    schedule: ScheduleOf | None = None,
    clip_norm: float | None = None,
    seed: int = 0,
    start: TrainingState | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool = True,
    after_layer: Callable[[int, History], None] | None = None,
) -> list[History]:
    """Train the layers of a stack one after another, the first on the samples (Bengio et al. 2007; Vincent et al. 2010, section 6.2).

    Layer l learns to reconstruct the codes of the layers below, which are frozen.

    Args:
        model: trained in place; `model.trained` records which layers are done. Trained layers are skipped, so an
            interrupted run can go on with the layer at which it stopped.
        train: samples.
        epochs, batch_size, drop_last, clip_norm, seed, progress: for each layer, as for `fit`.
        optimizer: makes an optimizer from a layer's parameters, e.g. `lambda p: Adam(p, lr=1e-3)` or `LBFGS`.
        schedule: makes a layer's schedule from its optimizer and the epochs, e.g. `CosineLR`; None keeps the rate constant.
        start: continue a run that ended with this state, in the middle of a layer.
        checkpoint: writes the state from time to time, that of the whole stack.
        after_layer: called as `after_layer(number, history)` after each layer, counted from 1.

    Returns:
        One History for each layer trained.
    """
    x = check_samples(train, "train", model).x
    if start is not None:
        start.model.restore(model)
    histories = []
    for number, layer in enumerate(model.layers):
        if model.trained.numpy()[number]:
            continue
        codes = codes_below(model, number, x)
        title = f"layer {number + 1} of {len(model.layers)}"
        if start is not None and start.stage == title and start.is_complete(epochs):
            history = History(start.units, start.rows)
        else:
            history = fit(
                layer, codes, epochs=epochs, batch_size=batch_size, drop_last=drop_last, seed=seed, clip_norm=clip_norm,
                progress=progress, start=start, checkpoint=checkpoint, whole=model, title=title,
                **_moved_by(optimizer, schedule, layer.parameters(), epochs),
            )  # fmt: skip
        start = None
        marks = model.trained.numpy().copy()
        marks[number] = 1.0
        model.trained.data = backend_of(model.trained.data).to_device(marks, marks.dtype)
        histories.append(history)
        if after_layer is not None:
            after_layer(number + 1, history)
    return histories


def codes_below(model: StackedAutoencoder, number: int, x: np.ndarray) -> np.ndarray:
    """The training samples of layer `number` (from 0): the codes of x from the layers below; x itself for the first."""
    for layer in model.layers[:number]:
        x = layer.encode(x)
    return x


def fit_stack_classifier(
    model: StackedAutoencoder,
    train: Split,
    validation: Split | Dataset | None = None,
    *,
    epochs: tuple[int, int] = (10, 10),
    batch_size: int | None = None,
    drop_last: bool = False,
    optimizer: OptimizerOf = Adam,
    schedule: ScheduleOf | None = None,
    clip_norm: float | None = None,
    seed: int = 0,
    start: TrainingState | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool = True,
    after_stage: Callable[[str, History], None] | None = None,
) -> tuple[float | None, list[History]]:
    """Train the classifier on the frozen codes, then fine-tune the whole network on the labels.

    Args:
        model: a trained stack with a classifier.
        train: labeled samples.
        validation: labeled samples whose accuracy is recorded after every epoch; of a Dataset its test part.
        epochs: of the classifier alone, and of fine-tuning.
        optimizer, schedule: make the optimizer of a stage from its parameters, and the schedule from the optimizer.
        batch_size, drop_last, clip_norm, seed, checkpoint, progress: as for `fit_classifier`.
        start: continue a run that ended with this state, in one of the two stages.
        after_stage: called as `after_stage(name, history)` after each, "classifier" and "fine-tuning".

    Returns:
        The accuracy on `validation` before fine-tuning (None without), and the histories of both stages; None and
        the second one alone if `start` is in it.

    Raises:
        ValueError: the stack has no classifier, or its layers have not been trained.
    """
    if start is not None:
        start.model.restore(model)
    classifier = model.classifier
    if classifier is None:
        raise ValueError("fine-tuning needs a classifier, got a stack without: build it with classes=10, say.")
    if not model.is_trained:
        missing = int(np.argmin(model.trained.numpy())) + 1
        raise ValueError(f"fine-tuning needs a trained stack, got an untrained layer {missing}: call fit_stack first.")
    # The codes do not change while the features are frozen, so they are computed once.
    top, codes = _on_codes(model), partial(_coded, model)
    held_out, part = held_out_part(validation)
    stages = {
        "classifier": (
            top,
            top.output.parameters(),
            lambda: (codes(train), held_out and codes(held_out)),
            epochs[0],
        ),
        "fine-tuning": (classifier, classifier.parameters(), lambda: (train, held_out), epochs[1]),
    }
    histories = []
    for name, (network, parameters, samples, passes) in stages.items():
        if start is not None and start.stage != name:
            continue
        if start is not None and start.is_complete(passes):
            history = History(start.units, start.rows)
        else:
            history = fit_classifier(
                network, *samples(), epochs=passes, batch_size=batch_size, drop_last=drop_last, clip_norm=clip_norm,
                seed=seed, start=start, checkpoint=checkpoint, whole=model, progress=progress, title=name, held_out=part,
                **_moved_by(optimizer, schedule, parameters, passes),
            )  # fmt: skip
        start = None
        histories.append(history)
        if after_stage is not None:
            after_stage(name, history)
    return histories[0].last.get(f"{part}_accuracy") if len(histories) > 1 else None, histories


def _coded(model: StackedAutoencoder, samples: Split) -> Split:
    """The codes of labeled samples, with the labels."""
    return Split(model.encode(samples.x), samples.y)


def _moved_by(
    optimizer: OptimizerOf, schedule: ScheduleOf | None, parameters: Iterable[Parameter], epochs: int
) -> dict[str, Any]:
    """The optimizer and the schedule of one stage, as arguments of `fit` and `fit_classifier`."""
    made = optimizer(parameters)
    return {"optimizer": made, "schedule": None if schedule is None else schedule(made, epochs)}


def _on_codes(model: StackedAutoencoder) -> SoftmaxClassifier:
    """The stack's classifier without its features: it shares the output layer and is given codes."""
    assert model.classifier is not None
    output = model.classifier.output
    top = SoftmaxClassifier(None, output.in_features, output.out_features, weight_decay=model.classifier.weight_decay)
    top.output = output
    return top


_SHARED = ("epoch", *CLOCK)
"""Columns with the same meaning in every stage."""


def whole_history(stages: Sequence[tuple[str, History]]) -> History:
    """The histories of several named stages, one after another, numbered from 1 in a column "stage".

    The metrics of a stage are logged in separate columns, e.g. "layer_1_loss", since their units differ; epochs count from
    1 in each stage.
    """
    whole = History()
    for number, (name, history) in enumerate(stages, start=1):
        own = {column: _column_of(name, column) for column in [*history.columns, *history.units]}
        whole.units |= {own[column]: unit for column, unit in history.units.items()}
        for row in history.rows:
            whole.append({"stage": number} | {own[column]: value for column, value in row.items()})
    return whole


def _column_of(stage: str, column: str) -> str:
    if column in _SHARED:
        return column
    return f"{stage.replace(' ', '_').replace('-', '_')}_{column.removeprefix('train_')}"


# ---------------------------------------------------------------------------------------------------------------------
# Supervised training of a classifier: the same steps as `fit`, with labels as targets.


def fit_classifier(
    classifier: SoftmaxClassifier,
    train: Split,
    validation: Split | None = None,
    *,
    epochs: int = 10,
    batch_size: int | None = None,
    drop_last: bool = False,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    schedule: Any = None,
    clip_norm: float | None = None,
    start: TrainingState | None = None,
    checkpoint: Checkpoint | None = None,
    whole: Module | None = None,
    progress: bool = True,
    title: str = "classifier",
    held_out: str = "validation",
) -> History:
    """Train a classifier on labeled samples.

    Args:
        classifier: trained in place: its own layer, and its features unless they are frozen.
        train: samples x (N, ...) and class numbers y (N,).
        validation: labeled samples whose accuracy is recorded after every epoch; they select nothing.
        epochs, batch_size, drop_last, optimizer, seed, schedule, clip_norm, start, checkpoint, whole, progress, title: as for
            `fit`.
        held_out: what the column of their accuracy is named after, "validation" or "test".

    Returns:
        History with columns epoch, train_loss, seconds, samples_per_second, and validation_accuracy with validation samples.

    Raises:
        ValueError: labels are missing, out of range, or not one for each sample.
        FloatingPointError, TrainingInterrupted: as for `fit`.
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
    data = Batch(train.x, labels=labels).to(backend, weight.dtype)

    def measure() -> Metrics | None:
        if validation is None or validation.y is None:
            return None
        accuracy = classifier.accuracy(validation.x, validation.y)
        return Metrics({"accuracy": accuracy}, {"accuracy": "fraction of samples"})

    history = History({"train_loss": "nats per sample", "seconds": "s", "samples_per_second": "samples/s"})
    used = used_samples(len(labels), batch_size, drop_last)
    bar = Progress(epochs, used, history.units["train_loss"], "sample", title=title, visible=progress)
    run = Training(
        classifier, lambda batch: classifier.loss(batch.x, batch.labels), optimizer, data, batch_size,
        np.random.default_rng(seed), history, bar, measure, schedule=schedule, clip_norm=clip_norm,
        checkpoint=checkpoint, whole=whole, stage=title, drop_last=drop_last, held_out=held_out,
    )  # fmt: skip
    return run.start(start, epochs).run(epochs)


# ---------------------------------------------------------------------------------------------------------------------
# A linear probe: how well a linear classifier separates classes in codes learned without labels (Alain and Bengio 2016).
#
# The autoencoder is fixed. A softmax regression is fitted to its codes; its accuracy on test samples shows how well the codes
# separate the classes, which the reconstruction loss does not require.


class LinearProbe:
    """Softmax regression on standardized vectors, fitted by L-BFGS.

    p(class | v) = softmax(s(v) W + b),   s(v) = (v - mean) / deviation,   both of the samples used for fitting

    Args:
        weight_decay: lambda in lambda / 2 * sum of squared W, added to the mean cross-entropy in nats; at least 0.
        iterations: largest number of iterations of L-BFGS.

    Attributes:
        classifier: a `SoftmaxClassifier` of standardized vectors, None before `fit`.
        history: of `fit`.
    """

    def __init__(self, weight_decay: float = 0.0, iterations: int = 200) -> None:
        if not (np.isfinite(weight_decay) and weight_decay >= 0):
            raise ValueError(f"weight_decay must be at least 0 and finite, got {weight_decay}: 1e-4 is a start.")
        self.weight_decay = float(weight_decay)
        self.iterations = iterations
        self.classifier: SoftmaxClassifier | None = None
        self.history: History | None = None

    def fit(self, vectors: np.ndarray, labels: np.ndarray, *, progress: bool = False, title: str = "") -> LinearProbe:
        """Fit to vectors (N, K) and class numbers (N,). The loss is convex: the initial W does not matter.

        progress: show a progress bar (on standard error), with `title` before the iteration.
        """
        if vectors.ndim != 2 or len(vectors) == 0:
            raise ValueError(f"vectors must be (N, K) with N > 0, got shape {vectors.shape}: flatten each sample.")
        if not np.isfinite(vectors).all():
            raise ValueError(
                "vectors must be finite, got NaN or infinite values: the model has diverged, train it again."
            )
        self._mean = vectors.mean(axis=0, dtype=np.float64)
        deviation = vectors.std(axis=0, dtype=np.float64)
        # Constant elements are not scaled: divided by their deviation, rounding errors would look like a signal.
        self._deviation = np.where(deviation > 1e-6 * max(deviation.max(), 1e-30), deviation, 1.0)
        classes = max(int(labels.max()) + 1, 2)
        classifier = SoftmaxClassifier(
            None, vectors.shape[1], classes, weight_decay=self.weight_decay, generator=np.random.default_rng(0)
        )
        self.history = fit_classifier(
            classifier,
            Split(self._standardized(vectors), labels),
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
            raise ValueError("this probe has not been fitted: call fit(vectors, labels) first.")
        return self.classifier.predict(self._standardized(vectors))

    def accuracy(self, vectors: np.ndarray, labels: np.ndarray) -> float:
        """The fraction of vectors (M, K) whose most probable class is the true one; unseen classes count as errors."""
        return float(np.mean(self.predict(vectors) == labels))

    def _standardized(self, vectors: np.ndarray) -> np.ndarray:
        return ((vectors - self._mean) / self._deviation).astype(np.float32)
