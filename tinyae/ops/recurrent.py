"""Recurrent layers over whole sequences, each as one operation: the LSTM, the GRU, and what they share."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from tinyae.autodiff import expand, primitive
from tinyae.backend import Array, backend_of
from tinyae.ops.arrays import getitem, stack
from tinyae.ops.elementwise import sigmoid, tanh, where

# ---------------------------------------------------------------------------------------------------------------------
# The long short-term memory over a whole sequence as one operation (Hochreiter and Schmidhuber 1997).
#
# A cell is small, so what a step costs is not arithmetic but calls. Fused, the inputs of all steps are projected in one
# matrix product, a step is one more, the gates are computed where the sums lie, and the way back through time is a single
# rule with the gates at hand. The readable definition is `lstm_composed`, a cell a few lines long and a loop; the fused
# form is tested against it, and derivatives of higher order re-trace it.


def lstm_cell_composed(z: Any, h: Any, c: Any, w_h: Any, peepholes: Any = None) -> tuple[Any, Any]:
    """One step: the new (h, c), each (N, H), from the projected inputs z = x W_x + b (N, 4H) and the old ones."""
    size = w_h.shape[0]
    z = z + h @ w_h
    i, f, g, o = (z[:, k * size : (k + 1) * size] for k in range(4))
    if peepholes is not None:
        i, f = i + peepholes[0] * c, f + peepholes[1] * c
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    if peepholes is not None:
        o = o + peepholes[2] * c
    return sigmoid(o) * tanh(c), c


def lstm_composed(
    x: Any,
    h0: Any,
    c0: Any,
    w_x: Any,
    w_h: Any,
    b: Any,
    peepholes: Any = None,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    steps: int | None = None,
) -> Any:
    """Cell by cell, in primitives: the definition of `lstm`."""
    plan = plan_steps("lstm", x, h0, w_h, lengths, reverse, steps)
    h, c = (plan.zero_state(w_h) if state is None else state for state in (h0, c0))
    states: dict[int, Any] = {}
    for t in plan.order:
        z = b if x is None else plan.input_at(x, t) @ w_x + b
        new_h, new_c = lstm_cell_composed(z, h, c, w_h, peepholes)
        over = plan.finished(t)
        h, c = (new_h, new_c) if over is None else (where(over, h, new_h), where(over, c, new_c))
        states[t] = h
    return stack(*(states[t] for t in range(plan.steps)), c, axis=1)


@primitive(composed=lstm_composed)
def lstm(
    x: Any,
    h0: Any,
    c0: Any,
    w_x: Any,
    w_h: Any,
    b: Any,
    peepholes: Any = None,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    steps: int | None = None,
) -> Any:
    """All outputs and the last cell state, (N, T + 1, H): h of the steps 1 to T, then c.

    Of each step, with s = sigmoid, * elementwise, gates in the order i, f, g, o along the axis of 4H:
    (i, f, g, o) = x_t W_x + h_{t-1} W_h + b,   c_t = s(f) * c_{t-1} + s(i) * tanh(g),   h_t = s(o) * tanh(c_t),
    and with peepholes p (3, H) (Graves 2013, eq. 7 to 11): i + p_0 * c_{t-1}, f + p_1 * c_{t-1}, o + p_2 * c_t.

    Args:
        x: inputs (N, T, D), or None for `steps` steps without input; then w_x is None too.
        h0, c0: the state before the first step, (N, H) each; None is zeros.
        w_x, w_h, b, peepholes: (D, 4H), (H, 4H), (4H,), (3, H) or None.
        lengths: how many steps of each sequence are real, N whole numbers. After its last step the state of a sequence
            is carried on unchanged, so that the last step holds the final state of all.
        reverse: go from each sequence's last step back to its first; then h of step 1 is the last one computed.

    Backward through time, with i, f, o now the gates s(.) themselves, a = tanh(g), and G_t the gradient arriving at h_t
    (and at the last c, from which dc starts):
    dh = G_t + dz_{t+1} W_h^T,   dc = dc_{t+1} * f_{t+1} + dh * o * (1 - tanh(c_t)**2)   (+ peephole terms),
    do = dh * tanh(c_t) * o (1 - o),   di = dc * a * i (1 - i),   df = dc * c_{t-1} * f (1 - f),   dg = dc * i * (1 - a**2),
    dz_t = (di, df, dg, do),   dx_t = dz_t W_x^T,
    dW_x = sum over t of x_t^T dz_t,   dW_h = sum over t of h_{t-1}^T dz_t,   db = sum over t and the batch of dz_t.
    """
    plan = plan_steps("lstm", x, h0, w_h, lengths, reverse, steps)
    check_recurrent_shapes("lstm", 4, x, {"h0": h0, "c0": c0}, w_x, w_h, b)
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    if peepholes is not None and peepholes.shape != (3, size):
        raise ValueError(f"lstm: peepholes must be (3, {size}), for the gates i, f and o, got shape {peepholes.shape}.")
    dtype = xp.result_type(*[a for a in (x, h0, c0, w_x, w_h, b, peepholes) if a is not None])
    rows, gates = projected(x, w_x, b, plan, dtype)
    out = xp.empty((plan.steps + 1, plan.samples, size), dtype=dtype)
    cells, squashed = (xp.empty((plan.steps, plan.samples, size), dtype=dtype) for _ in range(2))
    scale = _scale(xp, size, dtype)
    h, c = (plan.zero_state(w_h) if state is None else state for state in (h0, c0))
    product, part = xp.empty_like(gates[0]), xp.empty_like(cells[0])
    for t in plan.order:
        z = gates[t]
        if h0 is not None or t != plan.first:  # h0 is zero: skip the product
            z += xp.matmul(h, w_h, out=product)
        if peepholes is not None:
            z[:, :size] += peepholes[0] * c
            z[:, size : 2 * size] += peepholes[1] * c
        open_gates = 4 * size if peepholes is None else 3 * size
        _squash(xp, z[:, :open_gates], scale[:, :open_gates])
        i, f, g, o = _four(z, size)
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
def _(
    g: Array,
    out: Array,
    residuals: Any,
    wanted: list[int],
    x: Array,
    h0: Array,
    c0: Array,
    w_x: Array,
    w_h: Array,
    b: Array,
    peepholes: Array | None = None,
    **params: Any,
) -> tuple:
    plan, rows, gates, cells, squashed = residuals
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    dz, dh, dc = _through_time(g.transpose(1, 0, 2), plan, gates, cells, squashed, c0, w_h, peepholes)
    flat = dz.reshape(plan.steps * plan.samples, 4 * size)
    dx = dw_h = dp = None
    if 0 in wanted:
        dx = (flat @ w_x.T).reshape(plan.steps, plan.samples, x.shape[2]).transpose(1, 0, 2)
    if 4 in wanted:
        past = plan.all_but_last(out.transpose(1, 0, 2)).reshape(-1, size)
        dw_h = past.T @ plan.all_but_first(dz).reshape(-1, 4 * size)
        if h0 is not None:
            dw_h += h0.T @ dz[plan.first]
    if 6 in wanted:
        di, df, _, do = (dz[:, :, k * size : (k + 1) * size] for k in range(4))
        past = plan.all_but_last(cells)
        dp = xp.stack(
            [(plan.all_but_first(d) * past).sum(axis=(0, 1)) for d in (di, df)] + [(do * cells).sum(axis=(0, 1))]
        )
        if c0 is not None:
            dp[0] += (di[plan.first] * c0).sum(axis=0)
            dp[1] += (df[plan.first] * c0).sum(axis=0)
    dw_x = rows.T @ flat if 3 in wanted else None
    return dx, dh, dc, dw_x, dw_h, flat.sum(axis=0) if 5 in wanted else None, dp


def _through_time(
    g: Array, plan: StepPlan, gates: Array, cells: Array, squashed: Array, c0: Array | None, w_h: Array, p: Array | None
) -> tuple[Array, Array, Array]:
    """The gradients of all sums, (T, N, 4H), and of the initial h and c: backward through time. g is (T + 1, N, H)."""
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    dz, slope = xp.empty_like(gates), xp.empty_like(gates[0])
    dh, part = xp.zeros_like(cells[0]), xp.empty_like(cells[0])
    dc = xp.zeros_like(dh)
    dc += g[plan.steps]
    back = w_h.T
    for t in reversed(plan.order):
        i, f, a, o = _four(gates[t], size)
        di, df, da, do = _four(dz[t], size)
        over = plan.finished(t)
        dh += g[t]
        if over is not None:
            kept = xp.where(over, dh, 0.0)
            xp.copyto(dh, 0.0, where=over)
        # Slopes of the gates: s (1 - s) for i, f and o, 1 - a**2 for a = tanh(g).
        xp.subtract(1.0, gates[t], out=slope)
        slope[:, : 2 * size] *= gates[t][:, : 2 * size]
        slope[:, 3 * size :] *= o
        slope[:, 2 * size : 3 * size] *= xp.add(a, 1.0, out=part)
        xp.multiply(dh, squashed[t], out=do)
        do *= slope[:, 3 * size :]
        # Into the cell: from the output, and from the peephole of the output gate.
        xp.multiply(squashed[t], squashed[t], out=part)
        xp.subtract(1.0, part, out=part)
        part *= o
        part *= dh
        dc += part
        if p is not None:
            dc += do * p[2] if over is None else xp.where(over, 0.0, do * p[2])
        xp.multiply(dc, a, out=di)
        xp.multiply(dc, i, out=da)
        past = c0 if t == plan.first else cells[t - plan.order.step]
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
        if p is not None:
            dc += di * p[0]
            dc += df * p[1]
        xp.matmul(dz[t], back, out=dh)
        if over is not None:
            dh += kept
    return dz, dh, dc


def _four(z: Array, size: int) -> list[Array]:
    """The gates i, f, g, o of sums (N, 4H): views (N, H)."""
    return [z[:, k * size : (k + 1) * size] for k in range(4)]


def _scale(xp: Any, size: int, dtype: Any) -> Array:
    """What turns tanh into each gate, (2, 4H): s(z) = 0.5 tanh(0.5 z) + 0.5 for i, f, o, and tanh itself for g."""
    scale = xp.full((2, 4 * size), 0.5, dtype=dtype)
    scale[0, 2 * size : 3 * size] = 1.0
    scale[1, 2 * size : 3 * size] = 0.0
    return scale


def _squash(xp: Any, z: Array, scale: Array) -> None:
    """Sums become gates, in place."""
    z *= scale[0]
    xp.tanh(z, out=z)
    z *= scale[0]
    z += scale[1]


# ---------------------------------------------------------------------------------------------------------------------
# The gated recurrent unit over a whole sequence as one operation: the LSTM's smaller sibling (Cho et al. 2014).
#
# It has no cell beside its output and three gates instead of four. Fused for the reasons and in the manner of `lstm`.


def gru_composed(
    x: Any,
    h0: Any,
    w_x: Any,
    w_h: Any,
    b: Any,
    b_n: Any,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    steps: int | None = None,
) -> Any:
    """Cell by cell, in primitives: the definition of `gru`."""
    plan, size = plan_steps("gru", x, h0, w_h, lengths, reverse, steps), w_h.shape[0]
    h = plan.zero_state(w_h) if h0 is None else h0
    states: dict[int, Any] = {}
    for t in plan.order:
        z = expand(b, shape=(plan.samples, 3 * size)) if x is None else plan.input_at(x, t) @ w_x + b
        u = h @ w_h
        r = sigmoid(z[:, :size] + u[:, :size])
        k = sigmoid(z[:, size : 2 * size] + u[:, size : 2 * size])
        n = tanh(z[:, 2 * size :] + r * (u[:, 2 * size :] + b_n))
        new, over = n + k * (h - n), plan.finished(t)
        h = new if over is None else where(over, h, new)
        states[t] = h
    return stack(*(states[t] for t in range(plan.steps)), axis=1)


@primitive(composed=gru_composed)
def gru(
    x: Any,
    h0: Any,
    w_x: Any,
    w_h: Any,
    b: Any,
    b_n: Any,
    *,
    lengths: Lengths = None,
    reverse: bool = False,
    steps: int | None = None,
) -> Any:
    """All outputs h (N, T, H) of a gated recurrent unit.

    Of each step, with s = sigmoid, * elementwise, gates in the order r (reset), k (keep), n (new):
    (z_r, z_k, z_n) = x_t W_x + b,   (u_r, u_k, u_n) = h_{t-1} W_h,   r = s(z_r + u_r),   k = s(z_k + u_k),
    n = tanh(z_n + r * (u_n + b_n)),   h_t = n + k * (h_{t-1} - n).

    The reset stands after the product, as in cuDNN, so that a step is one product; Cho et al. put it before.

    Args:
        x: inputs (N, T, D), or None for `steps` steps without input; then w_x is None too.
        h0: the state before the first step, (N, H); None is zeros.
        w_x, w_h, b, b_n: (D, 3H), (H, 3H), (3H,), (H,).
        lengths, reverse, steps: as for `lstm`.

    Backward through time, with dh = G_t + what step t + 1 hands back, G_t the gradient arriving at h_t:
    dn = dh * (1 - k) * (1 - n**2),   dk = dh * (h_{t-1} - n) * k (1 - k),   dr = dn * (u_n + b_n) * r (1 - r),
    dz = (dr, dk, dn),   du = (dr, dk, dn * r),   handed back: dh * k + du W_h^T,   dx_t = dz W_x^T,
    dW_x = sum over t of x_t^T dz,   dW_h = sum over t of h_{t-1}^T du,   db = sum of dz,   db_n = sum of dn * r.
    """
    plan = plan_steps("gru", x, h0, w_h, lengths, reverse, steps)
    check_recurrent_shapes("gru", 3, x, {"h0": h0}, w_x, w_h, b)
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    if b_n.shape != (size,):
        raise ValueError(f"gru: b_n must be ({size},), got shape {b_n.shape}.")
    dtype = xp.result_type(*[a for a in (x, h0, w_x, w_h, b, b_n) if a is not None])
    rows, gates = projected(x, w_x, b, plan, dtype)
    out = xp.empty((plan.steps, plan.samples, size), dtype=dtype)
    recurrent = xp.empty_like(out)  # u_n + b_n of all steps
    h, u = plan.zero_state(w_h) if h0 is None else h0, xp.empty_like(gates[0])
    for t in plan.order:
        xp.matmul(h, w_h, out=u)
        both, n = gates[t][:, : 2 * size], gates[t][:, 2 * size :]
        both += u[:, : 2 * size]
        both *= 0.5
        xp.tanh(both, out=both)
        both *= 0.5
        both += 0.5
        xp.add(u[:, 2 * size :], b_n, out=recurrent[t])
        n += both[:, :size] * recurrent[t]
        xp.tanh(n, out=n)
        xp.subtract(h, n, out=out[t])
        out[t] *= both[:, size:]
        out[t] += n
        over = plan.finished(t)
        if over is not None:
            xp.copyto(out[t], h, where=over)
        h = out[t]
    return out.transpose(1, 0, 2), (plan, rows, gates, recurrent)


@gru.fused_vjp
def _(
    g: Array,
    out: Array,
    residuals: Any,
    wanted: list[int],
    x: Array,
    h0: Array,
    w_x: Array,
    w_h: Array,
    b: Array,
    b_n: Array,
    **params: Any,
) -> tuple:
    plan, rows, gates, recurrent = residuals
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    g, states = g.transpose(1, 0, 2), out.transpose(1, 0, 2)
    dz, du = xp.empty_like(gates), xp.empty_like(gates)
    dh = xp.zeros_like(recurrent[0])
    for t in reversed(plan.order):
        r, k, n = (gates[t][:, j * size : (j + 1) * size] for j in range(3))
        over = plan.finished(t)
        past = states[t - plan.order.step] if t != plan.first else plan.zero_state(w_h) if h0 is None else h0
        dh += g[t]
        kept = dh * k if over is None else dh * xp.where(over, 1.0, k)
        dn = dh * (1.0 - k) * (1.0 - n * n)
        dz[t][:, :size] = dn * recurrent[t] * r * (1.0 - r)
        dz[t][:, size : 2 * size] = dh * (past - n) * k * (1.0 - k)
        dz[t][:, 2 * size :] = dn
        if over is not None:
            xp.copyto(dz[t], 0.0, where=over)
        du[t][:, : 2 * size] = dz[t][:, : 2 * size]
        xp.multiply(dz[t][:, 2 * size :], r, out=du[t][:, 2 * size :])
        dh = kept
        dh += du[t] @ w_h.T
    flat = dz.reshape(plan.steps * plan.samples, 3 * size)
    dx = dw_h = None
    if 0 in wanted:
        dx = (flat @ w_x.T).reshape(plan.steps, plan.samples, x.shape[2]).transpose(1, 0, 2)
    if 3 in wanted:
        dw_h = plan.all_but_last(states).reshape(-1, size).T @ plan.all_but_first(du).reshape(-1, 3 * size)
        if h0 is not None:
            dw_h += h0.T @ du[plan.first]
    dw_x = rows.T @ flat if 2 in wanted else None
    db_n = du[:, :, 2 * size :].sum(axis=(0, 1)) if 5 in wanted else None
    return dx, dh, dw_x, dw_h, flat.sum(axis=0) if 4 in wanted else None, db_n


# ---------------------------------------------------------------------------------------------------------------------
# What the recurrent operations share: the order of the steps, sequences of unequal length, and the input projections.
#
# A recurrent state goes from step to step. Where a sequence of a padded batch has ended, its state is handed on as it
# is: so the state after the last step is the final state of every sequence, long or short, and a pass backward through
# time keeps the initial state until it meets the sequence's own last step. Padding never enters a state or a gradient.

Lengths = Any
"""How many steps of each sequence are real: whole numbers (N,) in a list or array, or an array on the device."""


class StepPlan(NamedTuple):
    """The way through a batch of sequences.

    Attributes:
        samples, steps: N and T.
        order: the steps in the order in which they are taken.
        ended: (T, N, 1), True where a sequence is over already; None if all have T steps.
        min_length: how many first steps every sequence is known to have.
    """

    samples: int
    steps: int
    order: range
    ended: Array | None
    min_length: int

    def finished(self, t: int) -> Array | None:
        """Which sequences (N, 1) are over at step t; None if none is."""
        return None if self.ended is None or t < self.min_length else self.ended[t]

    def input_at(self, x: Any, t: int) -> Any:
        """Step t of the Tensor x (N, T, D), (N, D): zeros where a sequence is over, whatever stands there."""
        step, over = getitem(x, index=(slice(None), t)), self.finished(t)
        return step if over is None else where(over, 0.0, step)

    @property
    def first(self) -> int:
        """The step that is taken first."""
        return self.order[0]

    def zero_state(self, w_h: Any) -> Array:
        """The zero state (N, H) that a sequence starts from if none is given; w_h (H, ...) as array or Tensor."""
        return backend_of(getattr(w_h, "_data", w_h)).xp.zeros((self.samples, w_h.shape[0]), dtype=w_h.dtype)

    def all_but_first(self, array: Array) -> Array:
        """Of an array (T, ...), what belongs to all steps but the first one taken."""
        return array[1 : self.steps] if self.order.step > 0 else array[: self.steps - 1]

    def all_but_last(self, array: Array) -> Array:
        """Of an array (T, ...), what belongs to all steps but the last one taken: those before `all_but_first`."""
        return array[: self.steps - 1] if self.order.step > 0 else array[1 : self.steps]


def plan_steps(owner: str, x: Any, h0: Any, w_h: Any, lengths: Lengths, reverse: bool, steps: int | None) -> StepPlan:
    """The plan for the arguments of a recurrent operation: raw arrays or Tensors; x or h0 may be None.

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
        return StepPlan(n, count, order, None, count)
    backend = backend_of(getattr(w_h, "_data", w_h))
    min_length = 0
    lengths = check_lengths(owner, lengths, n, count)
    if isinstance(lengths, np.ndarray):
        min_length = int(lengths.min(initial=count))
    if min_length == count:
        return StepPlan(n, count, order, None, count)
    ended = backend.xp.arange(count)[:, None] >= backend.to_device(lengths)
    return StepPlan(n, count, order, ended.reshape(count, n, 1), min_length)


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


def projected(x: Array | None, w_x: Array | None, b: Array, plan: StepPlan, dtype: Any) -> tuple[Array | None, Array]:
    """x as rows (T * N, D), time first, and x W_x + b of all steps (T, N, G): one matrix product. G gates in all.

    Without an x the sums are the bias alone. What stands in the padding, NaN even, is taken for 0.
    """
    xp = backend_of(b).xp
    shape = (plan.steps, plan.samples, b.shape[0])
    if x is None:
        z = xp.empty(shape, dtype=dtype)
        z[...] = b
        return None, z
    steps = x.transpose(1, 0, 2)
    steps = xp.ascontiguousarray(steps) if plan.ended is None else xp.where(plan.ended, x.dtype.type(0), steps)
    rows = steps.reshape(plan.steps * plan.samples, x.shape[2])
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
