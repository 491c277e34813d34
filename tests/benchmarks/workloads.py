"""Eight training steps, and what PyTorch, JAX and TensorFlow make of them: layers, weights, data and loss of each.

A workload is a list of layers. tinyae's side is a public model, or one put together of public layers; the other libraries
run the layers by the functions that their users call. All start from the same weights, which stand in tinyae's layouts:
dense (in, out), convolution (3, 3, in, out), LSTM (in, 4H) and (H, 4H) with the gates i, f, g, o. A loss is summed over
the elements of a sample and averaged over samples. Everything is float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinyae import Tensor, losses, models, nn, ops, optim

Step = Callable[[int], float]
"""One step on batch i: forget the gradients, forward, backward, Adam; returns the loss before the update."""

BATCHES, RATE, NOISE = 4, 1e-3, 99
RHO, BETA, DECAY = 0.01, 3.0, 1e-4  # of the sparse autoencoder


class Layer(NamedTuple):
    """`dense`, `conv`, `up_conv` (transposed) and `lstm` map `sizes` (in, out); `pool` and `upsample` take a factor of 2.

    A dense layer next to images flattens them to, or makes them of, `maps` (H, W, C). A kernel is 3x3 with padding 1, and
    a transposed one enlarges by `stride`. An LSTM with in = 0 has no input, only the state it starts with.
    """

    kind: str
    sizes: tuple[int, int] = (0, 0)
    activation: str = "identity"
    stride: int = 1
    maps: tuple[int, ...] = ()

    def weights(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Random initial weights and zero biases; none for pooling and upsampling."""
        n, m = self.sizes
        if self.kind == "lstm":
            rows = ([n] if n else []) + [m]
            return [_uniform(rng, m**-0.5, r, 4 * m) for r in rows] + [np.zeros(4 * m, np.float32)]
        taps = {"dense": (), "conv": (3, 3), "up_conv": (3, 3)}.get(self.kind)
        if taps is None:
            return []
        limit = math.sqrt(6.0 / (math.prod(taps) * (n + m)))
        return [_uniform(rng, limit, *taps, n, m), np.zeros(m, np.float32)]


def _uniform(rng: np.random.Generator, limit: float, *shape: int) -> np.ndarray:
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def dense(*widths: int, code: str = "identity", output: str = "identity") -> tuple[list[Layer], list[Layer]]:
    """Encoder and decoder D -> ... -> K -> ... -> D of dense layers, those between with relu."""
    ends = [*widths, *widths[-2::-1]]
    last = {len(widths) - 2: code, 2 * len(widths) - 3: output}
    both = [
        Layer("dense", (n, m), last.get(i, "relu")) for i, (n, m) in enumerate(zip(ends[:-1], ends[1:], strict=True))
    ]
    return both[: len(widths) - 1], both[len(widths) - 1 :]


