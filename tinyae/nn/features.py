"""What every layer of a model makes of an input, by the layer's name: the numbers behind a picture of feature maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from tinyae.autodiff import Tensor, constant, no_grad
from tinyae.backend import CPU, backend_of
from tinyae.nn.modes import evaluating
from tinyae.nn.observe import observe_calls

if TYPE_CHECKING:
    from tinyae.nn.module import Module


def layer_outputs(model: Module, x: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """The outputs of all inner modules for a batch x (N, ...), as host arrays by dotted name, in the order of calls.

    The model is called once, in evaluation mode, with nothing recorded. Of a module that is called several times the last
    output counts; modules that are not called, and outputs that are no single Tensor, are left out.

    >>> import numpy as np
    >>> from tinyae import nn
    >>> model = nn.Sequential(nn.Dense(4, 3, activation="relu"), nn.Dense(3, 2))
    >>> {name: y.shape for name, y in layer_outputs(model, np.ones((5, 4), "float32")).items()}
    {'0': (5, 3), '1': (5, 2)}
    """
    like = next((parameter.data for parameter in model.parameters()), None)
    backend = CPU if like is None else backend_of(like)
    batch = constant(backend.to_device(x, x.dtype if like is None else like.dtype))
    found: dict[int, Any] = {}

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            found[id(module)] = output.data

    with evaluating(model), no_grad(), observe_calls(note):
        model(batch)
    names = {id(module): name for name, module in model.named_modules() if name}
    return {names[key]: backend.to_host(value) for key, value in found.items() if key in names}
