"""Pictures of codes and metrics: scatter plots, latent dimensions, confusion matrices and loss curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from tinyae.backend.devices import as_array
from tinyae.checks import check_kind, whole_number
from tinyae.plots import style
from tinyae.plots.style import (
    FloatArray,
    RealArray,
    as_images,
    finished,
    host_array,
    legend_above,
    one_each,
    panels,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# ---------------------------------------------------------------------------------------------------------------------
# Scatter plots of codes, colored by class. Those of a projection have the fractions of the variance at the axes, because a
# projection that keeps 20 % may mislead.

MOST_CLASSES = len(style.PALETTE) * len(style.MARKERS)
BINS = 60


@style.picture
def code_scatter(
    codes: RealArray,
    labels: RealArray | Sequence[int] | None = None,
    class_names: Sequence[object] | Mapping[int, object] | None = None,
    *,
    max_points: int = 5000,
    title: str = "Codes",
) -> Figure:
    """Draw codes (N, K), colored by class.

    K = 1 gives a histogram for each class, K = 2 a scatter plot, K > 2 a scatter plot of the first two principal
    components of all codes, with their fractions of the variance on the axes.
    `labels` (N,): whole numbers; None draws all codes in one color.
    `class_names`: names, found as `class_names[label]` in a sequence or a mapping; None shows the numbers.
    `max_points`: if there are more codes, a random subset of this size is drawn, the same each time. The principal
    components and the histograms are always those of all codes.

    Codes that are not finite are omitted and counted below the picture. Raises `TypeError` for anything but a
    NumPy array, `ValueError` for other shapes, for labels that do not fit the codes or the names, for more than 50
    classes, and if no code is finite.
    """
    points: FloatArray = host_array(codes, "codes", "(N, K)")
    if points.ndim != 2:
        raise ValueError(f"codes must have shape (N, K), got {codes.shape}: flatten each code with .reshape(N, -1).")
    max_points = whole_number("max_points", max_points, at_least=1)
    classes = _classes(labels, len(points))
    names = _names(np.unique(classes), class_names) if labels is not None else {}
    finite = np.isfinite(points).all(axis=1)
    if not finite.any():
        raise ValueError(
            f"none of the {len(points)} codes is finite: the model has diverged, use a smaller learning rate."
        )
    parts = [f"{style.counted(int((~finite).sum()), 'code')} not finite, omitted."] if not finite.all() else []
    points, classes = points[finite], classes[finite]
    if points.shape[1] == 1:
        return _histograms(points[:, 0], classes, names, title, parts)
    axis_names = ["latent dimension 0", "latent dimension 1"]
    if points.shape[1] > 2:
        width = points.shape[1]
        points, fractions = principal_components(points)
        axis_names = [f"principal component {place} ({fractions[place - 1]:.1%} of the variance)" for place in (1, 2)]
        parts.insert(0, f"Codes of {width} dimensions, projected onto their first two principal components.")
    # The order is random even if all points are drawn, so that no class is drawn on top of the others.
    order = np.random.default_rng(0).permutation(len(points))[:max_points]
    if len(order) < len(points):
        parts.append(f"{len(order)} of {len(points)} codes drawn.")
    return _scatter(points[order], classes[order], names, axis_names, title, " ".join(parts))


def principal_components(codes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return codes (N, K), K >= 2, projected onto their first two principal components (N, 2), and two fractions (2,).

    A fraction is that of the total variance, 0 for codes that are all equal. The sign of a component is arbitrary; it is
    chosen so that the entry of largest absolute value is positive.
    """
    # The right singular vectors of the centered codes are the eigenvectors of their covariance, found without
    # squaring the values; the squared singular values are its eigenvalues times N - 1, which cancels below.
    centered = codes - codes.mean(axis=0)
    _, singular, rows = np.linalg.svd(centered, full_matrices=False)
    variances, axes = singular**2, rows[:2]
    if len(codes) == 1:  # there is only one singular vector
        variances, axes = np.zeros(2), np.zeros((2, codes.shape[1]))
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, np.newaxis], axis=1)
    axes = axes * np.where(largest < 0, -1.0, 1.0)
    return centered @ axes.T, variances[:2] / (variances.sum() or 1.0)


