"""Pictures of a vector-quantised autoencoder: which vectors of the codebook it uses, and what codes from its prior become."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset
from tinyae.models import Autoencoder, VectorQuantizedAutoencoder

_SAMPLES = 64


def draw_vector_quantized(model: Autoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw `codebook.png`, and for images `samples.png`, into `folder`; returns the files. The prior is fitted to the
    training samples unless the model has one.
    """
    assert isinstance(model, VectorQuantizedAutoencoder)
    counts = np.bincount(model.indices(data.test.x).ravel(), minlength=model.codebook.size)
    figure = plots.usage_bars(counts, title=f"{data.name}: how often test {model.noun}s choose each vector")
    files = [plots.save_figure(figure, folder / "codebook.png")]
    if data.image_shape is not None:
        if model.prior is None:
            model.fit_prior(data.train.x)
        figure = plots.image_grid(
            model.sample(_SAMPLES, np.random.default_rng(0)),
            columns=8,
            title=f"{_SAMPLES} made-up {model.noun}s: codes drawn from a tree of pairs, decoded",
        )
        files.append(plots.save_figure(figure, folder / "samples.png"))
    return files
