"""`fit`: the training loop, written to be read.

In reading order: `Training.epoch`, the loop over batches (zero the gradients, forward, backward, clip, step);
`Training.complete`, what is measured, kept and announced after each epoch; `Training.run`, the loop over epochs; and `fit`,
which checks its arguments and starts them. Then follow the checks, the progress bar, the history and early stopping. Losses
are accumulated on the device and read when the bar is updated and at the end of an epoch.
"""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.atomic import write_text
from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import Array, backend_named, backend_of
from tinyae.checks import whole_number
from tinyae.data import Dataset, Split
from tinyae.data.dataset import as_samples
from tinyae.losses import Loss
from tinyae.models import Autoencoder, Batch
from tinyae.nn import Module
from tinyae.optim import LBFGS, Adam, Optimizer, clip_grad_norm
from tinyae.training.metrics import Metrics, evaluate

BATCH_SIZE = 128
"""Samples per step of a gradient method by default."""


@dataclass
class Training:
    """One training run: its settings and its state.

    Attributes:
        model: trained in place.
        loss_of: the loss of a batch of Tensors.
        optimizer: of the parameters to train.
        data: the whole set, on the model's device.
        batch_size: samples per step; see `samples_per_step`.
        generator: draws a new order of the samples for each epoch.
        history: gets a row after each epoch: epoch, train_loss, the metrics of `measure`, seconds, samples_per_second.
        bar: shows the progress.
        measure: computes metrics of the model after each epoch.
        schedule: learning-rate schedule of the optimizer; its `.step()` is called after each epoch.
        clip_norm: largest norm of all gradients together; None does not clip.
        begin: called before each epoch with its number, from 1.
        announce: called with each row after it is in the history. If it raises StopIteration, training ends as after the
            last epoch; other exceptions are passed on.
        kept: the weights of the last complete epoch.
        terms: of the latest losses, for an error message if they are not finite.
    """

    model: Module
    loss_of: Callable[[Batch], Loss]
    optimizer: Optimizer
    data: Batch
    batch_size: int
    generator: np.random.Generator
    history: History
    bar: Progress
    measure: Callable[[], Metrics | None]
    schedule: Any = None
    clip_norm: float | None = None
    begin: Callable[[int], None] = lambda number: None
    announce: Callable[[dict[str, Any]], None] = lambda row: None
    kept: dict[str, np.ndarray] = field(init=False, default_factory=dict)
    terms: Terms = field(init=False, default_factory=lambda: Terms())
    started: float = field(init=False, default=0.0)

    def epoch(self, number: int) -> float:
        """The loop: one pass over the samples in random order; returns the mean loss per sample."""
        optimizer, seen = self.optimizer, 0
        total: float | Array = 0.0
        for batch in self.data.batches(self.batch_size, self.generator):
            optimizer.zero_grad()
            loss = self.loss_of(batch)
            loss.backward()
            if self.clip_norm is not None:
                clip_grad_norm(optimizer.flat.tensors, self.clip_norm)
            optimizer.step()
            total, seen = total + loss.total.data * float(len(batch)), seen + len(batch)  # nothing waits for a number
            self.terms.see(loss)
            self.bar.show(number, len(batch), total, seen)
        return float(total) / max(seen, 1)

    def complete(self, number: int, loss: float) -> None:
        """Measure, keep and announce a complete epoch, unless one of its metrics or weights is not finite."""
        seconds = time.perf_counter() - self.started
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.measure()
        row: dict[str, Any] = {"epoch": number, "train_loss": loss}
        if found is not None:
            row |= {f"validation_{name}": value for name, value in found.items()}
            self.history.units |= {f"validation_{name}": unit for name, unit in found.units.items()}
        row |= {"seconds": seconds, "samples_per_second": len(self.data) / max(seconds, 1e-9)}
        state = self.model.state_dict()
        _check_finite(row, state, self.optimizer, self.terms)
        self.history.append(row)
        self.kept = state
        if self.schedule is not None:
            self.schedule.step()
        self.announce(row)
        self.model.train()
        self.started = time.perf_counter()

    def run(self, epochs: int) -> History:
        """Train for `epochs` epochs, or iterations of L-BFGS, and leave the model in evaluation mode.

        Raises:
            ValueError: the schedule belongs to another optimizer.
            FloatingPointError: a number or a weight became NaN or infinite; the model keeps the last complete epoch.
            TrainingInterrupted: Ctrl-C; the model keeps the last complete epoch.
        """
        if self.schedule is not None and getattr(self.schedule, "optimizer", self.optimizer) is not self.optimizer:
            raise ValueError(
                "the schedule belongs to another optimizer, so it would have no effect: make one for this optimizer."
            )
        self.kept, self.started = self.model.state_dict(), time.perf_counter()
        try:
            self.model.train()
            if self.optimizer.full_batch:
                self._full_batch(epochs)
            else:
                for number in range(1, epochs + 1):
                    self.begin(number)
                    with np.errstate(over="ignore", invalid="ignore"):  # `complete` reports a NaN
                        loss = self.epoch(number)
                    self.bar.describe(number, loss)
                    self.complete(number, loss)
        except StopIteration:
            pass
        except (KeyboardInterrupt, FloatingPointError) as stop:
            self.model.load_state_dict(self.kept)
            if isinstance(stop, KeyboardInterrupt):
                raise TrainingInterrupted(self.history) from None
            raise
        finally:
            self.bar.close()
            self.model.eval()
        return self.history

    def _full_batch(self, iterations: int) -> None:
        """Up to `iterations` iterations of L-BFGS on all data at once, fewer if its tolerances are met.

        Raises ValueError if two evaluations of the loss differ because the model draws random numbers: a line search cannot
        distinguish such differences from progress.
        """
        optimizer, data = self.optimizer, self.data.tensors()
        if self.clip_norm is not None:
            raise ValueError(
                f"{type(optimizer).__name__} chooses its own step lengths, got clip_norm={self.clip_norm}: leave it out."
            )
        if not isinstance(optimizer, LBFGS):
            raise TypeError(
                f"a full-batch optimizer must be an LBFGS, got {type(optimizer).__name__}: use tinyae.optim.LBFGS."
            )

        def whole() -> Tensor:
            return self.loss_of(data).total

        def after(number: int, loss: float) -> None:
            self.bar.bar.update(len(self.data))
            self.bar.describe(number, loss)
            self.complete(number, loss)

        with no_grad():
            looks = [float(whole().item()) for _ in range(2)]
        if looks[0] != looks[1] and np.isfinite(looks).all():
            raise ValueError(
                f"L-BFGS needs the same loss for the same weights, got {looks[0]:.6g} and then {looks[1]:.6g}: the "
                "model draws noise, so train it with Adam (optimizer adam), or without noise."
            )
        optimizer.max_iterations = iterations
        optimizer.step(whole, after)


