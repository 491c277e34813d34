"""How `tinyae train stacked` goes: layer by layer, then the classifier, then the whole."""

from __future__ import annotations

import argparse
from typing import Any

from tinyae.cli.training_options import make_optimizer, make_schedule
from tinyae.data import Dataset
from tinyae.models import StackedAutoencoder
from tinyae.training import History, Run, fit_stack, fit_stack_classifier, whole_history
from tinyae.training.epochs import TrainingInterrupted


def train_stacked(model: StackedAutoencoder, data: Dataset, options: argparse.Namespace, folder: Run) -> History:
    """Train every layer on the codes of those below; with a classifier, print its accuracy before and after fine-tuning.

    The run folder is brought up to date after every stage, so an interruption loses at most the stage it falls into.
    """
    stages: list[tuple[str, History]] = []

    def keep(name: str, history: History) -> None:
        stages.append((name, history))
        folder.keep(model, whole_history(stages))

    common: dict[str, Any] = {
        "batch_size": options.batch_size,
        "clip_norm": options.clip_norm,
        "seed": options.seed,
        "optimizer": lambda parameters: make_optimizer(options, parameters),
        "schedule": lambda optimizer, epochs: make_schedule(options, optimizer, epochs),
    }
    try:
        fit_stack(
            model,
            data,
            epochs=options.epochs,
            after_layer=lambda number, history: keep(f"layer {number}", history),
            **common,
        )
        if model.classifier is None:
            print(f"{data.name} has no labels: nothing to train a classifier with, so the stack stays as it is")
            return whole_history(stages)
        before, (first, second) = fit_stack_classifier(
            model,
            data.train,
            data.test,
            epochs=(options.classifier_epochs, options.tuning_epochs),
            **common,
        )
    except TrainingInterrupted as stop:
        raise TrainingInterrupted(whole_history([*stages, ("interrupted", stop.history)])) from None
    keep("classifier", first)
    keep("tuning", second)
    assert data.test.y is not None
    print(
        "\nfine-tuning moves the encoders and leaves the decoders behind, so reconstructions are worse than before it; "
        "codes and accuracy are what a stack is for"
    )
    after = model.classifier.accuracy(data.test.x, data.test.y)
    print(
        f"\ntest accuracy of the classifier on the frozen codes: {before:.2%}; after fine-tuning the whole: {after:.2%}"
    )
    return whole_history(stages)