def _classes(labels: RealArray | Sequence[int] | None, count: int) -> npt.NDArray[np.int64]:
    """Return the labels (N,) as whole numbers, zeros for None; floats are accepted if they are whole numbers."""
    if labels is None:
        return np.zeros(count, dtype=np.int64)
    classes = as_array(labels, expected="labels must be whole numbers (N,)")
    if classes.shape != (count,):
        raise ValueError(
            f"labels must have shape ({count},), one for each code, got {classes.shape}: pass e.g. data.test.y."
        )
    if classes.dtype.kind not in "bui" and not (
        classes.dtype.kind == "f" and np.isfinite(classes).all() and (classes == np.round(classes)).all()
    ):
        raise ValueError(f"labels must be whole numbers, got dtype {classes.dtype}: number the classes from 0 on.")
    return classes.astype(np.int64)


def _names(
    present: npt.NDArray[np.int64], class_names: Sequence[object] | Mapping[int, object] | None
) -> dict[int, str]:
    """Return the name of each class that occurs, in the order of the labels; other classes are not in the legend."""
    if len(present) > MOST_CLASSES:
        raise ValueError(
            f"at most {MOST_CLASSES} classes can be distinguished, got {len(present)}: draw fewer, or no labels."
        )
    numbers = [int(number) for number in present]
    if class_names is None:
        return {number: str(number) for number in numbers}
    known = dict(class_names) if isinstance(class_names, Mapping) else dict(enumerate(class_names))
    unnamed = [number for number in numbers if number not in known]
    if unnamed:
        raise ValueError(
            f"class_names has no name for label {unnamed[0]}: it names {len(known)} classes: add the missing names."
        )
    return {number: style.drawable(str(known[number])) for number in numbers}


def _scatter(
    points: FloatArray,
    classes: npt.NDArray[np.int64],
    names: Mapping[int, str],
    axis_names: Sequence[str],
    title: str,
    note: str,
) -> Figure:
    """Draw points (N, 2), already in random order, with a legend of the classes (none without `names`) on the right."""
    from matplotlib.lines import Line2D
    from matplotlib.markers import MarkerStyle

    figure, (axes,) = panels(1, 1, 340.0, 340.0)
    looks = {number: _look(place) for place, number in enumerate(names)} or {0: _look(0)}
    paths = {}
    for number, (_, marker) in looks.items():
        shape = MarkerStyle(marker)
        paths[number] = shape.get_path().transformed(shape.get_transform())
    cloud = axes.scatter(
        points[:, 0],
        points[:, 1],
        s=13 if len(points) <= 2000 else 9,
        c=[looks[int(number)][0] for number in classes],
        linewidths=0.25,
        edgecolors="white",
        alpha=0.9,
    )
    # One collection with a marker for each point keeps the random order; a call for each class would not.
    cloud.set_paths([paths[int(number)] for number in classes])
    axes.set_aspect("equal", adjustable="datalim")
    axes.locator_params(nbins=7)
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    if names:
        marks = [Line2D([], [], ls="", color=color, marker=marker, markersize=5) for color, marker in looks.values()]
        words = [style.shorten(name, 150.0, style.SMALL_SIZE) for name in names.values()]
        columns = math.ceil(len(words) / 20)
        axes.legend(marks, words, loc="upper left", bbox_to_anchor=(1.03, 1.0), ncols=columns)
    return finished(figure, title, note)


def _look(place: int) -> tuple[str, str]:
    """Color and marker of a class: successive ones differ in both, so color alone is not needed; pairs repeat after 50."""
    turn, color = divmod(place, len(style.PALETTE))
    return style.PALETTE[color], style.MARKERS[(color + turn) % len(style.MARKERS)]


