"""Which steps of padded sequences are real, and in which order: masks, reversal, past and future.

Sequences are (N, T, D) with `lengths` (N,) or None where all T steps are real. The indices are computed where the
sequences are; only the lengths, N whole numbers, go to a device.
"""

from __future__ import annotations

from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.backend import Array, backend_of
from tinyae.ops.sequence import Lengths


def turned(x: Tensor, lengths: Lengths) -> Tensor:
    """Each sequence back to front within its own length; the padding stays where it is."""
    if lengths is None:
        return ops.getitem(x, index=(slice(None), slice(None, None, -1)))
    t, ends = _clock(x, x.shape[1], lengths)
    return picked(x, backend_of(x.data).xp.where(t < ends, ends - 1 - t, t))


def future(x: Tensor, lengths: Lengths, count: int) -> Tensor:
    """The last `count` real steps of each sequence, (N, count, D)."""
    if lengths is None:
        return ops.getitem(x, index=(slice(None), slice(x.shape[1] - count, None)))
    t, ends = _clock(x, count, lengths)
    return picked(x, ends - count + t)


def joined(past: Tensor, after: Tensor, lengths: Lengths) -> Tensor:
    """`after` (N, F, D) where each sequence of `past` (N, T, D) ends, (N, T + F, D); zeros behind it."""
    both = ops.concatenate(past, after, axis=1)
    if lengths is None:
        return both
    t, ends = _clock(both, both.shape[1], lengths)
    xp, count, steps = backend_of(both.data).xp, after.shape[1], past.shape[1]
    place = xp.where(t < ends, t, xp.where(t < ends + count, t - ends + steps, t))
    return picked(both, place) * (t < ends + count)[..., None].astype(both.dtype)


def blanked(x: Tensor, lengths: Lengths) -> Tensor:
    """x with zeros in its padding, whatever stands there: NaN times 0 would still be NaN."""
    t, ends = _clock(x, x.shape[1], lengths)
    return ops.where((t < ends)[..., None], x, 0.0)


def real(x: Tensor, lengths: Lengths) -> Array:
    """1 at the real steps of x (N, T, ...) and 0 in its padding, (N, T, 1, ...), in the dtype of x and where x is."""
    t, ends = _clock(x, x.shape[1], lengths)
    return (t < ends).reshape(*x.shape[:2], *(1,) * (x.ndim - 2)).astype(x.dtype)


def picked(x: Tensor, steps: Array) -> Tensor:
    """x[n, steps[n, t]]: for each sequence steps of its own, (N, S, D) for `steps` (N, S)."""
    rows = backend_of(x.data).xp.arange(x.shape[0])[:, None]
    return ops.getitem(x, index=(rows, steps))


def _clock(x: Tensor, steps: int, lengths: Lengths) -> tuple[Array, Array]:
    """The numbers of the steps (1, T), and the lengths (N, 1), where x is."""
    backend = backend_of(x.data)
    return backend.xp.arange(steps)[None, :], backend.to_device(lengths).reshape(-1, 1)
