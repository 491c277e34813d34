"""How much of an image's variance is a pattern with a given period, and how far it stands out of its neighborhood.

A decoder that writes some pixels more often than others leaves a pattern whose period is its stride. Such a pattern
can only have the frequencies j / period, so that is where one has to look; and as natural images have some power at
every frequency, the power there is compared with that of the frequencies around.

    x'       the image cut to multiples of the period, less its mean, times a Hann window w(h) w(w'),
             w(h) = (1 - cos(2 pi h / H)) / 2
    P        |DFT of x'|^2, added over images and channels
    F        the frequencies (i / period, j / period), 0 <= i, j < period, without (0, 0)
    peak     the 3 x 3 bins around each f of F: the periodic Hann window spreads a line over just these
    around   the bins 2 or 3 steps from some f, further than 1 from all of them and from (0, 0)

    excess = sum over f of (sum of P over its peak - 9 mean of P around it)
    share  = excess / sum of P                      the part of the variance that is periodic
    ratio  = sum of P over peaks / (9 sum over f of the mean of P around f)

For a checkerboard of amplitude a in white noise of variance s^2 the expected share is a^2 / (a^2 + s^2), whatever the
size of the image, and 0 without it; the ratio is 1 without it. A pattern whose strength varies slowly over the
image, as that of a decoder does, loses what the variation moves out of the 3 x 3 bins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_LEAST = 4
"""Periods that an image must hold on each axis: with fewer there is nothing between one peak and the next."""


class PeriodicPower(NamedTuple):
    """What `checkerboard_score` finds; see the formulas at the top of `tinyae.inspect.checkerboard`.

    Attributes:
        share: the part of the images' (windowed) variance that has this period, beyond what the neighborhood in the
            spectrum has too; about 0 without a pattern, 1 for nothing but a pattern. It may be slightly negative.
        ratio: the power at these frequencies as a multiple of that around them; about 1 without a pattern.
    """

    share: float
    ratio: float


def checkerboard_score(images: npt.NDArray[Any], period: int = 2) -> PeriodicPower:
    """The part of images (N, H, W, C) that repeats every `period` pixels, all images and channels together.

    Args:
        images: real numbers, (N, H, W, C) or (N, H, W), on the host; at least four periods high and wide.
        period: in pixels, at least 2: the stride of the decoder's last layer that makes images larger.

    Raises:
        TypeError, ValueError: not such an array, values that are not finite, or images too small for the period.

    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=(10, 32, 32))
    >>> board = (-1.0) ** np.add.outer(np.arange(32), np.arange(32))
    >>> [round(checkerboard_score(noise + a * board).share, 1) for a in (0.0, 0.5, 1.0)]
    [0.0, 0.2, 0.5]
    """
    power = _spectrum(_checked(images, period), period)
    total = float(power.sum())
    if total == 0:  # images without any contrast have no pattern
        return PeriodicPower(0.0, 1.0)
    peaks = background = 0.0
    for peak, around in _places(power.shape, period):
        peaks += float(power[peak].sum())
        background += 9 * float(power[around].mean())
    ratio = peaks / background if background else float("inf") if peaks else 1.0
    return PeriodicPower((peaks - background) / total, ratio)


def _checked(images: npt.NDArray[Any], period: int) -> npt.NDArray[np.float64]:
    if not isinstance(images, np.ndarray) or images.ndim not in (3, 4) or images.dtype.kind not in "buif":
        got = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise TypeError(
            f"checkerboard_score: images must be a NumPy array of numbers (N, H, W, C) or (N, H, W), got {got}: bring "
            "a Tensor to the host with .numpy()."
        )
    if isinstance(period, bool) or not isinstance(period, (int, np.integer)) or period < 2:
        raise ValueError(f"checkerboard_score: period must be a whole number of at least 2, got {period!r}.")
    if images.size == 0 or min(images.shape[1:3]) < _LEAST * period:
        raise ValueError(
            f"checkerboard_score: images of shape {images.shape} do not hold {_LEAST} periods of {period} pixels: give "
            f"images (N, H, W, C) of at least {_LEAST * period} x {_LEAST * period}, or a smaller period."
        )
    pixels = images.astype(np.float64)
    if not np.isfinite(pixels).all():
        raise ValueError("checkerboard_score: the images hold values that are NaN or infinite: look for their cause.")
    return pixels if pixels.ndim == 4 else pixels[..., np.newaxis]


def _spectrum(pixels: npt.NDArray[np.float64], period: int) -> npt.NDArray[np.float64]:
    """P (H, W): the power of the windowed images, added over N and C, H and W multiples of the period."""
    height, width = (n - n % period for n in pixels.shape[1:3])
    pixels = pixels[:, :height, :width] - pixels[:, :1, :1]  # so that an image of one value becomes exactly 0
    pixels = pixels - pixels.mean(axis=(1, 2), keepdims=True)
    window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in (height, width)))
    transformed = np.fft.fft2(pixels * window[:, :, np.newaxis], axes=(1, 2))
    return np.square(np.abs(transformed)).sum(axis=(0, 3))


def _places(shape: tuple[int, ...], period: int) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """For each frequency of F, which bins are its peak and which its neighborhood."""
    places = [(i, j) for i in range(period) for j in range(period)]
    distance = {place: _distance(shape, place, period) for place in places}
    free = np.min(list(distance.values()), axis=0) > 1
    return [(distance[f] <= 1, free & (distance[f] <= 3)) for f in places[1:]]


def _distance(shape: tuple[int, ...], place: tuple[int, int], period: int) -> npt.NDArray[np.int64]:
    """Steps from each bin to the frequency (i, j) / period, the larger of the two axes', around the end."""
    steps = []
    for size, number in zip(shape, place, strict=True):
        apart = np.abs(np.arange(size) - number * size // period)
        steps.append(np.minimum(apart, size - apart))
    return np.maximum.outer(steps[0], steps[1])
