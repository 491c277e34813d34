"""`tinyae encode RUN --out codes.npy`: write the codes of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tinyae.cli.options import SPLITS, open_run, save_array
from tinyae.models.settings import passes_on


@passes_on(open_run)
def encode(run_folder: Path, *, out: Path, split: Annotated[str, SPLITS] = "test", **source: Any) -> None:
    """write the codes of a data set

    Write the codes of one split as a .npy array (N, K).

    Args:
        out: FILE.npy, output file, float32 (N, K).
        split: the split to encode.
    """
    if out.suffix != ".npy":
        raise ValueError(
            f"--out must end in .npy, got {out}: codes are written as one NumPy array, e.g. --out codes.npy."
        )
    _, model, data = open_run(run_folder, **source)
    codes = model.encode(model.batch(getattr(data, split)))
    save_array(codes, out)
    print(f"{out}: codes {codes.shape} {codes.dtype} of {data.name} {split}")
