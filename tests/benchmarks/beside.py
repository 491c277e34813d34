"""What the benchmarks beside PyTorch share: a step of either library, turns taken in one process or in many, a table."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from tests.benchmarks.machine import THREAD_VARIABLES, OtherLoad, describe

Step = Callable[[], Any]
"""Makes a training step and returns the loss."""

HEAD = "| network | how | tinyae | PyTorch | ratio of medians | median of paired ratios | others |\n"
HEAD += "| --- | --- | ---: | ---: | ---: | ---: | ---: |"


def training_step(optimizer: Any, loss_of: Callable[[], Any]) -> Step:
    """Forget the gradients, forward, backward, update: the same calls in both libraries."""

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss

    return step


def clock_of(threads: int) -> Callable[[], float]:
    """On one thread the time that the processor gave us, which a busy machine does not lengthen; else that of the clock."""
    return time.process_time if threads == 1 else time.perf_counter


def in_turn(
    steps: dict[str, Step], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Milliseconds of every step by library, which swap who goes first each time; five steps of each to warm up."""
    times: dict[str, list[float]] = {library: [] for library in steps}
    for i in range(5 + rounds):
        for library in list(steps) if i % 2 else list(steps)[::-1]:
            start = clock()
            steps[library]()
            times[library].append(1e3 * (clock() - start))
    return {library: t[5:] for library, t in times.items()}


def in_a_process(module: str, threads: int, *arguments: str) -> Any:
    """What `python -m tests.benchmarks.MODULE` prints as JSON, its thread count set before any library is loaded."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", "--threads", str(threads), *arguments]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def row(label: str, how: str, times: dict[str, list[float]], others: OtherLoad, paired: bool = True) -> str:
    """One line of the table: medians with quartiles in ms, and ratios below 1 where tinyae is faster."""
    ours, theirs = times["tinyae"], times["torch"]
    ratio = statistics.median(ours) / statistics.median(theirs)
    pairs = f"{statistics.median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}" if paired else "-"
    return f"| {label} | {how} | {spread(ours)} | {spread(theirs)} | {ratio:.2f} | {pairs} | {others.cores:.1f} |"


def spread(values: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def options(description: str, rounds: int, *more: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    """`--threads`, `--rounds`, `--measure` for a process of its own, and `more`; PyTorch must be there, and obeys.

    With one thread this process is held to one processor.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=2, help="threads for each of the two (default: 2)")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"repetitions (default: {rounds})")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    for name, how in more:
        parser.add_argument(name, **how)
    found = parser.parse_args()
    if find_spec("torch") is None:
        parser.error("this benchmark compares with PyTorch, which is not installed: pip install torch")
    import torch

    torch.set_num_threads(found.threads)
    if found.threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return found


def headline(given: argparse.Namespace, noted: str = "") -> str:
    """The machine and what is printed below it."""
    time_of = "processor time" if given.threads == 1 else "time on the clock"
    return (
        f"{describe()}, PyTorch {version('torch')}{noted}; {given.threads} threads each; float32; milliseconds of "
        f"{time_of}: median (quartiles);\nratio below 1: tinyae is faster; others: cores busy with other work\n"
    )
