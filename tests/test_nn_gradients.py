"""Gradients of layers that the check tables do not ask about: closed forms, masks and second orders by hand.

That every layer passes a gradient check for its input and every parameter is asked in `test_check_tables.py`.
"""

from __future__ import annotations

import numpy as np

from tinyae import nn
from tinyae.autodiff import Tensor, grad


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

    leaf = Tensor(x, requires_grad=True)
    first = grad(layer(leaf), leaf, u, create_graph=True)
    second = grad(first, leaf, v)
    step = 1e-6
    expected = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1.0, -1.0):
            moved = x.copy()
            moved[index] += sign * step
            leaf = Tensor(moved, requires_grad=True)
            ends.append((grad(layer(leaf), leaf, u).numpy() * v).sum())
        expected[index] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(second.numpy(), expected, rtol=1e-5, atol=1e-6)
