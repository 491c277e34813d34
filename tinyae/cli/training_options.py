"""The options that say how to train: passes, batches, optimizer, schedule."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from tinyae import optim
from tinyae.autodiff import Tensor
from tinyae.cli.number_options import positive_float, positive_int
from tinyae.models import Autoencoder, ModelEntry

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": optim.SGD,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
    "lbfgs": optim.LBFGS,
}
SCHEDULES = ("constant", "cosine")


def add_training_options(parser: argparse.ArgumentParser, entry: ModelEntry) -> None:
    """--epochs, --batch-size, --optimizer, --lr, --schedule, --clip-norm, with the model's own defaults."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--epochs", type=positive_int, default=entry.epochs, metavar="N",
        help=f"passes over the data; with lbfgs, iterations at most (default: {entry.epochs})",
    )  # fmt: skip
    group.add_argument(
        "--batch-size", type=positive_int, metavar="N", help=f"samples per step (default: {entry.batch_size})"
    )  # fmt: skip
    group.add_argument("--optimizer", choices=OPTIMIZERS, default=entry.optimizer, help=f"(default: {entry.optimizer})")
    group.add_argument("--lr", type=positive_float, metavar="X", help=f"learning rate (default: {entry.lr:g})")
    group.add_argument(
        "--schedule", choices=SCHEDULES,
        help="how the learning rate goes on: constant, or cosine to 0 at the last epoch (default: constant)",
    )  # fmt: skip
    group.add_argument(
        "--clip-norm", type=positive_float, metavar="X", help="clip the norm of all gradients together to X"
    )


def settle_training(options: argparse.Namespace, entry: ModelEntry) -> None:
    """Fill in the defaults of the options that were not given.

    Raises:
        ValueError: an option was given that means nothing to L-BFGS, which takes all data at once and finds the
            length of its steps itself.
    """
    if options.optimizer == "lbfgs":
        for name in _NOT_FOR_LBFGS:
            if getattr(options, name) is not None:
                raise ValueError(
                    f"--{name.replace('_', '-')} means nothing to lbfgs, which takes all samples at once and finds its "
                    "step lengths itself: leave it out, or use --optimizer adam."
                )
    usual = {"batch_size": None if options.optimizer == "lbfgs" else entry.batch_size}
    for name, value in (usual | {"lr": entry.lr, "schedule": "constant"}).items():
        if getattr(options, name) is None:
            setattr(options, name, value)


_NOT_FOR_LBFGS = ("batch_size", "lr", "schedule", "clip_norm")


def fit_arguments(options: argparse.Namespace, model: Autoencoder) -> dict[str, Any]:
    """What the options mean as arguments of `tinyae.fit`."""
    optimizer = make_optimizer(options, model.parameters())
    return {
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "optimizer": optimizer,
        "schedule": make_schedule(options, optimizer, options.epochs),
        "clip_norm": options.clip_norm,
    }


def make_optimizer(options: argparse.Namespace, parameters: Iterable[Tensor]) -> optim.Optimizer:
    """The asked optimizer for these parameters."""
    if options.optimizer == "lbfgs":
        return optim.LBFGS(parameters)
    return OPTIMIZERS[options.optimizer](parameters, lr=options.lr)


def make_schedule(options: argparse.Namespace, optimizer: optim.Optimizer, epochs: int) -> optim.Schedule | None:
    """The asked schedule of an optimizer's learning rate, None for a constant one."""
    return optim.CosineLR(optimizer, epochs) if options.schedule == "cosine" else None
