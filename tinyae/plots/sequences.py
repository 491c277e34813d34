"""Pictures of vectors and sequences: reconstructions, predictions, pen strokes, and anomaly scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

from tinyae.checks import check_kind, number, whole_number
from tinyae.plots import style
from tinyae.plots.style import FloatArray, RealArray, finished, host_array, legend_above, one_each, panels, pixel_range

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# ---------------------------------------------------------------------------------------------------------------------
# Reconstructions of vectors and sequences, as panels of lines. All panels of a feature have the same scale, so that errors can
# be compared. The original is a broad pale line, the reconstruction thin dark dashes on top of it, a prediction another color.

SQUARED_ERROR = "squared error per example"
MOST_FEATURES = 8
MOST_EXAMPLES = 4
"""Sequences of several features that are drawn."""
LEAST_SEEN = 4
"""Steps drawn before a prediction, at least."""


class Look(TypedDict, total=False):
    """Style of a line."""

    linewidth: float
    alpha: float
    solid_capstyle: Literal["round"]
    dashes: tuple[float, float]


BROAD: Look = {"linewidth": 3.2, "alpha": 0.5, "solid_capstyle": "round"}
THIN: Look = {"linewidth": 1.0, "dashes": (3.0, 1.4)}
SOLID: Look = {"linewidth": 1.2}
STROKE: Look = {"linewidth": 4.5, "alpha": 0.4, "solid_capstyle": "round"}


@style.picture
def vector_reconstructions(
    originals: RealArray,
    reconstructed: RealArray,
    *,
    errors: Iterable[float] | None = None,
    error_unit: str = SQUARED_ERROR,
    labels: Iterable[object] | None = None,
    feature_names: Sequence[object] | None = None,
    seen: int | Iterable[int] | None = None,
    count: int = 12,
    value_name: str = "value",
    title: str = "Originals and their reconstructions",
) -> Figure:
    """Draw the first `count` vectors or sequences as lines, each with its reconstruction.

    `originals`, `reconstructed`: arrays of the same shape, vectors (N, D), drawn over their components, or sequences
    (N, T, D), drawn over the steps. Of D > 1 features each has a row of panels with its own scale, and at most 4 sequences a
    column each; of more than 8 features those with the largest errors, relative to their variance. Steps where the original is
    NaN, as after the end of a short sequence, are left blank.
    `errors` (N,): the number above each example, in `error_unit`. None computes the squared error per example, the
    sum of squared differences over all values and features where the original is not NaN.
    `labels` (N,): titles of the examples. `feature_names` (D,): left of their panels, of vectors below their components.
    `seen` (N,) or one number for all: how many steps the model saw; the output for later steps is a prediction, drawn after a
    dotted border. Missing steps of the output are NaN in `reconstructed`; then pass `errors`. If the output begins with the
    prediction, only as many of the steps seen are drawn, at least 4, so that it fills half a panel.
    `value_name`: label of the vertical axis, with the unit.

    Raises `TypeError` for anything but NumPy arrays and `ValueError` for shapes or lengths that do not match, and for a unit
    without errors.
    """
    first, second = _as_sequences(originals, "originals"), _as_sequences(reconstructed, "reconstructed")
    if first.shape != second.shape:
        raise ValueError(
            f"originals {originals.shape} and reconstructed {reconstructed.shape} must have the same shape."
        )
    numbers = one_each(errors, len(first), "errors", "examples")
    words = one_each(labels, len(first), "labels", "examples")
    known = _borders(seen, len(first), first.shape[1], "examples")
    if numbers is None:
        if error_unit != SQUARED_ERROR:
            raise ValueError(
                f"error_unit is {error_unit!r} but no errors are given: pass errors=, one for each example."
            )
        numbers = list(np.where(np.isnan(first), 0.0, (second - first) ** 2).sum(axis=(1, 2)))
    components = originals.ndim == 2 and feature_names is not None
    names = one_each(feature_names, originals.shape[-1], "feature_names", "features")
    several = first.shape[2] > 1
    shown = min(whole_number("count", count, at_least=1), len(first), *([MOST_EXAMPLES] if several else []))
    # The output after the end of a short sequence is not drawn.
    first, second = first[:shown], np.where(np.isnan(first), np.nan, second)[:shown]
    start, steps = 0, first.shape[1]  # the first step drawn, from 0
    reconstruction = known is None or any(np.isfinite(made[:n]).any() for made, n in zip(second, known, strict=False))
    if known is not None and not reconstruction:
        horizon = max(int(np.isfinite(made).any(axis=1).sum()) for made in second)
        start = max(min(known[:shown]) - max(horizon, LEAST_SEEN), 0)
    errors_of = np.square(np.where(np.isfinite(second - first), second - first, 0.0)).sum(axis=(0, 1))
    relative = errors_of / np.maximum(np.where(np.isfinite(first), first, 0.0).var(axis=(0, 1)), 1e-12)
    features = sorted(np.argsort(-relative, kind="stable")[:MOST_FEATURES].tolist())
    columns = shown if several else min(shown, 4 if shown > 6 else 3)
    width, height = (300.0, 120.0) if shown == 1 else (150.0, 84.0)
    height = 56.0 if several else height
    figure, grid = panels(shown * len(features), columns, width, height, across=14.0, down=9.0 if several else 36.0)
    style.outer_labels(grid, columns)
    room = max(0.02 * (steps - start), 0.1) if steps > 1 else 0.5
    above = style.aligned(numbers[:shown])
    for index, axes in enumerate(grid):
        row, example = divmod(index, shown)
        feature = features[row]
        border = None if known is None else known[example]
        _draw_example(axes, first[example, :, feature], second[example, :, feature], border)
        # One scale for all panels of a feature, from the finite values.
        low, high = pixel_range(None, first[:, start:, feature], second[:, start:, feature])
        margin = 0.06 * (high - low)
        axes.set(xlim=(start + 1 - room, steps + room), ylim=(low - margin, high + margin))
        if components:
            _name_components(axes, list(map(str, names or ())), width)
        else:
            axes.locator_params(axis="x", integer=True, nbins=6, min_n_ticks=1)
        axes.locator_params(axis="y", nbins=3 if several else 4)
        if row == 0:
            axes.set_title(style.shorten(str(words[example]) if words else "", 0.7 * width))
            axes.set_title(above[example], loc="right", color=style.MUTED)
        if several and example == 0:
            name = str(names[feature]) if names else f"feature {feature + 1}"
            axes.set_ylabel(style.shorten(name, 110.0), rotation=0, ha="right", va="center")
    lines: list[tuple[str, str, Look]] = [("original" if known is None else "actual", style.TRAIN, BROAD)]
    lines += [("reconstruction", style.darker(style.TRAIN), THIN)] if reconstruction else []
    lines += [("prediction", style.VALIDATION, SOLID)] if known is not None else []
    legend_above(grid[0], _marks(lines), 3, gap=22.0)
    note = f"At the upper right of each {'column' if several else 'panel'}: {error_unit}."
    if known is not None:
        note += " The model is given the steps before the dotted line."
    if left := first.shape[2] - len(features):
        note += f" {style.counted(left, 'feature')} with smaller relative errors not drawn."
    across = "step" if originals.ndim == 3 else "feature" if components else "component"
    # Features without a common unit have only their names.
    return finished(figure, title, note, across=across, up="" if several and value_name == "value" else value_name)


def _name_components(axes: Axes, names: list[str], width: float) -> None:
    """Write the names of the components below them, of many only some."""
    shown = np.unique(np.linspace(0, len(names) - 1, min(len(names), int(width // 14))).astype(np.intp))
    words = [style.shorten(names[n], 70.0) for n in shown]
    axes.set_xticks(shown + 1, words)
    if sum(style.text_width(word, style.SMALL_SIZE) + 10 for word in words) > width:
        axes.tick_params(axis="x", labelrotation=90)


@style.picture
def forecast(past: Mapping[str, RealArray], future: Mapping[str, RealArray], *, title: str = "Forecast") -> Figure:
    """Draw a forecast, one panel for each feature, in its own unit: what the model saw, and from there on what it predicts.

    `past`: the last steps (T,) of each feature by name; `future`: the steps (F,) that follow. At most 8 features are drawn.
    Raises `ValueError` unless both have the same features.
    """
    if list(past) != list(future) or not past:
        raise ValueError(f"past has the features {list(past)}, future {list(future)}: give the same, at least one.")
    names = list(past)[:MOST_FEATURES]
    columns = 1 if len(names) == 1 else 2
    width = 420.0 if columns == 1 else 260.0
    figure, grid = panels(len(names), columns, width, 110.0, across=52.0, down=34.0)
    for name, axes in zip(names, grid, strict=True):
        seen, ahead = (
            host_array(np.asarray(past[name]), f"past[{name!r}]", "(T,)"),
            host_array(np.asarray(future[name]), f"future[{name!r}]", "(F,)"),
        )
        if seen.ndim != 1 or ahead.ndim != 1:
            raise ValueError(f"past and future must be (T,) and (F,), got {seen.shape} and {ahead.shape} for {name!r}.")
        (before,) = axes.plot(np.arange(1 - len(seen), 1), seen, color=style.INK, linewidth=1.2)
        (after,) = axes.plot(np.arange(len(ahead) + 1), [seen[-1], *ahead], color=style.VALIDATION, linewidth=1.6)
        if len(ahead) <= 24:
            after.set(marker="o", markersize=3.0, markevery=slice(1, None))
        axes.axvline(0, color=style.MUTED, linewidth=0.8, linestyle=":")
        axes.set_title(style.shorten(str(name), 0.9 * width))
        axes.locator_params(axis="x", integer=True, nbins=8)
        axes.locator_params(axis="y", nbins=5)
    legend_above(grid[0], [(before, "seen by the model"), (after, "forecast")], 2, gap=22.0)
    left = len(past) - len(names)
    note = f"{style.counted(left, 'more feature')} not drawn." if left else ""
    return finished(figure, title, note, across="steps after the last one seen")


def _draw_example(axes: Axes, original: FloatArray, made: FloatArray, seen: int | None) -> None:
    """Draw one feature (T,) of an example and its reconstruction; after the first `seen` steps, its prediction."""
    _draw_line(axes, 1, original, BROAD, style.TRAIN, 6)
    if seen is None or not np.isnan(made[:seen]).all():
        _draw_line(axes, 1, made[:seen], THIN, style.darker(style.TRAIN), 3)
    if seen is not None:
        # The line of the future begins at the last step seen.
        future = np.concatenate([original[seen - 1 : seen], made[seen:]])
        _draw_line(axes, seen, future, SOLID, style.VALIDATION, 3)
        axes.axvline(seen, color=style.MUTED, linewidth=0.8, linestyle=":")


def _draw_line(axes: Axes, start: int, values: FloatArray, look: Look, color: str, marker: float) -> None:
    """Draw values (T,) from step `start` on; one or two as markers."""
    (line,) = axes.plot(np.arange(start, start + len(values)), values, color=color, markersize=marker, **look)
    line.set_marker("o" if len(values) <= 2 else "")


def _marks(lines: Iterable[tuple[str, str, Look]]) -> list[tuple[Artist, str]]:
    """Return legend entries of lines given as (word, color, look)."""
    from matplotlib.lines import Line2D

    return [(Line2D([], [], color=color, **look), word) for word, color, look in lines]


def _as_sequences(values: RealArray, name: str) -> FloatArray:
    """Return sequences (N, T, D) in float64; a vector (N, D) is a sequence of D steps and one feature."""
    array = host_array(values, name, "(N, D) or (N, T, D)")
    if array.ndim not in (2, 3):
        raise ValueError(
            f"{name} must be vectors (N, D) or sequences (N, T, D), got {values.shape}: "
            "images (N, H, W, C) are drawn by reconstructions."
        )
    return array if array.ndim == 3 else array[:, :, np.newaxis]


def _borders(seen: int | Iterable[int] | None, count: int, steps: int, whole: str) -> list[int] | None:
    """How many steps a model saw of each of `count` examples, given one number for all or one for each, from 1 to `steps`."""
    each = seen if seen is None or isinstance(seen, Iterable) else [seen] * count
    each = one_each(each, count, "seen", whole)
    return None if each is None else [_up_to("seen", n, steps) for n in each]


def _up_to(name: str, value: object, most: int, least: int = 1) -> int:
    """A number of steps or samples, from `least` to `most`."""
    if (steps := whole_number(name, value, at_least=least)) > most:
        raise ValueError(f"{name} must be at most {most}, as many as there are, got {steps}.")
    return steps


# ---------------------------------------------------------------------------------------------------------------------
# Pen strokes: sequences of points (x, y) drawn in the plane, instead of as two curves over time.


@style.picture
def pen_strokes(
    originals: RealArray,
    reconstructed: RealArray,
    *,
    lengths: Iterable[int] | None = None,
    labels: Iterable[object] | None = None,
    errors: Iterable[float] | None = None,
    seen: int | Iterable[int] | None = None,
    count: int = 20,
    columns: int = 10,
    title: str = "Pen strokes and their reconstructions",
) -> Figure:
    """Draw the first `count` strokes, each with its reconstruction and the squared error above.

    `originals`, `reconstructed` (N, T, 2): points (x, y), y upwards, of which the first `lengths` (N,) are valid. A ring marks
    the first point. `labels` (N,): titles of the tiles.
    `seen` (N,) or one number for all: how many points the model saw; the output for later points is a prediction, drawn in
    another color. Missing points of the output are NaN in `reconstructed`.
    `errors` (N,): the numbers above the tiles. None computes the squared error over the valid points.

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for other shapes.
    """
    first = host_array(originals, "originals", "(N, T, 2)")
    second = host_array(reconstructed, "reconstructed", "(N, T, 2)")
    if first.ndim != 3 or first.shape[2] != 2 or first.shape != second.shape:
        raise ValueError(
            f"originals {originals.shape} and reconstructed {reconstructed.shape} must both be strokes (N, T, 2)."
        )
    ends = one_each(lengths, len(first), "lengths", "strokes") or [first.shape[1]] * len(first)
    ends = [_up_to("lengths", n, first.shape[1]) for n in ends]
    words = one_each(labels, len(first), "labels", "strokes")
    numbers = one_each(errors, len(first), "errors", "strokes")
    known = _borders(seen, len(first), first.shape[1], "strokes")
    shown = min(whole_number("count", count, at_least=1), len(first))
    columns = min(whole_number("columns", columns, at_least=1), shown)
    parts = [(a[:n], b[:n]) for a, b, n in zip(first[:shown], second[:shown], ends, strict=False)]
    drawn = known is None or any(np.isfinite(made[:n]).any() for (_, made), n in zip(parts, known, strict=False))
    limits = pixel_range(None, *(part for pair in parts for part in pair))
    side = 72.0
    figure, grid = panels(shown, columns, side, side, across=8.0, down=17.0)
    numbers = numbers or [float(np.square(made - original).sum()) for original, made in parts]
    above = style.aligned(numbers[:shown])
    for index, (axes, (original, made)) in enumerate(zip(grid, parts, strict=True)):
        _draw(axes, original, made, None if known is None else known[index], limits)
        word = style.shorten(str(words[index]) if words else "", 0.55 * side, style.SMALL_SIZE)
        axes.set_title(word, size=style.SMALL_SIZE, pad=3.0)
        axes.set_title(above[index], loc="right", size=style.SMALL_SIZE, color=style.MUTED, pad=3.0)
    lines: list[tuple[str, str, Look]] = [("original", style.TRAIN, STROKE)]
    lines += [("reconstruction", style.darker(style.TRAIN), SOLID)] if drawn else []
    lines += [("prediction", style.VALIDATION, SOLID)] if known is not None else []
    legend_above(grid[0], _marks(lines), 3, gap=20.0)
    note = "The ring is the first point. At the upper right of each tile: squared error per stroke."
    return finished(figure, title, note)


def _draw(axes: Axes, original: FloatArray, made: FloatArray, seen: int | None, limits: tuple[float, float]) -> None:
    """Draw one stroke (T, 2) and its reconstruction, on the common scale."""
    axes.plot(*original.T, color=style.TRAIN, **STROKE)
    known = len(made) if seen is None else min(seen, len(made))
    axes.plot(*made[:known].T, color=style.darker(style.TRAIN), **SOLID)
    if seen is not None:
        # The prediction continues the reconstruction or, without one, the original.
        start = original[known - 1] if np.isnan(made[known - 1]).any() else made[known - 1]
        axes.plot(*np.concatenate([start[None], made[known:]]).T, color=style.VALIDATION, **SOLID)
    axes.plot(*original[0], marker="o", markersize=5, markerfacecolor="white", markeredgecolor=style.TRAIN)
    low, high = limits
    room = 0.08 * (high - low)
    axes.set(xlim=(low - room, high + room), ylim=(low - room, high + room), xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=style.HAIRLINE)


# ---------------------------------------------------------------------------------------------------------------------
# Anomaly scores over time, with the threshold, known incidents and, optionally, the recording below.

MOST_BARS = 400
"""More scores than this are drawn as one outline."""
Span = tuple[str, float, float]


@style.picture
def score_timeline(
    scores: RealArray,
    threshold: float,
    *,
    train: int = 0,
    spans: Sequence[Span] = (),
    stamps: Sequence[str] | None = None,
    recording: RealArray | None = None,
    breaks: Sequence[int] = (),
    value_name: str = "value",
    unit: str = "squared error per sample",
    across: str = "sample",
    title: str = "Anomaly scores",
) -> Figure:
    """Draw scores (N,) in order as bars, those above the threshold in another color.

    `threshold`: the dashed line, in the unit of the scores.
    `train`: how many of the first scores belong to training samples; they are drawn pale.
    `spans`: (name, from, to) of known incidents, in samples after the first, drawn as shaded bands.
    `stamps` (N,): a label for each sample, such as its date, written below some of them.
    `recording` (N, S) or (N, S, 1): the recorded values from the beginning of each sample to that of the next, drawn below on
    the same time axis; `value_name` is the axis label.
    `breaks`: indices of samples before which the recording has a gap.
    `unit`: of the scores. `across`: label of the horizontal axis.

    Raises `ValueError` unless scores are finite numbers (N,), with one stamp each.
    """
    heights = host_array(scores, "scores", "(N,)")
    if heights.ndim != 1 or not np.isfinite(heights).all():
        raise ValueError(
            f"scores must be finite numbers (N,), got shape {heights.shape}: flatten them, and look for NaN."
        )
    threshold, train = number("threshold", threshold), whole_number("train", train, at_least=0)
    spans = check_kind("spans", list(spans), Sequence[Span])
    stamps = None if stamps is None else check_kind("stamps", list(stamps), Sequence[str])
    if stamps is not None and len(stamps) != len(heights):
        raise ValueError(f"got {len(stamps)} stamps for {len(heights)} scores: pass one for each.")
    line = None if recording is None else _recording(recording, len(heights))
    breaks = [_up_to("breaks", place, len(heights), least=0) for place in breaks]
    width = 640.0
    figure, (axes,) = panels(1, 1, width, 210.0)
    entries = _scores_entries(threshold, bool(train), bool(spans))
    legend_above(axes, entries, len(entries), gap=28.0 if spans else 6.0)
    _draw_scores(axes, heights, threshold, train)
    axes.axhline(threshold, color=style.INK, linewidth=0.8, linestyle="--")
    axes.set(xlim=(0, len(heights)), ylim=(0, 1.05 * max(float(heights.max(initial=0.0)), threshold)), ylabel=unit)
    for place, (name, first, last) in enumerate(spans):
        axes.axvspan(first, last, color=style.HAIRLINE, zorder=0)
        # On two alternating lines, so that neighbors do not overlap.
        axes.annotate(
            name, ((first + last) / 2, 1.0), (0.0, 4.0 + 11.0 * (place % 2)), size=style.SMALL_SIZE, color=style.MUTED,
            xycoords=axes.get_xaxis_transform(), textcoords="offset points", ha="center", annotation_clip=False,
        )  # fmt: skip
    if stamps is not None:
        words = _shortest(stamps)
        most = int(width // (max(style.text_width(word, style.SMALL_SIZE) for word in words) + 14.0))
        shown = np.linspace(0.04, 0.96, min(max(most, 1), 8)) * (len(heights) - 1)
        shown = np.unique(shown.astype(np.intp))
        axes.set_xticks(shown + 0.5, [words[i] for i in shown])
    else:
        axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    lowest = axes
    if line is not None:
        lowest = axes.inset_axes((0.0, -0.52, 1.0, 0.38))
        _draw_recording(lowest, line, heights > threshold, breaks)
        lowest.set(xticks=axes.get_xticks(), xlim=axes.get_xlim(), ylabel=style.wrap(value_name, 80.0))
    lowest.set_xlabel(across)
    return finished(figure, title)


def _scores_entries(threshold: float, train: bool, spans: bool) -> list[tuple[Artist, str]]:
    """Return the entries of the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows: list[tuple[Artist, str]] = [(Patch(color=style.VALIDATION), "above the threshold")]
    rows.append((Patch(color=style.TRAIN), "below"))
    if train:
        rows.append((Patch(color=style.TRAIN, alpha=0.4), "training"))
    rows.append((Line2D([], [], color=style.INK, linewidth=0.8, linestyle="--"), f"threshold {threshold:.3g}"))
    if spans:
        rows.append((Patch(color=style.HAIRLINE), "known incident"))
    return rows


