"""`History`: one row of numbers per epoch, each column with its unit."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from tinyae.atomic import write_text


class History:
    """What training measured, epoch by epoch.

    Attributes:
        rows: one dict per complete epoch, e.g. {"epoch": 1, "train_loss": 92.1, ...}.
        units: column -> unit, e.g. {"train_loss": "nats per image", "seconds": "s"}.
    """

    def __init__(self, units: dict[str, str] | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.units = dict(units or {})

    def append(self, row: dict[str, Any]) -> None:
        """Add the row of a complete epoch."""
        self.rows.append(dict(row))

    @property
    def columns(self) -> list[str]:
        """All column names, in order of first appearance."""
        return list(dict.fromkeys(key for row in self.rows for key in row))

    def __getitem__(self, column: str) -> list[Any]:
        """One column as a list, NaN where a row lacks it."""
        if column not in self.columns:
            raise KeyError(f"no column {column!r} in this history; there are: {', '.join(self.columns) or 'none yet'}.")
        return [row.get(column, math.nan) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def last(self) -> dict[str, Any]:
        """The newest row; raises IndexError before the first complete epoch."""
        if not self.rows:
            raise IndexError("this history is empty: no epoch was completed.")
        return self.rows[-1]

    def save(self, path: str | Path) -> Path:
        """Write `metrics.csv`: a header `column [unit]`, then one line per epoch. Atomic."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([f"{name} [{self.units[name]}]" if name in self.units else name for name in self.columns])
        for row in self.rows:
            writer.writerow([_number(row.get(name, "")) for name in self.columns])
        return write_text(path, text.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read what `save` wrote."""
        with open(path, newline="", encoding="utf-8") as file:
            table = list(csv.reader(file))
        history = cls()
        names = []
        for title in table[0] if table else []:
            name, _, unit = title.partition(" [")
            names.append(name)
            if unit:
                history.units[name] = unit.rstrip("]")
        for line in table[1:]:
            history.append(
                {n: int(v) if n == "epoch" else float(v) for n, v in zip(names, line, strict=True) if v != ""}
            )
        return history

    def __repr__(self) -> str:
        if not self.rows:
            return "History(no complete epoch)"
        numbers = ", ".join(
            f"{name} {_number(value)}{' ' + self.units[name] if name in self.units else ''}"
            for name, value in self.last.items()
        )
        return f"History({len(self)} epochs; last: {numbers})"


def _number(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
