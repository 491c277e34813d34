"""Two threads for one piece of work on the CPU.

NumPy lets go of the interpreter while it copies or multiplies, so a second Python thread doubles the speed of work on
large arrays. Work is always cut at the same place, whether or not a second processor is there: sums are added up in the
same order, and results have the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")

_helpers: dict[int, Any] = {}
"""A pool with one thread, by process: a thread does not survive a fork, so a child starts its own."""


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_halves(work: Callable[[int, int], T], length: int, shared: bool = True) -> list[T]:
    """[work(0, length // 2), work(length // 2, length)], at the same time where `shared` and a processor is free."""
    middle = length // 2
    if not shared or middle == 0 or processors() < 2:
        return [work(0, middle), work(middle, length)]
    done = _helper().submit(copy_context().run, work, 0, middle)
    try:
        back = work(middle, length)
    finally:
        front = done.result()  # also after an error: nobody may still write into our arrays
    return [front, back]


def _helper() -> Any:
    if os.getpid() not in _helpers:
        from concurrent.futures import ThreadPoolExecutor  # late: it would slow `import tinyae`

        _helpers.clear()
        _helpers[os.getpid()] = ThreadPoolExecutor(1, thread_name_prefix="tinyae")
    return _helpers[os.getpid()]
