"""`tinyae evaluate RUN`: the numbers of a trained model again, on its own or other data of the same shape."""

from __future__ import annotations

import argparse
from typing import Any

from tinyae import training
from tinyae.cli.options import add_data, add_device, add_run, open_run
from tinyae.cli.report import metrics_table


def register(commands: Any) -> None:
    """Add `evaluate`."""
    parser = commands.add_parser(
        "evaluate", help="measure a trained model", description="Measure a trained model on both splits of a data set."
    )
    add_run(parser)
    add_data(parser, None)
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table of metrics for both splits."""
    run, model, data = open_run(options)
    columns = {name: training.evaluate(model, split.x) for name, split in (("train", data.train), ("test", data.test))}
    print(f"{run.path} on {data.name} ({len(data.train):,} training and {len(data.test):,} test {model.noun}s)")
    print(metrics_table(model, columns))
