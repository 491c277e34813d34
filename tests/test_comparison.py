"""What a run prints below its metrics, against NumPy; and the mean that a k-sparse autoencoder starts from."""

import numpy as np
import pytest
from numpy.random import default_rng as seeded
from numpy.testing import assert_allclose

from tinyae import data, fit, nn, optim
from tinyae.autodiff import Tensor
from tinyae.models import PCA, Autoencoder, Batch, build, sparse_autoencoder
from tinyae.models.sparse import Center
from tinyae.training import History, report
from tinyae.training.metrics import code_use, compare, still_falling

DIGITS = data.load("optdigits")


def numbers(lines):
    return {line.strip().rsplit("  ", 1)[0].strip(): float(line.split()[-1]) for line in lines if line.startswith("  ")}


@pytest.mark.parametrize("dead", [0, 1, 5])
def test_units_that_never_change_are_counted(dead):
    layer = nn.Dense(64, 8, activation="relu", generator=seeded(0))
    layer.weight.data[:] = np.abs(layer.weight.data)
    layer.bias.data[:] = np.where(np.arange(8) < dead, -1e6, 0.0)
    model = Autoencoder(
        nn.Sequential(nn.Flatten(), layer), nn.Sequential(nn.Dense(8, 64), nn.Reshape(8, 8, 1)), sample="image"
    )
    size, use = code_use(model, DIGITS)
    assert size == "code: 8 values for the 64 of each image"
    assert use.startswith(f"{dead} of 8 code units are dead" if dead else "none of the 8 code units is dead")


def test_a_code_as_large_as_a_sample_is_named_and_has_no_pca():
    model = build("basic", {"input_shape": [8, 8, 1], "code_size": 64, "sample": "image"}, seeded(0))
    assert "not smaller than the sample" in code_use(model, DIGITS)[0]
    assert list(numbers(compare(model, DIGITS))) == ["this model", "mean training image"]


def test_a_discrete_code_is_compared_with_as_many_bits():
    model = build(
        "vqvae", {"input_shape": [8, 8, 1], "positions": 16, "codebook_size": 64, "sample": "image"}, seeded(0)
    )
    rows = numbers(compare(model, DIGITS))
    name = "PCA, 3 components, 96 bits for the 96 of the code"
    assert rows[name] == pytest.approx(PCA(3).fit(DIGITS.train.x).squared_error(DIGITS.test.x), rel=1e-4)


def test_an_untrained_model_behind_pca_says_what_it_minimizes():
    arguments = {"input_shape": [8, 8, 1], "code_size": 5, "sample": "image"}
    assert "minimizes reconstruction, in nats per image" in compare(build("basic", arguments, seeded(0)), DIGITS)[-1]
    contractive = build("contractive", {"input_shape": [8, 8, 1], "sizes": [5], "sample": "image"}, seeded(0))
    assert "minimizes reconstruction + contraction" in compare(contractive, DIGITS)[-1]
    linear = build("basic", arguments | {"loss": "squared_error"}, seeded(0))
    assert "it is not at the minimum" in compare(linear, DIGITS)[-1]


@pytest.mark.parametrize(("losses", "share"), [
    (np.linspace(10, 1, 21), "10.0%"), (1 + 9 * 0.5 ** np.arange(21), None), ([3.0], None), (np.arange(9.0), None),
])  # fmt: skip
def test_a_loss_that_still_falls_is_named(losses, share):
    history = History({}, [{"epoch": n + 1, "train_loss": float(loss)} for n, loss in enumerate(losses)])
    lines = still_falling(history)
    assert len(lines) == (share is not None)
    assert share is None or f"{share} of its whole fall came in the last 2 of 21 epochs" in lines[0]


@pytest.mark.parametrize("loss", ["squared_error", "bce"])
def test_a_k_sparse_autoencoder_starts_at_the_mean(loss):
    model = sparse_autoencoder((8, 8, 1), 12, sparsity="topk", k=2, loss=loss, generator=seeded(0))
    model.begin_epoch(1, Batch(DIGITS.train.x))
    mean = DIGITS.train.x.mean(axis=0, dtype=np.float64)
    (center,) = [part for _, part in model.encoder.named_modules() if isinstance(part, Center)]
    assert_allclose(center.mean.numpy(), mean, atol=1e-6)
    assert_allclose(center(Tensor(DIGITS.test.x[:3])).numpy(), DIGITS.test.x[:3] - mean, atol=1e-6)
    started = mean.reshape(-1) if loss == "squared_error" else np.zeros(64)  # logits have another mean
    assert_allclose(model.decoder[0].bias.numpy(), started, atol=1e-6)
    model.begin_epoch(2, Batch(DIGITS.test.x[:5]))
    assert_allclose(center.mean.numpy(), mean, atol=1e-6, err_msg="only before the first epoch")


def test_the_units_of_a_wide_k_sparse_code_stay_alive():
    """Without the mean, most of them are dead after these steps: what the centering is for."""
    dead = {}
    for centered in (True, False):
        model = sparse_autoencoder((8, 8, 1), 128, sparsity="topk", k=8, generator=seeded(0))
        if not centered:
            model.begin_epoch = lambda number, train: None
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        fit(model, DIGITS.train.x, epochs=6, batch_size=64, optimizer=optimizer, progress=False)
        dead[centered] = np.mean(model.encode(DIGITS.train.x).max(axis=0) <= 0)
    assert dead[True] < 0.05 < 0.3 < dead[False]


def test_the_whole_report_ends_with_the_loss():
    model = build("basic", {"input_shape": [8, 8, 1], "code_size": 4, "sample": "image"}, seeded(0))
    falling = History({}, [{"epoch": n, "train_loss": 10.0 - n} for n in range(10)])
    lines = report(model, DIGITS, falling)
    assert lines[0].startswith("code: 4 values")
    assert lines[-1].startswith("the training loss still fell")
