"""Pictures of a model of sequences: strokes, films and continuations, and how far back in time the gradient reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset, Split
from tinyae.models import Autoencoder, LSTMAutoencoder, gradient_per_step, split_future
from tinyae.training.pictures.common import class_name, one_per_class
from tinyae.training.pictures.restored import Restored, common_border, film_rows, names_of

_GRADIENTS = 256
"""Test sequences whose gradients are drawn."""


def draw_sequences(model: Autoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw into `folder` what applies: `film.png` and `film.gif` where steps are images, `strokes.png` where they are
    points, `predictions.png` where the model foresees numbers, and `gradients.png`; returns the files.
    """
    if not isinstance(model, LSTMAutoencoder):
        return []
    files = []
    if data.frame_shape is not None:
        files += draw_films(model, data, folder)
    elif model.predictor is not None:
        files.append(draw_predictions(model, data, folder / "predictions.png"))
    if data.kind == "sequences" and data.example_shape[1] == 2:
        files.append(draw_strokes(model, data, folder / "strokes.png"))
    files.append(draw_gradients(model, data, folder / "gradients.png"))
    return files


def draw_strokes(model: LSTMAutoencoder, data: Dataset, path: Path, count: int = 20) -> Path:
    """Test sequences of points in the plane, each with its reconstruction, and its prediction, upon it."""
    split = data.test.rows(_spread(data.test.y, len(data.test), count))
    restored = Restored.of(model, split)
    figure = plots.pen_strokes(
        split.x,
        restored.made,
        lengths=split.lengths,
        labels=_names(data, split),
        errors=restored.errors,
        seen=restored.seen,
        count=count,
        title=f"{data.name}: test strokes and what the model makes of them",
    )
    return plots.save_figure(figure, path)


def draw_predictions(model: LSTMAutoencoder, data: Dataset, path: Path, count: int = 8) -> Path:
    """Test sequences over time: what was seen, reconstructed where the model does that, and what followed, predicted.

    Of unequal lengths the commonest: on one axis the future begins at one step.
    """
    test, numbers = data.test, np.arange(len(data.test))
    if test.lengths is not None:
        steps = _commonest(test.lengths)
        numbers = np.flatnonzero(test.lengths == steps)
        test = Split(test.x[:, :steps], test.y)
    labels = None if test.y is None else test.y[numbers]
    numbers = numbers[_spread(labels, len(numbers), count)]
    split = test.rows(numbers)
    seen, _, future = split_future(split.x, model.future_steps)
    figure = plots.predictions(
        seen,
        future,
        model.predict(seen),
        reconstructed=model.reconstruct(seen) if "reconstruction" in model.makes else None,
        labels=_names(data, split) or _stamps(data, numbers),
        feature_names=names_of(data),
        count=count,
        value_name=data.value_name,
        title=f"{data.name}: test {model.noun}s and their continuation",
    )
    return plots.save_figure(figure, path)


def draw_films(model: LSTMAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Test films as strips and as a moving picture, each above what the model makes of it."""
    restored = Restored.of(model, data.test.rows(_spread(data.test.y, len(data.test), 6)))
    rows, seen = film_rows(data, restored), common_border(restored)
    title = f"{data.name}: test films and what the model makes of them"
    strips = plots.frame_strips(rows, seen=seen, title=title)
    return [
        plots.save_figure(strips, folder / "film.png"),
        plots.save_film(rows, folder / "film.gif", seen=seen, title=title),
    ]


def draw_gradients(model: Autoencoder, data: Dataset, path: Path) -> Path:
    """How much of the gradient of the loss, and of the code, arrives at each step that the encoder sees."""
    split = data.test.rows(slice(0, _GRADIENTS))
    norms = {
        "of the loss": gradient_per_step(model, split.x, **split.known),
        "of the code": gradient_per_step(model, split.x, of="code", **split.known),
    }
    figure = plots.step_norms(
        norms,
        unit="root mean square of the gradient's norm",
        note=f"From {len(split):,} test {model.noun}s, with respect to the input at each step.",
        title=f"{data.name}: what of the gradient arrives at each step",
    )
    return plots.save_figure(figure, path)


def _spread(labels: np.ndarray | None, samples: int, count: int) -> np.ndarray:
    """One sample of each class, then others; without classes, samples at equal distances."""
    if labels is None:
        return np.unique(np.linspace(0, samples - 1, min(count, samples)).astype(int))
    return one_per_class(labels, samples, count)


def _names(data: Dataset, split: Split) -> list[str] | None:
    return None if split.y is None else [class_name(data, int(label)) for label in split.y]


def _stamps(data: Dataset, numbers: np.ndarray) -> list[str] | None:
    """When the test windows of these numbers begin."""
    if data.timeline is None:
        return None
    return [data.timeline.stamp(len(data.train) + int(number)) for number in numbers]


def _commonest(lengths: np.ndarray) -> int:
    """The length of most sequences; of several, the longest."""
    found, counts = np.unique(lengths, return_counts=True)
    return int(found[counts == counts.max()].max())
