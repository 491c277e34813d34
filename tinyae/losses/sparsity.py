"""Penalties that keep codes sparse and weights small. They belong beside a reconstruction term, in its unit."""

from __future__ import annotations

import math
from typing import Any

from tinyae import ops

_EPS = 1e-7
"""Mean activations are kept this far from 0 and 1, where the divergence is infinite."""


def bernoulli_kl(code: Any, *, rho: float) -> Any:
    """Sum over the K units of KL(rho || rho_hat_j), with rho_hat_j = mean over the batch of code[:, j].

    KL(rho || r) = rho log(rho / r) + (1 - rho) log((1 - rho) / (1 - r)),   d/dr = (r - rho) / (r (1 - r))

    Codes (N, K) must lie in [0, 1] (a sigmoid's do). rho_hat is that of this batch alone: with few samples it is a
    rough estimate, and the penalty is then larger on average than for all data, KL being convex. Lee, Ekanadham and Ng
    2008; Ng, CS294A lecture notes, section 3. Unit: nats.
    """
    if not 0.0 < rho < 1.0:
        raise ValueError(
            f"rho must lie between 0 and 1, got {rho:g}: 0.05 lets a unit be active a twentieth of the time."
        )
    mean = ops.clip(ops.mean(code, axis=0), low=_EPS, high=1.0 - _EPS)
    active = rho * (math.log(rho) - ops.log(mean))
    silent = (1.0 - rho) * (math.log(1.0 - rho) - ops.log(1.0 - mean))
    return ops.sum(active + silent)


def l1(code: Any) -> Any:
    """sum_j |code_j|, mean over the samples (N, K).   d/dcode = sign(code) / N, 0 at 0

    Its pull towards 0 is as strong for small codes as for large ones, so many end at 0 exactly (Tibshirani 1996).
    """
    return ops.sum(ops.absolute(code)) * (1.0 / len(code))


def weight_decay(*weights: Any) -> Any:
    """Half the sum of all squared elements of all `weights`.   d/dw = w

    The penalty that pulls every weight towards 0 by its own share (Krogh and Hertz 1991). Biases are usually left out.
    """
    if not weights:
        raise ValueError("weight_decay got no weights: pass at least one.")
    total, *others = [ops.sum(ops.square(weight)) for weight in weights]
    for square in others:
        total = total + square
    return 0.5 * total
