"""`fit`: the training loop, written to be read.

In reading order: `Training.epoch`, the loop over batches (zero the gradients, forward, backward, clip, step);
`Training.complete`, which measures, records and reports after each epoch; `Training.run`, from start to end or exception;
`Training.capture` and `restore`, the state of a run; and `fit`, which creates a `Training` and runs it. Then follow the
checks and the progress bar. Losses are accumulated on the device and read when the bar is updated and at the end of an epoch.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from traceback import clear_frames
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae import checks
from tinyae.autodiff import Node, Tensor, no_grad
from tinyae.autodiff.tape import ancestors
from tinyae.backend import Array, backend_named, backend_of, parallel
from tinyae.checks import checked, whole_number
from tinyae.data import Dataset, Split
from tinyae.losses import Loss
from tinyae.models import Autoencoder, Batch
from tinyae.models.autoencoder import check_samples
from tinyae.nn import BatchNorm, Module, evaluating, observe_calls
from tinyae.optim import LBFGS, Adam, Optimizer, clip_grad_norm
from tinyae.streams import progress_bar
from tinyae.training.metrics import Metrics, evaluate
from tinyae.training.state import (
    Checkpoint,
    Epoch,
    History,
    ModuleState,
    Resumable,
    TrainingDiverged,
    TrainingInterrupted,
    TrainingState,
)

BATCH_SIZE = 128
"""Samples per step of a gradient method by default."""


@dataclass
class Training:
    """One training run: its settings and its state.

    Attributes:
        model: trained in place.
        loss_of: the loss of a batch of Tensors.
        data: the whole set, on the model's device.
        optimizer: of the parameters to train.
        loss_unit, sample_name: what the history and the progress bar call the unit of the loss and a sample.
        measure: computes metrics of the model after each epoch; their columns begin with `held_out`.
        begin: called before each epoch with its number, from 1, and the data.
        epochs and the fields after it: as for `fit`.
        per_step, used: how many samples a step and an epoch use.
        generator: draws a new order of the samples for each epoch.
        history: gets a row after each epoch: epoch, train_loss, the metrics of `measure`, seconds, samples_per_second.
        position: the place in the current epoch.
        kept, previous: the states after the last complete epoch and after the one before.
        ends: whether a callback ended the run.
        terms: those of the latest loss, for the error message if one is not finite.
    """

    model: Module
    loss_of: Callable[[Batch], Loss]
    data: Batch
    optimizer: Optimizer
    loss_unit: str
    sample_name: str
    measure: Callable[[], Metrics] | None
    begin: Callable[[int, Batch], None] | None = None
    held_out: str = "validation"
    epochs: int = 10
    batch_size: int | None = None
    drop_last: bool = False
    seed: int = 0
    schedule: Any = None
    clip_norm: float | None = None
    callbacks: Iterable[Any] = ()
    checkpoint: Checkpoint | None = None
    whole: Module | None = None
    threads: int | None = None
    progress: bool = True
    title: str = ""
    kept: TrainingState = field(init=False)
    previous: TrainingState = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        """Raise ValueError or TypeError for settings that have no meaning, alone or together."""
        samples, batch_size, method = len(self.data), self.batch_size, type(self.optimizer).__name__
        self.epochs = whole_number("epochs", self.epochs, at_least=1)
        if not self.optimizer.full_batch:
            self.per_step = BATCH_SIZE if batch_size is None else whole_number("batch_size", batch_size, at_least=1)
        elif batch_size is None or batch_size >= samples:
            self.per_step = samples
        else:  # curvature is estimated from differences of gradients, which between batches are mostly noise
            raise ValueError(
                f"{method} uses all {samples} samples at once, got batch_size={batch_size}: leave it "
                "out, or use Adam, which is designed for minibatches."
            )
        self.used = samples - samples % self.per_step if self.drop_last else samples
        if not self.used:
            raise ValueError(
                f"drop_last leaves out the only batch, got {samples} samples for batch_size={self.per_step}: "
                "choose a smaller one."
            )
        if self.clip_norm is not None:
            checks.number("clip_norm", self.clip_norm, above=0.0)
            if self.optimizer.full_batch:
                raise ValueError(
                    f"{method} chooses its own step lengths, got clip_norm={self.clip_norm}: leave it out."
                )
        if self.schedule is not None and not hasattr(self.schedule, "step"):
            raise TypeError(f"schedule must have a method step(), got {self.schedule!r}: make one of tinyae.optim.")
        if getattr(self.schedule, "optimizer", self.optimizer) is not self.optimizer:
            raise ValueError(
                "the schedule belongs to another optimizer, so it would have no effect: make one for this optimizer."
            )
        self.generator = np.random.default_rng(whole_number("seed", self.seed, at_least=0))
        self.callbacks = tuple(self.callbacks)
        self.resumable = [callback for callback in self.callbacks if isinstance(callback, Resumable)]
        self.history = History(
            {"train_loss": self.loss_unit, "seconds": "s", "samples_per_second": f"{self.sample_name}s/s"}
        )
        self.position, self.terms, self.ends = Position(0), Terms(), False

    def epoch(self) -> float:
        """The loop: one pass over the samples in random order; returns the mean loss per sample."""
        optimizer, at = self.optimizer, self.position
        for batch in self.data.batches(self.per_step, at.order, at.seen):
            optimizer.zero_grad()
            loss = self.loss_of(batch)
            loss.backward()
            if self.clip_norm is not None:
                clip_grad_norm(optimizer.flat.tensors, self.clip_norm)
            optimizer.step()
            self.terms.see(loss, first=at.seen == 0)
            at.add(loss.total.data, len(batch))
            self.bar.show(at, len(batch))
            if self.checkpoint is not None:
                self.checkpoint.after_step(self.capture)
        return float(at.total) / max(at.seen, 1)

    def complete(self, number: int, loss: float) -> None:
        """Measure, keep and announce a complete epoch, unless one of its metrics or weights is not finite."""
        seconds = time.perf_counter() - self.started
        row: dict[str, Any] = {"epoch": number, "train_loss": loss}
        if self.measure is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                found = self.measure()
            row |= {f"{self.held_out}_{name}": value for name, value in found.items()}
            self.history.units |= {f"{self.held_out}_{name}": unit for name, unit in found.units.items()}
        row |= {"seconds": seconds, "samples_per_second": self.used / max(seconds, 1e-9)}
        self._check_finite(row)
        self.history.append(row)
        if self.schedule is not None:
            self.schedule.step()
        self.position, self.previous, self.ends = Position(number), self.kept, False
        try:
            for callback in self.callbacks:
                try:
                    callback(Epoch(number, self.model, self.optimizer, row, self.history))
                except StopIteration:
                    self.ends = True
        finally:
            self.kept = self.capture()
        if self.checkpoint is not None:
            self.checkpoint.after_epoch(self.kept)
        self.model.train()
        self.started = time.perf_counter()

    def run(self, start: TrainingState | None = None) -> History:
        """Train for `epochs` epochs, or iterations of L-BFGS, or continue from a state; leaves the model in evaluation mode.

        After an exception, the state of the last complete epoch is restored: of model, optimizer, schedule, generators and
        callbacks. Raises what `fit` raises.
        """
        if start is None:
            for part in (self.schedule, *self.resumable):
                if callable(getattr(part, "reset", None)):
                    part.reset()
        elif start.epoch >= self.epochs:
            raise ValueError(
                f"the run to continue has {start.epoch} complete epochs, got epochs={self.epochs}: epochs counts from the start "
                f"of that run, so give more than {start.epoch}."
            )
        else:
            self.restore(start)
        self.kept = self.previous = self.capture()
        self.bar = Progress(self)
        self.started = time.perf_counter()
        try:
            self.model.train()
            with parallel.threads(self.threads):
                if self.optimizer.full_batch:
                    self._full_batch()
                else:
                    self._minibatches()
        except BaseException as stop:
            in_step = self.position.seen < self.used
            if isinstance(stop, MemoryError):
                clear_frames(stop.__traceback__)  # whose arrays fill the memory
            self.restore(self.kept)
            with suppress(OSError):  # the error to report is the one that ended the run
                self._save()
            if isinstance(stop, KeyboardInterrupt):
                raise TrainingInterrupted(self.history) from None
            if isinstance(stop, MemoryError) and in_step:
                raise MemoryError(self._too_large(stop)) from stop
            raise
        else:
            if self.kept.epoch < self.epochs:
                self.kept = replace(self.kept, ended=True)
            self._save()
        finally:
            self.history.state = self.kept
            self.bar.close()
            self.model.eval()
        return self.history

    def _minibatches(self) -> None:
        """The loop over epochs, each with a new order of the samples."""
        self._check_last_batch()
        for number in range(self.position.number + (self.position.order is None), self.epochs + 1):
            if self.position.order is None:
                self.position = Position(number, self.generator.permutation(len(self.data))[: self.used])
                if self.begin is not None:
                    self.begin(number, self.data)
            with np.errstate(over="ignore", invalid="ignore"):  # `complete` reports a NaN
                loss = self.epoch()
            self.bar.describe(number, loss)
            self.complete(number, loss)
            if self.ends:
                break

    def _check_last_batch(self) -> None:
        """Raise ValueError if the last batch is one sample, from which a BatchNorm would see only one number per feature."""
        last = self.used % self.per_step or self.per_step
        norms = [part for _, part in self.model.named_modules() if isinstance(part, BatchNorm) and part.training]

        def check(module: Module, inputs: tuple[Any, ...], output: object) -> None:
            if module in norms and inputs[0].size == inputs[0].shape[-1]:
                advice = "leave it out with drop_last=True" if last < self.used else "give more samples"
                raise ValueError(
                    f"{module}: training needs at least 2 numbers per feature, got a last batch of 1 of {self.used} samples "
                    f"with batch_size={self.per_step}: {advice}, or choose another batch_size."
                )

        if norms and last == 1:
            with _undisturbed(self.model), no_grad(), observe_calls(check):
                self.model(self.data.rows(slice(0, 1)).tensors().x)

    def _too_large(self, error: MemoryError) -> str:
        """The sentence for a step that needs more memory than there is, estimated from the tapes of one and two samples."""
        held: list[int] = []
        with suppress(Exception), _undisturbed(self.model):
            for count in (1, 2):
                loss = self.loss_of(self.data.rows(slice(0, count)).tensors()).total
                results = [part for node in ancestors(loss.node or Node()) for part in (node.out, node.residuals)]
                arrays = [array for part in results for array in (part if isinstance(part, tuple) else (part,))]
                held.append(sum(getattr(array, "nbytes", 0) for array in arrays))
        size = min(self.per_step, len(self.data))
        each = (held[1] - held[0]) * 1.5e-9 if len(held) == 2 else 0.0
        about = f"about {size * each:.2g} GB" if each else "more memory than there is"
        fix = "use fewer samples, or Adam" if self.optimizer.full_batch else "choose a smaller batch_size"
        return (
            f"this step of {size} samples needs {about}, for results and gradients ({error or 'out of memory'}): {fix}."
        )

    def _full_batch(self) -> None:
        """Up to `epochs` iterations of L-BFGS on all data at once, fewer if its tolerances are met.

        Buffers change once per accepted step, as in one forward pass, and not in the trials of the line search. A BatchNorm
        stores the statistics of that pass instead of averaging them, because they are those of all samples.

        Raises ValueError if two evaluations of the loss differ because the model draws random numbers: a line search cannot
        distinguish such differences from progress.
        """
        optimizer, data, done = self.optimizer, self.data.rows(slice(None)).tensors(), self.position.number
        assert isinstance(optimizer, LBFGS)
        averaging = [(part, part.momentum) for _, part in self.model.named_modules() if isinstance(part, BatchNorm)]
        if self.begin is not None and not done:
            self.begin(1, self.data)

        def buffers() -> list[tuple[Tensor, Array]]:
            return [(buffer, buffer.data.copy()) for _, buffer in self.model.named_buffers()]

        accepted = buffers()

        def rewind() -> None:
            for buffer, value in accepted:
                buffer.data = value.copy()

        def whole() -> Tensor:
            rewind()
            for norm, momentum in averaging:
                norm.momentum = float(momentum > 0.0)
            try:
                return self.loss_of(data).total
            finally:
                for norm, momentum in averaging:
                    norm.momentum = momentum

        def after(iteration: int, loss: float) -> None:
            nonlocal accepted
            accepted = buffers()
            self.bar.describe(done + iteration, loss, len(self.data))
            self.complete(done + iteration, loss)
            if self.ends or done + iteration == self.epochs:
                raise StopIteration

        with no_grad():
            looks = [float(self.loss_of(data).total.item()) for _ in range(2)]
        if looks[0] != looks[1] and np.isfinite(looks).all():
            raise ValueError(
                f"L-BFGS needs the same loss for the same weights, got {looks[0]:.6g} and then {looks[1]:.6g}: the "
                "model draws noise, so train it with Adam (optimizer adam), or without noise."
            )
        optimizer.max_iterations = self.epochs
        optimizer.step(whole, after)
        rewind()

    def _check_finite(self, row: dict[str, Any]) -> None:
        """Raise TrainingDiverged unless all metrics of an epoch and all weights after it are finite.

        If the loss of its first batch was already not finite, the last step of the previous epoch is to blame, and the run
        returns to the state before that epoch.
        """
        wrong = [f"{name.replace('_', ' ')} became {value}" for name, value in row.items() if not math.isfinite(value)]
        state = self.model.state_dict()
        wrong += [f"{name} is NaN or infinite" for name, value in state.items() if not np.isfinite(value).all()]
        if wrong:
            if not math.isfinite(float(self.terms.first)):
                self.kept = self.previous
            known, epoch = str(self.terms), self.kept.epoch
            raise TrainingDiverged(
                f"{wrong[0]} in epoch {row['epoch']}{known and f' ({known})'}: "
                f"try a smaller learning rate (now {self.optimizer.lr:g}) or clip_norm=1.0; model and optimizer are again "
                f"as they were {f'after epoch {epoch}' if epoch else 'before training'}.",
                self.history,
            )

    # The state of the run.

    def capture(self) -> TrainingState:
        """The state now, as copies."""
        at = self.position
        return TrainingState(
            epoch=at.number - (at.order is not None),
            model=ModuleState.of(self.whole or self.model),
            optimizer=self.optimizer.state_dict(),
            schedule=self.schedule.state_dict() if hasattr(self.schedule, "state_dict") else None,
            order_generator=dict(self.generator.bit_generator.state),
            rows=list(self.history.rows),
            units=dict(self.history.units),
            callbacks=[callback.state_dict() for callback in self.resumable],
            position=None if at.order is None else at.state_dict(),
            stage=self.title,
        )

    def restore(self, state: TrainingState) -> None:
        """Put back what `capture` returned, here or in another process.

        Raises ValueError for a state of another model, optimizer, schedule or stage.
        """
        callbacks, scheduled = self.resumable, hasattr(self.schedule, "state_dict")
        if (state.schedule is not None, len(state.callbacks)) != (scheduled, len(callbacks)):
            raise ValueError(
                f"the state is that of a run {'with' if state.schedule else 'without'} a schedule and with "
                f"{len(state.callbacks)} callbacks that have a state, this run has "
                f"{'one' if scheduled else 'none'} and {len(callbacks)}: make them the same."
            )
        if state.stage != self.title:
            raise ValueError(
                f"the state is of the stage {state.stage!r}, this run is {self.title!r}: give another start."
            )
        state.model.restore(self.whole or self.model)
        if state.schedule is not None:
            self.schedule.load_state_dict(state.schedule)
        self.optimizer.load_state_dict(state.optimizer)  # after the schedule: a callback may have set another rate
        self.generator.bit_generator.state = state.order_generator
        self.history.rows, self.history.units = list(state.rows), dict(state.units)
        for callback, saved in zip(callbacks, state.callbacks, strict=True):
            callback.load_state_dict(saved)
        at = state.position
        self.position = Position(state.epoch) if at is None else Position(state.epoch + 1, **at)
        self.kept = self.previous = state

    def _save(self) -> None:
        """Write the state of the last complete epoch, if there is a file for it."""
        if self.checkpoint is not None and self.kept.epoch and self.checkpoint.latest is not self.kept:
            self.checkpoint.write(self.kept)


@dataclass
class Position:
    """The place in an epoch.

    Attributes:
        number: of the epoch, from 1.
        order: of its samples; None after the epoch.
        seen: how many of them were used.
        total: the sum of their losses; an array on the device, so that nothing waits for it.
    """

    number: int
    order: npt.NDArray[np.int64] | None = None
    seen: int = 0
    total: Any = 0.0

    def add(self, loss: Array, count: int) -> None:
        """Note a batch of `count` samples and its mean loss."""
        self.total, self.seen = self.total + loss * float(count), self.seen + count

    def state_dict(self) -> dict[str, Any]:
        """Everything but the number, on the host."""
        total = self.total if isinstance(self.total, float) else backend_of(self.total).to_host(self.total)
        return {"order": self.order, "seen": self.seen, "total": total}


class Terms:
    """The terms of the latest loss, or of the first that was not finite; kept on the device, so that the host does not wait.

    first: the loss of the first batch of the epoch.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.unit = ""
        self.latest: Any = None
        self.first: Any = 0.0

    def see(self, loss: Loss, first: bool) -> None:
        """Record the loss of a step; `first`: of the first one of an epoch."""
        if first:
            self.first = loss.total.data
        if len(loss.terms) < 2:
            return
        values = [term.data for term in loss.terms.values()]
        xp = backend_of(values[0]).xp
        now = xp.stack(values)
        if self.latest is not None and self.names == tuple(loss.terms):  # a warm-up may add or drop a term
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


