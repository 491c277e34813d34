"""The noise layers against NumPy transcriptions of their formulas, and their draws against the stated distributions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng as seeded
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import nn
from tinyae.autodiff import Tensor

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
    array = LAYERS[name](seeded(5)).corrupt(x)
    assert type(array) is np.ndarray
    for same in (array, LAYERS[name](seeded(5))(x).data):
        assert_array_equal(same, noisy.data)
    assert_allclose(noisy.data, expected, rtol=1e-6, atol=1e-7)
    assert_array_equal(mask, hit)


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


@pytest.mark.parametrize("rate", [0.01, 0.25, 0.5, 0.9])
def test_the_share_of_hit_elements_is_the_rate(rate):
    """Within 4 standard errors of a share of N draws."""
    n = 200_000
    error, x = np.sqrt(rate * (1 - rate) / n), np.ones(n, np.float32)
    for layer in (nn.MaskingNoise(rate, seeded(11)), nn.SaltAndPepperNoise(rate, 0.0, 3.0, seeded(12))):
        noisy, mask = layer.corrupt_with_mask(x)
        assert abs(mask.mean(dtype=np.float64) - rate) < 4 * error
        assert_array_equal(mask == 1, noisy != 1)


@every_noise
def test_the_gradient_at_a_fixed_draw(name, rng):
    leaf = Tensor(rng.normal(size=(6, 5)), requires_grad=True)
    noisy, mask = LAYERS[name](seeded(9)).corrupt_with_mask(leaf)
    noisy.sum().backward()
    assert_array_equal(leaf.grad.data, np.ones((6, 5)) if name == "gaussian" else 1 - mask)


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


def test_a_uniform_number_is_less_than_1_in_every_dtype(device):
    drawn = device.to_host(device.uniform(seeded(0), (10_000,), "float16"))
    assert drawn.dtype == np.float16
    assert 0.0 <= drawn.min() < 0.01 < 0.99 < drawn.max() < 1.0


@pytest.mark.parametrize("dtype", ["float16", ">f4", ">f8"])
@pytest.mark.parametrize("layer", [nn.Dropout, nn.MaskingNoise, nn.GaussianNoise, nn.SaltAndPepperNoise])
def test_numbers_of_every_dtype_are_damaged(layer, dtype):
    x = Tensor(np.ones((40, 50), dtype))
    found, expected = (layer(0.25, generator=seeded(0))(t).data for t in (x, Tensor(x.data.astype("float64"))))
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    if dtype != ">f4":  # of float32, another stream
        assert_allclose(found.astype("float64"), expected, atol=2e-3)


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
