"""The pictures a run leaves. Every model gets the common ones; a kind of model with more to show has a row in SPECIAL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tinyae.data import Dataset
from tinyae.models import (
    Autoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    ImageMemory,
    LSTMAutoencoder,
    StackedAutoencoder,
    VariationalAutoencoder,
    VectorQuantizedAutoencoder,
)
from tinyae.training.history import History
from tinyae.training.pictures.common import (
    draw_codes,
    draw_common,
    draw_curves,
    draw_reconstructions,
    first_layer_filters,
)
from tinyae.training.pictures.contractive import draw_contractive
from tinyae.training.pictures.denoising import draw_denoising
from tinyae.training.pictures.features import draw_features, image_maps
from tinyae.training.pictures.memory import draw_between, draw_memory
from tinyae.training.pictures.neighbours import draw_neighbours
from tinyae.training.pictures.restored import Restored, draw_restored
from tinyae.training.pictures.sequences import (
    draw_films,
    draw_gradients,
    draw_predictions,
    draw_sequences,
    draw_strokes,
)
from tinyae.training.pictures.stacked import draw_stacked
from tinyae.training.pictures.variational import draw_manifold, draw_samples, draw_variational
from tinyae.training.pictures.vq import draw_vector_quantized

__all__ = [
    "SPECIAL",
    "Restored",
    "draw_between",
    "draw_codes",
    "draw_common",
    "draw_contractive",
    "draw_curves",
    "draw_denoising",
    "draw_features",
    "draw_films",
    "draw_gradients",
    "draw_manifold",
    "draw_memory",
    "draw_neighbours",
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

SPECIAL: tuple[tuple[type[Autoencoder], Callable[[Autoencoder, Dataset, Path], list[Path]]], ...] = (
    (ContractiveAutoencoder, draw_contractive),
    (DenoisingAutoencoder, draw_denoising),
    (ImageMemory, draw_memory),
    (LSTMAutoencoder, draw_sequences),
    (StackedAutoencoder, draw_stacked),
    (VariationalAutoencoder, draw_variational),
    (VectorQuantizedAutoencoder, draw_vector_quantized),
)
"""(class of model, function that draws what only this class has to show into a folder and returns the files)."""


def draw_run(model: Autoencoder, data: Dataset, history: History, folder: Path) -> list[Path]:
    """Draw everything that applies to this model and data set into `folder`; returns the files.

    Of images with neither one channel nor three, which no screen shows, the loss curves alone.
    """
    if data.image_shape is not None and data.image_shape[2] not in (1, 3):
        return [draw_curves(history, folder / "loss.png")] if len(history) else []
    files = draw_common(model, data, history, folder)
    for kind, draw in SPECIAL:
        if isinstance(model, kind):
            files += draw(model, data, folder)
    return files
