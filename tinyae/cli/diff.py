"""`tinyae diff`: where two runs part."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.training import Run, load_arrays
from tinyae.training.state import CLOCK


def diff(run_a: Path, run_b: Path) -> None:
    """say where two runs part

    Compare configuration, data and environment, every epoch, and every weight of two runs. Exit code 1 if they differ.

    Args:
        run_a: RUN, a run folder made by `tinyae train`.
        run_b: RUN, another.
    """
    one, other = Run.open(run_a), Run.open(run_b)
    lines = [*_configuration(one.config, other.config), *_epochs(one, other), *_weights(one, other)]
    print("\n".join(lines) if lines else "equal: configuration, environment, every epoch, and every weight bit for bit")
    if lines:
        sys.exit(1)


def _configuration(one: Any, other: Any, name: str = "") -> Iterator[str]:
    """A line for each entry of the configuration, or of its environment, that differs."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            yield from _configuration(one.get(key), other.get(key), f"{name}.{key}".lstrip("."))
    elif one != other:
        yield f"{name}: {one} and {other}"


def _epochs(one: Run, other: Run) -> Iterator[str]:
    """The first epoch that differs, with its first column that does, apart from the clock; and different lengths."""
    a, b = one.history(), other.history()
    for number, (row, twin) in enumerate(zip(a.rows, b.rows, strict=False), 1):
        for column in dict.fromkeys([*row, *twin]):
            if column not in CLOCK and row.get(column) != twin.get(column):
                yield f"epoch {number}: {column} {row.get(column)} and {twin.get(column)}"
                return
    if len(a) != len(b):
        said = (len(a), len(b)) == (one.config.get("epochs"), other.config.get("epochs"))  # by the configuration
        yield f"epochs: {'' if said else f'{len(a)} and {len(b)}, '}equal as far as both go"


def _weights(one: Run, other: Run) -> Iterator[str]:
    """The first parameter or buffer that differs, and how many do."""
    a, b = load_arrays(one.path), load_arrays(other.path)
    differ = [name for name in dict.fromkeys([*a, *b]) if not _equal(a.get(name), b.get(name))]
    if differ:
        first, also = differ[0], f", and {len(differ) - 1} more" if len(differ) > 1 else ""
        yield f"weights: {first} {_gap(a.get(first), b.get(first))}{also}"


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is not None and b is not None and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _gap(a: np.ndarray | None, b: np.ndarray | None) -> str:
    if a is None or b is None or a.shape != b.shape:
        shapes = ["absent" if part is None else str(part.shape) for part in (a, b)]
        return f"is {shapes[0]} and {shapes[1]}"
    return f"differs by up to {np.abs(a.astype(np.float64) - b).max():.3g}"
