"""Hypothesis strategies for arrays, named by the letters of their shapes.

Hypothesis generates hundreds of inputs, shrinks a failing one to a minimal example, and remembers it. These strategies
generate inputs of layers: (N, D), (N, H, W, C), (N, T, D) with lengths, pairs that broadcast, strides, paddings and axes.

    from hypothesis import given
    from tinyae.testing import arrays_nd, check_layer

    @given(arrays_nd(D=4))
    def test_my_layer(x):
        check_layer(MyLayer(4), x)

Sizes are given by letter: `D=4` is always 4, `N=(0, 3)` is 0 to 3. Numbers are multiples of 1/1024: finite, exact in
float32 too, and readable in failure reports. Hypothesis is imported when the first strategy is created.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


Size = int | tuple[int, int]
"""The length of an axis: one number, or the smallest and the largest."""

SIZES: dict[str, tuple[int, int]] = {"N": (1, 4), "H": (1, 5), "W": (1, 5), "C": (1, 3), "T": (1, 5)}
"""Default sizes of axes; for other letters (D, K) 1 to 4."""

GRAIN = 1024
"""Drawn numbers are multiples of 1/GRAIN."""


def numbers(low: float = -2.0, high: float = 2.0, *, away: float = 0.0) -> SearchStrategy[float]:
    """Finite floats from `low` to `high`, multiples of 1/1024, at least `away` from 0 (from a kink or a pole there)."""
    st = _hypothesis()
    first, last, gap = math.ceil(low * GRAIN), math.floor(high * GRAIN), math.ceil(away * GRAIN)
    halves = [(max(first, gap), last), (first, min(last, -gap))] if gap else [(first, last)]
    kept = [st.integers(a, b) for a, b in halves if a <= b]
    if not kept:
        raise ValueError(
            f"numbers: no multiple of 1/{GRAIN} lies in [{low}, {high}] and at least {away} from 0: widen the range."
        )
    return st.one_of(*kept).map(lambda whole: whole / GRAIN)


def arrays_of(
    letters: str, *, low: float = -2.0, high: float = 2.0, away: float = 0.0, dtype: Any = "float64", **sizes: Size
) -> SearchStrategy[np.ndarray]:
    """Arrays with one axis per letter: `arrays_of("NTD", T=5)` is (N, 5, D). Equal letters have equal sizes.

    Args:
        letters: the axes, "" for a single number (shape ()).
        low, high, away: of the elements, see `numbers`.
        dtype: of the array.
        sizes: by letter, a number or (smallest, largest), 0 allowed; for the defaults see `SIZES`.

    Example:
        >>> arrays_of("NDD", N=0, D=3).example().shape  # doctest: +SKIP
        (0, 3, 3)
    """
    st = _hypothesis()
    unknown = sorted(set(sizes) - set(letters))
    if unknown:
        raise ValueError(f"arrays of {letters!r} have no axis {', '.join(unknown)}: give sizes for these letters only.")
    lengths = {letter: _length(letter, sizes.get(letter, SIZES.get(letter, (1, 4)))) for letter in letters}
    shapes = st.fixed_dictionaries(lengths).map(lambda size: tuple(size[letter] for letter in letters))
    return _hypothesis("hypothesis.extra.numpy").arrays(dtype, shapes, elements=numbers(low, high, away=away))


def arrays_nd(**options: Any) -> SearchStrategy[np.ndarray]:
    """Samples of features, (N, D); options as for `arrays_of`."""
    return arrays_of("ND", **options)


def arrays_nhwc(**options: Any) -> SearchStrategy[np.ndarray]:
    """Images, (N, H, W, C), channels last; options as for `arrays_of`."""
    return arrays_of("NHWC", **options)


def arrays_ntd(*, min_length: int = 1, **options: Any) -> SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Sequences of unequal lengths: pairs of x (N, T, D) and lengths (N,), whole numbers from `min_length` to T.

    Values after the end of a sequence are random too, so that a layer that uses them fails.
    """
    st = _hypothesis()

    def with_lengths(x: np.ndarray) -> SearchStrategy[tuple[np.ndarray, np.ndarray]]:
        ends = st.lists(st.integers(min(min_length, x.shape[1]), x.shape[1]), min_size=len(x), max_size=len(x))
        return ends.map(lambda found: (x, np.array(found, dtype=np.int64)))

    return arrays_of("NTD", **options).flatmap(with_lengths)


def broadcastable_pairs(
    *, max_ndim: int = 3, min_size: int = 1, max_size: int = 4, low: float = -2.0, high: float = 2.0, away: float = 0.0
) -> SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Pairs of arrays whose shapes broadcast: axes of length 1 and missing leading axes on either side.

    Args:
        max_ndim: of each.
        min_size, max_size: of an axis (length 1 is always possible); 0 allowed.
        low, high, away: of the elements, see `numbers`.
    """
    st = _hypothesis()
    extra = _hypothesis("hypothesis.extra.numpy")
    shapes = extra.mutually_broadcastable_shapes(
        num_shapes=2, min_dims=0, max_dims=max_ndim, min_side=min_size, max_side=max_size
    )
    elements = numbers(low, high, away=away)
    return shapes.flatmap(
        lambda drawn: st.tuples(*[extra.arrays(float, s, elements=elements) for s in drawn.input_shapes])
    )


def strides(max_stride: int = 3) -> SearchStrategy[Any]:
    """Strides of a window over (H, W): a number from 1, or (vertical, horizontal)."""
    st = _hypothesis()
    one = st.integers(1, max_stride)
    return one | st.tuples(one, one)


def paddings(max_padding: int = 2, *, same: bool = True) -> SearchStrategy[Any]:
    """Paddings in every notation: a number, (vertical, horizontal), ((top, bottom), (left, right)), and with
    `same` the words "same" and "valid".
    """
    st = _hypothesis()
    one = st.integers(0, max_padding)
    pair = st.tuples(one, one)
    written = one | pair | st.tuples(pair, pair)
    return written | st.sampled_from(["same", "valid"]) if same else written


def axes(ndim: int, *, min_axes: int = 1, none: bool = True) -> SearchStrategy[Any]:
    """The `axis=` of a reduction over an array of `ndim` axes: a number, counted from either end, a tuple of distinct
    axes (at least `min_axes`; 0 allows the empty tuple), or None unless `none` is False.
    """
    st = _hypothesis()
    found: list[Any] = [st.none()] if none else []
    if ndim:
        one = st.integers(-ndim, ndim - 1)
        found += [one, st.lists(one, min_size=min_axes, max_size=ndim, unique_by=lambda axis: axis % ndim).map(tuple)]
    if not found:
        raise ValueError("axes: a 0-d array has no axis to reduce: use ndim of at least 1, or allow None.")
    return st.one_of(*found)


def _hypothesis(name: str = "hypothesis.strategies") -> ModuleType:
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "hypothesis":
            raise ImportError(
                'tinyae.testing.strategies needs Hypothesis, which is not installed: pip install "tinyae[test]".'
            ) from None
        raise


def _length(letter: str, size: Size) -> SearchStrategy[int]:
    smallest, largest = size if isinstance(size, tuple) else (size, size)
    if not 0 <= smallest <= largest:
        raise ValueError(f"the size of {letter} must be a number from 0, or (smallest, largest), got {size!r}.")
    return _hypothesis().integers(smallest, largest)
