"""Stochastic layers: the corruptions of a denoising autoencoder, and dropout."""

from __future__ import annotations

import numpy as np

from tinyae import ops
from tinyae.autodiff import T, Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.checks import choose, number
from tinyae.nn.layers import check_floats
from tinyae.nn.module import Module

# ---------------------------------------------------------------------------------------------------------------------
# Noise layers: they corrupt their input, and the network learns to undo it.
#
# The three corruptions of Vincent et al. (2010, section 3.3). In training mode the noise is drawn anew in every call; in
# evaluation mode the layers are the identity.


class Noise(Module):
    """Base class of the noise layers. A subclass defines `damage`.

    Args:
        generator: the `numpy.random.Generator` to draw from; None seeds one from fresh entropy (not repeatable).
        level: the strength of the noise; at 0 nothing is drawn or changed.

    Attributes:
        generator: the generator; a checkpoint stores its state so that a resumed run draws the same numbers.
    """

    touches_every_element = False
    """Whether all elements are corrupted, so that corrupted and clean ones cannot be weighted differently."""

    def __init__(self, generator: np.random.Generator | None = None, level: float = 1.0) -> None:
        self.generator = as_generator(generator)
        self.level = number(f"{type(self).__name__}: level", level, at_least=0.0)

    def damage(self, x: T, values: Array, generator: np.random.Generator) -> tuple[T, Array]:
        """Corrupted x and the mask, both of x's shape; `values` is the array of x, and the level is not 0."""
        raise NotImplementedError(f"{type(self).__name__} has no damage: define damage(x, values, generator) in it.")

    def forward(self, x: Tensor) -> Tensor:
        """x with new noise in training mode, x itself in evaluation mode; any shape."""
        check_floats(self, x)
        return self.corrupt(x) if self.training else x

    def corrupt(self, x: T, generator: np.random.Generator | None = None) -> T:
        """x with new noise in either mode: a Tensor for a Tensor, an array for an array (on any device).

        A `generator` replaces the layer's, so that a measurement does not change what training draws next.
        """
        return self.corrupt_with_mask(x, generator)[0]

    def corrupt_with_mask(self, x: T, generator: np.random.Generator | None = None) -> tuple[T, Array]:
        """As `corrupt`, with the mask: an array of x's shape and dtype, 1 for corrupted elements, 0 elsewhere.

        An element that was selected counts as corrupted even if its value happens not to change (a 0 that is masked).
        """
        values = x.data if isinstance(x, Tensor) else x
        if getattr(getattr(values, "dtype", None), "kind", "") != "f":
            check_floats(self, x)
        if self.level == 0.0:
            return x, backend_of(values).xp.zeros_like(values)
        return self.damage(x, values, self.generator if generator is None else as_generator(generator))


class MaskingNoise(Noise):
    """Masking noise: y = x * (1 - m) with m = 1 with probability `rate` for each element, else 0.   dL/dx = dL/dy (1 - m)

    A masked element is 0. Unlike in `Dropout`, the others are not rescaled: the network has to fill in missing values, and
    no mean has to be preserved. Source: Vincent et al. 2008, section 2.3, who mask a fixed number of elements; here each
    element is masked independently, so that their number varies around rate * D.

    Args:
        rate: the probability of an element to be masked, in [0, 1).
        generator: see `Noise`.
    """

    def __init__(self, rate: float, generator: np.random.Generator | None = None) -> None:
        self.rate = _check_rate("MaskingNoise", rate)
        super().__init__(generator, self.rate)

    def damage(self, x: T, values: Array, generator: np.random.Generator) -> tuple[T, Array]:
        """The noisy x, and m."""
        kept = (_uniform(values, generator) >= self.rate).astype(values.dtype)
        return ops.multiply(x, kept), 1.0 - kept


