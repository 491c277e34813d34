"""Reshaping, indexing and joining arrays. Every function here is linear, so its gradient is its adjoint.

The pairs are reshape with reshape, transpose with transpose, expand with sum_to (in the engine), getitem with scatter,
pad with crop, and concatenate with split. (Padding with a value other than 0 is affine, with the same rule.)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import numpy as np

from tinyae.autodiff import Operand, T, Tensor, adjoint_pair, primitive
from tinyae.backend import Array, backend_of
from tinyae.checks import check_kind, choose


@primitive
def reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    """The elements of x in another shape, C order; one length may be -1.   Adjoint: reshape back."""
    return x.reshape(shape)


adjoint_pair(reshape, reshape, lambda x, shape: {"shape": x.shape})


@primitive
def transpose(x: Array, *, axes: tuple[int, ...] | None = None) -> Array:
    """Permute the axes of x (None reverses them).   Adjoint: the inverse permutation."""
    return x.transpose(axes) if axes is not None else x.transpose()


def _inverse(x: Array, axes: tuple[int, ...] | None = None) -> dict[str, tuple[int, ...] | None]:
    if axes is None:
        return {"axes": None}
    forward = [a % x.ndim for a in axes]
    return {"axes": tuple(forward.index(i) for i in range(x.ndim))}


adjoint_pair(transpose, transpose, _inverse)


@primitive
def getitem(x: Array, *, index: Operand) -> Array:
    """x[index]: slices, integers, None, Ellipsis, integer arrays, boolean masks.   Adjoint: `scatter`."""
    return x[index]


@primitive
def scatter(x: Array, *, index: Operand, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with x added at `index`; repeated positions accumulate.   Adjoint: `getitem`."""
    xp = backend_of(x).xp
    out = xp.zeros(shape, dtype=x.dtype)
    if _names_positions_once(index):
        out[index] = x
    else:
        xp.add.at(out, index, x)
    return out


def _names_positions_once(index: Operand) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    basic = all(part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)) for part in parts)
    return basic or all(getattr(getattr(part, "dtype", None), "kind", "") == "b" for part in parts)


adjoint_pair(
    getitem,
    scatter,
    lambda x, index: {"index": index, "shape": x.shape},
    lambda x, index, shape: {"index": index},
)

Widths = tuple[tuple[int, int], ...]

PAD_MODES = ("constant", "reflect", "edge")
"""What `pad` puts around an array."""


@primitive
def pad(x: Array, *, widths: Widths, value: float = 0.0, mode: str = "constant") -> Array:
    """x with `widths[i] = (before, after)` entries around axis i: `value`, or copies of its own; "edge" repeats the
    outermost, "reflect" mirrors x at the outermost.   Adjoint (of the value 0): `crop` in the same mode.
    """
    _check_widths("pad", x, widths)
    check_kind("pad: value", value, float)
    if mode == "constant":
        return backend_of(x).xp.pad(x, widths, constant_values=value)
    _check_mode("pad", x.shape, widths, mode, value)
    return backend_of(x).xp.pad(x, widths, mode=mode)


@primitive
def crop(x: Array, *, widths: Widths, mode: str = "constant") -> Array:
    """x without its first `before` and last `after` entries along axis i, added to what `mode` copied.   Adjoint: `pad`."""
    _check_widths("crop", x, widths)
    for axis, (before, after) in enumerate(widths):
        if before + after > x.shape[axis]:
            raise ValueError(
                f"crop takes {before} + {after} from axis {axis} of length {x.shape[axis]}: "
                f"widths {widths} are too large."
            )
    if mode != "constant":
        return _folded(x, widths, mode)
    return x[tuple(slice(before, n - after) for (before, after), n in zip(widths, x.shape, strict=True))]


def _folded(x: Array, widths: Widths, mode: str) -> Array:
    _check_mode("crop", [n - sum(pair) for n, pair in zip(x.shape, widths, strict=True)], widths, mode)
    xp = backend_of(x).xp
    for axis, (before, after) in enumerate(widths):
        n = x.shape[axis] - before - after
        sources = xp.pad(xp.arange(n), (before, after), mode=mode)
        out = xp.array(x[along(x, axis, before, before + n)])
        for start, stop in ((0, before), (before + n, before + n + after)):
            border = along(x, axis, start, stop)
            xp.add.at(out, (*border[:axis], sources[start:stop]), x[border])
        x = out
    return x


