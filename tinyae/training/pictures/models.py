"""The pictures that only one kind of model, or one command, has to show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tinyae import plots
from tinyae.data import Dataset, Split
from tinyae.models import (
    Autoencoder,
    ConditionalVariationalAutoencoder,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    ImageMemory,
    LatentReport,
    LSTMAutoencoder,
    StackedAutoencoder,
    VariationalAutoencoder,
    VectorQuantizedAutoencoder,
    confusion_matrix,
    gradient_per_step,
    interpolate,
    latent_grid,
    normal_quantiles,
    split_future,
)
from tinyae.nn import Dense, GaussianNoise, MaskingNoise, Noise, SaltAndPepperNoise, layer_outputs
from tinyae.plots.codes import MOST_CONFUSED
from tinyae.training.pictures.common import (
    Restored,
    class_name,
    common_border,
    draw_restored,
    film_rows,
    names_of,
    one_per_class,
)

# ---------------------------------------------------------------------------------------------------------------------
# A picture of what one layer makes of one test image.


def image_maps(model: Autoencoder, split: Split, index: int) -> dict[str, np.ndarray]:
    """The maps (H, W, K) that each layer makes of one image, by the layer's name, in the order of calls."""
    outputs = layer_outputs(model, model.batch(split.rows(slice(index, index + 1))).x)
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


# ---------------------------------------------------------------------------------------------------------------------
# A picture of retrieval: test samples, each with the training samples whose codes are nearest.


def draw_neighbors(model: Autoencoder, data: Dataset, indices: np.ndarray, path: Path, count: int = 10) -> Path:
    """One row per query: the query, then its neighbors. `indices` (M, neighbors) into the training samples."""
    if data.image_shape is None:
        raise ValueError(f"{data.name} holds no images: neighbors are drawn for images only.")
    labels = None if data.test.y is None else data.test.y[: len(indices)]
    chosen = one_per_class(labels, len(indices), count)
    rows = [np.concatenate([data.test.x[i : i + 1], data.train.x[indices[i]]]) for i in chosen]
    words = None
    if data.train.y is not None and data.test.y is not None:
        words = [class_name(data, int(y)) for i in chosen for y in (data.test.y[i], *data.train.y[indices[i]])]
    figure = plots.image_grid(
        np.concatenate(rows),
        columns=1 + indices.shape[1],
        titles=words,
        title=f"{data.name}: test images (first column) and the training images with the nearest codes",
    )
    return plots.save_figure(figure, path)


# ---------------------------------------------------------------------------------------------------------------------
# Which classes of the test samples are taken for which.


def draw_confusion(data: Dataset, predicted: np.ndarray, classes: int, path: Path, *, title: str) -> list[Path]:
    """The confusion matrix of the test samples and their `predicted` class numbers (N,) as a picture.

    Nothing where there are no labels, or more classes than a picture has room for.
    """
    if data.test.y is None or classes > MOST_CONFUSED:
        return []
    figure = plots.confusion(
        confusion_matrix(data.test.y, predicted, classes), data.class_names or None, title=f"{data.name}: {title}"
    )
    return [plots.save_figure(figure, path)]


# ---------------------------------------------------------------------------------------------------------------------
# Pictures of a memory: what it was given and what it gives back, and what lies between two memories.

_MEMORY_STEPS = 9


def draw_memory(model: ImageMemory, data: Dataset, folder: Path, *, count: int = 10) -> list[Path]:
    """Draw `recalled.png`, and `between.png` for a memory of several images, into `folder`; returns the files.

    The training samples of `data` are those the memory holds, in the order of their numbers.
    """
    labels = None if data.train.y is None else data.train.y[: model.count]
    numbers = one_per_class(labels, min(len(data.train), model.count), count)
    originals, recalled = data.train.x[numbers], model.recall(numbers)
    names = None if data.train.y is None else [class_name(data, int(y)) for y in data.train.y[numbers]]
    title = f"{data.name}: {len(numbers)} of {model.count} {model.sample_name}s as given, and as recalled"
    figure = draw_restored(data, Restored(originals, recalled), labels=names, count=count, title=title)
    files = [plots.save_figure(figure, folder / "recalled.png")]
    if data.image_shape is not None and len(numbers) > 1:
        files.append(draw_between(model, list(pairwise(numbers))[:6], folder / "between.png"))
    return files