def _histograms(
    values: FloatArray, classes: npt.NDArray[np.int64], names: Mapping[int, str], title: str, parts: list[str]
) -> Figure:
    """Draw one-dimensional codes (N,): one row with a histogram for each class, all with the same bins.

    Overlaid histograms of ten classes would hide each other.
    """
    edges = np.histogram_bin_edges(values, bins=BINS)
    rows: dict[int, str] = dict(names) or {0: ""}
    counts = {number: np.histogram(values[classes == number], edges)[0] for number in rows}
    highest = max(int(count.max()) for count in counts.values())
    shared = ", all rows have the same scale" if len(rows) > 1 else ""
    parts = [f"Number of codes in each of {BINS} bins; the highest bar is {highest}{shared}.", *parts]
    figure, grid = panels(len(rows), 1, 380.0, 34.0 if names else 136.0, down=6.0)
    style.outer_labels(grid, 1)
    for place, (axes, (number, count)) in enumerate(zip(grid, counts.items(), strict=True)):
        axes.stairs(count, edges, fill=True, color=_look(place)[0])
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, highest), yticks=[])
        axes.set_ylabel(style.shorten(rows[number], 110.0), rotation=0, ha="right", va="center")
        axes.spines["left"].set_visible(False)
        axes.tick_params(bottom=axes is grid[-1])
    grid[-1].set_xlabel("latent dimension 0")
    return finished(figure, title, " ".join(parts))


# ---------------------------------------------------------------------------------------------------------------------
# Gaussian codes: the KL of each latent dimension, and the aggregate posterior.

MOST_PANELS = 20


@style.picture
def kl_bars(
    kl: RealArray, active: RealArray, *, unit: str = "nats per sample", title: str = "KL of each latent dimension"
) -> Figure:
    """Draw the KL (K,) of each latent dimension as bars in descending order, labeled with the index of the dimension.

    `active` (K,): booleans, whether a dimension is active; inactive ones are drawn pale. `unit`: of the KL.
    Raises `ValueError` unless both are vectors of the same length.
    """
    costs = host_array(kl, "kl", "(K,)")
    used = host_array(active, "active", "(K,)").astype(bool)
    if costs.ndim != 1 or used.shape != costs.shape:
        raise ValueError(
            f"kl and active must be vectors of the same length, got shapes {costs.shape} and {used.shape}: pass both as (K,)."
        )
    note = f"Dark: active ({used.sum()} of {len(costs)}). Pale: inactive, the posterior equals the prior."
    if lost := int(np.count_nonzero(~np.isfinite(costs))):
        note += f" {style.counted(lost, 'dimension')} not finite, omitted."
    total = costs.sum(where=np.isfinite(costs))
    return _bars(costs, used, title, note, "latent dimension, from 0", f"{unit}, {total:.4g} in all")


@style.picture
def usage_bars(counts: RealArray, *, title: str = "Use of the codebook") -> Figure:
    """Draw how often each of C codebook vectors is used, in percent, in descending order.

    `counts` (C,): uses of each vector, not all 0; raises `ValueError` otherwise.
    """
    numbers = host_array(counts, "counts", "(C,)")
    if numbers.ndim != 1 or not (numbers.min(initial=0.0) >= 0 and 0 < numbers.sum() < np.inf):
        raise ValueError(
            f"counts must be (C,), finite and at least 0, not all 0, got shape {counts.shape}: encode at least one sample."
        )
    dead = int(np.count_nonzero(numbers == 0))
    shares = 100.0 * numbers / numbers.sum()
    note = (
        f"{dead} of {len(numbers)} are dead: no sample uses them. Uniform use would be {100 / len(numbers):.3g} % each."
    )
    return _bars(shares, numbers > 0, title, note, "codebook vector, from 0", "percent of all uses")


