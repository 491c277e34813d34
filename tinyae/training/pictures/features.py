"""A picture of what one layer makes of one test image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset, Split
from tinyae.models import Autoencoder
from tinyae.nn import layer_outputs
from tinyae.training.pictures.common import class_name


def image_maps(model: Autoencoder, split: Split, index: int) -> dict[str, np.ndarray]:
    """The maps (H, W, K) that each layer makes of one image, by the layer's name, in the order of calls."""
    labels = None if split.y is None else split.y[index : index + 1]
    outputs = layer_outputs(model, model.inputs_for(split.x[index : index + 1], labels))
    return {name: value[0] for name, value in outputs.items() if value.ndim == 4}


def draw_features(
    model: Autoencoder, data: Dataset, path: Path, layer: str | None = None, index: int = 0, split: str = "test"
) -> Path:
    """Draw the maps of one layer for image number `index` of a split, beside the image.

    `layer` is a dotted name as in `model.summary`; None takes the first layer that makes maps.

    Raises:
        ValueError: no such image or layer, or a model without maps; says which there are.
    """
    images: Split = getattr(data, split)
    if data.image_shape is None or not 0 <= index < len(images):
        there = f"{len(images):,} {split} images, from 0" if data.image_shape is not None else "no images"
        raise ValueError(f"there is no image {index}: {data.name} has {there}.")
    maps = image_maps(model, images, index)
    chosen = next(iter(maps), "") if layer is None else layer
    if chosen not in maps:
        known = ", ".join(f"{name} {value.shape}" for name, value in maps.items()) or "none"
        raise ValueError(f"layer {chosen!r} makes no maps (H, W, K) of an image; those that do: {known}.")
    kind = type(dict(model.named_modules())[chosen]).__name__
    word = "" if images.y is None else f" ({class_name(data, int(images.y[index]))})"
    title = f"{data.name}: what {chosen} ({kind}) makes of {split} image {index}{word}"
    return plots.save_figure(plots.feature_maps(maps[chosen], images.x[index], title=title), path)
