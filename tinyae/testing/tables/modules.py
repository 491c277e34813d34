"""The check tables of layers and models, and the search for what has no entry."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from tinyae import losses, nn, ops
from tinyae.autodiff import Primitive, Tensor
from tinyae.data import Split
from tinyae.losses import REDUCTIONS
from tinyae.models import MODELS, Autoencoder, Batch, build
from tinyae.models.convolutional import FORMS, UPSAMPLINGS
from tinyae.models.likelihoods import LIKELIHOODS
from tinyae.nn.convolution import Convolution, ImageLayer, Pooling
from tinyae.nn.layers import Normalization
from tinyae.ops.linear import ACTIVATIONS
from tinyae.testing.verification import Domain, Function, ModuleCase, OpCase, Shape, apart, between, nonzero, real

# ---------------------------------------------------------------------------------------------------------------------
# The layers: every `nn.Module` of `tinyae.nn`, in each of its modes.
#
# There are no references here: a layer composes primitives that have them, and its forward is compared with NumPy by its
# own tests. The check is whether input and parameters get the right gradients.


def layer(
    kind: type[nn.Module],
    *arguments: Any,
    shape: tuple[int, ...] = (5, 4),
    domain: Domain = nonzero,
    training: bool = True,
    call: Function | None = None,
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
    return ModuleCase(name, build, (shape,), domain, training, call, order)


def _tied(rng: np.random.Generator) -> nn.Module:
    encoder = nn.Dense(4, 3, activation="tanh", generator=rng)
    return nn.Sequential(encoder, nn.TiedDense(encoder, activation="sigmoid"))


def _running(rng: np.random.Generator) -> nn.Module:
    norm = nn.BatchNorm(4)
    norm.running_mean.data = rng.normal(size=4).astype("float32")
    norm.running_var.data = rng.uniform(0.5, 2.0, 4).astype("float32")
    return norm


def recurrent_results(layer: Any, x: Any, **options: Any) -> Any:
    """Outputs and last states of a recurrent layer as one Tensor (N, ...)."""
    output, states = layer(x, **options)
    return ops.concatenate(ops.flatten(output), layer.flat(states), axis=1)


LAYERS: list[ModuleCase] = [
    *[layer(nn.Dense, 4, 3, activation=f, bias=b) for f in ACTIVATIONS for b in (True, False)],
    layer(nn.Dense, 4, 3, activation="tanh", shape=(2, 3, 4)),
    ModuleCase("TiedDense(source) 5x4", _tied, ((5, 4),)),
    layer(nn.Sequential, nn.Flatten(), nn.Tanh(), shape=(2, 3, 2)),
    *map(layer, (nn.Identity, nn.ReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softmax)),
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
    layer(nn.Conv2d, 4, 2, (3, 2), (2, 1), "same", activation="tanh", shape=(1, 5, 4, 4)),
    layer(nn.Conv2d, 1, 2, 2, padding=1, bias=False, activation="elu", shape=(2, 2, 3, 1)),
    layer(nn.ConvTranspose2d, 3, 2, 3, 2, 1, 1, shape=(2, 3, 2, 3)),
    layer(nn.ConvTranspose2d, 2, 4, (3, 2), 2, "same", activation="sigmoid", shape=(1, 2, 3, 2)),
    layer(nn.ConvTranspose2d, 1, 2, 2, bias=False, activation="tanh", shape=(2, 2, 2, 1)),
    layer(nn.MaxPool2d, 2, shape=(2, 4, 5, 2), domain=apart),
    layer(nn.MaxPool2d, 3, 1, 1, shape=(1, 4, 3, 2), domain=apart),
    layer(nn.AvgPool2d, 2, shape=(2, 4, 5, 2)),
    layer(nn.AvgPool2d, 3, 2, "same", shape=(1, 4, 3, 2)),
    layer(nn.Upsample, 2, shape=(2, 2, 3, 2)),
    layer(nn.Upsample, (3, 2), "bilinear", shape=(2, 2, 3, 2)),
    layer(nn.Crop, 2, 3, shape=(2, 4, 3, 2)),
    layer(nn.PixelShuffle, 2, shape=(2, 2, 3, 8)),
    layer(nn.LSTM, 1, 2, shape=(2, 3, 1), domain=real, call=recurrent_results),
    layer(nn.LSTM, 1, 2, 2, True, 0.3, peepholes=True, shape=(2, 2, 1), domain=real, call=recurrent_results, order=1),
    layer(nn.TimeDistributed, nn.Tanh(), shape=(2, 3, 2)),
]
"""Every layer. A new one is a line: `layer(nn.Mine, 4, 3, activation="tanh")`."""


# ---------------------------------------------------------------------------------------------------------------------
# The models: the whole training loss of everything in `tinyae.models.MODELS`, at small sizes.
#
# The derivative of a loss goes through every layer, so one entry checks the gradients of the input and of all parameters,
# including shared ones.

PIXELS = between(0.05, 0.95)
"""Inside (0, 1), which suits every reconstruction loss."""


def model(
    name: str,
    *,
    input_shape: Shape = (6,),
    samples: int = 5,
    domain: Domain = PIXELS,
    training: bool = True,
    order: int = 2,
    held: bool = False,
    **arguments: Any,
) -> ModuleCase:
    """One model by its name in the registry, given its builder's arguments; checked on a batch of `samples`."""
    given = {"input_shape": input_shape, **arguments}
    words = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    mode = "" if training else ", eval"
    return ModuleCase(
        f"{name}({words}) {'x'.join(map(str, (samples, *input_shape)))}{mode}",
        lambda rng: build(name, given, rng),
        ((samples, *input_shape),),
        domain,
        training,
        training_loss,
        order,
        held,
    )


