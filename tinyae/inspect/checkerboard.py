"""How much of the variance of images is a pattern with a given period, compared with neighboring frequencies.

A decoder that writes some pixels more often than others leaves a pattern whose period is its stride. Such a pattern
has only the frequencies j / period. Since natural images have power at every frequency, the power there is compared with
that at neighboring frequencies.

    x'       the image cut to multiples of the period, less its mean, times a Hann window w(h) w(w'),
             w(h) = (1 - cos(2 pi h / H)) / 2
    P        |DFT of x'|^2, summed over images and channels
    F        the frequencies (i / period, j / period), 0 <= i, j < period, without (0, 0)
    peak     the 3 x 3 bins around each f of F: the Hann window spreads a line over exactly these
    around   the bins at distance 2 or 3 from f, and more than 1 from all of F and from (0, 0)

    excess = sum over f of (sum of P over its peak - 9 mean of P around it)
    share  = excess / sum of P                      the fraction of the variance that is periodic
    ratio  = sum of P over peaks / (9 sum over f of the mean of P around f)

For a checkerboard of amplitude a in white noise of variance s^2 the expected share is a^2 / (a^2 + s^2), for any image
size, and 0 without it; the ratio is 1 without it. If the strength of a pattern varies over the image, as it does for a
decoder, the power outside the 3 x 3 bins is not counted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_LEAST = 4
"""Minimum number of periods on each axis: with fewer there are no bins between the peaks."""


class PeriodicPower(NamedTuple):
    """What `checkerboard_score` finds; see the formulas at the top of `tinyae.inspect.checkerboard`.

    Attributes:
        share: the fraction of the (windowed) variance of the images with this period, in excess of neighboring
            frequencies; about 0 without a pattern, 1 for a pure pattern. It may be slightly negative.
        ratio: the power at these frequencies relative to that of neighboring ones; about 1 without a pattern.
    """

    share: float
    ratio: float


def checkerboard_score(images: npt.NDArray[Any], period: int = 2) -> PeriodicPower:
    """The part of images (N, H, W, C) that repeats every `period` pixels, over all images and channels.

    Args:
        images: real numbers, (N, H, W, C) or (N, H, W), on the host; at least four periods high and wide.
        period: in pixels, at least 2: the stride of the last upsampling layer of the decoder.

    Raises:
        TypeError, ValueError: another kind of array, values that are not finite, or images too small for the period.

    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=(10, 32, 32))
    >>> board = (-1.0) ** np.add.outer(np.arange(32), np.arange(32))
    >>> [round(checkerboard_score(noise + a * board).share, 1) for a in (0.0, 0.5, 1.0)]
    [0.0, 0.2, 0.5]
    """
    power = _spectrum(_checked(images, period), period)
    total = float(power.sum())
    if total == 0:  # constant images have no pattern
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
            f"checkerboard_score: images must be a NumPy array of numbers (N, H, W, C) or (N, H, W), got {got}: convert "
            "a Tensor with .numpy()."
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
        raise ValueError(
            "checkerboard_score: the images contain NaN or infinity: find the cause, e.g. a diverged model."
        )
    return pixels if pixels.ndim == 4 else pixels[..., np.newaxis]


def _spectrum(pixels: npt.NDArray[np.float64], period: int) -> npt.NDArray[np.float64]:
    """P (H, W): the power of the windowed images, summed over N and C, H and W multiples of the period."""
    height, width = (n - n % period for n in pixels.shape[1:3])
    pixels = pixels[:, :height, :width] - pixels[:, :1, :1]  # so that a constant image becomes exactly 0
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
    """Distance in bins from each bin to the frequency (i, j) / period, the maximum over both (periodic) axes."""
    steps = []
    for size, number in zip(shape, place, strict=True):
        apart = np.abs(np.arange(size) - number * size // period)
        steps.append(np.minimum(apart, size - apart))
    return np.maximum.outer(steps[0], steps[1])