class GaussianNoise(Noise):
    """Additive Gaussian noise: y = x + std * e with e ~ N(0, 1) for each element.   dL/dx = dL/dy

    For unbounded values: y may leave the range of x. Every element is corrupted, so the mask is all ones (all zeros at
    std 0).

    Args:
        std: standard deviation in the units of x, at least 0.
        generator: see `Noise`.
    """

    def __init__(self, std: float, generator: np.random.Generator | None = None) -> None:
        self.std = number("GaussianNoise: std", std, at_least=0.0, advice="0.3 is a usual value for x in [0, 1]")
        super().__init__(generator, self.std)
        self.touches_every_element = True

    def damage(self, x: T, values: Array, generator: np.random.Generator) -> tuple[T, Array]:
        """The noisy x, and a mask of ones."""
        backend = backend_of(values)
        noise = backend.normal(generator, values.shape, values.dtype)
        noise *= self.std
        return ops.add(x, noise), backend.xp.ones_like(values)


class SaltAndPepperNoise(Noise):
    """Salt-and-pepper noise: with probability `rate` an element becomes `low` or `high`, each equally likely.
    dL/dx = dL/dy for the other elements, 0 for these.

    Args:
        rate: the probability of an element to be replaced, in [0, 1).
        low: the value of pepper, the smallest of the data.
        high: the value of salt, the largest.
        generator: see `Noise`.
    """

    def __init__(
        self, rate: float, low: float = 0.0, high: float = 1.0, generator: np.random.Generator | None = None
    ) -> None:
        self.rate = _check_rate("SaltAndPepperNoise", rate)
        super().__init__(generator, self.rate)
        advice = "low and high are the smallest and the largest value of the data"
        self.low = number("SaltAndPepperNoise: low", low, advice=advice)
        self.high = number("SaltAndPepperNoise: high", high, above=self.low, advice=advice)

    def damage(self, x: T, values: Array, generator: np.random.Generator) -> tuple[T, Array]:
        """The noisy x, and the mask of replaced elements."""
        draws = _uniform(values, generator)
        hit = draws < self.rate
        # One draw decides: pepper if it is below rate / 2, salt if it is between rate / 2 and rate.
        grains = (draws >= 0.5 * self.rate).astype(values.dtype)
        grains *= self.high - self.low
        grains += self.low
        return ops.where(hit, grains, x), hit.astype(values.dtype)


NOISES: dict[str, type[MaskingNoise] | type[GaussianNoise] | type[SaltAndPepperNoise]] = {
    "masking": MaskingNoise,
    "gaussian": GaussianNoise,
    "salt-and-pepper": SaltAndPepperNoise,
}
"""The noise layers by corruption name."""


def noise_named(corruption: str, level: float, generator: np.random.Generator | None = None) -> Noise:
    """The noise layer of that name; `level` is the rate of "masking" and "salt-and-pepper", and the std of "gaussian"."""
    return NOISES[choose("corruption", corruption, NOISES)](level, generator=generator)


def _uniform(like: Array, generator: np.random.Generator) -> Array:
    """Uniform draws in [0, 1), one for each element."""
    return backend_of(like).uniform(generator, like.shape, like.dtype)


def _check_rate(owner: str, rate: float) -> float:
    return number(f"{owner}: rate", rate, at_least=0.0, below=1.0, advice="0.25 affects a fourth of the elements")


# ---------------------------------------------------------------------------------------------------------------------
# `Dropout`: sets random units to zero.


class Dropout(Module):
    """Inverted dropout (Srivastava et al. 2014): y = x * m / (1 - rate) with m = 0 with probability `rate`, else 1.

    A new mask is drawn in every call in training mode. The division keeps E[y] = x, so evaluation mode is the identity.
    dL/dx = dL/dy * m / (1 - rate).

    Args:
        rate: the probability of an element to be set to 0, in [0, 1).
        generator: see `Noise`.
    """

    def __init__(self, rate: float, generator: np.random.Generator | None = None) -> None:
        self.rate = _check_rate("Dropout", rate)
        self.generator = as_generator(generator)

    def forward(self, x: Tensor) -> Tensor:
        """x times a new mask in training mode, x itself in evaluation mode or at rate 0; any shape."""
        check_floats(self, x)
        if not self.training or self.rate == 0.0:
            return x
        mask = (_uniform(x.data, self.generator) >= self.rate).astype(x.dtype)
        mask *= 1.0 / (1.0 - self.rate)
        return ops.multiply(x, mask)
