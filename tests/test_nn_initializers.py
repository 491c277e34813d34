"""Initializers: spread, orthogonality, independence of the dtype, and errors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tinyae import nn

DENSE, KERNEL = (300, 500), (3, 5, 40, 60)
FANS = {DENSE: (300, 500), KERNEL: (600, 900)}
VARIANCE = {
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
}


@pytest.mark.parametrize("shape", [DENSE, KERNEL], ids=["dense", "kernel"])
@pytest.mark.parametrize("name", VARIANCE)
def test_mean_and_variance(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    weight = nn.INITIALIZERS[name](shape, rng, dtype=np.float64)
    variance = VARIANCE[name](*FANS[shape])
    assert weight.shape == shape
    # standard errors: mean sqrt(v/n), variance at most v sqrt(2/n); five of them
    assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
    assert abs(weight.var() / variance - 1) < 5 * np.sqrt(2 / weight.size)


@pytest.mark.parametrize("name", ["glorot_uniform", "he_uniform"])
def test_uniform_stays_within_its_limit_and_reaches_it(name: str, rng: np.random.Generator) -> None:
    weight = nn.INITIALIZERS[name](DENSE, rng, dtype=np.float64)
    limit = np.sqrt(3 * VARIANCE[name](*DENSE))
    assert 0.999 * limit < np.abs(weight).max() <= limit


@pytest.mark.parametrize("name", ["glorot_normal", "he_normal"])
def test_normal_has_normal_tails(name: str, rng: np.random.Generator) -> None:
    weight = nn.INITIALIZERS[name](DENSE, rng, dtype=np.float64)
    outside = np.mean(np.abs(weight) > 2 * np.sqrt(VARIANCE[name](*DENSE)))
    assert outside == pytest.approx(0.0455, abs=0.003)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (3, 3, 2, 8)])
def test_orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    weight = nn.orthogonal(shape, rng, dtype=np.float64)
    assert weight.shape == shape
    matrix = weight.reshape(-1, shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


def test_orthogonal_is_drawn_uniformly(rng: np.random.Generator) -> None:
    # Without the sign correction QR gives a diagonal of one sign; a uniform draw has mean 0 everywhere.
    draws = np.stack([nn.orthogonal((3, 3), rng, dtype=np.float64) for _ in range(2000)])
    assert np.abs(draws.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / 2000)


@pytest.mark.parametrize("name", nn.INITIALIZERS)
def test_dtype_and_repeatability(name: str) -> None:
    draw = nn.INITIALIZERS[name]
    single = draw((6, 4), np.random.default_rng(1))
    double = draw((6, 4), np.random.default_rng(1), dtype=np.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(single, double.astype(np.float32))
    assert np.any(draw((6, 4), np.random.default_rng(2)) != single) == (name != "zeros")


@pytest.mark.parametrize(("name", "activation"), [("he_normal", np.maximum), ("glorot_uniform", None)])
def test_signal_neither_dies_nor_explodes(name: str, activation: object, rng: np.random.Generator) -> None:
    x = start = rng.normal(size=(200, 256))
    for fan_in, fan_out in pairwise([256] * 21):
        x = x @ nn.INITIALIZERS[name]((fan_in, fan_out), rng, dtype=np.float64)
        x = np.maximum(x, 0) if activation else x
    assert 0.2 < np.mean(x**2) / np.mean(start**2) < 5


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown initializer 'xavier'.*glorot_uniform.*orthogonal"):
        nn.Dense(3, 2, initializer="xavier")


def test_own_function_as_initializer() -> None:
    layer = nn.Dense(3, 2, initializer=lambda shape, generator, dtype: np.full(shape, 0.5, dtype))
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight.numpy(), np.full((3, 2), 0.5))


def test_vector_has_no_fans(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"got \(5,\).*'zeros'"):
        nn.glorot_uniform((5,), rng)
