"""`tinyae train MODEL`: train on real data and leave numbers and pictures in a run folder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from tinyae import optim
from tinyae.backend import backend_named
from tinyae.cli.options import add_data, add_device, add_seed, int_list, positive_float, positive_int
from tinyae.cli.report import metrics_table
from tinyae.data import Dataset, load
from tinyae.models import MODELS, PCA, RECONSTRUCTIONS, Autoencoder, build
from tinyae.ops.dense import ACTIVATIONS
from tinyae.training import Run, draw_run, evaluate, fit
from tinyae.training.loop import TrainingInterrupted, check_samples

OPTIMIZERS = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": optim.SGD,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
}
SAMPLE_NOUNS = {"images": "image", "sequences": "sequence", "series": "window", "vectors": "row"}
_LARGEST_PCA = 4096
"""Longest sample for which the PCA baseline is computed: its covariance matrix has this number squared entries."""


def register(commands: Any) -> None:
    """Add `train` with one sub-command per model."""
    command = commands.add_parser("train", help="train a model and leave numbers and pictures in a run folder")
    models = command.add_subparsers(title="models", dest="model", metavar="MODEL", required=True)
    for entry in MODELS.values():
        parser = models.add_parser(entry.name, help=entry.title, description=f"Train: {entry.title}.")
        parser.set_defaults(run=run)
        add_data(parser, "fashion-mini")
        parser.add_argument(
            "--epochs",
            type=positive_int,
            default=entry.epochs,
            metavar="N",
            help=f"passes over the data (default: {entry.epochs})",
        )
        parser.add_argument(
            "--batch-size", type=positive_int, default=128, metavar="N", help="samples per step (default: 128)"
        )
        parser.add_argument(
            "--lr", type=positive_float, default=entry.lr, metavar="X", help=f"learning rate (default: {entry.lr:g})"
        )
        parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adam", help="(default: adam)")
        parser.add_argument(
            "--loss", choices=RECONSTRUCTIONS, default="bce", help="reconstruction loss (default: bce, in nats)"
        )
        add_seed(parser, "for weights and the order of samples")
        add_device(parser)
        parser.add_argument(
            "--out", type=Path, metavar="DIR", help="run folder (default: runs/MODEL-DATA, numbered if taken)"
        )
        parser.add_argument("--force", action="store_true", help="replace an existing run in --out")
        parser.add_argument("--tied", action="store_true", help="the decoder uses the encoder's weights, transposed")
        _ARGUMENTS[entry.name](parser)


def _basic_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--code-size", type=positive_int, default=32, help="numbers in a code (default: 32)")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="of the code (default: relu)")


def _deep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sizes", type=int_list, default=[1000, 500, 250, 30], metavar="N,N,...",
        help="widths of the encoder, the last is the code (default: 1000,500,250,30)",
    )  # fmt: skip
    parser.add_argument(
        "--activation", choices=ACTIVATIONS, default="relu", help="of the hidden layers (default: relu)"
    )
    parser.add_argument(
        "--code-activation", choices=ACTIVATIONS, default="identity", help="of the code (default: identity)"
    )


_ARGUMENTS = {"basic": _basic_arguments, "deep": _deep_arguments}
_MODEL_OPTIONS = ("code_size", "sizes", "activation", "code_activation", "loss", "tied")


def run(options: argparse.Namespace) -> None:
    """Check everything, then make the folder, train, measure, draw."""
    device = backend_named(options.device).name
    data = load(options.data)
    arguments = {name: value for name in _MODEL_OPTIONS if (value := getattr(options, name, None)) is not None}
    arguments |= {"input_shape": list(data.example_shape), "sample": SAMPLE_NOUNS[data.kind]}
    model = build(options.model, arguments, np.random.default_rng(options.seed)).to(device)
    for name, split in (("train", data.train), ("test", data.test)):
        check_samples(split, f"{data.name} {name}", model)
    config = {"model": options.model, "arguments": arguments, "data": options.data, "device": device} | {
        name: getattr(options, name) for name in ("epochs", "batch_size", "lr", "optimizer", "seed")
    }
    folder = Run.create(options.out, config, force=options.force)
    print(_headline(options.model, model, data, device))
    print(f"run folder: {folder.path}")
    started = time.perf_counter()
    try:
        history = fit(
            model, data, data.test, epochs=options.epochs, batch_size=options.batch_size, seed=options.seed,
            optimizer=OPTIMIZERS[options.optimizer](model.parameters(), lr=options.lr), callbacks=[folder.record],
        )  # fmt: skip
    except TrainingInterrupted as stop:
        if len(stop.history):
            folder.keep(model, stop.history)
            draw_run(model, data, stop.history, folder.path)
        raise
    seconds = time.perf_counter() - started
    _report(model, data, seconds)
    for file in draw_run(model, data, history, folder.path):
        print(f"picture: {file}")


def _headline(name: str, model: Autoencoder, data: Dataset, device: str) -> str:
    return (
        f"{name} autoencoder, {model.parameter_count():,} parameters, on {data.name} "
        f"({len(data.train):,} training and {len(data.test):,} test {model.sample}s "
        f"of {' x '.join(map(str, data.example_shape))}), {device}"
    )


def _report(model: Autoencoder, data: Dataset, seconds: float) -> None:
    """The numbers after training, with PCA at the same code size as the yardstick."""
    print(f"\ntrained in {seconds:.1f} s; the test {model.sample}s took no part in any choice")
    print(metrics_table(model, {"train": evaluate(model, data.train.x), "test": evaluate(model, data.test.x)}))
    code_size = model.encode(data.test.x[:1]).size
    elements = data.train.flat.shape[1]
    if code_size <= min(len(data.train), elements) and elements <= _LARGEST_PCA:
        pca = PCA(code_size).fit(data.train.x)
        print(
            f"for comparison, PCA with {code_size} components: "
            f"test squared error {pca.squared_error(data.test.x):.5g} per {model.sample}"
        )
