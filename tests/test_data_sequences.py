"""Sequences: padding, lengths that travel, windows of a series and their scaling, against loops that do one thing at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import data
from tinyae.data import Dataset, Scaler, Split, Timeline, cut_windows, pad, padding, rewindow, windows
from tinyae.data.formats import parse_ts

ragged = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(ragged, st.integers(1, 3), st.integers(0, 99))
def test_padded_sequences_come_back_whole(sizes, features, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal((n, features)) for n in sizes]
    x, lengths = pad(parts, np.float64)
    assert x.shape == (len(sizes), max(sizes), features)
    assert lengths.tolist() == sizes
    for row, length, part in zip(x, lengths, parts, strict=True):
        assert_array_equal(row[:length], part)
        assert not row[length:].any()
    assert padding(lengths, max(sizes)).tolist() == [[t >= n for t in range(max(sizes))] for n in sizes]


@pytest.mark.parametrize(("sequences", "says"), [
    ([], "no sequences"),
    ([[1.0], []], "sequence 1 has length 0"),
    ([np.zeros((2, 3)), np.zeros((2, 2))], "sequence 1 has 2 features, but sequence 0 has 3"),
    ([np.zeros((2, 3)), np.full((4, 3), np.nan)], "sequence 1 holds 12 values .* first at step 0, feature 0"),
    ([[0.0, 1.0, np.inf]], "sequence 0 holds 1 values .* step 2"),
    ([[[1.0], [2.0, 3.0]]], "unequal length.*tinyae.data.pad"),
    ([np.zeros((2, 3, 4))], r"shape \(2, 3, 4\)"),
    ([["a"]], "is not an array of numbers"),
    ([[0.0], [1.0, 1e39]], "sequence 1 holds 1 values that are too large for float32, the first at step 1"),
    ((values for values in []), "no sequences"),
])  # fmt: skip
def test_what_cannot_be_padded_is_named(sequences, says):
    with pytest.raises(ValueError, match=says):
        pad(sequences)


def ragged_split(rng, n=20, steps=7) -> Split:
    lengths = rng.integers(1, steps + 1, n)
    x, lengths = pad([rng.standard_normal((length, 2)) for length in [*lengths[:-1], steps]])
    return Split(x, np.arange(n) % 3, lengths)


def test_lengths_travel_with_the_examples(rng):
    split = ragged_split(rng)
    chosen = np.array([5, 0, 19])
    some = split.rows(chosen)
    assert_array_equal(some.x, split.x[chosen])
    assert_array_equal(some.lengths, split.lengths[chosen])
    assert_array_equal(some.y, split.y[chosen])
    assert len(split.rows(slice(3, 8))) == 5
    assert "lengths 1 to 7" in repr(split) or "lengths" in repr(split)
    whole = Dataset("a", "b", "sequences", split, some)
    assert whole.has_lengths
    assert f"lengths {split.lengths.min()} to 7" in repr(whole)
    assert Split(split.x).rows(slice(2)).lengths is None


@pytest.mark.parametrize(("shape", "lengths", "error", "says"), [
    ((2, 3, 1), [3, 2], TypeError, "array of whole numbers"),
    ((2, 3, 1), np.array([3.0, 2.0]), TypeError, "got float64"),
    ((2, 3, 1), np.array([3, 2, 1]), ValueError, r"shape \(3,\) for 2 sequences"),
    ((2, 3, 1), np.array([3, 0]), ValueError, "sequence 1 has length 0.*from 1 to 3"),
    ((2, 3, 1), np.array([4, 3]), ValueError, "sequence 0 has length 4.*from 1 to 3"),
    ((2, 3, 1), np.array([3, 2]), ValueError, "sequence 1 has length 2 but nonzero values after"),
    ((2, 3), np.array([1, 2]), ValueError, r"belong to sequences \(N, T, D\)"),
])  # fmt: skip
def test_faulty_lengths_are_refused(shape, lengths, error, says):
    with pytest.raises(error, match=says):
        Split(np.ones(shape, np.float32), None, lengths)


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 6), st.integers(0, 5), st.integers(1, 3))
def test_windows_are_what_a_loop_cuts(steps, length, stride, horizon, features):
    series = np.arange(steps * features, dtype=float).reshape(steps, features)
    expected = []
    start = 0
    while start + length + horizon <= steps:
        expected.append([series[start + t] for t in range(length + horizon)])
        start += stride
    if expected:
        assert_array_equal(cut_windows(series, length, stride=stride, horizon=horizon), np.array(expected))
    else:
        with pytest.raises(ValueError, match=r"does not fit|longer than"):
            cut_windows(series, length, stride=stride, horizon=horizon)


@pytest.mark.parametrize(("series", "arguments", "says"), [
    (np.arange(5.0), {"length": 2, "horizon": 5}, "horizon of 5 steps is longer than the series of 5 steps"),
    (np.arange(5.0), {"length": 4, "horizon": 2}, "window of 4 steps with a horizon of 2 does not fit"),
    (np.arange(5.0), {"length": 0}, "length must be a whole number of at least 1, got 0"),
    (np.arange(5.0), {"length": 2, "stride": 0}, "stride must be"),
    (np.arange(5.0), {"length": 2, "horizon": -1}, "horizon must be a whole number of at least 0"),
    (np.array([0.0, 1.0, np.nan]), {"length": 2}, "1 values that are NaN or infinite, the first at step 2"),
    (np.array([[0.0, 1.0], [2.0, -np.inf]]), {"length": 1}, "step 1, feature 1"),
    (np.zeros(0), {"length": 1}, "length 0"),
    (np.arange(5) * 1j, {"length": 1}, "complex numbers: pass real and imaginary part"),
    ([1.0, 2j], {"length": 1}, "complex numbers"),
    (np.ma.masked_greater(np.arange(5), 3), {"length": 1}, "1 values that are masked, the first at step 4, feature 0"),
    (np.ma.masked_equal([[1, 2], [3, 4]], 2), {"length": 1}, "masked, the first at step 0, feature 1"),
    ([[1.0, 2.0], [3.0]], {"length": 1}, "tinyae.data.pad"),
])  # fmt: skip
def test_what_cannot_be_cut_is_named(series, arguments, says):
    with pytest.raises(ValueError, match=says):
        cut_windows(series, **arguments)


@pytest.mark.parametrize("scaling", ["standard", "range", "none"])
def test_scaling_is_fitted_on_the_training_part_alone(rng, scaling):
    series = np.concatenate([rng.normal(5.0, 2.0, (60, 2)), rng.normal(-70.0, 30.0, (40, 2))])
    made = windows(series, 6, stride=3, horizon=2, train=60, scaling=scaling)
    part = series[:60]
    offset, scale = {
        "standard": (part.mean(axis=0), part.std(axis=0)),
        "range": (part.min(axis=0), part.max(axis=0) - part.min(axis=0)),
        "none": (np.zeros(2), np.ones(2)),
    }[scaling]
    for split, values, atol in ((made.train, part, 1e-6), (made.test, series[60:], 1e-5)):
        expected = cut_windows((values - offset) / scale, 6, stride=3, horizon=2)
        assert_allclose(split.x, expected, rtol=2e-6, atol=atol)
    assert (made.kind, made.horizon, made.example_shape) == ("series", 2, (8, 2))
    # And back: the first window of the test part, in the unit of the series.
    assert_allclose(made.scaler.inverse(made.test.x[0]), series[60:68], rtol=1e-5)


@pytest.mark.parametrize(("largest", "scaling", "says"), [
    (1e300, "standard", r"feature 0 of the training part reaches 1e\+300, too large"),
    (1.7e308, "range", r"feature 0 .* too large to scale"),
    (1e300, "none", r"too large for float32 after scaling 'none'"),
])  # fmt: skip
def test_values_that_no_scale_can_hold_are_refused(largest, scaling, says):
    with pytest.raises(ValueError, match=says):
        windows(np.tile([-largest, largest], 25), 5, scaling=scaling)
    assert np.isfinite(windows(np.arange(50.0) * 1e100, 5).train.x).all()


def test_one_step_cannot_be_divided(tmp_path):
    with pytest.raises(ValueError, match="a series of 1 step cannot be split: give at least two"):
        data.load_series(write(tmp_path / "a.csv", "v\n1\n"), 1)


def test_a_feature_that_never_changes_becomes_zero():
    series = np.stack([np.arange(10.0), np.full(10, 7.0)], axis=1)
    assert not Scaler.fit(series).apply(series)[:, 1].any()
    assert not Scaler.fit(series, "range").apply(series)[:, 1].any()
    assert Scaler.fit(series, "range").method == "minmax"  # its name in older runs
    with pytest.raises(ValueError, match="standard, robust, minmax, none"):
        Scaler.fit(series, "log")


@pytest.mark.parametrize(("arguments", "says"), [
    ({"train": 1.0}, "gives 10 of 10"),
    ({"train": 0}, "gives 0 of 10"),
    ({"train": 0.8}, r"does not fit into the test part \(2 steps\)"),
    ({"train": 2}, r"training part \(2 of 10 steps\)"),
])  # fmt: skip
def test_both_parts_must_hold_a_window(arguments, says):
    with pytest.raises(ValueError, match=says):
        windows(np.arange(10.0), 3, **arguments)


def test_a_recording_is_cut_anew():
    taxi = data.load("nyc-taxi")
    line = np.concatenate([taxi.train.x.ravel(), taxi.test.x.ravel()])
    made = rewindow(taxi, 96, stride=24, horizon=12)
    border = 121 * 48
    assert_allclose(made.train.x[5, :, 0], line[120 : 120 + 108], rtol=1e-6)
    assert_allclose(made.test.x[2, :, 0], line[border + 48 : border + 48 + 108], rtol=1e-6)
    assert (made.scale, made.unit) == (taxi.scale, taxi.unit)
    # The clock: every window is where it was cut, and the storm is where it was.
    for number, start in ((0, 0), (7, 7 * 24), (len(made.train), border), (len(made.train) + 3, border + 72)):
        expected = np.datetime64("2014-07-01T00:00") + np.timedelta64(30 * start, "m")
        assert np.datetime64(made.timeline.stamp(number).replace(" ", "T")) == expected
    storm = made.timeline.position("2015-01-24T20:30")
    begins = [made.timeline.begin(n) for n in range(len(made.train), len(made.train) + len(made.test))]
    seconds = (np.datetime64("2015-01-24T20:30") - np.datetime64("2014-07-01T00:00")) / np.timedelta64(1, "s")
    assert len(made.train) + np.searchsorted(begins, seconds, side="right") - 1 == int(storm)
    for other in (made, data.load("pendigits")):
        with pytest.raises(ValueError, match="cannot be cut again"):
            rewindow(other, 4)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


HOURS = "".join(f"2020-02-28 {hour:02}:00:00,{hour},{hour * hour}\n" for hour in range(24))


def test_a_csv_with_times(tmp_path):
    series = data.read_series(write(tmp_path / "a.csv", "when,a,b\n" + HOURS))
    assert series.names == ("a", "b")
    assert_array_equal(series.values, [[h, h * h] for h in range(24)])
    assert series.times[3] == np.datetime64("2020-02-28T03:00")
    assert series.timeline == Timeline("2020-02-28T00:00:00", 3600.0)
    made = data.load_series(tmp_path / "a.csv", 3, stride=1, horizon=1, train=16, scaling="none")
    assert_array_equal(made.train.x[4], [[h, h * h] for h in range(4, 8)])
    assert made.timeline.stamp(len(made.train)) == "2020-02-28 16:00"
    assert made.name == "a.csv"


def test_a_csv_without_times_or_names(tmp_path):
    series = data.read_series(write(tmp_path / "a.csv", "1,2\n3,4\n\n5,6\n"))
    assert series.times is None
    assert series.timeline is None
    assert_array_equal(series.values, [[1, 2], [3, 4], [5, 6]])


def test_a_column_of_seconds_is_named(tmp_path):
    path = write(tmp_path / "a.csv", "t,v\n0,5\n2,6\n4,7\n")
    assert len(data.read_series(path).names) == 2
    named = data.read_series(path, time="t")
    assert named.names == ("v",)
    assert named.timeline.window_seconds == 2.0
    for number in (0, "0"):
        assert_array_equal(data.read_series(path, time=number).values, named.values)
    assert named.timeline.stamp(2) == "00:00:04"
    unix = write(tmp_path / "b.csv", "t,v\n1404172800,5\n1404172860,6\n")
    assert data.read_series(unix, time="t").timeline.stamp(1) == "2014-07-01 00:01"
    dates = write(tmp_path / "c.csv", "t,v\n1970-01-01,5\n1970-01-02,6\n")
    assert data.read_series(dates).timeline.stamp(1) == "1970-01-02"


def test_the_names_of_columns_stay_with_the_windows(tmp_path):
    made = data.load_series(write(tmp_path / "a.csv", "when,a,b\n" + HOURS), 3, train=16)
    assert made.feature_names == rewindow(replace(made, timeline=None), 2).feature_names == ("a", "b")
    assert made.value_name == "standardized values"
    assert "standardized values, feature by feature" in repr(made)
    assert data.load("pendigits").feature_names == ("x", "y")
    with pytest.raises(ValueError, match="1 feature_names do not fit 2 features"):
        replace(made, feature_names=("a",))


def test_an_axis_says_how_values_were_shifted_and_scaled(rng):
    values = np.tile([-3.0, -1.0], 20)
    made = windows(values, 4, unit="temp")
    assert made.value_name == "(temp + 2) / 1"
    assert "0 is -2 and 1.0 is 1 more, in temp" in repr(made)
    made = windows(12_000 + 3.52686 * values, 4, unit="temp", scaling="range")
    assert made.value_name == "(temp - 11989) / 7.054"
    assert windows(values, 4, unit="temp", scaling="none").value_name == "temp"
    assert windows(np.stack([values, values], 1), 4, unit="temp", scaling="none").value_name == "temp"
    assert windows(np.stack([values, 2 * values], 1), 4, unit="temp").unit == "", "each feature has a scale of its own"
    assert rewindow(data.load("nyc-taxi"), 24).value_name == "passengers per half hour / 30000"
    taxi = rewindow(data.load("nyc-taxi"), 24, scaling="standard")
    offset, scale = taxi.scaler.offset[0], taxi.scaler.scale[0]
    assert taxi.value_name == f"(passengers per half hour - {offset:.0f}) / {scale:.0f}"


def test_what_was_scaled_twice_is_measured_as_before(rng):
    values = rng.normal(20.0, 3.0, (60, 2))
    made = rewindow(windows(values, 4, stride=4, train=40), 5, scaling="range")
    assert_allclose(made.measured(made.train.x[1]), values[5:10], rtol=1e-5)
    same = rewindow(windows(values, 4, stride=4, train=40), 5)
    assert_allclose(same.measured(same.test.x[0]), values[40:45], rtol=1e-5)
    assert same.value_name == "standardized values"


@pytest.mark.parametrize("offset", ["+02:00", "+0200", "+02", " +02:00"])
def test_times_with_an_offset_become_universal(offset, tmp_path, recwarn):
    rows = "".join(f"2020-02-28T{hour:02}:00:00.5{offset},{hour}\n" for hour in range(5))
    series = data.read_series(write(tmp_path / "a.csv", "when,a\n" + rows))
    assert series.times[3] == np.datetime64("2020-02-28T01:00:00.500")
    assert not recwarn.list


def test_a_recording_says_what_it_is(tmp_path):
    told = repr(data.read_series(write(tmp_path / "a.csv", "when,a,b\n" + HOURS)))
    assert "24 steps of 2" in told
    assert "a in [0, 23], b in [0, 529]" in told
    assert "2020-02-28 00:00:00 to 2020-02-28 23:00:00, one step every 3600 s" in told


def test_uneven_times_give_no_clock(tmp_path):
    path = write(tmp_path / "a.csv", "t,v\n0,5\n2,6\n9,7\n10,8\n11,9\n12,1\n")
    assert data.read_series(path, time="t").timeline is None
    assert "not evenly spaced" in data.load_series(path, 1, time="t").notes


@pytest.mark.parametrize(("text", "arguments", "says"), [
    ("t,v\n2020-01-01,1\n2020-01-02,\n", {}, "line 3, column 'v' holds nothing"),
    ("t,w\n2020-01-01,1\n2020-01-02,2\n2020-01-03,Oslo\n", {}, "column 'w' holds 'Oslo': this is text; remove the col"),
    ("t,v\n2020-01-02,1\n2020-01-01,2\n", {}, "line 3: the time 2020-01-01 is not later"),
    ("t,v\n2020-01-02,1\nsoon,2\n", {}, "line 3: 'soon' is not a time"),
    ("t,v\n2020-01-02,1\n2020-01-03 25:99,2\n", {}, "line 3: '2020-01-03 25:99' is not a time"),
    ("t,v\n1,1\n2,2\n", {"time": "when"}, "no column 'when': its columns are t, v"),
    ("t,v\n1,1\n2,2\n", {"time": 2}, "no column 2"),
    ("t\n2020-01-02\n2020-01-03\n", {}, "contains only times"),
])  # fmt: skip
def test_a_faulty_csv_is_refused_with_the_line(tmp_path, text, arguments, says):
    with pytest.raises(ValueError, match=says):
        data.read_series(write(tmp_path / "a.csv", text), **arguments)


def test_no_file_no_series(tmp_path):
    with pytest.raises(FileNotFoundError, match="check the path"):
        data.read_series(tmp_path / "none.csv")


def test_a_npz_brings_its_lengths(tmp_path, rng):
    split = ragged_split(rng)
    np.savez(tmp_path / "a.npz", x=split.x, y=split.y, lengths=split.lengths)
    read = data.load(tmp_path / "a.npz")
    for part in (read.train, read.test):
        assert_array_equal(part.lengths, split.lengths[part.ids])
        assert_array_equal(part.x, split.x[part.ids])
    np.savez(tmp_path / "b.npz", x=split.x, lengths=split.lengths + 1)
    with pytest.raises(ValueError, match=r"b\.npz: sequence .* has length 8"):
        data.load(tmp_path / "b.npz")


TS = """#comment
@problemName Toy
@timeStamps false
@classLabel true red blue
@data
1,2,3:4,5,6:blue
7:8:red
"""


def test_a_ts_file_holds_features_then_steps():
    x, y, lengths = parse_ts(TS, "toy.ts")
    assert_array_equal(x, [[[1, 4], [2, 5], [3, 6]], [[7, 8], [0, 0], [0, 0]]])
    assert (y.tolist(), lengths.tolist()) == ([1, 0], [3, 1])


@pytest.mark.parametrize(("old", "new", "says"), [
    ("7:8:red", "7:8:green", "line 7: class 'green'"),
    ("7:8:red", "7:8,9:red", "line 7: features of 1, 2 steps"),
    ("7:8:red", "7:?:red", "line 7: .*missing values"),
    ("@data\n", "", "before @data"),
    (TS, "@data\n", "no sequence"),
    ("@timeStamps false", "@timeStamps true", "time stamps"),
])  # fmt: skip
def test_a_faulty_ts_file_is_refused_with_the_line(old, new, says):
    with pytest.raises(ValueError, match=says):
        parse_ts(TS.replace(old, new), "toy.ts")
