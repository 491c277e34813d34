"""What all optimizers share: the flat buffers, the learning rate, and a state that can be saved and resumed.

A method adds its update rule, the numbers it was made with (`numbers`) and the buffers it remembers between
steps (`buffers`). Both go into the state, so a resumed run continues with equal bits whatever the new
optimizer was made with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from tinyae.autodiff import Tensor, current_watch
from tinyae.backend import Array
from tinyae.optim.flat import FlatParameters


class Optimizer:
    """Base of all methods: it owns the parameters' storage and their learning rate.

    A subclass names its `numbers`, adds its `buffers` and defines `update`.

    Args:
        tensors: the leaves to train, e.g. `model.parameters()`.
        lr: learning rate, above 0. Schedules, and you, may assign `optimizer.lr` at any time.

    Attributes:
        full_batch: True for a method whose step wants the loss of all data (L-BFGS).
        numbers: names of the attributes that hold the method's numbers.
        flat: the parameters and gradients as two flat buffers.
        buffers: by name, what the method remembers, in the layout of `flat`.
        steps: how many updates were made.
    """

    full_batch: ClassVar[bool] = False
    numbers: ClassVar[tuple[str, ...]] = ("lr",)

    def __init__(self, tensors: Iterable[Tensor], lr: float) -> None:
        self.lr = number("lr", lr, above=0.0)
        self.flat = FlatParameters(tensors)
        self.buffers: dict[str, Array] = {}
        self.steps = 0

    @property
    def lr(self) -> float:
        """The learning rate of the next step. Assigning checks it: finite, not negative; 0 stands still."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        # A NumPy scalar would turn float32 parameters into float64 arithmetic; number() gives a Python float.
        self._lr = number("lr", value, at_least=0.0)

    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:
        """Update every parameter from its gradient.

        Args:
            closure: optional here, required by full-batch methods: computes the loss and returns it. If
                given, clearing the gradients and `backward()` are done here.

        Returns:
            The closure's loss, a Tensor, as it was before the update; None without a closure.

        Raises:
            ValueError: a parameter got no gradient; nothing was changed.
            RuntimeError: the array of a parameter was replaced since the optimizer was made.
        """
        loss = None
        if closure is not None:
            loss = self.evaluate(closure)
            loss.backward()
        grad = self.flat.gather()
        self.steps += 1
        self.update(self.flat.data, grad)
        self.flat.bump_versions()
        watch = current_watch()
        if watch is not None:
            watch.check_update(type(self).__name__, self.flat.data, grad)
        return loss

    def evaluate(self, closure: Callable[[], Tensor]) -> Tensor:
        """Clear the gradients, call the closure, check that it returned a loss (a Tensor of one number)."""
        self.zero_grad()
        loss = closure()
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"a Tensor of shape {loss.shape}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"the closure must return the loss, a Tensor of one number, got {got}.")
        return loss

    def update(self, param: Array, grad: Array) -> None:
        """The method itself: change `param` in place, given `grad`, both (L,). `grad` is only read."""
        raise NotImplementedError(f"{type(self).__name__} has no update(param, grad): define it.")

    def zero_grad(self) -> None:
        """Forget all gradients; call it before `backward()`, which adds to what is there."""
        self.flat.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue with equal bits: the method's name, its numbers and host copies of
        its buffers.

        A buffer is one array of as many numbers as there are parameters, in their order. The parameters
        themselves belong to the model's state.
        """
        state: dict[str, Any] = {"method": type(self).__name__, "steps": self.steps}
        state.update({name: getattr(self, name) for name in self.numbers})
        state.update({name: self.flat.to_host(buffer) for name, buffer in self.buffers.items()})
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state made by `state_dict()`, its numbers too (`lr` and the others of this method).

        Raises:
            ValueError: another method, missing or unexpected entries, a buffer of the wrong size, numbers out
                of range. Nothing is changed then.
        """
        check_entries(type(self).__name__, state, {"method", "steps", *self.numbers, *self.buffers})
        arrays = {name: np.asarray(state[name]) for name in self.buffers}
        for name, array in arrays.items():
            if array.shape != (self.flat.size,) or array.dtype != self.flat.data.dtype:
                raise ValueError(
                    f"the saved {name} of {type(self).__name__} is {array.dtype} of shape {array.shape}, "
                    f"these parameters need {self.flat.data.dtype} of shape ({self.flat.size},): "
                    "load it beside the model it was saved with."
                )
        steps = whole_number("steps", state["steps"], at_least=0)
        values = {name: number(name, state[name]) for name in self.numbers}
        self.check(**values)
        self._restore(steps, values)
        for name, array in arrays.items():
            self.flat.from_host(array, self.buffers[name])

    def check(self, **values: Any) -> None:
        """Raise ValueError unless the numbers are in range. A subclass adds its own and calls this."""
        number("lr", values["lr"], at_least=0.0)

    def _restore(self, steps: int, values: Mapping[str, Any]) -> None:
        self.steps = steps
        for name, value in values.items():
            setattr(self, name, type(getattr(self, name))(value))

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={getattr(self, name):g}" for name in self.numbers)
        flat = self.flat
        held = f"{len(flat.tensors)} tensors, {flat.size:,} parameters, {flat.data.dtype} on {flat.backend.name}"
        return f"<{type(self).__name__} {numbers}: {held}>"


def number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """`value` as a finite Python float within the bounds; else a TypeError or ValueError that names it."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}.") from None
    bounds = []
    if at_least is not None:
        bounds.append((result >= at_least, f"at least {at_least:g}"))
    if above is not None:
        bounds.append((result > above, f"above {above:g}"))
    if below is not None:
        bounds.append((result < below, f"below {below:g}"))
    if not (math.isfinite(result) and all(holds for holds, _ in bounds)):
        wanted = " and ".join(words for _, words in bounds) or "finite"
        raise ValueError(f"{name} must be a finite number, {wanted}, got {value}.")
    return result


def whole_number(name: str, value: Any, *, at_least: int) -> int:
    """`value` as an int of at least `at_least`; otherwise a ValueError that names it."""
    result = number(name, value)
    if result != int(result) or result < at_least:
        raise ValueError(f"{name} must be a whole number of at least {at_least}, got {value}.")
    return int(result)


def check_entries(method: str, state: Mapping[str, Any], expected: set[str]) -> None:
    """Raise ValueError unless `state` is one of `method` and holds exactly the expected entries."""
    if state.get("method", method) != method:
        raise ValueError(
            f"this is a saved state of {state['method']}, not of {method}: make a {state['method']} to load it."
        )
    missing = sorted(expected - set(state))
    unexpected = sorted(set(state) - expected)
    if missing or unexpected:
        raise ValueError(
            f"the state does not fit {method}: missing {missing or 'nothing'}, "
            f"unexpected {unexpected or 'nothing'}. Make it with the arguments it was saved with."
        )
