"""Pictures of images: grids, reconstructions, filters, feature maps, directions and films."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinyae.checks import checked, whole_number
from tinyae.plots import style
from tinyae.plots.style import (
    DIVERGING,
    FloatArray,
    RealArray,
    Sheet,
    as_images,
    finished,
    host_array,
    one_each,
    panels,
    pixel_range,
    save_animation,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# ---------------------------------------------------------------------------------------------------------------------
# Image grids, and reconstructions with their errors.
#
# What the gray scale cannot show (values that are not finite or beyond the range) is counted in the note below.

MOST_IMAGES = 1024
MOST_COLUMNS = 10
"""Images beside each other with their reconstructions."""
SIGNED = ("\N{MINUS SIGN}largest", "0", "+largest")
"""Labels of a scale that is symmetric around zero."""


def range_note(low: float, high: float, channels: int, **named: FloatArray) -> str:
    """Return the note below a sheet: its scale from `low` to `high`.

    For each named array it also counts the values beyond the scale and those that are not finite.
    """
    gray = f"Gray scale: black {low:.3g}, white {high:.3g}."
    parts = [gray if channels == 1 else f"Colors from {low:.3g} to {high:.3g}."]
    for name, pixels in named.items():
        if beyond := int(np.count_nonzero(np.isfinite(pixels) & ((pixels < low) | (pixels > high)))):
            parts.append(f"{name.capitalize()}: {style.counted(beyond, 'value')} beyond the scale, clipped.")
        if broken := not_finite(pixels, "value"):
            parts.append(f"{name.capitalize()}: {broken}")
    return " ".join(parts)


def not_finite(pixels: FloatArray, word: str) -> str:
    """Return the sentence that counts the values that are not finite; "" if all are finite."""
    broken = int(np.count_nonzero(~np.isfinite(pixels)))
    return f"{style.counted(broken, word)} not finite, drawn in magenta." if broken else ""


@style.picture
def image_grid(
    images: RealArray,
    *,
    columns: int | None = None,
    titles: Sequence[object] | None = None,
    row_names: Sequence[object] | None = None,
    column_names: Sequence[object] | None = None,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw images row by row, all on the same scale.

    `images`: (N, H, W, C) with C 1 or 3, or (N, H, W).
    `columns`: images per row; None draws up to 10 in a single row, and more in a square.
    `titles` (N,): titles above the images, truncated to their width. `row_names`, `column_names`: left of each row, above each
    column. `note`: a sentence below.
    `value_range`: the values drawn black and white; None takes the smallest and largest value of the set.

    Raises `TypeError` for anything but a NumPy array, `ValueError` for other shapes, for integer pixels above the
    range, and for more than 1024 images.
    """
    pixels = as_images(images)
    count = len(pixels)
    if count > MOST_IMAGES:
        raise ValueError(f"image_grid draws at most {MOST_IMAGES} images, got {count}: pass images[:{MOST_IMAGES}].")
    if columns is None:
        columns = count if count <= 10 else math.ceil(math.sqrt(count))
    columns = min(whole_number("columns", columns, at_least=1), count)
    words = one_each(titles, count, "titles", "images")
    low, high = pixel_range(value_range, images)
    rows = math.ceil(count / columns)
    sheet = Sheet(rows, columns, pixels.shape[1:], captions=words is not None, lines=0 if row_names is None else 2)
    sheet.name_rows([str(name) for name in one_each(row_names, rows, "row_names", "rows") or []])
    sheet.name_columns([str(name) for name in one_each(column_names, columns, "column_names", "columns") or []])
    for index, image in enumerate(pixels):
        row, column = divmod(index, columns)
        sheet.draw(row, column, image, low, high, caption=str(words[index]) if words else "")
    return finished(sheet.figure, title, f"{range_note(low, high, pixels.shape[3], images=pixels)} {note}")


