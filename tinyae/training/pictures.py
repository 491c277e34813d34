"""The pictures of a run: the common ones for every model, and more for the kinds of models in `SPECIAL`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import multimode
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinyae import plots
from tinyae.data import Dataset, Split, padding
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
from tinyae.nn import Conv2d, Dense, GaussianNoise, MaskingNoise, Noise, Parameter, SaltAndPepperNoise, layer_outputs
from tinyae.plots.codes import MOST_CONFUSED
from tinyae.plots.images import MOST_FRAMES
from tinyae.plots.style import aligned
from tinyae.training.state import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCATTERED = 5000
"""Samples whose codes are drawn."""


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


def draw_common(model: Autoencoder, data: Dataset, history: History, folder: Path) -> list[Path]:
    """Draw everything that applies to this model and data set into `folder`; returns the files."""
    if not len(data.test):  # a memory has no samples but its training samples
        return [draw_curves(history, folder / "loss.png")] if len(history) else []
    files = []
    tuned = getattr(model, "classifier", None) is not None  # its encoders fit the decoders no more: drawn before
    reconstructs = "reconstruction" in model.batch(data.test.rows(slice(1))).outputs
    if data.frame_shape is None and reconstructs and not tuned:  # `draw_films` shows films, `draw_predictions` futures
        files.append(draw_reconstructions(model, data, folder / "reconstructions.png"))
    if len(history):
        files.append(draw_curves(history, folder / "loss.png"))
    found = None if data.image_shape is None else first_layer_filters(model, data.image_shape)
    if found is not None:
        files.append(plots.save_figure(plots.filters(*found, title="First-layer filters"), folder / "filters.png"))
    if data.has_labels:
        files.append(draw_codes(model, data, folder / "codes.png"))
    return files


def draw_reconstructions(
    model: Autoencoder,
    data: Dataset,
    path: Path,
    count: int = 10,
    samples: Split | None = None,
    what: str | None = None,
) -> Path:
    """Samples and their reconstructions, with squared errors; with labels, one sample per class.

    samples: of a part that is called `what`, by default the test samples.

    For a model that also predicts, the steps that it sees; for one that only predicts, its predictions.
    """
    samples = data.test if samples is None else samples
    split = samples.rows(one_per_class(samples.y, len(samples), count))
    restored = Restored.of(model, split)
    made = f"their {restored.outputs[0]}s"
    if data.frame_shape is not None:
        made = "the outputs of the model"
    elif len(restored.outputs) > 1:
        restored, made = restored.past(), f"{made}, the steps that the model sees"
    names = class_names(data, split.y)
    word = "image" if data.image_shape is not None else model.sample_name
    part = what or ("test " if len(data.train) else "")
    title = f"{data.name}: {part}{word}s and {made}"
    return plots.save_figure(draw_restored(data, restored, labels=names, count=count, title=title), path)


def draw_curves(history: History, path: Path) -> Path:
    """Training and held-out losses by epoch, for every stage if there are several, one panel per unit, each curve once."""
    return plots.save_figure(plots.loss_curves(history), path)


def draw_codes(model: Autoencoder, data: Dataset, path: Path) -> Path:
    """The codes of test samples, colored by class (principal components of codes with more than two dimensions)."""
    split = data.test.rows(slice(0, _SCATTERED))
    codes = model.encode(model.batch(split))
    title = f"{data.name}: codes of {len(codes):,} test {model.sample_name}s"
    figure = plots.code_scatter(codes.reshape(len(codes), -1), split.y, data.class_names or None, title=title)
    return plots.save_figure(figure, path)


def first_layer_filters(
    model: Autoencoder, image_shape: tuple[int, int, int]
) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """The filters of the encoder's first layer, (D, K), and the shape (H, W, C) of one of them.

    Whole images for a dense layer, patches for a convolution. None if the first layer with weights is neither, or if its
    channels are not colors.
    """
    layers = (
        m for _, m in model.encoder.named_modules() if any(isinstance(part, Parameter) for _, part in m.members())
    )
    layer = next(layers, None)
    if isinstance(layer, Dense) and layer.in_features == math.prod(image_shape):
        return layer.weight.numpy(), image_shape
    if isinstance(layer, Conv2d) and layer.in_channels in (1, 3):
        return layer.weight.numpy().reshape(-1, layer.out_channels), (*layer.kernel_size, layer.in_channels)
    return None


def one_per_class(labels: np.ndarray | None, samples: int, count: int) -> np.ndarray:
    """The first sample of each class, then the first other samples; without labels the first samples."""
    if labels is None:
        return np.arange(min(count, samples))
    firsts = np.unique(labels, return_index=True)[1][:count]
    others = np.setdiff1d(np.arange(min(samples, 2 * count)), firsts)[: count - len(firsts)]
    return np.concatenate([firsts, others])[: min(count, samples)]


def class_name(data: Dataset, label: int) -> str:
    """The name of a class; its number if it has none."""
    return data.class_names[label] if label < len(data.class_names) else str(label)


def class_names(data: Dataset, labels: np.ndarray | None) -> list[str] | None:
    """The name of the class of each sample; None without labels."""
    return None if labels is None else [class_name(data, int(label)) for label in labels]


# ---------------------------------------------------------------------------------------------------------------------
# Samples and the outputs of a model, drawn as images, strips of frames, or lines.
#
# Steps that a model only copies from its input stay blank. So every picture that compares takes its data from here, with the
# errors and the step at which the prediction begins.

Values = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Restored:
    """Samples and the outputs of a model.

    Attributes:
        x: samples (N, ...); the padding of sequences (N, T, D) is NaN.
        made: the outputs, of x's shape; also NaN at steps that the model only copies from its input.
        seen: (N,), the number of steps that the model saw; None if it does not predict.
        outputs: their names, see `Batch.outputs`.
    """

    x: Values
    made: Values
    seen: Values | None = None
    outputs: tuple[str, ...] = ("reconstruction",)

    @classmethod
    def of(cls, model: Autoencoder, split: Split) -> Restored:
        """The samples of `split` and the outputs of `model`."""
        batch = model.batch(split)
        x, made = split.x, np.array(model.reconstruct(batch))
        if batch.mask is not None:
            made = _blank(made, ~batch.mask[..., 0])
        if split.lengths is not None:
            x = _blank(x, padding(split.lengths, x.shape[1]))
        ends = np.full(len(split), x.shape[1]) if split.lengths is None else split.lengths
        return cls(x, made, ends - batch.future if batch.future else None, batch.outputs)

    def past(self) -> Restored:
        """The steps that the model saw, and their reconstruction."""
        if self.seen is None:
            return self
        steps = int(self.seen.max())
        later = padding(self.seen, steps)
        return Restored(_blank(self.x[:, :steps], later), _blank(self.made[:, :steps], later))

    @property
    def errors(self) -> Values:
        """Squared error of each sample (N,), over the steps that the model outputs."""
        # A step that is all NaN is no output; one with some NaN is a wrong output, and its error shows it.
        blank = np.isnan(self.made).all(axis=-1, keepdims=True) if self.made.ndim == 3 else False
        difference = np.where(blank, 0.0, self.made.astype(np.float64) - self.x)
        return np.asarray(np.square(difference).reshape(len(self.x), -1).sum(axis=1))


def draw_restored(
    data: Dataset, restored: Restored, *, labels: Sequence[str] | None = None, count: int = 10, title: str
) -> Figure:
    """The first `count` samples and the outputs of the model, with the squared error of each; steps in the units of the data.

    labels: (N,), a caption for each.
    """
    if data.image_shape is not None:
        return plots.reconstructions(restored.x, restored.made, labels=labels, count=count, title=title)
    if data.frame_shape is not None:
        return plots.frame_strips(
            film_rows(data, restored), seen=common_border(restored), labels=labels, errors=restored.errors,
            count=count, title=title,
        )  # fmt: skip
    x, made, unit, value = restored.x, restored.made, "squared error", data.value_name
    if x.ndim == 3:  # features of vectors share an axis, and so have no units of their own
        x, made, value = data.measured(x), data.measured(made), data.unit or "value"
    unit += "" if restored.seen is None else f" of the {' and '.join(restored.outputs)}"
    if value != data.value_name:
        unit += ", in the scale of the model"
    return plots.vector_reconstructions(
        x, made, errors=restored.errors, error_unit=unit, seen=restored.seen, labels=labels, count=count,
        feature_names=data.feature_names or None, value_name=value, title=title,
    )  # fmt: skip


def film_rows(data: Dataset, restored: Restored) -> dict[str, Values]:
    """The films and the outputs of the model, (N, T, H, W), as many frames as fit on paper."""
    assert data.frame_shape is not None
    rows = {"film": restored.x, "model": restored.made}
    return {name: films.reshape(*films.shape[:2], *data.frame_shape)[:, :MOST_FRAMES] for name, films in rows.items()}


def common_border(restored: Restored) -> int | None:
    """The number of steps that the model saw, if it is the same for all samples."""
    borders = set() if restored.seen is None else set(restored.seen.tolist())
    return borders.pop() if len(borders) == 1 else None


def _blank(x: Values, where: Values) -> Values:
    """x (N, T, D) with NaN at the steps `where` (N, T)."""
    return np.where(where[..., None], np.nan, x)


# ---------------------------------------------------------------------------------------------------------------------
# The pictures of a command: feature maps, neighbors, and the confusion matrix of a classifier.


def image_maps(model: Autoencoder, split: Split, index: int) -> dict[str, np.ndarray]:
    """The feature maps (H, W, K) of each layer for one image, by the name of the layer, in the order of calls."""
    outputs = layer_outputs(model, model.batch(split.rows(slice(index, index + 1))).x)
    return {name: value[0] for name, value in outputs.items() if value.ndim == 4}


def draw_features(
    model: Autoencoder, data: Dataset, path: Path, layer: str | None = None, index: int = 0, split: str = "test"
) -> Path:
    """Draw the feature maps of one layer for image number `index` of a split, and the image.

    `layer` is a dotted name as in `model.summary`; None selects the first layer with feature maps.

    Raises:
        ValueError: no such image or layer, or a model without feature maps; the message lists what there is.
    """
    images: Split = getattr(data, split)
    if data.image_shape is None or not 0 <= index < len(images):
        there = f"{len(images):,} {split} images, from 0" if data.image_shape is not None else "no images"
        raise ValueError(f"there is no image {index}: {data.name} has {there}.")
    maps = image_maps(model, images, index)
    chosen = next(iter(maps), "") if layer is None else layer
    if chosen not in maps:
        known = ", ".join(f"{name} {value.shape}" for name, value in maps.items()) or "none"
        raise ValueError(f"layer {chosen!r} has no feature maps (H, W, K); layers that do: {known}.")
    kind = type(dict(model.named_modules())[chosen]).__name__
    word = "" if images.y is None else f" ({class_name(data, int(images.y[index]))})"
    title = f"{data.name}: feature maps of {chosen} ({kind}) for {split} image {index}{word}"
    return plots.save_figure(plots.feature_maps(maps[chosen], images.x[index], title=title), path)


def draw_neighbors(model: Autoencoder, data: Dataset, indices: np.ndarray, path: Path, count: int = 10) -> Path:
    """One row per test image: the image, then the training images whose codes are nearest, numbers `indices` (M, neighbors)."""
    if data.image_shape is None:
        raise ValueError(f"{data.name} holds no images: neighbors are drawn for images only.")
    labels = None if data.test.y is None else data.test.y[: len(indices)]
    chosen = one_per_class(labels, len(indices), count)
    rows = [np.concatenate([data.test.source[i : i + 1], data.train.source[indices[i]]]) for i in chosen]
    words = None
    if data.train.y is not None and data.test.y is not None:
        words = [class_name(data, int(y)) for i in chosen for y in (data.test.y[i], *data.train.y[indices[i]])]
    title = f"{data.name}: test images (first column) and the training images with the nearest codes"
    figure = plots.image_grid(np.concatenate(rows), columns=1 + indices.shape[1], titles=words, title=title)
    return plots.save_figure(figure, path)


def draw_confusion(data: Dataset, predicted: np.ndarray, classes: int, path: Path, *, title: str) -> list[Path]:
    """Draw the confusion matrix of the test samples and their `predicted` class numbers (N,).

    Draws nothing without labels, or for more classes than fit.
    """
    if data.test.y is None or classes > MOST_CONFUSED:
        return []
    counts = confusion_matrix(data.test.y, predicted, classes)
    return [plots.save_figure(plots.confusion(counts, data.class_names or None, title=f"{data.name}: {title}"), path)]


# ---------------------------------------------------------------------------------------------------------------------
# A memory: its samples, what it recalls, and interpolations between two of them.

_MEMORY_STEPS = 9


def draw_memory(model: ImageMemory, data: Dataset, folder: Path, *, count: int = 10) -> list[Path]:
    """Draw `recalled.png`, and `between.png` for a memory of several images, into `folder`; returns the files.

    The training samples of `data` are the samples of the memory, in the order of their numbers.
    """
    labels = None if data.train.y is None else data.train.y[: model.count]
    numbers = one_per_class(labels, min(len(data.train), model.count), count)
    originals, recalled = data.train.source[numbers], model.recall(numbers)
    names = None if labels is None else class_names(data, labels[numbers])
    title = f"{data.name}: {len(numbers)} of {model.count} {model.sample_name}s, originals and as recalled"
    figure = draw_restored(data, Restored(originals, recalled), labels=names, count=count, title=title)
    files = [plots.save_figure(figure, folder / "recalled.png")]
    if data.image_shape is not None and len(numbers) > 1:
        files.append(draw_between(model, list(pairwise(numbers))[:6], folder / "between.png"))
    return files


def draw_between(memory: ImageMemory, pairs: list[tuple[int, int]], path: Path, steps: int = _MEMORY_STEPS) -> Path:
    """One row per pair of numbers: the memory's output for codes on the straight line from one to the other."""
    ends = [memory.encode(np.array(pair)) for pair in pairs]
    rows = [memory.decode(interpolate(first, second, steps)) for first, second in ends]
    title = f"From one sample (left) to another (right): interpolated {memory.codes} codes, decoded"
    return plots.save_figure(plots.image_grid(np.concatenate(rows), columns=steps, title=title), path)


