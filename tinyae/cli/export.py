"""`tinyae export RUN --onnx FILE`: the trained model as a file for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tinyae.training import onnx_file


def export(run_folder: Path, *, part: Annotated[str, onnx_file.PARTS] = "model", onnx: Path | None = None) -> None:
    """write a model as an ONNX file

    Write the trained model, or its encoder or decoder, as a file that onnxruntime and other runtimes run without tinyae.

    Args:
        run_folder: RUN, a run folder made by `tinyae train`.
        part: from samples to reconstructions (model), to codes (encoder), or from codes (decoder).
        onnx: FILE, output file; by default RUN/PART.onnx.
    """
    path = onnx_file.export(run_folder, onnx or run_folder / f"{part}.onnx", part)
    print(f"{path}: {path.stat().st_size / 1024:,.0f} KiB")
