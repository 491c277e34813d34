"""`tinyae probe RUN`: what a linear classifier can tell from the codes."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from tinyae.cli.options import (
    add_data,
    add_device,
    add_picture,
    add_run,
    check_labels,
    class_count,
    nonnegative_float,
    open_run,
    positive_int,
)
from tinyae.training import LinearProbe
from tinyae.training.pictures.models import draw_confusion


def register(commands: Any) -> None:
    """Add `probe`."""
    parser = commands.add_parser(
        "probe",
        help="fit a linear classifier to the codes: what do they know of the classes?",
        description="Fit a softmax regression to the standardized codes of the training samples and count how many "
        "test samples it gets right, beside the same classifier on the samples' own values. The model is not changed.",
    )
    add_run(parser)
    add_data(parser, None)
    parser.add_argument(
        "--weight-decay",
        type=nonnegative_float,
        default=0.0,
        metavar="X",
        help="of the classifier's weights (default: 0)",
    )
    parser.add_argument(
        "--iterations", type=positive_int, default=200, metavar="N", help="of L-BFGS, at most (default: 200)"
    )
    add_picture(parser, "probe.png")
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Encode, fit, count, draw."""
    run, model, data = open_run(options)
    check_labels(data, "a classifier needs")
    train, test = data.train, data.test
    assert train.y is not None
    assert test.y is not None
    print(f"linear classifiers on {data.name}: {len(train):,} samples to fit them, {len(test):,} to test them")
    print(f"{'':24}{'numbers':>8}{'train':>10}{'test':>10}   right")
    given = {
        "codes": [model.encode(model.batch(split)).reshape(len(split), -1) for split in (train, test)],
        "the samples themselves": [train.flat, test.flat],
    }
    found: list[np.ndarray] = []
    for words, (before, after) in given.items():
        probe = LinearProbe(options.weight_decay, options.iterations).fit(before, train.y, progress=True, title=words)
        found.append(probe.predict(after))
        shares = probe.accuracy(before, train.y), np.mean(found[-1] == test.y)
        print(f"{words:24}{before.shape[1]:>8}" + "".join(f"{share:>10.2%}" for share in shares))
    largest = np.bincount(train.y).argmax()
    print(
        f"{'always the largest class':24}{0:>8}" + "".join(f"{np.mean(y == largest):>10.2%}" for y in (train.y, test.y))
    )
    title = f"what a linear classifier of codes takes test {model.sample_name}s for"
    for path in draw_confusion(data, found[0], class_count(data), options.out or run.path / "probe.png", title=title):
        print(f"picture: {path}")
