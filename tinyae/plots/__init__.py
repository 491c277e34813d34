"""Pictures of autoencoders: inputs, reconstructions, codes, filters and training curves.

Every function takes host NumPy arrays (`.numpy()` of a Tensor) and returns a Matplotlib `Figure` without a window or global
state; `save_figure` writes it to disk, and a notebook shows it as the result of a cell. Matplotlib is imported when the first
picture is drawn. Values that are not finite are drawn in a special color or counted, values beyond a scale are counted, and
every number has its unit.

Images are drawn by `reconstructions`, `image_grid`, `filters` and `feature_maps`, vectors and sequences with their predictions
by `vector_reconstructions`, codes by `code_scatter`, training by `loss_curves`, pen strokes by `pen_strokes`, and films by
`frame_strips` and `save_film`.
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
from tinyae.plots.sequences import forecast, pen_strokes, score_timeline, step_norms, vector_reconstructions
from tinyae.plots.style import save_animation, save_figure

__all__ = [
    "aggregate_posterior",
    "code_plane",
    "code_scatter",
    "confusion",
    "directions",
    "feature_maps",
    "filters",
    "forecast",
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
