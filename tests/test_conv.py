"""The convolutional autoencoder against plain loops, its variants against those of dense layers, and the command."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng as seeded
from numpy.testing import assert_allclose, assert_array_equal
from scipy import signal, special

from tinyae import data, evaluate, fit, load, models, nn, optim, save
from tinyae.autodiff import Tensor
from tinyae.models import build, conv_autoencoder, conv_variational_autoencoder
from tinyae.models.convolutional import FORMS, UPSAMPLINGS, conv_pair, maps_shape, stage_sizes
from tinyae.training.pictures import first_layer_filters

every_form = pytest.mark.parametrize("form", FORMS)
every_upsampling = pytest.mark.parametrize("upsampling", UPSAMPLINGS)


def correlated(x, layer):
    """A convolution by SciPy, stride by leaving out; x (H, W, C)."""
    w, b = layer.weight.numpy().astype("float64"), layer.bias.numpy()
    (top, bottom), (left, right) = layer.padding
    image = np.pad(x, ((top, bottom), (left, right), (0, 0)))
    maps = [
        sum(signal.correlate2d(image[..., c], w[..., c, o], "valid") for c in range(w.shape[2])) + b[o]
        for o in range(w.shape[3])
    ]
    return np.stack(maps, axis=-1)[:: layer.stride[0], :: layer.stride[1]]


def written(y, layer, size):
    """A transposed convolution: every input writes its window, what hangs over the image is forgotten."""
    w, b = layer.weight.numpy().astype("float64"), layer.bias.numpy()
    out = np.zeros((*size, w.shape[2]))
    for p, q, i, j in product(*map(range, (*y.shape[:2], *w.shape[:2]))):
        row = p * layer.stride[0] + i - layer.padding[0][0]
        column = q * layer.stride[1] + j - layer.padding[1][0]
        if 0 <= row < size[0] and 0 <= column < size[1]:
            out[row, column] += w[i, j] @ y[p, q]
    return out + b


def pooled(x):
    """The largest of each 2x2 block, an odd side's last row and column alone; all values here are >= 0."""
    h, w, c = x.shape
    blocks = np.pad(x, ((0, h % 2), (0, w % 2), (0, 0))).reshape((h + 1) // 2, 2, (w + 1) // 2, 2, c)
    return blocks.max(axis=(1, 3))


def doubled(x, how):
    if how == "nearest":
        return x.repeat(2, axis=0).repeat(2, axis=1)
    for axis in (0, 1):
        n = x.shape[axis]
        places = np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1)
        x = np.apply_along_axis(lambda line, places=places, n=n: np.interp(places, np.arange(n), line), axis, x)
    return x


