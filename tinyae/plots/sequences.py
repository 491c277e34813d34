"""Pictures of vectors and sequences: reconstructions, predictions, pen strokes, and scores over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyae.plots import style
from tinyae.plots.style import (
    LEGEND_LINE,
    AnyArray,
    FloatArray,
    PanelPage,
    as_sequences,
    borders,
    host_array,
    one_each,
    pixel_range,
    positive_count,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# ---------------------------------------------------------------------------------------------------------------------
# Pictures of reconstructions that are not images: small panels of lines, original and reconstruction.
#
# All panels share one scale, so that a large error looks large beside a small one. A feature keeps its color:
# the original is the broad pale line, the reconstruction the thin dark dashes on it. Where they agree one sees
# one line.

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
    for feature, color in zip(range(original.shape[1]), style.PALETTE, strict=False):
        steps = np.arange(start, start + len(original))
        axes.plot(steps, original[:, feature], color=color, marker=mark, markersize=6, **BROAD)
        for first, guess, looks in guesses:
            marked = "o" if len(guess) <= 2 else ""
            steps = np.arange(first, first + len(guess))
            axes.plot(steps, guess[:, feature], color=style.darker(color), marker=marked, markersize=3, **looks)


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

    A single feature is blue and needs no name; several have a key in their color each, and the kinds of line
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
        handles += [Line2D([], [], color=color, **BROAD) for color, _ in zip(style.PALETTE, names, strict=False)]
    return handles, [*words, *(names if len(names) > 1 else [])]


# ---------------------------------------------------------------------------------------------------------------------
# Sequences with what a model makes of them: the part it saw, reconstructed, and the part that followed, predicted.


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


# ---------------------------------------------------------------------------------------------------------------------
# Pen strokes: sequences of points (x, y) drawn as the lines they are, instead of as two curves over time.

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
    in another color. Points that it did not draw are NaN in `reconstructed`.
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
    _strokes_legend(page, drawn, known is not None)
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


def _strokes_legend(page: PanelPage, reconstructed: bool, predicted: bool) -> None:
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


# ---------------------------------------------------------------------------------------------------------------------
# A picture of anomaly scores in time: one mark per sample, the threshold, and what is known to have happened.
#
# Below the scores, if it is given, runs what was recorded, with the flagged stretches in the color of their scores.

SCORE_WIDTH, SCORE_HEIGHT, SCORE_SIDE, NAME_LINE = 640.0, 210.0, 46.0, 11.0
LOW = 80.0
MOST_BARS = 400
"""More scores are drawn as one outline."""
Span = tuple[str, float, float]


@style.drawing()
def score_timeline(
    scores: AnyArray,
    threshold: float,
    *,
    train: int = 0,
    spans: Sequence[Span] = (),
    stamps: Sequence[str] | None = None,
    recording: AnyArray | None = None,
    breaks: Sequence[int] = (),
    value_name: str = "value",
    unit: str = "squared error per sample",
    across: str = "sample",
    title: str = "Anomaly scores",
) -> Figure:
    """Draw scores (N,) in their order as bars from 0, those above the threshold in another color.

    `threshold`: the dashed line, in the unit of the scores.
    `train`: how many of the first scores belong to training samples; they are drawn pale.
    `spans`: (name, from, to) of known incidents in samples after the first, drawn as shaded bands.
    `stamps` (N,): a word for each sample, such as its date, written below some of them.
    `recording` (N, S) or (N, S, 1): what was measured from the beginning of each sample to that of the next, drawn below
    on the same time axis, in `value_name`.
    `breaks`: numbers of samples, from 0, before which the recording has a gap.
    `unit`: of the scores. `across`: what one sample is.

    Raises `ValueError` for scores that are not one row of finite numbers, or words that do not fit them.
    """
    heights = host_array(scores, "scores", "(N,)").astype(np.float64)
    if heights.ndim != 1 or not np.isfinite(heights).all():
        raise ValueError(f"scores must be finite numbers (N,), got shape {heights.shape}.")
    if stamps is not None and len(stamps) != len(heights):
        raise ValueError(f"got {len(stamps)} stamps for {len(heights)} scores: pass one for each.")
    line = None if recording is None else _recording(recording, len(heights))
    handles, names = _scores_legend(threshold, bool(train), bool(spans))
    below = "" if line is None else f" Below: {value_name}."
    page = PanelPage(
        1, 1, SCORE_WIDTH, SCORE_HEIGHT, title=title, note=f"Across: {across}. Up: {unit}.{below}",
        head=2 * NAME_LINE + 6 if spans else 6.0, foot=20.0, left=SCORE_SIDE, above=LEGEND_LINE,
        lowest=0.0 if line is None else LOW + 6.0,
    )  # fmt: skip
    page.legend(page.left, page.under_title, handles, names, len(names))
    axes = page.panel(0)
    _draw_scores(axes, heights, threshold, train)
    axes.axhline(threshold, color=style.INK, linewidth=0.8, linestyle="--")
    axes.set_xlim(0, len(heights))
    axes.set_ylim(0, 1.05 * max(float(heights.max(initial=0.0)), threshold))
    left, top = page.corner(0)
    for number, (name, first, last) in enumerate(spans):
        axes.axvspan(first, last, color=style.HAIRLINE, zorder=0)
        x = left + (first + last) / 2 / len(heights) * SCORE_WIDTH
        # Two lines in turn, so that neighbors do not run into each other.
        y = top - 4 - number % 2 * NAME_LINE
        page.write(x, y, name, size=style.SMALL_SIZE, ha="center", va="bottom", color=style.MUTED)
    if stamps is not None:
        words = _shortest(stamps)
        most = int(SCORE_WIDTH // (max(style.text_width(word, style.SMALL_SIZE) for word in words) + 14.0))
        shown = np.linspace(0.04, 0.96, min(max(most, 1), 8)) * (len(heights) - 1)
        shown = np.unique(shown.astype(int))
        axes.set_xticks(shown + 0.5, [words[i] for i in shown])
    if line is not None:
        _draw_recording(page, line, heights > threshold, axes.get_xticks(), breaks)
    return page.figure


def _scores_legend(threshold: float, train: bool, spans: bool) -> tuple[list[Artist], list[str]]:
    """Marks and words for what is in the picture."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows: list[tuple[Artist, str]] = [(Patch(color=style.VALIDATION), "above the threshold")]
    rows.append((Patch(color=style.TRAIN), "below"))
    if train:
        rows.append((Patch(color=style.TRAIN, alpha=0.4), "training"))
    rows.append((Line2D([], [], color=style.INK, linewidth=0.8, linestyle="--"), f"threshold {threshold:.3g}"))
    if spans:
        rows.append((Patch(color=style.HAIRLINE), "known incident"))
    return [mark for mark, _ in rows], [word for _, word in rows]


