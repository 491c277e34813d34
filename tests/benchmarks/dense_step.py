"""A training step of two dense autoencoders, against PyTorch eager with the same weights, data and thread count.

    python -m tests.benchmarks.dense_step

A step is: forget the gradients, forward, binary cross-entropy from logits (mean), backward, Adam; float32. "In
alternation" runs both in one process, step by step in turn, so that whatever else the machine does hits both alike. But
both keep a pool of threads that spins for a while after its work, into the other's step. So each is timed alone as
well, in processes of its own, taking turns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.beside import HEAD, Step, headline, in_a_process, in_turn, options, row, training_step
from tests.benchmarks.machine import OtherLoad
from tinyae import Tensor, losses, nn, optim


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
    return training_step(optimizer, lambda: losses.bce_with_logits(model(x), x, reduction="mean"))


def torch_step(network: Network, fused: bool) -> Step:
    """The same step in PyTorch eager, starting from the same weights."""
    import torch

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
    criterion = torch.nn.BCEWithLogitsLoss()
    x = torch.from_numpy(data)
    return training_step(torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused), lambda: criterion(net(x), x))


def measure(name: str, libraries: list[str], fused: bool) -> dict[str, Any]:
    """Milliseconds of every step by library, and the loss of one more step."""
    network = NETWORKS[name]
    makers = {"tinyae": lambda: tinyae_step(network), "torch": lambda: torch_step(network, fused)}
    steps = {library: makers[library]() for library in libraries}
    times = in_turn(steps, network.steps)
    return {"times": times, "loss": {library: float(step().item()) for library, step in steps.items()}}


def report(name: str, threads: int, rounds: int, fused: bool) -> str:
    """Print the lines of one network; return the losses after the last step: both must have done the same work."""
    more = ["--fused"] if fused else []
    with OtherLoad() as others:
        both = in_a_process("dense_step", threads, *more, "--measure", name, "tinyae", "torch")
    label = f"{name}, batch {NETWORKS[name].batch}"
    print(row(label, "in alternation", both["times"], others), flush=True)
    alone: dict[str, list[float]] = {"tinyae": [], "torch": []}
    with OtherLoad() as others:
        for i in range(rounds):
            for library in ("tinyae", "torch") if i % 2 else ("torch", "tinyae"):
                found = in_a_process("dense_step", threads, *more, "--measure", name, library)
                alone[library] += found["times"][library]
    print(row(label, "each alone", alone, others, paired=False), flush=True)
    return f"{name}: tinyae {both['loss']['tinyae']:.6f}, PyTorch {both['loss']['torch']:.6f}"


def main() -> None:
    """Print the table."""
    fused = ("--fused", {"action": "store_true", "help": "PyTorch's fused Adam instead of its default one"})
    given = options("A training step of dense autoencoders, beside PyTorch eager (CPU).", 3, fused)
    if given.measure:
        print(json.dumps(measure(given.measure[0], given.measure[1:], given.fused)))
        return
    print(headline(given, f" with {'fused Adam' if given.fused else 'its default Adam'}"))
    print(HEAD)
    notes = [report(name, given.threads, given.rounds, given.fused) for name in NETWORKS]
    print("\nLoss after the last step, nats per element: " + "; ".join(notes) + ".")


if __name__ == "__main__":
    main()
