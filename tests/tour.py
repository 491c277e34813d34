"""The tour: which files and functions of the package one training step enters, in the order of entering.

    python -m tests.tour                     # basic, conv, vae and lstm, from objects in hand and from `fit`
    python -m tests.tour basic --functions   # call by call, every function where it is first entered

"From objects" is what somebody reads who has a model, an optimizer and a batch: zero_grad, loss, backward, step. "From fit" is
`ta.fit` of one epoch of one batch. Lines are those of the functions entered: signature, docstring and body. The numbers agreed
upon stand in `house.toml`, which `test_architecture.py` holds them to.
"""

from __future__ import annotations

import argparse
import ast
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import tinyae as ta
from tests.launch_budgets import build_small, class_numbers, small_batch, tensors
from tinyae.backend import CPU

PACKAGE = Path(ta.__file__).parent
MODELS = ("basic", "conv", "vae", "lstm")
STARTS = ("objects", "fit")
Step = tuple[str, Callable[[], Any]]
"""A part of a training step: what one writes, and what does it."""


@dataclass(frozen=True)
class Entry:
    """A function where it was first entered.

    Attributes:
        step: the part of the training step during which that was.
        depth: how many functions of the package were being called.
        file: in the package.
        name: qualified; of a rule its decorator, such as `dense.fused_vjp`, of a lambda what it is assigned to.
        lines: of its definition, from the first decorator.
    """

    step: str
    depth: int
    file: str
    name: str
    lines: range


@dataclass
class Tour:
    """What was entered, each function once, in the order of entering."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def files(self) -> dict[str, list[Entry]]:
        """The entries by file, files in the order of entering."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.file, []).append(entry)
        return found

    def lines(self, file: str | None = None) -> int:
        """Lines of the functions entered in one file or in all; those of a function within another count once."""
        chosen = [entry for entry in self.entries if file in (None, entry.file)]
        return len({(entry.file, n) for entry in chosen for n in entry.lines})

    def __str__(self) -> str:
        rows = [
            f"  {number:2}  tinyae/{file:26} {len(entries):3} functions, {self.lines(file):4} of {length(file):4} lines"
            for number, (file, entries) in enumerate(self.files.items(), 1)
        ]
        return "\n".join([f"{len(self.files)} files, {len(self.entries)} functions, {self.lines()} lines", *rows])

    def calls(self) -> str:
        """Every function under the part of the step that entered it, indented by the depth of the call."""
        rows, step = [], ""
        for entry in self.entries:
            if entry.step != step:
                step = entry.step
                rows.append(f"{step}")
            where = f"tinyae/{entry.file}:{entry.lines.start}"
            rows.append(f"  {where:38}{'  ' * min(entry.depth, 12)}{entry.name}")
        return "\n".join(rows)


def length(file: str) -> int:
    """Lines of a file of the package."""
    return (PACKAGE / file).read_text(encoding="utf-8").count("\n")


@cache
def definitions(file: Path) -> dict[int, tuple[range, str]]:
    """First line (of the first decorator, as Python counts) -> all lines, and a better name than Python's where there is one."""
    found: dict[int, tuple[range, str]] = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        decorators = getattr(node, "decorator_list", [])
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            name = next((ast.unparse(d) for d in decorators if "vjp" in ast.unparse(d)), "")
        elif isinstance(node, ast.Assign) and any(isinstance(part, ast.Lambda) for part in ast.walk(node.value)):
            name = ast.unparse(node.targets[0])
        else:
            continue
        first = min([node.lineno, *(d.lineno for d in decorators)])
        found.setdefault(first, (range(first, (node.end_lineno or first) + 1), name))
    return found


def toured(*steps: Step) -> Tour:
    """What the steps enter, in this thread and in those it starts."""
    tour, seen = Tour(), set[CodeType]()
    now, depth = "", 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal depth
        code = frame.f_code
        if event not in ("call", "return") or not code.co_filename.startswith(str(PACKAGE)):
            return
        depth += 1 if event == "call" else -1
        if event == "return" or code in seen:
            return
        seen.add(code)
        file = Path(code.co_filename)
        lines, rule = definitions(file).get(code.co_firstlineno, (None, ""))
        if lines is not None:
            tour.entries.append(Entry(now, depth, str(file.relative_to(PACKAGE)), rule or code.co_qualname, lines))

    for step, action in steps:
        now, depth = step, 0
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            action()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return tour


def steps_of(name: str, start: str) -> Sequence[Step]:
    """The parts of one training step of a small model, from objects in hand or from `fit`."""
    model, x = build_small(name), small_batch(name)
    if start == "fit":
        return [("ta.fit(model, x, epochs=1)", lambda: ta.fit(model, x, epochs=1, batch_size=len(x), progress=False))]
    model.train()
    optimizer = ta.optim.Adam(model.parameters())
    rows = tensors(model, CPU, x, class_numbers(name, x))
    loss: list[ta.Tensor] = []
    return [
        ("optimizer.zero_grad()", optimizer.zero_grad),
        ("loss = model.loss(x).total", lambda: loss.append(model.loss(rows).total)),
        ("loss.backward()", lambda: loss[0].backward()),
        ("optimizer.step()", optimizer.step),
    ]


def tour_of(name: str, start: str) -> Tour:
    """The tour of a model; one step is taken before, so that nothing is met that happens only once."""
    for _, action in steps_of(name, start):
        action()
    return toured(*steps_of(name, start))


def main() -> None:
    """Print the tours."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--start", choices=STARTS, help="only from objects in hand, or only from fit")
    parser.add_argument(
        "--functions", action="store_true", help="call by call, every function where it is first entered"
    )
    options = parser.parse_args()
    for name in options.models:
        for start in [options.start] if options.start else STARTS:
            tour = tour_of(name, start)
            print(f"{name}, from {start}: {tour}\n")
            if options.functions:
                print(tour.calls() + "\n")


if __name__ == "__main__":
    main()
