"""The LSTM over whole sequences as one operation, and helpers for sequences of unequal length."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tinyae.autodiff import Operand, Tensor, primitive
from tinyae.backend import CPU, Array, backend_of
from tinyae.backend.devices import as_array
from tinyae.backend.parallel import in_parts
from tinyae.ops.arrays import getitem, stack
from tinyae.ops.elementwise import sigmoid, tanh, where

Lengths: TypeAlias = Any
"""The lengths of the sequences without padding: N whole numbers in a list, or an array on any device; or None."""

# ---------------------------------------------------------------------------------------------------------------------
# The long short-term memory over a whole sequence as one operation (Hochreiter and Schmidhuber 1997).
#
# A cell is small, so function calls cost more than arithmetic. The fused form needs one product per step, of (h, x, 1) with all
# weights, and one for all their gradients; it computes the gates in place, each a contiguous block (T, N, H), and keeps
# them for a single rule that implements backpropagation through time. Large work is shared by two threads. The readable
# definition is `lstm_composed`, a short cell and a loop; the fused form is tested against it, and derivatives of higher
# order run it instead.


def lstm_cell_composed(
    z: Tensor, h: Tensor, c: Tensor, w_h: Tensor, peepholes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One step: the new (h, c), each (N, H), from the projected inputs z = x W_x + b (N, 4H) and the old ones."""
    z = z + h @ w_h
    size = z.shape[1] // 4
    i, f, g, o = (z[:, k * size : (k + 1) * size] for k in range(4))
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
        x: inputs (N, T, D); or (N, D), the same at each of `steps` steps, which is projected once; or None for `steps` steps
            without input; then w_x is None too.
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
    rows, weights, projected, inputs = _rows(x, h0, w_x, w_h, b, plan, dtype)
    gates = xp.empty((4, plan.steps, plan.samples, size), dtype=dtype)
    cells, squashed = (xp.empty((plan.steps, plan.samples, size), dtype=dtype) for _ in range(2))
    c_start, part = plan.initial(c0, w_h), xp.empty_like(cells[0])
    before, after = rows[plan.before], rows[plan.after, :, :size]
    one = dtype.type(1)

    def run(start: int, stop: int) -> None:
        # While Python takes slices, it holds the interpreter's lock and the other thread waits: they are taken before the loop.
        some = slice(start, stop)
        sums, seen, hs = gates[:, :, some], before[:, some], after[:, some]
        cs, squashed_cs, scratch, c = cells[:, some], squashed[:, some], part[some], c_start[some]
        for t in plan.order:
            z, h, new, over = sums[:, t], hs[t], cs[t], plan.finished(t)
            xp.matmul(seen[t], weights, out=z)
            if projected is not None:
                z += projected[:, t, some]
            o, i, f, g = z
            sigmoids = z[:3]
            if peepholes is not None:
                sigmoids = z[1:3]
                i -= peepholes[0] * c
                f -= peepholes[1] * c
            xp.exp(sigmoids, out=sigmoids)
            sigmoids += one
            xp.divide(one, sigmoids, out=sigmoids)
            xp.tanh(g, out=g)
            xp.multiply(f, c, out=new)
            new += xp.multiply(i, g, out=scratch)
            if over is not None:
                xp.copyto(new, c, where=over[some])
            c = new
            if peepholes is not None:
                o -= peepholes[2] * c
                o[...] = one / (one + xp.exp(o))
            xp.multiply(o, xp.tanh(c, out=squashed_cs[t]), out=h)
            if over is not None:
                xp.copyto(h, seen[t, :, :size], where=over[some])

    with np.errstate(over="ignore"):  # 1 / (1 + infinity) is 0
        plan.in_halves(run)
    out = xp.empty((plan.steps + 1, plan.samples, size), dtype=dtype)
    out[: plan.steps], out[plan.steps] = after, cells[plan.order[-1]]
    return out.transpose(1, 0, 2), (plan, rows, weights, inputs, gates, cells, squashed)


