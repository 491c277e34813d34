"""Layers: values against plain NumPy, behavior in training and evaluation, what errors say; and how weights start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinyae import nn
from tinyae.autodiff import Tensor, grad
from tinyae.backend import Backend

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda z: z,
    "relu": lambda z: np.where(z > 0, z, 0.0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4), (4,), (0, 4)])
def test_dense(shape: tuple[int, ...], activation: str, bias: bool, device: Backend, rng: np.random.Generator) -> None:
    layer = nn.Dense(4, 3, activation=activation, bias=bias, generator=rng, dtype=np.float64)
    if layer.bias is not None:
        layer.bias.data = rng.normal(size=3)
    x = rng.normal(size=shape)
    z = x @ layer.weight.numpy() + (layer.bias.numpy() if layer.bias is not None else 0.0)
    y = layer.to(device.name)(device.to_device(x))
    np.testing.assert_allclose(y.numpy(), FUNCTIONS[activation](z), rtol=1e-12, atol=1e-15)
    assert layer.parameter_count() == 12 + 3 * bias


def test_dense_starts_with_zero_bias_in_float32_and_keeps_it(rng: np.random.Generator) -> None:
    layer = nn.Dense(4, 3, activation="sigmoid", generator=rng)
    assert layer.weight.shape == (4, 3)
    np.testing.assert_array_equal(layer.bias.numpy(), np.zeros(3))
    y = layer(np.ones((2, 4), np.float32))
    assert y.dtype == layer.weight.dtype == np.float32
    y.sum().backward()
    assert layer.weight.grad.dtype == np.float32


def test_tied_dense(device: Backend, rng: np.random.Generator) -> None:
    source = nn.Dense(4, 3, generator=rng, dtype=np.float64)
    layer = nn.TiedDense(source, activation="sigmoid")
    layer.bias.data = rng.normal(size=4)
    code = rng.normal(size=(5, 3))
    expected = FUNCTIONS["sigmoid"](code @ source.weight.numpy().T + layer.bias.numpy())
    y = layer.to(device.name)(device.to_device(code))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
    assert source.weight.device == device.name  # there is one weight, and it moved
    assert layer.bias.dtype == np.float64


@pytest.mark.parametrize(("module", "expected"), [
    (nn.Identity(), lambda x: x),
    (nn.ReLU(), FUNCTIONS["relu"]),
    (nn.Sigmoid(), FUNCTIONS["sigmoid"]),
    (nn.Tanh(), FUNCTIONS["tanh"]),
    (nn.Softplus(), lambda x: np.log(1 + np.exp(x))),
    (nn.Softmax(), lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)),
    (nn.Softmax(axis=1), lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)),
    (nn.Flatten(), lambda x: np.stack([row.ravel() for row in x])),
    (nn.Reshape(6, 2), lambda x: np.stack([row.reshape(6, 2) for row in x])),
    (nn.Reshape((2, -1, 3)), lambda x: np.stack([row.reshape(2, 2, 3) for row in x])),
], ids=lambda value: repr(value) if isinstance(value, nn.Module) else "reference")  # fmt: skip
def test_layers_without_parameters(module, expected, device: Backend, rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 3, 4))
    np.testing.assert_allclose(module(device.to_device(x)).numpy(), expected(x), rtol=1e-12, atol=1e-15)
    assert module(device.to_device(x, np.float32)).dtype == np.float32
    assert module.parameters() == []


def test_reshape_of_an_empty_batch() -> None:
    assert nn.Reshape(2, -1)(np.zeros((0, 6), np.float32)).shape == (0, 2, 3)
    assert nn.Flatten()(np.zeros((0, 2, 3), np.float32)).shape == (0, 6)


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4), (4,)])
def test_layer_norm(shape: tuple[int, ...], device: Backend, rng: np.random.Generator) -> None:
    layer = nn.LayerNorm(4, eps=1e-3, dtype=np.float64)
    layer.weight.data, layer.bias.data = rng.normal(size=4), rng.normal(size=4)
    x = rng.normal(3.0, 2.0, shape)
    expected = np.empty(shape)
    for index in np.ndindex(shape[:-1]):
        row = x[index]
        standard = (row - np.mean(row)) / np.sqrt(np.var(row) + 1e-3)
        expected[index] = standard * layer.weight.numpy() + layer.bias.numpy()
    layer.to(device.name)
    x = device.to_device(x)
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-10)
    np.testing.assert_array_equal(layer.eval()(x).numpy(), layer.train()(x).numpy())


def test_layer_norm_of_a_constant_row_is_its_bias() -> None:
    np.testing.assert_array_equal(nn.LayerNorm(3)(np.full((2, 3), 7.0, np.float32)).numpy(), np.zeros((2, 3)))


@pytest.mark.parametrize("shape", [(8, 3), (4, 5, 3), (2, 3, 4, 3)])
def test_batch_norm_in_training_and_evaluation(shape, device: Backend, rng: np.random.Generator) -> None:
    layer = nn.BatchNorm(3, momentum=0.3, eps=1e-3, dtype=np.float64)
    layer.weight.data, layer.bias.data = rng.normal(size=3), rng.normal(size=3)
    layer.to(device.name)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(4):
        x = rng.normal(2.0, 3.0, shape)
        y = layer(device.to_device(x)).numpy()
        for c in range(3):
            values = x[..., c].ravel()
            standard = (x[..., c] - np.mean(values)) / np.sqrt(np.var(values) + 1e-3)
            np.testing.assert_allclose(y[..., c], standard * layer.weight.numpy()[c] + layer.bias.numpy()[c], rtol=1e-9)
            mean[c] = 0.7 * mean[c] + 0.3 * np.mean(values)
            var[c] = 0.7 * var[c] + 0.3 * np.var(values, ddof=1)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-12)
    layer.eval()
    expected = (x - mean) / np.sqrt(var + 1e-3) * layer.weight.numpy() + layer.bias.numpy()
    np.testing.assert_allclose(layer(device.to_device(x)).numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(layer(device.to_device(x[:1])).numpy(), expected[:1], rtol=1e-10)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)
    assert np.abs(expected - y).max() > 0.01


def test_batch_norm_running_averages_stay_float32_and_record_nothing(rng: np.random.Generator) -> None:
    layer = nn.BatchNorm(3)
    layer(rng.normal(size=(4, 3)))
    layer(Tensor(rng.normal(size=(4, 3)), requires_grad=True, dtype=np.float32))
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32
    assert not layer.running_var.requires_grad
    assert [name for name, _ in layer.named_buffers()] == ["running_mean", "running_var"]


def test_batch_norm_refuses_a_single_sample_in_training() -> None:
    layer = nn.BatchNorm(3)
    with pytest.raises(ValueError, match=r"BatchNorm\(3.*at least 2.*got shape \(1, 3\).*larger batch.*eval\(\)"):
        layer(np.zeros((1, 3), np.float32))
    np.testing.assert_array_equal(layer.running_mean.numpy(), np.zeros(3))
    assert layer(np.ones((1, 2, 3), np.float32)).shape == (1, 2, 3)
    assert layer.eval()(np.ones((1, 3), np.float32)).shape == (1, 3)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_keeps_the_share_and_the_mean(rate: float, device: Backend) -> None:
    layer = nn.Dropout(rate, np.random.default_rng(4))
    n = 200_000
    y = layer(device.to_device(np.full(n, 3.0))).numpy()
    kept = y != 0.0
    np.testing.assert_allclose(y[kept], 3.0 / (1.0 - rate), rtol=1e-12)
    assert abs(kept.mean() - (1.0 - rate)) < 5 * np.sqrt(rate * (1 - rate) / n)
    assert abs(y.mean() - 3.0) < 5 * 3.0 * np.sqrt(rate / (1 - rate) / n)


def test_dropout_is_repeatable_anew_at_each_call_and_off_in_evaluation(device: Backend, rng) -> None:
    x = device.to_device(rng.normal(size=(20, 20)), np.float32)
    one, two = nn.Dropout(0.5, np.random.default_rng(1)), nn.Dropout(0.5, np.random.default_rng(1))
    first = one(x).numpy()
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, two(x).numpy())
    second = one(x).numpy()
    assert np.any(first != second)
    np.testing.assert_array_equal(second, two(x).numpy())
    state = one.generator.bit_generator.state
    assert one.eval()(x).data is x
    assert nn.Dropout(0.0)(x).data is x
    assert one.generator.bit_generator.state == state


def test_the_gradient_of_dropout_uses_the_mask_of_its_call(rng: np.random.Generator) -> None:
    layer = nn.Dropout(0.5, rng)
    x = Tensor(np.ones((6, 5)), requires_grad=True)
    y = layer(x)
    layer(x)  # a later call draws another mask and must not disturb the first
    cotangent = rng.normal(size=(6, 5))
    np.testing.assert_allclose(grad(y, x, cotangent).numpy(), cotangent * y.numpy())


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (nn.Dense(784, 32), (2, 28, 28), r"Dense\(784, 32\).*must be 784, got shape \(2, 28, 28\): put nn.Flatten"),
    (nn.Dense(4, 2), (8,), r"must be 4, got shape \(8,\).*x.reshape\(2, 4\)"),
    (nn.Dense(4, 2, activation="tanh"), (3, 5), r"activation='tanh'\).*must be 4.*for 5 features"),
    (nn.Dense(4, 2), (), r"must be 4, got shape \(\)"),
    (nn.TiedDense(nn.Dense(4, 2)), (3, 4), r"TiedDense\(2, 4\).*must be 2, got shape \(3, 4\)"),
    (nn.LayerNorm(3), (2, 4), r"LayerNorm\(3.*must be 3, got shape \(2, 4\)"),
    (nn.BatchNorm(3), (2, 4), r"BatchNorm\(3.*must be 3, got shape \(2, 4\)"),
    (nn.Reshape(2, 5), (3, 12), r"Reshape\(2, 5\).*shape \(12,\) has 12 elements.*product is 12"),
    (nn.Reshape(5, -1), (3, 12), r"cannot be reshaped to \(5, -1\)"),
    (nn.Flatten(), (), r"batch axis N, got shape \(\)"),
])  # fmt: skip
def test_wrong_input_shape(layer: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer(np.zeros(shape, np.float32))


@pytest.mark.parametrize("layer", [nn.Dense(2, 2), nn.LayerNorm(2), nn.BatchNorm(2), nn.Dropout(0.5)], ids=repr)
@pytest.mark.parametrize(
    ("x", "got"),
    [([[1.0, 2.0]], "list"), (np.ones((2, 2), int), "ndarray of int64"), (Tensor([[1, 2]]), "Tensor of int64")],
)
def test_wrong_input_type(layer: nn.Module, x: Any, got: str) -> None:
    with pytest.raises(TypeError, match=f"floating-point numbers, got {got}: convert it first"):
        layer(x)


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: nn.Dense(0, 2), ValueError, "in_features must be a whole number of at least 1, got 0"),
    (lambda: nn.Dense(2, 2.5), ValueError, r"out_features must be a whole number .* got 2\.5"),
    (lambda: nn.Dense(2, True), TypeError, "out_features must be a number, got bool"),
    (lambda: nn.Dense(2, 2, activation="softplus"), ValueError, "unknown activation 'softplus': choose.*Softplus"),
    (lambda: nn.Dense(3, 2, initializer="xavier"), ValueError, "unknown initializer 'xavier'.*glorot_u.*orthogonal"),
    (lambda: nn.glorot_uniform((5,), np.random.default_rng(0)), ValueError, r"got \(5,\).*'zeros'"),
    (lambda: nn.Dense(2, 2, dtype=int), TypeError, "floating-point dtype, got int64.*float32"),
    (lambda: nn.Dense(2, 2, generator=3), TypeError, r"got 3: make one with numpy.random.default_rng"),
    (lambda: nn.TiedDense(nn.ReLU()), TypeError, r"got ReLU: write TiedDense\(encoder\)"),
    (lambda: nn.Dropout(1.0), ValueError, r"rate must be .* at least 0 and below 1, got 1\.0"),
    (lambda: nn.Dropout(-0.1), ValueError, r"got -0\.1"),
    (lambda: nn.Dropout(0.1, 7), TypeError, "numpy.random.Generator, got 7"),
    (lambda: nn.LayerNorm(3, eps=0.0), ValueError, r"eps must be a finite number, above 0, got 0\.0: 1e-5"),
    (lambda: nn.BatchNorm(3, momentum=1.5), ValueError, r"momentum must be in \[0, 1\], got 1\.5"),
    (lambda: nn.Reshape(-1, -1), ValueError, r"at most one of them -1, got \(-1, -1\)"),
    (lambda: nn.Reshape("28"), ValueError, r"whole numbers.*got \('28',\)"),
])  # fmt: skip
def test_wrong_argument(make: Callable[[], nn.Module], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("training", [True, False])
def test_same_numbers_as_pytorch(training: bool, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    ours = nn.Sequential(nn.Dense(5, 4, generator=rng), nn.BatchNorm(4), nn.LayerNorm(4)).train(training)
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4), torch.nn.LayerNorm(4)).train(training)
    for ours_part, theirs_part in zip(ours, theirs, strict=True):
        for parameter, other in zip(ours_part.parameters(), theirs_part.parameters(), strict=True):
            parameter.data = rng.normal(size=parameter.shape).astype(np.float32)
            other.data = torch.tensor(parameter.numpy().T.copy())
    for _ in range(3):
        x, cotangent = rng.normal(size=(6, 5)).astype(np.float32), rng.normal(size=(6, 4)).astype(np.float32)
        ours.zero_grad()
        theirs.zero_grad()
        y, z = ours(x), theirs(torch.tensor(x))
        np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-3, atol=1e-4)
        y.backward(cotangent)
        z.backward(torch.tensor(cotangent))
    for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), other.grad.numpy().T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(ours[1].running_var.numpy(), theirs[1].running_var.numpy(), rtol=1e-5)
    np.testing.assert_allclose(ours[1].running_mean.numpy(), theirs[1].running_mean.numpy(), rtol=1e-5, atol=1e-6)


DENSE, KERNEL = (300, 500), (3, 5, 40, 60)
FANS = {DENSE: (300, 500), KERNEL: (600, 900)}
VARIANCE = {
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
}


@pytest.mark.parametrize("shape", [DENSE, KERNEL], ids=["dense", "kernel"])
@pytest.mark.parametrize("name", VARIANCE)
def test_mean_variance_and_tails(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    weight = nn.INITIALIZERS[name](shape, rng, dtype=np.float64)
    variance = VARIANCE[name](*FANS[shape])
    assert weight.shape == shape
    # standard errors: mean sqrt(v/n), variance at most v sqrt(2/n); five of them
    assert abs(weight.mean()) < 5 * np.sqrt(variance / weight.size)
    assert abs(weight.var() / variance - 1) < 5 * np.sqrt(2 / weight.size)
    if "uniform" in name:
        assert 0.999 < np.abs(weight).max() / np.sqrt(3 * variance) <= 1
    else:
        assert np.mean(np.abs(weight) > 2 * np.sqrt(variance)) == pytest.approx(0.0455, abs=0.003)


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5), (3, 3, 2, 8)])
def test_orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    weight = nn.orthogonal(shape, rng, dtype=np.float64)
    assert weight.shape == shape
    matrix = weight.reshape(-1, shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


def test_orthogonal_is_drawn_uniformly(rng: np.random.Generator) -> None:
    # Without the sign correction QR gives a diagonal of one sign; a uniform draw has mean 0 everywhere.
    draws = np.stack([nn.orthogonal((3, 3), rng, dtype=np.float64) for _ in range(2000)])
    assert np.abs(draws.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / 2000)


@pytest.mark.parametrize("name", nn.INITIALIZERS)
def test_dtype_and_repeatability(name: str) -> None:
    draw = nn.INITIALIZERS[name]
    single = draw((6, 4), np.random.default_rng(1))
    double = draw((6, 4), np.random.default_rng(1), dtype=np.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(single, double.astype(np.float32))
    assert np.any(draw((6, 4), np.random.default_rng(2)) != single) == (name != "zeros")


def test_own_function_as_initializer() -> None:
    layer = nn.Dense(3, 2, initializer=lambda shape, generator, dtype: np.full(shape, 0.5, dtype))
    assert layer.weight.dtype == np.float32
    np.testing.assert_array_equal(layer.weight.numpy(), np.full((3, 2), 0.5))
