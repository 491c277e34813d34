"""Files that are complete or not there: written under another name, synced, then renamed; and the lock of a folder.

After a crash or a power cut a file has its old content or its new one. A file that is reached by a link is replaced where it
is, and the link remains; a device or a pipe is written to.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinyae.checks import system_error


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call `write(temporary_path)` and move the result to `path`; on any error `path` is unchanged.

    A missing parent folder is created. Raises OSError, with the path and the reason, if the file cannot be written.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    with cannot_write(path):
        if path.exists() and not target.is_file():  # a device or a pipe
            write(path)
            return path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = stage(target, write, f"t{secrets.token_hex(4)[1:]}")
        try:
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file atomically (UTF-8, newlines unchanged)."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a binary file atomically."""
    return write_atomically(path, lambda temporary: temporary.write_bytes(content))


def staged(target: Path, mark: str) -> Path:
    """The name beside `target` under which its next content waits; `mark` has eight letters and digits."""
    return target.with_name(f".{target.name}.{mark}")


def stage(target: Path, write: Callable[[Path], object], mark: str) -> Path:
    """Write the next content of `target` under the name `staged(target, mark)`, synced, with the mode that it would have."""
    temporary = staged(target, mark)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the system applies the umask
    try:
        write(temporary)
        _sync(temporary, os.O_RDWR)
        if target.exists() and target.stat().st_mode != temporary.stat().st_mode:
            os.chmod(temporary, target.stat().st_mode & 0o7777)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut, where the system can (Windows cannot)."""
    with suppress(OSError):
        _sync(folder, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def cannot_write(path: Path) -> Iterator[None]:
    """Name the file in an OSError."""
    try:
        yield
    except OSError as error:
        raise system_error(f"cannot write {path}", error) from error


LOCK = ".lock"
"""On Windows, which cannot lock a folder: the file in it that is locked, and that the system removes."""


def lock_folder(folder: Path) -> int | None:
    """Lock a folder against other processes; returns a file descriptor, and closing it ends the lock.

    The system closes it when this process ends, however it ends. None where there are no such locks. Raises BlockingIOError
    if the folder is locked.
    """
    if sys.platform == "win32":
        import msvcrt

        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_TEMPORARY)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            os.close(handle)
            raise BlockingIOError(error.errno, "the folder is locked") from error
        return handle
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:  # a file system without locks
        os.close(handle)
        return None
    return handle