# ---------------------------------------------------------------------------------------------------------------------
# `fit`, and what it checks.


@checked
def fit(
    model: Autoencoder,
    train: Dataset | Split | npt.ArrayLike,
    validation: Dataset | Split | npt.ArrayLike | None = None,
    *,
    epochs: int = 10,
    batch_size: int | None = None,
    drop_last: bool = False,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    schedule: Any = None,
    clip_norm: float | None = None,
    callbacks: Iterable[Callable[[Epoch], None]] = (),
    start: TrainingState | None = None,
    checkpoint: Checkpoint | None = None,
    whole: Module | None = None,
    threads: int | None = None,
    progress: bool = True,
    title: str = "",
) -> History:
    """Train an autoencoder to reconstruct `train`.

    A second `fit` keeps the weights, and the optimizer if it is given the same one; everything else starts anew: the order
    of samples, schedules, warm-up. With `start` it continues the run instead.

    Args:
        model: trained in place, on the device it is on.
        train: samples (N, ...) as an array, list, Split or Dataset (its training part), or a `tinyae.data.Source`: any object
            with `len` and `take(rows)`, read a batch at a time.
        validation: samples to evaluate on after every epoch, in columns validation_*; of a Dataset its validation part or,
            without one, its test part, in columns test_*: choose nothing by those. None records the training loss only.
        epochs: passes over the training samples; with LBFGS, maximum iterations. Each uses all samples; it may converge in fewer.
        batch_size: samples per step, by default 128; the last batch of an epoch may be smaller. Not for LBFGS.
        drop_last: leave out the last batch of an epoch if it is smaller; other samples are left out in each epoch.
        optimizer: of the parameters to train; default `Adam(lr=1e-3)` on all that are not frozen.
        seed: for the order of samples. Layers that draw noise have their own generators.
        schedule: learning-rate schedule, started anew; its `.step()` is called after every epoch.
        clip_norm: largest norm of all gradients together.
        callbacks: called in order with an `Epoch` after each one. StopIteration, as `EarlyStopping` raises it, ends the run.
        start: continue the run that ended with this state, such as `history.state`, given the same arguments: on the CPU, the
            result is that of one long run, bit for bit. Optimizer, schedule and callbacks are set to the state.
        checkpoint: writes the state of the run to a file from time to time.
        whole: the model that `model` is a part of, if the state is to hold all of it.
        threads: N, threads that compute on the CPU; by default as many as the BLAS uses. Results do not depend on it.
        progress: show a progress bar (on standard error).
        title: text before the epoch on that bar, for runs with several stages.

    Returns:
        History with columns epoch, train_loss, seconds, samples_per_second, and, with samples for them, validation_* or test_*.

    Raises:
        ValueError: empty, non-finite or wrongly shaped data; targets outside [0, 1] for a Bernoulli loss; L-BFGS for a
            model whose objective changes from epoch to epoch; a schedule of another optimizer.
        TrainingDiverged: a loss or a weight became NaN or infinite (a FloatingPointError).
        TrainingInterrupted: Ctrl-C (a KeyboardInterrupt).

    After any exception, model, optimizer, schedule, generators and callbacks are as after the last complete epoch.
    """
    samples = check_samples(train, "train", model)
    validation, name = held_out_part(validation)
    measure = None
    if validation is not None:
        held_out = check_samples(validation, name, model)
        if held_out.source.shape[1:] != samples.source.shape[1:]:
            raise ValueError(
                f"{name} samples have shape {held_out.source.shape[1:]}, training samples {samples.source.shape[1:]}: "
                "they must be equal."
            )
        measure = partial(evaluate, model, model.batch(held_out))
    if optimizer is None:
        optimizer = Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    if optimizer.full_batch and model.objective_changes:
        raise ValueError(
            f"{type(optimizer).__name__} needs a fixed objective, but that of this model changes from epoch to epoch "
            f"({model.extra_repr()}): train it with Adam."
        )
    data = model.batch(samples).to(backend_named(model.device), model.dtype)
    run = Training(
        model, model.loss, data, optimizer, model.loss_unit, model.sample_name, measure, model.begin_epoch, name,
        epochs=epochs, batch_size=batch_size, drop_last=drop_last, seed=seed, schedule=schedule, clip_norm=clip_norm,
        callbacks=callbacks, checkpoint=checkpoint, whole=whole, threads=threads, progress=progress, title=title,
    )  # fmt: skip
    warn_of_range(model, data)
    return run.run(start)


