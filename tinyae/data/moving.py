"""Moving digits: short films of images that move over a dark canvas and bounce off its edges.

Srivastava, Mansimov and Salakhutdinov (2015, arXiv:1502.04681) introduced them to test whether a recurrent
network can separate content from motion. The motion is deterministic, so a few frames determine the whole future. Films are
generated from a set of images and a seed; none are stored.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tinyae.checks import whole_number
from tinyae.data.arrays import Floats
from tinyae.data.dataset import Dataset, Split

Frames = npt.NDArray[np.float32]


def trajectories(count: int, frames: int, generator: np.random.Generator, *, step: float = 0.1) -> Floats:
    """Positions (count, frames, 2) in [0, 1]^2 of points that move in straight lines and bounce.

    The start is uniform in the square, the direction uniform; each frame moves by `step`. A point that would leave is put on
    the edge and its velocity normal to that edge changes sign, as in the authors' program.
    """
    position = generator.random((count, 2))
    angle = 2.0 * np.pi * generator.random(count)
    velocity = step * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    positions = np.empty((count, frames, 2))
    for frame in range(frames):
        position = position + velocity
        outside = (position <= 0.0) | (position >= 1.0)
        velocity = np.where(outside, -velocity, velocity)
        position = np.clip(position, 0.0, 1.0)
        positions[:, frame] = position
    return positions


def moving_frames(
    images: npt.NDArray[np.floating], which: npt.NDArray[np.integer], size: int, positions: Floats
) -> Frames:
    """Films (N, frames, size, size): image which[n, k] of images (M, h, w) at positions[n, k, frame], combined by maximum.

    `which`: (N, K), indices of the K images of each film. `positions`: (N, K, frames, 2), vertical and horizontal, as
    fractions of the free range (size - h, size - w).
    """
    height, width = images.shape[1:]
    corners = (positions * (size - height, size - width)).astype(np.int64)
    films = np.zeros((len(which), positions.shape[2], size, size), np.float32)
    for film, shown, paths in zip(films, which, corners, strict=True):
        for image, path in zip(images[shown], paths, strict=True):
            for frame, (y, x) in zip(film, path, strict=True):
                spot = frame[y : y + height, x : x + width]
                np.maximum(spot, image, out=spot)
    return films


def moving_digits(
    source: Dataset,
    counts: tuple[int, int] = (2000, 500),
    *,
    frames: int = 10,
    size: int = 32,
    digits: int = 1,
    digit_size: int | None = None,
    step: float = 0.1,
    horizon: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Films of the images of any gray image set, as sequences (N, frames, size * size) in [0, 1].

    Args:
        source: images (N, H, W, 1); training films show its training images, test films its test images.
        counts: number of training and test films.
        frames, size: of a film; a frame is `size` x `size` pixels.
        digits: number of images in one film.
        digit_size: pixels of the longer side of an image, resampled by area; None leaves the images unchanged.
        step: motion per frame, as a fraction of the free range. In the paper: 64 pixels, 2 digits, 20 frames, 0.1.
        horizon: number of frames to predict, at the end; None takes half of them.
        seed: the same seed gives the same films.

    With one digit a film has the class of its image. Raises ValueError for images that do not fit the canvas.
    """
    if source.image_shape is None or source.image_shape[2] != 1:
        raise ValueError(f"{source.name} has no gray images (N, H, W, 1): choose optdigits, fashion-mini or mnist.")
    sizes = {"frames": frames, "digits": digits, "counts": min(counts), "size": size, "digit_size": digit_size}
    for name, value in sizes.items():
        if value is not None:
            whole_number(name, value, at_least=1)
    if not 0 <= step <= 1:
        raise ValueError(
            f"step must be from 0 (no motion) to 1 (across the canvas in one frame), got {step}: write step=0.1."
        )
    future = frames // 2 if horizon is None else horizon
    if not 0 <= future < frames:
        raise ValueError(
            f"a horizon of {future} frames does not fit into films of {frames}: the model must see at least one frame."
        )
    generator = np.random.default_rng(seed)
    parts = []
    for split, count in zip((source.train, source.test), counts, strict=True):
        which = generator.integers(len(split), size=(count, digits))
        shown, numbers = np.unique(which, return_inverse=True)
        images = split.x[shown, ..., 0] if digit_size is None else resample(split.x[shown, ..., 0], digit_size)
        if max(images.shape[1:]) > size:
            raise ValueError(
                f"images of {images.shape[1]} x {images.shape[2]} do not fit a canvas of {size} x {size}: "
                "give a larger size, or a digit_size."
            )
        positions = trajectories(count * digits, frames, generator, step=step).reshape(count, digits, frames, 2)
        films = moving_frames(images, numbers.reshape(which.shape), size, positions)
        labels = split.y[which[:, 0]] if digits == 1 and split.y is not None else None
        parts.append(Split(films.reshape(count, frames, size * size), labels))
    train, test = parts
    return Dataset(
        f"moving-{source.name}", f"{source.title}, {digits} moving over {size} x {size} pixels", "sequences", train, test,
        source.class_names if digits == 1 else (), "gray levels", 1.0, source.source, source.license,
        f"generated from {source.name}, seed {seed}", f"{frames} frames, steps of {step:g} of the free range. {source.notes}",
        horizon=future, frame_shape=(size, size),
    )  # fmt: skip


def resample(images: npt.NDArray[np.floating], size: int) -> Frames:
    """Images (N, H, W) with `size` pixels along the longer side: each new pixel is the mean of the area it covers."""
    height, width = images.shape[1:]
    shrink = size / max(height, width)
    down, across = (_areas(old, max(1, round(old * shrink))) for old in (height, width))
    resampled: Frames = (down @ images @ across.T).astype(np.float32)
    return np.clip(resampled, 0.0, 1.0, out=resampled)


def _areas(old: int, new: int) -> Floats:
    """(new, old): the weight of each old pixel in each new one, along one axis. Rows sum to 1."""
    edges = np.arange(new + 1) * (old / new)
    low, high = edges[:-1, None], edges[1:, None]
    pixels = np.arange(old)
    overlap = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0.0, None)
    shares: Floats = overlap / overlap.sum(axis=1, keepdims=True)
    return shares
