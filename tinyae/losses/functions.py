"""Loss functions and their derivatives: squared errors, cross-entropies, divergences, densities and penalties.

Predictions y and targets t have the same shape (N, ...). Derivatives are those of one element, before the reduction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np

from tinyae import ops
from tinyae.autodiff import Operand, T, Tensor, primitive
from tinyae.backend import Array, backend_of
from tinyae.checks import number
from tinyae.losses.terms import check_shapes, reduce, scale
from tinyae.ops.elementwise import as_floats

# ---------------------------------------------------------------------------------------------------------------------
# Squared error: the negative log-likelihood of a Gaussian with fixed variance, up to constants.


def squared_error_composed(predictions: T, targets: Operand, *, reduction: str = "per_sample") -> T:
    """(predictions - targets)**2, reduced: the definition of `squared_error` in primitives."""
    difference = predictions - targets
    return reduce(difference * difference, reduction)


@primitive(composed=squared_error_composed)
def squared_error(predictions: Array, targets: Operand, *, reduction: str = "per_sample") -> tuple[Array, Array]:
    """Squared error (y - t)**2.   dL/dy = 2 (y - t)

    Unit: squared error per sample; with reduction "mean" it is the mean squared error.
    """
    predictions = check_shapes("squared_error", predictions, targets)
    if reduction == "none":
        difference = predictions - targets
        return difference * difference, difference
    total, difference = backend_of(predictions).squared_error(predictions, targets)
    return total * scale(difference.shape, reduction), difference


@squared_error.fused_vjp
def _(g, out, difference, wanted, predictions, targets, reduction="per_sample"):
    slope = (2.0 * (g * scale(difference.shape, reduction))) * difference
    return slope if 0 in wanted else None, -slope if 1 in wanted else None


def half_squared_error(predictions: T, targets: Operand, *, reduction: str = "per_sample") -> T:
    """Half the squared error, (y - t)**2 / 2.   dL/dy = y - t.   Unit: half squared error per sample."""
    return 0.5 * squared_error(predictions, targets, reduction=reduction)  # type: ignore[return-value]


# ---------------------------------------------------------------------------------------------------------------------
# Cross-entropies, in nats: Bernoulli from logits and from probabilities, and categorical from logits.
#
# Train with the form that takes logits. A probability is rounded to 0 or 1 long before its logit overflows; then its
# logarithm is infinite and the gradient vanishes.


def bce_with_logits_composed(logits: T, targets: Operand, *, reduction: str = "per_sample") -> T:
    """softplus(z) - t z, reduced: the definition of `bce_with_logits` in primitives."""
    return reduce(ops.softplus(logits) - targets * logits, reduction)


@primitive(composed=bce_with_logits_composed)
def bce_with_logits(logits: Array, targets: Operand, *, reduction: str = "per_sample") -> tuple[Array, Array]:
    """Bernoulli cross-entropy -t log p - (1 - t) log(1 - p) with p = sigmoid(z), from the logits z.   dL/dz = p - t

    dL/dt = -z. Computed as softplus(z) - t z, which is stable for every z. Targets t are in [0, 1]. Unit: nats per sample.
    For targets between 0 and 1, the minimum over p is not 0 but the entropy of t.
    """
    logits = check_shapes("bce_with_logits", logits, targets)
    backend, factor = backend_of(logits), scale(logits.shape, reduction)
    if reduction == "none":
        return backend.softplus(logits) - targets * logits, backend.sigmoid(logits) - targets
    return backend.bce_with_logits(logits, targets, factor)


@bce_with_logits.fused_vjp
def _(g, out, slope, wanted, logits, targets, reduction="per_sample"):
    slope = slope * g if reduction == "none" else backend_of(logits).scaled(slope, g)
    return (
        slope if 0 in wanted else None,
        -logits * (g * scale(logits.shape, reduction)) if 1 in wanted else None,
    )


def bce(probabilities: T, targets: Operand, *, reduction: str = "per_sample", eps: float = 1e-7) -> T:
    """Bernoulli cross-entropy -t log p - (1 - t) log(1 - p) from probabilities p.   dL/dp = (p - t) / (p (1 - p))

    p is clipped to [eps, 1 - eps], so that the loss of one element is at most -log(eps) (16.1 nats); the gradient of a
    clipped element is 0. If you have logits, use `bce_with_logits`, which does not clip. Unit: nats per sample.
    """
    probabilities = check_shapes("bce", probabilities, targets)
    eps = number("bce: eps", eps, above=0.0, below=0.5, advice="use e.g. 1e-7")
    if np.asarray(1.0 - eps, probabilities.dtype) == 1.0:
        raise ValueError(f"bce: eps {eps!r} is lost in {probabilities.dtype}, where 1 - eps is 1: use e.g. 1e-7.")
    p = ops.clip(probabilities, low=eps, high=1.0 - eps)
    return reduce(-(targets * ops.log(p) + (1.0 - targets) * ops.log1p(-p)), reduction)


def softmax_cross_entropy(logits: T, targets: Operand, *, reduction: str = "per_sample") -> T:
    """Categorical cross-entropy -log softmax(z)[t] from logits z (N, K).   dL/dz = softmax(z) - onehot(t)

    Targets: integer class labels (N,) from 0 to K - 1, or probabilities (N, K); an array, a Tensor or a list. The range of
    the labels is checked on the CPU only, since on a GPU it would force a wait. Unit: nats per sample.
    """
    targets = targets if hasattr(targets, "dtype") else np.asarray(targets)
    if logits.ndim != 2:
        raise ValueError(f"softmax_cross_entropy: logits must be (N, K), got shape {logits.shape}.")
    n = len(logits)
    logp = ops.log_softmax(logits, axis=1)
    if targets.dtype.kind in "iu":
        if targets.shape != (n,):
            raise ValueError(f"softmax_cross_entropy: class labels must have shape ({n},), got {targets.shape}.")
        labels = targets.data if isinstance(targets, Tensor) else targets
        _check_labels(labels, logits.shape[1])
        losses = -ops.getitem(logp, index=(backend_of(labels).xp.arange(n), labels))
    else:
        check_shapes("softmax_cross_entropy", logits, targets)
        impossible = ops.equal(logp, -math.inf) * ops.equal(targets, 0.0)  # 0 log 0 = 0
        losses = -ops.sum(targets * ops.where(impossible, 0.0, logp), axis=1)
    return reduce(losses, "mean" if reduction == "per_sample" else reduction)


def _check_labels(labels: Array, classes: int) -> None:
    """Raise ValueError unless NumPy labels are from 0 to classes - 1: as an index, -1 would select the last class."""
    if isinstance(labels, np.ndarray) and labels.size and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"softmax_cross_entropy: class labels must be from 0 to {classes - 1}, got {labels.min()} to {labels.max()}: "
            "number the classes from 0, or give logits for more classes."
        )


# ---------------------------------------------------------------------------------------------------------------------
# Robust losses, which are not dominated by a few large errors.


def absolute_error(predictions: T, targets: Operand, *, reduction: str = "per_sample") -> T:
    """Absolute error |y - t|.   dL/dy = sign(y - t), and 0 at 0.   Unit: absolute error per sample."""
    predictions = check_shapes("absolute_error", predictions, targets)
    return reduce(ops.absolute(predictions - targets), reduction)


def huber(predictions: T, targets: Operand, *, delta: float = 1.0, reduction: str = "per_sample") -> T:
    """Huber 1964: d**2 / 2 for |d| <= delta, else delta (|d| - delta / 2), with d = y - t.   dL/dy = clip(d, -delta, delta)

    Quadratic for small errors and linear for large ones. Unit: Huber error per sample.
    """
    delta = number("huber: delta", delta, above=0.0, advice="1.0 is usual")
    predictions = check_shapes("huber", predictions, targets)
    difference = predictions - targets
    near = ops.clip(difference, low=-delta, high=delta)
    return reduce(near * (difference - 0.5 * near), reduction)


# ---------------------------------------------------------------------------------------------------------------------
# Kullback-Leibler divergences, in nats: the expected extra code length when codes are encoded with the prior.


@primitive(elementwise=True)
def kl_to_unit_gaussian(mean: Array, log_variance: Operand) -> Array:
    """KL(N(m, v) || N(0, 1)) = (m**2 + v - 1 - log v) / 2 of each element, v = exp(log_variance).
    d/dm = m,   d/d log v = (v - 1) / 2

    v - 1 is computed as expm1(log v), which is accurate near v = 1, where the divergence is smallest.
    """
    xp = backend_of(mean).xp
    return 0.5 * (mean * mean + (xp.expm1(log_variance) - log_variance))


@kl_to_unit_gaussian.vjp(0)
def _(g, out, mean, log_variance):
    return g * mean


@kl_to_unit_gaussian.vjp(1)
def _(g, out, mean, log_variance):
    return g * (0.5 * ops.expm1(log_variance))


def gaussian_kl(mean: T, log_variance: T, *, reduction: str = "per_sample") -> T:
    """KL(N(m, diag v) || N(0, I)), m and log v both (N, K): Kingma and Welling 2014, appendix B.

    With "per_sample" it is summed over the K latent dimensions and averaged over the N samples, like a reconstruction term
    that is summed over pixels. Never negative; 0 only if every m is 0 and every v is 1. Unit: nats per sample.
    """
    mean = check_shapes("gaussian_kl", mean, log_variance)
    return reduce(kl_to_unit_gaussian(mean, as_floats(log_variance)), reduction)


# ---------------------------------------------------------------------------------------------------------------------
# Negative log-densities, in nats: the Gaussian and the continuous Bernoulli.
#
# Unlike a probability, a density can exceed 1, so these losses can be negative. Only differences between models of the
# same data on the same scale are meaningful.

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)

# A(z) - z/2 = log(sinh(z/2) / (z/2)) = sum over k of B_2k z^2k / (2k (2k)!), with the Bernoulli numbers B_2k.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43_867 / 798, -174_611 / 330)
_SERIES = [b / (2 * k * math.factorial(2 * k)) for k, b in enumerate(_BERNOULLI, 1)]
_SLOPES = [2 * k * c for k, c in enumerate(_SERIES, 1)]  # of the first derivative, after a factor z
_CURVES = [2 * k * (2 * k - 1) * c for k, c in enumerate(_SERIES, 1)]  # of the second
_NEAR = 1.0
"""Below this |z| the series is used, which is exact up to rounding (of the variance, the next term is 1e-16); above it the
closed form, which loses one digit of the variance at 1 and more closer to 0."""


def gaussian_nll(mean: T, log_scale: Operand, targets: Operand, *, reduction: str = "per_sample") -> T:
    """-log N(x; m, s**2) = (x - m)**2 / (2 s**2) + log s + log(2 pi) / 2, with s = exp(log_scale).
    d/dm = (m - x) / s**2,   d/d log s = 1 - (x - m)**2 / s**2

    log_scale is a Python number, an array of one number, or an array of the shape of the mean. Unit: nats per sample.
    """
    mean = check_shapes("gaussian_nll", mean, targets)
    known = isinstance(log_scale, Real)
    log_scale = number("gaussian_nll: log_scale", log_scale, above=-700.0) if known else as_floats(log_scale)
    inverse = math.exp(-log_scale) if known else ops.exp(-log_scale)
    z = (targets - mean) * inverse
    return reduce(0.5 * (z * z) + (log_scale + _HALF_LOG_TWO_PI), reduction)


@primitive(elementwise=True)
def continuous_bernoulli_log_norm(logits: Array) -> Array:
    """A(z) = log((exp(z) - 1) / z), A(0) = 0: the log of the integral of exp(z x) over x in [0, 1].   dA/dz = the mean

    Near 0, where the ratio tends to 0 / 0, the Taylor series is used. Source: Loaiza-Ganem and Cunningham 2019, section 3,
    whose log C(lambda) is log(1 + exp(z)) - A(z) with lambda = sigmoid(z).
    """
    xp = backend_of(logits).xp
    near, safe, size = _split(logits)
    far = xp.maximum(safe, 0.0) + xp.log1p(-xp.exp(-size)) - xp.log(size)
    square = logits * logits * near
    return xp.where(near, 0.5 * logits + square * _polynomial(square, _SERIES), far)


@continuous_bernoulli_log_norm.vjp(0)
def _(g, out, logits):
    return g * continuous_bernoulli_mean(logits)


@primitive(elementwise=True)
def continuous_bernoulli_mean(logits: Array) -> Array:
    """E[x] = 1 / (1 - exp(-z)) - 1/z for the density exp(z x - A(z)) on [0, 1]; 1/2 at z = 0.   d/dz = the variance

    It is closer to 1/2 than sigmoid(z), since the density is spread over the whole interval.
    """
    xp = backend_of(logits).xp
    near, safe, size = _split(logits)
    rest = -xp.expm1(-size)
    upper, lower = 1.0 / rest - 1.0 / size, 1.0 / size - xp.exp(-size) / rest
    slope = _polynomial(logits * logits * near, _SLOPES)
    return xp.where(near, 0.5 + logits * slope, xp.where(safe > 0, upper, lower))


@continuous_bernoulli_mean.vjp(0)
def _(g, out, logits):
    return g * continuous_bernoulli_variance(logits)


def continuous_bernoulli_variance(logits: T) -> T:
    """Var[x] = 1/z**2 - exp(-z) / (1 - exp(-z))**2; 1/12 at z = 0. Composed of primitives: differentiable to any order."""
    size = ops.absolute(logits)
    near = size < _NEAR
    safe = ops.where(near, 1.0, size)
    rest = -ops.expm1(-safe)
    far = 1.0 / (safe * safe) - ops.exp(-safe) / (rest * rest)
    return ops.where(near, _polynomial(ops.where(near, logits * logits, 0.0), _CURVES), far)


def continuous_bernoulli_nll(logits: T, targets: Operand, *, reduction: str = "per_sample") -> T:
    """-log p(x) = A(z) - x z, a normalized density of gray levels x in [0, 1].   d/dz = E[x] - x

    The Bernoulli cross-entropy, softplus(z) - x z, is not normalized over [0, 1]. Source: Loaiza-Ganem and Cunningham 2019.
    Unit: nats per sample.
    """
    logits = check_shapes("continuous_bernoulli_nll", logits, targets)
    return reduce(continuous_bernoulli_log_norm(logits) - targets * logits, reduction)


def _polynomial(square: T, coefficients: Sequence[float]) -> T:
    """c_1 + c_2 z^2 + c_3 z^4 + ..., by Horner's rule."""
    total = square * 0.0
    for coefficient in reversed(coefficients):
        total = coefficient + square * total
    return total


