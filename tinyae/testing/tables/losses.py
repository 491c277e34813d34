"""The losses: every one in every reduction, against formulas in NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinyae import losses
from tinyae.losses import REDUCTIONS
from tinyae.testing.op_case import Domain, OpCase, apart, between, cases, nonzero, real
from tinyae.testing.tables.references import (
    bce_reference,
    cross_entropy_reference,
    huber_reference,
    logits_reference,
    partition_curve,
    partition_reference,
    partition_slope,
    reduced,
    sparsity_reference,
)

PAIRS = [((3, 4), (3, 4)), ((2, 1, 3), (2, 1, 3)), ((3,), (3,)), ((0, 2), (0, 2)), ((1, 1), (1, 1))]
ONE = [((3, 4),), ((1,),), ((0, 3),)]
NUMBERS = np.array([2, 0, 1, 2])


def each_reduction(
    loss: Any,
    reference: Callable[..., Any],
    domain: Domain = real,
    variants: Any = PAIRS,
    *,
    analytic: bool = False,
    **params: Any,
) -> Iterator[OpCase]:
    """Cases of a loss in every reduction: all variants where the shape of the result differs, else the first."""
    for reduction in REDUCTIONS:
        chosen = variants if reduction in ("per_sample", "none") else variants[:1]
        yield from cases(loss, chosen, reference, domain, analytic=analytic, reduction=reduction, **params)


LOSSES: list[OpCase] = [
    *cases(losses.squared_error, PAIRS, lambda y, t: reduced((y - t) ** 2)),
    *each_reduction(losses.squared_error, lambda y, t, reduction: reduced((y - t) ** 2, reduction), analytic=True),
    *each_reduction(losses.bce_with_logits, logits_reference, nonzero),
    *each_reduction(losses.bce, bce_reference, between(0.1, 0.9)),
    *each_reduction(
        losses.softmax_cross_entropy,
        cross_entropy_reference,
        between(0.1, 0.9),
        [((4, 3), NUMBERS), ((1, 3), NUMBERS[:1]), ((2, 3), (2, 3))],
        analytic=True,
    ),
    *each_reduction(
        losses.half_squared_error, lambda y, t, reduction: reduced((y - t) ** 2 / 2, reduction), analytic=True
    ),
    *cases(losses.bernoulli_kl, [((4, 3),), ((1, 2),)], sparsity_reference, between(0.1, 0.9), rho=0.2),
    *cases(losses.weight_decay, [((3, 2),), ((1, 2),)], lambda *w: sum((x**2).sum() for x in w) / 2),
    *cases(losses.l1, [((4, 3),), ((1, 2),)], lambda c: np.abs(c).sum() / len(c), nonzero, analytic=False),
    *each_reduction(losses.absolute_error, lambda y, t, reduction: reduced(np.abs(y - t), reduction), apart),
    *each_reduction(losses.huber, huber_reference, apart, delta=0.75),
    *cases(losses.kl_to_unit_gaussian, PAIRS, lambda m, v: (m**2 + np.exp(v) - 1 - v) / 2),
    *each_reduction(
        losses.gaussian_kl, lambda m, v, reduction: reduced((m**2 + np.exp(v) - 1 - v) / 2, reduction), analytic=True
    ),
    *each_reduction(
        losses.gaussian_nll,
        lambda m, s, x, reduction: reduced(((x - m) / np.exp(s)) ** 2 / 2 + s + np.log(2 * np.pi) / 2, reduction),
        variants=[((3, 2), (3, 2), (3, 2)), ((2, 3), (1,), (2, 3))],
        analytic=True,
    ),
    *cases(losses.continuous_bernoulli_log_norm, ONE, partition_reference, nonzero, analytic=False),
    *cases(losses.continuous_bernoulli_mean, ONE, partition_slope, nonzero, analytic=False),
    *cases(losses.continuous_bernoulli_variance, ONE, partition_curve, nonzero, analytic=False),
    *each_reduction(
        losses.continuous_bernoulli_nll,
        lambda z, x, reduction: reduced(partition_reference(z) - x * z, reduction),
        nonzero,
    ),
]
"""Every loss with every reduction. A new one is a line: `*each_reduction(losses.mine, reference)`."""
