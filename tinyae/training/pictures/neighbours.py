"""A picture of retrieval: test samples, each with the training samples whose codes are nearest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset
from tinyae.models import Autoencoder
from tinyae.training.pictures.common import class_name, one_per_class


def draw_neighbours(model: Autoencoder, data: Dataset, indices: np.ndarray, path: Path, count: int = 10) -> Path:
    """One row per query: the query, then its neighbours. `indices` (M, neighbours) into the training samples."""
    if data.image_shape is None:
        raise ValueError(f"{data.name} holds no images: neighbours are drawn for images only.")
    labels = None if data.test.y is None else data.test.y[: len(indices)]
    chosen = one_per_class(labels, len(indices), count)
    rows = [np.concatenate([data.test.x[i : i + 1], data.train.x[indices[i]]]) for i in chosen]
    words = None
    if data.train.y is not None and data.test.y is not None:
        words = [class_name(data, int(y)) for i in chosen for y in (data.test.y[i], *data.train.y[indices[i]])]
    figure = plots.image_grid(
        np.concatenate(rows),
        columns=1 + indices.shape[1],
        titles=words,
        title=f"{data.name}: test images (first column) and the training images with the nearest codes",
    )
    return plots.save_figure(figure, path)
