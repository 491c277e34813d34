"""Pictures of sequences: what is drawn is what was given, frame by frame and step by step, and films are whole files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.test_plots import told, words
from tinyae import plots
from tinyae.plots import style


def lines(axes):
    return [np.column_stack(line.get_data()) for line in axes.lines]


def test_past_future_and_both_guesses_are_drawn_where_they_belong(rng):
    seen, future = rng.standard_normal((3, 5, 2)), rng.standard_normal((3, 4, 2))
    again, guess = rng.standard_normal((3, 5, 2)), rng.standard_normal((3, 4, 2))
    whole, made = np.concatenate([seen, future], axis=1), np.concatenate([again, guess], axis=1)
    errors = np.square(guess - future).sum(axis=(1, 2))
    figure = plots.vector_reconstructions(whole, made, seen=5, errors=errors, error_unit="x", labels=["a", "b", "c"])
    assert len(figure.axes) == 2 * 3
    for feature in range(2):
        for index, axes in enumerate(figure.axes[3 * feature : 3 * feature + 3]):
            truth, second, third, border = lines(axes)
            assert border[0, 0] == 5  # the dotted line, at the last step seen
            np.testing.assert_allclose(truth[:, 0], np.arange(1, 10))
            np.testing.assert_allclose(truth[:, 1], [*seen[index, :, feature], *future[index, :, feature]])
            np.testing.assert_allclose(second, np.column_stack([np.arange(1, 6), again[index, :, feature]]))
            np.testing.assert_allclose(third[:, 0], np.arange(5, 10))
            np.testing.assert_allclose(third[:, 1], [seen[index, -1, feature], *guess[index, :, feature]])
    written = words(figure)
    for index in range(3):
        assert any(np.isclose(float(word), errors[index], atol=0.01) for word in written if "." in word)
    assert {"a", "prediction", "reconstruction", "feature 2"} <= set(written)


def test_a_prediction_fills_half_a_panel(rng):
    x, unseen = rng.random((2, 54, 2)), np.arange(54)[:, None] >= 48
    for axes in plots.vector_reconstructions(x, np.where(unseen, x, np.nan), seen=48, errors=[1, 2]).axes:
        low, high = axes.get_xlim()
        assert 42 < low < 43  # six steps seen, and six predicted
        assert 54 < high < 55
        assert lines(axes)[1][:, 0].tolist() == list(range(48, 55))


def test_what_was_made_is_divided_at_a_border_of_its_own(rng):
    originals, made = rng.random((2, 6, 1)), rng.random((2, 6, 1))
    figure = plots.vector_reconstructions(originals, made, seen=[4, 2])
    for index, (axes, border) in enumerate(zip(figure.axes, (4, 2), strict=True)):
        _, past, future, dotted = lines(axes)
        np.testing.assert_allclose(past[:, 1], made[index, :border, 0])
        np.testing.assert_allclose(future[:, 1], [originals[index, border - 1, 0], *made[index, border:, 0]])
        assert (past[0, 0], future[0, 0], dotted[0, 0]) == (1, border, border)
    assert {"reconstruction", "prediction"} <= set(words(figure))


def test_a_past_that_was_not_made_has_no_line_and_no_word(rng):
    originals, made = rng.random((2, 6, 2)), rng.random((2, 6, 2))
    made[:, :4] = np.nan
    figure = plots.vector_reconstructions(originals, made, seen=4, errors=[1.5, 2.5])
    assert [len(axes.lines) for axes in figure.axes] == [3] * 4  # the truth, the prediction, the border
    assert "reconstruction" not in words(figure)
    assert {"1.50", "2.50", "prediction"} <= set(words(figure))
    strokes = plots.pen_strokes(originals, made, seen=4, errors=[1.5, 2.5])
    assert "reconstruction" not in words(strokes)
    assert {"1.50", "2.50", "prediction"} <= set(words(strokes))
    foreseen = np.column_stack(strokes.axes[0].lines[2].get_data())
    np.testing.assert_array_equal(foreseen, [originals[0, 3], *made[0, 4:]])


def test_a_single_panel_has_room_for_its_legend(rng):
    x = rng.random((1, 6, 3))
    names = ["temperature", "pressure", "relative humidity in a column with a very long name"]
    figure = plots.vector_reconstructions(x, x, seen=4, feature_names=names)
    many = plots.vector_reconstructions(x.repeat(2, axis=0), x.repeat(2, axis=0), seen=4, feature_names=names)
    legend = figure.axes[0].get_legend()
    assert legend._ncols > 1
    wide, narrow = (one.axes[0].get_position().width * one.get_figwidth() for one in (figure, many))
    assert wide > narrow
    figure.canvas.draw()
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert any(word.startswith("relative hum") and word.endswith("…") for word in words(figure))


def test_strokes_end_at_their_length_and_keep_their_scale(rng):
    strokes, again = rng.random((4, 6, 2)), rng.random((4, 6, 2))
    figure = plots.pen_strokes(strokes, again, lengths=[6, 3, 1, 5], labels=list("abcd"), count=3)
    assert len(figure.axes) == 3
    for index, (axes, end) in enumerate(zip(figure.axes, (6, 3, 1), strict=True)):
        truth, guess, ring = lines(axes)
        np.testing.assert_array_equal(truth, strokes[index, :end])
        np.testing.assert_array_equal(guess, again[index, :end])
        np.testing.assert_array_equal(ring[0], strokes[index, 0])
        error = ((again - strokes)[index, :end] ** 2).sum()
        assert any(np.isclose(float(word), error, atol=1e-3) for word in words(figure) if "." in word[:2])
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    assert "prediction" not in words(figure)


def test_strokes_of_unequal_length_have_a_border_each(rng):
    strokes, again = rng.random((2, 6, 2)), rng.random((2, 6, 2))
    figure = plots.pen_strokes(strokes, again, lengths=[6, 3], seen=np.array([4, 1]))
    for index, (axes, border, end) in enumerate(zip(figure.axes, (4, 1), (6, 3), strict=True)):
        _, known, foreseen, _ = lines(axes)
        assert axes.lines[1].get_color() != axes.lines[2].get_color()
        np.testing.assert_array_equal(known, again[index, :border])
        np.testing.assert_array_equal(foreseen, again[index, border - 1 : end])


def films(rng, count=3, frames=4):
    truth, guess = rng.random((count, frames, 5, 6)), rng.random((count, frames, 5, 6))
    guess[:, :2] = np.nan
    return {"truth": truth, "prediction": guess}


def test_strips_show_every_frame_but_the_empty_ones(rng):
    rows = films(rng)
    figure = plots.frame_strips(rows, seen=2, count=2)
    shown = [image.get_array() for image in figure.axes[0].images]
    expected = [frame for film in range(2) for name in rows for frame in rows[name][film] if not np.isnan(frame).all()]
    assert len(shown) == len(expected) == 2 * (4 + 2)
    for tile, frame in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(tile, frame)
    lefts, _, _, tops = np.array([image.get_extent() for image in figure.axes[0].images]).round(9).T
    assert tops[0] == tops[3] < tops[4] == tops[5] < tops[6]
    assert tops[6] - tops[4] > tops[4] - tops[0]  # more room between films than between the rows of one
    assert lefts[4] == lefts[2]  # the third frame of both rows, below each other
    assert {"truth", "prediction", "4"} <= set(words(figure))


def test_films_have_words_and_errors_beside_them(rng):
    figure = plots.frame_strips(films(rng), labels=["a", "b", "c"], errors=[1.25, 2.25, 3.25], count=2)
    assert {"truth\na", "truth\nb", "prediction\n1.25", "prediction\n2.25"} <= set(words(figure))
    assert "truth\nc" not in words(figure)
    assert "squared error" in told(figure)


def test_a_film_is_a_gif_of_all_frames(rng, tmp_path):
    image = pytest.importorskip("PIL.Image")
    rows = films(rng)
    path = plots.save_film(rows, tmp_path / "film.gif", seen=2, count=2, milliseconds=100)
    with image.open(path) as film:
        assert film.n_frames == 4
        assert film.info["duration"] == 100
        assert film.info["loop"] == 0
        pictures = []
        for frame in range(4):
            film.seek(frame)
            pictures.append(np.asarray(film.convert("L"), float))
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(pictures))
    again = plots.save_film(rows, tmp_path / "again.gif", seen=2, count=2, milliseconds=100)
    assert again.read_bytes() == path.read_bytes()
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["again.gif", "film.gif"]


def test_a_film_that_fails_leaves_what_was_there(rng, tmp_path):
    path = tmp_path / "film.gif"
    path.write_bytes(b"before")

    def show(frame):
        if frame == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plots.save_animation(style.panels(1, 1, 50, 50)[0], 3, show, path)
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("name", "frames", "pause", "says"), [
    ("a.png", 2, 100, "saved as .gif"), ("a.gif", 0, 100, "needs at least one frame"), ("a.gif", 2, 1, "10 ms"),
])  # fmt: skip
def test_what_is_no_film_is_refused(tmp_path, name, frames, pause, says):
    figure = style.panels(1, 1, 50, 50)[0]
    with pytest.raises(ValueError, match=says):
        plots.save_animation(figure, frames, lambda _: None, tmp_path / name, milliseconds=pause)


def test_norms_per_step_are_lines_and_zeros_are_counted():
    figure = plots.step_norms({"before": np.array([1.0, 0.1, 0.0]), "after": np.array([1.0, 0.5, 0.2])}, unit="norm")
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    first, second = (line.get_ydata() for line in axes.lines)
    np.testing.assert_array_equal(first, [1.0, 0.1, np.nan])
    np.testing.assert_array_equal(second, [1.0, 0.5, 0.2])
    assert "before: 1 step 0 or not finite." in told(figure)
    figure.canvas.draw()
    assert all("$" not in tick.get_text() for tick in axes.get_yticklabels())


@pytest.mark.parametrize("row", [[0.09, 0.05, 0.02], [1.0, 1.1, 1.2], [1.0, 0.02], [1.0, 1e-5], [0.0, np.nan]])
def test_the_scale_of_norms_has_a_few_plain_numbers_however_wide_it_is(row):
    figure = plots.step_norms({"a": np.array(row)})
    (axes,) = figure.axes
    figure.canvas.draw()
    low, high = axes.get_ylim()
    ticks = [(place, label.get_text()) for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)]
    seen = [text for place, text in ticks if low <= place <= high]
    assert 1 <= len(seen) <= 10
    assert all(float(text) > 0 for text in seen)
    assert not any(label.get_text() for label in axes.get_yticklabels(minor=True))


def test_the_recording_lies_below_its_scores(rng):
    recording = rng.random((6, 4, 1))
    scores = np.array([0.1, 0.9, 0.1, 0.1, 0.9, 0.1])
    figure = plots.score_timeline(scores, 0.5, recording=recording, value_name="volts")
    (above,) = figure.axes
    (below,) = above.child_axes
    assert above.get_xlim() == below.get_xlim() == (0, 6)
    whole, flagged = below.lines
    np.testing.assert_array_equal(whole.get_ydata(), recording.ravel())
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(flagged.get_ydata())), [4, 5, 6, 7, 16, 17, 18, 19])
    assert "volts" in words(figure)


def test_no_line_crosses_a_gap_of_the_recording(rng):
    recording = rng.random((6, 4))
    scores = np.array([0.1, 0.9, 0.9, 0.1, 0.9, 0.1])
    (above,) = plots.score_timeline(scores, 0.5, recording=recording, breaks=[2, 5]).axes
    (below,) = above.child_axes
    whole, flagged = (line.get_ydata() for line in below.lines)
    assert np.flatnonzero(np.isnan(whole)).tolist() == [8, 21]
    np.testing.assert_array_equal(whole[np.isfinite(whole)], recording.ravel())
    np.testing.assert_array_equal(flagged[np.isfinite(flagged)], recording[[1, 2, 4]].ravel())
    across = below.lines[0].get_xdata()
    np.testing.assert_array_equal(np.delete(across, [8, 21]), np.arange(24) / 4)
