"""`Parameter`: the Tensor that training changes."""

from __future__ import annotations

from typing import Any

from tinyae.autodiff import Node, Tensor
from tinyae.backend import Array, backend_of


class Parameter(Tensor):
    """A leaf Tensor that a `Module` finds among its attributes and an optimizer updates in place.

    Args:
        data: array or nested list of floating-point numbers of any shape. It is copied: training never writes
            into the caller's array.
        dtype: convert to this dtype; nested lists become float32 without it.

    `Module.freeze()` takes the parameter's node away, which makes it a constant until `Module.unfreeze()`. A
    deep copy or pickle keeps values and frozen state; the gradient stays behind.

    Raises:
        TypeError: whole numbers or booleans, which have no gradient.
    """

    __slots__ = ()

    def __init__(self, data: Any, *, dtype: Any = None) -> None:
        super().__init__(data, requires_grad=True, dtype=dtype)
        self._data = backend_of(self._data).xp.array(self._data, order="C")

    def __repr__(self) -> str:
        frozen = "" if self.requires_grad else ", frozen"
        return f"Parameter(shape={self.shape}, dtype={self.dtype}{frozen})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A node points weakly at its leaf; copied as it stands, the copy's gradients would go to the original.
        return _rebuild, (self._data, self.requires_grad)


def freeze(parameter: Parameter) -> None:
    """Make `parameter` a constant: no gradient is computed for it and an old one is dropped."""
    parameter.node = None
    parameter.grad = None


def unfreeze(parameter: Parameter) -> None:
    """Make a frozen `parameter` a leaf again; one that is not frozen is left alone."""
    if parameter.node is None:
        parameter.node = Node(leaf=parameter)


def _rebuild(data: Array, trainable: bool) -> Parameter:
    parameter = Parameter(data)
    if not trainable:
        freeze(parameter)
    return parameter
