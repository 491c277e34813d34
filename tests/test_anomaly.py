"""Anomaly scores and retrieval: against loops, and end to end on the taxi days with their published incidents."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import data, fit, models, nn, optim, plots
from tinyae.data import Incident, Timeline
from tinyae.models import AnomalyDetector, Autoencoder, CodeNeighbors, basic_autoencoder


@pytest.fixture
def model(rng) -> Autoencoder:
    return basic_autoencoder((3, 2), 2, loss="squared_error", generator=rng).eval()


def test_a_score_is_the_squared_error_of_one_sample(model, rng):
    x = rng.normal(size=(5, 3, 2)).astype("float32")
    expected = [float(((sample - model.reconstruct(sample[None])[0]) ** 2).sum()) for sample in x]
    assert_allclose(AnomalyDetector(model).score(x), expected, rtol=1e-5)


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_the_threshold_is_a_quantile_of_the_training_scores(quantile, model, rng):
    x = rng.normal(size=(200, 3, 2)).astype("float32")
    detector = AnomalyDetector(model, quantile).fit(x)
    ordered = np.sort(detector.score(x))
    expected = np.interp(quantile * 199, np.arange(200), ordered)
    assert detector.threshold == pytest.approx(expected)
    assert abs(detector.flag(x).mean() - (1 - quantile)) <= 1 / 200


def test_taxi_days_of_the_published_incidents_are_flagged():
    taxi = data.load("nyc-taxi")
    options = {"activation": "tanh", "loss": "squared_error", "generator": np.random.default_rng(0)}
    model = models.deep_autoencoder(taxi.example_shape, [24, 4], **options)
    fit(model, taxi, epochs=150, batch_size=16, optimizer=optim.Adam(model.parameters(), lr=3e-3), progress=False)
    detector = AnomalyDetector(model, 0.99).fit(taxi.train.x)
    windows = len(taxi.train) + np.flatnonzero(detector.flag(taxi.test.x))
    met = {name for window in windows for name in taxi.timeline.incidents_in(int(window))}
    assert {"marathon", "Christmas", "New Year", "snow storm"} <= met
    assert len(windows) < len(taxi.test) / 3


COUNTED = Timeline("1970-01-01T00:00:00", 30, counted=True)
TAXI = data.load("nyc-taxi").timeline
SEAM = Timeline("2000-01-01T00:00:00", 10).of_windows(4, 2, 3, 9)  # windows at 0, 20, 40; the test part from 90 on


@pytest.mark.parametrize(("line", "stamps"), [
    (Timeline("2014-07-01T00:00", 86_400), {2: "2014-07-03"}),
    (Timeline("1970-01-01T00:00:00", 30), {3: "1970-01-01 00:01:30"}),
    (COUNTED, {0: "00:00:00", 3: "00:01:30", 121: "01:00:30", 12_000: "100:00:00"}),  # the time since its start
    (COUNTED.finer(4), {3: "00:00:22.500"}),
    (Timeline("2020-01-01T00:00:00", 3600).of_windows(24, 24, 3, 77), {2: "2020-01-03 00:00", 3: "2020-01-04 05:00"}),
    (data.load("ecg208").timeline, {247: "00:04:07"}),
    (data.rewindow(data.load("ecg208"), 180, stride=90).timeline, {3: "00:00:00.750"}),
    (TAXI, {121: "2014-10-30", 214: "2015-01-31"}),  # the first and the last day of its test part
])  # fmt: skip
def test_the_beginning_of_a_window_is_stamped(line, stamps):
    assert {n: line.stamp(n) for n in stamps} == stamps


def test_a_timeline_knows_days_and_what_happened_on_them():
    line = Timeline("2014-07-01T00:00", 86_400, (Incident("feast", "2014-07-02T12:00", "2014-07-04T00:00"),))
    assert line.position("2014-07-02T12:00") == 1.5
    assert line.spans() == [("feast", 1.5, 3.0)]
    assert [line.incidents_in(day) for day in range(4)] == [[], ["feast"], ["feast"], []]
    assert all(first >= 121 for _, first, _ in TAXI.spans())
    assert data.load("optdigits").timeline is None
    assert [SEAM.begin(n) for n in range(5)] == [0, 20, 40, 90, 110]
    assert [SEAM.position(f"2000-01-01T00:0{time}") for time in ("0:50", "1:20", "1:40")] == [2.5, 3, 3.5]


def test_nearest_is_what_a_loop_finds(rng):
    points, queries = rng.normal(size=(40, 3)), rng.normal(size=(7, 3))
    indices, distances = models.nearest(points, queries, 5)
    for query, found, lengths in zip(queries, indices, distances, strict=True):
        every = np.sqrt(((points - query) ** 2).sum(axis=1))
        assert_array_equal(found, np.argsort(every)[:5])
        assert_allclose(lengths, np.sort(every)[:5])


def test_neighbors_are_searched_among_codes(rng):
    first = nn.Dense(2, 1, generator=rng)
    first.weight.data[...] = [[1.0], [0.0]]  # the code is the first number, whatever the second
    model = Autoencoder(first, nn.Dense(1, 2, generator=rng), loss="squared_error")
    x = np.array([[0.0, 9.0], [1.0, 0.0], [5.0, 0.0]], "float32")
    indices, distances = CodeNeighbors(model).fit(x).query(np.array([[0.1, 0.0]], "float32"), 2)
    assert_array_equal(indices, [[0, 1]])
    assert_allclose(distances, [[0.1, 0.9]], rtol=1e-5)


def test_the_share_of_the_same_class():
    assert models.same_class_share(np.array([0, 0, 1]), np.array([0, 1]), np.array([[0, 1], [0, 2]])) == 0.75


def test_the_timeline_picture_shows_scores_threshold_and_incidents(rng):
    scores = rng.uniform(0.1, 1.0, 30)
    spans, stamps = [("feast", 12.0, 14.5)], list(map(str, range(30)))
    figure = plots.score_timeline(scores, 0.7, train=10, spans=spans, stamps=stamps)
    (axes,) = figure.axes
    heights = sorted(patch.get_height() for patch in axes.patches if patch.get_width() == pytest.approx(0.9))
    assert_allclose(heights, np.sort(scores))
    assert "feast" in [text.get_text() for text in axes.texts]


def test_many_scores_are_drawn_as_one_outline_for_each_kind(rng):
    scores = rng.uniform(0.1, 1.0, 1000)
    (axes,) = plots.score_timeline(scores, 0.7, train=600).axes
    early, high = np.arange(1000) < 600, scores > 0.7
    drawn = [patch.get_data().values for patch in axes.patches]
    assert_array_equal(drawn, [np.where(kind, scores, 0.0) for kind in (~high & ~early, ~high & early)])
    (flagged,) = axes.collections
    assert_allclose([segment[1] for segment in flagged.get_segments()], np.c_[np.arange(1000) + 0.5, scores][high])


def test_the_commands(tmp_path, tinyae, refused):
    tinyae("train basic --data nyc-taxi --loss squared_error --epochs 2 --out taxi")
    assert "known incidents detected:" in tinyae("anomalies taxi --quantile 0.9")
    assert (tmp_path / "taxi" / "anomalies.png").exists()
    told = tinyae("neighbors taxi --count 2")
    assert re.search(r"test window 20\d\d-\d\d-\d\d: training windows 20\d\d-\d\d-\d\d, 20", told)
    assert "--out is for a picture, and nyc-taxi has no images" in refused("neighbors taxi --out made.png")
    assert "no picture: nyc-taxi has no images" in told
    assert "error: --quantile must lie between 0 and 1" in refused("anomalies taxi --quantile 2")
    tinyae("train basic --data optdigits --epochs 2 --out taxi --force")
    assert "have the same class" in tinyae("neighbors taxi --count 3")
    assert (tmp_path / "taxi" / "neighbors.png").exists()
    tinyae("anomalies taxi")
    assert "error: --count must lie between 1 and the 3823" in refused("neighbors taxi --count 9999")
