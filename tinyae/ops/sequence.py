"""What the recurrent operations share: the order of the steps, sequences of unequal length, and the input projections.

A recurrent state goes from step to step. Where a sequence of a padded batch has ended, its state is handed on as it
is: so the state after the last step is the final state of every sequence, long or short, and a walk backwards through
time keeps the initial state until it meets the sequence's own last step. Padding never enters a state or a gradient.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from tinyae.backend import Array, backend_of
from tinyae.ops.comparisons import where
from tinyae.ops.shape import getitem

Lengths = Any
"""How many steps of each sequence are real: whole numbers (N,) in a list or array, or an array on the device."""


class Walk(NamedTuple):
    """The way through a batch of sequences.

    Attributes:
        samples, steps: N and T.
        order: the steps in the order in which they are taken.
        ended: (T, N, 1), True where a sequence is over already; None if all have T steps.
        whole: how many first steps every sequence is known to have.
    """

    samples: int
    steps: int
    order: range
    ended: Array | None
    whole: int

    def over(self, t: int) -> Array | None:
        """Which sequences (N, 1) are over at step t; None if none is."""
        return None if self.ended is None or t < self.whole else self.ended[t]

    def given(self, x: Any, t: int) -> Any:
        """Step t of the Tensor x (N, T, D), (N, D): zeros where a sequence is over, whatever stands there."""
        step, over = getitem(x, index=(slice(None), t)), self.over(t)
        return step if over is None else where(over, 0.0, step)

    @property
    def first(self) -> int:
        """The step that is taken first."""
        return self.order[0]

    def nothing(self, w_h: Any) -> Array:
        """The state of zeros (N, H) from which a walk starts that is given none; w_h (H, ...) as array or Tensor."""
        return backend_of(getattr(w_h, "_data", w_h)).xp.zeros((self.samples, w_h.shape[0]), dtype=w_h.dtype)

    def later(self, array: Array) -> Array:
        """Of an array (T, ...), what belongs to all steps but the first one taken."""
        return array[1 : self.steps] if self.order.step > 0 else array[: self.steps - 1]

    def earlier(self, array: Array) -> Array:
        """Of an array (T, ...), what belongs to all steps but the last one taken: the steps before `later`."""
        return array[: self.steps - 1] if self.order.step > 0 else array[1 : self.steps]


def walk_through(owner: str, x: Any, h0: Any, w_h: Any, lengths: Lengths, reverse: bool, steps: int | None) -> Walk:
    """Plan a walk from the arguments of a recurrent operation: raw arrays or Tensors, x or h0 may be None.

    Raises:
        ValueError: no way to know N or T, no step at all, or lengths that do not fit.
    """
    if x is None and (steps is None or h0 is None):
        raise ValueError(f"{owner}: without an input x it needs steps=T and the initial state h0: write steps=10, say.")
    if x is not None and (x.ndim != 3 or (steps is not None and steps != x.shape[1])):
        asked = "" if steps is None else f" and steps={steps}"
        raise ValueError(
            f"{owner}: x must be (N, T, D), got shape {x.shape}{asked}: leave steps out where there is an x."
        )
    n, count = (h0.shape[0], steps) if x is None else x.shape[:2]
    count = operator.index(count or 0)
    if count < 1:
        raise ValueError(f"{owner}: a sequence needs at least one step, got {count}.")
    order = range(count - 1, -1, -1) if reverse else range(count)
    if lengths is None:
        return Walk(n, count, order, None, count)
    backend = backend_of(getattr(w_h, "_data", w_h))
    whole = 0
    lengths = check_lengths(owner, lengths, n, count)
    if isinstance(lengths, np.ndarray):
        whole = int(lengths.min(initial=count))
    if whole == count:
        return Walk(n, count, order, None, count)
    ended = backend.xp.arange(count)[:, None] >= backend.to_device(lengths)
    return Walk(n, count, order, ended.reshape(count, n, 1), whole)


def check_lengths(owner: str, lengths: Lengths, samples: int, steps: int) -> Array:
    """Lengths (N,), on the host as int64; raises unless there is one from 1 to T for each of the N sequences.

    Those on a device stay there, and as their values are not looked at, only their number and type are checked.
    """
    found = whole_numbers(owner, lengths, samples)
    if not isinstance(found, np.ndarray):
        return found
    wrong = np.flatnonzero((found < 1) | (found > steps))
    if wrong.size:
        raise ValueError(
            f"{owner}: lengths must be from 1 to the {steps} steps of the batch, got {found[wrong[0]]} for sequence "
            f"{wrong[0]}: leave empty sequences out, and pad the batch to the longest."
        )
    return found.astype(np.int64)


def whole_numbers(owner: str, lengths: Lengths, samples: int) -> Array:
    """Lengths as an array of whole numbers (N,), where they are; raises ValueError for anything else."""
    found: Any = getattr(lengths, "_data", lengths)  # a module makes Tensors of arrays of floating-point numbers
    found = found if hasattr(found, "dtype") else np.asarray(found)
    if found.shape != (samples,) or found.dtype.kind not in "iu":
        raise ValueError(
            f"{owner}: lengths must be {samples} whole numbers, one for each sequence, got {found.dtype} of shape "
            f"{found.shape}: write lengths=[5, 3, ...], or lengths.astype(int)."
        )
    return found


def settled(owner: str, lengths: Lengths, samples: int, steps: int, like: Any) -> Lengths:
    """Lengths checked, and copied to the device of the Tensor or array `like` once, for several operations."""
    found = check_lengths(owner, lengths, samples, steps)
    return backend_of(getattr(like, "_data", like)).to_device(found) if isinstance(found, np.ndarray) else found


def projected(x: Array | None, w_x: Array | None, b: Array, walk: Walk, dtype: Any) -> tuple[Array | None, Array]:
    """x as rows (T * N, D), time first, and x W_x + b of all steps (T, N, G): one matrix product. G gates in all.

    Without an x the sums are the bias alone. What stands in the padding, NaN even, is taken for 0.
    """
    xp = backend_of(b).xp
    shape = (walk.steps, walk.samples, b.shape[0])
    if x is None:
        z = xp.empty(shape, dtype=dtype)
        z[...] = b
        return None, z
    steps = x.transpose(1, 0, 2)
    steps = xp.ascontiguousarray(steps) if walk.ended is None else xp.where(walk.ended, x.dtype.type(0), steps)
    rows = steps.reshape(walk.steps * walk.samples, x.shape[2])
    z = xp.matmul(rows, w_x)
    z += b
    return rows, z.reshape(shape) if z.dtype == dtype else z.reshape(shape).astype(dtype)


def check_recurrent_shapes(owner: str, gates: int, x: Any, states: dict[str, Any], w_x: Any, w_h: Any, b: Any) -> None:
    """Raise ValueError unless W_x is (D, G H), W_h (H, G H), b (G H,) and every state given (N, H)."""
    size = w_h.shape[0]
    wide = (gates * size,)
    fits = w_h.shape[1:] == wide and b.shape == wide and (x is None) == (w_x is None)
    if fits and x is not None:
        fits = w_x.shape == (x.shape[-1], *wide)
    if not fits:
        raise ValueError(
            f"{owner}: x (N, T, D), w_x (D, {gates}H), w_h (H, {gates}H), b ({gates}H,) do not fit shapes "
            f"{getattr(x, 'shape', None)}, {getattr(w_x, 'shape', None)}, {w_h.shape}, {b.shape}."
        )
    for name, state in states.items():
        if state is not None and (
            state.ndim != 2 or state.shape[1] != size or (x is not None and len(state) != len(x))
        ):
            raise ValueError(
                f"{owner}: {name} must be (N, {size}), one row for each sequence, got shape {state.shape}."
            )
