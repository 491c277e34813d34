"""What a training run records: its history, what callbacks are given, its state, and the file of the state.

`Training.capture` makes a `TrainingState`, `Training.restore` puts it back. It serves three purposes: after an exception,
`fit` restores the state of the last complete epoch; `fit(..., start=state)` continues a run; and a `Checkpoint` writes it to
a file from time to time. A continued run equals an uninterrupted one, bit for bit on the CPU.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tinyae.atomic import write_bytes, write_text
from tinyae.checks import number
from tinyae.nn import Module
from tinyae.optim import Optimizer

# ---------------------------------------------------------------------------------------------------------------------
# `History`: one row of numbers per epoch, each column with its unit.

CLOCK = ("seconds", "samples_per_second")
"""The columns that differ between two runs that are equal otherwise."""


class History:
    """What training measured, epoch by epoch.

    Attributes:
        rows: one dict per complete epoch, e.g. {"epoch": 1, "train_loss": 92.1, ...}.
        units: column -> unit, e.g. {"train_loss": "nats per image", "seconds": "s"}.
        state: of the run after the last of these epochs, for `fit(..., start=history.state)`; None without a run.
    """

    state: TrainingState | None = None

    def __init__(self, units: dict[str, str] | None = None, rows: Iterable[dict[str, Any]] = ()) -> None:
        self.rows = list(rows)
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

    def to_frame(self) -> Any:
        """The rows as a data frame of pandas, one per epoch; ImportError without pandas."""
        return import_module("pandas").DataFrame(self.rows)

    def save(self, path: str | Path) -> Path:
        """Write `metrics.csv`: a header `column [unit]`, then one line per epoch, in full precision. Atomic."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([f"{name} [{self.units[name]}]" if name in self.units else name for name in self.columns])
        for row in self.rows:
            writer.writerow([row.get(name, "") for name in self.columns])
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
            f"{name} {value:.6g}{' ' + self.units[name] if name in self.units else ''}"
            for name, value in self.last.items()
        )
        return f"History({len(self)} epochs; last: {numbers})"


# ---------------------------------------------------------------------------------------------------------------------
# How a run breaks off.


class TrainingDiverged(FloatingPointError):
    """A loss or a weight became NaN or infinite. The run is back at the last good epoch; `history` holds the epochs up to it."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training. The run is back at the last complete epoch; `history` holds the epochs so far."""

    def __init__(self, history: History) -> None:
        count = len(history)
        kept = "the first epoch is kept" if count == 1 else f"{count} complete epochs are kept"
        done = kept if count else "no epoch was complete"
        super().__init__(f"training was interrupted; {done}.")
        self.history = history


# ---------------------------------------------------------------------------------------------------------------------
# Callbacks: what `fit` calls after each complete epoch, and the one that ends a run when its validation metric no longer
# improves (Prechelt 1998).


@dataclass(frozen=True)
class Epoch:
    """The argument of a callback, after each complete epoch."""

    number: int
    model: Any
    optimizer: Optimizer
    row: dict[str, Any]
    history: History


