"""The options that belong to a model: what `tinyae train NAME --help` lists under "model".

One function per model adds them. Their values are handed to the model's builder under the same names, so an option
`--code-size` is the builder's argument `code_size`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from tinyae.cli.number_options import int_list, positive_float, positive_int
from tinyae.models import LIKELIHOODS, RECONSTRUCTIONS, ModelEntry
from tinyae.models.binarize import BINARIZATIONS
from tinyae.models.contractive import JACOBIANS
from tinyae.models.conv_pair import FORMS, UPSAMPLINGS
from tinyae.models.lstm import MODES
from tinyae.models.memory import CODES, DECODERS
from tinyae.models.sequence_parts import FEEDINGS
from tinyae.models.sparse import SPARSITIES
from tinyae.models.stacked import LAYERS
from tinyae.nn import NOISES
from tinyae.ops.dense import ACTIVATIONS


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
    """How long the classifier of labelled data is trained; the layers' own passes are --epochs."""
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
    add("--code-size", type=positive_int, default=32, metavar="K", help="numbers in a code (default: 32)")
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
    add("--code-size", type=positive_int, default=25, metavar="K", help="numbers in a code (default: 25)")
    add("--sparsity", choices=SPARSITIES, default="kl", help="how few active numbers are asked for (default: kl)")
    add("--rho", type=float, default=0.01, metavar="X", help="wanted mean activation, for kl (default: 0.01)")
    add("--beta", type=float, default=3.0, metavar="X", help="weight of the sparsity penalty (default: 3)")
    add("--weight-decay", type=float, default=1e-4, metavar="X", help="lambda, weight of half the squared weights")
    add("--k", type=positive_int, metavar="N", help="code numbers that pass, for topk (default: a tenth)")
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
    add("--code-size", type=positive_int, default=1000, metavar="K", help="numbers in a code (default: 1000)")
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
    add("--code-size", type=positive_int, metavar="K", help="numbers in a code (default: 16; one-hot: N)")
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
    add("--latent-size", type=positive_int, default=20, metavar="K", help="numbers in a code (default: 20)")
    add("--likelihood", choices=LIKELIHOODS, default="grey-bce", help="of the pixels (default: grey-bce)")
    add("--beta", type=float, default=1.0, metavar="X", help="weight of the KL (default: 1)")
    add(
        "--kl-warmup", dest="warmup", type=positive_int, metavar="N",
        help="epochs in which the weight of the KL grows to beta (default: none)",
    )  # fmt: skip
    add("--free-bits", type=float, metavar="X", help="nats per code number that cost nothing (default: 0)")


def _pixels(add: Add) -> None:
    add("--scale", type=positive_float, metavar="X", help="standard deviation of gaussian pixels (default: 0.1)")
    add(
        "--binarize", choices=BINARIZATIONS, default="none",
        help="make grey levels black and white, for --likelihood bernoulli: dynamic, anew each time; fixed, once",
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
        help="numbers in a code, by a dense layer (default: the code is the last stage's maps)",
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
    add("--code-size", type=positive_int, metavar="K", help="numbers in a code (default: the encoder's final state)")
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
