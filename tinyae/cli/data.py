"""`tinyae data`: what there is to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinyae.cli.options import is_csv, load_data, pictures_as, windows_as
from tinyae.data import describe, read_series
from tinyae.models.settings import passes_on, split


@passes_on(pictures_as, windows_as)
def data(name: str | None = None, **how: Any) -> None:
    """list the data sets, or describe one

    List the data sets that can be named in --data, or describe one of them (or a file or folder of yours). Of a .csv with
    times that is the recording before it is cut.

    Args:
        name: NAME|FILE|DIR, describe this one: reads it, so a full set may be downloaded.
    """
    windows, pictures = split(how, windows_as)
    if name is None:
        print(describe())
        return
    if is_csv(name) and windows["window"] is None:
        path = Path(name).expanduser()
        series = read_series(path, time=windows["time"])
        if series.times is not None:
            print(f"{path.name}: {series!r}\n  To cut it into windows: --window L, also here.")
            return
    print(load_data(name, pictures_as(**pictures), windows_as(**windows)))
