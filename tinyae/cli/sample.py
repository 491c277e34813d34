"""`tinyae sample RUN -n 64`: new samples from a model that has learned a distribution (vae, cvae), or whose codes can be
counted (vqvae)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from tinyae import plots
from tinyae.atomic import write_atomically
from tinyae.backend import backend_named
from tinyae.cli.options import add_device, add_run, add_seed, open_run, positive_int, whole_number
from tinyae.models import model_entry
from tinyae.training import Run


def register(commands: Any) -> None:
    """Add `sample`."""
    parser = commands.add_parser(
        "sample",
        help="make up new samples with a vae, cvae or vqvae",
        description="Draw codes and decode them: a picture, or a .npy array. vae and cvae draw from the prior N(0, I), vqvae "
        "from the codes of its training samples, counted now.",
    )
    add_run(parser)
    parser.add_argument("-n", "--count", type=positive_int, default=64, metavar="N", help="samples (default: 64)")
    parser.add_argument(
        "--pixels", action="store_true", help="draw the pixels too, from p(x|z), instead of showing their mean"
    )
    parser.add_argument(
        "--label", type=whole_number, metavar="C", help="cvae: samples of this class (default: each class in turn)"
    )
    add_seed(parser, "for the codes")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="picture (.png, .svg, .pdf) or array (.npy) (default: RUN/samples.png)"
    )
    add_device(parser)
    parser.set_defaults(run=run, data=None)


def run(options: argparse.Namespace) -> None:
    """Sample, then draw or save."""
    folder = Run.open(options.run_folder)
    device = backend_named(options.device).name
    model = folder.model()
    model.to(device)
    rng = np.random.default_rng(options.seed)
    samples, how = _samples(model, folder, options, rng)
    path = options.out or folder.path / ("samples.png" if samples.ndim == 4 else "samples.npy")
    if path.suffix == ".npy":
        _save(samples, path)
    elif samples.ndim == 4:
        columns = getattr(model, "classes", None) if options.label is None else None
        figure = plots.image_grid(
            samples, columns=columns, title=f"{len(samples)} generated {model.sample_name}s: {how}"
        )
        plots.save_figure(figure, path)
    else:
        raise ValueError(f"samples of shape {samples.shape[1:]} are not images to draw: give --out a name in .npy.")
    print(f"{path}: {len(samples)} {model.sample_name}s, seed {options.seed}; {how}")


def _samples(model: Any, folder: Run, options: argparse.Namespace, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """The samples, and how they were drawn; raises ValueError for models and options that do not go together."""
    kind = folder.config["model"]
    if options.label is not None and not model_entry(kind).conditional:
        raise ValueError(f"--label is for a model that is given the class, and this is a {kind}: leave it out.")
    if hasattr(model, "fit_prior"):
        if options.pixels:
            raise ValueError("--pixels draws from p(x|z), which a vqvae has not got: leave it out.")
        _, model, data = open_run(options)
        return model.fit_prior(data.train.x).sample(options.count, rng), "codes drawn from a tree of pairs, decoded"
    if not hasattr(model, "sample"):
        raise ValueError(
            f"{folder.path} holds a model of the kind {kind!r}, which has learned no distribution to "
            "sample from: train one with `tinyae train vae`."
        )
    how = f"{'draws x ~ p(x|z)' if options.pixels else 'E[x|z]'} for codes z ~ N(0, I)"
    if model.classes is None:
        return model.sample(options.count, rng, pixels=options.pixels), how
    labels = None if options.label is None else np.full(options.count, options.label)
    of = "each class in turn" if labels is None else f"class {options.label}"
    return model.sample(options.count, rng, pixels=options.pixels, labels=labels), f"{how}, {of}"


def _save(samples: np.ndarray, path: Path) -> None:
    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.save(file, samples, allow_pickle=False)

    write_atomically(path, write)
