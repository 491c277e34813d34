"""What objects show of themselves in a notebook: small, plain HTML in the colors of the page, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np


def lines_of_text(text: str, style: str = "") -> str:
    """Text as it is printed, in letters of equal width; `style` is more CSS."""
    return f'<pre style="font-family:monospace;{style}">{escape(text)}</pre>'


def table(rows: Iterable[Sequence[str]], head: Sequence[str], caption: str) -> str:
    """An HTML table with a line above it."""
    lines = [f"<th>{'</th><th>'.join(map(escape, head))}</th>"]
    lines += [f"<td>{'</td><td>'.join(map(escape, row))}</td>" for row in rows]
    return f"<div>{escape(caption)}</div><table><tr>{'</tr><tr>'.join(lines)}</tr></table>"


def array_summary(title: str, values: np.ndarray) -> str:
    """Shape, dtype, the smallest value, mean and largest of an array, and its values, of many only some."""
    known = ""
    if values.size and values.dtype.kind in "biuf":
        known = f", min {values.min():.5g}, mean {values.mean(dtype=np.float64):.5g}, max {values.max():.5g}"
    text = np.array2string(values, threshold=100, precision=4)
    return f"<div>{escape(title)} {values.shape} {values.dtype}{known}</div>{lines_of_text(text)}"


def curves(series: Mapping[str, Sequence[float]]) -> str:
    """Lines over epochs as SVG, the first solid, the others dashed; logarithmic if one falls to less than a tenth."""
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if not finite or len(next(iter(series.values()))) < 2:
        return ""
    steep = min(finite) > 0 and any(values[0] > 10 * values[-1] for values in series.values())
    scale = math.log if steep else float
    low, high = scale(min(finite)), scale(max(finite))
    lines = []
    for number, values in enumerate(series.values()):
        x = 320.0 / (len(values) - 1)
        points = [(n * x, 70 * (high - scale(v)) / (high - low or 1)) for n, v in enumerate(values) if math.isfinite(v)]
        shown = " ".join(f"{across:.1f},{down + 5:.1f}" for across, down in points)
        lines.append(f'<polyline points="{shown}" stroke-dasharray="{4 * number}" />')
    words = ", ".join(f"{'- - ' if n else '— '}{name}" for n, name in enumerate(series))
    looks = 'width="320" height="80" fill="none" stroke="currentColor" stroke-width="1.5"'
    return f"<svg {looks}>{''.join(lines)}</svg><div>{escape(words)}{', logarithmic' if steep else ''}</div>"


class Printed(str):
    """Lines of text, which a notebook shows as they are printed."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return lines_of_text(self)
