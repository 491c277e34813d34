"""`tinyae sample RUN -n 64`: generate new samples from a variational or vector-quantized autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae import plots
from tinyae.backend import backend_named
from tinyae.cli.arguments import whole_number
from tinyae.cli.options import open_run
from tinyae.cli.results import feature_columns, flat, is_results, write_results
from tinyae.data import Split
from tinyae.models import model_entry
from tinyae.models.settings import passes_on
from tinyae.training import Run
from tinyae.training.applied import tested
from tinyae.training.pictures import class_name


@passes_on(open_run, without=("data", "image_size", "gray", "skip_broken"))
def sample(
    run_folder: Path,
    *,
    count: int = 64,
    pixels: bool = False,
    label: Annotated[int, whole_number] | None = None,
    seed: int = 0,
    out: Path | None = None,
    **source: Any,
) -> None:
    """generate new samples with a vae, cvae or vqvae

    Draw codes and decode them, into a picture or a .npy array. vae and cvae draw codes from the prior N(0, I), vqvae from a
    prior fitted to the training codes.

    Args:
        count: N, number of samples.
        pixels: draw the pixels from p(x|z) instead of showing their mean.
        label: C, for a cvae: the class of all samples; by default each class in turn.
        seed: for the codes.
        out: FILE, picture (.png, .svg, .pdf), or values in the units of a table (.csv, .parquet, .npy); by default
            RUN/samples.png.
    """
    folder = Run.open(run_folder)
    kind, arguments = folder.config["model"], folder.config.get("arguments", {})
    conditional = model_entry(kind).conditional
    model = folder.model().to(backend_named(source["device"]).name)
    rng = np.random.default_rng(seed)
    if label is not None and not conditional:
        raise ValueError(f"--label is for a class-conditional model, and this is a {kind}: leave it out.")
    if hasattr(model, "fit_prior"):
        if pixels:
            raise ValueError("--pixels draws from p(x|z), and a VQ-VAE has no p(x|z): leave it out.")
        samples, how = model.fit_prior(folder.data().train.x).sample(count, rng), "codes from a Chow-Liu tree prior"
    elif hasattr(model, "sample"):
        labels = {} if label is None else {"labels": np.full(count, label)}
        samples = model.sample(count, rng, pixels=pixels, **labels)
        how = f"{'draws x ~ p(x|z)' if pixels else 'E[x|z]'} for codes z ~ N(0, I)"
        if conditional:
            how += ", each class in turn" if label is None else f", class {label}"
    else:
        raise ValueError(
            f"{folder.path} holds a model of kind {kind!r}, which has no prior to sample from: "
            "train one with `tinyae train vae`."
        )
    path = out or folder.path / ("samples.png" if samples.ndim == 4 else "samples.npy")
    drawn = tested(folder.config, Split(samples))
    if is_results(path):
        values = samples if drawn.schema is None else drawn.measured(samples)
        write_results(path, {}, flat(feature_columns(drawn, samples)), values)
    elif samples.ndim == 4:
        columns = arguments.get("classes") if label is None else None
        names = None if columns is None else [class_name(drawn, n) for n in range(min(columns, count))]
        title = f"{len(samples)} generated {model.sample_name}s: {how}"
        figure = plots.image_grid(samples, columns=columns, column_names=names, title=title)
        plots.save_figure(figure, path)
    else:
        raise ValueError(
            f"samples of shape {samples.shape[1:]} are not images to draw: give --out a name that ends in .npy, or .csv."
        )
    print(f"{path}: {len(samples)} {model.sample_name}s, seed {seed}; {how}")
