"""`tinyae evaluate RUN`: the numbers of a trained model again, on its own or other data of the same shape."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyae import training
from tinyae.cli.options import add_data, add_device, add_run, metrics_table, open_run, positive_int
from tinyae.models import VariationalAutoencoder, log_likelihood

_AT_ONCE = 100
"""Samples between two looks at the progress bar."""


def register(commands: Any) -> None:
    """Add `evaluate`."""
    parser = commands.add_parser(
        "evaluate", help="measure a trained model", description="Measure a trained model on both splits of a data set."
    )
    add_run(parser)
    add_data(parser, None)
    parser.add_argument(
        "--importance-samples", type=positive_int, metavar="K",
        help="for a variational autoencoder: estimate log p(x) of the test samples from K codes each, e.g. 5000",
    )  # fmt: skip
    parser.add_argument(
        "--first", type=positive_int, metavar="N", help="with --importance-samples: of the first N test samples only"
    )
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table of metrics for both splits."""
    run, model, data = open_run(options)
    if options.importance_samples and not hasattr(model, "posterior"):
        raise ValueError(f"{run.path} holds a model without a distribution over codes: leave out --importance-samples.")
    columns = {name: training.evaluate(model, split) for name, split in (("train", data.train), ("test", data.test))}
    print(f"{run.path} on {data.name} ({len(data.train):,} training and {len(data.test):,} test {model.sample_name}s)")
    print("\n".join([metrics_table(columns), *model.report(data.test)]))
    if options.importance_samples:
        labels = None if data.test.y is None else data.test.y[: options.first]
        print(_importance_line(model, data.test.x[: options.first], labels, options.importance_samples))


def _log_likelihoods(
    model: VariationalAutoencoder, x: np.ndarray, labels: np.ndarray | None, k: int
) -> Iterator[np.ndarray]:
    """log p(x) of a few samples at a time, with a bar: thousands of codes for each of them take minutes."""
    from tqdm import tqdm

    generator = np.random.default_rng(0)
    with tqdm(total=len(x), unit=f" {model.sample_name}s", desc=f"k = {k:,}", disable=not sys.stderr.isatty()) as bar:
        for start in range(0, len(x), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            yield log_likelihood(
                model, x[part], k, labels=None if labels is None else labels[part], generator=generator
            )
            bar.update(len(x[part]))


def _importance_line(model: VariationalAutoencoder, x: np.ndarray, labels: np.ndarray | None, k: int) -> str:
    """-log p(x) with its standard error over the samples, and all that the number depends on."""
    nats = -np.concatenate(list(_log_likelihoods(model, x, labels, k)))
    what = "x" if model.classes is None else "x|class"
    error = nats.std() / np.sqrt(len(nats))
    return (
        f"-log p({what}) of {len(x):,} test {model.sample_name}s by k = {k:,} importance samples: {nats.mean():.2f} +- {error:.2f} "
        f"{model.loss_unit}, likelihood {model.likelihood.name}, seed 0"
    )
