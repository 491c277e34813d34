"""The models: the whole training loss of everything in `tinyae.models.MODELS`, at small sizes.

The derivative of a loss goes through every layer, so one line here checks that all of them are joined up: input and
every parameter, shared ones with all their uses.
"""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import Tensor
from tinyae.models import build
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
    )


def training_loss(model: Any, x: Tensor) -> Tensor:
    """The number that training makes small. A memory is given numbers, and the samples as the target."""
    given = model.inputs_for(x.data)
    return (model.loss(x) if given is x.data else model.loss(Tensor(given), x)).total


MODELS_TABLE: list[ModuleCase] = [
    model("basic", code_size=3),
    model("basic", code_size=3, activation="identity", loss="squared_error", tied=True),
    model("basic", code_size=2, activation="tanh", loss="huber", input_shape=(3, 2)),
    model("deep", sizes=(5, 3)),
    model("deep", sizes=(4, 2), activation="tanh", loss="squared_error", output_activation="sigmoid", tied=True),
]
"""Every model. A new one is a line: `model("mine", code_size=3)`."""
