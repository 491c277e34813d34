"""`fit`: the training loop, written to be read.

Per batch: forward, loss, backward, clip, step (see `steps`). Per epoch: measure on the validation samples, add a row to the
history, call the callbacks. Losses are accumulated on the device; the host only asks for them when the progress bar
is due.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend import Array, backend_named
from tinyae.data import Dataset, Lengths, Split
from tinyae.models import Autoencoder
from tinyae.optim import Adam, Optimizer
from tinyae.training.history import History
from tinyae.training.metrics import evaluate, metric_units
from tinyae.training.progress import Progress
from tinyae.training.steps import full_batch_run, minibatch_steps, samples_per_step


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
    batch_size: int | None = None,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    schedule: Any = None,
    clip_norm: float | None = None,
    callbacks: Iterable[Callable[[Epoch], None]] = (),
    progress: bool = True,
    title: str = "",
) -> History:
    """Train an autoencoder to reconstruct `train`.

    Args:
        model: trained in place, on the device it is on.
        train: samples (N, ...) as an array, or a Split or Dataset (its training part).
        validation: samples to measure after every epoch (of a Dataset its test part); nothing is selected by it.
            None measures training loss only.
        epochs: passes over `train`. With LBFGS, which takes all samples at once: its iterations; the run ends
            earlier if it converges.
        batch_size: samples per step, by default 128; the last batch of an epoch may be smaller. Left out with LBFGS.
        optimizer: made from `model.parameters()`; default `Adam(lr=1e-3)`.
        seed: for the order of samples. Layers that draw noise own their generator.
        schedule: learning-rate schedule; its `.step()` is called after every epoch.
        clip_norm: clip the norm of all gradients together.
        callbacks: called with an `Epoch` after each complete epoch, in order.
        progress: show one progress bar (on standard error).
        title: words before the epoch on that bar, for runs of several stages.

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
    batch_size = samples_per_step(optimizer, batch_size, len(x))
    backend = backend_named(model.device)
    resident = backend.to_device(x, next(iter(model.parameters())).dtype)
    inputs = model.inputs_for(resident, _labels(train))
    # In one piece: of a view, such as the steps that are seen, taking a batch would copy everything first.
    arrays = (resident,) if inputs is resident else (backend.xp.ascontiguousarray(inputs), resident)
    lengths = _lengths(train, model)
    generator = np.random.default_rng(seed)
    measured = None if held_out is None else Split(held_out, _labels(validation), _lengths(validation, model))
    course = _Course(model, optimizer, len(x), measured, schedule, tuple(callbacks))
    bar = Progress(epochs, len(x), model.loss_unit, model.noun, title=title, visible=progress)

    def loss_of(*rows: Array, **kept: Any) -> Tensor:
        return model.loss(*(Tensor(row) for row in rows), **kept).total

    def after(iteration: int, loss: float) -> None:
        bar.advance(iteration, len(x), loss)
        course.complete(iteration, loss)
        model.train()

    try:
        model.train()
        if optimizer.full_batch:
            whole = loss_of if lengths is None else partial(loss_of, lengths=lengths)
            full_batch_run(whole, optimizer, arrays, epochs, after)
        else:
            for number in range(1, epochs + 1):
                model.begin_epoch(number)
                model.train()
                with np.errstate(over="ignore", invalid="ignore"):  # `complete` reports a NaN, in one sentence
                    steps = minibatch_steps(loss_of, optimizer, arrays, batch_size, generator, clip_norm, lengths)
                    course.complete(number, bar.follow(number, steps))
    except KeyboardInterrupt:
        model.load_state_dict(course.kept)
        raise TrainingInterrupted(course.history) from None
    except FloatingPointError:
        model.load_state_dict(course.kept)
        raise
    finally:
        bar.close()
        model.eval()
    return course.history


