"""The long short-term memory over a whole sequence as one operation (Hochreiter and Schmidhuber 1997).

A cell is small, so what a step costs is not arithmetic but calls. Fused, the inputs of all steps are projected in one
matrix product, a step is one more, the gates are computed where the sums lie, and the way back through time is a single
rule with the gates at hand. The readable definition is `lstm_composed`, a cell a few lines long and a loop; the fused
form is tested against it, and derivatives of higher order re-trace it.
"""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import primitive
from tinyae.backend import Array, backend_of
from tinyae.ops.comparisons import where
from tinyae.ops.functions import sigmoid, tanh
from tinyae.ops.sequence import Lengths, Walk, check_recurrent_shapes, projected, walk_through
from tinyae.ops.shape import stack


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
    walk = walk_through("lstm", x, h0, w_h, lengths, reverse, steps)
    h, c = (walk.nothing(w_h) if state is None else state for state in (h0, c0))
    states: dict[int, Any] = {}
    for t in walk.order:
        z = b if x is None else walk.given(x, t) @ w_x + b
        new_h, new_c = lstm_cell_composed(z, h, c, w_h, peepholes)
        over = walk.over(t)
        h, c = (new_h, new_c) if over is None else (where(over, h, new_h), where(over, c, new_c))
        states[t] = h
    return stack(*(states[t] for t in range(walk.steps)), c, axis=1)


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
        x: inputs (N, T, D), or None for a walk without input of `steps` steps; then w_x is None too.
        h0, c0: the state before the first step, (N, H) each; None is zeros.
        w_x, w_h, b, peepholes: (D, 4H), (H, 4H), (4H,), (3, H) or None.
        lengths: how many steps of each sequence are real, N whole numbers. After its last step the state of a sequence
            is carried on unchanged, so that the last step of the walk holds the final state of all.
        reverse: walk from each sequence's last step back to its first; then h of step 1 is the last one computed.

    Backwards through time, with G_t the gradient arriving at h_t: dh = G_t + dz_{t+1} W_h',
    do = dh * tanh(c_t) * s'(o),   dc = dc_{t+1} * f_{t+1} + dh * o * (1 - tanh(c_t)**2)   (+ peephole terms),
    di = dc * g * s'(i),   df = dc * c_{t-1} * s'(f),   dg = dc * i * (1 - g**2);   dz_t = (di, df, dg, do),
    dW_x = sum x_t' dz_t,   dW_h = sum h_{t-1}' dz_t,   db = sum dz_t,   dx_t = dz_t W_x'.
    """
    walk = walk_through("lstm", x, h0, w_h, lengths, reverse, steps)
    check_recurrent_shapes("lstm", 4, x, {"h0": h0, "c0": c0}, w_x, w_h, b)
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    if peepholes is not None and peepholes.shape != (3, size):
        raise ValueError(f"lstm: peepholes must be (3, {size}), for the gates i, f and o, got shape {peepholes.shape}.")
    dtype = xp.result_type(*[a for a in (x, h0, c0, w_x, w_h, b, peepholes) if a is not None])
    rows, gates = projected(x, w_x, b, walk, dtype)
    out = xp.empty((walk.steps + 1, walk.samples, size), dtype=dtype)
    cells, squashed = (xp.empty((walk.steps, walk.samples, size), dtype=dtype) for _ in range(2))
    scale = _scale(xp, size, dtype)
    h, c = (walk.nothing(w_h) if state is None else state for state in (h0, c0))
    product, part = xp.empty_like(gates[0]), xp.empty_like(cells[0])
    for t in walk.order:
        z = gates[t]
        if h0 is not None or t != walk.first:  # of zeros nothing comes
            z += xp.matmul(h, w_h, out=product)
        if peepholes is not None:
            z[:, :size] += peepholes[0] * c
            z[:, size : 2 * size] += peepholes[1] * c
        open_gates = 4 * size if peepholes is None else 3 * size
        _squash(xp, z[:, :open_gates], scale[:, :open_gates])
        i, f, g, o = _four(z, size)
        xp.multiply(f, c, out=cells[t])
        cells[t] += xp.multiply(i, g, out=part)
        over = walk.over(t)
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
    out[walk.steps] = c
    return out.transpose(1, 0, 2), (walk, rows, gates, cells, squashed)


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
    walk, rows, gates, cells, squashed = residuals
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    dz, dh, dc = _through_time(g.transpose(1, 0, 2), walk, gates, cells, squashed, c0, w_h, peepholes)
    flat = dz.reshape(walk.steps * walk.samples, 4 * size)
    dx = dw_h = dp = None
    if 0 in wanted:
        dx = (flat @ w_x.T).reshape(walk.steps, walk.samples, x.shape[2]).transpose(1, 0, 2)
    if 4 in wanted:
        past = walk.earlier(out.transpose(1, 0, 2)).reshape(-1, size)
        dw_h = past.T @ walk.later(dz).reshape(-1, 4 * size)
        if h0 is not None:
            dw_h += h0.T @ dz[walk.first]
    if 6 in wanted:
        di, df, _, do = (dz[:, :, k * size : (k + 1) * size] for k in range(4))
        past = walk.earlier(cells)
        dp = xp.stack([(walk.later(d) * past).sum(axis=(0, 1)) for d in (di, df)] + [(do * cells).sum(axis=(0, 1))])
        if c0 is not None:
            dp[0] += (di[walk.first] * c0).sum(axis=0)
            dp[1] += (df[walk.first] * c0).sum(axis=0)
    dw_x = rows.T @ flat if 3 in wanted else None
    return dx, dh, dc, dw_x, dw_h, flat.sum(axis=0) if 5 in wanted else None, dp


def _through_time(
    g: Array, walk: Walk, gates: Array, cells: Array, squashed: Array, c0: Array | None, w_h: Array, p: Array | None
) -> tuple[Array, Array, Array]:
    """The gradients of all sums, (T, N, 4H), and of the initial h and c: the walk backwards. g is (T + 1, N, H)."""
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    dz, slope = xp.empty_like(gates), xp.empty_like(gates[0])
    dh, part = xp.zeros_like(cells[0]), xp.empty_like(cells[0])
    dc = xp.zeros_like(dh)
    dc += g[walk.steps]
    back = w_h.T
    for t in reversed(walk.order):
        i, f, a, o = _four(gates[t], size)
        di, df, da, do = _four(dz[t], size)
        over = walk.over(t)
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
        past = c0 if t == walk.first else cells[t - walk.order.step]
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
