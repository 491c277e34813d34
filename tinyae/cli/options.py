"""Options that several commands share, and loading the data they name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae.backend import DEVICES, backend_named
from tinyae.cli.arguments import as_options, height_width, settings_of
from tinyae.data import Columns, Dataset, Split
from tinyae.data.arrays import SCALINGS
from tinyae.data.series import TABLE_KINDS
from tinyae.data.tables import listed
from tinyae.models import AnomalyDetector, Autoencoder, ModelEntry
from tinyae.models.autoencoder import check_samples
from tinyae.models.settings import defaults, passes_on
from tinyae.training import Run, fit
from tinyae.training.applied import all_tested, check_fits
from tinyae.training.metrics import Metrics

SAMPLE_NOUNS = {"images": "image", "sequences": "sequence", "series": "window", "vectors": "row"}
"""Kind of data -> what one sample is called in units."""

THREADS = settings_of(fit)["threads"]
"""An option of every command that computes."""

SPLITS = ("train", "test", "all")
"""The parts of a run's own data."""


def check_data(data: Dataset, model: Autoencoder) -> None:
    """Raise unless both splits suit the model: finite, floating point, in the range its loss requires."""
    for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        if split is not None and len(split):
            model.batch(check_samples(split, f"{data.name} {name}", model))


def check_labels(data: Dataset, needed: str, instead: str = "") -> None:
    """Raise ValueError unless both splits have labels; `needed` ("a classifier needs") begins the sentence, `instead` ends it."""
    if not data.has_labels:
        raise ValueError(
            f"{needed} a class for each sample, and {data.name} has no labels: choose labeled data "
            f"(`tinyae data` lists them){instead}."
        )


def class_count(data: Dataset) -> int:
    """The number of classes in both splits."""
    largest = max(int(split.y.max()) for split in (data.train, data.test) if split.y is not None)
    return max(len(data.class_names), largest + 1)


def arguments_from(data: Dataset, entry: ModelEntry) -> dict[str, Any]:
    """The arguments of a builder that come from the data; ValueError if a conditional model would have no classes."""
    found: dict[str, Any] = {"input_shape": list(data.example_shape), "sample": SAMPLE_NOUNS[data.kind]}
    if entry.conditional:
        check_labels(data, "a conditional model needs", ", or train vae")
        found["classes"] = class_count(data)
    return found


def pictures_as(
    *, image_size: Annotated[tuple[int, int], height_width] | None = None, gray: bool = False, skip_broken: bool = False
) -> dict[str, Any]:
    """The given options of `tinyae.data.load` for a folder of pictures, as plain values for `config.json`.

    Args:
        image_size: H,W, scale and crop every picture to H x W pixels.
        gray: convert colors to gray levels.
        skip_broken: skip files that cannot be read, and report how many.
    """
    given = {"image_size": image_size, "gray": gray, "skip_broken": skip_broken}
    return {name: value for name, value in given.items() if value}


@passes_on(Columns)
def table_as(
    *,
    kind: Annotated[str, TABLE_KINDS] | None = None,
    scaling: Annotated[str, tuple(SCALINGS)] | None = None,
    test_share: float | None = None,
    **columns: Any,
) -> dict[str, Any]:
    """The given options of `tinyae.data.table` and `load_series`, as plain values for `config.json`.

    Args:
        kind: what a row is, a vector, or a sequence of one number per step; by default a vector.
        scaling: fitted to the training part; by default standard.
        test_share: SHARE, share of the samples for testing; by default a tenth, of a recording the last fifth.
    """
    given = {"kind": kind, "scaling": scaling, "test_share": test_share, **columns}
    usual = defaults(Columns)
    return {name: value for name, value in given.items() if value is not None and value != usual.get(name)}


def windows_as(
    *, window: int | None = None, stride: int | None = None, horizon: int | None = None
) -> dict[str, Any] | None:
    """The given options of `tinyae.data.windows`, as plain values; None without a window, ValueError if only others are given.

    Args:
        window: L, cut the recording into windows of L steps.
        stride: S, steps from one window to the next; by default L, no overlap.
        horizon: H, steps to predict after each window; by default 0.
    """
    given = {name: value for name, value in (("stride", stride), ("horizon", horizon)) if value is not None}
    if window is None:
        if given:
            raise ValueError(f"--{next(iter(given))} has no effect without windows: add --window L.")
        return None
    return {"length": window, **given}


GROUPS: dict[Callable[..., Any], str] = {
    pictures_as: "a folder of pictures",
    table_as: "tables and recordings: .csv, .tsv, .txt, .data (also .gz), .parquet; COLUMN is a name, or a number from 0",
    windows_as: "recordings: a table with one line per step, or a data set of kind series",
}
"""Options that form a separate group in the help of every command."""