class Terms:
    """The terms of the latest loss, or of the first that was not finite; kept on the device, so that the host does not wait."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.unit = ""
        self.latest: Any = None

    def see(self, loss: Loss) -> None:
        """Record the loss of a step."""
        if len(loss.terms) < 2:
            return
        values = [term.data for term in loss.terms.values()]
        xp = backend_of(values[0]).xp
        now = xp.stack(values)
        if self.latest is not None:
            now = xp.where(xp.isfinite(self.latest).all(), now, self.latest)
        self.names, self.unit, self.latest = tuple(loss.terms), loss.unit, now

    def __str__(self) -> str:
        """Which terms became NaN or infinite first, with their values and the usual cause; "" if none did."""
        values = () if self.latest is None else backend_of(self.latest).to_host(self.latest)
        broken = [name for name, value in zip(self.names, values, strict=True) if not math.isfinite(value)]
        if not broken:
            return ""
        listed = ", ".join(f"{name} {value:.4g}" for name, value in zip(self.names, values, strict=True))
        return (
            f"the first step to go wrong had {listed} {self.unit}: the {' and the '.join(broken)} became NaN or "
            "infinite first, usually because the learning rate is too large or the inputs are not scaled"
        )


def _check_finite(row: dict[str, Any], state: dict[str, np.ndarray], optimizer: Optimizer, terms: Terms) -> None:
    """Raise FloatingPointError unless all metrics of an epoch and all weights after it are finite."""
    wrong = [f"{name.replace('_', ' ')} became {value}" for name, value in row.items() if not math.isfinite(value)]
    wrong += [f"{name} is NaN or infinite" for name, value in state.items() if not np.isfinite(value).all()]
    if wrong:
        known = str(terms)
        raise FloatingPointError(
            f"{wrong[0]} in epoch {row['epoch']}{known and f' ({known})'}: "
            f"try a smaller learning rate (now {optimizer.lr:g}) or clip_norm=1.0; "
            "the model keeps the weights of the last complete epoch."
        )


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training. The model keeps the weights of the last complete epoch; `history` holds the epochs so far."""

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
    """The argument of a callback, after each complete epoch."""

    number: int
    model: Autoencoder
    optimizer: Optimizer
    row: dict[str, Any]
    history: History


