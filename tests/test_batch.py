"""`Batch`: every sample once, in an order that the seed alone decides, gathered where the arrays are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tinyae.backend import CPU, Backend
from tinyae.data import pad
from tinyae.models import Batch
from tinyae.testing import strict_device

counts = st.integers(1, 200)
sizes = st.integers(1, 250)
seeds = st.integers(0, 2**32 - 1)


@given(counts, sizes, seeds)
def test_every_sample_comes_once_and_its_parts_stay_together(n, size, seed):
    x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
    whole = Batch(x, 2 * x, labels=np.arange(n))
    seen = list(whole.batches(size, np.random.default_rng(seed).permutation(n)))
    assert [len(batch) for batch in seen] == [size] * (n // size) + [n % size] * (n % size > 0)
    assert_array_equal(np.concatenate([b.labels for b in seen]), np.random.default_rng(seed).permutation(n))
    for batch in seen:
        assert batch.x.dtype == np.float32
        assert_array_equal(batch.x.data[:, 0], 3 * batch.labels)
        assert_array_equal(batch.target.data, 2 * batch.x.data)


@given(counts, sizes)
def test_without_a_generator_the_order_is_kept(n, size):
    seen = list(Batch(np.arange(n)).batches(size))
    assert_array_equal(np.concatenate([batch.x.data for batch in seen]), np.arange(n))


def test_samples_that_are_their_own_target_travel_once():
    x = np.ones((4, 2), np.float32)
    for batch in (Batch(x), Batch(x).rows(slice(2)), Batch(x).to(CPU, "float64"), next(Batch(x).batches(3))):
        assert batch.x is batch.target


@pytest.mark.parametrize("seed", [None, 3])
def test_a_minibatch_is_as_long_as_its_longest_sequence(rng, seed):
    x, lengths = pad([rng.random((n, 2)) for n in rng.integers(1, 9, 20)])
    order = None if seed is None else np.random.default_rng(seed).permutation(20)
    seen = list(Batch(x, labels=np.arange(20), lengths=lengths).batches(6, order))
    assert [len(batch) for batch in seen] == [6, 6, 6, 2]
    for batch in seen:
        assert_array_equal(batch.lengths, lengths[batch.labels])
        assert batch.x.shape[1] == batch.lengths.max()
        for sequence, row, length in zip(batch.x.data, batch.labels, batch.lengths, strict=True):
            assert_array_equal(sequence[:length], x[row, :length])
            assert not sequence[length:].any()


def test_on_a_device_the_order_is_sent_once_and_is_that_of_the_cpu(rng):
    device = strict_device()
    x, lengths = pad([rng.random((n, 2)) for n in (3, 1, 4, 2, 4, 5, 1)])
    there = Batch(x, lengths=lengths).to(device, "float32")
    order = np.random.default_rng(1).permutation(len(x))
    batches = there.batches(3, order)
    first = next(batches)
    with device.policy(forbid_sync=True, forbid_copy=True):
        rest = list(batches)
    here = list(Batch(x, lengths=lengths).batches(3, order))
    for ours, theirs in zip([first, *rest], here, strict=True):
        assert_array_equal(device.to_host(ours.x.data), theirs.x.data)
        assert_array_equal(ours.lengths, theirs.lengths)


def test_windows_know_what_is_seen_and_what_is_written(elsewhere: Backend):
    windows = np.zeros((2, 6, 1), np.float32)
    ragged = Batch(windows[:, :4], windows, lengths=np.array([6, 3]), future_only=True)
    assert (ragged.future, ragged.context.tolist(), ragged.outputs) == (2, [4, 1], ("prediction",))
    assert ragged.mask[..., 0].astype(int).tolist() == [[0, 0, 0, 0, 1, 1], [0, 1, 1, 0, 0, 0]]
    moved = ragged.to(elsewhere, "float32")
    assert (moved.future, moved.context.tolist()) == (2, [4, 1])
    both = Batch(windows[:, :4], windows)
    assert (both.context, both.mask, both.outputs) == (None, None, ("reconstruction", "prediction"))
    assert (Batch(windows).future, Batch(windows).outputs) == (0, ("reconstruction",))
    numbers = Batch(np.arange(2), windows)
    assert (numbers.future, len(numbers)) == (0, 2)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: Batch(np.zeros(3), np.zeros((4, 2))), "got 4 targets and 3 x"),
    (lambda: Batch(np.zeros((3, 2)), labels=np.zeros(2, int)), "got 3 targets and 2 labels"),
    (lambda: Batch(np.zeros((3, 2, 1)), lengths=np.array([1, 2, 2, 1])), "got 3 targets and 4 lengths"),
    (lambda: next(Batch(np.zeros((3, 2))).batches(0)), "batch_size must be a whole number of at least 1, got 0"),
    (lambda: next(Batch(np.zeros((3, 2))).batches(1.5)), "batch_size must be a whole number of at least 1, got 1.5"),
])  # fmt: skip
def test_parts_that_do_not_fit_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
