"""PyTorch, JAX and TensorFlow as their users write them: the layers of a workload, and a step with Adam.

PyTorch runs eagerly with its default Adam, with its fused one, or compiled; JAX and TensorFlow compile the whole step.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks.workloads import BATCHES, RATE, Layer, Step, Workload, loss_of


class Torch:
    """Images are (N, C, H, W), so a dense layer next to them has its weights in the order that PyTorch flattens to."""

    def __init__(self) -> None:
        import torch

        self.torch, self.nn = torch, torch.nn
        self.exp, self.log, self.sum = torch.exp, torch.log, torch.sum
        self.relu, self.sigmoid = torch.relu, torch.sigmoid

    def part(self, layer: Layer, arrays: list[np.ndarray]) -> Any:
        """The module of a layer, with its weights."""
        n, m = layer.sizes
        if layer.kind == "lstm":
            module = self.nn.LSTM(
                n or 1, m, batch_first=True
            )  # without input: given zeros, which costs next to nothing
            zeros = np.zeros((1, 4 * m), np.float32)
            arrays = [a.T for a in ([] if n else [zeros]) + arrays] + [zeros[0]]
            module.bias_hh_l0.requires_grad_(False)  # a second bias that Adam would move as well
            module.weight_ih_l0.requires_grad_(n > 0)
        elif layer.kind == "dense":
            module, (weight, bias) = self.nn.Linear(n, m), arrays
            if layer.maps and n == math.prod(layer.maps):
                weight = weight.reshape(*layer.maps, m).transpose(2, 0, 1, 3).reshape(n, m)
            elif layer.maps:
                weight = weight.reshape(n, *layer.maps).transpose(0, 3, 1, 2).reshape(n, m)
            arrays = [weight.T, bias]
        elif layer.kind == "conv":
            module = self.nn.Conv2d(n, m, 3, layer.stride, 1)
            arrays = [arrays[0].transpose(3, 2, 0, 1), arrays[1]]
        elif layer.kind == "up_conv":
            module = self.nn.ConvTranspose2d(n, m, 3, layer.stride, 1, layer.stride - 1)
            arrays = [arrays[0].transpose(2, 3, 0, 1), arrays[1]]
        else:
            return self.nn.MaxPool2d(2) if layer.kind == "pool" else self.nn.Upsample(scale_factor=2)
        with self.torch.no_grad():
            for parameter, array in zip(module.parameters(), arrays, strict=True):
                parameter.copy_(self.torch.from_numpy(np.ascontiguousarray(array)))
        return module

    def dense(self, layer: Layer, module: Any, x: Any) -> Any:
        y = module(x.flatten(1) if x.ndim == 4 else x)
        return y.unflatten(1, (layer.maps[2], *layer.maps[:2])) if layer.maps and x.ndim == 2 else y

    def conv(self, layer: Layer, module: Any, x: Any) -> Any:
        return module(x)

    up_conv = pool = upsample = conv

    def lstm(self, layer: Layer, module: Any, x: Any, state: Any = None, steps: int = 0) -> Any:
        return module(self.torch.zeros(state[0].shape[1], steps, 1) if x is None else x, state)

    def repeat(self, state: Any, steps: int) -> Any:
        return state[0][:, None].expand(-1, steps, -1)

    def flip(self, x: Any) -> Any:
        return x.flip(1)

    def matrix(self, module: Any) -> Any:
        return module.weight

    def cross_entropy(self, logits: Any, x: Any) -> Any:
        return self.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")

    def step(self, w: Workload, parts: list[Any], noise: np.ndarray | None, variant: str) -> Step:
        modules = self.nn.ModuleList(parts)
        parameters = [p for p in modules.parameters() if p.requires_grad]
        optimizer = self.torch.optim.Adam(parameters, lr=RATE, fused=True if variant else None)
        shape = (w.batch, w.latent)
        fixed = None if noise is None else self.torch.from_numpy(noise)
        loss_function = partial(loss_of, self, w, parts)
        if variant == "compile":
            loss_function = self.torch.compile(loss_function)
        images = len(w.sample) == 3
        xs = [self.torch.from_numpy(x.transpose(0, 3, 1, 2).copy() if images else x) for x in w.batches()]

        def step(i: int) -> float:
            optimizer.zero_grad()
            loss = loss_function(xs[i % BATCHES], self.torch.randn(shape) if fixed is None else fixed)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step


class Functions:
    """What JAX and TensorFlow share: images are (N, H, W, C), and a part is the list of a layer's arrays."""

    xp: Any

    def dense(self, layer: Layer, part: Any, x: Any) -> Any:
        y = (self.xp.reshape(x, (x.shape[0], -1)) if len(x.shape) == 4 else x) @ part[0] + part[1]
        return self.xp.reshape(y, (-1, *layer.maps)) if layer.maps and len(x.shape) == 2 else y

    def upsample(self, layer: Layer, part: Any, x: Any) -> Any:
        return self.xp.repeat(self.xp.repeat(x, 2, 1), 2, 2)

    def lstm(self, layer: Layer, part: Any, x: Any, state: Any = None, steps: int = 0) -> Any:
        """What the input adds to the gates is one product before the first step."""
        xp, (*inward, recurrent, bias) = self.xp, part

        def cell(state: Any, given: Any) -> Any:
            h, c = state
            i, f, g, o = xp.split((0.0 if given is None else given) + h @ recurrent + bias, 4, 1)
            c = self.sigmoid(f) * c + self.sigmoid(i) * xp.tanh(g)
            h = self.sigmoid(o) * xp.tanh(c)
            return (h, c), h

        given = None if x is None else xp.transpose(x @ inward[0], (1, 0, 2))
        start = (xp.zeros((x.shape[0], layer.sizes[1])),) * 2 if state is None else state
        state, outputs = self.scan(cell, start, given, steps if x is None else x.shape[1])
        return xp.transpose(outputs, (1, 0, 2)), state

    def repeat(self, state: Any, steps: int) -> Any:
        return self.xp.repeat(state[:, None], steps, 1)

    def matrix(self, part: Any) -> Any:
        return part[0]


