"""The vector-quantized autoencoder: the nearest vector, the gradient that skips the choice, the codebook that follows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import distance

from tinyae import data, fit, load, save
from tinyae.autodiff import Tensor, grad
from tinyae.backend import Backend
from tinyae.data import Split
from tinyae.models import Codebook, CodePrior, VectorQuantizedAutoencoder, build, vq_autoencoder
from tinyae.models.vector_quantized import chow_liu_tree


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
    assert_allclose(book(Tensor(device.to_device(z))).numpy(), vectors[numbers], rtol=1e-5, atol=1e-6)


def test_the_gradient_skips_the_choice(rng):
    book = Codebook(4, 2, generator=rng).eval()
    z = Tensor(rng.standard_normal((6, 2)).astype("float32"), requires_grad=True)
    weights = rng.standard_normal((6, 2)).astype("float32")
    (found,) = grad((book(z) * weights).sum(), [z])
    assert_array_equal(found.data, weights)


def test_the_codebook_follows_as_a_running_mean(rng):
    book = Codebook(3, 2, decay=0.9, generator=rng)
    first = rng.standard_normal((30, 2)).astype("float32")
    book(Tensor(first))
    counts, sums, vectors = np.ones(3), *[first[[0, 10, 20]].astype(float)] * 2
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


def test_a_vector_that_nobody_chooses_keeps_its_place(rng, device: Backend):
    """After 3,000 batches its count is 0 to any precision; chosen again, it goes to where it is wanted."""
    book = Codebook(2, 3, decay=0.99, generator=rng).to(device.name)
    far, near = np.full((1, 3), 7.0, "float32"), np.full((1, 3), -1.0, "float32")
    book(Tensor(device.to_device(np.concatenate([far, near]))))
    for _ in range(3000):
        book(Tensor(device.to_device(near)))
    assert_allclose(device.to_host(book.vectors.data), np.concatenate([far, near]), rtol=1e-3)
    wanted = np.array([[5.0, 6.0, 9.0]], "float32")
    book(Tensor(device.to_device(wanted)))
    assert_allclose(device.to_host(book.vectors.data)[0], wanted[0], rtol=1e-5)


def test_with_decay_0_it_is_k_means(rng):
    """Each batch of all data is then one step of Lloyd's algorithm: the vectors become the means of their members."""
    centers = np.array([[5.0, 0.0], [-5.0, 0.0], [0.0, 8.0]])
    z = (np.repeat(centers, 50, axis=0) + 0.1 * rng.standard_normal((150, 2))).astype("float32")
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
    nats = float(np.sum(np.logaddexp(0, logits) - x * logits)) / 9
    assert loss.terms["reconstruction"].item() == pytest.approx(nats, rel=1e-5)
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
    line, bits = model.report(Split(x))
    assert f"{used} of 30 vectors in use on 120 samples, {30 - used} dead" in line
    assert used <= 12, "two positions, six different samples"
    assert "2 integers per sample, at most 10 bits" in bits
    again = load(save(model, tmp_path / "m.safetensors"))
    assert_array_equal(again.indices(x), model.indices(x))
    vectors = again.codebook.vectors.numpy().copy()
    again.train().loss(Tensor(x[:4]))
    assert np.abs(again.codebook.vectors.numpy() - vectors).max() < 0.5, "a trained codebook is not begun anew"


def chain(rng: np.random.Generator, n: int = 4000) -> np.ndarray:
    """Codes of 4 positions: 2 follows 0, 1 follows 2, and 3 is on its own."""
    root, alone = rng.integers(0, 3, n), rng.integers(0, 3, n)
    second = np.where(rng.random(n) < 0.8, root, rng.integers(0, 3, n))
    third = np.where(rng.random(n) < 0.9, second, rng.integers(0, 3, n))
    return np.stack([root, third, second, alone], axis=1)