# ---------------------------------------------------------------------------------------------------------------------
# A denoising autoencoder: clean, corrupted and denoised samples, at several levels of noise.

_NOISE_FACTORS = (0.5, 1.0, 1.5)
"""Noise levels to draw, as multiples of the training level."""

_HIGHEST_RATE = 0.9


def draw_denoising(
    model: DenoisingAutoencoder, data: Dataset, folder: Path, *, levels: Sequence[float] | None = None, count: int = 8
) -> list[Path]:
    """Draw `denoising.png` into `folder`: test images on top, then for each level of noise the corrupted and the denoised
    images, with the squared error of each.

    levels: rates or standard deviations; by default 0.5, 1 and 1.5 times that of the training. Draws nothing for data that
    are not images, or for a noise layer other than those of `tinyae.nn`.
    """
    if data.image_shape is None:
        return []
    kind, noises = _noises(model.noise, levels)
    if not noises:
        return []
    clean = data.test.source[one_per_class(data.test.y, len(data.test), count)]
    rows, words, errors = [clean], ["clean"], list[float]()
    for strength, noise in noises:
        noisy = noise.corrupt(clean, np.random.default_rng(0))
        for word, images in ((f"corrupted\n{strength}", noisy), ("denoised", model.reconstruct(noisy))):
            rows.append(images)
            words.append(word)
            errors += np.square(images - clean).reshape(len(clean), -1).sum(axis=1).tolist()
    figure = plots.image_grid(
        np.concatenate(rows), columns=len(clean), titles=[""] * len(clean) + aligned(errors), row_names=words,
        value_range=(min(0.0, float(clean.min())), max(1.0, float(clean.max()))),
        title=f"{data.name}: test images, corrupted by {kind}, and denoised",
        note="The numbers are squared errors per image.",
    )  # fmt: skip
    return [plots.save_figure(figure, folder / "denoising.png")]


