"""Standard output and error that may be closed, full or unread, and the progress bar: no work stops because of them."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with control characters escaped, those that turn the direction of writing too; not the tab and the line feed.

    A file name may contain any, and a terminal obeys them.
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


class Stream(io.TextIOBase):
    """A text stream that raises no error, whatever becomes of it; characters that it cannot encode are escaped.

    What nobody reads any more is dropped: the reader has seen all that it wanted. Text that cannot be written for another
    reason is lost, and so is all that follows.

    Args:
        stream: the one to write to; None for one that was closed before the program started, as by the shell's `>&-`.
        bar: write control characters as they are, and leave the stream's file alone, which others may write to.

    Attributes:
        lost: why text was lost; "" if none was.
    """

    def __init__(self, stream: TextIO | None, *, bar: bool = False) -> None:
        self.stream, self.bar = stream, bar
        self.lost, self.ended = "", False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        """The descriptor of the stream; raises OSError or ValueError if it has none."""
        return super().fileno() if self.stream is None else self.stream.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return self.stream is not None and self.stream.isatty()
        except (ValueError, AttributeError):  # closed, or no file
            return False

    def write(self, text: str) -> int:
        """Write what can be written; returns the length of the text."""
        shown = text if self.bar else printable(text)
        self._attempt("write", shown.encode(self.encoding, "backslashreplace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        if self.stream is not None:
            self._attempt("flush")

    def _attempt(self, method: str, *text: str) -> None:
        if self.ended:
            return
        try:
            getattr(self.stream, method)(*text)
        except (OSError, ValueError, AttributeError) as error:
            # To write to a pipe without a reader is an invalid argument on Windows.
            unread = isinstance(error, BrokenPipeError) or getattr(error, "errno", None) == errno.EINVAL
            self.ended, self.lost = True, "" if unread else getattr(error, "strerror", None) or "it is closed"
            if unread or not self.bar:
                with suppress(OSError, ValueError):  # what is in its buffer would fail again when Python ends
                    os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


# ---------------------------------------------------------------------------------------------------------------------
# The progress bar.


def progress_bar(items: Iterable[Any] = (), *, visible: bool = True, **looks: Any) -> Any:
    """tqdm's bar on standard error, over `items` or to be updated; without tqdm unless `visible`. `looks` are its options."""
    stream = sys.stderr.stream if isinstance(sys.stderr, Stream) else sys.stderr
    if not visible or stream is None:
        return NoBar(items)
    from tqdm import tqdm

    file = Stream(stream, bar=True)
    width: dict[str, Any] = {"dynamic_ncols": True}
    with suppress(OSError, ValueError):
        if not os.get_terminal_size(file.fileno()).columns:  # unknown, in some containers
            width = {"ncols": 80}
    kind = type("Bar", (tqdm,), {"monitor_interval": 0})  # starts no thread
    return kind(items or None, file=file, mininterval=0.1 if file.isatty() else 5.0, **width, **looks)


class NoBar(list[Any]):
    """The items, where no bar is shown: all that is done to it does nothing."""

    def __enter__(self) -> NoBar:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *values, **options: None
