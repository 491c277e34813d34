"""Pictures: what is in a figure, that no value is changed or hidden on its way, and that files are whole.

The figures are read back through matplotlib's own objects and, where pixels matter, from the saved PNG.
"""

from __future__ import annotations

import inspect
import itertools
import traceback

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text
from PIL import Image
from scipy import stats

from tinyae import Tensor, plots
from tinyae.plots import style
from tinyae.plots.codes import principal_components
from tinyae.plots.style import colormap_named
from tinyae.training import History
from tinyae.training.pictures import draw_curves


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def texts(figure):
    """All text of a figure that is drawn: titles, legends, labels; matplotlib also keeps ticks beyond the view."""
    ticks, drawn = set(), []
    for axis in [axis for axes in figure.findobj(Axes) for axis in (axes.xaxis, axes.yaxis)]:
        places = [*axis.get_ticklocs(), *axis.get_ticklocs(minor=True)]
        low, high = sorted(axis.get_view_interval())
        for place, tick in zip(places, [*axis.get_major_ticks(), *axis.get_minor_ticks()], strict=True):
            ticks |= {tick.label1, tick.label2}
            drawn += [label for label in (tick.label1, tick.label2) if low - 1e-9 <= place <= high + 1e-9]
    others = [text for text in figure.findobj(Text) if text not in ticks]
    return [text for text in [*others, *drawn] if text.get_visible() and text.get_text()]


def words(figure):
    return [text.get_text() for text in texts(figure)]


def told(figure):
    """All text as one line."""
    return " ".join(" ".join(words(figure)).split())


def tiles(figure):
    return [image.get_array() for image in figure.axes[0].images]


def rows_of(epochs, **metrics):
    return [{"epoch": epoch, **{name: f(epoch) for name, f in metrics.items()}} for epoch in epochs]


@pytest.mark.parametrize("layout", ["NHWC", "NHW"])
def test_image_grid_shows_every_image_in_reading_order(rng, layout):
    images = rng.random((7, 6, 5))
    figure = plots.image_grid({"NHWC": images[..., None], "NHW": images}[layout], columns=3)
    assert len(figure.axes) == 1
    np.testing.assert_array_equal(np.stack(tiles(figure)), images)
    left, _, _, top = np.array([image.get_extent() for image in figure.axes[0].images]).round(9).T
    assert len(set(left[[0, 3, 6]])) == 1
    assert left[0] < left[1] < left[2]
    assert top[0] == top[1] == top[2] < top[3] == top[5] < top[6]


def test_color_images_keep_their_colors_and_mark_nan(rng):
    images = rng.random((2, 4, 4, 3)).astype(np.float32)
    images[1, 2, 3, 0] = np.nan
    first, second = tiles(plots.image_grid(images))
    np.testing.assert_allclose(first, images[0], atol=1e-7)
    np.testing.assert_allclose(second[2, 3], matplotlib.colors.to_rgb(style.NOT_FINITE))
    np.testing.assert_allclose(second[0], images[1, 0], atol=1e-7)


def test_usage_bars_are_shares_and_count_the_dead():
    figure = plots.usage_bars(np.array([1, 0, 3]))
    axes = figure.axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], [75.0, 25.0, 0.0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "0", "1"]
    assert "1 of 3 are dead" in told(figure)


def test_kl_bars_stand_from_the_largest_to_the_smallest():
    figure = plots.kl_bars(np.array([0.1, 2.0, 0.0]), np.array([True, True, False]), unit="nats per image")
    axes = figure.axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], [2.0, 0.1, 0.0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "0", "2"]
    assert "2.1 in all" in told(figure)


def test_the_aggregate_posterior_is_the_mixture_and_the_line_the_prior():
    means, log_variances = np.array([[-1.0], [1.0]]), np.log(np.array([[0.25], [0.04]]))
    figure = plots.aggregate_posterior(means, log_variances)
    axes = figure.axes[0]
    z, prior = axes.lines[0].get_data()
    np.testing.assert_allclose(prior, stats.norm.pdf(z), rtol=1e-9)
    outline = axes.collections[0].get_paths()[0].vertices
    mixture = 0.5 * (stats.norm.pdf(z, -1, 0.5) + stats.norm.pdf(z, 1, 0.2))
    assert outline[:, 1].max() == pytest.approx(mixture.max(), rel=1e-3)


def test_the_plane_of_codes_is_put_together_in_reading_order(rng):
    images = rng.random((4, 2, 3, 1))
    figure = plots.code_plane(images, np.array([-1.0, 1.0]))
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown[:2, :3], images[0, ..., 0])
    np.testing.assert_allclose(shown[:2, 3:], images[1, ..., 0])
    np.testing.assert_allclose(shown[2:, :3], images[2, ..., 0])


