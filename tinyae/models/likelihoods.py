"""Likelihoods: the distribution p(x|z) of a sample that the decoder's output parameterizes.

Each class has the log-probability of a sample (summed over its elements, in nats), the mean, and draws. The sum matters:
averaged over pixels, the reconstruction would weigh 784 times less against the KL of the code, and the loss would no longer
be a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae import losses, ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.checks import checked, choose
from tinyae.models.autoencoder import Reconstruction
from tinyae.nn import Module, Parameter


class Likelihood(Module):
    """Base: p(x|z) of a sample x (N, ...) given the decoder's output. A subclass defines `outputs`, `nats`, `mean`, `sample`.

    All take Tensors or arrays on one device and return the same type.
    """

    name = ""
    """As users write it, `likelihood="bernoulli"`."""
    meaning = ""
    """What its nats measure, for the report."""
    outputs: int
    """Decoder outputs per element. With 2 the last axis of the output is twice that of x."""
    low, high = -math.inf, math.inf
    """The range of x."""

    def nats(self, output: Any, x: Any, *, reduction: str = "per_sample") -> Any:
        """-log p(x|z), reduced as `tinyae.losses` does: by default summed over elements, averaged over samples."""
        raise NotImplementedError(f"{type(self).__name__} has no nats: define it in the class.")

    def log_prob(self, output: Any, x: Any) -> Any:
        """log p(x|z) of each sample (N,), in nats, summed over the sample's elements."""
        elements = self.nats(output, x, reduction="none")
        return -ops.sum(elements, axis=tuple(range(1, elements.ndim)))

    def mean(self, output: Any) -> Any:
        """E[x|z], of x's shape: the reconstruction."""
        raise NotImplementedError(f"{type(self).__name__} has no mean: define it in the class.")

    def sample(self, output: Any, generator: np.random.Generator | None = None) -> Any:
        """A draw x ~ p(x|z) as a raw array; unlike the mean it has pixel noise."""
        raise NotImplementedError(f"{type(self).__name__} has no sample: define it in the class.")

    def forward(self, output: Any) -> Any:
        """The mean."""
        return self.mean(output)

    def check_targets(self, x: np.ndarray) -> None:
        """Raise ValueError, before training, for values outside the support of this likelihood."""
        if x.size and not (x.min() >= self.low and x.max() <= self.high):
            raise ValueError(
                f"likelihood {self.name!r} needs values in [{self.low:g}, {self.high:g}], got values from "
                f"{x.min():g} to {x.max():g}: scale the data (e.g. divide by its maximum), or use likelihood='gaussian'."
            )

    def as_reconstruction(self) -> Reconstruction:
        """The same as a reconstruction loss for `Autoencoder`."""
        return _Row(self.name, self.nats, self.mean, "nats", math.isfinite(self.high), self.check_targets)


@dataclass(frozen=True)
class _Row(Reconstruction):
    """A reconstruction loss that checks targets as its likelihood does."""

    check: Callable[[np.ndarray], None]

    def check_targets(self, targets: np.ndarray) -> None:
        self.check(targets)


class Bernoulli(Likelihood):
    """x is 0 or 1:   log p(x|z) = x log p + (1 - x) log(1 - p),   p = sigmoid(output).

    For black-and-white images only; for gray levels see `GrayLevelCrossEntropy`.
    """

    name = "bernoulli"
    meaning = "log-probability of black-and-white images"
    outputs = 1
    low, high = 0.0, 1.0

    def nats(self, output: Any, x: Any, *, reduction: str = "per_sample") -> Any:
        """`losses.bce_with_logits`."""
        return losses.bce_with_logits(output, x, reduction=reduction)

    def mean(self, output: Any) -> Any:
        """The probability of a 1."""
        return ops.sigmoid(output)

    def sample(self, output: Any, generator: np.random.Generator | None = None) -> Any:
        """Zeros and ones."""
        return binarized(backend_of(_raw(output)).sigmoid(_raw(output)), as_generator(generator))

    def check_targets(self, x: np.ndarray) -> None:
        """Only 0 and 1."""
        super().check_targets(x)
        gray = (x != 0) & (x != 1)
        if gray.any():
            raise ValueError(
                f"likelihood 'bernoulli' needs black-and-white images, got {gray.mean():.0%} of the values between 0 and 1: "
                "binarize them (binarize='dynamic'), or use 'continuous-bernoulli', a density of gray levels, or "
                "'gray-bce', which is not a likelihood but often used."
            )


class GrayLevelCrossEntropy(Bernoulli):
    """The cross-entropy x log p + (1 - x) log(1 - p) with gray levels x in [0, 1]: a loss, not a log-likelihood.

    Most published VAE code uses it. The "probabilities" exp(...) of all gray levels do not sum to 1, and even a perfect
    reconstruction has a loss above 0, the entropy of the gray levels. So its bound can only be compared with bounds of
    other runs with this loss.
    """

    name = "gray-bce"
    meaning = "cross-entropy of gray levels, not a log-likelihood: compare it with gray-bce only"

    def check_targets(self, x: np.ndarray) -> None:
        """Any values in [0, 1]."""
        Likelihood.check_targets(self, x)


