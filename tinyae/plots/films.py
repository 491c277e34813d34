"""Films: sequences whose steps are images, as strips of frames on paper and as moving pictures.

Rows that belong together (the truth, and what a model made of it) stand below each other frame by frame, so that the eye
compares like with like. A frame that a row does not have, such as the reconstruction of the future, stays empty.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, FloatArray, host_array, one_each, pixel_range, positive_count
from tinyae.plots.images import range_note
from tinyae.plots.save import save_animation
from tinyae.plots.sheet import GAP, Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALL, FILM_GAP, HEAD = 40.0, 12.0, 16.0
MOST_FRAMES = 60


@style.drawing()
def frame_strips(
    rows: Mapping[str, AnyArray],
    *,
    seen: int | None = None,
    labels: Sequence[Any] | AnyArray | None = None,
    errors: Sequence[float] | AnyArray | None = None,
    count: int = 4,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    title: str = "Films and what a model makes of them",
) -> Figure:
    """Draw the first `count` films as strips, one row of frames for each of `rows`.

    `rows`: name -> films (N, T, H, W), all of one shape; frames that are NaN throughout stay empty.
    `seen`: how many frames the model saw; a line stands behind them.
    `labels` (N,): words below the name of each film's first row. `errors` (N,): squared errors, below that of its last.
    `value_range`: the values drawn black and white; None takes the smallest and largest.

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for shapes that differ.
    """
    films = _films(rows)
    names = list(films)
    number, frames, height, width = films[names[0]].shape
    shown = min(positive_count(count), number)
    low, high = pixel_range(value_range, *(film[:shown] for film in films.values()))
    words = [str(word) for word in one_each(labels, number, "labels", "films") or [""] * number][:shown]
    numbers = [f"{error:.3g}" for error in one_each(errors, number, "errors", "films") or []][:shown]
    note = range_note(low, high, 1, **{name: _drawn(film[:shown]) for name, film in films.items()})
    sheet = Sheet(
        shown * len(names), frames, (height, width, 1), title=title,
        note=f"{note} At the lower left of each film: squared error." if numbers else note,
        head=HEAD, left=max(style.text_width(name) for name in [*names, *words, *numbers]) + 10, tile=SMALL,
        group=(len(names), FILM_GAP),
    )  # fmt: skip
    for film in range(shown):
        for place, name in enumerate(names):
            row = film * len(names) + place
            middle = sheet.corner(row, 0)[1] + sheet.tile_height / 2
            sheet.write(sheet.left - 10, middle, name, ha="right", va="center")
            below = words[film] if place == 0 else numbers[film] if numbers and place == len(names) - 1 else ""
            sheet.write(sheet.left - 10, middle + 12, below, ha="right", va="center", color=style.MUTED)
            for frame, pixels in enumerate(films[name][film]):
                if not np.isnan(pixels).all():
                    sheet.draw(row, frame, pixels[..., None], low, high)
    _heads(sheet, frames, seen)
    return sheet.figure


def save_film(
    rows: Mapping[str, AnyArray],
    path: str | os.PathLike[str],
    *,
    seen: int | None = None,
    count: int = 6,
    milliseconds: int = 250,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    title: str = "Films and what a model makes of them",
) -> Path:
    """Write the first `count` films as one animated GIF: columns of films, rows as in `frame_strips`; return the path.

    The line below says which frame it is, and whether the model saw it. Frames that a row does not have are gray.
    """
    with style.drawing():
        films = _films(rows)
        names = list(films)
        number, frames, height, width = films[names[0]].shape
        shown = min(positive_count(count), number)
        low, high = pixel_range(value_range, *(film[:shown] for film in films.values()))
        sheet = Sheet(
            len(names), shown, (height, width, 1), title=title, foot=18.0,
            left=max(style.text_width(name) for name in names) + 10,
        )  # fmt: skip
        for row, name in enumerate(names):
            middle = sheet.corner(row, 0)[1] + sheet.tile_height / 2
            sheet.write(sheet.left - 10, middle, name, ha="right", va="center")
            for column in range(shown):
                sheet.draw(row, column, np.zeros((height, width, 1)), low, high)
        sheet.write(sheet.left, sheet.bottom + 6, "")
        caption = sheet.figure.texts[-1]
        tiles = sheet.axes.images

        def show(frame: int) -> None:
            grey = low + 0.5 * (high - low)
            for row, name in enumerate(names):
                for column in range(shown):
                    pixels = films[name][column, frame]
                    tiles[row * shown + column].set_data(np.where(np.isnan(pixels), grey, pixels))
            part = "" if seen is None else ", seen by the model" if frame < seen else ", the future"
            caption.set_text(f"frame {frame + 1} of {frames}{part}")

        return save_animation(sheet.figure, frames, show, path, milliseconds=milliseconds)


def _films(rows: Mapping[str, AnyArray]) -> dict[str, FloatArray]:
    """The rows, checked: one shape, gray, and not too long for a page."""
    films = {name: host_array(film, name, "(N, T, H, W)") for name, film in rows.items()}
    shapes = {film.shape for film in films.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 4:
        got = ", ".join(f"{name} {film.shape}" for name, film in films.items()) or "none"
        raise ValueError(f"films must all have one shape (N, T, H, W), got {got}: fold steps with reshape(N, T, H, W).")
    if next(iter(shapes))[1] > MOST_FRAMES:
        raise ValueError(f"films of at most {MOST_FRAMES} frames are drawn, got {next(iter(shapes))[1]}: cut them.")
    return films


def _drawn(films: FloatArray) -> FloatArray:
    """The frames that are not empty, in one line: what the note counts values of."""
    return films[~np.isnan(films).all(axis=(2, 3))]


def _heads(sheet: Sheet, frames: int, seen: int | None) -> None:
    """The numbers of the frames above the first strip, and the line between what was seen and the future."""
    for frame in range(frames):
        x, y = sheet.corner(0, frame)
        sheet.write(x + sheet.tile_width / 2, y - 4, str(frame + 1), size=style.SMALL_SIZE, ha="center", va="bottom",
                    color=style.MUTED)  # fmt: skip
    if seen is not None and 0 < seen < frames:
        x = sheet.corner(0, seen)[0] - GAP / 2
        sheet.axes.plot([x, x], [sheet.top - HEAD, sheet.bottom + 3], color=style.VALIDATION, linewidth=1.2)
