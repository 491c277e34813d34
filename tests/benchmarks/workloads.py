"""Eight training steps in tinyae, PyTorch, JAX and TensorFlow: layers, weights, data, loss and Adam of each.

A workload is a list of layers. tinyae's side is a public model, or one put together of public layers; the other libraries
run the layers by the functions that their users call. All start from the same weights, which stand in tinyae's layouts:
dense (in, out), convolution (3, 3, in, out), LSTM (in, 4H) and (H, 4H) with the gates i, f, g, o. A loss is summed over
the elements of a sample and averaged over samples. Everything is float32.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from tinyae import Tensor, losses, models, nn, optim
from tinyae.backend import threads, tune_allocator

Step = Callable[[int], float]
"""One step on batch i: forget the gradients, forward, backward, Adam; returns the loss before the update."""

RATE, NOISE = 1e-3, 99  # of Adam; the seed of the noise that every step of a check draws
RHO, BETA, DECAY = 0.01, 3.0, 1e-4  # of the sparse autoencoder


class Layer(NamedTuple):
    """`dense`, `conv`, `up_conv` (transposed) and `lstm` map `sizes` (in, out); `pool` and `upsample` by a factor of 2.

    A dense layer next to images flattens them from, or makes them of, `maps` (H, W, C). A kernel is 3x3 with padding 1,
    and a transposed one enlarges by `stride`. An LSTM with in = 0 has no input, only the state it starts with.
    """

    kind: str
    sizes: tuple[int, int] = (0, 0)
    activation: str = "identity"
    stride: int = 1
    maps: tuple[int, ...] = ()

    def weights(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Random initial weights and a bias of zeros; none for pooling and upsampling."""
        n, m = self.sizes
        if self.kind in ("pool", "upsample"):
            return []
        if self.kind == "lstm":
            shapes, limit, m = ([(n, 4 * m)] if n else []) + [(m, 4 * m)], m**-0.5, 4 * m
        else:
            taps = () if self.kind == "dense" else (3, 3)
            shapes, limit = [(*taps, n, m)], math.sqrt(6.0 / (math.prod(taps) * (n + m)))
        return [rng.uniform(-limit, limit, s).astype(np.float32) for s in shapes] + [np.zeros(m, np.float32)]


@dataclass(frozen=True)
class Workload:
    """Shape of a sample, batch size, a loss, encoder and decoder, and what builds tinyae's model.

    The loss is "bce", "squared", "sparse" or "vae" of a network, "lstm" or "composite" of sequences.
    """

    title: str
    sample: tuple[int, ...]
    batch: int
    loss: str
    encoder: list[Layer]
    decoder: list[Layer]
    model: Callable[[Workload], nn.Module]

    def weights(self) -> list[tuple[Layer, list[np.ndarray]]]:
        """Every layer with its initial weights."""
        rng = np.random.default_rng(42)
        return [(layer, layer.weights(rng)) for layer in self.encoder + self.decoder]

    def batches(self) -> list[np.ndarray]:
        """Four batches, uniform in [0, 1); for a sparse code one, in [0.1, 0.9)."""
        rng, sparse = np.random.default_rng(1234), self.loss == "sparse"
        xs = [rng.random((self.batch, *self.sample), dtype=np.float32) for _ in range(1 if sparse else 4)]
        return [np.float32(0.1) + np.float32(0.8) * x for x in xs] if sparse else xs

    @property
    def latent(self) -> int:
        """K of a variational autoencoder, whose encoder ends in K means and K log-variances."""
        return self.encoder[-1].sizes[1] // 2

    def noise(self) -> np.ndarray | None:
        """What tinyae draws in every step of a check: the first numbers of a generator seeded with `NOISE`."""
        shape = (self.batch, self.latent)
        return np.random.default_rng(NOISE).standard_normal(shape, dtype=np.float32) if self.loss == "vae" else None


# ---------------------------------------------------------------------------------------------------------------------
# tinyae: the models, and the step of `fit`.


def tinyae_layers(layers: list[Layer]) -> nn.Sequential:
    """The layers as tinyae's, with weights to be replaced."""
    found: list[nn.Module] = []
    for kind, (n, m), activation, stride, maps in layers:
        how: dict[str, Any] = {"padding": 1, "activation": activation}
        if kind == "dense":
            found += [nn.Flatten()] if n == math.prod(maps) else []
            found.append(nn.Dense(n, m, activation=activation))
            found += [nn.Reshape(*maps)] if m == math.prod(maps) else []
        elif kind == "conv":
            found.append(nn.Conv2d(n, m, 3, stride, **how))
        elif kind == "up_conv":
            found.append(nn.ConvTranspose2d(n, m, 3, stride, output_padding=stride - 1, **how))
        else:
            found.append(nn.MaxPool2d(2) if kind == "pool" else nn.Upsample(2))
    return nn.Sequential(*found)


