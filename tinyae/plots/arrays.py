"""What a picture accepts: host NumPy arrays of real numbers, checked once at the door.

Everything that can be wrong with an array is said here in one sentence each, so that the drawing code may
rely on shapes. Values are not refused: a NaN in a reconstruction is what the reader needs to see, so it is
drawn, marked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

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
                "for vectors that are no images use vector_reconstructions."
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
