"""Ctrl-C while the `tinyae` command loads its libraries, which takes a second: one line and exit code 130, no traceback."""

import os
import signal
import sys


def _leave(*_: object) -> None:
    try:
        os.write(2, b"\ntinyae: interrupted.\n")
    finally:
        os._exit(130)  # nothing has begun


def begun() -> None:
    """Ctrl-C raises KeyboardInterrupt again: the command can handle it from here on."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_PROGRAM = os.path.basename(sys.argv[0] if sys.argv else "").removesuffix(".exe")
_COMMAND = _PROGRAM == "tinyae" or ("-m", "tinyae") in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
if _COMMAND and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where Ctrl-C is ignored
    signal.signal(signal.SIGINT, _leave)