def held_out_part(samples: Any) -> tuple[Any, str]:
    """The samples to evaluate on after every epoch, and whether they are validation or test samples; see `fit`."""
    if isinstance(samples, Dataset):
        return (samples.test, "test") if samples.validation is None else (samples.validation, "validation")
    return samples, "validation"


OUTPUT_RANGES = {
    "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf), "softplus": (0.0, math.inf),
    "elu": (-1.0, math.inf), "gelu": (-0.17, math.inf), "silu": (-0.279, math.inf),
}  # fmt: skip
"""The values that an activation can give."""


def warn_of_range(model: Autoencoder, data: Batch) -> None:
    """Warn if the targets lie outside the values that the last activation of the model can give."""
    low, high = float(data.target.min()), float(data.target.max())
    if low >= 0.0 and high <= 1.0:  # in the range of every activation
        return
    with _undisturbed(model):
        x = Tensor(data.rows(slice(0, 1)).x, requires_grad=True)
        node = getattr(model.reconstruction.output(model(x)), "node", None)
    while node is not None and node.name in ("reshape", "transpose", "getitem"):
        node = node.parents[0]
    name = "" if node is None else node.params.get("activation", node.name)
    least, most = OUTPUT_RANGES.get(name, (-math.inf, math.inf))
    slack = 1e-6 * (high - low)
    if low < least - slack or high > most + slack:
        warnings.warn(
            f"the output of this model is a {name}, from {least:g} to {most:g}, but the samples go from {low:.4g} to "
            f"{high:.4g}, which it cannot reach: scale the samples, or end the decoder without an activation "
            "(output_activation='identity'; of sparse and stacked models loss='squared_error').",
            stacklevel=4,
        )


