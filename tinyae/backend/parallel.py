"""Work shared by the processors: a few large parts, each on a Python thread of its own.

NumPy releases the interpreter lock while it copies or multiplies, so a second Python thread nearly doubles the speed of work on
large arrays. Work is always cut at the same points, whatever the number of threads, and its parts are added in order:
results are equal byte for byte. Meanwhile, the BLAS is limited to one thread per part: its own threads
would wait for each other, and they divide a product in a way that changes the last bits.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar, copy_context
from functools import cache, partial
from threading import RLock, Thread, current_thread
from typing import TYPE_CHECKING, Any, TypeVar

from tinyae.backend.allocator import keep_some
from tinyae.checks import whole_number

if TYPE_CHECKING:
    from queue import SimpleQueue

    from threadpoolctl import ThreadpoolController

T = TypeVar("T")

_chosen: ContextVar[int] = ContextVar("tinyae_threads", default=0)
"""The number of threads inside a `threads` block; 0 outside."""


@contextmanager
def threads(count: int | None = None) -> Iterator[int]:
    """Compute with `count` threads inside this block; results do not depend on their number.

    `ta.fit` and the command line (`--threads`) do so. Large operations are cut into parts; the BLAS computes each part, and
    everything else, on one thread. Outside such a block, large operations take as many threads as the BLAS would.

    Args:
        count: a whole number from 1; None means as many as the BLAS uses now, which environment variables such as
            OMP_NUM_THREADS and `threadpoolctl` limit.
    """
    if count is not None:
        count = whole_number("threads", count, at_least=1)
    keep_some()  # freed memory, for the arrays of the next step
    usual = max((blas.get_num_threads() for blas in _blas().lib_controllers), default=processors())
    count = count or _chosen.get() or min(usual, processors())
    with _blas().limit(limits=1):
        before = _chosen.set(count)
        try:
            yield count
        finally:
            _chosen.reset(before)


def in_parts(work: Callable[[int, int], T], length: int, parts: int = 2) -> list[T]:
    """[work(0, a), work(a, b), ..., work(z, length)] in `parts` equal parts (fewer if `length` is less), shared by threads.

    `work` must write to different places in each part. What decides on `parts` must be the size of the work, never the
    number of threads or processors.
    """
    parts = max(1, min(parts, length))
    if parts == 1:
        return [work(0, length)]
    cuts = [length * k // parts for k in range(parts + 1)]
    left = deque(range(parts))
    results: list[Any] = [None] * parts

    def run() -> None:
        while left:
            try:
                k = left.popleft()
            except IndexError:  # another thread was faster
                return
            results[k] = work(cuts[k], cuts[k + 1])

    with nullcontext(_chosen.get()) if _chosen.get() else threads() as count:
        ends = _start(run, min(count, parts) - 1)
        try:
            run()
        finally:
            left.clear()  # after an error
            errors = [error for end in ends if (error := end.get()) is not None]  # none goes on writing to our arrays
    if errors:
        raise errors[0]
    return results


def chunks(start: int, stop: int, size: int) -> Iterator[slice]:
    """The places from `start` to `stop` in slices of length `size`, for work that is to stay in a cache."""
    return (slice(first, min(first + size, stop)) for first in range(start, stop, size))


# ---------------------------------------------------------------------------------------------------------------------
# The helpers are threads that wait for a function to call. They do not survive a fork: a child process starts its own.

_helpers: list[Thread] = []
_lock = RLock()


def _start(run: Callable[[], None], count: int) -> list[SimpleQueue[BaseException | None]]:
    """Have `count` helpers, or as many as can be started, call `run`; a queue for each gives what it raised, or None."""
    if current_thread() in _helpers:  # parts within a part: a helper that waited for helpers might wait forever
        return []
    with _lock, suppress(RuntimeError):  # no thread can be started
        while len(_helpers) < count:
            helper = Thread(target=_help, args=(_calls(),), name=f"tinyae-{len(_helpers) + 1}", daemon=True)
            helper.start()
            _helpers.append(helper)
    ends = [_queue() for _ in range(min(count, len(_helpers)))]
    for end in ends:
        _calls().put((partial(copy_context().run, run), end))
    return ends


def _queue() -> SimpleQueue[Any]:
    from queue import SimpleQueue  # late: it would slow `import tinyae`

    return SimpleQueue()


_calls = cache(_queue)
"""The queue of what all helpers of this process are to call, and where to say that it has ended."""


def _help(calls: SimpleQueue[Any]) -> None:
    for blas in _blas().lib_controllers:  # some have a number of threads for each thread that calls them
        blas.set_num_threads(1)
    while True:
        run, end = calls.get()
        try:
            run()
        except BaseException as error:  # the caller raises it
            end.put(error)
        else:
            end.put(None)
        del run, end  # what they hold is not ours to keep until the next call


def _after_fork() -> None:
    global _lock
    _lock = RLock()
    _helpers.clear()
    _calls.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

# ---------------------------------------------------------------------------------------------------------------------


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries that NumPy, and perhaps SciPy, have loaded."""
    from threadpoolctl import ThreadpoolController  # late: it would slow `import tinyae`

    return ThreadpoolController().select(user_api="blas")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
