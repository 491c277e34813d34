"""The summary of the comparison with PyTorch, printed at the end of `pytest -m peers`."""

from __future__ import annotations

from collections import Counter

import pytest

OUTCOMES = pytest.StashKey[Counter[tuple[str, str, str, object]]]()
"""How often (dtype, operation) had (outcome, detail), as returned by `judge`."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = Counter()


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> Counter[tuple[str, str, str, object]]:
    return request.config.stash[OUTCOMES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Passed by dtype and order; stated differences and what is not offered by reason; faults by operation."""
    found = config.stash[OUTCOMES]
    for kind, key in {
        "passed": lambda dtype, name, order: f"{dtype}, to order {order}",
        "stated": lambda dtype, name, reason: f"{reason} ({name})",
        "not offered": lambda dtype, name, why: f"{name}: {why}",
        "fault": lambda dtype, name, message: name,
    }.items():
        lines: Counter[str] = Counter()
        for (dtype, name, outcome, detail), n in found.items():
            if outcome == kind:
                lines[key(dtype, name, detail)] += n
        if found:
            terminalreporter.section(f"{kind}: {lines.total()}")
            for line, n in lines.most_common():
                terminalreporter.line(f"{n:6,}  {line}")
