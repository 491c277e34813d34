"""`tinyae data`: list the data sets, or describe one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinyae.cli.options import is_csv, load_data, pictures_as, windows_as
from tinyae.data import describe, read_series
from tinyae.models.settings import passes_on, split


@passes_on(pictures_as, windows_as)
def data(name: str | None = None, **how: Any) -> None:
    """list the data sets, or describe one

    List the data sets that --data knows by name, or describe one of them, a file or a folder. A .csv with a time column is
    described as one recording, before it is cut into windows.

    Args:
        name: NAME|FILE|DIR, describe this one (it is loaded, so a full set may be downloaded).
    """
    windows, pictures = split(how, windows_as)
    if name is None:
        print(describe())
        return
    if is_csv(name) and windows["window"] is None:
        path = Path(name).expanduser()
        series = read_series(path, time=windows["time"])
        if series.times is not None:
            print(f"{path.name}: {series!r}\n  To cut it into windows: --window L (also with this command).")
            return
    print(load_data(name, pictures_as(**pictures), windows_as(**windows)))
