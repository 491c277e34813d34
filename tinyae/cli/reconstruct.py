"""`tinyae reconstruct RUN`: plot originals and reconstructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinyae.cli.options import open_run
from tinyae.models.settings import passes_on
from tinyae.training.pictures import draw_reconstructions


@passes_on(open_run)
def reconstruct(run_folder: Path, *, count: int = 10, out: Path | None = None, **source: Any) -> None:
    """plot originals and reconstructions

    Plot test samples and their reconstructions.

    Args:
        count: N, samples to draw, one per class first.
        out: FILE.png, picture, .png, .svg or .pdf; by default RUN/reconstructions.png.
    """
    run, model, data = open_run(run_folder, **source)
    path = out or run.path / "reconstructions.png"
    print(f"picture: {draw_reconstructions(model, data, path, count)}")
