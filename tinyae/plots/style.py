"""What all pictures share: style, page layout, sheets of image tiles, checks of arrays, and saving."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from tinyae.atomic import write_bytes
from tinyae.checks import checked, number, whole_number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

# ---------------------------------------------------------------------------------------------------------------------
# The style of all pictures, as Matplotlib settings.
#
# The rest of a program is not affected: pictures are drawn inside `drawing()`, which starts from Matplotlib's defaults (a
# user's settings do not affect a run folder) and restores the settings afterwards.

TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 11.0, 8.5, 7.5
"""Font sizes in points, 1/72 inch."""
DPI = 144
"""At this resolution a point is exactly two pixels."""

INK, MUTED, HAIRLINE = "#1f2328", "#59636e", "#d1d9e0"
# A magenta brighter than any color in the color maps used here, so it is not mistaken for a value.
NOT_FINITE = "#ff00aa"
TRAIN, VALIDATION = "#3f90da", "#e76300"
# Ten colors that are distinguishable with common kinds of color blindness: M. Petroff, "Accessible Color
# Sequences for Data Visualization", arXiv:2107.02270 (2021).
PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
# Filled shapes of similar weight, distinguishable at four points.
MARKERS = ("o", "s", "^", "D", "v")

SETTINGS: dict[str, object] = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib: the same letters on every machine
    "font.size": LABEL_SIZE,
    "text.color": INK,
    "text.parse_math": False,  # a class named "$5" is not a formula
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": LABEL_SIZE,
    "axes.titlesize": LABEL_SIZE,
    "axes.titlelocation": "left",
    "axes.titlepad": 4.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,  # 1015, not 5 and far from it + 1.01e3
    "axes.grid": True,
    "grid.color": HAIRLINE,
    "grid.linewidth": 0.5,
    "image.aspect": "auto",
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.0,
    "legend.columnspacing": 1.4,
    "legend.fontsize": SMALL_SIZE,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.handletextpad": 0.5,
    "legend.labelspacing": 0.35,
    **{f"{axis}tick.{key}": value for axis in "xy" for key, value in (
        ("color", MUTED), ("labelcolor", MUTED), ("labelsize", SMALL_SIZE), ("major.size", 2.5), ("major.width", 0.6),
        ("minor.size", 0.0),
    )},
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "tinyae",  # identifiers in an SVG file depend only on its content
}  # fmt: skip


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the shared style; Matplotlib's settings are restored afterwards.

    Works as `with drawing():` and as the decorator `@drawing()`. The settings are global, so two threads should not draw at
    the same time.
    """
    load_matplotlib()
    import matplotlib.style

    with warnings.catch_warnings(), matplotlib.style.context(SETTINGS, after_reset=True):
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a letter that no font has is drawn as a box
        yield


def picture(function: F) -> F:
    """Decorator for a function that returns a picture: its arguments are checked, as by `checked`, and it draws in the style."""
    return checked(drawing()(function))


@cache
def load_matplotlib() -> None:
    """Import Matplotlib and what saving needs, or raise ImportError: call it before long work that ends with pictures.

    The backend that `MPLBACKEND` names may not exist: here it has no effect, since every figure has its own canvas.
    """
    wanted = os.environ.pop("MPLBACKEND", None)
    import matplotlib
    import matplotlib.backends.backend_agg

    if wanted is not None:
        os.environ["MPLBACKEND"] = wanted
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = wanted


