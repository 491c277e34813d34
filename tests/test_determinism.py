"""Training is repeatable bit for bit: in a fresh process, whatever the hash seed and the number of threads."""

from __future__ import annotations

import pytest

from tests.determinism import hashes_of
from tinyae.models import MODELS


@pytest.mark.parametrize(
    "names", [["basic", "sparse", "vae"], pytest.param(list(MODELS), marks=pytest.mark.slow)], ids=["sample", "all"]
)
def test_a_fresh_process_its_hash_seed_and_its_threads_change_nothing(names):
    assert hashes_of(names, "0", "1") == hashes_of(names, "1", "2")
