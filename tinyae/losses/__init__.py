"""Losses. Each demands equal shapes, and states its reduction and its unit; see `reduction` for the table.

All take Tensors or arrays and return what they were given, as primitives do.
"""

from tinyae.losses.cross_entropy import bce, bce_with_logits, softmax_cross_entropy
from tinyae.losses.reduction import REDUCTIONS, check_shapes, reduce, unit
from tinyae.losses.robust import absolute_error, huber
from tinyae.losses.squared_error import squared_error
from tinyae.losses.terms import Loss

__all__ = [
    "REDUCTIONS",
    "Loss",
    "absolute_error",
    "bce",
    "bce_with_logits",
    "check_shapes",
    "huber",
    "reduce",
    "softmax_cross_entropy",
    "squared_error",
    "unit",
]
