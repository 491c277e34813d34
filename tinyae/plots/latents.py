"""Pictures of a Gaussian code: what each of its numbers costs, and how all samples together fill the prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinyae.plots import style
from tinyae.plots.arrays import AnyArray, FloatArray, as_images, host_array
from tinyae.plots.panels import LEGEND_LINE, PanelPage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAR, HEIGHT, WIDEST = 15.0, 150.0, 640.0
PLANE_SIDE = 300.0
PANEL_WIDTH, PANEL_HEIGHT, COLUMNS = 118.0, 62.0, 5
NEAREST, FARTHEST, POINTS = 4.0, 10.0, 241
MOST_PANELS = 20


@style.drawing()
def kl_bars(
    kl: AnyArray, active: AnyArray, *, unit: str = "nats per sample", title: str = "KL of each code number"
) -> Figure:
    """Draw the KL (K,) of each number of a code as bars from the largest to the smallest, their places below.

    `active` (K,): booleans, whether a number is in use; the others are drawn pale. `unit`: of the KL.
    Raises `ValueError` unless both are one row of the same length.
    """
    costs = host_array(kl, "kl", "(K,)").astype(np.float64)
    used = host_array(active, "active", "(K,)").astype(bool)
    if costs.ndim != 1 or used.shape != costs.shape:
        raise ValueError(f"kl and active must be rows of one length, got shapes {costs.shape} and {used.shape}.")
    note = (
        f"Up: {unit}, {costs.sum():.4g} in all. Across: number of the code, from 0. Dark: in use ({used.sum()} of "
        f"{len(costs)}); pale: its posterior is the prior, it says nothing."
    )
    return _bars(costs, used, title, note)


@style.drawing()
def usage_bars(counts: AnyArray, *, title: str = "Use of the codebook") -> Figure:
    """Draw how often each of C codebook vectors is chosen, in percent of all choices, from the most used to the least.

    `counts` (C,): choices of each vector, at least one in all; raises `ValueError` otherwise.
    """
    numbers = host_array(counts, "counts", "(C,)").astype(np.float64)
    if numbers.ndim != 1 or not (numbers.min(initial=0.0) >= 0 and numbers.sum() > 0):
        raise ValueError(f"counts must be a row of numbers of at least 0 with a sum above 0, got {counts!r}.")
    dead = int(np.count_nonzero(numbers == 0))
    note = (
        f"Up: percent of all choices ({100 / len(numbers):.3g} would be equal use). Across: number of the vector, from 0. "
        f"{dead} of {len(numbers)} are dead: nothing chose them."
    )
    return _bars(100.0 * numbers / numbers.sum(), numbers > 0, title, note)


def _bars(heights: FloatArray, dark: AnyArray, title: str, note: str) -> Figure:
    """Bars from the highest to the lowest, their places below; those not `dark` are pale."""
    order = np.argsort(-heights, kind="stable")
    width = min(max(BAR * len(heights), 200.0), WIDEST)
    page = PanelPage(1, 1, width, HEIGHT, title=title, note=note, head=4.0, foot=18.0, left=34.0)
    axes = page.panel(0)
    places = np.arange(len(heights))
    axes.bar(places, heights[order], color=[style.TRAIN if dark[i] else style.HAIRLINE for i in order], width=0.8)
    axes.set_xlim(-0.6, len(heights) - 0.4)
    step = int(np.ceil(len(heights) * 13.0 / width))
    axes.set_xticks(places[::step], [str(i) for i in order[::step]])
    axes.grid(visible=False, axis="x")
    return page.figure


@style.drawing()
def aggregate_posterior(
    means: AnyArray, log_variances: AnyArray, *, kl: AnyArray | None = None, title: str = "The aggregate posterior"
) -> Figure:
    """Draw, for each number of a code, the density of codes drawn for all samples together, upon that of the prior.

    The density is (1/N) sum over samples of N(z; m, v), exactly, without bins. Where it leaves N(0, 1), codes drawn from
    the prior fall where the decoder was never trained.
    `means`, `log_variances`: (N, K). `kl` (K,): written above each panel, which then stand from the largest on; at most
    20 are drawn. Raises `ValueError` for other shapes.
    """
    m = host_array(means, "means", "(N, K)").astype(np.float64)
    s = np.exp(0.5 * host_array(log_variances, "log_variances", "(N, K)").astype(np.float64))
    if m.ndim != 2 or s.shape != m.shape:
        raise ValueError(f"means and log_variances must both be (N, K), got shapes {m.shape} and {s.shape}.")
    order = np.arange(m.shape[1]) if kl is None else np.argsort(-np.asarray(kl), kind="stable")
    order = order[:MOST_PANELS]
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    reach = float(np.clip(np.ceil(np.abs(m[:, order]).max()), NEAREST, FARTHEST))
    z = np.linspace(-reach, reach, POINTS)
    prior = _gaussian(z, 0.0, 1.0)
    densities = [_gaussian(z[:, None], m[:, k], s[:, k]).mean(axis=1) for k in order]
    highest = 1.05 * max(prior.max(), max(float(density.max()) for density in densities))
    columns = min(COLUMNS, len(order))
    left_out = m.shape[1] - len(order)
    note = f"From {len(m):,} posteriors. All panels have one scale." + (
        f" {left_out} numbers of smaller KL are not drawn." if left_out else ""
    )
    page = PanelPage(
        len(order), columns, PANEL_WIDTH, PANEL_HEIGHT, title=title, note=note,
        head=18.0, foot=14.0, left=4.0, gap=12.0, above=LEGEND_LINE,
    )  # fmt: skip
    handles = [Patch(color=style.TRAIN, alpha=0.6), Line2D([], [], color=style.INK, linewidth=0.9)]
    page.legend(page.left, page.under_title, handles, ["all samples together", "prior N(0, 1)"], 2)
    for place, (k, density) in enumerate(zip(order, densities, strict=True)):
        axes = page.panel(place)
        axes.fill_between(z, density, color=style.TRAIN, alpha=0.6, linewidth=0)
        axes.plot(z, prior, color=style.INK, linewidth=0.9)
        axes.set_xlim(-reach, reach)
        axes.set_ylim(0, highest)
        axes.set_yticks([])
        axes.set_xticks([-3, 0, 3])
        axes.spines["left"].set_visible(False)
        x, y = page.corner(place)
        words = f"code number {k}" if kl is None else f"number {k}, KL {np.asarray(kl)[k]:.2f}"
        page.write(x + PANEL_WIDTH / 2, y - 3, words, size=style.SMALL_SIZE, ha="center", va="bottom")
    return page.figure


@style.drawing()
def code_plane(
    images: AnyArray,
    marks: AnyArray,
    *,
    names: tuple[str, str] = ("code 0", "code 1"),
    title: str = "The plane of codes",
) -> Figure:
    """Draw images (n * n, H, W, C), row by row from the top, without gaps: the decoder over a plane of codes.

    `marks` (n,): the values of the codes, rising, written along both axes. `names`: of the axes, across and up. Values are
    drawn black at 0 and white at 1. Raises `ValueError` unless there are n * n images.
    """
    pixels = as_images(images)
    values = host_array(marks, "marks", "(n,)")
    n = len(values)
    if len(pixels) != n * n:
        raise ValueError(f"got {len(pixels)} images for a plane of {n} x {n} codes: they must be {n * n}.")
    _, height, width, channels = pixels.shape
    plane = pixels.reshape(n, n, height, width, channels).swapaxes(1, 2).reshape(n * height, n * width, channels)
    # Half a point is a pixel of the picture: each pixel of the plane becomes a whole number of them.
    side = 0.5 * np.ceil(PLANE_SIDE / (0.5 * n * width))
    page = PanelPage(
        1, 1, side * n * width, side * n * height, title=title, head=4.0, foot=30.0, left=42.0,
        note="Each image stands for an equal share of the prior's probability. Gray scale: black 0, white 1.",
    )  # fmt: skip
    axes = page.panel(0)
    axes.grid(visible=False)
    shown = np.clip(np.nan_to_num(plane), 0.0, 1.0)
    axes.imshow(
        shown[..., 0] if channels == 1 else shown, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    places = np.unique(np.linspace(0, n - 1, 7).round().astype(int))
    words = [f"{values[i]:.2f}" for i in places]
    axes.set_xticks((places + 0.5) * width - 0.5, words)
    axes.set_yticks((n - places - 0.5) * height - 0.5, words)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    return page.figure


def _gaussian(z: FloatArray, mean: FloatArray | float, std: FloatArray | float) -> FloatArray:
    return np.exp(-0.5 * ((z - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