def _bars(heights: FloatArray, dark: RealArray, title: str, note: str, across: str, up: str) -> Figure:
    """Bars in descending order, labeled with their indices; those not `dark` are pale."""
    order = np.argsort(-heights, kind="stable")
    width = min(max(15.0 * len(heights), 200.0), 640.0)
    figure, (axes,) = panels(1, 1, width, 150.0)
    places = np.arange(len(heights))
    axes.bar(places, heights[order], color=[style.TRAIN if dark[i] else style.HAIRLINE for i in order], width=0.8)
    axes.set_xlim(-0.6, len(heights) - 0.4)
    step = math.ceil(len(heights) * (style.text_width(str(len(heights)), style.SMALL_SIZE) + 4.0) / width)
    axes.set_xticks(places[::step], [str(i) for i in order[::step]])
    axes.grid(visible=False, axis="x")
    return finished(figure, title, note, across=across, up=up)


@style.picture
def aggregate_posterior(
    means: RealArray, log_variances: RealArray, *, kl: RealArray | None = None, title: str = "The aggregate posterior"
) -> Figure:
    """Draw, for each latent dimension, the density of the aggregate posterior and that of the prior.

    The density is (1/N) sum over samples of N(z; m, v), computed exactly, without bins. Where it differs from N(0, 1), codes
    drawn from the prior are unlike those that the decoder was trained on.
    `means`, `log_variances`: (N, K). `kl` (K,): written above the panels, which are then in descending order; at most 20 are
    drawn. Raises `ValueError` for other shapes.
    """
    m = host_array(means, "means", "(N, K)")
    s = np.exp(0.5 * host_array(log_variances, "log_variances", "(N, K)"))
    if m.ndim != 2 or s.shape != m.shape or not np.isfinite(m + s).all():
        raise ValueError(f"means and log_variances must both be (N, K) and finite, got shapes {m.shape} and {s.shape}.")
    costs = np.zeros(m.shape[1]) if kl is None else host_array(kl, "kl", "(K,)")
    if costs.shape != m.shape[1:]:
        raise ValueError(f"kl must have shape {m.shape[1:]}, one number for each latent dimension, got {costs.shape}.")
    order = np.argsort(-costs, kind="stable")[:MOST_PANELS]
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    reach = float(np.clip(np.ceil(np.abs(m[:, order]).max()), 4.0, 10.0))
    z = np.linspace(-reach, reach, 241)
    prior = _gaussian(z, 0.0, 1.0)
    densities = [_gaussian(z[:, None], m[:, k], s[:, k]).mean(axis=1) for k in order]
    highest = 1.05 * max(prior.max(), max(float(density.max()) for density in densities))
    note = (
        f"From {len(m):,} posteriors. All panels have the same scale.{'' if kl is None else ' KL in nats per sample.'}"
    )
    if left_out := m.shape[1] - len(order):
        note += f" {left_out} latent dimensions with smaller KL are not drawn."
    figure, grid = panels(len(order), min(5, len(order)), 118.0, 62.0, across=12.0, down=32.0)
    for axes, k, density in zip(grid, order, densities, strict=True):
        axes.fill_between(z, density, color=style.TRAIN, alpha=0.6, linewidth=0)
        axes.plot(z, prior, color=style.INK, linewidth=0.9)
        axes.set(xlim=(-reach, reach), ylim=(0, highest), yticks=[], xticks=[-3, 0, 3])
        axes.spines["left"].set_visible(False)
        axes.set_title(f"dimension {k}" if kl is None else f"dimension {k}, KL {costs[k]:.2f}", loc="center")
    marks = (Patch(color=style.TRAIN, alpha=0.6), Line2D([], [], color=style.INK, linewidth=0.9))
    legend_above(grid[0], list(zip(marks, ("aggregate posterior", "prior N(0, 1)"), strict=True)), 2, gap=22.0)
    return finished(figure, title, note, across="value of the latent dimension")


