"""Training in stages: a stack layer by layer, a classifier on its codes, and a linear probe of any codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinyae import checks
from tinyae.backend import backend_named
from tinyae.checks import checked, whole_number
from tinyae.data import Dataset, Split
from tinyae.models import Batch, SoftmaxClassifier, StackedAutoencoder
from tinyae.models.autoencoder import check_samples
from tinyae.models.settings import passes_on
from tinyae.models.stacked import check_labels
from tinyae.nn import Module, Parameter
from tinyae.optim import LBFGS, Adam, Optimizer
from tinyae.training.loop import Training, fit, held_out_part
from tinyae.training.metrics import Metrics
from tinyae.training.state import CLOCK, History, TrainingState

# ---------------------------------------------------------------------------------------------------------------------
# Greedy layer-wise training: one layer at a time, on the codes of the frozen layers below.

OptimizerOf = Callable[[Iterable[Parameter]], Optimizer]
"""Makes an optimizer from parameters: each stage of training has its own."""

ScheduleOf = Callable[[Optimizer, int], Any]
"""Makes a learning-rate schedule from the optimizer of a stage and its number of epochs."""


@passes_on(fit, without=("callbacks", "whole", "title"))
def fit_stack(
    model: StackedAutoencoder,
    train: Dataset | Split | np.ndarray,
    *,
    epochs: int = 10,
    optimizer: OptimizerOf = Adam,
    schedule: ScheduleOf | None = None,
    start: TrainingState | None = None,
    after_layer: Callable[[int, History], None] | None = None,
    **settings: Any,
) -> list[History]:
    """Train the layers of a stack one after another, the first on the samples (Bengio et al. 2007; Vincent et al. 2010).

    Layer l learns to reconstruct the codes of the layers below, which are frozen.

    Args:
        model: trained in place; `model.trained` records which layers are done. Trained layers are skipped, so an
            interrupted run can go on with the layer at which it stopped.
        train: samples.
        epochs, settings: for each layer, as for `fit`.
        optimizer: makes an optimizer from a layer's parameters, e.g. `lambda p: Adam(p, lr=1e-3)` or `LBFGS`.
        schedule: makes a layer's schedule from its optimizer and the epochs, e.g. `CosineLR`; None keeps the rate constant.
        start: continue a run that ended with this state, in the middle of a layer.
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

        def codes(number: int = number) -> list[np.ndarray]:
            return [codes_below(model, number, x)]

        title, fit_layer = f"layer {number + 1} of {len(model.layers)}", partial(fit, whole=model, **settings)
        history = _stage(title, fit_layer, layer, codes, optimizer, schedule, epochs, start)
        start = None
        model.trained.data[number] = 1.0
        histories.append(history)
        if after_layer is not None:
            after_layer(number + 1, history)
    return histories


def codes_below(model: StackedAutoencoder, number: int, x: np.ndarray) -> np.ndarray:
    """The training samples of layer `number` (from 0): the codes of x from the layers below; x itself for the first."""
    for layer in model.layers[:number]:
        x = layer.encode(x)
    return x


