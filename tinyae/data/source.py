"""Samples that are read when a batch needs them: of a file larger than memory, of pixels kept as bytes, of the user's own source.

A `Source` needs only `len` and `take`; `LazyRows` makes of it what stands in the place of an array (N, ...) in a `Split`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import copy
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tinyae.backend import CPU, Backend

Values = npt.NDArray[Any]

PIECE = 1 << 18
"""Values that are looked at at once, where all of a set are looked at: 1 MB of float32."""


@runtime_checkable
class Source(Protocol):
    """N samples of equal shape, in any order: `ta.fit(model, source)`.

    `len(source)` is N, and `source.take(rows)` an array (B, ...) of the samples with the numbers `rows`, int64 (B,).
    """

    def __len__(self) -> int: ...

    def take(self, rows: npt.NDArray[np.int64], /) -> Values: ...


class Stored:
    """The source of an array: array / divisor in float32."""

    def __init__(self, array: Values, divisor: float = 1.0) -> None:
        self.array, self.divisor = array, divisor

    def __len__(self) -> int:
        return len(self.array)

    def take(self, rows: npt.NDArray[np.int64], /) -> npt.NDArray[np.float32]:
        """The samples with these numbers; neighbors in order are not copied."""
        neighbors = len(rows) > 0 and (np.diff(rows) == 1).all()
        return scaled(self.array[rows[0] : rows[-1] + 1] if neighbors else self.array[rows], self.divisor)


def scaled(raw: Values, divisor: float) -> npt.NDArray[np.float32]:
    """raw / divisor in float32; not copied if it is the same."""
    if divisor == 1.0:
        return np.asarray(raw).astype(np.float32, order="C", copy=False)
    values: npt.NDArray[np.float32] = np.divide(raw, divisor, dtype=np.float32)
    return values


LARGE = 1 << 24
"""Bytes from which an array is kept as it is stored, and a `.npy` is mapped into memory and not read."""


def in_unit(raw: Values, divisor: float) -> npt.NDArray[np.float32] | LazyRows:
    """raw / divisor in float32: an array, or, of a large one that is not float32 in memory, `LazyRows` that are divided when read."""
    lazy = raw.nbytes >= LARGE and (isinstance(raw, np.memmap) or raw.itemsize < 4)
    return LazyRows(Stored(raw, divisor)) if lazy else scaled(raw, divisor)


class LazyRows:
    """Samples (N, ...) of a source, for what uses an array by its shape, its rows, and its least and largest value.

    Attributes:
        source: where they are read.
        numbers: which of its samples they are, int64 (N,); at first, all.
        backend, dtype: the device that they are read to, and the type.
        sample_shape: (...), that of the first sample.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.numbers = source, np.arange(len(source), dtype=np.int64)
        first = np.asarray(source.take(self.numbers[:1]))
        self.backend: Backend = CPU
        self.dtype, self.sample_shape = first.dtype, first.shape[1:]

    def _with(self, **others: Any) -> LazyRows:
        """The same with other attributes."""
        changed = copy(self)
        vars(changed).pop("_bounds", None)
        vars(changed).update(others)
        return changed

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)"""
        return (len(self), *self.sample_shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return 1 + len(self.sample_shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    def __getitem__(self, index: Any) -> Any:
        """Samples as an array on the device; `index` as for an array, its first part tells which samples are read."""
        first, *others = index if isinstance(index, tuple) else (index,)
        if isinstance(first, (int, np.integer)):
            return self[(np.array([first]), *others)][0]
        numbers = self.numbers[first]
        read = np.asarray(self.source.take(numbers))
        if read.shape != (len(numbers), *self.sample_shape):
            raise ValueError(
                f"take() of {type(self.source).__name__} returned an array of shape {read.shape} for {len(numbers)} samples of "
                f"shape {self.sample_shape}: return one for each number."
            )
        device = self.backend.to_device(read, self.dtype)
        return device[(slice(None), *others)] if others else device

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Values:
        """All samples, on the host."""
        return np.asarray(self.backend.to_host(self[:]), dtype)

    def select(self, index: slice | npt.NDArray[Any]) -> LazyRows:
        """Some of the samples, not read yet."""
        return self._with(numbers=self.numbers[index])

    def to(self, backend: Backend, dtype: npt.DTypeLike) -> Any:
        """The same on a device; an array of all of them, if they are in memory and are to be on a GPU."""
        moved = self._with(backend=backend, dtype=np.dtype(dtype))
        resident = isinstance(self.source, Stored) and not isinstance(self.source.array, np.memmap)
        return moved[:] if resident and backend is not CPU else moved

    @cached_property
    def _bounds(self) -> tuple[Any, Any]:
        ends = [(part.min(), part.max()) for _, part in pieces(self)]
        return np.min([low for low, _ in ends]), np.max([high for _, high in ends])

    def min(self) -> Any:
        """The least value; NaN if there is one."""
        return self._bounds[0]

    def max(self) -> Any:
        """The largest value; NaN if there is one."""
        return self._bounds[1]


def pieces(x: Values | LazyRows, values: int = PIECE) -> Iterator[tuple[int, Values]]:
    """The samples of x a few at a time, about as many `values`, each time with the number of the first."""
    step = max(1, values // max(1, math.prod(x.shape[1:])))
    for start in range(0, len(x), step):
        yield start, x[start : start + step]


def find(bad: Callable[[Values], npt.NDArray[np.bool_]], x: Values | LazyRows) -> tuple[int, tuple[int, ...]]:
    """How many values of x are `bad`, and the index of the first; () if none is."""
    count = 0
    first: tuple[int, ...] = ()
    for start, part in pieces(x):
        wrong = bad(part)
        if wrong.any():
            row, *others = (int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
            first = first or (start + row, *others)
            count += int(np.count_nonzero(wrong))
    return count, first
