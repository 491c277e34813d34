"""Which classes of the test samples are taken for which."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset
from tinyae.models import confusion_matrix
from tinyae.plots.confusion import MOST_CLASSES


def draw_confusion(data: Dataset, predicted: np.ndarray, classes: int, path: Path, *, title: str) -> list[Path]:
    """The confusion matrix of the test samples and their `predicted` class numbers (N,) as a picture.

    Nothing where there are no labels, or more classes than a picture has room for.
    """
    if data.test.y is None or classes > MOST_CLASSES:
        return []
    figure = plots.confusion(
        confusion_matrix(data.test.y, predicted, classes), data.class_names or None, title=f"{data.name}: {title}"
    )
    return [plots.save_figure(figure, path)]