@style.picture
def code_plane(
    images: RealArray,
    marks: RealArray,
    *,
    names: tuple[str, str] = ("latent dimension 0", "latent dimension 1"),
    title: str = "The plane of codes",
) -> Figure:
    """Draw images (n * n, H, W, C), row by row from the top, without gaps: the decoder output over a plane of codes.

    `marks` (n,): the values of the codes, ascending, the labels of both axes. `names`: of the horizontal and vertical axis.
    Pixels are black at 0 and white at 1. Raises `ValueError` unless there are n * n images.
    """
    pixels = as_images(images)
    values = host_array(marks, "marks", "(n,)")
    n = len(values)
    if len(pixels) != n * n:
        raise ValueError(f"got {len(pixels)} images for a plane of {n} x {n} codes: pass {n * n} images.")
    _, height, width, channels = pixels.shape
    plane = pixels.reshape(n, n, height, width, channels).swapaxes(1, 2).reshape(n * height, n * width, channels)
    # Half a point is one device pixel: each pixel of the plane becomes a whole number of them.
    side = 0.5 * np.ceil(300.0 / (0.5 * n * width))
    figure, (axes,) = panels(1, 1, side * n * width, side * n * height)
    axes.grid(visible=False)
    shown = np.clip(np.nan_to_num(plane), 0.0, 1.0)
    axes.imshow(shown[..., 0] if channels == 1 else shown, vmin=0, vmax=1)
    places = np.unique(np.linspace(0, n - 1, 7).round().astype(np.intp))
    words = [f"{values[i]:.2f}" for i in places]
    axes.set_xticks((places + 0.5) * width - 0.5, words)
    axes.set_yticks((n - places - 0.5) * height - 0.5, words)
    axes.set(xlabel=names[0], ylabel=names[1])
    note = "Each image represents an equal part of the prior's probability. Gray scale: black 0, white 1."
    return finished(figure, title, note)


def _gaussian(z: FloatArray, mean: FloatArray | float, std: FloatArray | float) -> FloatArray:
    return np.exp(-0.5 * ((z - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))


# ---------------------------------------------------------------------------------------------------------------------
# Confusion matrix.

MOST_CONFUSED = 40
MOST_COUNTED = 16
"""Classes whose counts are written into the matrix."""


@style.picture
def confusion(
    counts: RealArray, class_names: Sequence[object] | None = None, *, title: str = "Confusion matrix"
) -> Figure:
    """Draw counts (C, C): row i has the samples of class i, column j those predicted as class j.

    The shade is the fraction of the row, so that rare classes are as visible as common ones; the number is the count. The
    diagonal, where the prediction is correct, has another color. Right of each row is the fraction of correct predictions, of a
    class without samples a dash. More than 16 classes are drawn smaller and without the counts.

    Raises `ValueError` unless `counts` is a square matrix of whole numbers of at least 0, for at most 40 classes.
    """
    table = host_array(counts, "counts", "(C, C)")
    if counts.dtype.kind not in "iu":
        raise ValueError(f"counts must be whole numbers, got dtype {counts.dtype}: use models.confusion_matrix.")
    table = table.astype(np.int64)
    size = len(table)
    if table.shape != (size, size) or (size and table.min() < 0):
        raise ValueError(f"counts must be (C, C) and at least 0, got shape {table.shape}.")
    if not 1 <= size <= MOST_CONFUSED:
        raise ValueError(f"confusion draws 1 to {MOST_CONFUSED} classes, got {size}.")
    names = one_each(class_names, size, "class_names", "classes") or [str(i) for i in range(size)]
    words = [style.shorten(str(name), 70.0, style.SMALL_SIZE) for name in names]
    cell = 30.0 if size <= MOST_COUNTED else 13.0
    figure, (axes,) = panels(1, 1, cell * size, cell * size)
    rows = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, rows, out=np.zeros(table.shape), where=rows > 0)
    wrong = np.where(np.eye(size, dtype=bool), np.nan, shares)
    good = np.where(np.eye(size, dtype=bool), shares, np.nan)
    # Errors are rare compared with correct predictions; on the same scale they would be invisible.
    axes.imshow(good, cmap="Blues", vmin=0.0, vmax=1.6)
    axes.imshow(wrong, cmap="Oranges", vmin=0.0, vmax=max(float(np.nanmax(wrong, initial=0.0)) * 1.3, 1e-9))
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(size), words, rotation=90)
    axes.set_yticks(range(size), words)
    axes.tick_params(length=0, labelcolor=style.INK)
    axes.grid(False)
    axes.set(xlabel="predicted class", ylabel="class")
    for (i, j), number in np.ndenumerate(table):
        if number and size <= MOST_COUNTED:
            axes.text(j, i, f"{number:,}", ha="center", va="center", fontsize=style.SMALL_SIZE)
    for i, share in enumerate(shares.diagonal()):
        word = f"{share:.1%}" if rows[i] else "\N{EN DASH}"
        axes.text(size - 0.35, i, word, va="center", fontsize=style.SMALL_SIZE, color=style.MUTED)
    right, total = int(np.trace(table)), int(table.sum())
    correct = f"{right:,} of {total:,} are correct ({right / max(total, 1):.2%})"
    note = f"Right of each row: the fraction of correct predictions. {correct}."
    if empty := int(np.count_nonzero(rows == 0)):
        note += f" {empty} {'class has' if empty == 1 else 'classes have'} no samples."
    note += "" if size <= MOST_COUNTED else " The darker, the larger the fraction of the row."
    return finished(figure, title, note)


