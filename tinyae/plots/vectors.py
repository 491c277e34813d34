"""Pictures of reconstructions that are no images: small panels of lines, original and reconstruction.

All panels share one scale, so that a large error looks large beside a small one. A feature keeps its colour:
the original is the broad pale line, the reconstruction the thin dark dashes on it. Where they agree one sees
one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, FloatArray, host_array, one_each, pixel_range, positive_count
from tinyae.plots.panels import LEGEND_LINE, PanelPage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SQUARED_ERROR = "squared error per example"
MOST_FEATURES = 8
PANEL_WIDTH, PANEL_HEIGHT, PANEL_GAP, AXIS_ROOM = 150.0, 84.0, 14.0, 30.0
BROAD: dict[str, Any] = {"linewidth": 3.2, "alpha": 0.5, "solid_capstyle": "round"}
THIN: dict[str, Any] = {"linewidth": 1.0, "dashes": (3.0, 1.4)}


@style.drawing()
def vector_reconstructions(
    originals: AnyArray,
    reconstructed: AnyArray,
    *,
    errors: Sequence[float] | AnyArray | None = None,
    error_unit: str = SQUARED_ERROR,
    labels: Sequence[Any] | AnyArray | None = None,
    feature_names: Sequence[str] | None = None,
    count: int = 12,
    value_name: str = "value",
    title: str = "Originals and their reconstructions",
) -> Figure:
    """Draw the first `count` vectors or sequences as lines, each with its reconstruction.

    `originals`, `reconstructed`: two sets of one shape, vectors (N, D), drawn over their components, or sequences
    (N, T, D), of which each feature (the first 8 at most) is drawn over the steps. Steps where the original is NaN,
    as after the end of a short sequence, stay blank.
    `errors` (N,): the number above each panel, in `error_unit`. None computes the squared error per example, the
    sum of squared differences over all values that the original has, in all features.
    `labels` (N,): the words above the panels. `feature_names` (D,): the words of the legend.
    `value_name`: what the upward axis measures, with its unit.

    Raises `TypeError` for anything but NumPy arrays and `ValueError` for shapes or lengths that do not fit each
    other, and for a unit without errors.
    """
    first, second = _sequences(originals, reconstructed)
    numbers = one_each(errors, len(first), "errors", "examples")
    words = one_each(labels, len(first), "labels", "examples")
    total = first.shape[2]
    names = one_each(feature_names, total, "feature_names", "features")
    if numbers is None:
        if error_unit != SQUARED_ERROR:
            raise ValueError(
                f"error_unit is {error_unit!r} but no errors are given: pass errors=, one for each example."
            )
        numbers = list(np.where(np.isnan(first), 0.0, (second - first) ** 2).sum(axis=(1, 2)))
    shown = min(positive_count(count), len(first))
    first, second = first[:shown, :, :MOST_FEATURES], second[:shown, :, :MOST_FEATURES]
    # What a decoder writes behind the end of a short sequence belongs to no step.
    second = np.where(np.isnan(first), np.nan, second)

    if total > 1 and names is None:
        names = [f"feature {feature + 1}" for feature in range(total)]
    across = "step" if originals.ndim == 3 else "component"
    few = f" (first {MOST_FEATURES} of {total} features)" if total > MOST_FEATURES else ""
    note = f"Across: {across}{few}. Up: {value_name}. At the upper right of each panel: {error_unit}."
    page = _page(shown, [str(name) for name in names or []][:MOST_FEATURES], title, note)
    # One scale for all panels, taken from the finite values: NaN and infinity have no place on it.
    limits = pixel_range(None, first, second)
    for index in range(shown):
        axes = page.panel(index)
        _draw(axes, first[index], second[index], limits)
        axes.tick_params(labelleft=index % page.columns == 0, labelbottom=index + page.columns >= shown)
        x, y = page.corner(index)
        if words:
            page.write(x, y - 4, style.shorten(str(words[index]), 0.6 * PANEL_WIDTH), va="bottom")
        page.write(x + PANEL_WIDTH, y - 4, f"{float(numbers[index]):.3g}", va="bottom", ha="right", color=style.MUTED)
    return page.figure


def _sequences(originals: AnyArray, reconstructed: AnyArray) -> tuple[FloatArray, FloatArray]:
    """Both sets as sequences (N, T, D); a vector (N, D) is a sequence of D steps and one feature."""
    first = host_array(originals, "originals", "(N, D) or (N, T, D)").astype(np.float64)
    second = host_array(reconstructed, "reconstructed", "(N, D) or (N, T, D)").astype(np.float64)
    if first.ndim not in (2, 3):
        raise ValueError(
            f"originals must be vectors (N, D) or sequences (N, T, D), got {originals.shape}: "
            "images (N, H, W, C) are drawn by reconstructions."
        )
    if first.shape != second.shape:
        raise ValueError(f"originals {originals.shape} and reconstructed {reconstructed.shape} must have one shape.")
    return (first, second) if first.ndim == 3 else (first[:, :, np.newaxis], second[:, :, np.newaxis])


def _page(panels: int, names: list[str], title: str, note: str) -> PanelPage:
    """An empty page with its legend: one panel for each example, as many columns as read well."""
    handles, words = _legend(names)
    columns = min(panels, 4 if panels > 6 else 3)
    widest = max(style.text_width(text, style.SMALL_SIZE) for text in words) + 36
    per_line = max(1, int((AXIS_ROOM + columns * PANEL_WIDTH) // widest))
    page = PanelPage(
        panels,
        columns,
        PANEL_WIDTH,
        PANEL_HEIGHT,
        title=title,
        note=note,
        head=22.0,
        foot=14.0,
        left=AXIS_ROOM,
        gap=PANEL_GAP,
        above=-(-len(handles) // per_line) * LEGEND_LINE,
    )
    page.legend(page.left, page.under_title, handles, words, min(per_line, len(handles)))
    return page


def _draw(axes: Axes, original: FloatArray, reconstruction: FloatArray, limits: tuple[float, float]) -> None:
    """Draw one example (T, D) with its reconstruction; `limits` are the lowest and highest value of all panels."""
    steps = np.arange(1, len(original) + 1)
    # A lone point makes no line, so short series get marks.
    mark = "o" if len(steps) <= 2 else ""
    for feature, colour in zip(range(original.shape[1]), style.PALETTE, strict=False):
        axes.plot(steps, original[:, feature], color=colour, marker=mark, markersize=6, **BROAD)
        axes.plot(steps, reconstruction[:, feature], color=style.darker(colour), marker=mark, markersize=3, **THIN)
    low, high = limits
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    room = max(0.02 * len(steps), 0.1) if len(steps) > 1 else 0.5
    axes.set_xlim(1 - room, len(steps) + room)
    axes.locator_params(axis="x", integer=True, nbins=6, min_n_ticks=1)
    axes.locator_params(axis="y", nbins=4)


def _legend(names: list[str]) -> tuple[list[Any], list[str]]:
    """Return the keys and the words of the legend.

    A single feature is blue and needs no name; several have a key in their colour each, and the two kinds of line
    are then shown in gray, as they mean the same for all.
    """
    from matplotlib.lines import Line2D

    plain = style.PALETTE[0] if len(names) < 2 else style.MUTED
    handles = [Line2D([], [], color=plain, **BROAD), Line2D([], [], color=style.darker(plain), **THIN)]
    if len(names) > 1:
        handles += [Line2D([], [], color=colour, **BROAD) for colour, _ in zip(style.PALETTE, names, strict=False)]
    return handles, ["original", "reconstruction", *(names if len(names) > 1 else [])]
