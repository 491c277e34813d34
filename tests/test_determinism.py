"""Training is repeatable bit for bit: in a fresh process, whatever the hash seed, and with any fixed number of threads."""

from __future__ import annotations

import pytest

from tests.determinism import hashes_of
from tinyae.models import MODELS


@pytest.mark.parametrize(
    ("names", "threads"),
    [(["basic", "denoising", "vae"], "1"), *(pytest.param(list(MODELS), n, marks=pytest.mark.slow) for n in "12")],
    ids=["sample", "all, 1 thread", "all, 2 threads"],
)
def test_a_fresh_process_and_its_hash_seed_change_nothing(names, threads):
    assert hashes_of(names, "0", threads) == hashes_of(names, "1", threads)
