"""The benchmark `tests/benchmarks/training_step.py` trains the same network in every library: losses of the first steps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.benchmarks.training_step import first_losses
from tests.benchmarks.workloads import WORKLOADS


@pytest.mark.parametrize("workload", WORKLOADS)
def test_losses_are_those_of_torch(workload):
    pytest.importorskip("torch")
    assert_allclose(first_losses(workload, "tinyae", 3), first_losses(workload, "PyTorch", 3), rtol=1e-5)


def test_first_loss_of_the_dense_autoencoder_by_its_formula():
    w = WORKLOADS["W1"]
    (_, (first, b)), (_, (second, c)) = w.weights()
    x = w.batches()[0].astype(np.float64)
    z = np.maximum(x @ first + b, 0.0) @ second + c
    expected = (np.logaddexp(0.0, z) - x * z).sum() / w.batch
    assert first_losses("W1", "tinyae", 1) == [pytest.approx(expected, rel=1e-6)]
