"""A picture of anomaly scores in time: one mark per sample, the threshold, and what is known to have happened.

Below the scores, if it is given, runs what was recorded, with the flagged stretches in the colour of their scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, FloatArray, host_array
from tinyae.plots.panels import LEGEND_LINE, PanelPage

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, SIDE, NAME_LINE = 640.0, 210.0, 46.0, 11.0
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
    """Draw scores (N,) in their order as bars from 0, those above the threshold in another colour.

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
    handles, names = _legend(threshold, bool(train), bool(spans))
    below = "" if line is None else f" Below: {value_name}."
    page = PanelPage(
        1, 1, WIDTH, HEIGHT, title=title, note=f"Across: {across}. Up: {unit}.{below}",
        head=2 * NAME_LINE + 6 if spans else 6.0, foot=20.0, left=SIDE, above=LEGEND_LINE,
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
        x = left + (first + last) / 2 / len(heights) * WIDTH
        # Two lines in turn, so that neighbours do not run into each other.
        y = top - 4 - number % 2 * NAME_LINE
        page.write(x, y, name, size=style.SMALL_SIZE, ha="center", va="bottom", color=style.MUTED)
    if stamps is not None:
        words = _shortest(stamps)
        most = int(WIDTH // (max(style.text_width(word, style.SMALL_SIZE) for word in words) + 14.0))
        shown = np.linspace(0.04, 0.96, min(max(most, 1), 8)) * (len(heights) - 1)
        shown = np.unique(shown.astype(int))
        axes.set_xticks(shown + 0.5, [words[i] for i in shown])
    if line is not None:
        _draw_recording(page, line, heights > threshold, axes.get_xticks(), breaks)
    return page.figure


def _legend(threshold: float, train: bool, spans: bool) -> tuple[list[Artist], list[str]]:
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
    for chosen, colour, strength in kinds:
        if len(heights) <= MOST_BARS:
            axes.bar(places[chosen], heights[chosen], width=0.9, color=colour, alpha=strength, linewidth=0)
        elif colour == style.VALIDATION:  # few among many: wide enough to be seen
            axes.vlines(places[chosen], 0.0, heights[chosen], colors=colour, linewidth=0.7)
        else:  # one outline for all: a bar is an object of its own, and tens of thousands of them take minutes
            axes.stairs(np.where(chosen, heights, 0.0), fill=True, color=colour, alpha=strength, linewidth=0)


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
    """The recording below the scores, flagged stretches in the colour of flagged scores; no line crosses a break."""
    left, top = page.corner(0)
    axes = style.add_panel(page.figure, left, top + HEIGHT + 20.0, WIDTH, LOW)
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