class _Course:
    """What follows every epoch of one `fit`: measure, check, note down, adapt the learning rate, tell the callbacks."""

    def __init__(
        self,
        model: Autoencoder,
        optimizer: Optimizer,
        samples: int,
        held_out: Split | None,
        schedule: Any,
        callbacks: tuple[Callable[[Epoch], None], ...],
    ) -> None:
        self.model, self.optimizer, self.samples = model, optimizer, samples
        self.held_out, self.schedule, self.callbacks = held_out, schedule, callbacks
        self.history = History(_units(model, held_out is not None))
        self.kept = model.state_dict()
        self.started = time.perf_counter()

    def complete(self, number: int, train_loss: float) -> None:
        """Epoch `number` is done. Raises FloatingPointError if it broke something."""
        seconds = time.perf_counter() - self.started
        with np.errstate(over="ignore", invalid="ignore"):
            measured = {} if self.held_out is None else evaluate(self.model, self.held_out)
        row: dict[str, Any] = {"epoch": number, "train_loss": train_loss}
        row |= {f"validation_{name}": value for name, value in measured.items()}
        row |= {"seconds": seconds, "samples_per_second": self.samples / max(seconds, 1e-9)}
        state = self.model.state_dict()
        _check_finite(row, state, self.optimizer, self.model)
        self.history.append(row)
        if self.schedule is not None:
            self.schedule.step()
        self.kept = state
        for callback in self.callbacks:
            callback(Epoch(number, self.model, self.optimizer, row, self.history))
        self.started = time.perf_counter()


def check_samples(source: Dataset | Split | np.ndarray, name: str, model: Autoencoder) -> np.ndarray:
    """The samples of a Dataset (training part), Split or array, as a float array; raises on what cannot be trained
    on.
    """
    if isinstance(source, Dataset):
        source = source.train
    x = source.x if isinstance(source, Split) else source
    if not isinstance(x, np.ndarray):
        raise TypeError(
            f"{name}: expected a NumPy array, Split or Dataset, got {type(x).__name__}; sequences of unequal length are "
            "joined by x, lengths = tinyae.data.pad(sequences) and given as Split(x, lengths=lengths)."
        )
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


def _check_finite(row: dict[str, Any], state: dict[str, np.ndarray], optimizer: Optimizer, model: Autoencoder) -> None:
    """Raise FloatingPointError unless all numbers of an epoch and all weights after it are finite."""
    wrong = [f"{name.replace('_', ' ')} became {value}" for name, value in row.items() if not math.isfinite(value)]
    wrong += [f"{name} is NaN or infinite" for name, value in state.items() if not np.isfinite(value).all()]
    if wrong:
        known = model.failure()
        raise FloatingPointError(
            f"{wrong[0]} in epoch {row['epoch']}{known and f' ({known})'}: "
            f"try a smaller learning rate (now {optimizer.lr:g}) or clip_norm=1.0; "
            "the model keeps the weights of the last complete epoch."
        )


def _labels(source: Dataset | Split | np.ndarray | None) -> np.ndarray | None:
    """The class numbers of the samples (of a Dataset its training part), None where there are none."""
    if isinstance(source, Dataset):
        source = source.train
    return source.y if isinstance(source, Split) else None


def _lengths(source: Dataset | Split | np.ndarray | None, model: Autoencoder) -> Lengths | None:
    """The lengths of sequences (of a Dataset its training part), None where all steps are real."""
    if isinstance(source, Dataset):
        source = source.train
    lengths = source.lengths if isinstance(source, Split) else None
    if lengths is not None and not model.takes_lengths:
        raise ValueError(
            f"the sequences are of unequal length, from {lengths.min()} to {lengths.max()} steps, and "
            f"{type(model).__name__} would learn their padding as well: train lstm, or cut all to one length."
        )
    return lengths


def _units(model: Autoencoder, validated: bool) -> dict[str, str]:
    units = {"train_loss": model.loss_unit, "seconds": "s", "samples_per_second": f"{model.noun}s/s"}
    if validated:
        units |= {f"validation_{name}": unit for name, unit in metric_units(model).items()}
    return units
