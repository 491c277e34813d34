"""How the time of a training step grows with batch, width, depth, sequence length and image size, beside PyTorch and a floor.

    python -m tests.benchmarks.growth --picture growth.png

The floor of a step is the larger of two times: its multiplications at the measured rate of a matrix product, and the bytes that it
cannot avoid (parameters in Adam, results in both passes) at the measured rate of a copy. A fitted exponent p means
time ~ size**p over the upper half of the sizes, where fixed costs matter less.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.machine import describe, in_a_process
from tests.benchmarks.training_step import measure
from tests.benchmarks.workloads import (
    COMMAND,
    CONV,
    DENSE,
    RELU,
    WORKLOADS,
    Layer,
    Workload,
)

LIBRARIES = (COMMAND, "PyTorch")


def network(sample: tuple[int, ...], batch: int, encoder: list[Layer], decoder: list[Layer]) -> Workload:
    """An autoencoder of these layers, which otherwise is W5."""
    return replace(WORKLOADS["W5"], sample=sample, batch=batch, encoder=encoder, decoder=decoder)


def images(side: int) -> Workload:
    """Strided convolutions, there and back by upsampling, on square images."""
    encoder = [CONV((1, 16), "relu", 2), CONV((16, 16), "relu", 2)]
    decoder = [Layer("upsample"), CONV((16, 16), **RELU), Layer("upsample"), CONV((16, 1))]
    return network((side, side, 1), 32, encoder, decoder)


AXES: dict[str, tuple[str, tuple[int, ...], Callable[[int], Workload]]] = {
    "batch": (
        "784-32-784", (16, 64, 256, 1024, 4096),
        lambda n: network((784,), n, [DENSE((784, 32), **RELU)], [DENSE((32, 784))]),
    ),
    "width": (
        "784-n-784, batch 256", (16, 64, 256, 1024, 4096),
        lambda n: network((784,), 256, [DENSE((784, n), **RELU)], [DENSE((n, 784))]),
    ),
    "depth": (
        "784-256-...-784, n layers of 256, batch 256", (1, 2, 4, 8, 16, 32),
        lambda n: network((784,), 256, [DENSE((784, 256), **RELU)], [DENSE((256, 256), **RELU)] * (n - 1) + [DENSE((256, 784))]),
    ),
    "steps": ("LSTM of 128 units, batch 64, 28 features", (5, 10, 20, 40, 80, 160), lambda n: replace(WORKLOADS["W7"], sample=(n, 28))),
    "image side": ("convolutions of 16 channels, batch 32", (16, 28, 56, 112, 224), images),
}  # fmt: skip


def work(w: Workload) -> tuple[float, float]:
    """Multiplications of the products of a step, forward and both gradients; bytes that must be written and read."""
    rows, side = 1 if w.loss != "lstm" else w.sample[0], w.sample[0] if len(w.sample) == 3 else 0
    products, results, parameters = 0.0, float(math.prod(w.sample)), 0
    for i, (kind, (n, m), _, stride, _) in enumerate(w.encoder + w.decoder):
        if kind == "upsample":
            side *= 2
            results += side * side * 16
            continue
        side = -(-side // stride)
        places = rows if not side else side * side
        weights = {"dense": n * m, "conv": 9 * n * m, "lstm": 4 * m * (n + m)}[kind]
        products += places * weights * (2 if i == 0 else 3)  # nobody asks for the gradient of the input
        results += places * m * (6 if kind == "lstm" else 1)  # four gates, c and h
        parameters += weights
    return w.batch * products, 4 * (4 * w.batch * results + 8 * parameters)


def rates() -> tuple[float, float]:
    """Multiplications a second of a large matrix product, and bytes a second of a copy (read and written)."""
    a, b, times = np.ones((1024, 1024), np.float32), np.ones(1 << 26, np.uint8), []
    for call in (lambda: a @ a, lambda: np.copyto(b[: 1 << 25], b[1 << 25 :])):
        taken = []
        for _ in range(20):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        times.append(statistics.median(taken))
    return 1024**3 / times[0], (1 << 26) / times[1]


def exponent(sizes: tuple[int, ...], times: list[float]) -> float:
    """The slope of log time over log size, fitted to the upper half of the sizes."""
    upper = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[upper:]), np.log(times[upper:]), 1)[0])


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """A panel for each axis: time over size, both on a logarithmic scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.4), layout="constrained")
    for axes, (axis, times) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        title, sizes, _ = AXES[axis]
        for name, style in zip(times, ("o-", "s--", ":"), strict=True):
            axes.loglog(sizes, times[name], style, label=name.partition(",")[0], color="gray" if style == ":" else None)
        axes.set_title(title.replace(", batch", ",\nbatch").replace("784, n", "784,\nn"), fontsize=9)
        axes.set_xlabel(axis)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    first = figure.axes[0]
    first.set_ylabel("ms per training step")
    first.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print a table, and draw it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("axes", nargs="*", help=f"of {list(AXES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of timed steps in a run (default: 1)")
    parser.add_argument("--picture", type=Path, help="where to draw the times")
    parser.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        axis, size, library, seconds = given.alone
        WORKLOADS["grown"] = AXES[axis][2](int(size))
        print(json.dumps(measure("grown", library, float(seconds))))
        return
    multiplications, copied = rates()
    print(describe(), f"{multiplications / 1e9:.0f} G multiplications/s, {copied / 1e9:.1f} GB/s", sep="\n")
    print("\n| axis | size | " + " | ".join(f"{name}, ms" for name in LIBRARIES) + " | ratio | floor, ms |")
    print("| --- " + "| ---: " * (len(LIBRARIES) + 3) + "|")
    found: dict[str, dict[str, list[float]]] = {}
    for axis in given.axes or AXES:
        _, sizes, make = AXES[axis]
        times: dict[str, list[float]] = {name: [] for name in (*LIBRARIES, "floor")}
        for size in sizes:
            runs: dict[str, list[float]] = {name: [] for name in LIBRARIES}
            for number in range(given.rounds):
                for library in LIBRARIES if number % 2 else LIBRARIES[::-1]:
                    one = in_a_process("growth", ["--alone", axis, str(size), library, str(given.seconds)])
                    runs[library].append(one["ms"])
            products, moved = work(make(size))
            row: dict[str, Any] = {name: statistics.median(some) for name, some in runs.items()}
            row["floor"] = 1e3 * max(products / multiplications, moved / copied)
            for name, ms in row.items():
                times[name].append(ms)
            ours, theirs = (row[name] for name in LIBRARIES)
            print(
                f"| {axis} | {size} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} | {row['floor']:.2f} |",
                flush=True,
            )
        found[axis] = times
        ours, theirs, floor = (f"{exponent(sizes, some):.2f}" for some in times.values())
        print(f"| {axis} | exponent | {ours} | {theirs} | | {floor} |", flush=True)
    if given.picture:
        draw(found, given.picture)


if __name__ == "__main__":
    main()
