"""Layers: functions that own their parameters.

`module` is the base and holds no arithmetic; a layer is a class that makes its parameters in `__init__` and composes
primitives of `tinyae.ops` in `forward`. They stand in `layers` (dense, activations, shapes, normalization, and how weights
start), `noise`, `convolution` and `recurrent`. Sizes are explicit, randomness comes from one generator handed to every
layer, channels stand last, and a recurrent state is an argument and a result. `observe_calls` lets a tool watch the calls
of a model without touching it.
"""

from tinyae.nn.convolution import (
    AvgPool2d,
    Conv2d,
    ConvTranspose2d,
    Crop,
    MaxPool2d,
    PixelShuffle,
    Upsample,
    overlap_counts,
)
from tinyae.nn.layers import (
    ELU,
    INITIALIZERS,
    BatchNorm,
    Dense,
    Flatten,
    Identity,
    LayerNorm,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
    TiedDense,
    TimeDistributed,
    TopK,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    initializer_named,
    orthogonal,
    zeros,
)
from tinyae.nn.module import Module, Parameter, Sequential, evaluating, layer_outputs, observe_calls
from tinyae.nn.noise import NOISES, Dropout, GaussianNoise, MaskingNoise, Noise, SaltAndPepperNoise, noise_named
from tinyae.nn.recurrent import LSTM, LSTMLayer

__all__ = [
    "ELU",
    "INITIALIZERS",
    "LSTM",
    "NOISES",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "ConvTranspose2d",
    "Crop",
    "Dense",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "Identity",
    "LSTMLayer",
    "LayerNorm",
    "MaskingNoise",
    "MaxPool2d",
    "Module",
    "Noise",
    "Parameter",
    "PixelShuffle",
    "ReLU",
    "Reshape",
    "SaltAndPepperNoise",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "TiedDense",
    "TimeDistributed",
    "TopK",
    "Upsample",
    "evaluating",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "initializer_named",
    "layer_outputs",
    "noise_named",
    "observe_calls",
    "orthogonal",
    "overlap_counts",
    "zeros",
]
