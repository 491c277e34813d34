"""A training step of single convolution layers, against PyTorch eager with the same weights and data.

    python -m tests.benchmarks.convolution_layers

A step is: forward with bias and relu, then the gradients of weight and bias, and of the images unless the layer is the
first of a network. Both libraries take turns in one process, step by step, and swap who goes first each time, so that
whatever else the machine does hits both alike. The ratio is the median of the paired ratios.

With `--threads 1` both are held to one processor, and the time that the processor gave them is compared instead of the
time on the clock. That is the one to read on a busy machine: threads that wait for each other at every step, as those
of PyTorch do, lose much more by other work than threads that meet once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from tests.benchmarks.machine import OtherLoad, describe
from tinyae import Tensor, nn
from tinyae.autodiff import grad


@dataclass(frozen=True)
class Case:
    """A layer: images (N, H, H, C) in, O channels out, and whether the images need a gradient."""

    size: int
    channels: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    first: bool = False
    transposed: bool = False
    batch: int = 128

    @property
    def name(self) -> str:
        """`28x28x1 -> 16, k3, first`."""
        words = [f"{self.size}x{self.size}x{self.channels} -> {self.outputs}", f"k{self.kernel}"]
        words += [f"stride {self.stride}"] if self.stride > 1 else []
        words += ["transposed"] if self.transposed else []
        return ", ".join(words + (["first"] if self.first else []))


CASES = [
    Case(28, 1, 16, first=True),
    Case(28, 1, 16),
    Case(14, 16, 8),
    Case(7, 8, 8),
    Case(14, 8, 16),
    Case(28, 16, 1),
    Case(28, 1, 32, stride=2, first=True),
    Case(14, 32, 64, stride=2),
    Case(7, 64, 32, stride=2, transposed=True),
    Case(14, 32, 1, stride=2, transposed=True),
]
"""The layers of the Keras-blog network, and of one with strides, 28x28 -> 32 -> 64 and back."""


def steps(case: Case) -> dict[str, Callable[[], Any]]:
    """The same step in tinyae and in PyTorch."""
    import torch

    rng = np.random.default_rng(0)
    sizes = (case.channels, case.outputs, case.kernel, case.stride, case.kernel // 2)
    extra = (case.stride - 1,) if case.transposed else ()
    kinds = (nn.ConvTranspose2d, torch.nn.ConvTranspose2d) if case.transposed else (nn.Conv2d, torch.nn.Conv2d)
    ours = kinds[0](*sizes, *extra, activation="relu", generator=rng)
    theirs = kinds[1](*sizes, *extra)
    data = rng.standard_normal((case.batch, case.size, case.size, case.channels), dtype=np.float32)
    x = Tensor(data, requires_grad=not case.first)
    wanted = ours.parameters() + ([] if case.first else [x])
    g = rng.standard_normal(ours(x).shape, dtype=np.float32)
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(ours.weight.numpy().transpose(3, 2, 0, 1).copy()))
        theirs.bias.zero_()
    image = torch.from_numpy(data.transpose(0, 3, 1, 2).copy()).requires_grad_(not case.first)
    cotangent = torch.from_numpy(g.transpose(0, 3, 1, 2).copy())
    targets = [theirs.weight, theirs.bias] + ([] if case.first else [image])

    def our_step() -> Any:
        return grad(ours(x), wanted, g)

    def their_step() -> Any:
        return torch.autograd.grad(torch.relu(theirs(image)), targets, cotangent)

    error = np.abs(our_step()[0].numpy() - their_step()[0].numpy().transpose(2, 3, 1, 0)).max()
    assert error < 1e-3 * np.abs(our_step()[0].numpy()).max(), f"{case.name}: the gradients differ by {error}"
    return {"tinyae": our_step, "torch": their_step}


def paired_ratios(case: Case, rounds: int, clock: Callable[[], float]) -> list[float]:
    """Time of tinyae by that of PyTorch, step by step, after five steps of each to warm up."""
    both, ratios = steps(case), []
    for i in range(5 + rounds):
        times = {}
        for library in list(both) if i % 2 else list(both)[::-1]:
            start = clock()
            both[library]()
            times[library] = clock() - start
        ratios.append(times["tinyae"] / times["torch"])
    return ratios[5:]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="A training step of convolution layers, beside PyTorch eager (CPU).")
    parser.add_argument("--threads", type=int, default=2, help="threads for each of the two (default: 2)")
    parser.add_argument("--rounds", type=int, default=40, help="repetitions (default: 40)")
    given = parser.parse_args()
    if find_spec("torch") is None:
        parser.error("this benchmark compares with PyTorch, which is not installed: pip install torch")
    import torch

    torch.set_num_threads(given.threads)
    alone = given.threads == 1
    if alone and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(
        f"{describe()}, PyTorch {version('torch')}; {given.threads} threads each; float32; time of tinyae / PyTorch\n"
    )
    print("| layer, batch 128 | ratio (quartiles) | others, cores |\n| --- | ---: | ---: |")
    for case in CASES:
        with OtherLoad() as others:
            ratios = paired_ratios(case, given.rounds, time.process_time if alone else time.perf_counter)
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"| {case.name} | {middle:.2f} ({low:.2f} to {high:.2f}) | {others.cores:.1f} |", flush=True)


if __name__ == "__main__":
    main()