def fit(
    model: Autoencoder,
    train: Dataset | Split | npt.ArrayLike,
    validation: Dataset | Split | npt.ArrayLike | None = None,
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
        train: samples (N, ...) as an array or list, a Split, or a Dataset (its training part).
        validation: samples to evaluate on after every epoch (of a Dataset its test part); they select nothing. None
            records the training loss only.
        epochs: passes over the training samples; with LBFGS, maximum iterations. Each uses all samples; fewer if it converges.
        batch_size: samples per step, by default 128; the last batch of an epoch may be smaller. Not for LBFGS.
        optimizer: of the parameters to train; default `Adam(lr=1e-3)` on all that are not frozen.
        seed: for the order of samples. Layers that draw noise have their own generators.
        schedule: learning-rate schedule; its `.step()` is called after every epoch.
        clip_norm: largest norm of all gradients together.
        callbacks: called in order with an `Epoch` after each complete epoch. One that raises StopIteration, such as
            `EarlyStopping`, ends the run.
        progress: show a progress bar (on standard error).
        title: text before the epoch on that bar, for runs with several stages.

    Returns:
        History with columns epoch, train_loss, seconds, samples_per_second, and validation_* with validation samples.

    Raises:
        ValueError: empty, non-finite or wrongly shaped data; targets outside [0, 1] for a Bernoulli loss; L-BFGS for a
            model whose objective changes from epoch to epoch; a schedule of another optimizer.
        FloatingPointError: a loss or a weight became NaN or infinite; the model keeps the last complete epoch.
        TrainingInterrupted: Ctrl-C; the model keeps the last complete epoch.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}.")
    samples = check_samples(train, "train", model)
    if isinstance(validation, Dataset):
        validation = validation.test
    held_out = None if validation is None else check_samples(validation, "validation", model)
    if held_out is not None and held_out.x.shape[1:] != samples.x.shape[1:]:
        raise ValueError(
            f"validation samples have shape {held_out.x.shape[1:]}, training samples {samples.x.shape[1:]}: "
            "they must be equal."
        )
    if optimizer is None:
        optimizer = Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    if optimizer.full_batch and model.objective_changes:
        raise ValueError(
            f"{type(optimizer).__name__} needs a fixed objective, but that of this model changes from epoch to epoch "
            f"({model.extra_repr()}): train it with Adam."
        )
    batch_size = samples_per_step(optimizer, batch_size, len(samples))
    measured = None if held_out is None else model.batch(held_out)

    def announce(row: dict[str, Any]) -> None:
        for callback in callbacks:
            callback(Epoch(row["epoch"], model, optimizer, row, history))

    history = History({"train_loss": model.loss_unit, "seconds": "s", "samples_per_second": f"{model.sample_name}s/s"})
    return Training(
        model,
        model.loss,
        optimizer,
        model.batch(samples).to(backend_named(model.device), model.dtype),
        batch_size,
        np.random.default_rng(seed),
        history,
        Progress(epochs, len(samples), model.loss_unit, model.sample_name, title=title, visible=progress),
        lambda: None if measured is None else evaluate(model, measured),
        schedule=schedule,
        clip_norm=clip_norm,
        begin=model.begin_epoch,
        announce=announce,
    ).run(epochs)


