"""What a variational run leaves: the pictures hold the numbers, and `tinyae sample` makes what it says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from tests.test_plots import told
from tinyae import data, load, plots
from tinyae.cli.main import main
from tinyae.models import interpolate


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a code of two numbers, one epoch."""
    folder = tmp_path_factory.mktemp("vae") / "run"
    assert (
        main(["train", *["vae", "--data", "optdigits", "--epochs", "1", "--latent-size", "2", "--out"], str(folder)])
        == 0
    )
    return folder


def test_a_run_leaves_every_picture(run, tinyae):
    names = {path.name for path in run.glob("*.png")}
    assert names >= {
        "samples.png", "manifold.png", "interpolation.png", "kl.png", "aggregate_posterior.png", "codes.png",
        "reconstructions.png", "loss.png",
    }  # fmt: skip
    told = tinyae("evaluate", run)
    for words in ("KL", "reconstruction", "likelihood gray-bce: cross-entropy of gray levels, not a log-l", "code: "):
        assert words in told


def test_sample_writes_pictures_and_arrays(run, tmp_path, tinyae):
    assert "5 images, seed 3" in tinyae("sample", run, "-n 5 --seed 3 --out s.npy")
    assert_array_equal(np.load("s.npy"), load(run).sample(5, np.random.default_rng(3)))
    tinyae("sample", run, "-n 4 --pixels --out s.png")
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_sampled_is_explained(tinyae, refused):
    tinyae("train basic --data optdigits --epochs 1 --out basic")
    assert "has no prior to sample from" in refused("sample basic")
    assert "leave --importance-samples out" in refused("evaluate basic --importance-samples 5")
    gaussian = "--likelihood gaussian --scale 0.3 --kl-warmup 2 --free-bits 0.1"
    tinyae("train vae --data pendigits --epochs 1 --out vectors", gaussian)
    assert "give --out a name that ends in .npy" in refused("sample vectors --out v.png")
    tinyae("sample vectors --out v.npy")


def test_usage_bars_are_shares_and_count_the_dead():
    figure = plots.usage_bars(np.array([1, 0, 3]))
    axes = figure.axes[0]
    assert_allclose([bar.get_height() for bar in axes.patches], [75.0, 25.0, 0.0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "0", "1"]
    assert "1 of 3 are dead" in told(figure)
    with pytest.raises(ValueError, match="not all 0"):
        plots.usage_bars(np.zeros(3))


def test_kl_bars_stand_from_the_largest_to_the_smallest():
    figure = plots.kl_bars(np.array([0.1, 2.0, 0.0]), np.array([True, True, False]), unit="nats per image")
    axes = figure.axes[0]
    assert_allclose([bar.get_height() for bar in axes.patches], [2.0, 0.1, 0.0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "0", "2"]
    assert "2.1 in all" in told(figure)
    with pytest.raises(ValueError, match="vectors of the same length"):
        plots.kl_bars(np.zeros(3), np.zeros(2))


def test_the_aggregate_posterior_is_the_mixture_and_the_line_the_prior():
    means, log_variances = np.array([[-1.0], [1.0]]), np.log(np.array([[0.25], [0.04]]))
    figure = plots.aggregate_posterior(means, log_variances)
    axes = figure.axes[0]
    z, prior = axes.lines[0].get_data()
    assert_allclose(prior, stats.norm.pdf(z), rtol=1e-9)
    outline = axes.collections[0].get_paths()[0].vertices
    mixture = 0.5 * (stats.norm.pdf(z, -1, 0.5) + stats.norm.pdf(z, 1, 0.2))
    assert outline[:, 1].max() == pytest.approx(mixture.max(), rel=1e-3)
    with pytest.raises(ValueError, match=r"both be \(N, K\)"):
        plots.aggregate_posterior(means, log_variances[:, 0])


def test_the_plane_of_codes_is_put_together_in_reading_order(rng):
    images = rng.random((4, 2, 3, 1))
    figure = plots.code_plane(images, np.array([-1.0, 1.0]))
    shown = figure.axes[0].images[0].get_array()
    assert_allclose(shown[:2, :3], images[0, ..., 0])
    assert_allclose(shown[:2, 3:], images[1, ..., 0])
    assert_allclose(shown[2:, :3], images[2, ..., 0])
    with pytest.raises(ValueError, match="pass 9 images"):
        plots.code_plane(images, np.zeros(3))


def test_interpolation_starts_and_ends_at_the_samples_codes(run):
    model, x = load(run), data.load("optdigits").test.x
    line = model.decode(interpolate(*model.encode(x[:2]), 4))
    assert_allclose(line[[0, -1]], model.reconstruct(x[:2]), rtol=1e-5, atol=1e-6)
