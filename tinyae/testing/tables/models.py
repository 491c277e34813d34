"""The models: the whole training loss of everything in `tinyae.models.MODELS`, at small sizes.

The derivative of a loss goes through every layer, so one line here checks that all of them are joined up: input and
every parameter, shared ones with all their uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.models import ConditionalVariationalAutoencoder, build
from tinyae.models.conv_pair import FORMS, UPSAMPLINGS
from tinyae.models.likelihoods import LIKELIHOODS
from tinyae.testing.module_case import ModuleCase
from tinyae.testing.op_case import Domain, Shape, between

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
    if isinstance(model, ConditionalVariationalAutoencoder):
        return model.loss(model.inputs_for(x, np.arange(len(x)) % model.classes), x).total
    given = model.inputs_for(x.data)
    return (model.loss(x) if given is x.data or model.takes_lengths else model.loss(Tensor(given), x)).total


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
    *[model("vae", sizes=(4,), latent_size=2, likelihood=name) for name in LIKELIHOODS],
    model("vae", sizes=(4,), latent_size=2, activation="tanh", beta=4.0, free_bits=0.1, input_shape=(3, 2)),
    model("vae", sizes=(4,), latent_size=2, activation="tanh", likelihood="continuous-bernoulli", importance_samples=3),
    model("cvae", classes=3, sizes=(4,), latent_size=2),
    model(
        "cvae",
        classes=2,
        sizes=(4,),
        latent_size=2,
        activation="tanh",
        beta=2.0,
        likelihood="gaussian-element",
        input_shape=(3, 2),
    ),
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
    *[  # Once: that the parts can be differentiated twice stands in their own tables, and here it takes long.
        model(
            "conv",
            form=form,
            channels=(2, 3),
            upsampling=how,
            activation="tanh",
            input_shape=(3, 5, 1),
            samples=2,
            order=1,
        )
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
]
"""Every model. A new one is a line: `model("mine", code_size=3)`."""
