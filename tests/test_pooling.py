"""Pooling, upsampling, pixel shuffle: against references, known values, PyTorch; ties, padding, adjoints, messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import nn, ops
from tinyae.autodiff import Tensor, grad
from tinyae.backend import CPU, Backend, threads
from tinyae.ops.convolution import conv_spec
from tinyae.ops.images import max_pool2d_composed
from tinyae.testing.tables import images


@st.composite
def poolings(draw):
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.one_of(st.just("same"), st.tuples(*[st.integers(0, k - 1) for k in kernel])))
    stride = draw(st.one_of(st.none(), st.integers(1, 3)))
    size = [k + draw(st.integers(0, 5)) for k in kernel]
    shape = (draw(st.integers(0, 3)), *size, draw(st.integers(1, 3)))
    return shape, {"kernel_size": kernel, "stride": stride, "padding": padding}


@given(poolings(), st.sampled_from(["float64", "float32"]))
def test_equal_the_window_by_window_references(case, dtype):
    shape, window = case
    x = np.random.default_rng(0).integers(-2, 3, shape).astype(dtype)  # whole numbers: many ties
    for op, reference in ((ops.max_pool2d, images.max_pool_reference), (ops.avg_pool2d, images.avg_pool_reference)):
        y = op(x, **window)
        assert y.dtype == dtype
        assert_allclose(y, reference(x, **window), rtol=1e-6, atol=1e-6)


def test_large_batches_in_parts_equal_numpy(rng):
    """Pooling and resizing by samples, of an array in another order of memory; the same bytes with 1 and 2 threads."""
    x = rng.standard_normal((91, 4, 28, 28), np.float32).transpose(0, 2, 3, 1)
    blocks, small = x.reshape(91, 14, 2, 14, 2, 4), x[:, :24, :24]
    expected = [
        (ops.max_pool2d, {"kernel_size": 2}, x, blocks.max(axis=(2, 4))),
        (ops.avg_pool2d, {"kernel_size": 2}, x, blocks.mean(axis=(2, 4))),
        (ops.block_sum, {"factor": 2}, x, blocks.sum(axis=(2, 4))),
        (ops.upsample_nearest, {"factor": (1, 2)}, small, small.repeat(2, axis=2)),
        (ops.upsample_nearest, {"factor": 2}, small, small.repeat(2, axis=1).repeat(2, axis=2)),
    ]
    for op, arguments, image, y in expected:
        found = []
        for count in (1, 2):
            with threads(count):
                found.append(op(image, **arguments))
        assert found[0].tobytes() == found[1].tobytes()
        assert_allclose(found[0], y, rtol=1e-5, atol=1e-6)


@given(poolings())
def test_max_equals_its_twin_also_where_ties_share(case):
    shape, window = case
    rng = np.random.default_rng(1)
    values = rng.integers(-1, 2, shape).astype(float)
    found = []
    for function in (ops.max_pool2d, max_pool2d_composed):
        x = Tensor(values, requires_grad=True)
        y = function(x, **window)
        g = np.random.default_rng(2).normal(size=y.shape)
        found.append((y.data, grad(y, x, g).data))
    for a, b in zip(*found, strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@given(poolings())
def test_average_and_its_adjoint(case):
    shape, window = case
    rng = np.random.default_rng(3)
    x = rng.normal(size=shape)
    y = ops.avg_pool2d(x, **window)
    g = rng.normal(size=y.shape)
    back = ops.avg_unpool2d(g, size=shape[1:3], **window)
    assert_allclose(np.vdot(y, g), np.vdot(x, back), rtol=1e-12, atol=1e-12)


def test_ties_share_evenly():
    x = Tensor(np.array([[1.0, 1.0], [1.0, 0.0]]).reshape(1, 2, 2, 1), requires_grad=True)
    slope = grad(ops.max_pool2d(x, kernel_size=2), x, np.full((1, 1, 1, 1), 3.0))
    assert_allclose(slope.data[0, :, :, 0], [[1.0, 1.0], [1.0, 0.0]])


def test_padding_never_wins_and_counts_as_zero_in_a_mean():
    x = np.full((1, 2, 2, 1), -4.0)
    assert_array_equal(ops.max_pool2d(x, kernel_size=3, stride=1, padding=1), x)
    assert_allclose(ops.avg_pool2d(x, kernel_size=2, stride=2, padding=1), x / 4)


def test_overlapping_windows_add_up_and_left_over_pixels_get_nothing():
    x = Tensor(np.array([0.0, 5.0, 1.0, 2.0]).reshape(1, 1, 4, 1), requires_grad=True)
    y = ops.max_pool2d(x, kernel_size=(1, 2), stride=1)
    assert_array_equal(grad(y.sum(), x).data.ravel(), [0, 2, 0, 1])
    z = ops.avg_pool2d(x, kernel_size=(1, 3))
    assert_allclose(grad(z.sum(), x).data.ravel(), [1 / 3, 1 / 3, 1 / 3, 0])


def test_torch_pools_to_the_same_numbers(rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, 7, 6, 3))
    theirs = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    window = {"kernel_size": (3, 2), "stride": 2, "padding": 1}
    for ours, function in ((ops.max_pool2d, "max_pool2d"), (ops.avg_pool2d, "avg_pool2d")):
        expected = getattr(torch.nn.functional, function)(theirs, **window).permute(0, 2, 3, 1).numpy()
        assert_allclose(ours(x, **window), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("padding", [0, "same"])
@pytest.mark.parametrize("shape", [(3, 7, 9, 2), (1, 6, 6, 1), (40, 28, 29, 8)], ids=str)
def test_the_gradient_in_chunks_is_that_of_the_plain_body(shape, padding, rng):
    x = np.maximum(rng.integers(-2, 4, shape), 0).astype("float32")
    y = ops.max_pool2d(x, kernel_size=(2, 3), padding=padding)
    spec = conv_spec("here", shape[1:3], (2, 3), (2, 3), padding)
    g = rng.normal(size=y.shape).astype("float32")
    assert_array_equal(CPU.max_pool2d_grad(g, y, x, spec), Backend.max_pool2d_grad(CPU, g, y, x, spec))


shapes = st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))
factors = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(shapes, factors, st.sampled_from(["float64", "float32"]))
def test_equal_their_references(shape, factor, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    deep = np.repeat(x, factor[0] * factor[1], axis=3)
    large = np.repeat(np.repeat(x, factor[0], axis=1), factor[1], axis=2)
    for op, value, reference in (
        (ops.upsample_nearest, x, images.nearest_reference),
        (ops.upsample_bilinear, x, images.bilinear_reference),
        (ops.upsample_bilinear_adjoint, large, images.bilinear_adjoint_reference),
        (ops.block_sum, large, images.block_sum_reference),
        (ops.pixel_shuffle, deep, images.shuffle_reference),
        (ops.pixel_unshuffle, large, images.unshuffle_reference),
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


def test_torch_enlarges_to_the_same_numbers(rng):
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
    (lambda x: ops.max_pool2d(x, kernel_size=4), "max_pool2d: input 3x3, kernel 4x4, stride 4x4 does not fit"),
    (lambda x: ops.max_pool2d(x, kernel_size=2, padding=2), r"must be smaller than the window \(2, 2\)"),
    (lambda x: ops.avg_unpool2d(x, size=(9, 9), kernel_size=2), "gives 4x4, got 3x3"),
    (lambda x: nn.MaxPool2d(5)(x), r"MaxPool2d\(5, stride=5\): input 3x3, kernel 5x5"),
    (lambda x: nn.AvgPool2d(2)(x[0]), r"AvgPool2d\(2, stride=2\): images must be \(N, H, W, C\)"),
    (lambda x: nn.MaxPool2d(0), "MaxPool2d: kernel_size must be a whole number of at least 1"),
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
