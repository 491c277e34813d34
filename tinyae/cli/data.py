"""`tinyae data`: what there is to train on."""

from __future__ import annotations

import argparse
from typing import Any

from tinyae.cli.data_options import add_picture_options, picture_options
from tinyae.data import describe, load


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
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the catalogue or one data set."""
    print(describe() if options.name is None else load(options.name, **picture_options(options)))
