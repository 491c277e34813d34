"""Feature maps: what each layer gives, against layers called by hand, the picture's tiles, and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from tests.test_plots import told, words
from tinyae import data, load, nn, plots
from tinyae.autodiff import Tensor
from tinyae.models import build
from tinyae.training import Run, save
from tinyae.training.pictures import draw_features, image_maps

# What the layers give


def network(dtype: str = "float64") -> nn.Sequential:
    g = np.random.default_rng(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, 2, 1, activation="relu", generator=g, dtype=dtype),
        nn.Sequential(nn.Dropout(0.5, g), nn.Conv2d(3, 2, 2, generator=g, dtype=dtype)),
        nn.Flatten(),
    )


def test_the_outputs_are_those_of_the_layers_called_one_by_one(rng):
    model = network()
    x = rng.normal(size=(4, 8, 7, 1))
    found = nn.layer_outputs(model, x)
    first = model[0](Tensor(x)).data
    second = model[1][1](Tensor(first)).data
    assert list(found) == ["0", "1.0", "1.1", "1", "2"]
    assert_array_equal(found["0"], first)
    assert_array_equal(found["1.0"], first, "dropout is off")
    assert_array_equal(found["1.1"], second)
    assert_array_equal(found["1"], second)
    assert_array_equal(found["2"], second.reshape(4, -1))
    assert model.training
    assert model[1][0].training


def test_a_layer_that_is_called_twice_shows_its_last_output(rng):
    class Twice(nn.Module):
        def __init__(self):
            self.layer = nn.Dense(3, 3, dtype="float64")
            self.idle = nn.Dense(3, 3)

        def forward(self, x):
            return self.layer(self.layer(x))

    model, x = Twice(), rng.normal(size=(2, 3))
    assert_array_equal(nn.layer_outputs(model, x)["layer"], model(Tensor(x)).data)
    assert list(nn.layer_outputs(model, x)) == ["layer"]
    assert list(nn.layer_outputs(nn.Sequential(nn.ReLU()), x)) == ["0"], "a model without parameters"


def test_outputs_come_back_from_another_device(elsewhere, rng):
    x = rng.normal(size=(2, 8, 7, 1)).astype("float32")
    here = nn.layer_outputs(network("float32"), x)
    model = network("float32")
    for parameter in model.parameters():
        parameter.data = elsewhere.to_device(parameter.numpy())
    there = nn.layer_outputs(model, x)
    assert list(there) == list(here)
    for name, value in there.items():
        assert type(value) is np.ndarray
        assert_allclose(value, here[name], rtol=1e-4, atol=1e-5)


def tiles(figure):
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def test_every_map_is_drawn_on_its_own_scale(rng):
    maps = rng.random((7, 5, 12)) * np.arange(12)
    figure = plots.feature_maps(maps, np.full((14, 10, 1), 0.5), title="What it sees")
    shown = figure.axes[0].images
    assert len(shown) == 13
    for index, image in enumerate(shown[1:]):
        assert_array_equal(image.get_array(), maps[:, :, index])
        assert image.get_clim() == (0.0, maps[:, :, index].max() or 1.0)
        assert f"{index}: {maps[:, :, index].max():.2g}" in words(figure)
    assert "What it sees" in words(figure)
    assert "1 map zero everywhere" in told(figure)
    boxes = [image.get_extent() for image in shown]
    assert len({(round(b[1] - b[0], 6), round(b[2] - b[3], 6)) for b in boxes}) == 1, "all tiles are of one size"


def test_negative_numbers_change_the_scale_and_nan_is_marked(rng):
    maps = rng.normal(size=(6, 6, 3))
    maps[2, 3, 1] = np.nan
    figure = plots.feature_maps(maps)
    for index, image in enumerate(figure.axes[0].images):
        reach = np.nanmax(np.abs(maps[:, :, index]))
        assert image.get_clim() == (-reach, reach)
    assert np.ma.is_masked(figure.axes[0].images[1].get_array())
    note = told(figure)
    assert "1 value not finite, drawn in magenta" in note
    assert "red and blue" in note


def test_no_more_than_asked(rng):
    figure = plots.feature_maps(rng.random((3, 3, 100)), count=5)
    assert len(tiles(figure)) == 5
    assert "5 of 100 maps of 3 x 3." in told(figure)
    assert len(tiles(plots.feature_maps(rng.random((2, 2, 1)), rng.random((8, 8))))) == 2


def test_colors_stay_colors(rng):
    image = rng.random((8, 8, 3))
    low, high = image.min(), image.max()
    shown = tiles(plots.feature_maps(rng.random((4, 4, 2)), image))[0]
    assert_allclose(shown, (image - low) / (high - low), atol=1e-12)


def test_overlaps_are_drawn_with_their_numbers(tmp_path):
    counts = [nn.overlap_counts(4, 3, 2), nn.overlap_counts(11, 4, 2)]
    figure = plots.overlap_maps(counts, ["three", "four"], title="Overlaps")
    first, second = figure.axes
    assert_array_equal(first.images[0].get_array(), counts[0])
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0.0, 5.0)
    written = {(t.get_position()[1], t.get_position()[0]): int(t.get_text()) for t in first.texts}
    assert written == dict(np.ndenumerate(counts[0]))
    assert not second.texts, "24 pixels on a side are too many for numbers"
    assert {"three", "four", "Overlaps"} <= set(words(figure))
    plots.save_figure(figure, tmp_path / "a.png")
    page = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert page.std() > 5


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder with an untrained convolutional model, only read."""
    arguments = {"input_shape": [8, 8, 1], "form": "strided", "channels": [4, 6], "sample": "image"}
    config = {"model": "conv", "data": "optdigits", "arguments": arguments}
    folder = Run.create(tmp_path_factory.mktemp("features") / "run", config)
    save(build("conv", arguments, np.random.default_rng(0)), folder.path / "model.safetensors")
    return folder.path


