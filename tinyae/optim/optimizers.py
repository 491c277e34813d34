"""Gradient methods on flat buffers: SGD, Adam, AdamW, RMSprop, Adagrad; and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tinyae.autodiff import Tensor, constant, observers
from tinyae.backend import CPU, Array, backend_of, check_same_device
from tinyae.checks import check_kind, number, whole_number

# ---------------------------------------------------------------------------------------------------------------------
# What optimizers and schedules share: settings with checked ranges, and a state that can be saved and restored.

_NOT_NEGATIVE = ("lr", "base_lr", "final_lr", "weight_decay", "gradient_tolerance", "loss_tolerance")
_COUNTS = ("step_size", "total_steps", "warmup_steps", "max_iterations", "history")

RANGES: dict[str, Callable[[str, object], float]] = {
    **dict.fromkeys(_NOT_NEGATIVE, partial(number, at_least=0.0)),
    **dict.fromkeys(("eps", "gamma"), partial(number, above=0.0)),
    **dict.fromkeys(("momentum", "beta1", "beta2", "alpha"), partial(number, at_least=0.0, below=1.0)),
    **dict.fromkeys(_COUNTS, partial(whole_number, at_least=1)),
    "nesterov": partial(check_kind, kind=bool),
}
"""The check of each number, `check(name, value)`. Numbers with other names, in your own methods, must be finite."""
_NEEDS = {"nesterov": "momentum"}
"""What has no effect without another number above 0."""


class Stateful:
    """An object with numbers as attributes and a step counter, both part of its state.

    Args:
        numbers: the settings by name.

    Attributes:
        numbers: their names.
        steps: number of steps taken.
    """

    def __init__(self, **numbers: float) -> None:
        self.steps = 0
        self.numbers = tuple(numbers)
        self.set_numbers(numbers)

    def checked(self, values: Mapping[str, object]) -> dict[str, float]:
        """The numbers among `values`; raises ValueError if one is out of range, or lacks another that it needs."""
        for name, other in _NEEDS.items():
            if values.get(name) and not values.get(other):
                raise ValueError(f"{name}={values[name]} needs {other} above 0: pass e.g. {other}=0.9.")
        return {name: RANGES.get(name, number)(name, values[name]) for name in self.numbers}

    def set_numbers(self, values: Mapping[str, object]) -> None:
        """Set the numbers as attributes; if one is out of range, none of them."""
        for name, value in self.checked(values).items():
            setattr(self, name, value)

    def state_dict(self) -> dict[str, object]:
        """Everything needed to continue: the name of the class, the numbers, and the step counter."""
        return {"method": type(self).__name__, "steps": self.steps, **{n: getattr(self, n) for n in self.numbers}}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore a state returned by `state_dict()`, including the numbers.

        Raises ValueError for the state of another class, missing or unexpected entries, numbers out of range, and arrays of
        the wrong size; nothing is changed then.
        """
        self._check(state)
        self._take(state)

    def _check(self, state: Mapping[str, object]) -> None:
        """Raise ValueError unless `state` can be restored."""
        method = type(self).__name__
        if not isinstance(state, Mapping):
            raise TypeError(
                f"a state of {method} is a dictionary, got {type(state).__name__}: give what state_dict() returned."
            )
        if state.get("method", method) != method:
            raise ValueError(
                f"this is a saved state of {state['method']}, not of {method}: create one of {state['method']} to load it."
            )
        expected = self.state_dict().keys()
        if expected != state.keys():
            missing, unexpected = sorted(expected - state.keys()), sorted(state.keys() - expected)
            raise ValueError(
                f"the state does not match {method}: missing {missing or 'nothing'}, "
                f"unexpected {unexpected or 'nothing'}. Create it with the same arguments as the saved one."
            )
        whole_number("steps", state["steps"], at_least=0)
        self.checked(state)

    def _take(self, state: Mapping[str, object]) -> None:
        self.steps = whole_number("steps", state["steps"], at_least=0)
        self.set_numbers(state)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(f'{name}={getattr(self, name):g}' for name in self.numbers)}"


# ---------------------------------------------------------------------------------------------------------------------
# What all optimizers share: the flat buffers and the learning rate.