class RepeatedCode(nn.Module):
    """An LSTM reads a sequence; another is given its last output at each step, and a dense layer reads that.

    An LSTM of tinyae takes an input that stays the same once, the other libraries once for each step.
    """

    def __init__(self, w: Workload) -> None:
        self.encoder = nn.LSTM(*w.encoder[0].sizes)
        self.decoder = nn.LSTM(*w.decoder[0].sizes)
        self.readout = nn.TimeDistributed(nn.Dense(*w.decoder[1].sizes))

    def loss(self, x: Tensor) -> losses.Loss:
        """Squared error per sequence."""
        code = self.encoder(x)[1][0][0]
        output = self.readout(self.decoder(code, steps=x.shape[1])[0])
        return losses.Loss({"reconstruction": losses.squared_error(output, x)}, "squared error per sequence")


def tinyae_step(w: Workload, fixed_noise: bool, device: str = "cpu") -> Step:
    """The step of `fit` with Adam, inside `threads()` as there."""
    model: Any = w.model(w)
    turned = [
        [a.swapaxes(-2, -1) if k.kind == "up_conv" and a.ndim == 4 else a for a in arrays] for k, arrays in w.weights()
    ]
    for parameter, value in zip(model.parameters(), [a for arrays in turned for a in arrays], strict=True):
        assert parameter.shape == value.shape, f"{w.title}: {parameter.shape} is not {value.shape}"
        parameter.data[...] = value
    model.to(device)
    optimizer, xs = optim.Adam(model.parameters(), lr=RATE), [Tensor(x).to(device) for x in w.batches()]

    def step(i: int) -> float:
        optimizer.zero_grad()
        drawn = {"generator": np.random.default_rng(NOISE)} if fixed_noise and w.loss == "vae" else {}
        loss = model.loss(xs[i % len(xs)], **drawn)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


