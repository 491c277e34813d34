"""Putting a picture on disk: whole or not at all, and the same bytes for the same picture.

A figure is first turned into bytes in memory, then written beside its destination and moved there in one
step. A run that dies while drawing, a full disk or Ctrl-C leave the earlier picture untouched. No date and no
program version is written into the file, so two runs with one seed can be compared byte for byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from tinyae.atomic import write_bytes
from tinyae.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# For each format the entries that matplotlib fills in by itself; None leaves them out.
METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: float = style.DPI) -> Path:
    """Write `figure` to `path`, as PNG, SVG or PDF by the ending of its name; return the path.

    A missing parent folder is made. `dpi` is in dots per inch: pixels are exact at the default 144 and its
    multiples. Raises `ValueError` for another ending or a `dpi` that is not positive, `OSError` where the
    file cannot be written; in both cases what was at `path` is still there.
    """
    target = Path(path)
    kind = target.suffix.lower().removeprefix(".")
    if kind not in METADATA:
        raise ValueError(f"a picture is saved as .png, .svg or .pdf, got {target.name!r}: change the ending.")
    if not dpi > 0:
        raise ValueError(f"dpi must be positive, got {dpi}: 144 is the default.")
    content = BytesIO()
    with style.drawing():
        figure.savefig(content, format=kind, dpi=dpi, metadata=METADATA[kind])
    return write_bytes(target, content.getvalue())


def save_animation(
    figure: Figure, frames: int, show: Callable[[int], None], path: str | os.PathLike[str], *, milliseconds: int = 250
) -> Path:
    """Write `figure` as an animated GIF that runs for ever, whole or not at all; return the path.

    `show(frame)` changes the figure into its frame number `frame`; each stays for `milliseconds`. Needs Pillow, which
    comes with matplotlib. Raises `ValueError` for another ending than .gif.
    """
    target = Path(path)
    if target.suffix.lower() != ".gif":
        raise ValueError(f"a moving picture is saved as .gif, got {target.name!r}: change the ending.")
    if frames < 1 or milliseconds < 10:
        raise ValueError(f"a film needs a frame and 10 ms for each, got {frames} frames of {milliseconds} ms.")
    from PIL import Image

    pictures = []
    for frame in range(frames):
        show(frame)
        content = BytesIO()
        with style.drawing():
            figure.savefig(content, format="png", dpi=style.DPI)
        # 64 colours are enough for gray tiles and dark words, and halve the file.
        pictures.append(Image.open(content).convert("RGB").quantize(64, method=Image.Quantize.MEDIANCUT))
    film = BytesIO()
    pictures[0].save(
        film, format="GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, optimize=False
    )
    return write_bytes(target, film.getvalue())
