"""The look that all pictures share: one set of colours, text sizes and margins, measured in points.

A point is 1/72 inch, the unit in which text is measured, so text and picture are laid out in one unit. At the
default resolution of 144 dots per inch a point is exactly two pixels; tiles whose sides are multiples of half
a point therefore land on whole pixels, and an image pixel becomes a block of equal squares instead of a blur.

Nothing here changes matplotlib for the rest of a program: pictures are drawn inside `drawing()`, which starts
from matplotlib's own defaults (a user's private settings do not leak into a run folder) and puts back what
was there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

POINTS_PER_INCH = 72
DPI = 144
MARGIN = 14.0
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 11.0, 8.5, 7.5

INK, MUTED, HAIRLINE = "#1f2328", "#59636e", "#d1d9e0"
# A magenta brighter than any colour of the scales used here, so nobody takes it for a value.
NOT_FINITE = "#ff00aa"
TRAIN, VALIDATION = "#3f90da", "#e76300"
# Ten colours that stay apart for the common kinds of colour blindness: M. Petroff, "Accessible Color
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


def darker(colour: str) -> str:
    """Return `colour` with half of its light, for a thin line upon a broad one of the same hue."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (channel / 2 for channel in to_rgb(colour))
    return to_hex((red, green, blue))
