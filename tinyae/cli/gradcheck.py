"""`tinyae gradcheck`: check every gradient numerically, or test the check by breaking each rule."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np

from tinyae.backend import DEVICES, Backend, backend_named
from tinyae.checks import did_you_mean
from tinyae.streams import Stream, progress_bar

GROUPS = ("ops", "losses", "layers", "models")
"""The parts of the check tables, in the order of the table that is printed."""


Rows = dict[tuple[str, str, str], tuple[int, float, set[str]]]
"""(group, function, argument) -> number of cases, largest error, and how it was measured."""


def gradcheck(
    *names: str,
    order: Annotated[int, (1, 2)] = 1,
    mutate: bool = False,
    seed: int = 0,
    device: Annotated[str, DEVICES] = "cpu",
) -> None:
    """check every gradient numerically, or test the check by breaking each rule

    Compare the gradients of operations, losses, layers and models with finite differences or the complex step, for every
    input and parameter. Exit code 1 if a gradient differs, or if a broken rule is not caught.

    Args:
        names: NAME, an operation, loss, layer or model, or one of ops, losses, layers, models, all; by default all.
        order: 2 also checks gradients of gradients.
        mutate: break each rule on purpose, and count how many are caught.
        seed: for inputs and cotangents.
        device: compute device; auto takes the GPU if one works.
    """
    chosen = _chosen(list(names) or ["all"])
    passed = _mutate(chosen) if mutate else _check(chosen, order, seed, device)
    sys.stdout.flush()
    if not passed:
        raise SystemExit(1)


def _name(case: Any) -> str:
    """The name that selects a case: the part before the parenthesis."""
    return case.name.partition("(")[0]


def _chosen(names: list[str]) -> dict[str, list[Any]]:
    """The selected cases by group; ValueError with near matches for an unknown name."""
    from tinyae.testing.tables import TABLES

    known = list(dict.fromkeys(_name(case) for table in TABLES.values() for case in table))
    for name in names:
        if name not in (*known, *GROUPS, "all"):
            hint = did_you_mean(name, reversed([*GROUPS, *known])) or f"choose a name or {', '.join(GROUPS)}, all."
            raise ValueError(f"there is no operation, loss, layer or model {name!r} to check: {hint}")
    wanted = {*names, *(GROUPS if "all" in names else ())}
    return {
        group: [case for case in table if group in wanted or _name(case) in wanted] for group, table in TABLES.items()
    }


def _bar(items: Iterable[Any], unit: str) -> Any:
    """The items with a progress bar if standard error is a terminal."""
    return progress_bar(items, visible=Stream(sys.stderr).isatty(), unit=f" {unit}", leave=False)


def _check(chosen: dict[str, list[Any]], order: int, seed: int, device: str) -> bool:
    """Check, print the table, and return whether everything passed."""
    backend = backend_named(device)
    start = time.perf_counter()
    rows: Rows = {}
    failures: list[str] = []
    smooth = [(group, case) for group, cases in chosen.items() for case in cases if case.order]
    for group, case in _bar(smooth, "cases"):
        what = case.name if group in ("layers", "models") else _name(case)
        for argument, row in _errors(case, backend, order, seed, failures).items():
            before: tuple[int, float, set[str]] = rows.get((group, what, argument), (0, 0.0, set()))
            rows[group, what, argument] = (before[0] + 1, max(before[1], row[0]), before[2] | {row[1]})
    print("\n".join(_lines(rows)))
    worst = max(rows, key=lambda key: rows[key][1], default=None)
    took = f"{time.perf_counter() - start:.1f} s on {backend.name}"
    if failures:
        print("\n".join(f"FAILED {line}" for line in failures))
        print(f"{len(failures)} of {len(smooth)} cases failed; {took}")
    elif worst is None:
        print("nothing to check: the selected functions are piecewise constant")
    else:
        print(
            f"{len(smooth)} cases passed at order {order}, {len(rows)} inputs and parameters; largest error "
            f"{rows[worst][1]:.1e} ({worst[1]}, {worst[2]}); {took}"
        )
    return not failures


def _errors(case: Any, backend: Backend, order: int, seed: int, failures: list[str]) -> dict[str, tuple[float, str]]:
    """The largest error of each argument of one case, and how it was measured."""
    from tinyae.testing.verification import gradient_report

    rng = np.random.default_rng(seed)
    try:
        report = gradient_report(case, rng, backend, order=min(order, case.order), raise_on_failure=False)
    except Exception as error:  # one failing case must not end the table
        failures.append(f"{case.name}: {type(error).__name__}: {error}")
        return {}
    if not report.passed:
        failures.append(f"{case.name}: {report}")
    return {name: (error, report.methods[name]) for name, error in report.errors.items()}


def _lines(rows: Rows) -> list[str]:
    """The table: one line per input and parameter, grouped by function."""
    lines: list[str] = []
    last = ("", "")
    width = max((len(argument) for _, _, argument in rows), default=0)
    for (group, what, argument), (count, error, methods) in rows.items():
        if group != last[0]:
            lines += [*([""] if lines else []), f"{group:{width + 4}}  largest relative error"]
        if (group, what) != last:
            noted = f"  ({count} cases)" if group in ("ops", "losses") and count > 1 else ""
            lines.append(f"  {what}{noted}")
        lines.append(f"    {argument:{width}}  {error:8.1e}  {'/'.join(sorted(methods))}")
        last = (group, what)
    return lines


def _mutate(chosen: dict[str, list[Any]]) -> bool:
    """Break the rules, print how many mistakes were caught, and return whether all were."""
    from tinyae.testing.mutation import survey

    start = time.perf_counter()
    cases = [*chosen["ops"], *chosen["losses"]]
    verdicts = survey(cases, lambda primitives: _bar(primitives, "primitives"))
    if not verdicts:
        raise ValueError("--mutate breaks gradient rules, which only operations and losses have: name one of them.")
    kinds = Counter((mutation.kind, verdict) for mutation, verdict in verdicts.items())
    print(f"{'mistake':20}{'planted':>8}{'caught':>8}{'without effect':>16}")
    total = Counter(verdicts.values())
    for kind in dict.fromkeys(mutation.kind for mutation in verdicts):
        print(_counts(kind, {verdict: kinds[kind, verdict] for verdict in total}))
    print(_counts("total", total))
    escaped = [mutation for mutation, verdict in verdicts.items() if verdict == "escaped"]
    for mutation in escaped:
        print(f"ESCAPED {mutation}")
    caught = total["caught"] + total["crashed"]
    broken = len({mutation.primitive.name for mutation in verdicts})
    print(
        f"{caught}/{caught + len(escaped)} planted mistakes caught in {broken} primitive{'s' if broken > 1 else ''}, "
        f"{total['crashed']} by an exception, the others by a wrong gradient; {time.perf_counter() - start:.1f} s"
    )
    return not escaped


def _counts(label: str, verdicts: dict[Any, int]) -> str:
    caught = verdicts.get("caught", 0) + verdicts.get("crashed", 0)
    return f"{label:20}{caught + verdicts.get('escaped', 0):8}{caught:8}{verdicts.get('equivalent', 0):16}"
