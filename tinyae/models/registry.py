"""The models by name, as the command line and saved files know them: a name, a builder, and plain arguments.

A saved model is rebuilt by calling its builder with the same arguments, so nothing but names, numbers and weights is
ever written to disk or read from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.checks import choose
from tinyae.models.autoencoder import Autoencoder, remember
from tinyae.models.conditional import conditional_variational_autoencoder
from tinyae.models.contractive import contractive_autoencoder
from tinyae.models.convolutional import conv_autoencoder, conv_denoising_autoencoder, conv_variational_autoencoder
from tinyae.models.denoising import denoising_autoencoder
from tinyae.models.dense import basic_autoencoder, deep_autoencoder
from tinyae.models.lstm import lstm_autoencoder
from tinyae.models.memory import image_memory
from tinyae.models.sparse import sparse_autoencoder
from tinyae.models.stacked import stacked_autoencoder
from tinyae.models.variational import variational_autoencoder
from tinyae.models.vector_quantized import vq_autoencoder


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be built by name.

    Attributes:
        name: as in `tinyae train NAME`.
        title: a one-line description.
        builder: function of (input_shape, *, generator, sample, **arguments).
        data, epochs, batch_size, lr, optimizer: defaults of the command line; those of the model are its builder's.
        labeled: whether the builder takes `classes`, the number of classes in labeled data.
        conditional: whether the model needs the class of each sample; its builder takes `classes` too.
        any_length: whether it takes sequences of other lengths than it was built for.
        held_out: whether it can take samples that it was not trained on.
    """

    name: str
    title: str
    builder: Callable[..., Autoencoder]
    data: str = "fashion-mini"
    epochs: int = 20
    batch_size: int = 64
    lr: float = 1e-3
    optimizer: str = "adam"
    labeled: bool = False
    conditional: bool = False
    any_length: bool = False
    held_out: bool = True


# fmt: off
MODELS = {entry.name: entry for entry in (
    ModelEntry("basic", "one hidden layer, 784-32-784 by default", basic_autoencoder, epochs=50),
    ModelEntry("deep", "784-1000-500-250-30 and back, or any list of sizes", deep_autoencoder),
    ModelEntry("sparse", "few active units, 64-25-64 on patches of photographs by default", sparse_autoencoder,
               data="natural-patches", epochs=400, optimizer="lbfgs"),
    ModelEntry("contractive", "codes that hardly move with the input, 784-128-784 by default", contractive_autoencoder,
               lr=3e-3),
    ModelEntry("denoising", "corrupted samples in, clean ones out, 784-1000-784 by default", denoising_autoencoder),
    ModelEntry("stacked", "trained layer by layer, with a classifier on top, 784-200-200", stacked_autoencoder,
               epochs=30, lr=3e-3, labeled=True),
    ModelEntry("memory", "a decoder that memorizes its training samples", image_memory,
               epochs=300, batch_size=25, lr=1e-2, held_out=False),
    ModelEntry("vae", "variational (VAE), 784-400-20 by default", variational_autoencoder, epochs=30),
    ModelEntry("cvae", "class-conditional (CVAE): encoder and decoder also receive the class",
               conditional_variational_autoencoder, data="optdigits", epochs=30, conditional=True),
    ModelEntry("conv", "convolutions, 28x28x1 -> 14x14x16 -> 7x7x32 -> 32 by default", conv_autoencoder, lr=3e-3),
    ModelEntry("conv-denoising", "convolutions, noisy images in, clean ones out, 28x28x1 -> 14x14x32 -> 7x7x32",
               conv_denoising_autoencoder),
    ModelEntry("conv-vae", "convolutional and variational, 28x28x1 -> 14x14x32 -> 7x7x64 -> 20",
               conv_variational_autoencoder),
    ModelEntry("lstm", "sequences to vectors and back, or to the steps that follow, 128 units", lstm_autoencoder,
               data="pendigits", epochs=50, lr=3e-3, any_length=True),
    ModelEntry("vqvae", "vector-quantized (VQ-VAE), 16 of 64 vectors by default", vq_autoencoder, epochs=30),
)}
# fmt: on
"""Every model that can be built by name."""


def model_entry(name: str) -> ModelEntry:
    """The entry of a model; raises ValueError with the known names."""
    return MODELS[choose("model", name, MODELS)]


def build(name: str, arguments: dict[str, Any], generator: np.random.Generator | None = None) -> Autoencoder:
    """Build a model by name from plain arguments, stored as `model.recipe` for `tinyae.save`.

    The encoder stores them too, so that it can be saved and loaded alone.
    """
    model = model_entry(name).builder(**arguments, generator=generator)
    remember(model, name, arguments)
    return model
