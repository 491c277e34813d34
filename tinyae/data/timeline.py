"""When the windows of a recording were taken, and what is known to have happened in them.

A window of a recording is a sample like any other to a model; to say "the 27th of January" about it, or to draw a
published anomaly beside it, one must know its place in time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Incident:
    """Something known to have happened, from `start` to `end` (ISO 8601 times)."""

    name: str
    start: str
    end: str


@dataclass(frozen=True)
class Timeline:
    """The clock of a recording.

    Attributes:
        start: when the first window of the training part begins, ISO 8601.
        window_seconds: length of one window; windows follow each other without a gap, the test part after the
            training part.
        incidents: what is known to have happened.
    """

    start: str
    window_seconds: int
    incidents: tuple[Incident, ...] = ()

    def position(self, time: str) -> float:
        """A time as a number of windows after the start; 2.5 is the middle of the third window."""
        return float((np.datetime64(time, "s") - np.datetime64(self.start, "s")).astype(int)) / self.window_seconds

    def spans(self) -> list[tuple[str, float, float]]:
        """(name, from, to) of every incident, in windows after the start."""
        return [(it.name, self.position(it.start), self.position(it.end)) for it in self.incidents]

    def stamp(self, window: int) -> str:
        """When a window begins; its date alone if windows are whole days."""
        time = np.datetime64(self.start, "s") + np.timedelta64(window * self.window_seconds, "s")
        return str(time.astype("datetime64[D]") if self.window_seconds % 86_400 == 0 else time).replace("T", " ")

    def incidents_in(self, window: int) -> list[str]:
        """Names of the incidents that a window overlaps."""
        return [name for name, first, last in self.spans() if first < window + 1 and last > window]


TIMELINES = {
    "nyc-taxi": Timeline(
        "2014-07-01T00:00",
        86_400,
        (
            Incident("marathon", "2014-10-30T15:30", "2014-11-03T22:30"),
            Incident("Thanksgiving", "2014-11-25T12:00", "2014-11-29T19:00"),
            Incident("Christmas", "2014-12-23T11:30", "2014-12-27T18:30"),
            Incident("New Year", "2014-12-29T21:30", "2015-01-03T04:30"),
            Incident("snow storm", "2015-01-24T20:30", "2015-01-29T03:30"),
        ),
    ),
    "ecg208": Timeline("1970-01-01T00:00:00", 1),
}
"""Recordings by name. The incidents of nyc-taxi are the windows published with it (NAB, labels/combined_windows.json); the
electrocardiogram counts from its own start.
"""
