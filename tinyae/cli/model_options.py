"""The options that belong to a model: what `tinyae train NAME --help` lists under "model".

One function per model adds them. Their values are handed to the model's builder under the same names, so an option
`--code-size` is the builder's argument `code_size`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from tinyae.cli.options import int_list, positive_int
from tinyae.models import RECONSTRUCTIONS, ModelEntry
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


def _tied(add: Add) -> None:
    add("--tied", action="store_true", help="the decoder uses the encoder's weights, transposed")


MODEL_OPTIONS: dict[str, Callable[[Add], None]] = {"basic": _basic, "deep": _deep}
"""Model name -> function that adds its options; a test compares the names with `MODELS`."""
