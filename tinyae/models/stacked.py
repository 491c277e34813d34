"""The stacked autoencoder: deep, but trained one layer at a time.

Each layer is an autoencoder of one hidden layer. The first learns the samples, the second the codes of the first, and
so on; a layer that is trained stands still while the next one learns. In 2006 this was how deep networks could be
trained at all (Hinton and Salakhutdinov 2006; Bengio et al. 2007); what is left of it is a start that knows the data
before it has seen a label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.models.autoencoder import Autoencoder
from tinyae.models.classifier import SoftmaxClassifier
from tinyae.models.denoising import denoising_autoencoder
from tinyae.models.dense import basic_autoencoder
from tinyae.models.pair import Shape, sample_shape
from tinyae.models.recipe import remembered
from tinyae.models.sparse import sparse_autoencoder
from tinyae.nn import Dense, Module, Sequential, Sigmoid

LAYERS = ("sparse", "denoising", "plain")
"""What the layers of a stack can be."""


class StackedAutoencoder(Autoencoder):
    """Autoencoders one on top of the other: encode upwards through all, decode downwards in reverse order.

    encoder = f_L(... f_1(x)),   decoder = g_1(... g_L(code))

    where layer l has encoder f_l and decoder g_l. The layers share their parameters with the whole: training one of them
    trains a part of it.

    Args:
        layers: the autoencoders, from the samples upwards. Each must take what the one below gives.
        classes: add a softmax classifier on the deepest code, for so many classes; None adds none.
        classifier_decay: weight decay of the classifier's own weights.
        sample: what one sample is called in units.
        generator: for the classifier's weights; None draws fresh entropy.

    Attributes:
        layers: a list.
        trained: (L,) buffer of ones and zeros, which layers have been trained. `tinyae.training.fit_stack` sets it.
        classifier: `SoftmaxClassifier` that shares the encoder, or None.
    """

    def __init__(
        self,
        layers: Sequence[Autoencoder],
        *,
        classes: int | None = None,
        classifier_decay: float = 0.0,
        sample: str = "sample",
        generator: np.random.Generator | None = None,
    ) -> None:
        if not layers:
            raise ValueError("a stack needs at least one layer.")
        _check_chain(layers)
        downwards: list[Module] = []
        for number, layer in reversed(list(enumerate(layers))):
            downwards.append(layer.decoder)
            # A loss on logits leaves the sigmoid to itself, and the layer below wants numbers in (0, 1) again.
            if number and layer.reconstruction.name == "bce":
                downwards.append(Sigmoid())
        super().__init__(
            Sequential(*(layer.encoder for layer in layers)),
            Sequential(*downwards),
            loss=layers[0].reconstruction.name,
            sample=sample,
        )
        self.layers = list(layers)
        self.trained = Tensor(np.zeros(len(layers), np.float32))
        size = _sizes(layers[-1])[1]
        self.classifier = (
            None
            if classes is None
            else SoftmaxClassifier(self.encoder, size, classes, weight_decay=classifier_decay, generator=generator)
        )

    @property
    def is_trained(self) -> bool:
        """Whether every layer has been trained."""
        return bool(self.trained.numpy().all())

    def up_to(self, depth: int) -> Module:
        """The encoder of the lowest `depth` layers; 0 is the identity."""
        return Sequential(*(layer.encoder for layer in self.layers[:depth]))

    def extra_repr(self) -> str:
        """Shown by `repr`."""
        return f"{super().extra_repr()}, {len(self.layers)} layers"


@remembered("stacked")
def stacked_autoencoder(
    input_shape: Shape = 784,
    sizes: Sequence[int] = (200, 200),
    *,
    layer: str = "sparse",
    rho: float = 0.1,
    beta: float = 3.0,
    weight_decay: float = 3e-3,
    corruption: str = "masking",
    level: float = 0.25,
    classes: int | None = None,
    classifier_decay: float = 1e-4,
    loss: str | None = None,
    tied: bool = False,
    sample: str = "sample",
    generator: np.random.Generator | None = None,
) -> StackedAutoencoder:
    """A stack of sigmoid layers, by default the 784-200-200 network of the UFLDL exercise.

    Args:
        input_shape: shape of one sample; D is the product of its numbers.
        sizes: widths of the layers from the samples upwards.
        layer: "sparse", "denoising" or "plain".
        rho, beta, weight_decay: of sparse layers, see `SparseAutoencoder`.
        corruption, level: of denoising layers, see `denoising_autoencoder`.
        classes: for a softmax classifier on the deepest code; None adds none.
        classifier_decay: weight decay of that classifier's weights.
        loss: of every layer; None takes "half_squared_error" for sparse layers and "bce" for others.
        tied: each layer's decoder uses its encoder's weights, transposed, as in Vincent et al. 2010.
        sample: what one sample is called in units.
        generator: for all initial weights and the noise; None draws fresh entropy.
    """
    if not sizes:
        raise ValueError("sizes must name the width of at least one layer, got none.")
    rng = as_generator(generator)
    make: dict[str, Callable[..., Autoencoder]] = {
        "sparse": lambda shape, size, **common: sparse_autoencoder(
            shape, size, rho=rho, beta=beta, weight_decay=weight_decay, loss=loss or "half_squared_error", **common
        ),
        "denoising": lambda shape, size, **common: denoising_autoencoder(
            shape, size, corruption=corruption, level=level, activation="sigmoid", loss=loss or "bce", **common
        ),
        "plain": lambda shape, size, **common: basic_autoencoder(
            shape, size, activation="sigmoid", loss=loss or "bce", **common
        ),
    }
    if layer not in make:
        raise ValueError(f"unknown kind of layer {layer!r}: choose one of {', '.join(LAYERS)}.")
    shapes: list[Any] = [sample_shape(input_shape), *sizes[:-1]]
    common: dict[str, Any] = {"tied": tied, "sample": sample, "generator": rng}
    layers = [make[layer](shape, size, **common) for shape, size in zip(shapes, sizes, strict=True)]
    return StackedAutoencoder(layers, classes=classes, classifier_decay=classifier_decay, sample=sample, generator=rng)


def _sizes(layer: Autoencoder) -> tuple[int, int]:
    """(D, K) of a layer, from the dense layers of its encoder."""
    dense = [module for _, module in layer.encoder.named_modules() if isinstance(module, Dense)]
    if not dense:
        raise ValueError(f"a layer of a stack needs a Dense encoder, got {layer.encoder}.")
    return dense[0].in_features, dense[-1].out_features


def _check_chain(layers: Sequence[Autoencoder]) -> None:
    for number in range(1, len(layers)):
        gives, takes = _sizes(layers[number - 1])[1], _sizes(layers[number])[0]
        if gives != takes:
            raise ValueError(
                f"layer {number} gives codes of {gives} numbers, but layer {number + 1} takes {takes}: "
                f"make layer {number + 1} for {gives}."
            )