def test_the_tree_is_the_best_of_all_spanning_trees(rng):
    weights = rng.random((5, 5))
    weights = weights + weights.T
    order, parents = chow_liu_tree(weights)
    assert order[0] == 0
    assert sorted(order) == list(range(5))
    assert all(parents[child] in order[: list(order).index(child)] for child in order[1:])
    total = sum(weights[child, parents[child]] for child in order[1:])
    # Of all graphs of four edges the connected ones are the spanning trees; SciPy counts the parts.
    edges = list(itertools.combinations(range(5), 2))
    best = max(
        sum(weights[edge] for edge in chosen)
        for chosen in itertools.combinations(edges, 4)
        if connected_components(coo_array((np.ones(4), np.array(chosen).T), (5, 5)), directed=False)[0] == 1
    )
    assert total == pytest.approx(best)


def test_the_prior_finds_who_follows_whom_and_draws_like_the_codes(rng):
    codes = chain(rng)
    prior = CodePrior(codes, 3)
    links = {frozenset((i, int(p))) for i, p in enumerate(prior.parents) if p >= 0}
    assert {frozenset((0, 2)), frozenset((1, 2))} <= links
    drawn = prior.sample(4000, rng)
    for i, j in ((0, 2), (2, 1), (0, 3)):
        pairs = [np.histogram2d(c[:, i], c[:, j], bins=3)[0] / 4000 for c in (codes, drawn)]
        assert_allclose(pairs[0], pairs[1], atol=0.03)
    every = np.array(list(itertools.product(range(3), repeat=4)))
    assert np.exp(prior.log_prob(every)).sum() == pytest.approx(1.0)
    held_out = chain(np.random.default_rng(1))
    assert prior.log_prob(held_out).mean() > -4 * np.log(3) + 0.9


def test_the_prior_of_one_position_is_its_counts():
    prior = CodePrior(np.array([[0], [0], [1], [0]]), 3)
    alone = (np.array([3, 1, 0]) + 1 / 3) / 5
    expected = (np.array([3, 1, 0]) + 10 * alone) / 14
    assert_allclose(np.exp(prior.log_prob(np.array([[0], [1], [2]]))), expected, rtol=1e-12)


def test_samples_are_decoded_codes_of_the_prior(rng):
    x = rng.random((50, 6)).astype("float32")
    model = small().eval()
    with pytest.raises(ValueError, match=r"write model.fit_prior\(train.x\) before model.sample\(n\)"):
        model.sample(3)
    assert model.fit_prior(x) is model
    numbers = model.prior.sample(4, np.random.default_rng(2))
    vectors = model.codebook.vectors.numpy()[numbers].reshape(4, 6)
    assert_array_equal(model.sample(4, np.random.default_rng(2)), model.decode(vectors))
    with pytest.raises(ValueError, match="n must be a whole number of at least 1, got 0"):
        model.sample(0)


@pytest.mark.parametrize(("codes", "sentence"), [
    (np.zeros((3, 2)), r"whole numbers \(N, P\), got float64"),
    (np.zeros(3, int), r"of shape \(3,\)"),
    (np.zeros((0, 2), int), r"of shape \(0, 2\)"),
    (np.array([[0, 3]]), "from 0 to 2, got 0 to 3"),
])  # fmt: skip
def test_codes_that_are_none_are_refused(codes, sentence):
    with pytest.raises(ValueError, match=sentence):
        CodePrior(codes, 3)


def test_the_command_prints_the_dead_codes(tmp_path, tinyae, refused, unpainted):
    told = tinyae("train vqvae --data optdigits --epochs 1 --sizes 16 --positions 4 --out run")
    assert "of 64 vectors in use on 1,797 images" in told
    assert " dead; perplexity" in told
    assert "commitment" in told
    assert {"codebook.png", "samples.png"} <= {path.name for path in (tmp_path / "run").glob("*.png")}
    tinyae("sample run -n 5 --seed 3 --out s.npy")
    prior = load("run").fit_prior(data.load("optdigits").train.x)
    assert_array_equal(np.load("s.npy"), prior.sample(5, np.random.default_rng(3)))
    assert "a VQ-VAE has no" in refused("sample run --pixels")
    assert "and this is a vqvae" in refused("sample run --label 1")
