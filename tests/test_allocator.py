"""Freed memory that is kept for the next arrays: fewer page faults, and never the memory of an array that is in use."""

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


def steps(how):
    done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True)
    tuned, faults, losses = done.stdout.split(maxsplit=2)
    return tuned, float(faults), losses


@glibc
def test_a_warm_step_has_no_page_faults_and_the_same_losses():
    _, faults, losses = steps("usual")
    tuned, fewer, same = steps("tuned")
    assert tuned == "True"
    assert fewer < 20 < 200 < faults, (
        "without it, as after an import alone, the large arrays of each step get new pages"
    )
    assert same == losses


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_a_system_without_mallopt_is_left_alone(error, monkeypatch):
    import ctypes

    from tinyae.backend import tune_allocator

    def library(name):
        raise error(name)

    monkeypatch.setattr(ctypes, "CDLL", library)
    assert tune_allocator() is False
