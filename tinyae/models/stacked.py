"""The stacked autoencoder: deep, but trained one layer at a time; and a softmax classifier on top of it.

Each layer is an autoencoder with one hidden layer. The first is trained on the samples, the second on the codes of the
first, and so on; trained layers are frozen. In 2006 this made the training of deep networks possible (Hinton and
Salakhutdinov 2006; Bengio et al. 2007); today it is a form of pre-training on unlabeled data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any

import numpy as np

from tinyae import checks
from tinyae.autodiff import Tensor
from tinyae.backend import as_generator
from tinyae.checks import checked, choose
from tinyae.data import Split
from tinyae.losses import Loss, softmax_cross_entropy, weight_decay
from tinyae.models.autoencoder import RECONSTRUCTIONS, Autoencoder, Batch, in_batches, remembered
from tinyae.models.denoising import denoising_autoencoder
from tinyae.models.dense import Shape, basic_autoencoder, sample_shape
from tinyae.models.settings import check_weight, passes_on
from tinyae.models.sparse import sparse_autoencoder
from tinyae.nn import NOISES, Dense, Identity, Module, Sequential, Sigmoid

LAYERS: dict[str, Callable[..., Autoencoder]] = {
    "sparse": sparse_autoencoder, "denoising": denoising_autoencoder, "plain": basic_autoencoder
}  # fmt: skip
"""The builders of a stack's layers by their kind."""


class StackedAutoencoder(Autoencoder):
    """A stack of autoencoders: encode with all from the first to the last, decode in reverse order.

    encoder = f_L(... f_1(x)),   decoder = g_1(... g_L(code))

    where layer l has encoder f_l and decoder g_l. The layers share their parameters with the stack: training a layer trains
    a part of it.

    Args:
        layers: the autoencoders, from the input to the code. Each must take the codes of the one before.
        classes: number of classes of a softmax classifier on the deepest code; None adds none.
        classifier_decay: lambda, the weight decay of the classifier's own weights.
        generator: for the classifier's weights; None draws fresh entropy.
        settings: as for `Autoencoder`.

    Attributes:
        layers: a list.
        trained: (L,) buffer, 1 for each layer that has been trained. `tinyae.training.fit_stack` sets it.
        classifier: `SoftmaxClassifier` that shares the encoder, or None.
    """

    @passes_on(Autoencoder, without=("loss",))
    def __init__(
        self,
        layers: Sequence[Autoencoder],
        *,
        classes: int | None = None,
        classifier_decay: float = 1e-4,
        generator: np.random.Generator | None = None,
        **settings: Any,
    ) -> None:
        if not layers:
            raise ValueError("a stack needs at least one layer, got none: write [layer, layer].")
        _check_chain(layers)
        downwards: list[Module] = []
        for number, layer in reversed(list(enumerate(layers))):
            downwards.append(layer.decoder)
            # With a loss on logits the decoder has no sigmoid, but the layer below takes codes in (0, 1).
            if number and layer.reconstruction.name == "bce":
                downwards.append(Sigmoid())
        classifier_decay = checks.number("classifier_decay", classifier_decay, at_least=0.0)
        super().__init__(
            Sequential(*(layer.encoder for layer in layers)),
            Sequential(*downwards),
            loss=layers[0].reconstruction.name,
            **settings,
        )
        self.layers = list(layers)
        self.trained = Tensor(np.zeros(len(layers), np.float32))
        size = _sizes(layers[-1])[1]
        self.classifier = (
            None
            if classes is None
            else SoftmaxClassifier(self.encoder, size, classes, weight_decay=classifier_decay, generator=generator)
        )

    def objective(self, batch: Batch, *, generator: np.random.Generator | None = None) -> Loss:
        """The reconstruction loss; given a generator, a classifier and labels, also the accuracy."""
        loss = super().objective(batch, generator=generator)
        if generator is not None and self.classifier is not None and batch.labels is not None:
            right = self.classifier(batch.x).data.argmax(axis=1) == batch.labels
            loss.measured["accuracy"] = (right.mean(), "fraction of samples")
        return loss

    def batch(self, samples: Split) -> Batch:
        """Samples with their labels, for the classifier."""
        return replace(super().batch(samples), labels=samples.y)

    @property
    def is_trained(self) -> bool:
        """Whether every layer has been trained."""
        return bool(self.trained.numpy().all())

    def up_to(self, depth: int) -> Module:
        """The encoder of the lowest `depth` layers; 0 is the identity."""
        return Sequential(*(layer.encoder for layer in self.layers[:depth]))