class ContinuousBernoulli(Likelihood):
    """x in [0, 1] with the density C(l) l^x (1 - l)^(1 - x), l = sigmoid(output): a density of gray levels.

    The cross-entropy with its missing normalizing factor C (Loaiza-Ganem and Cunningham 2019). C is above 1, so the nats are
    lower than those of "gray-bce", often below 0.
    """

    name = "continuous-bernoulli"
    meaning = "log-density of gray levels in [0, 1]"
    outputs = 1
    low, high = 0.0, 1.0

    def nats(self, output: Any, x: Any, *, reduction: str = "per_sample") -> Any:
        """`losses.continuous_bernoulli_nll`."""
        return losses.continuous_bernoulli_nll(output, x, reduction=reduction)

    def mean(self, output: Any) -> Any:
        """`losses.continuous_bernoulli_mean`, closer to 1/2 than the sigmoid."""
        return losses.continuous_bernoulli_mean(output)

    def sample(self, output: Any, generator: np.random.Generator | None = None) -> Any:
        """By inverting the distribution function: x = log(1 + u (exp(z) - 1)) / z with u uniform."""
        z = _raw(output)
        backend = backend_of(z)
        xp = backend.xp
        u = backend.uniform(as_generator(generator), z.shape, z.dtype)
        size = xp.maximum(xp.abs(z), 1e-3)  # at 1e-3 the draw is u to four digits, and the formula still stable
        low = -xp.log1p(u * xp.expm1(-size)) / size
        return xp.clip(xp.where(z > 0, 1.0 - low, low), 0.0, 1.0)


class Gaussian(Likelihood):
    """x real with log p(x|z) = log N(x; output, scale**2), one fixed scale for all elements.

    The scale weights the pixels: at 1, a squared error of 2 costs one nat. For pixels in [0, 1] a scale of 1 hides the image
    in noise, and the posterior collapses; 0.1 is a tenth of the range.

    Args:
        scale: the standard deviation, in the unit of x.
    """

    name = "gaussian"
    meaning = "log-density with a fixed scale"
    outputs = 1

    @checked
    def __init__(self, scale: float = 0.1) -> None:
        if not 0 < scale < math.inf:
            raise ValueError(f"Gaussian: scale must be above 0 and finite, got {scale!r}: write e.g. scale=0.1.")
        self.scale = float(scale)

    def split(self, output: Any) -> tuple[Any, Any]:
        """Mean and log of the scale."""
        return output, math.log(self.scale)

    def nats(self, output: Any, x: Any, *, reduction: str = "per_sample") -> Any:
        """`losses.gaussian_nll`."""
        return losses.gaussian_nll(*self.split(output), x, reduction=reduction)

    def mean(self, output: Any) -> Any:
        """The decoder's output, or the half of it that is the mean."""
        return self.split(output)[0]

    def sample(self, output: Any, generator: np.random.Generator | None = None) -> Any:
        """mean + scale * noise."""
        mean, log_scale = self.split(_raw(output))
        backend = backend_of(mean)
        noise = backend.normal(as_generator(generator), mean.shape, mean.dtype)
        noise *= math.exp(log_scale) if isinstance(log_scale, float) else backend.xp.exp(log_scale)
        return mean + noise


class ScaledGaussian(Gaussian):
    """A Gaussian with one learned scale; its optimum is the root mean squared error.

    Args:
        scale: the initial value, above the floor and below 1000.
        floor: the smallest scale. A density is unbounded: if a reconstruction can be perfect, the scale would go to 0 and
            the nats to minus infinity.

    Attributes:
        log_scale: Parameter (1,), clipped softly by `split` to the log of the scale.
    """

    name = "gaussian-scalar"
    meaning = "log-density with one learned scale"
    ceiling = 1e3

    @checked
    def __init__(self, scale: float = 0.1, floor: float = 0.01) -> None:
        super().__init__(scale)
        self.floor = _check_floor(floor)
        if not self.floor < self.scale < self.ceiling:
            raise ValueError(
                f"{self.name}: the initial scale must lie between the floor {self.floor:g} and {self.ceiling:g}, got "
                f"{scale!r}: choose it in between, or lower the floor."
            )
        first = inverse_soft_clip(math.log(self.scale), math.log(self.floor), math.log(self.ceiling))
        self.log_scale = Parameter(np.full(1, first, np.float32))

    def split(self, output: Any) -> tuple[Any, Any]:
        """Mean and log of the scale (1,)."""
        raw = self.log_scale if isinstance(output, Tensor) else self.log_scale.data
        return output, soft_clip(raw, math.log(self.floor), math.log(self.ceiling))


