"""The LSTM over whole sequences as one operation, and helpers for sequences of unequal length."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tinyae.autodiff import Operand, Tensor, primitive
from tinyae.backend import Array, backend_of
from tinyae.backend.devices import as_array
from tinyae.ops.arrays import getitem, stack
from tinyae.ops.elementwise import sigmoid, tanh, where

Lengths: TypeAlias = Any
"""The lengths of the sequences without padding: N whole numbers in a list, or an array on any device; or None."""

# ---------------------------------------------------------------------------------------------------------------------
# The long short-term memory over a whole sequence as one operation (Hochreiter and Schmidhuber 1997).
#
# A cell is small, so function calls cost more than arithmetic. The fused form projects the inputs of all steps in one
# matrix product, needs one more product per step, computes the gates in place, and keeps them for a single rule that
# implements backpropagation through time. The readable definition is `lstm_composed`, a short cell and a loop; the fused
# form is tested against it, and derivatives of higher order run it instead.


def lstm_cell_composed(
    z: Tensor, h: Tensor, c: Tensor, w_h: Tensor, peepholes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One step: the new (h, c), each (N, H), from the projected inputs z = x W_x + b (N, 4H) and the old ones."""
    i, f, g, o = _gates(z + h @ w_h)
    if peepholes is not None:
        i, f = i + peepholes[0] * c, f + peepholes[1] * c
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    if peepholes is not None:
        o = o + peepholes[2] * c
    return sigmoid(o) * tanh(c), c


def lstm_composed(
    x: Operand,
    h0: Operand,
    c0: Operand,
    w_x: Operand,
    w_h: Operand,
    b: Operand,
    peepholes: Operand = None,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    steps: int | None = None,
) -> Tensor:
    """Cell by cell, in primitives: the definition of `lstm`."""
    plan = plan_steps(x, h0, w_h, lengths, reverse, steps)
    h, c = plan.initial(h0, w_h), plan.initial(c0, w_h)
    states: list[Any] = [None] * plan.steps
    for t in plan.order:
        z = b if x is None else plan.input_at(x, t) @ w_x + b
        new_h, new_c = lstm_cell_composed(z, h, c, w_h, peepholes)
        over = plan.finished(t)
        h, c = (new_h, new_c) if over is None else (where(over, h, new_h), where(over, c, new_c))
        states[t] = h
    return stack(*states, c, axis=1)


@primitive(composed=lstm_composed)
def lstm(
    x: Operand,
    h0: Operand,
    c0: Operand,
    w_x: Operand,
    w_h: Operand,
    b: Operand,
    peepholes: Operand = None,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    steps: int | None = None,
) -> Any:
    """All outputs and the last cell state, (N, T + 1, H): h of steps 1 to T, then c.

    At each step, with s = sigmoid, * elementwise, gates in the order i, f, g, o along the axis of 4H:
    (i, f, g, o) = x_t W_x + h_{t-1} W_h + b,   c_t = s(f) * c_{t-1} + s(i) * tanh(g),   h_t = s(o) * tanh(c_t),
    and with peepholes p (3, H) (Graves 2013, eq. 7 to 11): i + p_0 * c_{t-1}, f + p_1 * c_{t-1}, o + p_2 * c_t.

    Args:
        x: inputs (N, T, D), or None for `steps` steps without input; then w_x is None too.
        h0, c0: the state before the first step, (N, H) each; None means zeros.
        w_x, w_h, b, peepholes: (D, 4H), (H, 4H), (4H,), (3, H) or None.
        lengths: the number of steps of each sequence, N whole numbers. After its last step the state of a sequence
            does not change, so that the last step holds the final states of all sequences.
        reverse: go from each sequence's last step back to its first; then h of step 1 is the last one computed.

    Backpropagation through time, with i, f, g, o now the gates themselves, s(.) and tanh(.), and grad_t the gradient arriving
    at h_t (and at the last c, from which dc starts):
    dh = grad_t + dz_{t+1} W_h^T,   dc = dc_{t+1} * f_{t+1} + dh * o * (1 - tanh(c_t)**2)   (+ peephole terms),
    do = dh * tanh(c_t) * o (1 - o),   di = dc * g * i (1 - i),   df = dc * c_{t-1} * f (1 - f),   dg = dc * i * (1 - g**2),
    dz_t = (di, df, dg, do),   dx_t = dz_t W_x^T,
    dW_x = sum over t of x_t^T dz_t,   dW_h = sum over t of h_{t-1}^T dz_t,   db = sum over t and the batch of dz_t.
    """
    plan = plan_steps(x, h0, w_h, lengths, reverse, steps)
    _check_shapes(x, {"h0": h0, "c0": c0}, w_x, w_h, b, peepholes)
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    dtype = xp.result_type(*[a for a in (x, h0, c0, w_x, w_h, b, peepholes) if a is not None])
    rows, gates = _projected(x, w_x, b, plan, dtype)
    out = xp.empty((plan.steps + 1, plan.samples, size), dtype=dtype)
    cells, squashed = (xp.empty((plan.steps, plan.samples, size), dtype=dtype) for _ in range(2))
    scale = _scale(xp, size, dtype)
    h, c = plan.initial(h0, w_h), plan.initial(c0, w_h)
    product, part = xp.empty_like(gates[0]), xp.empty_like(cells[0])
    for t in plan.order:
        z = gates[t]
        i, f, g, o = _gates(z)
        if h0 is not None or t != plan.order[0]:  # h0 is zero: skip the product
            z += xp.matmul(h, w_h, out=product)
        if peepholes is None:
            _squash(xp, z, scale)
        else:
            i += peepholes[0] * c
            f += peepholes[1] * c
            _squash(xp, z[:, : 3 * size], scale[:, : 3 * size])
        xp.multiply(f, c, out=cells[t])
        cells[t] += xp.multiply(i, g, out=part)
        over = plan.finished(t)
        if over is not None:
            xp.copyto(cells[t], c, where=over)
        c = cells[t]
        if peepholes is not None:
            o += peepholes[2] * c
            _squash(xp, o, scale[:, 3 * size :])
        xp.multiply(o, xp.tanh(c, out=squashed[t]), out=out[t])
        if over is not None:
            xp.copyto(out[t], h, where=over)
        h = out[t]
    out[plan.steps] = c
    return out.transpose(1, 0, 2), (plan, rows, gates, cells, squashed)


