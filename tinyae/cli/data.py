"""`tinyae data`: list the data sets, or describe one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinyae.cli.arguments import as_options, settings_of
from tinyae.cli.options import classes_line, pictures_as, table_as, windows_as
from tinyae.data import Columns, Schema, describe, read_series
from tinyae.models.settings import passes_on, split
from tinyae.training.applied import is_own_table, load_data


@passes_on(pictures_as, table_as, windows_as)
def data(name: str | None = None, **how: Any) -> None:
    """list the data sets, or describe one

    List the data sets that --data knows by name, or describe one of them, a file or a folder. A table with a time column is
    described as one recording, before it is cut into windows.

    Args:
        name: NAME|FILE|DIR, describe this one (it is loaded, so a full set may be downloaded).
    """
    windows, others = split(how, windows_as)
    columns, pictures = split(others, table_as)
    if name is None:
        print(describe())
        return
    table, cut = table_as(**columns), windows_as(**windows)
    if is_own_table(name) and cut is None:
        asked = Columns(**split(table, Columns)[0])
        read = asked.read(Path(name).expanduser())
        if Schema.of_table(read, asked).time:
            print(as_options(f"{Path(name).name}: {read_series(read, **vars(asked))!r}", settings_of(table_as)))
            print("  To cut it into windows: --window L (also with this command).")
            return
    found = load_data({"data": name, "table": table, "windows": cut, "data_options": pictures_as(**pictures)})
    print(as_options(f"{found!r}\n{classes_line(found)}", settings_of(table_as)), end="")