@pytest.mark.parametrize(("dpi", "height", "width"), [(144, 28, 28), (288, 28, 28), (144, 9, 7), (144, 13, 3)])
def test_saved_pixels_are_exact_blocks(rng, tmp_path, dpi, height, width):
    images = rng.integers(0, 256, (6, height, width), dtype=np.uint8)
    figure = plots.image_grid(images, value_range=(0, 255), columns=3, titles=list("abcdef"))
    page = np.asarray(Image.open(plots.save_figure(figure, tmp_path / "a.png", dpi=dpi)).convert("RGB"))
    for image, pixels in zip(figure.axes[0].images, images, strict=True):
        left, bottom, right, top = (round(side * dpi / 144) for side in image.get_window_extent().extents)
        bottom, top = len(page) - bottom, len(page) - top
        zoom = (right - left) // width
        assert (right - left, bottom - top) == (width * zoom, height * zoom)
        assert zoom >= 4
        drawn = page[top:bottom, left:right]
        corners = drawn[::zoom, ::zoom]
        np.testing.assert_array_equal(drawn, corners.repeat(zoom, axis=0).repeat(zoom, axis=1))
        # matplotlib's own step from fraction to byte may round down by one.
        assert np.abs(corners.astype(int) - pixels[..., None]).max() <= 1


def test_reconstructions_rows_errors_and_labels(rng):
    originals, reconstructed = rng.random((2, 12, 8, 8, 1))
    figure = plots.reconstructions(originals, reconstructed, labels=[f"class {n}" for n in range(12)], count=5)
    shown = tiles(figure)
    assert len(shown) == 3 * 5
    left, _, _, top = np.array([image.get_extent() for image in figure.axes[0].images]).round(9).T
    text = words(figure)
    for column, x in enumerate(sorted(set(left))):
        first, second = originals[column, ..., 0], reconstructed[column, ..., 0]
        here = sorted(np.flatnonzero(left == x), key=lambda n: top[n])
        for place, pixels in zip(here, [first, second, np.abs(first - second)], strict=True):
            np.testing.assert_allclose(shown[place], pixels, atol=1e-12)
        assert {f"{((first - second) ** 2).sum():.1f}", f"class {column}"} <= set(text)
    assert "class 5" not in text
    assert {"original", "reconstruction", "absolute\ndifference", "squared error per image"} <= set(text)


def test_values_that_cannot_be_shown_are_marked_and_counted(rng):
    images = rng.random((2, 4, 4)) * 0.9
    images[0, 0, 0], images[0, 1, 1], images[1, 2, 2] = np.nan, np.inf, 1.5
    figure = plots.image_grid(images)
    assert np.ma.getmaskarray(tiles(figure)[0]).sum() == 2
    note = told(figure)
    assert "2 values not finite" in note
    assert "1 value beyond the scale" in note


@pytest.mark.parametrize("channels", [1, 3])
def test_directions_stand_beside_their_image_each_on_its_own_scale(rng, channels):
    images, changes = rng.random((2, 6, 5, channels)), rng.normal(size=(2, 3, 6, 5, channels))
    strengths = np.array([[3.0, 2.0, 1.0], [0.5, 0.25, 0.0]])
    figure = plots.directions(images, changes, strengths, word="nothing")
    drawn = figure.axes[0].images
    for row in range(2):
        np.testing.assert_allclose(np.squeeze(drawn[4 * row].get_array()), np.squeeze(images[row]))
        for place in range(3):
            tile, change = drawn[4 * row + 1 + place], changes[row, place].mean(axis=-1)
            np.testing.assert_allclose(tile.get_array(), change)
            np.testing.assert_allclose(tile.get_clim(), np.array([-1, 1]) * np.abs(change).max())
    assert {"3", "2", "1", "0.5", "0.25", "0"} <= set(words(figure))
    assert "The numbers are nothing." in told(figure)


def test_vectors_are_drawn_beside_their_reconstructions(rng):
    originals, reconstructed = rng.random((2, 8, 10))
    figure = plots.vector_reconstructions(originals, reconstructed, count=5, value_name="passengers")
    assert len(figure.axes) == 5
    for index, axes in enumerate(figure.axes):
        first, second = axes.lines
        np.testing.assert_array_equal(first.get_ydata(), originals[index])
        np.testing.assert_array_equal(second.get_ydata(), reconstructed[index])
        assert axes.get_ylim() == figure.axes[0].get_ylim()
        assert f"{((originals[index] - reconstructed[index]) ** 2).sum():.3g}" in words(figure)
    assert "passengers" in words(figure)


def test_sequences_show_features_and_stop_where_the_original_stops(rng):
    originals, reconstructed = rng.random((2, 3, 6, 2))
    originals[1, 4:] = np.nan
    figure = plots.vector_reconstructions(originals, reconstructed, feature_names=["x", "y"])
    assert {"original", "reconstruction", "x", "y"} <= set(words(figure))
    assert len(figure.axes) == 2 * 3
    for feature, axes in enumerate((figure.axes[1], figure.axes[4])):
        for line, values in zip(axes.lines, (originals, reconstructed), strict=True):
            np.testing.assert_array_equal(line.get_ydata()[:4], values[1, :4, feature])
            assert np.isnan(line.get_ydata()[4:]).all()
    expected = ((originals[1, :4] - reconstructed[1, :4]) ** 2).sum()
    assert f"{expected:.2f}" in words(figure)