def _draw_scores(axes: Axes, heights: FloatArray, threshold: float, train: int) -> None:
    """Draw the scores: above the threshold, below it, and those of training samples below it."""
    places = np.arange(len(heights)) + 0.5
    kinds = (
        (heights > threshold, style.VALIDATION, 1.0),
        ((heights <= threshold) & (places >= train), style.TRAIN, 1.0),
        ((heights <= threshold) & (places < train), style.TRAIN, 0.4),
    )
    for chosen, color, strength in kinds:
        if len(heights) <= MOST_BARS:
            axes.bar(places[chosen], heights[chosen], width=0.9, color=color, alpha=strength, linewidth=0)
        elif color == style.VALIDATION:  # few among many: at least as wide as a line
            axes.vlines(places[chosen], 0.0, heights[chosen], colors=color, linewidth=0.7)
        else:  # one outline for all: tens of thousands of bars would take minutes
            axes.stairs(np.where(chosen, heights, 0.0), fill=True, color=color, alpha=strength, linewidth=0)


def _shortest(stamps: Sequence[str]) -> list[str]:
    """The stamps, without the date if all have the same date."""
    days = {stamp.partition(" ")[0] for stamp in stamps}
    return [stamp.partition(" ")[2] or stamp for stamp in stamps] if len(days) == 1 else list(stamps)


