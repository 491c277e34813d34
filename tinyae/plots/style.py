"""How all pictures look: colors, sizes and margins, what arrays they accept, pages of tiles and of panels, and saving."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinyae.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties


# ---------------------------------------------------------------------------------------------------------------------
# The look that all pictures share: one set of colors, text sizes and margins, measured in points.
#
# A point is 1/72 inch, the unit in which text is measured, so text and picture are laid out in one unit. At the
# default resolution of 144 dots per inch a point is exactly two pixels; tiles whose sides are multiples of half
# a point therefore land on whole pixels, and an image pixel becomes a block of equal squares instead of a blur.
#
# Nothing here changes matplotlib for the rest of a program: pictures are drawn inside `drawing()`, which starts
# from matplotlib's own defaults (a user's private settings do not leak into a run folder) and puts back what
# was there.

POINTS_PER_INCH = 72
DPI = 144
MARGIN = 14.0
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 11.0, 8.5, 7.5

INK, MUTED, HAIRLINE = "#1f2328", "#59636e", "#d1d9e0"
# A magenta brighter than any color of the scales used here, so nobody takes it for a value.
NOT_FINITE = "#ff00aa"
TRAIN, VALIDATION = "#3f90da", "#e76300"
# Ten colors that stay apart for the common kinds of color blindness: M. Petroff, "Accessible Color
# Sequences for Data Visualization", arXiv:2107.02270 (2021).
PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
# Shapes of about the same weight, filled, and told apart at four points.
MARKERS = ("o", "s", "^", "D", "v")

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib: the same letters on every machine
    "font.size": LABEL_SIZE,
    "text.color": INK,
    "text.parse_math": False,  # a class called "$5" is a name and no formula
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": LABEL_SIZE,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "tinyae",  # names inside an SVG file depend on its content alone
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the shared style; afterwards matplotlib's settings are as they were.

    Serves as `with drawing():` and as the decorator `@drawing()`. The settings belong to the whole process while
    it lasts, so two threads should not draw at once.
    """
    import matplotlib.style

    with matplotlib.style.context(SETTINGS, after_reset=True):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of `width` x `height` points, known to no window system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Without pyplot no list of open figures keeps this one alive: it goes when its last reader goes.
    figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def add_panel(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Return axes whose upper left corner lies `x` right and `y` below the figure's; all four in points."""
    total_width, total_height = (side * POINTS_PER_INCH for side in figure.get_size_inches())
    rectangle = (x / total_width, 1 - (y + height) / total_height, width / total_width, height / total_height)
    axes = figure.add_axes(rectangle)
    # Ticks are made late, possibly outside `drawing()`, so their look is stated and not left to the settings.
    axes.tick_params(labelsize=SMALL_SIZE, color=MUTED, labelcolor=MUTED, length=2.5, width=0.6)
    axes.set_axisbelow(True)
    axes.grid(color=HAIRLINE, linewidth=0.5)
    return axes


def write(figure: Figure, x: float, y: float, text: str, *, size: float = LABEL_SIZE, **looks: Any) -> None:
    """Write `text` at (`x`, `y`) points from the figure's upper left corner.

    The place is that of the text's own upper left corner unless `ha` and `va` say otherwise; `looks` are properties
    of matplotlib's `Text`. Dollar signs are letters and start no formula.
    """
    total_width, total_height = (side * POINTS_PER_INCH for side in figure.get_size_inches())
    chosen: dict[str, Any] = {"ha": "left", "va": "top", "linespacing": 1.15, "parse_math": False, **looks}
    figure.text(x / total_width, 1 - y / total_height, text, fontsize=size, **chosen)


def log_scale(axes: Axes, lowest: float, highest: float) -> None:
    """Give `axes` a logarithmic upward scale for values from `lowest` to `highest`, with a few plain numbers beside it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_yscale("log")
    # Within one or two decades the powers of ten would be one or two ticks, or none at all.
    narrow = LogLocator(subs=(1.0, 2.0, 5.0)) if highest > 5 * lowest else MaxNLocator(6, min_n_ticks=2)
    axes.yaxis.set_major_locator(LogLocator() if highest > 100 * lowest else narrow)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


@cache
def _font(size: float, weight: str) -> FontProperties:
    """Return the one font of all pictures; cached, as finding its file takes longer than measuring with it."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(family="DejaVu Sans", size=size, weight=weight)


def text_width(text: str, size: float = LABEL_SIZE, weight: str = "normal") -> float:
    """Return the width of the widest line of `text`, in points.

    It is measured from the outlines of the letters, before there is a figure: the page is made as wide as its words
    need, and not the words cut to a page.
    """
    from matplotlib.textpath import text_to_path

    font = _font(size, weight)
    return max(text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n"))


def shorten(text: str, width: float, size: float = LABEL_SIZE) -> str:
    """Return `text`, cut and ended by an ellipsis where it is wider than `width` points."""
    if text_width(text, size) <= width:
        return text
    for length in range(len(text) - 1, 0, -1):
        if text_width(text[:length].rstrip() + "…", size) <= width:
            return text[:length].rstrip() + "…"
    return "…"


def wrap(text: str, width: float, size: float = LABEL_SIZE, weight: str = "normal") -> list[str]:
    """Return `text` as lines of at most `width` points, broken between words; a longer word stands alone."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size, weight) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def balanced(text: str, width: float, size: float = LABEL_SIZE) -> list[str]:
    """Return `text` as in `wrap`, with as many lines but of lengths as equal as the words allow."""
    lines = wrap(text, width, size)
    while width > 1 and len(narrower := wrap(text, width - 1, size)) == len(lines):
        lines, width = narrower, width - 1
    return lines


def counted(number: int, noun: str) -> str:
    """Return `1 pixel`, `2 pixels`: a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def darker(color: str) -> str:
    """Return `color` with half of its light, for a thin line upon a broad one of the same hue."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (channel / 2 for channel in to_rgb(color))
    return to_hex((red, green, blue))


# ---------------------------------------------------------------------------------------------------------------------
# What a picture accepts: host NumPy arrays of real numbers, checked once at the door.
#
# Everything that can be wrong with an array is said here in one sentence each, so that the drawing code may
# rely on shapes. Values are not refused: a NaN in a reconstruction is what the reader needs to see, so it is
# drawn, marked.

FloatArray = npt.NDArray[np.floating[Any]]
AnyArray = npt.NDArray[Any]


def host_array(value: AnyArray, name: str, shapes: str) -> FloatArray:
    """Return `value` as a float array.

    `name` and `shapes` (such as `"(N, K)"`) appear in the sentence. Raises `TypeError` for anything but a
    NumPy array (a Tensor or a device array has to be brought to the host first), `ValueError` for complex or
    other non-numbers and for an array without elements.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array of shape {shapes}, got {type(value).__name__}: "
            "bring a Tensor or device array to the host first, with .numpy()."
        )
    if value.dtype.kind not in "buif":
        raise ValueError(f"{name} must hold real numbers, got dtype {value.dtype}: convert it with .astype('float32').")
    if value.size == 0:
        raise ValueError(f"{name} is empty (shape {value.shape}): pass at least one element of shape {shapes}.")
    if value.dtype in (np.float32, np.float64):
        return value
    return value.astype(np.float64)


def as_images(images: AnyArray, image_shape: Sequence[int] | None = None, *, name: str = "images") -> FloatArray:
    """Return images as (N, H, W, C) with C 1 or 3.

    Accepts (N, H, W, C), (N, H, W), and flat (N, D) where `image_shape` = (H, W) or (H, W, C) says how to
    fold D. Raises `ValueError` naming the shape that does not fit.
    """
    pixels = host_array(images, name, "(N, H, W, C), (N, H, W) or (N, D)")
    shape = None if image_shape is None else full_shape(image_shape)
    if pixels.ndim == 2:
        if shape is None:
            raise ValueError(
                f"{name} is flat, shape {images.shape}: say how to fold a row, as in image_shape=(28, 28); "
                "for vectors that are not images use vector_reconstructions."
            )
        if math.prod(shape) != pixels.shape[1]:
            raise ValueError(
                f"{name} has rows of {pixels.shape[1]} values, but image_shape {tuple(image_shape or ())} "
                f"holds {math.prod(shape)}: the two must be equal."
            )
        return pixels.reshape(-1, *shape)
    if pixels.ndim == 3:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise ValueError(
            f"{name} must have shape (N, H, W, C) with C 1 or 3, (N, H, W), or (N, D) with image_shape, "
            f"got {images.shape}."
        )
    if shape is not None and pixels.shape[1:] != shape:
        raise ValueError(
            f"{name} has images of shape {images.shape[1:]}, but image_shape is {tuple(image_shape or ())}: "
            "drop image_shape or correct it."
        )
    return pixels


def as_sequences(values: AnyArray, name: str) -> FloatArray:
    """Return sequences (N, T, D) in float64; a vector (N, D) is a sequence of D steps and one feature."""
    array = host_array(values, name, "(N, D) or (N, T, D)").astype(np.float64)
    if array.ndim not in (2, 3):
        raise ValueError(
            f"{name} must be vectors (N, D) or sequences (N, T, D), got {values.shape}: "
            "images (N, H, W, C) are drawn by reconstructions."
        )
    return array if array.ndim == 3 else array[:, :, np.newaxis]


def full_shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return (H, W) or (H, W, C) as (H, W, C). Raises `ValueError` unless H, W >= 1 and C is 1 or 3."""
    sizes = tuple(int(size) for size in image_shape)
    if len(sizes) == 2:
        sizes += (1,)
    if len(sizes) != 3 or min(sizes) < 1 or sizes[2] not in (1, 3):
        raise ValueError(f"image_shape must be (H, W) or (H, W, C) with C 1 or 3, got {tuple(image_shape)}.")
    return sizes


def pixel_range(value_range: tuple[float, float] | None, *arrays: AnyArray) -> tuple[float, float]:
    """Return the values that are drawn black and white.

    These are `value_range`, or for None the smallest and largest finite value of all `arrays` together; where no
    value is finite or all are equal, a range of length 1 that keeps the drawing code free of special cases.
    Raises `ValueError` for an empty range, and for integer pixels above it, which would all come out white.
    """
    if value_range is None:
        finite = np.concatenate([array[np.isfinite(array)].ravel() for array in arrays])
        if finite.size == 0:
            return 0.0, 1.0
        low, high = float(finite.min()), float(finite.max())
        return (low, high) if low < high else (low, low + 1.0)
    low, high = (float(value) for value in value_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"value_range must be (low, high) with low < high, got {tuple(value_range)}.")
    for array in arrays:
        if array.dtype.kind in "ui" and array.size and array.max() > high:
            raise ValueError(
                f"the pixels are {array.dtype} up to {array.max()}, but value_range is ({low:g}, {high:g}): "
                "divide by 255 first, or pass value_range=(0, 255)."
            )
    return low, high


def positive_count(count: int, name: str = "count") -> int:
    """Return `count`. Raises `ValueError` unless it is a whole number of at least 1."""
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}.")
    return int(count)


def borders(seen: int | Sequence[int] | AnyArray | None, count: int, whole: str) -> list[int] | None:
    """Return how many first steps a model saw of each of `count` examples, from one number for all or one for each.

    Raises `ValueError` for another number of numbers and for one below 1.
    """
    if seen is None:
        return None
    numbers = one_each([seen] * count if isinstance(seen, int | np.integer) else seen, count, "seen", whole)
    return [positive_count(number, "seen") for number in numbers or []]


def one_each(values: Sequence[Any] | AnyArray | None, count: int, name: str, whole: str) -> list[Any] | None:
    """Return `values` as a list, or None for None.

    `name` is that of the argument and `whole` what is counted, such as "images". Raises `ValueError` unless there
    are `count` values: a list that is one too short would put every label below the wrong picture.
    """
    if values is None:
        return None
    items = list(values)
    if len(items) != count:
        raise ValueError(f"{name} must hold one entry for each of the {count} {whole}, got {len(items)}.")
    return items


# ---------------------------------------------------------------------------------------------------------------------
# A sheet of picture tiles: rows and columns of small images on one page, with room for words.
#
# All tiles lie in ONE axes that covers the whole page and counts in points from the upper left corner. An axes
# per tile would cost about ten milliseconds each, seconds for a large grid; an image in a shared axes costs
# one, and its place is a plain sum. Every tile stays an own `AxesImage` holding its unscaled pixels, in reading
# order, so `sheet.axes.images[i].get_array()` gives back what was put in.

DIVERGING = "RdBu_r"
TILE = 64.0
LARGEST_TILE = 160.0
GAP = 4.0
SMALLEST_PAGE = 250.0
SMALLEST_SCALE = 40.0
TITLE_LINE, NOTE_LINE = 15.0, 10.5


def colormap_named(name: str) -> Colormap:
    """Return matplotlib's map `name` with NaN in its marked color.

    A gray map has 256 steps, so that the pixel n / 255 is drawn as the byte n. A diverging map has an odd
    number of steps: the one in the middle is the neutral color, and zero falls on it.
    """
    import matplotlib

    steps = 257 if name == DIVERGING else 256
    return matplotlib.colormaps[name].resampled(steps).with_extremes(bad=NOT_FINITE)


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
        titles = wrap(title, page, TITLE_SIZE, "bold")
        notes = wrap(note, page, SMALL_SIZE)
        self.left = MARGIN + half_points(left)
        self.top = MARGIN + (len(titles) * TITLE_LINE + 5 if titles else 0) + half_points(head)
        self.bottom = self.corner(rows - 1, 0)[1] + self.tile_height
        self.right = self.left + block_width
        note_top = self.bottom + half_points(foot) + (8 if notes else 0)
        width = page + 2 * MARGIN
        height = math.ceil(note_top + len(notes) * NOTE_LINE + MARGIN)
        self.figure = new_figure(width, height)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, width)
        # Downward axis: a place on the page is written as one reads it, from the upper left corner.
        self.axes.set_ylim(height, 0)
        self.axes.set_axis_off()
        for line, text in enumerate(titles):
            self.write(MARGIN, MARGIN + line * TITLE_LINE, text, size=TITLE_SIZE, weight="bold")
        for line, text in enumerate(notes):
            self.write(MARGIN, note_top + line * NOTE_LINE, text, size=SMALL_SIZE, color=MUTED)

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """Return the upper left corner of a tile, in points from the page's upper left corner."""
        x = self.left + column * (self.tile_width + GAP)
        return x, self.top + row * (self.tile_height + self.row_gap) + row // self.group[0] * self.group[1]

    def draw(self, row: int, column: int, pixels: FloatArray, low: float, high: float, colormap: str = "gray") -> None:
        """Draw pixels (H, W, C) into a tile: C = 1 through `colormap` from `low` to `high`, C = 3 as colors.

        Values beyond the range are drawn as its ends, values that are not finite in `style.NOT_FINITE`.
        """
        x, y = self.corner(row, column)
        self._image(pixels, (x, y, self.tile_width, self.tile_height), low, high, colormap, self.interpolation)
        self._frame(x, y, self.tile_width, self.tile_height)

    def scale(self, row: int, rows: int, low: str, high: str, colormap: str, middle: str = "") -> None:
        """Draw a color scale right of the tiles, `rows` rows high from `row` on, with words at its ends.

        Beside low tiles it is as high as its words need, `SMALLEST_SCALE`, and reaches below the last row.
        """
        x, y = self.right + 8.0, self.corner(row, 0)[1]
        height = max(rows * self.tile_height + (rows - 1) * self.row_gap, SMALLEST_SCALE)
        ramp = np.linspace(1.0, 0.0, 257)[:, np.newaxis, np.newaxis]
        self._image(ramp, (x, y, 6.0, height), 0.0, 1.0, colormap, "nearest")
        self._frame(x, y, 6.0, height)
        places = ((high, y, "top"), (middle, y + height / 2, "center"), (low, y + height, "bottom"))
        for text, level, anchor in places:
            self.write(x + 10.0, level, text, size=SMALL_SIZE, va=anchor, color=MUTED)

    def caption(self, row: int, column: int, text: str) -> None:
        """Write `text` centered above a tile, cut to its width so that it cannot run into its neighbor."""
        x, y = self.corner(row, column)
        text = shorten(text, self.tile_width, SMALL_SIZE)
        self.write(x + self.tile_width / 2, y - 3.5, text, size=SMALL_SIZE, ha="center", va="baseline")

    def write(self, x: float, y: float, text: str, **looks: Any) -> None:
        """Write `text` with its upper left corner (or what `ha`, `va` say) at (`x`, `y`) points."""
        write(self.figure, x, y, text, **looks)

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

            # matplotlib has no color for NaN in color images, so range and mark are applied here.
            finite = np.isfinite(pixels).all(axis=2, keepdims=True)
            colors = np.clip((np.where(finite, pixels, low) - low) / (high - low), 0.0, 1.0)
            self.axes.imshow(np.where(finite, colors, to_rgb(NOT_FINITE)), **looks)

    def _frame(self, x: float, y: float, width: float, height: float) -> None:
        """Draw a hairline around a box, so that a white image does not dissolve into the page."""
        from matplotlib.patches import Rectangle

        # A plate below the image, half a point larger, instead of a line: it can cover no pixel of the image.
        plate = Rectangle((x - 0.5, y - 0.5), width + 1, height + 1, facecolor=HAIRLINE, linewidth=0, zorder=-1)
        self.axes.add_patch(plate)


# ---------------------------------------------------------------------------------------------------------------------
# A page of line panels: equal axes in rows and columns, with a title above and a note below.
#
# The counterpart of a sheet of tiles for pictures that need axes of their own. All room (for tick labels, panel
# heads, the legend) is given in points beforehand instead of being found by an automatic layout, so that two
# runs give the same page and nothing moves when a number gets a digit more.

SMALLEST_PANEL_PAGE = 260.0
LEGEND_LINE = 13.0


class PanelPage:
    """An empty page for `count` panels of `width` x `height` points, `columns` in a row.

    `head` is the room above each panel and `foot` below it, `left` that before the first and `gap` between
    two columns, `right` behind the last, `above` that below the title for a legend, `lowest` that below the
    last row. `title` and `note` are broken into lines as wide as the page.
    """

    def __init__(
        self,
        count: int,
        columns: int,
        width: float,
        height: float,
        *,
        title: str,
        note: str = "",
        head: float = 0.0,
        foot: float = 0.0,
        left: float = 40.0,
        right: float = 0.0,
        gap: float = 16.0,
        above: float = 0.0,
        lowest: float = 0.0,
    ) -> None:
        self.columns, self.width, self.height = columns, width, height
        self.head, self.foot, self.gap = head, foot, gap
        page = max(left + columns * width + (columns - 1) * gap + right, SMALLEST_PANEL_PAGE)
        titles = wrap(title, page, TITLE_SIZE, "bold")
        notes = wrap(note, page, SMALL_SIZE)
        rows = math.ceil(count / columns)
        self.left = MARGIN + left
        self.under_title = MARGIN + (len(titles) * TITLE_LINE + 5 if titles else 0)
        self.top = self.under_title + above
        note_top = self.top + rows * (head + height + foot) + lowest + (6 if notes else 0)
        self.figure: Figure = new_figure(
            math.ceil(page + 2 * MARGIN), math.ceil(note_top + len(notes) * NOTE_LINE + MARGIN)
        )
        for line, text in enumerate(titles):
            self.write(MARGIN, MARGIN + line * TITLE_LINE, text, size=TITLE_SIZE, weight="bold")
        for line, text in enumerate(notes):
            self.write(MARGIN, note_top + line * NOTE_LINE, text, size=SMALL_SIZE, color=MUTED)

    def corner(self, index: int) -> tuple[float, float]:
        """Return the upper left corner of a panel's axes, in points from the page's upper left corner."""
        row, column = divmod(index, self.columns)
        x = self.left + column * (self.width + self.gap)
        return x, self.top + row * (self.head + self.height + self.foot) + self.head

    def panel(self, index: int) -> Axes:
        """Return new axes in the place of panel `index`, counted along the rows."""
        return add_panel(self.figure, *self.corner(index), self.width, self.height)

    def write(self, x: float, y: float, text: str, **looks: Any) -> None:
        """Write `text` with its upper left corner (or what `ha`, `va` say) at (`x`, `y`) points."""
        write(self.figure, x, y, text, **looks)

    def legend(self, x: float, y: float, handles: Sequence[Any], names: Sequence[str], columns: int) -> None:
        """Draw a legend of `columns` columns without a frame, its upper left corner at (`x`, `y`) points."""
        page_width, page_height = (side * POINTS_PER_INCH for side in self.figure.get_size_inches())
        self.figure.legend(
            handles,
            names,
            loc="upper left",
            bbox_to_anchor=(x / page_width, 1 - y / page_height),
            ncols=columns,
            frameon=False,
            borderpad=0.0,
            borderaxespad=0.0,
            handlelength=1.8,
            handletextpad=0.5,
            columnspacing=1.4,
            labelspacing=0.35,
            fontsize=SMALL_SIZE,
        )


# ---------------------------------------------------------------------------------------------------------------------
# Putting a picture on disk: whole or not at all, and the same bytes for the same picture.
#
# A figure is first turned into bytes in memory, then written beside its destination and moved there in one
# step. A run that dies while drawing, a full disk or Ctrl-C leave the earlier picture untouched. No date and no
# program version is written into the file, so two runs with one seed can be compared byte for byte.

# For each format the entries that matplotlib fills in by itself; None leaves them out.
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: float = DPI) -> Path:
    """Write `figure` to `path`, as PNG, SVG or PDF by the ending of its name; return the path.

    A missing parent folder is made. `dpi` is in dots per inch: pixels are exact at the default 144 and its
    multiples. Raises `ValueError` for another ending or a `dpi` that is not positive, `OSError` where the
    file cannot be written; in both cases what was at `path` is still there.
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in METADATA:
        raise ValueError(f"a picture is saved as .png, .svg or .pdf, got {target.name!r}: change the ending.")
    if not dpi > 0:
        raise ValueError(f"dpi must be positive, got {dpi}: 144 is the default.")
    content = BytesIO()
    with drawing():
        figure.savefig(content, format=kind, dpi=dpi, metadata=METADATA[kind])
    return write_bytes(target, content.getvalue())


def save_animation(
    figure: Figure, frames: int, show: Callable[[int], None], path: str | os.PathLike[str], *, milliseconds: int = 250
) -> Path:
    """Write `figure` as an animated GIF that runs for ever, whole or not at all; return the path.

    `show(frame)` changes the figure into its frame number `frame`; each stays for `milliseconds`. Needs Pillow, which
    comes with matplotlib. Raises `ValueError` for another ending than .gif.
    """
    target = Path(path)
    if target.suffix.lower() != ".gif":
        raise ValueError(f"a moving picture is saved as .gif, got {target.name!r}: change the ending.")
    if frames < 1 or milliseconds < 10:
        raise ValueError(f"a film needs a frame and 10 ms for each, got {frames} frames of {milliseconds} ms.")
    from PIL import Image

    pictures = []
    for frame in range(frames):
        show(frame)
        content = BytesIO()
        with drawing():
            figure.savefig(content, format="png", dpi=DPI)
        # 64 colors are enough for gray tiles and dark words, and halve the file.
        pictures.append(Image.open(content).convert("RGB").quantize(64, method=Image.Quantize.MEDIANCUT))
    film = BytesIO()
    pictures[0].save(
        film, format="GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, optimize=False
    )
    return write_bytes(target, film.getvalue())
