"""A sheet of picture tiles: rows and columns of small images on one page, with room for words.

All tiles lie in ONE axes that covers the whole page and counts in points from the upper left corner. An axes
per tile would cost about ten milliseconds each, seconds for a large grid; an image in a shared axes costs
one, and its place is a plain sum. Every tile stays an own `AxesImage` holding its unscaled pixels, in reading
order, so `sheet.axes.images[i].get_array()` gives back what was put in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

DIVERGING = "RdBu_r"
TILE = 64.0
LARGEST_TILE = 160.0
GAP = 4.0
SMALLEST_PAGE = 250.0
SMALLEST_SCALE = 40.0
TITLE_LINE, NOTE_LINE = 15.0, 10.5


def colormap_named(name: str) -> Colormap:
    """Return matplotlib's map `name` with NaN in its marked colour.

    A gray map has 256 steps, so that the pixel n / 255 is drawn as the byte n. A diverging map has an odd
    number of steps: the one in the middle is the neutral colour, and zero falls on it.
    """
    import matplotlib

    steps = 257 if name == DIVERGING else 256
    return matplotlib.colormaps[name].resampled(steps).with_extremes(bad=style.NOT_FINITE)


def half_points(length: float) -> float:
    """Round up to half a point, the length of one device pixel at the default resolution."""
    return math.ceil(length * 2 - 1e-9) / 2


def tile_size(height: int, width: int, tile: float = TILE) -> tuple[float, float, str]:
    """Return width and height in points, and the interpolation, of the tile for an image of H x W pixels.

    `tile`: about how long the longer side is, in points.

    Each image pixel becomes a whole number of device pixels (at the default resolution), drawn crisp. Only
    images longer than 320 pixels have to be reduced, and are then smoothed so that they do not alias.
    """
    longest = max(height, width)
    if longest / 2 > LARGEST_TILE:
        shrink = LARGEST_TILE / longest
        return half_points(width * shrink), half_points(height * shrink), "antialiased"
    zoom = max(1, round(2 * tile / longest)) / 2
    return width * zoom, height * zoom, "nearest"


class Sheet:
    """An empty page for `rows` x `columns` tiles of images (H, W, C).

    `title` stands above, `note` (small) below; both are broken into lines as wide as the page.
    `head`, `foot`, `left`, `right`: points left free around the block of tiles for words and scales.
    `row_gap`: points between two rows; between two columns there are always 4.
    `tile`: about how long the longer side of a tile is. `group`: (rows, points), after so many rows more room.

    Afterwards `figure` is the page and `axes` its one axes; `left`, `top`, `right`, `bottom` are the edges of the
    block of tiles, in points from the page's upper left corner.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        image_shape: tuple[int, int, int],
        *,
        title: str,
        note: str = "",
        head: float = 0.0,
        foot: float = 0.0,
        left: float = 0.0,
        right: float = 0.0,
        row_gap: float = GAP,
        tile: float = TILE,
        group: tuple[int, float] | None = None,
    ) -> None:
        self.tile_width, self.tile_height, self.interpolation = tile_size(image_shape[0], image_shape[1], tile)
        self.row_gap, self.group = row_gap, group or (rows, 0.0)
        # First all lengths, then the page: its size follows from its content and never the other way round.
        block_width = columns * self.tile_width + (columns - 1) * GAP
        page = max(math.ceil(half_points(left) + block_width + right), SMALLEST_PAGE)
        titles = style.wrap(title, page, style.TITLE_SIZE, "bold")
        notes = style.wrap(note, page, style.SMALL_SIZE)
        self.left = style.MARGIN + half_points(left)
        self.top = style.MARGIN + (len(titles) * TITLE_LINE + 5 if titles else 0) + half_points(head)
        self.bottom = self.corner(rows - 1, 0)[1] + self.tile_height
        self.right = self.left + block_width
        note_top = self.bottom + half_points(foot) + (8 if notes else 0)
        width = page + 2 * style.MARGIN
        height = math.ceil(note_top + len(notes) * NOTE_LINE + style.MARGIN)
        self.figure = style.new_figure(width, height)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, width)
        # Downward axis: a place on the page is written as one reads it, from the upper left corner.
        self.axes.set_ylim(height, 0)
        self.axes.set_axis_off()
        for line, text in enumerate(titles):
            self.write(style.MARGIN, style.MARGIN + line * TITLE_LINE, text, size=style.TITLE_SIZE, weight="bold")
        for line, text in enumerate(notes):
            self.write(style.MARGIN, note_top + line * NOTE_LINE, text, size=style.SMALL_SIZE, color=style.MUTED)

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """Return the upper left corner of a tile, in points from the page's upper left corner."""
        x = self.left + column * (self.tile_width + GAP)
        return x, self.top + row * (self.tile_height + self.row_gap) + row // self.group[0] * self.group[1]

    def draw(self, row: int, column: int, pixels: FloatArray, low: float, high: float, colormap: str = "gray") -> None:
        """Draw pixels (H, W, C) into a tile: C = 1 through `colormap` from `low` to `high`, C = 3 as colours.

        Values beyond the range are drawn as its ends, values that are not finite in `style.NOT_FINITE`.
        """
        x, y = self.corner(row, column)
        self._image(pixels, (x, y, self.tile_width, self.tile_height), low, high, colormap, self.interpolation)
        self._frame(x, y, self.tile_width, self.tile_height)

    def scale(self, row: int, rows: int, low: str, high: str, colormap: str, middle: str = "") -> None:
        """Draw a colour scale right of the tiles, `rows` rows high from `row` on, with words at its ends.

        Beside low tiles it is as high as its words need, `SMALLEST_SCALE`, and reaches below the last row.
        """
        x, y = self.right + 8.0, self.corner(row, 0)[1]
        height = max(rows * self.tile_height + (rows - 1) * self.row_gap, SMALLEST_SCALE)
        ramp = np.linspace(1.0, 0.0, 257)[:, np.newaxis, np.newaxis]
        self._image(ramp, (x, y, 6.0, height), 0.0, 1.0, colormap, "nearest")
        self._frame(x, y, 6.0, height)
        places = ((high, y, "top"), (middle, y + height / 2, "center"), (low, y + height, "bottom"))
        for text, level, anchor in places:
            self.write(x + 10.0, level, text, size=style.SMALL_SIZE, va=anchor, color=style.MUTED)

    def caption(self, row: int, column: int, text: str) -> None:
        """Write `text` centred above a tile, cut to its width so that it cannot run into its neighbour."""
        x, y = self.corner(row, column)
        text = style.shorten(text, self.tile_width, style.SMALL_SIZE)
        self.write(x + self.tile_width / 2, y - 3.5, text, size=style.SMALL_SIZE, ha="center", va="baseline")

    def write(self, x: float, y: float, text: str, **looks: Any) -> None:
        """Write `text` with its upper left corner (or what `ha`, `va` say) at (`x`, `y`) points."""
        style.write(self.figure, x, y, text, **looks)

    def _image(
        self,
        pixels: FloatArray,
        box: tuple[float, float, float, float],
        low: float,
        high: float,
        colormap: str,
        interpolation: str,
    ) -> None:
        """Draw pixels (H, W, C) into `box` = (x, y, width, height) in points."""
        x, y, width, height = box
        looks: dict[str, Any] = {
            "extent": (x, x + width, y + height, y),
            "aspect": "auto",
            "interpolation": interpolation,
        }
        if pixels.shape[2] == 1:
            shown = np.ma.masked_invalid(pixels[:, :, 0])
            self.axes.imshow(shown, cmap=colormap_named(colormap), vmin=low, vmax=high, **looks)
        else:
            from matplotlib.colors import to_rgb

            # matplotlib has no colour for NaN in colour images, so range and mark are applied here.
            finite = np.isfinite(pixels).all(axis=2, keepdims=True)
            colours = np.clip((np.where(finite, pixels, low) - low) / (high - low), 0.0, 1.0)
            self.axes.imshow(np.where(finite, colours, to_rgb(style.NOT_FINITE)), **looks)

    def _frame(self, x: float, y: float, width: float, height: float) -> None:
        """Draw a hairline around a box, so that a white image does not dissolve into the page."""
        from matplotlib.patches import Rectangle

        # A plate below the image, half a point larger, instead of a line: it can cover no pixel of the image.
        plate = Rectangle((x - 0.5, y - 0.5), width + 1, height + 1, facecolor=style.HAIRLINE, linewidth=0, zorder=-1)
        self.axes.add_patch(plate)
