"""A training step of eight autoencoders, beside PyTorch, JAX and TensorFlow, each library alone in its own process.

    python -m tests.benchmarks.training_step            # all that is installed
    python -m tests.benchmarks.training_step --check    # the first 8 losses of each, which must agree

Forget the gradients, forward, backward, Adam, read the loss; float32, from the same weights. The libraries take turns, one
process after another, as a machine is faster in one minute than in the next. A process times its steps for some seconds
after a warm-up; what counts is its median, and of that the median over the rounds. A run in which other processes kept the
machine busy is discarded and repeated. Threads are what a user gets who sets nothing, unless `--threads` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.machine import OtherLoad, describe, in_a_process
from tests.benchmarks.workloads import COMMAND, PEERS, WORKLOADS, build

TRIES, TOLERANCE = 5, 5e-5
HEAD = """
| | library | ms a step (of the runs) | ratio to PyTorch | faults a step | peak MB | s to the first step |
| --- | --- | ---: | ---: | ---: | ---: | ---: |"""


def first_losses(workload: str, library: str, count: int = 8, device: str = "cpu") -> list[float]:
    """The losses of the first steps, with the same noise everywhere."""
    step = build(workload, library, True, device)
    return [step(i) for i in range(count)]


def measure(workload: str, library: str, seconds: float, device: str = "cpu") -> dict[str, float]:
    """One run, in this process: see `HEAD`; `others` is how many cores other processes kept busy."""
    start = time.perf_counter()
    step = build(workload, library, False, device)
    step(0)
    first = time.perf_counter() - start
    for i in range(1, 6):
        step(i)
    while time.perf_counter() - start < first + seconds / 3:
        step(i := i + 1)
    times: list[float] = []
    before = faults()
    with OtherLoad() as others:
        while len(times) < 5 or sum(times) < 1e3 * seconds:
            start = time.perf_counter()
            step(i := i + 1)
            times.append(1e3 * (time.perf_counter() - start))
    found = {"ms": statistics.median(times), "faults": (faults() - before) / len(times), "others": others.cores}
    return found | {"peak": peak_megabytes(), "first": first}


def faults() -> int:
    """How often this process touched memory that it had to get from the system first."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def peak_megabytes() -> float:
    """The largest size of this process so far, its libraries included; as Linux keeps it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def alone(given: argparse.Namespace, workload: str, library: str) -> Any:
    """What a process of its own finds out."""
    how = ["--seconds", str(given.seconds), "--threads", str(given.threads), "--device", given.device]
    arguments = ["--alone", workload, library, *how, *["--check"] * given.check]
    return in_a_process("training_step", arguments, given.threads)


def quiet_run(given: argparse.Namespace, workload: str, library: str, turn: str) -> dict[str, float] | None:
    """A run without other work on the machine; None if there was none in `TRIES`, or if the library cannot run it."""
    for _ in range(TRIES):
        try:
            found: dict[str, float] = alone(given, workload, library)
        except RuntimeError as error:
            print(f"failed: {error}", file=sys.stderr, flush=True)
            return None
        kept = not found["others"] > given.others
        note = "" if kept else ": discarded"
        print(f"{turn}: {found['ms']:.2f} ms, others {found['others']:.2f} cores{note}", file=sys.stderr, flush=True)
        if kept:
            return found
    return None


def compare(given: argparse.Namespace, workload: str, libraries: list[str]) -> list[str]:
    """The lines of one workload."""
    runs: dict[str, list[dict[str, float]]] = {library: [] for library in libraries}
    for number in range(given.rounds):
        for library in libraries if number % 2 else libraries[::-1]:
            found = quiet_run(given, workload, library, f"{workload} round {number + 1}/{given.rounds} {library}")
            runs[library] += [found] if found else []
    ms = {library: statistics.median(r["ms"] for r in some) for library, some in runs.items() if some}
    lines = []
    for library, some in runs.items():
        if not some:
            lines.append(f"| {workload} | {library} | no run to count | | | | |")
            continue
        low, high = min(r["ms"] for r in some), max(r["ms"] for r in some)
        ratio = f"{ms[library] / ms['PyTorch']:.2f}" if "PyTorch" in ms else "-"
        fault, peak, first = (statistics.median(r[name] for r in some) for name in ("faults", "peak", "first"))
        time = f"{ms[library]:.2f} ({low:.2f} to {high:.2f}, {len(some)})"
        lines.append(f"| {workload} | {library} | {time} | {ratio} | {fault:,.0f} | {peak:.0f} | {first:.1f} |")
    return lines


def check(given: argparse.Namespace, workload: str, libraries: list[str]) -> None:
    """Print the first losses of every library; AssertionError unless they agree."""
    found = {library: alone(given, workload, library) for library in libraries}
    for library, losses in found.items():
        print(f"{workload} {library:20}", *(f"{loss:.7g}" for loss in losses), flush=True)
    for library, losses in found.items():
        np.testing.assert_allclose(losses, found[libraries[0]], rtol=TOLERANCE, err_msg=f"{workload}: {library}")


def main() -> None:
    """Print the table, or the losses; progress goes to standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", help="which (default: all of W1 to W8)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of every library (default: 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of timed steps in a run (default: 3)")
    parser.add_argument("--threads", type=int, default=0, help="and processors, of each library (default: it chooses)")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where to compute (default: cpu)")
    parser.add_argument("--others", type=float, default=0.1, help="busy cores that discard a run (default: 0.1)")
    parser.add_argument("--libraries", nargs="+", help=f"of {['tinyae', *PEERS]} (default: all)")
    parser.add_argument("--check", action="store_true", help="compare the first losses instead")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        if given.threads:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
        workload, library = given.workloads
        where = (workload, library, given.seconds, given.device)
        print(json.dumps(first_losses(workload, library, device=given.device) if given.check else measure(*where)))
        return
    chosen = given.libraries or ["tinyae", COMMAND, *PEERS]
    absent = {name for name, (module, *_) in PEERS.items() if find_spec(module) is None}
    libraries = [name for name in chosen if name not in absent]
    owners = packages_distributions()  # "tensorflow" may come from tensorflow-cpu
    versions = {m: version(owners[m][0]) for name, (m, *_) in PEERS.items() if name in libraries}
    print(describe(), ", ".join(f"{m} {v}" for m, v in versions.items()), sep="\n")
    print(f"threads: {given.threads or 'as each library chooses'}; {given.seconds:g} s a run; float32")
    print("".join(f"{name}: not installed, skipped.\n" for name in chosen if name in absent), end="")
    workloads = given.workloads or list(WORKLOADS)
    if given.check:
        for workload in workloads:
            check(given, workload, libraries)
        return
    print(HEAD, flush=True)
    for workload in workloads:
        print("\n".join(compare(given, workload, libraries)), flush=True)
    print("\n" + "; ".join(f"{workload}: {WORKLOADS[workload].title}" for workload in workloads) + ".")


if __name__ == "__main__":
    main()
