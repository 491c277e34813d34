"""What a model must beat: the mean, the last value repeated, linear codes (PCA); and whether a decoder uses the code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

# ---------------------------------------------------------------------------------------------------------------------
# Guesses for sequences, and whether a decoder uses the code at all.
#
# Three guesses that need no training worth the name: the mean sequence, the last value for ever, and principal components
# with as many numbers as the model's code. A recurrent decoder has a fourth way to look good: it may write the same smooth
# average whatever the code says. Give it the code of another sequence, and an honest decoder gets much worse.

Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]


class Codec(Protocol):
    """Whatever has codes: `encode` to (N, ...) and `decode` back, host arrays in and out."""

    def encode(self, x: Any) -> Any:
        """Codes of samples."""

    def decode(self, code: Any) -> Any:
        """Samples from codes."""


def mean_sequence(x: Values, lengths: Values | None = None) -> Floats:
    """The mean (T, D) of sequences (N, T, D): at each step over those that have it, 0 where none has."""
    if lengths is None:
        return x.mean(axis=0, dtype=np.float64)
    real = real_steps(x, lengths)
    total: Floats = np.where(real, x, 0.0).sum(axis=0, dtype=np.float64)
    return total / np.maximum(real.sum(axis=0), 1)


def copy_last(seen: Values, steps: int, lengths: Values | None = None) -> Values:
    """The last real step of each sequence (N, T, D), repeated: (N, steps, D). The guess that nothing happens."""
    ends = np.full(len(seen), seen.shape[1]) if lengths is None else lengths
    return np.repeat(seen[np.arange(len(seen)), ends - 1][:, None], steps, axis=1)


def split_future(x: Values, steps: int, lengths: Values | None = None) -> tuple[Values, Values | None, Values]:
    """Windows (N, T, D) as what is seen, its lengths, and the last `steps` real steps of each, (N, steps, D)."""
    if lengths is None:
        return x[:, : x.shape[1] - steps], None, x[:, x.shape[1] - steps :]
    if steps and lengths.min() <= steps:
        raise ValueError(f"a sequence of {lengths.min()} steps leaves nothing to see before {steps} steps of future.")
    ends = lengths - steps
    future = x[np.arange(len(x))[:, None], ends[:, None] + np.arange(steps)]
    seen = x[:, : x.shape[1] - steps]
    return np.where(real_steps(seen, ends), seen, 0.0).astype(x.dtype), ends, future


def linear_prediction(seen: Values, future: Values, code_size: int) -> Callable[[Values], Values]:
    """The best linear guess of what follows from `code_size` principal components of what was seen.

    seen (N, T, D) and future (N, S, D) are training sequences; the function returned maps others (M, T, D) to (M, S, D).
    Least squares on the components (principal component regression).
    """
    pca = PCA(code_size).fit(seen)

    def columns(x: Values) -> Values:
        return np.column_stack([pca.encode(x), np.ones(len(x))])

    weights = np.linalg.lstsq(columns(seen), future.reshape(len(future), -1).astype(np.float64), rcond=None)[0]
    shape = future.shape[1:]
    return lambda x: (columns(x) @ weights).reshape(len(x), *shape)


def sequence_errors(x: Values, guess: Values, lengths: Values | None = None) -> Floats:
    """Squared error of each sequence (N,), summed over its real steps and features. `guess` (N, T, D) or (T, D)."""
    difference = np.square(np.asarray(guess, np.float64) - x)
    if lengths is not None:
        difference = np.where(real_steps(x, lengths), difference, 0.0)
    return difference.reshape(len(x), -1).sum(axis=1)


def sequence_nats(x: Values, guess: Values, lengths: Values | None = None, least: float = 1e-7) -> Floats:
    """Bernoulli cross-entropy of each sequence (N,), in nats, of x in [0, 1]; probabilities are cut at `least`.

    With guess = x it is the entropy of the pixels, below which no guess can get: a gray pixel of 0.5 costs log 2 even if
    it is known. It is 0 for black and white ones.
    """
    p = np.clip(np.broadcast_to(np.asarray(guess, np.float64), x.shape), least, 1.0 - least)
    nats = -(x * np.log(p) + (1.0 - x) * np.log1p(-p))
    if lengths is not None:
        nats = np.where(real_steps(x, lengths), nats, 0.0)
    return nats.reshape(len(x), -1).sum(axis=1)


def softened(copies: Values, mean: Values, truth: Values) -> float:
    """The share a of the copies (N, S, D) for which a * copies + (1 - a) * mean has the least cross-entropy to `truth`.

    A copied black pixel that turns white would cost infinitely many nats: pixels in [0, 1] are copied with doubt, and how
    much doubt pays is found on training sequences, in hundredths.
    """
    shares = np.arange(1, 100) / 100.0
    costs = [float(sequence_nats(truth, a * copies + (1.0 - a) * mean).sum()) for a in shares]
    return float(shares[int(np.argmin(costs))])


@dataclass(frozen=True)
class ShuffledCode:
    """Squared errors per sample of decoding the right code, a wrong one, and of the mean of the samples.

    Attributes:
        own: of each sample decoded from its own code.
        other: of each sample compared with what the code of another one decodes to.
        mean: of the samples' own mean, the best guess without any code.
    """

    own: float
    other: float
    mean: float

    @property
    def ignored(self) -> bool:
        """True if a wrong code does less than a tenth more harm: the decoder does not listen."""
        return self.other < 1.1 * self.own

    def line(self, noun: str = "sample") -> str:
        """One line for a report."""
        verdict = "the decoder uses the code"
        if self.ignored:
            verdict = "the decoder IGNORES the code"
        elif self.own > 0.95 * self.mean:
            verdict = f"the decoder uses the code, to no avail: the mean {noun} is as good"
        return (
            f"shuffled codes: squared error {self.other:.4g} per {noun} with the code of another, {self.own:.4g} with "
            f"its own, {self.mean:.4g} for the mean {noun}: {verdict}"
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

    `target`: what the decoder is asked for, if it is not x (the future, say). `lengths`: of sequences in `target`.
    `inputs`: what the encoder is given, if it is not x. `generator`: for the order in which codes are handed on, so that
    nobody gets its own; None takes seed 0.
    """
    if len(x) < 2:
        raise ValueError(f"codes are shuffled among two samples or more, got {len(x)}.")
    wanted = x if target is None else target
    codes = model.encode(x if inputs is None else inputs)
    circle = (np.random.default_rng(0) if generator is None else generator).permutation(len(x))
    others = np.empty_like(codes)
    others[circle] = codes[np.roll(circle, 1)]
    own, other = (
        float(sequence_errors(wanted, np.asarray(model.decode(code)).reshape(wanted.shape), lengths).mean())
        for code in (codes, others)
    )
    return ShuffledCode(own, other, float(sequence_errors(wanted, mean_sequence(wanted, lengths), lengths).mean()))