# ---------------------------------------------------------------------------------------------------------------------
# Training curves: one panel per unit, over epochs.
#
# The epoch of the lowest validation loss is marked in every panel: later epochs overfit. That of a test loss is not, since
# nothing may be chosen by it. A missing value is skipped; one that is NaN or infinite interrupts the line and is marked by a
# cross at the bottom of the panel.

VALIDATION_LOSS = "validation_loss"
FEW_EPOCHS = 25
_PARTS = ("train_", "validation_", "test_")
_CURVES = ("loss", "validation_squared_error", "test_squared_error", "accuracy")
"""Endings of the names of the columns of a `History` that are drawn."""
DECADE = 10.0

# (2, epochs): the epochs at which a metric was measured, and its values there.
Series = npt.NDArray[np.float64]
Row = Mapping[str, object]


class Recorded(Protocol):
    """A `History`: a row for each epoch, and units by metric name."""

    rows: list[dict[str, Any]]
    units: dict[str, str]


@style.picture
def loss_curves(
    rows: Sequence[Row] | Recorded,
    *,
    units: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    log_scale: bool | None = None,
    title: str = "Loss by epoch",
) -> Figure:
    """Draw metrics over epochs, one panel for each unit.

    `rows`: a `History`, or a mapping for each epoch, as in `metrics.csv`, with `epoch` and numbers (or strings of numbers) by
    metric name, usually `train_loss` and `validation_loss` or `test_loss`. An absent, None or empty entry means not measured.
    `metrics`: the names to draw; None draws every numeric column, of a `History` its losses, held-out squared errors and
    accuracies, each curve once.
    `units`: the unit of each metric, such as `{"train_loss": "nats per image"}`. Without it, metrics with the same name
    after `train_`, `validation_` or `test_` share a panel.
    `log_scale`: logarithmic vertical axes; None chooses them for panels where a metric of only positive values begins at more
    than ten times its last value.

    The epoch of the lowest `validation_loss` is marked in every panel. Raises `ValueError` without rows, epochs or
    metrics, for an unknown name in `metrics`, and for values <= 0 with `log_scale`.
    """
    if not isinstance(rows, Sequence) and hasattr(rows, "units"):
        units = rows.units if units is None else units
        metrics = _each_once(rows.rows) if metrics is None else metrics
        rows = rows.rows
    if isinstance(rows, str) or not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        got = f"{type(rows).__name__}: give what fit returned, of a table table.to_dict('records')"
        raise TypeError(f"rows must be a History or a list with a dict for each epoch, got {got}.")
    if not rows:
        raise ValueError("loss_curves got no rows: train at least one epoch first.")
    metrics = None if metrics is None else check_kind("metrics", list(metrics), Sequence[str])
    table = _table(rows, metrics)
    panels_of: dict[str, list[str]] = {}
    for metric in table:
        panels_of.setdefault(_unit_of(metric, units or {}), []).append(metric)
    lowest = None
    if VALIDATION_LOSS in table and np.isfinite(table[VALIDATION_LOSS][1]).any():
        epochs, values = table[VALIDATION_LOSS]
        lowest = float(epochs[np.argmin(np.where(np.isfinite(values), values, np.inf))])
    # The legend above each panel: metrics, perhaps the lowest loss and the cross, two per line.
    lines = (max(len(names) for names in panels_of.values()) + 3) // 2
    columns = min(len(panels_of), 3)
    figure, grid = panels(len(panels_of), columns, 250.0, 150.0, across=64.0, down=46.0 + 13.0 * lines)
    for axes, (unit, names) in zip(grid, panels_of.items(), strict=True):
        series = {name: table[name] for name in names}
        legend_above(axes, _draw(axes, unit, series, lowest), 2)
        finite = [values[np.isfinite(values)] for _, values in series.values()]
        values = np.concatenate(finite)
        steep = values.min(initial=1.0) > 0 and any(one.size and one[0] > DECADE * one[-1] for one in finite)
        if (steep if log_scale is None else log_scale) and values.size:
            if values.min() <= 0:
                raise ValueError(
                    f"log_scale needs values above 0, got {values.min():g} in {unit!r}: leave log_scale out."
                )
            style.log_scale(axes, values.min(), values.max())
        axes.set(xlabel="epoch", ylabel=style.wrap(unit, 160.0))
    return finished(figure, title)


