"""The pictures of any autoencoder: what came out, how the loss fell, what the first layer looks for, where the codes lie."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset
from tinyae.models import Autoencoder, LSTMAutoencoder
from tinyae.nn import Conv2d, Dense, Module, Parameter
from tinyae.training.codes import codes_of
from tinyae.training.history import History
from tinyae.training.pictures.restored import Restored, draw_restored

_CURVES = ("loss", "validation_squared_error", "accuracy")
"""What the names of the columns end in that are drawn."""
_SCATTERED = 5000
"""Samples whose codes are drawn."""


def draw_common(model: Autoencoder, data: Dataset, history: History, folder: Path) -> list[Path]:
    """Draw everything that applies to this model and data set into `folder`; returns the files."""
    if model.capacity is not None:  # of test samples, or by their codes, it has nothing to show
        return [draw_curves(history, folder / "loss.png")] if len(history) else []
    files = []
    if data.frame_shape is None or not isinstance(model, LSTMAutoencoder):  # whose films have pictures of their own
        files.append(draw_reconstructions(model, data, folder / "reconstructions.png"))
    if len(history):
        files.append(draw_curves(history, folder / "loss.png"))
    found = None if data.image_shape is None else first_layer_filters(model, data.image_shape)
    if found is not None:
        files.append(plots.save_figure(plots.filters(*found, title="First-layer filters"), folder / "filters.png"))
    if data.has_labels:
        files.append(draw_codes(model, data, folder / "codes.png"))
    return files


def draw_reconstructions(model: Autoencoder, data: Dataset, path: Path, count: int = 10) -> Path:
    """Test samples beside their reconstructions, one per class where there are labels, with the squared error of
    each. Of a model that also predicts, the steps that it sees; of one that does nothing else, its predictions.
    """
    split = data.test.rows(one_per_class(data.test.y, len(data.test), count))
    restored = Restored.of(model, split)
    made = f"their {model.makes[0]}s"
    if data.frame_shape is not None:
        made = "what the model makes of them"
    elif len(model.makes) > 1:
        restored, made = restored.past(), f"{made}, as far as the model sees them"
    names = None if split.y is None else [class_name(data, int(label)) for label in split.y]
    noun = "image" if data.image_shape is not None else model.noun
    title = f"{data.name}: test {noun}s and {made}"
    return plots.save_figure(draw_restored(data, restored, labels=names, count=count, title=title), path)


def draw_curves(history: History, path: Path) -> Path:
    """Training and held-out losses by epoch, of every stage if there are several, one panel per unit."""
    metrics = [name for name in history.columns if name.endswith(_CURVES)]
    held_out = any(name.startswith("validation_") for name in metrics)
    title = "Loss by epoch" + (" (validation: the test samples)" if held_out else "")
    return plots.save_figure(plots.loss_curves(history.rows, units=history.units, metrics=metrics, title=title), path)


def draw_codes(model: Autoencoder, data: Dataset, path: Path) -> Path:
    """The codes of test samples coloured by class (principal components if a code has more than two numbers)."""
    split = data.test.rows(slice(0, _SCATTERED))
    codes = codes_of(model, split)
    title = f"{data.name}: codes of {len(codes):,} test {model.noun}s"
    return plots.save_figure(
        plots.code_scatter(codes.reshape(len(codes), -1), split.y, data.class_names or None, title=title), path
    )


def first_layer_filters(
    model: Autoencoder, image_shape: tuple[int, int, int]
) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """What the units of the encoder's first layer look for, (D, K), and the shape (H, W, C) of one of them.

    Whole images for a dense layer, windows for a convolution. None if the first layer with weights is neither, or has
    channels that are no colours.
    """
    layers = (module for _, module in model.encoder.named_modules() if _has_weights(module))
    layer = next(layers, None)
    if isinstance(layer, Dense) and layer.in_features == math.prod(image_shape):
        return layer.weight.numpy(), image_shape
    if isinstance(layer, Conv2d) and layer.groups == 1 and layer.in_channels in (1, 3):
        return layer.weight.numpy().reshape(-1, layer.out_channels), (*layer.kernel_size, layer.in_channels)
    return None


def _has_weights(module: Module) -> bool:
    """Whether it has parameters itself, and not just modules that have."""
    return any(isinstance(part, Parameter) for _, part in module.members())


def one_per_class(labels: np.ndarray | None, samples: int, count: int) -> np.ndarray:
    """The first sample of each class, filled up with the first samples; without labels just the first ones."""
    if labels is None:
        return np.arange(min(count, samples))
    firsts = np.unique(labels, return_index=True)[1][:count]
    others = np.setdiff1d(np.arange(min(samples, 2 * count)), firsts)[: count - len(firsts)]
    return np.concatenate([firsts, others])[: min(count, samples)]


def class_name(data: Dataset, label: int) -> str:
    """What a label number stands for; the number itself where nobody says."""
    return data.class_names[label] if label < len(data.class_names) else str(label)