@contextmanager
def _undisturbed(model: Module) -> Iterator[None]:
    """Evaluation mode for a look at what the model computes; afterward its random generators are as they were."""
    states = [(generator, generator.bit_generator.state) for _, generator in model.named_generators()]
    try:
        with evaluating(model):
            yield
    finally:
        for generator, state in states:
            generator.bit_generator.state = state


# ---------------------------------------------------------------------------------------------------------------------
# The progress bar of a run: epoch, loss with its unit, samples per second, time left.

_REFRESH = 0.5
"""Seconds between readings of the loss: on a GPU each reading waits for the device."""


class Progress:
    """A progress bar, on standard error: the samples of all epochs of a run."""

    def __init__(self, run: Training) -> None:
        self.due = time.perf_counter() + _REFRESH
        self.before, self.epochs, self.unit = f"{run.title}  " if run.title else "", run.epochs, run.loss_unit
        self.bar: Any = None
        if run.progress:
            self.bar = progress_bar(
                initial=run.kept.epoch * run.used + run.position.seen, total=run.epochs * run.used, unit_scale=True,
                unit=f" {run.sample_name}s", bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left",
            )  # fmt: skip

    def show(self, at: Position, count: int) -> None:
        """Advance by `count` samples, to this position."""
        if self.bar is not None:
            if time.perf_counter() >= self.due:
                self.describe(at.number, float(at.total) / at.seen)
                self.due = time.perf_counter() + _REFRESH
            self.bar.update(count)

    def describe(self, epoch: int, loss: float, count: int = 0) -> None:
        """Show the epoch and its mean loss before the bar, and advance it by `count` samples."""
        if self.bar is not None:
            text = f"{self.before}epoch {epoch}/{self.epochs}  {loss:.4g} {self.unit}"
            self.bar.set_description_str(text, refresh=False)
            self.bar.update(count)

    def close(self) -> None:
        """Finish the bar and its line."""
        if self.bar is not None:
            self.bar.close()
