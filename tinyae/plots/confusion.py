"""A confusion matrix: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, host_array, one_each
from tinyae.plots.panels import PanelPage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = 30.0
SHARES = 1.4
"""Cells of room for the shares right of the table."""
MOST_CLASSES = 40


@style.drawing()
def confusion(counts: AnyArray, class_names: Sequence[str] | None = None, *, title: str = "Confusion matrix") -> Figure:
    """Draw counts (C, C): row i are the samples of class i, column j those taken for class j.

    The shade is the share of the row, so that rare classes are as visible as common ones; the number is the count, and
    the diagonal, which is right, has its own colour. Right of each row stands the share that was right.

    Raises `ValueError` unless `counts` is a square of whole numbers of at least 0, of at most 40 classes.
    """
    if getattr(getattr(counts, "dtype", None), "kind", "") not in "iu":
        raise ValueError(f"counts must be whole numbers, got {getattr(counts, 'dtype', type(counts).__name__)}.")
    table = host_array(counts, "counts", "(C, C)").astype(np.int64)
    size = len(table)
    if table.shape != (size, size) or (size and table.min() < 0):
        raise ValueError(f"counts must be (C, C) and at least 0, got shape {table.shape}.")
    if not 1 <= size <= MOST_CLASSES:
        raise ValueError(f"confusion draws 1 to {MOST_CLASSES} classes, got {size}.")
    names = one_each(class_names, size, "class_names", "classes") or [str(i) for i in range(size)]
    words = [style.shorten(str(name), 70.0, style.SMALL_SIZE) for name in names]
    left = max(style.text_width(word, style.SMALL_SIZE) for word in words) + 26.0
    right_ones = int(np.trace(table))
    total = int(table.sum())
    page = PanelPage(
        1,
        1,
        CELL * (size + SHARES),
        CELL * size,
        title=title,
        note=f"Rows: the class. Columns: what it was taken for. Right: the share that was right. "
        f"{right_ones:,} of {total:,} are right ({right_ones / max(total, 1):.2%}).",
        head=6.0,
        foot=left,
        left=left,
        above=4.0,
    )
    axes = page.panel(0)
    rows = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, rows, out=np.zeros(table.shape), where=rows > 0)
    wrong = np.where(np.eye(size, dtype=bool), np.nan, shares)
    good = np.where(np.eye(size, dtype=bool), shares, np.nan)
    # Wrong entries are small beside right ones; on one scale nothing of them would be seen.
    axes.imshow(good, cmap="Blues", vmin=0.0, vmax=1.6, aspect="auto")
    axes.imshow(
        wrong, cmap="Oranges", vmin=0.0, vmax=max(float(np.nanmax(wrong, initial=0.0)) * 1.3, 1e-9), aspect="auto"
    )
    axes.set_xlim(-0.5, size - 0.5 + SHARES)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(size), words, rotation=90, fontsize=style.SMALL_SIZE)
    axes.set_yticks(range(size), words, fontsize=style.SMALL_SIZE)
    axes.tick_params(length=0)
    axes.grid(False)
    for i in range(size):
        for j in range(size):
            if table[i, j]:
                axes.text(j, i, f"{table[i, j]:,}", ha="center", va="center", fontsize=style.SMALL_SIZE)
        axes.text(size - 0.35, i, f"{shares[i, i]:.1%}", va="center", fontsize=style.SMALL_SIZE, color=style.MUTED)
    return page.figure