def training_loss(model: Any, x: Tensor) -> Tensor:
    """The number that training makes small: a memory is given numbers, a conditional model classes 0, 1, ... as well."""
    classes = getattr(model, "classes", None)
    batch = model.batch(Split(x.data, None if classes is None else np.arange(len(x)) % classes))
    given = x
    if classes is not None:
        given = ops.concatenate(ops.reshape(x, shape=(len(x), -1)), Tensor(batch.x[:, -classes:]), axis=1)
    elif batch.x is not batch.target and not batch.future:
        given = Tensor(batch.x)
    return model.loss(Batch(given, x)).total


_LATENT: dict[str, Any] = {"sizes": (4,), "latent_size": 2}
_ONCE: dict[str, Any] = {"activation": "tanh", "samples": 2, "order": 1}
"""Models of images, only to first order: their parts are checked to second order in the other tables."""

MODELS_TABLE: list[ModuleCase] = [
    model("basic", code_size=3),
    model("basic", code_size=3, activation="identity", loss="squared_error", tied=True),
    model("basic", code_size=2, activation="tanh", loss="huber", input_shape=(3, 2)),
    model("deep", sizes=(5, 3)),
    model("deep", sizes=(4, 2), activation="tanh", loss="squared_error", output_activation="sigmoid", tied=True),
    model("sparse", code_size=3, rho=0.2, weight_decay=0.1),
    model("sparse", code_size=3, sparsity="l1", activation="sigmoid", loss="bce", tied=True, input_shape=(3, 2)),
    model("sparse", code_size=4, sparsity="topk", k=2, loss="squared_error"),
    model("sparse", code_size=3, sparsity="none", weight_decay=0.1),
    model("contractive", sizes=(3,)),
    model("contractive", sizes=(3,), jacobian="exact", activation="tanh", loss="squared_error", order=1),
    model("contractive", sizes=(4, 2), contraction=0.5, order=1),
    model("contractive", sizes=(4, 2), jacobian="hutchinson", probes=2, order=1),
    model("denoising", code_size=4),
    model("denoising", code_size=4, corruption="gaussian", level=0.3, loss="squared_error"),
    model("denoising", code_size=4, corruption="salt-and-pepper", alpha=1.0, beta=0.5, tied=True),
    model("denoising", code_size=4, training=False),
    model("stacked", sizes=(4, 3), layer="plain"),
    model("stacked", sizes=(4, 3), layer="sparse", input_shape=(3, 2)),
    model("stacked", sizes=(3,), layer="denoising", training=False),
    model("memory", count=5, code_size=3, hidden_sizes=(4,)),
    model("memory", count=5, codes="one-hot", hidden_sizes=(4,), activation="tanh", loss="squared_error"),
    model("memory", count=3, code_size=2, decoder="conv", channels=(2,), input_shape=(3, 4, 1), samples=3),
    model("memory", samples=1, count=1, codes="ones", code_size=3, hidden_sizes=()),
    model("lstm", hidden_size=2, code_size=1, input_shape=(2, 1), samples=2),
    model("lstm", hidden_size=1, mode="composite", future_steps=2, conditional=True, input_shape=(4, 1), order=1),
    model(
        "lstm",
        hidden_size=1,
        mode="predict",
        future_steps=2,
        conditional=True,
        feeding="own",
        bidirectional=True,
        num_layers=2,
        peepholes=True,
        loss="bce",
        input_shape=(4, 1),
        samples=2,
        order=1,
    ),
    *[model("vae", **_LATENT, likelihood=name) for name in LIKELIHOODS],
    model("vae", **_LATENT, activation="tanh", beta=4.0, free_bits=0.1, input_shape=(3, 2)),
    model("vae", **_LATENT, activation="tanh", likelihood="continuous-bernoulli", importance_samples=3),
    model("cvae", classes=3, **_LATENT),
    model("cvae", classes=2, **_LATENT, activation="tanh", beta=2.0, likelihood="gaussian-element", input_shape=(3, 2)),
    model("vqvae", sizes=(4,), positions=2, codebook_size=3, code_features=2, activation="tanh", held=True),
    model(
        "vqvae",
        sizes=(),
        positions=3,
        codebook_size=4,
        code_features=1,
        commitment=0.5,
        loss="squared_error",
        input_shape=(3, 2),
        training=False,
        held=True,
    ),
    *[
        model("conv", form=form, channels=(2, 3), upsampling=how, input_shape=(3, 5, 1), **_ONCE)
        for form in FORMS
        for how in UPSAMPLINGS
    ],
    model("conv", channels=(3,), code_size=2, loss="squared_error", kernel_size=2, input_shape=(3, 2, 2), samples=3),
    model("conv-denoising", channels=(2,), corruption="masking", beta=0.5, input_shape=(3, 4, 1), samples=2),
    model("conv-vae", channels=(2, 2), latent_size=2, activation="tanh", input_shape=(3, 5, 1), samples=2),
    model(
        "conv-vae",
        form="keras",
        channels=(2,),
        latent_size=2,
        likelihood="gaussian-element",
        input_shape=(2, 3, 2),
        order=1,
    ),
    *[  # behind a linear code a batch normalization would take out what the code's bias adds
        model("deep", sizes=(4, 2), activation="tanh", code_activation="tanh", normalization=how, order=1)
        for how in ("batch", "layer")
    ],
    model("vae", **_LATENT, activation="tanh", normalization="batch", order=1),
    model(
        "conv", form="keras", channels=(2,), input_shape=(3, 4, 1), pooling="average", normalization="layer", **_ONCE
    ),
    model("conv", code_size=0, channels=(2,), input_shape=(3, 4, 1), normalization="batch", **_ONCE),
]
"""Every model. A new one is a line: `model("mine", code_size=3)`."""