@lstm.fused_vjp
def _(grad, out, residuals, wanted, x, h0, c0, w_x, w_h, b, peepholes=None, **params):
    plan, rows, _, cells, _ = residuals
    size, first = w_h.shape[0], plan.order[0]
    dz, dh, dc = _through_time(grad.transpose(1, 0, 2), residuals, c0, w_h, peepholes)
    flat = dz.reshape(-1, 4 * size)
    dx = dw_x = dw_h = db = dp = None
    if 0 in wanted:
        dx = (flat @ w_x.T).reshape(plan.steps, plan.samples, x.shape[2]).transpose(1, 0, 2)
    if 3 in wanted:
        dw_x = rows.T @ flat
    if 4 in wanted:
        past = plan.all_but_last(out.transpose(1, 0, 2)).reshape(-1, size)
        dw_h = past.T @ plan.all_but_first(dz).reshape(-1, 4 * size)
        if h0 is not None:
            dw_h += h0.T @ dz[first]
    if 5 in wanted:
        db = flat.sum(axis=0)
    if 6 in wanted:
        di, df, _, do = _gates(dz)
        past = plan.all_but_last(cells)
        seen = [(plan.all_but_first(d) * past).sum(axis=(0, 1)) for d in (di, df)]
        dp = backend_of(w_h).xp.stack([*seen, (do * cells).sum(axis=(0, 1))])
        if c0 is not None:
            dp[0] += (di[first] * c0).sum(axis=0)
            dp[1] += (df[first] * c0).sum(axis=0)
    return dx, dh, dc, dw_x, dw_h, db, dp


def _through_time(
    grad: Array, residuals: Residuals, c0: Array | None, w_h: Array, peepholes: Array | None
) -> tuple[Array, Array, Array]:
    """Backpropagate grad (T + 1, N, H) through time: the gradients of all sums, (T, N, 4H), and of h0 and c0."""
    plan, _, gates, cells, squashed = residuals
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    dz, slope = xp.empty_like(gates), xp.empty_like(gates[0])
    slope_g, slope_o = _gates(slope)[2:]
    dh, part = xp.zeros_like(cells[0]), xp.empty_like(cells[0])
    dc = xp.zeros_like(dh)
    dc += grad[plan.steps]
    back = w_h.T
    for t in reversed(plan.order):
        i, f, g, o = _gates(gates[t])
        di, df, dg, do = _gates(dz[t])
        over = plan.finished(t)
        dh += grad[t]
        if over is not None:
            kept = xp.where(over, dh, 0.0)
            xp.copyto(dh, 0.0, where=over)
        # Slopes of the gates: s (1 - s) for i, f and o, 1 - g**2 = (1 - g) (1 + g) for g.
        xp.subtract(1.0, gates[t], out=slope)
        slope[:, : 2 * size] *= gates[t][:, : 2 * size]
        slope_o *= o
        slope_g *= xp.add(g, 1.0, out=part)
        xp.multiply(dh, squashed[t], out=do)
        do *= slope_o
        # Into the cell: from the output, and from the peephole of the output gate.
        xp.multiply(squashed[t], squashed[t], out=part)
        xp.subtract(1.0, part, out=part)
        part *= o
        part *= dh
        dc += part
        if peepholes is not None:
            dc += do * peepholes[2] if over is None else xp.where(over, 0.0, do * peepholes[2])
        xp.multiply(dc, g, out=di)
        xp.multiply(dc, i, out=dg)
        past = c0 if t == plan.order[0] else cells[t - plan.order.step]
        if past is None:
            df[...] = 0.0
        else:
            xp.multiply(dc, past, out=df)
        dz[t][:, : 3 * size] *= slope[:, : 3 * size]
        if over is None:
            dc *= f
        else:
            xp.copyto(dz[t], 0.0, where=over)
            dc *= xp.where(over, 1.0, f)
        if peepholes is not None:
            dc += di * peepholes[0]
            dc += df * peepholes[1]
        xp.matmul(dz[t], back, out=dh)
        if over is not None:
            dh += kept
    return dz, dh, dc


