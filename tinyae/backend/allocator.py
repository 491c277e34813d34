"""Memory that the C library keeps: a training step allocates the same large arrays again and again.

glibc gives the memory of a large array back to the system when it is freed, and the next array gets new pages, each zeroed by
the kernel at its first use: a page fault, about 2 microseconds for 4 KiB. In small networks that is half of a step.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
_LARGEST = (1 << 30, 1 << 25)  # C ints; a glibc that refuses the first takes 32 MiB


@cache
def keep_some() -> None:
    """Have up to 64 MiB of freed memory kept for the next arrays, in this process from now on.

    glibc adapts to the largest array freed so far, up to 32 MiB: smaller ones come from memory that it keeps, and of that it
    returns what is free beyond twice the size (mallopt(3), the dynamic M_MMAP_THRESHOLD). So it is shown such an array, whose
    pages are never touched. Other C libraries are not affected.
    """
    np.empty((1 << 25) - (1 << 13), np.uint8)


def tune_allocator() -> bool:
    """Have all freed memory kept for the next arrays, in this process from now on; the command line does it for itself.

    The process then keeps what it needed at its peak until it ends, which is why importing tinyae does not do this. It
    needs the `mallopt` of glibc, so it changes nothing on macOS, Windows, and Linux with musl.

    Returns:
        Whether the C library took the setting.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; of Windows no such library
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    kept = any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST)
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