# ---------------------------------------------------------------------------------------------------------------------
# Completeness: a search of the package for everything that needs an entry in a table.
#
# Nothing is listed by hand, so a primitive, loss, layer or model that somebody adds without an entry is found, and a test
# names it.

PACKAGES = ("tinyae.autodiff", "tinyae.ops", "tinyae.losses", "tinyae.nn", "tinyae.models")
"""Where primitives are looked for."""

BASES = frozenset({nn.Module, nn.Noise, ImageLayer, Convolution, Pooling, Normalization})
"""Classes that compute nothing until a subclass says what."""

HELPERS = frozenset({"REDUCTIONS", "Loss", "check_shapes", "reduce", "unit"})
"""What `tinyae.losses` exports besides losses."""


def modules_of(package: str) -> Iterator[ModuleType]:
    """A package and every module in it, imported."""
    root = importlib.import_module(package)
    yield root
    for info in pkgutil.walk_packages(root.__path__, package + "."):
        yield importlib.import_module(info.name)


def discovered_primitives() -> dict[int, Primitive]:
    """Every Primitive that a module of the engine's packages holds, by identity."""
    values = [v for package in PACKAGES for module in modules_of(package) for v in vars(module).values()]
    return {id(value): value for value in values if isinstance(value, Primitive)}


def discovered_layers() -> list[type[nn.Module]]:
    """Every layer that is defined in `tinyae.nn`, exported or not."""
    return _classes("tinyae.nn", nn.Module)


def _classes(package: str, base: type) -> list[type]:
    found = {
        value: None
        for module in modules_of(package)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base) and value not in BASES
        if value.__module__.startswith(package)
    }
    return list(found)


def missing_entries(cases: list[OpCase], layers: list[ModuleCase], models: list[ModuleCase]) -> list[str]:
    """A sentence for everything without an entry: what it is, and the line to add. `cases` are of operations and losses."""
    covered = {id(case.op) for case in cases}
    lines = [
        f"the primitive {p.name}: add `*cases(ops.{p.name}, [((3, 4),), ...], reference)` to tables/ops.py"
        for key, p in discovered_primitives().items()
        if key not in covered
    ]
    for name in [name for name in losses.__all__ if name not in HELPERS]:
        loss, add = getattr(losses, name), f"add `*each_reduction(losses.{name}, reference)` to tables/ops.py"
        known = {case.params.get("reduction", "per_sample") for case in cases if case.op is loss}
        if not known:
            lines.append(f"the loss {name}: {add}")
        elif "reduction" in inspect.signature(loss).parameters:
            lines += [f"the loss {name} with reduction {each!r}: {add}" for each in REDUCTIONS if each not in known]
    rng = np.random.default_rng(0)
    checked = {type(part) for case in layers for _, part in case.build(rng).named_modules()}
    lines += [
        f"the layer nn.{kind.__name__}: add `layer(nn.{kind.__name__}, ...)` to tables/modules.py"
        for kind in discovered_layers()
        if kind not in checked
    ]
    built = [case.build(rng) for case in models]
    recipes = {module.recipe["model"] for module in built if isinstance(module, Autoencoder) and module.recipe}
    unknown = [name for name in MODELS if name not in recipes]
    lines += [f"the model {name!r}: add `model({name!r}, ...)` to tables/modules.py" for name in unknown]
    lines += [
        f"the class models.{kind.__name__}: add a `model(...)` that builds one to tables/modules.py"
        for kind in _classes("tinyae.models", Autoencoder)
        if kind not in {type(module) for module in built}
    ]
    return lines
