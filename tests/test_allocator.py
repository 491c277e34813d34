"""Freed memory that is kept for the next arrays: fewer page faults, and never the memory of an array that is in use."""

import os
import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import numpy as np
import tinyae as ta
from tinyae.backend import tune_allocator
tuned = tune_allocator() if sys.argv[1] == "tuned" else None
model = ta.models.basic_autoencoder(784, 32, generator=np.random.default_rng(0))
optimizer = ta.optim.Adam(model.parameters())
x = ta.Tensor(np.random.default_rng(1).random((512, 784), dtype=np.float32))
kept = []
def step():
    optimizer.zero_grad()
    loss = model.loss(x)
    loss.backward()
    optimizer.step()
    kept.append((loss.total.data.copy(), loss.total.data))
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20
assert all((a == b).all() for a, b in kept)
print(tuned, faults, [float(loss) for loss, _ in kept])
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is a function of glibc")


def steps(how, adapts):
    """Whether `mallopt` took it, page faults a step, and the losses; a given threshold keeps glibc from adapting it."""
    fixed = {} if adapts else {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}
    command = [sys.executable, "-c", STEPS, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | fixed)
    tuned, faults, losses = done.stdout.split(maxsplit=2)
    return tuned, float(faults), losses


@glibc
def test_a_warm_step_has_no_page_faults_and_the_same_losses():
    _, faults, losses = steps("usual", adapts=False)
    assert faults > 200, "otherwise the large arrays of each step get new pages"
    for how, adapts in (("usual", True), ("tuned", True), ("tuned", False)):
        tuned, fewer, same = steps(how, adapts)
        assert fewer < 20, (how, adapts)
        assert same == losses
        assert tuned == str(how == "tuned" or None)


NARROW = """
import resource, tracemalloc
from pathlib import Path
from tinyae.backend import threads
with threads(1):  # imports what it needs
    pass
from tinyae.backend.allocator import keep_some
keep_some.cache_clear()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20), resource.RLIM_INFINITY))
tracemalloc.start()
with threads(1):
    pass
print(tracemalloc.get_traced_memory()[1])
"""


@glibc
def test_a_block_works_where_memory_is_scarce_and_does_not_count_as_memory_of_python():
    done = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1 << 20


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_a_system_without_mallopt_is_left_alone(error, monkeypatch):
    import ctypes

    from tinyae.backend import tune_allocator

    def library(name):
        raise error(name)

    monkeypatch.setattr(ctypes, "CDLL", library)
    assert tune_allocator() is False
