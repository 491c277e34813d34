"""Films of moving digits against the loops of the authors' program, written out one pixel at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import data
from tinyae.data import Dataset, Split, moving_digits
from tinyae.data.moving import moving_frames, resample, trajectories


def images(rng, count=5, height=4, width=3, classes=3) -> Split:
    return Split(rng.random((count, height, width, 1)).astype(np.float32), np.arange(count) % classes)


def source(rng) -> Dataset:
    return Dataset("toys", "toys", "images", images(rng), images(rng), class_names=("a", "b", "c"))


@given(st.integers(1, 5), st.integers(1, 30), st.floats(0.01, 0.9), st.integers(0, 999))
def test_points_go_straight_on_and_bounce(count, frames, step, seed):
    found = trajectories(count, frames, np.random.default_rng(seed), step=step)
    rng = np.random.default_rng(seed)
    starts, angles = rng.random((count, 2)), 2 * math.pi * rng.random(count)
    for n in range(count):
        at, speed = [*starts[n]], [math.sin(angles[n]), math.cos(angles[n])]
        for frame in range(frames):
            for axis in range(2):
                at[axis] += speed[axis] * step
                if at[axis] <= 0 or at[axis] >= 1:
                    at[axis], speed[axis] = float(at[axis] >= 1), -speed[axis]
            assert_allclose(found[n, frame], at, atol=1e-9)


def test_frames_hold_the_largest_value_at_every_pixel(rng):
    pictures = rng.random((4, 3, 2))
    which = rng.integers(0, 4, (6, 2))
    places = rng.random((6, 2, 5, 2))
    places[0, 0, 0] = 1.0  # the far corner is still inside
    films = moving_frames(pictures, which, 7, places)
    for film in range(6):
        for frame in range(5):
            expected = np.zeros((7, 7), np.float32)
            for digit in range(2):
                top, left = int((7 - 3) * places[film, digit, frame, 0]), int((7 - 2) * places[film, digit, frame, 1])
                for i in range(3):
                    for j in range(2):
                        value = np.float32(pictures[which[film, digit], i, j])
                        expected[top + i, left + j] = max(expected[top + i, left + j], value)
            assert_array_equal(films[film, frame], expected)


def test_one_seed_one_film_and_another_seed_another(rng):
    toys = source(rng)
    first, again, other = (moving_digits(toys, (6, 3), size=8, seed=seed) for seed in (1, 1, 2))
    assert_array_equal(first.train.x, again.train.x)
    assert_array_equal(first.test.x, again.test.x)
    assert not np.array_equal(first.train.x, other.train.x)


def test_a_film_shows_images_of_its_own_part_and_keeps_their_class(rng):
    toys = source(rng)
    made = moving_digits(toys, (12, 7), frames=6, size=9, digits=1)
    assert (made.kind, made.horizon, made.frame_shape, made.name) == ("sequences", 3, (9, 9), "moving-toys")
    for split, own in ((made.train, toys.train), (made.test, toys.test)):
        for film, label in zip(split.x.reshape(-1, 6, 9, 9), split.y, strict=True):
            for frame in film:
                rows, columns = np.nonzero(frame)
                shown = frame[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                match = [n for n, image in enumerate(own.x[..., 0]) if np.array_equal(image, shown)]
                assert [own.y[n] for n in match] == [label]


def test_two_digits_have_no_class(rng):
    made = moving_digits(source(rng), (4, 2), digits=2, size=9)
    assert made.train.y is None
    assert made.class_names == ()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(0, 99))
def test_resampling_is_the_mean_of_the_area(height, width, size, seed):
    pictures = np.random.default_rng(seed).random((2, height, width))
    found = resample(pictures, size)
    shrink = size / max(height, width)
    new_height, new_width = max(1, round(height * shrink)), max(1, round(width * shrink))
    assert found.shape == (2, new_height, new_width)
    # A grid so fine that every old and every new edge lies on it: each new pixel is the mean of its part of the grid.
    fine = np.repeat(np.repeat(pictures, new_height, axis=1), new_width, axis=2)
    expected = fine.reshape(2, new_height, height, new_width, width).mean(axis=(2, 4))
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_embedded_sets_move():
    made = moving_digits(data.load("fashion-mini"), (3, 2), frames=4, size=20, digit_size=14)
    assert made.train.x.shape == (3, 4, 400)
    assert made.train.x.max() <= 1.0
    films = data.load("moving-digits")
    assert (films.horizon, films.frame_shape) == (5, (32, 32))
    assert films.has_labels


@pytest.mark.parametrize(("arguments", "says"), [
    ({"size": 3}, "images of 4 x 3 do not fit a canvas of 3 x 3"),
    ({"frames": 0}, "frames must be a whole number of at least 1"),
    ({"digits": 0}, "digits must be a whole number of at least 1"),
    ({"counts": (0, 1)}, "counts must be a whole number of at least 1"),
    ({"digit_size": 0}, "digit_size must be a whole number of at least 1, got 0"),
    ({"digit_size": -1}, "digit_size must be a whole number of at least 1, got -1"),
    ({"step": -1}, r"step must be from 0 .* got -1"),
    ({"step": 1e9}, r"step must be from 0 .* got 1000000000"),
    ({"step": float("nan")}, r"step must be from 0 .* got nan"),
    ({"frames": 4, "horizon": 4}, "horizon of 4 frames does not fit into films of 4"),
])  # fmt: skip
def test_what_cannot_be_filmed_is_refused(rng, arguments, says):
    with pytest.raises(ValueError, match=says):
        moving_digits(source(rng), **{"counts": (2, 2), "size": 9, **arguments})


def test_only_gray_images_move():
    with pytest.raises(ValueError, match="pendigits has no gray images"):
        moving_digits(data.load("pendigits"))