def _draw_scores(axes: Axes, heights: FloatArray, threshold: float, train: int) -> None:
    """The scores from 0 upwards: those above the threshold, those below, and those below of training samples."""
    places = np.arange(len(heights)) + 0.5
    kinds = (
        (heights > threshold, style.VALIDATION, 1.0),
        ((heights <= threshold) & (places >= train), style.TRAIN, 1.0),
        ((heights <= threshold) & (places < train), style.TRAIN, 0.4),
    )
    for chosen, color, strength in kinds:
        if len(heights) <= MOST_BARS:
            axes.bar(places[chosen], heights[chosen], width=0.9, color=color, alpha=strength, linewidth=0)
        elif color == style.VALIDATION:  # few among many: wide enough to be seen
            axes.vlines(places[chosen], 0.0, heights[chosen], colors=color, linewidth=0.7)
        else:  # one outline for all: a bar is an object of its own, and tens of thousands of them take minutes
            axes.stairs(np.where(chosen, heights, 0.0), fill=True, color=color, alpha=strength, linewidth=0)


def _shortest(stamps: Sequence[str]) -> list[str]:
    """The stamps, without the date if it is that of all."""
    days = {stamp.partition(" ")[0] for stamp in stamps}
    return [stamp.partition(" ")[2] or stamp for stamp in stamps] if len(days) == 1 else list(stamps)


