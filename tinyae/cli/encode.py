"""`tinyae encode RUN --out codes.npy`: the codes of a data set, for use elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.atomic import write_atomically
from tinyae.cli.options import add_data, add_device, add_run, open_run


def register(commands: Any) -> None:
    """Add `encode`."""
    parser = commands.add_parser(
        "encode",
        help="write the codes of a data set",
        description="Write the codes of one split as a .npy array (N, K).",
    )
    add_run(parser)
    add_data(parser, None)
    parser.add_argument("--split", choices=("train", "test"), default="test", help="(default: test)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.npy", help="where to write the codes, float32 (N, K)"
    )
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Encode in batches and write one array."""
    if options.out.suffix != ".npy":
        raise ValueError(f"--out must end in .npy, got {options.out}: codes are written as one NumPy array.")
    _, model, data = open_run(options)
    split = getattr(data, options.split)
    codes = model.encode(model.batch(split))

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            np.save(file, codes, allow_pickle=False)

    write_atomically(options.out, write)
    print(f"{options.out}: codes {codes.shape} {codes.dtype} of {data.name} {options.split}")
