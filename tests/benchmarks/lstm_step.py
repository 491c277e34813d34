"""A training step of two LSTM autoencoders, against PyTorch eager with the same weights, data and thread count.

    python -m tests.benchmarks.lstm_step

A step is: forget the gradients, forward, squared error per sequence, backward, Adam; float32. Both decoders are given no
input, only the state that the encoder ends with (Srivastava, Mansimov and Salakhutdinov 2015). PyTorch's `nn.LSTM` has
no such form, so its decoder is given a constant input of one number, 0, which costs it next to nothing.
Both run in one process, step by step in turn, so that whatever else the machine does hits both alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from tests.benchmarks.dense_step import spread
from tests.benchmarks.machine import OtherLoad, describe
from tinyae import Tensor, losses, nn, optim

Step = Callable[[], Any]


@dataclass(frozen=True)
class Size:
    """N sequences of T steps of D numbers, H units; `future` more steps for a second decoder."""

    batch: int
    steps: int
    features: int
    hidden: int
    future: int
    rounds: int


SIZES = {
    "autoencoder, batch 64, 20 steps of 28, 128 units": Size(64, 20, 28, 128, 0, 200),
    "composite, batch 32, 10 + 10 steps of 1024, 512 units": Size(32, 10, 1024, 512, 10, 40),
}


class Net(nn.Module):
    """Encoder, and a decoder with its output layer for the past, and one for the future."""

    def __init__(self, size: Size, rng: np.random.Generator) -> None:
        self.size = size
        self.encoder = nn.LSTM(size.features, size.hidden, generator=rng)
        count = 2 if size.future else 1
        self.decoders = [nn.LSTM(0, size.hidden, generator=rng) for _ in range(count)]
        self.outputs = [nn.TimeDistributed(nn.Dense(size.hidden, size.features, generator=rng)) for _ in range(count)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """One output (N, T, D) of each decoder."""
        states = self.encoder(x)[1]
        steps = (self.size.steps, self.size.future)
        return [
            output(decoder(None, states, steps=count)[0])
            for decoder, output, count in zip(self.decoders, self.outputs, steps, strict=False)
        ]


def data(size: Size) -> tuple[np.ndarray, list[np.ndarray]]:
    """A batch, and a target for each decoder: the batch turned round, and its future."""
    whole = np.random.default_rng(1).random((size.batch, size.steps + size.future, size.features), dtype=np.float32)
    x = np.ascontiguousarray(whole[:, : size.steps])
    targets = [np.ascontiguousarray(x[:, ::-1]), np.ascontiguousarray(whole[:, size.steps :])]
    return x, targets if size.future else targets[:1]


def tinyae_step(size: Size) -> Step:
    """One training step of tinyae, as a function that returns the loss."""
    net = Net(size, np.random.default_rng(0))
    x, targets = data(size)
    given, wanted = Tensor(x), [Tensor(t) for t in targets]
    optimizer = optim.Adam(net.parameters(), lr=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        parts = [losses.squared_error(y, t) for y, t in zip(net(given), wanted, strict=True)]
        loss = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch_step(size: Size, threads: int) -> Step:
    """The same step in PyTorch eager, starting from the same weights."""
    import torch

    torch.set_num_threads(threads)
    ours = Net(size, np.random.default_rng(0))
    encoder = torch.nn.LSTM(size.features, size.hidden, batch_first=True)
    decoders = [torch.nn.LSTM(1, size.hidden, batch_first=True) for _ in ours.decoders]
    outputs = [torch.nn.Linear(size.hidden, size.features) for _ in ours.outputs]
    with torch.no_grad():
        for theirs, mine in zip([encoder, *decoders], [ours.encoder, *ours.decoders], strict=True):
            p = dict(mine.layers[0][0].named_parameters())
            if "weight_x" in p:
                theirs.weight_ih_l0.copy_(torch.from_numpy(p["weight_x"].numpy().T))
            theirs.weight_hh_l0.copy_(torch.from_numpy(p["weight_h"].numpy().T))
            theirs.bias_ih_l0.copy_(torch.from_numpy(p["bias"].numpy()))
            theirs.bias_hh_l0.zero_()
            theirs.bias_hh_l0.requires_grad_(False)  # a second bias that Adam would move as well
        for linear, distributed in zip(outputs, ours.outputs, strict=True):
            weight, bias = distributed.parameters()
            linear.weight.copy_(torch.from_numpy(weight.numpy().T))
            linear.bias.copy_(torch.from_numpy(bias.numpy()))
    modules = (encoder, *decoders, *outputs)
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    x, targets = (torch.from_numpy(data(size)[0]), [torch.from_numpy(t) for t in data(size)[1]])
    nothing = [torch.zeros(size.batch, t.shape[1], 1) for t in targets]

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        _, state = encoder(x)
        parts = [
            ((output(decoder(zeros, state)[0]) - t) ** 2).sum() / size.batch
            for decoder, output, zeros, t in zip(decoders, outputs, nothing, targets, strict=True)
        ]
        loss = sum(parts)
        loss.backward()
        optimizer.step()
        return loss

    return step


def report(name: str, threads: int, clock: Callable[[], float]) -> str:
    """Print the line of one network; return the losses after the last step: both must have done the same work."""
    size = SIZES[name]
    steps = {"tinyae": tinyae_step(size), "torch": torch_step(size, threads)}
    times: dict[str, list[float]] = {library: [] for library in steps}
    last: dict[str, float] = {}
    with OtherLoad() as others:
        for i in range(5 + size.rounds):
            for library in list(steps) if i % 2 else list(steps)[::-1]:
                start = clock()
                loss = steps[library]()
                times[library].append(1e3 * (clock() - start))
                last[library] = float(loss.item())
    ours, theirs = (times[library][5:] for library in steps)
    paired = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(
        f"| {name} | {spread(ours)} | {spread(theirs)} | {ratio:.2f} | {paired:.2f} | {others.cores:.1f} |", flush=True
    )
    return f"{name}: tinyae {last['tinyae']:.5f}, PyTorch {last['torch']:.5f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="A training step of LSTM autoencoders, beside PyTorch eager (CPU).")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of PyTorch; NumPy's are set outside (default: 2)"
    )
    parser.add_argument(
        "--cpu-time", action="store_true", help="time of the processor, not of the clock: busy machines"
    )
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    if find_spec("torch") is None:
        parser.error("this benchmark compares with PyTorch, which is not installed: pip install torch")
    print(f"{describe()}, PyTorch {version('torch')}; {options.threads} threads for PyTorch; float32;")
    print("milliseconds: median (quartiles); ratio below 1: tinyae is faster; others: cores busy with other work\n")
    print("| network | tinyae | PyTorch | ratio of medians | median of paired ratios | others |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    notes = [report(name, options.threads, clock) for name in SIZES]
    print("\nLoss after the last step, squared error per sequence: " + "; ".join(notes) + ".")


if __name__ == "__main__":
    main()
