"""Learning-rate schedules: the rate as a function of the step number.

A schedule is a closed form, `rate(step)`, and a counter. Making one sets the optimizer's learning rate for
step 0; call `step()` after each `optimizer.step()`, or once per epoch if the schedule counts epochs. The rate
that the optimizer had when the schedule was made is its base rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from tinyae.checks import number, whole_number
from tinyae.optim.optimizers import Optimizer, check_entries


class Schedule:
    """Base of all schedules. A subclass names its `numbers` and defines `rate`.

    Args:
        optimizer: whose `lr` to set; not L-BFGS, which finds its own step lengths.

    Attributes:
        optimizer: the optimizer.
        base_lr: its learning rate when the schedule was made.
        steps: how often `step()` was called.
        numbers: names of the attributes that hold the schedule's numbers.
    """

    numbers: ClassVar[tuple[str, ...]] = ("base_lr",)

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"a schedule needs an optimizer, got {type(optimizer).__name__}: make the optimizer first and pass it."
            )
        if optimizer.full_batch:
            raise ValueError(f"{type(optimizer).__name__} finds its own step lengths: use it without a schedule.")
        self.optimizer = optimizer
        self.base_lr = optimizer.lr
        self.steps = 0

    def rate(self, step: int) -> float:
        """The learning rate at step number `step`, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(step): define it.")

    def step(self) -> None:
        """Go on to the next step and set the optimizer's learning rate for it."""
        self.steps += 1
        self.optimizer.lr = self.rate(self.steps)

    def state_dict(self) -> dict[str, Any]:
        """The schedule's name, its numbers and where it stands."""
        return {
            "method": type(self).__name__,
            "steps": self.steps,
            **{name: getattr(self, name) for name in self.numbers},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state made by `state_dict()`, its numbers too, and set the optimizer's learning rate
        for that step.

        Raises:
            ValueError: another kind of schedule, missing or unexpected entries, or a number out of range.
                Nothing is changed then.
        """
        self._check(state)
        self._take(state)
        self.optimizer.lr = self.rate(self.steps)

    def check(self, **values: Any) -> None:
        """Raise ValueError unless the numbers are in range. A subclass adds its own and calls this."""
        number("base_lr", values["base_lr"], at_least=0.0)

    def _check(self, state: Mapping[str, Any]) -> None:
        check_entries(type(self).__name__, state, set(self.state_dict()))
        whole_number("steps", state["steps"], at_least=0)
        self.check(**{name: state[name] for name in self.numbers})

    def _take(self, state: Mapping[str, Any]) -> None:
        self.steps = int(state["steps"])
        for name in self.numbers:
            setattr(self, name, type(getattr(self, name))(state[name]))

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={getattr(self, name):g}" for name in self.numbers)
        return f"<{type(self).__name__} {numbers}: step {self.steps}, lr={self.optimizer.lr:g}>"


class StepLR(Schedule):
    """A staircase: base_lr * gamma ** floor(step / step_size).

    Args:
        optimizer: whose `lr` to set.
        step_size: steps between two reductions, at least 1.
        gamma: factor of each reduction, above 0.
    """

    numbers: ClassVar[tuple[str, ...]] = ("base_lr", "step_size", "gamma")

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        self.check(base_lr=self.base_lr, step_size=step_size, gamma=gamma)
        self.step_size = int(step_size)
        self.gamma = float(gamma)
        optimizer.lr = self.rate(0)

    def check(self, **values: Any) -> None:
        """Raise ValueError unless the numbers are in range."""
        super().check(**values)
        whole_number("step_size", values["step_size"], at_least=1)
        number("gamma", values["gamma"], above=0.0)

    def rate(self, step: int) -> float:
        """The learning rate at step number `step`, counted from 0."""
        return self.base_lr * self.gamma ** (step // self.step_size)


class CosineLR(Schedule):
    """Half a cosine: final_lr + (base_lr - final_lr) * (1 + cos(pi * step / total_steps)) / 2, then final_lr
    for ever.

    Loshchilov and Hutter (2017), without restarts. Flat at both ends, steepest in the middle.

    Args:
        optimizer: whose `lr` to set.
        total_steps: steps until the final rate is reached, at least 1.
        final_lr: the final rate, at least 0.
    """

    numbers: ClassVar[tuple[str, ...]] = ("base_lr", "total_steps", "final_lr")

    def __init__(self, optimizer: Optimizer, total_steps: int, final_lr: float = 0.0) -> None:
        super().__init__(optimizer)
        self.check(base_lr=self.base_lr, total_steps=total_steps, final_lr=final_lr)
        self.total_steps = int(total_steps)
        self.final_lr = float(final_lr)
        optimizer.lr = self.rate(0)

    def check(self, **values: Any) -> None:
        """Raise ValueError unless the numbers are in range."""
        super().check(**values)
        whole_number("total_steps", values["total_steps"], at_least=1)
        number("final_lr", values["final_lr"], at_least=0.0)

    def rate(self, step: int) -> float:
        """The learning rate at step number `step`, counted from 0."""
        if step >= self.total_steps:
            return self.final_lr
        return (
            self.final_lr + (self.base_lr - self.final_lr) * (1.0 + math.cos(math.pi * step / self.total_steps)) / 2.0
        )


class WarmupLR(Schedule):
    """A straight ramp, base_lr * (step + 1) / warmup_steps, and then another schedule or the base rate.

    The last step of the ramp has the full rate and is step 0 of `after`, so nothing jumps.

    Args:
        optimizer: whose `lr` to set.
        warmup_steps: length of the ramp, at least 1.
        after: a schedule made on the same optimizer, which this one drives: call `step()` here only.

    Example:
            cosine = CosineLR(optimizer, total_steps=900)
            schedule = WarmupLR(optimizer, warmup_steps=100, after=cosine)
    """

    numbers: ClassVar[tuple[str, ...]] = ("base_lr", "warmup_steps")

    def __init__(self, optimizer: Optimizer, warmup_steps: int, after: Schedule | None = None) -> None:
        super().__init__(optimizer)
        self.check(base_lr=self.base_lr, warmup_steps=warmup_steps)
        if after is not None and (not isinstance(after, Schedule) or after.optimizer is not optimizer):
            raise ValueError("after must be a schedule of the same optimizer: make it on that optimizer first.")
        self.warmup_steps = int(warmup_steps)
        self.after = after
        optimizer.lr = self.rate(0)

    def check(self, **values: Any) -> None:
        """Raise ValueError unless the numbers are in range."""
        super().check(**values)
        whole_number("warmup_steps", values["warmup_steps"], at_least=1)

    def rate(self, step: int) -> float:
        """The learning rate at step number `step`, counted from 0."""
        if step < self.warmup_steps:
            return self.base_lr * (step + 1) / self.warmup_steps
        return self.base_lr if self.after is None else self.after.rate(step - self.warmup_steps + 1)

    def state_dict(self) -> dict[str, Any]:
        """The schedule's name, its numbers, where it stands, and the state of `after`."""
        state = super().state_dict()
        return state if self.after is None else {**state, "after": self.after.state_dict()}

    def _check(self, state: Mapping[str, Any]) -> None:
        super()._check(state)
        if self.after is not None:
            self.after._check(state["after"])

    def _take(self, state: Mapping[str, Any]) -> None:
        super()._take(state)
        if self.after is not None:
            self.after._take(state["after"])