def test_of_many_features_those_with_the_largest_relative_errors_are_drawn(rng):
    originals = rng.random((2, 9, 10)) * np.array([1e4, *[1.0] * 9])
    errors = np.array([5.0, 0.1, 0.1, 0.0, *[0.1] * 6])  # the largest is small beside the spread of its feature
    drawn = words(plots.vector_reconstructions(originals, originals + errors))
    assert {n for n in range(10) if f"feature {n + 1}" in drawn} == set(range(10)) - {0, 3}


def test_numbers_beside_each_other_have_the_same_decimals():
    assert style.aligned([1910.26, 4.5, 6.011, 0.0, np.nan]) == ["1,910.26", "4.50", "6.01", "0.00", "nan"]
    assert style.aligned([2e7, 1.0]) == ["2e+07", "1"]


def test_a_class_without_samples_has_no_share_and_many_classes_a_small_picture():
    shares = [text.get_text() for text in plots.confusion(np.diag([3, 0, 5])).axes[0].texts][-3:]
    assert shares == ["100.0%", "\N{EN DASH}", "100.0%"]
    assert plots.confusion(np.eye(40, dtype=int), ["a class with a long name"] * 40).get_figwidth() * style.DPI < 1500


def test_one_panel_for_each_unit():
    rows = rows_of(
        range(1, 6),
        train_loss=lambda e: 5 / e,
        validation_loss=lambda e: (e - 3) ** 2 + 1.0,
        squared_error_per_image=lambda e: 20 - e,
    )
    figure = plots.loss_curves(rows, units={"train_loss": "nats per image", "validation_loss": "nats per image"})
    assert len(figure.axes) == 2
    curves = {tuple(line.get_ydata()) for axes in figure.axes for line in axes.lines}
    for metric in ("train_loss", "validation_loss", "squared_error_per_image"):
        assert tuple(row[metric] for row in rows) in curves
    assert {"nats per image", "squared error per image", "lowest: epoch 3, 1", "epoch 3, 17"} <= set(words(figure))
    assert len(plots.loss_curves(rows, units={"train_loss": "nats", "validation_loss": "joules"}).axes) == 3


def test_one_epoch_is_a_mark():
    figure = plots.loss_curves(rows_of([1], train_loss=float))
    (line,) = figure.axes[0].lines
    assert line.get_marker() == "o"
    assert list(line.get_xydata()[0]) == [1.0, 1.0]
    low, high = figure.axes[0].get_xlim()
    assert low < 1 < high


def test_nan_breaks_the_line_and_missing_is_skipped():
    rows = rows_of(range(1, 5), train_loss=lambda e: str(1 / e), validation_loss=lambda e: 1 / e)
    rows[1]["train_loss"], rows[2]["validation_loss"] = "nan", ""
    figure = plots.loss_curves(rows)
    (train,), (validation,), crosses = (
        [line for line in figure.axes[0].lines if line.get_color() == style.TRAIN and line.get_marker() != "x"],
        [line for line in figure.axes[0].lines if line.get_color() == style.VALIDATION],
        [line for line in figure.axes[0].lines if line.get_marker() == "x"],
    )
    assert np.isnan(train.get_ydata()[1])
    assert list(validation.get_xdata()) == [1, 2, 4]
    assert [list(line.get_xdata()) for line in crosses] == [[2.0]]
    assert "not finite" in words(figure)


def test_a_run_without_any_finite_value_has_no_scale():
    figure = plots.loss_curves(rows_of(range(3), train_loss=lambda e: np.nan, validation_loss=lambda e: np.inf))
    assert len(figure.axes[0].get_yticks()) == 0
    assert not any("lowest" in text for text in words(figure))


def test_a_lone_value_between_nan_is_still_seen():
    rows = rows_of(range(60), train_loss=lambda e: np.nan if e in (29, 31) else 1.0)
    (line,) = [line for line in plots.loss_curves(rows).axes[0].lines if line.get_color() == style.TRAIN]
    assert line.get_markevery() == [30]


def test_log_scale_has_labeled_ticks():
    axes = plots.loss_curves(rows_of(range(1, 9), train_loss=lambda e: 20 + 30 / e), log_scale=True).axes[0]
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log"
    assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 3


