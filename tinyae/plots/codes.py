"""Pictures of codes: where the encoder puts each example, coloured by class.

Two-dimensional codes are drawn as they are. Wider ones are seen from their first two principal components,
and the axes say how much of the variance that view keeps, since a fraction of 20 % is a reason not to trust
the picture. One-dimensional codes become a histogram for each class on one shared axis, as points would only
pile up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, FloatArray, host_array, positive_count
from tinyae.plots.panels import PanelPage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = len(style.PALETTE) * len(style.MARKERS)
SIDE = 340.0
HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT, BINS = 380.0, 34.0, 60
LEGEND_LINES = 20


@style.drawing()
def code_scatter(
    codes: AnyArray,
    labels: AnyArray | Sequence[int] | None = None,
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    *,
    max_points: int = 5000,
    title: str = "Codes",
) -> Figure:
    """Draw codes (N, K) as a picture of the code space, coloured by class.

    K = 1 gives a histogram for each class, K = 2 a scatter plot, K > 2 a scatter plot of the first two principal
    components of all codes, with the fraction of the variance that each of them holds on its axis.
    `labels` (N,): whole numbers; None draws all codes in one colour.
    `class_names`: words, found as `class_names[label]` in a sequence or a mapping; None writes the numbers.
    `max_points`: of more codes an evenly mixed part of this size is drawn, the same one each time. The principal
    components and the histograms are always those of all codes.

    Codes that are not finite are left out and counted below the picture. Raises `TypeError` for anything but a
    NumPy array, `ValueError` for other shapes, for labels that do not fit the codes or the names, for more than 50
    classes, and if no code is finite.
    """
    points: FloatArray = host_array(codes, "codes", "(N, K)").astype(np.float64)
    if points.ndim != 2:
        raise ValueError(f"codes must have shape (N, K), got {codes.shape}: flatten each code with .reshape(N, -1).")
    max_points = positive_count(max_points, "max_points")
    classes = _classes(labels, len(points))
    names = _names(np.unique(classes), class_names) if labels is not None else {}
    finite = np.isfinite(points).all(axis=1)
    if not finite.any():
        raise ValueError(f"none of the {len(points)} codes is finite: the model has diverged, lower its learning rate.")
    parts = [f"{style.counted(int((~finite).sum()), 'code')} not finite, left out."] if not finite.all() else []
    points, classes = points[finite], classes[finite]
    if points.shape[1] == 1:
        return _histograms(points[:, 0], classes, names, title, parts)
    axis_names = ["code 1", "code 2"]
    if points.shape[1] > 2:
        width = points.shape[1]
        points, fractions = principal_components(points)
        axis_names = [f"principal component {place} ({fractions[place - 1]:.1%} of the variance)" for place in (1, 2)]
        parts.insert(0, f"Codes of {width} numbers, seen from their first two principal components.")
    # The order is mixed even if all points are drawn, so that no class lies on top of the others.
    order = np.random.default_rng(0).permutation(len(points))[:max_points]
    if len(order) < len(points):
        parts.append(f"{len(order)} of {len(points)} codes drawn.")
    return _scatter(points[order], classes[order], names, axis_names, title, " ".join(parts))


def principal_components(codes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return codes (N, K), K >= 2, seen from their first two principal components (N, 2), and two fractions (2,).

    A fraction is the component's share of the total variance, 0 for codes that are all equal. The sign of a
    component is free; it is chosen so that the entry of largest absolute value is positive.
    """
    # The right singular vectors of the centred codes are the eigenvectors of their covariance, found without
    # squaring the numbers; the squared singular values are its eigenvalues times N - 1, which cancels below.
    centred = codes - codes.mean(axis=0)
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    axes = np.zeros((2, codes.shape[1]))
    # A single code has one singular vector only; what is missing stays zero.
    axes[: min(2, len(rows))] = rows[:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, np.newaxis], axis=1)
    axes *= np.where(largest < 0, -1.0, 1.0)
    variances = np.zeros(2)
    variances[: min(2, len(singular))] = singular[:2] ** 2
    total = float((singular**2).sum())
    return centred @ axes.T, variances / total if total > 0 else variances


def _classes(labels: AnyArray | Sequence[int] | None, count: int) -> npt.NDArray[np.int64]:
    """Return the labels (N,) as whole numbers, zeros for None; floats pass if nothing is lost by it."""
    if labels is None:
        return np.zeros(count, dtype=np.int64)
    classes = np.asarray(labels)
    if classes.shape != (count,):
        raise ValueError(f"labels must have shape ({count},), one for each code, got {classes.shape}.")
    if classes.dtype.kind not in "bui" and not (
        classes.dtype.kind == "f" and np.isfinite(classes).all() and (classes == np.round(classes)).all()
    ):
        raise ValueError(f"labels must be whole numbers, got dtype {classes.dtype}: number the classes from 0 on.")
    return classes.astype(np.int64)


