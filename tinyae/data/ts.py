"""The `.ts` text format of the UEA archive of time series, with sequences of unequal length.

Lines from # are comments, lines from @ say how to read the rest. After @data each line is a sequence: its features
divided by colons, the steps of a feature by commas, the class last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.data.sequences import Lengths, pad


def parse_ts(text: str, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None, Lengths]:
    """Padded sequences (N, T, D), class numbers (N,) or None, and lengths (N,) of the text of a `.ts` file.

    Class numbers are places in the file's own list of classes. ValueError, with the line, for what is no such text.
    """
    classes: list[str] | None = None
    sequences: list[npt.NDArray[Any]] = []
    labels: list[int] = []
    data = False
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        if not data:
            key, _, rest = words.partition(" ")
            if key.lower() == "@classlabel" and rest.split()[:1] == ["true"]:
                classes = rest.split()[1:]
            elif key.lower() == "@timestamps" and rest.strip().lower() == "true":
                raise ValueError(f"{name}, line {number}: time stamps in .ts files are not read; leave them out.")
            elif not key.startswith("@"):
                raise ValueError(f"{name}, line {number} comes before @data and is neither # nor @: is it a .ts file?")
            data = key.lower() == "@data"
            continue
        fields = words.split(":")
        if classes is not None:
            label = fields.pop()
            if label not in classes:
                raise ValueError(f"{name}, line {number}: class {label[:20]!r} is not in {', '.join(classes)}.")
            labels.append(classes.index(label))
        sequences.append(_sequence(fields, f"{name}, line {number}"))
    if not sequences:
        raise ValueError(f"{name} holds no sequence after a line @data: is it a .ts file?")
    x, lengths = pad(sequences)
    return x, None if classes is None else np.array(labels, np.int64), lengths


def _sequence(fields: list[str], place: str) -> npt.NDArray[np.float64]:
    """One sequence (T, D) of its features' texts."""
    try:
        rows = [np.array(field.split(","), np.float64) for field in fields]
    except ValueError as error:
        raise ValueError(f"{place}: {error}; missing values are not read.") from error
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"{place}: features of {', '.join(str(len(row)) for row in rows)} steps: all must be equal.")
    return np.stack(rows, axis=1)
