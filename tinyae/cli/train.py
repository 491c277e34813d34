"""`tinyae train MODEL`: build a model, train it on a data set, leave a run folder; and the options that say how."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinyae import optim
from tinyae.autodiff import Tensor
from tinyae.backend import backend_named
from tinyae.cli.options import (
    SAMPLE_NOUNS,
    add_data,
    add_device,
    add_seed,
    add_windows,
    check_data,
    check_labels,
    class_count,
    int_list,
    is_csv,
    kept_scaler,
    lasting,
    load_data,
    metrics_table,
    picture_options,
    positive_float,
    positive_int,
    remark,
    windows_of,
)
from tinyae.data import Dataset
from tinyae.models import (
    LIKELIHOODS,
    MODELS,
    PCA,
    RECONSTRUCTIONS,
    Autoencoder,
    ModelEntry,
    StackedAutoencoder,
    build,
)
from tinyae.models.contractive import JACOBIANS
from tinyae.models.convolutional import FORMS, UPSAMPLINGS
from tinyae.models.likelihoods import BINARIZATIONS
from tinyae.models.lstm import FEEDINGS, MODES
from tinyae.models.memory import CODES, DECODERS
from tinyae.models.sparse import SPARSITIES
from tinyae.models.stacked import LAYERS
from tinyae.nn import NOISES
from tinyae.ops.linear import ACTIVATIONS
from tinyae.training import (
    History,
    Run,
    compare_sequences,
    draw_run,
    evaluate,
    fit,
    fit_stack,
    fit_stack_classifier,
    whole_history,
)
from tinyae.training.loop import TrainingInterrupted
from tinyae.training.metrics import LARGEST_PCA

# ---------------------------------------------------------------------------------------------------------------------
# The command: check everything, then train, measure, draw.

_TRAINING = ("epochs", "batch_size", "optimizer", "lr", "schedule", "clip_norm", "seed")
"""What `config.json` keeps of the training options."""


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
        if entry.labeled:
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
    if MODELS[options.model].conditional or (MODELS[options.model].labeled and data.has_labels):
        arguments["classes"] = class_count(data)
    model = build(options.model, arguments, np.random.default_rng(options.seed)).to(device)
    if not MODELS[options.model].held_out:
        data = _first(data, model)
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
    return fit(
        model, data, data.test if len(data.test) else None, callbacks=[folder.record], **fit_arguments(options, model)
    )


def _first(data: Dataset, memory: Any) -> Dataset:
    """The data with their first training samples only, as many as the memory can hold, and nothing to test."""
    count = memory.count
    if count > len(data.train):
        raise ValueError(f"{data.name} has {len(data.train)} training samples, a memory of {count} asks for more.")
    return replace(data, train=data.train.rows(slice(0, count)), test=data.test.rows(slice(0, 0)))


def _headline(name: str, model: Autoencoder, data: Dataset, device: str) -> str:
    tested = f" and {len(data.test):,} test" if len(data.test) else ""
    return (
        f"{name} autoencoder, {model.parameter_count():,} parameters, on {data.name} "
        f"({len(data.train):,} training{tested} {model.sample_name}s "
        f"of {' x '.join(map(str, data.example_shape))}), {device}"
    )


def _report(model: Autoencoder, data: Dataset, seconds: float) -> None:
    """The numbers after training, with PCA at the same code size as the baseline."""
    if not len(data.test):
        print(f"\ntrained in {seconds:.1f} s; a memory is asked for what it was given, so nothing is held out")
        print(metrics_table({"train": evaluate(model, data.train)}))
        return
    print(f"\ntrained in {seconds:.1f} s; the test {model.sample_name}s took no part in any choice")
    print(metrics_table({"train": evaluate(model, data.train), "test": evaluate(model, data.test)}))
    print("".join(f"{line}\n" for line in model.report(data.test)), end="")
    table = compare_sequences(model, data)
    if table:
        print("\n" + "\n".join(table))
        return
    code_size = model.encode(model.batch(data.test.rows(slice(0, 1)))).size
    elements = data.train.flat.shape[1]
    if code_size <= min(len(data.train), elements) and elements <= LARGEST_PCA:
        pca = PCA(code_size).fit(data.train.x)
        print(
            f"for comparison, PCA with {code_size} components: "
            f"test squared error {pca.squared_error(data.test.x):.5g} per {model.sample_name}"
        )


# ---------------------------------------------------------------------------------------------------------------------
# How `tinyae train stacked` goes: layer by layer, then the classifier, then the whole.


def train_stacked(model: StackedAutoencoder, data: Dataset, options: argparse.Namespace, folder: Run) -> History:
    """Train every layer on the codes of those below; with a classifier, print its accuracy before and after fine-tuning.

    The run folder is brought up to date after every stage, so an interruption loses at most the stage it falls into.
    """
    stages: list[tuple[str, History]] = []

    def keep(name: str, history: History) -> None:
        stages.append((name, history))
        folder.keep(model, whole_history(stages))

    common: dict[str, Any] = {
        "batch_size": options.batch_size,
        "clip_norm": options.clip_norm,
        "seed": options.seed,
        "optimizer": lambda parameters: make_optimizer(options, parameters),
        "schedule": lambda optimizer, epochs: make_schedule(options, optimizer, epochs),
    }
    try:
        fit_stack(
            model,
            data,
            epochs=options.epochs,
            after_layer=lambda number, history: keep(f"layer {number}", history),
            **common,
        )
        if model.classifier is None:
            print(f"{data.name} has no labels: nothing to train a classifier with, so the stack stays as it is")
            return whole_history(stages)
        before, (first, second) = fit_stack_classifier(
            model,
            data.train,
            data.test,
            epochs=(options.classifier_epochs, options.tuning_epochs),
            **common,
        )
    except TrainingInterrupted as stop:
        raise TrainingInterrupted(whole_history([*stages, ("interrupted", stop.history)])) from None
    keep("classifier", first)
    keep("tuning", second)
    assert data.test.y is not None
    print(
        "\nfine-tuning moves the encoders and leaves the decoders behind, so reconstructions are worse than before it; "
        "codes and accuracy are what a stack is for"
    )
    after = model.classifier.accuracy(data.test.x, data.test.y)
    print(
        f"\ntest accuracy of the classifier on the frozen codes: {before:.2%}; after fine-tuning the whole: {after:.2%}"
    )
    return whole_history(stages)


_TRAINERS: dict[str, Callable[[Any, Dataset, argparse.Namespace, Run], History]] = {"stacked": train_stacked}
"""Models that are trained in another way."""


# ---------------------------------------------------------------------------------------------------------------------
# The options that say how to train: passes, batches, optimizer, schedule.

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


# ---------------------------------------------------------------------------------------------------------------------
# The options that belong to a model: what `tinyae train NAME --help` lists under "model".
#
# One function per model adds them. Their values are handed to the model's builder under the same names, so an option
# `--code-size` is the builder's argument `code_size`.


def add_model_options(parser: argparse.ArgumentParser, entry: ModelEntry) -> None:
    """Add the options of one model, and remember which they are for `model_arguments`."""
    group = parser.add_argument_group("model")
    names: list[str] = []

    def add(flag: str, **settings: Any) -> None:
        names.append(group.add_argument(flag, **settings).dest)

    if entry.loss:
        add("--loss", choices=RECONSTRUCTIONS, default=entry.loss, help=f"reconstruction loss (default: {entry.loss})")
    MODEL_OPTIONS[entry.name](add)
    parser.set_defaults(model_options=names)


def add_classifier_options(parser: argparse.ArgumentParser) -> None:
    """How long the classifier of labeled data is trained; the layers' own passes are --epochs."""
    group = parser.add_argument_group("classifier, where the data have labels")
    for name, what in (("classifier", "the classifier on frozen codes"), ("tuning", "fine-tuning the whole")):
        group.add_argument(
            f"--{name}-epochs", type=positive_int, default=20, metavar="N", help=f"passes for {what} (default: 20)"
        )


