"""Pictures of a variational autoencoder: what it makes up, what lies between two samples, and how its code is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinyae import plots
from tinyae.data import Dataset
from tinyae.models import Autoencoder, ConditionalVariationalAutoencoder, LatentReport, VariationalAutoencoder
from tinyae.training.pictures.common import one_per_class

_SAMPLES = 64
_STEPS = 10
_MOST = 5000
"""Test samples whose posteriors are drawn."""


def draw_variational(model: Autoencoder, data: Dataset, folder: Path) -> list[Path]:
    """Draw samples, interpolations, the KL of each code number, the aggregate posterior, and for a code of two numbers
    the manifold into `folder`; returns the files.
    """
    if not isinstance(model, VariationalAutoencoder):
        return []
    files = draw_codes_in_use(model, data, folder)
    if data.image_shape is None:
        return files
    files += [draw_samples(model, folder / "samples.png"), draw_between(model, data, folder / "interpolation.png")]
    if model.code_size == 2:
        files.append(draw_manifold(model, folder / "manifold.png"))
    if isinstance(model, ConditionalVariationalAutoencoder):
        files.append(draw_restyled(model, data, folder / "restyled.png"))
    return files


def draw_samples(model: VariationalAutoencoder, path: Path, count: int = _SAMPLES, seed: int = 0) -> Path:
    """What the decoder makes of codes drawn from the prior; of a conditional model each column is a class."""
    columns, words = 8, ""
    if isinstance(model, ConditionalVariationalAutoencoder):
        columns, words = model.classes, ", a column for each class"
    count = -(-count // columns) * columns
    figure = plots.image_grid(
        model.sample(count, np.random.default_rng(seed)),
        columns=columns,
        title=f"{count} made-up {model.noun}s: E[x|z] for codes z drawn from N(0, I){words}",
    )
    return plots.save_figure(figure, path)


def draw_manifold(model: VariationalAutoencoder, path: Path, n: int = 20) -> Path:
    """The decoder's output over the plane of codes, each cell of which has the same probability; a conditional model's for
    class 0.
    """
    what = "E[x|z, class 0]" if isinstance(model, ConditionalVariationalAutoencoder) else "E[x|z]"
    figure = plots.code_plane(
        model.manifold(n),
        model.quantiles(n),
        names=("code number 0", "code number 1"),
        title=f"The plane of codes: {what} at {n} x {n} quantiles of N(0, 1)",
    )
    return plots.save_figure(figure, path)


def draw_restyled(model: ConditionalVariationalAutoencoder, data: Dataset, path: Path, rows: int = 8) -> Path:
    """One row per test sample: the sample, then its code decoded as every class."""
    assert data.test.y is not None
    x, labels = data.test.x[:rows], data.test.y[:rows]
    made = np.concatenate([x[:, None], model.restyle(x, labels)], axis=1)
    figure = plots.image_grid(
        made.reshape(-1, *x.shape[1:]),
        columns=1 + model.classes,
        title=f"{data.name}: test {model.noun}s (first column), and the code of each decoded as every class",
    )
    return plots.save_figure(figure, path)


def draw_between(model: VariationalAutoencoder, data: Dataset, path: Path, rows: int = 5) -> Path:
    """One row per pair of test samples of different classes: the way from one code (and class, if it is told) to the other."""
    chosen = one_per_class(data.test.y, len(data.test), 2 * rows)
    given = model.inputs_for(data.test.x[chosen], None if data.test.y is None else data.test.y[chosen])
    strips = [model.interpolate(a, b, _STEPS) for a, b in zip(given[::2], given[1::2], strict=False)]
    pairs = list(zip(chosen[::2], chosen[1::2], strict=False))
    ends = [(data.test.x[a : a + 1], data.test.x[b : b + 1]) for a, b in pairs]
    images = np.concatenate(
        [part for strip, (a, b) in zip(strips, ends, strict=True) for part in (a, strip, b)]
        if strips
        else [data.test.x[:1]]
    )
    figure = plots.image_grid(
        images,
        columns=_STEPS + 2,
        title=f"{data.name}: from one test {model.noun} (far left) to another (far right) on the line between their codes",
    )
    return plots.save_figure(figure, path)


def draw_codes_in_use(model: VariationalAutoencoder, data: Dataset, folder: Path) -> list[Path]:
    """`kl.png`, the cost of each code number, and `aggregate_posterior.png`."""
    labels = None if data.test.y is None else data.test.y[:_MOST]
    posterior = model.posterior(model.inputs_for(data.test.x[:_MOST], labels))
    report = LatentReport.of(posterior, model.noun)
    bars = plots.kl_bars(
        report.kl,
        report.in_use,
        unit=f"nats per {model.noun}",
        title=f"{data.name}: KL of each code number",
    )
    density = plots.aggregate_posterior(
        posterior.mean, posterior.log_variance, kl=report.kl, title=f"{data.name}: codes of the test {model.noun}s"
    )
    return [
        plots.save_figure(bars, folder / "kl.png"),
        plots.save_figure(density, folder / "aggregate_posterior.png"),
    ]
