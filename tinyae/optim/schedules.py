"""Learning-rate schedules: the rate as a function of the step number.

A schedule is a closed form, `rate(step)`, and a counter. Making one sets the optimizer's learning rate for
step 0; call `step()` after each `optimizer.step()`, or once per epoch if the schedule counts epochs. The rate
that the optimizer had when the schedule was made is its base rate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tinyae.optim.optimizers import Optimizer, Stateful


class Schedule(Stateful):
    """Base of all schedules. A subclass names its `numbers` and defines `rate`.

    Args:
        optimizer: whose `lr` to set; not L-BFGS, which finds its own step lengths.
        numbers: what the schedule is made with.

    Attributes:
        optimizer: the optimizer.
        base_lr: its learning rate when the schedule was made.
        steps: how often `step()` was called.
    """

    base_lr: float

    def __init__(self, optimizer: Optimizer, **numbers: float) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"a schedule needs an optimizer, got {type(optimizer).__name__}: make the optimizer first and pass it."
            )
        if optimizer.full_batch:
            raise ValueError(f"{type(optimizer).__name__} finds its own step lengths: use it without a schedule.")
        super().__init__(base_lr=optimizer.lr, **numbers)
        self.optimizer = optimizer
        optimizer.lr = self.rate(0)

    def rate(self, step: int) -> float:
        """The learning rate at step number `step`, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(step): define it.")

    def step(self) -> None:
        """Go on to the next step and set the optimizer's learning rate for it."""
        self.steps += 1
        self.optimizer.lr = self.rate(self.steps)

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take over a state made by `state_dict()`, its numbers too, and set the optimizer's learning rate for its step.

        Raises:
            ValueError: another kind of schedule, missing or unexpected entries, or a number out of range. Nothing is
                changed then.
        """
        super().load_state_dict(state)
        self.optimizer.lr = self.rate(self.steps)

    def __repr__(self) -> str:
        return f"{super().__repr__()}: step {self.steps}, lr={self.optimizer.lr:g}>"


class StepLR(Schedule):
    """A staircase: base_lr * gamma ** floor(step / step_size).

    Args:
        optimizer: whose `lr` to set.
        step_size: steps between two reductions, at least 1.
        gamma: factor of each reduction, above 0.
    """

    step_size: int
    gamma: float

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer, step_size=step_size, gamma=gamma)

    def rate(self, step: int) -> float:
        """The learning rate at step number `step`, counted from 0."""
        return self.base_lr * self.gamma ** (step // self.step_size)


class CosineLR(Schedule):
    """Half a cosine: final_lr + (base_lr - final_lr) * (1 + cos(pi * step / total_steps)) / 2, then final_lr
    forever.

    Loshchilov and Hutter (2017), without restarts. Flat at both ends, steepest in the middle.

    Args:
        optimizer: whose `lr` to set.
        total_steps: steps until the final rate is reached, at least 1.
        final_lr: the final rate, at least 0.
    """

    total_steps: int
    final_lr: float

    def __init__(self, optimizer: Optimizer, total_steps: int, final_lr: float = 0.0) -> None:
        super().__init__(optimizer, total_steps=total_steps, final_lr=final_lr)

    def rate(self, step: int) -> float:
        """The learning rate at step number `step`, counted from 0."""
        if step >= self.total_steps:
            return self.final_lr
        share = (1.0 + math.cos(math.pi * step / self.total_steps)) / 2.0
        return self.final_lr + (self.base_lr - self.final_lr) * share


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

    warmup_steps: int

    def __init__(self, optimizer: Optimizer, warmup_steps: int, after: Schedule | None = None) -> None:
        if after is not None and (not isinstance(after, Schedule) or after.optimizer is not optimizer):
            raise ValueError("after must be a schedule of the same optimizer: make it on that optimizer first.")
        self.after = after
        super().__init__(optimizer, warmup_steps=warmup_steps)

    def rate(self, step: int) -> float:
        """The learning rate at step number `step`, counted from 0."""
        if step < self.warmup_steps:
            return self.base_lr * (step + 1) / self.warmup_steps
        return self.base_lr if self.after is None else self.after.rate(step - self.warmup_steps + 1)

    def state_dict(self) -> dict[str, object]:
        """The schedule's name, its numbers, where it stands, and the state of `after`."""
        return super().state_dict() | ({} if self.after is None else {"after": self.after.state_dict()})

    def _check(self, state: Mapping[str, object], *more: str) -> None:
        super()._check(state, *more, *([] if self.after is None else ["after"]))
        if self.after is not None:
            self.after._check(state["after"])  # type: ignore[arg-type]

    def _take(self, state: Mapping[str, object]) -> None:
        super()._take(state)
        if self.after is not None:
            self.after._take(state["after"])  # type: ignore[arg-type]
