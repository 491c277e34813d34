"""`tinyae encode RUN --out codes.csv` writes codes; `tinyae decode RUN codes.csv --out samples.csv` turns codes into samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np

from tinyae.checks import reading
from tinyae.cli.options import SPLITS, chosen_part, open_run
from tinyae.cli.results import feature_columns, flat, is_results, naming, numbered, write_results
from tinyae.data import read_table
from tinyae.models.settings import passes_on
from tinyae.training import Run

_CODE = "code"
"""The columns of codes are named code 0, code 1, ..."""


@passes_on(open_run)
def encode(run_folder: Path, *, out: Path, split: Annotated[str, SPLITS] | None = None, **source: Any) -> None:
    """write the codes of a data set

    Write the codes of one part of the run's own data, or of new data, with what names each sample.

    Args:
        out: FILE, output file: .csv or .parquet with id, time and label, .npy with the codes alone, (N, K).
        split: the part of the run's own data; by default test.
    """
    is_results(out, pictures=())
    _, model, data = open_run(run_folder, **source)
    samples, name = chosen_part(data, split)
    codes = model.encode(model.batch(samples))
    write_results(out, naming(data, samples), numbered(_CODE, codes), codes)
    print(f"{out}: codes {codes.shape} {codes.dtype} of {name}")


def decode(run_folder: Path, codes: Path, *, out: Path) -> None:
    """turn codes back into samples

    Decode codes that `tinyae encode` wrote, or others of that form, into samples in the units of the data.

    Args:
        run_folder: RUN, a run folder made by `tinyae train`.
        codes: CODES, a .npy (N, K), or a table with the columns code 0, code 1, ...
        out: FILE, output file: .csv or .parquet with what names each row in a table of codes, .npy with the samples alone.
    """
    is_results(out, pictures=())
    run = Run.open(run_folder)
    names: dict[str, np.ndarray] = {}
    labels = None
    if codes.suffix == ".npy":
        with reading(codes, "an array of codes", "write it with `tinyae encode`"):
            values = np.load(codes, allow_pickle=False)
    else:
        table = read_table(codes)
        numbers = [column for column in table.columns if column.name.startswith(f"{_CODE} ")]
        if not numbers:
            raise ValueError(f"{codes} has no columns {_CODE} 0, {_CODE} 1, ...: it has {', '.join(table.names)}.")
        values = np.column_stack([column.values for column in numbers])
        names = {column.name: np.array(column.words()) for column in table.columns if column not in numbers}
        labels = names.get("label")
    data = run.decoded(values, labels)
    write_results(out, names, flat(feature_columns(data, data.test.x)), data.measured(data.test.x))
    print(f"{out}: {len(data.test):,} samples decoded")