def samples_per_step(optimizer: Optimizer, batch_size: int | None, samples: int) -> int:
    """The batch size of a run: None means `BATCH_SIZE`, or all samples for L-BFGS.

    Raises ValueError for minibatches with L-BFGS, which estimates curvature from differences of gradients: between batches
    these are mostly noise.
    """
    if optimizer.full_batch:
        if batch_size is not None and batch_size < samples:
            raise ValueError(
                f"{type(optimizer).__name__} uses all {samples} samples at once, got batch_size={batch_size}: leave it "
                "out, or use Adam, which is designed for minibatches."
            )
        return samples
    return BATCH_SIZE if batch_size is None else whole_number("batch_size", batch_size, at_least=1)


def check_samples(source: Dataset | Split | npt.ArrayLike, name: str, model: Autoencoder) -> Split:
    """The samples of a Dataset (training part), Split or array; raises TypeError or ValueError if they cannot be used."""
    if isinstance(source, Dataset):
        source = source.train
    x = source.x if isinstance(source, Split) else source
    x = as_samples(x, f"{name}: expected an array of numbers, a Split or a Dataset")
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
    return source if isinstance(source, Split) else Split(x)


# ---------------------------------------------------------------------------------------------------------------------
# The progress bar of a run: epoch, loss with its unit, samples per second, time left.

_REFRESH = 0.5
"""Seconds between readings of the loss: on a GPU each reading waits for the device."""


class Progress:
    """A bar over all samples of all epochs, on standard error; hidden unless `visible`.

    unit: of the loss; sample_name: what one sample is called; title: text before the epoch.
    """

    def __init__(
        self, epochs: int, samples: int, unit: str, sample_name: str, *, title: str = "", visible: bool = True
    ) -> None:
        from tqdm import tqdm

        self.epochs = epochs
        self.unit = unit
        self.title = f"{title}  " if title else ""
        self.due = time.perf_counter() + _REFRESH
        terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=epochs * samples,
            unit=f" {sample_name}s",
            unit_scale=True,
            disable=not visible,
            dynamic_ncols=True,
            mininterval=0.1 if terminal else 5.0,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left",
        )

    def show(self, epoch: int, count: int, total: Any, seen: int) -> None:
        """Advance by `count` samples; `total` is the summed loss of the `seen` samples of this epoch, on the device."""
        if not self.bar.disable:
            if time.perf_counter() >= self.due:
                self.describe(epoch, float(total) / seen)
                self.due = time.perf_counter() + _REFRESH
            self.bar.update(count)

    def describe(self, epoch: int, loss: float) -> None:
        """Show the epoch and its mean loss before the bar."""
        self.bar.set_description_str(f"{self.title}epoch {epoch}/{self.epochs}  {loss:.4g} {self.unit}", refresh=False)

    def close(self) -> None:
        """Finish the bar and its line."""
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
        """A column as a list, NaN for rows without it."""
        if column not in self.columns:
            raise KeyError(f"no column {column!r} in this history; there are: {', '.join(self.columns) or 'none yet'}.")
        return [row.get(column, math.nan) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def last(self) -> dict[str, Any]:
        """The last row; raises IndexError before the first complete epoch."""
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
# Early stopping: end a run when its validation metric no longer improves (Prechelt 1998).


class EarlyStopping:
    """A callback for `fit` that ends the run if a column of its history has no new minimum for `patience` epochs.

    The validation samples then select the model, so they no longer measure its performance on new samples: hold out a third
    set for that. The model keeps its last weights; `model.load_state_dict(stop.best_state)` restores the best.

    Args:
        column: of the history, to be minimized, such as "validation_loss".
        patience: epochs without a new minimum before the run ends, at least 1.
        least: smallest decrease that counts as a new minimum, in the column's unit.

    Attributes:
        best, best_epoch, best_state: the minimum, its epoch (0 before the first), and the weights then.
    """

    def __init__(self, column: str = "validation_loss", patience: int = 5, least: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {patience}: 5 is usual.")
        if not least >= 0.0:
            raise ValueError(f"least must be at least 0, got {least}.")
        self.column, self.patience, self.least = column, patience, float(least)
        self.best, self.best_epoch = float("inf"), 0
        self.best_state: dict[str, np.ndarray] = {}

    def __call__(self, epoch: Epoch) -> None:
        """Check a complete epoch. Raises StopIteration to end `fit`, and ValueError for an unknown column."""
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
