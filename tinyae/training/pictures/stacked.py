"""Pictures of a stack: what the units of each layer look for, and which classes its classifier mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset
from tinyae.models import Autoencoder, StackedAutoencoder
from tinyae.nn import Dense
from tinyae.training.pictures.confusion import draw_confusion


def draw_stacked(model: Autoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Filters of the layers above the first, and the confusion matrix where there is a classifier."""
    assert isinstance(model, StackedAutoencoder)
    files = []
    if data.image_shape is not None:
        for number, weights in enumerate(projected_filters(model)[1:], start=2):
            figure = plots.filters(
                weights,
                data.image_shape,
                title=f"Layer {number}: its units' weights, as mixtures of the filters below",
            )
            files.append(plots.save_figure(figure, folder / f"filters{number}.png"))
    if model.classifier is not None:
        predicted, classes = model.classifier.predict(data.test.x), model.classifier.classes
        title = f"what test {model.noun}s are taken for"
        files += draw_confusion(data, predicted, classes, folder / "confusion.png", title=title)
    return files


def projected_filters(model: StackedAutoencoder) -> list[np.ndarray]:
    """For each layer, weights (D, K) from the samples to its units.

    A unit of a higher layer weighs the units below, not pixels. Leaving out the non-linearities between, its weights on
    the pixels are the product of the matrices, W1 W2 ... Wl: a mixture of the filters below (Lee et al. 2008).
    """
    found: list[np.ndarray] = []
    for layer in model.layers:
        weights = next(m.weight.numpy() for _, m in layer.encoder.named_modules() if isinstance(m, Dense))
        found.append(found[-1] @ weights if found else weights)
    return found
