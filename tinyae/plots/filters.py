"""Pictures of first-layer weights: what each hidden unit looks for in the image.

Weights have a sign and a natural zero, so each filter is drawn on a scale symmetric around zero: red raises
the unit, blue lowers it, the neutral middle is exactly zero. Each filter is scaled by its own largest weight,
for a weak filter can have as clear a shape as a strong one; how far the strengths lie apart is said below the
picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, FloatArray, full_shape, host_array, positive_count
from tinyae.plots.sheet import DIVERGING, SMALLEST_SCALE, Sheet, tile_size

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style.drawing()
def filters(
    weights: AnyArray,
    image_shape: Sequence[int],
    *,
    count: int = 64,
    order: str = "norm",
    title: str = "First-layer filters",
) -> Figure:
    """Draw the columns of a first layer's weights as images.

    `weights` (D_in, D_out): column j holds what hidden unit j multiplies the D_in pixel values with.
    `image_shape`: (H, W) or (H, W, C) with H W C = D_in. Colour filters (C = 3) are drawn as colours around a
    neutral gray, all others on a blue to red scale, white at zero.
    `count`: the number of filters at most. `order`: "norm" draws those of largest Euclidean norm first, "index" keeps
    the order of the layer.

    Raises `TypeError` for anything but a NumPy array, `ValueError` unless D_in is the number of values of an image.
    """
    columns = host_array(weights, "weights", "(D_in, D_out)")
    shape = full_shape(image_shape)
    if columns.ndim != 2:
        raise ValueError(f"weights must have shape (D_in, D_out), got {weights.shape}: pass the first layer's weight.")
    if columns.shape[0] != math.prod(shape):
        raise ValueError(
            f"weights have {columns.shape[0]} rows, but image_shape {tuple(image_shape)} has "
            f"{math.prod(shape)} values: weights are (D_in, D_out), so a transposed matrix may be the cause."
        )
    if order not in ("norm", "index"):
        raise ValueError(f"order must be 'norm' or 'index', got {order!r}.")
    total = columns.shape[1]
    shown = min(positive_count(count), total)
    finite = np.where(np.isfinite(columns), columns, 0.0)
    chosen = np.arange(total)
    if order == "norm":
        chosen = np.argsort(-np.linalg.norm(finite, axis=0), kind="stable")
    chosen = chosen[:shown]
    limits = np.abs(finite[:, chosen]).max(axis=0)
    across = shown if shown <= 10 else math.ceil(math.sqrt(shown))
    rows = math.ceil(shown / across)
    sheet = Sheet(
        rows,
        across,
        shape,
        title=title,
        note=_note(total, shown, order, limits, int(np.count_nonzero(~np.isfinite(columns[:, chosen])))),
        foot=max(0.0, SMALLEST_SCALE - rows * tile_size(*shape[:2])[1]),
        right=58.0 if shape[2] == 1 else 0.0,
    )
    for place, (index, limit) in enumerate(zip(chosen, limits, strict=True)):
        # The chosen filters are drawn from the untouched weights, so a NaN among them is seen.
        # A filter of zeros has no scale of its own; any will do, it is neutral all over.
        reach = float(limit) or 1.0
        pixels = columns[:, index].reshape(shape)
        sheet.draw(*divmod(place, across), pixels, -reach, reach, DIVERGING)
    if shape[2] == 1:
        sheet.scale(0, min(rows, 3), "\N{MINUS SIGN}largest", "+largest", DIVERGING, middle="0")
    return sheet.figure


def _note(total: int, shown: int, order: str, limits: FloatArray, broken: int) -> str:
    """Return the line below the filters: how many of how many, in which order, and how far their scales lie apart.

    `limits` are the largest absolute weights of the filters drawn, `broken` counts their weights that are not finite.
    """
    which = "largest norm first" if order == "norm" else "in the layer's order"
    weakest, strongest = float(limits.min()), float(limits.max())
    parts = [f"{shown} of {style.counted(total, 'filter')}, {which}."]
    parts.append("Each is scaled by its own largest absolute weight,")
    parts.append(f"from {weakest:.2g} to {strongest:.2g}." if shown > 1 else f"{strongest:.2g}.")
    if broken:
        parts.append(f"{style.counted(broken, 'weight')} not finite, drawn in magenta.")
    return " ".join(parts)