def test_the_command_draws_a_layer_of_an_image(run, tinyae, pictured):
    told = tinyae("features", run, "--layer encoder.1 --image 3 --out a.png")
    assert "  encoder.0    Conv2d           4 x 4 x 4\n  encoder.1    Conv2d           2 x 2 x 6\n" in told
    assert told.endswith("picture: a.png\n")
    digits, model = data.load("optdigits"), load(run)
    maps = image_maps(model, digits.test, 3)["encoder.1"]
    assert_array_equal(maps, model.encoder[1](model.encoder[0](Tensor(digits.test.x[3:4]))).data[0])
    title = f"optdigits: feature maps of encoder.1 (Conv2d) for test image 3 ({digits.test.y[3]})"
    plots.save_figure(plots.feature_maps(maps, digits.test.x[3], title=title), "expected.png")
    assert Path("a.png").read_bytes() == Path("expected.png").read_bytes()


def test_the_first_layer_that_makes_maps_and_other_splits(run, tmp_path):
    digits, model = data.load("optdigits"), load(run)
    draw_features(model, digits, tmp_path / "first.png")
    draw_features(model, digits, tmp_path / "named.png", "encoder.0", 0)
    draw_features(model, digits, tmp_path / "train.png", "encoder.0", 0, "train")
    first, named, train = ((tmp_path / f"{name}.png").read_bytes() for name in ("first", "named", "train"))
    assert first == named != train


@pytest.mark.parametrize(("options", "says"), [
    ("--layer encoder.9", "layer 'encoder.9' has no feature maps (H, W, K); layers that do: encoder.0 (4, 4, 4)"),
    ("--image 1797", "there is no image 1797: optdigits has 1,797 test images, from 0"),
    ("--image -1", "--image: must be a whole number of at least 0"),
    ("--data pendigits", "samples of shape (8, 2)"),
    ("--out a.bmp", "must end in .png, .svg, .pdf"),
])  # fmt: skip
def test_the_command_refuses_in_one_sentence(options, says, run, tmp_path, refused, pictured):
    assert says in refused("features", run, options)
    assert list(tmp_path.iterdir()) == []


def test_models_and_data_without_maps(tmp_path):
    digits, pens = data.load("optdigits"), data.load("pendigits")
    with pytest.raises(ValueError, match=r"layer 'encoder.0' has no feature maps .*layers that do: decoder.1"):
        draw_features(build("basic", {"input_shape": [8, 8, 1]}), digits, tmp_path / "a.png", "encoder.0")
    with pytest.raises(ValueError, match="there is no image 0: pendigits has no images"):
        draw_features(build("basic", {"input_shape": [8, 2]}), pens, tmp_path / "a.png")
