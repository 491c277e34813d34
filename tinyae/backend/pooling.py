"""The gradient of max pooling on the CPU, for windows side by side: a few samples at a time, in the processor's cache.

The plain form in `base` makes a mask, a product and a sum as large as the batch for each tap of the window, and every one
of them goes to memory and back. Here they are as large as a few samples. Where windows lie side by side each pixel is
seen once, so that nothing needs to be added, or be 0 before.
"""

from __future__ import annotations

import numpy as np

from tinyae.backend.threads import in_halves
from tinyae.backend.windows import Windows, padded, unpadded

MOST_TAPS = 255
"""Taps of a window whose ties are counted in one byte."""

_CACHED = 1 << 18
"""Bytes of the outputs of one chunk: with masks and images, what fits a common second-level cache."""

_SHARED = 1 << 17
"""Entries of the outputs from which a second thread pays for itself."""


def max_pool2d_grad(g: np.ndarray, out: np.ndarray, x: np.ndarray, windows: Windows) -> np.ndarray:
    """`Backend.max_pool2d_grad` for a stride that is the kernel's size.

    Outputs are repeated along the row, so that a row of pixels meets a row as long, and not every kw-th pixel at a time.
    """
    image = padded(np, x, windows, -np.inf)
    (kh, kw), (n, oh, ow, c) = windows.kernel, out.shape
    whole = out.size * kh * kw == image.size
    dx = (np.empty if whole else np.zeros)(image.shape, g.dtype)
    chunk = max(1, _CACHED // max(1, out[:1].nbytes * kw))
    rows = [(slice(None), slice(i, i + kh * oh, kh), slice(0, kw * ow)) for i in range(kh)]

    def work(start: int, stop: int) -> None:
        masks = np.empty((kh, min(chunk, stop - start), oh, ow * kw, c), np.bool_)
        for first in range(start, stop, chunk):
            samples = slice(first, min(first + chunk, stop))
            seen, into = image[samples], dx[samples]
            won = masks[:, : len(seen)]
            best = np.repeat(out[samples], kw, axis=2)
            for mask, row in zip(won, rows, strict=True):
                np.equal(seen[row], best, out=mask)
            columns = np.add.reduce(won.view(np.uint8), axis=0, dtype=np.uint8)
            winners = sum(columns[:, :, j::kw] for j in range(kw))  # the ufunc's own sum along this axis is slow
            share = np.repeat(g[samples] / winners, kw, axis=2)
            for mask, row in zip(won, rows, strict=True):
                np.multiply(share, mask, out=into[row])

    in_halves(work, n, out.size >= _SHARED)
    return unpadded(dx, windows)
