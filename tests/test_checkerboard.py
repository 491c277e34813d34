"""The checkerboard, measured: who writes which pixel how often, and how much of an image is a pattern of one period."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import data, nn, ops
from tinyae.inspect import checkerboard_score

# How often a pixel is written


def counted_one_by_one(size, kernel, stride, padding, out) -> np.ndarray:
    """Every place and every tap writes its pixel, in loops."""
    counts = np.zeros(out, int)
    for p, q, k, m in np.ndindex(*size, *kernel):
        h, w = p * stride[0] + k - padding[0][0], q * stride[1] + m - padding[1][0]
        if 0 <= h < out[0] and 0 <= w < out[1]:
            counts[h, w] += 1
    return counts


pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(size=pairs, kernel=pairs, stride=pairs, seed=st.integers(0, 99))
def test_counts_are_those_of_a_loop_and_of_a_kernel_of_ones(size, kernel, stride, seed):
    rng = np.random.default_rng(seed)
    spans = [(o - 1) * s + k for o, k, s in zip(size, kernel, stride, strict=True)]
    padding = tuple(tuple(int(n) for n in rng.integers(0, (span + 1) // 2, 2)) for span in spans)
    extra = tuple(int(rng.integers(0, s)) for s in stride)
    keywords = {"stride": stride, "padding": padding, "output_padding": extra}
    found = nn.overlap_counts(size, kernel, **keywords)
    ones = ops.conv_transpose2d(np.ones((1, *size, 1)), np.ones((*kernel, 1, 1)), **keywords)
    assert found.dtype == np.int64
    assert_array_equal(found, ones[0, :, :, 0])
    assert_array_equal(found, counted_one_by_one(size, kernel, stride, padding, found.shape))


@pytest.mark.parametrize(("kernel", "stride"), [
    (4, 2), (2, 2), (6, 2), (6, 3), (3, 1), (8, 4), (3, 2), (5, 2), (5, 3), (4, 3), (7, 4),
])  # fmt: skip
def test_inner_pixels_are_written_as_often_as_the_formula_says_and_equally_often_if_the_stride_divides(kernel, stride):
    counts = nn.overlap_counts(9, kernel, stride)[kernel:-kernel, kernel:-kernel]
    axis = [math.ceil((kernel - (h + kernel) % stride) / stride) for h in range(len(counts))]
    assert counts.size > 0
    assert_array_equal(counts, np.outer(axis, axis))
    assert (counts.min() == counts.max()) == (kernel % stride == 0)
    assert_array_equal(counts[stride:], counts[:-stride])


def test_same_padding_and_refusals():
    assert nn.overlap_counts((3, 5), 3, 2, "same").shape == (6, 10)
    with pytest.raises(ValueError, match="overlap_counts: size must be a whole number of at least 1"):
        nn.overlap_counts(0, 3, 2)
    with pytest.raises(ValueError, match=r"overlap_counts: output_padding .* must be smaller than the stride"):
        nn.overlap_counts(3, 3, 2, output_padding=2)


def test_an_image_that_is_enlarged_first_stays_flat_whatever_the_weights(rng):
    flat = np.ones((1, 9, 9, 4))
    for mode in ("nearest", "bilinear"):
        conv = nn.Conv2d(4, 2, 3, padding=1, generator=rng, dtype="float64")
        inner = nn.Sequential(nn.Upsample(2, mode), conv)(flat).data[:, 2:-2, 2:-2]
        assert_allclose(inner, np.broadcast_to(conv.weight.data.sum(axis=(0, 1, 2)), inner.shape), rtol=1e-12)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (5, 3)])
def test_a_transposed_convolution_makes_a_pattern_of_sums_of_its_weights(kernel, stride, rng):
    """The pixel h of a flat image is the sum of the taps k = h modulo the stride; counting them is the special case of ones."""
    layer = nn.ConvTranspose2d(4, 2, kernel, stride, generator=rng, dtype="float64")
    out = layer(np.ones((1, 9, 9, 4))).data[0]
    by_phase = [
        [layer.weight.data[i::stride, j::stride].sum(axis=(0, 1, 3)) for j in range(stride)] for i in range(stride)
    ]
    first = -(-kernel // stride) * stride  # the first multiple of the stride that the border does not reach
    inner = out[first : first + 3 * stride, first : first + 3 * stride]
    assert_allclose(inner, np.tile(by_phase, (3, 3, 1)), rtol=1e-12)
    ones = nn.overlap_counts(9, kernel, stride)[first : first + stride, first : first + stride]
    sizes = [[layer.weight.data[i::stride, j::stride, 0, 0].size for j in range(stride)] for i in range(stride)]
    assert_array_equal(ones, sizes)


SIZE = 24


def board(period: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """1 on every period-th row and column, of mean 0 and variance 1: as uneven overlaps leave it."""
    hit = (np.add.outer(np.arange(height) % period == 0, np.arange(width) % period == 0)).astype(float)
    return (hit - hit.mean()) / hit.std()


def score_by_sums(images: np.ndarray, period: int) -> tuple[float, float]:
    """The formulas at the top of the module, bin by bin; every Fourier coefficient is a sum over all pixels."""
    height, width = images.shape[1:]
    turns = [np.outer(np.arange(n), np.arange(n)) / n for n in (height, width)]
    rows, columns = (np.exp(-2j * np.pi * turn) for turn in turns)
    hann = np.outer(*((1 - np.cos(2 * np.pi * np.arange(n) / n)) / 2 for n in (height, width)))
    power = sum(np.abs(rows @ ((image - image.mean()) * hann) @ columns) ** 2 for image in images)

    def steps(a: int, b: int, size: int) -> int:
        return min((a - b) % size, (b - a) % size)

    lines = [(i * height // period, j * width // period) for i in range(period) for j in range(period)]
    peaks = background = 0.0
    for f in lines[1:]:
        near, ring = [], []
        for u, v in np.ndindex(height, width):
            far = {g: max(steps(u, g[0], height), steps(v, g[1], width)) for g in lines}
            if far[f] <= 1:
                near.append(power[u, v])
            elif far[f] <= 3 and min(far.values()) > 1:
                ring.append(power[u, v])
        assert len(near) == 9
        peaks += sum(near)
        background += 9 * sum(ring) / len(ring)
    return (peaks - background) / power.sum(), peaks / background


@pytest.mark.parametrize(("shape", "period"), [((2, 8, 10), 2), ((1, 12, 13), 3)])
def test_the_score_is_the_printed_formula(shape, period, rng):
    images = rng.normal(size=shape)
    expected = score_by_sums(images[:, : shape[1] - shape[1] % period, : shape[2] - shape[2] % period], period)
    assert_allclose(checkerboard_score(images, period), expected, rtol=1e-9)
    assert_allclose(checkerboard_score(images[..., None], period), expected, rtol=1e-9)


@pytest.mark.parametrize("period", [2, 3, 4])
def test_nothing_but_a_pattern_is_all_pattern(period):
    found = checkerboard_score(board(period)[None], period)
    assert found.share == pytest.approx(1, abs=1e-12)
    assert found.ratio > 1e12


@pytest.mark.parametrize("period", [2, 3, 4])
def test_white_noise_has_none_and_a_planted_pattern_has_its_share_of_the_variance(period, rng):
    """Expected share a^2 / (a^2 + 1).

    Of the 27 peak bins about 7 are independent, as the window ties each to its neighbors; over 150 images the ratio
    has a standard error of 1 / sqrt(1050), 3 %, and the share, of 27 in 576 bins, one of 0.0015. For period 2; less for others.
    """
    noise = rng.normal(size=(150, SIZE, SIZE))
    assert checkerboard_score(noise, period).ratio == pytest.approx(1, abs=0.1)
    for a in (0.0, 0.2, 0.5, 1.0, 3.0):
        share = checkerboard_score(noise + a * board(period), period).share
        assert share == pytest.approx(a**2 / (a**2 + 1), abs=0.015)


def waves(rng: np.random.Generator) -> np.ndarray:
    """Smooth images: sums of three slow waves."""
    h, w = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    phases, slopes = rng.uniform(0, 6, (8, 3, 1, 1)), rng.uniform(-0.3, 0.3, (2, 8, 3, 1, 1))
    return np.sin(slopes[0] * h + slopes[1] * w + phases).sum(axis=1)


@pytest.mark.parametrize("sort", ["noise", "smooth", "garments", "photographs"])
@pytest.mark.parametrize("period", [2, 4])
def test_the_score_grows_with_the_planted_amplitude(sort, period, rng):
    images = {
        "noise": lambda: rng.normal(size=(40, SIZE, SIZE)),
        "smooth": lambda: waves(rng),
        "garments": lambda: data.load("fashion-mini").test.x[:40, :SIZE, :SIZE, 0],
        "photographs": lambda: data.load("natural-images").train.x[:, :240, :240, 0],
    }[sort]()
    pattern = images.std() * board(period, *images.shape[1:])
    found = [checkerboard_score(images + a * pattern, period) for a in (0.0, 0.1, 0.2, 0.4, 0.8)]
    for before, after in pairwise(found):
        assert before.share < after.share
        assert before.ratio < after.ratio
    assert found[0].share < 0.02
    assert found[-1].share > 0.25


def test_a_pattern_that_varies_slowly_over_the_image_is_seen(rng):
    """As a decoder leaves it: strong where there is something, absent on the empty ground."""
    garments = data.load("fashion-mini").test.x[:60]
    plain = checkerboard_score(garments)
    shaded = checkerboard_score(garments * (1 + 0.2 * board(2, 28, 28)[..., None]))
    assert shaded.share > 10 * plain.share
    assert shaded.ratio > 5 * plain.ratio


def test_what_does_not_matter(rng):
    images = rng.normal(size=(5, 26, 24, 3)) + 0.5 * board(2, 26, 24)[..., None]
    found = checkerboard_score(images)
    assert_allclose(checkerboard_score(7 * images + 100), found, rtol=1e-9)
    assert_allclose(checkerboard_score(images[::-1, ..., ::-1]), found, rtol=1e-9)
    assert_allclose(checkerboard_score(images.transpose(0, 2, 1, 3)), found, rtol=1e-9)
    odd = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=9.0)
    assert_allclose(checkerboard_score(odd), found, rtol=1e-12, err_msg="a row and column too many are cut off")


def test_a_pattern_of_another_period_is_not_seen(rng):
    noise = rng.normal(size=(30, 72, 72))
    for planted, sought in ((3, 2), (2, 3), (3, 4)):
        assert abs(checkerboard_score(noise + 2 * board(planted, 72, 72), sought).share) < 0.01
    # A pattern of period 2 also repeats every 4 pixels.
    assert checkerboard_score(noise + 2 * board(2, 72, 72), 4).share == pytest.approx(0.8, abs=0.02)


def test_images_without_contrast():
    assert checkerboard_score(np.full((3, 16, 16), 0.7)) == (0.0, 1.0)
    assert checkerboard_score(np.zeros((1, 16, 16, 2), np.uint8)) == (0.0, 1.0)


@pytest.mark.parametrize(("images", "period", "error", "says"), [
    ([[0.0]], 2, TypeError, "must be a NumPy array of numbers .* got list"),
    (np.zeros((8, 8)), 2, TypeError, r"got float64 \(8, 8\)"),
    (np.zeros((1, 8, 8), complex), 2, TypeError, "complex128"),
    (np.zeros((1, 8, 8)), 1, ValueError, "period must be a whole number of at least 2, got 1"),
    (np.zeros((1, 8, 8)), 2.0, ValueError, "period must be"),
    (np.zeros((1, 7, 8)), 2, ValueError, "do not hold 4 periods of 2 pixels: give .* at least 8 x 8"),
    (np.zeros((0, 8, 8)), 2, ValueError, "do not hold"),
    (np.full((1, 8, 8), np.nan), 2, ValueError, "NaN or infinity"),
])  # fmt: skip
def test_what_cannot_be_scored(images, period, error, says):
    with pytest.raises(error, match=says):
        checkerboard_score(images, period)
