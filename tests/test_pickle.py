"""Primitives and models travel: through pickle, deep copies, and the processes of a pool."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinyae as ta
from tests.launch_budgets import build_small, class_numbers, small_batch
from tinyae import losses, ops
from tinyae.autodiff import Primitive, primitive
from tinyae.data import Split
from tinyae.models import LIKELIHOODS, MODELS, RECONSTRUCTIONS, Autoencoder

PRIMITIVES = {
    f"{room.__name__}.{name}": value
    for room in (ops, losses, ta.autodiff)
    for name, value in vars(room).items()
    if isinstance(value, Primitive)
}
LOSSES = [*[("basic", {"loss": n}) for n in RECONSTRUCTIONS], *[("vae", {"likelihood": n}) for n in LIKELIHOODS]]


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_primitive_is_pickled_by_name(name):
    assert pickle.loads(pickle.dumps(PRIMITIVES[name])) is PRIMITIVES[name]
    assert copy.deepcopy(PRIMITIVES[name]) is PRIMITIVES[name]


def test_a_primitive_within_a_function_is_refused_as_a_function_is():
    @primitive
    def local(x: Any) -> Any:
        return x

    with pytest.raises((pickle.PicklingError, AttributeError), match="local"):
        pickle.dumps(local)


def outputs(model: Autoencoder, name: str) -> list[np.ndarray]:
    x = small_batch(name)
    inputs = model.batch(Split(x, class_numbers(name, x))).x
    return [model.reconstruct(inputs), *model.state_dict().values()]


def assert_same(model: Autoencoder, other: Autoencoder, name: str) -> None:
    assert type(other) is type(model)
    np.testing.assert_equal(outputs(model, name), outputs(other, name))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_pickled_and_copied(name):
    model = build_small(name).eval()
    assert_same(model, pickle.loads(pickle.dumps(model)), name)
    assert_same(model, copy.deepcopy(model), name)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("name", MODELS)
def test_a_copy_of_a_model_is_saved_with_its_recipe(name, copied, tmp_path):
    model = build_small(name).eval()
    assert_same(model, ta.load(ta.save(copied(model), tmp_path / "copy.safetensors")).eval(), name)


@pytest.mark.parametrize(("name", "options"), LOSSES, ids=str)
def test_a_model_is_pickled_with_every_loss(name, options):
    size = {"code_size": 3} if name == "basic" else {"sizes": [6], "latent_size": 3}
    model = ta.models.build(name, {"input_shape": (4, 4, 1), **size, **options}, np.random.default_rng(0)).eval()
    assert_same(model, pickle.loads(pickle.dumps(model)), name)


def test_a_trained_model_keeps_its_recipe_and_goes_on_learning(rng):
    x = rng.random((40, 4, 4, 1)).astype("float32")
    model = build_small("denoising")
    ta.fit(model, x, epochs=1, progress=False)
    twin = pickle.loads(pickle.dumps(model))
    assert twin.recipe == model.recipe
    for one in (model, twin):
        ta.fit(one, x, epochs=1, progress=False)
    assert_same(model, twin, "denoising")


def trained(seed: int) -> Autoencoder:
    """What a process of the pool does: a small model, trained."""
    x = np.random.default_rng(0).random((64, 16)).astype("float32")
    model = ta.models.basic_autoencoder((16,), 3, generator=np.random.default_rng(seed))
    ta.fit(model, x, epochs=1, seed=seed, progress=False)
    return model


@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_seeds_are_trained_in_a_process_pool(start):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(start)) as pool:
        models = list(pool.map(trained, range(2)))
    for seed, model in enumerate(models):
        np.testing.assert_equal(model.state_dict(), trained(seed).state_dict())


def test_seeds_are_trained_by_joblib():
    joblib = pytest.importorskip("joblib")
    models = joblib.Parallel(2)(joblib.delayed(trained)(seed) for seed in range(2))
    np.testing.assert_equal(models[1].state_dict(), trained(1).state_dict())
