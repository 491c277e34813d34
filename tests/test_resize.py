"""Upsampling and pixel shuffle: known values, adjoints, PyTorch's convention, messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import nn, ops
from tinyae.testing.tables.images import (
    bilinear_adjoint_reference,
    bilinear_reference,
    block_sum_reference,
    nearest_reference,
    shuffle_reference,
    unshuffle_reference,
)

shapes = st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))
factors = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(shapes, factors, st.sampled_from(["float64", "float32"]))
def test_equal_their_references(shape, factor, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    deep = np.repeat(x, factor[0] * factor[1], axis=3)
    large = np.repeat(np.repeat(x, factor[0], axis=1), factor[1], axis=2)
    for op, value, reference in (
        (ops.upsample_nearest, x, nearest_reference),
        (ops.upsample_bilinear, x, bilinear_reference),
        (ops.upsample_bilinear_adjoint, large, bilinear_adjoint_reference),
        (ops.block_sum, large, block_sum_reference),
        (ops.pixel_shuffle, deep, shuffle_reference),
        (ops.pixel_unshuffle, large, unshuffle_reference),
    ):
        found = op(value, factor=factor)
        assert found.dtype == dtype
        assert_allclose(found, reference(value, factor), rtol=3e-5, atol=3e-6)


def test_bilinear_values_by_hand():
    x = np.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    assert_allclose(ops.upsample(x, factor=(1, 2), mode="bilinear").ravel(), [0, 1, 3, 4])
    assert_allclose(ops.upsample(x, factor=(1, 4), mode="bilinear").ravel(), [0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4])


def test_a_constant_stays_constant_and_a_sum_is_kept_per_pixel(rng):
    assert_allclose(ops.upsample(np.full((1, 3, 2, 1), 2.5), factor=3, mode="bilinear"), 2.5, rtol=1e-14)
    x = rng.normal(size=(1, 3, 2, 2))
    assert_allclose(ops.upsample(x, factor=3).mean(), x.mean(), rtol=1e-12)


def test_pixel_shuffle_by_hand_and_back(rng):
    x = np.arange(4.0).reshape(1, 1, 1, 4)
    assert_array_equal(ops.pixel_shuffle(x, factor=2)[0, :, :, 0], [[0, 1], [2, 3]])
    x = rng.normal(size=(2, 3, 2, 12))
    assert_array_equal(ops.pixel_unshuffle(ops.pixel_shuffle(x, factor=2), factor=2), x)


def test_torch_gives_the_same_numbers(rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, 3, 4, 8))
    first = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    for mode in ("nearest", "bilinear"):
        theirs = torch.nn.functional.interpolate(first, scale_factor=3.0, mode=mode).permute(0, 2, 3, 1).numpy()
        assert_allclose(ops.upsample(x, factor=3, mode=mode), theirs, rtol=1e-6, atol=1e-6)
    # Channels of PyTorch stand as (c, i, j), ours as (i, j, c).
    theirs = torch.nn.functional.pixel_shuffle(first, 2).permute(0, 2, 3, 1).numpy()
    ours = x.reshape(2, 3, 4, 2, 2, 2).transpose(0, 1, 2, 4, 5, 3).reshape(x.shape)
    assert_array_equal(ops.pixel_shuffle(ours, factor=2), theirs)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: ops.upsample(x, factor=2, mode="cubic"), "upsample: unknown mode 'cubic': choose one of nearest"),
    (lambda x: ops.upsample(x, factor=1.5), "factor must be a whole number of at least 1 .* got 1.5"),
    (lambda x: ops.upsample(x[0], factor=2), r"images must be \(N, H, W, C\), got shape \(3, 3, 3\)"),
    (lambda x: ops.pixel_shuffle(x, factor=2), "3 channels cannot be dealt out to blocks of 2x2.* multiple of 4"),
    (lambda x: ops.block_sum(x, factor=2), "an image of 3x3 is not a whole number of blocks of 2x2"),
    (lambda x: nn.Upsample(2, "cubic"), "Upsample: unknown mode 'cubic'"),
    (lambda x: nn.PixelShuffle(0), "scale_factor must be a whole number of at least 1"),
    (lambda x: nn.PixelShuffle(2)(x), "3 channels cannot be dealt out"),
])  # fmt: skip
def test_what_does_not_fit_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(np.ones((1, 3, 3, 3), "float32"))
