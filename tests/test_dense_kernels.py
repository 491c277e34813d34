"""The CPU's kernels for dense layers, losses and Adam: equal bytes with any number of threads, and the reference's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import losses, ops
from tinyae.autodiff import Tensor, grad
from tinyae.backend import CPU, Backend, threads
from tinyae.backend.dense_kernels import ENTRIES, MULTIPLICATIONS

PRODUCTS = [
    (3, 5, 2), (64, 64, 33), (300, 784, 32), (257, 33, 784), (10_001, 64, 25), (7, 1000, 999), (512, 200, 333), (1, 3000, 3000),
]  # fmt: skip
"""(N, D, K) below and above the size from which a product is cut: wide, tall, by samples, by features, few samples."""


class Reference(Backend):
    """NumPy with every kernel's readable body."""

    name, xp = "reference", np


def with_threads(function: Any) -> list[np.ndarray]:
    """The arrays that a function returns, after checking that 1, 2 and 3 threads give the same bytes."""
    found = []
    for count in (1, 2, 3):
        with threads(count):
            found.append([np.asarray(a) for a in function() if a is not None])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            assert a.tobytes() == b.tobytes()
    return found[0]


@pytest.mark.parametrize("activation", ["identity", "relu", "sigmoid", "gelu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", PRODUCTS)
def test_dense_and_matmul(sizes, dtype, activation, rng):
    n, d, k = sizes
    x, w, b, g = (rng.standard_normal(s).astype(dtype) for s in ((n, d), (d, k), (k,), (n, k)))
    tolerance = {"rtol": 0, "atol": 2e2 * np.finfo(dtype).eps * np.sqrt(d * max(n, k))}

    def ours() -> list[np.ndarray]:
        leaves = [Tensor(a, requires_grad=True) for a in (x, w, b)]
        out = ops.dense(*leaves, activation=activation)
        return [out.data, *[a.data for a in grad(out, leaves, g)], ops.matmul(x, w)]

    out, *gradients, product = with_threads(ours)
    x, w, b, g = (a.astype(np.float64) for a in (x, w, b, g))
    z = np.einsum("nd,dk->nk", x, w) + b if n * d * k < 1e6 else x.dot(w) + b
    dz = g if activation == "identity" else getattr(ops, activation).vjps[0](g, getattr(ops, activation)(z), z)
    assert_allclose(out, z if activation == "identity" else getattr(ops, activation)(z), **tolerance)
    assert_allclose(product, z - b, **tolerance)
    for found, expected in zip(gradients, (dz.dot(w.T), x.T.dot(dz), dz.sum(axis=0)), strict=True):
        assert found.dtype == dtype
        assert_allclose(found, expected, **tolerance)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("sizes", [(5000, 64, 25), (60, 400, 300)])
def test_only_wanted_gradients_of_strided_arrays(sizes, wanted, rng):
    """Of a batch in two axes, from views whose memory runs backward, or in the other order."""
    n, d, k = sizes
    assert n * d * k >= MULTIPLICATIONS
    x, w = rng.standard_normal((d, 2, n // 2)).transpose(2, 1, 0), rng.standard_normal((k, 2 * d)).T[::-2]
    b, g = rng.standard_normal(2 * k)[::2], rng.standard_normal((2 * k, n // 2, 2)).T[..., ::2].swapaxes(0, 1)
    arrays = [Tensor(a, requires_grad=i in wanted) for i, a in enumerate((x, w, b))]
    out = ops.dense(*arrays)
    found = grad(out, [arrays[i] for i in wanted], g)
    assert_allclose(out.data, np.tensordot(x, w, 1) + b, rtol=1e-10, atol=1e-10)
    expected = np.tensordot(g, w, (2, 1)), np.tensordot(x, g, ((0, 1), (0, 1))), g.sum(axis=(0, 1))
    for i, gradient in zip(wanted, found, strict=True):
        assert_allclose(gradient.data, expected[i], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 1001, ENTRIES - 1, ENTRIES, 3 * ENTRIES + 17])
@pytest.mark.parametrize("loss", [losses.bce_with_logits, losses.squared_error])
def test_losses(loss, size, dtype, rng):
    z, t = 10.0 * rng.standard_normal((2, size)).astype(dtype)[:, ::-1], rng.random((size, 2)).astype(dtype).T

    def ours() -> list[np.ndarray]:
        leaves = [Tensor(z, requires_grad=True), Tensor(t, requires_grad=True)]
        value = loss(*leaves, reduction="mean")
        return [value.data, *[a.data for a in grad(value, leaves, np.asarray(1.5, dtype))]]

    value, *slopes = with_threads(ours)
    wide = z.astype(np.float64), t.astype(np.float64)
    squared = loss is losses.squared_error
    total, slope = Reference().squared_error(*wide) if squared else Reference().bce_with_logits(*wide, 1.0)
    eps = np.finfo(dtype).eps
    assert value.dtype == slopes[0].dtype == dtype
    assert_allclose(value, total / z.size, rtol=8 * eps)
    for found, expected in zip(slopes, (2.0 * slope, -2.0 * slope) if squared else (slope, -wide[0]), strict=True):
        assert_allclose(found * z.size, 1.5 * expected, rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize(("logit", "target"), [(-30.0, 0.0), (30.0, 1.0), (-1.0, 0.5), (-1e3, 1.0), (1e3, 0.0)])
def test_cross_entropy_keeps_its_digits_where_terms_are_tiny_or_large(logit, target, rng):
    """In float32, 1 + exp(-30) is 1, but the loss is not 0."""
    z = (logit * rng.uniform(0.9, 1.1, (2, ENTRIES))).astype("float32")
    found = losses.bce_with_logits(z, np.full_like(z, target), reduction="mean")
    terms = target * np.logaddexp(0.0, -z.astype("float64")) + (1 - target) * np.logaddexp(0.0, z.astype("float64"))
    assert_allclose(found, terms.mean(), rtol=2e-6)


def test_not_a_number_is_passed_on(rng):
    z = rng.standard_normal((2, ENTRIES)).astype("float32")
    z[1, 5] = np.nan
    leaf = Tensor(z, requires_grad=True)
    loss = losses.bce_with_logits(leaf, np.zeros_like(z))
    assert np.isnan(loss.data)
    assert_array_equal(np.isnan(grad(loss, leaf).data), np.isnan(z))
    relu = ops.relu(leaf)
    assert_array_equal(np.isnan(relu.data), np.isnan(z))
    assert np.isnan(
        ops.dense(z, np.ones((ENTRIES, 40), "float32"), np.zeros(40, "float32"), activation="relu")[1]
    ).all()


def test_means_over_many_samples(rng):
    for shape in ((1023, 3), (1024, 3), (5000, 25)):
        x = rng.random(shape).astype("float32")
        assert_allclose(ops.mean(x, axis=0), x.astype("float64").mean(axis=0), rtol=3e-6)


def test_adam_with_any_number_of_threads(rng):
    for size in (100, 3 * ENTRIES + 7):
        start = rng.standard_normal((4, size)).astype("float32") ** 2

        def step(start: np.ndarray = start) -> list[np.ndarray]:
            arrays = list(start.copy())
            CPU.adam(*arrays, step=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.01)
            return arrays

        expected = list(start.copy())
        Reference().adam(*expected, step=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.01)
        assert_array_equal(with_threads(step), expected)
