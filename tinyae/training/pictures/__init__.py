"""The pictures of a run: the common ones for every model, and more for the kinds of models in SPECIAL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyae.data import Dataset
from tinyae.models import (
    Autoencoder,
    ConditionalVariationalAutoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    ImageMemory,
    LSTMAutoencoder,
    StackedAutoencoder,
    VariationalAutoencoder,
    VectorQuantizedAutoencoder,
)
from tinyae.training.pictures.common import (
    Restored,
    class_name,
    draw_codes,
    draw_common,
    draw_curves,
    draw_reconstructions,
    draw_restored,
    first_layer_filters,
)
from tinyae.training.pictures.models import (
    draw_between,
    draw_conditional,
    draw_contractive,
    draw_denoising,
    draw_features,
    draw_films,
    draw_gradients,
    draw_manifold,
    draw_memory,
    draw_neighbors,
    draw_predictions,
    draw_samples,
    draw_sequences,
    draw_stacked,
    draw_strokes,
    draw_variational,
    draw_vector_quantized,
    image_maps,
)
from tinyae.training.state import History

__all__ = [
    "SPECIAL",
    "Restored",
    "class_name",
    "draw_between",
    "draw_codes",
    "draw_common",
    "draw_conditional",
    "draw_contractive",
    "draw_curves",
    "draw_denoising",
    "draw_features",
    "draw_films",
    "draw_gradients",
    "draw_manifold",
    "draw_memory",
    "draw_neighbors",
    "draw_predictions",
    "draw_reconstructions",
    "draw_restored",
    "draw_run",
    "draw_samples",
    "draw_sequences",
    "draw_stacked",
    "draw_strokes",
    "draw_variational",
    "draw_vector_quantized",
    "first_layer_filters",
    "image_maps",
]

SPECIAL: tuple[tuple[type[Autoencoder], Callable[[Any, Dataset, Path], list[Path]]], ...] = (
    (ContractiveAutoencoder, draw_contractive),
    (DenoisingAutoencoder, draw_denoising),
    (ImageMemory, draw_memory),
    (LSTMAutoencoder, draw_sequences),
    (StackedAutoencoder, draw_stacked),
    (VariationalAutoencoder, draw_variational),
    (ConditionalVariationalAutoencoder, draw_conditional),
    (VectorQuantizedAutoencoder, draw_vector_quantized),
)
"""(class of model, function that draws the pictures of this class into a folder and returns the files)."""


def draw_run(model: Autoencoder, data: Dataset, history: History, folder: Path) -> list[Path]:
    """Draw everything that applies to this model and data set into `folder`; returns the files.

    For images with neither one nor three channels, which cannot be displayed, only the loss curves.
    """
    if data.image_shape is not None and data.image_shape[2] not in (1, 3):
        return [draw_curves(history, folder / "loss.png")] if len(history) else []
    files = draw_common(model, data, history, folder)
    if data.frame_shape is not None and len(data.test):
        files += draw_films(model, data, folder)
    for kind, draw in SPECIAL:
        if isinstance(model, kind):
            files += draw(model, data, folder)
    return files
