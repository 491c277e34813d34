"""Convolution layers: what they compute, how they start, what they say when shapes do not fit, and the summary."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinyae import nn, ops
from tinyae.autodiff import Tensor
from tinyae.backend.windows import ConvSpec
from tinyae.testing.tables.images import conv2d_reference, conv_transpose2d_reference


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["identity", "relu", "sigmoid"])
def test_layers_compute_what_they_say(bias, activation, rng):
    x = rng.normal(size=(2, 6, 6, 4))
    options = {"activation": activation, "bias": bias, "dtype": "float64", "generator": generator()}
    f = (lambda z: z) if activation == "identity" else getattr(ops, activation)
    conv = nn.Conv2d(4, 6, (3, 2), 2, 1, **options)
    back = nn.ConvTranspose2d(6, 4, (3, 2), 2, 1, (1, 0), **options)
    for layer, value, reference in ((conv, x, conv2d_reference), (back, conv(x).data, conv_transpose2d_reference)):
        if bias:
            layer.bias.data = rng.normal(size=layer.out_channels)
        spec = ConvSpec((6, 6), (3, 2), (2, 2), ((1, 1), (1, 1)))
        z = reference(value, layer.weight.data, spec) + (layer.bias.data if bias else 0.0)
        assert_allclose(layer(value).data, f(z), rtol=1e-12, atol=1e-13)


def test_sizes_and_the_way_back():
    conv = nn.Conv2d(1, 1, 3, 2, generator=generator())
    assert [conv.spec((n, n)).out for n in (7, 8)] == [(3, 3), (3, 3)]
    assert [conv.spec((n, n)).output_padding for n in (7, 8)] == [(0, 0), (1, 1)]
    for n in (7, 8):
        back = nn.ConvTranspose2d(1, 1, 3, 2, 0, conv.spec((n, n)).output_padding, generator=generator())
        assert back.spec((3, 3)).size == (n, n)


@pytest.mark.parametrize(("kind", "shape"), [("Conv2d", (3, 3, 40, 60)), ("ConvTranspose2d", (3, 3, 60, 40))])
def test_weights_start_with_the_spread_of_their_true_fan_in(kind, shape):
    layer = getattr(nn, kind)(40, 60, 3, initializer="he_normal", generator=generator())
    assert layer.weight.shape == shape
    assert_allclose(layer.weight.data.std(), np.sqrt(2 / (9 * 40)), rtol=0.03)
    assert not layer.bias.data.any()


LAYERS = [
    "Conv2d(1, 16, 3, padding='same', activation='relu')",
    "MaxPool2d(2, stride=2, padding='same')",
    "Conv2d(16, 8, 3, stride=2, padding=1, bias=False)",
    "Upsample(2)",
    "ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)",
    "PixelShuffle(2)",
    "AvgPool2d(3, stride=1)",
]


def test_summary_and_repr():
    model = nn.Sequential(*(eval(f"nn.{call}") for call in LAYERS))
    assert [repr(layer) for layer in model] == LAYERS
    table = model.summary((28, 28, 1))
    for shape in ("(N, 28, 28, 16)", "(N, 14, 14, 16)", "(N, 7, 7, 8)", "(N, 14, 14, 8)", "(N, 28, 28, 4)"):
        assert shape in table
    assert "1,604 parameters" in table


FLOAT = np.ones((2, 7, 7, 3), "float32")


@pytest.mark.parametrize(("call", "words"), [
    (lambda: nn.Conv2d(1, 4, 3)(FLOAT), r"Conv2d\(1, 4, 3\): .* \(N, H, W, 1\).* build the layer for 3"),
    (lambda: nn.Conv2d(2, 4, 3)(np.ones((5, 2, 7, 7), "f4")), r"write numpy.moveaxis\(x, 1, -1\)"),
    (lambda: nn.Conv2d(3, 4, 3)(FLOAT[0]), r"write x\[None\]"),
    (lambda: nn.Conv2d(1, 4, 3)(FLOAT[..., 0]), r"write x\[..., None\]"),
    (lambda: nn.Conv2d(1, 4, 3)(np.ones((5, 49), "f4")), r"nn.Reshape\(H, W, C\)"),
    (lambda: nn.Conv2d(3, 4, 9)(FLOAT), "input 7x7, kernel 9x9 does not fit: the kernel spans 9x9"),
    (lambda: nn.Conv2d(3, 4, 3, padding=-1), "Conv2d: padding must be .* got -1"),
    (lambda: nn.Conv2d(3, 4, 0), "Conv2d: kernel_size must be a whole number of at least 1"),
    (lambda: nn.Conv2d(3, 4, 3, activation="swish"), "Conv2d: unknown activation 'swish'"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, 2, output_padding=2), r"output_padding \(2, 2\) must be smaller"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, 2)(np.ones((1, 3, 3, 3), "f4"), size=(8, 8)),
     r"ConvTranspose2d\(.*\): input 3x3, kernel 3x3, stride 2x2 gives 7x7, wanted 8x8; use output_padding=1"),
    (lambda: nn.ConvTranspose2d(3, 4, 3, 2)(np.ones((1, 3, 3, 3), "f4"), size=(9, 9)),
     "gives 7x7, wanted 9x9; change its kernel, stride or padding"),
])  # fmt: skip
def test_what_does_not_fit_is_said_with_the_fix(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"floating-point numbers"):
        nn.Conv2d(3, 4, 3)(Tensor(np.ones((1, 5, 5, 3), int)))
