"""`fit`: the training loop, written to be read.

Per batch: forward, loss, backward, clip, step (see `steps`). Per epoch: measure on the validation samples, add a row to the
history (see `epochs`), adapt the learning rate, call the callbacks. Losses are accumulated on the device; the host only asks for
them when the progress bar is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend import backend_named
from tinyae.backend.ragged import JOINED
from tinyae.data import Dataset, Lengths, Split
from tinyae.models import Autoencoder
from tinyae.optim import Adam, Optimizer
from tinyae.training.epochs import run_epochs
from tinyae.training.history import History
from tinyae.training.metrics import evaluate, metric_units
from tinyae.training.progress import Progress
from tinyae.training.steps import Steps, samples_per_step


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
            f"{type(optimizer).__name__} minimises one objective, and that of this model changes from epoch to epoch "
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


def check_samples(source: Dataset | Split | np.ndarray, name: str, model: Autoencoder) -> np.ndarray:
    """The samples of a Dataset (training part), Split or array, as a float array; raises on what cannot be trained
    on.
    """
    if isinstance(source, Dataset):
        source = source.train
    x = source.x if isinstance(source, Split) else source
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array, Split or Dataset, got {type(x).__name__}; {JOINED}.")
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