def _recording(recording: AnyArray, samples: int) -> FloatArray:
    """What was measured, one row of numbers (S,) for each sample."""
    line = host_array(recording, "recording", "(N, S)").astype(np.float64)
    line = line[..., 0] if line.ndim == 3 and line.shape[2] == 1 else line
    if line.ndim != 2 or len(line) != samples:
        raise ValueError(
            f"recording has shape {recording.shape} for {samples} scores: give one row for each, ({samples}, S)."
        )
    return line


def _draw_recording(
    page: PanelPage, line: FloatArray, flagged: AnyArray, ticks: AnyArray, breaks: Sequence[int]
) -> None:
    """The recording below the scores, flagged stretches in the color of flagged scores; no line crosses a break."""
    left, top = page.corner(0)
    axes = style.add_panel(page.figure, left, top + SCORE_HEIGHT + 20.0, SCORE_WIDTH, LOW)
    places = np.asarray(breaks, np.int64) * line.shape[1]
    across = np.insert(np.arange(line.size) / line.shape[1], places, np.asarray(breaks, np.float64))
    values = np.insert(line.ravel(), places, np.nan)
    high = np.insert(np.repeat(flagged, line.shape[1]), places, False)
    axes.plot(across, values, color=style.TRAIN, linewidth=0.5)
    axes.plot(across, np.where(high, values, np.nan), color=style.VALIDATION, linewidth=0.7)
    axes.set_xticks(ticks)
    axes.set_xlim(0, len(line))
    axes.tick_params(labelbottom=False)
    axes.locator_params(axis="y", nbins=4)


# ---------------------------------------------------------------------------------------------------------------------
# One number for each time step, such as how much of the gradient arrives there: lines over the steps, to compare.

STEP_WIDTH, STEP_HEIGHT, STEP_SIDE = 420.0, 190.0, 46.0


@style.drawing()
def step_norms(
    norms: Mapping[str, AnyArray],
    *,
    unit: str = "gradient norm",
    note: str = "",
    title: str = "What arrives at each time step",
) -> Figure:
    """Draw rows of positive numbers (T,), each a line over the steps 1 to T, on a logarithmic scale.

    `norms`: name -> numbers. `unit`: what the upward axis measures. `note`: a sentence below. A number that is 0 or not
    finite has no place on the scale; it is left out of its line and counted below.
    """
    if not norms:
        raise ValueError("step_norms was given no numbers: pass {name: array (T,)}.")
    rows = {name: host_array(row, name, "(T,)").astype(np.float64) for name, row in norms.items()}
    for name, row in rows.items():
        if row.ndim != 1 or (row < 0).any():
            raise ValueError(f"{name} must be numbers of at least 0, (T,), got shape {row.shape}.")
    missing = {name: int(np.count_nonzero(~(np.isfinite(row) & (row > 0)))) for name, row in rows.items()}
    lost = " ".join(f"{name}: {style.counted(n, 'step')} 0 or not finite." for name, n in missing.items() if n)
    from matplotlib.lines import Line2D

    colors = [style.PALETTE[number % len(style.PALETTE)] for number in range(len(rows))]
    page = PanelPage(
        1, 1, STEP_WIDTH, STEP_HEIGHT, title=title, note=" ".join(filter(None, (f"Across: step. Up: {unit}.", note, lost))),
        head=6.0, foot=16.0, left=STEP_SIDE, above=LEGEND_LINE,
    )  # fmt: skip
    page.legend(
        page.left, page.under_title, [Line2D([], [], color=color, linewidth=1.6) for color in colors], list(rows),
        len(rows),
    )  # fmt: skip
    axes = page.panel(0)
    drawn = np.concatenate([row[np.isfinite(row) & (row > 0)] for row in rows.values()])
    style.log_scale(axes, *((drawn.min(), drawn.max()) if drawn.size else (1.0, 1.0)))
    for (_, row), color in zip(rows.items(), colors, strict=True):
        shown = np.where(np.isfinite(row) & (row > 0), row, np.nan)
        axes.plot(np.arange(1, len(row) + 1), shown, color=color, linewidth=1.6, marker="o", markersize=2.5)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.tick_params(which="minor", length=0)
    return page.figure
