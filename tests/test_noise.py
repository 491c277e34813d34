"""The noise layers against NumPy transcriptions of their formulas, and their draws against the stated distributions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng as seeded
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import nn
from tinyae.autodiff import Tensor
from tinyae.testing import gradcheck

LAYERS = {
    "masking": lambda g=None: nn.MaskingNoise(0.3, generator=g),
    "gaussian": lambda g=None: nn.GaussianNoise(0.3, generator=g),
    "salt-and-pepper": lambda g=None: nn.SaltAndPepperNoise(0.3, -2.0, 5.0, generator=g),
}
every_noise = pytest.mark.parametrize("name", LAYERS)


def transcribed(name: str, x: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The definitions, element by element: corrupted x and which elements were hit."""
    if name == "gaussian":
        return x + x.dtype.type(0.3) * generator.standard_normal(x.shape, dtype=x.dtype), np.ones(x.shape)
    draws = generator.random(x.shape, dtype=x.dtype)
    out, hit = x.copy(), np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        if draws[i] < 0.3:
            hit[i] = 1
            out[i] = 0.0 if name == "masking" else (-2.0 if draws[i] < 0.15 else 5.0)
    return out, hit


@every_noise
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(40, 6), (3, 4, 5, 2), (7,), (0, 3)])
def test_the_written_out_formula(name, dtype, shape, rng):
    x = rng.normal(size=shape).astype(dtype)
    expected, hit = transcribed(name, x, seeded(5))
    noisy, mask = LAYERS[name](seeded(5)).corrupt_with_mask(Tensor(x))
    assert isinstance(noisy, Tensor)
    assert noisy.dtype == mask.dtype == dtype
    assert noisy.shape == mask.shape == shape
    assert_allclose(noisy.data, expected, rtol=1e-6, atol=1e-7)
    assert_array_equal(mask, hit)


@every_noise
def test_arrays_and_tensors_give_the_same_numbers(name, rng):
    x = rng.normal(size=(5, 4))
    array = LAYERS[name](seeded(0)).corrupt(x)
    assert type(array) is np.ndarray
    assert_array_equal(array, LAYERS[name](seeded(0)).corrupt(Tensor(x)).data)
    assert_array_equal(array, LAYERS[name](seeded(0))(x).data)


@every_noise
def test_noise_is_drawn_anew_at_every_call_and_repeats_with_the_seed(name, rng):
    x = Tensor(rng.normal(size=(50, 20)))
    layer, twin = LAYERS[name](seeded(1)), LAYERS[name](seeded(1))
    first, second = layer(x).data, layer(x).data
    # Two presentations agree only where both draws spared the element (never, for Gaussian noise).
    assert (first != second).mean() > 0.3
    assert_array_equal(twin(x).data, first)
    assert_array_equal(twin(x).data, second)
    assert not np.array_equal(LAYERS[name](seeded(2))(x).data, first)


@every_noise
def test_evaluation_mode_is_the_identity_and_corrupt_is_not(name, rng):
    x = Tensor(rng.normal(size=(50, 20)))
    layer = LAYERS[name](seeded(0)).eval()
    state = layer.generator.bit_generator.state
    assert layer(x) is x
    assert layer.generator.bit_generator.state == state, "nothing is drawn where nothing is used"
    assert (layer.corrupt(x).data != x.data).mean() > 0.2
    assert layer.train()(x) is not x


@every_noise
def test_a_generator_given_to_corrupt_leaves_the_layers_own_alone(name, rng):
    x = rng.normal(size=(5, 4))
    layer = LAYERS[name](seeded(3))
    state = layer.generator.bit_generator.state
    borrowed = layer.corrupt(x, seeded(7))
    assert layer.generator.bit_generator.state == state
    assert_array_equal(borrowed, LAYERS[name](seeded(7)).corrupt(x))
    with pytest.raises(TypeError, match=r"default_rng\(seed\)"):
        layer.corrupt(x, 7)


def test_without_noise_nothing_changes_and_nothing_is_drawn(rng):
    x = Tensor(rng.normal(size=(5, 4)))
    for layer in (nn.MaskingNoise(0.0), nn.GaussianNoise(0.0), nn.SaltAndPepperNoise(0.0)):
        noisy, mask = layer.corrupt_with_mask(x)
        assert noisy is x
        assert not mask.any()
        assert mask.dtype == x.dtype


# Distributions. With N = 200,000 draws the standard error of a share p is sqrt(p (1 - p) / N), about 0.001; each number
# must lie within 4 of its standard errors.

N = 200_000


@pytest.mark.parametrize("rate", [0.01, 0.25, 0.5, 0.9])
def test_the_share_of_hit_elements_is_the_rate(rate):
    error = np.sqrt(rate * (1 - rate) / N)
    x = np.ones(N, np.float32)
    for layer in (nn.MaskingNoise(rate, seeded(11)), nn.SaltAndPepperNoise(rate, 0.0, 3.0, seeded(12))):
        noisy, mask = layer.corrupt_with_mask(x)
        assert abs(mask.mean(dtype=np.float64) - rate) < 4 * error
        assert_array_equal(mask == 1, noisy != 1)


def test_salt_and_pepper_are_equally_frequent():
    noisy = nn.SaltAndPepperNoise(0.4, generator=seeded(4)).corrupt(np.full(N, 0.5))
    assert set(np.unique(noisy)) == {0.0, 0.5, 1.0}
    error = np.sqrt(0.2 * 0.8 / N)
    assert abs((noisy == 0).mean() - 0.2) < 4 * error
    assert abs((noisy == 1).mean() - 0.2) < 4 * error


