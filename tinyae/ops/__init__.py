"""The primitives: each one forward, docstring and gradient rule in one place.

A file is a family: `arithmetic`, `functions` (elementwise), `comparisons`, `shape`, `reductions`, `linalg`, `dense`
(fused), for images `convolution`, `pooling` and `resize`, for sequences `lstm` and `gru` (fused). At the bottom of this
file stands the one table that gives `Tensor` its operators and methods; the engine knows nothing of the operations, so
no circle of imports arises.
"""

from collections.abc import Callable
from typing import Any

from tinyae.autodiff import Tensor, expand, sum_to
from tinyae.ops.arithmetic import absolute, add, divide, log, multiply, negative, power, sign, subtract
from tinyae.ops.comparisons import (
    clip,
    equal,
    greater,
    greater_equal,
    indicator,
    less,
    less_equal,
    maximum,
    minimum,
    not_equal,
    where,
)
from tinyae.ops.convolution import conv2d, conv2d_weight_grad, conv_transpose2d
from tinyae.ops.convolution_fused import biased_conv2d, biased_conv_transpose2d
from tinyae.ops.dense import dense
from tinyae.ops.functions import cos, elu, exp, leaky_relu, log1p, relu, sigmoid, sin, softplus, sqrt, square, tanh
from tinyae.ops.gru import gru
from tinyae.ops.linalg import matmul
from tinyae.ops.lstm import lstm
from tinyae.ops.pooling import avg_pool2d, avg_unpool2d, max_pool2d
from tinyae.ops.reductions import log_softmax, logsumexp, max, mean, min, norm, softmax, sum, variance
from tinyae.ops.resize import (
    block_sum,
    pixel_shuffle,
    pixel_unshuffle,
    upsample,
    upsample_bilinear,
    upsample_bilinear_adjoint,
    upsample_nearest,
)
from tinyae.ops.shape import (
    concatenate,
    crop,
    flatten,
    getitem,
    pad,
    reshape,
    scatter,
    split,
    stack,
    swap_last,
    tensor_getitem,
    tensor_reshape,
    tensor_transpose,
    transpose,
)

OPERATORS: dict[str, Callable[..., Any]] = {
    "__add__": lambda x, y: add(x, y),
    "__radd__": lambda x, y: add(y, x),
    "__sub__": lambda x, y: subtract(x, y),
    "__rsub__": lambda x, y: subtract(y, x),
    "__mul__": lambda x, y: multiply(x, y),
    "__rmul__": lambda x, y: multiply(y, x),
    "__truediv__": lambda x, y: divide(x, y),
    "__rtruediv__": lambda x, y: divide(y, x),
    "__pow__": lambda x, y: power(x, y),
    "__rpow__": lambda x, y: power(y, x),
    "__matmul__": lambda x, y: matmul(x, y),
    "__rmatmul__": lambda x, y: matmul(y, x),
    "__neg__": lambda x: negative(x),
    "__abs__": lambda x: absolute(x),
    "__lt__": lambda x, y: less(x, y),
    "__le__": lambda x, y: less_equal(x, y),
    "__gt__": lambda x, y: greater(x, y),
    "__ge__": lambda x, y: greater_equal(x, y),
    "__getitem__": tensor_getitem,
    "sum": lambda x, axis=None, keepdims=False: sum(x, axis=axis, keepdims=keepdims),
    "mean": lambda x, axis=None, keepdims=False: mean(x, axis=axis, keepdims=keepdims),
    "max": lambda x, axis=None, keepdims=False: max(x, axis=axis, keepdims=keepdims),
    "min": lambda x, axis=None, keepdims=False: min(x, axis=axis, keepdims=keepdims),
    "reshape": tensor_reshape,
    "transpose": tensor_transpose,
    "T": property(lambda x: transpose(x)),  # type: ignore[dict-item]
}
"""What Tensor's operators and methods are. `tinyae.autodiff.tensor` declares the same names for type checkers."""

for _name, _function in OPERATORS.items():
    setattr(Tensor, _name, _function)

__all__ = [
    "OPERATORS",
    "absolute",
    "add",
    "avg_pool2d",
    "avg_unpool2d",
    "biased_conv2d",
    "biased_conv_transpose2d",
    "block_sum",
    "clip",
    "concatenate",
    "conv2d",
    "conv2d_weight_grad",
    "conv_transpose2d",
    "cos",
    "crop",
    "dense",
    "divide",
    "elu",
    "equal",
    "exp",
    "expand",
    "flatten",
    "getitem",
    "greater",
    "greater_equal",
    "gru",
    "indicator",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "lstm",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negative",
    "norm",
    "not_equal",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "power",
    "relu",
    "reshape",
    "scatter",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "square",
    "stack",
    "subtract",
    "sum",
    "sum_to",
    "swap_last",
    "tanh",
    "transpose",
    "upsample",
    "upsample_bilinear",
    "upsample_bilinear_adjoint",
    "upsample_nearest",
    "variance",
    "where",
]
