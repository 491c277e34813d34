"""`tinyae evaluate RUN`: the metrics of a trained model, on its own data or on others of the same shape."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinyae import training
from tinyae.cli.options import feature_errors, metrics_table, open_run
from tinyae.models import VariationalAutoencoder, log_likelihood, model_entry
from tinyae.models.settings import passes_on
from tinyae.streams import Stream, progress_bar

_AT_ONCE = 100
"""Samples per update of the progress bar."""


@passes_on(open_run)
def evaluate(
    run_folder: Path, *, importance_samples: int | None = None, first: int | None = None, **source: Any
) -> None:
    """evaluate a trained model

    Evaluate a trained model on both parts of its own data, or on new data.

    Args:
        importance_samples: K, for a variational autoencoder: estimate log p(x) of the test samples with K codes each, e.g.
            5000.
        first: N, with --importance-samples: use only the first N test samples.
    """
    run, model, data = open_run(run_folder, **source)
    variational = model if isinstance(model, VariationalAutoencoder) else None  # log p(x) is that of its likelihood
    if importance_samples and variational is None:
        raise ValueError(f"{run.path} holds a model without a distribution over codes: leave --importance-samples out.")
    parts = {"train": data.train, "test": data.test} if len(data.train) else {"new": data.test}
    columns = {name: training.evaluate(model, split) for name, split in parts.items()}
    lines = training.report(model, data, error=list(columns.values())[-1]["squared_error"])
    counts = " and ".join(f"{len(split):,} {name}" for name, split in parts.items())
    print(f"{run.path} on {data.name} ({counts} {model.sample_name}s)")
    print("\n".join([metrics_table(columns), *feature_errors(model, data), *lines]))
    if importance_samples and variational is not None:
        labels = None if data.test.y is None else data.test.y[:first]
        what = "x|class" if model_entry(run.config["model"]).conditional else "x"
        print(_importance_line(variational, what, data.test.x[:first], labels, importance_samples))


def _log_likelihoods(
    model: VariationalAutoencoder, x: np.ndarray, labels: np.ndarray | None, k: int
) -> Iterator[np.ndarray]:
    """log p(x) of a few samples at a time, with a progress bar: thousands of codes per sample take minutes."""
    generator = np.random.default_rng(0)
    visible = Stream(sys.stderr).isatty()
    with progress_bar(visible=visible, total=len(x), unit=f" {model.sample_name}s", desc=f"k = {k:,}") as bar:
        for start in range(0, len(x), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            yield log_likelihood(
                model, x[part], k, labels=None if labels is None else labels[part], generator=generator
            )
            bar.update(len(x[part]))


def _importance_line(model: VariationalAutoencoder, what: str, x: np.ndarray, labels: np.ndarray | None, k: int) -> str:
    """-log p(`what`) with its standard error over the samples, the likelihood and the seed."""
    nats = -np.concatenate(list(_log_likelihoods(model, x, labels, k)))
    error = nats.std() / np.sqrt(len(nats))
    return (
        f"-log p({what}) of {len(x):,} test {model.sample_name}s by k = {k:,} importance samples: {nats.mean():.2f} +- {error:.2f} "
        f"{model.loss_unit}, likelihood {model.likelihood.name}, seed 0"
    )
