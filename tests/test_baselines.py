"""The guesses that a model of sequences is compared with, against loops, and the shuffled codes of toy models."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from tinyae import data
from tinyae.data import pad
from tinyae.models import PCA, basic_autoencoder
from tinyae.models.baselines import (
    blend_weight,
    copy_last,
    linear_prediction,
    mean_sequence,
    sequence_errors,
    sequence_nats,
    shuffled_code,
)


@pytest.fixture
def ragged(rng):
    parts = [rng.uniform(0.1, 0.9, (length, 2)) for length in (3, 5, 1, 4)]
    return parts, *pad(parts, np.float64)


def test_the_mean_is_over_those_that_are_still_there(ragged):
    parts, x, lengths = ragged
    for step, row in enumerate(mean_sequence(x, lengths)):
        assert_allclose(row, np.mean([part[step] for part in parts if len(part) > step], axis=0))
    assert_allclose(mean_sequence(x), x.mean(axis=0))
    assert not mean_sequence(x[:1], lengths[:1])[3:].any()


def test_the_last_real_value_goes_on(ragged):
    parts, x, lengths = ragged
    assert_array_equal(copy_last(x, 3, lengths), [[part[-1]] * 3 for part in parts])
    assert_array_equal(copy_last(x, 2), [[row[-1]] * 2 for row in x])


def test_errors_and_nats_are_of_real_steps_alone(ragged, rng):
    parts, x, lengths = ragged
    guess = rng.uniform(0.1, 0.9, x.shape)
    pairs = [(part, g[: len(part)]) for part, g in zip(parts, guess, strict=True)]
    assert_allclose(sequence_errors(x, guess, lengths), [((part - g) ** 2).sum() for part, g in pairs])
    nats = [-(part * np.log(g) + (1 - part) * np.log(1 - g)).sum() for part, g in pairs]
    assert_allclose(sequence_nats(x, guess, lengths), nats)
    assert_allclose(sequence_errors(x, guess), ((x - guess) ** 2).sum(axis=(1, 2)))


def test_no_guess_is_below_the_entropy_of_the_pixels(rng):
    x = rng.uniform(size=(6, 3, 4))
    bound = sequence_nats(x, x)
    assert_allclose(bound, (special.entr(x) + special.entr(1 - x)).sum(axis=(1, 2)))
    for _ in range(20):
        assert (sequence_nats(x, np.clip(x + 0.1 * rng.standard_normal(x.shape), 0, 1)) >= bound).all()
    assert sequence_nats(np.round(x), np.round(x)).max() < 1e-4


def test_as_much_doubt_as_pays(rng):
    mean = np.full((1, 4), 0.5)
    copies = (rng.random((4000, 1, 4)) < 0.5).astype(float)
    turned = np.where(rng.random(copies.shape) < 0.1, 1 - copies, copies)  # one pixel in ten turns over
    # p = a copy + (1 - a) / 2 is right for a tenth of errors where (1 - a) / 2 = 0.1.
    assert blend_weight(copies, mean, turned) == pytest.approx(0.8, abs=0.02)
    assert blend_weight(copies, mean, copies) == 0.99
    assert blend_weight(copies, mean, 1 - copies) == 0.01


def test_linear_prediction_finds_a_linear_law(rng):
    walk = rng.standard_normal((50, 3, 2))
    law = rng.standard_normal((6, 8))
    future = (walk.reshape(50, 6) @ law + 2.0).reshape(50, 4, 2)
    guess = linear_prediction(walk[:40], future[:40], 6)
    assert_allclose(guess(walk[40:]), future[40:], atol=1e-9)
    # With fewer components it is least squares on these, as normal equations say.
    codes = PCA(2).fit(walk).encode(walk)
    columns = np.column_stack([codes, np.ones(50)])
    weights = np.linalg.solve(columns.T @ columns, columns.T @ future.reshape(50, 8))
    assert_allclose(linear_prediction(walk, future, 2)(walk).reshape(50, 8), columns @ weights, atol=1e-9)


def model_that(decode, encode=lambda x: x.reshape(len(x), -1)):
    """A model whose codes are the samples, decoded by a function."""
    return SimpleNamespace(encode=encode, decode=decode)


def faithful(code):
    return code.reshape(len(code), 3, 1)


DEAF = model_that(lambda code: np.full((len(code), 3, 1), 0.25))  # writes the same whatever the code


def test_a_deaf_decoder_is_found_out(rng):
    found = shuffled_code(DEAF, rng.random((20, 3, 1)))
    assert found.own == found.other
    assert found.ignored
    assert "IGNORES" in found.line("sequence")


def test_a_faithful_one_is_twice_as_far_as_the_mean(rng):
    x = rng.standard_normal((4000, 3, 1))
    found = shuffled_code(model_that(faithful), x, generator=rng)
    assert found.own == 0.0
    assert found.other == pytest.approx(2 * found.mean, rel=0.05)  # two independent samples
    misled = shuffled_code(model_that(lambda code: 2.0 * faithful(code)), x[:500])
    assert not found.ignored
    assert not misled.ignored
    assert "uses the code" in found.line("sequence")
    assert "no better than the mean" in misled.line("sequence")


@pytest.mark.parametrize("seed", range(5))
def test_nobody_gets_its_own_code(seed):
    x = np.arange(1.0, 4.0)[:, None, None] * np.ones((3, 3, 1))
    found = shuffled_code(model_that(faithful), x, generator=np.random.default_rng(seed))
    # In a circle of three everyone has another's code; the squared differences are 1, 1 and 4, three steps each.
    assert found.other == pytest.approx(3 * (1 + 1 + 4) / 3)


def test_targets_inputs_and_lengths(ragged):
    _, x, lengths = ragged
    given = x + 1

    def encode(inputs):
        assert inputs is given
        return np.zeros((4, 1))

    model = model_that(lambda code: np.zeros((4, 5, 2)), encode)
    found = shuffled_code(model, x, target=x, lengths=lengths, inputs=given)
    assert found.own == pytest.approx(sequence_errors(x, np.zeros_like(x), lengths).mean())
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        shuffled_code(DEAF, x[:1])


def test_any_autoencoder_can_be_asked(rng):
    pens = data.load("pendigits")
    model = basic_autoencoder(pens.example_shape, 4, sample="sequence", generator=rng)
    found = shuffled_code(model, pens.test.x[:50])
    assert found.mean > 0