def _split(logits: Array) -> tuple[Array, Array, Array]:
    """A mask of z near 0; z with those elements replaced by 1; and the absolute value of that."""
    xp = backend_of(logits).xp
    near = xp.abs(logits) < _NEAR
    safe = xp.where(near, 1.0, logits)
    return near, safe, xp.abs(safe)


# ---------------------------------------------------------------------------------------------------------------------
# Penalties that make codes sparse and weights small, to be added to a reconstruction term.

_RHO_EPS = 1e-7
"""Mean activations are clipped this far from 0 and 1, where the divergence is infinite."""


def bernoulli_kl(code: T, *, rho: float) -> T:
    """Sum over the K units of KL(rho || rho_hat_j), with rho_hat_j = mean over the batch of code[:, j].

    KL(rho || r) = rho log(rho / r) + (1 - rho) log((1 - rho) / (1 - r)),   d/dr = (r - rho) / (r (1 - r))

    Codes (N, K) must be in [0, 1], e.g. outputs of a sigmoid. rho_hat is estimated from the batch: since KL is convex, the
    penalty of a small batch is larger on average than that of all data. Lee, Ekanadham and Ng 2008; Ng, CS294A lecture
    notes, section 3. Unit: nats.
    """
    rho = number("bernoulli_kl: rho", rho, above=0.0, below=1.0, advice="0.05 is usual")
    mean = ops.clip(ops.mean(code, axis=0), low=_RHO_EPS, high=1.0 - _RHO_EPS)
    active = rho * (math.log(rho) - ops.log(mean))
    silent = (1.0 - rho) * (math.log(1.0 - rho) - ops.log(1.0 - mean))
    return ops.sum(active + silent)


def l1(code: T) -> T:
    """sum_j |code_j| of codes (N, K), averaged over the samples.   d/dcode = sign(code) / N, and 0 at 0

    The gradient does not shrink as a code element approaches 0, so many become exactly 0 (Tibshirani 1996).
    """
    return reduce(ops.absolute(as_floats(code)), "per_sample")


def weight_decay(*weights: T) -> T:
    """Half the sum of the squares of all elements of `weights` (Krogh and Hertz 1991), usually without biases.   d/dw = w"""
    if not weights:
        raise ValueError("weight_decay got no weights: pass at least one.")
    total, *others = [ops.sum(ops.square(weight)) for weight in weights]
    for square in others:
        total = total + square
    return 0.5 * total