@style.picture
def reconstructions(
    originals: RealArray,
    reconstructed: RealArray,
    *,
    labels: Iterable[object] | None = None,
    count: int = 10,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    title: str = "Originals and their reconstructions",
) -> Figure:
    """Draw the first `count` originals, each above its reconstruction, their absolute difference and the squared error.

    More than 10 are drawn in several rows.

    `originals`, `reconstructed`: two sets of one shape, (N, H, W, C) with C 1 or 3, or (N, H, W).
    `labels` (N,): titles above the columns, truncated to the width of an image.
    `value_range`: the values drawn black and white; None takes the smallest and largest of both sets together.

    The difference has a separate scale, from 0 to the largest one shown; for color images it is the mean over the channels.
    The number is the sum of (original - reconstruction)^2 over all pixel values.
    Raises `TypeError` for anything but NumPy arrays and `ValueError` for shapes or lengths that do not fit each
    other and for integer pixels above the range.
    """
    first, second = as_images(originals, name="originals"), as_images(reconstructed, name="reconstructed")
    if first.shape != second.shape:
        raise ValueError(
            f"originals {originals.shape} and reconstructed {reconstructed.shape} must have the same shape."
        )
    words = one_each(labels, len(first), "labels", "images")
    low, high = pixel_range(value_range, originals, reconstructed)
    shown = min(whole_number("count", count, at_least=1), len(first))
    first, second = first[:shown], second[:shown]
    note = range_note(low, high, first.shape[3], originals=first, reconstructions=second)
    blocks = math.ceil(shown / MOST_COLUMNS)
    columns = math.ceil(shown / blocks)
    sheet = Sheet(3 * blocks, columns, first.shape[1:], lines=2, group=(3, 34.0))
    sheet.name_rows(["original", "reconstruction", "absolute\ndifference"] * blocks)
    gaps = np.abs(first - second)
    errors = style.aligned((gaps**2).sum(axis=(1, 2, 3)))
    sheet.axes.set_xlabel("squared error per image", labelpad=16.0)
    # The squared error is summed over channels, but the difference is drawn as their mean.
    gaps = gaps.mean(axis=3, keepdims=True)
    largest = pixel_range(None, gaps)[1]
    for index in range(shown):
        block, column = divmod(index, columns)
        sheet.draw(3 * block, column, first[index], low, high, caption=str(words[index]) if words else "")
        sheet.draw(3 * block + 1, column, second[index], low, high)
        sheet.draw(3 * block + 2, column, gaps[index], 0.0, largest, "inferno", below=errors[index])
    sheet.scale(2, 1, ("0", f"{largest:.2g}"), "inferno")
    return finished(sheet.figure, title, note)


# ---------------------------------------------------------------------------------------------------------------------
# First-layer weights as images. Each is scaled by its own largest absolute weight, since a weak filter can have as clear a
# shape as a strong one; the note below has the range of these maxima.


@style.picture
def filters(
    weights: RealArray,
    image_shape: Sequence[int],
    *,
    count: int = 64,
    title: str = "First-layer filters",
) -> Figure:
    """Draw the columns of a first layer's weights as images.

    `weights` (D_in, D_out): column j has the weights of hidden unit j for the D_in pixel values.
    `image_shape`: (H, W) or (H, W, C) with H W C = D_in. Color filters (C = 3) are drawn as colors around a
    neutral gray, all others on a blue to red scale, white at zero.
    `count`: the maximum number of filters, in descending order of Euclidean norm.

    Raises `TypeError` for anything but a NumPy array, `ValueError` unless D_in is the number of values of an image.
    """
    columns = host_array(weights, "weights", "(D_in, D_out)")
    shape = tuple(whole_number("image_shape", side, at_least=1) for side in image_shape)
    shape = (*shape, 1) if len(shape) == 2 else shape
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(
            f"image_shape must be (H, W) or (H, W, C) with C 1 or 3, got {tuple(image_shape)}: write e.g. (28, 28)."
        )
    if columns.ndim != 2:
        raise ValueError(f"weights must have shape (D_in, D_out), got {weights.shape}: pass the first layer's weight.")
    if columns.shape[0] != math.prod(shape):
        raise ValueError(
            f"weights have {columns.shape[0]} rows, but image_shape {tuple(image_shape)} has "
            f"{math.prod(shape)} values: weights are (D_in, D_out), so the matrix may be transposed."
        )
    total = columns.shape[1]
    shown = min(whole_number("count", count, at_least=1), total)
    finite = np.where(np.isfinite(columns), columns, 0.0)
    chosen = np.argsort(-np.linalg.norm(finite, axis=0), kind="stable")[:shown]
    limits = np.abs(finite[:, chosen]).max(axis=0)
    across = shown if shown <= 10 else math.ceil(math.sqrt(shown))
    rows = math.ceil(shown / across)
    sheet = Sheet(rows, across, shape)
    for place, (index, limit) in enumerate(zip(chosen, limits, strict=True)):
        reach = float(limit) or 1.0  # for a filter of zeros any scale will do
        sheet.draw(*divmod(place, across), columns[:, index].reshape(shape), -reach, reach, DIVERGING)
    if shape[2] == 1:
        sheet.scale(0, min(rows, 3), SIGNED, DIVERGING)
    reaches = f"{limits.max():.2g}" if shown == 1 else f"from {limits.min():.2g} to {limits.max():.2g}"
    note = f"{shown} of {style.counted(total, 'filter')}, largest norm first. Each is scaled by its own largest absolute weight, {reaches}."
    return finished(sheet.figure, title, f"{note} {not_finite(columns[:, chosen], 'weight')}")


