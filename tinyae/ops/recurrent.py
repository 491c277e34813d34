"""The LSTM over whole sequences as one operation, and helpers for sequences of unequal length."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from tinyae.autodiff import Operand, Tensor, primitive
from tinyae.backend import CPU, Array, backend_of
from tinyae.backend.devices import as_array
from tinyae.backend.parallel import in_parts
from tinyae.checks import check_kind, whole_number
from tinyae.ops.arrays import getitem, stack
from tinyae.ops.elementwise import sigmoid, tanh, where

T = TypeVar("T")
Lengths: TypeAlias = Any
"""The lengths of the sequences without padding: N whole numbers in a list, or an array on any device; or None."""

# ---------------------------------------------------------------------------------------------------------------------
# The long short-term memory over a whole sequence as one operation (Hochreiter and Schmidhuber 1997).
#
# A cell is small, so function calls cost more than arithmetic. The fused form needs one product per step, of (h, x, 1) with all
# weights, and one for all their gradients; it computes the gates of a step in place, in one contiguous block, and keeps
# them for a single rule that implements backpropagation through time. Two threads share large work, half of the batch each.
# The readable definition is `lstm_composed`, a short cell and a loop; the fused form is tested against it, and derivatives of
# higher order run it instead.


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
    weights, apart = _weights(x, w_x, w_h, b, dtype)
    inputs = None if x is None else _in_order(x, plan)
    rows = xp.ones((plan.steps + 1, plan.samples, weights.shape[1]), dtype=dtype)  # h before each step, x, and 1 for b
    rows[0, :, :size] = 0.0 if h0 is None else h0
    if inputs is not None and not apart:
        rows[:-1, :, size:-1] = inputs
    out = xp.empty((plan.steps + 1, plan.samples, size), dtype=dtype)

    def forward(some: slice) -> Half:
        projected = None
        if inputs is not None and apart:
            sums = inputs[:, some].reshape(-1, inputs.shape[2]) @ w_x + b
            projected = _by_gate(sums, dtype).reshape(4, len(inputs), some.stop - some.start, size)
        c_start = 0.0 if c0 is None else c0[some]
        return _forward(plan.of(some), rows[:, some], weights, projected, c_start, peepholes, out[:, some])

    with np.errstate(over="ignore"):  # 1 / (1 + infinity) is 0
        halves = plan.in_halves(forward)
    return out.transpose(1, 0, 2), (plan, rows, inputs if apart else None, halves)


@lstm.fused_vjp
def _(grad, out, residuals, wanted, x, h0, c0, w_x, w_h, b, peepholes=None, **params):
    plan, rows, inputs, halves = residuals
    backend, size, grad = backend_of(w_h), len(w_h), grad.transpose(1, 0, 2)
    dz = backend.xp.empty((plan.steps, plan.samples, 4, size), dtype=rows.dtype)
    dh, dc = backend.xp.zeros_like(dz[0, :, 0]), backend.xp.empty_like(dz[0, :, 0])
    dx = dw_x = dw_h = db = dp = None

    def backward(some: slice) -> Array | None:
        half = halves[some.start > 0]
        return _through_time(half, grad[:, some], dz[:, some], dh[some], dc[some], w_h, peepholes, 1 in wanted)

    of_peepholes = plan.in_halves(backward)
    dz = dz.reshape(plan.steps * plan.samples, 4 * size)
    if {3, 4, 5}.intersection(wanted):
        d_weights = backend.matmul(rows[:-1].reshape(len(dz), rows.shape[2]).T, dz)
        dw_h, dw_x, db = d_weights[:size], d_weights[size:-1], d_weights[-1]
    if inputs is not None:
        dz = dz.reshape(plan.steps, plan.samples, 4 * size).sum(axis=0) if x.ndim == 2 else dz
        asked = [k for k, of in enumerate((0, 3, 5)) if of in wanted]
        dx, dw_x, db = backend.affine_backward(lambda some: dz[some], inputs.reshape(len(dz), x.shape[-1]), w_x, asked)
    elif 0 in wanted:
        dx = backend.matmul(dz, w_x.T)
    if dx is not None and x.ndim == 3:
        dx = dx.reshape(plan.steps, *x.shape[::2])[plan.in_time].transpose(1, 0, 2)
    if 6 in wanted:
        dp = sum(of_peepholes)
    return dx, dh, dc, dw_x, dw_h, db, dp


# Below, arrays (T, ...) are in the order of computation, and those of a step are contiguous: slicing in Python and handling
# strides in NumPy hold the interpreter's lock, and the other thread waits.


class Half(NamedTuple):
    """What `lstm` saves of half a batch, or of the whole.

    Attributes:
        plan: for its samples.
        h: after each step, (T, N, H).
        states: the gates o, i, f, g and the cell state before each step, (T + 1, 5, N, H).
        tanh_c: of the cell state after each step, (T, N, H).
    """

    plan: StepPlan
    h: Array
    states: Array
    tanh_c: Array


def _forward(
    plan: StepPlan, rows: Array, weights: Array, projected: Array | None, c_start: Any, peepholes: Any, out: Array
) -> Half:
    """Write h after each step to rows (T + 1, N, K), and to out (T + 1, N, H) with the last c.

    The gates are in the order o, i, f, g: the three sigmoids are adjacent, and so are i, f and their factors, g and the
    previous cell state. The sums of o, i and f have the opposite sign, as s(z) = 1 / (1 + exp(-z)).
    """
    xp, (n, size), one = backend_of(out).xp, out.shape[1:], out.dtype.type(1)
    states, tanh_c, products = (
        xp.empty(shape, dtype=out.dtype)
        for shape in ((plan.steps + 1, 5, n, size), (plan.steps, n, size), (2, n, size))
    )
    states[0, 4] = c_start
    if projected is not None:
        projected = xp.ascontiguousarray(projected.swapaxes(0, 1))
        projected = xp.broadcast_to(projected, (plan.steps, 4, n, size))
    for k, t in enumerate(plan.order):
        z, c, new, h, over = states[k, :4], states[k, 4], states[k + 1, 4], rows[k + 1, :, :size], plan.finished(t)
        xp.matmul(rows[k], weights, out=z)
        if projected is not None:
            z += projected[k]
        sigmoids = z[:3]
        if peepholes is not None:
            sigmoids = z[1:3]
            sigmoids -= peepholes[:2, None] * c
        xp.exp(sigmoids, out=sigmoids)
        sigmoids += one
        xp.divide(one, sigmoids, out=sigmoids)
        xp.tanh(z[3], out=z[3])
        xp.multiply(z[1:3], states[k, 3:], out=products)  # i g and f c
        xp.add(products[0], products[1], out=new)
        if over is not None:
            xp.copyto(new, c, where=over)
        if peepholes is not None:
            z[0] -= peepholes[2] * new
            z[0] = one / (one + xp.exp(z[0]))
        xp.multiply(z[0], xp.tanh(new, out=tanh_c[k]), out=h)
        if over is not None:
            xp.copyto(h, rows[k, :, :size], where=over)
    h = rows[1:, :, :size]
    out[:-1], out[-1] = h[plan.in_time], states[-1, 4]
    return Half(plan, h, states, tanh_c)


def _through_time(
    half: Half, grad: Array, dz: Array, dh: Array, dc: Array, w_h: Array, peepholes: Array | None, all_h: bool
) -> Array | None:
    """Backpropagate grad (T + 1, N, H) through time: write the gradients of all sums to dz (T, N, 4, H), of h0 and c0 to dh, dc.

    Every gradient is a product with dh or dc, and its other factors are known before: they are multiplied for all steps
    at once. In the order of time backwards what is left is (do, into) *= dh,  dc += into,  (keep, di, df, dg) *= dc, and
    the first of them is the next dc.

    Returns:
        The gradient of the peepholes, (3, H), if there are any.
    """
    plan, h, states, tanh_c = half
    xp, (steps, n, size) = backend_of(dz).xp, h.shape
    slopes, (o, i, f, g, c) = xp.empty((steps, 6, n, size), dtype=dz.dtype), states[:-1].swapaxes(0, 1)
    keep, di, df, dg, do, into = slopes.swapaxes(0, 1)
    keep[...] = f
    xp.subtract(1.0, i, out=di)
    di *= i
    di *= g
    xp.subtract(1.0, f, out=df)
    df *= f
    df *= c
    xp.subtract(1.0, xp.multiply(g, g, out=dg), out=dg)
    dg *= i
    xp.subtract(1.0, o, out=do)
    do *= h  # h = o tanh(c)
    xp.subtract(o, xp.multiply(h, tanh_c, out=into), out=into)  # o (1 - tanh(c)**2)
    if plan.ended is not None:
        over = plan.ended[plan.in_time]
        xp.copyto(slopes[:, 1:], 0.0, where=over[:, None])
        xp.copyto(keep, 1.0, where=over)
    arriving, later = grad[:-1][plan.in_time].copy(), grad[-1].copy()
    for k in reversed(range(steps)):
        d, ended = slopes[k], plan.finished(plan.order[k])
        dh += arriving[k]
        d[4:] *= dh
        later += d[5]
        if peepholes is not None:
            later += d[4] * peepholes[2]
        d[:4] *= later
        later = d[0]
        if peepholes is not None:
            later += (d[1:3] * peepholes[:2, None]).sum(axis=0)
        dz[k] = d[1:5].swapaxes(0, 1)
        if k == 0 and not all_h:
            break
        kept = None if ended is None else xp.where(ended, dh, 0.0)
        xp.matmul(dz[k].reshape(n, 4 * size), w_h.T, out=dh)
        if kept is not None:  # what arrived after the end of a sequence goes on to its end
            dh += kept
    dc[...] = later
    if peepholes is None:
        return None
    return xp.stack([(d * cells).sum(axis=(0, 1)) for d, cells in ((di, c), (df, c), (do, states[1:, 4]))])


def _weights(x: Any, w_x: Any, w_h: Array, b: Array, dtype: Any) -> tuple[Array, bool]:
    """The weights of all that the product of a step reads, (4, K, H), and whether x is projected apart.

    They are stacked: those of h, x_t and a 1; or of h only, if x (N, D) is the same at all steps or so wide that reading its
    weights in every step would cost more than a separate product.
    """
    apart = x is not None and (x.ndim == 2 or x.shape[2] > len(w_h))
    parts = [w_h] if apart else [w_h, *([] if x is None else [w_x]), b.reshape(1, -1)]
    return _by_gate(backend_of(w_h).xp.concatenate(parts) if len(parts) > 1 else w_h, dtype), apart


def _by_gate(w: Array, dtype: Any) -> Array:
    """Weights or sums (D, 4H) of i, f, g, o as matrices (4, D, H) of -o, -i, -f, g."""
    xp, gates = backend_of(w).xp, w.reshape(len(w), 4, w.shape[1] // 4).transpose(1, 0, 2)
    new = xp.empty(gates.shape, dtype=dtype)
    xp.negative(gates[3], out=new[0])
    xp.negative(gates[:2], out=new[1:3])
    new[3] = gates[2]
    return new


def _in_order(x: Array, plan: StepPlan) -> Array:
    """x (N, T, D) or (N, D) as (T, N, D) or (1, N, D), step by step; padding is 0 whatever it contains, even NaN."""
    if x.ndim == 2:
        return x[None]
    xp, steps = backend_of(x).xp, x.transpose(1, 0, 2)
    steps = steps if plan.ended is None else xp.where(plan.ended, x.dtype.type(0), steps)
    return xp.ascontiguousarray(steps[plan.in_time])


def _check_shapes(
    x: Array | None, states: dict[str, Array | None], w_x: Array | None, w_h: Array, b: Array, peepholes: Array | None
) -> None:
    """Raise ValueError unless all arrays have the shapes that `lstm` requires."""
    n, size = len(x if x is not None else states["h0"]), w_h.shape[0]  # type: ignore[arg-type]  # one is there
    wide = (4 * size,)
    fits = (x is None and w_x is None) or (x is not None and w_x is not None and w_x.shape == (x.shape[-1], *wide))
    if not fits or w_h.shape[1:] != wide or b.shape != wide:
        raise ValueError(
            "lstm: x (N, T, D), w_x (D, 4H), w_h (H, 4H), b (4H,) do not fit shapes "
            f"{getattr(x, 'shape', None)}, {getattr(w_x, 'shape', None)}, {w_h.shape}, {b.shape}."
        )
    for name, state in states.items():
        if state is not None and state.shape != (n, size):
            raise ValueError(f"lstm: {name} must be ({n}, {size}), one row for each sequence, got shape {state.shape}.")
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

    def in_halves(self, work: Callable[[slice], T]) -> list[T]:
        """[work(all samples)], or for large work both halves on two threads; small work does not leave this file."""
        if self.parts == 1:
            return [work(slice(0, self.samples))]
        return in_parts(lambda start, stop: work(slice(start, stop)), self.samples, self.parts)

    def of(self, some: slice) -> StepPlan:
        """The plan of some of the samples."""
        ended = None if self.ended is None else self.ended[:, some]
        return self._replace(samples=some.stop - some.start, ended=ended, parts=1)

    @property
    def in_time(self) -> slice:
        """Puts arrays (T, ...) in the order of computation into that of time, and back."""
        return slice(None, None, self.order.step)

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
        n, count = len(h0), steps
    elif x.ndim == 3 and steps in (None, x.shape[1]):
        n, count = x.shape[:2]
    elif x.ndim == 2 and steps is not None:
        n, count = len(x), steps
    else:
        raise ValueError(f"lstm: x must be (N, T, D), or (N, D) with steps=T, got shape {x.shape} and steps={steps}.")
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 1:
        raise ValueError(f"lstm: steps must be a whole number, at least one step, got {count!r}: write e.g. steps=10.")
    if not isinstance(reverse, bool):
        check_kind("lstm: reverse", reverse, bool)
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
    steps = whole_number(f"{owner}: steps", steps, at_least=1)
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
    if found.shape != (samples,) or (samples and found.dtype.kind not in "iu"):
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
