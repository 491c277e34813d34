"""The hot path of every model: no synchronization, no copy, no float64, and no more launches than agreed."""

from __future__ import annotations

import pytest

from tests.launch_budgets import TABLE, agreed, budgets, measured
from tinyae.models import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_keeps_its_budget(name: str) -> None:
    number = agreed(name)
    account = measured(name)  # raises where the step waits, copies or makes float64
    assert (account.syncs, account.copies) == (0, 0)
    more, less = "find out why, and raise the number only with a reason", "lower the number, so that the gain is kept"
    assert account.launches == number, (
        f"a training step of {name} starts {account.launches} kernels, tests/{TABLE.name} says {number}: "
        f"{more if account.launches > number else less}. Measured: {account}."
    )


def test_the_table_has_no_row_of_a_model_that_is_gone() -> None:
    assert set(budgets()) <= set(MODELS)


def test_a_model_without_a_row_is_named_with_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = budgets()
    number = rows.pop("basic")["launches"]
    monkeypatch.setattr("tests.launch_budgets.budgets", lambda: rows)
    with pytest.raises(LookupError, match=rf"'basic' has no row in tests/launch_budgets.toml: .* launches = {number},"):
        agreed("basic")
