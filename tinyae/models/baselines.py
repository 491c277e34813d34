"""Baselines: the mean, the last value repeated, linear codes (PCA); and a test of whether a decoder uses the code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tinyae.checks import checked, whole_number
from tinyae.data import padding
from tinyae.data.dataset import as_samples
from tinyae.data.source import LazyRows, pieces

# ---------------------------------------------------------------------------------------------------------------------
# Baselines for sequences, and a test of whether a decoder uses the code at all.
#
# Three predictions need almost no training: the mean sequence, the last value repeated, and as many principal components as
# the model's code has dimensions. A recurrent decoder may output the same smooth average whatever the code is. Given the
# code of another sequence, a decoder that uses the code gets much worse.

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]


class Codec(Protocol):
    """Any object with `encode` to codes (N, ...) and `decode` back, from host arrays to host arrays."""

    def encode(self, x: Values) -> Values:
        """Codes of samples."""

    def decode(self, code: Values) -> Values:
        """Samples from codes."""


def mean_sequence(x: Values, lengths: Values | None = None) -> Floats:
    """The mean (T, D) of sequences (N, T, D): at each step over the sequences that have it, 0 if none has."""
    if lengths is None:
        return x.mean(axis=0, dtype=np.float64)
    real = ~padding(lengths, x.shape[1])[..., None]
    total: Floats = np.where(real, x, 0.0).sum(axis=0, dtype=np.float64)
    return total / np.maximum(real.sum(axis=0), 1)


def copy_last(seen: Values, steps: int, lengths: Values | None = None) -> Values:
    """The last step of each sequence (N, T, D), repeated: (N, steps, D). It predicts that nothing changes."""
    ends = np.full(len(seen), seen.shape[1]) if lengths is None else lengths
    return np.repeat(seen[np.arange(len(seen)), ends - 1][:, None], steps, axis=1)


def split_future(x: Values, steps: int, lengths: Values | None = None) -> tuple[Values, Values | None, Values]:
    """Splits windows (N, T, D) into what is seen (N, T - steps, D), its lengths (N,), and the last `steps` steps of each.

    Raises ValueError if a sequence has no more than `steps` steps.
    """
    if lengths is None:
        return x[:, : x.shape[1] - steps], None, x[:, x.shape[1] - steps :]
    if steps and lengths.min() <= steps:
        raise ValueError(
            f"sequences must have more than {steps} steps to split off, got {lengths.min()}: predict fewer."
        )
    ends = lengths - steps
    future = x[np.arange(len(x))[:, None], ends[:, None] + np.arange(steps)]
    seen = x[:, : x.shape[1] - steps]
    return np.where(padding(ends, seen.shape[1])[..., None], 0.0, seen).astype(x.dtype), ends, future


def linear_prediction(seen: Values, future: Values, code_size: int) -> Callable[[Values], Values]:
    """The best linear prediction of the future from `code_size` principal components of what was seen.

    seen (N, T, D) and future (N, S, D) are training sequences; the function returned maps others (M, T, D) to (M, S, D).
    This is principal component regression: least squares on the components.
    """
    pca = PCA(code_size).fit(seen)

    def columns(x: Values) -> Values:
        return np.column_stack([pca.encode(x), np.ones(len(x))])

    weights = np.linalg.lstsq(columns(seen), future.reshape(len(future), -1).astype(np.float64), rcond=None)[0]
    return lambda x: (columns(x) @ weights).reshape(len(x), *future.shape[1:])


def sequence_errors(x: Values, prediction: Values, lengths: Values | None = None) -> Floats:
    """Squared error of each sequence x (N, T, D), (N,): summed over its steps and features, without padding.

    prediction: (N, T, D), or (T, D) for all sequences.
    """
    return _sums(np.square(np.asarray(prediction, np.float64) - x), lengths)


def sequence_nats(x: Values, prediction: Values, lengths: Values | None = None, least: float = 1e-7) -> Floats:
    """Bernoulli cross-entropy of each sequence x (N, T, D) in [0, 1], in nats, (N,); probabilities are clipped to `least`.

    With prediction = x it is the entropy of the values, a lower bound for every prediction: a gray pixel of 0.5 costs log 2
    even if it is known. It is 0 for black and white pixels.
    """
    p = np.clip(np.broadcast_to(np.asarray(prediction, np.float64), x.shape), least, 1.0 - least)
    return _sums(-(x * np.log(p) + (1.0 - x) * np.log1p(-p)), lengths)


def _sums(values: Floats, lengths: Values | None) -> Floats:
    """Sums (N,) of values (N, T, D) over steps and features, without padding."""
    if lengths is not None:
        values = np.where(padding(lengths, values.shape[1])[..., None], 0.0, values)
    return values.reshape(len(values), -1).sum(axis=1)


def blend_weight(copies: Values, mean: Values, truth: Values) -> float:
    """The weight a for which a * copies + (1 - a) * mean, (N, S, D), has the least cross-entropy to `truth`.

    A copied black pixel that turns white would cost infinitely many nats, so values in [0, 1] are blended with the mean. The
    weight, from 0.01 to 0.99 in hundredths, is fitted on training sequences.
    """
    weights = np.arange(1, 100) / 100.0
    costs = [float(sequence_nats(truth, a * copies + (1.0 - a) * mean).sum()) for a in weights]
    return float(weights[int(np.argmin(costs))])


@dataclass(frozen=True)
class ShuffledCode:
    """Squared errors per sample: from the right code, from a wrong one, and of the mean sample.

    Attributes:
        own: of each sample, decoded from its own code.
        other: of each sample, decoded from the code of another.
        mean: of the mean sample, the best constant output.
    """

    own: float
    other: float
    mean: float

    @property
    def ignored(self) -> bool:
        """True if the error from the code of another sample is less than 10 % higher: the decoder ignores the code."""
        return self.other < 1.1 * self.own

    def line(self, sample_name: str = "sample") -> str:
        """One line for a report."""
        verdict = "the decoder uses the code"
        if self.ignored:
            verdict = "the decoder IGNORES the code"
        elif self.own > 0.95 * self.mean:
            verdict = f"the decoder uses the code, but is no better than the mean {sample_name}"
        return (
            f"shuffled codes: squared error {self.other:.4g} per {sample_name} with the code of another, {self.own:.4g} with "
            f"its own, {self.mean:.4g} for the mean of these {sample_name}s: {verdict}"
        )


def shuffled_code(
    model: Codec,
    x: Values,
    *,
    target: Values | None = None,
    lengths: Values | None = None,
    inputs: Values | None = None,
    generator: np.random.Generator | None = None,
) -> ShuffledCode:
    """Decode the samples x (N, ...) from their own codes and from each other's.

    Args:
        target: the target of the decoder, if it is not x (the future, say).
        lengths: (N,), of sequences in `target`.
        inputs: the input of the encoder, if it is not x.
        generator: for the shuffling, in which no code stays with its sample; None uses seed 0.
    """
    if len(x) < 2:
        raise ValueError(f"shuffling codes needs at least two samples, got {len(x)}: give it more.")
    wanted = x if target is None else target
    codes = model.encode(x if inputs is None else inputs)
    order = (np.random.default_rng(0) if generator is None else generator).permutation(len(x))
    others = np.empty_like(codes)
    others[order] = codes[np.roll(order, 1)]
    own, other = (
        float(sequence_errors(wanted, np.asarray(model.decode(code)).reshape(wanted.shape), lengths).mean())
        for code in (codes, others)
    )
    return ShuffledCode(own, other, float(sequence_errors(wanted, mean_sequence(wanted, lengths), lengths).mean()))


# ---------------------------------------------------------------------------------------------------------------------
# Principal components: the best linear autoencoder, in closed form, and the baseline of all others.


class PCA:
    """Principal component analysis with K components (Pearson 1901; Hotelling 1933).

    With mean m and V the K leading eigenvectors (D, K) of the covariance:   code = V^T (x - m),   reconstruction = m +
    V code. No linear encoder and decoder with code size K has a smaller squared error on the training data (Eckart and
    Young 1936); a linear autoencoder trained by gradient descent finds the same subspace (Baldi and Hornik 1989).

    Attributes after `fit`:
        mean_: (D,).
        components_: (K, D), orthonormal rows, largest variance first.
        variances_: (K,) variance along each component.
    """

    @checked
    def __init__(self, code_size: int) -> None:
        self.code_size = whole_number("code_size", code_size, at_least=1)

    def __repr__(self) -> str:
        fitted = f"fitted to {len(self.mean_)} features" if hasattr(self, "mean_") else "not fitted"
        return f"PCA({self.code_size}: {fitted})"

    def fit(self, x: Values | LazyRows) -> PCA:
        """Find the components of samples x (N, ...); returns self. Memory: one (D, D) matrix in float64."""
        x = self._checked(x)
        count, size = len(x), math.prod(x.shape[1:])
        if self.code_size > min(count, size):
            raise ValueError(
                f"code_size must be at most {min(count, size)}, the rank of {count} samples of dimension {size}, "
                f"got {self.code_size}: choose a smaller one."
            )
        self.mean_ = sum(self._flat(part).sum(axis=0, dtype=np.float64) for _, part in pieces(x, 1 << 20)) / count
        centered = (self._flat(part) - self.mean_ for _, part in pieces(x, 1 << 20))
        covariance = np.asarray(sum(part.T @ part for part in centered) / count, np.float64)
        if not np.isfinite(covariance).all():
            raise ValueError("PCA: the samples hold NaN, infinite or too large values: remove or fill them first.")
        values, vectors = np.linalg.eigh(covariance)
        leading = slice(None, -self.code_size - 1, -1)  # eigh gives the smallest first
        self.components_, self.variances_ = vectors[:, leading].T.copy(), values[leading].copy()
        return self

    def encode(self, x: Values) -> Floats:
        """Codes (N, K) of samples (N, ...). Raises ValueError before `fit`."""
        self._check_fitted()
        return (self._flat(x) - self.mean_) @ self.components_.T

    def decode(self, code: Values) -> Floats:
        """Flat reconstructions (N, D) from codes (N, K). Raises ValueError before `fit`."""
        self._check_fitted()
        return code @ self.components_ + self.mean_

    def reconstruct(self, x: Values) -> Floats:
        """Encode and decode; of x's shape."""
        x = self._checked(x)
        return self.decode(self.encode(x)).reshape(x.shape)

    def squared_error(self, x: Values | LazyRows) -> float:
        """Squared error per sample of the reconstruction of x (N, ...), in batches."""
        return sum(float(np.square(batch - self.reconstruct(batch)).sum()) for _, batch in pieces(x, 1 << 20)) / len(x)

    def _check_fitted(self) -> None:
        if not hasattr(self, "components_"):
            raise ValueError("this PCA has not been fitted: call fit(x) first.")

    @staticmethod
    def _checked(x: Any) -> Any:
        x = as_samples(x, "PCA needs an array of numbers (N, ...)")
        if x.ndim < 2 or len(x) == 0:
            raise ValueError(f"PCA needs samples (N, ...) with N > 0, got shape {x.shape}.")
        return x

    def _flat(self, x: Values) -> Values:
        return np.reshape(self._checked(x), (len(x), -1))