def _each_once(rows: Sequence[dict[str, Any]]) -> list[str] | None:
    """The losses, held-out squared errors and accuracies, without those that equal one before but for rounding; None without any."""
    chosen: dict[str, list[float]] = {}
    for name in dict.fromkeys(name for row in rows for name in row if name.endswith(_CURVES)):
        values = [row.get(name, math.nan) for row in rows]
        if not any(np.allclose(values, other, rtol=1e-5, equal_nan=True) for other in chosen.values()):
            chosen[name] = values
    return list(chosen) or None


def _unit_of(metric: str, units: Mapping[str, str]) -> str:
    """Return the unit of `metric`: from `units`, else its name without the part of the data before it."""
    if metric in units:
        return units[metric]
    name = metric.partition("_")[2] if metric.startswith(_PARTS) else metric
    return name.replace("_", " ")


def _table(rows: Sequence[Row], metrics: Sequence[str] | None) -> dict[str, Series]:
    """Return for each metric the epochs at which it was measured, ascending, and its values there.

    A value that was not measured (absent, None, empty) is skipped, unlike NaN. Columns of text are omitted.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    epochs = [_number(row.get("epoch")) for row in rows]
    if any(epoch is None or not math.isfinite(epoch) for epoch in epochs):
        raise ValueError(f"every row must hold 'epoch' as a number, got rows with {names}: add the epoch to each.")
    order = np.argsort(np.array(epochs, dtype=np.float64), kind="stable")
    table = {}
    for name in names:
        measured = [(epochs[i], _number(rows[i][name])) for i in order if rows[i].get(name) not in (None, "")]
        if name != "epoch" and measured and all(value is not None for _, value in measured):
            table[name] = np.array(measured, dtype=np.float64).T
    for name in metrics or ():
        if name not in table:
            raise ValueError(f"no metric {name!r} in the rows: choose from {', '.join(table) or 'none'}.")
    if not table or metrics == []:
        raise ValueError(f"the rows hold no metric, only the columns {names}: add for example 'train_loss'.")
    return table if metrics is None else {name: table[name] for name in metrics}


def _number(value: object) -> float | None:
    """Return a number, or a string of a number as in a CSV file, as a float; None for anything else."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _draw(axes: Axes, unit: str, series: Mapping[str, Series], lowest: float | None) -> list[tuple[Artist, str]]:
    """Draw the metrics of one unit into their panel; return the entries of its legend, none for one named like its unit."""
    entries: list[tuple[Artist, str]] = []
    if lowest is not None:
        axes.axvline(lowest, color=style.MUTED, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
    broken: list[float] = []
    for (name, (epochs, values)), color in zip(series.items(), _colors(list(series)), strict=True):
        finite = np.isfinite(values)
        broken += list(epochs[~finite])
        (line,) = axes.plot(epochs, np.where(finite, values, np.nan), color=color, linewidth=1.5)
        if marked := _marked(finite):
            line.set(marker="o", markersize=3.5, markevery=marked)
        words = name.replace("_", " ")
        if words != unit:
            entries.append((line, words))
    if lowest is not None:
        entries += _mark_lowest(axes, series, lowest)
    if broken:
        edge = axes.get_xaxis_transform()  # x in epochs, y in fractions of the panel
        (crosses,) = axes.plot(broken, np.zeros(len(broken)), "x", color=style.NOT_FINITE, transform=edge)
        crosses.set(markersize=6, clip_on=False, zorder=4)
        entries.append((crosses, "not finite"))
    # The axis has some width even for a single epoch.
    every = np.concatenate([epochs for epochs, _ in series.values()])
    room = max(0.03 * (every.max() - every.min()), 0.5)
    axes.set_xlim(every.min() - room, every.max() + room)
    axes.locator_params(axis="x", integer=True, nbins=7, min_n_ticks=1)
    axes.locator_params(axis="y", nbins=6)
    if len(broken) == len(every):
        axes.set_yticks([])  # no finite value
    return entries


def _mark_lowest(axes: Axes, series: Mapping[str, Series], lowest: float) -> list[tuple[Artist, str]]:
    """Mark the first line that is not a training metric at the epoch `lowest`, by a ring; return its legend entry, if any."""
    for name in [name for name in series if not name.startswith("train_")][:1]:
        for epoch, value in series[name].T:
            if epoch == lowest and math.isfinite(value):
                (ring,) = axes.plot(epoch, value, "o", markersize=8, markerfacecolor="none", color=style.INK, zorder=4)
                return [(ring, f"{'lowest: ' * (name == VALIDATION_LOSS)}epoch {lowest:g}, {value:.4g}")]
    return []


def _marked(finite: npt.NDArray[np.bool_]) -> list[int]:
    """The indices of the values to mark: of few all, of many only those without a finite neighbor, which no line shows."""
    if len(finite) <= FEW_EPOCHS:
        return list(range(len(finite)))
    padded = np.concatenate([[False], finite, [False]])
    return [int(place) for place in np.flatnonzero(finite & ~padded[:-2] & ~padded[2:])]


def _colors(names: Sequence[str]) -> list[str]:
    """A color for each metric of a panel: training blue, validation or test orange, all others the next free color."""
    chosen: list[str] = []
    for name in names:
        usual = style.TRAIN if name.startswith("train_") else style.VALIDATION
        known = name.startswith(_PARTS) and usual not in chosen
        others = [color for color in style.PALETTE if color not in (style.TRAIN, style.VALIDATION, *chosen)]
        chosen.append(usual if known else (others or style.PALETTE)[0])
    return chosen
