"""Arguments that several commands share, and how they are read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinyae.backend import DEVICES, backend_named
from tinyae.cli.data_options import bring_to, load_data, picture_options, remark
from tinyae.cli.number_options import whole_number
from tinyae.data import Dataset
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


def add_picture(parser: argparse.ArgumentParser, name: str) -> None:
    """--out, for a command that draws one picture; without it the run folder gets `name`"""
    parser.add_argument(
        "--out", type=Path, metavar="FILE.png", help=f"picture, .png, .svg or .pdf (default: RUN/{name})"
    )


def add_seed(parser: argparse.ArgumentParser, purpose: str) -> None:
    """--seed"""
    parser.add_argument("--seed", type=whole_number, default=0, help=f"{purpose} (default: 0)")


def check_data(data: Dataset, model: Autoencoder) -> None:
    """Raise unless both splits can be given to the model: finite, floating point, in the range its loss wants."""
    for name, split in (("train", data.train), ("test", data.test)):
        check_samples(split, f"{data.name} {name}", model)
        if split.lengths is not None:
            model.check_lengths(split.lengths)


def check_labels(data: Dataset, needed: str, instead: str = "") -> None:
    """Raise ValueError unless both splits have labels, which `needed` ("a classifier needs"); `instead`: another way out."""
    if not data.has_labels:
        raise ValueError(
            f"{needed} a class for each sample, and {data.name} has no labels: choose labelled data "
            f"(`tinyae data` lists them){instead}."
        )


def class_count(data: Dataset) -> int:
    """How many classes the labels of both splits name."""
    largest = max(int(split.y.max()) for split in (data.train, data.test) if split.y is not None)
    return max(len(data.class_names), largest + 1)


def _fits(model: Any, shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether samples of this shape can be given to a model that was built for another; of sequences any number of steps."""
    if not model.takes_lengths:
        return shape == expected
    return len(shape) == len(expected) and shape[1:] == expected[1:] and shape[0] > model.future_steps


def open_run(options: argparse.Namespace) -> tuple[Run, Any, Dataset]:
    """The run, its model on the asked device, and the data to apply it to (checked to fit the model)."""
    run = Run.open(options.run_folder)
    device = backend_named(options.device).name
    model = run.model()
    data = data_for(run, model, options.data, picture_options(options))
    return run, model.to(device), data


def data_for(run: Run, model: Any, other: str | None = None, pictures: dict[str, Any] | None = None) -> Dataset:
    """The run's own data, or `other`, read and cut as the run's were and checked to fit its model."""
    source = other or run.config["data"]
    kept = run.config.get("data_options", {}) if Path(source).expanduser().is_dir() else {}
    # Other data may be windows already, as those of this run are once they are cut.
    data = load_data(
        source,
        kept | (pictures or {}),
        run.config.get("windows"),
        cut=other is None,
        scaler=run.config.get("scaler"),
    )
    shape = model.recipe["arguments"].get("input_shape", data.example_shape)
    expected = (shape,) if isinstance(shape, int) else tuple(shape)
    if not _fits(model, data.example_shape, expected):
        raise ValueError(
            f"{data.name} has samples of shape {data.example_shape}, this model was trained on {expected}: "
            f"choose data of that shape{bring_to(expected, data)}."
        )
    if model.capacity is not None:
        raise ValueError(
            f"{run.path} holds a memory, which only knows its {model.capacity} training samples: its numbers and "
            "pictures are in the folder; in Python, tinyae.load(folder).recall(0) gives back the first."
        )
    check_data(data, model)
    remark(data)
    return data
