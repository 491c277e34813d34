"""What models do besides training, on every device; and every way of configuring one, for a step on the double."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.launch_budgets import build_small, class_numbers, small_batch
from tinyae import nn
from tinyae.autodiff import Tensor
from tinyae.backend import CPU, Backend, backend_named
from tinyae.data import Split
from tinyae.inspect import detect_anomaly
from tinyae.models import AnomalyDetector, CodeNeighbors, SoftmaxClassifier, build, interpolate, latent_grid
from tinyae.models.variational import log_likelihood
from tinyae.testing import ModuleCase, strict_device
from tinyae.testing.tables import MODELS_TABLE
from tinyae.training import fit_classifier

ROWS = [case for case in MODELS_TABLE if not case.name.startswith("cvae")]
"""Those whose loss copies nothing: the conditional model's classes go to the device beforehand, in `batch`."""


@pytest.mark.parametrize("case", ROWS, ids=attrgetter("name"))
def test_a_step_of_every_row_of_the_table_stays_on_the_device(case: ModuleCase, rng: np.random.Generator) -> None:
    device = strict_device()
    model = case.module(rng).to("strict")
    (x,) = (Tensor(device.to_device(x)) for x in case.make_inputs(rng, "float32"))

    def step() -> None:
        model.zero_grad()
        case.call(model, x).backward()

    step()
    with device.policy(forbid_sync=True, forbid_copy=True, forbid_float64=True):
        step()
    assert all(p.grad is None or p.grad.dtype == np.float32 for p in model.parameters())


def drawn(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


x = small_batch("basic")
LABELS = np.arange(len(x)) % 3
USES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "samples": ("vae", lambda m: m.sample(5, drawn(0))),
    "pixels": ("vae", lambda m: m.sample(5, drawn(0), pixels=True).shape),
    "points between two images": ("vae", lambda m: m.decode(interpolate(*m.encode(x[:2]), 4))),
    "the plane of codes": ("vae", lambda m: m.decode(latent_grid(3, m.code_size))),
    "the posterior": ("vae", lambda m: [m.posterior(x).mean, m.posterior(x).std]),
    "the latent report": ("vae", lambda m: m.latent_report(x).in_use),
    "what a run says of a vae": ("vae", lambda m: len(m.report(Split(x)))),
    "the likelihood by importance": ("vae", lambda m: np.isfinite(log_likelihood(m, x, 4, generator=drawn(0)))),
    "samples of classes": ("cvae", lambda m: m.sample(5, drawn(0), labels=np.arange(5) % 3)),
    "each class in one hand": ("cvae", lambda m: m.restyle(x, class_numbers("cvae", x))),
    "the plane of one class": ("cvae", lambda m: m.decode(latent_grid(2, m.code_size), labels=np.ones(4, int))),
    "what is recalled": ("memory", lambda m: [m.recall(3), m.recall([0, 5])]),
    "numbers of the codebook": ("vqvae", lambda m: [m.indices(x), m.encode(x)]),
    "what a run says of a codebook": ("vqvae", lambda m: len(m.report(Split(x)))),
    "what a run says of sparse codes": ("sparse", lambda m: len(m.report(Split(x)))),
    "damage": ("denoising", lambda m: m.corrupt(x, drawn(0)).shape),
    "anomaly scores": ("basic", lambda m: AnomalyDetector(m).fit(x).score(x)),
    "neighbors": ("basic", lambda m: CodeNeighbors(m).fit(x).query(x[:2], 2)[1]),
    "half of a stack": ("stacked", lambda m: m.up_to(1)(Tensor(backend_named(m.device).to_device(x)))),
}
"""Of what is drawn on the device only shapes are compared: its stream of numbers is another."""


def numbers(value: Any) -> list[np.ndarray]:
    parts = value if isinstance(value, (list, tuple)) else [value]
    return [part.numpy() if isinstance(part, Tensor) else np.asarray(part) for part in parts]


@pytest.mark.parametrize("use", USES)
def test_what_a_model_is_used_for_equals_the_cpus(use: str, elsewhere: Backend) -> None:
    name, does = USES[use]
    expected = numbers(does(build_small(name).eval()))
    found = numbers(does(build_small(name).to(elsewhere.name).eval()))
    for a, b in zip(found, expected, strict=True):
        assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_classifier_is_fitted_and_asked(elsewhere: Backend) -> None:
    found = []
    for device in (elsewhere, CPU):
        classifier = SoftmaxClassifier(build_small("stacked").encoder, 3, 3, generator=drawn(2)).to(device.name)
        history = fit_classifier(classifier, Split(x, LABELS), epochs=2, batch_size=4, progress=False)
        found.append((history["train_loss"], classifier.predict(x)))
    assert_allclose(found[0][0], found[1][0], rtol=1e-3)
    assert (found[0][1] == found[1][1]).all()


def test_the_first_nan_is_found_on_every_device(device: Backend) -> None:
    layer = nn.Sequential(nn.Dense(3, 3, generator=drawn(0)), nn.ReLU()).to(device.name)
    bad = device.to_device(np.array([[1.0, np.nan, 2.0]], "float32"))
    words = r"NaN was given to dense \(forward\), in layer Sequential.0"
    with pytest.raises(FloatingPointError, match=words), detect_anomaly():
        layer(Tensor(bad))


def test_a_build_by_name_moves_as_a_whole(elsewhere: Backend) -> None:
    model = build("vqvae", {"input_shape": (4,), "sizes": (3,), "positions": 1, "codebook_size": 2, "code_features": 2})
    model.to(elsewhere.name)
    assert {part.device for _, part in [*model.named_parameters(), *model.named_buffers()]} == {elsewhere.name}
