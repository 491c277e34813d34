"""`tinyae reconstruct RUN`: originals and reconstructions, as a picture or as a table of values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tinyae.cli.options import SPLITS, chosen_part, open_run
from tinyae.cli.results import feature_columns, flat, is_results, naming, write_results
from tinyae.models.settings import passes_on
from tinyae.training.pictures import draw_reconstructions


@passes_on(open_run)
def reconstruct(
    run_folder: Path,
    *,
    count: int = 10,
    split: Annotated[str, SPLITS] | None = None,
    out: Path | None = None,
    **source: Any,
) -> None:
    """plot originals and reconstructions, or write the reconstructions

    Plot samples and their reconstructions; or write all reconstructions, in the units of the data.

    Args:
        count: N, samples to draw, one per class first.
        split: the part of the run's own data; by default test.
        out: FILE, picture (.png, .svg, .pdf) or reconstructions (.csv, .parquet, .npy); by default RUN/reconstructions.png.
    """
    written = is_results(out)
    run, model, data = open_run(run_folder, **source)
    samples, name = chosen_part(data, split)
    if not written or out is None:
        path = out or run.path / "reconstructions.png"
        what = None if split is None else f"{split} "
        print(f"picture: {draw_reconstructions(model, data, path, count, samples, what)}")
        return
    made = model.reconstruct(model.batch(samples))
    write_results(out, naming(data, samples), flat(feature_columns(data, made)), data.measured(made))
    print(f"{out}: {len(samples):,} reconstructions of {name}")