def draw_between(memory: ImageMemory, pairs: list[tuple[int, int]], path: Path, steps: int = _MEMORY_STEPS) -> Path:
    """One row per pair of numbers: the memory's output for codes on the straight line from one to the other."""
    ends = [memory.encode(np.array(pair)) for pair in pairs]
    rows = [memory.decode(interpolate(first, second, steps)) for first, second in ends]
    figure = plots.image_grid(
        np.concatenate(rows),
        columns=steps,
        title=f"From one memory (left) to another (right): {memory.codes} codes on the straight line between theirs",
    )
    return plots.save_figure(figure, path)


# ---------------------------------------------------------------------------------------------------------------------
# Pictures of a denoising autoencoder: clean, damaged and repaired samples, at several levels of noise.

_NOISE_FACTORS = (0.5, 1.0, 1.5)
"""Levels drawn, as multiples of the one that the model was trained with."""

_HIGHEST_RATE = 0.9


def draw_denoising(
    model: DenoisingAutoencoder, data: Dataset, folder: Path, *, levels: Sequence[float] | None = None, count: int = 8
) -> list[Path]:
    """Draw `denoising.png` into `folder`: test images on top, then for each level of noise the damaged images and what
    the model makes of them, with the squared error of each.

    `levels`: rates or standard deviations; by default half, once and one and a half times that of the training. Draws
    nothing for data that are not images, or for a noise layer of another kind than those of `tinyae.nn`.
    """
    if data.image_shape is None:
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
    return sorted({round(min(level * factor, highest), 4) for factor in _NOISE_FACTORS})


