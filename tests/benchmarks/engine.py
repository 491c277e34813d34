"""What a node costs: microseconds per recorded operation on numbers, where the arithmetic itself is next to nothing.

    python -m tests.benchmarks.engine

A chain y <- 1.0001 y, y <- y + a of 10 to 100,000 nodes is recorded and swept backward, each length in a process of its
own. A column that stays flat says that the cost of a graph grows with its size and not faster. Python's cyclic garbage
collector, whose share is the last column, makes it grow: it visits a live tape again whenever that has grown by a quarter.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import tinyae as ta
from tests.benchmarks.machine import OtherLoad, describe
from tinyae.backend import Backend, backend_named

LENGTHS = (10, 100, 1_000, 10_000, 100_000)


def time_chain(length: int, backend: Backend) -> tuple[float, float]:
    """Seconds for the forward pass and for the backward pass of one chain of `length` nodes (an even number)."""
    a = ta.Tensor(backend.to_device(1.0, "float32"), requires_grad=True)
    backend.synchronize()
    start = time.perf_counter()
    y = a
    for _ in range(length // 2):
        y = y * 1.0001
        y = y + a
    backend.synchronize()
    middle = time.perf_counter()
    y.backward()
    backend.synchronize()
    return middle - start, time.perf_counter() - middle


def microseconds_per_node(length: int, nodes: int, device: str) -> tuple[float, float, float, float]:
    """Medians over repetitions that add up to about `nodes` nodes (at least 5): forward, backward, total; and the mean
    time in the cyclic collector."""
    backend = backend_named(device)
    collector = []

    def clock(phase: str, info: dict[str, int]) -> None:
        collector.append(time.perf_counter() * (1 if phase == "stop" else -1))

    time_chain(length, backend)
    gc.callbacks.append(clock)
    runs = [time_chain(length, backend) for _ in range(max(5, nodes // length))]
    columns = [[f for f, _ in runs], [b for _, b in runs], [f + b for f, b in runs]]
    forward, backward, total = (1e6 * statistics.median(column) / length for column in columns)
    return forward, backward, total, 1e6 * sum(collector) / len(runs) / length


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Microseconds per node, forward and backward, for chains of numbers.")
    parser.add_argument("--device", choices=("cpu", "gpu", "auto"), default="cpu")
    parser.add_argument("--nodes", type=int, default=500_000, help="nodes timed per length (default: 500000)")
    options = parser.parse_args()
    backend = backend_named(options.device)
    print(f"{describe()}\n{backend.describe()}; float32, shape ()\n")
    print("| nodes | forward, us/node | backward, us/node | total, us/node | of it in the collector | others, cores |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    alone = multiprocessing.get_context("spawn")
    for length in LENGTHS:
        with OtherLoad() as others, ProcessPoolExecutor(max_workers=1, mp_context=alone) as process:
            times = process.submit(microseconds_per_node, length, options.nodes, options.device).result()
        numbers = " | ".join(f"{number:.2f}" for number in times)
        print(f"| {length:,} | {numbers} | {others.cores:.1f} |", flush=True)


if __name__ == "__main__":
    main()