def model_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """The builder's arguments as the user gave them; those without a value are left to the builder."""
    return {name: value for name in options.model_options if (value := getattr(options, name)) is not None}


Add = Callable[..., None]
"""Adds one option: `ArgumentParser.add_argument`, with the name remembered."""


def _basic(add: Add) -> None:
    add("--code-size", type=positive_int, default=32, metavar="K", help="latent dimensions (default: 32)")
    add("--activation", choices=ACTIVATIONS, default="relu", help="of the code (default: relu)")
    _tied(add)


def _deep(add: Add) -> None:
    add(
        "--sizes", type=int_list, default=[1000, 500, 250, 30], metavar="N,N,...",
        help="widths of the encoder, the last is the code (default: 1000,500,250,30)",
    )  # fmt: skip
    add("--activation", choices=ACTIVATIONS, default="relu", help="of the hidden layers (default: relu)")
    add("--code-activation", choices=ACTIVATIONS, default="identity", help="of the code (default: identity)")
    add(
        "--output-activation", choices=ACTIVATIONS, default="identity",
        help="of the decoder's last layer; identity with loss bce (default: identity)",
    )  # fmt: skip
    _tied(add)


def _sparse(add: Add) -> None:
    add("--code-size", type=positive_int, default=25, metavar="K", help="latent dimensions (default: 25)")
    add("--sparsity", choices=SPARSITIES, default="kl", help="the penalty that keeps few units active (default: kl)")
    add("--rho", type=float, default=0.01, metavar="X", help="wanted mean activation, for kl (default: 0.01)")
    add("--beta", type=float, default=3.0, metavar="X", help="weight of the sparsity penalty (default: 3)")
    add("--weight-decay", type=float, default=1e-4, metavar="X", help="lambda, weight of half the squared weights")
    add("--k", type=positive_int, metavar="N", help="units that pass, for topk (default: a tenth)")
    add("--evaluation-k", type=positive_int, metavar="N", help="the same once training is over (default: k)")
    add("--activation", choices=ACTIVATIONS, help="of the code (default: sigmoid; l1: relu; topk: identity)")
    _tied(add)


