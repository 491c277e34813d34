"""The vector-quantised autoencoder: the nearest vector, the gradient that skips the choice, the codebook that follows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import distance

from tinyae import fit, load, nn, save
from tinyae.autodiff import Tensor, grad
from tinyae.backend import Backend
from tinyae.cli.main import main
from tinyae.models import Codebook, VectorQuantizedAutoencoder, build, vq_autoencoder


def small(**options) -> VectorQuantizedAutoencoder:
    """6-8-(3 of 5 vectors of 2 numbers)-8-6."""
    options = {"positions": 3, "codebook_size": 5, "code_features": 2, "sample": "image"} | options
    return vq_autoencoder(6, (8,), generator=np.random.default_rng(0), **options)


def test_the_nearest_vector_is_that_of_all_distances(rng, device: Backend):
    book = Codebook(7, 3, generator=rng).eval().to(device.name)
    z = rng.standard_normal((40, 3)).astype("float32")
    numbers = device.to_host(book.nearest(device.to_device(z)))
    vectors = device.to_host(book.vectors.data)
    assert_array_equal(numbers, distance.cdist(z, vectors).argmin(axis=1))
    e, chosen = book(Tensor(device.to_device(z)))
    assert_array_equal(device.to_host(chosen), vectors[numbers])
    assert_allclose(e.numpy(), vectors[numbers], rtol=1e-5, atol=1e-6)


def test_the_gradient_skips_the_choice(rng):
    book = Codebook(4, 2, generator=rng).eval()
    z = Tensor(rng.standard_normal((6, 2)).astype("float32"), requires_grad=True)
    weights = rng.standard_normal((6, 2)).astype("float32")
    (found,) = grad((book(z)[0] * weights).sum(), [z])
    assert_array_equal(found.data, weights)


def test_the_codebook_follows_as_a_running_mean(rng):
    book = Codebook(3, 2, decay=0.9, generator=rng)
    first = rng.standard_normal((30, 2)).astype("float32")
    book(Tensor(first))
    counts, sums, vectors = np.ones(3), first[[0, 10, 20]].astype(float), first[[0, 10, 20]].astype(float)
    for batch in (first, rng.standard_normal((30, 2)).astype("float32")):
        if batch is not first:
            book(Tensor(batch))
        member = np.eye(3)[distance.cdist(batch, vectors).argmin(axis=1)]
        counts = 0.9 * counts + 0.1 * member.sum(axis=0)
        sums = 0.9 * sums + 0.1 * member.T @ batch
        vectors = sums / counts[:, None]
    assert_allclose(book.counts.data, counts, rtol=1e-4)
    assert_allclose(book.vectors.data, vectors, rtol=1e-4, atol=1e-5)
    before = book.vectors.numpy().copy()
    book.eval()(Tensor(first))
    assert_array_equal(book.vectors.data, before)


def test_with_decay_0_it_is_k_means(rng):
    """Each batch of all data is then one step of Lloyd's algorithm: the vectors become the means of their members."""
    centres = np.array([[5.0, 0.0], [-5.0, 0.0], [0.0, 8.0]])
    z = (np.repeat(centres, 50, axis=0) + 0.1 * rng.standard_normal((150, 2))).astype("float32")
    book = Codebook(3, 2, decay=0.0, generator=rng)
    for _ in range(3):
        book(Tensor(z))
    assert_allclose(book.vectors.data, z.reshape(3, 50, 2).mean(axis=1), atol=1e-4)


def test_the_loss_is_written_out(rng):
    model = small().eval()
    x = rng.random((9, 6)).astype("float32")
    loss = model.loss(Tensor(x))
    z = model.encoder(Tensor(x)).data
    e = model.codebook.vectors.data[model.indices(x)].reshape(9, 6)
    logits = model.decoder(Tensor(e)).data
    assert loss.terms["reconstruction"].item() == pytest.approx(
        float(np.sum(np.logaddexp(0, logits) - x * logits)) / 9, rel=1e-5
    )
    assert loss.terms["commitment"].item() == pytest.approx(0.25 * float(np.sum((z - e) ** 2)) / 9, rel=1e-4)
    assert loss.unit == "nats per image"
    assert_allclose(model.encode(x), e, rtol=1e-5, atol=1e-6)
    assert model.indices(x).shape == (9, 3)


def test_training_dead_codes_and_the_saved_file(rng, tmp_path):
    x = np.repeat(rng.random((6, 6)), 20, axis=0).astype("float32")
    model = build("vqvae", {"input_shape": 6, "sizes": [8], "positions": 2, "codebook_size": 30, "code_features": 2},
                  np.random.default_rng(0))  # fmt: skip
    history = fit(model, x, x, epochs=15, batch_size=30, progress=False)
    assert history["validation_loss"][-1] < history["validation_loss"][0]
    used = len(np.unique(model.indices(x)))
    line, bits = model.remarks(x)
    assert f"{used} of 30 vectors in use on 120 samples, {30 - used} dead" in line
    assert used <= 12, "two positions, six different samples"
    assert "2 whole numbers per sample, at most 10 bits" in bits
    again = load(save(model, tmp_path / "m.safetensors"))
    assert_array_equal(again.indices(x), model.indices(x))
    vectors = again.codebook.vectors.numpy().copy()
    again.train().loss(Tensor(x[:4]))
    assert np.abs(again.codebook.vectors.numpy() - vectors).max() < 0.5, "a trained codebook is not begun anew"


@pytest.mark.parametrize(("options", "sentence"), [
    ({"commitment": -1.0}, "commitment must be at least 0"),
    ({"decay": 1.0}, "decay must be in"),
    ({"codebook_size": 0}, "size must be a whole number"),
    ({"positions": 0}, "positions must be a whole number"),
])  # fmt: skip
def test_wrong_arguments_are_explained(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(**options)


def test_an_encoder_that_does_not_fit_is_explained():
    model = VectorQuantizedAutoencoder(nn.Dense(6, 5), nn.Dense(5, 6), Codebook(4, 2))
    with pytest.raises(ValueError, match=r"must give \(N, P \* 2\).*got \(1, 5\)"):
        model.loss(Tensor(np.zeros((1, 6), "float32")))


def test_the_command_prints_the_dead_codes(tmp_path, capsys):
    arguments = ["train", "vqvae", "--data", "optdigits", "--epochs", "1", "--sizes", "16", "--positions", "4"]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert "of 64 vectors in use on 1,797 images" in told
    assert " dead; perplexity" in told
    assert "commitment" in told
