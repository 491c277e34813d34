"""`tinyae gradcheck`: the table, the exit codes, and what it says when something is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tinyae import ops
from tinyae.cli import gradcheck
from tinyae.cli.gradcheck import GROUPS
from tinyae.cli.main import main
from tinyae.models import MODELS
from tinyae.testing import mutation, tables
from tinyae.testing.mutation import Mutation, Mutator, planted
from tinyae.testing.tables import TABLES


def sign_error(op: Any, position: int = 0) -> Any:
    return planted(Mutation(op, position, Mutator("sign", "-gradient", after=lambda c, call: -c)))


def test_names_choose_rows_and_every_parameter_has_one(tinyae):
    lines = tinyae("gradcheck huber Dense basic tanh").splitlines()
    for group in gradcheck.GROUPS:
        assert any(line.startswith(group) and line.endswith("largest relative error") for line in lines)
    for row in ("  tanh  (4 cases)", "  Dense(4, 3, activation='relu', bias=True) 5x4", "  basic(code_size=3) 5x6"):
        assert row in lines
    rows = [line.split() for line in lines if line.startswith("    ")]
    assert {"x", "predictions", "targets", "input", "weight", "bias", "encoder.0.weight"} <= {row[0] for row in rows}
    assert all(float(row[1]) < 1e-6 for row in rows)
    assert {row[2] for row in rows} == {"central", "complex"}
    assert "cases passed at order 1" in lines[-1]


def test_everything_is_the_default(tinyae, monkeypatch):
    """All rows are chosen. A few of them are run: test_ops and test_check_tables ask the rest."""
    assert gradcheck._chosen(["all"]) == TABLES
    few = {group: [case for case in table[::50] if case.order] for group, table in TABLES.items()}
    monkeypatch.setattr(tables, "TABLES", few)
    lines = tinyae("gradcheck").splitlines()
    assert [line.split()[0] for line in lines if "largest relative error" in line] == list(GROUPS)
    assert int(lines[-1].split()[0]) == sum(map(len, few.values()))
    assert "ops " not in tinyae("gradcheck losses")


def test_order_two_checks_the_cotangent_too(tinyae):
    out = tinyae("gradcheck tanh --order 2 --seed 3")
    assert "weights of the output" in out
    assert "passed at order 2" in out


def failing(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints when it ends with exit code 1."""
    with pytest.raises(SystemExit) as stop:
        main(["gradcheck", *words])
    assert stop.value.code == 1
    return capsys.readouterr().out


def test_a_wrong_rule_is_named_and_the_exit_code_is_1(capsys):
    with sign_error(ops.tanh):
        out = failing(capsys, "tanh", "sin")
    assert re.search(
        r"FAILED tanh\(3x4\): gradcheck failed: order 1, argument 0 \(x\), at coordinate \(\d, \d\): ", out
    )
    assert "4 of 10 cases failed" in out  # the fifth of tanh is empty and has nothing to be wrong about


def test_a_case_that_raises_does_not_end_the_table(capsys):
    def refuse(c: Any, call: Any) -> Any:
        raise RuntimeError("the device is on fire")

    with planted(Mutation(ops.tanh, 0, Mutator("sign", "", after=refuse))):
        out = failing(capsys, "tanh", "sin")
    assert "FAILED tanh(3x4): RuntimeError: the device is on fire" in out
    assert "  sin  (4 cases)" in out


@pytest.mark.parametrize(("name", "words"), [
    ("desne", "'desne' to check: did you mean dense or"),
    ("batchnorm", "'batchnorm' to check: did you mean BatchNorm"),
    ("Loss", "did you mean losses"),
    ("xyzzy", "'xyzzy' to check: choose a name or ops, losses, layers, models, all."),
])  # fmt: skip
def test_unknown_names_get_one_sentence_with_near_matches(name, words, refused):
    assert words in refused("gradcheck", name)


def test_what_has_no_derivative_is_said(tinyae):
    assert "nothing to check" in tinyae("gradcheck less")


def test_mutate_prints_caught_of_planted(tinyae):
    out = tinyae("gradcheck --mutate tanh matmul")
    kind, planted_, caught, _ = next(line for line in out.splitlines() if line.startswith("total")).split()
    assert kind == "total"
    assert int(planted_) == int(caught) > 60
    assert f"{caught}/{planted_} planted mistakes caught in 2 primitives" in out


def test_mutate_exits_with_1_when_one_escapes(monkeypatch, capsys):
    monkeypatch.setattr(mutation, "gradcheck", lambda *args, **options: type("Report", (), {"passed": True})())
    out = failing(capsys, "--mutate", "sin")
    assert "ESCAPED sin, rule 0: sign (-gradient)" in out
    assert "\n0/" in out


def test_mutate_wants_rules(refused):
    assert "--mutate breaks gradient rules" in refused("gradcheck --mutate Dense")


def test_no_progress_bar_off_a_terminal(capsys):
    main(["gradcheck", "exp"])
    assert capsys.readouterr().err == ""


def test_every_model_of_the_registry_is_known_by_name():
    for name in MODELS:
        assert gradcheck._chosen([name])["models"]
