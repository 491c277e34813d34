"""Greedy layer-wise training: a layer at a time, each on the codes of the frozen layers below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinyae.backend import backend_of
from tinyae.data import Dataset, Split
from tinyae.models import SoftmaxClassifier, StackedAutoencoder
from tinyae.nn import Parameter
from tinyae.optim import Adam, Optimizer
from tinyae.training.classify import fit_classifier
from tinyae.training.history import History
from tinyae.training.loop import check_samples, fit

OptimizerOf = Callable[[Iterable[Parameter]], Optimizer]
"""Makes an optimizer for some parameters: each stage of the training has its own."""

ScheduleOf = Callable[[Optimizer, int], Any]
"""Makes a learning-rate schedule for the optimizer of a stage and its number of epochs."""


def fit_stack(
    model: StackedAutoencoder,
    train: Dataset | Split | np.ndarray,
    *,
    epochs: int = 10,
    batch_size: int | None = None,
    optimizer: OptimizerOf = Adam,
    schedule: ScheduleOf | None = None,
    clip_norm: float | None = None,
    seed: int = 0,
    progress: bool = True,
    after_layer: Callable[[int, History], None] | None = None,
) -> list[History]:
    """Train the layers of a stack from the samples upwards (Bengio et al. 2007; Vincent et al. 2010, section 6.2).

    Layer l learns to reconstruct the codes of the layers below it, which do not move any more.

    Args:
        model: trained in place; `model.trained` notes which layers are done. Layers that are trained already are kept,
            so a run that was interrupted goes on with the layer it was at.
        train: samples.
        epochs, batch_size, clip_norm, seed, progress: of each layer, as for `fit`.
        optimizer: makes an optimizer from a layer's parameters, e.g. `lambda p: Adam(p, lr=1e-3)` or `LBFGS`.
        schedule: makes a layer's schedule from its optimizer and the epochs, e.g. `CosineLR`; None keeps the rate.
        after_layer: called as `after_layer(number, history)` after each layer, counted from 1.

    Returns:
        One History for each layer that was trained.
    """
    x = check_samples(train, "train", model)
    histories = []
    for number, layer in enumerate(model.layers):
        if model.trained.numpy()[number]:
            continue
        codes = codes_below(model, number, x)
        title = f"layer {number + 1} of {len(model.layers)}"
        history = fit(
            layer, codes, epochs=epochs, batch_size=batch_size, seed=seed, clip_norm=clip_norm, progress=progress,
            title=title, **_moved_by(optimizer, schedule, layer.parameters(), epochs),
        )  # fmt: skip
        marks = model.trained.numpy().copy()
        marks[number] = 1.0
        model.trained.data = backend_of(model.trained.data).to_device(marks, marks.dtype)
        histories.append(history)
        if after_layer is not None:
            after_layer(number + 1, history)
    return histories


def codes_below(model: StackedAutoencoder, number: int, x: np.ndarray) -> np.ndarray:
    """What layer `number` (from 0) is trained on: the codes of x under the layers below it; x itself for the first."""
    for layer in model.layers[:number]:
        x = layer.encode(x)
    return x


def fit_stack_classifier(
    model: StackedAutoencoder,
    train: Split,
    validation: Split | None = None,
    *,
    epochs: tuple[int, int] = (10, 10),
    batch_size: int | None = None,
    optimizer: OptimizerOf = Adam,
    schedule: ScheduleOf | None = None,
    clip_norm: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> tuple[float | None, list[History]]:
    """Train the classifier on the frozen codes, then fine-tune the whole network on the labels.

    Args:
        model: a trained stack with a classifier.
        train, validation: labelled samples.
        epochs: of the classifier alone, and of the fine-tuning.
        optimizer, schedule: make an optimizer from the parameters of a stage, and its schedule from that.
        batch_size, clip_norm, seed, progress: as for `fit_classifier`.

    Returns:
        The validation accuracy before fine-tuning (None without validation), and the histories of both stages.

    Raises:
        ValueError: the stack has no classifier, or its layers have not been trained.
    """
    classifier = model.classifier
    if classifier is None:
        raise ValueError("this stack has no classifier: build it with classes=, the number of classes.")
    if not model.is_trained:
        missing = int(np.argmin(model.trained.numpy())) + 1
        raise ValueError(
            f"layer {missing} of the stack has not been trained, so there is nothing to fine-tune: call fit_stack first."
        )
    # The codes do not change while the features are frozen, so they are computed once.
    common: dict[str, Any] = {"batch_size": batch_size, "clip_norm": clip_norm, "seed": seed, "progress": progress}
    top = _on_codes(model)
    codes = Split(model.encode(train.x), train.y)
    held_out = None if validation is None else Split(model.encode(validation.x), validation.y)
    first = fit_classifier(
        top,
        codes,
        held_out,
        epochs=epochs[0],
        title="classifier",
        **_moved_by(optimizer, schedule, top.output.parameters(), epochs[0]),
        **common,
    )
    before = None if validation is None or validation.y is None else classifier.accuracy(validation.x, validation.y)
    second = fit_classifier(
        classifier, train, validation, epochs=epochs[1], title="fine-tuning",
        **_moved_by(optimizer, schedule, classifier.parameters(), epochs[1]), **common,
    )  # fmt: skip
    return before, [first, second]


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


_SHARED = ("epoch", "seconds", "samples_per_second")
"""Columns that mean the same in every stage."""


def whole_history(stages: Sequence[tuple[str, History]]) -> History:
    """The histories of several named stages one after the other, numbered from 1 in a column "stage".

    What a stage measured stands in columns of its own, e.g. "layer_1_loss", for it has a unit of its own; epochs count
    from 1 in each stage.
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