def _recording(recording: RealArray, samples: int) -> FloatArray:
    """The recording (N, S), checked."""
    line = host_array(recording, "recording", "(N, S)")
    line = line[..., 0] if line.ndim == 3 and line.shape[2] == 1 else line
    if line.ndim != 2 or len(line) != samples:
        raise ValueError(
            f"recording has shape {recording.shape} for {samples} scores: give one row for each, ({samples}, S)."
        )
    return line


def _draw_recording(axes: Axes, line: FloatArray, flagged: RealArray, breaks: Sequence[int]) -> None:
    """Draw the recording below the scores, flagged samples in the color of flagged scores; no line crosses a break."""
    places = np.asarray(breaks, np.int64) * line.shape[1]
    across = np.insert(np.arange(line.size) / line.shape[1], places, np.asarray(breaks, np.float64))
    values = np.insert(line.ravel(), places, np.nan)
    high = np.insert(np.repeat(flagged, line.shape[1]), places, False)
    axes.plot(across, values, color=style.TRAIN, linewidth=0.5)
    axes.plot(across, np.where(high, values, np.nan), color=style.VALIDATION, linewidth=0.7)
    axes.tick_params(labelbottom=False)
    axes.locator_params(axis="y", nbins=4)


# ---------------------------------------------------------------------------------------------------------------------
# One number for each time step, such as the norm of the gradient that arrives there.