class Jax(Functions):
    def __init__(self) -> None:
        import jax

        self.jax, self.xp = jax, jax.numpy
        self.exp, self.log, self.sum = self.xp.exp, self.xp.log, self.xp.sum
        self.relu, self.sigmoid = jax.nn.relu, jax.nn.sigmoid
        self.flip, self.scan = partial(self.xp.flip, axis=1), jax.lax.scan

    def part(self, layer: Layer, arrays: list[np.ndarray]) -> Any:
        return [self.xp.asarray(array) for array in arrays]

    def conv(self, layer: Layer, part: Any, x: Any, **how: Any) -> Any:
        how = how or {"window_strides": (layer.stride,) * 2, "padding": ((1, 1), (1, 1))}
        return (
            self.jax.lax.conv_general_dilated(x, part[0], dimension_numbers=("NHWC", "HWIO", "NHWC"), **how) + part[1]
        )

    def up_conv(self, layer: Layer, part: Any, x: Any) -> Any:
        """The convolution of the image with zeros between its pixels, by the kernel turned round."""
        how = {"window_strides": (1, 1), "padding": ((1, layer.stride),) * 2, "lhs_dilation": (layer.stride,) * 2}
        return self.conv(layer, [part[0][::-1, ::-1], part[1]], x, **how)

    def pool(self, layer: Layer, part: Any, x: Any) -> Any:
        return self.jax.lax.reduce_window(x, -math.inf, self.jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def cross_entropy(self, logits: Any, x: Any) -> Any:
        log = self.jax.nn.log_sigmoid
        return -self.sum(x * log(logits) + (1.0 - x) * log(-logits))

    def step(self, w: Workload, parts: list[Any], noise: np.ndarray | None, variant: str) -> Step:
        jax, xp = self.jax, self.xp
        key, each = jax.random.key(0), jax.tree.map

        def update(state: Any, x: Any, t: Any) -> Any:
            parts, m, v = state
            shape = (w.batch, w.latent)
            drawn = (
                noise if noise is not None or w.loss != "vae" else jax.random.normal(jax.random.fold_in(key, t), shape)
            )
            loss, g = jax.value_and_grad(lambda p: loss_of(self, w, p, x, drawn))(parts)
            m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = each(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            size, root = RATE / (1 - 0.9**t), xp.sqrt(1 - 0.999**t)
            parts = each(lambda p, m, v: p - size * m / (xp.sqrt(v) / root + 1e-8), parts, m, v)
            return (parts, m, v), loss

        compiled, xs = jax.jit(update, donate_argnums=0), [xp.asarray(x) for x in w.batches()]
        state = (parts, each(xp.zeros_like, parts), each(xp.zeros_like, parts))

        def step(i: int) -> float:
            nonlocal state
            state, loss = compiled(state, xs[i % BATCHES], float(i + 1))
            return float(loss)

        return step


class TensorFlow(Functions):
    def __init__(self) -> None:
        import tensorflow as tf

        self.tf = self.xp = tf
        self.exp, self.log, self.sum = tf.exp, tf.math.log, tf.reduce_sum
        self.relu, self.sigmoid = tf.nn.relu, tf.sigmoid
        self.flip = partial(tf.reverse, axis=[1])

    def scan(self, cell: Any, state: Any, given: Any, steps: int) -> Any:
        outputs = []
        for t in range(steps):
            state, output = cell(state, None if given is None else given[t])
            outputs.append(output)
        return state, self.tf.stack(outputs)

    def part(self, layer: Layer, arrays: list[np.ndarray]) -> Any:
        return [self.tf.Variable(array) for array in arrays]

    def conv(self, layer: Layer, part: Any, x: Any) -> Any:
        return self.tf.nn.conv2d(x, part[0], layer.stride, [[0, 0], [1, 1], [1, 1], [0, 0]]) + part[1]

    def up_conv(self, layer: Layer, part: Any, x: Any) -> Any:
        n, h, w, _ = x.shape
        size = (n, h * layer.stride, w * layer.stride, layer.sizes[1])
        kernel = self.tf.transpose(part[0], (0, 1, 3, 2))
        return self.tf.nn.conv2d_transpose(x, kernel, size, layer.stride, [[0, 0], [1, 1], [1, 1], [0, 0]]) + part[1]

    def pool(self, layer: Layer, part: Any, x: Any) -> Any:
        return self.tf.nn.max_pool2d(x, 2, 2, "VALID")

    def cross_entropy(self, logits: Any, x: Any) -> Any:
        return self.sum(self.tf.nn.sigmoid_cross_entropy_with_logits(x, logits))

    def step(self, w: Workload, parts: list[Any], noise: np.ndarray | None, variant: str) -> Step:
        tf = self.tf
        optimizer = tf.keras.optimizers.Adam(RATE, epsilon=1e-8 * 0.001**0.5)  # not corrected for the bias, as 1e-8 is
        xs = [tf.constant(x) for x in w.batches()]
        variables = [variable for part in parts for variable in part]

        @tf.function
        def update(x: Any) -> Any:
            drawn = tf.random.normal((w.batch, w.latent)) if noise is None else noise
            with tf.GradientTape() as tape:
                loss = loss_of(self, w, parts, x, drawn)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        return lambda i: float(update(xs[i % BATCHES]))


PEERS = {
    "PyTorch": (Torch, "torch", ""),
    "PyTorch, fused Adam": (Torch, "torch", "fused"),
    "PyTorch, compiled": (Torch, "torch", "compile"),
    "JAX": (Jax, "jax", ""),
    "TensorFlow": (TensorFlow, "tensorflow", ""),
}
"""Class, module and variant of every library by its name in the table."""


def peer_step(w: Workload, name: str, fixed_noise: bool) -> Step:
    """The step of another library, from the weights that tinyae starts from."""
    kind, _, variant = PEERS[name]
    lib = kind()
    layers = [layer for part in w.layers for layer in part]
    parts = [lib.part(layer, arrays) for layer, arrays in zip(layers, w.weights(), strict=True)]
    return lib.step(w, parts, w.noise() if fixed_noise and w.loss == "vae" else None, variant)