def log_scale(axes: Axes, lowest: float, highest: float) -> None:
    """Give `axes` a logarithmic vertical scale for values from `lowest` to `highest`, with a few plain numbers as labels."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_yscale("log")
    # Within one or two decades the powers of ten would be one or two ticks, or none at all.
    narrow = LogLocator(subs=(1.0, 2.0, 5.0)) if highest > 5 * lowest else MaxNLocator(6, min_n_ticks=2)
    axes.yaxis.set_major_locator(LogLocator() if highest > 100 * lowest else narrow)
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())


@cache
def _font(size: float, weight: str) -> FontProperties:
    """Return the font of all pictures; cached, because finding the font file is slow."""
    from matplotlib.font_manager import FontProperties

    return FontProperties(family="DejaVu Sans", size=size, weight=weight)


def text_width(text: str, size: float = LABEL_SIZE, weight: str = "normal") -> float:
    """Return the width of `text` in points."""
    from matplotlib.textpath import text_to_path

    return float(text_to_path.get_text_width_height_descent(text, _font(size, weight), False)[0])


def drawable(text: str) -> str:
    """`text` with a replacement character for bytes of a file name that are no letters, which no font can draw."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def shorten(text: str, width: float, size: float = LABEL_SIZE) -> str:
    """Return `text`, truncated with an ellipsis if it is wider than `width` points."""
    short = text = drawable(text)
    while text_width(short, size) > width and short != "…":
        text = text[:-1]
        short = text.rstrip() + "…"
    return short


def wrap(text: str, width: float, size: float = LABEL_SIZE, weight: str = "normal") -> str:
    """Return `text` in lines of at most `width` points, broken between words; a wider word gets its own line."""
    lines: list[str] = []
    for word in drawable(text).split():
        if lines and text_width(f"{lines[-1]} {word}", size, weight) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def counted(number: int, word: str) -> str:
    """Return a number and a noun, singular or plural: `1 pixel`, `2 pixels`."""
    return f"{number} {word}" if number == 1 else f"{number:,} {word}s"