def _contractive(add: Add) -> None:
    add("--sizes", type=int_list, default=[128], metavar="N,N,...", help="widths, the last is the code (default: 128)")
    add("--contraction", type=float, default=0.1, metavar="X", help="weight of the Jacobian's norm (default: 0.1)")
    add("--jacobian", choices=JACOBIANS, default="auto", help="how that norm is computed (default: auto)")
    add("--probes", type=positive_int, metavar="N", help="random directions for hutchinson (default: 1)")
    add("--activation", choices=ACTIVATIONS, default="sigmoid", help="of all layers (default: sigmoid)")
    _tied(add)


def _denoising(add: Add) -> None:
    _noise(add, "masking", 0.25)
    add("--code-size", type=positive_int, default=1000, metavar="K", help="latent dimensions (default: 1000)")
    add("--hidden-sizes", type=int_list, metavar="N,N,...", help="widths of layers before the code (default: none)")
    add("--activation", choices=ACTIVATIONS, default="relu", help="of code and hidden layers (default: relu)")
    _tied(add)


def _noise(add: Add, corruption: str, level: float) -> None:
    add("--corruption", choices=NOISES, default=corruption, help=f"kind of noise (default: {corruption})")
    add(
        "--level", type=float, default=level, metavar="X",
        help=f"share of damaged elements in [0, 1), or the standard deviation of gaussian noise (default: {level})",
    )  # fmt: skip
    add("--alpha", type=float, metavar="X", help="weight of damaged elements in the loss (default: 1)")
    add("--beta", type=float, metavar="X", help="weight of undamaged elements in the loss (default: 1)")


def _stacked(add: Add) -> None:
    add("--sizes", type=int_list, default=[200, 200], metavar="N,N,...", help="widths of the layers (default: 200,200)")
    add("--layer", choices=LAYERS, default="sparse", help="kind of every layer (default: sparse)")
    add("--rho", type=float, default=0.1, metavar="X", help="sparse: wanted mean activation (default: 0.1)")
    add("--beta", type=float, default=3.0, metavar="X", help="sparse: weight of the penalty (default: 3)")
    add("--weight-decay", type=float, default=3e-3, metavar="X", help="sparse: lambda (default: 0.003)")
    add("--corruption", choices=NOISES, default="masking", help="denoising: kind of noise (default: masking)")
    add("--level", type=float, default=0.25, metavar="X", help="denoising: share or standard deviation (default: 0.25)")
    add("--classifier-decay", type=float, default=1e-4, metavar="X", help="classifier: lambda (default: 0.0001)")
    _tied(add)