class ElementGaussian(Gaussian):
    """A Gaussian with mean and scale for each element from the decoder, the last axis of whose output is twice that of x.

    Args:
        floor: the smallest scale, see `ScaledGaussian`. Constant elements (the border of MNIST) reach it, so the nats
            depend on it: report it with them.
    """

    name = "gaussian-element"
    meaning = "log-density with a learned scale per element"
    outputs = 2

    @checked
    def __init__(self, floor: float = 0.01) -> None:
        super().__init__(1.0)
        self.floor = _check_floor(floor)

    def split(self, output: Any) -> tuple[Any, Any]:
        """Mean and log of the scale, both of x's shape."""
        half = output.shape[-1] // 2
        mean = ops.getitem(output, index=(..., slice(0, half)))
        raw = ops.getitem(output, index=(..., slice(half, None)))
        return mean, soft_clip(raw, math.log(self.floor), math.log(ScaledGaussian.ceiling))


LIKELIHOODS: dict[str, type[Likelihood]] = {
    kind.name: kind
    for kind in (GrayLevelCrossEntropy, Bernoulli, ContinuousBernoulli, Gaussian, ScaledGaussian, ElementGaussian)
}
"""The likelihoods by name."""


def likelihood_named(name: str, *, scale: float | None = None) -> Likelihood:
    """Make a likelihood by name; raises ValueError with the known names.

    `scale`: of "gaussian", or the initial one of "gaussian-scalar", in the unit of the data; None for 0.1.
    """
    kind = LIKELIHOODS[choose("likelihood", name, LIKELIHOODS)]
    if scale is None:
        return kind()
    if name not in ("gaussian", "gaussian-scalar"):
        raise ValueError(f"likelihood {name!r} has no scale, got scale={scale!r}: leave it out, or use 'gaussian'.")
    return kind(scale=scale)  # type: ignore[call-arg]


def _check_floor(floor: float) -> float:
    if not 0 < floor < 1e3:
        raise ValueError(f"floor must be a scale between 0 and 1000, got {floor!r}: write e.g. floor=0.01.")
    return float(floor)


def _raw(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


# ---------------------------------------------------------------------------------------------------------------------
# Soft clipping: a bounded range without a vanishing gradient.


def soft_clip(raw: Any, low: float, high: float) -> Any:
    """A smooth form of clip: close to `raw` well inside (low, high), never outside it (up to rounding).

    y = low + softplus(high - low - softplus(high - raw)),   dy/draw = product of two sigmoids

    The gradient of a hard clip is 0 beyond the ends, so a value there never returns. This gradient rounds to 0 only at a
    distance of 100 beyond an end in float32. At a distance d inside, y differs from `raw` by less than exp(-d): 5e-5 at
    d = 10.
    """
    return low + ops.softplus((high - low) - ops.softplus(high - raw))


def inverse_soft_clip(kept: float, low: float, high: float) -> float:
    """The inverse of `soft_clip`: the `raw` that it maps to `kept`, which is inside (low, high)."""
    return high - _inverse_softplus((high - low) - _inverse_softplus(kept - low))


def _inverse_softplus(y: float) -> float:
    """log(exp(y) - 1), y > 0."""
    return y + math.log(-math.expm1(-y))


# ---------------------------------------------------------------------------------------------------------------------
# Binarization: how MNIST becomes data for a Bernoulli likelihood.
#
# There are two conventions, and their results differ by several nats, so state which one a result uses. "dynamic": a pixel
# of gray level x is white with probability x, drawn at random each time an image is used (Burda et al. 2016 and most since).
# "fixed": drawn once for the whole set. The standard fixed set (Larochelle and Murray 2011) is a file; ours is drawn from a
# fixed seed, so results are close to but not the same as with that file.

BINARIZATIONS = ("none", "dynamic", "fixed")
_FIXED_SEED = 2011


def binarized(x: Array, generator: np.random.Generator) -> Array:
    """1 with probability x, else 0, of x's shape, dtype and device."""
    return (backend_of(x).uniform(generator, x.shape, x.dtype) < x).astype(x.dtype)


def fixed_binarization(x: Array) -> Array:
    """The fixed draw for a set x (N, ...): the same on every device and at every call for the first N samples of a set."""
    backend = backend_of(x)
    generator = np.random.default_rng(_FIXED_SEED)
    return (backend.to_device(generator.random(x.shape, dtype=np.float32)) < x).astype(x.dtype)


def check_binarize(binarize: str, likelihood: Likelihood) -> str:
    """Return the name; raises ValueError for an unknown one, or a likelihood other than "bernoulli"."""
    if choose("binarize", binarize, BINARIZATIONS) != "none" and likelihood.name != "bernoulli":
        raise ValueError(
            f"binarize={binarize!r} needs likelihood 'bernoulli', the one for black-and-white images, "
            f"got {likelihood.name!r}: write likelihood='bernoulli'."
        )
    return binarize
