"""`tinyae reconstruct RUN`: a picture of originals beside their reconstructions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinyae.cli.options import add_data, add_device, add_run, open_run, positive_int
from tinyae.training.pictures import draw_reconstructions


def register(commands: Any) -> None:
    """Add `reconstruct`."""
    parser = commands.add_parser(
        "reconstruct",
        help="draw originals beside their reconstructions",
        description="Draw test samples beside their reconstructions.",
    )
    add_run(parser)
    add_data(parser, None)
    parser.add_argument(
        "--count", type=positive_int, default=10, help="samples to draw, one per class first (default: 10)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.png",
        help="picture to write, .png, .svg or .pdf (default: RUN/reconstructions.png)",
    )
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Reconstruct and draw."""
    run, model, data = open_run(options)
    path = options.out or run.path / "reconstructions.png"
    print(f"picture: {draw_reconstructions(model, data, path, options.count)}")
