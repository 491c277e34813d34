"""A training step of two dense autoencoders, against PyTorch eager with the same weights, data and thread count.

    python -m tests.benchmarks.dense_step

A step is: forget the gradients, forward, binary cross-entropy from logits (mean), backward, Adam; float32. "In
alternation" runs both in one process, step by step in turn, so that whatever else the machine does hits both alike. But
both keep a pool of threads that spins for a while after its work, into the other's step. So each is timed alone as
well, in processes of its own, taking turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from tests.benchmarks.machine import THREAD_VARIABLES, OtherLoad, describe
from tinyae import Tensor, losses, nn, optim

Step = Callable[[], Any]


@dataclass(frozen=True)
class Network:
    """Layer sizes, the activation after each layer, and the batch size N."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    batch: int
    steps: int


NETWORKS = {
    "784-400-20-400-784": Network((784, 400, 20, 400, 784), ("relu", "identity", "relu", "identity"), 128, 120),
    "784-1000-500-250-30-250-500-1000-784": Network(
        (784, 1000, 500, 250, 30, 250, 500, 1000, 784), (*["relu"] * 3, "identity") * 2, 256, 40
    ),
}


def build(network: Network) -> tuple[nn.Sequential, np.ndarray]:
    """The model and a batch x (N, D) in [0, 1), both from a fixed seed."""
    rng = np.random.default_rng(0)
    pairs = zip(network.sizes, network.sizes[1:], network.activations, strict=False)
    model = nn.Sequential(*[nn.Dense(d, k, activation=f, initializer="he_uniform", generator=rng) for d, k, f in pairs])
    return model, rng.random((network.batch, network.sizes[0]), dtype=np.float32)


def tinyae_step(network: Network) -> Step:
    """One training step of tinyae, as a function that returns the loss."""
    model, data = build(network)
    x = Tensor(data)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = losses.bce_with_logits(model(x), x, reduction="mean")
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch_step(network: Network, threads: int, fused: bool) -> Step:
    """The same step in PyTorch eager, starting from the same weights."""
    import torch

    torch.set_num_threads(threads)
    model, data = build(network)
    weights = [p.numpy() for p in model.parameters() if p.ndim == 2]
    modules: list[torch.nn.Module] = []
    for weight, activation in zip(weights, network.activations, strict=True):
        linear = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.zero_()
        modules += [linear, torch.nn.ReLU()] if activation == "relu" else [linear]
    net = torch.nn.Sequential(*modules)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused)
    criterion = torch.nn.BCEWithLogitsLoss()
    x = torch.from_numpy(data)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = criterion(net(x), x)
        loss.backward()
        optimizer.step()
        return loss

    return step


def measure(name: str, who: str, threads: int, fused: bool) -> dict[str, Any]:
    """Milliseconds of every step, by library; with both, they take turns and swap who goes first each time."""
    network = NETWORKS[name]
    makers = {"tinyae": lambda: tinyae_step(network), "torch": lambda: torch_step(network, threads, fused)}
    steps = {library: makers[library]() for library in (("tinyae", "torch") if who == "both" else (who,))}
    times: dict[str, list[float]] = {library: [] for library in steps}
    last: dict[str, float] = {}
    for i in range(5 + network.steps):
        for library in list(steps) if i % 2 else list(steps)[::-1]:
            start = time.perf_counter()
            loss = steps[library]()
            times[library].append(1e3 * (time.perf_counter() - start))
            last[library] = float(loss.item())
    return {"times": {library: t[5:] for library, t in times.items()}, "loss": last}


def in_a_process(name: str, who: str, options: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a process of its own, with its thread count set before any library is loaded."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(options.threads))}
    command = [sys.executable, "-m", "tests.benchmarks.dense_step", "--measure", name, who]
    command += ["--threads", str(options.threads), *(["--fused"] if options.fused else [])]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def report(name: str, options: argparse.Namespace) -> str:
    """Print the lines of one network; return the losses after the last step: both must have done the same work."""
    with OtherLoad() as others:
        both = in_a_process(name, "both", options)
    ours, theirs = both["times"]["tinyae"], both["times"]["torch"]
    paired = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    label = f"{name}, batch {NETWORKS[name].batch}"
    print(row(label, "in alternation", ours, theirs, f"{paired:.2f}", others), flush=True)
    alone: dict[str, list[float]] = {"tinyae": [], "torch": []}
    with OtherLoad() as others:
        for i in range(options.rounds):
            for library in ("tinyae", "torch") if i % 2 else ("torch", "tinyae"):
                alone[library] += in_a_process(name, library, options)["times"][library]
    print(row(label, "each alone", alone["tinyae"], alone["torch"], "-", others), flush=True)
    last = both["loss"]
    return f"{name}: tinyae {last['tinyae']:.6f}, PyTorch {last['torch']:.6f}"


def row(label: str, how: str, ours: list[float], theirs: list[float], paired: str, others: OtherLoad) -> str:
    """One line of the table: medians with quartiles in ms, and ratios below 1 where tinyae is faster."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    return f"| {label} | {how} | {spread(ours)} | {spread(theirs)} | {ratio:.2f} | {paired} | {others.cores:.1f} |"


def spread(times: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="A training step of dense autoencoders, beside PyTorch eager (CPU).")
    parser.add_argument("--threads", type=int, default=2, help="threads for each of the two (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="processes per library when timed alone (default: 3)")
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused Adam instead of its default one")
    parser.add_argument("--measure", nargs=2, metavar=("NETWORK", "WHO"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if find_spec("torch") is None:
        parser.error("this benchmark compares with PyTorch, which is not installed: pip install torch")
    if options.measure:
        name, who = options.measure
        print(json.dumps(measure(name, who, options.threads, options.fused)))
        return
    adam = "fused Adam" if options.fused else "its default Adam"
    print(f"{describe()}, PyTorch {version('torch')} with {adam}; {options.threads} threads each; float32;")
    print("milliseconds: median (quartiles); ratio below 1: tinyae is faster; others: cores busy with other work\n")
    print("| network | how | tinyae | PyTorch | ratio of medians | median of paired ratios | others |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    notes = [report(name, options) for name in NETWORKS]
    print("\nLoss after the last step, nats per element: " + "; ".join(notes) + ".")


if __name__ == "__main__":
    main()
