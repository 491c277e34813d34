"""Batches: the order in which a model meets the examples.

The order comes from one generator handed in, drawn on the host once per epoch, so the same seed gives the
same order on every device. The gather happens where the arrays are: only the permutation (8 bytes an example)
goes to a GPU, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.backend import Array, Backend, as_generator, backend_of, check_same_device
from tinyae.data.sequences import Lengths


def batches(
    *arrays: Array,
    batch_size: int,
    generator: np.random.Generator | None = None,
    drop_last: bool = False,
    lengths: Lengths | None = None,
) -> Iterator[Any]:
    """Iterate once over arrays of equal length N, `batch_size` examples at a time.

    Args:
        arrays: one or more arrays (N, ...) of one device, NumPy or CuPy; row i of each belongs to example i.
        batch_size: examples in a batch, at least 1; the last batch may be smaller.
        generator: shuffles, anew at each call, as `np.random.default_rng(seed)` says. None keeps the order
            and yields views, without copying.
        drop_last: leave out a last batch that is smaller than the others.
        lengths: of sequences of unequal length, on the host, whole numbers (N,) from 1 to T.

    Yields an array for one array given, a tuple of arrays for several. With `lengths` always a tuple, whose last entry
    is the batch's lengths, on the host; its sequences (n, T, ...) are cut to the longest of the batch, so that no step is
    computed that belongs to nobody. Faulty arguments raise at the call,
    not at the first batch: TypeError for a generator that is a number, ValueError for lengths that differ,
    for no examples, for a `batch_size` below 1 and for `drop_last` that would leave no batch.

    >>> [batch.tolist() for batch in batches(np.arange(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """
    if not arrays:
        raise ValueError("batches() was given no array: give at least one, batches(x, batch_size=...).")
    check_same_device("batches", arrays)
    spaces = [backend_of(array) for array in arrays]
    counts = [len(array) if getattr(array, "ndim", 0) else 0 for array in arrays]
    if len(set(counts)) > 1:
        got = ", ".join(map(str, counts))
        raise ValueError(f"batches() needs arrays of equal length, got {got} examples: one row for each.")
    if not counts[0]:
        raise ValueError("batches() was given no examples: give arrays of at least one row.")
    count = batch_count(counts[0], batch_size, drop_last)
    if not count:
        raise ValueError(
            f"drop_last leaves no batch: {counts[0]} examples are fewer than batch_size={batch_size}; make it smaller."
        )
    if lengths is not None:
        _check_lengths(lengths, arrays)
    order = None if generator is None else as_generator(generator).permutation(counts[0])
    return _walk(arrays, spaces, batch_size, count, order, lengths)


def batch_count(n: int, batch_size: int, drop_last: bool = False) -> int:
    """The number of batches of `batch_size` in n examples. ValueError for a batch_size below 1, a negative n.

    >>> batch_count(10, 4), batch_count(10, 4, drop_last=True)
    (3, 2)
    """
    if not isinstance(batch_size, int | np.integer) or isinstance(batch_size, bool):
        raise TypeError(f"batch_size must be a whole number, got {batch_size!r}: write batch_size=128, say.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    if n < 0:
        raise ValueError(f"the number of examples cannot be negative, got {n}.")
    return int(n // batch_size if drop_last else -(-n // batch_size))


def _check_lengths(lengths: Any, arrays: tuple[Array, ...]) -> None:
    steps = max((array.shape[1] for array in arrays if array.ndim > 2), default=0)  # what a model sees may be less
    if not isinstance(lengths, np.ndarray) or lengths.dtype.kind not in "iu":
        raise TypeError(f"batches() needs lengths as an array of whole numbers (N,), got {type(lengths).__name__}.")
    if lengths.shape != (len(arrays[0]),):
        raise ValueError(
            f"batches() got lengths of shape {lengths.shape} for {len(arrays[0])} sequences: give one for each."
        )
    if not steps or lengths.min() < 1 or lengths.max() > steps:
        raise ValueError(
            f"batches() got lengths from {lengths.min()} to {lengths.max()} for sequences of {steps} steps: "
            "lengths go from 1 to the number of steps."
        )


def _walk(
    arrays: tuple[Array, ...],
    spaces: list[Backend],
    batch_size: int,
    count: int,
    order: npt.NDArray[np.int64] | None,
    lengths: Lengths | None,
) -> Iterator[Any]:
    index = None if order is None else spaces[0].to_device(order)
    for start in range(0, count * batch_size, batch_size):
        rows = slice(start, start + batch_size)
        if index is None:
            batch = tuple(array[rows] for array in arrays)
        else:
            pairs = zip(spaces, arrays, strict=True)
            batch = tuple(space.xp.take(array, index[rows], axis=0) for space, array in pairs)
        if lengths is not None:
            chosen = lengths[rows] if order is None else lengths[order[rows]]
            longest = int(chosen.max())
            batch = (*(part[:, :longest] if part.ndim > 2 else part for part in batch), chosen)
        yield batch if len(batch) > 1 else batch[0]
