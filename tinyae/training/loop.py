"""`fit`: the training loop, written to be read.

Per batch: forward, loss, backward, clip, step. Per epoch: measure on the validation samples, add a row to the
history, call the callbacks. Losses are accumulated on the device; the host only asks for them when the progress bar
is due.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend import Array, backend_named
from tinyae.data import Dataset, Split, batch_count, batches
from tinyae.models import Autoencoder
from tinyae.optim import Adam, Optimizer, clip_grad_norm
from tinyae.training.history import History
from tinyae.training.metrics import evaluate, metric_units
from tinyae.training.progress import Progress


@dataclass(frozen=True)
class Epoch:
    """What a callback is told after each complete epoch."""

    number: int
    model: Autoencoder
    optimizer: Optimizer
    row: dict[str, Any]
    history: History


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during `fit`. The model holds the weights of the last complete epoch; `history` its numbers."""

    def __init__(self, history: History) -> None:
        count = len(history)
        kept = "the first epoch is kept" if count == 1 else f"{count} complete epochs are kept"
        done = kept if count else "no epoch was complete"
        super().__init__(f"training was interrupted; {done}.")
        self.history = history


def fit(
    model: Autoencoder,
    train: Dataset | Split | np.ndarray,
    validation: Dataset | Split | np.ndarray | None = None,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    schedule: Any = None,
    clip_norm: float | None = None,
    callbacks: Iterable[Callable[[Epoch], None]] = (),
    progress: bool = True,
) -> History:
    """Train an autoencoder to reconstruct `train`.

    Args:
        model: trained in place, on the device it is on.
        train: samples (N, ...) as an array, or a Split or Dataset (its training part).
        validation: samples to measure after every epoch (of a Dataset its test part); nothing is selected by it.
            None measures training loss only.
        epochs: passes over `train`; with an optimizer that needs the full batch (LBFGS), calls of its `step`.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        optimizer: made from `model.parameters()`; default `Adam(lr=1e-3)`.
        seed: for the order of samples. Layers that draw noise own their generator.
        schedule: learning-rate schedule; its `.step()` is called after every epoch.
        clip_norm: clip the norm of all gradients together.
        callbacks: called with an `Epoch` after each complete epoch, in order.
        progress: show one progress bar (on standard error).

    Returns:
        History with columns epoch, train_loss, seconds, samples_per_second, and validation_* if validation samples
        were given.

    Raises:
        ValueError: empty, non-finite or wrongly shaped data; targets outside [0, 1] for a Bernoulli loss.
        FloatingPointError: a loss or a weight became NaN or infinite; the model keeps the last complete epoch.
        TrainingInterrupted: Ctrl-C; the model keeps the last complete epoch.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}.")
    x = check_samples(train, "train", model)
    if isinstance(validation, Dataset):
        validation = validation.test
    held_out = None if validation is None else check_samples(validation, "validation", model)
    if held_out is not None and held_out.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"validation samples have shape {held_out.shape[1:]}, training samples {x.shape[1:]}: they must be equal."
        )
    optimizer = Adam(model.parameters(), lr=1e-3) if optimizer is None else optimizer
    history = History(_units(model, held_out is not None))
    kept = model.state_dict()
    batch_count(len(x), batch_size)  # checks batch_size before the first step
    resident = backend_named(model.device).to_device(x, next(iter(model.parameters())).dtype)
    generator = np.random.default_rng(seed)
    bar = Progress(epochs, len(x), model, visible=progress)
    try:
        for number in range(1, epochs + 1):
            started = time.perf_counter()
            with np.errstate(over="ignore", invalid="ignore"):  # a NaN is reported by _check_finite, in one sentence
                train_loss = bar.follow(number, _steps(model, optimizer, resident, batch_size, generator, clip_norm))
                seconds = time.perf_counter() - started
                measured = {} if held_out is None else evaluate(model, held_out)
            row: dict[str, Any] = {"epoch": number, "train_loss": train_loss}
            row |= {f"validation_{name}": value for name, value in measured.items()}
            row |= {"seconds": seconds, "samples_per_second": len(x) / max(seconds, 1e-9)}
            state = model.state_dict()
            _check_finite(row, state, optimizer)
            history.append(row)
            if schedule is not None:
                schedule.step()
            kept = state
            for callback in callbacks:
                callback(Epoch(number, model, optimizer, row, history))
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


def check_samples(source: Dataset | Split | np.ndarray, name: str, model: Autoencoder) -> np.ndarray:
    """The samples of a Dataset (training part), Split or array, as a float array; raises on what cannot be trained
    on.
    """
    if isinstance(source, Dataset):
        source = source.train
    x = source.x if isinstance(source, Split) else source
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array, Split or Dataset, got {type(x).__name__}.")
    if x.dtype.kind != "f":
        raise TypeError(
            f"{name}: samples must be floating point, got dtype {x.dtype}: "
            "scale them first, e.g. x.astype('float32') / 255."
        )
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"{name}: samples must be (N, ...) with N > 0, got shape {x.shape}.")
    if not np.isfinite(x).all():
        bad = np.argwhere(~np.isfinite(x))
        raise ValueError(
            f"{name}: {len(bad)} values are NaN or infinite, "
            f"the first at index {tuple(int(i) for i in bad[0])}: remove or fill them first."
        )
    model.reconstruction.check_targets(x)
    return x


Step = tuple[int, Any]
"""Samples in the batch, and their loss on the device."""


def _steps(
    model: Autoencoder,
    optimizer: Optimizer,
    x: Array,
    batch_size: int,
    generator: np.random.Generator,
    clip_norm: float | None,
) -> Iterator[Step]:
    """One epoch: take a step each time the caller asks for the next item."""
    model.train()
    if optimizer.full_batch:
        yield len(x), optimizer.step(lambda: model.loss(Tensor(x)).total)
        return
    for batch in batches(x, batch_size=batch_size, generator=generator):
        optimizer.zero_grad()
        loss = model.loss(Tensor(batch)).total
        loss.backward()
        if clip_norm is not None:
            clip_grad_norm(model.parameters(), clip_norm)
        optimizer.step()
        yield len(batch), loss.data


def _check_finite(row: dict[str, Any], state: dict[str, np.ndarray], optimizer: Optimizer) -> None:
    """Raise FloatingPointError unless all numbers of an epoch and all weights after it are finite."""
    wrong = [f"{name.replace('_', ' ')} became {value}" for name, value in row.items() if not math.isfinite(value)]
    wrong += [f"{name} is NaN or infinite" for name, value in state.items() if not np.isfinite(value).all()]
    if wrong:
        raise FloatingPointError(
            f"{wrong[0]} in epoch {row['epoch']}: try a smaller learning rate (now {optimizer.lr:g}) or clip_norm=1.0; "
            "the model keeps the weights of the last complete epoch."
        )


def _units(model: Autoencoder, validated: bool) -> dict[str, str]:
    units = {"train_loss": model.loss_unit, "seconds": "s", "samples_per_second": f"{model.sample}s/s"}
    if validated:
        units |= {f"validation_{name}": unit for name, unit in metric_units(model).items()}
    return units
