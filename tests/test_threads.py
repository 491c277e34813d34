"""Work shared by threads: the same parts and the same bytes whatever their number, and the BLAS as it was afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tinyae.backend import threads
from tinyae.backend.parallel import in_parts


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_parts_are_the_same_with_any_number_of_threads():
    for count in (1, 2, 3, 8):
        with threads(count):
            assert in_parts(lambda a, b: (a, b), 10, 4) == [(0, 2), (2, 5), (5, 7), (7, 10)]
            assert in_parts(lambda a, b: (a, b), 2, 4) == [(0, 1), (1, 2)]
            assert in_parts(lambda a, b: (a, b), 0, 4) == [(0, 0)]


def test_parts_run_at_the_same_time_in_the_context_of_the_caller():
    """Each part waits for the other: one thread alone would wait in vain. `errstate` is part of the context."""
    together = threading.Barrier(2, timeout=20)

    def work(a: int, b: int) -> tuple[str, str]:
        together.wait()
        return threading.current_thread().name, np.geterr()["over"]

    with threads(2), np.errstate(over="raise"):
        found = in_parts(work, 2)
    assert len({name for name, _ in found}) == 2
    assert [over for _, over in found] == ["raise", "raise"]


def test_parts_within_parts_wait_for_nobody():
    """Also those of one helper, which would otherwise wait for itself. A whole number may be a float."""
    code = (
        "from tinyae.backend.parallel import in_parts, threads\n"
        "with threads(2.0):\n"
        "    assert in_parts(lambda a, b: sum(in_parts(lambda c, d: d - c, 5, 4)), 8, 4) == [5] * 4"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_of_any_part_comes_through(broken):
    def work(a: int, b: int) -> None:
        if a == broken:
            raise FloatingPointError(f"in part {broken}")

    for count in (1, 2):
        with threads(count), pytest.raises(FloatingPointError, match=f"in part {broken}"):
            in_parts(work, 2)
        with threads(count):
            assert in_parts(lambda a, b: a, 2) == [0, 1]


def test_the_blas_has_one_thread_inside_and_as_many_as_before_outside():
    """Also after an error, and after several threads had blocks of their own at once."""
    with threadpool_limits(3, "blas"):
        before = blas_threads()
        assert in_parts(lambda a, b: max(blas_threads()), 2) == [1, 1]

        def fail() -> None:
            with threads(2):
                assert max(blas_threads()) == 1
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert blas_threads() == before

        def several(k: int) -> None:
            for _ in range(50):
                with threads(1 + k % 2):
                    assert in_parts(lambda a, b: b - a, 7, 3) == [2, 2, 3]

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(several, range(8)))
        assert blas_threads() == before


def test_the_usual_number_is_that_of_the_blas():
    with threadpool_limits(1, "blas"), threads() as count:
        assert count == 1
    with threads(5), threads() as count:
        assert count == 5


@pytest.mark.parametrize(("count", "error"), [(0, ValueError), (1.5, ValueError), ("2", TypeError), (True, TypeError)])
def test_a_number_of_threads_that_is_none_is_refused(count, error):
    with pytest.raises(error, match="threads"), threads(count):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_helpers_are_started_anew_after_a_fork():
    code = (
        "import os, sys; from tinyae.backend.parallel import in_parts, threads\n"
        "with threads(2):\n"
        "    assert in_parts(lambda a, b: b - a, 6) == [3, 3]\n"
        "    child = os.fork()\n"
        "    if child == 0: os._exit(in_parts(lambda a, b: b - a, 8) != [4, 4])\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60, check=False).returncode == 0


def test_where_no_thread_can_be_started_one_does_the_work(monkeypatch):
    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("tinyae.backend.parallel._helpers", [])
    monkeypatch.setattr(threading.Thread, "start", refused)
    done: list[tuple[int, int]] = []
    with threads(2):
        assert in_parts(lambda a, b: done.append((a, b)) or b - a, 7) == [3, 4]
    assert done == [(0, 3), (3, 7)]
