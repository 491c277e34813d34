"""Layers: functions that own their parameters.

`module` is the base and holds no arithmetic; a layer is a file with a class that makes its parameters in
`__init__` and composes primitives of `tinyae.ops` in `forward`. Sizes are explicit, randomness comes from one
generator handed to every layer, channels stand last, and a recurrent state is an argument and a result. `observe`
lets a tool watch the calls of a model without touching it.
"""

from tinyae.nn.activations import ELU, Identity, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from tinyae.nn.convolution import Conv2d, ConvTranspose2d
from tinyae.nn.crop import Crop
from tinyae.nn.dense import Dense, TiedDense
from tinyae.nn.dropout import Dropout
from tinyae.nn.features import layer_outputs
from tinyae.nn.gru import GRU, GRULayer
from tinyae.nn.initializers import (
    INITIALIZERS,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    initializer_named,
    orthogonal,
    zeros,
)
from tinyae.nn.lstm import LSTM, LSTMCell, LSTMLayer
from tinyae.nn.modes import evaluating
from tinyae.nn.module import Module
from tinyae.nn.noise import NOISES, GaussianNoise, MaskingNoise, Noise, SaltAndPepperNoise, noise_named
from tinyae.nn.normalization import BatchNorm, LayerNorm
from tinyae.nn.observe import observe_calls
from tinyae.nn.overlap import overlap_counts
from tinyae.nn.parameter import Parameter
from tinyae.nn.pooling import AvgPool2d, MaxPool2d
from tinyae.nn.repeat import RepeatVector, TimeDistributed
from tinyae.nn.reshape import Flatten, Reshape
from tinyae.nn.sequential import Sequential
from tinyae.nn.topk import TopK
from tinyae.nn.upsampling import PixelShuffle, Upsample

__all__ = [
    "ELU",
    "GRU",
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
    "GRULayer",
    "GaussianNoise",
    "Identity",
    "LSTMCell",
    "LSTMLayer",
    "LayerNorm",
    "LeakyReLU",
    "MaskingNoise",
    "MaxPool2d",
    "Module",
    "Noise",
    "Parameter",
    "PixelShuffle",
    "ReLU",
    "RepeatVector",
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
