"""Arguments that several commands share, and how they are read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinyae.backend import DEVICES, backend_named
from tinyae.data import Dataset, load, load_series, rewindow
from tinyae.data.scaling import SCALINGS
from tinyae.models import Autoencoder
from tinyae.training import Run
from tinyae.training.loop import check_samples

SAMPLE_NOUNS = {"images": "image", "sequences": "sequence", "series": "window", "vectors": "row"}
"""What one sample of each kind of data is called in units."""


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device"""
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="where to compute (default: cpu; auto: the GPU if one works)"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """RUN"""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="a run folder made by `tinyae train`")


def add_data(parser: argparse.ArgumentParser, default: str | None) -> None:
    """--data"""
    kept = f"(default: {default})" if default else "(default: the run's own)"
    parser.add_argument(
        "--data",
        default=default,
        metavar="NAME|FILE",
        help=f"a set listed by `tinyae data`, or a .npy, .npz, .csv or IDX file {kept}",
    )


def add_windows(parser: argparse.ArgumentParser) -> None:
    """--window, --stride, --horizon, --time, --scaling: how a recording is cut."""
    group = parser.add_argument_group("recordings", "a .csv with one line for each step, or a set of kind series")
    group.add_argument("--window", type=positive_int, metavar="L", help="cut the recording into windows of L steps")
    group.add_argument(
        "--stride", type=positive_int, metavar="S", help="steps from one window to the next (default: L, no overlap)"
    )
    group.add_argument(
        "--horizon", type=positive_int, metavar="H", help="steps after each window, to be predicted (default: 0)"
    )
    group.add_argument("--time", metavar="COLUMN", help="the .csv's column of times (default: the first with dates)")
    group.add_argument(
        "--scaling",
        choices=tuple(SCALINGS),
        help="fitted on the training part (default: standard for a .csv, else none)",
    )


def windows_of(options: argparse.Namespace) -> dict[str, Any] | None:
    """The options of `add_windows` as plain values, None without --window; raises ValueError for the others alone."""
    given = {name: getattr(options, name) for name in ("stride", "horizon", "time", "scaling")}
    given = {name: value for name, value in given.items() if value is not None}
    if options.window is None:
        if given:
            raise ValueError(f"--{next(iter(given))} says how windows are cut: give --window as well.")
        return None
    return {"length": options.window, **given}


def load_data(name: str, windows: dict[str, Any] | None = None) -> Dataset:
    """The data set of a name or file, a recording cut as `windows` says (`windows_of`, or a run's config)."""
    if windows is None:
        return load(name)
    if Path(name).suffix.lower() == ".csv":
        return load_series(Path(name).expanduser(), **windows)
    if "time" in windows:
        raise ValueError(f"--time names a column of a .csv, {name} is none: leave it out.")
    return rewindow(load(name), **windows)


def add_seed(parser: argparse.ArgumentParser, purpose: str) -> None:
    """--seed"""
    parser.add_argument("--seed", type=_whole_number, default=0, help=f"{purpose} (default: 0)")


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def positive_int(text: str) -> int:
    """A whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return number


def positive_float(text: str) -> float:
    """A finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number


def int_list(text: str) -> list[int]:
    """Whole numbers separated by commas, e.g. 1000,500,250,30."""
    return [positive_int(part.strip()) for part in text.split(",")]


def check_data(data: Dataset, model: Autoencoder) -> None:
    """Raise unless both splits can be given to the model: finite, floating point, in the range its loss wants."""
    for name, split in (("train", data.train), ("test", data.test)):
        check_samples(split, f"{data.name} {name}", model)


def check_labels(data: Dataset) -> None:
    """Raise ValueError unless both splits have labels."""
    if data.train.y is None or data.test.y is None:
        raise ValueError(
            f"a conditional model needs a class for each sample, and {data.name} has no labels: choose labelled data "
            "(`tinyae data` lists them), or train vae."
        )


def class_count(data: Dataset) -> int:
    """How many classes the labels of both splits name."""
    largest = max(int(split.y.max()) for split in (data.train, data.test) if split.y is not None)
    return max(len(data.class_names), largest + 1)


def open_run(options: argparse.Namespace) -> tuple[Run, Any, Dataset]:
    """The run, its model on the asked device, and the data to apply it to (checked to fit the model)."""
    run = Run.open(options.run_folder)
    device = backend_named(options.device).name
    model = run.model()
    data = load_data(options.data or run.config["data"], run.config.get("windows"))
    shape = model.recipe["arguments"].get("input_shape", data.example_shape)
    expected = (shape,) if isinstance(shape, int) else tuple(shape)
    if data.example_shape != expected:
        raise ValueError(
            f"{data.name} has samples of shape {data.example_shape}, this model was trained on {expected}: "
            "choose data of that shape."
        )
    if model.capacity is not None:
        raise ValueError(
            f"{run.path} holds a memory, which only knows its {model.capacity} training samples: its numbers and "
            "pictures are in the folder; in Python, tinyae.load(folder).recall(0) gives back the first."
        )
    check_data(data, model)
    return run, model.to(device), data
