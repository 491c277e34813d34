"""One long array for all parameters, and one for their gradients.

A network has many small parameters, and updating each by itself costs more calls than arithmetic. So the
values are moved, once, into one flat buffer, and every Tensor gets a view of its part in its own shape.
`backward()` copies each gradient straight into a second buffer of the same layout; an update then is one
operation on the whole.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend import Array, backend_of, check_same_device

_ALIGNMENT = 64
"""Bytes at which each parameter starts: matrix products on a GPU are slower from an odd address."""


class FlatParameters:
    """Leaf Tensors whose values and gradients live in two flat buffers.

    Args:
        tensors: leaves (`requires_grad=True`) of one floating dtype on one device. One given twice counts
            once. Their arrays are replaced by views of the new buffer; the arrays they had are left as they
            are.

    Attributes:
        tensors: the leaves, each once, in the order given.
        backend: the backend of their device.
        data: (L,) all values; L is `size` plus zeros that pad every parameter to a multiple of 64 bytes.
        grad: (L,) all gradients in the same layout, current after `gather()`. A `leaf.grad` may be a view of
            it, so its values change at the next `backward()`: keep `leaf.grad.numpy().copy()` if you need
            them longer.
        size: how many numbers the parameters hold, without the padding.

    Raises:
        TypeError: something that is no leaf Tensor, a complex or mixed dtype, mixed devices.
        ValueError: no tensors at all.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.tensors = _leaves(tensors)
        first = self.tensors[0]
        self.backend = backend_of(first.data)
        _check_alike(self.tensors)
        slots = []
        step = _ALIGNMENT // first.dtype.itemsize
        length = 0
        for tensor in self.tensors:
            slots.append(slice(length, length + tensor.size))
            length += -(-tensor.size // step) * step
        xp = self.backend.xp
        self.size = sum(tensor.size for tensor in self.tensors)
        self.data: Array = xp.zeros(length, dtype=first.dtype)
        self.grad: Array = xp.zeros(length, dtype=first.dtype)
        self._slots = slots
        shaped = list(zip(slots, self.tensors, strict=True))
        self._views = [self.data[slot].reshape(tensor.shape) for slot, tensor in shaped]
        self._gradient_views = [self.grad[slot].reshape(tensor.shape) for slot, tensor in shaped]
        for tensor, view, gradient in zip(self.tensors, self._views, self._gradient_views, strict=True):
            xp.copyto(view, tensor.data)
            tensor._data = view
            tensor._buffer = gradient

    def new_buffer(self) -> Array:
        """A buffer of zeros in the same layout, for momentum and the like."""
        return self.backend.xp.zeros_like(self.data)

    def gather(self) -> Array:
        """Bring all gradients into the flat buffer and return it.

        Most are there already. A second `backward()`, clipping, or an assignment to `leaf.grad` puts an array
        of its own into a leaf; those are copied.

        Raises:
            ValueError: a parameter without a gradient, or with one of a wrong shape; the buffers are left
                alone.
            RuntimeError: a parameter whose array is no longer the view made here.
        """
        self.check_views()
        for position, (tensor, buffer) in enumerate(zip(self.tensors, self._gradient_views, strict=True)):
            grad = tensor.grad
            if grad is None:
                raise ValueError(
                    f"parameter {position} of shape {tensor.shape} got no gradient: check that the loss "
                    "depends on it and that backward() ran, or freeze it and leave it out of the optimizer."
                )
            if grad._data is not buffer:
                check_same_device("the optimizer", (buffer, grad._data))
                if grad.shape != tensor.shape:
                    raise ValueError(
                        f"parameter {position} has shape {tensor.shape}, but its grad has {grad.shape}: "
                        "assign a gradient of the same shape."
                    )
        for tensor, buffer in zip(self.tensors, self._gradient_views, strict=True):
            if tensor.grad is not None and tensor.grad._data is not buffer:
                self.backend.xp.copyto(buffer, tensor.grad._data)
        return self.grad

    def check_views(self) -> None:
        """Raise RuntimeError if a leaf got another array: an update of the buffer would pass it by."""
        for position, (tensor, view) in enumerate(zip(self.tensors, self._views, strict=True)):
            if tensor._data is not view:
                raise RuntimeError(
                    f"the array of parameter {position} of shape {tensor.shape} was replaced after the "
                    "optimizer was made: make the optimizer after to(device) and after assigning .data, and "
                    "only one for each parameter; load_state_dict() copies in place and is fine."
                )

    def zero_grad(self) -> None:
        """Forget all gradients: the next `backward()` writes instead of adding."""
        for tensor in self.tensors:
            tensor.grad = None

    def bump_versions(self) -> None:
        """Tell every leaf that its values changed in place, so that older graphs refuse to run backward."""
        for tensor in self.tensors:
            tensor.bump_version()

    def to_host(self, buffer: Array) -> np.ndarray:
        """A (`size`,) host copy of a buffer, without the padding. On a GPU this waits."""
        host = self.backend.to_host(buffer)
        return np.concatenate([host[slot] for slot in self._slots])

    def from_host(self, values: np.ndarray, buffer: Array) -> None:
        """Write (`size`,) host values into a buffer, cast to its dtype; the reverse of `to_host`."""
        padded = np.zeros(buffer.shape, dtype=buffer.dtype)
        start = 0
        for slot in self._slots:
            stop = start + slot.stop - slot.start
            padded[slot] = values[start:stop]
            start = stop
        self.backend.xp.copyto(buffer, self.backend.to_device(padded))


def unique(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The Tensors in order, each once. Raises TypeError for a single Tensor, a module or anything else."""
    if isinstance(tensors, Tensor) or not isinstance(tensors, Iterable):
        raise TypeError(
            f"expected a list of Tensors, got {type(tensors).__name__}: pass model.parameters(), or [tensor]."
        )
    found: dict[int, Tensor] = {}
    for position, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"expected Tensors, got {type(tensor).__name__} at position {position}: pass model.parameters()."
            )
        found[id(tensor)] = tensor
    return list(found.values())


def _leaves(tensors: Iterable[Tensor]) -> list[Tensor]:
    leaves = unique(tensors)
    if not leaves:
        raise ValueError(
            "there is nothing to optimize: the list of tensors is empty. Pass model.parameters(), "
            "and check that not all of them are frozen."
        )
    for position, tensor in enumerate(leaves):
        if not tensor.is_leaf:
            raise TypeError(
                f"tensor {position} of shape {tensor.shape} is the result of an operation: "
                "pass the leaves it was computed from."
            )
        if not tensor.requires_grad:
            raise TypeError(
                f"tensor {position} of shape {tensor.shape} is frozen or a constant: pass only tensors with "
                "requires_grad=True, e.g. [p for p in model.parameters() if p.requires_grad]."
            )
    return leaves


def _check_alike(tensors: list[Tensor]) -> None:
    check_same_device("an optimizer", [tensor.data for tensor in tensors])
    first = tensors[0]
    for position, tensor in enumerate(tensors):
        if tensor.dtype.kind != "f":
            raise TypeError(f"tensor {position} is {tensor.dtype}: optimizers take real floating-point parameters.")
        if tensor.dtype != first.dtype:
            raise TypeError(
                f"tensor 0 is {first.dtype}, but tensor {position} is {tensor.dtype}: "
                "convert them to one dtype, or make two optimizers."
            )
