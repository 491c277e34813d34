"""Loss functions with explicit reductions and units; see the table in `terms`.

Predictions and targets must have the same shape. Like primitives, they return a Tensor for Tensors and an array for arrays.
"""

from tinyae.losses.functions import (
    absolute_error,
    bce,
    bce_with_logits,
    bernoulli_kl,
    continuous_bernoulli_log_norm,
    continuous_bernoulli_mean,
    continuous_bernoulli_nll,
    continuous_bernoulli_variance,
    gaussian_kl,
    gaussian_nll,
    half_squared_error,
    huber,
    kl_to_unit_gaussian,
    l1,
    softmax_cross_entropy,
    squared_error,
    weight_decay,
)
from tinyae.losses.terms import REDUCTIONS, Loss, check_shapes, reduce, unit

__all__ = [
    "REDUCTIONS",
    "Loss",
    "absolute_error",
    "bce",
    "bce_with_logits",
    "bernoulli_kl",
    "check_shapes",
    "continuous_bernoulli_log_norm",
    "continuous_bernoulli_mean",
    "continuous_bernoulli_nll",
    "continuous_bernoulli_variance",
    "gaussian_kl",
    "gaussian_nll",
    "half_squared_error",
    "huber",
    "kl_to_unit_gaussian",
    "l1",
    "reduce",
    "softmax_cross_entropy",
    "squared_error",
    "unit",
    "weight_decay",
]
