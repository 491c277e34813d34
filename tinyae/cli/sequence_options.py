"""What the options of sequence models mean together, and for the data at hand."""

from __future__ import annotations

import argparse
from typing import Any

from tinyae.data import Dataset


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
