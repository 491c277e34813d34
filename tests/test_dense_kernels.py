"""The CPU's kernels for dense layers and losses: equal bytes with any number of threads, and the values of the definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import losses, ops
from tinyae.autodiff import Tensor, grad
from tinyae.backend import threads
from tinyae.backend.dense_kernels import ENTRIES


def with_threads(function: Any) -> list[np.ndarray]:
    """The arrays that a function returns, the same bytes with 1, 2 and 3 threads."""
    found = []
    for count in (1, 2, 3):
        with threads(count):
            found.append([np.asarray(a) for a in function()])
    assert all(a.tobytes() == b.tobytes() for other in found[1:] for a, b in zip(found[0], other, strict=True))
    return found[0]


@pytest.mark.parametrize("activation", ["identity", "relu", "gelu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "sizes", [(3, 5, 2), (300, 784, 32), (257, 33, 784), (10_001, 64, 25), (7, 1000, 999), (900, 450, 500)]
)
def test_dense_and_matmul(sizes, dtype, activation, rng):
    """Cut by samples or by features; of arrays in another order of memory; each gradient alone and among others."""
    n, d, k = sizes
    x, w, g, b = (rng.standard_normal(s).astype(dtype).T for s in ((d, n), (k, d), (k, n), (k,)))

    def ours() -> list[np.ndarray]:
        leaves = [Tensor(a, requires_grad=True) for a in (x, w[::-1], b)]
        out = ops.dense(*leaves, activation=activation)
        gradients = [*grad(out, leaves, g), *(grad(out, leaf, g) for leaf in leaves)]
        return [ops.matmul(x, w[::-1]), out.data, *[a.data for a in gradients]]

    found = with_threads(ours)
    x, w, b, g = (a.astype(np.float64) for a in (x, w[::-1], b, g))
    product, f = np.tensordot(x, w, 1), getattr(ops, activation, None)
    dz = f.vjps[0](g, f(product + b), product + b) if f else g
    gradients = [np.tensordot(dz, w.T, 1), np.tensordot(x.T, dz, 1), dz.sum(axis=0)]
    for a, e in zip(found, [product, f(product + b) if f else product + b, *gradients, *gradients], strict=True):
        assert a.dtype == dtype
        assert_allclose(a, e, rtol=0, atol=50 * np.finfo(dtype).eps * np.sqrt(max(sizes)) * np.abs(e).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, ENTRIES // 2 - 1, ENTRIES, 3 * ENTRIES + 17])
@pytest.mark.parametrize("loss", [losses.bce_with_logits, losses.squared_error])
def test_losses(loss, size, dtype, rng):
    z, t = 10.0 * rng.standard_normal((2, size)).astype(dtype)[:, ::-1], rng.random((size, 2)).astype(dtype).T

    def ours() -> list[np.ndarray]:
        leaves = [Tensor(z, requires_grad=True), Tensor(t, requires_grad=True)]
        value = loss(*leaves, reduction="mean")
        return [value.data, *[a.data for a in grad(value, leaves, np.asarray(1.5, dtype))]]

    value, *slopes = with_threads(ours)
    wide = [Tensor(a.astype(np.float64), requires_grad=True) for a in (z, t)]
    composed = loss.composed(*wide, reduction="mean")
    assert_allclose(value, composed.data, rtol=(eps := 8 * np.finfo(dtype).eps))
    for found, expected in zip(slopes, grad(composed, wide, np.asarray(1.5)), strict=True):
        assert_allclose(found * z.size, expected.data * z.size, rtol=eps, atol=eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softplus_keeps_its_digits(dtype):
    x = np.linspace(-80, 80, 20_001).astype(dtype)
    expected = np.logaddexp(0, x.astype(np.longdouble))
    assert_allclose(ops.softplus(x), expected, rtol=3 * np.finfo(dtype).eps)
    assert_array_equal(ops.softplus(np.array([np.inf, -np.inf, np.nan], dtype)), [np.inf, 0.0, np.nan])


@pytest.mark.parametrize(("logit", "target"), [(-30.0, 0.0), (30.0, 1.0), (-1.0, 0.5), (-1e3, 1.0), (1e3, 0.0)])
def test_cross_entropy_keeps_its_digits_where_terms_are_tiny_or_large(logit, target, rng):
    """In float32, 1 + exp(-30) is 1, but the loss is not 0. A NaN is passed on to its own gradient."""
    z = (logit * rng.uniform(0.9, 1.1, (2, ENTRIES))).astype("float32")
    terms = target * np.logaddexp(0.0, -z.astype("float64")) + (1 - target) * np.logaddexp(0.0, z.astype("float64"))
    assert_allclose(losses.bce_with_logits(z, np.full_like(z, target), reduction="mean"), terms.mean(), rtol=2e-6)
    z[1, 5] = np.nan
    leaf = Tensor(z, requires_grad=True)
    assert_array_equal(np.isnan(grad(losses.bce_with_logits(leaf, np.full_like(z, target)), leaf).data), np.isnan(z))
