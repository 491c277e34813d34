"""Training on every device: a step of every model, an epoch of `fit`, the optimizers, saving and loading."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_equal

import tinyae as ta
from tests.launch_budgets import build_small, class_numbers, small_batch, tensors, train_step
from tinyae import optim
from tinyae.autodiff import Tensor
from tinyae.backend import CPU, Backend
from tinyae.data import Split
from tinyae.models import MODELS
from tinyae.testing import strict_device

every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture
def same_draws(elsewhere: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise and masks drawn on the host and copied: streams differ between devices, and results must not."""
    for draw in ("uniform", "normal"):
        host_draw = getattr(CPU, draw)
        monkeypatch.setattr(elsewhere, draw, lambda *args, host_draw=host_draw: elsewhere.to_device(host_draw(*args)))


@every_model
def test_steps_of_every_model_equal_the_cpus(name: str, elsewhere: Backend, same_draws: None) -> None:
    results = []
    for device in (elsewhere, CPU):
        model = build_small(name).to(device.name)
        optimizer = optim.SGD(model.parameters(), lr=0.01)
        x = small_batch(name)
        rows = tensors(model, device, x, class_numbers(name, x))
        losses = [train_step(model, optimizer, rows).numpy() for _ in range(2)]
        results.append((losses, model.state_dict()))
    (losses, state), (expected_losses, expected) = results
    assert np.isfinite(losses).all()
    assert_allclose(losses, expected_losses, rtol=1e-4)
    for key, value in expected.items():
        assert_allclose(state[key], value, rtol=1e-3, atol=1e-4)


@every_model
def test_every_model_encodes_decodes_and_is_measured(name: str, elsewhere: Backend, same_draws: None) -> None:
    model, x = build_small(name), small_batch(name)
    labels = class_numbers(name, x)
    told = {} if labels is None else {"labels": labels}
    data = Split(x, labels)
    given = model.batch(Split(x, labels)).x
    here = (model.encode(given, batch_size=3), model.reconstruct(given, batch_size=3), ta.evaluate(model, data))
    model.to(elsewhere.name)
    code = model.encode(given, batch_size=3)
    assert type(code) is np.ndarray
    assert_allclose(code, here[0], rtol=1e-4, atol=1e-5)
    assert_allclose(model.decode(code, batch_size=3, **told), here[1], rtol=1e-4, atol=1e-5)
    assert_allclose(model.reconstruct(given), here[1], rtol=1e-4, atol=1e-5)
    measured = ta.evaluate(model, data)
    assert measured.keys() == here[2].keys()
    assert_allclose(list(measured.values()), list(here[2].values()), rtol=1e-4)


@every_model
def test_an_epoch_of_fit_and_the_file_it_leaves(
    name: str, elsewhere: Backend, same_draws: None, tmp_path: Path
) -> None:
    x = np.concatenate([small_batch(name)] * 3)
    labels = class_numbers(name, x)
    train, validation = (Split(x[:n], None if labels is None else labels[:n]) for n in (len(x), 5))
    histories, states = [], []
    for device in (elsewhere, CPU):
        model = build_small(name).to(device.name)
        history = ta.fit(model, train, validation, epochs=2, batch_size=5, seed=3, clip_norm=1.0, progress=False)
        histories.append([*history["train_loss"], *history["validation_loss"]])
        states.append(model.state_dict())
        assert model.device == device.name
        path = ta.save(model, tmp_path / f"{device.name}.safetensors")
        again = ta.load(path)
        assert again.device == "cpu"
        assert_equal(again.state_dict(), states[-1])
        loaded_there = ta.load(path, build_small(name).to(device.name))
        assert loaded_there.device == device.name
    assert np.isfinite(histories).all()
    assert_allclose(histories[0], histories[1], rtol=2e-3)
    for key, value in states[1].items():
        assert_allclose(states[0][key], value, rtol=2e-2, atol=2e-3)


