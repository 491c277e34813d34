"""Every layer on every device: outputs, gradients and buffers equal the CPU's, and a step stays on the device."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from operator import attrgetter

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal, assert_equal

from tinyae import inspect, nn
from tinyae.autodiff import Tensor
from tinyae.backend import CPU, Backend, MixedDevicesError
from tinyae.testing import ModuleCase, strict_device
from tinyae.testing.laws import draws
from tinyae.testing.tables import LAYERS

Make = Callable[[np.random.Generator], nn.Module]
every_layer = pytest.mark.parametrize("case", LAYERS, ids=attrgetter("name"))


def made(case: ModuleCase, device: Backend) -> tuple[nn.Module, Callable[[Tensor], Tensor], Tensor]:
    """The layer, how it is called, and an input, the same numbers on every device; what draws is in evaluation mode."""
    rng = np.random.default_rng(11)
    layer = case.module(rng).to(device.name)
    if draws(layer):
        layer.eval()
    (x,) = case.make_inputs(rng, "float32")
    return layer, partial(case.call, layer) if case.call else layer, Tensor(device.to_device(x), requires_grad=True)


def cotangent(y: Tensor, device: Backend) -> np.ndarray:
    return device.to_device(np.random.default_rng(1).uniform(0.5, 1.5, y.shape), "float32")


@every_layer
def test_a_layer_gives_the_cpus_numbers(case: ModuleCase, elsewhere: Backend) -> None:
    results = []
    for device in (elsewhere, CPU):
        layer, call, x = made(case, device)
        y = call(x)
        y.backward(cotangent(y, device))
        assert {t.device for t in (y, x.grad, *layer.parameters())} == {device.name}
        results.append([t.numpy() for t in (y, x.grad, *(p.grad for p in layer.parameters()))])
        results[-1] += list(layer.state_dict().values())
    for a, b in zip(*results, strict=True):
        assert a.dtype == b.dtype == np.float32
        assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@every_layer
def test_a_layer_stays_on_the_device_in_float32(case: ModuleCase) -> None:
    device = strict_device()
    _, call, x = made(case, device)
    g = cotangent(call(x), device)
    with device.policy(forbid_sync=True, forbid_copy=True, forbid_float64=True):
        call(x).backward(g)


def test_lengths_go_to_the_device_once_for_a_whole_stack(elsewhere: Backend) -> None:
    results = []
    for device in (elsewhere, CPU):
        layer = nn.LSTM(2, 3, 2, True, generator=np.random.default_rng(3)).to(device.name)
        x = Tensor(device.to_device(np.random.default_rng(4).normal(size=(3, 4, 2)).astype("float32")))
        with (
            device.policy(forbid_sync=True, forbid_float64=True)
            if device.name == "strict"
            else nullcontext() as account
        ):
            output, (h, c) = layer(x, lengths=[4, 1, 2])
        assert account is None or account.uploads == 1
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
        assert_equal(moved.state_dict(), state)
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