# ---------------------------------------------------------------------------------------------------------------------
# Feature maps, and how often a transposed convolution writes each pixel.
#
# A convolutional layer has one feature map per kernel. Each map is drawn on its own scale, since a weak map can have as clear
# a shape as a strong one; the end of the scale is written above it, so that a map of zeros is recognized.

MOST_NUMBERED = 20
"""Largest side of a map of counts, in pixels, for which the counts are written into it."""


@style.picture
def feature_maps(
    maps: RealArray,
    image: RealArray | None = None,
    *,
    count: int = 64,
    title: str = "Feature maps",
) -> Figure:
    """Draw the feature maps of one layer for one image: the image, then the maps in the order of the channels.

    `maps` (H, W, K): the layer's output for the image, as in `nn.layer_outputs(model, x)["encoder.0"][0]`.
    `image` (H', W', C) or (H', W'): the input image, drawn first; its largest side determines the size of the tiles.
    `count`: the maximum number of maps.
    Maps without negative values are drawn from black, 0, to white, the largest value. If any value is negative, all are drawn
    from blue through white, 0, to red. The largest absolute value is written above each map.

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for other shapes.
    """
    values = host_array(maps, "maps", "(H, W, K)")
    if values.ndim != 3:
        raise ValueError(f"maps must have shape (H, W, K), those of one image, got {maps.shape}: pass outputs[0].")
    shown = min(whole_number("count", count, at_least=1), values.shape[2])
    picture = None if image is None else as_images(host_array(image, "image", "(H, W, C)")[np.newaxis], name="image")[0]
    tiles = shown + (picture is not None)
    across = tiles if tiles <= 9 else math.ceil(math.sqrt(2 * tiles))
    signed = bool((values < 0).any())
    frame = max([values.shape, *([] if picture is None else [picture.shape])], key=lambda shape: max(shape[:2]))
    sheet = Sheet(math.ceil(tiles / across), across, frame, captions=True)
    if picture is not None:
        sheet.draw(0, 0, picture, *pixel_range(None, picture), caption="image")
    for index in range(shown):
        row, column = divmod(index + (picture is not None), across)
        pixels = values[:, :, index]
        reach = float(np.abs(pixels[np.isfinite(pixels)]).max(initial=0.0))
        end = reach or 1.0  # for a map of zeros any scale will do
        low, colormap = (-end, DIVERGING) if signed else (0.0, "gray")
        sheet.draw(row, column, pixels[..., np.newaxis], low, end, colormap, f"{index}: {reach:.2g}")
    height, width, total = values.shape
    scale = "white is 0, red and blue the largest absolute value" if signed else "black is 0, white the largest value"
    note = f"{shown} of {style.counted(total, 'map')} of {height} x {width}. "
    note += f"Above each: its index and the end of its scale; {scale}."
    if silent := int(np.count_nonzero((values[:, :, :shown] == 0).all(axis=(0, 1)))):
        note += f" {style.counted(silent, 'map')} zero everywhere."
    return finished(sheet.figure, title, f"{note} {not_finite(values[:, :, :shown], 'value')}")


