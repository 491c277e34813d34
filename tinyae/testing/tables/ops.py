"""The operations: every primitive of `autodiff` and `ops`, and the functions composed of them.

One entry says what an operation should compute (a NumPy or SciPy formula on raw arrays that shares no code with it),
on which inputs its derivatives may be measured (away from kinks), and with which shapes. A new primitive needs lines
here and no new tests: every entry is asked the same questions.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from tinyae import ops
from tinyae.autodiff import expand, sum_to
from tinyae.autodiff.backward import alias, clone
from tinyae.testing.op_case import OpCase, apart, between, cases, nonzero, positive, whole
from tinyae.testing.tables.references import (
    concatenate_reference,
    crop_reference,
    dense_reference,
    getitem_reference,
    matmul_reference,
    max_reference,
    min_reference,
    pad_reference,
    scatter_reference,
    stack_reference,
    sum_to_reference,
)

FILLED = [((3, 4),), ((),), ((1,),), ((2, 1, 3),)]
UNARY = [*FILLED, ((0, 3),)]
ARRAYS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((2, 1, 4), (3, 1)),
    ((), (3,)),
    ((3,), ()),
    ((), ()),
    ((0, 3), (1, 3)),
    ((1,), (1, 1)),
]
SCALARS = [((3,), 0.15), (0.15, (3,))]
BINARY = [*ARRAYS, ((3,), 1.5), (1.5, (3,)), ((2, 2), 2)]
DENSE = [
    ((3, 4), (4, 5), (5,)),
    ((2, 3, 4), (4, 5), (5,)),
    ((4,), (4, 2), (2,)),
    ((0, 4), (4, 3), (3,)),
    ((1, 1), (1, 1), (1,)),
]
NARROW_DENSE = [((3, 0), (0, 2), (2,)), ((3, 2), (2, 0), (0,))]
MASK = np.array([[True, False, True], [False, False, True]])
ROWS = np.array([2, 0, 2])


OPS: list[OpCase] = [
    # arithmetic
    *cases(ops.add, BINARY, np.add),
    *cases(ops.subtract, BINARY, np.subtract),
    *cases(ops.multiply, BINARY, np.multiply),
    *cases(ops.divide, BINARY, lambda x, y: x * np.reciprocal(y * 1.0), nonzero),
    *cases(ops.power, BINARY, lambda x, y: np.exp(y * np.log(x)), positive),
    *cases(
        ops.power,
        [((3, 4), 2), ((3,), 3), ((), 2.0), ((2,), -1), ((0,), 2), ((1,), 1), ((2,), 0)],
        lambda x, y: np.sign(x) ** y * np.abs(x) ** y,
        nonzero,
    ),
    *cases(ops.negative, UNARY, np.negative),
    *cases(ops.absolute, UNARY, lambda x: np.sqrt(x * x), nonzero, analytic=False),
    *cases(ops.sign, UNARY, np.sign, whole, order=0),
    *cases(ops.log, UNARY, np.log, positive),
    # functions
    *cases(ops.exp, UNARY, np.exp),
    *cases(ops.log1p, UNARY, lambda x: np.log(1 + x), between(-0.7, 2.0)),
    *cases(ops.sqrt, UNARY, lambda x: x**0.5, positive),
    *cases(ops.square, UNARY, lambda x: x**2),
    *cases(ops.sin, UNARY, np.sin),
    *cases(ops.cos, UNARY, np.cos),
    *cases(ops.tanh, UNARY, lambda x: 1 - 2 / (np.exp(2 * x) + 1)),
    *cases(ops.sigmoid, UNARY, special.expit),
    *cases(ops.softplus, UNARY, lambda x: np.logaddexp(0.0, x), nonzero, analytic=False),
    *cases(ops.relu, UNARY, lambda x: np.where(x > 0, x, 0.0), nonzero, analytic=False),
    *cases(ops.leaky_relu, UNARY, lambda x: np.where(x > 0, x, 0.01 * x), nonzero, analytic=False),
    *cases(
        ops.leaky_relu,
        [((3, 4),)],
        lambda x, slope: np.where(x > 0, x, slope * x),
        nonzero,
        analytic=False,
        slope=0.2,
    ),
    *cases(ops.elu, UNARY, lambda x: np.where(x > 0, x, np.exp(x) - 1), nonzero, analytic=False),
    # comparisons and choices
    *cases(ops.less, BINARY, np.less, whole, order=0),
    *cases(ops.less_equal, BINARY, np.less_equal, whole, order=0),
    *cases(ops.greater, BINARY, np.greater, whole, order=0),
    *cases(ops.greater_equal, BINARY, np.greater_equal, whole, order=0),
    *cases(ops.equal, BINARY, np.equal, whole, order=0),
    *cases(ops.not_equal, BINARY, np.not_equal, whole, order=0),
    *cases(ops.indicator, [(MASK, (2, 3)), (MASK[:, 0], (1,)), (MASK[:0], (0, 3))], lambda c, _: c + 0.0, order=0),
    *cases(
        ops.where,
        [
            (MASK, (2, 3), (2, 3)),
            (MASK, (3,), (2, 1)),
            (MASK, (), (1, 1)),
            (MASK[0], (4, 1), 0.5),
            (MASK[0], 0.5, (3,)),
            (MASK[:0], (0, 3), (3,)),
        ],
        lambda c, x, y: c * (x + 0.0) + ~c * (y + 0.0),
    ),
    *cases(ops.maximum, ARRAYS, lambda x, y: 0.5 * (x + y + np.abs(x - y)), apart, analytic=False),
    *cases(ops.maximum, SCALARS, lambda x, y: np.where(x < y, y, x), nonzero, analytic=False),
    *cases(ops.minimum, ARRAYS, lambda x, y: 0.5 * (x + y - np.abs(x - y)), apart, analytic=False),
    *cases(ops.minimum, SCALARS, lambda x, y: np.where(x < y, x, y), nonzero, analytic=False),
    *cases(
        ops.clip,
        UNARY,
        lambda x, low, high: np.minimum(np.maximum(x, low), high),
        apart,
        analytic=False,
        low=-0.675,
        high=0.675,
    ),
    # shape
    *cases(alias, UNARY, np.positive),
    *cases(clone, UNARY, np.positive),
    *cases(expand, [((3, 1),), ((),), ((1, 4),), ((4,),)], lambda x, shape: x * np.ones(shape), shape=(3, 4)),
    *cases(expand, [((1,),), ((0, 1),)], lambda x, shape: x * np.ones(shape), shape=(0, 2)),
    *cases(sum_to, [((3, 4),), ((2, 3, 1),), ((0, 1),), ((3, 0, 4),)], sum_to_reference, shape=(1,)),
    *cases(sum_to, [((2, 3, 4),), ((3, 1),)], sum_to_reference, shape=(3, 1)),
    *cases(sum_to, [((2, 3),), ((),)], sum_to_reference, shape=()),
    *cases(
        ops.reshape,
        [((3, 4),), ((12,),), ((2, 1, 6),)],
        lambda x, shape: np.array(x.ravel().tolist()).reshape(shape),
        shape=(2, 6),
    ),
    *cases(ops.reshape, [((),), ((1, 1),)], lambda x, shape: np.array([x.item()]), shape=(-1,)),
    *cases(ops.reshape, [((0, 3),)], lambda x, shape: np.zeros(shape), shape=(2, 0)),
    *cases(ops.transpose, [((3, 4),), ((2, 3, 4),), ((3,),), ((),), ((0, 2),), ((1, 2),)], np.transpose),
    *cases(
        ops.transpose,
        [((2, 3, 4),), ((1, 0, 2),)],
        lambda x, axes: np.einsum("abc->bca", x),
        axes=(1, -1, 0),
    ),
    *cases(ops.getitem, [((3, 4),), ((4, 1),)], getitem_reference, index=ROWS),
    *cases(ops.getitem, [((2, 3),)], getitem_reference, index=MASK),
    *cases(ops.getitem, [((5,),), ((3, 2),), ((0,),)], getitem_reference, index=slice(1, None, 2)),
    *cases(ops.getitem, [((3, 4),), ((2, 5, 4),)], getitem_reference, index=(None, 1, ..., -1)),
    *cases(ops.getitem, [((3,),), ((1,),)], getitem_reference, index=-1),
    *cases(ops.getitem, [((4, 3),)], getitem_reference, index=(ROWS, [1, 1, 2])),
    *cases(ops.getitem, [((3, 2),)], getitem_reference, index=(MASK[0], slice(1, None))),
    *cases(ops.scatter, [((3, 2),)], scatter_reference, index=ROWS, shape=(4, 2)),
    *cases(ops.scatter, [((3,),)], scatter_reference, index=MASK, shape=(2, 3)),
    *cases(ops.scatter, [((2,),)], scatter_reference, index=slice(0, 2), shape=(3,)),
    *cases(ops.scatter, [((3, 1),)], scatter_reference, index=([1, 1, 0],), shape=(2, 1)),
    *cases(ops.scatter, [((),)], scatter_reference, index=(1, 2), shape=(2, 3)),
    *cases(ops.scatter, [((0, 2),)], scatter_reference, index=slice(0, 0), shape=(3, 2)),
    *cases(ops.pad, [((2, 3),), ((0, 1),)], pad_reference, widths=((1, 0), (2, 3))),
    *cases(ops.crop, [((4, 5),), ((1, 3),), ((1, 6),)], crop_reference, widths=((1, 0), (1, 2))),
    *cases(ops.crop, [((0,),), ((1,),), ((3,),)], crop_reference, widths=((0, 0),)),
    *cases(
        ops.concatenate,
        [((2, 3), (1, 3)), ((2, 3),), ((0, 3), (2, 3), (1, 3)), ((2,), (1,))],
        concatenate_reference,
    ),
    *cases(ops.concatenate, [((2, 3), (2, 1)), ((2, 1, 2), (2, 1, 0))], concatenate_reference, axis=-1),
    *cases(ops.stack, [((2, 3), (2, 3)), ((3,),), ((), (), ()), ((0,), (0,)), ((1,), (1,))], stack_reference),
    *cases(ops.stack, [((2, 3), (2, 3))], stack_reference, axis=-1),
    *cases(
        ops.flatten,
        [((2, 3, 4),), ((3,),), ((2, 0, 3),), ((1, 1, 2),)],
        lambda x: np.array([r.ravel() for r in x]),
    ),
    *cases(ops.swap_last, [((2, 3),), ((2, 1, 3),), ((0, 2),)], lambda x: np.swapaxes(x, -1, -2)),
    # reductions
    *cases(ops.sum, UNARY, lambda x: np.dot(x.ravel(), np.ones(x.size))),
    *cases(
        ops.sum,
        [((3, 4),), ((0, 3),), ((2, 1, 3),)],
        lambda x, axis, keepdims: np.einsum("...i->...", x)[..., None],
        axis=-1,
        keepdims=True,
    ),
    *cases(ops.sum, [((2, 3, 4),), ((2, 1, 0),)], lambda x, axis: np.einsum("abc->b", x), axis=(0, -1)),
    *cases(ops.mean, FILLED, lambda x: np.dot(x.ravel(), np.full(x.size, 1 / x.size))),
    *cases(
        ops.mean,
        [((3, 4),), ((4, 0),), ((2, 1, 3),)],
        lambda x, axis, keepdims: np.einsum("i...->...", x)[None] / len(x),
        axis=0,
        keepdims=True,
    ),
    *cases(ops.mean, [((2, 3, 4),)], lambda x, axis: np.einsum("abc->b", x) / 8, axis=(0, -1)),
    *cases(ops.max, FILLED, max_reference, apart, analytic=False),
    *cases(ops.max, [((3, 4),), ((0, 3),), ((2, 1, 3),)], max_reference, apart, analytic=False, axis=-1, keepdims=True),
    *cases(ops.max, [((2, 3, 4),)], max_reference, apart, analytic=False, axis=(0, 2)),
    *cases(ops.min, FILLED, min_reference, apart, analytic=False),
    *cases(ops.min, [((3, 4),), ((0, 3),), ((2, 1, 3),)], min_reference, apart, analytic=False, axis=-1, keepdims=True),
    *cases(ops.min, [((2, 3, 4),)], min_reference, apart, analytic=False, axis=(0, 2)),
    *cases(ops.logsumexp, FILLED, special.logsumexp),
    *cases(ops.logsumexp, [((3, 4),), ((0, 3),), ((2, 1, 3),)], special.logsumexp, axis=-1, keepdims=True),
    *cases(ops.logsumexp, [((2, 3, 4),)], special.logsumexp, axis=(0, -1)),
    *cases(ops.softmax, [((3, 4),), ((1,),), ((0, 3),), ((3, 1),)], lambda x: special.softmax(x, axis=-1)),
    *cases(ops.softmax, [((3, 4),), ((2, 3, 2),)], special.softmax, axis=0),
    *cases(ops.log_softmax, [((3, 4),), ((1,),), ((0, 3),), ((3, 1),)], lambda x: special.log_softmax(x, axis=-1)),
    *cases(ops.log_softmax, [((3, 4),), ((2, 3, 2),)], special.log_softmax, axis=0),
    *cases(ops.variance, FILLED, lambda x: np.mean(x * x) - np.mean(x) ** 2),
    *cases(ops.variance, [((3, 4),), ((0, 3),), ((2, 1),)], np.var, axis=-1),
    *cases(ops.norm, FILLED, lambda x: np.sqrt(np.vdot(x, x)), nonzero),
    *cases(ops.norm, [((3, 4),), ((0, 3),)], np.linalg.norm, nonzero, axis=1),
    # products
    *cases(
        ops.matmul,
        [
            ((3, 4), (4, 5)),
            ((2, 3, 4), (2, 4, 5)),
            ((2, 3, 4), (4, 5)),
            ((3, 4), (2, 4, 2)),
            ((2, 1, 3, 4), (3, 4, 2)),
            ((4,), (4,)),
            ((4,), (4, 3)),
            ((3, 4), (4,)),
            ((2, 3, 4), (4,)),
            ((4,), (2, 4, 3)),
            ((0, 4), (4, 3)),
            ((3, 0), (0, 2)),
            ((1, 1), (1, 1)),
            ((1, 3, 2), (4, 2, 1)),
            ((0, 2, 3), (3, 2)),
        ],
        matmul_reference,
    ),
    *cases(ops.dense, [*DENSE, *NARROW_DENSE], dense_reference),
    *cases(ops.dense, DENSE, dense_reference, activation="sigmoid"),
    *cases(ops.dense, DENSE, dense_reference, activation="tanh"),
    *cases(ops.dense, DENSE, dense_reference, activation="relu", analytic=False),
    *cases(ops.dense, DENSE, dense_reference, activation="elu", analytic=False),
]
"""Every operation with every set of shapes."""