def real_steps(x: Values, lengths: Values) -> npt.NDArray[np.bool_]:
    """(N, T, 1, ...): which steps of x (N, T, ...) come before the end of their sequence."""
    real: npt.NDArray[np.bool_] = np.arange(x.shape[1]) < lengths[:, None]
    return real.reshape(*real.shape, *(1,) * (x.ndim - 2))


# ---------------------------------------------------------------------------------------------------------------------
# Principal components: the best linear autoencoder, in closed form. What every other one is measured against.


class PCA:
    """Principal component analysis with K components (Pearson 1901; Hotelling 1933).

    With mean m and V the K leading eigenvectors (D, K) of the covariance:   code = V' (x - m),   reconstruction = m +
    V code. No linear encoder and decoder with K numbers in between has a smaller squared error on the training data
    (Eckart and Young 1936); a linear autoencoder trained by gradient descent ends in the same subspace (Baldi and
    Hornik 1989).

    Attributes after `fit`:
        mean_: (D,).
        components_: (K, D), orthonormal rows, largest variance first.
        variances_: (K,) variance along each component.
    """

    def __init__(self, code_size: int) -> None:
        if code_size < 1:
            raise ValueError(f"code_size must be at least 1, got {code_size}.")
        self.code_size = code_size

    def fit(self, x: np.ndarray) -> PCA:
        """Find the components of samples x (N, ...); returns self. Memory: one (D, D) matrix in float64."""
        flat = self._flat(x)
        size = flat.shape[1]
        if self.code_size > min(flat.shape):
            raise ValueError(
                f"code_size {self.code_size} is more than {min(flat.shape)}, "
                f"the rank that {flat.shape[0]} samples of {size} numbers can have."
            )
        self.mean_ = flat.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((size, size))
        for start in range(0, len(flat), 4096):
            centered = flat[start : start + 4096] - self.mean_
            covariance += centered.T @ centered
        values, vectors = np.linalg.eigh(covariance / len(flat))
        self.components_ = vectors[:, ::-1][:, : self.code_size].T.copy()
        self.variances_ = values[::-1][: self.code_size].copy()
        return self

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Codes (N, K) of samples (N, ...)."""
        self._check_fitted()
        return (self._flat(x) - self.mean_) @ self.components_.T

    def decode(self, code: np.ndarray) -> np.ndarray:
        """Flat reconstructions (N, D) from codes (N, K)."""
        self._check_fitted()
        return code @ self.components_ + self.mean_

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Encode and decode; of x's shape."""
        return self.decode(self.encode(x)).reshape(x.shape)

    def squared_error(self, x: np.ndarray) -> float:
        """Squared error per sample of the reconstruction of x (N, ...), in batches."""
        total = sum(
            float(np.square(x[i : i + 4096] - self.reconstruct(x[i : i + 4096])).sum()) for i in range(0, len(x), 4096)
        )
        return total / len(x)

    def _check_fitted(self) -> None:
        if not hasattr(self, "components_"):
            raise ValueError("this PCA knows no components yet: call fit(x) first.")

    @staticmethod
    def _flat(x: np.ndarray) -> np.ndarray:
        if x.ndim < 2 or len(x) == 0:
            raise ValueError(f"PCA needs samples (N, ...) with N > 0, got shape {x.shape}.")
        return x.reshape(len(x), -1)