@passes_on(fit, without=("callbacks", "whole", "title"))
def fit_stack_classifier(
    model: StackedAutoencoder,
    train: Split,
    validation: Split | Dataset | None = None,
    *,
    epochs: tuple[int, int] = (10, 10),
    optimizer: OptimizerOf = Adam,
    schedule: ScheduleOf | None = None,
    start: TrainingState | None = None,
    after_stage: Callable[[str, History], None] | None = None,
    **settings: Any,
) -> tuple[float | None, list[History]]:
    """Train the classifier on the frozen codes, then fine-tune the whole network on the labels.

    Args:
        model: a trained stack with a classifier.
        train: labeled samples.
        validation: labeled samples whose accuracy is recorded after every epoch; of a Dataset its test part.
        epochs: of the classifier alone, and of fine-tuning.
        optimizer, schedule: make the optimizer of a stage from its parameters, and the schedule from the optimizer.
        start: continue a run that ended with this state, in one of the two stages.
        after_stage: called as `after_stage(name, history)` after each, "classifier" and "fine-tuning".
        settings: for each stage, as for `fit`.

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
    held_out, part = held_out_part(validation)
    output = classifier.output
    top = SoftmaxClassifier(None, output.in_features, output.out_features, weight_decay=classifier.weight_decay)
    top.output = output  # shared, and given codes

    def coded() -> tuple[Split, Split | None]:
        """The codes, which do not change while the features are frozen, with the labels."""
        return Split(model.encode(train.x), train.y), held_out and Split(model.encode(held_out.x), held_out.y)

    histories = []
    for name, network, samples, passes in (
        ("classifier", top, coded, epochs[0]),
        ("fine-tuning", classifier, lambda: (train, held_out), epochs[1]),
    ):
        if start is not None and start.stage != name:
            continue
        fit_network = partial(fit_classifier, whole=model, held_out=part, **settings)
        history = _stage(name, fit_network, network, samples, optimizer, schedule, passes, start)
        start = None
        histories.append(history)
        if after_stage is not None:
            after_stage(name, history)
    return histories[0].last.get(f"{part}_accuracy") if len(histories) > 1 else None, histories


def _stage(
    title: str, train: Callable[..., History], network: Module, samples: Callable[[], Iterable[Any]], optimizer: OptimizerOf,
    schedule: ScheduleOf | None, epochs: int, start: TrainingState | None,
) -> History:  # fmt: skip
    """The history of one stage: that of `start` if the stage was complete, else of `train` with an optimizer of its own."""
    if start is not None and start.stage == title and start.is_complete(epochs):
        return History(start.units, start.rows)
    made = optimizer(network.parameters())
    rates = None if schedule is None else schedule(made, epochs)
    return train(network, *samples(), title=title, optimizer=made, schedule=rates, epochs=epochs, start=start)


def whole_history(stages: Sequence[tuple[str, History]]) -> History:
    """The histories of several named stages, one after another, numbered from 1 in a column "stage".

    The metrics of a stage are logged in separate columns, e.g. "layer_1_loss", since their units differ; epochs count from
    1 in each stage.
    """
    whole = History()
    shared = ("epoch", *CLOCK)  # which mean the same in every stage
    for number, (name, history) in enumerate(stages, start=1):
        prefix = name.replace(" ", "_").replace("-", "_")
        own = {
            column: column if column in shared else f"{prefix}_{column.removeprefix('train_')}"
            for column in [*history.columns, *history.units]
        }
        whole.units |= {own[column]: unit for column, unit in history.units.items()}
        for row in history.rows:
            whole.append({"stage": number} | {own[column]: value for column, value in row.items()})
    return whole


# ---------------------------------------------------------------------------------------------------------------------
# Supervised training of a classifier: the same steps as `fit`, with labels as targets.


@passes_on(fit, without=("callbacks",))
def fit_classifier(
    classifier: SoftmaxClassifier,
    train: Split,
    validation: Split | None = None,
    *,
    optimizer: Optimizer | None = None,
    start: TrainingState | None = None,
    title: str = "classifier",
    held_out: str = "validation",
    **settings: Any,
) -> History:
    """Train a classifier on labeled samples.

    Args:
        classifier: trained in place: its own layer, and its features unless they are frozen.
        train: samples x (N, ...) and class numbers y (N,).
        validation: labeled samples whose accuracy is recorded after every epoch; they select nothing.
        optimizer, start, title, settings: as for `fit`.
        held_out: what the column of their accuracy is named after, "validation" or "test".

    Returns:
        History with columns epoch, train_loss, seconds, samples_per_second, and validation_accuracy with validation samples.

    Raises:
        ValueError: labels are missing, out of range, or not one for each sample.
        FloatingPointError, TrainingInterrupted: as for `fit`.
    """
    weight, measure = classifier.output.weight, None
    labels = check_labels(train.y, len(train.x), classifier.classes)
    data = Batch(train.x, labels=labels).to(backend_named(weight.device), weight.dtype)
    if validation is not None:
        x, y = validation.x, check_labels(validation.y, len(validation.x), classifier.classes)

        def measure() -> Metrics:
            return Metrics({"accuracy": classifier.accuracy(x, y)}, {"accuracy": "fraction of samples"})

    if optimizer is None:
        optimizer = Adam([p for p in classifier.parameters() if p.requires_grad], lr=1e-3)
    return Training(
        classifier, lambda batch: classifier.loss(batch.x, batch.labels), data, optimizer, "nats per sample", "sample", measure,
        held_out=held_out, title=title, **settings,
    ).run(start)  # fmt: skip


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
        self.weight_decay = checks.number("weight_decay", weight_decay, at_least=0.0, advice="1e-4 is a start")
        self.iterations = whole_number("iterations", iterations, at_least=1)
        self.classifier: SoftmaxClassifier | None = None
        self.history: History | None = None

    @checked
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
        samples = Split(self._standardized(vectors), labels)
        optimizer = LBFGS(classifier.parameters())
        self.history = fit_classifier(
            classifier, samples, optimizer=optimizer, epochs=self.iterations, progress=progress, title=title
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
