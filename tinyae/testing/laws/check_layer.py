"""`check_layer`: every law that fits, in one line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from tinyae.backend import Backend
from tinyae.nn import Module
from tinyae.testing.laws import derivatives, states, symmetries
from tinyae.testing.laws.point import Point, draws, in_mode


def check_layer(
    layer: Any,
    *inputs: Any,
    lengths: Any = None,
    call: Callable[..., Any] | None = None,
    modes_differ: bool = False,
    batch: bool = True,
    order: int = 2,
    device: Backend | None = None,
) -> list[str]:
    """Ask a layer, model or function for every law that fits it; returns the names of those that hold.

    Args:
        layer: a Module of any dtype, or a function of Tensors. It is left as it was.
        inputs: arrays to call it with; floating-point ones are differentiated, so it must be smooth there (for relu,
            away from 0).
        lengths: (N,) of sequences (N, T, D): the layer is called with `lengths=` and asked for padding invariance.
        call: from (layer, *inputs) to one Tensor; by default `layer(*inputs)`.
        modes_differ: whether it is meant to behave differently in training (dropout, noise, batch statistics): then both
            modes are checked, and it must differ.
        batch: whether samples stand along the first axis and are treated alike; False leaves permutations out.
        order: 1 leaves the double gradient out.
        device: another device that must agree, such as `strict_device()`.

    Raises:
        LawError: names the law that is broken, its formula, and the numbers.

    Example:
        >>> import numpy as np
        >>> from tinyae import nn
        >>> len(check_layer(nn.Dense(3, 2), np.ones((4, 3))))
        9
    """
    if lengths is not None:
        inputs = (*inputs, np.asarray(lengths))
        call = call or (lambda layer, *given: layer(*given[:-1], lengths=given[-1]))
    module = layer if isinstance(layer, Module) else None
    options = {"call": call}
    held: list[str] = []

    def ask(law: Any, *arguments: Any, **more: Any) -> None:
        law(layer, *arguments, **more)
        if law.law not in held:
            held.append(law.law)

    ask(derivatives.assert_inputs_unchanged, *inputs, **options)
    for training in (True, False) if module is not None and modes_differ else (None,):
        with in_mode(module, training) if module is not None and training is not None else nullcontext():
            ask(derivatives.assert_gradient, *inputs, **options)
            if order > 1:
                ask(derivatives.assert_double_gradient, *inputs, **options)
            ask(derivatives.assert_backward_linear, *inputs, **options)
            if derivatives.is_linear(Point(layer, inputs, call)):
                ask(derivatives.assert_adjoint, *inputs, **options)
            ask(derivatives.assert_gradients_unshared, *inputs, **options)
            random = module is not None and draws(module) and training is not False
            if batch and not random and np.ndim(inputs[0]) and len(inputs[0]) > 1:
                ask(symmetries.assert_permutation_equivariant, *inputs, **options)
    if lengths is not None:
        ask(symmetries.assert_padding_invariant, *inputs, call=call)
    if module is not None:
        ask(states.assert_modes_agree, *inputs, differ=modes_differ, **options)
        ask(states.assert_save_load, *inputs, **options)
    if device is not None:
        with in_mode(module, False) if module is not None and draws(module) else nullcontext():
            ask(states.assert_device_agreement, *inputs, backend=device, **options)
    return held
