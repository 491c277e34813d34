"""The figure of every picture, which shows itself in a notebook. Loaded when the first picture is drawn."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A Matplotlib figure that a notebook shows as the result of a cell, without `%matplotlib inline` or pyplot."""

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        self.savefig(content, format="png", dpi=self.dpi, facecolor=self.get_facecolor())
        return content.getvalue()