def _check_widths(name: str, x: Array, widths: Widths) -> None:
    try:
        right = all(len(pair) == 2 and min(map(operator.index, pair)) >= 0 for pair in widths) and len(widths) == x.ndim
    except TypeError:
        right = False
    if not right:
        raise ValueError(
            f"{name}: widths must be one (before, after) pair of numbers >= 0 per axis of x "
            f"with shape {x.shape}, got {widths}."
        )


def _check_mode(name: str, shape: Sequence[int], widths: Widths, mode: str, value: float = 0.0) -> None:
    choose("mode", mode, PAD_MODES, owner=name)
    if value:
        raise ValueError(f"{name}: mode {mode!r} copies entries of x, got value={value}: leave out one of them.")
    empty = [axis for axis, (n, pair) in enumerate(zip(shape, widths, strict=True)) if n == 0 and any(pair)]
    if empty:
        raise ValueError(f"{name}: mode {mode!r} has nothing to copy along axis {empty[0]}: use mode='constant'.")


adjoint_pair(pad, crop, lambda x, widths, value=0.0, mode="constant": {"widths": widths, "mode": mode})


@primitive
def concatenate(*xs: Operand, axis: int = 0) -> Array:
    """Join arrays, or one list of arrays, along an existing axis.   Adjoint: `split`, dL/dx_k = piece k of G"""
    if not xs:
        raise ValueError("concatenate needs at least one array: concatenate(a, b, axis=0).")
    return backend_of(xs[0]).xp.concatenate(xs, axis)


@concatenate.vjp(...)
def _(g, out, position, *xs, axis=0):
    start = sum(x.shape[axis] for x in xs[:position])
    return getitem(g, index=along(g, axis, start, start + xs[position].shape[axis]))


def along(x: Tensor | Array, axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """The index of x[..., start:stop, ...] along `axis`."""
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, stop)
    return tuple(index)


def split(x: T, lengths: tuple[int, ...], axis: int = 0) -> list[T]:
    """Cut x along `axis` into consecutive pieces of the given lengths.   Adjoint: `concatenate`.

    Works on Tensors and arrays. The lengths must add up to the length of the axis.
    """
    if (sum(lengths),) != x.shape[axis : axis + 1 or None] or min(lengths, default=0) < 0:
        raise ValueError(
            f"split: lengths {tuple(lengths)} add up to {sum(lengths)}: give lengths of at least 0 that add up to that of "
            f"axis {axis} of shape {x.shape}."
        )
    stops = np.cumsum(lengths).tolist()
    return [getitem(x, index=along(x, axis, stop - n, stop)) for n, stop in zip(lengths, stops, strict=True)]


@primitive
def stack(*xs: Operand, axis: int = 0) -> Array:
    """Join arrays of one shape, or one list of them, along a new axis.   Adjoint: the slices, dL/dx_k = G[k]"""
    if not xs:
        raise ValueError("stack needs at least one array: stack(a, b, axis=0).")
    return backend_of(xs[0]).xp.stack(xs, axis)


@stack.vjp(...)
def _(g, out, position, *xs, axis=0):
    index = [slice(None)] * g.ndim
    index[axis] = position
    return getitem(g, index=tuple(index))


def flatten(x: T) -> T:
    """(N, ...) as (N, D): all axes but the first are merged."""
    if x.ndim < 1:
        raise ValueError(f"flatten: the input needs a batch axis N, got shape {x.shape}: write x.reshape(1, -1).")
    return reshape(x, shape=(x.shape[0], math.prod(x.shape[1:])))


def swap_last(x: T) -> T:
    """Exchange the last two axes: the transpose of each matrix in a batch."""
    axes = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    return transpose(x, axes=axes)


def tensor_getitem(x: Tensor, index: object) -> Tensor:
    """x[1:3], x[x > 0] or x[rows, 0]: like `getitem`, but masks and integer indices may be Tensors."""
    if isinstance(index, tuple):
        return getitem(x, index=tuple(part.data if isinstance(part, Tensor) else part for part in index))
    return getitem(x, index=index.data if isinstance(index, Tensor) else index)


def tensor_transpose(x: Tensor, *axes: int | tuple[int, ...]) -> Tensor:
    """x.transpose(), x.transpose(1, 0) or x.transpose((1, 0))."""
    return transpose(x, axes=_numbers(axes) if axes else None)


def tensor_reshape(x: Tensor, *shape: int | tuple[int, ...]) -> Tensor:
    """x.reshape(2, 3) or x.reshape((2, 3))."""
    return reshape(x, shape=_numbers(shape))


def _numbers(given: tuple[int | tuple[int, ...], ...]) -> tuple[int, ...]:
    return tuple(n for part in given for n in ((part,) if isinstance(part, int) else part))
