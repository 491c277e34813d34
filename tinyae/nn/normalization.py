"""Layers that centre and scale what passes through them.

Both compute y = weight * (x - mean) / sqrt(variance + eps) + bias and differ in what the mean is taken over:
LayerNorm over the features of one sample, BatchNorm over the samples of one feature. They are composed of
primitives, so their gradients, through mean and variance too, need no rule of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array
from tinyae.nn.checks import check_dtype, check_last_axis, check_size
from tinyae.nn.module import Module
from tinyae.nn.parameter import Parameter


class LayerNorm(Module):
    """Normalise each sample over its last axis (Ba, Kiros and Hinton 2016, eq. 4); x and y (..., D).

    The same in training and evaluation, and independent of the rest of the batch.

    Args:
        features: D.
        eps: added to the variance (which divides by D), so that a constant sample gives `bias` and not NaN.
        dtype: of weight and bias.

    Attributes:
        weight, bias: Parameters (D,), the gain (starts at 1) and the shift (starts at 0).
    """

    def __init__(self, features: int, eps: float = 1e-5, *, dtype: Any = np.float32) -> None:
        self.features = check_size("LayerNorm", "features", features)
        self.eps = _check_eps("LayerNorm", eps)
        self.weight, self.bias = _gain_and_shift(self.features, check_dtype("LayerNorm", dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis."""
        check_last_axis(self, x, self.features)
        _, centred, variance = _moments(x, (x.ndim - 1,))
        return _scaled(centred, variance, self.eps, self.weight, self.bias)

    def extra_repr(self) -> str:
        """D and eps."""
        return f"{self.features}, eps={self.eps:g}"


class BatchNorm(Module):
    """Normalise each feature over everything else in the batch (Ioffe and Szegedy 2015, Algorithm 1).

    Channels stand last, so one layer serves (N, D), (N, T, D) and (N, H, W, C): the mean of a channel is
    taken over all other axes, n numbers. In training these are the batch's own mean and variance (which
    divides by n), and running averages follow: running <- (1 - momentum) * running + momentum * batch, the
    variance there divided by n - 1. In evaluation the running averages are used, and each sample is treated
    alone.

    Args:
        features: D or C.
        momentum: the weight of the newest batch in the running averages, in [0, 1].
        eps: added to the variance.
        dtype: of parameters and buffers.

    Attributes:
        weight, bias: Parameters (D,), start at 1 and 0.
        running_mean, running_var: buffers (D,), start at 0 and 1.
    """

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5, *, dtype: Any = np.float32) -> None:
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(
                f"BatchNorm: momentum must be in [0, 1], got {momentum!r}: 0.1 gives the newest batch a tenth."
            )
        self.features = check_size("BatchNorm", "features", features)
        self.momentum = float(momentum)
        self.eps = _check_eps("BatchNorm", eps)
        dtype = check_dtype("BatchNorm", dtype)
        self.weight, self.bias = _gain_and_shift(self.features, dtype)
        self.running_mean = Tensor(np.zeros(self.features, dtype))
        self.running_var = Tensor(np.ones(self.features, dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over all axes but the last.

        Raises:
            ValueError: one number per feature in training mode; its variance would be 0 and y constant.
        """
        check_last_axis(self, x, self.features)
        if not self.training:
            return _scaled(x - self.running_mean, self.running_var, self.eps, self.weight, self.bias)
        n = x.size // self.features
        if n < 2:
            raise ValueError(
                f"{self}: training needs at least 2 numbers per feature, got shape {x.shape}: "
                "use a larger batch (drop a last batch of 1), or call eval() first."
            )
        mean, centred, variance = _moments(x, tuple(range(x.ndim - 1)))
        self._follow(mean.data.reshape(-1), variance.data.reshape(-1) * (n / (n - 1)))
        return _scaled(centred, variance, self.eps, self.weight, self.bias)

    def _follow(self, mean: Array, variance: Array) -> None:
        """Move the running averages towards one batch, in their own dtype."""
        for running, batch in ((self.running_mean, mean), (self.running_var, variance)):
            moved = (1.0 - self.momentum) * running.data + self.momentum * batch
            running.data = moved.astype(running.dtype, copy=False)

    def extra_repr(self) -> str:
        """Features, momentum and eps."""
        return f"{self.features}, momentum={self.momentum:g}, eps={self.eps:g}"


def _moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The mean over `axes`, x minus that, and the mean square of the difference; the moments keep axes of length 1."""
    mean = ops.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    return mean, centred, ops.mean(ops.square(centred), axis=axes, keepdims=True)


def _scaled(centred: Tensor, variance: Tensor, eps: float, weight: Tensor, bias: Tensor) -> Tensor:
    return centred / ops.sqrt(variance + eps) * weight + bias


def _gain_and_shift(features: int, dtype: np.dtype) -> tuple[Parameter, Parameter]:
    return Parameter(np.ones(features, dtype)), Parameter(np.zeros(features, dtype))


def _check_eps(owner: str, eps: float) -> float:
    if not eps > 0.0:
        raise ValueError(f"{owner}: eps must be positive, got {eps!r}: 1e-5 is usual.")
    return float(eps)
