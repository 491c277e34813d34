"""The summary table and the observation of calls behind it."""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np
import pytest

from tinyae import nn
from tinyae.autodiff import Tensor


def _row(table: str, name: str) -> list[str]:
    """The cells of the line of one layer."""
    line = next(line for line in table.splitlines() if line.split()[:1] == [name])
    return re.split(r"\s{2,}", line.strip())


def _autoencoder(rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(
        nn.Dense(784, 32, activation="relu", generator=rng), nn.Dense(32, 784, activation="sigmoid", generator=rng)
    )


def test_basic_autoencoder_has_50992_parameters(rng: np.random.Generator) -> None:
    model = _autoencoder(rng)
    table = model.summary((784,))
    assert model.parameter_count() == 784 * 32 + 32 + 32 * 784 + 784 == 50992
    assert _row(table, "0") == ["0", "Dense", "(N, 32)", "25,120"]
    assert _row(table, "1") == ["1", "Dense", "(N, 784)", "25,872"]
    assert "50,992 parameters, 50,992 trainable" in table
    assert "input (N, 784)" in table
    assert model.summary(784) == table


def test_shared_weight_is_counted_once_and_frozen_ones_apart(rng: np.random.Generator) -> None:
    encoder = nn.Dense(784, 32, generator=rng)
    model = nn.Sequential(encoder, nn.BatchNorm(32), nn.TiedDense(encoder))
    encoder.freeze()
    table = model.summary(784)
    assert _row(table, "2") == ["2", "TiedDense", "(N, 784)", "784"]
    total = 784 * 32 + 32 + 64 + 784
    assert f"{total:,} parameters, {64 + 784} trainable, 64 numbers in buffers" in table


def test_nested_modules_images_and_modules_that_are_not_called(rng: np.random.Generator) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.gain = nn.Parameter(np.ones(3, np.float32))
            self.body = nn.Sequential(nn.Flatten(), nn.Dense(12, 3, generator=rng))
            self.spare = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) * self.gain

    table = Net().summary((2, 3, 2))
    assert "input (N, 2, 3, 2)" in table
    assert _row(table, "(model)") == ["(model)", "Net", "(N, 3)", "3"]
    assert _row(table, "body.0") == ["body.0", "Flatten", "(N, 12)", "0"]
    assert _row(table, "body.1") == ["body.1", "Dense", "(N, 3)", "39"]
    assert _row(table, "spare") == ["spare", "ReLU", "not called", "0"]


def test_several_outputs(rng: np.random.Generator) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * 2.0, x.sum(axis=1)

    assert _row(Two().summary(5), "(model)") == ["(model)", "Two", "(N, 5), (N,)", "0"]


def test_summary_leaves_modes_statistics_and_random_stream_alone(rng: np.random.Generator) -> None:
    generator = np.random.default_rng(3)
    model = nn.Sequential(nn.Dense(4, 3, generator=rng), nn.BatchNorm(3), nn.Dropout(0.5, generator))
    model[1].eval()
    before, state = model.state_dict(), generator.bit_generator.state
    model.summary(4)
    assert [m.training for _, m in model.named_modules()] == [True, True, False, True]
    assert generator.bit_generator.state == state
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(ValueError, match=r"Dense\(4, 3\).*must be 4, got shape \(2, 5\)"):
        model.summary(5)
    assert [m.training for _, m in model.named_modules()] == [True, True, False, True]


def test_summary_of_float64_model_runs_in_float64(rng: np.random.Generator) -> None:
    seen = []
    model = nn.Dense(4, 3, generator=rng, dtype=np.float64)
    with nn.observe_calls(lambda module, inputs, output: seen.append((inputs[0].dtype, output.requires_grad))):
        model.summary(4)
    assert seen == [(np.float64, False)]


def test_observers_see_inner_calls_first_and_stop_with_the_block(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Tanh(), nn.Sequential(nn.ReLU()))
    x = rng.normal(size=(2, 3))
    calls: list[tuple[str, tuple, np.ndarray]] = []
    with nn.observe_calls(lambda module, inputs, output: calls.append((type(module).__name__, inputs, output.numpy()))):
        model(x)
    model(x)
    assert [name for name, _, _ in calls] == ["Tanh", "ReLU", "Sequential", "Sequential"]
    assert len(calls[0][1]) == 1
    np.testing.assert_array_equal(calls[0][1][0].numpy(), x)
    np.testing.assert_allclose(calls[0][2], np.tanh(x))
    np.testing.assert_allclose(calls[1][2], np.maximum(np.tanh(x), 0))


def test_observer_is_removed_by_an_error_and_private_to_its_thread(rng: np.random.Generator) -> None:
    def fail(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        raise RuntimeError("seen")

    model, x = nn.Tanh(), rng.normal(size=3)
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            model(x)
        except RuntimeError as error:
            errors.append(error)

    with nn.observe_calls(fail):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError, match="seen"):
            model(x)
    assert not errors
    with pytest.raises(RuntimeError, match="seen"), nn.observe_calls(fail):
        model(x)
    model(x)


def test_a_module_of_several_outputs_lists_their_shapes(rng: np.random.Generator) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Dense(4, 3, generator=rng)

        def forward(self, x: Tensor) -> Any:
            return self.layer(x), [x, "a name"]

    class Wide(nn.Module):
        def __init__(self) -> None:
            self.both = Both()

        def forward(self, x: Tensor) -> Tensor:
            return self.both(x)[0]

    (line,) = (line for line in Wide().summary(4).splitlines() if " Both " in line)
    assert "(N, 3), (N, 4), str" in line