def test_filters_are_sorted_by_norm_and_symmetric_around_zero(rng):
    weights = rng.normal(size=(12, 5)) * np.array([1.0, 4.0, 2.0, 0.0, 3.0])
    figure = plots.filters(weights, (4, 3))
    images = figure.axes[0].images[:5]
    for image, column in zip(images, [1, 4, 2, 0, 3], strict=True):
        np.testing.assert_array_equal(image.get_array(), weights[:, column].reshape(4, 3))
        low, high = image.get_clim()
        assert low == -high
        assert high == np.abs(weights[:, column]).max() or column == 3
    neutral = images[4].to_rgba(np.zeros((1, 1)))[0, 0, :3]
    assert np.ptp(neutral) < 0.01
    assert neutral.min() > 0.9
    assert "2 of 5 filters" in told(plots.filters(weights, (4, 3), count=2))


def test_zero_is_the_middle_color_of_the_diverging_map():
    colors = colormap_named("RdBu_r")(np.linspace(0, 1, 257))[:, :3]
    blue_side, red_side = colors[:128], colors[129:]
    assert (blue_side[:, 2] >= blue_side[:, 0]).all()
    assert (red_side[:, 0] >= red_side[:, 2]).all()
    assert np.ptp(colors[128]) < 1e-3


def test_color_filters_are_gray_where_the_weight_is_zero():
    weights = np.zeros((12, 1))
    weights[0] = 2.0
    (image,) = tiles(plots.filters(weights, (2, 2, 3)))
    np.testing.assert_allclose(image[1, 1], 0.5)
    np.testing.assert_allclose(image[0, 0], [1.0, 0.5, 0.5])


def test_projection_agrees_with_an_eigendecomposition(rng):
    codes = rng.normal(size=(200, 6)) @ np.diag([5.0, 3.0, 2.0, 1.0, 0.5, 0.1]) @ rng.normal(size=(6, 6)) + 4
    values, vectors = np.linalg.eigh(np.cov(codes.T))
    expected = (codes - codes.mean(axis=0)) @ vectors[:, [-1, -2]]
    projected, fractions = principal_components(codes)
    signs = np.sign((projected * expected).sum(axis=0))
    np.testing.assert_allclose(projected * signs, expected, atol=1e-9)
    np.testing.assert_allclose(fractions, values[[-1, -2]] / values.sum(), rtol=1e-10)
    mirrored, _ = principal_components(codes[:, ::-1])
    np.testing.assert_allclose(mirrored, projected, atol=1e-9)
    text = words(plots.code_scatter(codes))
    assert f"principal component 1 ({values[-1] / values.sum():.1%} of the variance)" in text


def test_two_dimensional_codes_are_drawn_as_they_are(rng):
    codes, labels = rng.normal(size=(50, 2)), rng.integers(0, 3, 50)
    figure = plots.code_scatter(codes, labels, ["hat", "shoe", "$5 bag"])
    (cloud,) = figure.axes[0].collections
    drawn = np.asarray(cloud.get_offsets())
    order = [int(np.flatnonzero((codes == point).all(axis=1))[0]) for point in drawn]
    assert sorted(order) == list(range(50))
    colors = matplotlib.colors.to_rgba_array(style.PALETTE)[:, :3]
    np.testing.assert_allclose(cloud.get_facecolors()[:, :3], colors[labels[order]])
    assert {"hat", "shoe", "$5 bag", "latent dimension 0", "latent dimension 1"} <= set(words(figure))
    legend, axes = figure.axes[0].get_legend().get_window_extent(), figure.axes[0].get_window_extent()
    assert legend.x0 > axes.x1


