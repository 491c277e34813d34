"""One number for each time step, such as how much of the gradient arrives there: lines over the steps, to compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, host_array
from tinyae.plots.panels import LEGEND_LINE, PanelPage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT, SIDE = 420.0, 190.0, 46.0


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

    colours = [style.PALETTE[number % len(style.PALETTE)] for number in range(len(rows))]
    page = PanelPage(
        1, 1, WIDTH, HEIGHT, title=title, note=" ".join(filter(None, (f"Across: step. Up: {unit}.", note, lost))),
        head=6.0, foot=16.0, left=SIDE, above=LEGEND_LINE,
    )  # fmt: skip
    page.legend(
        page.left, page.under_title, [Line2D([], [], color=colour, linewidth=1.6) for colour in colours], list(rows),
        len(rows),
    )  # fmt: skip
    axes = page.panel(0)
    drawn = np.concatenate([row[np.isfinite(row) & (row > 0)] for row in rows.values()])
    style.log_scale(axes, *((drawn.min(), drawn.max()) if drawn.size else (1.0, 1.0)))
    for (_, row), colour in zip(rows.items(), colours, strict=True):
        shown = np.where(np.isfinite(row) & (row > 0), row, np.nan)
        axes.plot(np.arange(1, len(row) + 1), shown, color=colour, linewidth=1.6, marker="o", markersize=2.5)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    axes.tick_params(which="minor", length=0)
    return page.figure
