"""`Sequential`: modules one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

from tinyae.nn.module import Module


class Sequential(Module):
    """f_n(... f_2(f_1(x))). Parts are named by position: "0.weight", "2.bias".

    Args:
        modules: the modules in the order of their application. None at all is the identity.

    `model[0]`, `model[-1]`, `len(model)` and `for layer in model` work; a slice is a Sequential of the same
    modules, sharing their parameters.
    """

    def __init__(self, *modules: Module) -> None:
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(
                    f"Sequential: argument {i} must be a Module, got {type(module).__name__}: "
                    "write Sequential(layer, layer), Sequential(*list_of_layers), and nn.ReLU() rather than ops.relu."
                )
        self.layers = list(modules)

    def forward(self, x: Any) -> Any:
        """Apply every module in turn."""
        for layer in self.layers:
            x = layer(x)
        return x

    def entries(self) -> Iterable[tuple[str, Any]]:
        """The attributes, with the modules named by position alone."""
        for name, value in vars(self).items():
            if value is self.layers:
                yield from ((str(i), layer) for i, layer in enumerate(self.layers))
            else:
                yield name, value

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[index]
