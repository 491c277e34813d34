"""Pictures of autoencoders: what went in, what came out, what was learned, and how the learning went.

Every function takes host NumPy arrays (a Tensor first goes through `.numpy()`) and returns a matplotlib
`Figure` that belongs to no window and no global state; `save_figure` puts it on disk. matplotlib is imported
when the first picture is drawn, so importing this room costs nothing. No picture hides bad news: values that
are not finite are drawn in a marked color or counted, values beyond a scale are counted, and every number
stands beside its unit.

A run on images gives `reconstructions`, `loss_curves`, `filters` and `code_scatter`; vectors and sequences, with what a
model predicts of them, go to `vector_reconstructions`, samples and interpolations to `image_grid`, what a convolution
makes of an image to `feature_maps`. Strokes of a pen are drawn by `pen_strokes`, films by `frame_strips` and `save_film`.
"""

from __future__ import annotations

from tinyae.plots.codes import (
    aggregate_posterior,
    code_plane,
    code_scatter,
    confusion,
    kl_bars,
    loss_curves,
    usage_bars,
)
from tinyae.plots.images import (
    directions,
    feature_maps,
    filters,
    frame_strips,
    image_grid,
    overlap_maps,
    reconstructions,
    save_film,
)
from tinyae.plots.sequences import pen_strokes, score_timeline, step_norms, vector_reconstructions
from tinyae.plots.style import save_animation, save_figure

__all__ = [
    "aggregate_posterior",
    "code_plane",
    "code_scatter",
    "confusion",
    "directions",
    "feature_maps",
    "filters",
    "frame_strips",
    "image_grid",
    "kl_bars",
    "loss_curves",
    "overlap_maps",
    "pen_strokes",
    "reconstructions",
    "save_animation",
    "save_figure",
    "save_film",
    "score_timeline",
    "step_norms",
    "usage_bars",
    "vector_reconstructions",
]
