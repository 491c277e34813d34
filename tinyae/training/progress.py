"""The one progress bar of a run: epoch, loss with its unit, samples per second, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

_REFRESH = 0.5
"""Seconds between looks at the loss: on a GPU each look waits for the device."""


class Progress:
    """A bar over all samples of all epochs, on standard error; silent if not `visible`.

    `unit` is that of the loss, `noun` what one sample is called, `title` stands before the epoch.
    """

    def __init__(
        self, epochs: int, samples: int, unit: str, noun: str, *, title: str = "", visible: bool = True
    ) -> None:
        from tqdm import tqdm

        self.epochs = epochs
        self.unit = unit
        self.title = f"{title}  " if title else ""
        terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=epochs * samples,
            unit=f" {noun}s",
            unit_scale=True,
            disable=not visible,
            dynamic_ncols=True,
            mininterval=0.1 if terminal else 5.0,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left",
        )

    def follow(self, epoch: int, losses: Iterable[tuple[int, Any]]) -> float:
        """Run one epoch of (samples, loss) steps and return the mean loss per sample."""
        total: Any = 0.0
        seen = 0
        due = time.perf_counter() + _REFRESH
        for count, loss in losses:
            total = total + loss * float(count)
            seen += count
            if not self.bar.disable:
                if time.perf_counter() >= due:
                    self._describe(epoch, float(total) / seen)
                    due = time.perf_counter() + _REFRESH
                self.bar.update(count)
        mean = float(total) / max(seen, 1)
        self._describe(epoch, mean)
        return mean

    def advance(self, epoch: int, samples: int, loss: float) -> None:
        """One epoch is done, somewhere else."""
        self.bar.update(samples)
        self._describe(epoch, loss)

    def _describe(self, epoch: int, loss: float) -> None:
        self.bar.set_description_str(f"{self.title}epoch {epoch}/{self.epochs}  {loss:.4g} {self.unit}", refresh=False)

    def close(self) -> None:
        """Leave the bar as it is and give the line back."""
        self.bar.close()
