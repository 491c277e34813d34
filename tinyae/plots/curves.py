"""Pictures of a training run: one panel for each unit, the epochs along the bottom.

Nats per image and squared error per image have nothing to do on one axis, so a metric goes to the panel of
its unit and a second axis on the other side is never drawn. The epoch of the lowest validation loss is marked
in every panel: what comes later fits the training samples alone. A value that is missing is skipped; a value that is NaN or
infinite is news, so it breaks the line and leaves a cross on the bottom of the panel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinyae.plots import style
from tinyae.plots.panels import LEGEND_LINE, PanelPage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN_LOSS, VALIDATION_LOSS = "train_loss", "validation_loss"
LOSS_UNIT = "loss"
FEW_EPOCHS = 25
PANEL_WIDTH, PANEL_HEIGHT = 250.0, 150.0

# The epochs at which a metric was measured, and its values there.
Series = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@style.drawing()
def loss_curves(
    rows: Sequence[Mapping[str, Any]],
    *,
    units: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    log_scale: bool = False,
    title: str = "Loss by epoch",
) -> Figure:
    """Draw the course of a training run, one panel for each unit.

    `rows`: a mapping for each epoch, as in `metrics.csv`, with `epoch` and numbers (or their text) by metric name,
    usually `train_loss` and `validation_loss`. An absent, None or empty entry means not measured.
    `metrics`: the names to draw; None draws every column of numbers.
    `units`: the unit of each metric, such as `{"train_loss": "nats per image"}`. Without it the two losses share a
    panel called loss, and any other metric stands by its own name less `train_` or `validation_`.
    `log_scale`: logarithmic upward axes, for losses over several decades.

    The epoch of the lowest `validation_loss` is marked in every panel. Raises `ValueError` without rows, epochs or
    metrics, for an unknown name in `metrics`, and for values <= 0 with `log_scale`.
    """
    if not rows:
        raise ValueError("loss_curves got no rows: train at least one epoch first.")
    table = _table(rows, metrics)
    panels: dict[str, list[str]] = {}
    for metric in table:
        panels.setdefault(unit_of(metric, units or {}), []).append(metric)
    lowest = lowest_epoch(table.get(VALIDATION_LOSS))
    # Below the unit stands a legend: the metrics, perhaps the epoch of the lowest and the cross, two to a line.
    room = (max(len(names) for names in panels.values()) + 3) // 2 * LEGEND_LINE
    page = PanelPage(
        len(panels),
        min(len(panels), 3),
        PANEL_WIDTH,
        PANEL_HEIGHT,
        title=title,
        head=22.0 + room,
        foot=30.0,
        left=38.0,
        right=6.0,
        gap=52.0,
    )
    for index, (unit, names) in enumerate(panels.items()):
        axes = page.panel(index)
        series = {name: table[name] for name in names}
        handles, words = _draw(axes, unit, series, lowest)
        if log_scale:
            _log_scale(axes, unit, list(series.values()))
        x, y = page.corner(index)
        page.write(x, y - room - 5, style.shorten(unit, PANEL_WIDTH), va="bottom")
        page.legend(x, y - room, handles, words, 2)
        page.write(x + PANEL_WIDTH / 2, y + PANEL_HEIGHT + 15, "epoch", ha="center", color=style.MUTED)
    return page.figure


def unit_of(metric: str, units: Mapping[str, str]) -> str:
    """Return the unit of `metric`: from `units`, else `loss` for the two losses, else its name in words."""
    if metric in units:
        return units[metric]
    name = metric.removeprefix("train_").removeprefix("validation_")
    return LOSS_UNIT if name == "loss" else name.replace("_", " ")


def lowest_epoch(losses: Series | None) -> float | None:
    """Return the first epoch of the lowest finite loss in (epochs, losses), or None where there is none."""
    if losses is None or not np.isfinite(losses[1]).any():
        return None
    epochs, values = losses
    return float(epochs[np.argmin(np.where(np.isfinite(values), values, np.inf))])


def _table(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] | None) -> dict[str, Series]:
    """Return for each metric the epochs at which it was measured, ascending, and its values there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if any(_number(row.get("epoch")) is None or not math.isfinite(_number(row["epoch"]) or 0) for row in rows):
        raise ValueError(f"every row must hold 'epoch' as a number, got rows with {names}: add the epoch to each.")
    ordered = sorted(rows, key=lambda row: _number(row["epoch"]) or 0.0)
    table = {name: series for name in names if name != "epoch" and (series := _series(ordered, name)) is not None}
    if metrics is not None:
        unknown = [name for name in metrics if name not in table]
        if unknown:
            raise ValueError(f"no metric {unknown[0]!r} in the rows: choose from {', '.join(table) or 'none'}.")
        table = {name: table[name] for name in metrics}
    if not table:
        raise ValueError(f"the rows hold no metric, only the columns {names}: add for example 'train_loss'.")
    return table


