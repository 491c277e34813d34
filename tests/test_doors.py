"""Doors: whatever is given to a constructor or to `fit` that is not of the declared kind is one sentence with its name."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tinyae as ta
from tinyae import checks, models, nn, optim
from tinyae.checks import checked
from tinyae.models import MODELS, PCA, AnomalyDetector
from tinyae.training import LinearProbe, fit, fit_classifier, fit_stack

BAD = ("x", None, -1, 1.5, True, [1], math.nan)
X = np.random.default_rng(0).random((20, 6)).astype(np.float32)
LABELED = ta.data.Split(X, np.arange(20) % 2)


def model() -> Any:
    return models.basic_autoencoder(6, 2, generator=np.random.default_rng(0))


def pair(**more: Any) -> dict[str, Any]:
    return {"encoder": nn.Dense(6, 2), "decoder": nn.Dense(2, 6)} | more


def adam() -> optim.Adam:
    return optim.Adam(model().parameters())


SEQUENCE = {"features": 2, "hidden_size": 3}
SQUARE = {"kernel_size": 2}
CHANNELS = {"in_channels": 2, "out_channels": 2, "kernel_size": 3}
DOORS: dict[Callable[..., Any], Callable[[], dict[str, Any]]] = {
    nn.Dense: lambda: {"in_features": 3, "out_features": 2}, nn.Conv2d: lambda: CHANNELS, nn.ConvTranspose2d: lambda: CHANNELS,
    nn.AvgPool2d: lambda: SQUARE, nn.MaxPool2d: lambda: SQUARE, nn.Upsample: lambda: {"scale_factor": 2},
    nn.PixelShuffle: lambda: {"scale_factor": 2}, nn.Crop: lambda: {"height": 2, "width": 2}, nn.TopK: lambda: {"k": 2},
    nn.BatchNorm: lambda: {"features": 3}, nn.LayerNorm: lambda: {"features": 3}, nn.Softmax: dict, nn.Noise: dict,
    nn.Dropout: lambda: {"rate": 0.5}, nn.MaskingNoise: lambda: {"rate": 0.5}, nn.GaussianNoise: lambda: {"std": 0.5},
    nn.SaltAndPepperNoise: lambda: {"rate": 0.5}, nn.TiedDense: lambda: {"source": nn.Dense(3, 2)},
    nn.LSTM: lambda: {"input_size": 3, "hidden_size": 4}, nn.LSTMLayer: lambda: {"input_size": 3, "hidden_size": 4},
    **dict.fromkeys((optim.Adam, optim.AdamW, optim.Adagrad, optim.RMSprop, optim.LBFGS), lambda: {"tensors": model().parameters()}),
    optim.SGD: lambda: {"tensors": model().parameters(), "lr": 0.1, "momentum": 0.5},
    optim.StepLR: lambda: {"optimizer": adam(), "step_size": 3}, optim.CosineLR: lambda: {"optimizer": adam(), "total_steps": 3},
    optim.WarmupLR: lambda: {"optimizer": adam(), "warmup_steps": 3},
    PCA: lambda: {"code_size": 2}, AnomalyDetector: lambda: {"model": model()}, models.CodeNeighbors: lambda: {"model": model()},
    **dict.fromkeys((models.Autoencoder, models.ContractiveAutoencoder, models.SparseAutoencoder), pair),
    models.ConvAutoencoder: lambda: pair(code_shape=(2,)), models.Codebook: lambda: {"size": 3, "features": 2},
    models.DenoisingAutoencoder: lambda: pair(noise=nn.GaussianNoise(0.3)), models.LSTMAutoencoder: lambda: SEQUENCE,
    **dict.fromkeys((models.VariationalAutoencoder, models.ImportanceWeightedAutoencoder), lambda: pair(encoder=nn.Dense(6, 4))),
    models.ConditionalVariationalAutoencoder: lambda: pair(classes=3), models.SequenceEncoder: lambda: SEQUENCE,
    models.SequenceDecoder: lambda: SEQUENCE | {"code_size": 2}, models.StackedAutoencoder: lambda: {"layers": [model()]},
    models.ImageMemory: lambda: {"decoder": nn.Dense(2, 6), "codes": "learned", "count": 4, "code_size": 2},
    models.SoftmaxClassifier: lambda: {"features": None, "size": 3, "classes": 2}, LinearProbe: dict,
    models.VectorQuantizedAutoencoder: lambda: pair(codebook=models.Codebook(3, 2)),
    **{MODELS[name].builder: dict for name in MODELS},
    models.conv_autoencoder: lambda: {"input_shape": (8, 8, 1)}, models.conv_denoising_autoencoder: lambda: {"input_shape": (8, 8, 1)},
    models.conv_variational_autoencoder: lambda: {"input_shape": (8, 8, 1)}, models.lstm_autoencoder: lambda: {"input_shape": (5, 2)},
    models.image_memory: lambda: {"input_shape": (8, 8, 1), "count": 4},
    models.deep_autoencoder: lambda: {"input_shape": 6, "sizes": (4, 2)},
    fit: lambda: {"model": model(), "train": X, "epochs": 1, "batch_size": 10, "progress": False},
    fit_stack: lambda: {"model": models.stacked_autoencoder(6, (2,)), "train": X, "epochs": 1, "progress": False},
    fit_classifier: lambda: {"classifier": models.SoftmaxClassifier(None, 6, 2), "train": LABELED, "epochs": 1, "progress": False},
}  # fmt: skip
"""Each public constructor, builder and way to train, and arguments that it takes."""

OTHER_NAMES = {
    "dropout": "rate", "level": "rate|std|level", "tensors": "Tensors", "corruption": "noise", "feeding": "feeding",
    "code_size": "sizes|in_features|out_features", "codebook_size": "size", "classes": "out_features", "size": "in_features",
    "input_shape": "shape",
    "hidden_sizes": "sizes", "recurrent_initializer": "initializer", "code_activation": "activation",
    "output_activation": "activation",
}  # fmt: skip
"""Arguments that a layer inside knows by another name."""
UNUSED = {("stacked_autoencoder", "corruption"), ("stacked_autoencoder", "level"), ("image_memory", "upsampling"),
          ("StackedAutoencoder", "generator")}  # fmt: skip
"""Arguments of parts that the arguments above leave out."""


def legal(value: Any, parameter: inspect.Parameter) -> bool:
    """Whether the annotation of an argument names the kind of a value: then it may be taken."""
    kind = str(parameter.annotation)
    return (
        (value is None and ("None" in kind or "Any" in kind))
        or (value is True and "bool" in kind)
        or (value == "x" and kind == "str")
        or (value == -1 and parameter.name in ("axis", "low", "forget_bias"))
        or (value == 1.5 and "float" in kind)
        or (value == [1] and ("Sequence" in kind or "Shape" in kind))
    )


def questions() -> Iterator[Any]:
    for door, arguments in DOORS.items():
        parameters = inspect.signature(door).parameters.values()
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        yield pytest.param(door, arguments, named, id=door.__name__)


@pytest.mark.parametrize(("door", "arguments", "parameters"), list(questions()))
def test_a_wrong_kind_is_a_sentence_with_the_name_of_the_argument(door, arguments, parameters):
    for parameter in parameters:
        for value in BAD:
            try:
                door(**(arguments() | {parameter.name: value}))
            except (TypeError, ValueError) as error:
                name, told = parameter.name, str(error)
                names = "|".join({name, name.replace("_", " "), OTHER_NAMES.get(name, name)})
                assert re.search(rf"\b({names})\b", told), (name, value, told)
                raw = "not supported between|not iterable|has no attribute|cannot convert|could not convert|unhashable"
                assert not re.search(raw, told), (parameter.name, value, told)
            else:
                unused = (door.__name__, parameter.name) in UNUSED
                assert unused or legal(value, parameter), (parameter.name, value, "was taken")


@pytest.mark.parametrize(("act", "told"), [
    (lambda: fit(model(), X, optimizer="adam"), "optimizer must be a tinyae.optim.Optimizer or None, got 'adam'"),
    (lambda: fit(model(), X, callbacks=print), "callbacks must be a list of functions, got <built-in function print>"),
    (lambda: fit(model(), X, epochs="2"), "epochs must be a whole number, got '2'"),
    (lambda: fit(model(), X, seed=-1), "seed must be a whole number of at least 0, got -1"),
    (lambda: fit(model(), X, schedule="cosine"), r"schedule must have a method step\(\), got 'cosine'"),
    (lambda: fit(model(), X, seed=10**400), "seed must be a finite number, got a whole number of 401 digits"),
    (lambda: checks.number("lr", Fraction(10**400)), "lr must be a finite number, got 10+... .401 characters."),
    (lambda: checks.number("lr", 10**5000), "lr must be a finite number, got a whole number of 5,001 digits"),
    (lambda: checks.whole_number("seed", 2.5, at_least=0, advice="2"), "seed must be a whole number of at least 0, got 2.5: 2"),
    (lambda: checks.choose("size", 10**5000, [1]), "unknown size a whole number of 5,001 digits: choose one of 1"),
    (lambda: checks.check_kind("tied", 10**5000, bool), "tied must be True or False, got a whole number of 5,001 digits"),
    (lambda: ta.data.load("optdigits", progress="no"), "progress must be True or False, got 'no'"),
    (lambda: ta.data.load_folder(".", gray="no"), "gray must be True or False, got 'no'"),
    (lambda: ta.data.read_table("t.csv", header="no"), "header must be True or False or None, got 'no'"),
    (lambda: ta.nn.Dense(1, 1).train("no"), "mode must be True or False, got 'no'"),
    (lambda: ta.Tensor([1.0], requires_grad="no"), "requires_grad must be True or False, got 'no'"),
    (lambda: ta.Tensor([1.0], requires_grad=True).sum().backward(retain_graph="no"), "retain_graph must be True or False, got 'no'"),
    (lambda: ta.Tensor([1.0], requires_grad=True).sum().backward(create_graph=2), "create_graph must be True or False, got 2"),
    (lambda: ta.grad(*2 * (ta.Tensor([1.0], requires_grad=True),), allow_unused="no"), "allow_unused must be True or False, got 'no'"),
    (lambda: ta.ops.cumsum(X, axis=0, reverse="no"), "reverse must be True or False, got 'no'"),
    (lambda: ta.ops.logsumexp(X, axis=0, keepdims="no"), "keepdims must be True or False, got 'no'"),
    (lambda: nn.LSTMLayer(6, 2)(X[:, None], reverse="no"), "lstm: reverse must be True or False, got 'no'"),
    (lambda: ta.plots.loss_curves([{"epoch": 1, "train_loss": 1.0}], log_scale="no"), "log_scale must be True or False or None, got 'no'"),
    (lambda: ta.training.LinearProbe().fit(X, X, progress="no"), "progress must be True or False, got 'no'"),
    (lambda: ta.training.Run.open("run", write="no"), "write must be True or False, got 'no'"),
    (lambda: ta.testing.gradcheck(ta.ops.exp, [X], raise_on_failure="no"), "raise_on_failure must be True or False, got 'no'"),
    (lambda: checks.number("lr", b"2"), "lr must be a number, got bytes"),
    (lambda: checks.number("lr", np.bool_(True)), "lr must be a number, got bool"),
    (lambda: ta.profile("vae").__enter__(), "profile: model must be a tinyae.nn.Module or None, got 'vae'"),
    (lambda: ta.detect_anomaly(model()).__enter__(), "detect_anomaly: infinity must be True or False, got Autoencoder"),
    (lambda: AnomalyDetector(model(), X), "quantile must be a number, got ndarray"),
    (lambda: models.deep_autoencoder((30,), 16), "sizes must be a list of whole numbers, got 16"),
    (lambda: models.basic_autoencoder(None), "input_shape must be a whole number or a list of whole numbers, got None"),
    (lambda: models.basic_autoencoder(6, betta=1), r"__init__\(\) got an unexpected keyword argument 'betta'"),
])  # fmt: skip
def test_what_people_write(act, told):
    with pytest.raises((TypeError, ValueError), match=told):
        act()


def test_what_a_door_takes_it_hands_on_as_it_was():
    history = fit(model(), X, epochs=2.0, batch_size=np.int64(10), seed=np.uint8(3), progress=False)
    assert history["epoch"] == [1, 2]
    assert checks.whole_number("seed", 2**53 + 1, at_least=0) == 2**53 + 1
    assert np.array_equal(models.basic_autoencoder(np.int64(6), np.int32(2)).encode(X).shape, (20, 2))


def test_names_that_only_a_type_checker_knows_are_left_alone():
    def mine(code_size: int, other: Unknown) -> int:  # type: ignore[name-defined]  # noqa: F821
        return code_size

    assert checked(mine)(1, other="x") == 1
    with pytest.raises(TypeError, match="code_size must be a whole number"):  # the others are checked
        checked(mine)("x", other=3)
    assert checked(lambda *parts, **named: (parts, named))(1, a=2) == ((1,), {"a": 2})
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'other'"):
        checked(mine)(1)


def test_a_representation_says_what_it_is_and_whether_it_is_fitted():
    pca, detector = PCA(2), AnomalyDetector(model(), 0.9)
    assert (repr(pca), repr(pca.fit(X))) == ("PCA(2: not fitted)", "PCA(2: fitted to 6 features)")
    assert repr(detector) == "AnomalyDetector(Autoencoder, quantile=0.9: not fitted)"
    fitted = r"AnomalyDetector\(Autoencoder, quantile=0.9: threshold [\d.]+ per sample\)"
    assert re.fullmatch(fitted, repr(detector.fit(X)))
