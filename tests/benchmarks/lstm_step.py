"""A training step of two LSTM autoencoders, against PyTorch eager with the same weights, data and thread count.

    python -m tests.benchmarks.lstm_step

A step is: forget the gradients, forward, squared error per sequence, backward, Adam; float32. Both decoders are given no
input, only the state that the encoder ends with (Srivastava, Mansimov and Salakhutdinov 2015). PyTorch's `nn.LSTM` has
no such form, so its decoder is given a constant input of one number, 0, which costs it next to nothing.
Both run in one process, step by step in turn, so that whatever else the machine does hits both alike. With `--threads 1`
the time that the processor gave them is compared: the one to read on a busy machine (set OPENBLAS_NUM_THREADS=1 too).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.benchmarks.beside import HEAD, Step, clock_of, headline, in_turn, options, row, training_step
from tests.benchmarks.machine import OtherLoad
from tinyae import Tensor, losses, nn, optim


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
    return training_step(
        optimizer, lambda: sum(losses.squared_error(y, t) for y, t in zip(net(given), wanted, strict=True))
    )


def torch_step(size: Size) -> Step:
    """The same step in PyTorch eager, starting from the same weights."""
    import torch

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

    def loss() -> torch.Tensor:
        _, state = encoder(x)
        return sum(
            ((output(decoder(zeros, state)[0]) - t) ** 2).sum() / size.batch
            for decoder, output, zeros, t in zip(decoders, outputs, nothing, targets, strict=True)
        )

    return training_step(optimizer, loss)


def report(name: str, threads: int) -> str:
    """Print the line of one network; return the losses after the last step: both must have done the same work."""
    size = SIZES[name]
    steps = {"tinyae": tinyae_step(size), "torch": torch_step(size)}
    with OtherLoad() as others:
        times = in_turn(steps, size.rounds, clock_of(threads))
    print(row(name, "in alternation", times, others), flush=True)
    return f"{name}: tinyae {steps['tinyae']().item():.5f}, PyTorch {steps['torch']().item():.5f}"


def main() -> None:
    """Print the table."""
    given = options("A training step of LSTM autoencoders, beside PyTorch eager (CPU).", 1)
    print(headline(given))
    print(HEAD)
    notes = [report(name, given.threads) for name in SIZES]
    print("\nLoss after the last step, squared error per sequence: " + "; ".join(notes) + ".")


if __name__ == "__main__":
    main()
