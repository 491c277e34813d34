"""`tinyae data`: what there is to train on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinyae.cli.options import add_picture_options, add_windows, is_csv, load_data, picture_options, windows_of
from tinyae.data import describe, read_series


def register(commands: Any) -> None:
    """Add `data`."""
    parser = commands.add_parser(
        "data",
        help="list the data sets, or describe one",
        description="List the data sets that can be named in --data, or describe one of them (or a file or folder of yours).",
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME|FILE|DIR", help="describe this one: reads it, so a full set may be downloaded"
    )
    add_picture_options(parser)
    add_windows(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the catalog or one data set; of a `.csv` with times, the recording before it is cut."""
    if options.name is None:
        print(describe())
        return
    if is_csv(options.name) and options.window is None:
        path = Path(options.name).expanduser()
        series = read_series(path, time=options.time)
        if series.times is not None:
            print(f"{path.name}: {series!r}\n  To cut it into windows: --window L, also here.")
            return
    print(load_data(options.name, picture_options(options), windows_of(options)))
