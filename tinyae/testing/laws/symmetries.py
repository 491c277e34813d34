"""Laws of symmetry: what a result must not depend on. A gradient check cannot see these; the derivative may be right
of a function that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyae.testing.laws.law import law
from tinyae.testing.laws.point import Point, close


@law("permutation equivariance", "f(x[p]) = f(x)[p]")
def assert_permutation_equivariant(
    fn: Any, *inputs: Any, call: Callable[..., Any] | None = None, seed: int = 0
) -> None:
    """f(x[p]) = f(x)[p] for a permutation p of the samples, and the same for gradients: J'(x[p]) c[p] = (J' c)[p]; those
    of parameters stay as they are.

    Args:
        fn: a Module or function from arrays with a leading axis N to one Tensor with it; deterministic.
        inputs: all with the same N, at least 2; whole numbers (labels, lengths) are permuted along.
        call: from (fn, *inputs) to one Tensor, where that is not `fn(*inputs)`.
        seed: of the permutation and the cotangent.
    """
    point = Point(fn, inputs, call)
    n = len(point.values[0]) if np.ndim(point.values[0]) else 0
    if n < 2 or any(np.ndim(x) and len(x) != n for x in point.values[: point.count]):
        raise ValueError(
            "assert_permutation_equivariant: inputs must share a leading axis N of at least 2, got shapes "
            f"{[np.shape(x) for x in point.values[: point.count]]}."
        )
    rng = np.random.default_rng(seed)
    out, weights = point.value(), point.cotangent(rng)
    assert out.shape[:1] == (n,), f"f(x) has shape {out.shape}, which does not start with N = {n}."
    gradients = point.gradients(weights)
    for order in (np.arange(n)[::-1], rng.permutation(n)):
        moved = [x[order] if i < point.count and np.ndim(x) else x for i, x in enumerate(point.values)]
        close(point.value(moved), out[order], "f(x[p])")
        for i, found, g in zip(point.moving, point.gradients(weights[order], moved), gradients, strict=True):
            expected = g[order] if i < point.count and np.ndim(g) else g
            close(found, expected, f"the gradient for {point.names[i]} of permuted samples", weights)


@law("padding invariance", "f(x, lengths) does not depend on x beyond the lengths")
def assert_padding_invariant(
    fn: Any, x: Any, lengths: Any, *, call: Callable[..., Any] | None = None, extra: int = 3, seed: int = 0
) -> None:
    """f(pad(x), lengths) = f(x, lengths) on what is valid, whatever stands in the padding; the same for the gradients,
    which are 0 in the padding.

    Args:
        fn: a Module or function from x (N, T, D) and `lengths=` to (N, T, K) or, one result a sequence, (N, ...).
        x: (N, T, D).
        lengths: (N,) whole numbers from 0 to T.
        call: from (fn, x, lengths) to one Tensor, where that is not `fn(x, lengths=lengths)`.
        extra: by how much T grows.
        seed: of what is written into the padding, and of the cotangent.
    """
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    apply = call or (lambda fn, x, lengths: fn(x, lengths=lengths))
    short = Point(fn, [x, lengths], apply)
    n, steps = short.values[0].shape[:2]
    wide = np.concatenate([short.values[0], np.zeros((n, extra, *short.values[0].shape[2:]))], axis=1)
    valid = np.arange(steps + extra) < lengths[:, None]
    wide[~valid] = 10.0 + rng.normal(size=wide[~valid].shape)
    long = Point(fn, [wide, lengths], apply)
    out, padded = short.value(), long.value()
    sequences = out.ndim > 1 and out.shape[1] == steps and padded.shape[1:2] == (steps + extra,)
    weights = np.asarray(rng.choice([-1.0, 1.0], out.shape))
    if sequences:
        close(padded[:, :steps][valid[:, :steps]], out[valid[:, :steps]], "a result at a valid step of padded x")
        weights[~valid[:, :steps]] = 0.0  # nobody reads results in the padding, so no gradient comes from there
        longer = np.concatenate([weights, np.zeros((n, extra, *out.shape[2:]))], axis=1)
    else:
        close(padded, out, "a result of padded x")
        longer = weights
    names = short.names
    for i, found, expected in zip(short.moving, long.gradients(longer), short.gradients(weights), strict=True):
        if i == 0:
            assert not np.any(found[~valid]), "the padding gets a gradient that is not 0."
            found, expected = found[valid], expected[valid[:, :steps]]
        close(found, expected, f"the gradient for {names[i]} with padded x", weights)
