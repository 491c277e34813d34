"""Options that several commands share, and loading the data they name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae.atomic import write_atomically
from tinyae.backend import DEVICES, backend_named
from tinyae.cli.arguments import height_width
from tinyae.data import Dataset, load, load_series, rewindow
from tinyae.data.arrays import SCALINGS, Scaler
from tinyae.data.catalog import ENTRIES, canonical
from tinyae.models import Autoencoder, model_entry
from tinyae.models.autoencoder import check_samples
from tinyae.models.settings import passes_on
from tinyae.training import Run
from tinyae.training.metrics import Metrics

SAMPLE_NOUNS = {"images": "image", "sequences": "sequence", "series": "window", "vectors": "row"}
"""Kind of data -> what one sample is called in units."""

SPLITS = ("train", "test")
"""The parts of a data set."""


def check_data(data: Dataset, model: Autoencoder) -> None:
    """Raise unless both splits suit the model: finite, floating point, in the range its loss requires."""
    for name, split in (("train", data.train), ("test", data.test)):
        if len(split):
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


def windows_as(
    *,
    window: int | None = None,
    stride: int | None = None,
    horizon: int | None = None,
    time: str | None = None,
    scaling: Annotated[str, tuple(SCALINGS)] | None = None,
) -> dict[str, Any] | None:
    """The given options of `tinyae.data.windows`, as plain values; None without a window, ValueError if only others are given.

    Args:
        window: L, cut the recording into windows of L steps.
        stride: S, steps from one window to the next; by default L, no overlap.
        horizon: H, steps to predict after each window; by default 0.
        time: COLUMN, time column of the .csv, by name or number from 0; by default the first with dates.
        scaling: fitted to the training split; by default standard for a .csv, else none.
    """
    given = {"stride": stride, "horizon": horizon, "time": time, "scaling": scaling}
    given = {name: value for name, value in given.items() if value is not None}
    if window is None:
        if given:
            raise ValueError(f"--{next(iter(given))} has no effect without windows: add --window L.")
        return None
    return {"length": window, **given}


GROUPS: dict[Callable[..., Any], str] = {
    pictures_as: "a folder of pictures",
    windows_as: "recordings: a .csv with one line per step, or a data set of kind series",
}
"""Options that form a separate group in the help of every command."""


@passes_on(pictures_as)
def open_run(
    run_folder: Path, *, data: str | None = None, device: Annotated[str, DEVICES] = "cpu", **pictures: Any
) -> tuple[Run, Autoencoder, Dataset]:
    """The run, its model on the requested device, and the data to apply it to, checked to fit the model.

    Args:
        run_folder: RUN, a run folder made by `tinyae train`.
        data: NAME|FILE|DIR, a data set listed by `tinyae data`, a .npy, .npz, .csv or IDX file, or a folder of PNG and
            JPEG files; by default the run's own.
        device: compute device; auto takes the GPU if one works.
    """
    run = Run.open(run_folder)
    device = backend_named(device).name
    model = run.model()
    return run, model.to(device), data_for(run, model, data, pictures_as(**pictures))


def data_for(run: Run, model: Any, other: str | None = None, pictures: dict[str, Any] | None = None) -> Dataset:
    """The run's own data, or `other`, loaded with the same options and checked to fit the model."""
    source = other or run.config["data"]
    kept = run.config.get("data_options", {}) if Path(source).expanduser().is_dir() else {}
    # Other data may already be windows, which are not cut again.
    data = load_data(
        source, kept | (pictures or {}), run.config.get("windows"), cut=other is None, scaler=run.config.get("scaler")
    )
    shape = model.recipe["arguments"].get("input_shape", data.example_shape)
    expected = (shape,) if isinstance(shape, int) else tuple(shape)
    entry = model_entry(run.config["model"])
    free = 1 if entry.any_length else 0  # a sequence may have any number of steps
    if len(data.example_shape) != len(expected) or data.example_shape[free:] != expected[free:]:
        raise ValueError(
            f"{data.name} has samples of shape {data.example_shape}, but this model was trained on {expected}: "
            f"choose data of that shape{bring_to(expected, data)}."
        )
    if not entry.held_out:
        raise ValueError(
            f"{run.path} holds a memory, which reproduces only its {model.count} training samples: see the metrics and "
            "pictures in the folder; in Python, tinyae.load(folder).recall(0) returns the first sample."
        )
    check_data(data, model)
    remark(data)
    return data


