"""Retrieval: the samples whose codes lie closest to the code of a query (Krizhevsky and Hinton 2011)."""

from __future__ import annotations

import numpy as np

from tinyae.models.autoencoder import Autoencoder


class CodeNeighbours:
    """Nearest neighbours in code space, by Euclidean distance between codes.

    Two images of one thing may share few pixels, and two that share many may show different things. A code keeps what
    many images have in common, so it can be the better ruler; it is always the shorter one.

    Args:
        model: a trained autoencoder.

    Attributes:
        codes: (N, K) of the samples to search, None before `fit`.
    """

    def __init__(self, model: Autoencoder) -> None:
        self.model = model
        self.codes: np.ndarray | None = None

    def fit(self, x: np.ndarray) -> CodeNeighbours:
        """Encode the samples x (N, ...) that queries will search."""
        self.codes = self._encode(x)
        return self

    def query(self, x: np.ndarray, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
        """The `count` samples nearest to each query x (M, ...): indices (M, count) into the fitted samples, nearest
        first, and distances (M, count) in code units.
        """
        if self.codes is None:
            raise ValueError("there is nothing to search yet: call fit(samples) first.")
        return nearest(self.codes, self._encode(x), count)

    def _encode(self, x: np.ndarray) -> np.ndarray:
        codes = self.model.encode(x)
        return codes.reshape(len(codes), -1)


def nearest(points: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` points (N, K) nearest to each query (M, K): indices and distances, both (M, count).

    SciPy's k-d tree does the search.
    """
    from scipy.spatial import cKDTree

    if not 1 <= count <= len(points):
        raise ValueError(f"count must lie between 1 and the {len(points)} samples to search, got {count}.")
    distances, indices = cKDTree(points).query(queries, k=count)
    shape = (len(queries), count)
    return np.asarray(indices).reshape(shape), np.asarray(distances).reshape(shape)


def same_class_share(labels: np.ndarray, query_labels: np.ndarray, indices: np.ndarray) -> float:
    """The share of retrieved samples that are of their query's class, over all queries: precision at `count`.

    Args:
        labels: (N,) of the searched samples.
        query_labels: (M,).
        indices: (M, count), from `CodeNeighbours.query` or `nearest`.
    """
    return float(np.mean(labels[indices] == query_labels[:, None]))
