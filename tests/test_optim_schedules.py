"""Learning-rate schedules against their closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tinyae.autodiff import Tensor
from tinyae.optim import LBFGS, SGD, CosineLR, Schedule, StepLR, WarmupLR


@pytest.fixture
def optimizer() -> SGD:
    return SGD([Tensor(np.zeros(2), requires_grad=True)], lr=0.8)


def rates(schedule: Schedule, count: int) -> list[float]:
    """The learning rates that `count` updates would see."""
    seen = []
    for _ in range(count):
        seen.append(schedule.optimizer.lr)
        schedule.step()
    return seen


def test_staircase(optimizer: SGD) -> None:
    expected = [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2]
    assert rates(StepLR(optimizer, step_size=3, gamma=0.5), 8) == pytest.approx(expected, rel=1e-14)


def test_half_a_cosine_then_flat(optimizer: SGD) -> None:
    seen = rates(CosineLR(optimizer, total_steps=6, final_lr=0.2), 10)
    half = math.sqrt(3) / 2
    expected = [0.8, 0.5 + 0.3 * half, 0.65, 0.5, 0.35, 0.5 - 0.3 * half, 0.2, 0.2, 0.2, 0.2]
    assert seen == pytest.approx(expected, rel=1e-14)


def test_a_cosine_may_end_at_zero(optimizer: SGD) -> None:
    assert rates(CosineLR(optimizer, total_steps=2), 4) == pytest.approx([0.8, 0.4, 0.0, 0.0], abs=1e-15)


def test_warmup_alone(optimizer: SGD) -> None:
    expected = [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]
    assert rates(WarmupLR(optimizer, warmup_steps=4), 6) == pytest.approx(expected, rel=1e-14)


def test_warmup_then_cosine_does_not_jump(optimizer: SGD) -> None:
    seen = rates(WarmupLR(optimizer, warmup_steps=4, after=CosineLR(optimizer, total_steps=3)), 8)
    assert seen == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.6, 0.2, 0.0, 0.0], abs=1e-15)


MAKERS: dict[str, Callable[[SGD], Schedule]] = {
    "step": lambda o: StepLR(o, 2, 0.7),
    "cosine": lambda o: CosineLR(o, 9, 0.1),
    "warmup": lambda o: WarmupLR(o, 3),
    "warmup cosine": lambda o: WarmupLR(o, 3, after=CosineLR(o, 7)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_resumed_schedule_goes_on_where_it_was(name: str, optimizer: SGD) -> None:
    make = MAKERS[name]
    schedule = make(optimizer)
    rates(schedule, 5)
    state, resumed_at = schedule.state_dict(), optimizer.lr
    straight = rates(schedule, 6)

    optimizer.lr = 0.123  # the new schedule starts from another base rate: the state must bring its own
    resumed = make(optimizer)
    resumed.load_state_dict(state)
    assert optimizer.lr == resumed_at
    assert rates(resumed, 6) == straight


def test_a_state_of_another_schedule_changes_nothing(optimizer: SGD) -> None:
    schedule = StepLR(optimizer, 2)
    schedule.step()
    before = schedule.state_dict()
    good = {**before, "gamma": 0.3}
    for state, message in [
        (CosineLR(optimizer, 4).state_dict(), "state of CosineLR, not of StepLR"),
        ({**good, "extra": 1}, "unexpected"),
        ({k: v for k, v in good.items() if k != "gamma"}, "missing"),
        ({**good, "step_size": 0}, "step_size must be a whole number"),
        ({**good, "steps": 1.5}, "steps must be a whole number"),
    ]:
        with pytest.raises(ValueError, match=message):
            schedule.load_state_dict(state)
    assert schedule.state_dict() == before


def test_bad_arguments_are_named(optimizer: SGD) -> None:
    other = SGD([Tensor(np.zeros(2), requires_grad=True)], lr=0.8)
    for make, error, message in [
        (lambda: StepLR(optimizer, 0), ValueError, "step_size"),
        (lambda: StepLR(optimizer, 3, gamma=0.0), ValueError, "gamma"),
        (lambda: CosineLR(optimizer, 2.5), ValueError, "total_steps"),  # type: ignore[arg-type]
        (lambda: CosineLR(optimizer, 5, final_lr=-0.1), ValueError, "final_lr"),
        (lambda: WarmupLR(optimizer, -1), ValueError, "warmup_steps"),
        (lambda: WarmupLR(optimizer, 3, after=StepLR(other, 2)), ValueError, "same optimizer"),
        (lambda: StepLR(0.1, 3), TypeError, "needs an optimizer, got float"),  # type: ignore[arg-type]
        (lambda: StepLR(LBFGS([Tensor(np.zeros(2), requires_grad=True)]), 3), ValueError, "own step lengths"),
    ]:
        with pytest.raises(error, match=message):
            make()
    assert optimizer.lr == 0.8


def test_repr_shows_where_it_stands(optimizer: SGD) -> None:
    schedule = StepLR(optimizer, 1, gamma=0.5)
    schedule.step()
    assert repr(schedule) == "<StepLR base_lr=0.8, step_size=1, gamma=0.5: step 1, lr=0.4>"