def aligned(values: Iterable[float]) -> list[str]:
    """Numbers as text, all with the same decimals, such that the middle one has three digits; `1,910.3` and `4.5`, not `1.91e+03`."""
    numbers = [float(value) for value in values]
    sizes = sorted(abs(number) for number in numbers if math.isfinite(number) and number)
    if not sizes or sizes[len(sizes) // 2] < 1e-4 or sizes[-1] >= 1e6:
        return [f"{number:.3g}" for number in numbers]
    decimals = max(2 - math.floor(math.log10(sizes[len(sizes) // 2])), 0)
    return [f"{number:,.{decimals}f}" for number in numbers]


def darker(color: str) -> str:
    """Return `color` at half brightness, for a thin line over a broad one of the same hue."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (channel / 2 for channel in to_rgb(color))
    return to_hex((red, green, blue))


# ---------------------------------------------------------------------------------------------------------------------
# Page layout: first the axes, sized for the data; then what Matplotlib adds around them (tick labels, titles, legends);
# finally the page is sized to fit. So no text is cut off, and no panel shrinks because of a long name.

MARGIN = 14.0
NARROWEST = 250.0
"""Minimum width of titles and notes, in points."""


def panels(
    count: int, columns: int, width: float, height: float, *, across: float = 0.0, down: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` axes of `width` x `height` points, `columns` per row, and the axes row by row.

    `across`, `down`: points between columns and between rows. The axes fill the figure; `finished` adds space around them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from tinyae.plots.figure import Picture

    rows = math.ceil(count / columns)
    size = (columns * (width + across) - across, rows * (height + down) - down)
    # Without pyplot, no list of open figures keeps this one alive.
    figure = Picture(figsize=(size[0] / 72, size[1] / 72))
    FigureCanvasAgg(figure)
    whole = {"left": 0.0, "right": 1.0, "bottom": 0.0, "top": 1.0, "wspace": across / width, "hspace": down / height}
    axes = list(figure.subplots(rows, columns, squeeze=False, gridspec_kw=whole).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def outer_labels(axes: Sequence[Axes], columns: int) -> None:
    """Keep only the tick labels at the left and lower edges, for panels with a common scale in rows of `columns`."""
    for index, one in enumerate(axes):
        one.tick_params(labelleft=index % columns == 0, labelbottom=index + columns >= len(axes))


def legend_above(axes: Axes, entries: Sequence[tuple[Artist, str]], columns: int, *, gap: float = 5.0) -> None:
    """Draw a legend above `axes`, with `columns` entries per line, `gap` points away."""
    from matplotlib.transforms import ScaledTranslation

    place = axes.transAxes + ScaledTranslation(0.0, gap / 72, axes.figure.dpi_scale_trans)
    marks, words = [mark for mark, _ in entries], [word for _, word in entries]
    axes.legend(marks, words, loc="lower left", bbox_to_anchor=(0.0, 1.0), bbox_transform=place, ncols=columns)


def finished(figure: Figure, title: str, note: str = "", *, across: str = "", up: str = "") -> Figure:
    """Add title, note and common axis labels to `figure`, resize it to fit with a margin, and return it.

    `title` is above and `note`, small, below, both wrapped to the width of the picture; `across` and `up` are the axis labels
    of all panels. The axes keep their size in points and begin on whole pixels.
    """
    left, bottom, right, top = (72 * side for side in figure.get_tightbbox().extents)
    wide, high = (72 * side for side in figure.get_size_inches())
    across, up = wrap(across, wide), wrap(up, high)
    bottom -= _height(across, LABEL_SIZE) + 3 if across else 0
    left -= _height(up, LABEL_SIZE) + 3 if up else 0
    width = max(right - left, NARROWEST)
    title, note = wrap(title, width, TITLE_SIZE, "bold"), wrap(note, width, SMALL_SIZE)
    above = MARGIN + (_height(title, TITLE_SIZE) + 8 if title else 0)
    below = MARGIN + (_height(note, SMALL_SIZE) + 9 if note else 0)
    # All lengths from here on are multiples of half a point, which is one pixel.
    x, y = half_points(MARGIN - left), half_points(below - bottom)
    page_width, page_height = math.ceil(x + left + width + MARGIN), math.ceil(y + top + above)
    figure.set_size_inches(page_width / 72, page_height / 72)
    for axes in figure.axes:
        place = axes.get_position(original=True)
        box = (place.x0 * wide + x, place.y0 * high + y, place.width * wide, place.height * high)
        axes.set_position(tuple(box[i] / (page_width, page_height)[i % 2] for i in range(4)))

    def write(left: float, bottom: float, text: str, **looks: object) -> None:
        if text:
            figure.text(left / page_width, bottom / page_height, text, linespacing=1.2, **looks)  # type: ignore[arg-type]

    write(MARGIN, page_height - MARGIN, title, va="top", size=TITLE_SIZE, weight="bold")
    write(MARGIN, MARGIN, note, va="bottom", size=SMALL_SIZE, color=MUTED)
    write(x + wide / 2, below, across, va="bottom", ha="center", multialignment="center")
    write(MARGIN, y + high / 2, up, va="center", rotation=90, multialignment="center")
    return figure


def _height(text: str, size: float) -> float:
    """Return the height of the lines of `text`, in points."""
    return 1.2 * 1.2 * size * (text.count("\n") + 1)


def half_points(length: float) -> float:
    """Round up to a multiple of half a point, one pixel at the default resolution."""
    return math.ceil(length * 2 - 1e-9) / 2


# ---------------------------------------------------------------------------------------------------------------------
# A sheet of image tiles: rows and columns of small images on one page, with captions.
#
# All tiles are in ONE axes with coordinates in points from its upper left corner. An axes per tile would take about ten
# milliseconds, seconds for a large grid; an image in a shared axes takes one. Every tile is a separate `AxesImage` with
# its unscaled pixels, in reading order, so `sheet.axes.images[i].get_array()` returns the original values.

DIVERGING = "RdBu_r"
TILE = 64.0
LARGEST_TILE = 160.0
GAP = 4.0
SMALLEST_SCALE = 40.0


def colormap_named(name: str) -> Colormap:
    """Return Matplotlib's color map `name` with NaN in `NOT_FINITE`.

    A gray map has 256 steps, so that the pixel n / 255 is drawn as the byte n. A diverging map has an odd number of steps,
    so that zero is drawn in the neutral color.
    """
    import matplotlib

    steps = 257 if name == DIVERGING else 256
    return matplotlib.colormaps[name].resampled(steps).with_extremes(bad=NOT_FINITE)


def tile_size(height: int, width: int, tile: float = TILE) -> tuple[float, float, str]:
    """Return width and height in points, and the interpolation, of the tile for an image of H x W pixels.

    `tile`: approximate length of the longer side, in points.

    Each image pixel becomes a whole number of device pixels (at the default resolution). Only images longer than 320
    pixels are reduced, with antialiasing.
    """
    longest = max(height, width)
    if longest / 2 > LARGEST_TILE:
        shrink = LARGEST_TILE / longest
        return half_points(width * shrink), half_points(height * shrink), "antialiased"
    zoom = max(1, round(2 * tile / longest)) / 2
    return width * zoom, height * zoom, "nearest"


class Sheet:
    """A page for `rows` x `columns` tiles of images (H, W, C), 4 points apart.

    `captions`: whether there is text above the tiles. `lines`: number of text lines left of each row, a minimum for its
    height. `tile`: approximate length of the longer side of a tile. `group`: (rows, points), extra space after so many rows.

    `figure` is the page and `axes` its only axes.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        image_shape: Sequence[int],
        *,
        captions: bool = False,
        lines: int = 0,
        tile: float = TILE,
        group: tuple[int, float] | None = None,
    ) -> None:
        self.tile_width, self.tile_height, self.interpolation = tile_size(image_shape[0], image_shape[1], tile)
        self.group = group or (rows, 0.0)
        self.pitch = max(self.tile_height + GAP + 12.0 * captions, 11.0 * lines)
        width, height = self.corner(0, columns)[0] - GAP, self.corner(rows - 1, 0)[1] + self.tile_height
        # A point of space on each side, for the frames of the tiles at the edge.
        self.figure, (self.axes,) = panels(1, 1, width + 2, height + 2)
        self.axes.set(xlim=(-1, width + 1), ylim=(height + 1, -1), xticks=[], yticks=[])
        self.axes.grid(False)
        self.axes.spines[:].set_visible(False)
        self.axes.tick_params(length=0, labelsize=LABEL_SIZE, labelcolor=INK)

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """Return the upper left corner of a tile, in points from that of the first."""
        return column * (self.tile_width + GAP), row * self.pitch + row // self.group[0] * self.group[1]

    def draw(
        self,
        row: int,
        column: int,
        pixels: FloatArray,
        low: float,
        high: float,
        colormap: str = "gray",
        caption: str = "",
        below: str = "",
    ) -> None:
        """Draw pixels (H, W, C) into a tile: C = 1 through `colormap` from `low` to `high`, C = 3 as colors.

        Values beyond the range are clipped, values that are not finite are drawn in `style.NOT_FINITE`. `caption` is
        written above, truncated to the width of the tile, and `below` below.
        """
        from matplotlib.colors import to_rgb
        from matplotlib.patches import Rectangle

        x, y = self.corner(row, column)
        # Slightly smaller than the tile, so that rounding does not add a pixel at an edge.
        extent = (x + 1e-4, x + self.tile_width - 1e-4, y + self.tile_height - 1e-4, y + 1e-4)
        shown: FloatArray = np.ma.masked_invalid(pixels[:, :, 0])
        if pixels.shape[2] == 3:  # matplotlib has no color for NaN in color images, so range and mark are applied here
            finite = np.isfinite(pixels).all(axis=2, keepdims=True)
            colors = np.clip((np.where(finite, pixels, low) - low) / (high - low), 0.0, 1.0)
            shown = np.where(finite, colors, to_rgb(NOT_FINITE))
        self.axes.imshow(
            shown, cmap=colormap_named(colormap), vmin=low, vmax=high, extent=extent, interpolation=self.interpolation
        )
        # A rectangle behind the image, half a point larger, separates a white image from the page.
        plate = (x - 0.5, y - 0.5), self.tile_width + 1, self.tile_height + 1
        self.axes.add_patch(Rectangle(*plate, facecolor=HAIRLINE, linewidth=0, zorder=-1))
        middle = x + self.tile_width / 2
        if caption:
            caption = shorten(caption, self.tile_width, SMALL_SIZE)
            self.axes.text(middle, y - 3.5, caption, size=SMALL_SIZE, ha="center", va="baseline")
        if below:
            self.axes.text(middle, y + self.tile_height + 4.0, below, size=LABEL_SIZE, ha="center", va="top")

    def name_rows(self, names: Sequence[str]) -> None:
        """Write a name left of each row."""
        self.axes.set_yticks([self.corner(row, 0)[1] + self.tile_height / 2 for row in range(len(names))], names)

    def name_columns(self, words: Sequence[str]) -> None:
        """Write a word above each column, truncated to the width of the tiles."""
        short = [shorten(word, self.tile_width) for word in words]
        self.axes.set_xticks([self.corner(0, n)[0] + self.tile_width / 2 for n in range(len(words))], short)
        self.axes.xaxis.tick_top()

    def scale(self, row: int, rows: int, words: Sequence[str], colormap: str) -> None:
        """Draw a color scale right of the tiles, `rows` rows high from `row` on, with labels `words` from bottom to top.

        Its minimum height is `SMALLEST_SCALE`, which may reach below the last row.
        """
        height = max((rows - 1) * self.pitch + self.tile_height, SMALLEST_SCALE)
        wide, high = (72 * side for side in self.figure.get_size_inches())
        y = high - self.corner(row, 0)[1] - 1 - height
        bar = self.axes.inset_axes((1 + 7 / wide, y / high, 6 / wide, height / high))
        bar.imshow(np.linspace(0, 1, 257)[:, None], cmap=colormap_named(colormap), extent=(0, 1, 0, 1), origin="lower")
        bar.set(xticks=[])
        bar.set_yticks(np.linspace(0, 1, len(words)), words)
        bar.yaxis.tick_right()
        bar.tick_params(length=0)
        bar.grid(False)
        bar.spines[:].set(visible=True, color=HAIRLINE)


# ---------------------------------------------------------------------------------------------------------------------
# Checks of arrays: host NumPy arrays of real numbers, of the right shape.
#
# Values are not checked: a NaN in a reconstruction is drawn in a special color, because the reader needs to see it.

FloatArray = npt.NDArray[np.float64]
RealArray = npt.NDArray[np.number | np.bool_]


def host_array(value: RealArray, name: str, shapes: str) -> FloatArray:
    """Return a copy of `value` in float64.

    `name` and `shapes` (such as `"(N, K)"`) appear in error messages. Raises `TypeError` unless `value` is a NumPy
    array (a Tensor or a device array must be copied to the host first), `ValueError` for complex numbers, other dtypes and
    empty arrays.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array of shape {shapes}, got {type(value).__name__}: "
            "write numpy.asarray(x), or x.numpy() for a Tensor or an array on a device."
        )
    if value.dtype.kind not in "buif":
        raise ValueError(f"{name} must hold real numbers, got dtype {value.dtype}: convert it with .astype('float32').")
    if value.size == 0:
        raise ValueError(f"{name} is empty (shape {value.shape}): pass at least one element of shape {shapes}.")
    return value.astype(np.float64)


def as_images(images: RealArray, *, name: str = "images") -> FloatArray:
    """Return images (N, H, W, C) with C 1 or 3, or (N, H, W), as (N, H, W, C). Raises `ValueError` for other shapes."""
    pixels = host_array(images, name, "(N, H, W, C) or (N, H, W)")
    if pixels.ndim == 3:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise ValueError(
            f"{name} must have shape (N, H, W, C) with C 1 or 3, or (N, H, W), got {images.shape}: reshape flat images with "
            ".reshape(-1, H, W); for vectors that are not images use vector_reconstructions."
        )
    return pixels


def pixel_range(value_range: tuple[float, float] | None, *arrays: RealArray) -> tuple[float, float]:
    """Return the values that are drawn black and white.

    These are `value_range`, or for None the smallest and largest finite value of all `arrays`; if no value is finite or all
    are equal, a range of length 1. Raises `ValueError` for an empty range, and for integer pixels above the range, which
    would all be white.
    """
    if value_range is None:
        finite = np.concatenate([array[np.isfinite(array)].ravel() for array in arrays])
        if finite.size == 0:
            return 0.0, 1.0
        low, high = float(finite.min()), float(finite.max())
        return (low, high) if low < high else (low, low + 1.0)
    low, high = (number("value_range", value) for value in value_range)
    if not low < high:
        raise ValueError(
            f"value_range must be (low, high) with low < high, got {tuple(value_range)}: pass e.g. (0, 1)."
        )
    for array in arrays:
        if array.dtype.kind in "ui" and array.size and array.max() > high:
            raise ValueError(
                f"the pixels are {array.dtype} up to {array.max()}, but value_range is ({low:g}, {high:g}): "
                "divide by 255 first, or pass value_range=(0, 255)."
            )
    return low, high


def one_each(values: Iterable[T] | None, count: int, name: str, whole: str) -> list[T] | None:
    """Return `values` as a list, or None for None.

    `name` is the name of the argument and `whole` what is counted, such as "images". Raises `ValueError` unless there are
    `count` values.
    """
    if values is None:
        return None
    items: list[Any] = [drawable(value) if isinstance(value, str) else value for value in values]
    if len(items) != count:
        raise ValueError(f"{name} must have one entry for each of the {count} {whole}, got {len(items)}.")
    if any(np.ndim(item) for item in items if isinstance(item, np.ndarray)):
        raise ValueError(f"{name} must have one entry for each of the {count} {whole}, got arrays: give ({count},).")
    return items


# ---------------------------------------------------------------------------------------------------------------------
# Saving: atomic, and reproducible.
#
# If drawing fails, the disk is full or the user presses Ctrl-C, an earlier file is unchanged. The file contains no date and no
# program version, so two runs with the same seed can be compared byte for byte.

# The metadata entries that Matplotlib adds to each format; None omits them.
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def _of_figure(figure: object, path: str | os.PathLike[str]) -> Path:
    """The path to write to; TypeError for anything but a figure."""
    if not hasattr(figure, "savefig"):
        raise TypeError(
            f"figure must be a Figure, as the functions of tinyae.plots return it, got {type(figure).__name__}."
        )
    return Path(path)


@checked
def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: float = DPI) -> Path:
    """Write `figure` to `path`, as PNG, SVG or PDF according to its suffix; return the path.

    A missing parent folder is created. `dpi` is in dots per inch: pixels are exact at the default 144 and its multiples.
    Raises `ValueError` for another suffix or a `dpi` that is not positive, `OSError` if the file cannot be written; an
    existing file is then unchanged.
    """
    target = _of_figure(figure, path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in METADATA:
        raise ValueError(f"a picture is saved as .png, .svg or .pdf, got {target.name!r}: change the suffix.")
    dpi = number("dpi", dpi, at_least=10.0, below=2000.0, advice="the default is 144")
    content = BytesIO()
    with drawing():
        figure.savefig(content, format=kind, dpi=dpi, metadata=METADATA[kind])
    return write_bytes(target, content.getvalue())


@checked
def save_animation(
    figure: Figure, frames: int, show: Callable[[int], None], path: str | os.PathLike[str], *, milliseconds: int = 250
) -> Path:
    """Write `figure` as an animated GIF that repeats, atomically; return the path.

    `show(frame)` changes the figure into frame number `frame`; each is shown for `milliseconds`. Raises `ValueError` for a
    suffix other than .gif.
    """
    target = _of_figure(figure, path)
    if target.suffix.lower() != ".gif":
        raise ValueError(f"an animation is saved as .gif, got {target.name!r}: change the suffix.")
    frames, milliseconds = (whole_number("frames and milliseconds", n, at_least=0) for n in (frames, milliseconds))
    if frames < 1 or not 10 <= milliseconds <= 655350:
        raise ValueError(
            f"a film needs at least one frame and 10 ms to 655,350 ms per frame, got {frames} frames of {milliseconds} ms."
        )
    from PIL import Image

    pictures = []
    for frame in range(frames):
        show(frame)
        content = BytesIO()
        with drawing():
            figure.savefig(content, format="png", dpi=DPI)
        # 64 colors are enough for gray tiles and dark text, and halve the file size.
        pictures.append(Image.open(content).convert("RGB").quantize(64, method=Image.Quantize.MEDIANCUT))
    film = BytesIO()
    pictures[0].save(
        film, format="GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, optimize=False
    )
    return write_bytes(target, film.getvalue())
