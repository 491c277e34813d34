"""The autoencoders against formulas written out in NumPy, and PCA against the singular value decomposition."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import linalg, special

from tests.launch_budgets import build_small, small_batch
from tinyae import data, fit, models, nn, optim
from tinyae.autodiff import Tensor
from tinyae.data import Split
from tinyae.models import MODELS, PCA, Autoencoder, Batch, basic_autoencoder, build, deep_autoencoder
from tinyae.testing import check_module, differences
from tinyae.training import evaluate

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "elu": lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1),
    "sigmoid": special.expit,
    "tanh": np.tanh,
}


def double(model: Autoencoder) -> Autoencoder:
    """The model with float64 parameters, biases not 0."""
    rng = np.random.default_rng(1)
    for parameter in model.to(dtype="float64").parameters():
        parameter.data = parameter.data + 0.1 * rng.standard_normal(parameter.shape)
    return model


def small(form: str, rng: np.random.Generator, shape: int | tuple[int, ...] = 12, **options) -> Autoencoder:
    """A float64 model of the form "basic" (12-4-12) or "deep" (12-9-6-4-6-9-12)."""
    if form == "basic":
        return double(basic_autoencoder(shape, 4, generator=rng, **options))
    return double(deep_autoencoder(shape, (9, 6, 4), generator=rng, **options))


def run_layers(layers: nn.Module, x: np.ndarray) -> np.ndarray:
    """What a stack of Dense and TiedDense layers computes, from its parameters alone."""
    for layer in layers:
        if isinstance(layer, (nn.Dense, nn.TiedDense)):
            weight = layer.weight.numpy()
            weight = weight.T if isinstance(layer, nn.TiedDense) else weight
            x = ACTIVATIONS[layer.activation](x.reshape(len(x), -1) @ weight + layer.bias.numpy())
    return x


forms = pytest.mark.parametrize("form", ["basic", "deep"])
ties = pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
every_loss = pytest.mark.parametrize("loss", models.RECONSTRUCTIONS)


@every_loss
@ties
@forms
def test_codes_and_reconstructions_are_the_written_out_formula(form, tied, loss, rng):
    model = small(form, rng, shape=(2, 3, 2), tied=tied, loss=loss)
    x = rng.uniform(size=(11, 2, 3, 2))
    codes = run_layers(model.encoder, x)
    raw = run_layers(model.decoder, codes).reshape(x.shape)
    output = special.expit(raw) if loss == "bce" else raw
    assert_allclose(model.encode(x), codes, rtol=1e-12, atol=1e-14)
    assert_allclose(model.decode(codes), output, rtol=1e-12, atol=1e-14)
    assert_allclose(model.reconstruct(x), output, rtol=1e-12, atol=1e-14)
    assert_allclose(model(Tensor(x)).data, raw, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(12,), (2, 3, 2)], ids=["vectors", "images"])
@pytest.mark.parametrize("batch_size", [1, 4, 11, 1000])
def test_batches_tensors_and_arrays_agree(shape, batch_size, rng):
    model = small("deep", rng, shape=shape)
    x = rng.uniform(size=(11, *shape))
    codes = model.encode(Tensor(x))
    assert isinstance(codes, Tensor)
    assert codes.requires_grad
    batched = model.encode(x, batch_size=batch_size)
    assert type(batched) is np.ndarray
    assert_allclose(batched, codes.data, rtol=1e-12, atol=1e-14)
    assert_allclose(model.decode(batched, batch_size=batch_size), model.decode(codes).data, rtol=1e-12)
    reconstructed = model.reconstruct(x, batch_size=batch_size)
    assert reconstructed.shape == x.shape
    assert_allclose(reconstructed, model.reconstruct(Tensor(x)).data, rtol=1e-12)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("output_activation", ["sigmoid", "tanh"])
def test_the_output_activation_ends_the_decoder(output_activation, rng):
    x = rng.uniform(size=(5, 12))
    model = small("deep", rng, loss="squared_error", output_activation=output_activation)
    assert model.decoder[-1].activation == output_activation
    assert_allclose(model.reconstruct(x), run_layers(model.decoder, run_layers(model.encoder, x)), rtol=1e-12)
    with pytest.raises(ValueError, match="takes logits"):
        deep_autoencoder(12, (4,), output_activation=output_activation)


def test_host_arrays_take_the_parameters_dtype(rng):
    model = basic_autoencoder(12, 4, generator=rng)
    for dtype in ("float64", "float32", "float16"):
        x = (np.arange(24).reshape(2, 12) / 24).astype(dtype)
        assert model.encode(x).dtype == model.reconstruct(x).dtype == np.float32


def test_arrays_run_in_evaluation_mode_and_every_mode_is_restored(rng):
    encoder = nn.Sequential(nn.Dense(6, 5, generator=rng), nn.Dropout(0.5, generator=np.random.default_rng(0)))
    model = Autoencoder(encoder, nn.Dense(5, 6, generator=rng))
    encoder[0].eval()
    x = rng.uniform(size=(40, 6)).astype("float32")
    modes = [module.training for _, module in model.named_modules()]
    weight, bias = encoder[0].weight.numpy(), encoder[0].bias.numpy()
    assert_allclose(model.encode(x), x @ weight + bias, rtol=1e-5, atol=1e-6)
    assert_array_equal(model.reconstruct(x), model.reconstruct(x))
    with pytest.raises(ValueError, match="6"):
        model.encode(np.zeros((2, 7), "float32"))
    assert [module.training for _, module in model.named_modules()] == modes
    dropped = model.encode(Tensor(x)).data
    assert (dropped == 0).mean() == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize(("sizes", "count"), [
    ((784, 32), 784 * 32 + 32 + 32 * 784 + 784),
    ((784, 1000, 500, 250, 30), 2_837_314),
    ((64, 20, 5), 64 * 20 + 20 + 20 * 5 + 5 + 5 * 20 + 20 + 20 * 64 + 64),
])  # fmt: skip
def test_parameter_counts(sizes, count, rng):
    first, *rest = sizes
    assert deep_autoencoder(first, rest, generator=rng).parameter_count() == count
    tied = deep_autoencoder(first, rest, tied=True, generator=rng)
    assert tied.parameter_count() == sum(a * b + b + a for a, b in itertools.pairwise(sizes))
    if len(rest) == 1:
        assert basic_autoencoder(first, rest[0], generator=rng).parameter_count() == count


def test_the_defaults_are_the_classic_sizes():
    def widths(model: Autoencoder) -> list[int]:
        layers = [*model.encoder, *model.decoder]
        return [layers[0].in_features, *(layer.out_features for layer in layers)]

    assert widths(basic_autoencoder()) == [784, 32, 784]
    assert widths(deep_autoencoder()) == [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    for half in (deep_autoencoder().encoder, deep_autoencoder().decoder):
        assert [layer.activation for layer in half] == ["relu", "relu", "relu", "identity"]


@every_loss
@ties
@forms
def test_the_gradient_of_the_whole_model_by_central_differences(form, tied, loss, rng, monkeypatch):
    """Along random directions through all elements of the input and of each parameter."""
    monkeypatch.setattr(differences, "SMALL", 8)
    model = small(form, rng, shape=(2, 3, 2), tied=tied, loss=loss)
    check_module(model, rng.uniform(size=(9, 2, 3, 2)), call=lambda m, x: m.loss(x).total)


def test_the_loss_has_a_name_a_unit_and_may_have_another_target(rng):
    model = small("basic", rng, loss="squared_error", sample="image")
    x, target = rng.uniform(size=(5, 12)), rng.uniform(size=(5, 12))
    output = run_layers(model.decoder, run_layers(model.encoder, x))
    loss = model.loss(Batch(Tensor(x), Tensor(target)))
    assert list(loss.terms) == ["reconstruction"]
    assert loss.unit == model.loss_unit == "squared error per image"
    assert loss.item() == pytest.approx(np.sum((output - target) ** 2) / 5, rel=1e-12)
    assert model.loss(Tensor(x)).item() == pytest.approx(np.sum((output - x) ** 2) / 5, rel=1e-12)
    assert basic_autoencoder(3, 1, loss="bce").loss_unit == "nats per sample"
    with pytest.raises(ValueError, match="must be equal"):
        model.loss(Batch(Tensor(x), Tensor(target[:, :3])))


PLAIN, X, SERIES = basic_autoencoder(12, 4), np.eye(2, 12, dtype="float32"), np.zeros((1, 4, 3))


@pytest.mark.parametrize(("make", "error", "words"), [
    (lambda: build("gan", {}), ValueError, "unknown model 'gan': choose one of basic, deep"),
    (lambda: basic_autoencoder(12, 4, loss="l3"), ValueError, "'l3': choose one of bce, squared_error"),
    (lambda: basic_autoencoder(12, 4, activation="swish"), ValueError, "unknown activation 'swish'"),
    (lambda: basic_autoencoder(12, 0), ValueError, "sizes must be whole numbers of at least 1"),
    (lambda: basic_autoencoder(12, 2.5), ValueError, "sizes must be whole numbers of at least 1"),
    (lambda: basic_autoencoder((4, 0), 2), ValueError, "input_shape must be whole numbers of at least 1"),
    (lambda: basic_autoencoder((), 2), ValueError, "input_shape must be whole numbers of at least 1"),
    (lambda: deep_autoencoder(12, ()), ValueError, "sizes must be whole numbers of at least 1"),
    (lambda: basic_autoencoder(12, 4, generator=3), TypeError, "must be a numpy.random.Generator, got 3"),
    (lambda: basic_autoencoder(12, 4).encode({0.0}), TypeError, r"a Tensor or an array of numbers \(N, ...\), got set"),
    (lambda: basic_autoencoder(12, 4).encode(np.zeros((0, 12))), ValueError, r"empty array of shape \(0, 12\)"),
    (lambda: basic_autoencoder(12, 4).encode(np.zeros((2, 12)), 0), ValueError, "batch_size must be a whole number of at least 1"),
    (lambda: basic_autoencoder(12, 4).encode(np.zeros((2, 12)), "8"), TypeError, "batch_size must be a number, got str"),
    (lambda: basic_autoencoder(12, 4).decode(np.zeros(4)), ValueError, r"codes must be finite and \(N, K\), got shape \(4,\)"),
    (lambda: basic_autoencoder(12, 4).decode(np.full((2, 4), np.nan)), ValueError, "give rows without NaN"),
    (lambda: build("cvae", BASES["cvae"]).decode(np.zeros(3)), ValueError, r"codes must be finite and \(N, K\)"),
    (lambda: build("lstm", {"input_shape": (4, 3), "hidden_size": 5}).decode(np.full((2, 5), np.inf)), ValueError, "codes must be finite"),
    (lambda: PCA(1).fit(np.array([[1.0, 2.0], [np.nan, 1.0]])), ValueError, "PCA: the samples hold NaN"),
    (lambda: PCA(1).fit(np.ma.masked_equal(np.eye(3), 1.0)), TypeError, "masked values need a number"),
    (lambda: basic_autoencoder(12, 4).encode(np.zeros((2, 11))), ValueError, "12"),
    (lambda: basic_autoencoder(12, 4).decode(np.zeros((2, 5))), ValueError, "4"),
    (lambda: PCA(1).encode(np.zeros((2, 9))), ValueError, r"has not been fitted: call fit\(x\) first"),
    (lambda: PCA(1).decode(np.zeros((2, 1))), ValueError, r"has not been fitted: call fit\(x\) first"),
    (lambda: models.SoftmaxClassifier(None, 3, 2, weight_decay=-3), ValueError, "weight_decay must be at least 0"),
    (lambda: models.SoftmaxClassifier(None, 3, 2, weight_decay=np.nan), ValueError, "weight_decay must be at least 0"),
    (lambda: PCA(0), ValueError, "code_size must be a whole number of at least 1, got 0"),
    (lambda: PCA(3).fit(np.zeros((2, 9))), ValueError, "code_size must be at most 2.*got 3"),
    (lambda: PCA(3).fit(np.zeros((9, 2))), ValueError, "code_size must be at most 2.*got 3"),
    (lambda: PCA(1).fit(np.zeros(9)), ValueError, r"samples \(N, ...\) with N > 0, got shape \(9,\)"),
    (lambda: PCA(1).fit(np.zeros((0, 9))), ValueError, "with N > 0"),
    *[(lambda quantile=quantile: models.AnomalyDetector(PLAIN, quantile), ValueError, "between 0 and 1")
      for quantile in (0.0, 1.0, -1.0, float("nan"))],
    (lambda: models.AnomalyDetector(PLAIN).flag(X), ValueError, "fit"),
    (lambda: models.CodeNeighbors(PLAIN).query(X), ValueError, r"fit\(samples\)"),
    (lambda: models.nearest(X, X, 3), ValueError, "between 1 and the 2"),
    (lambda: models.gradient_per_step(PLAIN, Split(SERIES), of="memory"), ValueError, "'loss' or 'code'"),
    (lambda: models.gradient_per_step(PLAIN, Split(X)), ValueError, r"sequences \(N, T, D\)"),
    (lambda: models.VectorQuantizedAutoencoder(nn.Dense(6, 5), nn.Dense(5, 6), models.Codebook(4, 2)).encode(X[:, :6]),
     ValueError, r"must output \(N, P \* 2\).*got \(2, 5\)"),
    (lambda: models.DenoisingAutoencoder(nn.Dense(4, 3), nn.Dense(3, 4), 0.25), TypeError,
     "noise must be a tinyae.nn.Noise, got 0.25"),
    (lambda: models.StackedAutoencoder([]), ValueError, "at least one layer"),
    (lambda: models.StackedAutoencoder([basic_autoencoder(7, 5), basic_autoencoder(4, 2)]), ValueError,
     "layer 1 outputs codes of size 5, but layer 2 takes 4: build layer 2 for 5"),
    (lambda: models.VariationalAutoencoder(nn.Dense(6, 3), nn.Dense(2, 6)).loss(Tensor(X[:1, :6])), ValueError,
     r"the encoder must output \(N, 4\), 2 means and as many log-variances.*\(1, 3\)"),
    (lambda: fit(build("vae", BASES["vae"]), 255 * X[:, :6]), ValueError,
     r"needs values in \[0, 1\], got values from 0 to 255"),
    (lambda: fit(build("vae", {**BASES["vae"], "likelihood": "bernoulli"}), X[:, :6] / 2), ValueError,
     "black-and-white"),
    (lambda: build("vae", BASES["vae"]).sample(0), ValueError, "n must be a whole number of at least 1"),
    *[(lambda name=name, n=n: build(name, BASES[name]).sample(n), (TypeError, ValueError), "sample: n must be a")
      for name in ("vae", "cvae", "vqvae") for n in (1.5, "3", True, None)],
    (lambda: build("cvae", BASES["cvae"]).sample(2, labels=1), ValueError, r"one label for each of n=2, got labels of shape \(\)"),
    (lambda: build("vae", {**BASES["vae"], "warmup": True}), TypeError, "warmup must be a"),
    (lambda: models.normal_quantiles(2.5), ValueError, "n must be a whole number of at least 1"),
    (lambda: build("conv", BASES["conv"]).reconstruct(np.zeros((2, 8, 8, 3), "float32")), ValueError,
     r"the input must be \(N, H, W, 1\), got shape \(2, 8, 8, 3\)"),
    (lambda: build("conv", BASES["conv"]).reconstruct(np.zeros((2, 32, 32, 1), "f4")), ValueError,
     "the last axis of the input must be 128"),
    (lambda: nn.Crop(9, 2)(np.zeros((2, 8, 8, 3), "float32")), ValueError,
     r"Crop\(9, 2\): the input must be at least 9x2, got 8x8: enlarge it first"),
    (lambda: models.latent_grid(3, 1), ValueError, "two different latent dimensions"),
])  # fmt: skip
def test_bad_arguments_say_what_was_got(make, error, words):
    with pytest.raises(error, match=words):
        make()


BASES = {
    "sparse": {"input_shape": 64, "code_size": 25},
    "contractive": {"input_shape": 8, "sizes": [4]},
    "denoising": {"input_shape": 6, "code_size": 4},
    "stacked": {"input_shape": 64},
    "conv": {"input_shape": (8, 8, 1)},
    "vae": {"input_shape": 6, "sizes": (5,), "latent_size": 2},
    "cvae": {"input_shape": 6, "sizes": (5,), "latent_size": 2, "classes": 3},
    "vqvae": {"input_shape": 6, "sizes": (8,), "positions": 3, "codebook_size": 5, "code_features": 2},
}


@pytest.mark.parametrize(("model", "options", "words"), [
    ("sparse", {"rho": 0.0}, "rho must lie between 0 and 1, got 0"),
    ("sparse", {"rho": 1.0}, "rho must lie between 0 and 1"),
    ("sparse", {"rho": float("nan")}, "rho must lie"),
    ("sparse", {"beta": -1.0}, "beta must be at least 0"),
    ("sparse", {"weight_decay": float("inf")}, "weight_decay must be at least 0 and finite"),
    ("sparse", {"sparsity": "l0"}, "unknown sparsity 'l0': choose one of kl, l1, topk"),
    ("sparse", {"activation": "relu"}, r"codes must lie in \(0, 1\); got activation 'relu'"),
    ("sparse", {"sparsity": "topk", "k": 26}, "between 1 and the code size 25, got 26"),
    ("sparse", {"sparsity": "topk", "k": 0}, "between 1 and the code size 25, got 0"),
    ("sparse", {"sparsity": "topk", "k": 3, "evaluation_k": 26},
     "evaluation_k must lie between 1 and the code size 25, got 26"),
    ("sparse", {"k": 3}, "k and evaluation_k need sparsity 'topk'"),
    ("sparse", {"evaluation_k": 3}, "evaluation_k=3 with 'kl': leave them out"),
    ("contractive", {"contraction": -1.0}, "at least 0"),
    ("contractive", {"contraction": float("nan")}, "at least 0"),
    ("contractive", {"jacobian": "numeric"},
     "unknown jacobian 'numeric': choose one of auto, closed, exact, hutchinson"),
    ("contractive", {"jacobian": "hutchinson", "probes": 0}, "probes must be a whole number of at least 1"),
    ("contractive", {"sizes": [5, 3], "jacobian": "closed"}, "one Dense layer"),
    ("denoising", {"corruption": "rain"},
     "unknown corruption 'rain': choose one of masking, gaussian, salt-and-pepper"),
    ("denoising", {"level": 1.0}, r"MaskingNoise: rate must be a finite number, at least 0 and below 1, got 1.0"),
    ("denoising", {"level": -0.5, "corruption": "salt-and-pepper"},
     r"SaltAndPepperNoise: rate must be .* at least 0 and below 1"),
    ("denoising", {"level": -0.5, "corruption": "gaussian"}, "GaussianNoise: std must be a finite number, at least 0"),
    ("denoising", {"alpha": -1.0}, "alpha and beta must be at least 0"),
    ("denoising", {"alpha": 0.0, "beta": 0.0}, "not both 0"),
    ("denoising", {"beta": float("nan")}, "finite"),
    ("denoising", {"alpha": float("inf")}, "finite"),
    ("denoising", {"alpha": 2.0, "corruption": "gaussian"},
     r"must be equal for GaussianNoise\(0.25\).*leave both at 1"),
    ("denoising", {"code_size": 0}, "sizes must be whole numbers of at least 1"),
    ("denoising", {"loss": "l3"}, "unknown reconstruction loss 'l3'"),
    ("stacked", {"sizes": ()}, "at least one layer"),
    ("stacked", {"layer": "dense"}, "unknown kind of layer 'dense': choose one of sparse, denoising, plain"),
    ("stacked", {"classes": 1}, "at least 2 classes"),
    ("stacked", {"layer": "sparse", "rho": 2.0}, "rho must lie"),
    ("conv", {"input_shape": 64},
     r"takes images \(H, W, C\), got samples of shape \(64,\): choose a data set of images"),
    ("conv", {"input_shape": (28, 28)}, r"add the channel of gray images by x\[..., None\]"),
    ("conv", {"form": "resnet"}, "unknown form 'resnet': choose one of keras, strided"),
    ("conv", {"form": "resnet", "channels": (2,)}, "unknown form 'resnet'"),
    ("conv", {"upsampling": "cubic"},
     "unknown upsampling 'cubic': choose one of nearest, bilinear, transposed, pixelshuffle"),
    ("conv", {"channels": ()}, r"at least one stage, got none: write channels="),
    ("conv", {"channels": (4, 0)}, "channels must be a whole number of at least 1, got 0"),
    ("conv", {"kernel_size": 0}, "kernel_size must be a whole number of at least 1.* got 0"),
    ("conv", {"code_size": -1}, "must be a whole number of at least 1, got -1"),
    ("conv", {"activation": "swish"}, "unknown activation 'swish'"),
    ("vae", {"beta": -1.0}, "beta must be at least 0 and finite, got -1"),
    ("vae", {"beta": float("nan")}, "beta must be at least 0"),
    ("vae", {"free_bits": -0.1}, "free_bits must be at least 0"),
    ("vae", {"warmup": -2}, "warmup must be a whole number"),
    ("vae", {"likelihood": "poisson"}, "unknown likelihood"),
    ("vae", {"latent_size": 0}, "latent_size must be a whole number"),
    ("vae", {"scale": 0.2}, "'gray-bce' has no scale"),
    ("vae", {"binarize": "dynamic"}, "write likelihood='bernoulli'"),
    ("vae", {"binarize": "often"}, "unknown binarize"),
    ("vqvae", {"commitment": -1.0}, "commitment must be at least 0"),
    ("vqvae", {"decay": 1.0}, "decay must be in"),
    ("vqvae", {"codebook_size": 0}, "size must be a whole number"),
    ("vqvae", {"positions": 0}, "positions must be a whole number"),
    ("vae", {"importance_samples": 0}, "importance_samples must be a whole number"),
    ("vae", {"importance_samples": 5, "beta": 2.0}, "no KL term"),
    ("vae", {"importance_samples": 5, "warmup": 3}, "no KL term"),
    ("vae", {"importance_samples": 5, "free_bits": 0.1}, "no KL term"),
    ("cvae", {"beta": -1.0}, "beta must be at least 0"),
])  # fmt: skip
def test_bad_options_of_a_model_are_refused_with_the_fix(model, options, words):
    with pytest.raises(ValueError, match=words):
        MODELS[model].builder(**{**BASES[model], **options})


@pytest.mark.parametrize(("n", "dtype"), [(40, "float64"), (5000, "float64"), (9, "float64"), (300, "float32")])
def test_pca_is_the_truncated_singular_value_decomposition(n, dtype, rng):
    scales = np.array([5, 4, 3, 2, 1.5, 1, 0.7, 0.5, 0.3, 0.1])
    x = ((rng.standard_normal((n, 10)) * scales) @ linalg.qr(rng.standard_normal((10, 10)))[0] + 7).astype(dtype)
    exact = x.astype("float64")
    mean = exact.mean(axis=0)
    u, s, vt = np.linalg.svd(exact - mean, full_matrices=False)
    pca = PCA(4).fit(x.reshape(n, 5, 2, 1))
    signs = np.sign(np.sum(pca.components_ * vt[:4], axis=1))
    assert_allclose(pca.mean_, mean, rtol=1e-12)
    assert_allclose(pca.components_ * signs[:, None], vt[:4], atol=1e-9)
    assert_allclose(pca.variances_, s[:4] ** 2 / n, rtol=1e-9)
    assert_allclose(pca.encode(x) * signs, u[:, :4] * s[:4], atol=1e-7)
    assert_allclose(pca.reconstruct(x), (u[:, :4] * s[:4]) @ vt[:4] + mean, atol=1e-7)
    assert_array_equal(pca.reconstruct(x.reshape(n, 5, 2, 1)), pca.reconstruct(x).reshape(n, 5, 2, 1))
    assert_allclose(pca.decode(pca.encode(x)), pca.reconstruct(x), atol=1e-12)
    assert pca.squared_error(x) == pytest.approx(np.sum(s[4:] ** 2) / n, rel=1e-6)


@ties
def test_a_linear_autoencoder_ends_in_the_subspace_of_pca(tied, rng):
    x = data.load("optdigits").train.x
    linear = {"activation": "identity", "loss": "squared_error", "tied": tied}
    model = basic_autoencoder((8, 8, 1), 4, generator=rng, **linear)
    fit(model, x, epochs=250, optimizer=optim.LBFGS(model.parameters()), progress=False)
    pca = PCA(4).fit(x)
    least = pca.squared_error(x)
    assert least * (1 - 1e-5) <= evaluate(model, x)["squared_error"] <= least * 1.01
    layer = model.decoder[0]
    spanned = layer.weight.numpy() if tied else layer.weight.numpy().T
    angles = np.degrees(linalg.subspace_angles(spanned.astype("float64"), pca.components_.T))
    assert angles.max() < 2.0


def doors(model: Autoencoder, x: np.ndarray) -> dict[str, Callable[[], object]]:
    """Everything that takes samples."""
    detector = models.AnomalyDetector(model)
    detector.threshold = 1.0
    return {
        "fit": lambda: fit(model, x, epochs=1, progress=False),
        "evaluate": lambda: evaluate(model, x),
        "encode": lambda: model.encode(x),
        "reconstruct": lambda: model.reconstruct(x),
        "detector.fit": lambda: detector.fit(x),
        "detector.score": lambda: detector.score(x),
        "detector.flag": lambda: detector.flag(x),
        "neighbors": lambda: models.CodeNeighbors(model).fit(x),
    }


DOORS = list(doors(basic_autoencoder(4, 2), np.zeros(1)))


def spoiled(value: float, dtype: str = "float32") -> np.ndarray:
    x = np.full((3, 6), 0.5, dtype)
    x[1, 2] = value
    return x


UNFIT = [
    (spoiled(np.nan), ValueError, r"1 values are NaN or infinite, the first at index \(1, 2\)"),
    (spoiled(-np.inf), ValueError, r"1 values are NaN or infinite, the first at index \(1, 2\)"),
    (spoiled(1e39, "float64"), ValueError, r"1 values are too large for float32, the first at index \(1, 2\)"),
    (np.full((3, 6), 200, "uint8"), TypeError, "must be floating point, got dtype uint8"),
    (np.ones((3, 6), bool), TypeError, "must be floating point, got dtype bool"),
    (spoiled(1.5), ValueError, r"needs (targets|values) in \[0, 1\], got values from 0.5 to 1.5"),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("x", "error", "words"), UNFIT)
@pytest.mark.parametrize("build", [lambda: basic_autoencoder(6, 2), lambda: models.variational_autoencoder(6, (4,), 2)])
def test_every_door_refuses_what_fit_refuses(build, x, error, words, door):
    with pytest.raises(error, match=words):
        doors(build(), x)[door]()


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("memory", "cvae")])
def test_no_model_encodes_or_restores_what_is_not_finite(name):
    model, x = build_small(name), small_batch(name)
    x[(0,) * x.ndim] = np.nan
    for act in (model.encode, model.reconstruct, partial(evaluate, model)):
        with pytest.raises(ValueError, match="NaN or infinite, the first at index"):
            act(x)


def test_damaged_samples_may_leave_the_range_of_the_targets_of_a_denoising_model(rng):
    x = rng.normal(size=(3, 6)).astype("float32")
    model = models.denoising_autoencoder(6, 4, generator=rng)
    assert model.encode(x).shape == (3, 4)
    assert model.reconstruct(x).shape == (3, 6)
    with pytest.raises(ValueError, match="needs targets in"):
        evaluate(model, x)


@pytest.mark.parametrize(("shape", "given"), [
    ((4, 4, 1), (3, 16)), ((4, 4, 1), (3, 4, 4)), ((4, 4, 1), (3, 2, 8, 1)), ((16,), (3, 4, 4, 1)), ((2, 8, 1), (3, 8, 2, 1)),
])  # fmt: skip
@pytest.mark.parametrize("door", ["evaluate", "reconstruct", "detector.score"])
def test_samples_of_another_shape_are_refused_not_broadcast(shape, given, door, rng):
    with pytest.raises(ValueError, match="shape"):
        doors(basic_autoencoder(shape, 5, generator=rng), rng.random(given).astype("float32"))[door]()


def test_a_convolutional_model_gives_no_other_image_size(rng):
    model = models.conv_autoencoder((28, 28, 1), channels=(2, 2, 2), generator=rng)
    words = r"got samples of shape \(26, 28, 1\), but reconstructions have shape \(28, 28, 1\)"
    for act in (model.reconstruct, models.AnomalyDetector(model).score):
        with pytest.raises(ValueError, match=words):
            act(np.zeros((2, 26, 28, 1), "float32"))


@pytest.mark.parametrize("act", [
    evaluate, lambda model, x: models.AnomalyDetector(model).score(x), fit, lambda model, x: fit(model, x.x, x, epochs=1),
])  # fmt: skip
def test_lengths_for_a_model_that_takes_none_are_refused(act, rng):
    x = np.zeros((2, 3, 1), "float32")
    x[0], x[1, :2] = 0.5, 0.5
    with pytest.raises(ValueError, match=r"sequences are of unequal length, from 2 to 3.* train lstm, or cut"):
        act(basic_autoencoder((3, 1), 2, generator=rng), Split(x, lengths=np.array([3, 2])))
