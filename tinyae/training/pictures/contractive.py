"""The picture of a contractive autoencoder: which changes of a sample its code still follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset
from tinyae.models import Autoencoder, ContractiveAutoencoder
from tinyae.training.pictures.common import one_per_class


def draw_contractive(
    model: Autoencoder, data: Dataset, folder: Path, *, images: int = 6, directions: int = 8
) -> list[Path]:
    """Draw `tangents.png` into `folder`: test images, each with the directions that move its code most.

    They are the leading right singular vectors of the encoder's Jacobian at the image, and the singular values say how far
    the code moves for a step of length 1 (Rifai, Dauphin, Vincent, Bengio and Muller 2011). Draws nothing for data that
    are no images.
    """
    if not isinstance(model, ContractiveAutoencoder) or data.image_shape is None:
        return []
    x = data.test.x[one_per_class(data.test.y, len(data.test), images)]
    jacobian = model.jacobian_at(x)
    _, strengths, tangents = np.linalg.svd(jacobian.reshape(len(x), jacobian.shape[1], -1), full_matrices=False)
    shown = min(directions, strengths.shape[1])
    figure = plots.directions(
        x,
        tangents[:, :shown],
        strengths[:, :shown],
        word="how far the code moves for a step of length 1 that way",
        title=f"{data.name}: test images, and the directions in which their codes move most",
    )
    return [plots.save_figure(figure, folder / "tangents.png")]
