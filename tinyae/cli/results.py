"""Result files of the commands: a table of named columns as `.csv` or `.parquet`, or its numbers as one `.npy` array."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.atomic import write_atomically
from tinyae.data import Dataset, Split

FORMATS = (".csv", ".npy", ".parquet")
PICTURES = (".png", ".svg", ".pdf")
"""Endings of the names of result files, and of pictures."""

Columns = Mapping[str, npt.NDArray[Any]]
"""Name -> values (N,)."""


def is_results(path: Path | None, *, formats: tuple[str, ...] = FORMATS, pictures: tuple[str, ...] = PICTURES) -> bool:
    """Whether a file, by the ending of its name, is for results and not for a picture.

    Raises ValueError, before the work, for what can be neither. Without a path there is a picture with its usual name.
    """
    if path is None:
        return False
    ending = path.suffix.lower()
    if ending not in (known := (*formats, *pictures)):
        raise ValueError(
            f"--out must end in {', '.join(known)}, got {path}: e.g. --out {path.stem or 'results'}{known[0]}."
        )
    if path.is_dir():
        raise ValueError(
            f"--out {path} is a folder: give the name of a file, e.g. --out {path / f'results{known[0]}'}."
        )
    if ending == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError(f"writing {path} needs pyarrow, which is not installed: pip install pyarrow, or write a .csv.")
    return ending in FORMATS


def naming(data: Dataset, samples: Split) -> Columns:
    """What names each sample: its id, or number from 0; its time and its label, where they are known."""
    found: dict[str, npt.NDArray[Any]] = {"id": np.arange(len(samples)) if samples.ids is None else samples.ids}
    if samples.times is not None:
        found["time"] = samples.times
    if samples.y is not None:
        found["label"] = np.array(data.class_names)[samples.y] if data.class_names else samples.y
    return found


def numbered(word: str, values: npt.NDArray[Any]) -> Columns:
    """The numbers of each row of (N, ...) as columns, `word 0`, `word 1`, ..."""
    return {f"{word} {n}": column for n, column in enumerate(values.reshape(len(values), -1).T)}


def feature_columns(data: Dataset, x: npt.NDArray[Any]) -> Columns:
    """Samples (N, ...) in the units of their source by feature, (N,), or of sequences (N, T)."""
    values = data.in_units(x)
    if isinstance(values, dict):
        return values
    names = data.feature_names
    if len(names) == x.shape[-1]:
        return {name: values[..., n] for n, name in enumerate(names)}
    return numbered("value", values) if x.ndim != 3 or x.shape[2] > 1 else {data.unit or "value": values[..., 0]}


def flat(columns: Columns) -> Columns:
    """Columns (N,), of those of sequences (N, T) one for each step."""
    found: dict[str, npt.NDArray[Any]] = {}
    for name, column in columns.items():
        found |= {name: column} if column.ndim == 1 else numbered(name, column)
    return found


def write_results(path: Path, names: Columns, values: Columns, array: npt.NDArray[np.generic]) -> None:
    """Write columns (N,), first those that name a row, then its values; in a `.npy` only `array`, the values.

    Numbers are written with all digits of their type: read back, they are equal.
    """
    suffix = path.suffix.lower()

    def write(temporary: Path) -> None:
        if suffix == ".npy":
            with temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        elif suffix == ".csv":
            columns = {name: _fields(column) for name, column in {**names, **values}.items()}
            with temporary.open("w", encoding="utf-8", newline="") as text:
                writer = csv.writer(text, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))
        else:
            pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
            plain = {name: pyarrow.array(column.tolist() if column.dtype == object else column)
                     for name, column in {**names, **values}.items()}  # fmt: skip
            parquet.write_table(pyarrow.table(plain), temporary)

    write_atomically(path, write)


def _fields(column: npt.NDArray[np.generic]) -> list[object]:
    """The fields of a column: floats in the fewest digits that tell them apart, times as date and time of day, others as they are."""
    if column.dtype.kind == "f":
        return list(column.astype(str))
    if column.dtype.kind == "M":
        return [str(time.astype("datetime64[ms]")).replace("T", " ").removesuffix(".000") for time in column]
    return column.tolist()
