"""Principal components: the best linear autoencoder, in closed form. What every other one is measured against."""

from __future__ import annotations

import numpy as np


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
            centred = flat[start : start + 4096] - self.mean_
            covariance += centred.T @ centred
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
