"""Analysis of trained models: gradients over time, nearest codes, anomalies, and the orientation of filters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tinyae.autodiff import Tensor, grad
from tinyae.backend import backend_named
from tinyae.checks import checked
from tinyae.data import Split, padding
from tinyae.models.autoencoder import Autoencoder, check_samples
from tinyae.nn import evaluating

# ---------------------------------------------------------------------------------------------------------------------
# How much of the gradient reaches each time step.
#
# Backpropagation through time multiplies the gradient by a matrix at every step, so it tends to vanish or to explode
# (Hochreiter 1991; Bengio, Simard and Frasconi 1994). Where it has vanished, nothing is learned about that step.


def gradient_per_step(model: Autoencoder, samples: Split, *, of: str = "loss") -> npt.NDArray[np.float64]:
    """The size (T,) of the gradient at each step that the network sees of sequences (N, T + F, D).

    of="loss": sqrt(mean over n of |dL_n / dx_t|^2), L_n the loss of sequence n; x_t is the input only, not the target.
    of="code": sqrt(mean over n of |d code_n / dx_t|_F^2), estimated with one random vector v of signs per sequence, as
    E |v^T J|^2 = |J|_F^2. For unequal lengths, the mean at a step is over the sequences that have it. All in one batch.
    """
    if of not in ("loss", "code"):
        raise ValueError(f"of must be 'loss' or 'code', got {of!r}: choose one.")
    if samples.x.ndim != 3 or not len(samples):
        raise ValueError(
            f"gradients per step need sequences (N, T, D), got shape {samples.x.shape}: use data of kind sequences."
        )
    backend = backend_named(model.device)
    arrays = model.batch(check_samples(samples, "x", model)).to(backend, model.dtype)
    batch = replace(arrays, x=Tensor(arrays.x, requires_grad=True), target=Tensor(arrays.target))
    with evaluating(model):
        if of == "loss":
            # The loss is a mean over samples: times N it is the sum, whose gradient is each sample's own.
            total = model.loss(batch).total * float(len(batch))
        else:
            code = model.encode(batch)
            signs = np.random.default_rng(0).integers(0, 2, code.shape) * 2.0 - 1.0
            total = (code * backend.to_device(signs, model.dtype)).sum()
        (slope,) = grad(total, [batch.x])
    squares = np.square(backend.to_host(slope.data).astype(np.float64)).sum(axis=2)
    seen = None if batch.context is None else ~padding(batch.context, arrays.x.shape[1])
    count = len(batch) if seen is None else np.maximum(seen.sum(axis=0), 1)
    return np.sqrt(squares.sum(axis=0) / count)


# ---------------------------------------------------------------------------------------------------------------------
# Retrieval: the samples whose codes lie closest to the code of a query (Krizhevsky and Hinton 2011).


Floating = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]


class CodeNeighbors:
    """Nearest neighbors in code space, by Euclidean distance between codes.

    Two images of one object may share few pixels, and two that share many may show different objects. A code keeps what
    many images have in common, so distances between codes can mean more than distances between pixels; they are always
    cheaper to compute.

    Args:
        model: a trained autoencoder.

    Attributes:
        codes: (N, K) of the samples to search, None before `fit`.
    """

    @checked
    def __init__(self, model: Autoencoder) -> None:
        self.model = model
        self.codes: Floating | None = None

    def fit(self, x: Floating) -> CodeNeighbors:
        """Encode the samples x (N, ...) that queries will search; returns self."""
        self.codes = self._encode(x)
        return self

    def query(self, x: Floating, count: int = 8) -> tuple[Indices, Floating]:
        """The `count` samples nearest to each query x (M, ...): indices (M, count) into the fitted samples, nearest
        first, and distances (M, count) in code units. Raises ValueError before `fit`.
        """
        if self.codes is None:
            raise ValueError("CodeNeighbors has no samples to search: call fit(samples) first.")
        return nearest(self.codes, self._encode(x), count)

    def _encode(self, x: Floating) -> Floating:
        codes: Floating = self.model.encode(x)
        return codes.reshape(len(codes), -1)


def nearest(points: Floating, queries: Floating, count: int) -> tuple[Indices, Floating]:
    """The `count` points (N, K) nearest to each query (M, K): indices and distances, both (M, count).

    SciPy's k-d tree does the search. Raises ValueError unless 1 <= count <= N.
    """
    from scipy.spatial import cKDTree

    if not 1 <= count <= len(points):
        raise ValueError(f"count must lie between 1 and the {len(points)} samples to search, got {count}.")
    distances, indices = cKDTree(points).query(queries, k=count)
    return np.asarray(indices).reshape(-1, count), np.asarray(distances).reshape(-1, count)


def same_class_share(labels: Indices, query_labels: Indices, indices: Indices) -> float:
    """The fraction of retrieved samples with the class of their query, over all queries: precision at `count`.

    Args:
        labels: (N,) of the searched samples.
        query_labels: (M,).
        indices: (M, count), from `CodeNeighbors.query` or `nearest`.
    """
    return float(np.mean(labels[indices] == query_labels[:, None]))


# ---------------------------------------------------------------------------------------------------------------------
# Anomalies: samples that a model trained on normal ones cannot reconstruct.
#
# An autoencoder trained on normal days uses its few latent dimensions for what normal days have in common. An unusual day
# does not fit into the code, so its reconstruction is poor.


class AnomalyDetector:
    """Flags samples whose reconstruction error is larger than that of nearly all training samples.

    score(x) = sum over the elements of (x - reconstruction)**2,   x is flagged if score(x) > threshold

    The threshold is a quantile of the training samples' scores. If new samples are like the training samples, a fraction of
    1 - quantile of them is flagged, whatever the distribution of the scores.

    Args:
        model: a trained autoencoder.
        quantile: of the training scores, in (0, 1).

    Attributes:
        threshold: in the unit of the score, squared error per sample; None before `fit`.
    """

    @checked
    def __init__(self, model: Autoencoder, quantile: float = 0.99) -> None:
        if not 0.0 < quantile < 1.0:
            raise ValueError(f"quantile must lie between 0 and 1, got {quantile:g}: 0.99 flags the worst hundredth.")
        self.model = model
        self.quantile = float(quantile)
        self.threshold: float | None = None

    def __repr__(self) -> str:
        fitted = (
            "not fitted" if self.threshold is None else f"threshold {self.threshold:.4g} per {self.model.sample_name}"
        )
        return f"AnomalyDetector({type(self.model).__name__}, quantile={self.quantile:g}: {fitted})"

    def fit(self, samples: Split | np.ndarray) -> AnomalyDetector:
        """Set the threshold from samples (N, ...) that are known to be normal; see `score`."""
        scores = self.score(samples)
        if not np.isfinite(scores).all():
            raise ValueError(
                f"{np.count_nonzero(~np.isfinite(scores)):,} scores are NaN or infinite: train the model again."
            )
        self.threshold = float(np.quantile(scores, self.quantile))
        return self

    def score(self, samples: Split | np.ndarray) -> np.ndarray:
        """Squared error of each sample (N,), float64.

        samples: an array, or a Split with the lengths of sequences, whose padding is left out, and with class numbers for a
        class-conditional model. TypeError or ValueError for samples that `fit` rejects, or of another shape.
        """
        return np.concatenate([errors.reshape(len(errors), -1).sum(axis=1) for errors in self._errors(samples)])

    def errors(self, samples: Split | np.ndarray) -> np.ndarray:
        """The squared error of every element, float64, of the samples' shape (N, ...); samples as for `score`.

        Of sequences (N, T, D), `.sum(axis=1)` are the scores per feature, `.sum(axis=2)` those per step; either add up to `score`.
        """
        return np.concatenate(list(self._errors(samples)))

    def _errors(self, samples: Split | np.ndarray) -> Iterator[np.ndarray]:
        """Squared errors of a few samples at a time."""
        split = check_samples(samples, "x", self.model)
        for start in range(0, len(split), 1024):
            part = split.rows(slice(start, start + 1024))
            yield np.square(part.x - self.model.reconstruct(self.model.batch(part)), dtype=np.float64)

    def flag(self, samples: Split | np.ndarray) -> np.ndarray:
        """Which samples are anomalies, (N,) booleans; samples as for `score`."""
        if self.threshold is None:
            raise ValueError("AnomalyDetector has no threshold: call fit(training samples) first.")
        return self.exceeded(self.score(samples))

    def exceeded(self, scores: np.ndarray) -> np.ndarray:
        """Which scores (N,) are above the threshold; one that is NaN is not ordinary either."""
        return ~(scores <= self.threshold)


# ---------------------------------------------------------------------------------------------------------------------
# Is a filter an edge? A measure of how much it prefers one orientation.
#
# The power spectrum of an edge or a bar is concentrated on a line through frequency 0, at a right angle to the edge. That of
# a blob or of noise is spread over all directions.

SELECTIVE = 0.5
"""A filter with at least this selectivity counts as oriented."""

WEAK = 0.2
"""A filter whose norm is below this fraction of the largest counts as unused."""


def orientation_selectivity(weights: Floating, image_shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """How oriented each filter is, from 0 (no preferred direction) to 1 (an infinite grating).

    |sum_f P(f) exp(2 i theta_f)| / sum_f P(f), over all frequencies f between 0 and the Nyquist frequency, where P is the
    power spectrum of the filter and theta_f the direction of f. The angle is doubled because f and -f are one orientation.

    Args:
        weights: (D, K), one filter per column, as in a first layer.
        image_shape: (H, W) or (H, W, 1) with H W = D.

    White noise of 8 x 8 pixels has 0.18 on average and never reached 0.5 in 2,000 draws. A constant filter, whose power is
    all at frequency 0, has 0.
    """
    height, width = image_shape[:2]
    if weights.ndim != 2 or height * width != weights.shape[0]:
        raise ValueError(
            f"weights must be (D, K) with D = H W of image_shape {tuple(image_shape)}, got shape {weights.shape}."
        )
    filters = weights.T.reshape(-1, height, width).astype(np.float64)
    power = np.abs(np.fft.fft2(filters)) ** 2
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    # The highest frequency of an even grid has no sign, so its direction is unknown; frequency 0 has no direction.
    known = (np.hypot(fx, fy) > 0) & (np.abs(fx) < 0.5) & (np.abs(fy) < 0.5)
    power = power * known
    total = power.sum(axis=(1, 2))
    resultant = np.abs((power * np.exp(2j * np.arctan2(fy, fx))).sum(axis=(1, 2)))
    return np.divide(resultant, total, out=np.zeros_like(total), where=total > 1e-30)


def count_oriented(weights: Floating, image_shape: tuple[int, ...]) -> int:
    """How many filters are edges or bars: selectivity at least 0.5, and norm at least a fifth of the largest."""
    lengths = np.linalg.norm(weights, axis=0)
    used = lengths >= WEAK * lengths.max(initial=0.0)
    return int(np.count_nonzero(used & (orientation_selectivity(weights, image_shape) >= SELECTIVE)))
