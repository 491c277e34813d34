"""Losses. Each demands equal shapes, and states its reduction and its unit; see `reduction` for the table.

All take Tensors or arrays and return what they were given, as primitives do.
"""

from tinyae.losses.cross_entropy import bce, bce_with_logits, softmax_cross_entropy
from tinyae.losses.densities import (
    continuous_bernoulli_log_norm,
    continuous_bernoulli_mean,
    continuous_bernoulli_nll,
    continuous_bernoulli_variance,
    gaussian_nll,
)
from tinyae.losses.kl import gaussian_kl, kl_to_unit_gaussian
from tinyae.losses.reduction import REDUCTIONS, check_shapes, reduce, unit
from tinyae.losses.robust import absolute_error, huber
from tinyae.losses.sparsity import bernoulli_kl, l1, weight_decay
from tinyae.losses.squared_error import half_squared_error, squared_error
from tinyae.losses.terms import Loss

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