@runtime_checkable
class Resumable(Protocol):
    """A callback with a state, such as `EarlyStopping`: it is reset when a run starts and restored when one continues."""

    def reset(self) -> None:
        """Forget everything: a new run starts."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values and arrays from which the callback can go on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


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
        self.reset()

    def reset(self) -> None:
        """Forget the epochs seen: `fit` calls this when a run starts, but not when it continues one."""
        self.best, self.best_epoch = float("inf"), 0
        self.best_state: dict[str, np.ndarray] = {}

    def state_dict(self) -> dict[str, Any]:
        """The minimum so far, its epoch and its weights."""
        return {"best": self.best, "best_epoch": self.best_epoch, "best_state": self.best_state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.best, self.best_epoch, self.best_state = state["best"], state["best_epoch"], state["best_state"]

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


# ---------------------------------------------------------------------------------------------------------------------
# `TrainingState`.


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Everything that a training run needs to continue, as plain values and NumPy arrays.

    Attributes:
        epoch: number of complete epochs.
        model: of the model, or of the stack that it is a layer of.
        optimizer, schedule: their `state_dict()`; of the schedule None if there is none.
        order_generator: the state of the generator that draws the order of the samples.
        rows, units: of the history, in full precision.
        callbacks: the state of each callback that has one, in order.
        position: of an epoch in progress, the order of its samples, how many of them were used, and the sum of their
            losses; None between epochs.
        stage: the title of the run, which tells the stages of a stack apart.
        ended: whether the run ended before its last epoch, by a callback or because L-BFGS converged.
    """

    epoch: int
    model: ModuleState
    optimizer: dict[str, Any]
    schedule: dict[str, Any] | None
    order_generator: dict[str, Any]
    rows: list[dict[str, Any]]
    units: dict[str, str]
    callbacks: list[dict[str, Any]]
    position: dict[str, Any] | None = None
    stage: str = ""
    ended: bool = False

    def is_complete(self, epochs: int) -> bool:
        """Whether nothing is left to do of a run, or of its stage, of so many epochs."""
        return self.ended or self.epoch >= epochs

    def save(self, path: str | Path, **extra: Any) -> Path:
        """Write the state to a safetensors file, atomically; `extra` are plain values that `load_with_extra` returns."""
        arrays: dict[str, np.ndarray] = {}
        content = vars(self) | {"model": vars(self.model)}
        header = {"format": 1, "state": _without_arrays(content, "", arrays), "extra": extra}
        return write_safetensors(path, arrays, {_KEY: json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> TrainingState:
        """Read what `save` wrote. FileNotFoundError without a file, ValueError if it is damaged or of another kind."""
        return cls.load_with_extra(path)[0]

    @classmethod
    def load_with_extra(cls, path: str | Path) -> tuple[TrainingState, dict[str, Any]]:
        """The state, and the `extra` values that were saved with it."""
        from safetensors import SafetensorError

        if not Path(path).is_file():
            raise FileNotFoundError(f"no checkpoint at {path}: check the path.")
        try:
            arrays, metadata = read_safetensors(path)
            header = json.loads(metadata[_KEY])
            content = _with_arrays(header["state"], arrays)
            return cls(**content | {"model": ModuleState(**content["model"])}), header["extra"]
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} is not a complete checkpoint ({error}): it may be truncated, or another file."
            ) from error


def write_safetensors(path: str | Path, arrays: dict[str, npt.NDArray[Any]], metadata: dict[str, str]) -> Path:
    """Write arrays and metadata to a safetensors file, atomically; OSError if that fails."""
    from safetensors.numpy import save

    # The bytes of an array are written in memory order, so a transposed array would be read back scrambled.
    ordered = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    return write_bytes(path, save(ordered, metadata))  # its own writing raises an error of its own for a full disk


