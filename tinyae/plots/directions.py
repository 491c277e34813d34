"""Pictures of directions in the space of images: which changes of an image matter, the strongest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, as_images, host_array, pixel_range
from tinyae.plots.images import WORD_LINE, range_note
from tinyae.plots.sheet import DIVERGING, GAP, SMALLEST_SCALE, Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@style.drawing()
def directions(
    images: AnyArray,
    changes: AnyArray,
    strengths: AnyArray,
    *,
    image_shape: Sequence[int] | None = None,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    word: str = "strength",
    title: str = "Directions",
) -> Figure:
    """Draw each image in gray or colour, and right of it changes of it, red for more and blue for less.

    `images`: (N, H, W, C), (N, H, W), or flat (N, D) folded by `image_shape`.
    `changes`: (N, M, ...), M directions for each image, of an image's shape. Each is drawn on a scale of its own, white
    at 0; of three channels the mean is drawn.
    `strengths`: (N, M), the numbers above them; `word` says in the note what they are.
    `value_range`: as in `image_grid`.

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for shapes that do not fit each other.
    """
    pixels = as_images(images, image_shape)
    rows = len(pixels)
    moves, numbers = host_array(changes, "changes", "(N, M, ...)"), host_array(strengths, "strengths", "(N, M)")
    if numbers.ndim != 2 or len(numbers) != rows or moves.size != numbers.shape[1] * pixels.size:
        raise ValueError(
            f"changes must be (N, M, ...) and strengths (N, M) for images {images.shape}, got {changes.shape} and "
            f"{strengths.shape}: give M directions of an image's shape for each image."
        )
    count = numbers.shape[1]
    moves = moves.reshape(rows, count, *pixels.shape[1:]).mean(axis=4, keepdims=True)
    low, high = pixel_range(value_range, images)
    sheet = Sheet(
        rows,
        1 + count,
        pixels.shape[1:],
        title=title,
        note=f"{range_note(low, high, pixels.shape[3], images=pixels)} Directions: each scaled by its own largest "
        f"absolute value. The numbers are {word}.",
        head=WORD_LINE,
        row_gap=GAP + WORD_LINE,
        foot=max(0.0, SMALLEST_SCALE - rows * pixels.shape[1]),
        right=58.0,
    )
    for row in range(rows):
        sheet.draw(row, 0, pixels[row], low, high)
        for place in range(count):
            reach = float(np.nan_to_num(np.abs(moves[row, place])).max()) or 1.0
            sheet.draw(row, 1 + place, moves[row, place], -reach, reach, DIVERGING)
            x, y = sheet.corner(row, 1 + place)
            text = style.shorten(f"{numbers[row, place]:.2g}", sheet.tile_width, style.SMALL_SIZE)
            sheet.write(x + sheet.tile_width / 2, y - 3.5, text, size=style.SMALL_SIZE, ha="center", va="baseline")
    sheet.scale(0, min(rows, 3), "\N{MINUS SIGN}largest", "+largest", DIVERGING, middle="0")
    return sheet.figure
