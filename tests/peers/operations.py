"""The table: an operation by its name in PyTorch's OpInfo, and how to call ours with PyTorch's arguments.

A row takes what PyTorch takes (dim, keepdim, correction, channels first) and calls `tinyae` (axis, keepdims, ddof,
channels last). A sample with an argument that a row does not have, or that fails `need`, counts as not offered, and so
does an operation that `tinyae.ops` does not have.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinyae as ta
from tinyae import losses, nn

Row = Callable[..., Any]


class NotOffered(Exception):
    """tinyae has no counterpart of this call."""


def need(condition: object, why: str) -> bool:
    """Raise NotOffered unless `condition` holds."""
    if not condition:
        raise NotOffered(why)
    return True


class _Operations:
    def __getattr__(self, name: str) -> Any:
        return need(hasattr(ta.ops, name), f"ops.{name}") and getattr(ta.ops, name)


ops: Any = _Operations()
"""`tinyae.ops`, in which a missing operation is not offered instead of an AttributeError."""

NEUTRAL = {
    "approximate": ("none",),
    "ceil_mode": (False,),
    "dilation": (1, (1,), (1, 1)),
    "groups": (1,),
    "label_smoothing": (0.0,),
    "return_indices": (False,),
}
"""Keywords of PyTorch that no row has, with the values that ask for nothing."""


# ---------------------------------------------------------------------------------------------------------------------
# Arguments of PyTorch in ours.


def axes(dim: Any) -> Any:
    """The axes of a reduction: PyTorch writes () or [] for all of them."""
    return tuple(dim) or None if isinstance(dim, Sequence) else dim


def sizes(shape: Sequence[Any]) -> tuple[int, ...]:
    """The shape in f(2, 3), f((2, 3)) or f([2, 3])."""
    return tuple(shape[0]) if isinstance(shape[0], Sequence) else tuple(shape)


def both(value: Any) -> Any:
    """A number or a pair; PyTorch writes (2,) for 2 as well."""
    return value[0] if isinstance(value, Sequence) and len(value) == 1 else value


def place(x: Any, dim: int, index: object) -> tuple[Any, ...]:
    """The index of x[:, :, index, ...] with `index` at axis `dim`."""
    need(x.ndim, "an axis of a single number")
    return (*[slice(None)] * (dim % x.ndim), index)


def at(x: Any, dim: int, index: object) -> Any:
    return x[place(x, dim, index)]


def channels_last(x: Any) -> Any:
    return ops.transpose(x, axes=(0, *range(2, x.ndim), 1))


def channels_first(x: Any) -> Any:
    return ops.transpose(x, axes=(0, x.ndim - 1, *range(1, x.ndim - 1)))


def named(name: str) -> Row:
    """The row of an operation that takes the same arguments."""
    return lambda *xs: getattr(ops, name)(*xs)


def reduction(name: str) -> Row:
    return lambda x, dim=None, keepdim=False: getattr(ops, name)(x, axis=axes(dim), keepdims=keepdim)


def deviation(name: str) -> Row:
    def row(x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, correction: float | None = 1) -> Any:
        if isinstance(dim, bool):  # var(x, unbiased), PyTorch's older word for a correction of 1
            dim, unbiased = None, dim
        ddof = 0 if not unbiased else 1 if correction is None else correction
        need(ddof in (0, 1, 2), "a correction that is negative or not a whole number")
        return getattr(ops, name)(x, axis=axes(dim), keepdims=keepdim, **{"ddof": ddof} if ddof else {})

    return row


def pad(x: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    need(min(pad) >= 0, "negative padding")
    pairs = list(zip(pad[::2], pad[1::2], strict=True))[::-1]  # PyTorch begins with the last axis
    how = {"value": value} if value else {} if mode == "constant" else {"mode": mode.replace("replicate", "edge")}
    return ops.pad(x, widths=(*[(0, 0)] * (x.ndim - len(pairs)), *pairs), **how)


def images(function: Row, ndim: int = 4) -> Row:
    """The row of a function of images (N, H, W, C). PyTorch takes (N, C, H, W), and (C, H, W) as well."""

    @functools.wraps(function)
    def row(x: Any, *args: Any, **how: Any) -> Any:
        if x.ndim < ndim:
            return row(x[None], *args, **how)[0]
        return channels_first(function(channels_last(x), *args, **{key: both(value) for key, value in how.items()}))

    return row


def convolution(name: str, ndim: int = 4) -> Row:
    """The row of a convolution; a kernel (O, C, KH, KW) is (KH, KW, C, O) here."""

    def function(x: Any, w: Any, bias: Any = None, **how: Any) -> Any:
        y = getattr(ops, name)(x, ops.transpose(w, axes=(*range(2, w.ndim), 1, 0)), **how)
        return y if bias is None else y + bias

    return images(function, ndim)


def pixel_shuffle(x: Any, upscale_factor: int) -> Any:
    (n, h, w, c), f = x.shape, upscale_factor  # PyTorch's channels are (C, f * f), ours (f * f, C)
    x = ops.transpose(x.reshape(n, h, w, c // f**2, f * f), axes=(0, 1, 2, 4, 3)).reshape(n, h, w, c)
    return ops.pixel_shuffle(x, factor=f)


def normalized(layer: Any, x: Any, weight: Any, bias: Any) -> Any:
    if weight is not None:
        layer.weight, layer.bias = weight, bias
    return layer(x)


def layer_norm(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    need(len(shape) == 1 and eps > 0, "layer norm over several axes, eps <= 0")
    return normalized(nn.LayerNorm(shape[0], eps=eps, dtype=x.dtype), x, weight, bias)


def batch_norm(x: Any, mean: Any, var: Any, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5) -> Any:
    need(x.ndim > 1 and 0 <= momentum <= 1, "batch norm without a batch, momentum outside [0, 1]")
    layer = nn.BatchNorm(x.shape[1], momentum=momentum, eps=eps, dtype=x.dtype).train(training)
    if mean is not None:
        layer.running_mean, layer.running_var = mean, var
    return channels_first(normalized(layer, channels_last(x), weight, bias))


def loss(name: str) -> Row:
    def row(x: Any, target: Any, reduction: str = "mean", **more: float) -> Any:
        need(name != "softmax_cross_entropy" or x.ndim == 2, "cross-entropy of other shapes than (N, K)")
        return getattr(losses, name)(x, target, reduction=reduction, **more)

    return row


# ---------------------------------------------------------------------------------------------------------------------
# The table, in the order of the chapters of `tinyae.ops`.

TABLE: dict[str, Row] = {
    "add": lambda x, y, alpha=1: x + (y if alpha == 1 else alpha * y),
    "sub": lambda x, y, alpha=1: x - (y if alpha == 1 else alpha * y),
    "mul": operator.mul,
    "true_divide": operator.truediv,
    "reciprocal": lambda x: 1.0 / x,
    "pow": operator.pow,
    "exp2": lambda x: 2.0**x,
    "rsqrt": lambda x: 1.0 / ops.sqrt(x),
    "neg": operator.neg,
    "abs": operator.abs,
    "__radd__": lambda x, y: y + x,
    "__rsub__": lambda x, y: y - x,
    "__rmul__": lambda x, y: y * x,
    "__rdiv__": lambda x, y: y / x,
    "__rpow__": lambda x, y: y**x,
    "__rmatmul__": lambda x, y: y @ x,
    **{name: named(name) for name in ("sign", "exp", "expm1", "log", "log1p", "sqrt", "square", "sin", "cos", "tanh")},
    **{name: named(name) for name in ("erf", "sigmoid", "logical_and", "logical_or", "logical_not")},
    **{f"nn.functional.{name}": named(name) for name in ("relu", "elu", "gelu", "silu")},
    "nn.functional.softplus": lambda x, beta=1, threshold=20: (
        need((x.data * beta <= threshold).all(), "softplus that returns x beyond a threshold")
        and ops.softplus(x * beta) / beta
    ),
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": named("equal"),
    "ne": named("not_equal"),
    "where": lambda x, condition, y: ops.where(condition, x, y),
    "masked_fill": lambda x, mask, value: ops.where(mask, value, x),
    "maximum": named("maximum"),
    "minimum": named("minimum"),
    "clamp": lambda x, min=None, max=None: ops.clip(x, low=min, high=max),
    "clamp_min": lambda x, low: ops.clip(x, low=low, high=None),
    "clamp_max": lambda x, high: ops.clip(x, low=None, high=high),
    "double": lambda x: ops.cast(x, dtype="float64"),
    "float": lambda x: ops.cast(x, dtype="float32"),
    **{name: reduction(name) for name in ("sum", "mean", "prod", "logsumexp")},
    "amax": reduction("max"),
    "amin": reduction("min"),
    **{name: deviation("variance") for name in ("var", "var.unbiased")},
    **{name: deviation("std") for name in ("std", "std.unbiased")},
    "linalg.vector_norm": lambda x, ord=2, dim=None, keepdim=False: (
        need(ord == 2 and not keepdim, "another norm than the Euclidean, keepdim") and ops.norm(x, axis=axes(dim))
    ),
    "softmax": lambda x, dim: ops.softmax(x, axis=dim),
    "log_softmax": lambda x, dim: ops.log_softmax(x, axis=dim),
    "cumsum": lambda x, dim: ops.cumsum(x, axis=dim),
    "reshape": lambda x, *shape: x.reshape(*shape),
    "unsqueeze": lambda x, dim: x[(*[slice(None)] * (dim % (x.ndim + 1)), None)],
    "permute": lambda x, dims: x.transpose(tuple(dims)),
    "t": lambda x: x.T,
    "mT": named("swap_last"),
    "expand": lambda x, *shape: ta.ops.expand(
        x, shape=tuple(x.shape[i] if n < 0 else n for i, n in enumerate(sizes(shape), x.ndim - len(sizes(shape))))
    ),
    "sum_to_size": lambda x, *shape: ta.ops.sum_to(x, shape=sizes(shape)),
    "__getitem__": operator.getitem,
    "select": at,
    "slice": lambda x, dim=0, start=None, end=None, step=1: at(x, dim, slice(start, end, step)),
    "narrow": lambda x, dim, start, n: at(x, dim, np.arange(x.shape[dim])[int(start) :][: int(n)]),
    "unbind": lambda x, dim=0: [at(x, dim, i) for i in range(x.shape[dim])],
    "flip": lambda x, dims: x[tuple(slice(None, None, -1 if {i, i - x.ndim} & {*dims} else 1) for i in range(x.ndim))],
    "index_select": at,
    "take": lambda x, index: x.reshape(-1)[index],
    "nn.functional.embedding": lambda table, index: table[index],
    "index_add": lambda x, dim, index, source, alpha=1: (
        x + alpha * ops.scatter(source, index=place(x, dim, index), shape=x.shape)
    ),
    "cat": lambda xs, dim=0: ops.concatenate(*xs, axis=dim),
    "stack": lambda xs, dim=0: ops.stack(*xs, axis=dim),
    "split_with_sizes": lambda x, lengths, dim=0: ops.split(x, lengths=tuple(lengths), axis=dim),
    **{f"nn.functional.pad.{mode}": pad for mode in ("constant", "reflect", "replicate")},
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot"), operator.matmul),
    "einsum": lambda xs, equation: (
        need("..." in equation.rpartition("->")[2] or "..." not in equation, "einsum that sums over '...'")
        and ops.einsum(equation, *xs)
    ),
    "nn.functional.linear": lambda x, w, bias=None: x @ w.T if bias is None else ops.dense(x, w.T, bias),
    "nn.functional.conv1d": convolution("conv1d", ndim=3),
    "nn.functional.conv2d": convolution("conv2d"),
    "nn.functional.conv_transpose2d": convolution("conv_transpose2d"),
    "nn.functional.max_pool2d": images(lambda x, **window: ops.max_pool2d(x, **window)),
    "nn.functional.avg_pool2d": images(lambda x, size, stride=None: ops.avg_pool2d(x, kernel_size=size, stride=stride)),
    "nn.functional.pixel_shuffle": images(pixel_shuffle),
    "nn.functional.layer_norm": layer_norm,
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.mse_loss": loss("squared_error"),
    "nn.functional.l1_loss": loss("absolute_error"),
    "nn.functional.huber_loss": loss("huber"),
    "nn.functional.binary_cross_entropy": loss("bce"),
    "nn.functional.binary_cross_entropy_with_logits": loss("bce_with_logits"),
    "nn.functional.cross_entropy": loss("softmax_cross_entropy"),
}
