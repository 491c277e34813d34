"""Learning-rate schedules: the learning rate as a function of the step number.

A schedule is a formula, `rate(step)`, and a counter. Creating one sets the optimizer's learning rate for step 0; call
`step()` after each `optimizer.step()`, or once per epoch if it counts epochs. The base rate is the learning rate of the
optimizer when the schedule is created.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from tinyae.optim.optimizers import Optimizer, Stateful


class Schedule(Stateful):
    """Base class of the schedules. A subclass passes its `numbers` to `__init__` and defines `rate`.

    Args:
        optimizer: whose `lr` to set; not L-BFGS, whose line search chooses the step lengths.
        numbers: the settings of the schedule.

    Attributes:
        optimizer: the optimizer.
        base_lr: its learning rate when the schedule was created.
        steps: number of calls of `step()`.

    `load_state_dict()` also sets the optimizer's learning rate, to that of the restored step.
    """

    base_lr: float

    def __init__(self, optimizer: Optimizer, **numbers: float) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"a schedule needs an optimizer, got {type(optimizer).__name__}: create the optimizer first and pass it."
            )
        if optimizer.full_batch:
            raise ValueError(f"{type(optimizer).__name__} chooses its own step lengths: use it without a schedule.")
        super().__init__(base_lr=optimizer.lr, **numbers)
        self.optimizer = optimizer
        optimizer.lr = self.rate(0)

    def rate(self, step: int) -> float:
        """The learning rate at step number `step`, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(step): define it.")

    def step(self) -> None:
        """Advance to the next step and set the optimizer's learning rate for it."""
        self.steps += 1
        self.optimizer.lr = self.rate(self.steps)

    def reset(self) -> None:
        """Go back to step 0: `fit` calls this when a run starts, but not when it continues one."""
        self.steps, self.optimizer.lr = 0, self.rate(0)

    def _take(self, state: Mapping[str, object]) -> None:
        super()._take(state)
        self.optimizer.lr = self.rate(self.steps)

    def __repr__(self) -> str:
        return f"{super().__repr__()}: step {self.steps}, lr={self.optimizer.lr:g}>"


class StepLR(Schedule):
    """Step decay: base_lr * gamma ** floor(step / step_size).

    Args:
        optimizer: whose `lr` to set.
        step_size: steps between reductions, at least 1.
        gamma: factor of each reduction, above 0.
    """

    step_size: int
    gamma: float

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer, step_size=step_size, gamma=gamma)

    def rate(self, step: int) -> float:
        return self.base_lr * self.gamma ** (step // self.step_size)


class CosineLR(Schedule):
    """Cosine annealing: final_lr + (base_lr - final_lr) * (1 + cos(pi * step / total_steps)) / 2, then final_lr.

    Loshchilov and Hutter (2017), without restarts.

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
        if step >= self.total_steps:
            return self.final_lr
        share = (1.0 + math.cos(math.pi * step / self.total_steps)) / 2.0
        return self.final_lr + (self.base_lr - self.final_lr) * share


class WarmupLR(Schedule):
    """Linear warm-up, base_lr * (step + 1) / warmup_steps, followed by another schedule or the base rate.

    The last warm-up step has the full rate and is step 0 of `after`, so that the rate does not jump.

    Args:
        optimizer: whose `lr` to set.
        warmup_steps: number of warm-up steps, at least 1.
        after: a schedule of the same optimizer. Call `step()` of the warm-up only.

    Example:
            cosine = CosineLR(optimizer, total_steps=900)
            schedule = WarmupLR(optimizer, warmup_steps=100, after=cosine)
    """

    warmup_steps: int

    def __init__(self, optimizer: Optimizer, warmup_steps: int, after: Schedule | None = None) -> None:
        if after is not None and (not isinstance(after, Schedule) or after.optimizer is not optimizer):
            raise ValueError("after must be a schedule of the same optimizer: create it with that optimizer first.")
        self.after = after
        super().__init__(optimizer, warmup_steps=warmup_steps)

    def rate(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.base_lr * (step + 1) / self.warmup_steps
        return self.base_lr if self.after is None else self.after.rate(step - self.warmup_steps + 1)

    def state_dict(self) -> dict[str, object]:
        """The state of this schedule, with that of `after`."""
        return super().state_dict() | ({} if self.after is None else {"after": self.after.state_dict()})

    def _check(self, state: Mapping[str, object]) -> None:
        super()._check(state)
        if self.after is not None:
            self.after._check(state["after"])  # type: ignore[arg-type]

    def _take(self, state: Mapping[str, object]) -> None:
        if self.after is not None:
            self.after._take(state["after"])  # type: ignore[arg-type]
        super()._take(state)  # last: the rate at this step may be that of `after`