@remembered("stacked")
@passes_on(StackedAutoencoder)
def stacked_autoencoder(
    input_shape: Shape = 784,
    sizes: Sequence[int] = (200, 200),
    *,
    layer: Annotated[str, LAYERS] = "denoising",
    rho: float | None = None,
    beta: float | None = None,
    weight_decay: float | None = None,
    corruption: Annotated[str, tuple(NOISES)] | None = None,
    level: float | None = None,
    loss: Annotated[str, tuple(RECONSTRUCTIONS)] | None = None,
    tied: bool = False,
    sample: str = "sample",
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> StackedAutoencoder:
    """A stack of sigmoid layers, by default denoising ones (Vincent et al. 2010); sparse ones of this size are UFLDL's exercise.

    Args:
        input_shape: shape of one sample; D is the product of its numbers.
        sizes: widths of the layers, from the input to the code.
        layer: kind of every layer.
        rho: of sparse layers: target mean activation; by default 0.1.
        beta: of sparse layers: weight of the penalty; by default 3.
        weight_decay: of sparse layers: lambda; by default 0.003.
        corruption: of denoising layers: kind of noise; by default "masking".
        level: of denoising layers: fraction of corrupted elements, or the standard deviation of Gaussian noise; by default
            0.25.
        loss: reconstruction loss of every layer; by default "half_squared_error" for sparse layers, "bce" for others.
        tied: each layer's decoder uses its encoder's weights, transposed, as in Vincent et al. 2010.
        generator: for all initial weights and the noise; None draws fresh entropy.
        settings: of `StackedAutoencoder`.
    """
    if not len(sizes):
        raise ValueError("sizes must list at least one layer, got none: write sizes=(200, 200).")
    rng = as_generator(generator)
    build = LAYERS[choose("kind of layer", layer, LAYERS)]
    of_layer: dict[str, Any] = {"tied": tied, "sample": sample, "generator": rng, "activation": "sigmoid"}
    of_layer["loss"] = loss or ("half_squared_error" if layer == "sparse" else "bce")
    usual: dict[str, dict[str, Any]] = {
        "sparse": {"rho": 0.1, "beta": 3.0, "weight_decay": 3e-3},
        "denoising": {"corruption": "masking", "level": 0.25},
    }
    values = {"rho": rho, "beta": beta, "weight_decay": weight_decay, "corruption": corruption, "level": level}
    for kind, known in usual.items():
        given = [name for name in known if values[name] is not None]
        if given and kind != layer:
            raise ValueError(
                f"{given[0]} is of {kind} layers, got layer={layer!r}: leave it out, or write layer={kind!r}."
            )
        if kind == layer:
            of_layer |= known | {name: values[name] for name in given}
    shapes: list[Shape] = [sample_shape(input_shape), *sizes[:-1]]
    layers = [build(shape, size, **of_layer) for shape, size in zip(shapes, sizes, strict=True)]
    return StackedAutoencoder(layers, sample=sample, generator=rng, **settings)


def _sizes(layer: Autoencoder) -> tuple[int, int]:
    """(D, K) of a layer, from the dense layers of its encoder."""
    dense = [module for _, module in layer.encoder.named_modules() if isinstance(module, Dense)]
    if not dense:
        raise ValueError(f"a layer of a stack needs a Dense encoder, got {layer.encoder}.")
    return dense[0].in_features, dense[-1].out_features


def _check_chain(layers: Sequence[Autoencoder]) -> None:
    for number, (below, above) in enumerate(pairwise(map(_sizes, layers)), start=1):
        gives, takes = below[1], above[0]
        if gives != takes:
            raise ValueError(
                f"layer {number} outputs codes of size {gives}, but layer {number + 1} takes {takes}: "
                f"build layer {number + 1} for {gives}."
            )


# ---------------------------------------------------------------------------------------------------------------------
# Softmax regression on codes: the simplest classifier, to see how well codes separate classes.


class SoftmaxClassifier(Module):
    """p(class | x) = softmax(features(x) W + b).

    Args:
        features: module from x (N, ...) to features (N, K), e.g. an encoder; `nn.Identity()` for plain vectors.
        size: K.
        classes: number of classes.
        weight_decay: lambda in the term lambda / 2 * sum of squared W; weights of the features are excluded.
        generator: for the initial W; None draws fresh entropy.

    With frozen features (`classifier.features.freeze()`) only W and b are trained, and the features of a sample stay the
    same to the last bit; otherwise the whole network is fine-tuned.
    """

    @checked
    def __init__(
        self,
        features: Module | None,
        size: int,
        classes: int,
        *,
        weight_decay: float = 0.0,
        generator: np.random.Generator | None = None,
    ) -> None:
        if classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes, got {classes}.")
        self.weight_decay = check_weight("weight_decay", weight_decay, "1e-4 is a start")
        self.features = Identity() if features is None else features
        self.output = Dense(size, classes, generator=as_generator(generator))

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.output.out_features

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of x (N, ...)."""
        return self.output(self.features(x))

    def loss(self, x: Tensor, labels: Any) -> Loss:
        """Softmax cross-entropy in nats per sample, and the weight decay of W. Labels (N,) are class numbers."""
        terms = {"cross-entropy": softmax_cross_entropy(self(x), labels)}
        if self.weight_decay:
            terms["weight decay"] = self.weight_decay * weight_decay(self.output.weight)
        return Loss(terms, "nats per sample")

    def predict(self, x: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """The most probable class number (N,) of each sample x (N, ...), in batches and in evaluation mode."""
        if not len(x):
            return np.zeros(0, np.int64)
        return in_batches(self, lambda batch: self(batch.x), Batch(x), batch_size).argmax(axis=1)

    def accuracy(self, x: np.ndarray, labels: np.ndarray) -> float:
        """The fraction of samples whose most probable class is the true one."""
        return float(np.mean(self.predict(x) == check_labels(labels, len(x), self.classes)))


def check_labels(labels: np.ndarray | None, samples: int, classes: int, name: str = "labels") -> np.ndarray:
    """Class numbers (N,) as int64; raises ValueError unless there is one in 0 ... classes - 1 for each sample."""
    if labels is None:
        raise ValueError(
            "a classifier needs a class number for each sample, got no labels: use a data set with labels."
        )
    labels = np.asarray(labels)
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be {samples} whole numbers, one for each sample, got shape {labels.shape} of {labels.dtype}."
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"{name} must lie in 0 ... {classes - 1}, got {labels.min()} to {labels.max()}: count classes from 0, or "
            "build the classifier for more of them."
        )
    return labels.astype(np.int64)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """counts[i, j]: how many samples of class i were classified as class j; (classes, classes), int64.

    Raises:
        ValueError: labels or predictions (N,) that are not integers in 0 ... classes - 1.
    """
    labels = check_labels(labels, len(labels), classes)
    predicted = check_labels(predicted, len(labels), classes, "predictions")
    counts = np.bincount((labels * classes + predicted).astype(np.intp), minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)
