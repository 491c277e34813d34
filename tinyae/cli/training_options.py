"""The options that say how to train: passes, batches, optimizer, schedule."""

from __future__ import annotations

import argparse
from typing import Any

from tinyae import optim
from tinyae.cli.options import positive_float, positive_int
from tinyae.models import Autoencoder, ModelEntry

OPTIMIZERS = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": optim.SGD,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
}
SCHEDULES = ("constant", "cosine")


def add_training_options(parser: argparse.ArgumentParser, entry: ModelEntry) -> None:
    """--epochs, --batch-size, --optimizer, --lr, --schedule, --clip-norm, with the model's own defaults."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--epochs", type=positive_int, default=entry.epochs, metavar="N",
        help=f"passes over the data (default: {entry.epochs})",
    )  # fmt: skip
    group.add_argument(
        "--batch-size", type=positive_int, default=entry.batch_size, metavar="N",
        help=f"samples per step (default: {entry.batch_size})",
    )  # fmt: skip
    group.add_argument("--optimizer", choices=OPTIMIZERS, default=entry.optimizer, help=f"(default: {entry.optimizer})")
    group.add_argument(
        "--lr", type=positive_float, default=entry.lr, metavar="X", help=f"learning rate (default: {entry.lr:g})"
    )
    group.add_argument(
        "--schedule", choices=SCHEDULES, default="constant",
        help="how the learning rate goes on: constant, or cosine to 0 at the last epoch (default: constant)",
    )  # fmt: skip
    group.add_argument(
        "--clip-norm", type=positive_float, metavar="X", help="clip the norm of all gradients together to X"
    )


def fit_arguments(options: argparse.Namespace, model: Autoencoder) -> dict[str, Any]:
    """What the options mean as arguments of `tinyae.fit`."""
    optimizer = OPTIMIZERS[options.optimizer](model.parameters(), lr=options.lr)
    schedule = optim.CosineLR(optimizer, options.epochs) if options.schedule == "cosine" else None
    return {
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "optimizer": optimizer,
        "schedule": schedule,
        "clip_norm": options.clip_norm,
    }
