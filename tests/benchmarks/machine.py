"""What a timing must be read with: the processor, the threads, the versions, and how busy the machine was."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Environment variables that numerical libraries read once, when they are loaded."""


def cpu_model() -> str:
    """The name of the processor, as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe() -> str:
    """Two lines for the head of a table."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return (
        f"{cpu_model()}, {os.cpu_count()} logical cores, load average before the run {os.getloadavg()[0]:.1f}\n"
        f"Python {platform.python_version()}, NumPy {np.__version__} ({blas['name']} {blas['version']})"
    )


def in_a_process(module: str, arguments: list[str], threads: int = 0) -> Any:
    """The JSON that `python -m tests.benchmarks.MODULE` prints last, alone in a process.

    The number of threads is set before it loads anything, or with 0 not set at all. RuntimeError with its last line if it fails.
    """
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    if threads:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


class OtherLoad:
    """How many cores were busy with other work while ours ran: `cores` after the block; NaN if not on Linux.

    with OtherLoad() as others:
        work()
    """

    cores = float("nan")

    def __enter__(self) -> OtherLoad:
        self._start = self._now()
        return self

    def __exit__(self, *error: object) -> None:
        wall, busy, ours = (now - then for now, then in zip(self._now(), self._start, strict=True))
        self.cores = max(0.0, (busy - ours) / wall)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds: of the clock, of all busy cores, and of this process with its finished children."""
        stat = Path("/proc/stat")
        ticks = stat.read_text().split()[1:8] if stat.exists() else ["nan"] * 7
        user, nice, system, _idle, _wait, irq, softirq = map(float, ticks)
        mine = os.times()
        busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), busy, mine.user + mine.system + mine.children_user + mine.children_system
