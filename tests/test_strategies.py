"""The strategies draw what their names say, from end to end of their ranges, and shrink to something small."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis.errors import NoSuchExample

from tinyae import ops
from tinyae.ops import convolution
from tinyae.testing import strategies as draw

SMALL = settings(max_examples=200, database=None, derandomize=True)
UNSHRUNK = settings(SMALL, phases=[Phase.generate])


def finds(strategy, condition) -> bool:
    """Whether the strategy can draw something of which the condition holds."""
    try:
        find(strategy, condition, settings=UNSHRUNK)
    except NoSuchExample:
        return False
    return True


@given(draw.arrays_of("NTDD", T=(0, 1), D=3, low=-1, high=0.5))
def test_letters_are_axes(x):
    assert x.shape[1] in (0, 1)
    assert x.shape[2:] == (3, 3)
    assert x.dtype == np.float64
    assert ((x >= -1) & (x <= 0.5)).all()
    np.testing.assert_array_equal(x, x.astype("float32"))


@given(draw.arrays_nd(), draw.arrays_nhwc(dtype="float32"), draw.arrays_of("", away=0.5))
def test_default_sizes(rows, images, number):
    assert rows.ndim == 2
    assert min(rows.shape) >= 1
    assert max(rows.shape) <= 4
    assert images.ndim == 4
    assert images.dtype == np.float32
    assert images.shape[3] <= 3
    assert number.shape == ()
    assert abs(number) >= 0.5


def test_both_ends_of_a_size_are_drawn():
    for n in (0, 1, 2):
        assert finds(draw.arrays_nd(N=(0, 2)), lambda x, n=n: len(x) == n)
    assert not finds(draw.arrays_nd(N=(0, 2)), lambda x: len(x) == 3)


@pytest.mark.parametrize("away", [0.0, 0.25])
def test_numbers_keep_their_bounds_and_their_distance_from_zero(away):
    numbers = draw.numbers(-1.0, 0.7, away=away)
    assert find(numbers, lambda v: v > 0.6, settings=UNSHRUNK) <= 0.7
    assert find(numbers, lambda v: v < -0.9, settings=UNSHRUNK) >= -1.0
    assert finds(numbers, lambda v: abs(v) < 0.25) == (away == 0.0)
    assert find(draw.numbers(0.5, 2.0, away=1.0), lambda v: True, settings=SMALL) == 1.0


@given(draw.arrays_ntd(N=(0, 3), T=(1, 4)))
def test_lengths_fit_the_sequences(drawn):
    x, lengths = drawn
    assert lengths.shape == (len(x),)
    assert lengths.dtype == np.int64
    assert all(1 <= n <= x.shape[1] for n in lengths)


def test_lengths_are_unequal_and_padding_is_not_zero():
    assert finds(draw.arrays_ntd(), lambda pair: len(set(pair[1])) > 1)
    assert finds(draw.arrays_ntd(), lambda pair: any(abs(x[n:]).sum() > 0 for x, n in zip(*pair, strict=True)))
    assert finds(draw.arrays_ntd(min_length=0), lambda pair: 0 in pair[1])
    assert not finds(draw.arrays_ntd(min_length=2, T=3), lambda pair: 1 in pair[1])


@given(draw.broadcastable_pairs(min_size=0, away=0.1))
def test_pairs_broadcast(pair):
    a, b = pair
    assert np.broadcast_shapes(a.shape, b.shape) == ops.divide(a, b).shape


def test_pairs_stretch_either_side():
    assert finds(draw.broadcastable_pairs(), lambda p: p[0].ndim > p[1].ndim)
    assert finds(draw.broadcastable_pairs(), lambda p: p[0].ndim < p[1].ndim)
    assert finds(draw.broadcastable_pairs(), lambda p: p[0].ndim == p[1].ndim and p[0].size < p[1].size)


@given(draw.strides(), draw.paddings(), draw.paddings(1, same=False))
def test_strides_and_paddings_are_what_convolutions_take(stride, padding, numbers):
    assert min(convolution.pair("test", "stride", stride)) >= 1
    assert padding == "valid" or convolution.check_padding("test", padding)
    assert max(max(side) for side in convolution.check_padding("test", numbers)) <= 1


def test_every_way_of_writing_a_padding_is_drawn():
    for kind in (int, str, tuple):
        assert finds(draw.paddings(), lambda p, kind=kind: isinstance(p, kind))
    assert finds(draw.paddings(), lambda p: isinstance(p, tuple) and isinstance(p[0], tuple))
    assert finds(draw.strides(), lambda s: isinstance(s, tuple))


@given(draw.arrays_of("NTD"), draw.axes(3))
def test_axes_are_what_reductions_take(x, axis):
    np.testing.assert_allclose(ops.sum(x, axis=axis), x.sum(axis=axis))


def test_axes_of_every_kind_are_drawn():
    assert finds(draw.axes(3), lambda axis: axis is None)
    assert finds(draw.axes(3), lambda axis: isinstance(axis, int) and axis < 0)
    assert finds(draw.axes(3), lambda axis: isinstance(axis, tuple) and len(axis) == 3)
    assert finds(draw.axes(2, min_axes=0), lambda axis: axis == ())
    assert not finds(draw.axes(2, none=False), lambda axis: axis is None)
    assert not finds(draw.axes(0), lambda axis: axis is not None)


@pytest.mark.thorough
def test_a_failure_shrinks_to_the_smallest_array():
    x = find(draw.arrays_nd(), lambda x: x.sum() > 1.5, settings=SMALL)
    assert x.shape == (1, 1)


@pytest.mark.parametrize(("make", "words"), [
    (lambda: draw.arrays_nd(T=3), "no axis T"),
    (lambda: draw.arrays_nd(N=-1), "size of N must be"),
    (lambda: draw.arrays_nd(N=(3, 2)), "size of N must be"),
    (lambda: draw.numbers(-0.1, 0.1, away=0.5), "widen"),
    (lambda: draw.axes(0, none=False), "no axis to reduce"),
])  # fmt: skip
def test_mistakes_are_told(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_hypothesis_is_imported_late_and_missed_in_one_sentence():
    code = (
        "import sys; import tinyae.testing; from tinyae.testing import strategies;"
        "assert 'hypothesis' not in sys.modules; sys.modules['hypothesis'] = None\n"
        "try: strategies.arrays_nd()\n"
        "except ImportError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip().endswith('which is not installed: pip install "tinyae[test]".')
