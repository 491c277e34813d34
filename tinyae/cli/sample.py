"""`tinyae sample RUN -n 64`: new samples from a model that has learned a distribution (vae, cvae), or whose codes can be
counted (vqvae)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae import plots
from tinyae.backend import backend_named
from tinyae.cli.arguments import whole_number
from tinyae.cli.options import open_run, save_array
from tinyae.models import model_entry
from tinyae.models.settings import passes_on
from tinyae.training import Run


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

    Draw codes and decode them: a picture, or a .npy array. vae and cvae draw from the prior N(0, I), vqvae from the codes
    of its training samples, counted now.

    Args:
        count: N, samples.
        pixels: draw the pixels too, from p(x|z), instead of showing their mean.
        label: C, for a cvae: samples of this class; by default each class in turn.
        seed: for the codes.
        out: FILE, picture (.png, .svg, .pdf) or array (.npy); by default RUN/samples.png.
    """
    folder = Run.open(run_folder)
    kind, arguments = folder.config["model"], folder.config.get("arguments", {})
    conditional = model_entry(kind).conditional
    model = folder.model().to(backend_named(source["device"]).name)
    rng = np.random.default_rng(seed)
    if label is not None and not conditional:
        raise ValueError(f"--label is for a model that is given the class, and this is a {kind}: leave it out.")
    if hasattr(model, "fit_prior"):
        if pixels:
            raise ValueError("--pixels draws from p(x|z), which a vqvae has not got: leave it out.")
        _, _, data = open_run(run_folder, **source)
        samples, how = model.fit_prior(data.train.x).sample(count, rng), "codes drawn from a tree of pairs, decoded"
    elif hasattr(model, "sample"):
        labels = {} if label is None else {"labels": np.full(count, label)}
        samples = model.sample(count, rng, pixels=pixels, **labels)
        how = f"{'draws x ~ p(x|z)' if pixels else 'E[x|z]'} for codes z ~ N(0, I)"
        if conditional:
            how += ", each class in turn" if label is None else f", class {label}"
    else:
        raise ValueError(
            f"{folder.path} holds a model of the kind {kind!r}, which has learned no distribution to "
            "sample from: train one with `tinyae train vae`."
        )
    path = out or folder.path / ("samples.png" if samples.ndim == 4 else "samples.npy")
    if path.suffix == ".npy":
        save_array(samples, path)
    elif samples.ndim == 4:
        columns = arguments.get("classes") if label is None else None
        figure = plots.image_grid(
            samples, columns=columns, title=f"{len(samples)} generated {model.sample_name}s: {how}"
        )
        plots.save_figure(figure, path)
    else:
        raise ValueError(f"samples of shape {samples.shape[1:]} are not images to draw: give --out a name in .npy.")
    print(f"{path}: {len(samples)} {model.sample_name}s, seed {seed}; {how}")
