"""Sequences with what a model makes of them: the part it saw, reconstructed, and the part that followed, predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, as_sequences, one_each, pixel_range, positive_count
from tinyae.plots.vectors import MOST_FEATURES, draw_divided, line_page, set_limits

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style.drawing()
def predictions(
    seen: AnyArray,
    future: AnyArray,
    predicted: AnyArray,
    *,
    reconstructed: AnyArray | None = None,
    labels: Sequence[Any] | AnyArray | None = None,
    feature_names: Sequence[str] | None = None,
    count: int = 8,
    value_name: str = "value",
    title: str = "Sequences and their continuation",
) -> Figure:
    """Draw the first `count` sequences as lines: what was seen, what followed, and a model's guesses at both.

    `seen` (N, T, D), `future` and `predicted` (N, S, D); `reconstructed` (N, T, D) or None. The first 8 features at most
    are drawn. A dotted line stands where the model stopped seeing; the number above each panel is the squared error of
    the prediction, summed over its steps and features.
    `labels` (N,): the words above the panels. `feature_names` (D,): the words of the legend.
    `value_name`: what the upward axis measures, with its unit.

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for shapes that do not fit each other.
    """
    past, after, guess = (
        as_sequences(array, name) for array, name in ((seen, "seen"), (future, "future"), (predicted, "predicted"))
    )
    again = None if reconstructed is None else as_sequences(reconstructed, "reconstructed")
    if after.shape != guess.shape or past.shape[::2] != after.shape[::2]:
        raise ValueError(
            f"seen {seen.shape}, future {future.shape} and predicted {predicted.shape} do not fit: give (N, T, D) and "
            "twice (N, S, D)."
        )
    if again is not None and again.shape != past.shape:
        raise ValueError(f"seen {seen.shape} and reconstructed {again.shape} must have one shape.")
    words = one_each(labels, len(past), "labels", "sequences")
    total = past.shape[2]
    names = one_each(feature_names, total, "feature_names", "features")
    if total > 1 and names is None:
        names = [f"feature {feature + 1}" for feature in range(total)]
    shown = min(positive_count(count), len(past))
    errors = np.square(guess - after).sum(axis=(1, 2))
    cut = (slice(0, shown), slice(None), slice(0, MOST_FEATURES))
    past, after, guess = past[cut], after[cut], guess[cut]
    again = None if again is None else again[cut]
    few = f" (first {MOST_FEATURES} of {total} features)" if total > MOST_FEATURES else ""
    page = line_page(
        shown,
        [str(name) for name in names or []][:MOST_FEATURES],
        title,
        f"Across: step{few}. Up: {value_name}. The model sees the {past.shape[1]} steps before the dotted line. "
        "At the upper right of each panel: squared error of the prediction.",
        reconstruction=again is not None,
        prediction=True,
    )
    limits = pixel_range(None, past, after, guess, *(() if again is None else (again,)))
    for index in range(shown):
        axes = page.panel(index)
        whole = np.concatenate([past[index], after[index]])
        draw_divided(axes, whole, np.full_like(past[index], np.nan) if again is None else again[index], guess[index])
        set_limits(axes, len(whole), limits)
        axes.tick_params(labelleft=index % page.columns == 0, labelbottom=index + page.columns >= shown)
        x, y = page.corner(index)
        if words:
            page.write(x, y - 4, style.shorten(str(words[index]), 0.7 * page.width), va="bottom")
        page.write(x + page.width, y - 4, f"{errors[index]:.3g}", va="bottom", ha="right", color=style.MUTED)
    return page.figure
