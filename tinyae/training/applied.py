"""The data of a run: loading them as its configuration says, and preparing new data in the same way.

A run remembers how its data were prepared: the options they were loaded with, and for a table or a recording its `Schema`, with
names, order and kinds of the columns, the means that fill gaps, and the scaler. So new data need no options, and do not
influence how they are prepared.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.data import (
    Columns,
    Dataset,
    Scaler,
    Schema,
    Split,
    cut_windows,
    load,
    load_series,
    read_series,
    rewindow,
    table,
)
from tinyae.data.catalog import ENTRIES, canonical
from tinyae.data.dataset import Kind, as_samples
from tinyae.data.formats import read_npy
from tinyae.data.pictures import SUFFIXES as PICTURES
from tinyae.data.pictures import read_picture
from tinyae.data.tables import is_table, read_table
from tinyae.models import AnomalyDetector, Autoencoder, model_entry

Config = Mapping[str, Any]
"""The configuration of a run, or the part of it that says how its data are loaded: `data`, the name or path, `data_options` for
pictures, `table` for the columns of a table or a recording, `windows`, `validation` and `seed`."""


def load_data(config: Config) -> Dataset:
    """The data that a configuration names, with the parts that it asks for.

    Raises ValueError for options that would have no effect, and what `load`, `table` and `load_series` raise.
    """
    name, windows, columns = config["data"], config.get("windows"), dict(config.get("table", {}))
    path = Path(name).expanduser()
    if windows is not None and (is_own_table(name) or _is_array_of_steps(path)):
        if "kind" in columns:
            raise ValueError(
                "--as says what a row of a table is, and with --window it is a step: leave one of them out."
            )
        if "test_share" in columns:
            columns["train"] = 1.0 - columns.pop("test_share")
        data = load_series(path, **windows, **columns)
    elif is_own_table(name):
        data = table(path, **columns)
    else:
        divided = {}
        if "test_share" in columns and canonical(name) not in ENTRIES:
            divided["test_share"] = columns.pop("test_share")
        if columns and not (windows and columns.keys() == {"scaling"}):
            option = next(iter(columns)).replace("_", "-")
            raise ValueError(f"--{option} is about the columns of a table, and {name} is not a table: leave it out.")
        data = load(name, **config.get("data_options", {}), **divided)
        data = data if windows is None else rewindow(data, **windows, **columns)
    share = config.get("validation")
    return data if share is None else data.hold_out(share, config["seed"])


def _is_array_of_steps(path: Path) -> bool:
    """Whether this is a `.npy` with the axes of a recording, (T,) or (T, D)."""
    return path.suffix.lower() == ".npy" and read_npy(path).ndim < 3


def is_own_table(name: str) -> bool:
    """Whether this is the path of a table or a recording, not the name of a published set."""
    return canonical(name) not in ENTRIES and is_table(Path(name))


def lasting(name: str) -> str:
    """A path made absolute; the name of a data set unchanged."""
    return name if canonical(name) in ENTRIES else os.path.abspath(os.path.expanduser(name))


def prepare(config: Config, source: Any, **pictures: Any) -> Dataset:
    """New data, prepared as those of a run were: all of them are test samples, in their order.

    Args:
        source: for a run on a table or a recording a file, a data frame, a dict of columns or of single values, or an array in
            the units of the table; else the name of a data set, a file, a folder, one picture, or samples (N, ...) or one
            sample as an array.
        pictures: options of `load_folder` that replace those of the run.
    """
    schema = Schema.of_plain(config["schema"]) if config.get("schema") else None
    named = isinstance(source, str | os.PathLike)
    if schema is not None and (not named or is_own_table(os.fspath(source)) or _is_array_of_steps(Path(source))):
        return _by_schema(config, schema, source)
    if not named:
        return _of_samples(config, source)
    path, how = Path(source).expanduser(), config.get("data_options", {}) | pictures
    if path.suffix.lower() in PICTURES and path.is_file():
        x = read_picture(path, how.get("image_size"), how.get("gray", False))
        return replace(tested(config, Split(x[None], ids=np.array([path.name]))), name=path.name)
    if is_own_table(os.fspath(source)):  # of a run on an array: its values as they are
        table_read = read_table(path)
        rows = Schema.of_table(table_read, Columns()).encode(table_read)
        return replace(_of_samples(config, rows.x.astype(np.float32)), name=path.name)
    data = _classes_of(config, load(source, **(how if path.is_dir() else pictures), test_share=1.0))
    windows = config.get("windows")
    if windows is not None and data.kind == "series":  # other data may already be windows, which are not cut again
        data = rewindow(data, **windows, scaling=config.get("table", {}).get("scaling"))
    return all_tested(data)


def _classes_of(config: Config, data: Dataset) -> Dataset:
    """New data with the class numbers of the run, by name; without labels, and a remark, if it has no such class."""
    known = {name: n for n, name in enumerate(config.get("class_names", ()))}
    if data.source or not known or not data.class_names or data.test.y is None or data.class_names == tuple(known):
        return data
    if other := [name for name in data.class_names if name not in known]:
        remark = f"labels are not used: the training data have no class {', '.join(other)}"
        return replace(data, class_names=(), test=replace(data.test, y=None), notes=". ".join([data.notes, remark]))
    numbers = np.array([known[name] for name in data.class_names])
    return replace(data, class_names=tuple(known), test=replace(data.test, y=numbers[data.test.y]))


def _by_schema(config: Config, schema: Schema, source: Any) -> Dataset:
    """The rows of a table, or the windows of a recording, as the schema reads them."""
    windows = config.get("windows")
    others: dict[str, Any] = {}
    if windows is None:
        rows = schema.read(source)
        split, notes = Split(rows.x, rows.y, None, rows.ids, rows.times), rows.notes
    else:
        series = read_series(source, schema=schema)
        length, horizon = windows["length"], windows.get("horizon", 0)
        stride = windows.get("stride") or length
        values = schema.prepared(series.values)
        x = cut_windows(values, length, stride=stride, horizon=horizon).astype(np.float32)
        starts = stride * np.arange(len(x))
        split = Split(x, ids=starts, times=None if series.times is None else series.times[starts])
        notes = series.notes
        others = {"horizon": horizon, "feature_names": series.names}
        if series.timeline is not None:
            others["timeline"] = series.timeline.of_windows(length + horizon, stride, 0, 0)
    name = Path(source).name if isinstance(source, str | os.PathLike) else NEW
    return replace(tested(config, split), name=name, notes=". ".join(notes), **others)


def _of_samples(config: Config, samples: Any) -> Dataset:
    """Samples (N, ...), or one sample, as an array, a Split or a Dataset."""
    if isinstance(samples, Dataset):
        return all_tested(samples)
    if not isinstance(samples, Split):
        x = as_samples(samples, "expected samples (N, ...) as an array")
        x = x[None] if x.ndim == np.size(config["arguments"]["input_shape"]) else x
        samples = Split(x.astype(np.float32) / np.float32(255.0 if x.dtype == np.uint8 else 1.0))
    return tested(config, samples)


NEW = "new data"


def described(data: Dataset) -> dict[str, Any]:
    """What a configuration keeps of the data, so that results have their units without them; plain values."""
    names = list(data.class_names)
    kept: dict[str, Any] = {"kind": data.kind, "class_names": names, "unit": data.unit, "scale": data.scale}
    if data.schema is not None:
        return kept | {"schema": data.schema.plain()}
    return kept | ({} if data.scaler is None else {"scaler": data.scaler.plain()})


def tested(config: Config, samples: Split) -> Dataset:
    """Samples as test samples of a data set like that of a run."""
    schema = Schema.of_plain(config["schema"]) if config.get("schema") else None
    scaler = schema.scaler if schema else Scaler.of_plain(config["scaler"]) if config.get("scaler") else None
    kinds: dict[int, Kind] = {2: "vectors", 3: "sequences", 4: "images"}
    kind: Kind = config.get("kind") or kinds[samples.x.ndim]
    return Dataset(
        NEW, NEW, kind, samples.rows(slice(0, 0)), samples, class_names=tuple(config.get("class_names", ())),
        unit=config.get("unit", ""), scale=config.get("scale", 1.0), schema=schema, scaler=scaler,
        feature_names=schema.encoded_names if schema and kind == "vectors" else (),
    )  # fmt: skip


def all_tested(data: Dataset) -> Dataset:
    """The data with all samples in the test part: in the order of their numbers, or without, those of the training part first."""
    parts = [part for part in (data.train, data.validation, data.test) if part is not None]

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if any(value is None for value in values) else np.concatenate(values)

    whole = Split(*(joined(part.name) for part in fields(Split)))
    if whole.ids is not None and whole.ids.dtype.kind == "i":
        whole = whole.rows(np.argsort(whole.ids, kind="stable"))
    return replace(data, train=whole.rows(slice(0, 0)), validation=None, test=whole)


def check_fits(config: Config, model: Autoencoder, data: Dataset) -> None:
    """Raise ValueError unless the model of a run can be given these data."""
    expected = tuple(np.atleast_1d(config.get("arguments", {}).get("input_shape", data.example_shape)).tolist())
    entry = model_entry(config["model"])
    free = 1 if entry.any_length else 0  # a sequence may have any number of steps
    if len(data.example_shape) != len(expected) or data.example_shape[free:] != expected[free:]:
        raise ValueError(
            f"{data.name} has samples of shape {data.example_shape}, but this model was trained on {expected}: "
            f"choose data of that shape{_bring_to(expected, data)}."
        )
    if not entry.held_out:
        raise ValueError(
            f"this run holds a memory, which reproduces only its {model.count} training samples: see the metrics and "  # type: ignore[attr-defined]
            "pictures in the folder; in Python, tinyae.load(folder).recall(0) returns the first sample."
        )


def _bring_to(expected: tuple[int, ...], data: Dataset) -> str:
    """The options that give a folder of pictures the input shape of a model, for an error message; "" for other data."""
    if len(expected) != 3 or data.image_shape is None or data.source or not Path(data.origin).is_dir():
        return ""
    gray = " --gray" if expected[2] == 1 < data.image_shape[2] else ""
    return f", or add --image-size {expected[0]},{expected[1]}{gray}"


# ---------------------------------------------------------------------------------------------------------------------
# A trained run applied to raw data: `Run` inherits this.


class AppliedRun:
    """A trained model with the preparation of its data: raw data in, results in their units out.

    Raw data are what `prepare` takes: a file, a data frame, a dict with the values of one row, an array.
    """

    path: Path
    config: dict[str, Any]
    model: Callable[[], Any]
    training_scores: Callable[[], npt.NDArray[np.float64]]

    @cached_property
    def _trained(self) -> Any:
        return self.model()

    def data(self) -> Dataset:
        """The run's own data, loaded again. A UserWarning says so if they are no longer those it was trained on."""
        data = load_data(self.config)
        trained_on = self.config.get("environment", {}).get("data")
        if model_entry(self.config["model"]).held_out and trained_on not in (None, data.sha256()):
            warnings.warn(
                f"{self.config['data']} has changed since {self.path} was trained: it now holds {len(data.train):,} training "
                f"and {len(data.test):,} test samples.",
                stacklevel=2,
            )
        return data

    def prepare(self, source: Any, **pictures: Any) -> Dataset:
        """New data as the model takes them, all in the test part; see `tinyae.training.applied.prepare`."""
        return prepare(self.config, source, **pictures)

    def encode(self, source: Any) -> np.ndarray:
        """The codes (N, K) of raw data."""
        return self._trained.encode(self._trained.batch(self._checked(source).test))

    def reconstruct(self, source: Any) -> Any:
        """The reconstructions of raw data, in their units: of a table a dict of columns, else an array of the samples' shape."""
        data = self._checked(source)
        return data.in_units(self._trained.reconstruct(self._trained.batch(data.test)))

    def decode(self, codes: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> Any:
        """The samples that codes (N, K) represent, in the units of the data, as for `reconstruct`.

        labels: for a class-conditional model the class of each, a name or a number, (N,).
        """
        data = self.decoded(codes, labels)
        return data.in_units(data.test.x)

    def decoded(self, codes: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> Dataset:
        """Decoded codes as samples of the model, in the test part; see `decode`."""
        shape = tuple(self.config["arguments"]["input_shape"])
        model, values = self._trained, as_samples(codes, "expected codes (N, K) as an array")
        one = np.zeros((1, *shape), np.float32)
        of_one = model.encode(model.batch(Split(one, np.zeros(1, np.int64)))).shape[1:]
        if values[0].size != np.prod(of_one):
            raise ValueError(f"got codes of {values[0].size} numbers, but this model has codes of {np.prod(of_one)}.")
        values = values.reshape(-1, *of_one).astype(model.dtype)
        if not model_entry(self.config["model"]).conditional:
            return tested(self.config, Split(model.decode(values)))
        if labels is None:
            raise ValueError("this model decodes a code together with a class: give the label of each code.")
        names = {name: n for n, name in enumerate(self.config.get("class_names", ()))}
        numbers = np.array([names.get(str(label), label) for label in np.asarray(labels)]).astype(np.int64)
        return tested(self.config, Split(model.decode(values, labels=numbers)))

    def score(self, source: Any) -> np.ndarray:
        """The anomaly score of each sample of raw data, (N,): its squared error, in the scale of the model."""
        return AnomalyDetector(self._trained).score(self._checked(source).test)

    def flag(self, source: Any, quantile: float = 0.99) -> np.ndarray:
        """Which samples of raw data score above a quantile of the training scores, (N,) booleans."""
        return self.detector(quantile).flag(self._checked(source).test)

    def detector(self, quantile: float = 0.99) -> AnomalyDetector:
        """The detector whose threshold is a quantile of the training scores, which are saved with the run."""
        detector = AnomalyDetector(self._trained, quantile)
        try:
            detector.threshold = float(np.quantile(self.training_scores(), quantile))
        except FileNotFoundError:
            detector.fit(self.data().train)
        return detector

    def forecast(self, source: Any = None, steps: int | None = None) -> Any:
        """The steps that follow the end of a recording, in its units: a dict of columns (steps,), or an array (steps, D).

        Args:
            source: raw data, at least as many steps as a window; None takes the run's own.
            steps: how many; None predicts as many as the model was trained to.
        """
        data, _, predicted = self.predicted(source, steps)
        values = data.in_units(predicted)
        return {name: column[0] for name, column in values.items()} if isinstance(values, dict) else values[0]

    def predicted(self, source: Any = None, steps: int | None = None) -> tuple[Dataset, np.ndarray, np.ndarray]:
        """What `forecast` starts from and what it predicts, in the scale of the model.

        Returns:
            The recording in windows of one step, the last steps that the model can see, (1, T, D), and those predicted, (1, F, D).
        """
        if not hasattr(self._trained, "predict"):
            raise ValueError(
                f"{self.path} holds a model that predicts nothing: train lstm --mode predict with --window L --horizon H."
            )
        windows = self.config.get("windows")
        if windows is None:
            raise ValueError(
                f"a forecast goes on from the end of a recording, and this run was trained on {self.config['data']} without "
                "windows: train lstm --mode predict with --window L --horizon H."
            )
        recording = self.config["data"] if source is None else source
        data = prepare({**self.config, "windows": {"length": 1}}, recording)
        if len(data.test) < windows["length"]:
            raise ValueError(
                f"{data.name} has {len(data.test)} steps, and the model sees {windows['length']}: give at least as many."
            )
        window = data.test.x[-windows["length"] :, 0][None]
        return data, window, self._trained.predict(window, steps=steps)

    def _checked(self, source: Any) -> Dataset:
        data = self.prepare(source)
        check_fits(self.config, self._trained, data)
        return data
