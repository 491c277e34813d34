"""`fit`: the training loop, written to be read.

In reading order: the loop over batches (`Steps.epoch`: forget the gradients, forward, backward, clip, step), the loop over
epochs (`run_epochs`: measure on the validation samples, add a row to the history, adapt the learning rate, call the
callbacks), and `fit`, which checks what it is given and starts them. Below stand the checks, L-BFGS, early stopping, the
history and the progress bar. Losses are accumulated on the device; the host asks for them when the bar is due, and at the
end of an epoch.
"""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.atomic import write_text
from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import Array, backend_named
from tinyae.backend.base import PADDING_ADVICE
from tinyae.data import Dataset, Lengths, Split, batch_count, batches
from tinyae.models import Autoencoder
from tinyae.nn import Module
from tinyae.optim import LBFGS, Adam, Optimizer, clip_grad_norm
from tinyae.training.metrics import evaluate, metric_units

BATCH_SIZE = 128
"""Samples per step of a gradient method by default."""

LossOf = Callable[..., Tensor]
"""The loss of a batch: called with one array per kind of data (inputs, targets, labels), gives one number.

For sequences of unequal length it is called with `lengths` (n,) as well, on the host.
"""


@dataclass(frozen=True)
class Steps:
    """A training run, as far as steps are concerned: what stays the same from one to the next, and the loop over them.

    Attributes:
        loss_of: the loss of a batch.
        optimizer: of the parameters that are to move.
        arrays: one for each kind of data (inputs, targets, labels), with a row a sample, on the model's device.
        batch_size: samples per step; see `samples_per_step`.
        generator: draws the order of samples, anew for each epoch.
        clip_norm: clip the norm of all gradients together; None does not.
        lengths: (N,) of sequences of unequal length.
    """

    loss_of: LossOf
    optimizer: Optimizer
    arrays: tuple[Array, ...]
    batch_size: int
    generator: np.random.Generator
    clip_norm: float | None = None
    lengths: Lengths | None = None

    @property
    def samples(self) -> int:
        """N, of the whole set."""
        return len(self.arrays[0])

    def epoch(self, number: int, bar: Progress) -> float:
        """The loop: one pass over the samples in a fresh order; returns the mean loss per sample."""
        total: float | Array = 0.0
        optimizer, seen = self.optimizer, 0
        for batch in batches(*self.arrays, batch_size=self.batch_size, generator=self.generator, lengths=self.lengths):
            rows = batch if isinstance(batch, tuple) else (batch,)
            optimizer.zero_grad()
            loss = self.loss(rows)
            loss.backward()
            if self.clip_norm is not None:
                clip_grad_norm(optimizer.flat.tensors, self.clip_norm)
            optimizer.step()
            count = len(rows[0])
            total, seen = total + loss.data * float(count), seen + count  # on the device: nothing waits for a number
            bar.show(number, count, total, seen)
        return float(total) / max(seen, 1)

    def loss(self, rows: tuple[Array, ...]) -> Tensor:
        """The forward pass: the mean loss of some rows; of unequal sequences the lengths come last."""
        return self.loss_of(*rows) if self.lengths is None else self.loss_of(*rows[:-1], lengths=rows[-1])

    def full_batch(self, iterations: int, after: Callable[[int, float], None]) -> None:
        """Up to `iterations` of L-BFGS on all data at once; `after(iteration, loss)` follows each accepted one.

        It ends earlier where the method's own tolerances are met.

        Raises:
            ValueError: two evaluations of the loss differ, because something in it draws random numbers. A line
                search cannot tell such a difference from progress.
        """
        optimizer = self.optimizer
        if self.clip_norm is not None:
            raise ValueError(
                f"clip_norm means nothing to {type(optimizer).__name__}, which finds its step lengths itself: leave it out."
            )
        if not isinstance(optimizer, LBFGS):
            raise TypeError(
                f"{type(optimizer).__name__} wants the full batch but is not an LBFGS: use tinyae.optim.LBFGS."
            )
        known: dict[str, Any] = {} if self.lengths is None else {"lengths": self.lengths}
        whole = partial(self.loss_of, *self.arrays, **known)
        with no_grad():
            looks = [float(whole().item()) for _ in range(2)]
        if looks[0] != looks[1] and np.isfinite(looks).all():
            raise ValueError(
                f"L-BFGS needs the same loss for the same weights, got {looks[0]:.6g} and then {looks[1]:.6g}: the "
                "model draws noise, so train it with Adam (optimizer adam), or without noise."
            )
        optimizer.max_iterations = iterations
        optimizer.step(whole, after)


