"""Layers that draw random numbers: the corruptions of a denoising autoencoder, and dropout."""

from __future__ import annotations

import math

import numpy as np

from tinyae import ops
from tinyae.autodiff import T, Tensor
from tinyae.backend import Array, as_generator, backend_of
from tinyae.checks import choose
from tinyae.nn.layers import check_floats
from tinyae.nn.module import Module

"""A Tensor, or an array of any device: what comes back is what was given."""

# ---------------------------------------------------------------------------------------------------------------------
# Noise layers: they damage what passes through, so that a network learns to repair it.
#
# The three corruptions of Vincent et al. (2010, section 3.3). Each is drawn anew at every call in training mode, from a
# generator that is handed in, and is the identity in evaluation mode. `corrupt` damages whatever the mode, for
# measurements and pictures, and `corrupt_with_mask` also says which elements it hit.


class Noise(Module):
    """Base of the noise layers: forward, modes and the generator. A subclass defines `damage`.

    Args:
        generator: the `numpy.random.Generator` to draw from; None draws from fresh entropy (not repeatable).
        level: how strong the noise is; at 0 nothing is drawn or changed.

    Attributes:
        generator: the generator, whose state a checkpoint needs for repeating a run.
    """

    touches_every_element = False
    """Whether no element is spared, which leaves nothing to tell the damaged ones from."""

    def __init__(self, generator: np.random.Generator | None = None, level: float = 1.0) -> None:
        self.generator = as_generator(generator)
        self.level = level

    def damage(self, x: T, values: Array, generator: np.random.Generator) -> tuple[T, Array]:
        """y and the mask, both of x's shape; `values` is the array of x, and the level is not 0."""
        raise NotImplementedError(f"{type(self).__name__} has no damage: define it in the class.")

    def forward(self, x: Tensor) -> Tensor:
        """x with fresh noise in training mode, x itself in evaluation mode; any shape."""
        check_floats(self, x)
        return self.corrupt(x) if self.training else x

    def corrupt(self, x: T, generator: np.random.Generator | None = None) -> T:
        """x with fresh noise, whatever the mode: Tensor in, Tensor out; array in, array out (of any device).

        `generator` is drawn from in place of the layer's own, so that a measurement does not change what training
        draws next.
        """
        return self.corrupt_with_mask(x, generator)[0]

    def corrupt_with_mask(self, x: T, generator: np.random.Generator | None = None) -> tuple[T, Array]:
        """As `corrupt`, with the mask: an array of x's shape and dtype, 1 where the noise hit, 0 elsewhere.

        An element counts as hit if it was chosen, also where the noise happens to leave its value as it was (a 0 that
        is masked).
        """
        values = x.data if isinstance(x, Tensor) else x
        if getattr(getattr(values, "dtype", None), "kind", "") != "f":
            check_floats(self, x)
        if self.level == 0.0:
            return x, backend_of(values).xp.zeros_like(values)
        return self.damage(x, values, self.generator if generator is None else as_generator(generator))


class MaskingNoise(Noise):
    """Masking noise: y = x * (1 - m) with m = 1 with probability `rate` for each element, else 0.   dL/dx = dL/dy (1 - m)

    A masked element is 0, which for an image means: missing. Nothing is rescaled, unlike `Dropout`: the network is
    to fill the gaps, not to keep a mean. Source: Vincent et al. 2008, section 2.3 (there a fixed number of elements,
    here each by its own coin, so their number varies around rate * D).

    Args:
        rate: the expected share of masked elements, in [0, 1).
        generator: see `Noise`.
    """

    def __init__(self, rate: float, generator: np.random.Generator | None = None) -> None:
        self.rate = _check_rate("MaskingNoise", rate)
        super().__init__(generator, self.rate)

    def damage(self, x: T, values: Array, generator: np.random.Generator) -> tuple[T, Array]:
        """y and m."""
        kept = (_uniform(values, generator) >= self.rate).astype(values.dtype)
        return ops.multiply(x, kept), 1.0 - kept


class GaussianNoise(Noise):
    """Additive Gaussian noise: y = x + std * e with e ~ N(0, 1) for each element.   dL/dx = dL/dy

    The noise for values without bounds; y may leave the range of x. No element is spared, so the mask is all ones
    (all zeros at std 0).

    Args:
        std: standard deviation in the unit of x, at least 0.
        generator: see `Noise`.
    """

    def __init__(self, std: float, generator: np.random.Generator | None = None) -> None:
        if not 0.0 <= _number("GaussianNoise", "std", std) < math.inf:
            raise ValueError(
                f"GaussianNoise: std must be at least 0 and finite, got {std!r}: 0.3 is a usual value for x in [0, 1]."
            )
        self.std = float(std)
        super().__init__(generator, self.std)
        self.touches_every_element = True

    def damage(self, x: T, values: Array, generator: np.random.Generator) -> tuple[T, Array]:
        """y and a mask of ones."""
        backend = backend_of(values)
        noise = backend.normal(generator, values.shape, values.dtype)
        noise *= self.std
        return ops.add(x, noise), backend.xp.ones_like(values)