@lstm.fused_vjp
def _(grad, out, residuals, wanted, x, h0, c0, w_x, w_h, b, peepholes=None, **params):
    plan, rows, _, inputs, _, cells, _ = residuals
    backend, size, first = backend_of(w_h), w_h.shape[0], plan.order[0]
    dz, dh, dc = _through_time(grad.transpose(1, 0, 2), out.transpose(1, 0, 2), residuals, c0, peepholes, 1 in wanted)
    dx = dw_x = dw_h = db = dp = None
    sums = _side_by_side(dz.reshape(4, plan.steps * plan.samples, size))
    if {3, 4, 5}.intersection(wanted):
        d_weights = backend.matmul(rows[plan.before].reshape(len(sums), rows.shape[2]).T, sums)
        dw_h, dw_x, db = d_weights[:size], d_weights[size:-1], d_weights[-1]
    if inputs is not None:
        sums = sums.reshape(plan.steps, plan.samples, 4 * size).sum(axis=0) if x.ndim == 2 else sums
        asked = [k for k, of in enumerate((0, 3, 5)) if of in wanted]
        dx, dw_x, db = backend.affine_backward(lambda some: sums[some], inputs, w_x, asked)
    elif 0 in wanted:
        dx = backend.matmul(sums, w_x.T)
    if dx is not None and x.ndim == 3:
        dx = dx.reshape(plan.steps, plan.samples, x.shape[2]).transpose(1, 0, 2)
    if 6 in wanted:
        seen = [(dz[k, plan.later] * cells[plan.earlier]).sum(axis=(0, 1)) for k in (1, 2)]
        dp = -backend.xp.stack([*seen, (dz[0] * cells).sum(axis=(0, 1))])
        if c0 is not None:
            dp[:2] -= (dz[1:3, first] * c0).sum(axis=1)
    return dx, dh, dc, dw_x, dw_h, db, dp


def _through_time(
    grad: Array, out: Array, residuals: Residuals, c0: Array | None, peepholes: Array | None, all_h: bool
) -> tuple[Array, Array, Array]:
    """Backpropagate grad (T + 1, N, H) through time: the gradients of all sums, (4, T, N, H), and of h0 and c0.

    Every gradient is a product with dh or dc, and its other factors are known before: they are multiplied for all steps
    at once. In the order of time backwards what is left is dc += dh * into,  do *= dh,  (di, df, dg) *= dc,  dc *= keep.
    """
    plan, _, weights, _, gates, cells, squashed = residuals
    xp, size = backend_of(cells).xp, cells.shape[2]
    dz, into = xp.empty_like(gates), xp.empty_like(cells)
    keep = gates[2] if plan.ended is None else xp.where(plan.ended, 1.0, gates[2])
    dh, dc, back = xp.zeros_like(cells[0]), grad[plan.steps].copy(), weights[:, :size].transpose(0, 2, 1)
    part, product = xp.empty_like(cells[0]), xp.empty_like(gates[:, 0])

    def run(start: int, stop: int) -> None:
        rows = slice(start, stop)
        z, slopes, to_cell = gates[:, :, rows], dz[:, :, rows], into[:, rows]
        (o, i, _, g), (do, di, df, dg) = z, slopes
        later, first = df[plan.later], df[plan.order[0]]
        xp.subtract(z[:3], 1.0, out=slopes[:3])  # -(1 - s), as the sums have the opposite sign
        slopes[1:3] *= z[1:3]
        do *= out[: plan.steps, rows]  # h = o tanh(c)
        di *= g
        later *= cells[plan.earlier, rows]
        first *= 0.0 if c0 is None else c0[rows]
        xp.subtract(1.0, xp.multiply(g, g, out=dg), out=dg)
        dg *= i
        xp.multiply(out[: plan.steps, rows], squashed[:, rows], out=to_cell)
        xp.subtract(o, to_cell, out=to_cell)  # o (1 - tanh(c)**2) = o - h tanh(c)
        if plan.ended is not None:
            xp.copyto(slopes, 0.0, where=plan.ended[:, rows])
            xp.copyto(to_cell, 0.0, where=plan.ended[:, rows])
        into_h, into_c, sums = dh[rows], dc[rows], product[:, rows]
        for t in reversed(plan.order):
            d, over = slopes[:, t], plan.finished(t)
            do, others = d[0], d[1:]
            into_h += grad[t, rows]
            into_c += xp.multiply(into_h, to_cell[t], out=part[rows])
            do *= into_h
            if peepholes is not None:
                into_c -= do * peepholes[2]
            others *= into_c
            into_c *= keep[t, rows]
            if peepholes is not None:
                into_c -= d[1] * peepholes[0]
                into_c -= d[2] * peepholes[1]
            if t == plan.order[0] and not all_h:  # nobody asks for that of h0
                break
            kept = None if over is None else xp.where(over[rows], into_h, 0.0)
            xp.matmul(d, back, out=sums)
            halves = xp.add(sums[:2], sums[2:], out=sums[:2])
            xp.add(halves[0], halves[1], out=into_h)
            if kept is not None:  # what arrived after the end of a sequence goes on to its end
                into_h += kept

    plan.in_halves(run)
    return dz, dh, dc