def _memory(add: Add) -> None:
    add("--codes", choices=CODES, default="learned", help="input of the decoder (default: learned)")
    add(
        "--count", type=positive_int, metavar="N", help="samples to hold (default: 1 for ones, 10 one-hot, 100 learned)"
    )
    add("--code-size", type=positive_int, metavar="K", help="latent dimensions (default: 16; one-hot: N)")
    add("--decoder", choices=DECODERS, help="dense, or transposed convolutions (default: dense)")
    add("--hidden-sizes", type=int_list, metavar="N,N,...", help="dense: widths from the code outwards (default: 256)")
    add("--channels", type=int_list, metavar="N,N,...", help="conv: of the maps, largest maps first (default: 32,64)")
    add("--upsampling", choices=UPSAMPLINGS, help="conv: how maps are doubled (default: transposed)")
    add("--activation", choices=ACTIVATIONS, default="relu", help="of the hidden layers (default: relu)")


def _cvae(add: Add) -> None:
    add("--sizes", type=int_list, default=[400], metavar="N,N,...", help="widths before the code (default: 400)")
    add("--activation", choices=ACTIVATIONS, default="relu", help="of the hidden layers (default: relu)")
    _gaussian_codes(add)


def _gaussian_codes(add: Add) -> None:
    add("--latent-size", type=positive_int, default=20, metavar="K", help="latent dimensions (default: 20)")
    add("--likelihood", choices=LIKELIHOODS, default="gray-bce", help="of the pixels (default: gray-bce)")
    add("--beta", type=float, default=1.0, metavar="X", help="weight of the KL (default: 1)")
    add(
        "--kl-warmup", dest="warmup", type=positive_int, metavar="N",
        help="epochs in which the weight of the KL grows to beta (default: none)",
    )  # fmt: skip
    add("--free-bits", type=float, metavar="X", help="nats per latent dimension that cost nothing (default: 0)")


def _pixels(add: Add) -> None:
    add("--scale", type=positive_float, metavar="X", help="standard deviation of gaussian pixels (default: 0.1)")
    add(
        "--binarize", choices=BINARIZATIONS, default="none",
        help="make gray levels black and white, for --likelihood bernoulli: dynamic, anew each time; fixed, once",
    )  # fmt: skip


def _vae(add: Add) -> None:
    _cvae(add)
    _pixels(add)
    add(
        "--importance-samples", type=positive_int, metavar="K",
        help="train on the importance-weighted bound of K codes per sample (default: the ELBO)",
    )  # fmt: skip


def _conv(add: Add) -> None:
    _convolutions(add, "keras", "16,8,8; strided 32,64", "nearest")
    _conv_code(add)


def _conv_denoising(add: Add) -> None:
    _noise(add, "gaussian", 0.5)
    _convolutions(add, "keras", "32,32", "nearest")
    _conv_code(add)


def _conv_vae(add: Add) -> None:
    _convolutions(add, "strided", "32,64; keras 16,8,8", "transposed")
    _gaussian_codes(add)
    _pixels(add)


def _convolutions(add: Add, form: str, channels: str, upsampling: str) -> None:
    add(
        "--form", choices=FORMS, default=form,
        help=f"how an image is halved: keras, convolution and max pooling; strided, stride 2 (default: {form})",
    )  # fmt: skip
    add(
        "--channels", type=int_list, metavar="N,N,...",
        help=f"of the stages, each of which halves the image (default: {channels})",
    )  # fmt: skip
    add("--kernel-size", type=positive_int, default=3, metavar="N", help="of every convolution (default: 3)")
    add(
        "--upsampling", choices=UPSAMPLINGS, default=upsampling,
        help=f"how the decoder doubles an image (default: {upsampling})",
    )  # fmt: skip
    add("--activation", choices=ACTIVATIONS, default="relu", help="of all layers but the last (default: relu)")


def _conv_code(add: Add) -> None:
    add(
        "--code-size", type=positive_int, metavar="K",
        help="latent dimensions, by a dense layer (default: the code is the last stage's maps)",
    )  # fmt: skip