@style.picture
def overlap_maps(counts: Sequence[RealArray], titles: Sequence[object] | None = None, *, title: str = "") -> Figure:
    """Draw how often each pixel is written, one panel for each map of counts, all on the same scale.

    `counts`: arrays (H, W) of whole numbers, as returned by `nn.overlap_counts`; the counts are written into maps of at most
    20 x 20.
    `titles`: one for each panel, such as "kernel 3, stride 2".

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for other shapes or no maps.
    """
    maps = [host_array(one, "counts", "(H, W)") for one in counts]
    if not maps or any(one.ndim != 2 for one in maps):
        raise ValueError(f"counts must be one or more arrays (H, W), got shapes {[one.shape for one in maps]}.")
    words = one_each(titles, len(maps), "titles", "maps")
    largest = max(float(one.max()) for one in maps)
    columns, side = min(len(maps), 3), 190.0
    figure, grid = panels(len(maps), columns, side, side, across=16.0, down=24.0)
    for axes, one, word in zip(grid, maps, words or [""] * len(maps), strict=True):
        axes.set_axis_off()
        # Equal aspect: a map that is not square does not fill its panel.
        axes.imshow(one, cmap="Blues", vmin=0.0, vmax=largest * 1.25, aspect="equal")
        axes.set_title(str(word))
        if max(one.shape) <= MOST_NUMBERED:
            size = min(style.LABEL_SIZE, 0.6 * side / max(one.shape))
            for (row, column), number in np.ndenumerate(one):
                color = "white" if number > 0.7 * largest else style.INK
                axes.text(column, row, f"{number:g}", ha="center", va="center", fontsize=size, color=color)
    return finished(figure, title, f"How often each output pixel is written: white 0, darkest {largest:g}.")


# ---------------------------------------------------------------------------------------------------------------------
# Directions in image space: changes of an image, the strongest first.


@style.picture
def directions(
    images: RealArray,
    changes: RealArray,
    strengths: RealArray,
    *,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    word: str = "strength",
    title: str = "Directions",
) -> Figure:
    """Draw each image in gray or color, and right of it directions of change, red for positive and blue for negative.

    `images`: (N, H, W, C) or (N, H, W).
    `changes`: (N, M, ...), M directions for each image, of the shape of the image. Each is drawn on its own scale, white at
    0; of three channels the mean is drawn.
    `strengths`: (N, M), the numbers above them; `word` describes them in the note.
    `value_range`: as in `image_grid`.

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for shapes that do not fit each other.
    """
    pixels = as_images(images)
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
    sheet = Sheet(rows, 1 + count, pixels.shape[1:], captions=True)
    for row in range(rows):
        sheet.draw(row, 0, pixels[row], low, high)
        for place in range(count):
            reach = float(np.nan_to_num(np.abs(moves[row, place])).max()) or 1.0
            sheet.draw(row, 1 + place, moves[row, place], -reach, reach, DIVERGING, f"{numbers[row, place]:.2g}")
    sheet.scale(0, min(rows, 3), SIGNED, DIVERGING)
    note = f"Directions: each scaled by its own largest absolute value. The numbers are {word}."
    return finished(sheet.figure, title, f"{range_note(low, high, pixels.shape[3], images=pixels)} {note}")


# ---------------------------------------------------------------------------------------------------------------------
# Films, sequences whose steps are images: as strips of frames and as animations. Original, reconstruction and prediction
# are aligned frame by frame.

MOST_FRAMES = 60


