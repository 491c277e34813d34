"""A page of line panels: equal axes in rows and columns, with a title above and a note below.

The counterpart of a sheet of tiles for pictures that need axes of their own. All room (for tick labels, panel
heads, the legend) is given in points beforehand instead of being found by an automatic layout, so that two
runs give the same page and nothing moves when a number gets a digit more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinyae.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST_PAGE = 260.0
TITLE_LINE, NOTE_LINE, LEGEND_LINE = 15.0, 10.5, 13.0


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
        page = max(left + columns * width + (columns - 1) * gap + right, SMALLEST_PAGE)
        titles = style.wrap(title, page, style.TITLE_SIZE, "bold")
        notes = style.wrap(note, page, style.SMALL_SIZE)
        rows = math.ceil(count / columns)
        self.left = style.MARGIN + left
        self.under_title = style.MARGIN + (len(titles) * TITLE_LINE + 5 if titles else 0)
        self.top = self.under_title + above
        note_top = self.top + rows * (head + height + foot) + lowest + (6 if notes else 0)
        self.figure: Figure = style.new_figure(
            math.ceil(page + 2 * style.MARGIN), math.ceil(note_top + len(notes) * NOTE_LINE + style.MARGIN)
        )
        for line, text in enumerate(titles):
            self.write(style.MARGIN, style.MARGIN + line * TITLE_LINE, text, size=style.TITLE_SIZE, weight="bold")
        for line, text in enumerate(notes):
            self.write(style.MARGIN, note_top + line * NOTE_LINE, text, size=style.SMALL_SIZE, color=style.MUTED)

    def corner(self, index: int) -> tuple[float, float]:
        """Return the upper left corner of a panel's axes, in points from the page's upper left corner."""
        row, column = divmod(index, self.columns)
        x = self.left + column * (self.width + self.gap)
        return x, self.top + row * (self.head + self.height + self.foot) + self.head

    def panel(self, index: int) -> Axes:
        """Return new axes in the place of panel `index`, counted along the rows."""
        return style.add_panel(self.figure, *self.corner(index), self.width, self.height)

    def write(self, x: float, y: float, text: str, **looks: Any) -> None:
        """Write `text` with its upper left corner (or what `ha`, `va` say) at (`x`, `y`) points."""
        style.write(self.figure, x, y, text, **looks)

    def legend(self, x: float, y: float, handles: Sequence[Any], names: Sequence[str], columns: int) -> None:
        """Draw a legend of `columns` columns without a frame, its upper left corner at (`x`, `y`) points."""
        page_width, page_height = (side * style.POINTS_PER_INCH for side in self.figure.get_size_inches())
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
            fontsize=style.SMALL_SIZE,
        )
