"""`TopK`: only the k largest numbers of a code pass."""

from __future__ import annotations

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import backend_of
from tinyae.nn.checks import check_floats, check_size
from tinyae.nn.module import Module


class TopK(Module):
    """y_j = x_j if x_j is among the k largest of its row, else 0; x (N, K).   dL/dx_j = dL/dy_j there, else 0

    The k-sparse autoencoder (Makhzani and Frey 2014) is a linear autoencoder with this between its halves: the choice
    of k is the only non-linearity. Which numbers pass is a constant to the gradient. Ties with the k-th largest pass
    too, so more than k may.

    Args:
        k: how many pass in training mode, at least 1.
        evaluation_k: how many pass in evaluation mode; the paper recommends somewhat more than k. None takes k.
    """

    def __init__(self, k: int, evaluation_k: int | None = None) -> None:
        self.k = check_size("TopK", "k", k)
        self.evaluation_k = self.k if evaluation_k is None else check_size("TopK", "evaluation_k", evaluation_k)

    def forward(self, x: Tensor) -> Tensor:
        """x with all but its k largest numbers set to 0; raises if a row has fewer than k."""
        check_floats(self, x)
        k = self.k if self.training else self.evaluation_k
        if x.ndim != 2 or x.shape[1] < k:
            raise ValueError(f"{self}: x must be (N, K) with K at least {k}, got shape {x.shape}: choose a smaller k.")
        xp = backend_of(x.data).xp
        least = xp.sort(x.data, axis=1)[:, x.shape[1] - k : x.shape[1] - k + 1]
        return ops.where(x.data >= least, x, 0.0)

    def extra_repr(self) -> str:
        """k, and k in evaluation mode where it differs."""
        return f"{self.k}" if self.k == self.evaluation_k else f"{self.k}, evaluation_k={self.evaluation_k}"
