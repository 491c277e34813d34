"""Patches of photographs, whitened: what the first sparse codes were trained on.

Neighbouring pixels of a photograph are nearly equal, and its power falls off as 1/f**2, so a model of raw patches
spends everything on the slow changes of brightness. Whitening flattens the spectrum up to where noise begins (Olshausen
and Field 1997, section 4).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CUT_OFF = 0.4
"""Where the low-pass filter has fallen to 1/e, in cycles per pixel; 0.5 is the highest frequency there is."""

VARIANCE = 0.1
"""Of a whitened photograph; only its shape matters here, since patches are scaled afterwards."""


def whiten(photograph: Floats) -> Floats:
    """A square photograph (S, S) filtered by R(f) = f exp(-(f / f0)**4), with mean 0 and variance 0.1.

    f is the distance from frequency 0 and f0 is `CUT_OFF`. The factor f undoes the 1/f of natural amplitudes; the other
    takes away the highest frequencies, which are noise and the corners of the pixel grid.
    """
    size = photograph.shape[0]
    if photograph.shape != (size, size):
        raise ValueError(f"a photograph must be square, (S, S), got shape {photograph.shape}: cut it first.")
    frequencies = np.fft.fftfreq(size)
    f = np.hypot(frequencies[:, None], frequencies[None, :])
    spectrum = np.fft.fft2(photograph - photograph.mean()) * f * np.exp(-((f / CUT_OFF) ** 4))
    filtered: Floats = np.fft.ifft2(spectrum).real
    return filtered / filtered.std() * np.sqrt(VARIANCE)


def cut_patches(photographs: Floats, count: int, size: int, generator: np.random.Generator) -> Floats:
    """`count` patches (count, size, size) from random places of random photographs (M, H, W)."""
    which = generator.integers(len(photographs), size=count)
    rows = generator.integers(photographs.shape[1] - size + 1, size=count)
    columns = generator.integers(photographs.shape[2] - size + 1, size=count)
    windows = np.lib.stride_tricks.sliding_window_view(photographs, (size, size), axis=(1, 2))
    return np.array(windows[which, rows, columns])


def normalise_patches(patches: Floats, spread: float) -> npt.NDArray[np.float32]:
    """Each patch less its own mean; +-3 `spread` becomes 0.1 and 0.9, and what lies beyond is cut off.

    A sigmoid's output can then reach every value. `spread`: the standard deviation of the training patches.
    """
    centred = patches - patches.mean(axis=(1, 2), keepdims=True)
    limited = np.clip(centred / (3.0 * spread), -1.0, 1.0)
    return (0.5 + 0.4 * limited).astype(np.float32)


def natural_patches(
    photographs: npt.NDArray[np.uint8], counts: tuple[int, int], size: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Training and test patches (N, size, size) of photographs (M, S, S), the same ones at every call.

    The left three quarters of every photograph give training patches and the right quarter test patches, so that no
    pixel is in both.
    """
    generator = np.random.default_rng(0)
    white = np.stack([whiten(photograph.astype(np.float64)) for photograph in photographs])
    border = photographs.shape[2] * 3 // 4
    train = cut_patches(white[:, :, :border], counts[0], size, generator)
    test = cut_patches(white[:, :, border:], counts[1], size, generator)
    spread = float((train - train.mean(axis=(1, 2), keepdims=True)).std())
    return normalise_patches(train, spread), normalise_patches(test, spread)