# The sums of the gates stand in the order o, i, f, g, one gate after another: the three sigmoids are neighbors, and so are the
# three whose gradients are products with dc. Those of o, i and f have the opposite sign, because s(z) = 1 / (1 + exp(-z)).


def _by_gate(w: Array, dtype: Any) -> Array:
    """Weights or sums (D, 4H) of i, f, g, o as matrices (4, D, H) of -o, -i, -f, g."""
    xp, gates = backend_of(w).xp, w.reshape(len(w), 4, w.shape[1] // 4).transpose(1, 0, 2)
    new = xp.empty(gates.shape, dtype=dtype)
    xp.negative(gates[3], out=new[0])
    xp.negative(gates[:2], out=new[1:3])
    new[3] = gates[2]
    return new


def _side_by_side(w: Array) -> Array:
    """The inverse of `_by_gate`, for gradients."""
    xp, (_, d, size) = backend_of(w).xp, w.shape
    new = xp.empty((d, 4, size), dtype=w.dtype)
    gates = new.transpose(1, 0, 2)
    xp.negative(w[0], out=gates[3])
    xp.negative(w[1:3], out=gates[:2])
    gates[2] = w[3]
    return new.reshape(d, 4 * size)


def _rows(x: Any, h0: Any, w_x: Any, w_h: Array, b: Array, plan: StepPlan, dtype: Any) -> tuple[Array, Array, Any, Any]:
    """What the product of each step multiplies, with which weights, and what is added to it.

    The rows (T + 1, N, K) hold h before each step, x_t and a 1 for the bias, and the weights (4, K, H) stand under one another
    likewise. An input (N, D) of all steps is projected once instead, and so is one that is wider than the state, whose weights
    would be read anew in every step: then the rows hold h alone, the third result is the projected input with the bias,
    (4, T, N, H), and the fourth the input as rows. Padding counts as 0 whatever it contains, even NaN.
    """
    backend, (n, size) = backend_of(b), (plan.samples, len(w_h))
    xp = backend.xp
    steps = x.transpose(1, 0, 2) if x is not None and x.ndim == 3 else x
    if plan.ended is not None and steps is not None and steps.ndim == 3:
        steps = xp.where(plan.ended, x.dtype.type(0), steps)
    projected = inputs = None
    parts = [w_h, *([] if x is None else [w_x]), b.reshape(1, -1)]
    if x is not None and (x.ndim == 2 or x.shape[2] > size):
        inputs = xp.ascontiguousarray(steps).reshape(-1, x.shape[-1])
        sums = _by_gate(backend.affine(inputs, w_x, b), dtype)
        sums = sums.reshape(4, 1 if x.ndim == 2 else plan.steps, n, size)
        projected, parts = xp.broadcast_to(sums, (4, plan.steps, n, size)), [w_h]
    weights = _by_gate(xp.concatenate(parts) if len(parts) > 1 else w_h, dtype)
    rows = xp.ones((plan.steps + 1, n, weights.shape[1]), dtype=dtype)
    rows[plan.before][plan.order[0], :, :size] = 0.0 if h0 is None else h0
    if inputs is None and x is not None:
        rows[plan.before, :, size:-1] = steps
    return rows, weights, projected, inputs


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


_SHARED = 1 << 23
"""Multiplications with the recurrent weights from which a second thread is worth its cost."""


class StepPlan(NamedTuple):
    """The order of the steps of a batch of sequences, and where sequences end.

    Attributes:
        samples, steps: N and T.
        order: the steps in the order of computation.
        ended: (T, N, 1), True where a sequence has already ended; None if all have T steps.
        min_length: a number of steps that every sequence is known to have.
        parts: 2 for work that is worth two threads, else 1.
    """

    samples: int
    steps: int
    order: range
    ended: Array | None
    min_length: int
    parts: int

    def in_halves(self, work: Callable[[int, int], None]) -> None:
        """work(0, N), large work in halves on two threads; a reader of small work stays in this file."""
        in_parts(work, self.samples, self.parts) if self.parts > 1 else work(0, self.samples)

    def finished(self, t: int) -> Array | None:
        """The sequences (N, 1) that have ended before step t; None if there are none."""
        return None if self.ended is None or t < self.min_length else self.ended[t]

    def input_at(self, x: Tensor, t: int) -> Tensor:
        """Step t of x (N, T, D), (N, D), with zeros for sequences that have ended; x (N, D) itself."""
        if x.ndim == 2:
            return x
        step, over = getitem(x, index=(slice(None), t)), self.finished(t)
        return step if over is None else where(over, 0.0, step)

    def initial(self, state: Any, w_h: Any) -> Any:
        """The state before the first step: `state`, or zeros (N, H) for weights w_h (H, 4H)."""
        if state is not None:
            return state
        return backend_of(_raw(w_h)).xp.zeros((self.samples, w_h.shape[0]), dtype=w_h.dtype)

    @property
    def before(self) -> slice:
        """The states before all steps, of T + 1 in the order of time."""
        return slice(0, self.steps) if self.order.step > 0 else slice(1, self.steps + 1)

    @property
    def after(self) -> slice:
        """The states after all steps: the outputs."""
        return slice(1, self.steps + 1) if self.order.step > 0 else slice(0, self.steps)

    @property
    def later(self) -> slice:
        """All steps but the first in the order of computation."""
        return slice(1, self.steps) if self.order.step > 0 else slice(0, self.steps - 1)

    @property
    def earlier(self) -> slice:
        """All steps but the last: those that precede `later`."""
        return slice(0, self.steps - 1) if self.order.step > 0 else slice(1, self.steps)


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
    elif x.ndim == 2 and steps is not None:
        n, count = len(x), operator.index(steps)
    else:
        given = "" if steps is None else f" and steps={steps}"
        raise ValueError(f"lstm: x must be (N, T, D), or (N, D) with steps=T, got shape {x.shape}{given}.")
    if count < 1:
        raise ValueError(f"lstm: a sequence needs at least one step, got {count}.")
    order = range(count - 1, -1, -1) if reverse else range(count)
    min_length = count
    if lengths is not None:
        lengths = check_lengths("lstm", lengths, n, count)
        min_length = int(lengths.min(initial=count)) if isinstance(lengths, np.ndarray) else 0
    backend = backend_of(_raw(w_h))
    parts = 2 if backend is CPU and n * count * math.prod(w_h.shape) >= _SHARED else 1
    if min_length == count:
        return StepPlan(n, count, order, None, count, parts)
    ended = backend.xp.arange(count)[:, None] >= backend.to_device(lengths)
    return StepPlan(n, count, order, ended.reshape(count, n, 1), min_length, parts)


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


Residuals = tuple[StepPlan, Array, Array, Any, Array, Array, Array]
"""What `lstm` saves for its rule: the plan, rows and weights of the products, a projected input as rows, and the gates, cells and
tanh(cells) of all steps."""
