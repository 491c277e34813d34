"""Samples beside what a model makes of them, in the form that fits: images, strips of frames, or lines.

What a model was given is not its work: where it hands back steps as it got them, the picture stays blank. So every picture
that compares takes its numbers from here, with the errors and with the step at which a reconstruction becomes a prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinyae import plots
from tinyae.data import Dataset, Split, padding
from tinyae.models import Autoencoder
from tinyae.plots.films import MOST_FRAMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Restored:
    """Samples and what a model made of them.

    Attributes:
        x: samples (N, ...); of sequences (N, T, D) steps behind the end are NaN.
        made: of x's shape; NaN also where the model was given a step and made none.
        seen: (N,), how many first steps the model saw, None if it predicts nothing.
    """

    x: Values
    made: Values
    seen: Values | None = None

    @classmethod
    def of(cls, model: Autoencoder, split: Split) -> Restored:
        """What `model` makes of the samples of `split`."""
        x = split.x
        made = np.array(model.restore(model.inputs_for(x, split.y), **split.known))
        seen = model.seen_steps(x, split.lengths)
        if split.lengths is not None:
            behind = padding(split.lengths, x.shape[1])
            x, made = _blank(x, behind), _blank(made, behind)
        if seen is not None and "reconstruction" not in model.makes:
            made = _blank(made, ~padding(seen, x.shape[1]))
        return cls(x, made, seen)

    def past(self) -> Restored:
        """The steps that the model saw, and their reconstruction."""
        if self.seen is None:
            return self
        steps = int(self.seen.max())
        later = padding(self.seen, steps)
        return Restored(_blank(self.x[:, :steps], later), _blank(self.made[:, :steps], later))

    @property
    def errors(self) -> Values:
        """Squared error of each sample (N,), over the steps that the model made."""
        # A step that is NaN throughout was not made; one that holds some NaN was made wrong, and its error says so.
        blank = np.isnan(self.made).all(axis=-1, keepdims=True) if self.made.ndim == 3 else False
        difference = np.where(blank, 0.0, self.made.astype(np.float64) - self.x)
        return np.asarray(np.square(difference).reshape(len(self.x), -1).sum(axis=1))


def draw_restored(
    data: Dataset, restored: Restored, *, labels: Sequence[str] | None = None, count: int = 10, title: str
) -> Figure:
    """The first `count` samples beside what was made of them, with the squared error of each.

    `labels` (N,): the words at each.
    """
    if data.image_shape is not None:
        return plots.reconstructions(restored.x, restored.made, labels=labels, count=count, title=title)
    if data.frame_shape is not None:
        return plots.frame_strips(
            film_rows(data, restored), seen=common_border(restored), labels=labels, errors=restored.errors,
            count=count, title=title,
        )  # fmt: skip
    return plots.vector_reconstructions(
        restored.x, restored.made, errors=restored.errors, seen=restored.seen, labels=labels, count=count,
        feature_names=names_of(data), value_name=data.value_name, title=title,
    )  # fmt: skip


def film_rows(data: Dataset, restored: Restored) -> dict[str, Values]:
    """The films and the model's, (N, T, H, W), as many frames as fit on paper."""
    assert data.frame_shape is not None
    rows = {"film": restored.x, "the model's": restored.made}
    return {name: films.reshape(*films.shape[:2], *data.frame_shape)[:, :MOST_FRAMES] for name, films in rows.items()}


def common_border(restored: Restored) -> int | None:
    """How many first steps the model saw, where that is one number for all samples."""
    borders = set() if restored.seen is None else set(restored.seen.tolist())
    return borders.pop() if len(borders) == 1 else None


def names_of(data: Dataset) -> tuple[str, ...] | None:
    """The names of the features of each step, None where there are none; the numbers of a vector are no features."""
    return data.feature_names or None if data.kind in ("sequences", "series") else None


def _blank(x: Values, where: Values) -> Values:
    """x (N, T, D) with NaN at the steps `where` (N, T)."""
    return np.where(where[..., None], np.nan, x)
