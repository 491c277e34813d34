"""Batches: every example once, in an order that the seed alone decides, gathered where the arrays are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyae.data import batch_count, batches
from tinyae.testing import strict_device

lengths = st.integers(1, 200)
sizes = st.integers(1, 250)
seeds = st.integers(0, 2**32 - 1)


@given(lengths, sizes, seeds)
def test_every_example_comes_once_and_rows_stay_together(n, size, seed):
    x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
    y = np.arange(n)
    seen = list(batches(x, y, batch_size=size, generator=np.random.default_rng(seed)))
    assert [len(b) for b, _ in seen] == [size] * (n // size) + [n % size] * (n % size > 0)
    assert sorted(np.concatenate([c for _, c in seen]).tolist()) == list(range(n))
    for b, c in seen:
        assert b.dtype == np.float32
        assert np.array_equal(b[:, 0], 3 * c)


@given(lengths, sizes, seeds)
def test_one_seed_one_order(n, size, seed):
    first, second = (
        [b.tolist() for b in batches(np.arange(n), batch_size=size, generator=np.random.default_rng(seed))]
        for _ in range(2)
    )
    assert first == second


@given(lengths, sizes, seeds)
def test_the_order_does_not_depend_on_the_batch_size(n, size, seed):
    order = np.random.default_rng(seed).permutation(n)
    got = np.concatenate(list(batches(np.arange(n), batch_size=size, generator=np.random.default_rng(seed))))
    assert np.array_equal(got, order)


@given(lengths, sizes)
def test_without_a_generator_the_order_is_kept_and_nothing_copied(n, size):
    x = np.arange(n)
    seen = list(batches(x, batch_size=size))
    assert np.array_equal(np.concatenate(seen), x)
    assert all(np.shares_memory(b, x) for b in seen)


@given(lengths, sizes, st.booleans())
def test_batch_count_is_the_number_of_batches(n, size, drop_last):
    full = [start for start in range(0, n, size) if start + size <= n or not drop_last]
    assert batch_count(n, size, drop_last) == len(full)
    if full:
        assert len(list(batches(np.zeros(n), batch_size=size, drop_last=drop_last))) == len(full)


def test_drop_last_leaves_only_whole_batches(rng):
    seen = list(batches(np.arange(10), batch_size=4, generator=rng, drop_last=True))
    assert [len(b) for b in seen] == [4, 4]
    assert len(np.unique(np.concatenate(seen))) == 8


def test_two_epochs_of_one_generator_differ(rng):
    x = np.arange(100)
    one, two = (np.concatenate(list(batches(x, batch_size=10, generator=rng))) for _ in range(2))
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, x)


def test_one_array_gives_arrays_several_give_tuples(rng):
    x = np.zeros((4, 2))
    assert isinstance(next(batches(x, batch_size=2)), np.ndarray)
    pair = next(batches(x, x, batch_size=2, generator=rng))
    assert isinstance(pair, tuple)
    assert len(pair) == 2


@pytest.mark.parametrize(("arrays", "arguments", "error", "says"), [
    ((), {"batch_size": 2}, ValueError, "no array"),
    ((np.zeros(0),), {"batch_size": 2}, ValueError, "no examples"),
    ((np.zeros(()),), {"batch_size": 2}, ValueError, "no examples"),
    ((np.zeros(3), np.zeros(4)), {"batch_size": 2}, ValueError, "equal length, got 3, 4"),
    ((np.zeros(3),), {"batch_size": 0}, ValueError, "at least 1, got 0"),
    ((np.zeros(3),), {"batch_size": -5}, ValueError, "at least 1, got -5"),
    ((np.zeros(3),), {"batch_size": 2.0}, TypeError, "whole number, got 2.0"),
    ((np.zeros(3),), {"batch_size": True}, TypeError, "whole number, got True"),
    ((np.zeros(3),), {"batch_size": 4, "drop_last": True}, ValueError, "leaves no batch: 3 examples"),
    ((np.zeros(3),), {"batch_size": 2, "generator": 7}, TypeError, r"default_rng\(seed\)"),
    (([1, 2, 3],), {"batch_size": 2}, TypeError, "expected an array, got list"),
])  # fmt: skip
def test_faulty_arguments_raise_at_the_call(arrays, arguments, error, says):
    with pytest.raises(error, match=says):
        batches(*arrays, **arguments)


def test_a_negative_number_of_examples_is_refused():
    with pytest.raises(ValueError, match="negative, got -1"):
        batch_count(-1, 2)


def test_on_every_device_the_permutation_is_sent_once_and_the_order_is_the_hosts(elsewhere):
    x = np.arange(50, dtype=np.float32).reshape(25, 2)
    moved = elsewhere.to_device(x)
    with strict_device().policy(forbid_float64=True) as account:
        there = list(batches(moved, moved, batch_size=4, generator=np.random.default_rng(1)))
    here = list(batches(x, x, batch_size=4, generator=np.random.default_rng(1)))
    assert (account.uploads, account.downloads) == ((1, 0) if elsewhere.name == "strict" else (0, 0))
    for ours, theirs in zip(there, here, strict=True):
        assert all(np.array_equal(elsewhere.to_host(t), h) for t, h in zip(ours, theirs, strict=True))


def test_arrays_of_two_devices_are_refused(elsewhere):
    with pytest.raises(TypeError, match="different devices"):
        batches(elsewhere.to_device(np.arange(3)), np.arange(3), batch_size=2)
