"""Gradients per step against finite differences, and against a recurrence whose gradient is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinyae import nn, ops
from tinyae.autodiff import Tensor
from tinyae.data import Split
from tinyae.models import Autoencoder, Batch, gradient_per_step


class Leaky(nn.Module):
    """code = sum over t of a**(T - 1 - t) x_t: the gradient at step t is a**(T - 1 - t) in each of D numbers."""

    def __init__(self, a: float) -> None:
        self.a = a

    def forward(self, x):
        weights = self.a ** np.arange(x.shape[1] - 1, -1, -1.0)
        return ops.sum(x * weights[:, None], axis=1)


class Repeated(nn.Module):
    def __init__(self, steps: int, features: int) -> None:
        self.bias = nn.Parameter(np.full((steps, features), 0.1))

    def forward(self, code):
        return ops.reshape(code, shape=(len(code), 1, -1)) + self.bias


@pytest.fixture
def model():
    return Autoencoder(Leaky(0.5), Repeated(4, 3), loss="squared_error")


def test_a_leaky_sum_forgets_at_its_own_rate(model, rng):
    norms = gradient_per_step(model, Split(rng.standard_normal((5, 4, 3))), of="code")
    assert_allclose(norms, np.sqrt(3) * 0.5 ** np.arange(3, -1, -1.0))


def test_the_gradient_of_the_loss_is_the_measured_slope(model, rng):
    x = rng.standard_normal((3, 4, 3))

    def loss(n, inputs):  # of one sequence, compared with what it was
        return model.loss(Batch(Tensor(inputs[n : n + 1]), Tensor(x[n : n + 1]))).item()

    squares = np.zeros((3, 4))
    for n, t, d in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[n, t, d] += 1e-6
        down[n, t, d] -= 1e-6
        squares[n, t] += ((loss(n, up) - loss(n, down)) / 2e-6) ** 2
    assert_allclose(gradient_per_step(model, Split(x)), np.sqrt(squares.mean(axis=0)), rtol=1e-6)