@dataclass(frozen=True)
class Workload:
    """Encoder and decoder, shape of a sample, batch size, and a loss: "bce", "squared", "sparse" or "vae" of a network,
    "lstm" or "composite" of sequences. `model` builds tinyae's side."""

    title: str
    sample: tuple[int, ...]
    batch: int
    loss: str
    layers: tuple[list[Layer], list[Layer]]
    model: Callable[[Workload], nn.Module]

    def weights(self) -> list[list[np.ndarray]]:
        """The initial weights of every layer."""
        rng = np.random.default_rng(42)
        return [layer.weights(rng) for part in self.layers for layer in part]

    def batches(self) -> list[np.ndarray]:
        """Batches, uniform in [0, 1), in [0.1, 0.9) for a sparse code."""
        rng = np.random.default_rng(1234)
        xs = [rng.random((self.batch, *self.sample), dtype=np.float32) for _ in range(BATCHES)]
        return [np.float32(0.1) + np.float32(0.8) * x for x in xs] if self.loss == "sparse" else xs

    @property
    def latent(self) -> int:
        """K of a variational autoencoder, whose encoder ends in K means and K log-variances."""
        return self.layers[0][-1].sizes[1] // 2

    def noise(self) -> np.ndarray:
        """The noise of every step of a check, the first numbers of a generator seeded with `NOISE`."""
        return np.random.default_rng(NOISE).standard_normal((self.batch, self.latent), dtype=np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# tinyae: the models, and the step of `fit`.


def tinyae_layers(layers: list[Layer]) -> nn.Sequential:
    """The layers as tinyae's, with weights to be replaced."""
    found: list[nn.Module] = []
    for layer in layers:
        n, m = layer.sizes
        how: dict[str, Any] = {"padding": 1, "activation": layer.activation}
        if layer.kind == "dense":
            inward = n == math.prod(layer.maps)
            found += [nn.Flatten()] if inward else []
            found.append(nn.Dense(n, m, activation=layer.activation))
            found += [nn.Reshape(*layer.maps)] if layer.maps and not inward else []
        elif layer.kind == "conv":
            found.append(nn.Conv2d(n, m, 3, layer.stride, **how))
        elif layer.kind == "up_conv":
            found.append(nn.ConvTranspose2d(n, m, 3, layer.stride, output_padding=layer.stride - 1, **how))
        else:
            found.append(nn.MaxPool2d(2) if layer.kind == "pool" else nn.Upsample(2))
    return nn.Sequential(*found)


class RepeatedCode(nn.Module):
    """An LSTM reads a sequence; another is given its last output at each step, and a dense layer reads that."""

    def __init__(self, w: Workload) -> None:
        self.encoder = nn.LSTM(*w.layers[0][0].sizes)
        self.decoder = nn.LSTM(*w.layers[1][0].sizes)
        self.readout = nn.TimeDistributed(nn.Dense(*w.layers[1][1].sizes))

    def loss(self, x: Tensor) -> losses.Loss:
        """Squared error per sequence."""
        code = self.encoder(x)[1][0][0]
        output = self.readout(self.decoder(ops.stack(*[code] * x.shape[1], axis=1))[0])
        return losses.Loss({"reconstruction": losses.squared_error(output, x)}, "squared error per sequence")


def tinyae_step(w: Workload, fixed_noise: bool) -> Step:
    """The step of `fit` with Adam; a check draws the same noise in every step."""
    model: Any = w.model(w)
    layers = [layer for part in w.layers for layer in part]
    values = [
        array.swapaxes(2, 3) if layer.kind == "up_conv" and array.ndim == 4 else array
        for layer, arrays in zip(layers, w.weights(), strict=True)
        for array in arrays
    ]
    for parameter, value in zip(model.parameters(), values, strict=True):
        assert parameter.shape == value.shape, f"{w.title}: {parameter.shape} is not {value.shape}"
        parameter.data[...] = value
    optimizer, xs = optim.Adam(model.parameters(), lr=RATE), w.batches()

    def step(i: int) -> float:
        optimizer.zero_grad()
        drawn = {"generator": np.random.default_rng(NOISE)} if fixed_noise and w.loss == "vae" else {}
        loss = model.loss(Tensor(xs[i % BATCHES]), **drawn)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


WORKLOADS = {
    "W1": Workload(
        "784-32-784, cross-entropy, batch 256", (784,), 256, "bce", dense(784, 32, code="relu"),
        lambda w: models.basic_autoencoder(),
    ),
    "W2": Workload(
        "784-1000-500-250-30 and back, squared error, batch 256", (784,), 256, "squared", dense(784, 1000, 500, 250, 30),
        lambda w: models.deep_autoencoder(loss="squared_error"),
    ),
    "W3": Workload(
        "64-25-64, sparse by KL, all of 10,000 at once", (64,), 10_000, "sparse",
        dense(64, 25, code="sigmoid", output="sigmoid"),
        lambda w: models.sparse_autoencoder(rho=RHO, beta=BETA, weight_decay=DECAY),
    ),
    "W4": Workload(
        "VAE 784-400-20-400-784, batch 128", (784,), 128, "vae",
        ([Layer("dense", (784, 400), "relu"), Layer("dense", (400, 40))],
         [Layer("dense", (20, 400), "relu"), Layer("dense", (400, 784))]),
        lambda w: models.variational_autoencoder(),
    ),
    "W5": Workload(
        "convolutions 16-8-8-16-1, max-pools, upsampling, batch 128", (28, 28, 1), 128, "bce",
        ([Layer("conv", (1, 16), "relu"), Layer("pool"), Layer("conv", (16, 8), "relu"), Layer("pool")],
         [Layer("conv", (8, 8), "relu"), Layer("upsample"), Layer("conv", (8, 16), "relu"), Layer("upsample"),
          Layer("conv", (16, 1))]),
        lambda w: models.Autoencoder(*map(tinyae_layers, w.layers)),
    ),
    "W6": Workload(
        "VAE of strided convolutions 32-64, batch 128", (28, 28, 1), 128, "vae",
        ([Layer("conv", (1, 32), "relu", 2), Layer("conv", (32, 64), "relu", 2),
          Layer("dense", (3136, 16), "relu", maps=(7, 7, 64)), Layer("dense", (16, 4))],
         [Layer("dense", (2, 3136), "relu", maps=(7, 7, 64)), Layer("up_conv", (64, 64), "relu", 2),
          Layer("up_conv", (64, 32), "relu", 2), Layer("up_conv", (32, 1))]),
        lambda w: models.VariationalAutoencoder(*map(tinyae_layers, w.layers)),
    ),
    "W7": Workload(
        "LSTM, 20 steps of 28, 128 units, batch 64", (20, 28), 64, "lstm",
        ([Layer("lstm", (28, 128))], [Layer("lstm", (128, 128)), Layer("dense", (128, 28))]), RepeatedCode,
    ),
    "W8": Workload(
        "composite LSTM, 10 + 10 steps of 1024, 512 units, batch 32", (20, 1024), 32, "composite",
        ([Layer("lstm", (1024, 512))], [Layer("lstm", (0, 512)), Layer("dense", (512, 1024))] * 2),
        lambda w: models.LSTMAutoencoder(1024, 512, mode="composite", future_steps=10),
    ),
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The other libraries. A library turns a layer and its arrays into a part, its own form of them, and applies it.


def loss_of(lib: Any, w: Workload, parts: list[Any], x: Any, noise: Any) -> Any:
    """The loss of a batch in another library; parts in the order of the layers."""
    left: Iterator[Any] = iter(parts)

    def through(layers: list[Layer], y: Any) -> Any:
        for layer in layers:
            y = getattr(lib, layer.kind)(layer, next(left), y)
            y = getattr(lib, layer.activation)(y) if layer.activation != "identity" else y
        return y

    (first, *_), decoder = w.layers
    if w.loss == "lstm":
        code = lib.lstm(first, next(left), x)[1][0]
        output = lib.lstm(decoder[0], next(left), lib.repeat(code, x.shape[1]))[0]
        return lib.sum((through(decoder[1:], output) - x) ** 2) / w.batch
    if w.loss == "composite":
        past, future = x[:, :10], x[:, 10:]
        state, total = lib.lstm(first, next(left), past)[1], 0.0
        for target in (lib.flip(past), future):
            output = lib.lstm(decoder[0], next(left), None, state, 10)[0]
            total = total + lib.sum((through(decoder[1:2], output) - target) ** 2)
        return total / w.batch
    code, penalty = through(w.layers[0], x), 0.0
    if w.loss == "vae":
        mean, log_variance = code[:, : w.latent], code[:, w.latent :]
        code = mean + lib.exp(0.5 * log_variance) * noise
        penalty = 0.5 * lib.sum(mean**2 + lib.exp(log_variance) - 1.0 - log_variance) / w.batch
    elif w.loss == "sparse":
        active = lib.sum(code, 0) / w.batch
        kl = RHO * (math.log(RHO) - lib.log(active)) + (1 - RHO) * (math.log(1 - RHO) - lib.log(1.0 - active))
        penalty = BETA * lib.sum(kl) + 0.5 * DECAY * sum(lib.sum(lib.matrix(part) ** 2) for part in parts)
    output = through(decoder, code)
    if w.loss in ("squared", "sparse"):
        return lib.sum((output - x) ** 2) * ((0.5 if w.loss == "sparse" else 1.0) / w.batch) + penalty
    return lib.cross_entropy(output, x) / w.batch + penalty
