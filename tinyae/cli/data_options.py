"""--data and what belongs to it: folders of pictures and how they are read, recordings and how they are cut."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.cli.number_options import int_list, positive_int
from tinyae.data import Dataset, load, load_series, rewindow
from tinyae.data.catalogue import ENTRIES, canonical
from tinyae.data.scaling import SCALINGS, Scaler


def add_data(parser: argparse.ArgumentParser, default: str | None, otherwise: str = "the run's own") -> None:
    """--data, and how to read it if it is a folder of pictures; `otherwise`: in words, what None stands for"""
    kept = f"(default: {default or otherwise})"
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
    """Those options of `tinyae.data.load` that were given, as plain values for `config.json`.

    A command that takes a run's own data only does not have them, and so they are not given.
    """
    given = {name: getattr(options, name, None) for name in ("image_size", "grey", "skip_broken")}
    return {name: value for name, value in given.items() if value}


def remark(data: Dataset) -> None:
    """Say how the user's own data were split and read, and what was left out; nothing for published sets."""
    if not data.source:
        print(f"{data.name}: {data.notes.removesuffix('.')}.")


def _is_folder(data: Dataset) -> bool:
    """Whether these are the user's own pictures: a published set is kept in a folder too, but has a source."""
    return not data.source and Path(data.origin).is_dir()


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
    group.add_argument(
        "--time",
        metavar="COLUMN",
        help="the .csv's column of times, by name or number from 0 (default: the first with dates)",
    )
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


def load_data(
    name: str,
    pictures: dict[str, Any] | None = None,
    windows: dict[str, Any] | None = None,
    *,
    cut: bool = True,
    scaler: list[Any] | None = None,
) -> Dataset:
    """The data set of a name, file or folder: pictures read, and a recording cut, as the options say.

    `pictures` and `windows` are what `picture_options` and `windows_of` give, or what a run's config kept of them. What
    is no recording cannot be cut: that is an error, or with `cut` False it is taken as it is. `scaler` is what a run's config
    kept by `kept_scaler`: a recording of the user's is scaled as the run's own was, not by its own mean.
    """
    pictures = pictures or {}
    if windows is None:
        return load(name, **pictures)
    if is_csv(name):
        fitted = {} if scaler is None else {"scaling": Scaler(np.asarray(scaler[0]), np.asarray(scaler[1]), scaler[2])}
        return load_series(Path(name).expanduser(), **windows | fitted)
    if cut and "time" in windows:
        raise ValueError(f"--time names a column of a .csv, {name} is none: leave it out.")
    data = load(name, **pictures)
    if not cut and data.kind != "series":
        return data
    return rewindow(data, **{key: value for key, value in windows.items() if key != "time"})


def is_csv(name: str) -> bool:
    """Whether this is the path of a recording, or a table, of the user's own."""
    return Path(name).suffix.lower() == ".csv"


def kept_scaler(data: Dataset) -> list[Any]:
    """The scaler of a recording as plain values for `config.json`: offsets, scales and method."""
    assert data.scaler is not None
    return [data.scaler.offset.tolist(), data.scaler.scale.tolist(), data.scaler.method]


def lasting(name: str) -> str:
    """A path as one that is also found from another folder; the name of a set stays as it is."""
    return name if canonical(name) in ENTRIES else os.path.abspath(os.path.expanduser(name))


def _height_width(text: str) -> tuple[int, int]:
    sizes = int_list(text)
    if len(sizes) > 2:
        raise argparse.ArgumentTypeError(f"must be H,W, or one number for both, got {text!r}")
    return sizes[0], sizes[-1]


def bring_to(expected: tuple[int, ...], data: Dataset) -> str:
    """How a folder of pictures can be brought to the shape that a model takes; "" for other data."""
    if len(expected) != 3 or data.image_shape is None or not _is_folder(data):
        return ""
    grey = " --grey" if expected[2] == 1 < data.image_shape[2] else ""
    return f", or add --image-size {expected[0]},{expected[1]}{grey}"