@style.picture
def step_norms(
    norms: Mapping[str, RealArray],
    *,
    unit: str = "gradient norm",
    note: str = "",
    title: str = "Gradient norm at each time step",
) -> Figure:
    """Draw positive numbers (T,) as lines over the steps 1 to T, on a logarithmic scale.

    `norms`: name -> numbers. `unit`: label of the vertical axis. `note`: a sentence below. Numbers that are 0 or not finite
    are omitted and counted below.
    """
    if not norms:
        raise ValueError("step_norms got no numbers: pass {name: array (T,)}.")
    rows = {name: host_array(row, name, "(T,)") for name, row in norms.items()}
    for name, row in rows.items():
        if row.ndim != 1 or (row < 0).any():
            raise ValueError(f"{name} must be numbers of at least 0, (T,), got shape {row.shape}: pass norms.")
    missing = {name: int(np.count_nonzero(~(np.isfinite(row) & (row > 0)))) for name, row in rows.items()}
    lost = " ".join(f"{name}: {style.counted(n, 'step')} 0 or not finite." for name, n in missing.items() if n)
    figure, (axes,) = panels(1, 1, 420.0, 190.0)
    drawn = np.concatenate([row[np.isfinite(row) & (row > 0)] for row in rows.values()])
    style.log_scale(axes, *((drawn.min(), drawn.max()) if drawn.size else (1.0, 1.0)))
    entries: list[tuple[Artist, str]] = []
    for place, (name, row) in enumerate(rows.items()):
        shown = np.where(np.isfinite(row) & (row > 0), row, np.nan)
        color = style.PALETTE[place % len(style.PALETTE)]
        (line,) = axes.plot(np.arange(1, len(row) + 1), shown, color=color, linewidth=1.6, marker="o", markersize=2.5)
        entries.append((line, name))
    legend_above(axes, entries, len(rows))
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    return finished(figure, title, f"{note} {lost}", across="step", up=unit)
