"""`tinyae show MODEL`: the tape of one training step, node by node."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from tinyae import inspect
from tinyae.cli.options import arguments_from, pictures_as
from tinyae.data import Dataset, load
from tinyae.models import MODELS, Autoencoder, build
from tinyae.models.settings import passes_on

FORMATS = ("table", "dot", "mermaid")
"""Output formats of the tape."""


@passes_on(pictures_as)
def show(
    model: Annotated[str, MODELS],
    *,
    data: str | None = None,
    batch_size: int = 8,
    seed: int = 0,
    format: Annotated[str, FORMATS] = "table",
    **pictures: Any,
) -> None:
    """print the tape of one training step

    Build a model, run one batch forward and backward, and print every node of the tape with its shapes and norms.

    Args:
        model: the model.
        data: NAME|FILE|DIR, as in `tinyae train`; by default the model's default data.
        batch_size: N, samples in the batch.
        seed: for the weights.
        format: a table, or the graph in a format that other programs can draw.
    """
    built, samples = fresh_model(model, data, seed, **pictures)
    batch = built.batch(samples.train.rows(slice(0, batch_size)))
    loss = built.loss(batch.tensors())
    graph = inspect.graph(loss.total, names=dict(built.named_parameters()))
    if format == "table":
        print(built.summary(batch.x.shape[1:]))
        print(f"\nThe tape of one batch of {batch_size} {built.sample_name}s, loss in {loss.unit}:\n")
        print(graph)
        source = f" --data {data}" if data else ""
        print(f"\nWhere does each number of a gradient come from?  tinyae step {model}{source} --open")
    else:
        print(graph.to_dot() if format == "dot" else graph.to_mermaid())


def fresh_model(name: str, data: str | None, seed: int, **pictures: Any) -> tuple[Autoencoder, Dataset]:
    """A new model for `data`, or for its default data, and the data."""
    entry, samples = MODELS[name], load(data or MODELS[name].data, **pictures_as(**pictures))
    return build(name, arguments_from(samples, entry), np.random.default_rng(seed)), samples
