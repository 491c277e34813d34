"""Every layer on every device: outputs, gradients and buffers equal the CPU's, and a step stays on the device."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import inspect, nn, ops
from tinyae.autodiff import Tensor
from tinyae.backend import CPU, Backend, MixedDevicesError
from tinyae.testing import strict_device

Make = Callable[[np.random.Generator], nn.Module]


def tied(g: np.random.Generator) -> nn.Module:
    encoder = nn.Dense(4, 3, activation="tanh", generator=g)
    return nn.Sequential(encoder, nn.TiedDense(encoder, activation="sigmoid"))


class Joined(nn.Module):
    """A recurrent layer as a function with one result: outputs and states side by side."""

    def __init__(self, layer: nn.Module, **options: object) -> None:
        self.layer = layer
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        output, states = self.layer(x, **self.options)
        return ops.concatenate(*[ops.reshape(part, shape=(-1,)) for part in (output, *states)])


LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    **{
        f"Dense {a}": (lambda g, a=a: nn.Dense(4, 3, activation=a, generator=g), (5, 4))
        for a in ("identity", "relu", "elu", "sigmoid", "tanh")
    },
    "Dense without bias": (lambda g: nn.Dense(4, 3, activation="elu", bias=False, generator=g), (2, 3, 4)),
    "TiedDense": (tied, (5, 4)),
    "LayerNorm": (lambda g: nn.LayerNorm(4), (2, 3, 4)),
    "BatchNorm": (lambda g: nn.BatchNorm(4), (2, 3, 4)),
    "BatchNorm eval": (lambda g: nn.BatchNorm(4).eval(), (5, 4)),
    "MaskingNoise eval": (lambda g: nn.MaskingNoise(0.5, g).eval(), (5, 4)),
    "GaussianNoise eval": (lambda g: nn.GaussianNoise(0.5, g).eval(), (5, 4)),
    "SaltAndPepperNoise eval": (lambda g: nn.SaltAndPepperNoise(0.5, generator=g).eval(), (5, 4)),
    "Dropout eval": (lambda g: nn.Dropout(0.5, g).eval(), (5, 4)),
    "ReLU": (lambda g: nn.ReLU(), (5, 4)),
    "ELU": (lambda g: nn.ELU(), (5, 4)),
    "Sigmoid": (lambda g: nn.Sigmoid(), (5, 4)),
    "Tanh": (lambda g: nn.Tanh(), (5, 4)),
    "Softplus": (lambda g: nn.Softplus(), (5, 4)),
    "Softmax": (lambda g: nn.Softmax(), (5, 4)),
    "Identity": (lambda g: nn.Identity(), (5, 4)),
    "TopK": (lambda g: nn.TopK(2), (5, 4)),
    "Flatten": (lambda g: nn.Flatten(), (2, 3, 4)),
    "Reshape": (lambda g: nn.Reshape(2, -1), (5, 4)),
    "Conv2d": (lambda g: nn.Conv2d(2, 4, 3, 2, 1, activation="relu", generator=g), (2, 5, 4, 2)),
    "ConvTranspose2d": (lambda g: nn.ConvTranspose2d(2, 3, 3, 2, 1, 1, activation="elu", generator=g), (2, 3, 2, 2)),
    "MaxPool2d": (lambda g: nn.MaxPool2d(2, padding=1), (2, 5, 4, 2)),
    "AvgPool2d": (lambda g: nn.AvgPool2d(3, 2, "same"), (2, 5, 4, 2)),
    "Upsample": (lambda g: nn.Upsample(2), (2, 3, 2, 2)),
    "Upsample bilinear": (lambda g: nn.Upsample((3, 2), "bilinear"), (2, 3, 2, 2)),
    "Crop": (lambda g: nn.Crop(2, 1), (2, 3, 2, 2)),
    "PixelShuffle": (lambda g: nn.PixelShuffle(2), (2, 3, 2, 8)),
    "LSTM": (lambda g: Joined(nn.LSTM(2, 3, 2, True, peepholes=True, generator=g)), (3, 4, 2)),
    "LSTMLayer": (lambda g: Joined(nn.LSTMLayer(2, 3, generator=g), reverse=True), (3, 4, 2)),
    "TimeDistributed": (lambda g: nn.TimeDistributed(nn.Dense(4, 2, generator=g)), (2, 3, 4)),
    "Sequential": (lambda g: nn.Sequential(nn.Dense(4, 3, generator=g), nn.BatchNorm(3), nn.Softplus()), (5, 4)),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def test_every_layer_has_a_row() -> None:
    classes = [n for n in nn.__all__ if isinstance(getattr(nn, n), type) and issubclass(getattr(nn, n), nn.Module)]
    missing = [n for n in classes if n not in ("Module", "Noise") and not any(n in row.split() for row in LAYERS)]
    assert not missing, f"add rows to LAYERS for {missing}"


def made(name: str, device: Backend) -> tuple[nn.Module, Tensor, Tensor]:
    """The layer, an input and a cotangent, the same numbers on every device."""
    rng = np.random.default_rng(11)
    make, shape = LAYERS[name]
    layer = make(rng)
    x = rng.normal(size=shape).astype("float32")
    mode = layer.training
    out_shape = layer.eval()(x).shape
    layer.train(mode).to(device.name)
    cotangent = rng.uniform(0.5, 1.5, out_shape).astype("float32")
    return layer, Tensor(device.to_device(x), requires_grad=True), Tensor(device.to_device(cotangent))


@every_layer
def test_a_layer_gives_the_cpus_numbers(name: str, elsewhere: Backend) -> None:
    results = []
    for device in (elsewhere, CPU):
        layer, x, cotangent = made(name, device)
        y = layer(x)
        y.backward(cotangent)
        assert {t.device for t in (y, x.grad, *layer.parameters())} == {device.name}
        results.append([t.numpy() for t in (y, x.grad, *(p.grad for p in layer.parameters()))])
        results[-1] += list(layer.state_dict().values())
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype == np.float32
        assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@every_layer
def test_a_layer_stays_on_the_device_in_float32(name: str) -> None:
    device = strict_device()
    layer, x, cotangent = made(name, device)
    with device.policy(forbid_sync=True, forbid_copy=True, forbid_float64=True):
        layer(x).backward(cotangent)


def test_lengths_go_to_the_device_once_for_a_whole_stack(elsewhere: Backend) -> None:
    results = []
    for device in (elsewhere, CPU):
        layer = nn.LSTM(2, 3, 2, True, generator=np.random.default_rng(3)).to(device.name)
        x = Tensor(device.to_device(np.random.default_rng(4).normal(size=(3, 4, 2)).astype("float32")))
        if elsewhere.name == "strict" and device is elsewhere:
            with device.policy(forbid_sync=True, forbid_float64=True) as account:
                output, (h, c) = layer(x, lengths=[4, 1, 2])
            assert account.uploads == 1
        else:
            output, (h, c) = layer(x, lengths=[4, 1, 2])
        (output.sum() + (h * c).sum()).backward()
        results.append([t.numpy() for t in (output, h, c, *(p.grad for p in layer.parameters()))])
    for a, b in zip(*results, strict=True):
        assert_allclose(a, b, rtol=2e-5, atol=2e-6)


DRAWING: dict[str, Make] = {
    "Dropout": lambda g: nn.Dropout(0.5, g),
    "MaskingNoise": lambda g: nn.MaskingNoise(0.5, g),
    "GaussianNoise": lambda g: nn.GaussianNoise(0.5, g),
    "SaltAndPepperNoise": lambda g: nn.SaltAndPepperNoise(0.5, -1.0, 2.0, g),
}


@pytest.mark.parametrize("name", DRAWING)
def test_noise_is_drawn_on_the_device_anew_and_repeatably(name: str, device: Backend) -> None:
    first, again = (DRAWING[name](np.random.default_rng(2)) for _ in range(2))
    x = Tensor(device.to_device(np.ones((50, 40), "float32")))
    policy = strict_device().policy(forbid_sync=True, forbid_copy=True, forbid_float64=True)
    with policy:
        y, z = first(x), first(x)
    assert y.device == device.name
    assert y.dtype == np.float32
    assert_array_equal(y.numpy(), again(x).numpy())
    assert (y.numpy() != z.numpy()).mean() > 0.4
    assert abs(y.numpy().mean() - (0.5 if name == "MaskingNoise" else 0.75 if name.startswith("Salt") else 1.0)) < 0.1


def test_a_model_moves_there_and_back(elsewhere: Backend) -> None:
    model = nn.Sequential(nn.Dense(4, 3, generator=np.random.default_rng(0)), nn.BatchNorm(3))
    state = model.state_dict()
    assert model.to(elsewhere.name) is model
    assert {part.device for part in (*model.parameters(), *(b for _, b in model.named_buffers()))} == {elsewhere.name}
    assert "BatchNorm" in model.summary(4)
    other = copy.deepcopy(model)
    other.load_state_dict({name: value + 1.0 for name, value in state.items()})
    assert other.parameters()[0].device == elsewhere.name
    again = pickle.loads(pickle.dumps(model))
    for moved in (model, again.to("cpu"), model.to("cpu")):
        for name, value in moved.state_dict().items():
            assert_array_equal(value, state[name])
    assert_allclose(other.state_dict()["0.weight"], state["0.weight"] + 1.0)


def test_tensors_move_print_and_are_looked_at(elsewhere: Backend) -> None:
    here = Tensor([[1.0, 2.0]], requires_grad=True)
    there = here.to(elsewhere.name)
    assert (there.device, there.requires_grad, there.to(elsewhere.name) is there) == (elsewhere.name, True, True)
    assert repr(there) == repr(here)
    assert repr(there * 2.0) == repr(here * 2.0)
    assert (there.sum().item(), float(there.sum()), bool(there[0, 0])) == (3.0, 3.0, True)
    assert (there * np.float32(2.0)).dtype == (np.float32(2.0) * there).dtype == np.float32
    graphs = [inspect.show((x * 2.0).sum()) for x in (there, here)]
    assert [node.gradient_norm for node in graphs[0].nodes] == [node.gradient_norm for node in graphs[1].nodes]
    assert graphs[0].bytes_held == graphs[1].bytes_held


def test_devices_do_not_mix(elsewhere: Backend) -> None:
    layer = nn.Dense(2, 2, generator=np.random.default_rng(0)).to(elsewhere.name)
    x = np.ones((3, 2), "float32")
    with pytest.raises(MixedDevicesError, match=elsewhere.name):
        layer(x)
    y = layer(elsewhere.to_device(x))
    with pytest.raises(MixedDevicesError, match=f"grad_output was given .*{elsewhere.name}, cpu"):
        y.backward(np.ones((3, 2), "float32"))
    y.sum().backward(1.0)  # a plain number fits everywhere
    assert layer.weight.grad.device == elsewhere.name