@style.picture
def frame_strips(
    rows: Mapping[str, RealArray],
    *,
    seen: int | None = None,
    labels: Iterable[object] | None = None,
    errors: Iterable[float] | None = None,
    count: int = 4,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    title: str = "Films and their reconstructions",
) -> Figure:
    """Draw the first `count` films as strips, one row of frames for each of `rows`.

    `rows`: name -> films (N, T, H, W), all of the same shape; frames of only NaN are left blank.
    `seen`: number of frames the model saw, marked by a line.
    `labels` (N,): text below the name of the first row of each film. `errors` (N,): squared errors, below that of the last.
    `value_range`: the values drawn black and white; None takes the smallest and largest.

    Raises `TypeError` for anything but NumPy arrays, `ValueError` for shapes that differ.
    """
    films, number = _films(rows, count)
    names = list(films)
    shown, frames, *size = films[names[0]].shape
    low, high = pixel_range(value_range, *films.values())
    words = [str(word) for word in one_each(labels, number, "labels", "films") or [""] * number]
    numbers = style.aligned(one_each(errors, number, "errors", "films") or [])
    # Blank frames are not counted as values that are not finite.
    drawn = {name: film[~np.isnan(film).all(axis=(2, 3))] for name, film in films.items()}
    note = range_note(low, high, 1, **drawn)
    sheet = Sheet(shown * len(names), frames, size, lines=2, tile=40.0, group=(len(names), 12.0))
    sheet.name_rows([
        f"{name}\n{words[film] if name == names[0] else numbers[film] if numbers and name == names[-1] else ''}".rstrip()
        for film in range(shown) for name in names
    ])  # fmt: skip
    for row in range(shown * len(names)):
        for frame, pixels in enumerate(films[names[row % len(names)]][row // len(names)]):
            if not np.isnan(pixels).all():
                sheet.draw(row, frame, pixels[..., None], low, high)
    sheet.name_columns([str(frame + 1) for frame in range(frames)])
    if seen is not None and 0 < seen < frames:
        sheet.axes.axvline(sheet.corner(0, seen)[0] - style.GAP / 2, color=style.VALIDATION, linewidth=1.2)
    note = f"{note} At the lower left of each film: its squared error." if numbers else note
    return finished(sheet.figure, title, note)


@checked
def save_film(
    rows: Mapping[str, RealArray],
    path: str | os.PathLike[str],
    *,
    seen: int | None = None,
    count: int = 6,
    milliseconds: int = 250,
    value_range: tuple[float, float] | None = (0.0, 1.0),
    title: str = "Films and their reconstructions",
) -> Path:
    """Write the first `count` films as one animated GIF, one column per film, rows as in `frame_strips`; return the path.

    The caption has the frame number and whether the model saw the frame. Frames that a row does not have are gray.
    """
    with style.drawing():
        films, _ = _films(rows, count)
        shown, frames, *size = next(iter(films.values())).shape
        low, high = pixel_range(value_range, *films.values())
        sheet = Sheet(len(films), shown, size, lines=1)
        sheet.name_rows(list(films))
        for place in range(len(films) * shown):
            row, column = divmod(place, shown)
            sheet.draw(row, column, np.zeros((*size, 1)), low, high)
        caption = sheet.axes.set_xlabel(" ", loc="left")
        finished(sheet.figure, title)
        tiles = sheet.axes.images

        def show(frame: int) -> None:
            gray = low + 0.5 * (high - low)
            for tile, pixels in zip(tiles, np.concatenate([film[:, frame] for film in films.values()]), strict=True):
                tile.set_data(np.where(np.isnan(pixels), gray, pixels))
            part = "" if seen is None else ", seen by the model" if frame < seen else ", the future"
            caption.set_text(f"frame {frame + 1} of {frames}{part}")

        return save_animation(sheet.figure, frames, show, path, milliseconds=milliseconds)


def _films(rows: Mapping[str, RealArray], count: int) -> tuple[dict[str, FloatArray], int]:
    """The first `count` films of each row, checked: equal shapes, gray, and not too many frames; and how many there are."""
    films = {name: host_array(film, name, "(N, T, H, W)") for name, film in rows.items()}
    shapes = {film.shape for film in films.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 4:
        got = ", ".join(f"{name} {film.shape}" for name, film in films.items()) or "none"
        raise ValueError(f"films must all have the same shape (N, T, H, W), got {got}: use reshape(N, T, H, W).")
    number, frames, _, _ = shapes.pop()
    if frames > MOST_FRAMES:
        raise ValueError(f"films may have at most {MOST_FRAMES} frames, got {frames}: shorten them.")
    shown = whole_number("count", count, at_least=1)
    return {name: film[:shown] for name, film in films.items()}, number
