"""What every training run has in common: epochs, their rows of numbers, and the last good weights if one goes wrong."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyae.nn import Module
from tinyae.optim import Optimizer
from tinyae.training.history import History
from tinyae.training.progress import Progress
from tinyae.training.steps import Steps


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training. The model holds the weights of the last complete epoch; `history` its numbers."""

    def __init__(self, history: History) -> None:
        count = len(history)
        kept = "the first epoch is kept" if count == 1 else f"{count} complete epochs are kept"
        done = kept if count else "no epoch was complete"
        super().__init__(f"training was interrupted; {done}.")
        self.history = history


def run_epochs(
    model: Module,
    steps: Steps,
    epochs: int,
    history: History,
    bar: Progress,
    *,
    measure: Callable[[], dict[str, float]],
    schedule: Any = None,
    begin: Callable[[int], None] = lambda number: None,
    failure: Callable[[], str] = lambda: "",
    announce: Callable[[dict[str, Any]], None] = lambda row: None,
) -> History:
    """Train `model` for so many epochs, or iterations of L-BFGS, and leave it in evaluation mode.

    Args:
        history: gets a row after each: epoch, train_loss, what `measure` gives, seconds, samples_per_second.
        bar: shows the progress; it is closed at the end.
        measure: looks at the model after each.
        schedule: learning-rate schedule of the optimizer of `steps`; its `.step()` is called after each.
        begin: told the number of an epoch, from 1, before it.
        failure: what the model knows about a step that went wrong, "" if nothing.
        announce: told each row once it is in the history. StopIteration from it ends the training there, as it would
            end with the last epoch; anything else it raises is passed on.

    Raises:
        ValueError: the schedule belongs to another optimizer.
        FloatingPointError: a number or a weight became NaN or infinite; the model keeps the last complete epoch.
        TrainingInterrupted: Ctrl-C; the model keeps the last complete epoch.
    """
    if schedule is not None and getattr(schedule, "optimizer", steps.optimizer) is not steps.optimizer:
        raise ValueError("the schedule belongs to another optimizer, so it would change nothing here: make it anew.")
    kept = model.state_dict()
    started = time.perf_counter()

    def complete(number: int, loss: float) -> None:
        nonlocal kept, started
        seconds = time.perf_counter() - started
        with np.errstate(over="ignore", invalid="ignore"):
            row: dict[str, Any] = {"epoch": number, "train_loss": loss, **measure()}
        row |= {"seconds": seconds, "samples_per_second": steps.samples / max(seconds, 1e-9)}
        state = model.state_dict()
        _check_finite(row, state, steps.optimizer, failure)
        history.append(row)
        kept = state
        if schedule is not None:
            schedule.step()
        announce(row)
        model.train()
        started = time.perf_counter()

    def complete_iteration(number: int, loss: float) -> None:
        bar.advance(number, steps.samples, loss)
        complete(number, loss)

    try:
        model.train()
        if steps.optimizer.full_batch:
            steps.full_batch(epochs, complete_iteration)
        else:
            for number in range(1, epochs + 1):
                begin(number)
                with np.errstate(over="ignore", invalid="ignore"):  # `complete` reports a NaN, in one sentence
                    loss = bar.follow(number, steps.minibatches())
                complete(number, loss)
    except StopIteration:
        pass
    except KeyboardInterrupt:
        model.load_state_dict(kept)
        raise TrainingInterrupted(history) from None
    except FloatingPointError:
        model.load_state_dict(kept)
        raise
    finally:
        bar.close()
        model.eval()
    return history


def _check_finite(
    row: dict[str, Any], state: dict[str, np.ndarray], optimizer: Optimizer, failure: Callable[[], str]
) -> None:
    """Raise FloatingPointError unless all numbers of an epoch and all weights after it are finite."""
    wrong = [f"{name.replace('_', ' ')} became {value}" for name, value in row.items() if not math.isfinite(value)]
    wrong += [f"{name} is NaN or infinite" for name, value in state.items() if not np.isfinite(value).all()]
    if wrong:
        known = failure()
        raise FloatingPointError(
            f"{wrong[0]} in epoch {row['epoch']}{known and f' ({known})'}: "
            f"try a smaller learning rate (now {optimizer.lr:g}) or clip_norm=1.0; "
            "the model keeps the weights of the last complete epoch."
        )