class SaltAndPepperNoise(Noise):
    """Salt-and-pepper noise: with probability `rate` an element becomes `low` or `high`, by a fair coin; else y = x.
    dL/dx = dL/dy where x was spared, else 0.

    Args:
        rate: the expected share of replaced elements, in [0, 1).
        low: the value of pepper, the smallest of the data.
        high: the value of salt, the largest.
        generator: see `Noise`.
    """

    def __init__(
        self, rate: float, low: float = 0.0, high: float = 1.0, generator: np.random.Generator | None = None
    ) -> None:
        self.rate = _check_rate("SaltAndPepperNoise", rate)
        super().__init__(generator, self.rate)
        ends = [_number("SaltAndPepperNoise", name, value) for name, value in (("low", low), ("high", high))]
        if not -math.inf < ends[0] < ends[1] < math.inf:
            raise ValueError(
                f"SaltAndPepperNoise: low must be below high and both finite, got low={low!r}, high={high!r}: "
                "give the smallest and the largest value of the data."
            )
        self.low, self.high = ends

    def damage(self, x: T, values: Array, generator: np.random.Generator) -> tuple[T, Array]:
        """y and the mask of replaced elements."""
        draws = _uniform(values, generator)
        hit = draws < self.rate
        # One draw decides both: below rate / 2 it is pepper, from there to rate it is salt.
        grains = (draws >= 0.5 * self.rate).astype(values.dtype)
        grains *= self.high - self.low
        grains += self.low
        return ops.where(hit, grains, x), hit.astype(values.dtype)


NOISES: dict[str, type[MaskingNoise] | type[GaussianNoise] | type[SaltAndPepperNoise]] = {
    "masking": MaskingNoise,
    "gaussian": GaussianNoise,
    "salt-and-pepper": SaltAndPepperNoise,
}
"""The noise layers by the name of their corruption."""


def noise_named(corruption: str, level: float, generator: np.random.Generator | None = None) -> Noise:
    """The noise layer of a corruption: `level` is the rate of "masking" and "salt-and-pepper", the std of "gaussian"."""
    choose("corruption", corruption, NOISES)
    return NOISES[corruption](level, generator=generator)


def _uniform(like: Array, generator: np.random.Generator) -> Array:
    """Draws in [0, 1), one for each element."""
    return backend_of(like).uniform(generator, like.shape, like.dtype)


def _check_rate(owner: str, rate: float) -> float:
    if not 0.0 <= _number(owner, "rate", rate) < 1.0:
        raise ValueError(f"{owner}: rate must be in [0, 1), got {rate!r}: 0.25 hits every fourth element.")
    return float(rate)


def _number(owner: str, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{owner}: {name} must be a number, got {value!r}: write e.g. {name}=0.25.")
    return float(value)


# ---------------------------------------------------------------------------------------------------------------------
# `Dropout`: noise that switches units off.


class Dropout(Module):
    """Inverted dropout (Srivastava et al. 2014): y = x * m / (1 - rate) with m = 0 with probability `rate`, else 1.

    The mask is drawn anew at every call in training mode. The division keeps E[y] = x, so evaluation mode is
    the identity. dL/dx = dL/dy * m / (1 - rate).

    Args:
        rate: the share of entries set to 0, in [0, 1).
        generator: the `numpy.random.Generator` to draw from; None draws from fresh entropy (not repeatable).

    Attributes:
        generator: the generator, whose state a checkpoint needs for repeating a run.
    """

    def __init__(self, rate: float, generator: np.random.Generator | None = None) -> None:
        self.rate = _check_rate("Dropout", rate)
        self.generator = as_generator(generator)

    def forward(self, x: Tensor) -> Tensor:
        """x with a fresh mask in training mode, x itself in evaluation mode or at rate 0; any shape."""
        check_floats(self, x)
        if not self.training or self.rate == 0.0:
            return x
        mask = (_uniform(x.data, self.generator) >= self.rate).astype(x.dtype)
        mask *= 1.0 / (1.0 - self.rate)
        return ops.multiply(x, mask)