DENSE, CONV, UP = (partial(Layer, kind) for kind in ("dense", "conv", "up_conv"))
RELU = {"activation": "relu"}
SIGMOID = {"activation": "sigmoid"}
WORKLOADS = {
    "W1": Workload(
        "784-32-784, cross-entropy, batch 256", (784,), 256, "bce",
        [DENSE((784, 32), **RELU)], [DENSE((32, 784))], lambda w: models.basic_autoencoder(),
    ),
    "W2": Workload(
        "784-1000-500-250-30 and back, squared error, batch 256", (784,), 256, "squared",
        [*(DENSE(s, **RELU) for s in ((784, 1000), (1000, 500), (500, 250))), DENSE((250, 30))],
        [*(DENSE(s, **RELU) for s in ((30, 250), (250, 500), (500, 1000))), DENSE((1000, 784))],
        lambda w: models.deep_autoencoder(loss="squared_error"),
    ),
    "W3": Workload(
        "64-25-64, sparse by KL, all of 10,000 at once", (64,), 10_000, "sparse",
        [DENSE((64, 25), **SIGMOID)], [DENSE((25, 64), **SIGMOID)],
        lambda w: models.sparse_autoencoder(rho=RHO, beta=BETA, weight_decay=DECAY),
    ),
    "W4": Workload(
        "VAE 784-400-20-400-784, batch 128", (784,), 128, "vae",
        [DENSE((784, 400), **RELU), DENSE((400, 40))], [DENSE((20, 400), **RELU), DENSE((400, 784))],
        lambda w: models.variational_autoencoder(),
    ),
    "W5": Workload(
        "convolutions 16-8-8-16-1, max-pools, upsampling, batch 128", (28, 28, 1), 128, "bce",
        [CONV((1, 16), **RELU), Layer("pool"), CONV((16, 8), **RELU), Layer("pool")],
        [CONV((8, 8), **RELU), Layer("upsample"), CONV((8, 16), **RELU), Layer("upsample"), CONV((16, 1))],
        lambda w: models.Autoencoder(tinyae_layers(w.encoder), tinyae_layers(w.decoder)),
    ),
    "W6": Workload(
        "VAE of strided convolutions 32-64, batch 128", (28, 28, 1), 128, "vae",
        [CONV((1, 32), "relu", 2), CONV((32, 64), "relu", 2), DENSE((3136, 16), "relu", maps=(7, 7, 64)), DENSE((16, 4))],
        [DENSE((2, 3136), "relu", maps=(7, 7, 64)), UP((64, 64), "relu", 2), UP((64, 32), "relu", 2), UP((32, 1))],
        lambda w: models.VariationalAutoencoder(tinyae_layers(w.encoder), tinyae_layers(w.decoder)),
    ),
    "W7": Workload(
        "LSTM, 20 steps of 28, 128 units, batch 64", (20, 28), 64, "lstm",
        [Layer("lstm", (28, 128))], [Layer("lstm", (128, 128)), DENSE((128, 28))], RepeatedCode,
    ),
    "W8": Workload(
        "composite LSTM, 10 + 10 steps of 1024, 512 units, batch 32", (20, 1024), 32, "composite",
        [Layer("lstm", (1024, 512))], [Layer("lstm", (0, 512)), DENSE((512, 1024))] * 2,
        lambda w: models.LSTMAutoencoder(1024, 512, mode="composite", future_steps=10),
    ),
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The other libraries. Each is its functions by name, and `part`, which makes its own form of a layer's arrays.


def loss_of(lib: Any, w: Workload, parts: list[Any], x: Any, noise: Any) -> Any:
    """The loss of a batch in another library; parts in the order of the layers."""
    left: Iterator[Any] = iter(parts)

    def through(layers: list[Layer], y: Any) -> Any:
        for layer in layers:
            y = getattr(lib, layer.kind)(layer, next(left), y)
            y = getattr(lib, layer.activation)(y) if layer.activation != "identity" else y
        return y

    first, decoder = w.encoder[0], w.decoder
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
    code, penalty = through(w.encoder, x), 0.0
    if w.loss == "vae":
        mean, log_variance = code[:, : w.latent], code[:, w.latent :]
        code = mean + lib.exp(0.5 * log_variance) * noise
        penalty = 0.5 * lib.sum(mean**2 + lib.exp(log_variance) - 1.0 - log_variance) / w.batch
    elif w.loss == "sparse":
        active = lib.sum(code, 0) / w.batch
        kl = RHO * (math.log(RHO) - lib.log(active)) + (1 - RHO) * (math.log(1 - RHO) - lib.log(1.0 - active))
        penalty = BETA * lib.sum(kl) + 0.5 * DECAY * sum(lib.sum(part[0] ** 2) for part in parts)
    output = through(decoder, code)
    if w.loss in ("squared", "sparse"):
        return lib.sum((output - x) ** 2) * ((0.5 if w.loss == "sparse" else 1.0) / w.batch) + penalty
    return lib.cross_entropy(output, x) / w.batch + penalty


def torch_step(w: Workload, noise: np.ndarray | None, variant: str) -> Step:
    """PyTorch, eager or compiled. Images are (N, C, H, W), and a dense layer next to them has its weights in that order."""
    import torch
    from torch.nn import functional

    where = torch.get_default_device()

    def part(layer: Layer, arrays: list[np.ndarray]) -> list[torch.Tensor]:
        (n, m), maps = layer.sizes, layer.maps
        order = {"conv": (3, 2, 0, 1), "up_conv": (2, 3, 0, 1)}.get(layer.kind, (1, 0))
        if maps and n == math.prod(maps):
            arrays = [arrays[0].reshape(*maps, m).transpose(2, 0, 1, 3).reshape(n, m), arrays[1]]
        elif maps:  # the bias starts at 0, in any order
            arrays = [arrays[0].reshape(n, *maps).transpose(0, 3, 1, 2).reshape(n, m), arrays[1]]
        arrays = [np.ascontiguousarray(a.transpose(order) if a.ndim > 1 else a) for a in arrays]
        found = [torch.from_numpy(a).to(where).requires_grad_() for a in arrays]
        if (
            layer.kind == "lstm"
        ):  # a second bias, which stays 0; without input, an input of zeros, which costs next to nothing
            found = ([] if n else [torch.zeros(4 * m, 1)]) + found + [torch.zeros(4 * m)]
        return found

    def dense(layer: Layer, part: Any, x: torch.Tensor) -> torch.Tensor:
        y = functional.linear(x.flatten(1) if x.ndim == 4 else x, *part)
        return y.unflatten(1, (layer.maps[2], *layer.maps[:2])) if layer.maps and x.ndim == 2 else y

    def lstm(layer: Layer, part: Any, x: Any, state: Any = None, steps: int = 0) -> Any:
        state = (torch.zeros(1, w.batch, layer.sizes[1]),) * 2 if state is None else state
        output, *state = torch.lstm(
            torch.zeros(w.batch, steps, 1) if x is None else x, state, part, True, 1, 0.0, True, False, True
        )
        return output, state

    lib = SimpleNamespace(
        exp=torch.exp, log=torch.log, sum=torch.sum, relu=torch.relu, sigmoid=torch.sigmoid, dense=dense, lstm=lstm,
        conv=lambda layer, part, x: functional.conv2d(x, *part, layer.stride, 1),
        up_conv=lambda layer, part, x: functional.conv_transpose2d(x, *part, layer.stride, 1, layer.stride - 1),
        pool=lambda layer, part, x: functional.max_pool2d(x, 2),
        upsample=lambda layer, part, x: functional.interpolate(x, scale_factor=2),
        flip=lambda x: x.flip(1),
        repeat=lambda state, steps: state[0][:, None].expand(-1, steps, -1),
        cross_entropy=partial(functional.binary_cross_entropy_with_logits, reduction="sum"),
    )  # fmt: skip
    parts = [part(layer, arrays) for layer, arrays in w.weights()]
    parameters = [parameter for part in parts for parameter in part if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=RATE, fused=True if variant else None)
    function = torch.compile(loss_of) if variant == "compiled" else loss_of
    xs = [torch.from_numpy(x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x).to(where) for x in w.batches()]
    fixed = None if noise is None else torch.from_numpy(noise).to(where)

    def step(i: int) -> float:
        optimizer.zero_grad()
        drawn = torch.randn(w.batch, w.latent) if w.loss == "vae" and fixed is None else fixed
        loss = function(lib, w, parts, xs[i % len(xs)], drawn)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def functions(xp: Any, scan: Callable[..., Any], **others: Any) -> SimpleNamespace:
    """What JAX and TensorFlow share: images are (N, H, W, C), and a part is the list of a layer's arrays."""

    def dense(layer: Layer, part: Any, x: Any) -> Any:
        y = (xp.reshape(x, (x.shape[0], -1)) if len(x.shape) == 4 else x) @ part[0] + part[1]
        return xp.reshape(y, (-1, *layer.maps)) if layer.maps and len(x.shape) == 2 else y

    def lstm(layer: Layer, part: Any, x: Any, state: Any = None, steps: int = 0) -> Any:
        *inward, recurrent, bias = part

        def cell(state: Any, given: Any) -> Any:
            h, c = state
            i, f, g, o = xp.split((0.0 if given is None else given) + h @ recurrent + bias, 4, 1)
            c = others["sigmoid"](f) * c + others["sigmoid"](i) * xp.tanh(g)
            h = others["sigmoid"](o) * xp.tanh(c)
            return (h, c), h

        given = None if x is None else xp.transpose(x @ inward[0], (1, 0, 2))
        start = (xp.zeros((x.shape[0], layer.sizes[1])),) * 2 if state is None else state
        state, outputs = scan(cell, start, given, steps if x is None else x.shape[1])
        return xp.transpose(outputs, (1, 0, 2)), state

    return SimpleNamespace(
        dense=dense, lstm=lstm, exp=xp.exp,
        upsample=lambda layer, part, x: xp.repeat(xp.repeat(x, 2, 1), 2, 2),
        repeat=lambda state, steps: xp.repeat(state[:, None], steps, 1),
        **others,
    )  # fmt: skip


def jax_step(w: Workload, noise: np.ndarray | None, variant: str) -> Step:
    """JAX: loss, gradients and Adam compiled into one function."""
    import jax
    from jax import lax
    from jax import numpy as xp

    convolve = partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def up_conv(layer: Layer, part: Any, x: Any) -> Any:
        """The convolution of the image with zeros between its pixels, by the kernel turned round."""
        s = layer.stride
        return convolve(x, part[0][::-1, ::-1], (1, 1), ((1, s), (1, s)), lhs_dilation=(s, s)) + part[1]

    log_sigmoid, window = jax.nn.log_sigmoid, (1, 2, 2, 1)
    lib = functions(
        xp, lax.scan, log=xp.log, sum=xp.sum, relu=jax.nn.relu, sigmoid=jax.nn.sigmoid, flip=partial(xp.flip, axis=1),
        conv=lambda layer, part, x: convolve(x, part[0], (layer.stride,) * 2, ((1, 1), (1, 1))) + part[1],
        up_conv=up_conv,
        pool=lambda layer, part, x: lax.reduce_window(x, -math.inf, lax.max, window, window, "VALID"),
        cross_entropy=lambda z, x: -xp.sum(x * log_sigmoid(z) + (1.0 - x) * log_sigmoid(-z)),
    )  # fmt: skip
    key, each = jax.random.key(0), jax.tree.map

    def update(state: Any, x: Any, t: Any) -> Any:
        parts, m, v = state
        new = noise is None and w.loss == "vae"
        drawn = jax.random.normal(jax.random.fold_in(key, t), (w.batch, w.latent)) if new else noise
        loss, g = jax.value_and_grad(lambda p: loss_of(lib, w, p, x, drawn))(parts)
        m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = each(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        size, root = RATE / (1 - 0.9**t), xp.sqrt(1 - 0.999**t)
        return (each(lambda p, m, v: p - size * m / (xp.sqrt(v) / root + 1e-8), parts, m, v), m, v), loss

    compiled, xs = jax.jit(update, donate_argnums=0), [xp.asarray(x) for x in w.batches()]
    parts = [each(xp.asarray, arrays) for _, arrays in w.weights()]
    state = (parts, each(xp.zeros_like, parts), each(xp.zeros_like, parts))

    def step(i: int) -> float:
        nonlocal state
        state, loss = compiled(state, xs[i % len(xs)], float(i + 1))
        return float(loss)

    return step


def tensorflow_step(w: Workload, noise: np.ndarray | None, variant: str) -> Step:
    """TensorFlow: loss, gradients and Keras' Adam in one graph; the steps of an LSTM unrolled."""
    import tensorflow as tf

    def scan(cell: Callable[..., Any], state: Any, given: Any, steps: int) -> Any:
        outputs = []
        for t in range(steps):
            state, output = cell(state, None if given is None else given[t])
            outputs.append(output)
        return state, tf.stack(outputs)

    def up_conv(layer: Layer, part: Any, x: Any) -> Any:
        size = (x.shape[0], x.shape[1] * layer.stride, x.shape[2] * layer.stride, layer.sizes[1])
        return tf.nn.conv2d_transpose(x, tf.transpose(part[0], (0, 1, 3, 2)), size, layer.stride, around) + part[1]

    around = [[0, 0], [1, 1], [1, 1], [0, 0]]
    lib = functions(
        tf, scan, log=tf.math.log, sum=tf.reduce_sum, relu=tf.nn.relu, sigmoid=tf.sigmoid,
        flip=partial(tf.reverse, axis=[1]), up_conv=up_conv,
        conv=lambda layer, part, x: tf.nn.conv2d(x, part[0], layer.stride, around) + part[1],
        pool=lambda layer, part, x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
        cross_entropy=lambda z, x: tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(x, z)),
    )  # fmt: skip
    optimizer = tf.keras.optimizers.Adam(RATE, epsilon=1e-8 * 0.001**0.5)  # added before the correction for the bias
    xs, parts = [tf.constant(x) for x in w.batches()], [[tf.Variable(a) for a in arrays] for _, arrays in w.weights()]
    variables = [variable for part in parts for variable in part]

    @tf.function
    def update(x: Any) -> Any:
        drawn = tf.random.normal((w.batch, w.latent)) if noise is None and w.loss == "vae" else noise
        with tf.GradientTape() as tape:
            loss = loss_of(lib, w, parts, x, drawn)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return lambda i: float(update(xs[i % len(xs)]))


PEERS: dict[str, tuple[str, Callable[..., Step], str]] = {
    "PyTorch": ("torch", torch_step, ""),
    "PyTorch, fused Adam": ("torch", torch_step, "fused"),
    "PyTorch, compiled": ("torch", torch_step, "compiled"),
    "JAX": ("jax", jax_step, ""),
    "TensorFlow": ("tensorflow", tensorflow_step, ""),
}
"""Module, step and variant of every other library by its name in the table."""


COMMAND = "tinyae, command line"
"""The same steps in a process that keeps freed memory, as that of `tinyae train` does."""

_threads = ExitStack()


def build(workload: str, library: str, fixed_noise: bool, device: str = "cpu") -> Step:
    """The step of a library; a check draws the same noise in every step, and everywhere. On a GPU tinyae and PyTorch only."""
    w = WORKLOADS[workload]
    if library.startswith("tinyae"):
        if library == COMMAND:
            tune_allocator()
        _threads.enter_context(threads())  # for all steps, as `fit` does
        return tinyae_step(w, fixed_noise, device)
    module, step_of, variant = PEERS[library]
    if device == "gpu":
        if module != "torch":
            raise ValueError(f"{library} is compared on the CPU only.")
        importlib.import_module(module).set_default_device("cuda")
    return step_of(w, w.noise() if fixed_noise else None, variant)
