"""Pictures of feature maps, and of how often a decoder writes each pixel.

A layer of convolutions turns an image into many small ones, one for each of its kernels: bright where the kernel
found what it looks for. Each map has a scale of its own, as a weak map can have as clear a shape as a strong one, and
the end of its scale is written above it: a map of zeros cannot pass for a faint one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, FloatArray, as_images, host_array, one_each, pixel_range, positive_count
from tinyae.plots.images import WORD_LINE
from tinyae.plots.panels import PanelPage
from tinyae.plots.sheet import DIVERGING, GAP, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERED = 20
"""Pixels on a side up to which a map of counts has its numbers written into it."""
_SIDE = 190.0


@style.drawing()
def feature_maps(
    maps: AnyArray,
    image: AnyArray | None = None,
    *,
    count: int = 64,
    title: str = "Feature maps",
) -> Figure:
    """Draw what a layer makes of one image: the image itself, then its maps in the layer's order.

    `maps` (H, W, K): the layer's output for the image, as in `nn.layer_outputs(model, x)["encoder.0"][0]`.
    `image` (H', W', C) or (H', W'): what was looked at, drawn first; its largest side decides how large the tiles are.
    `count`: the number of maps at most.
    Maps without a negative number go from black, 0, to white, the largest number, written above. As soon as one number
    is negative all are drawn from blue over white, 0, to red, with the largest absolute value above.

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for other shapes.
    """
    values = host_array(maps, "maps", "(H, W, K)")
    if values.ndim != 3:
        raise ValueError(f"maps must have shape (H, W, K), those of one image, got {maps.shape}: pass outputs[0].")
    shown = min(positive_count(count), values.shape[2])
    picture = None if image is None else as_images(host_array(image, "image", "(H, W, C)")[np.newaxis], name="image")[0]
    tiles = shown + (picture is not None)
    across = tiles if tiles <= 9 else math.ceil(math.sqrt(2 * tiles))
    signed = bool((values < 0).any())
    frame = max([values.shape, *([] if picture is None else [picture.shape])], key=lambda shape: max(shape[:2]))
    sheet = Sheet(
        math.ceil(tiles / across),
        across,
        (frame[0], frame[1], 1),
        title=title,
        note=_note(values, shown, signed),
        head=WORD_LINE,
        row_gap=GAP + WORD_LINE,
    )
    if picture is not None:
        sheet.draw(0, 0, picture, *pixel_range(None, picture))
        sheet.caption(0, 0, "image")
    for index in range(shown):
        row, column = divmod(index + (picture is not None), across)
        pixels = values[:, :, index]
        reach = float(np.abs(pixels[np.isfinite(pixels)]).max(initial=0.0))
        # A map of zeros has no scale of its own; any will do, it is of one colour.
        end = reach or 1.0
        sheet.draw(row, column, pixels[..., np.newaxis], -end if signed else 0.0, end, DIVERGING if signed else "gray")
        sheet.caption(row, column, f"{index}: {reach:.2g}")
    return sheet.figure


@style.drawing()
def overlap_maps(counts: Sequence[AnyArray], titles: Sequence[str] | None = None, *, title: str = "") -> Figure:
    """Draw how often each pixel is written, one panel for each map of counts, all on one scale.

    `counts`: arrays (H, W) of whole numbers as `nn.overlap_counts` gives; into maps of at most 20 x 20 the numbers are
    written.
    `titles`: one line above each, such as "kernel 3, stride 2".

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for other shapes or no maps.
    """
    maps = [host_array(one, "counts", "(H, W)") for one in counts]
    if not maps or any(one.ndim != 2 for one in maps):
        raise ValueError(f"counts must be one or more arrays (H, W), got shapes {[one.shape for one in maps]}.")
    words = one_each(titles, len(maps), "titles", "maps")
    largest = max(float(one.max()) for one in maps)
    page = PanelPage(
        len(maps), min(len(maps), 3), _SIDE, _SIDE, title=title, head=18.0 if words else 4.0, foot=8.0, left=0.0,
        note=f"How often each output pixel is written: white 0, darkest {largest:g}.",
    )  # fmt: skip
    for index, one in enumerate(maps):
        axes = page.panel(index)
        axes.set_axis_off()
        axes.imshow(one, cmap="Blues", vmin=0.0, vmax=largest * 1.25, interpolation="nearest")
        if words:
            x, y = page.corner(index)
            page.write(x, y - 5, str(words[index]), va="bottom")
        if max(one.shape) <= MOST_NUMBERED:
            _write_numbers(axes, one, largest)
    return page.figure


def _write_numbers(axes: Axes, counts: FloatArray, largest: float) -> None:
    """Write each number into its cell, light on the dark ones."""
    size = min(style.LABEL_SIZE, 0.6 * _SIDE / max(counts.shape))
    for (row, column), number in np.ndenumerate(counts):
        colour = "white" if number > 0.7 * largest else style.INK
        axes.text(column, row, f"{number:g}", ha="center", va="center", fontsize=size, color=colour)


def _note(values: FloatArray, shown: int, signed: bool) -> str:
    """The line below the maps: how many of how many, their scale, and what is silent or broken."""
    height, width, total = values.shape
    parts = [f"{shown} of {style.counted(total, 'map')} of {height} x {width}."]
    scale = "white is 0, red and blue the largest absolute value" if signed else "black is 0, white the largest value"
    parts.append(f"Above each its number and the end of its own scale: {scale}.")
    silent = int(np.count_nonzero((values[:, :, :shown] == 0).all(axis=(0, 1))))
    if silent:
        parts.append(f"{style.counted(silent, 'map')} zero everywhere.")
    broken = int(np.count_nonzero(~np.isfinite(values[:, :, :shown])))
    if broken:
        parts.append(f"{style.counted(broken, 'value')} not finite, drawn in magenta.")
    return " ".join(parts)
