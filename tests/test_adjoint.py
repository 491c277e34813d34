"""Linear primitives: <A x, y> = <x, A^T y>, to rounding and without any finite difference."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import ops
from tinyae.autodiff import Primitive, Tensor, grad, sum_to
from tinyae.testing.tables import CASES, discovered_primitives

PAIRED = [case for case in CASES if isinstance(case.op, Primitive) and case.op.adjoint is not None]
LINEAR = [case for case in PAIRED if not case.params.get("value")]  # padding with another value than 0 is affine
every_linear_case = pytest.mark.parametrize("case", LINEAR, ids=operator.attrgetter("name"))


def test_the_known_pairs_are_declared():
    pairs = {(p.name, p.adjoint.name) for p in discovered_primitives().values() if p.adjoint is not None}
    expected = {("reshape", "reshape"), ("transpose", "transpose"), ("expand", "sum_to")}
    expected |= {("getitem", "scatter"), ("pad", "crop"), ("cumsum", "cumsum")}
    assert expected | {(b, a) for a, b in expected} <= pairs


@every_linear_case
def test_dot_products_agree_and_it_is_linear(case, rng):
    (x,), (z,) = case.make_inputs(rng), case.make_inputs(rng)
    out = case.op(x, **case.params)
    y = np.asarray(rng.normal(size=out.shape))
    back = case.op.vjps[0](y, out, x, **case.params)
    assert back.shape == x.shape
    assert_allclose(np.vdot(out, y), np.vdot(x, back), rtol=1e-13, atol=1e-14)
    separate = 2.5 * out - 0.5 * case.op(z, **case.params)
    assert_allclose(case.op(2.5 * x - 0.5 * z, **case.params), separate, rtol=1e-12, atol=1e-13)


@every_linear_case
def test_the_rule_is_the_adjoint_and_the_adjoint_leads_back(case, rng):
    (value,) = case.make_inputs(rng)
    x = Tensor(value, requires_grad=True)
    y = Tensor(np.asarray(rng.normal(size=case.op(x, **case.params).shape)), requires_grad=True)
    back = grad(case.op(x, **case.params), x, y, create_graph=True)
    assert back.node.primitive is case.op.adjoint
    assert case.op.adjoint.adjoint is case.op
    again = grad(back, y, value)
    assert_allclose(again.data, case.op(value, **case.params), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("shapes", "axis"), [([(2, 3), (4, 3), (0, 3)], 0), ([(2, 3), (2, 1)], -1), ([(5,)], 0)])
def test_concatenate_and_split_are_adjoint(shapes, axis, rng):
    xs = [rng.normal(size=s) for s in shapes]
    joined = ops.concatenate(*xs, axis=axis)
    y = rng.normal(size=joined.shape)
    pieces = ops.split(y, lengths=tuple(s[axis] for s in shapes), axis=axis)
    assert [p.shape for p in pieces] == shapes
    assert_allclose(np.vdot(joined, y), sum(np.vdot(x, p) for x, p in zip(xs, pieces, strict=True)), rtol=1e-13)
    leaves = [Tensor(x, requires_grad=True) for x in xs]
    for found, piece in zip(grad(ops.concatenate(*leaves, axis=axis), leaves, y), pieces, strict=True):
        assert_array_equal(found.data, piece)


def test_split_undoes_concatenate_and_passes_gradients_on(rng):
    x = Tensor(rng.normal(size=(5, 2)), requires_grad=True)
    first, second = ops.split(x, lengths=(2, 3))
    assert_array_equal(ops.concatenate(first, second).data, x.data)
    assert_array_equal(grad((first * first).sum() + second.sum(), x).data, np.vstack([2 * x.data[:2], np.ones((3, 2))]))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stack_and_slices_are_adjoint(axis, rng):
    xs = [rng.normal(size=(2, 3)) for _ in range(4)]
    stacked = ops.stack(*xs, axis=axis)
    y = rng.normal(size=stacked.shape)
    leaves = [Tensor(x, requires_grad=True) for x in xs]
    slices = [g.data for g in grad(ops.stack(*leaves, axis=axis), leaves, y)]
    for i, piece in enumerate(slices):
        assert_array_equal(piece, np.take(y, i, axis))
    assert_allclose(np.vdot(stacked, y), sum(np.vdot(x, p) for x, p in zip(xs, slices, strict=True)), rtol=1e-13)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: ops.split(x, lengths=(1, 1)), r"split: lengths \(1, 1\) add up to 2: .* axis 0 of shape \(3, 2\)"),
    (lambda x: ops.split(x, lengths=(4, -1)), "split: .*lengths of at least 0"),
    *[(lambda x, axis=axis: ops.split(x, (3,), axis=axis), f"split: .*axis {axis} of shape") for axis in (2, -3)],
    *[(lambda x, w=w: ops.pad(x, widths=w), "pad: widths must be one .* of numbers >= 0 per axis")
      for w in (1, None, (1, 1), ((1.5, 0), (0, 0)), (("1", 0), (0, 0)), ((1, 1), (0,)))],
    (lambda x: ops.flatten(x[0, 0]), r"flatten: the input needs a batch axis N, got shape \(\)"),
    *[(lambda x, shape=shape: sum_to(x, shape=shape), f"sum_to: .*{shape[-1]}.* does not broadcast to")
      for shape in ((2, 3), (6,), (3,), (1, 3, 2), (1, 1, 1, 2), (-1, 2))],
    (lambda x: ops.pad(x, widths=((1, 1),)), r"pad: .*shape \(3, 2\)"),
    (lambda x: ops.crop(x, widths=((2, 2), (0, 0))), "crop .*axis 0 of length 3"),
    (lambda x: ops.crop(x, widths=((-1, 0), (0, 0))), "crop: .*>= 0"),
    (lambda x: ops.concatenate(), "concatenate .*at least one"),
    (lambda x: ops.stack(), "stack .*at least one"),
])  # fmt: skip
def test_shape_mistakes_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(np.ones((3, 2)))
