"""`tinyae features RUN --layer encoder.0 --image 3`: the feature maps of one layer for one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tinyae.cli.options import open_run
from tinyae.models.settings import passes_on
from tinyae.training.pictures import draw_features, image_maps


@passes_on(open_run)
def features(
    run_folder: Path,
    *,
    layer: str | None = None,
    image: int = 0,
    split: Annotated[str, ("train", "test")] = "test",
    out: Path | None = None,
    **source: Any,
) -> None:
    """draw the feature maps of one layer for one image

    Draw the feature maps of one layer for one image, one per channel, and list all layers with feature maps.

    Args:
        layer: NAME, e.g. encoder.0; by default the first with feature maps.
        image: N, index of the image.
        split: the split it is from.
        out: FILE.png, picture, .png, .svg or .pdf; by default RUN/features.png.
    """
    run, model, data = open_run(run_folder, **source)
    path = out or run.path / "features.png"
    picture = draw_features(model, data, path, layer, image, split)
    maps = image_maps(model, getattr(data, split), image)
    kinds = dict(model.named_modules())
    for name, value in maps.items():
        print(f"  {name:12} {type(kinds[name]).__name__:16} {' x '.join(map(str, value.shape))}")
    print(f"picture: {picture}")