def _gates(z: Any) -> list[Any]:
    """The gates i, f, g, o of sums (..., 4H), each (..., H); those of an array are views."""
    size = z.shape[-1] // 4
    return [z[..., k * size : (k + 1) * size] for k in range(4)]


def _scale(xp: Any, size: int, dtype: np.dtype) -> Array:
    """Factors and offsets (2, 4H) of the gates: s(z) = 0.5 tanh(0.5 z) + 0.5 for i, f and o, tanh itself for g."""
    scale = xp.full((2, 4 * size), 0.5, dtype=dtype)
    scale[0, 2 * size : 3 * size] = 1.0
    scale[1, 2 * size : 3 * size] = 0.0
    return scale


def _squash(xp: Any, z: Array, scale: Array) -> None:
    """Turn sums into gates, in place."""
    z *= scale[0]
    xp.tanh(z, out=z)
    z *= scale[0]
    z += scale[1]


def _projected(x: Array | None, w_x: Array | None, b: Array, plan: StepPlan, dtype: Any) -> tuple[Array | None, Array]:
    """x as rows (T * N, D), time first, and x W_x + b of all steps (T, N, 4H): one matrix product.

    Without x the sums are the bias alone. Padding counts as 0 whatever it contains, even NaN.
    """
    xp = backend_of(b).xp
    shape = (plan.steps, plan.samples, b.shape[0])
    if x is None:
        z = xp.empty(shape, dtype=dtype)
        z[...] = b
        return None, z
    steps = x.transpose(1, 0, 2)
    steps = xp.ascontiguousarray(steps) if plan.ended is None else xp.where(plan.ended, x.dtype.type(0), steps)
    rows = steps.reshape(-1, x.shape[2])
    z = xp.matmul(rows, w_x)
    z += b
    return rows, z.reshape(shape) if z.dtype == dtype else z.reshape(shape).astype(dtype)


def _check_shapes(
    x: Array | None, states: dict[str, Array | None], w_x: Array | None, w_h: Array, b: Array, peepholes: Array | None
) -> None:
    """Raise ValueError unless all arrays have the shapes that `lstm` requires."""
    size = w_h.shape[0]
    wide = (4 * size,)
    fits = (x is None and w_x is None) or (x is not None and w_x is not None and w_x.shape == (x.shape[-1], *wide))
    if not fits or w_h.shape[1:] != wide or b.shape != wide:
        raise ValueError(
            "lstm: x (N, T, D), w_x (D, 4H), w_h (H, 4H), b (4H,) do not fit shapes "
            f"{getattr(x, 'shape', None)}, {getattr(w_x, 'shape', None)}, {w_h.shape}, {b.shape}."
        )
    for name, state in states.items():
        if state is not None and (
            state.ndim != 2 or state.shape[1] != size or (x is not None and len(state) != len(x))
        ):
            raise ValueError(f"lstm: {name} must be (N, {size}), one row for each sequence, got shape {state.shape}.")
    if peepholes is not None and peepholes.shape != (3, size):
        raise ValueError(f"lstm: peepholes must be (3, {size}), for the gates i, f and o, got shape {peepholes.shape}.")


# ---------------------------------------------------------------------------------------------------------------------
# The order of the steps, and sequences of unequal length.
#
# After a sequence of a padded batch has ended, its state does not change. The state after the last step is therefore the
# final state of every sequence, long or short, and a reversed pass keeps the initial state until it reaches the last step
# of the sequence. Padding never enters a state or a gradient.