def _errors(x: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """The squared error of each image, (N,)."""
    return np.square(x - clean).reshape(len(clean), -1).sum(axis=1)


# ---------------------------------------------------------------------------------------------------------------------
# The picture of a contractive autoencoder: which changes of a sample its code still follows.


def draw_contractive(
    model: ContractiveAutoencoder, data: Dataset, folder: Path, *, images: int = 6, directions: int = 8
) -> list[Path]:
    """Draw `tangents.png` into `folder`: test images, each with the directions that move its code most.

    They are the leading right singular vectors of the encoder's Jacobian at the image, and the singular values say how far
    the code moves for a step of length 1 (Rifai, Dauphin, Vincent, Bengio and Muller 2011). Draws nothing for data that
    are not images.
    """
    if data.image_shape is None:
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


# ---------------------------------------------------------------------------------------------------------------------
# Pictures of a stack: what the units of each layer look for, and which classes its classifier mistakes.


def draw_stacked(model: StackedAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Filters of the layers above the first, and the confusion matrix where there is a classifier."""
    files = []
    if data.image_shape is not None:
        for number, weights in enumerate(projected_filters(model)[1:], start=2):
            figure = plots.filters(
                weights,
                data.image_shape,
                title=f"Layer {number}: its units' weights, as mixtures of the filters below",
            )
            files.append(plots.save_figure(figure, folder / f"filters{number}.png"))
    if model.classifier is not None:
        predicted, classes = model.classifier.predict(data.test.x), model.classifier.classes
        title = f"what test {model.sample_name}s are taken for"
        files += draw_confusion(data, predicted, classes, folder / "confusion.png", title=title)
    return files


def projected_filters(model: StackedAutoencoder) -> list[np.ndarray]:
    """For each layer, weights (D, K) from the samples to its units.

    A unit of a higher layer weighs the units below, not pixels. Leaving out the non-linearities between, its weights on
    the pixels are the product of the matrices, W1 W2 ... Wl: a mixture of the filters below (Lee et al. 2008).
    """
    found: list[np.ndarray] = []
    for layer in model.layers:
        weights = next(m.weight.numpy() for _, m in layer.encoder.named_modules() if isinstance(m, Dense))
        found.append(found[-1] @ weights if found else weights)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Pictures of a variational autoencoder: what it generates, what lies between two samples, and how its code is used.

_SAMPLES = 64
_BETWEEN_CODES = 10
_MOST_POSTERIORS = 5000
"""Test samples whose posteriors are drawn."""


def draw_variational(model: VariationalAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw samples, interpolations, the KL of each latent dimension, the aggregate posterior, and for a code of two numbers
    the manifold into `folder`; returns the files.
    """
    files = draw_codes_in_use(model, data, folder)
    if data.image_shape is None:
        return files
    files += [
        draw_samples(model, folder / "samples.png"),
        draw_between_codes(model, data, folder / "interpolation.png"),
    ]
    if model.code_size == 2:
        files.append(draw_manifold(model, folder / "manifold.png"))
    return files


def draw_conditional(model: ConditionalVariationalAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw test samples decoded as every class into `folder`; returns the files."""
    return [] if data.image_shape is None else [draw_restyled(model, data, folder / "restyled.png")]


def draw_samples(model: VariationalAutoencoder, path: Path, count: int = _SAMPLES, seed: int = 0) -> Path:
    """What the decoder makes of codes drawn from the prior; of a conditional model each column is a class."""
    columns, words = 8, ""
    if model.classes is not None:
        columns, words = model.classes, ", a column for each class"
    count = -(-count // columns) * columns
    figure = plots.image_grid(
        model.sample(count, np.random.default_rng(seed)),
        columns=columns,
        title=f"{count} generated {model.sample_name}s: E[x|z] for codes z drawn from N(0, I){words}",
    )
    return plots.save_figure(figure, path)


def draw_manifold(model: Any, path: Path, n: int = 20) -> Path:
    """The decoder's output over the plane of codes, each cell of which has the same probability; a conditional model's for
    class 0.
    """
    codes, what = latent_grid(n, model.code_size), "E[x|z]"
    if model.classes is not None:
        codes, what = (
            np.concatenate([codes, model.one_hot(np.zeros(len(codes), int), codes)], axis=1),
            "E[x|z, class 0]",
        )
    figure = plots.code_plane(
        model.decode(codes),
        normal_quantiles(n),
        names=("latent dimension 0", "latent dimension 1"),
        title=f"The plane of codes: {what} at {n} x {n} quantiles of N(0, 1)",
    )
    return plots.save_figure(figure, path)


def draw_restyled(model: ConditionalVariationalAutoencoder, data: Dataset, path: Path, rows: int = 8) -> Path:
    """One row per test sample: the sample, then its code decoded as every class."""
    assert data.test.y is not None
    x, labels = data.test.x[:rows], data.test.y[:rows]
    made = np.concatenate([x[:, None], model.restyle(x, labels)], axis=1)
    figure = plots.image_grid(
        made.reshape(-1, *x.shape[1:]),
        columns=1 + model.classes,
        title=f"{data.name}: test {model.sample_name}s (first column), and the code of each decoded as every class",
    )
    return plots.save_figure(figure, path)


def draw_between_codes(model: VariationalAutoencoder, data: Dataset, path: Path, rows: int = 5) -> Path:
    """One row per pair of test samples of different classes: the way from one code (and class, if it is told) to the other."""
    chosen = one_per_class(data.test.y, len(data.test), 2 * rows)
    q = model.posterior(model.batch(data.test.rows(chosen)))
    codes = q.given(q.mean)
    strips = [model.decode(interpolate(a, b, _BETWEEN_CODES)) for a, b in zip(codes[::2], codes[1::2], strict=False)]
    pairs = list(zip(chosen[::2], chosen[1::2], strict=False))
    ends = [(data.test.x[a : a + 1], data.test.x[b : b + 1]) for a, b in pairs]
    images = np.concatenate(
        [part for strip, (a, b) in zip(strips, ends, strict=True) for part in (a, strip, b)]
        if strips
        else [data.test.x[:1]]
    )
    figure = plots.image_grid(
        images,
        columns=_BETWEEN_CODES + 2,
        title=f"{data.name}: from one test {model.sample_name} (far left) to another (far right) on the line between their codes",
    )
    return plots.save_figure(figure, path)


def draw_codes_in_use(model: VariationalAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """`kl.png`, the cost of each latent dimension, and `aggregate_posterior.png`."""
    posterior = model.posterior(model.batch(data.test.rows(slice(0, _MOST_POSTERIORS))))
    report = LatentReport.of(posterior, model.sample_name)
    bars = plots.kl_bars(
        report.kl,
        report.in_use,
        unit=f"nats per {model.sample_name}",
        title=f"{data.name}: KL of each latent dimension",
    )
    density = plots.aggregate_posterior(
        posterior.mean,
        posterior.log_variance,
        kl=report.kl,
        title=f"{data.name}: codes of the test {model.sample_name}s",
    )
    return [
        plots.save_figure(bars, folder / "kl.png"),
        plots.save_figure(density, folder / "aggregate_posterior.png"),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Pictures of a vector-quantized autoencoder: which vectors of the codebook it uses, and what codes from its prior become.


def draw_vector_quantized(model: VectorQuantizedAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw `codebook.png`, and for images `samples.png`, into `folder`; returns the files. The prior is fitted to the
    training samples unless the model has one.
    """
    counts = np.bincount(model.indices(data.test.x).ravel(), minlength=model.codebook.size)
    figure = plots.usage_bars(counts, title=f"{data.name}: how often test {model.sample_name}s choose each vector")
    files = [plots.save_figure(figure, folder / "codebook.png")]
    if data.image_shape is not None:
        if model.prior is None:
            model.fit_prior(data.train.x)
        figure = plots.image_grid(
            model.sample(_SAMPLES, np.random.default_rng(0)),
            columns=8,
            title=f"{_SAMPLES} generated {model.sample_name}s: codes drawn from a tree of pairs, decoded",
        )
        files.append(plots.save_figure(figure, folder / "samples.png"))
    return files


# ---------------------------------------------------------------------------------------------------------------------
# Pictures of a model of sequences: strokes, films and continuations, and how far back in time the gradient reaches.

_GRADIENTS = 256
"""Test sequences whose gradients are drawn."""


def draw_sequences(model: LSTMAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw into `folder` what applies: `strokes.png` where steps are points, `predictions.png` where the model predicts
    numbers, and `gradients.png`; returns the files.
    """
    files = []
    if data.frame_shape is None and model.predictor is not None:
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
        labels=_class_names(data, split),
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
    predicted = model.predict(seen)
    first = np.full_like(seen, np.nan) if model.mode == "predict" else model.reconstruct(seen)
    figure = plots.vector_reconstructions(
        split.x,
        np.concatenate([first, predicted], axis=1),
        seen=seen.shape[1],
        errors=np.square(predicted - future).sum(axis=(1, 2)),
        error_unit="squared error of the prediction",
        labels=_class_names(data, split) or _stamps(data, numbers),
        feature_names=names_of(data),
        count=count,
        value_name=data.value_name,
        title=f"{data.name}: test {model.sample_name}s and their continuation",
    )
    return plots.save_figure(figure, path)


def draw_films(model: Autoencoder, data: Dataset, folder: Path) -> list[Path]:
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
        "of the loss": gradient_per_step(model, split),
        "of the code": gradient_per_step(model, split, of="code"),
    }
    figure = plots.step_norms(
        norms,
        unit="root mean square of the gradient's norm",
        note=f"From {len(split):,} test {model.sample_name}s, with respect to the input at each step.",
        title=f"{data.name}: what of the gradient arrives at each step",
    )
    return plots.save_figure(figure, path)


def _spread(labels: np.ndarray | None, samples: int, count: int) -> np.ndarray:
    """One sample of each class, then others; without classes, samples at equal distances."""
    if labels is None:
        return np.unique(np.linspace(0, samples - 1, min(count, samples)).astype(int))
    return one_per_class(labels, samples, count)


def _class_names(data: Dataset, split: Split) -> list[str] | None:
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
