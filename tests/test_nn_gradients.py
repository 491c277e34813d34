"""Gradients of every layer, for inputs and parameters, against central differences of <cotangent, layer(x)>."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tinyae import nn
from tinyae.autodiff import Tensor, grad, no_grad

G = np.random.Generator
STEP = 1e-6


def _dense(activation: str, bias: bool = True) -> Callable[[G], nn.Module]:
    return lambda g: nn.Dense(4, 3, activation=activation, bias=bias, generator=g, dtype=np.float64)


def _tied(g: G) -> nn.Module:
    encoder = nn.Dense(4, 3, activation="tanh", generator=g, dtype=np.float64)
    return nn.Sequential(encoder, nn.TiedDense(encoder, activation="sigmoid"))


def _running(g: G) -> nn.Module:
    layer = nn.BatchNorm(4, dtype=np.float64)
    layer.load_state_dict(
        {
            "weight": g.normal(size=4),
            "bias": g.normal(size=4),
            "running_mean": g.normal(size=4),
            "running_var": g.uniform(0.5, 2.0, 4),
        }
    )
    return layer.eval()


LAYERS: dict[str, tuple[Callable[[G], nn.Module], tuple[int, ...]]] = {
    **{f"dense_{a}": (_dense(a), (5, 4)) for a in ("identity", "relu", "sigmoid", "tanh")},
    **{f"dense_{a}_without_bias": (_dense(a, bias=False), (5, 4)) for a in ("identity", "relu", "sigmoid", "tanh")},
    "dense_three_axes": (_dense("tanh"), (2, 3, 4)),
    "tied": (_tied, (5, 4)),
    "layer_norm": (lambda g: nn.LayerNorm(4, dtype=np.float64), (5, 4)),
    "layer_norm_three_axes": (lambda g: nn.LayerNorm(4, dtype=np.float64), (2, 3, 4)),
    "batch_norm": (lambda g: nn.BatchNorm(4, dtype=np.float64), (5, 4)),
    "batch_norm_images": (lambda g: nn.BatchNorm(3, dtype=np.float64), (2, 2, 3, 3)),
    "batch_norm_eval": (_running, (5, 4)),
    "relu": (lambda g: nn.ReLU(), (5, 4)),
    "leaky_relu": (lambda g: nn.LeakyReLU(0.2), (5, 4)),
    "sigmoid": (lambda g: nn.Sigmoid(), (5, 4)),
    "tanh": (lambda g: nn.Tanh(), (5, 4)),
    "softplus": (lambda g: nn.Softplus(), (5, 4)),
    "softmax": (lambda g: nn.Softmax(), (5, 4)),
    "softmax_first_axis": (lambda g: nn.Softmax(axis=0), (5, 4)),
    "identity": (lambda g: nn.Identity(), (5, 4)),
    "dropout_eval": (lambda g: nn.Dropout(0.5, g).eval(), (5, 4)),
    "flatten": (lambda g: nn.Flatten(), (2, 3, 4)),
    "reshape": (lambda g: nn.Reshape(2, -1), (5, 4)),
}


def _central_differences(value: Callable[[], float], array: np.ndarray) -> np.ndarray:
    slopes = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + STEP
        above = value()
        array[index] = kept - STEP
        below = value()
        array[index] = kept
        slopes[index] = (above - below) / (2 * STEP)
    return slopes


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_layer(name: str, rng: np.random.Generator) -> None:
    make, shape = LAYERS[name]
    layer = make(rng)
    for parameter in layer.parameters():  # away from the ones and zeros they start with
        parameter.data = parameter.data + rng.normal(size=parameter.shape) * 0.3
    x = rng.normal(size=shape)
    with no_grad():
        cotangent = rng.normal(size=layer(x).shape)

    def value() -> float:
        with no_grad():
            return float((layer(x).numpy() * cotangent).sum())

    leaf = Tensor(x, requires_grad=True)
    targets = [leaf, *layer.parameters()]
    gradients = grad(layer(leaf), targets, cotangent)
    for target, gradient in zip(targets, gradients, strict=True):
        expected = _central_differences(value, target.data)
        assert np.abs(expected).max() > 1e-3  # a vanishing gradient would prove nothing
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-6, atol=1e-7)


def test_gradient_of_dropout_uses_the_mask_of_its_call(rng: np.random.Generator) -> None:
    layer = nn.Dropout(0.5, rng)
    x = Tensor(np.ones((6, 5)), requires_grad=True)
    y = layer(x)
    layer(x)  # a later call draws another mask and must not disturb the first
    cotangent = rng.normal(size=(6, 5))
    np.testing.assert_allclose(grad(y, x, cotangent).numpy(), cotangent * y.numpy())


def test_tied_weight_collects_both_uses(rng: np.random.Generator) -> None:
    encoder = nn.Dense(4, 3, generator=rng, dtype=np.float64)
    decoder = nn.TiedDense(encoder)
    x, cotangent = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    decoder(encoder(x)).backward(cotangent)
    w = encoder.weight.numpy()
    assert encoder.weight.grad is not None
    # y = x W W' : dL/dW = x' c W + c' x W
    np.testing.assert_allclose(encoder.weight.grad.numpy(), x.T @ cotangent @ w + cotangent.T @ x @ w, rtol=1e-12)


def test_second_derivative_through_layer_norm(rng: np.random.Generator) -> None:
    layer = nn.LayerNorm(4, dtype=np.float64)
    x = rng.normal(size=(3, 4))
    u, v = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))

    def slope() -> np.ndarray:
        leaf = Tensor(x, requires_grad=True)
        return grad(layer(leaf), leaf, u).numpy()

    leaf = Tensor(x, requires_grad=True)
    first = grad(layer(leaf), leaf, u, create_graph=True)
    second = grad(first, leaf, v)
    expected = _central_differences(lambda: float((slope() * v).sum()), x)
    np.testing.assert_allclose(second.numpy(), expected, rtol=1e-5, atol=1e-6)
