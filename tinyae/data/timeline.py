"""When the windows of a recording were taken, and what is known to have happened in them.

A window of a recording is a sample like any other to a model; to say "the 27th of January" about it, or to draw a
published anomaly beside it, one must know its place in time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        window_seconds: length of one window.
        incidents: what is known to have happened.
        stride_seconds: from the beginning of one window to that of the next; None for windows that follow each other
            without a gap.
        border: (number, seconds) of the first test window and its beginning, where it does not follow the last
            training window at the common stride: no window reaches across the border.
        counted: True if nobody knows the date and times are counted from 1970-01-01T00:00 as a recording's own zero.
    """

    start: str
    window_seconds: float
    incidents: tuple[Incident, ...] = ()
    stride_seconds: float | None = None
    border: tuple[int, float] | None = None
    counted: bool = False

    @property
    def strided(self) -> bool:
        """True if windows overlap, or leave gaps, or if there is a seam between training and test windows."""
        return self.stride_seconds is not None or self.border is not None

    def begin(self, window: int) -> float:
        """When a window begins, in seconds after the start."""
        stride = self.stride_seconds or self.window_seconds
        if self.border is None or window < self.border[0]:
            return window * stride
        return self.border[1] + (window - self.border[0]) * stride

    def position(self, time: str) -> float:
        """A time as a number of windows after the start; 2.5 is the middle of the third window."""
        seconds = float((np.datetime64(time, "s") - np.datetime64(self.start, "s")).astype(int))
        stride = self.stride_seconds or self.window_seconds
        if self.border is None or seconds < self.border[1]:
            return min(seconds / stride, float("inf") if self.border is None else self.border[0])
        return self.border[0] + (seconds - self.border[1]) / stride

    def spans(self) -> list[tuple[str, float, float]]:
        """(name, from, to) of every incident, in windows after the start."""
        return [(it.name, self.position(it.start), self.position(it.end)) for it in self.incidents]

    def stamp(self, window: int) -> str:
        """When a window begins, to the day, minute, second or millisecond, whichever all windows are whole numbers of.

        A date and a time; if times are `counted`, hours, minutes and seconds since zero, such as 00:04:07.250.
        """
        sizes = (
            self.window_seconds,
            self.stride_seconds or 0,
            0 if self.border is None else self.border[1],
            self._moment(0).astype("datetime64[ms]").astype(int) / 1000,
        )
        units = (("D", 86_400), ("m", 60), ("s", 1))
        digits = next((name for name, unit in units if all(size % unit == 0 for size in sizes)), "ms")
        moment = self._moment(self.begin(window))
        if self.counted:
            return _clock(int(moment.astype("datetime64[ms]").astype(int)), digits == "ms")
        return str(moment.astype(f"datetime64[{digits}]")).replace("T", " ")

    def incidents_in(self, window: int) -> list[str]:
        """Names of the incidents that a window overlaps."""
        begin = self._moment(self.begin(window))
        end = self._moment(self.begin(window) + self.window_seconds)
        return [it.name for it in self.incidents if np.datetime64(it.start) < end and np.datetime64(it.end) > begin]

    def finer(self, parts: int) -> Timeline:
        """The clock of the steps, where a window has `parts` of them."""
        return replace(self, window_seconds=self.window_seconds / parts)

    def of_windows(self, length: int, stride: int, train: int, border: int) -> Timeline:
        """The clock of windows of `length` of these windows every `stride`, `train` of them before window `border`."""
        second = self.window_seconds
        seam = None if train * stride == border else (train, border * second)
        return replace(
            self,
            window_seconds=length * second,
            stride_seconds=None if stride == length else stride * second,
            border=seam,
        )

    def _moment(self, seconds: float) -> np.datetime64:
        return np.datetime64(self.start, "ms") + np.timedelta64(round(1000 * seconds), "ms")


def _clock(milliseconds: int, fine: bool) -> str:
    """Hours, minutes and seconds, with thousandths if `fine`; hours go on beyond 24."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{rest:03}" if fine else "")


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
    "ecg208": Timeline("1970-01-01T00:00:00", 1, counted=True),
}
"""Recordings by name. The incidents of nyc-taxi are the windows published with it (NAB, labels/combined_windows.json); the
electrocardiogram counts from its own start.
"""
