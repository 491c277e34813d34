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
from tinyae.plots.arrays import AnyArray, FloatArray, as_sequences, borders, one_each, pixel_range, positive_count
from tinyae.plots.panels import LEGEND_LINE, PanelPage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SQUARED_ERROR = "squared error per example"
MOST_FEATURES = 8
PANEL_WIDTH, PANEL_HEIGHT, PANEL_GAP, AXIS_ROOM = 150.0, 84.0, 14.0, 30.0
BROAD: dict[str, Any] = {"linewidth": 3.2, "alpha": 0.5, "solid_capstyle": "round"}
LONE_WIDTH, LONE_HEIGHT, NAME_WIDTH = 300.0, 120.0, 110.0
"""A single panel is larger than one of many, and a name in the legend at most so wide."""
THIN: dict[str, Any] = {"linewidth": 1.0, "dashes": (3.0, 1.4)}
SOLID: dict[str, Any] = {"linewidth": 1.2}


@style.drawing()
def vector_reconstructions(
    originals: AnyArray,
    reconstructed: AnyArray,
    *,
    errors: Sequence[float] | AnyArray | None = None,
    error_unit: str = SQUARED_ERROR,
    labels: Sequence[Any] | AnyArray | None = None,
    feature_names: Sequence[str] | None = None,
    seen: int | Sequence[int] | AnyArray | None = None,
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
    `seen` (N,) or one number for all: how many first steps the model saw; what it made of the others is a prediction,
    drawn solid behind a dotted line. Steps that it did not make are NaN in `reconstructed`; then pass `errors`.
    `value_name`: what the upward axis measures, with its unit.

    Raises `TypeError` for anything but NumPy arrays and `ValueError` for shapes or lengths that do not fit each
    other, and for a unit without errors.
    """
    first, second = _sequences(originals, reconstructed)
    numbers = one_each(errors, len(first), "errors", "examples")
    words = one_each(labels, len(first), "labels", "examples")
    known = borders(seen, len(first), "examples")
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
    if known is not None:
        note += " The model sees the steps before the dotted line."
    page = line_page(
        shown, [str(name) for name in names or []][:MOST_FEATURES], title, note,
        reconstruction=known is None or any(np.isfinite(second[n, : known[n]]).any() for n in range(shown)),
        prediction=known is not None,
    )  # fmt: skip
    # One scale for all panels, taken from the finite values: NaN and infinity have no place on it.
    limits = pixel_range(None, first, second)
    for index in range(shown):
        axes = page.panel(index)
        if known is None:
            draw_lines(axes, 1, first[index], ((1, second[index], THIN),))
        else:
            draw_divided(axes, first[index], second[index, : known[index]], second[index, known[index] :])
        set_limits(axes, first.shape[1], limits)
        axes.tick_params(labelleft=index % page.columns == 0, labelbottom=index + page.columns >= shown)
        x, y = page.corner(index)
        if words:
            page.write(x, y - 4, style.shorten(str(words[index]), 0.7 * page.width), va="bottom")
        page.write(x + page.width, y - 4, f"{float(numbers[index]):.3g}", va="bottom", ha="right", color=style.MUTED)
    return page.figure


def _sequences(originals: AnyArray, reconstructed: AnyArray) -> tuple[FloatArray, FloatArray]:
    """Both sets as sequences (N, T, D); a vector (N, D) is a sequence of D steps and one feature."""
    first, second = as_sequences(originals, "originals"), as_sequences(reconstructed, "reconstructed")
    if first.shape != second.shape:
        raise ValueError(f"originals {originals.shape} and reconstructed {reconstructed.shape} must have one shape.")
    return first, second


def line_page(
    panels: int, names: list[str], title: str, note: str, *, reconstruction: bool = True, prediction: bool = False
) -> PanelPage:
    """An empty page with its legend: one panel for each example, as many columns as read well.

    `reconstruction`, `prediction`: whether the legend has a line for what was reconstructed, and for what was predicted.
    """
    names = [style.shorten(name, NAME_WIDTH, style.SMALL_SIZE) for name in names]
    handles, words = _legend(names, reconstruction, prediction)
    columns = min(panels, 4 if panels > 6 else 3)
    width, height = (LONE_WIDTH, LONE_HEIGHT) if panels == 1 else (PANEL_WIDTH, PANEL_HEIGHT)
    widest = max(style.text_width(text, style.SMALL_SIZE) for text in words) + 36
    per_line = max(1, int((columns * (width + PANEL_GAP)) // widest))
    page = PanelPage(
        panels,
        columns,
        width,
        height,
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


def draw_lines(
    axes: Axes, start: int, original: FloatArray, guesses: Sequence[tuple[int, FloatArray, dict[str, Any]]]
) -> None:
    """Draw one example (T, D) from step `start` on, and guesses, each with the step it begins at and its looks."""
    # A lone point makes no line, so short series get marks.
    mark = "o" if len(original) <= 2 else ""
    for feature, colour in zip(range(original.shape[1]), style.PALETTE, strict=False):
        steps = np.arange(start, start + len(original))
        axes.plot(steps, original[:, feature], color=colour, marker=mark, markersize=6, **BROAD)
        for first, guess, looks in guesses:
            marked = "o" if len(guess) <= 2 else ""
            steps = np.arange(first, first + len(guess))
            axes.plot(steps, guess[:, feature], color=style.darker(colour), marker=marked, markersize=3, **looks)


def draw_divided(axes: Axes, original: FloatArray, past: FloatArray, future: FloatArray) -> None:
    """Draw one example, and what a model made of the steps it saw (T, D) and of those that follow (S, D)."""
    seen = len(past)
    # The last step seen leads into the future, so that neither the truth nor the guess begins in the air.
    after = np.concatenate([original[seen - 1 : seen], future])
    draw_lines(axes, 1, original, ([] if np.isnan(past).all() else [(1, past, THIN)]) + [(seen, after, SOLID)])
    axes.axvline(seen, color=style.MUTED, linewidth=0.8, linestyle=":")


def set_limits(axes: Axes, steps: int, limits: tuple[float, float]) -> None:
    """Make room for `steps` steps and for values within `limits`, the lowest and highest of all panels."""
    low, high = limits
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    room = max(0.02 * steps, 0.1) if steps > 1 else 0.5
    axes.set_xlim(1 - room, steps + room)
    axes.locator_params(axis="x", integer=True, nbins=6, min_n_ticks=1)
    axes.locator_params(axis="y", nbins=4)


def _legend(names: list[str], reconstruction: bool, prediction: bool) -> tuple[list[Any], list[str]]:
    """Return the keys and the words of the legend.

    A single feature is blue and needs no name; several have a key in their colour each, and the kinds of line
    are then shown in gray, as they mean the same for all.
    """
    from matplotlib.lines import Line2D

    plain = style.PALETTE[0] if len(names) < 2 else style.MUTED
    handles, words = [Line2D([], [], color=plain, **BROAD)], ["original"]
    if reconstruction:
        handles.append(Line2D([], [], color=style.darker(plain), **THIN))
        words.append("reconstruction")
    if prediction:
        handles.append(Line2D([], [], color=style.darker(plain), **SOLID))
        words.append("prediction")
    if len(names) > 1:
        handles += [Line2D([], [], color=colour, **BROAD) for colour, _ in zip(style.PALETTE, names, strict=False)]
    return handles, [*words, *(names if len(names) > 1 else [])]
