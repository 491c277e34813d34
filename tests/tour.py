"""The tour: which files and functions of the package one training step enters, in the order of entering.

    python -m tests.tour                     # basic, conv, vae and lstm, from objects in hand and from `fit`
    python -m tests.tour basic --functions   # with the name of every function

"From objects" is what somebody reads who has a model, an optimizer and a batch: zero_grad, loss, backward, step. "From fit" is
`ta.fit` of one epoch of one batch. Lines are those of the functions entered: signature, docstring and body. The numbers agreed
upon stand in `house.toml`, which `test_house.py` holds them to.
"""

from __future__ import annotations

import argparse
import ast
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import tinyae as ta
from tests.launch_budgets import build_small, class_numbers, small_batch, tensors, train_step
from tinyae.backend import CPU

PACKAGE = Path(ta.__file__).parent
MODELS = ("basic", "conv", "vae", "lstm")
STARTS = ("objects", "fit")


@dataclass
class Tour:
    """What was entered: by file, in the order of entering, each function with the lines of its definition."""

    files: dict[str, dict[str, range]] = field(default_factory=dict)

    @property
    def functions(self) -> int:
        """How many functions, methods and lambdas."""
        return sum(map(len, self.files.values()))

    def lines(self, file: str | None = None) -> int:
        """Lines of the functions entered in one file or in all; those of a function within another count once."""
        chosen = self.files if file is None else {file: self.files[file]}
        return sum(len({n for lines in functions.values() for n in lines}) for functions in chosen.values())

    def __str__(self) -> str:
        rows = [
            f"  {number:2}  {file:28} {len(functions):3} functions {self.lines(file):5} lines"
            for number, (file, functions) in enumerate(self.files.items(), 1)
        ]
        return "\n".join([f"{len(self.files)} files, {self.functions} functions, {self.lines()} lines", *rows])


@cache
def definitions(file: Path) -> dict[int, range]:
    """First line (of the first decorator, as Python counts) -> all lines, for every function and lambda in a file."""
    found = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(d.lineno for d in decorators)])
            found.setdefault(first, range(first, (node.end_lineno or first) + 1))
    return found


def toured(action: Callable[[], Any]) -> Tour:
    """What `action` enters, in this thread and in those it starts."""
    seen: dict[CodeType, None] = {}

    def enter(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            seen.setdefault(frame.f_code)

    threading.setprofile(enter)
    sys.setprofile(enter)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    tour = Tour()
    for code in seen:
        file = Path(code.co_filename)
        lines = definitions(file).get(code.co_firstlineno) if PACKAGE in file.parents else None
        if lines is not None:
            functions = tour.files.setdefault(str(file.relative_to(PACKAGE)), {})
            functions[f"{code.co_qualname} (line {lines.start})"] = lines
    return tour


def step_of(name: str, start: str) -> Callable[[], Any]:
    """One training step of a small model, from objects in hand or from `fit`."""
    model, x = build_small(name), small_batch(name)
    if start == "fit":
        return lambda: ta.fit(model, x, epochs=1, batch_size=len(x), progress=False)
    model.train()
    optimizer = ta.optim.Adam(model.parameters())
    rows = tensors(model, CPU, x, class_numbers(name, x))
    return lambda: train_step(model, optimizer, rows)


def tour_of(name: str, start: str) -> Tour:
    """The tour of a model; one step is taken before, so that nothing is met that happens only once."""
    step_of(name, start)()
    return toured(step_of(name, start))


def main() -> None:
    """Print the tours."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--functions", action="store_true", help="name every function")
    options = parser.parse_args()
    for name in options.models:
        for start in STARTS:
            tour = tour_of(name, start)
            print(f"{name}, from {start}: {tour}")
            if options.functions:
                print(*(f"      {file}: {f}" for file, functions in tour.files.items() for f in functions), sep="\n")


if __name__ == "__main__":
    main()
