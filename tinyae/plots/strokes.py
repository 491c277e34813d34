"""Pen strokes: sequences of points (x, y) drawn as the lines they are, instead of as two curves over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, FloatArray, borders, host_array, one_each, pixel_range, positive_count
from tinyae.plots.panels import LEGEND_LINE, PanelPage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILE, TILE_GAP, HEAD = 72.0, 8.0, 15.0


@style.drawing()
def pen_strokes(
    originals: AnyArray,
    reconstructed: AnyArray,
    *,
    lengths: Sequence[int] | AnyArray | None = None,
    labels: Sequence[Any] | AnyArray | None = None,
    errors: Sequence[float] | AnyArray | None = None,
    seen: int | Sequence[int] | AnyArray | None = None,
    count: int = 20,
    columns: int = 10,
    title: str = "Pen strokes and their reconstructions",
) -> Figure:
    """Draw the first `count` strokes, each with its reconstruction upon it and the squared error above.

    `originals`, `reconstructed` (N, T, 2): points x, y, y upwards, of which the first `lengths` (N,) are real. A ring
    marks where the pen is set down. `labels` (N,): the words above the tiles.
    `seen` (N,) or one number for all: how many first points the model saw; what it drew of the others is a prediction,
    in another colour. Points that it did not draw are NaN in `reconstructed`.
    `errors` (N,): the numbers above the tiles. None computes the squared error over the points that are real.

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for other shapes.
    """
    first, second = (
        host_array(array, name, "(N, T, 2)").astype(np.float64)
        for array, name in ((originals, "originals"), (reconstructed, "reconstructed"))
    )
    if first.ndim != 3 or first.shape[2] != 2 or first.shape != second.shape:
        raise ValueError(
            f"originals {originals.shape} and reconstructed {reconstructed.shape} must both be strokes (N, T, 2)."
        )
    ends = one_each(lengths, len(first), "lengths", "strokes") or [first.shape[1]] * len(first)
    words = one_each(labels, len(first), "labels", "strokes")
    numbers = one_each(errors, len(first), "errors", "strokes")
    known = borders(seen, len(first), "strokes")
    shown = min(positive_count(count), len(first))
    columns = min(positive_count(columns, "columns"), shown)
    parts = [(a[: int(n)], b[: int(n)]) for a, b, n in zip(first[:shown], second[:shown], ends, strict=False)]
    note = "The ring is the first point. At the upper right of each tile: squared error per stroke."
    page = PanelPage(
        shown,
        columns,
        TILE,
        TILE,
        title=title,
        note=note,
        head=HEAD,
        foot=2.0,
        left=0.0,
        gap=TILE_GAP,
        above=LEGEND_LINE,
    )
    drawn = known is None or any(np.isfinite(guess[:n]).any() for (_, guess), n in zip(parts, known, strict=False))
    _legend(page, drawn, known is not None)
    limits = pixel_range(None, *(part for pair in parts for part in pair))
    for index, (original, guess) in enumerate(parts):
        _draw(page.panel(index), original, guess, None if known is None else known[index], limits)
        x, y = page.corner(index)
        if words:
            page.write(x, y - 3.5, style.shorten(str(words[index]), 0.55 * TILE), va="bottom", size=style.SMALL_SIZE)
        error = np.square(guess - original).sum() if numbers is None else float(numbers[index])
        page.write(x + TILE, y - 3.5, f"{error:.2g}", va="bottom", ha="right", size=style.SMALL_SIZE, color=style.MUTED)
    return page.figure


def _draw(axes: Axes, original: FloatArray, guess: FloatArray, seen: int | None, limits: tuple[float, float]) -> None:
    """One stroke (T, 2) and its reconstruction, on the scale common to all."""
    axes.plot(*original.T, color=style.TRAIN, linewidth=4.5, alpha=0.4, solid_capstyle="round", solid_joinstyle="round")
    known = len(guess) if seen is None else seen
    axes.plot(*guess[:known].T, color=style.darker(style.TRAIN), linewidth=1.2)
    if seen is not None:
        # The prediction goes on where the reconstruction ends; without one, where the pen was.
        start = original[known - 1] if np.isnan(guess[known - 1]).any() else guess[known - 1]
        axes.plot(*np.concatenate([start[None], guess[known:]]).T, color=style.VALIDATION, linewidth=1.2)
    axes.plot(*original[0], marker="o", markersize=5, markerfacecolor="white", markeredgecolor=style.TRAIN)
    low, high = limits
    room = 0.08 * (high - low)
    axes.set_xlim(low - room, high + room)
    axes.set_ylim(low - room, high + room)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set(visible=True, color=style.HAIRLINE)


def _legend(page: PanelPage, reconstructed: bool, predicted: bool) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=style.TRAIN, linewidth=4.5, alpha=0.4, solid_capstyle="butt")]
    words = ["original"]
    if reconstructed:
        handles.append(Line2D([], [], color=style.darker(style.TRAIN), linewidth=1.2))
        words.append("reconstruction")
    if predicted:
        handles.append(Line2D([], [], color=style.VALIDATION, linewidth=1.2))
        words.append("prediction")
    page.legend(page.left, page.under_title, handles, words, len(words))