# ---------------------------------------------------------------------------------------------------------------------
# Loading data as the options say.


def remark(data: Dataset) -> None:
    """Print how the user's own data were split and read, and what was left out; nothing for published sets."""
    if not data.source:
        print(f"{data.name}: {data.notes.removesuffix('.')}.")


def _is_folder(data: Dataset) -> bool:
    """Whether these are the user's own pictures; a published set may also lie in a folder, but has a source."""
    return not data.source and Path(data.origin).is_dir()


def load_data(
    name: str,
    pictures: dict[str, Any] | None = None,
    windows: dict[str, Any] | None = None,
    *,
    cut: bool = True,
    scaler: list[Any] | None = None,
) -> Dataset:
    """Load a data set by name, file or folder.

    `pictures` and `windows` are the results of `pictures_as` and `windows_as`, or their copies in a run's config. Windows of
    data that are not a recording are an error, or with `cut` False are ignored. `scaler`, the result of `kept_scaler` in a
    run's config, scales a .csv as the run's own data were scaled.
    """
    pictures = pictures or {}
    if windows is None:
        return load(name, **pictures)
    if is_csv(name):
        fitted = {} if scaler is None else {"scaling": Scaler(np.asarray(scaler[0]), np.asarray(scaler[1]), scaler[2])}
        return load_series(Path(name).expanduser(), **windows | fitted)
    if cut and "time" in windows:
        raise ValueError(f"--time names a column of a .csv, and {name} is not a .csv: leave it out.")
    data = load(name, **pictures)
    if not cut and data.kind != "series":
        return data
    return rewindow(data, **{key: value for key, value in windows.items() if key != "time"})


def is_csv(name: str) -> bool:
    """Whether this is the path of a .csv, a recording or a table."""
    return Path(name).suffix.lower() == ".csv"


def kept_scaler(data: Dataset) -> list[Any]:
    """The scaler of a recording as plain values for `config.json`: offsets, scales and method."""
    assert data.scaler is not None
    return [data.scaler.offset.tolist(), data.scaler.scale.tolist(), data.scaler.method]


def lasting(name: str) -> str:
    """A path made absolute; the name of a data set unchanged."""
    return name if canonical(name) in ENTRIES else os.path.abspath(os.path.expanduser(name))


def bring_to(expected: tuple[int, ...], data: Dataset) -> str:
    """The options that give a folder of pictures the input shape of a model, for an error message; "" for other data."""
    if len(expected) != 3 or data.image_shape is None or not _is_folder(data):
        return ""
    gray = " --gray" if expected[2] == 1 < data.image_shape[2] else ""
    return f", or add --image-size {expected[0]},{expected[1]}{gray}"


# ---------------------------------------------------------------------------------------------------------------------
# Printing metrics: one small table, every row with its unit.

_LABELS = {
    "loss": "training objective",
    "squared_error": "squared error",
    "mse": "mean squared error",
    "bce": "cross-entropy",
    "bce_element": "cross-entropy",
    "kl": "KL",
    "weighted kl": "weighted KL",
    "corrupted_squared_error": "corrupted input",
    "denoised_squared_error": "denoised",
}


def metrics_table(columns: dict[str, Metrics]) -> str:
    """A table of `evaluate` results: one row per metric, one column per split, and the unit."""
    units = {name: unit for metrics in columns.values() for name, unit in metrics.units.items()}
    names = list(dict.fromkeys(name for metrics in columns.values() for name in metrics))
    lines = [f"{'':20}" + "".join(f"{split:>12}" for split in columns) + "   unit"]
    for name in names:
        values = "".join(f"{number(metrics.get(name)):>12}" for metrics in columns.values())
        lines.append(f"{_LABELS.get(name, name):20}{values}   {units[name]}")
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Five significant digits; a dash if there is no value."""
    return "-" if value is None else f"{value:.5g}"


# ---------------------------------------------------------------------------------------------------------------------
# Output files, and the version.


def save_array(array: np.ndarray, path: Path) -> None:
    """Write a .npy file atomically."""

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.save(file, array, allow_pickle=False)

    write_atomically(path, write)