def test_a_run_repeats_on_its_device(device: Backend) -> None:
    def losses() -> list[float]:
        generator = np.random.default_rng(5)
        encoder = ta.nn.Sequential(ta.nn.Dense(16, 8, generator=generator), ta.nn.Dropout(0.3, generator))
        model = ta.models.Autoencoder(encoder, ta.nn.Dense(8, 16, generator=generator)).to(device.name)
        x = np.random.default_rng(0).random((20, 16)).astype("float32")
        return ta.fit(model, x, epochs=3, batch_size=6, progress=False)["train_loss"]

    assert losses() == losses()


def test_lbfgs_fits_on_the_device(elsewhere: Backend) -> None:
    found = []
    for device in (elsewhere, CPU):
        model = ta.models.basic_autoencoder(6, 2, generator=np.random.default_rng(1)).to(device.name)
        x = Tensor(device.to_device(np.random.default_rng(0).random((10, 6)).astype("float32")))
        optimizer = optim.LBFGS(model.parameters(), max_iterations=5)
        found.append(optimizer.step(lambda model=model, x=x: model.loss(x).total))
    assert found[0] == pytest.approx(found[1], rel=1e-3)


@pytest.mark.parametrize("owned", [True, False])
def test_clipping_scales_to_the_norm_without_waiting(owned: bool, elsewhere: Backend) -> None:
    leaf = Tensor(elsewhere.to_device(np.array([3.0, 4.0], "float32")), requires_grad=True)
    if owned:
        optim.SGD([leaf], lr=0.1)
    (leaf * leaf).sum().backward()  # the gradient is (6, 8)
    forbidden = {"forbid_sync": True, "forbid_copy": True, "forbid_float64": True}
    with elsewhere.policy(**forbidden) if elsewhere.name == "strict" else nullcontext():
        norm = optim.clip_grad_norm([leaf], 5.0)
    assert (norm.device, norm.item()) == (elsewhere.name, 10.0)
    assert_allclose(leaf.grad.numpy(), [3.0, 4.0], rtol=1e-5)


def test_a_checkpoint_of_the_optimizer_goes_from_device_to_device(elsewhere: Backend) -> None:
    model, x = build_small("basic").to(elsewhere.name), small_batch("basic")
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    train_step(model, optimizer, tensors(model, elsewhere, x))
    here = build_small("basic")
    here.load_state_dict(model.state_dict())
    resumed = optim.Adam(here.parameters())
    resumed.load_state_dict(optimizer.state_dict())
    train_step(model, optimizer, tensors(model, elsewhere, x))
    train_step(here, resumed, tensors(here, CPU, x))
    for key, value in here.state_dict().items():
        assert_allclose(model.state_dict()[key], value, rtol=1e-3, atol=1e-5)


METHODS = [m for m in vars(optim).values() if isinstance(m, type) and issubclass(m, optim.Optimizer)]
MINIBATCH = [m for m in METHODS if m not in (optim.Optimizer, optim.LBFGS)]


@pytest.mark.parametrize("method", MINIBATCH, ids=lambda method: method.__name__)
def test_a_step_of_every_optimizer_stays_on_the_device(method: type[optim.Optimizer]) -> None:
    """Clipped, with a schedule that changes the rate: neither waits, copies or makes float64."""
    device = strict_device()
    model = build_small("basic").to("strict").train()
    optimizer = method(model.parameters(), lr=0.001)
    schedule = optim.CosineLR(optimizer, 10)
    rows = tensors(model, device, small_batch("basic"))

    def step() -> None:
        optimizer.zero_grad()
        model.loss(rows).total.backward()
        optim.clip_grad_norm(model.parameters(), 0.5)
        optimizer.step()
        schedule.step()

    step()
    before = model.state_dict()
    with device.policy(forbid_sync=True, forbid_copy=True, forbid_float64=True):
        step()
    assert all((before[name] != value).any() for name, value in model.state_dict().items() if "weight" in name)