def test_gaussian_noise_has_the_mean_the_deviation_and_the_kurtosis_of_a_normal():
    noise = nn.GaussianNoise(0.7, seeded(6)).corrupt(np.zeros(N)) / 0.7
    assert abs(noise.mean()) < 4 / np.sqrt(N)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / N)
    assert abs((noise**4).mean() - 3) < 4 * np.sqrt(96 / N)


def test_elements_are_hit_independently():
    mask = nn.MaskingNoise(0.5, seeded(8)).corrupt_with_mask(np.ones((2, N)))[1] - 0.5
    shifted = [mask[0, :-1] * mask[0, 1:], mask[0] * mask[1]]
    for products in shifted:
        assert abs(products.mean() * 4) < 4 / np.sqrt(products.size)


@every_noise
def test_the_gradient_at_a_fixed_draw(name, rng):
    x = rng.normal(size=(6, 5))
    assert gradcheck(lambda v: LAYERS[name](seeded(9)).corrupt(v), [x])
    leaf = Tensor(x, requires_grad=True)
    noisy, mask = LAYERS[name](seeded(9)).corrupt_with_mask(leaf)
    noisy.sum().backward()
    assert_array_equal(leaf.grad.data, np.ones_like(x) if name == "gaussian" else 1 - mask)


@every_noise
def test_on_every_device(name, device, rng):
    x = rng.normal(size=(40, 6)).astype("float32")
    layer = LAYERS[name](seeded(0))
    noisy, mask = layer.corrupt_with_mask(Tensor(device.to_device(x)))
    noisy, mask = device.to_host(noisy.data), device.to_host(mask)
    assert noisy.dtype == mask.dtype == np.float32
    assert_array_equal(noisy[mask == 0], x[mask == 0])
    again = LAYERS[name](seeded(0)).corrupt(device.to_device(x))
    assert_array_equal(device.to_host(again), noisy)
    if name != "gaussian":
        assert 0.1 < mask.mean() < 0.5
        assert set(np.unique(noisy[mask == 1])) == ({0.0} if name == "masking" else {-2.0, 5.0})


@pytest.mark.parametrize(("make", "told"), [
    (lambda: nn.MaskingNoise(1.0), "rate must be a finite number, at least 0 and below 1, got 1.0: 0.25 affects a fourth"),
    (lambda: nn.MaskingNoise(-0.1), "MaskingNoise: rate must be .* below 1"),
    (lambda: nn.MaskingNoise(float("nan")), "got nan"),
    (lambda: nn.SaltAndPepperNoise(1.5), "SaltAndPepperNoise: rate must be .* below 1"),
    (lambda: nn.SaltAndPepperNoise(0.1, 1.0, 1.0), "high must be a finite number, above 1, got 1"),
    (lambda: nn.SaltAndPepperNoise(0.1, 2.0, 1.0), "the smallest and the largest value"),
    (lambda: nn.SaltAndPepperNoise(0.1, 0.0, float("inf")), "high must be a finite number"),
    (lambda: nn.SaltAndPepperNoise(0.1, float("nan"), 1.0), "low must be a finite number"),
    (lambda: nn.GaussianNoise(-1.0), "std must be a finite number, at least 0, got -1.0"),
    (lambda: nn.GaussianNoise(float("inf")), "got inf"),
    (lambda: nn.GaussianNoise(float("nan")), "got nan"),
    (lambda: nn.noise_named("rain", 0.1), "choose one of masking, gaussian, salt-and-pepper"),
    (lambda: nn.noise_named("masking", 2.0), "MaskingNoise: rate"),
])  # fmt: skip
def test_wrong_levels_are_refused_with_the_fix(make, told):
    with pytest.raises(ValueError, match=told):
        make()


@pytest.mark.parametrize("value", ["0.5", None, True, np.zeros(2)])
def test_levels_that_are_no_numbers(value):
    for layer in (nn.MaskingNoise, nn.GaussianNoise, nn.SaltAndPepperNoise):
        with pytest.raises(TypeError, match="must be a number"):
            layer(value)


@every_noise
def test_inputs_that_are_no_floats(name):
    layer = LAYERS[name]()
    for wrong in (Tensor(np.arange(4)), np.arange(4), [1.0, 2.0], None):
        with pytest.raises(TypeError, match="floating-point numbers"):
            layer.corrupt(wrong)
    with pytest.raises(TypeError, match="floating-point numbers"):
        layer(np.arange(4))
    with pytest.raises(TypeError, match=r"default_rng\(seed\)"):
        type(layer)(0.1, generator=3)


def test_a_noise_without_a_definition_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="has no damage"):
        nn.Noise().corrupt(np.ones(3))


def test_the_layers_say_what_they_are():
    assert repr(nn.MaskingNoise(0.25)) == "MaskingNoise(0.25)"
    assert repr(nn.GaussianNoise(0.1)) == "GaussianNoise(0.1)"
    assert repr(nn.SaltAndPepperNoise(0.1)) == "SaltAndPepperNoise(0.1)"
    assert repr(nn.SaltAndPepperNoise(0.1, -1, 1)) == "SaltAndPepperNoise(0.1, low=-1.0)"
    assert {name: type(nn.noise_named(name, 0.2)) for name in nn.NOISES} == nn.NOISES
    assert nn.noise_named("gaussian", 0.2).std == 0.2
