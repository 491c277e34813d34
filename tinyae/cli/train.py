"""`tinyae train MODEL`: train on real data and leave numbers and pictures in a run folder."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.backend import backend_named
from tinyae.cli.data_options import (
    add_data,
    add_windows,
    is_csv,
    kept_scaler,
    lasting,
    load_data,
    picture_options,
    remark,
    windows_of,
)
from tinyae.cli.model_options import add_classifier_options, add_model_options, model_arguments
from tinyae.cli.options import SAMPLE_NOUNS, add_device, add_seed, check_data, check_labels, class_count
from tinyae.cli.report import metrics_table
from tinyae.cli.sequence_options import check_sequence_options, settle_future
from tinyae.cli.train_stacked import train_stacked
from tinyae.cli.training_options import add_training_options, fit_arguments, settle_training
from tinyae.data import Dataset
from tinyae.models import MODELS, PCA, Autoencoder, build
from tinyae.training import History, Run, compare_sequences, draw_run, evaluate, fit
from tinyae.training.epochs import TrainingInterrupted

_TRAINING = ("epochs", "batch_size", "optimizer", "lr", "schedule", "clip_norm", "seed")
"""What `config.json` keeps of the training options."""

_LARGEST_PCA = 4096
"""Longest sample for which the PCA baseline is computed: its covariance matrix has this number squared entries."""


def register(commands: Any) -> None:
    """Add `train` with one sub-command per model."""
    command = commands.add_parser("train", help="train a model and leave numbers and pictures in a run folder")
    models = command.add_subparsers(title="models", dest="model", metavar="MODEL", required=True)
    for entry in MODELS.values():
        parser = models.add_parser(entry.name, help=entry.title, description=f"Train: {entry.title}.")
        parser.set_defaults(run=run)
        add_data(parser, entry.data)
        add_windows(parser)
        add_seed(parser, "for weights and the order of samples")
        add_device(parser)
        parser.add_argument(
            "--out", type=Path, metavar="DIR", help="run folder (default: runs/MODEL-DATA, numbered if taken)"
        )
        parser.add_argument("--force", action="store_true", help="replace an existing run in --out")
        add_training_options(parser, entry)
        add_model_options(parser, entry)
        if entry.labelled:
            add_classifier_options(parser)


def run(options: argparse.Namespace) -> None:
    """Check everything, then make the folder, train, measure, draw."""
    device = backend_named(options.device).name
    settle_training(options, MODELS[options.model])
    windows = windows_of(options)
    check_sequence_options(options, windows)
    pictures = picture_options(options)
    data = load_data(options.data, pictures, windows)
    arguments = model_arguments(options) | {
        "input_shape": list(data.example_shape),
        "sample": SAMPLE_NOUNS[data.kind],
    }
    settle_future(options, data, arguments)
    if MODELS[options.model].conditional:
        check_labels(data, "a conditional model needs", ", or train vae")
    if MODELS[options.model].conditional or (MODELS[options.model].labelled and data.has_labels):
        arguments["classes"] = class_count(data)
    model = build(options.model, arguments, np.random.default_rng(options.seed)).to(device)
    if model.capacity is not None:
        data = _first(data, model.capacity)
    check_data(data, model)
    config = {"model": options.model, "arguments": arguments, "data": lasting(options.data), "device": device}
    config |= {"data_options": pictures} if pictures else {}
    config |= {name: getattr(options, name) for name in _TRAINING}
    config |= {} if windows is None else {"windows": windows}
    config |= {"scaler": kept_scaler(data)} if windows is not None and is_csv(options.data) else {}
    folder = Run.create(options.out, config, force=options.force)
    print(_headline(options.model, model, data, device))
    remark(data)
    print(f"run folder: {folder.path}")
    started = time.perf_counter()
    try:
        history = _TRAINERS.get(options.model, _fit)(model, data, options, folder)
    except TrainingInterrupted as stop:
        if len(stop.history):
            folder.keep(model, stop.history)
            draw_run(model, data, stop.history, folder.path)
        folder.forget()
        raise
    except (ValueError, FloatingPointError, OSError):
        folder.forget()
        raise
    _report(model, data, time.perf_counter() - started)
    for file in draw_run(model, data, history, folder.path):
        print(f"picture: {file}")


def _fit(model: Autoencoder, data: Dataset, options: argparse.Namespace, folder: Run) -> History:
    """Everything at once, as most models are trained."""
    held_out = data.test if model.capacity is None else None
    return fit(model, data, held_out, callbacks=[folder.record], **fit_arguments(options, model))


_TRAINERS: dict[str, Callable[[Any, Dataset, argparse.Namespace, Run], History]] = {"stacked": train_stacked}
"""Models that are trained in another way."""


def _first(data: Dataset, count: int) -> Dataset:
    """The data with their first `count` training samples only: all that a memory can hold."""
    if count > len(data.train):
        raise ValueError(f"{data.name} has {len(data.train)} training samples, a memory of {count} asks for more.")
    return replace(data, train=data.train.rows(slice(0, count)))


def _headline(name: str, model: Autoencoder, data: Dataset, device: str) -> str:
    return (
        f"{name} autoencoder, {model.parameter_count():,} parameters, on {data.name} "
        f"({len(data.train):,} training and {len(data.test):,} test {model.noun}s "
        f"of {' x '.join(map(str, data.example_shape))}), {device}"
    )


def _report(model: Autoencoder, data: Dataset, seconds: float) -> None:
    """The numbers after training, with PCA at the same code size as the yardstick."""
    if model.capacity is not None:
        print(f"\ntrained in {seconds:.1f} s; a memory is asked for what it was given, so nothing is held out")
        print(metrics_table(model, {"train": evaluate(model, data.train.x)}))
        return
    print(f"\ntrained in {seconds:.1f} s; the test {model.noun}s took no part in any choice")
    print(metrics_table(model, {"train": evaluate(model, data.train), "test": evaluate(model, data.test)}))
    print("".join(f"{line}\n" for line in model.remarks(data.test.x, data.test.y)), end="")
    table = compare_sequences(model, data)
    if table:
        print("\n" + "\n".join(table))
        return
    code_size = model.encode(model.inputs_for(data.test.x[:1], None if data.test.y is None else data.test.y[:1])).size
    elements = data.train.flat.shape[1]
    if code_size <= min(len(data.train), elements) and elements <= _LARGEST_PCA:
        pca = PCA(code_size).fit(data.train.x)
        print(
            f"for comparison, PCA with {code_size} components: "
            f"test squared error {pca.squared_error(data.test.x):.5g} per {model.noun}"
        )