def shuffled(x):
    h, w, c = x.shape
    out = np.empty((2 * h, 2 * w, c // 4))
    for i, j in product(range(2), range(2)):
        out[i::2, j::2] = x[..., (2 * i + j) * (c // 4) : (2 * i + j + 1) * (c // 4)]
    return out


def by_loops(model, x, form, upsampling):
    """Codes and raw outputs of one image x (H, W, C), by the functions above and nothing of tinyae's."""
    sizes = [x.shape[:2]]
    convolutions = [part for part in model.encoder if isinstance(part, nn.Conv2d)]
    for layer in convolutions:
        x = np.maximum(correlated(x, layer), 0)
        x = pooled(x) if form == "keras" else x
        sizes.append(x.shape[:2])
    code = x.ravel()
    layers = [part for part in model.decoder if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d))]
    if form == "keras":
        x = np.maximum(correlated(x, layers.pop(0)), 0)
    for layer, (h, w) in zip(layers, sizes[-2::-1], strict=True):
        last = layer is layers[-1]
        if upsampling == "transposed":
            x = written(x, layer, (h, w))
        elif upsampling == "pixelshuffle":
            x = shuffled(correlated(x, layer))[:h, :w]
        else:
            x = correlated(doubled(x, upsampling)[:h, :w], layer)
        x = x if last else np.maximum(x, 0)
    return code, x


@every_form
@every_upsampling
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_the_whole_network_as_loops(form, upsampling, kernel_size, rng):
    shape = (7, 5, 2)
    options = {"form": form, "kernel_size": kernel_size, "upsampling": upsampling}
    model = conv_autoencoder(shape, channels=(3, 4), code_size=0, generator=seeded(3), **options)
    for p in model.parameters():  # biases start at 0, where a mistake would not show
        p.data = rng.normal(0, 0.5, p.shape).astype("float32")
    x = rng.uniform(size=shape)
    code, raw = by_loops(model, x, form, upsampling)
    assert np.abs(code).max() > 0.1
    assert_allclose(model.encode(x[None])[0], code, rtol=1e-5, atol=1e-5)
    assert_allclose(model(Tensor(x[None])).numpy()[0], raw, rtol=1e-5, atol=1e-5)
    expected = (np.logaddexp(0, raw) - x * raw).sum()
    assert model.loss(Tensor(x[None])).item() == pytest.approx(expected, rel=1e-5)
    assert_allclose(model.reconstruct(x[None])[0], special.expit(raw), rtol=1e-5, atol=1e-6)


@given(
    h=st.integers(1, 21), w=st.integers(1, 21), c=st.integers(1, 3), stages=st.integers(1, 3),
    kernel=st.integers(1, 4), form=st.sampled_from(sorted(FORMS)), how=st.sampled_from(UPSAMPLINGS),
    code_size=st.sampled_from([None, 3]),
)  # fmt: skip
def test_any_size_comes_back(h, w, c, stages, kernel, form, how, code_size):
    encoder, decoder = conv_pair(
        (h, w, c), (2,) * stages, code_size, form=form, kernel_size=kernel, upsampling=how, outputs=2,
        generator=seeded(0),
    )  # fmt: skip
    code = encoder(np.ones((2, h, w, c), "float32"))
    halved = maps_shape((h, w, c), (2,) * stages)
    assert halved == (-(-h // 2**stages), -(-w // 2**stages), 2), "rounding up thrice is rounding up once by 8"
    assert code.shape == (2, np.prod(halved) if code_size is None else code_size)
    assert decoder(code).shape == (2, h, w, 2 * c)


def test_the_keras_form_is_that_of_the_blog():
    """16-8-8, a code of 4x4x8 and 4,385 weights: the blog's model.summary() says the same."""
    model = conv_autoencoder(form="keras", generator=seeded(0))
    assert isinstance(model, models.ConvAutoencoder)
    assert model.code_shape == (4, 4, 8)
    assert model.parameter_count() == 4385
    counts = [part.parameter_count() for part in [*model.encoder, *model.decoder] if isinstance(part, nn.Conv2d)]
    assert counts == [160, 1160, 584, 584, 584, 1168, 145]
    assert stage_sizes((28, 28), 3) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert model.encode(np.zeros((3, 28, 28, 1), "float32")).shape == (3, 128)
    # Every way up but pixel shuffle, which makes four images at once, has the same weights.
    for how in ("bilinear", "transposed"):
        assert conv_autoencoder(form="keras", upsampling=how).parameter_count() == 4385


def test_the_strided_vae_is_that_of_the_papers():
    model = conv_variational_autoencoder(generator=seeded(0))
    forth = 9 * 32 + 32 + 9 * 32 * 64 + 64 + 3136 * 40 + 40
    back = 20 * 3136 + 3136 + 9 * 64 * 32 + 32 + 9 * 32 + 1
    assert model.parameter_count() == forth + back
    assert model.code_size == 20


@every_form
def test_a_moved_image_has_moved_maps(form, rng):
    """What convolutions are for: 4 pixels to the right and down are one place to the right and down in the maps."""
    model = conv_autoencoder((24, 24, 1), form=form, channels=(4, 3), code_size=0, generator=seeded(1))
    x = np.zeros((1, 24, 24, 1), "float32")
    x[:, 8:16, 6:14] = rng.uniform(size=(1, 8, 8, 1))
    maps, moved = model.encode_maps(x), model.encode_maps(np.roll(x, (4, 4), axis=(1, 2)))
    assert maps.shape == (1, 6, 6, 3)
    assert maps.max() > 0.01
    assert_allclose(moved[:, 1:, 1:], maps[:, :-1, :-1], atol=1e-6)
    dense = conv_autoencoder((24, 24, 1), channels=(4, 3), code_size=5, generator=seeded(1))
    assert dense.code_shape == (5,)
    assert np.abs(dense.encode(x) - dense.encode(np.roll(x, (4, 4), axis=(1, 2)))).max() > 1e-3


def test_the_denoising_variant_is_a_denoising_autoencoder_of_convolutions(rng):
    model = models.conv_denoising_autoencoder((6, 5, 1), channels=(3,), level=0.4, generator=seeded(5))
    assert type(model) is models.DenoisingAutoencoder
    assert repr(model.noise) == "GaussianNoise(0.4)"
    x = rng.uniform(size=(4, 6, 5, 1))
    stream = seeded(0)
    stream.bit_generator.state = model.noise.generator.bit_generator.state
    noisy = x + 0.4 * stream.standard_normal(x.shape)
    raw = np.stack([by_loops(model, image, "keras", "nearest")[1] for image in noisy])
    expected = (np.logaddexp(0, raw) - x * raw).sum() / 4
    assert model.loss(Tensor(x)).item() == pytest.approx(expected, rel=1e-5)


def test_the_variational_variant_is_a_variational_autoencoder_of_convolutions(rng):
    model = conv_variational_autoencoder((6, 5, 1), 2, channels=(3,), generator=seeded(5))
    assert type(model) is models.VariationalAutoencoder
    x = rng.uniform(size=(4, 6, 5, 1))
    stream = seeded(0)
    stream.bit_generator.state = model.generator.bit_generator.state
    # The layers by themselves: Sequential, in float64 by hand from the dense layers on.
    code = np.stack([by_loops_of_the_encoder(model, image) for image in x])
    mean, log_variance = code[:, :2], code[:, 2:]
    z = mean + np.exp(log_variance / 2) * stream.standard_normal(mean.shape)
    raw = model.decoder(Tensor(z)).numpy()
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum() / 4
    loss = model.loss(Tensor(x))
    assert loss.terms["kl"].item() == pytest.approx(kl, rel=1e-5)
    assert loss.terms["reconstruction"].item() == pytest.approx((np.logaddexp(0, raw) - x * raw).sum() / 4, rel=1e-5)
    assert model.sample(3, seeded(0)).shape == (3, 6, 5, 1)


def by_loops_of_the_encoder(model, x):
    convolution, _, dense = model.encoder
    maps = np.maximum(correlated(x, convolution), 0)
    return maps.ravel() @ dense.weight.numpy().astype("float64") + dense.bias.numpy()


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian-element"])
def test_a_likelihood_gets_the_numbers_it_needs(likelihood):
    model = conv_variational_autoencoder((5, 4, 3), 2, likelihood=likelihood, form="keras", upsampling="pixelshuffle")
    x = seeded(0).uniform(size=(2, 5, 4, 3)).astype("float32")
    assert model.reconstruct(x).shape == x.shape
    assert np.isfinite(model.loss(Tensor(x)).item())
    assert conv_variational_autoencoder((5, 4, 3), 2, likelihood="gaussian", scale=0.3).likelihood.scale == 0.3


@pytest.mark.parametrize(("name", "options"), [
    ("conv", {}), ("conv-denoising", {"level": 0.2}), ("conv-vae", {"beta": 0.1}),
])  # fmt: skip
def test_it_learns_and_is_itself_again_from_its_file(name, options, tmp_path):
    digits = data.load("optdigits")
    model = build(name, {"input_shape": [8, 8, 1], "channels": [8, 8], "sample": "image", **options}, seeded(0))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    fit(model, digits.train.x[:1000], epochs=6, batch_size=40, optimizer=optimizer, progress=False)
    x = digits.test.x[:200]
    mean = np.square(x - digits.train.x.mean(axis=0)).sum() / len(x)
    assert evaluate(model, x)["squared_error"] < 0.75 * mean, "worse than what always answers the mean image"
    again = load(save(model, tmp_path / "model.safetensors"))
    assert_array_equal(again.reconstruct(x), model.reconstruct(x))


def test_the_network_by_default_is_strided_with_a_code_of_32():
    model = conv_autoencoder(generator=seeded(0))
    forth = 9 * 16 + 16 + 9 * 16 * 32 + 32 + 7 * 7 * 32 * 32 + 32
    back = 32 * 7 * 7 * 32 + 7 * 7 * 32 + 9 * 32 * 16 + 16 + 9 * 16 + 1
    assert (model.parameter_count(), model.code_shape) == (forth + back, (32,))
    assert conv_autoencoder(code_size=0).code_shape == (7, 7, 32)
    assert repr(conv_autoencoder(form="keras")).startswith("ConvAutoencoder((4, 4, 8), loss='bce'")


def test_crop_keeps_the_upper_left():
    x = np.arange(24.0).reshape(1, 4, 3, 2)
    assert_array_equal(nn.Crop(2, 1)(x).numpy(), x[:, :2, :1])
    whole = Tensor(x)
    assert nn.Crop(4, 3)(whole) is whole
    assert repr(nn.Crop(2, 1)) == "Crop(2, 1)"


def test_filters_are_those_of_the_first_layer_as_images():
    model = conv_autoencoder((8, 8, 3), channels=(5,))
    filters, shape = first_layer_filters(model, (8, 8, 3))
    assert shape == (3, 3, 3)
    assert_array_equal(filters.reshape(3, 3, 3, 5), model.encoder[0].weight.numpy())
    two = conv_autoencoder((8, 8, 2), channels=(5,))
    assert first_layer_filters(two, (8, 8, 2)) is None, "two channels are not colors"


@pytest.mark.parametrize(("options", "pictures"), [
    ("conv-denoising --level 0.3 --code-size 2", {"filters.png", "denoising.png", "codes.png"}),
    ("conv-vae --latent-size 2", {"filters.png", "manifold.png", "kl.png"}),
])  # fmt: skip
def test_the_command_from_end_to_end(options, pictures, tinyae, unpainted):
    digits = data.load("optdigits").train
    np.savez("small.npz", x=digits.x[:60], y=digits.y[:60])
    tinyae("train", options, "--data small.npz --epochs 1 --channels 3,4 --upsampling bilinear --form strided")
    (run,) = Path("runs").iterdir()
    assert pictures | {"reconstructions.png"} <= {file.name for file in run.iterdir()}
    assert "squared error" in tinyae("evaluate", run)
