"""`tinyae sample RUN -n 64`: new samples from a model that has learnt a distribution."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from tinyae import plots
from tinyae.atomic import write_atomically
from tinyae.backend import backend_named
from tinyae.cli.options import add_device, add_run, add_seed, positive_int
from tinyae.models import VariationalAutoencoder
from tinyae.training import Run


def register(commands: Any) -> None:
    """Add `sample`."""
    parser = commands.add_parser(
        "sample",
        help="make up new samples with a variational autoencoder",
        description="Draw codes from the prior N(0, I) and decode them: a picture, or a .npy array.",
    )
    add_run(parser)
    parser.add_argument("-n", "--count", type=positive_int, default=64, metavar="N", help="samples (default: 64)")
    parser.add_argument(
        "--pixels", action="store_true", help="draw the pixels too, from p(x|z), instead of showing their mean"
    )
    add_seed(parser, "for the codes")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="picture (.png, .svg, .pdf) or array (.npy) (default: RUN/samples.png)"
    )
    add_device(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Sample, then draw or save."""
    folder = Run.open(options.run_folder)
    device = backend_named(options.device).name
    model = folder.model()
    if not isinstance(model, VariationalAutoencoder):
        raise ValueError(
            f"{folder.path} holds a model of the kind {folder.config['model']!r}, which has learnt no distribution to "
            "sample from: train one with `tinyae train vae`."
        )
    samples = model.to(device).sample(options.count, np.random.default_rng(options.seed), pixels=options.pixels)
    path = options.out or folder.path / ("samples.png" if samples.ndim == 4 else "samples.npy")
    if path.suffix == ".npy":
        _save(samples, path)
    elif samples.ndim == 4:
        what = "draws x ~ p(x|z)" if options.pixels else "E[x|z]"
        plots.save_figure(
            plots.image_grid(samples, title=f"{len(samples)} made-up {model.noun}s: {what} for codes z ~ N(0, I)"), path
        )
    else:
        raise ValueError(f"samples of shape {samples.shape[1:]} are no images to draw: give --out a name in .npy.")
    print(f"{path}: {len(samples)} {model.noun}s, seed {options.seed}")


def _save(samples: np.ndarray, path: Path) -> None:
    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.save(file, samples, allow_pickle=False)

    write_atomically(path, write)
