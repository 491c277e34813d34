"""`tinyae show MODEL`: the tape of one training step, node by node."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from tinyae import inspect
from tinyae.cli.options import (
    SAMPLE_NOUNS,
    add_data,
    add_seed,
    check_labels,
    class_count,
    picture_options,
    positive_int,
)
from tinyae.data import load
from tinyae.models import MODELS, build


def register(commands: Any) -> None:
    """Add `show`."""
    parser = commands.add_parser(
        "show",
        help="print the tape of one training step",
        description="Build a model, run one batch forward and backward, and print every node of the tape "
        "with its shapes and norms.",
    )
    parser.add_argument("model", choices=MODELS, help="which model")
    add_data(parser, None, "the model's own, as in `tinyae train`")
    parser.add_argument("--batch-size", type=positive_int, default=8, help="samples in the batch (default: 8)")
    add_seed(parser, "for the weights")
    parser.add_argument("--format", choices=("table", "dot", "mermaid"), default="table", help="(default: table)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the summary and the tape, or the graph alone for another program to draw."""
    data = load(options.data or MODELS[options.model].data, **picture_options(options))
    arguments: dict[str, Any] = {"input_shape": list(data.example_shape), "sample": SAMPLE_NOUNS[data.kind]}
    if MODELS[options.model].conditional:
        check_labels(data, "a conditional model needs", ", or train vae")
        arguments["classes"] = class_count(data)
    model = build(options.model, arguments, np.random.default_rng(options.seed))
    batch = model.batch(data.train.rows(slice(0, options.batch_size)))
    loss = model.loss(batch.tensors())
    graph = inspect.graph(loss.total, names=dict(model.named_parameters()))
    if options.format == "table":
        print(model.summary(batch.x.shape[1:]))
        print(f"\nThe tape of one batch of {options.batch_size} {model.sample_name}s, loss in {loss.unit}:\n")
        print(graph)
    else:
        print(graph.to_dot() if options.format == "dot" else graph.to_mermaid())