# ---------------------------------------------------------------------------------------------------------------------
# Epochs: their rows of numbers, and the last good weights if one goes wrong.


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
                    loss = steps.epoch(number, bar)
                bar.describe(number, loss)
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


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training. The model holds the weights of the last complete epoch; `history` its numbers."""

    def __init__(self, history: History) -> None:
        count = len(history)
        kept = "the first epoch is kept" if count == 1 else f"{count} complete epochs are kept"
        done = kept if count else "no epoch was complete"
        super().__init__(f"training was interrupted; {done}.")
        self.history = history


# ---------------------------------------------------------------------------------------------------------------------
# `fit`, and what it checks.


@dataclass(frozen=True)
class Epoch:
    """What a callback is told after each complete epoch."""

    number: int
    model: Autoencoder
    optimizer: Optimizer
    row: dict[str, Any]
    history: History


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
        optimizer: made from the parameters that are to move; default `Adam(lr=1e-3)` on all that are not frozen.
        seed: for the order of samples. Layers that draw noise own their generator.
        schedule: learning-rate schedule; its `.step()` is called after every epoch.
        clip_norm: clip the norm of all gradients together.
        callbacks: called with an `Epoch` after each complete epoch, in order. One that raises StopIteration ends the
            run there, such as `EarlyStopping`.
        progress: show one progress bar (on standard error).
        title: words before the epoch on that bar, for runs of several stages.

    Returns:
        History with columns epoch, train_loss, seconds, samples_per_second, and validation_* if validation samples
        were given.

    Raises:
        ValueError: empty, non-finite or wrongly shaped data; targets outside [0, 1] for a Bernoulli loss; L-BFGS for a
            model whose objective changes from epoch to epoch; a schedule of another optimizer.
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
    if optimizer is None:
        optimizer = Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    if optimizer.full_batch and model.anneals:
        raise ValueError(
            f"{type(optimizer).__name__} minimizes one objective, and that of this model changes from epoch to epoch "
            f"({model.extra_repr()}): train it with Adam."
        )
    batch_size = samples_per_step(optimizer, batch_size, len(x))
    backend = backend_named(model.device)
    resident = backend.to_device(x, next(iter(model.parameters())).dtype)
    inputs = model.inputs_for(resident, _labels(train))
    # In one piece: of a view, such as the steps that are seen, taking a batch would copy everything first.
    arrays = (resident,) if inputs is resident else (backend.xp.ascontiguousarray(inputs), resident)
    steps = Steps(
        lambda *rows, **kept: model.loss(*(Tensor(row) for row in rows), **kept).total,
        optimizer, arrays, batch_size, np.random.default_rng(seed), clip_norm, _lengths(train, model),
    )  # fmt: skip
    measured = None if held_out is None else Split(held_out, _labels(validation), _lengths(validation, model))
    history = History(_units(model, measured is not None))

    def measure() -> dict[str, float]:
        numbers = {} if measured is None else evaluate(model, measured)
        return {f"validation_{name}": value for name, value in numbers.items()}

    def announce(row: dict[str, Any]) -> None:
        for callback in callbacks:
            callback(Epoch(row["epoch"], model, optimizer, row, history))

    bar = Progress(epochs, len(x), model.loss_unit, model.noun, title=title, visible=progress)
    return run_epochs(
        model, steps, epochs, history, bar,
        measure=measure, schedule=schedule, begin=model.begin_epoch, failure=model.failure, announce=announce,
    )  # fmt: skip


def samples_per_step(optimizer: Optimizer, batch_size: int | None, samples: int) -> int:
    """The batch size of a run on so many samples: None means `BATCH_SIZE`, and all of them for L-BFGS.

    Raises ValueError for minibatches with L-BFGS: its estimate of the curvature comes from differences of gradients, and
    those of different batches differ by more than their curvature.
    """
    if optimizer.full_batch:
        if batch_size is not None and batch_size < samples:
            raise ValueError(
                f"{type(optimizer).__name__} takes all {samples} samples at once, got batch_size={batch_size}: leave it "
                "out, or use Adam, which is made for minibatches."
            )
        return samples
    batch_size = BATCH_SIZE if batch_size is None else batch_size
    batch_count(samples, batch_size)  # says what is wrong with it
    return batch_size


def check_samples(source: Dataset | Split | np.ndarray, name: str, model: Autoencoder) -> np.ndarray:
    """The samples of a Dataset (training part), Split or array, as a float array; raises on what cannot be trained
    on.
    """
    if isinstance(source, Dataset):
        source = source.train
    x = source.x if isinstance(source, Split) else source
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array, Split or Dataset, got {type(x).__name__}; {PADDING_ADVICE}.")
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
    if lengths is not None:
        model.check_lengths(lengths)
    return lengths


def _units(model: Autoencoder, validated: bool) -> dict[str, str]:
    units = {"train_loss": model.loss_unit, "seconds": "s", "samples_per_second": f"{model.noun}s/s"}
    if validated:
        units |= {f"validation_{name}": unit for name, unit in metric_units(model).items()}
    return units


# ---------------------------------------------------------------------------------------------------------------------
# The one progress bar of a run: epoch, loss with its unit, samples per second, time left.

_REFRESH = 0.5
"""Seconds between looks at the loss: on a GPU each look waits for the device."""


class Progress:
    """A bar over all samples of all epochs, on standard error; silent if not `visible`.

    `unit` is that of the loss, `noun` what one sample is called, `title` stands before the epoch.
    """

    def __init__(
        self, epochs: int, samples: int, unit: str, noun: str, *, title: str = "", visible: bool = True
    ) -> None:
        from tqdm import tqdm

        self.epochs = epochs
        self.unit = unit
        self.title = f"{title}  " if title else ""
        self.due = time.perf_counter() + _REFRESH
        terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=epochs * samples,
            unit=f" {noun}s",
            unit_scale=True,
            disable=not visible,
            dynamic_ncols=True,
            mininterval=0.1 if terminal else 5.0,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left",
        )

    def show(self, epoch: int, count: int, total: Any, seen: int) -> None:
        """`count` more samples are done; `total` is the loss of all `seen` in this epoch, on the device."""
        if not self.bar.disable:
            if time.perf_counter() >= self.due:
                self.describe(epoch, float(total) / seen)
                self.due = time.perf_counter() + _REFRESH
            self.bar.update(count)

    def advance(self, epoch: int, samples: int, loss: float) -> None:
        """One epoch is done, somewhere else."""
        self.bar.update(samples)
        self.describe(epoch, loss)

    def describe(self, epoch: int, loss: float) -> None:
        """Write the epoch and its mean loss before the bar."""
        self.bar.set_description_str(f"{self.title}epoch {epoch}/{self.epochs}  {loss:.4g} {self.unit}", refresh=False)

    def close(self) -> None:
        """Leave the bar as it is and give the line back."""
        self.bar.close()


# ---------------------------------------------------------------------------------------------------------------------
# `History`: one row of numbers per epoch, each column with its unit.


class History:
    """What training measured, epoch by epoch.

    Attributes:
        rows: one dict per complete epoch, e.g. {"epoch": 1, "train_loss": 92.1, ...}.
        units: column -> unit, e.g. {"train_loss": "nats per image", "seconds": "s"}.
    """

    def __init__(self, units: dict[str, str] | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.units = dict(units or {})

    def append(self, row: dict[str, Any]) -> None:
        """Add the row of a complete epoch."""
        self.rows.append(dict(row))

    @property
    def columns(self) -> list[str]:
        """All column names, in order of first appearance."""
        return list(dict.fromkeys(key for row in self.rows for key in row))

    def __getitem__(self, column: str) -> list[Any]:
        """One column as a list, NaN where a row lacks it."""
        if column not in self.columns:
            raise KeyError(f"no column {column!r} in this history; there are: {', '.join(self.columns) or 'none yet'}.")
        return [row.get(column, math.nan) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def last(self) -> dict[str, Any]:
        """The newest row; raises IndexError before the first complete epoch."""
        if not self.rows:
            raise IndexError("this history is empty: no epoch was completed.")
        return self.rows[-1]

    def save(self, path: str | Path) -> Path:
        """Write `metrics.csv`: a header `column [unit]`, then one line per epoch. Atomic."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([f"{name} [{self.units[name]}]" if name in self.units else name for name in self.columns])
        for row in self.rows:
            writer.writerow([_number(row.get(name, "")) for name in self.columns])
        return write_text(path, text.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read what `save` wrote."""
        with open(path, newline="", encoding="utf-8") as file:
            table = list(csv.reader(file))
        history = cls()
        names = []
        for title in table[0] if table else []:
            name, _, unit = title.partition(" [")
            names.append(name)
            if unit:
                history.units[name] = unit.rstrip("]")
        for line in table[1:]:
            history.append(
                {n: int(v) if n == "epoch" else float(v) for n, v in zip(names, line, strict=True) if v != ""}
            )
        return history

    def __repr__(self) -> str:
        if not self.rows:
            return "History(no complete epoch)"
        numbers = ", ".join(
            f"{name} {_number(value)}{' ' + self.units[name] if name in self.units else ''}"
            for name, value in self.last.items()
        )
        return f"History({len(self)} epochs; last: {numbers})"


def _number(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


# ---------------------------------------------------------------------------------------------------------------------
# Early stopping: end a run whose held-out numbers get no better any more (Prechelt 1998).


class EarlyStopping:
    """A callback for `fit` that ends the run once a column of its history has found no new minimum for `patience` epochs.

    The samples it looks at choose the model, so they say nothing any more about new samples: hold out a third part to
    measure by. The model keeps its last weights; `model.load_state_dict(stop.best_state)` brings back the best.

    Args:
        column: of the history, a number of which less is better, such as "validation_loss".
        patience: epochs without a new minimum that are put up with, at least 1.
        least: what a value must be below the minimum by to be a new one, in the column's unit.

    Attributes:
        best, best_epoch, best_state: the minimum, its epoch (0 before the first), and the weights then.
    """

    def __init__(self, column: str = "validation_loss", patience: int = 5, least: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {patience}.")
        if not least >= 0.0:
            raise ValueError(f"least must be at least 0, got {least}.")
        self.column, self.patience, self.least = column, patience, float(least)
        self.best, self.best_epoch = float("inf"), 0
        self.best_state: dict[str, np.ndarray] = {}

    def __call__(self, epoch: Epoch) -> None:
        """Look at a complete epoch. Raises StopIteration, which ends `fit`, and ValueError for an unknown column."""
        if self.column not in epoch.row:
            raise ValueError(
                f"the history has no column {self.column!r}: choose one of {', '.join(epoch.row)}, and give fit "
                "validation samples for those that begin with validation_."
            )
        if epoch.row[self.column] < self.best - self.least:
            self.best, self.best_epoch = epoch.row[self.column], epoch.number
            self.best_state = epoch.model.state_dict()
        elif epoch.number - self.best_epoch >= self.patience:
            raise StopIteration
