"""The check checked: broken rules are noticed, right ones restored, and a check that sees nothing is found out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import with_rules
from tinyae import ops
from tinyae.autodiff import Tensor, grad
from tinyae.losses import squared_error
from tinyae.testing import cases, mutation
from tinyae.testing.mutation import Mutation, Mutator, Trial, mutations_of, mutators, planted, rules, survey
from tinyae.testing.tables import CASES, discovered_primitives

FEW = (ops.tanh, ops.multiply, ops.matmul, ops.dense, ops.concatenate, ops.softmax, ops.getitem, squared_error)
"""One of each way in which a rule can be registered and in which it can be wrong."""


def of(verdicts: dict[Mutation, str], verdict: str) -> list[Mutation]:
    return [m for m, found in verdicts.items() if found == verdict]


@pytest.mark.thorough
@pytest.mark.matrix
def test_nothing_escapes_much_is_planted_and_every_class_takes_effect():
    """Of the cases of each, which share their rules, about four."""
    mine = [[case for case in CASES if case.op is op] for op in FEW]
    verdicts = survey([case for some in mine for case in some[:: max(1, len(some) // 4)]])
    assert of(verdicts, "escaped") == []
    assert len(of(verdicts, "caught")) > 250
    assert len(of(verdicts, "crashed")) < 5  # a mistake that raises an error needs no gradient check
    assert {m.kind for m in of(verdicts, "caught")} == {m.kind for m in mutators(2)}


@pytest.mark.slow
def test_nothing_escapes_in_the_whole_package():
    verdicts = survey(CASES)
    assert of(verdicts, "escaped") == []
    assert len(of(verdicts, "caught")) > 1500


@pytest.mark.thorough
@pytest.mark.matrix
def test_windows_moved_or_spaced_by_one_pixel_are_caught():
    found = survey([c for c in CASES if c.op in (ops.convolve, ops.avg_pool2d, ops.max_pool2d)][::2])
    of_windows = {m: verdict for m, verdict in found.items() if "of a window" in m.mutator.detail}
    assert "escaped" not in of_windows.values()
    assert {m.mutator.detail for m, verdict in of_windows.items() if verdict == "caught"} == {
        "the stride of a window",
        "the first pixel of a window",
    }


def test_a_wrong_sign_is_caught_in_every_rule_of_the_package():
    """The floor under all of it, asked of every rule: no case of the table may be blind to a sign."""
    for p in discovered_primitives().values():
        found = rules(p)
        if not found:
            continue
        trial = Trial(p, CASES)
        for position in found:
            flipped = Mutation(p, position, Mutator("sign", "-gradient", after=lambda c, call: -c))
            reached = any(position in case.moving for case, _ in trial.subjects)
            assert trial.verdict(flipped) == ("caught" if reached else "equivalent"), str(flipped)
            assert reached or p is ops.where, f"no case differentiates argument {position} of {p.name}"


BROADCASTING = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"]


@pytest.mark.parametrize("name", BROADCASTING)
def test_a_missing_sum_is_caught_in_every_rule_that_broadcasts(name):
    op = getattr(ops, name)
    trial = Trial(op, CASES)
    found = {(m.position, m.mutator.detail): trial.verdict(m) for m in mutations_of(op) if m.kind == "missing sum"}
    for position in rules(op):
        assert found[position, "first copy only"] == "caught"
        assert found[position, "mean instead of sum"] == "caught"


def test_a_planted_rule_is_used_and_taken_away_again():
    x = Tensor(np.array([0.3, 0.7]), requires_grad=True)
    right = grad(ops.tanh(x).sum(), x).data
    flipped = Mutation(ops.tanh, 0, Mutator("sign", "-gradient", after=lambda c, call: -c))
    with planted(flipped):
        np.testing.assert_array_equal(grad(ops.tanh(x).sum(), x).data, -right)
        np.testing.assert_array_equal(grad(ops.tanh(x).sum(), x, create_graph=True).data, -right)
    np.testing.assert_array_equal(grad(ops.tanh(x).sum(), x).data, right)
    with pytest.raises(ZeroDivisionError), planted(flipped):
        raise ZeroDivisionError
    np.testing.assert_array_equal(grad(ops.tanh(x).sum(), x).data, right)


def test_every_kind_of_registration_is_restored():
    for op in (ops.dense, ops.concatenate, ops.multiply):
        before = (dict(op.vjps), op.vjp_each, op.vjp_all, op.composed)
        for m in mutations_of(op):
            with planted(m):
                assert (op.vjps, op.vjp_each, op.vjp_all, op.composed) != before
            assert (op.vjps, op.vjp_each, op.vjp_all, op.composed) == before


def test_a_check_that_sees_nothing_is_found_out(monkeypatch):
    """If the gradient check always passed, every mistake with an effect would be reported as escaped."""

    def blind(*args: Any, **options: Any) -> Any:
        return type("Report", (), {"passed": True})()

    monkeypatch.setattr(mutation, "gradcheck", blind)
    found = survey([case for case in CASES if case.op is ops.tanh])
    assert "caught" not in found.values()
    assert len(of(found, "escaped")) > 10


def test_a_case_without_broadcasting_cannot_see_a_missing_sum():
    """What has no effect is counted apart, so a gap in a table shows as fewer planted mistakes and not as a success."""
    narrow = survey(list(cases(ops.add, [((3, 4), (3, 4))], np.add)))
    assert {v for m, v in narrow.items() if "first copy" in m.mutator.detail} == {"equivalent"}
    broad = survey(list(cases(ops.add, [((3, 4), (4,))], np.add)))
    assert [v for m, v in broad.items() if "first copy" in m.mutator.detail] == ["equivalent", "caught"]


def test_your_own_primitive_can_be_surveyed():
    formula, by_x, by_a = (
        lambda x, a: a * np.sin(x),
        lambda g, out, x, a: g * a * ops.cos(x),
        lambda g, out, x, a: g * ops.sin(x),
    )
    found = survey(list(cases(with_rules(formula, by_x, by_a), [((3, 4), (4,)), ((2,), ())], formula)))
    assert of(found, "escaped") == []
    assert len(of(found, "caught")) > 30


def test_a_mutation_says_what_it_is():
    texts = [str(m) for m in mutations_of(ops.dense)]
    assert "dense, rule 1: transposed operand (argument 0)" in texts
    assert "dense, composed twin: factor (twice)" in texts
    assert len(texts) == len(set(texts))
