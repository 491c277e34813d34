"""Pictures of a memory: what it was given and what it gives back, and what lies between two memories."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset
from tinyae.models import Autoencoder, ImageMemory
from tinyae.training.pictures.common import class_name, one_per_class
from tinyae.training.pictures.restored import Restored, draw_restored

_STEPS = 9


def draw_memory(model: Autoencoder, data: Dataset, folder: Path, *, count: int = 10) -> list[Path]:
    """Draw `recalled.png`, and `between.png` for a memory of several images, into `folder`; returns the files.

    The training samples of `data` are those the memory holds, in the order of their numbers.
    """
    if not isinstance(model, ImageMemory):
        return []
    labels = None if data.train.y is None else data.train.y[: model.count]
    numbers = one_per_class(labels, min(len(data.train), model.count), count)
    originals, recalled = data.train.x[numbers], model.recall(numbers)
    names = None if data.train.y is None else [class_name(data, int(y)) for y in data.train.y[numbers]]
    title = f"{data.name}: {len(numbers)} of {model.count} {model.noun}s as given, and as recalled"
    figure = draw_restored(data, Restored(originals, recalled), labels=names, count=count, title=title)
    files = [plots.save_figure(figure, folder / "recalled.png")]
    if data.image_shape is not None and len(numbers) > 1:
        files.append(draw_between(model, list(pairwise(numbers))[:6], folder / "between.png"))
    return files


def draw_between(memory: ImageMemory, pairs: list[tuple[int, int]], path: Path, steps: int = _STEPS) -> Path:
    """One row per pair of numbers: the memory's output for codes on the straight line from one to the other."""
    rows = [memory.interpolate(int(a), int(b), steps) for a, b in pairs]
    figure = plots.image_grid(
        np.concatenate(rows),
        columns=steps,
        title=f"From one memory (left) to another (right): {memory.codes} codes on the straight line between theirs",
    )
    return plots.save_figure(figure, path)
