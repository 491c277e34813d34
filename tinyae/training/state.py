"""What a training run records: its history, the arguments of callbacks, its state, and the file of the state.

`Training.capture` creates a `TrainingState`; `Training.restore` loads it back. It serves three purposes: after an exception,
`fit` restores the state of the last complete epoch; `fit(..., start=state)` continues a run; and a `Checkpoint` writes it to
a file from time to time. A continued run equals an uninterrupted one, bit for bit on the CPU.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tinyae.atomic import write_bytes, write_text
from tinyae.checks import checked, number, reading, whole_number
from tinyae.nn import Module
from tinyae.notebook import curves, table
from tinyae.optim import Optimizer

# ---------------------------------------------------------------------------------------------------------------------
# `History`: one row of numbers per epoch, each column with its unit.

CLOCK = ("seconds", "samples_per_second")
"""The columns that differ between two runs that are equal otherwise."""
_LAST = 5
"""Epochs that a notebook shows."""


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
        return write_text(path, self.to_csv())

    def to_csv(self, run: str | None = None) -> str:
        """The text that `save` writes; with the identity of a run, in a last column `run`."""
        text, owner = io.StringIO(), {} if run is None else {"run": run}
        columns = [*self.columns, *owner]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writerow({name: f"{name} [{self.units[name]}]" if name in self.units else name for name in columns})
        writer.writerows(row | owner for row in self.rows)
        return text.getvalue()

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read what `save` wrote. ValueError names the line that is damaged."""
        history = cls()
        fix = "restore it, or continue the run with --resume, which writes it again"
        with reading(path, "a history of tinyae", fix), open(path, newline="", encoding="utf-8") as file:
            table = csv.reader(file, strict=True)
            names = []
            try:
                for title in next(table, []):
                    name, _, unit = title.partition(" [")
                    names.append(name)
                    if unit:
                        history.units[name] = unit.rstrip("]")
                for cells in table:
                    row = {n: v for n, v in zip(names, cells, strict=True) if v != "" and n != "run"}
                    history.append({n: int(v) if n == "epoch" else float(v) for n, v in row.items()})
            except (ValueError, csv.Error) as error:
                raise ValueError(f"line {table.line_num}: {error}") from error
        return history

    def __repr__(self) -> str:
        if not self.rows:
            return "History(no complete epoch)"
        numbers = ", ".join(f"{name} {v:.6g} {self.units.get(name, '')}".rstrip() for name, v in self.last.items())
        return f"History({len(self)} epochs; last: {numbers})"

    def _repr_html_(self) -> str:
        names = [name for name in self.columns if name not in CLOCK]
        head = [f"{name} [{self.units[name]}]" if name in self.units else name for name in names]
        rows = [[f"{row[name]:.5g}" if name in row else "" for name in names] for row in self.rows[-_LAST:]]
        losses = {name: self[name] for name in names if name.endswith("loss")}
        return table(rows, head, f"History of {len(self)} epochs, the last of them:") + curves(losses)


# ---------------------------------------------------------------------------------------------------------------------
# How a run is interrupted.