def _names(present: npt.NDArray[np.int64], class_names: Sequence[str] | Mapping[int, str] | None) -> dict[int, str]:
    """Return the word for each class that occurs, in the order of the numbers.

    A class that does not occur gets no entry, so the legend names only what is in the picture.
    """
    if len(present) > MOST_CLASSES:
        raise ValueError(
            f"at most {MOST_CLASSES} classes can be told apart, got {len(present)}: draw fewer, or no labels."
        )
    numbers = [int(number) for number in present]
    if class_names is None:
        return {number: str(number) for number in numbers}
    known = dict(class_names) if isinstance(class_names, Mapping) else dict(enumerate(class_names))
    unnamed = [number for number in numbers if number not in known]
    if unnamed:
        raise ValueError(f"class_names has no name for label {unnamed[0]}: it names {len(known)} classes.")
    return {number: str(known[number]) for number in numbers}


def _scatter(
    points: FloatArray,
    classes: npt.NDArray[np.int64],
    names: Mapping[int, str],
    axis_names: Sequence[str],
    title: str,
    note: str,
) -> Figure:
    """Draw points (N, 2), N already mixed, with a legend of the classes to the right of the axes.

    `classes` (N,) holds the label of each point and `names` the words by label, empty for codes without classes.
    Both axes have one scale, since a distance means the same in either direction.
    """
    from matplotlib.lines import Line2D
    from matplotlib.markers import MarkerStyle

    words = [style.shorten(name, 150.0, style.SMALL_SIZE) for name in names.values()]
    blocks = -(-len(words) // LEGEND_LINES)
    room = blocks * (max((style.text_width(word, style.SMALL_SIZE) for word in words), default=0.0) + 34.0)
    page = PanelPage(1, 1, SIDE, SIDE, title=title, note=note, head=4.0, foot=32.0, left=46.0, right=room)
    axes = page.panel(0)
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
    # One collection with a marker for each point keeps the mixed order; a call for each class would lose it.
    cloud.set_paths([paths[int(number)] for number in classes])
    axes.set_aspect("equal", adjustable="datalim")
    axes.locator_params(nbins=7)
    x, y = page.corner(0)
    page.write(x + SIDE / 2, y + SIDE + 16, axis_names[0], ha="center")
    page.write(style.MARGIN, y + SIDE / 2, axis_names[1], va="center", rotation=90)
    if words:
        handles = [
            Line2D([], [], linestyle="", color=colour, marker=marker, markersize=5) for colour, marker in looks.values()
        ]
        page.legend(x + SIDE + 12, y + 4, handles, words, blocks)
    return page.figure


def _look(place: int) -> tuple[str, str]:
    """Return colour and marker of the class in this place.

    Neighbours differ in both, so nobody has to rely on the colour alone. After ten classes the colours return
    with the markers moved on by one; the pairs repeat after 50.
    """
    turn, colour = divmod(place, len(style.PALETTE))
    return style.PALETTE[colour], style.MARKERS[(colour + turn) % len(style.MARKERS)]


def _histograms(
    values: FloatArray, classes: npt.NDArray[np.int64], names: Mapping[int, str], title: str, parts: list[str]
) -> Figure:
    """Draw one-dimensional codes (N,): a row with a filled histogram for each class, all on the same bins.

    Overlaid histograms of ten classes hide each other; rows on one axis can be compared by eye from top to bottom.
    """
    edges = np.histogram_bin_edges(values, bins=BINS)
    rows: dict[int, str] = dict(names) or {0: ""}
    counts = {number: np.histogram(values[classes == number], edges)[0] for number in rows}
    highest = max(int(count.max()) for count in counts.values())
    words = {number: style.shorten(name, 110.0) for number, name in rows.items()}
    left = max(style.text_width(word) for word in words.values()) + 8
    height = HISTOGRAM_HEIGHT if names else 4 * HISTOGRAM_HEIGHT
    shared = ", all rows have one scale" if len(rows) > 1 else ""
    parts = [f"Codes in each of {BINS} bins; the highest bar is {highest}{shared}.", *parts]
    page = PanelPage(
        len(rows),
        1,
        HISTOGRAM_WIDTH,
        height,
        title=title,
        note=" ".join(parts),
        head=6.0,
        left=left,
        lowest=30.0,
    )
    for place, (number, count) in enumerate(counts.items()):
        axes = page.panel(place)
        axes.stairs(count, edges, fill=True, color=_look(place)[0])
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, highest)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.tick_params(labelbottom=place == len(rows) - 1, bottom=place == len(rows) - 1)
        x, y = page.corner(place)
        page.write(x - 8, y + height / 2, words[number], ha="right", va="center")
    x, y = page.corner(len(rows) - 1)
    page.write(x + HISTOGRAM_WIDTH / 2, y + height + 15, "code 1", ha="center")
    return page.figure
