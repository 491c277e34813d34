"""The pictures of any autoencoder: reconstructions, loss curves, first-layer filters, and codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinyae import plots
from tinyae.data import Dataset, Split, padding
from tinyae.models import Autoencoder
from tinyae.nn import Conv2d, Dense, Parameter
from tinyae.plots.images import MOST_FRAMES
from tinyae.training.state import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_SCATTERED = 5000
"""Samples whose codes are drawn."""


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