def _vqvae(add: Add) -> None:
    add("--sizes", type=int_list, default=[400], metavar="N,N,...", help="widths before the code (default: 400)")
    add("--positions", type=positive_int, default=16, metavar="P", help="vectors in a code (default: 16)")
    add("--codebook-size", type=positive_int, default=64, metavar="C", help="vectors to choose from (default: 64)")
    add("--code-features", type=positive_int, default=8, metavar="D", help="numbers in a vector (default: 8)")
    add("--commitment", type=float, default=0.25, metavar="X", help="pull of encoder to codebook (default: 0.25)")
    add("--activation", choices=ACTIVATIONS, default="relu", help="of the hidden layers (default: relu)")


def _lstm(add: Add) -> None:
    add("--mode", choices=MODES, default="reconstruct", help="what is decoded (default: reconstruct)")
    add("--hidden-size", type=positive_int, default=128, metavar="H", help="units of each LSTM (default: 128)")
    add("--code-size", type=positive_int, metavar="K", help="latent dimensions (default: the encoder's final state)")
    add(
        "--future-steps", type=positive_int, metavar="F",
        help="last steps of each sequence, to be predicted (default: the data's horizon, else a quarter)",
    )  # fmt: skip
    add("--conditional", action="store_true", help="each step of a decoder is given the sample of the step before")
    add("--feeding", choices=FEEDINGS, help="what a conditional decoder is given in training (default: teacher)")
    add("--teacher-epochs", type=positive_int, metavar="N", help="scheduled: until the truth is gone (default: 10)")
    add(
        "--reverse-target", action=argparse.BooleanOptionalAction, default=None,
        help="reconstruct from the last step to the first (default: yes)",
    )  # fmt: skip
    add("--layers", dest="num_layers", type=positive_int, default=1, metavar="N", help="LSTM layers (default: 1)")
    add("--bidirectional", action="store_true", help="the encoder reads in both directions")
    add("--peepholes", action="store_true", help="the gates see the cell")
    add("--dropout", type=float, default=0.0, metavar="X", help="share dropped between layers (default: 0)")


def _tied(add: Add) -> None:
    add("--tied", action="store_true", help="the decoder uses the encoder's weights, transposed")


MODEL_OPTIONS: dict[str, Callable[[Add], None]] = {
    "basic": _basic,
    "deep": _deep,
    "sparse": _sparse,
    "contractive": _contractive,
    "denoising": _denoising,
    "stacked": _stacked,
    "memory": _memory,
    "vae": _vae,
    "cvae": _cvae,
    "conv": _conv,
    "conv-denoising": _conv_denoising,
    "conv-vae": _conv_vae,
    "vqvae": _vqvae,
    "lstm": _lstm,
}
"""Model name -> function that adds its options; a test compares the names with `MODELS`."""


# ---------------------------------------------------------------------------------------------------------------------
# What the options of sequence models mean together, and for the data at hand.


def check_sequence_options(options: argparse.Namespace, windows: dict[str, Any] | None) -> None:
    """Raise ValueError for options that would have no effect: better no run than one that ignores what was asked."""
    horizon = (windows or {}).get("horizon")
    asked = getattr(options, "future_steps", None)
    if horizon is not None and not _predicts(options):
        raise ValueError(
            f"--horizon {horizon} gives each window {horizon} steps to be predicted, and this model predicts nothing: "
            "leave it out, or train lstm with --mode predict or composite."
        )
    if horizon is not None and asked not in (None, horizon):
        raise ValueError(f"--horizon {horizon} and --future-steps {asked} say the same thing twice: give one of them.")
    if getattr(options, "teacher_epochs", None) is not None and options.feeding != "scheduled":
        raise ValueError(
            "--teacher-epochs says when scheduled feeding gives up the truth: add --conditional --feeding scheduled."
        )
    if options.model == "lstm" and options.dropout and options.num_layers == 1:
        raise ValueError("--dropout acts between layers, and there is one: add --layers 2, or leave it out.")


def settle_future(options: argparse.Namespace, data: Dataset, arguments: dict[str, Any]) -> None:
    """Fill in how many steps are predicted where nobody said: the data's horizon, else a quarter of the shortest sequence."""
    if not _predicts(options):
        return
    if data.horizon:
        arguments.setdefault("future_steps", data.horizon)
    ends = [split.lengths.min() for split in (data.train, data.test) if split.lengths is not None]
    if ends:
        arguments.setdefault("future_steps", max(1, int(min(ends)) // 4))


def _predicts(options: argparse.Namespace) -> bool:
    return getattr(options, "mode", "reconstruct") in ("predict", "composite")