def read_safetensors(path: str | Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The arrays of a safetensors file by name, and its metadata."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


_KEY = "tinyae-training-state"
_ARRAY = "array in this file"


def _without_arrays(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """`value` for JSON: each array in it is put into `arrays` under its path, and its name stands in its place."""
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {_ARRAY: path}
    if isinstance(value, dict):
        return {name: _without_arrays(part, f"{path}/{name}", arrays) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(part, f"{path}/{i}", arrays) for i, part in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _with_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `_without_arrays`; tuples come back as lists."""
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {name: _with_arrays(part, arrays) for name, part in value.items()}
    return [_with_arrays(part, arrays) for part in value] if isinstance(value, list) else value


# ---------------------------------------------------------------------------------------------------------------------
# The part of the state that belongs to the model.
#
# Generators are recorded by identity: two modules that draw from one generator must draw from one again, or each would
# repeat the other's numbers.


@dataclass(frozen=True, eq=False)
class ModuleState:
    """Everything in a module that training changes.

    Attributes:
        arrays: parameters and buffers by dotted name.
        numbers: the attributes named by `Module.changes_in_training`, by dotted name.
        generators: (dotted names, state) of each random generator, with the names of all attributes that refer to it.
    """

    arrays: dict[str, np.ndarray]
    numbers: dict[str, Any]
    generators: list[tuple[list[str], dict[str, Any]]]

    @classmethod
    def of(cls, model: Module) -> ModuleState:
        """The state of a module, as copies."""
        groups = _groups(model)
        return cls(
            model.state_dict(),
            {name: getattr(part, attribute) for name, part, attribute in _changing(model)},
            [([name for name, _ in group], dict(group[0][1].bit_generator.state)) for group in groups],
        )

    def restore(self, model: Module) -> None:
        """Put the state into a module of the same structure; raises ValueError, before any change, if it has another."""
        groups = _groups(model)
        saved, found = [names for names, _ in self.generators], [[name for name, _ in group] for group in groups]
        if saved != found:
            raise ValueError(
                f"the state has random generators {saved}, this {type(model).__name__} has {found}; names in one list "
                "share a generator: build the model as the saved one was built."
            )
        numbers = {name: (part, attribute) for name, part, attribute in _changing(model)}
        if numbers.keys() != self.numbers.keys():
            raise ValueError(
                f"the state has {sorted(self.numbers)}, this {type(model).__name__} {sorted(numbers)}: "
                "build the model as the saved one was built."
            )
        model.load_state_dict(self.arrays)
        for name, (part, attribute) in numbers.items():
            setattr(part, attribute, self.numbers[name])
        for group, (_, state) in zip(groups, self.generators, strict=True):
            group[0][1].bit_generator.state = state


def _groups(model: Module) -> list[list[tuple[str, np.random.Generator]]]:
    """The generators of a module with their dotted names; those that are one object in one list."""
    groups: dict[int, list[tuple[str, np.random.Generator]]] = {}
    for name, generator in model.named_generators():
        groups.setdefault(id(generator), []).append((name, generator))
    return list(groups.values())


def _changing(model: Module) -> list[tuple[str, Module, str]]:
    """(dotted name, module, attribute) of every attribute that training changes."""
    return [
        (f"{name}.{attribute}".lstrip("."), part, attribute)
        for name, part in model.named_modules()
        for attribute in part.changes_in_training
    ]


# ---------------------------------------------------------------------------------------------------------------------
# `Checkpoint`: when the state is written.


class Checkpoint:
    """Writes the state of a run to a file: after epochs, and within long ones.

    Args:
        path: of the file, a safetensors file; see `TrainingState.load`.
        minutes: time between two writes within an epoch; None writes after complete epochs only.
        best: a column of the history: the state after the epoch in which it is smallest is kept too, in `best_path`.
        extra: plain values to be saved with the state.

    After an epoch the state is written unless that would cost more than 1 % of the time since the last write, as with
    epochs of milliseconds; and always when the run ends.
    """

    def __init__(self, path: str | Path, minutes: float | None = None, best: str | None = None, **extra: Any) -> None:
        self.path = Path(path)
        self.best, self.best_path = best, self.path.with_stem(f"{self.path.stem}-best")
        self.minutes = None if minutes is None else number("minutes", minutes, above=0.0)
        self.extra = extra
        self.cost, self.written = 0.0, time.perf_counter()
        self.latest: TrainingState | None = None

    def after_step(self, capture: Callable[[], TrainingState]) -> None:
        """Write the state in the middle of an epoch if it is time."""
        if self.minutes is not None and time.perf_counter() - self.written >= 60.0 * self.minutes:
            self.write(capture())

    def after_epoch(self, state: TrainingState) -> None:
        """Write the state after a complete epoch if it is time, and in any case if it is the best."""
        if self.best is not None:
            if self.best not in state.rows[-1]:
                raise ValueError(f"the history has no column {self.best!r}: choose one of {', '.join(state.rows[-1])}.")
            if state.rows[-1][self.best] < min((row[self.best] for row in state.rows[:-1]), default=math.inf):
                state.save(self.best_path, **self.extra)
        if time.perf_counter() - self.written >= 100.0 * self.cost:
            self.write(state)

    def write(self, state: TrainingState) -> None:
        """Write a state now, in place of the last one."""
        started = time.perf_counter()
        state.save(self.path, **self.extra)
        self.latest, self.written = state, time.perf_counter()
        self.cost = self.written - started