class Optimizer(Stateful):
    """Base class of the optimizers. A subclass passes its buffers and numbers to `__init__` and defines `update`.

    Args:
        tensors: the leaves to train, e.g. `model.parameters()`.
        buffers: names of the arrays that the method keeps between steps.
        numbers: the settings; lr above 0. `optimizer.lr` may be assigned at any time.

    Attributes:
        full_batch: True for a method whose step needs the loss of all data (L-BFGS).
        flat: the parameters and gradients as two flat buffers.
        buffers: the arrays by name, in the layout of `flat`, initially zero.
    """

    full_batch: ClassVar[bool] = False
    _lr = 1.0

    def __init__(self, tensors: Iterable[Tensor], buffers: Iterable[str] = (), **numbers: float) -> None:
        if "lr" in numbers:
            number("lr", numbers["lr"], above=0.0)
        super().__init__(**numbers)
        self.flat = FlatParameters(tensors)
        self.buffers: dict[str, Array] = {name: self.flat.backend.xp.zeros_like(self.flat.data) for name in buffers}

    @property
    def lr(self) -> float:
        """The learning rate of the next step: a finite number of at least 0."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        # With a NumPy scalar, float32 parameters would be updated in float64; the check returns a Python float.
        self._lr = number("lr", value, at_least=0.0)

    def step(self) -> None:
        """Update every parameter from its gradient.

        Raises ValueError if a parameter has no gradient, and RuntimeError if the array of a parameter was replaced since
        the optimizer was created; nothing is changed then.
        """
        grad = self.flat.gather()
        self.steps += 1
        self.update(self.flat.data, grad)
        self.flat.bump_versions()
        for observer in observers():
            observer.updated(type(self).__name__, self.flat.data, grad)

    def update(self, param: Array, grad: Array) -> None:
        """The method itself: change `param` in place, given `grad`, both (L,). `grad` must not be changed."""
        raise NotImplementedError(f"{type(self).__name__} has no update(param, grad): define it.")

    def zero_grad(self) -> None:
        """Drop all gradients, so that the next `backward()` does not add to them."""
        for tensor in self.flat.tensors:
            tensor.grad = None

    def state_dict(self) -> dict[str, object]:
        """Everything needed to continue exactly: the method's name, its numbers and NumPy copies of its buffers.

        A buffer has one number for each parameter, in their order. The parameters are part of the model's state.
        """
        return super().state_dict() | {name: self.flat.to_host(buffer) for name, buffer in self.buffers.items()}

    def _check(self, state: Mapping[str, object]) -> None:
        super()._check(state)
        for name in self.buffers:
            array = np.asarray(state[name])
            if array.shape != (self.flat.size,) or array.dtype != self.flat.data.dtype:
                raise ValueError(
                    f"the saved {name} of {type(self).__name__} is {array.dtype} of shape {array.shape}, "
                    f"these parameters need {self.flat.data.dtype} of shape ({self.flat.size},): "
                    "load it for the model it was saved with."
                )

    def _take(self, state: Mapping[str, object]) -> None:
        super()._take(state)
        for name, buffer in self.buffers.items():
            self.flat.from_host(np.asarray(state[name]), buffer)

    def __repr__(self) -> str:
        flat = self.flat
        held = f"{len(flat.tensors)} tensors, {flat.size:,} parameters, {flat.data.dtype} on {flat.backend.name}"
        return f"{super().__repr__()}: {held}>"


# ---------------------------------------------------------------------------------------------------------------------
# Stochastic gradient descent, with optional momentum.


class SGD(Optimizer):
    """param <- param - lr * velocity,  velocity <- momentum * velocity + grad.

    Momentum is Polyak's heavy ball (1964). With `nesterov` (Sutskever et al. 2013), the step is along
    grad + momentum * velocity. As in PyTorch, the learning rate multiplies the velocity, not the gradient, so that a change
    of `lr` takes effect immediately.

    Args:
        tensors: the leaves to train.
        lr: learning rate, above 0.
        momentum: fraction of the velocity kept from step to step, at least 0, below 1.
        nesterov: use Nesterov momentum; needs momentum above 0.
        weight_decay: adds weight_decay * param to the gradient (the penalty weight_decay / 2 * ||param||^2), at least 0.
    """

    momentum: float
    nesterov: bool
    weight_decay: float

    def __init__(
        self,
        tensors: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        buffers = ["velocity"] if momentum else []
        super().__init__(tensors, buffers, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)

    def update(self, param: Array, grad: Array) -> None:
        if self.weight_decay:
            grad = grad + self.weight_decay * param
        if self.momentum:
            velocity = self.buffers["velocity"]
            velocity *= self.momentum
            velocity += grad
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        param -= self.lr * grad


# ---------------------------------------------------------------------------------------------------------------------
# Adam and AdamW: running mean of the gradient, divided by the square root of its running mean square.
#
# Both use the backend's fused `adam` kernel, which takes the bias corrections of Algorithm 1 as two scalars: with
# c1 = 1 - beta1^t and c2 = 1 - beta2^t,
#
#     lr * (mean / c1) / (sqrt(square / c2) + eps)  =  step * mean / (sqrt(square) + eps_t),
#     step = lr * sqrt(c2) / c1,   eps_t = eps * sqrt(c2).


class Adam(Optimizer):
    """param <- param - lr * mhat / (sqrt(vhat) + eps), mhat and vhat the running means of grad and grad^2.

    The means start at zero and are corrected for that bias. Kingma and Ba (2015), Algorithm 1.

    Args:
        tensors: the leaves to train.
        lr: learning rate, above 0: roughly the size of one step of each parameter.
        betas: decay rates of the running means of the gradient and of its square, in [0, 1).
        eps: added to the denominator, above 0.
        weight_decay: adds weight_decay * param to the gradient, at least 0, and so to the moments, unlike in `AdamW`.
    """

    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        tensors: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise ValueError(f"betas must be a pair of numbers such as (0.9, 0.999), got {betas!r}.") from None
        buffers = ["mean", "square"]
        super().__init__(tensors, buffers, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)

    def update(self, param: Array, grad: Array) -> None:
        if self.weight_decay and not self.decoupled:
            grad = grad + self.weight_decay * param
        root = math.sqrt(1.0 - self.beta2**self.steps)
        self.flat.backend.adam(
            param,
            grad,
            self.buffers["mean"],
            self.buffers["square"],
            step=self.lr * root / (1.0 - self.beta1**self.steps),
            beta1=self.beta1,
            beta2=self.beta2,
            eps=self.eps * root,
            decay=self.lr * self.weight_decay if self.decoupled else 0.0,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: each step also shrinks param by the factor 1 - lr * weight_decay.

    Loshchilov and Hutter (2019), Algorithm 2, with the schedule multiplier folded into `lr` as PyTorch does.

    Args:
        tensors: the leaves to train.
        lr, betas, eps: as in `Adam`.
        weight_decay: the decay rate, multiplied by the learning rate, at least 0.
    """

    decoupled = True

    def __init__(
        self,
        tensors: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(tensors, lr, betas, eps, weight_decay)


# ---------------------------------------------------------------------------------------------------------------------
# RMSprop and Adagrad: a learning rate for each parameter, from its previous gradients.


class RMSprop(Optimizer):
    """square <- alpha * square + (1 - alpha) * grad^2,  param <- param - lr * grad / (sqrt(square) + eps).

    Hinton, Neural Networks for Machine Learning (2012), lecture 6e, where alpha is 0.9; the default is PyTorch's.

    Args:
        tensors: the leaves to train.
        lr: learning rate, above 0.
        alpha: decay rate of the running mean square, at least 0, below 1.
        eps: added to the denominator, above 0.
    """

    alpha: float
    eps: float

    def __init__(self, tensors: Iterable[Tensor], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__(tensors, ["square"], lr=lr, alpha=alpha, eps=eps)

    def update(self, param: Array, grad: Array) -> None:
        square = self.buffers["square"]
        square *= self.alpha
        square += (1.0 - self.alpha) * grad * grad
        param -= self.lr * grad / (self.flat.backend.xp.sqrt(square) + self.eps)


class Adagrad(Optimizer):
    """total <- total + grad^2,  param <- param - lr * grad / (sqrt(total) + eps).

    Duchi, Hazan and Singer (2011), diagonal form. Step sizes only decrease, and less so for parameters with rare gradients.

    Args:
        tensors: the leaves to train.
        lr: learning rate, above 0; the default is PyTorch's.
        eps: added to the denominator, above 0.
    """

    eps: float

    def __init__(self, tensors: Iterable[Tensor], lr: float = 1e-2, eps: float = 1e-10) -> None:
        super().__init__(tensors, ["total"], lr=lr, eps=eps)

    def update(self, param: Array, grad: Array) -> None:
        total = self.buffers["total"]
        total += grad * grad
        param -= self.lr * grad / (self.flat.backend.xp.sqrt(total) + self.eps)


# ---------------------------------------------------------------------------------------------------------------------
# Gradient clipping: a gradient that is too long is shortened; its direction is kept.


def clip_grad_norm(tensors: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale the gradients of all tensors together so that their joint Euclidean norm is at most `max_norm`.

    Each gradient is multiplied by min(1, max_norm / (norm + 1e-6)) (Pascanu, Mikolov and Bengio 2013; PyTorch's form). Call
    it between `backward()` and `step()`. Tensors without a gradient are skipped, and duplicates are counted once. Scaled
    gradients are written to new arrays or to the optimizer's buffer. Nothing waits for the device. Finite gradients keep
    their direction, however large they are; if one is not finite, neither are all scaled gradients.

    Args:
        tensors: the leaves, e.g. `model.parameters()`.
        max_norm: the largest norm allowed, above 0.

    Returns:
        The norm before clipping, a 0-d Tensor on the device; infinite if it is too large for the dtype.

    Raises:
        ValueError: no tensor has a gradient, or `max_norm` is not a finite number above 0.
        MixedDevicesError: gradients on two devices.
    """
    limit = number("max_norm", max_norm, above=0.0)
    leaves = [(tensor, tensor._grad._data) for tensor in unique(tensors) if tensor._grad is not None]
    if not leaves:
        raise ValueError(
            "none of these tensors has a gradient: call clip_grad_norm after backward() and before step()."
        )
    check_same_device("clip_grad_norm", [grad for _, grad in leaves])
    xp = backend_of(leaves[0][1]).xp
    norm, length, unit = _norm([grad.reshape(-1) for _, grad in leaves])
    factor = xp.minimum(limit / (length + 1e-6 / unit), unit)
    for tensor, grad in leaves:
        if grad is not tensor._buffer:
            tensor.grad = constant((_in_units(grad, unit) * factor).astype(grad.dtype, copy=False))
    for tensor, grad in leaves:  # last, because the loop above may read it as the gradient of another leaf
        if grad is tensor._buffer:
            xp.multiply(_in_units(grad, unit), factor, out=grad)
    return constant(norm)


def _norm(grads: list[Array]) -> tuple[Any, Any, Any]:
    """The joint norm of flat arrays; the same divided by a unit; and the unit, 1 or a power of two if the numbers are large.

    The squares of numbers beyond 1e19 overflow in float32, those below 1e-23 vanish. Then, as in the nrm2 of BLAS, all are
    divided by their largest magnitude first; here by a power of two near it, which rounds nothing. On a GPU that is done
    always, since to look at the norm would be to wait for it.
    """
    backend = backend_of(grads[0])
    xp = backend.xp

    def root(parts: list[Array]) -> Any:
        return xp.sqrt(sum(xp.dot(part, part) for part in parts))

    if backend is CPU:
        with np.errstate(over="ignore"):
            norm = root(grads)
        if 1e-15 < norm < math.inf:
            return norm, norm, 1
    largest = xp.stack([xp.abs(grad).max() for grad in grads if grad.size] or [xp.zeros(())]).max()
    usable = xp.isfinite(largest) & (largest > 0)
    scale = xp.exp2(xp.floor(xp.log2(xp.where(usable, largest, 1.0))))
    unit = xp.maximum(scale, 1.0)
    length = root([grad / scale for grad in grads]) * (scale / unit)
    with np.errstate(over="ignore"):
        return length * unit, length, unit


def _in_units(grad: Array, unit: Any) -> Array:
    return grad if isinstance(unit, int) else grad / unit


# ---------------------------------------------------------------------------------------------------------------------
# One flat array for all parameters, and one for their gradients.
#
# A network has many small parameters, and updating them one by one costs more calls than arithmetic. So every Tensor becomes
# a view of one buffer, `backward()` copies each gradient into a second one, and an update is a single operation on both.

_ALIGNMENT = 64
"""Each parameter starts at a multiple of this many bytes: GPU matrix products are slower at unaligned addresses."""


class FlatParameters:
    """Leaf Tensors whose values and gradients live in two flat buffers.

    Args:
        tensors: leaves (`requires_grad=True`) of the same floating-point dtype and device; duplicates are ignored. Their
            arrays are replaced by views of the new buffer.

    Attributes:
        tensors: the leaves, each once, in the order given.
        backend: the backend of their device.
        data: (L,) all values; L is `size` plus zeros that pad every parameter to a multiple of 64 bytes.
        grad: (L,) all gradients in the same layout, current after `gather()`. Who reads `leaf.grad` gets a copy, which stays as
            it is and is then the gradient: change that one.
        size: number of elements of the parameters, without the padding.

    Raises:
        TypeError: something that is not a leaf Tensor, a complex or mixed dtype, mixed devices.
        ValueError: no tensors at all.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self.tensors = _leaves(tensors)
        dtype, self.backend = self.tensors[0].dtype, backend_of(self.tensors[0].data)
        step, length = _ALIGNMENT // dtype.itemsize, 0
        self._slots: list[slice] = []
        for tensor in self.tensors:
            self._slots.append(slice(length, length + tensor.size))
            length += -(-tensor.size // step) * step
        xp = self.backend.xp
        self.size = sum(tensor.size for tensor in self.tensors)
        self.data: Array = xp.zeros(length, dtype=dtype)
        self.grad: Array = xp.zeros(length, dtype=dtype)
        self._views, self._gradient_views = (
            [buffer[slot].reshape(tensor.shape) for slot, tensor in zip(self._slots, self.tensors, strict=True)]
            for buffer in (self.data, self.grad)
        )
        for tensor, view, gradient in zip(self.tensors, self._views, self._gradient_views, strict=True):
            xp.copyto(view, tensor.data)
            tensor._data = view
            tensor._buffer = gradient

    def __getstate__(self) -> dict[str, object]:
        """For a copy or pickle, whose arrays no longer share memory: without views, so that a step of it raises."""
        return vars(self) | {"_views": [None] * len(self._views)}

    def gather(self) -> Array:
        """Return the flat buffer with all gradients, after copying those that are not there yet.

        After a second `backward()`, clipping, or a use of `leaf.grad`, a gradient is in another array.

        Raises ValueError if a parameter has no gradient or one of the wrong shape, and RuntimeError if its array was
        replaced; the buffers are not changed then.
        """
        self.check_views()
        elsewhere = []
        for tensor, buffer in zip(self.tensors, self._gradient_views, strict=True):
            grad = tensor._grad
            if grad is None or grad._data is not buffer:
                elsewhere.append((buffer, self._checked_gradient(tensor)))
        for buffer, values in elsewhere:
            self.backend.xp.copyto(buffer, values)
        return self.grad

    def _checked_gradient(self, tensor: Tensor) -> Array:
        """The gradient of a leaf. Raises ValueError if there is none, or if it has the wrong shape."""
        position = next(i for i, other in enumerate(self.tensors) if other is tensor)
        if (grad := tensor._grad) is None:
            raise ValueError(
                f"parameter {position} of shape {tensor.shape} got no gradient: check that the loss "
                "depends on it and that backward() ran, or freeze it and leave it out of the optimizer."
            )
        check_same_device("the optimizer", (self.data, grad._data))
        if grad.shape != tensor.shape:
            raise ValueError(
                f"parameter {position} has shape {tensor.shape}, but its grad has {grad.shape}: "
                "assign a gradient of the same shape."
            )
        return grad._data

    def check_views(self) -> None:
        """Raise RuntimeError if the array of a leaf was replaced: an update of the buffer would not change it."""
        for position, (tensor, view) in enumerate(zip(self.tensors, self._views, strict=True)):
            if tensor._data is not view:
                raise RuntimeError(
                    f"the array of parameter {position} of shape {tensor.shape} was replaced after the optimizer was "
                    "created: create the optimizer after to(device) and after assigning .data, only one for each parameter, "
                    "and a new one for a copy of the model; load_state_dict() copies in place and is safe."
                )

    def bump_versions(self) -> None:
        """Record that the values of all leaves changed in place, so that backward() through older graphs raises."""
        for tensor in self.tensors:
            tensor.bump_version()

    def to_host(self, buffer: Array) -> np.ndarray:
        """A NumPy copy (`size`,) of a buffer, without the padding. On a GPU this waits for the device."""
        host = self.backend.to_host(buffer)
        return np.concatenate([host[slot] for slot in self._slots])

    def from_host(self, values: np.ndarray, buffer: Array) -> None:
        """Write (`size`,) NumPy values into a buffer, in its dtype; the inverse of `to_host`."""
        padded = np.zeros(buffer.shape, dtype=buffer.dtype)
        start = 0
        for slot, tensor in zip(self._slots, self.tensors, strict=True):
            padded[slot] = values[start : start + tensor.size]
            start += tensor.size
        self.backend.xp.copyto(buffer, self.backend.to_device(padded))


def unique(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The Tensors in order, each once. Raises TypeError for anything but Tensors in an iterable."""
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
    """The Tensors, each once. Raises an error unless all are leaves of the same floating-point dtype and device."""
    leaves = unique(tensors)
    if not leaves:
        raise ValueError("there is nothing to optimize: pass model.parameters(), and check that not all are frozen.")
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
        if tensor.dtype.kind != "f":
            raise TypeError(f"tensor {position} is {tensor.dtype}: optimizers take real floating-point parameters.")
        if tensor.dtype != leaves[0].dtype:
            raise TypeError(
                f"tensor 0 is {leaves[0].dtype}, but tensor {position} is {tensor.dtype}: "
                "convert them to one dtype, or use two optimizers."
            )
    check_same_device("an optimizer", [tensor.data for tensor in leaves])
    return leaves
