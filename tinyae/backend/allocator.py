"""Memory for the C library to keep: a training step allocates the same large arrays again and again.

glibc returns the memory of a large array to the system when it is freed, and the next array gets new pages, each zeroed by
the kernel at its first use: a page fault, about 2 microseconds per 4 KiB. In small networks, that is half of a step.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
_LARGEST = (1 << 30, 1 << 25)  # C ints; a glibc that refuses the first takes 32 MiB


@cache
def keep_some() -> None:
    """Have up to 64 MiB of freed memory kept for the next arrays, in this process from now on.

    glibc adapts to the largest array freed so far, up to 32 MiB: smaller ones come from memory that it keeps, and of that it
    returns what is free beyond twice the size (mallopt(3), the dynamic M_MMAP_THRESHOLD). So it is shown such a block of
    memory, which is never touched. Other C libraries are not affected.
    """
    import ctypes

    malloc, free = _c_function("malloc"), _c_function("free")
    if malloc is not None and free is not None:
        malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, (ctypes.c_size_t,), (ctypes.c_void_p,)
        free(malloc((1 << 25) - (1 << 13)))  # where so much is not to be had, malloc gives NULL


def tune_allocator() -> bool:
    """Have all freed memory kept for the next arrays, in this process from now on; the command line does it for itself.

    The process then keeps what it needed at its peak until it ends, which is why importing tinyae does not do this. It
    needs the `mallopt` of glibc, so it changes nothing on macOS, Windows, and Linux with musl.

    Returns:
        Whether the C library took the setting.
    """
    import ctypes

    mallopt = _c_function("mallopt")
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    kept = any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST)
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def _c_function(name: str) -> Any:
    """A function of the C library; None if there is no such function or, as on Windows, no such library."""
    import ctypes

    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