def _series(rows: Sequence[Mapping[str, Any]], name: str) -> Series | None:
    """Return (epochs, values) of a column of numbers, None for a column of words or without any entry."""
    # Not measured (absent, None, empty) is no value at all, unlike NaN, which is one.
    measured = [(row["epoch"], row[name]) for row in rows if row.get(name) not in (None, "")]
    values = [_number(value) for _, value in measured]
    if not measured or any(value is None for value in values):
        return None
    epochs = np.array([_number(epoch) for epoch, _ in measured], dtype=np.float64)
    return epochs, np.array(values, dtype=np.float64)


def _number(value: Any) -> float | None:
    """Return a number, or the text of one as a CSV file holds it, as a float; None for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _draw(axes: Axes, unit: str, series: Mapping[str, Series], lowest: float | None) -> tuple[list[Any], list[str]]:
    """Draw the metrics of one unit into their panel; return the keys and the words of its legend.

    A metric called like its unit needs no entry: the head of the panel has named it. Values that are not finite
    interrupt their line and become crosses on the lower edge, at the epoch where they happened.
    """
    entries: list[tuple[Any, str]] = []
    if lowest is not None:
        axes.axvline(lowest, color=style.MUTED, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
    broken: list[float] = []
    for (name, (epochs, values)), colour in zip(series.items(), _colours(list(series)), strict=True):
        finite = np.isfinite(values)
        broken += list(epochs[~finite])
        marked = _marked(finite)
        looks: dict[str, Any] = {"marker": "o", "markersize": 3.5, "markevery": marked} if marked else {}
        (line,) = axes.plot(epochs, np.where(finite, values, np.nan), color=colour, linewidth=1.5, **looks)
        words = name.replace("_", " ")
        if words != unit:
            entries.append((line, words))
    if lowest is not None:
        entries += _mark_lowest(axes, series, lowest)
    if broken:
        (crosses,) = axes.plot(
            broken,
            np.zeros(len(broken)),
            "x",
            color=style.NOT_FINITE,
            markersize=6,
            clip_on=False,
            transform=axes.get_xaxis_transform(),  # across in epochs, up in fractions of the panel
            zorder=4,
        )
        entries.append((crosses, "not finite"))
    # A single epoch still gets an axis of some width, with its one tick in the middle.
    every = np.concatenate([epochs for epochs, _ in series.values()])
    room = max(0.03 * (every.max() - every.min()), 0.5)
    axes.set_xlim(every.min() - room, every.max() + room)
    axes.locator_params(axis="x", integer=True, nbins=7, min_n_ticks=1)
    axes.locator_params(axis="y", nbins=6)
    if len(broken) == len(every):
        axes.set_yticks([])  # there is nothing that a scale could measure
    return [handle for handle, _ in entries], [words for _, words in entries]


def _mark_lowest(axes: Axes, series: Mapping[str, Series], lowest: float) -> list[tuple[Any, str]]:
    """Ring the value at the epoch of the lowest validation loss, on the first line of the panel that does not belong to training.

    Returns the ring with its words as an entry for the legend, or nothing if no value was measured there.
    """
    for name in [name for name in series if not name.startswith("train_")][:1]:
        epochs, values = series[name]
        there = (epochs == lowest) & np.isfinite(values)
        if there.any():
            value = float(values[there][0])
            (ring,) = axes.plot([lowest], [value], "o", markersize=8, markerfacecolor="none", color=style.INK, zorder=4)
            ring.set_linestyle("")
            chosen = "lowest: epoch" if name == VALIDATION_LOSS else "epoch"
            return [(ring, f"{chosen} {lowest:g}, {value:.4g}")]
    return []


def _marked(finite: npt.NDArray[np.bool_]) -> list[int]:
    """Return the places (from 0) that need a mark, for the finite values given as True.

    All of a few epochs are marked; of many only those without a finite neighbour, which no line would show.
    """
    if len(finite) <= FEW_EPOCHS:
        return list(range(len(finite)))
    padded = np.concatenate([[False], finite, [False]])
    return [int(place) for place in np.flatnonzero(finite & ~padded[:-2] & ~padded[2:])]


def _colours(names: Sequence[str]) -> list[str]:
    """Return a colour for each metric of a panel.

    Training is blue and validation orange in every panel, so that the eye need not return to the legend; a second
    metric of the same kind and all others take the next free colour.
    """
    chosen: list[str] = []
    for name in names:
        usual = style.TRAIN if name.startswith("train_") else style.VALIDATION
        known = name.startswith(("train_", "validation_")) and usual not in chosen
        others = [colour for colour in style.PALETTE if colour not in (style.TRAIN, style.VALIDATION, *chosen)]
        chosen.append(usual if known else (others or style.PALETTE)[0])
    return chosen


def _log_scale(axes: Axes, unit: str, series: Sequence[Series]) -> None:
    """Give the panel a logarithmic scale with plain numbers at its ticks; without finite values do nothing."""
    finite = np.concatenate([values[np.isfinite(values)] for _, values in series])
    if finite.size == 0:
        return
    lowest, highest = float(finite.min()), float(finite.max())
    if lowest <= 0:
        raise ValueError(f"log_scale needs values above 0, got {lowest:g} in {unit!r}: leave log_scale out.")
    style.log_scale(axes, lowest, highest)
