"""The layers: every `nn.Module` of `tinyae.nn`, in each of its modes.

There are no references here: a layer composes primitives that have them, and its forward is compared with NumPy by its
own tests. What is asked is whether the gradient reaches the input and every parameter.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np

from tinyae import nn, ops
from tinyae.ops.dense import ACTIVATIONS
from tinyae.testing.module_case import ModuleCase
from tinyae.testing.op_case import Domain, apart, nonzero, real


def layer(
    kind: type[nn.Module],
    *arguments: Any,
    shape: tuple[int, ...] = (5, 4),
    domain: Domain = nonzero,
    training: bool = True,
    order: int = 2,
    **options: Any,
) -> ModuleCase:
    """One layer, given its constructor's arguments; a generator is handed to it if it takes one."""
    draws = "generator" in inspect.signature(kind).parameters

    def build(rng: np.random.Generator) -> nn.Module:
        return kind(*arguments, **options, **({"generator": rng} if draws else {}))

    words = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in options.items())]
    mode = "" if training else ", eval"
    name = f"{kind.__name__}({', '.join(words)}) {'x'.join(map(str, shape))}{mode}"
    return ModuleCase(name, build, (shape,), domain, training, order=order)


def _tied(rng: np.random.Generator) -> nn.Module:
    encoder = nn.Dense(4, 3, activation="tanh", generator=rng)
    return nn.Sequential(encoder, nn.TiedDense(encoder, activation="sigmoid"))


def _running(rng: np.random.Generator) -> nn.Module:
    norm = nn.BatchNorm(4)
    norm.running_mean.data = rng.normal(size=4).astype("float32")
    norm.running_var.data = rng.uniform(0.5, 2.0, 4).astype("float32")
    return norm


def recurrent(kind: type[nn.Module], *arguments: Any, shape: tuple[int, ...] = (3, 3, 2), **options: Any) -> ModuleCase:
    """A recurrent layer, or a cell taking two steps: all its results side by side, (N, ...)."""
    row = layer(kind, *arguments, shape=shape, domain=real, **options)
    return dataclasses.replace(row, call=recurrent_results)


def recurrent_results(layer: Any, x: Any, **options: Any) -> Any:
    """Outputs and last states of a recurrent layer, or of two steps of a cell, as one Tensor (N, ...)."""
    if isinstance(layer, nn.LSTMCell):
        return ops.concatenate(*layer(x, layer(x)), axis=1)
    output, states = layer(x, **options)
    return ops.concatenate(ops.flatten(output), layer.flat(states if isinstance(states, tuple) else (states,)), axis=1)


LAYERS: list[ModuleCase] = [
    *[layer(nn.Dense, 4, 3, activation=f, bias=b) for f in ACTIVATIONS for b in (True, False)],
    layer(nn.Dense, 4, 3, activation="tanh", shape=(2, 3, 4)),
    ModuleCase("TiedDense(source) 5x4", _tied, ((5, 4),)),
    layer(nn.Sequential, nn.Flatten(), nn.Tanh(), shape=(2, 3, 2)),
    layer(nn.Identity),
    layer(nn.ReLU),
    layer(nn.LeakyReLU, 0.2),
    layer(nn.ELU),
    layer(nn.Sigmoid),
    layer(nn.Tanh),
    layer(nn.Softplus),
    layer(nn.Softmax),
    layer(nn.Softmax, axis=0),
    layer(nn.LayerNorm, 4),
    layer(nn.LayerNorm, 4, shape=(2, 3, 4)),
    layer(nn.BatchNorm, 4),
    layer(nn.BatchNorm, 3, shape=(2, 2, 3, 3)),
    ModuleCase("BatchNorm(4) 5x4, eval", _running, ((5, 4),), training=False),
    layer(nn.Dropout, 0.5),
    layer(nn.Dropout, 0.5, training=False),
    layer(nn.MaskingNoise, 0.4),
    layer(nn.GaussianNoise, 0.5),
    layer(nn.SaltAndPepperNoise, 0.4),
    layer(nn.TopK, 2, domain=apart),
    layer(nn.TopK, 2, 3, training=False, domain=apart),
    layer(nn.Flatten, shape=(2, 3, 4)),
    layer(nn.Reshape, 2, -1),
    layer(nn.Conv2d, 2, 3, 3, shape=(2, 4, 5, 2)),
    layer(nn.Conv2d, 4, 2, (3, 2), (2, 1), "same", groups=2, activation="tanh", shape=(1, 5, 4, 4)),
    layer(nn.Conv2d, 1, 2, 2, padding=1, dilation=2, bias=False, activation="elu", shape=(2, 3, 3, 1)),
    layer(nn.ConvTranspose2d, 3, 2, 3, 2, 1, 1, shape=(2, 3, 2, 3)),
    layer(nn.ConvTranspose2d, 2, 4, (3, 2), 2, "same", groups=2, activation="sigmoid", shape=(1, 2, 3, 2)),
    layer(nn.ConvTranspose2d, 1, 2, 2, bias=False, activation="tanh", shape=(2, 2, 2, 1)),
    layer(nn.MaxPool2d, 2, shape=(2, 4, 5, 2), domain=apart),
    layer(nn.MaxPool2d, 3, 1, 1, shape=(1, 4, 3, 2), domain=apart),
    layer(nn.AvgPool2d, 2, shape=(2, 4, 5, 2)),
    layer(nn.AvgPool2d, 3, 2, "same", shape=(1, 4, 3, 2)),
    layer(nn.Upsample, shape=(2, 2, 3, 2)),
    layer(nn.Upsample, (3, 2), "bilinear", shape=(2, 2, 3, 2)),
    layer(nn.Crop, 2, 3, shape=(2, 4, 3, 2)),
    layer(nn.PixelShuffle, 2, shape=(2, 2, 3, 8)),
    recurrent(nn.LSTMCell, 2, 2, peepholes=True, shape=(3, 2)),
    recurrent(nn.LSTM, 1, 2, shape=(2, 3, 1)),
    recurrent(nn.LSTM, 1, 2, 2, True, 0.3, peepholes=True, shape=(2, 2, 1), order=1),
    recurrent(nn.GRU, 1, 2, shape=(2, 3, 1)),
    recurrent(nn.GRU, 1, 2, 2, True, shape=(2, 2, 1), order=1),
    layer(nn.RepeatVector, 3, shape=(2, 4)),
    layer(nn.TimeDistributed, nn.Tanh(), shape=(2, 3, 2)),
]
"""Every layer. A new one is a line: `layer(nn.Mine, 4, 3, activation="tanh")`."""
