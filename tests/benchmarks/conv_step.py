"""A training step of two convolutional autoencoders, against PyTorch eager with the same weights and data.

    python -m tests.benchmarks.conv_step

A step is: forget the gradients, forward, loss per image, backward, Adam; float32, batch 128. The networks are those of
`tinyae train conv` (the Keras blog's) and `tinyae train conv-vae` (28x28 -> 32 -> 64 by strides, dense to a code of
20). Both libraries take turns in one process and swap who goes first each time, so that whatever else the machine does
hits both alike; the ratio is the median of the paired ratios.

With `--threads 1` both are held to one processor, and the time that the processor gave them is compared instead of the
time on the clock: the one to read on a busy machine. Memory is measured in a process for each library: by how much the
process is larger at its largest, in three steps, than before the first, when the libraries, the weights and the batch are
there and a step with one image has been made.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.beside import HEAD, Step, clock_of, headline, in_a_process, in_turn, options, row, training_step
from tests.benchmarks.machine import OtherLoad
from tinyae import Tensor, models, nn, optim

NETWORKS: dict[str, Callable[[np.random.Generator], models.Autoencoder]] = {
    "Keras-blog form, 28x28-16-8-8": lambda g: models.conv_autoencoder(form="keras", generator=g),
    "strided VAE, 28x28-32-64-20": lambda g: models.conv_variational_autoencoder(generator=g),
}

BATCH = 128


def build(name: str) -> tuple[models.Autoencoder, np.ndarray]:
    """The model and a batch x (N, 28, 28, 1) in [0, 1), both from a fixed seed."""
    rng = np.random.default_rng(0)
    return NETWORKS[name](rng), rng.random((BATCH, 28, 28, 1), dtype=np.float32)


def tinyae_step(name: str, images: Callable[[], int] = lambda: BATCH) -> Step:
    """A training step of tinyae; `images` says with how many."""
    model, data = build(name)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    return training_step(optimizer, lambda: model.loss(Tensor(data[: images()])).total)


def torch_step(name: str, images: Callable[[], int] = lambda: BATCH) -> Step:
    """The same step in PyTorch eager, starting from the same weights."""
    import torch

    model, data = build(name)
    encoder, decoder = translated(model.encoder), translated(model.decoder)
    x = torch.from_numpy(data.transpose(0, 3, 1, 2).copy())
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    variational = isinstance(model, models.VariationalAutoencoder)
    with torch.no_grad():
        code = encoder(x)
        output = decoder(code.chunk(2, dim=1)[0] if variational else code)
    error = np.abs(output.permute(0, 2, 3, 1).numpy() - model(Tensor(data)).numpy()).max()
    assert error < 1e-3, f"{name}: the outputs differ by {error}"

    def loss() -> torch.Tensor:
        batch = x[: images()]
        code, kl = encoder(batch), 0.0
        if variational:
            mean, log_variance = code.chunk(2, dim=1)
            code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            kl = 0.5 * (mean * mean + log_variance.exp() - 1.0 - log_variance).sum()
        error = torch.nn.functional.binary_cross_entropy_with_logits(decoder(code), batch, reduction="sum")
        return (error + kl) / len(batch)

    return training_step(optimizer, loss)


def translated(model: nn.Module) -> Any:
    """Our layers as PyTorch's, channels first, with the same weights and the same output.

    A dense layer beside `Flatten` or `Reshape` gets its weights in the order that PyTorch flattens to, so that neither
    library has to turn images round.
    """
    import torch

    layers: list[Any] = []
    maps: tuple[int, ...] = ()
    parts = [part for _, part in model.named_modules() if not isinstance(part, nn.Sequential)]
    for i, part in enumerate(parts):
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            kind = torch.nn.ConvTranspose2d if isinstance(part, nn.ConvTranspose2d) else torch.nn.Conv2d
            extra = {"output_padding": part.output_padding} if isinstance(part, nn.ConvTranspose2d) else {}
            around = (part.padding[0][0], part.padding[1][0])
            layers.append(kind(part.in_channels, part.out_channels, part.kernel_size, part.stride, around, **extra))
            _copy(layers[-1].weight, part.weight.numpy().transpose(3, 2, 0, 1))
            maps = (7, 7, part.out_channels)
        elif isinstance(part, nn.Dense):
            weight = part.weight.numpy()
            if i and isinstance(parts[i - 1], nn.Flatten):
                weight = weight.reshape(*maps, -1).transpose(2, 0, 1, 3).reshape(weight.shape)
            if i + 1 < len(parts) and isinstance(parts[i + 1], nn.Reshape):
                weight = weight.reshape(-1, *parts[i + 1].shape).transpose(0, 3, 1, 2).reshape(weight.shape)
            layers.append(torch.nn.Linear(*weight.shape))
            _copy(layers[-1].weight, weight.T)
        elif isinstance(part, nn.MaxPool2d):
            layers.append(torch.nn.MaxPool2d(2, ceil_mode=True))
        elif isinstance(part, nn.Upsample):
            layers.append(torch.nn.Upsample(scale_factor=2, mode=part.mode))
        elif isinstance(part, nn.Crop):
            layers.append(_cropping(part.height, part.width))
        elif isinstance(part, nn.Flatten):
            layers.append(torch.nn.Flatten())
        elif isinstance(part, nn.Reshape):
            h, w, c = part.shape
            layers.append(torch.nn.Unflatten(1, (c, h, w)))
        else:
            raise TypeError(f"no translation of {part}")
        if getattr(part, "activation", "") == "relu":
            layers.append(torch.nn.ReLU())
        if getattr(part, "bias", None) is not None:
            _copy(layers[-1 if not isinstance(layers[-1], torch.nn.ReLU) else -2].bias, part.bias.numpy())
    return torch.nn.Sequential(*layers)


def _copy(parameter: Any, values: np.ndarray) -> None:
    import torch

    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _cropping(height: int, width: int) -> Any:
    import torch

    class Cropping(torch.nn.Module):
        """The upper left part of each image."""

        def forward(self, x: Any) -> Any:
            return x[:, :, :height, :width]

    return Cropping()


STEPS: dict[str, Callable[..., Step]] = {"tinyae": tinyae_step, "torch": torch_step}


def measure_memory(name: str, library: str) -> float:
    """Megabytes that the process grows by, at its largest, in three steps, after one with a single image."""
    counts = iter([1, BATCH, BATCH, BATCH])
    step = STEPS[library](name, lambda: next(counts))
    step()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the largest size so far
    before = _status("VmRSS")
    for _ in range(3):
        step()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> float:
    """A size of this process in kB, as Linux keeps it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(key)))


def main() -> None:
    """Print both tables."""
    given = options("A training step of convolutional autoencoders, beside PyTorch eager.", 40)
    if given.measure:
        name, *library = given.measure
        steps = {} if library else {each: make(name) for each, make in STEPS.items()}
        found = measure_memory(name, *library) if library else in_turn(steps, given.rounds, clock_of(given.threads))
        print(json.dumps(found))
        return
    print(f"{headline(given)}Batch {BATCH}.\n\n{HEAD}")
    for name in NETWORKS:
        with OtherLoad() as others:
            times = in_a_process("conv_step", given.threads, "--rounds", str(given.rounds), "--measure", name)
        print(row(name, "in alternation", times, others), flush=True)
    print("\n| network | tinyae, MB | PyTorch, MB | ratio |\n| --- | ---: | ---: | ---: |")
    for name in NETWORKS:
        ours, theirs = (in_a_process("conv_step", given.threads, "--measure", name, library) for library in STEPS)
        print(f"| {name} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |", flush=True)


if __name__ == "__main__":
    main()