class TrainingDiverged(FloatingPointError):
    """A loss or a weight became NaN or infinite. The run is back at the last good epoch; `history` holds the epochs up to it."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during training. The run is back at the last complete epoch; `history` holds the epochs so far."""

    def __init__(self, history: History) -> None:
        few = ("no epoch was complete", "the first epoch is kept")
        kept = few[len(history)] if len(history) < 2 else f"{len(history)} complete epochs are kept"
        super().__init__(f"training was interrupted; {kept}.")
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

    @checked
    def __init__(self, column: str = "validation_loss", patience: int = 5, least: float = 0.0) -> None:
        self.column, self.patience = column, whole_number("patience", patience, at_least=1, advice="5 is usual")
        self.least = number("least", least, at_least=0.0)
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

    def __repr__(self) -> str:
        best = f"best {self.best:.6g} in epoch {self.best_epoch}" if self.best_epoch else "no epoch yet"
        return f"EarlyStopping({self.column!r}, patience={self.patience}, least={self.least:g}; {best})"

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
        return write_bytes(path, self.to_bytes(extra))

    def to_bytes(self, extra: dict[str, Any], run: str | None = None) -> bytes:
        """The content of that file; with the identity of a run."""
        arrays: dict[str, np.ndarray] = {}
        content = vars(self) | {"model": vars(self.model)}
        header = {"format": FORMAT, "run": run, "state": _without_arrays(content, "", arrays), "extra": extra}
        return safetensors_bytes(arrays, {_KEY: json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> TrainingState:
        """Read what `save` wrote. FileNotFoundError without a file, ValueError if it is damaged or of another kind."""
        return cls.load_with_extra(path)[0]

    @classmethod
    def load_with_extra(cls, path: str | Path) -> tuple[TrainingState, dict[str, Any]]:
        """The state, and the `extra` values that were saved with it."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"no checkpoint at {path}: check the path.")
        with reading(path, "a complete checkpoint", "it may be truncated, or another file"):
            arrays, metadata = read_safetensors(path)
            header = json.loads(metadata[_KEY], object_hook=lambda value: _with_array(value, arrays))
            check_format(path, header)
            content = header["state"]
            check_types(header, {"state": dict, "extra": {"stages": [[str, dict, [dict]]]}}, "")
            check_types(content, _STATE, "state")
            model = ModuleState(**content["model"])
            check_finite(model.arrays)
            return cls(**content | {"model": model}), header["extra"]


# ---------------------------------------------------------------------------------------------------------------------
# safetensors files, and the checks of what is read from a file.

FORMAT = 1
"""Of the headers of models and checkpoints."""


def safetensors_bytes(arrays: dict[str, npt.NDArray[Any]], metadata: dict[str, str]) -> bytes:
    """The content of a safetensors file with these arrays and metadata."""
    from safetensors.numpy import save

    # The bytes of an array are written in memory order, so a transposed array would be read back scrambled.
    ordered = {name: np.asarray(value, order="C") for name, value in arrays.items()}
    return save(ordered, metadata)  # not to a file, which for a full disk raises an error of its own


def read_safetensors(path: str | Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The arrays of a safetensors file by name, and its metadata; ValueError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a complete safetensors file ({error}): it may be truncated; train or copy it again."
        ) from error


def run_of(path: Path) -> str | None:
    """The identity of the run that wrote a safetensors file or a `metrics.csv`; None if there is none to be read."""
    from safetensors import safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    with suppress(Exception):  # a damaged file has its own error, where it is read
        if ".csv" in path.name:  # also under the name at which it is staged
            with open(path, newline="", encoding="utf-8") as table:
                return next(csv.DictReader(table)).get("run")
        with safe_open(path, framework="numpy") as file:
            (header,) = file.metadata().values()
            return json.loads(header).get("run")
    return None


def check_format(path: str | Path, header: dict[str, Any]) -> None:
    """Raise ValueError for a header that another version wrote."""
    if header.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{path} has format {header['format']!r}, and this version of tinyae reads format {FORMAT}: update tinyae."
        )


def check_finite(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise ValueError with the name of an array that is not finite."""
    for name, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinite values: train the model again")


def check_types(value: Any, kind: Any, place: str) -> None:
    """Raise ValueError unless a value from a file is of this kind.

    A kind is a type (`float` takes whole numbers, only `bool` takes True, numbers are finite), a tuple of alternatives, or
    None. `{name: kind}` is a dict in which these names, if they are there, have values of these kinds; `[kind]` a list of such
    values, and `[kind, kind]` a list of two.
    """
    if isinstance(kind, tuple):
        for option in kind[:-1]:
            with suppress(ValueError):
                return check_types(value, option, place)
        return check_types(value, kind[-1], place)
    if isinstance(kind, dict) and isinstance(value, dict):
        for name in filter(value.__contains__, kind):
            check_types(value[name], kind[name], f"{place}.{name}".lstrip("."))
    elif isinstance(kind, list) and isinstance(value, list) and len(kind) in (1, len(value)):
        for i, part in enumerate(value):
            check_types(part, kind[i % len(kind)], f"{place}[{i}]")
    elif not _is(value, kind):
        raise ValueError(f"{place} is {type(value).__name__ if isinstance(value, (dict, list)) else repr(value)[:40]}")
    return None


def _is(value: Any, kind: Any) -> bool:
    """Whether a plain value is of a type, or None."""
    if kind in (int, float):
        limit = 2**63 if kind is int else 1e308
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and abs(value) < limit
    return value is None if kind is None else isinstance(kind, type) and isinstance(value, kind)


_KEY = "tinyae-training-state"
_ARRAY = "array in this file"
_STATE = {
    "epoch": int,
    "model": {"arrays": dict, "numbers": dict, "generators": [[[str], dict]]},
    "optimizer": dict,
    "schedule": (None, dict),
    "order_generator": dict,
    "rows": [dict],
    "units": dict,
    "callbacks": [dict],
    "position": (None, {"order": np.ndarray, "seen": int}),
    "stage": str,
    "ended": bool,
}


def _without_arrays(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """`value` for JSON: each array in it is put into `arrays` under its path and replaced by that name."""
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {_ARRAY: path}
    if isinstance(value, dict):
        return {name: _without_arrays(part, f"{path}/{name}", arrays) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(part, f"{path}/{i}", arrays) for i, part in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _with_array(value: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """The array that a name replaced, or another dict unchanged; tuples come back as lists."""
    return arrays[value[_ARRAY]] if value.keys() == {_ARRAY} else value


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
        return cls(
            model.state_dict(),
            {name: getattr(*place) for name, place in _changing(model).items()},
            [(names, dict(generator.bit_generator.state)) for names, generator in _groups(model)],
        )

    def restore(self, model: Module) -> None:
        """Put the state into a module of the same structure; raises ValueError, before any change, if it has another."""
        groups = _groups(model)
        saved, found = [names for names, _ in self.generators], [names for names, _ in groups]
        if saved != found:
            raise ValueError(
                f"the state has random generators {saved}, this {type(model).__name__} has {found}; names in one list "
                "share a generator: build the model as the saved one was built."
            )
        numbers = _changing(model)
        if numbers.keys() != self.numbers.keys():
            raise ValueError(
                f"the state has {sorted(self.numbers)}, this {type(model).__name__} {sorted(numbers)}: "
                "build the model as the saved one was built."
            )
        load_arrays(model, self.arrays)
        for name, place in numbers.items():
            setattr(*place, self.numbers[name])
        for (_, generator), (_, state) in zip(groups, self.generators, strict=True):
            generator.bit_generator.state = state


def load_arrays(model: Module, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """`model.load_state_dict(arrays)`; ValueError also for whole numbers where the model has floating-point numbers."""
    for name, part in model.named_parts():
        if not isinstance(part, Module) and part.dtype.kind == "f" and arrays.get(name, part).dtype.kind in "iub":
            raise ValueError(f"{name} holds {arrays[name].dtype}, expected floating-point numbers: save it as float32.")
    model.load_state_dict(arrays)


def _groups(model: Module) -> list[tuple[list[str], np.random.Generator]]:
    """Each generator of a module once, with all its dotted names."""
    groups: dict[int, tuple[list[str], np.random.Generator]] = {}
    for name, generator in model.named_generators():
        groups.setdefault(id(generator), ([], generator))[0].append(name)
    return list(groups.values())


def _changing(model: Module) -> dict[str, tuple[Module, str]]:
    """Module and attribute of every attribute that training changes, by dotted name."""
    return {
        f"{name}.{attribute}".lstrip("."): (part, attribute)
        for name, part in model.named_modules()
        for attribute in part.changes_in_training
    }


# ---------------------------------------------------------------------------------------------------------------------
# `Checkpoint`: when the state is written.


class Checkpoint:
    """Writes the state of a run to a file: after epochs, and within long ones.

    Args:
        path: of the file, a safetensors file; see `TrainingState.load`.
        minutes: time between two writes within an epoch; None writes after complete epochs only.
        extra: plain values to be saved with the state.

    After an epoch the state is written unless that would cost more than 1 % of the time since the last write, as with
    epochs of milliseconds; and always when the run ends.
    """

    @checked
    def __init__(self, path: str | Path, minutes: float | None = None, **extra: Any) -> None:
        self.path = Path(path)
        self.minutes = None if minutes is None else number("minutes", minutes, above=0.0)
        self.extra = extra
        self.cost, self.written = 0.0, time.perf_counter()
        self.latest: TrainingState | None = None

    def after_step(self, capture: Callable[[], TrainingState]) -> None:
        """Write the state in the middle of an epoch if it is time."""
        if self.minutes is not None and time.perf_counter() - self.written >= 60.0 * self.minutes:
            self.write(capture())

    def after_epoch(self, state: TrainingState) -> None:
        """Write the state after a complete epoch if it is time."""
        if time.perf_counter() - self.written >= 100.0 * self.cost:
            self.write(state)

    def write(self, state: TrainingState) -> None:
        """Write a state now, in place of the last one."""
        started = time.perf_counter()
        self._put(state)
        self.latest, self.written = state, time.perf_counter()
        self.cost = self.written - started

    def _put(self, state: TrainingState) -> None:
        state.save(self.path, **self.extra)