def test_every_class_has_its_own_color_and_marker():
    figure = plots.code_scatter(np.random.default_rng(0).normal(size=(100, 2)), np.arange(100) // 2)
    keys = figure.axes[0].get_legend().legend_handles
    assert len({(key.get_color(), key.get_marker()) for key in keys}) == 50


def test_subsample_is_bounded_and_repeatable(rng):
    codes = rng.normal(size=(300, 3))
    clouds = [plots.code_scatter(codes, max_points=40).axes[0].collections[0].get_offsets() for _ in range(2)]
    assert len(clouds[0]) == 40
    np.testing.assert_array_equal(*clouds)


def test_one_dimensional_codes_are_counted_by_class(rng):
    codes, labels = rng.normal(size=(90, 1)), rng.integers(0, 3, 90) * 2
    figure = plots.code_scatter(codes, labels, {0: "a", 2: "b", 4: "c"})
    assert len(figure.axes) == 3
    for axes, label in zip(figure.axes, [0, 2, 4], strict=True):
        assert axes.patches[0].get_data().values.sum() == (labels == label).sum()
    assert {"a", "b", "c", "latent dimension 0"} <= set(words(figure))


def test_codes_that_are_not_finite_are_left_out_and_counted(rng):
    codes = rng.normal(size=(20, 2))
    codes[3, 1] = np.nan
    figure = plots.code_scatter(codes)
    assert len(figure.axes[0].collections[0].get_offsets()) == 19
    assert "1 code not finite" in told(figure)


def test_equal_codes_do_not_divide_by_zero():
    text = words(plots.code_scatter(np.ones((5, 4))))
    assert "principal component 1 (0.0% of the variance)" in text


def every_kind(rng):
    images = rng.random((9, 8, 8))
    names = ["a rather long class name", "T-shirt/top", "x"]
    rows = rows_of(range(1, 9), train_loss=float, validation_loss=lambda e: e * e, train_other_number=float)
    rows[2]["train_loss"] = np.nan
    long = "A title that is longer than the picture " * 2
    yield "grid", plots.image_grid(images, titles=[names[0]] * 9, title=long)
    yield "one", plots.image_grid(images[:1], title="One image")
    yield "reconstructions", plots.reconstructions(images, images, labels=names * 3)
    yield "low", plots.reconstructions(rng.random((3, 2, 40)), rng.random((3, 2, 40)), labels=names)
    yield "low filters", plots.filters(rng.normal(size=(80, 3)), (2, 40))
    yield "vectors", plots.vector_reconstructions(images[:, 0], images[:, 1], labels=[names[0]] * 9)
    features = [f"feature {n}" for n in range(8)]
    yield "sequences", plots.vector_reconstructions(images, images, feature_names=features)
    yield "scalars", plots.vector_reconstructions(rng.random((3, 1)), rng.random((3, 1)))
    yield "curves", plots.loss_curves(rows)
    yield "filters", plots.filters(rng.normal(size=(64, 20)), (8, 8))
    yield "codes", plots.code_scatter(rng.normal(size=(60, 3)), np.arange(60) % 30, [names[0]] * 30)
    yield "histograms", plots.code_scatter(rng.normal(size=(60, 1)), np.arange(60) % 3, names)
    yield "bars", plots.usage_bars(rng.integers(0, 9, 512))
    yield "posterior", plots.aggregate_posterior(*rng.normal(size=(2, 30, 8)), kl=rng.random(8))
    yield "plane", plots.code_plane(images, np.arange(3.0))
    yield "confusion", plots.confusion(rng.integers(0, 2000, (3, 3)), names)
    yield "overlaps", plots.overlap_maps([rng.integers(1, 5, (9, 9))] * 4, [names[0]] * 4)
    yield "maps", plots.feature_maps(rng.normal(size=(2, 2, 12)), images[0])
    yield "directions", plots.directions(images[:2], rng.normal(size=(2, 3, 8, 8)), rng.random((2, 3)))
    films = rng.random((2, 12, 3, 9))
    yield "strips", plots.frame_strips({"film": films, "made": films}, labels=names[:2], errors=[1, 2.5], seen=4)
    yield "strokes", plots.pen_strokes(images[:, :2].reshape(9, 8, 2), images[:, :2].reshape(9, 8, 2), labels=names * 3)
    yield "predictions", plots.vector_reconstructions(images, images, seen=6, value_name="a unit " * 20)
    yield "steps", plots.step_norms({"of the loss": np.arange(1.0, 8), "of the code": np.ones(7)}, unit="norm " * 30)
    days, spans = [f"2014-07-{day:02d} 00:00" for day in range(30)], [("Labor Day", 3, 5), ("New Year", 6, 7)]
    scores, recording = rng.random(30), rng.random((30, 4))
    yield "scores", plots.score_timeline(scores, 0.9, train=9, spans=spans, stamps=days, recording=recording)


def test_no_text_overlaps_another_or_leaves_the_page(rng):
    for kind, figure in every_kind(rng):
        figure.draw_without_rendering()
        page = figure.bbox
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
        assert len(boxes) > 1, kind
        for text, box in boxes:
            assert min(box.x0, box.y0, page.x1 - box.x1, page.y1 - box.y1) >= 0, (kind, text)
        for (text, box), (other, second) in itertools.combinations(boxes, 2):
            apart = box.x1 <= second.x0 or second.x1 <= box.x0 or box.y1 <= second.y0 or second.y1 <= box.y0
            assert apart, (kind, text, other)
        for image in [] if kind in ("confusion", "overlaps") else figure.axes[0].images:
            tile = image.get_window_extent()
            for text, box in boxes:
                clear = box.x1 <= tile.x0 or box.x0 >= tile.x1 or box.y1 <= tile.y0 or box.y0 >= tile.y1
                assert clear, (kind, text)


def test_drawing_leaves_the_settings_of_the_program_alone(rng):
    with matplotlib.rc_context({"font.size": 31.0, "image.interpolation": "bilinear", "text.color": "red"}):
        before = dict(matplotlib.rcParams)
        figure = plots.image_grid(rng.random((2, 4, 4)), title="small")
        assert dict(matplotlib.rcParams) == before
    assert {text.get_color() for text in figure.texts} <= {style.INK, style.MUTED}
    assert figure.axes[0].images[0].get_interpolation() == "nearest"


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_same_picture_has_the_same_bytes(tmp_path, ending, magic):
    images = np.random.default_rng(0).random((3, 5, 5))
    first, second = (
        plots.save_figure(plots.image_grid(images, title="same"), tmp_path / f"deep/{name}.{ending}").read_bytes()
        for name in "ab"
    )
    assert first == second
    assert first.startswith(magic)
    for trace in (b"atplotlib version", b"Software", b"CreationDate", b"<dc:date>"):
        assert trace not in first
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == [f"a.{ending}", f"b.{ending}"]


@pytest.mark.parametrize("place", ["savefig", "replace"])
def test_a_failure_leaves_the_old_picture(tmp_path, monkeypatch, rng, place):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    figure = plots.image_grid(rng.random((1, 4, 4)))

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((figure, "savefig") if place == "savefig" else ("tinyae.atomic.os.replace",)), fail)
    with pytest.raises(OSError, match="No space left"):
        plots.save_figure(figure, target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_path_that_cannot_be_written_is_named(tmp_path, rng):
    figure = plots.image_grid(rng.random((1, 4, 4)))
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder.png").mkdir()
    for path, fix in (
        (tmp_path / "file/a.png", "choose another path"),
        (tmp_path / "folder.png", "the name of a file"),
    ):
        with pytest.raises(OSError, match=f"cannot write .* {fix}"):
            plots.save_figure(figure, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


@pytest.mark.parametrize(("name", "dpi"), [("a.jpg", 144), ("a", 144), ("a.png", 0)])
def test_unknown_endings_and_resolutions_are_refused(tmp_path, rng, name, dpi):
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf|dpi must be .* at least 10"):
        plots.save_figure(plots.image_grid(rng.random((1, 4, 4))), tmp_path / name, dpi=dpi)
    assert list(tmp_path.iterdir()) == []


IMAGES, CODES, ROWS = np.zeros((3, 4, 4)), np.zeros((6, 2)), [{"epoch": 1, "train_loss": 2.0}]
STROKES, FILMS = np.zeros((3, 4, 2)), np.zeros((2, 3, 4, 4))
COUNTS = r"counts (must be|is empty)|1 to 40 classes"
BAD = [
    (TypeError, r"numpy.asarray\(x\), or x.numpy\(\) for a Tensor", lambda: plots.image_grid([[1.0]])),
    (ValueError, "is empty", lambda: plots.image_grid(IMAGES[:0])),
    (ValueError, "real numbers", lambda: plots.image_grid(IMAGES.astype(complex))),
    (ValueError, r"\.reshape\(-1, H, W\)", lambda: plots.image_grid(IMAGES.reshape(3, 16))),
    (ValueError, "C 1 or 3", lambda: plots.image_grid(np.zeros((2, 4, 4, 2)))),
    (ValueError, "image_shape must be", lambda: plots.filters(CODES, (6,))),
    (ValueError, "divide by 255", lambda: plots.image_grid(np.full((1, 2, 2), 200, np.uint8))),
    (ValueError, "low < high", lambda: plots.image_grid(IMAGES, value_range=(1, 0))),
    (ValueError, "one entry for each of the 3", lambda: plots.image_grid(IMAGES, titles=["a"])),
    (ValueError, "columns must be", lambda: plots.image_grid(IMAGES, columns=0)),
    (ValueError, "at most 1024", lambda: plots.image_grid(np.zeros((1025, 2, 2)))),
    (ValueError, "the same shape", lambda: plots.reconstructions(IMAGES, IMAGES[:2])),
    (ValueError, "labels must have one", lambda: plots.reconstructions(IMAGES, IMAGES, labels=["a"])),
    (ValueError, "count must be", lambda: plots.reconstructions(IMAGES, IMAGES, count=0)),
    (ValueError, "drawn by reconstructions", lambda: plots.vector_reconstructions(IMAGES[None], IMAGES[None])),
    (ValueError, "the same shape", lambda: plots.vector_reconstructions(CODES, CODES[:, :1])),
    (ValueError, "no errors are given", lambda: plots.vector_reconstructions(CODES, CODES, error_unit="nats")),
    (ValueError, "no rows", lambda: plots.loss_curves([])),
    (ValueError, "'epoch' as a number", lambda: plots.loss_curves([{"train_loss": 1.0}])),
    (ValueError, "hold no metric", lambda: plots.loss_curves([{"epoch": 1, "note": "fine"}])),
    (ValueError, "choose from train_loss", lambda: plots.loss_curves(ROWS, metrics=["loss"])),
    (ValueError, "above 0", lambda: plots.loss_curves([{"epoch": 1, "train_loss": -1.0}], log_scale=True)),
    (ValueError, r"\(D_in, D_out\)", lambda: plots.filters(IMAGES, (4, 4))),
    (ValueError, "transposed", lambda: plots.filters(CODES, (4, 4))),
    (ValueError, r"reshape\(N, -1\)", lambda: plots.code_scatter(IMAGES)),
    (ValueError, "one for each code", lambda: plots.code_scatter(CODES, [0, 1])),
    (ValueError, "whole numbers", lambda: plots.code_scatter(CODES, np.full(6, 0.5))),
    (ValueError, "no name for label 1", lambda: plots.code_scatter(CODES, [0, 1] * 3, ["only"])),
    (ValueError, "at most 50 classes", lambda: plots.code_scatter(np.zeros((60, 2)), np.arange(60))),
    (ValueError, "none of the 6 codes", lambda: plots.code_scatter(CODES * np.nan)),
    (ValueError, "not all 0", lambda: plots.usage_bars(np.zeros(3))),
    (ValueError, "vectors of the same length", lambda: plots.kl_bars(np.zeros(3), np.zeros(2))),
    (ValueError, r"both be \(N, K\)", lambda: plots.aggregate_posterior(CODES, CODES[:, 0])),
    (ValueError, "pass 9 images", lambda: plots.code_plane(IMAGES, np.zeros(3))),
    (ValueError, "M directions of an image's shape", lambda: plots.directions(IMAGES, IMAGES[:, None, :3], CODES[:3])),
    (TypeError, "maps must be a NumPy array", lambda: plots.feature_maps([[1.0]])),
    (ValueError, r"maps must have shape \(H, W, K\), those of one image.*outputs\[0\]",
     lambda: plots.feature_maps(np.zeros((1, 4, 4, 3)))),
    (ValueError, "empty", lambda: plots.feature_maps(np.zeros((4, 4, 0)))),
    (TypeError, "image must be a NumPy array", lambda: plots.feature_maps(IMAGES, [[0.0]])),
    (ValueError, "C 1 or 3", lambda: plots.feature_maps(IMAGES, np.zeros((8, 8, 2)))),
    (ValueError, "counts must be one or more arrays", lambda: plots.overlap_maps([])),
    (ValueError, "counts must be one or more arrays", lambda: plots.overlap_maps([np.zeros(3)])),
    (ValueError, "one entry for each of the 2 maps", lambda: plots.overlap_maps([np.ones((2, 2), int)] * 2, ["three"])),
    (ValueError, "one entry for each of the 3 ex", lambda: plots.vector_reconstructions(IMAGES, IMAGES, seen=[4])),
    (ValueError, "at least 1", lambda: plots.vector_reconstructions(IMAGES, IMAGES, seen=0)),
    (ValueError, "must both be strokes", lambda: plots.pen_strokes(STROKES, STROKES[..., 0])),
    (ValueError, "must both be strokes", lambda: plots.pen_strokes(STROKES, np.zeros((3, 4, 3)))),
    (ValueError, "must both be strokes", lambda: plots.pen_strokes(STROKES, np.zeros((3, 5, 2)))),
    (ValueError, "the same shape", lambda: plots.frame_strips({})),
    (ValueError, "the same shape", lambda: plots.frame_strips({"a": IMAGES})),
    (ValueError, "the same shape", lambda: plots.frame_strips({"a": FILMS, "b": FILMS[:1]})),
    (ValueError, "one entry for each of the 2 films", lambda: plots.frame_strips({"a": FILMS}, labels=["a"])),
    (ValueError, "at most 60 frames", lambda: plots.frame_strips({"a": np.zeros((1, 61, 2, 2))})),
    (ValueError, "no numbers", lambda: plots.step_norms({})),
    (ValueError, "at least 0", lambda: plots.step_norms({"a": np.array([-1.0])})),
    (ValueError, "at least 0|no numbers", lambda: plots.step_norms({"a": CODES})),
    (ValueError, "finite numbers", lambda: plots.score_timeline(np.ones((1, 1)), 1.0)),
    (ValueError, "finite numbers", lambda: plots.score_timeline(np.array([np.nan]), 1.0)),
    (ValueError, "one for each", lambda: plots.score_timeline(np.ones(3), 1.0, stamps=["a"])),
    (ValueError, r"one row for each, \(6, S\)", lambda: plots.score_timeline(np.ones(6), 0.5, recording=CODES[:5])),
    (ValueError, COUNTS, lambda: plots.confusion(np.zeros((2, 3), int))),
    (ValueError, COUNTS, lambda: plots.confusion(np.zeros((2, 2)))),
    (ValueError, COUNTS, lambda: plots.confusion(-np.eye(2, dtype=int))),
    (ValueError, COUNTS, lambda: plots.confusion(np.zeros((0, 0), int))),
    (ValueError, "not all 0", lambda: plots.usage_bars(np.array([1.0, np.inf]))),
    (ValueError, "and finite", lambda: plots.aggregate_posterior(np.full((4, 2), np.nan), np.zeros((4, 2)))),
    (ValueError, "and finite", lambda: plots.aggregate_posterior(np.zeros((4, 2)), np.full((4, 2), np.nan))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "sentence", "call"), BAD)
def test_bad_input_gets_one_clear_sentence(kind, sentence, call):
    with pytest.raises(kind, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


VALID = {
    "aggregate_posterior": {"means": CODES, "log_variances": CODES, "kl": np.ones(2)},
    "code_plane": {"images": np.zeros((9, 4, 4)), "marks": np.arange(3)},
    "code_scatter": {"codes": CODES, "labels": [0, 1] * 3, "class_names": ["a", "b"]},
    "confusion": {"counts": np.eye(2, dtype=int), "class_names": ["a", "b"]},
    "directions": {"images": IMAGES, "changes": IMAGES[:, None], "strengths": np.ones((3, 1))},
    "feature_maps": {"maps": IMAGES, "image": IMAGES[0]},
    "filters": {"weights": np.ones((16, 2)), "image_shape": (4, 4)},
    "forecast": {"past": {"a": np.ones(4)}, "future": {"a": np.ones(2)}},
    "frame_strips": {"rows": {"a": FILMS}, "labels": ["a", "b"], "errors": [1.0, 2.0], "seen": 1},
    "image_grid": {
        "images": IMAGES,
        "columns": 3,
        "titles": list("abc"),
        "row_names": ["a"],
        "column_names": list("abc"),
    },
    "kl_bars": {"kl": np.ones(3), "active": np.ones(3)},
    "loss_curves": {"rows": ROWS, "units": {"train_loss": "nats"}, "metrics": ["train_loss"]},
    "overlap_maps": {"counts": [np.ones((2, 2), int)], "titles": ["a"]},
    "pen_strokes": {"originals": STROKES, "reconstructed": STROKES, "lengths": [4, 3, 1], "seen": 2},
    "reconstructions": {"originals": IMAGES, "reconstructed": IMAGES, "labels": [1, 2, 3]},
    "save_film": {"rows": {"a": FILMS}, "path": "film.gif"},
    "score_timeline": {
        "scores": np.ones(6),
        "threshold": 1.0,
        "recording": CODES,
        "stamps": list("abcdef"),
        "breaks": [2],
    },
    "step_norms": {"norms": {"a": np.ones(3)}},
    "usage_bars": {"counts": np.ones(3)},
    "vector_reconstructions": {
        "originals": CODES,
        "reconstructed": CODES,
        "feature_names": ["a", "b"],
        "seen": [1] * 6,
    },
}
WRONG = (
    None, True, 2.5, -1, 10**9, "x", b"x", object(), [], [None], ["x"], [2.5], [-1], [[1], [1, 2]], {}, {"a": None}, {1: 2},
    np.array(["x"]), np.array([None]), np.zeros((0, 2)), np.float64(np.nan), np.full((2, 2), np.nan), Tensor([1.0]), int,
)  # fmt: skip


SAMPLE = {"filters", "loss_curves", "code_scatter", "score_timeline", "save_animation"}


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name in SAMPLE else [pytest.mark.thorough])
    for name in (*VALID, "save_figure", "save_animation")
])  # fmt: skip
def test_every_wrong_kind_of_argument_gets_a_sentence_of_ours(name, tmp_path, monkeypatch):
    """One argument at a time: either it is taken, or the error is raised on purpose."""
    monkeypatch.chdir(tmp_path)
    draw, figure = getattr(plots, name), plots.usage_bars(np.ones(3))
    others = {"save_figure": {"path": "a.png"}, "save_animation": {"path": "a.gif", "frames": 1, "show": print}}
    valid = {"figure": figure} | others[name] if name in others else VALID[name]
    draw(**valid)
    faults: list[str] = []
    for argument in inspect.signature(draw).parameters:
        for wrong in WRONG[5 * (argument == "frames") :]:  # so many frames take long
            try:
                draw(**valid | {argument: wrong})
            except (TypeError, ValueError) as error:
                last, said = traceback.extract_tb(error.__traceback__)[-1], str(error)
                faults.append("" if last.line.startswith("raise") else f"{argument}={wrong!r}: {error!r} in {last}")
                faults.append(said if "\n" in said or len(said) > 400 or not said.endswith(".") else "")
    assert not any(faults), "\n".join(filter(None, faults))


def test_every_picture_is_among_them():
    assert SAMPLE < {*VALID, "save_figure", "save_animation"} == set(plots.__all__)


def test_a_test_curve_is_drawn_once_and_marks_no_best_epoch(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: drawn.append(figure) or path)
    for part in ("test", "validation"):
        held_out = dict.fromkeys((f"{part}_loss", f"{part}_squared_error"), lambda e: 100.0 / e**2 + 1)
        rows = rows_of(range(1, 9), train_loss=lambda e: 100.0 / e**2, **held_out)
        draw_curves(History(rows=rows), tmp_path / "loss.png")
    tested, validated = drawn
    for figure in drawn:
        axes = figure.axes[:-1] if len(figure.axes) == 3 else figure.axes
        assert {a.get_yscale() for a in axes} == {"log"}
        assert told(figure).count("squared error") <= 1
    assert "lowest" not in told(tested)
    assert "lowest: epoch 8" in told(validated)
