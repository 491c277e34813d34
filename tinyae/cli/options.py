"""Arguments that several commands share, and how they are read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinyae.backend import DEVICES, backend_named
from tinyae.data import Dataset, load
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
    """--data, and how to read it if it is a folder of pictures"""
    kept = f"(default: {default})" if default else "(default: the run's own)"
    parser.add_argument(
        "--data",
        default=default,
        metavar="NAME|FILE|DIR",
        help=f"a set listed by `tinyae data`, a .npy, .npz, .csv or IDX file, or a folder of PNG and JPEG files {kept}",
    )
    add_picture_options(parser)


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """--image-size, --grey, --skip-broken"""
    group = parser.add_argument_group("a folder of pictures")
    group.add_argument(
        "--image-size", type=_height_width, metavar="H,W", help="scale and cut every picture to H x W pixels"
    )
    group.add_argument("--grey", "--gray", action="store_true", help="turn colours into grey levels")
    group.add_argument("--skip-broken", action="store_true", help="leave out files that cannot be read, and count them")


def picture_options(options: argparse.Namespace) -> dict[str, Any]:
    """Those options of `tinyae.data.load` that were given, as plain values for `config.json`."""
    given = {name: getattr(options, name) for name in ("image_size", "grey", "skip_broken")}
    return {name: value for name, value in given.items() if value}


def remark(data: Dataset) -> None:
    """Say how a folder of pictures was split and what was left out of it; nothing for other data."""
    if _is_folder(data):
        print(f"{data.name}: {data.notes}.")


def _is_folder(data: Dataset) -> bool:
    """Whether these are the user's own pictures: a published set is kept in a folder too, but has a source."""
    return not data.source and Path(data.origin).is_dir()


def add_seed(parser: argparse.ArgumentParser, purpose: str) -> None:
    """--seed"""
    parser.add_argument("--seed", type=whole_number, default=0, help=f"{purpose} (default: 0)")


def whole_number(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def _height_width(text: str) -> tuple[int, int]:
    sizes = int_list(text)
    if len(sizes) > 2:
        raise argparse.ArgumentTypeError(f"must be H,W, or one number for both, got {text!r}")
    return sizes[0], sizes[-1]


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
    data = load_for(run, options)
    shape = model.recipe["arguments"].get("input_shape", data.example_shape)
    expected = (shape,) if isinstance(shape, int) else tuple(shape)
    if data.example_shape != expected:
        raise ValueError(
            f"{data.name} has samples of shape {data.example_shape}, this model was trained on {expected}: "
            f"choose data of that shape{_bring_to(expected, data)}."
        )
    if model.capacity is not None:
        raise ValueError(
            f"{run.path} holds a memory, which only knows its {model.capacity} training samples: its numbers and "
            "pictures are in the folder; in Python, tinyae.load(folder).recall(0) gives back the first."
        )
    check_data(data, model)
    remark(data)
    return run, model.to(device), data


def load_for(run: Run, options: argparse.Namespace) -> Dataset:
    """The run's own data, or those given; folders of pictures are read as in training where nothing else is said."""
    source = options.data or run.config["data"]
    kept = run.config.get("data_options", {}) if Path(source).expanduser().is_dir() else {}
    return load(source, **kept | picture_options(options))


def _bring_to(expected: tuple[int, ...], data: Dataset) -> str:
    """How a folder of pictures can be brought to the shape that a model takes; "" for other data."""
    if len(expected) != 3 or data.image_shape is None or not _is_folder(data):
        return ""
    grey = " --grey" if expected[2] == 1 < data.image_shape[2] else ""
    return f", or add --image-size {expected[0]},{expected[1]}{grey}"