@passes_on(pictures_as)
def open_run(
    run_folder: Path, *, data: str | None = None, device: Annotated[str, DEVICES] = "cpu", **pictures: Any
) -> tuple[Run, Autoencoder, Dataset]:
    """The run, its model on the requested device, and the data to apply it to, checked to fit the model.

    Other data than the run's own are new data: prepared as its own were, all of them test samples.

    Args:
        run_folder: RUN, a run folder made by `tinyae train`.
        data: NAME|FILE|DIR, new data: a data set listed by `tinyae data`, a table, a .npy, .npz or IDX file, a picture or a
            folder of pictures; by default the run's own data.
        device: compute device; auto takes the GPU if one works.
    """
    run = Run.open(run_folder)
    device = backend_named(device).name
    model = run.model().to(device)
    given = pictures_as(**pictures)
    if data is None and given:
        raise ValueError(
            f"--{next(iter(given)).replace('_', '-')} is about new pictures, and the run's own are read as they were: "
            "add --data, or leave it out."
        )
    judged = run.data() if data is None else run.prepare(data, **given)
    check_fits(run.config, model, judged)
    check_data(judged, model)
    remark(judged)
    return run, model, judged


def with_training(run: Run, data: Dataset) -> Dataset:
    """The data with training samples: these, or, if they are new and have none, the run's own."""
    return data if len(data.train) else run.data()


def chosen_part(data: Dataset, split: str | None) -> tuple[Split, str]:
    """The samples of a part, and what they are called; without a choice the test part. Of new data, all of them.

    ValueError for a part of new data, which have none.
    """
    if not len(data.train):
        if split in ("train", "test"):
            raise ValueError(f"--split {split} is about the run's own data, and {data.name} is new: leave it out.")
        return data.test, data.name
    whole = all_tested(data).test if split == "all" else getattr(data, split or "test")
    return whole, f"{data.name} {split or 'test'}"


# ---------------------------------------------------------------------------------------------------------------------
# Saying what was read.


def remark(data: Dataset) -> None:
    """Print how the user's own data were split and read, and what was left out; nothing for published sets."""
    if not data.source and data.notes:
        print(as_options(f"{data.name}: {data.notes.removesuffix('.')}.", settings_of(table_as)))
    print(classes_line(data), end="")


def classes_line(data: Dataset, most: int = 40) -> str:
    """A line with the samples of each class in both parts of the user's own data; empty without labels or without two parts."""
    if data.source or not len(data.train):
        return ""
    counts = [f"{name} {train:,} + {test:,}" for name, (train, test) in data.class_counts().items()]
    return f"samples of each class, training + test: {listed(counts, most)}\n" if counts else ""


# ---------------------------------------------------------------------------------------------------------------------
# Printing metrics: one small table, every row with its unit.

_LABELS = {
    "loss": "training objective",
    "squared_error": "squared error",
    "bce": "cross-entropy",
    "kl": "KL",
    "weighted kl": "weighted KL",
    "corrupted_squared_error": "corrupted input",
    "denoised_squared_error": "denoised",
}


def metrics_table(columns: dict[str, Metrics]) -> str:
    """A table of `evaluate` results: one row per metric, one column per split, and the unit.

    The objective has no row of its own where it is one of the other metrics, and what is per element stands behind the unit.
    """
    units = {name: unit for metrics in columns.values() for name, unit in metrics.units.items()}
    last, rest = list(columns)[-1], dict.fromkeys(name for metrics in columns.values() for name in metrics)
    rows = {name: "".join(f"{number(m.get(name)):>12}" for m in columns.values()) for name in rest}
    notes = {
        of: f" ({number(columns[last].get(name))} per element, {last})"
        for of, name in _PER_ELEMENT.items()
        if name in rest
    }
    for name in ("squared_error", "bce"):
        same = all(math.isclose(m.get(name, 0.0), m.get("loss", 0.0), rel_tol=1e-4) for m in columns.values())
        if name in rows and same and units[name] == units["loss"]:
            del rows["loss"]
            notes[name] = f", the training objective{notes[name]}"
            break
    lines = [f"{'':20}" + "".join(f"{split:>12}" for split in columns) + "   unit"]
    lines += [
        f"{_LABELS.get(name, name):20}{values}   {units[name]}{notes.get(name, '')}"
        for name, values in rows.items()
        if name not in _PER_ELEMENT.values()
    ]
    return "\n".join(lines)


_PER_ELEMENT = {"squared_error": "mse", "bce": "bce_element"}
"""Metrics per sample, and the same per element."""


def errors_of_features(model: Autoencoder, data: Dataset, errors: np.ndarray, *, each: bool) -> np.ndarray:
    """Root-mean-square errors of the features, in their units, over the steps that the model outputs.

    errors: squared errors of the test samples, (N, D) or (N, T, D). Returns (N, D) for `each` sample, or (D,) over all.
    """
    mask = model.batch(data.test).mask
    counted = np.ones((*errors.shape[:-1], 1)) if mask is None else mask
    axes = tuple(range(1 if each else 0, errors.ndim - 1))
    typical: np.ndarray = np.sqrt(errors.sum(axis=axes) / counted.sum(axis=axes))
    return typical * (data.scale if data.scaler is None else data.scaler.scale)


def feature_errors(model: Autoencoder, data: Dataset, most: int = 12) -> list[str]:
    """A line with the root-mean-square error of each feature on the test samples, in its own unit; none without names, or for images."""
    if data.kind == "images" or not data.feature_names:
        return []
    typical = errors_of_features(model, data, AnomalyDetector(model).errors(data.test), each=False)
    found = [f"{name} {error:.4g}" for name, error in zip(data.feature_names, typical, strict=True)]
    return [f"root-mean-square error of each feature, in its unit: {listed(found, most)}"]


def number(value: float | None) -> str:
    """Five significant digits; a dash if there is no value."""
    return "-" if value is None else f"{value:.5g}"
