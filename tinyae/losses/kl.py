"""Kullback-Leibler divergences, in nats: what it costs to say which code, to somebody who only knows the prior."""

from __future__ import annotations

from typing import Any

from tinyae import ops
from tinyae.autodiff import primitive
from tinyae.backend import backend_of
from tinyae.losses.reduction import check_shapes, reduce


@primitive(elementwise=True)
def kl_to_unit_gaussian(mean: Any, log_variance: Any) -> Any:
    """KL(N(m, v) || N(0, 1)) = (m**2 + v - 1 - log v) / 2 of each element, v = exp(log_variance).
    d/dm = m,   d/d log v = (v - 1) / 2

    v - 1 is computed as expm1(log v), which keeps all digits near v = 1, where the divergence is smallest.
    """
    xp = backend_of(mean).xp
    return 0.5 * (mean * mean + (xp.expm1(log_variance) - log_variance))


@kl_to_unit_gaussian.vjp(0)
def _(g: Any, out: Any, mean: Any, log_variance: Any) -> Any:
    return g * mean


@kl_to_unit_gaussian.vjp(1)
def _(g: Any, out: Any, mean: Any, log_variance: Any) -> Any:
    return g * (0.5 * (ops.exp(log_variance) - 1.0))


def gaussian_kl(mean: Any, log_variance: Any, *, reduction: str = "per_sample") -> Any:
    """KL(N(m, diag v) || N(0, I)), m and log v both (N, K): Kingma and Welling 2014, appendix B.

    With "per_sample" it is summed over the K numbers of a code and averaged over the N samples, the unit in which it
    may be added to a reconstruction term that is summed over pixels: nats per sample. Never below 0; 0 only where
    every m is 0 and every v is 1.
    """
    check_shapes("gaussian_kl", mean, log_variance)
    return reduce(kl_to_unit_gaussian(mean, log_variance), reduction)
