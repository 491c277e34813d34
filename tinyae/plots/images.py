"""Pictures of images: a plain grid, and originals above their reconstructions with the error below each.

The error is the point of the second picture. Its number comes with its unit, the difference row has its own
scale printed beside it, and what the gray scale cannot show (values that are not finite, values beyond the
range) is counted in the line below instead of disappearing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, FloatArray, as_images, one_each, pixel_range, positive_count
from tinyae.plots.sheet import GAP, SMALLEST_SCALE, Sheet, half_points, tile_size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_IMAGES = 1024
SQUARED_ERROR = "squared error per image"
WORD_LINE = 12.0


def range_note(low: float, high: float, channels: int, **named: FloatArray) -> str:
    """Return the line below a sheet: its scale from `low` to `high`, and what that cannot show.

    For each named array it counts the values beyond the scale and those that are not finite.
    """
    scale = (
        f"Gray scale: black {low:.3g}, white {high:.3g}." if channels == 1 else f"Colours from {low:.3g} to {high:.3g}."
    )
    parts = [scale]
    for name, pixels in named.items():
        broken = int(np.count_nonzero(~np.isfinite(pixels)))
        # Infinities are beyond every range, but they are counted once, as what they are.
        beyond = int(np.count_nonzero((pixels < low) | (pixels > high)) - np.count_nonzero(np.isinf(pixels)))
        if beyond:
            parts.append(f"{name.capitalize()}: {style.counted(beyond, 'value')} beyond the scale, drawn as its ends.")
        if broken:
            parts.append(f"{name.capitalize()}: {style.counted(broken, 'value')} not finite, drawn in magenta.")
    return " ".join(parts)


@style.drawing()
def image_grid(
    images: AnyArray,
    *,
    image_shape: Sequence[int] | None = None,
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    title: str = "",
) -> Figure:
    """Draw a set of images row by row, all on one scale.

    `images`: (N, H, W, C) with C 1 or 3, (N, H, W), or flat (N, D) folded by `image_shape` = (H, W) or (H, W, C).
    `columns`: images in a row; None sets up to 10 in a single row, and more as nearly in a square.
    `titles` (N,): a word above each image, shortened where it is wider than the image.
    `value_range`: the values drawn black and white; None takes the smallest and largest value of the set.

    Raises `TypeError` for anything but a NumPy array, `ValueError` for other shapes, for integer pixels above the
    range, and for more than 1024 images.
    """
    pixels = as_images(images, image_shape)
    count = len(pixels)
    # A tile costs about two milliseconds and 64 points of paper; beyond a thousand nobody sees a single image.
    if count > MOST_IMAGES:
        raise ValueError(f"image_grid draws at most {MOST_IMAGES} images, got {count}: pass images[:{MOST_IMAGES}].")
    if columns is None:
        columns = count if count <= 10 else math.ceil(math.sqrt(count))
    columns = min(positive_count(columns, "columns"), count)
    words = one_each(titles, count, "titles", "images")
    low, high = pixel_range(value_range, images)
    room = WORD_LINE if words else 0.0
    sheet = Sheet(
        math.ceil(count / columns),
        columns,
        pixels.shape[1:],
        title=title,
        note=range_note(low, high, pixels.shape[3], images=pixels),
        head=room,
        row_gap=GAP + room,
    )
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        sheet.draw(row, column, image, low, high)
        if words:
            sheet.caption(row, column, str(words[index]))
    return sheet.figure


@style.drawing()
def reconstructions(
    originals: AnyArray,
    reconstructed: AnyArray,
    *,
    image_shape: Sequence[int] | None = None,
    errors: Sequence[float] | AnyArray | None = None,
    error_unit: str = SQUARED_ERROR,
    labels: Sequence[Any] | AnyArray | None = None,
    count: int = 10,
    difference: bool = True,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    title: str = "Originals and their reconstructions",
) -> Figure:
    """Draw the first `count` originals, each above its reconstruction, their absolute difference and the error.

    `originals`, `reconstructed`: two sets of one shape, (N, H, W, C) with C 1 or 3, (N, H, W), or flat (N, D)
    folded by `image_shape` = (H, W) or (H, W, C).
    `errors` (N,): the numbers below the columns, in `error_unit`. None computes the squared error per image,
    the sum over all pixel values of (original - reconstruction)^2, which is what the default unit says.
    `labels` (N,): the words above the columns, shortened where they are wider than an image.
    `difference`: whether to draw the third row. It has a scale of its own, from 0 to the largest difference
    shown, and is the mean over the channels for colour images.
    `value_range`: the values drawn black and white; None takes the smallest and largest of both sets together.

    Raises `TypeError` for anything but NumPy arrays and `ValueError` for shapes or lengths that do not fit each
    other, for integer pixels above the range, and for a unit without errors.
    """
    first = as_images(originals, image_shape, name="originals")
    second = as_images(reconstructed, image_shape, name="reconstructed")
    if first.shape != second.shape:
        raise ValueError(f"originals {originals.shape} and reconstructed {reconstructed.shape} must have one shape.")
    numbers = one_each(errors, len(first), "errors", "images")
    words = one_each(labels, len(first), "labels", "images")
    low, high = pixel_range(value_range, originals, reconstructed)
    shown = min(positive_count(count), len(first))
    first, second = first[:shown], second[:shown]
    gaps = np.abs(first.astype(np.float64) - second)
    if numbers is None:
        if error_unit != SQUARED_ERROR:
            raise ValueError(f"error_unit is {error_unit!r} but no errors are given: pass errors=, one for each image.")
        numbers = list((gaps**2).sum(axis=(1, 2, 3)))
    note = range_note(low, high, first.shape[3], originals=first, reconstructions=second)
    sheet = _paired_sheet(first.shape, difference, words is not None, style.balanced(error_unit, 75.0), title, note)
    for column in range(shown):
        sheet.draw(0, column, first[column], low, high)
        sheet.draw(1, column, second[column], low, high)
        if words:
            sheet.caption(0, column, str(words[column]))
        x = sheet.corner(0, column)[0] + sheet.tile_width / 2
        sheet.write(
            x, sheet.bottom + 5 + _overhang(sheet.tile_height, difference), f"{float(numbers[column]):.3g}", ha="center"
        )
    if difference:
        # The error above is the sum over all channels; for the eye one difference in each place is enough.
        gaps = gaps.mean(axis=3, keepdims=True)
        largest = pixel_range(None, gaps)[1]
        for column in range(shown):
            sheet.draw(2, column, gaps[column], 0.0, largest, "inferno")
        sheet.scale(2, 1, "0", f"{largest:.2g}", "inferno")
    return sheet.figure


def _overhang(tile_height: float, difference: bool) -> float:
    """Points by which the words beside a low tile stick out of it, above and below."""
    return max(0.0, half_points(((2 if difference else 1) * WORD_LINE - tile_height) / 2))


def _paired_sheet(
    shape: tuple[int, ...], difference: bool, headed: bool, unit: list[str], title: str, note: str
) -> Sheet:
    """An empty sheet for images (N, H, W, C) in rows original, reconstruction and difference, with the rows' names and
    the unit of the numbers below. The words to the left decide the left margin, so they are settled before the sheet.
    """
    rows = ["original", "reconstruction"] + (["absolute\ndifference"] if difference else [])
    height = tile_size(*shape[1:3])[1]
    overhang = _overhang(height, difference)
    sheet = Sheet(
        len(rows),
        shape[0],
        (shape[1], shape[2], shape[3]),
        title=title,
        note=note,
        head=max(WORD_LINE if headed else 0.0, overhang),
        foot=max(5 + overhang + len(unit) * WORD_LINE, SMALLEST_SCALE - height if difference else 0.0),
        left=max(style.text_width(text) for text in [*rows, *unit]) + 10,
        right=40.0 if difference else 0.0,
        row_gap=GAP + 2 * overhang,
    )
    for row, text in enumerate(rows):
        middle = sheet.corner(row, 0)[1] + sheet.tile_height / 2
        sheet.write(sheet.left - 10, middle, text, ha="right", va="center")
    sheet.write(sheet.left - 10, sheet.bottom + 5 + overhang, "\n".join(unit), ha="right", color=style.MUTED)
    return sheet