def _noises(noise: Noise, levels: Sequence[float] | None) -> tuple[str, list[tuple[str, Noise]]]:
    """What the noise is called, and a layer of its kind for each level after its strength in words: 12.5 % of pixels."""
    if isinstance(noise, GaussianNoise):
        deviations = levels or _around(noise.std)
        return "Gaussian noise", [(f"std. dev. {level:g}", GaussianNoise(level)) for level in deviations]
    if not isinstance(noise, MaskingNoise | SaltAndPepperNoise):
        return "", []
    rates = [(f"{100 * rate:.3g} % of pixels", rate) for rate in levels or _around(noise.rate, _HIGHEST_RATE)]
    if isinstance(noise, MaskingNoise):
        return "masking noise", [(words, MaskingNoise(rate)) for words, rate in rates]
    return "salt-and-pepper noise", [(words, SaltAndPepperNoise(rate, noise.low, noise.high)) for words, rate in rates]


def _around(level: float, highest: float = math.inf) -> list[float]:
    """Levels below, at and above the training level, without duplicates."""
    return sorted({round(min(level * factor, highest), 4) for factor in _NOISE_FACTORS})


# ---------------------------------------------------------------------------------------------------------------------
# A contractive autoencoder: the directions to which its code is still sensitive.


def draw_contractive(
    model: ContractiveAutoencoder, data: Dataset, folder: Path, *, images: int = 6, directions: int = 8
) -> list[Path]:
    """Draw `tangents.png` into `folder`: test images, each with the directions that change its code most.

    They are the leading right singular vectors of the encoder's Jacobian at the image; the singular values are the change
    of the code per unit step (Rifai, Dauphin, Vincent, Bengio and Muller 2011). Draws nothing for data that are not images.
    """
    if data.image_shape is None:
        return []
    x = data.test.source[one_per_class(data.test.y, len(data.test), images)]
    jacobian = model.jacobian_at(x)
    _, strengths, tangents = np.linalg.svd(jacobian.reshape(len(x), jacobian.shape[1], -1), full_matrices=False)
    shown = min(directions, strengths.shape[1])
    title = f"{data.name}: test images, and the directions in which their codes change most"
    word = "the change of the code per unit step in that direction"
    figure = plots.directions(x, tangents[:, :shown], strengths[:, :shown], word=word, title=title)
    return [plots.save_figure(figure, folder / "tangents.png")]


