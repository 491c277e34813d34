"""The gated recurrent unit over a whole sequence as one operation: the LSTM's smaller sibling (Cho et al. 2014).

It has no cell beside its output and three gates instead of four. Fused for the reasons and in the manner of `lstm`.
"""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import primitive
from tinyae.backend import Array, backend_of
from tinyae.ops.comparisons import where
from tinyae.ops.functions import sigmoid, tanh
from tinyae.ops.sequence import Lengths, check_recurrent_shapes, projected, walk_through
from tinyae.ops.shape import expand, stack


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
    walk, size = walk_through("gru", x, h0, w_h, lengths, reverse, steps), w_h.shape[0]
    h = walk.nothing(w_h) if h0 is None else h0
    states: dict[int, Any] = {}
    for t in walk.order:
        z = expand(b, shape=(walk.samples, 3 * size)) if x is None else walk.given(x, t) @ w_x + b
        u = h @ w_h
        r = sigmoid(z[:, :size] + u[:, :size])
        k = sigmoid(z[:, size : 2 * size] + u[:, size : 2 * size])
        n = tanh(z[:, 2 * size :] + r * (u[:, 2 * size :] + b_n))
        new, over = n + k * (h - n), walk.over(t)
        h = new if over is None else where(over, h, new)
        states[t] = h
    return stack(*(states[t] for t in range(walk.steps)), axis=1)


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

    Backwards through time, dh the gradient at h_t:
    dn = dh * (1 - k) * (1 - n**2),   dk = dh * (h_{t-1} - n) * s'(k),   dr = dn * (u_n + b_n) * s'(r),
    du = (dr, dk, dn * r),   dh_{t-1} = dh * k + du W_h',   dW_h = sum h_{t-1}' du,   dW_x = sum x_t' (dr, dk, dn).
    """
    walk = walk_through("gru", x, h0, w_h, lengths, reverse, steps)
    check_recurrent_shapes("gru", 3, x, {"h0": h0}, w_x, w_h, b)
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    if b_n.shape != (size,):
        raise ValueError(f"gru: b_n must be ({size},), got shape {b_n.shape}.")
    dtype = xp.result_type(*[a for a in (x, h0, w_x, w_h, b, b_n) if a is not None])
    rows, gates = projected(x, w_x, b, walk, dtype)
    out = xp.empty((walk.steps, walk.samples, size), dtype=dtype)
    recurrent = xp.empty_like(out)  # u_n + b_n of all steps
    h, u = walk.nothing(w_h) if h0 is None else h0, xp.empty_like(gates[0])
    for t in walk.order:
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
        over = walk.over(t)
        if over is not None:
            xp.copyto(out[t], h, where=over)
        h = out[t]
    return out.transpose(1, 0, 2), (walk, rows, gates, recurrent)


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
    walk, rows, gates, recurrent = residuals
    xp, size = backend_of(w_h).xp, w_h.shape[0]
    g, states = g.transpose(1, 0, 2), out.transpose(1, 0, 2)
    dz, du = xp.empty_like(gates), xp.empty_like(gates)
    dh = xp.zeros_like(recurrent[0])
    for t in reversed(walk.order):
        r, k, n = (gates[t][:, j * size : (j + 1) * size] for j in range(3))
        over = walk.over(t)
        past = states[t - walk.order.step] if t != walk.first else walk.nothing(w_h) if h0 is None else h0
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
    flat = dz.reshape(walk.steps * walk.samples, 3 * size)
    dx = dw_h = None
    if 0 in wanted:
        dx = (flat @ w_x.T).reshape(walk.steps, walk.samples, x.shape[2]).transpose(1, 0, 2)
    if 3 in wanted:
        dw_h = walk.earlier(states).reshape(-1, size).T @ walk.later(du).reshape(-1, 3 * size)
        if h0 is not None:
            dw_h += h0.T @ du[walk.first]
    dw_x = rows.T @ flat if 2 in wanted else None
    db_n = du[:, :, 2 * size :].sum(axis=(0, 1)) if 5 in wanted else None
    return dx, dh, dw_x, dw_h, flat.sum(axis=0) if 4 in wanted else None, db_n