class StepPlan(NamedTuple):
    """The order of the steps of a batch of sequences, and where sequences end.

    Attributes:
        samples, steps: N and T.
        order: the steps in the order of computation.
        ended: (T, N, 1), True where a sequence has already ended; None if all have T steps.
        min_length: a number of steps that every sequence is known to have.
    """

    samples: int
    steps: int
    order: range
    ended: Array | None
    min_length: int

    def finished(self, t: int) -> Array | None:
        """The sequences (N, 1) that have ended before step t; None if there are none."""
        return None if self.ended is None or t < self.min_length else self.ended[t]

    def input_at(self, x: Tensor, t: int) -> Tensor:
        """Step t of x (N, T, D), (N, D), with zeros for sequences that have ended."""
        step, over = getitem(x, index=(slice(None), t)), self.finished(t)
        return step if over is None else where(over, 0.0, step)

    def initial(self, state: Any, w_h: Any) -> Any:
        """The state before the first step: `state`, or zeros (N, H) for weights w_h (H, 4H)."""
        if state is not None:
            return state
        return backend_of(_raw(w_h)).xp.zeros((self.samples, w_h.shape[0]), dtype=w_h.dtype)

    def all_but_first(self, array: Array) -> Array:
        """The entries of an array (T, ...) for all steps but the first in the order of computation."""
        return array[1 : self.steps] if self.order.step > 0 else array[: self.steps - 1]

    def all_but_last(self, array: Array) -> Array:
        """The entries of an array (T, ...) for all steps but the last: those that precede `all_but_first`."""
        return array[: self.steps - 1] if self.order.step > 0 else array[1 : self.steps]


def plan_steps(
    x: Tensor | None, h0: Tensor | None, w_h: Tensor, lengths: Lengths, reverse: bool, steps: int | None
) -> StepPlan:
    """The plan for the arguments of `lstm`, raw arrays or Tensors; x or h0 may be None.

    Raises:
        ValueError: N or T is unknown, there are no steps, or the lengths do not fit.
    """
    if x is None:
        if steps is None or h0 is None:
            raise ValueError("lstm: without an input x it needs steps=T and the initial state h0: write e.g. steps=10.")
        n, count = len(h0), operator.index(steps)
    elif x.ndim == 3 and steps in (None, x.shape[1]):
        n, count = x.shape[:2]
    else:
        given = "" if steps is None else f" and steps={steps}"
        raise ValueError(f"lstm: x must be (N, T, D), got shape {x.shape}{given}: omit steps when there is an x.")
    if count < 1:
        raise ValueError(f"lstm: a sequence needs at least one step, got {count}.")
    order = range(count - 1, -1, -1) if reverse else range(count)
    min_length = count
    if lengths is not None:
        lengths = check_lengths("lstm", lengths, n, count)
        min_length = int(lengths.min(initial=count)) if isinstance(lengths, np.ndarray) else 0
    if min_length == count:
        return StepPlan(n, count, order, None, count)
    backend = backend_of(_raw(w_h))
    ended = backend.xp.arange(count)[:, None] >= backend.to_device(lengths)
    return StepPlan(n, count, order, ended.reshape(count, n, 1), min_length)


def check_lengths(owner: str, lengths: Lengths, samples: int, steps: int) -> Array:
    """Lengths (N,), as int64 on the host; raises unless each of the N sequences has a length from 1 to T.

    Lengths on a GPU stay there unread: only their number and type are checked.
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
    """Lengths as an array of whole numbers (N,) on their device; raises ValueError for anything else."""
    found = as_array(_raw(lengths))  # a module makes Tensors of arrays of floating-point numbers
    if found.shape != (samples,) or found.dtype.kind not in "iu":
        raise ValueError(
            f"{owner}: lengths must be {samples} whole numbers, one for each sequence, got {found.dtype} of shape "
            f"{found.shape}: write lengths=[5, 3, ...], or lengths.astype('int64')."
        )
    return found


def settled(owner: str, lengths: Lengths, samples: int, steps: int, like: Tensor | Array) -> Lengths:
    """Lengths, checked and copied once to the device of `like`, for several operations."""
    found = check_lengths(owner, lengths, samples, steps)
    return backend_of(_raw(like)).to_device(found) if isinstance(found, np.ndarray) else found


def _raw(value: Any) -> Array:
    """The array of a Tensor; anything else unchanged."""
    return value._data if isinstance(value, Tensor) else value


Residuals = tuple[StepPlan, Array, Array, Array, Array]
"""What `lstm` saves for its rule: the plan, the inputs as rows, and the gates, cells and tanh(cells) of all steps."""