# ---------------------------------------------------------------------------------------------------------------------
# A stack: the filters of each layer, and the confusion matrix of the classifier.


def draw_stacked(model: StackedAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw filters of the layers above the first, and with a classifier the confusion matrix; returns the files."""
    files = []
    if data.image_shape is not None:
        for number, weights in enumerate(projected_filters(model)[1:], start=2):
            title = f"Filters of layer {number}, as mixtures of the filters below"
            figure = plots.filters(weights, data.image_shape, title=title)
            files.append(plots.save_figure(figure, folder / f"filters{number}.png"))
    if model.classifier is not None:
        predicted, classes = model.classifier.predict(data.test.x), model.classifier.classes
        title = f"confusion matrix of the test {model.sample_name}s"
        files += draw_confusion(data, predicted, classes, folder / "confusion.png", title=title)
    return files


def projected_filters(model: StackedAutoencoder) -> list[np.ndarray]:
    """For each layer, weights (D, K) from the samples to its units.

    The weights of a higher layer apply to units, not pixels. Without the nonlinearities in between, its weights on pixels
    are the product of the matrices, W1 W2 ... Wl: mixtures of the filters below (Lee et al. 2008).
    """
    found: list[np.ndarray] = []
    for layer in model.layers:
        weights = next(m.weight.numpy() for _, m in layer.encoder.named_modules() if isinstance(m, Dense))
        found.append(found[-1] @ weights if found else weights)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# A variational autoencoder: generated samples, interpolations, and how the latent dimensions are used.

_SAMPLES = 64
_BETWEEN_CODES = 10
_RESTYLED = 8
_MOST_POSTERIORS = 5000
"""Test samples whose posteriors are drawn."""


def draw_variational(model: VariationalAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw samples, interpolations, the KL of each latent dimension, the aggregate posterior, and for two latent dimensions
    the manifold into `folder`; returns the files.
    """
    posterior = model.posterior(model.batch(data.test.rows(slice(0, _MOST_POSTERIORS))))
    report, unit = LatentReport.of(posterior, model.sample_name), f"nats per {model.sample_name}"
    bars = plots.kl_bars(report.kl, report.in_use, unit=unit, title=f"{data.name}: KL of each latent dimension")
    title = f"{data.name}: codes of the test {model.sample_name}s"
    density = plots.aggregate_posterior(posterior.mean, posterior.log_variance, kl=report.kl, title=title)
    files = [
        plots.save_figure(bars, folder / "kl.png"),
        plots.save_figure(density, folder / "aggregate_posterior.png"),
    ]
    if data.image_shape is None:
        return files
    files += [
        draw_samples(model, folder / "samples.png", names=_every_class(data, model)),
        draw_between_codes(model, data, folder / "interpolation.png"),
    ]
    if model.code_size == 2:
        files.append(draw_manifold(model, folder / "manifold.png"))
    return files


def draw_conditional(model: ConditionalVariationalAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw into `folder` one row per test image: the image, then its code decoded as every class; returns the files."""
    if data.image_shape is None or data.test.y is None:
        return []
    x, labels = data.test.source[:_RESTYLED], data.test.y[:_RESTYLED]
    made = np.concatenate([x[:, None], model.restyle(x, labels)], axis=1).reshape(-1, *x.shape[1:])
    names = ["given", *(_every_class(data, model) or [])]
    title = f"{data.name}: test {model.sample_name}s (given), and the code of each decoded as every class"
    figure = plots.image_grid(made, columns=len(names), column_names=names, title=title)
    return [plots.save_figure(figure, folder / "restyled.png")]


def draw_samples(
    model: VariationalAutoencoder, path: Path, count: int = _SAMPLES, seed: int = 0, names: Sequence[str] | None = None
) -> Path:
    """Decoded codes from the prior; for a conditional model each column is a class, with `names` above."""
    columns, words = 8, ""
    if model.classes is not None:
        columns, words = model.classes, ", a column for each class"
    count = -(-count // columns) * columns
    title = f"{count} generated {model.sample_name}s: E[x|z] for codes z drawn from N(0, I){words}"
    samples = model.sample(count, np.random.default_rng(seed))
    return plots.save_figure(plots.image_grid(samples, columns=columns, column_names=names, title=title), path)


def draw_manifold(model: Any, path: Path, n: int = 20) -> Path:
    """The decoder's output over the plane of codes, in cells of equal probability; for a conditional model, of class 0."""
    codes, what, labels = latent_grid(n, model.code_size), "E[x|z]", {}
    if model.classes is not None:
        what, labels = "E[x|z, class 0]", {"labels": np.zeros(len(codes), int)}
    title = f"The plane of codes: {what} at {n} x {n} quantiles of N(0, 1)"
    names = ("latent dimension 0", "latent dimension 1")
    figure = plots.code_plane(model.decode(codes, **labels), normal_quantiles(n), names=names, title=title)
    return plots.save_figure(figure, path)


def _every_class(data: Dataset, model: VariationalAutoencoder) -> list[str] | None:
    """The names of the classes of a conditional model; None for another."""
    return None if model.classes is None else [class_name(data, number) for number in range(model.classes)]


def draw_between_codes(model: VariationalAutoencoder, data: Dataset, path: Path, rows: int = 5) -> Path:
    """One row per pair of test samples of different classes: decoded codes (and classes) between theirs."""
    chosen = one_per_class(data.test.y, len(data.test), 2 * rows)
    q = model.posterior(model.batch(data.test.rows(chosen)))
    codes = q.given(q.mean)
    images = []
    for first in range(0, len(chosen) - 1, 2):
        a, b = (data.test.source[n : n + 1] for n in chosen[first : first + 2])
        images += [a, model.decode(interpolate(codes[first], codes[first + 1], _BETWEEN_CODES)), b]
    strips = np.concatenate(images or [data.test.source[:1]])
    word = model.sample_name
    title = f"{data.name}: from one test {word} (far left) to another (far right), interpolated codes, decoded"
    return plots.save_figure(plots.image_grid(strips, columns=_BETWEEN_CODES + 2, title=title), path)


# ---------------------------------------------------------------------------------------------------------------------
# A vector-quantized autoencoder: the use of its codebook, and samples from its prior.


def draw_vector_quantized(model: VectorQuantizedAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw `codebook.png`, and for images `samples.png`, into `folder`; returns the files. The prior is fitted to the
    training samples unless the model has one.
    """
    counts = np.bincount(model.indices(data.test.x).ravel().astype(np.intp), minlength=model.codebook.size)
    title = f"{data.name}: how often test {model.sample_name}s use each codebook vector"
    files = [plots.save_figure(plots.usage_bars(counts, title=title), folder / "codebook.png")]
    if data.image_shape is not None:
        if model.prior is None:
            model.fit_prior(data.train.x)
        title = f"{_SAMPLES} generated {model.sample_name}s: codes drawn from a tree of pairs, decoded"
        figure = plots.image_grid(model.sample(_SAMPLES, np.random.default_rng(0)), columns=8, title=title)
        files.append(plots.save_figure(figure, folder / "samples.png"))
    return files


# ---------------------------------------------------------------------------------------------------------------------
# Sequence models: strokes, films and predictions, and how far back in time the gradient reaches.

_GRADIENTS = 256
"""Test sequences whose gradients are drawn."""


def draw_sequences(model: LSTMAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw into `folder` what applies: `strokes.png` if steps are points, `predictions.png` if the model predicts values,
    and `gradients.png`; returns the files.
    """
    files = []
    if data.frame_shape is None and model.predictor is not None:
        files.append(draw_predictions(model, data, folder / "predictions.png"))
    if data.kind == "sequences" and data.example_shape[1] == 2:
        files.append(draw_strokes(model, data, folder / "strokes.png"))
    files.append(draw_gradients(model, data, folder / "gradients.png"))
    return files


def draw_strokes(model: LSTMAutoencoder, data: Dataset, path: Path, count: int = 20) -> Path:
    """Test sequences of points in the plane, each with its reconstruction and prediction drawn over it."""
    split = data.test.rows(_spread(data.test.y, len(data.test), count))
    restored = Restored.of(model, split)
    figure = plots.pen_strokes(
        split.x, restored.made, lengths=split.lengths, labels=class_names(data, split.y), errors=restored.errors,
        seen=restored.seen, count=count, title=f"{data.name}: test strokes and the outputs of the model",
    )  # fmt: skip
    return plots.save_figure(figure, path)


def draw_predictions(model: LSTMAutoencoder, data: Dataset, path: Path, count: int = 8) -> Path:
    """Test sequences over time: the end of the past, and the future with its prediction.

    Of unequal lengths only the most common one (of several, the longest), so that the future begins at the same step.
    """
    test, numbers = data.test, np.arange(len(data.test))
    if test.lengths is not None:
        steps = max(multimode(test.lengths.tolist()))
        numbers = np.flatnonzero(test.lengths == steps)
        test = Split(test.x[:, :steps], test.y)
    numbers = numbers[_spread(None if test.y is None else test.y[numbers], len(numbers), count)]
    split = test.rows(numbers)
    seen, _, _ = split_future(split.x, model.future_steps)
    made = np.concatenate([np.full_like(seen, np.nan), model.predict(seen)], axis=1)
    restored = Restored(split.x, made, np.full(len(split), seen.shape[1]), ("prediction",))
    labels = class_names(data, split.y)
    if labels is None and data.timeline is not None:  # when each window begins
        labels = [data.timeline.stamp(len(data.train) + int(number)) for number in numbers]
    title = f"{data.name}: test {model.sample_name}s and their prediction"
    return plots.save_figure(draw_restored(data, restored, labels=labels, count=count, title=title), path)


def draw_films(model: Autoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Test films as strips and as an animation, each above the output of the model."""
    restored = Restored.of(model, data.test.rows(_spread(data.test.y, len(data.test), 6)))
    rows, seen = film_rows(data, restored), common_border(restored)
    title = f"{data.name}: test films and the outputs of the model"
    strips = plots.frame_strips(rows, seen=seen, title=title)
    return [
        plots.save_figure(strips, folder / "film.png"),
        plots.save_film(rows, folder / "film.gif", seen=seen, title=title),
    ]


def draw_gradients(model: Autoencoder, data: Dataset, path: Path) -> Path:
    """The norm of the gradient of the loss, and of the code, at each step that the encoder sees."""
    split = data.test.rows(slice(0, _GRADIENTS))
    norms = {f"of the {name}": gradient_per_step(model, split, of=name) for name in ("loss", "code")}
    unit, title = "root mean square of the gradient's norm", f"{data.name}: norm of the gradient at each step"
    note = f"From {len(split):,} test {model.sample_name}s, with respect to the input at each step."
    return plots.save_figure(plots.step_norms(norms, unit=unit, note=note, title=title), path)


def _spread(labels: np.ndarray | None, samples: int, count: int) -> np.ndarray:
    """One sample of each class, then others; without classes, equally spaced samples."""
    if labels is None:
        return np.unique(np.linspace(0, samples - 1, min(count, samples)).astype(np.intp))
    return one_per_class(labels, samples, count)


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
