"""Negative log-densities of real numbers, in nats: the Gaussian and the continuous Bernoulli.

Unlike a probability, a density can be above 1, so these can be below 0. That is no mistake; only differences between
models on the same data in the same scale mean something.
"""

from __future__ import annotations

import math
from typing import Any

from tinyae import ops
from tinyae.autodiff import primitive
from tinyae.backend import backend_of
from tinyae.losses.reduction import check_shapes, reduce

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)

# A(z) - z/2 = log(sinh(z/2) / (z/2)) = sum over k of B_2k z^2k / (2k (2k)!), with the Bernoulli numbers B_2k.
_SERIES = (1 / 24, -1 / 2880, 1 / 181_440, -1 / 9_676_800, 1 / 479_001_600, -691 / 2730 / (12 * 479_001_600))
_NEAR = 0.5
"""Below this |z| the series, which is then exact to rounding (the next term is 6e-17); above it the closed form."""


def gaussian_nll(mean: Any, log_scale: Any, targets: Any, *, reduction: str = "per_sample") -> Any:
    """-log N(x; m, s**2) = (x - m)**2 / (2 s**2) + log s + log(2 pi) / 2, with s = exp(log_scale).
    d/dm = (m - x) / s**2,   d/d log s = 1 - (x - m)**2 / s**2

    Mean and targets of one shape (N, ...); log_scale a Python number, a single number, or of the same shape. Unit: nats
    per sample.
    """
    check_shapes("gaussian_nll", mean, targets)
    if isinstance(log_scale, (int, float)):
        inverse: Any = math.exp(-log_scale)
    else:
        inverse = ops.exp(-log_scale)
    z = (targets - mean) * inverse
    return reduce(0.5 * (z * z) + (log_scale + _HALF_LOG_TWO_PI), reduction)


@primitive(elementwise=True)
def continuous_bernoulli_log_norm(logits: Any) -> Any:
    """A(z) = log((exp(z) - 1) / z), A(0) = 0: the log of the integral of exp(z x) over x in [0, 1].   dA/dz = the mean

    Near 0 both parts of the ratio vanish, so there the Taylor series about z = 0 is used. Source: Loaiza-Ganem and
    Cunningham 2019, equation 6, whose log C(lambda) is log(1 + exp(z)) - A(z) with lambda = sigmoid(z).
    """
    xp = backend_of(logits).xp
    near, safe, size = _split(logits)
    far = xp.maximum(safe, 0.0) + xp.log1p(-xp.exp(-size)) - xp.log(size)
    square = logits * logits * near
    series = square * 0.0
    for coefficient in reversed(_SERIES):
        series = square * (coefficient + series)
    return xp.where(near, 0.5 * logits + series, far)


@continuous_bernoulli_log_norm.vjp(0)
def _(g: Any, out: Any, logits: Any) -> Any:
    return g * continuous_bernoulli_mean(logits)


@primitive(elementwise=True)
def continuous_bernoulli_mean(logits: Any) -> Any:
    """E[x] = 1 / (1 - exp(-z)) - 1/z for the density exp(z x - A(z)) on [0, 1]; 1/2 at z = 0.   d/dz = the variance

    Not sigmoid(z): it is closer to 1/2, since the density spreads over the whole interval.
    """
    xp = backend_of(logits).xp
    near, safe, size = _split(logits)
    upper = -1.0 / xp.expm1(-size) - 1.0 / size
    square = logits * logits * near
    slope = square * 0.0
    for place in range(len(_SERIES), 0, -1):
        slope = 2 * place * _SERIES[place - 1] + square * slope
    return xp.where(near, 0.5 + logits * slope, xp.where(safe > 0, upper, 1.0 - upper))


@continuous_bernoulli_mean.vjp(0)
def _(g: Any, out: Any, logits: Any) -> Any:
    return g * continuous_bernoulli_variance(logits)


def continuous_bernoulli_variance(logits: Any) -> Any:
    """Var[x] = 1/z**2 - exp(-z) / (1 - exp(-z))**2; 1/12 at z = 0. Composed of primitives, for every order."""
    size = ops.absolute(logits)
    near = size < _NEAR
    safe = ops.where(near, 1.0, size)
    decay = ops.exp(-safe)
    rest = 1.0 - decay
    far = 1.0 / (safe * safe) - decay / (rest * rest)
    square = ops.where(near, logits * logits, 0.0)
    curve: Any = square * 0.0
    for place in range(len(_SERIES), 0, -1):
        curve = 2 * place * (2 * place - 1) * _SERIES[place - 1] + square * curve
    return ops.where(near, curve, far)


def continuous_bernoulli_nll(logits: Any, targets: Any, *, reduction: str = "per_sample") -> Any:
    """-log p(x) = A(z) - x z for x in [0, 1] of the logits' shape (N, ...): a density on grey levels that integrates to 1.
    d/dz = E[x] - x

    The Bernoulli cross-entropy is softplus(z) - x z; the difference is the normalising term that it lacks when x is not
    0 or 1. Source: Loaiza-Ganem and Cunningham 2019. Unit: nats per sample.
    """
    check_shapes("continuous_bernoulli_nll", logits, targets)
    return reduce(continuous_bernoulli_log_norm(logits) - targets * logits, reduction)


def _split(logits: Any) -> tuple[Any, Any, Any]:
    """Where z is near 0; z with 1 in those places; and the absolute value of that."""
    xp = backend_of(logits).xp
    near = xp.abs(logits) < _NEAR
    safe = xp.where(near, 1.0, logits)
    return near, safe, xp.abs(safe)
