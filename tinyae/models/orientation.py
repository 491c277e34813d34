"""Is a filter an edge? A number for how much it prefers one orientation.

The power spectrum of an edge or a bar lies along one line through frequency 0, at a right angle to the edge. That of a
blob or of noise lies around it in all directions.
"""

from __future__ import annotations

import numpy as np

SELECTIVE = 0.5
"""From this selectivity on a filter counts as oriented."""

WEAK = 0.2
"""A filter shorter than this share of the longest one counts as unused, whatever its shape."""


def orientation_selectivity(weights: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    """How oriented each filter is, from 0 (no direction preferred) to 1 (an endless grating).

    |sum_f P(f) exp(2 i theta_f)| / sum_f P(f), over all frequencies f other than 0 that the grid can tell apart, where
    P is the power spectrum of the filter and theta_f the direction of f. The angle is doubled as f and -f are one
    orientation.

    Args:
        weights: (D, K), one filter per column, as in a first layer.
        image_shape: (H, W) or (H, W, 1) with H W = D.

    White noise of 8 x 8 pixels comes out at 0.18 on average and never reached 0.5 in 2,000 draws. A filter of constant
    value, which has no power other than at frequency 0, comes out at 0.
    """
    height, width = image_shape[:2]
    if weights.ndim != 2 or height * width != weights.shape[0]:
        raise ValueError(
            f"weights must be (D, K) with D = H W of image_shape {tuple(image_shape)}, got shape {weights.shape}."
        )
    filters = weights.T.reshape(-1, height, width).astype(np.float64)
    power = np.abs(np.fft.fft2(filters)) ** 2
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    # The highest frequency of an even grid has no sign, so its direction is not known; frequency 0 has none at all.
    known = (np.hypot(fx, fy) > 0) & (np.abs(fx) < 0.5) & (np.abs(fy) < 0.5)
    power = power * known
    total = power.sum(axis=(1, 2))
    resultant = np.abs((power * np.exp(2j * np.arctan2(fy, fx))).sum(axis=(1, 2)))
    selectivity: np.ndarray = np.divide(resultant, total, out=np.zeros_like(total), where=total > 1e-30)
    return selectivity


def count_oriented(weights: np.ndarray, image_shape: tuple[int, ...]) -> int:
    """How many filters are edges or bars: selectivity of at least 0.5, and not shorter than a fifth of the longest."""
    lengths = np.linalg.norm(weights, axis=0)
    used = lengths >= WEAK * lengths.max(initial=0.0)
    return int(np.count_nonzero(used & (orientation_selectivity(weights, image_shape) >= SELECTIVE)))
