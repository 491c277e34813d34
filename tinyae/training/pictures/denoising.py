"""Pictures of a denoising autoencoder: clean, damaged and repaired samples, at several levels of noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset
from tinyae.models import Autoencoder, DenoisingAutoencoder
from tinyae.nn import GaussianNoise, MaskingNoise, Noise, SaltAndPepperNoise
from tinyae.training.pictures.common import one_per_class

_FACTORS = (0.5, 1.0, 1.5)
"""Levels drawn, as multiples of the one that the model was trained with."""

_HIGHEST_RATE = 0.9


def draw_denoising(
    model: Autoencoder, data: Dataset, folder: Path, *, levels: Sequence[float] | None = None, count: int = 8
) -> list[Path]:
    """Draw `denoising.png` into `folder`: test images on top, then for each level of noise the damaged images and what
    the model makes of them, with the squared error of each.

    `levels`: rates or standard deviations; by default half, once and one and a half times that of the training. Draws
    nothing for data that are no images, or for a noise layer of another kind than those of `tinyae.nn`.
    """
    if not isinstance(model, DenoisingAutoencoder) or data.image_shape is None:
        return []
    noises = _noises(model.noise, levels)
    if not noises:
        return []
    clean = data.test.x[one_per_class(data.test.y, len(data.test), count)]
    rows, words = [clean], ["clean"] * len(clean)
    for noise in noises:
        noisy = noise.corrupt(clean, np.random.default_rng(0))
        for verb, images in (("damaged", noisy), ("repaired", model.reconstruct(noisy))):
            rows.append(images)
            words += [f"{verb} {error:.3g}" for error in _errors(images, clean)]
    figure = plots.image_grid(
        np.concatenate(rows),
        columns=len(clean),
        titles=words,
        value_range=(min(0.0, float(clean.min())), max(1.0, float(clean.max()))),
        title=(
            f"{data.name}: test images; then, in pairs, damaged by {', '.join(map(repr, noises))}, and repaired. "
            "The numbers are squared errors per image."
        ),
    )
    return [plots.save_figure(figure, folder / "denoising.png")]


def _noises(noise: Noise, levels: Sequence[float] | None) -> list[Noise]:
    """A layer of the kind of `noise` for each level."""
    if isinstance(noise, GaussianNoise):
        return [GaussianNoise(level) for level in levels or _around(noise.std)]
    if isinstance(noise, MaskingNoise):
        return [MaskingNoise(level) for level in levels or _around(noise.rate, _HIGHEST_RATE)]
    if isinstance(noise, SaltAndPepperNoise):
        rates = levels or _around(noise.rate, _HIGHEST_RATE)
        return [SaltAndPepperNoise(level, noise.low, noise.high) for level in rates]
    return []


def _around(level: float, highest: float = math.inf) -> list[float]:
    """Levels below, at and above the one of the training, each once."""
    return sorted({round(min(level * factor, highest), 4) for factor in _FACTORS})


def _errors(x: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The squared error of each image, (N,)."""
    return np.square(x - clean).reshape(len(clean), -1).sum(axis=1)
