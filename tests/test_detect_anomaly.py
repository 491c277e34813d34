"""`detect_anomaly`: the first NaN or infinity is named with its operation, ranges, layer, step and phase."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinyae as ta
from tinyae import nn, ops, optim
from tinyae.autodiff import Tensor, grad, observers
from tinyae.inspect import AnomalyError, detect_anomaly


def leaf(*values: float) -> Tensor:
    return Tensor(np.array(values, "float32"), requires_grad=True)


def caught(body: Any, **options: Any) -> AnomalyError:
    """What `detect_anomaly` raises around a body."""
    with pytest.raises(AnomalyError) as raised, detect_anomaly(**options):
        body()
    return raised.value


class RootOfReLU(nn.Module):
    """sqrt(relu(x)): finite, with a slope that is not."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.sqrt(ops.relu(x))


def test_forward_names_the_operation_and_the_ranges_of_its_arguments():
    error = caught(lambda: ops.log(leaf(4.0, -1.0, 2.0)))
    assert (error.op, error.phase, error.layer, error.step, error.entered) == ("log", "forward", None, 1, False)
    result, argument = error.ranges
    assert (result.name, result.shape, result.dtype) == ("result", (3,), "float32")
    assert (result.nans, result.infinities) == (1, 0)
    assert result.low == pytest.approx(np.log(2.0))
    assert (argument.name, argument.low, argument.high, argument.nans) == ("argument 0", -1.0, 4.0, 0)
    assert str(error) == (
        "the first NaN appeared in log (forward), outside of any layer, in step 1: "
        "result float32 (3,): 0.693147 to 1.38629, 1 NaN; argument 0 float32 (3,): -1 to 4."
    )


def test_an_infinity_counts_unless_it_is_allowed():
    error = caught(lambda: ops.exp(leaf(1000.0)))
    assert error.ranges[0].infinities == 1
    assert error.ranges[0].low is None
    assert "the first infinity appeared in exp" in str(error)
    with detect_anomaly(infinity=False):
        hidden = ops.exp(leaf(1000.0))
    assert np.isinf(hidden.data).all()
    assert caught(lambda: hidden - hidden, infinity=False).op == "subtract"


def test_what_came_in_is_told_from_what_was_made(rng):
    x = rng.random((4, 6)).astype("float32")
    x[2, 1] = np.nan
    model = ta.models.basic_autoencoder(6, 3, generator=rng)
    error = caught(lambda: model.loss(Tensor(x)))
    assert error.entered
    assert (error.op, error.layer) == ("dense", "Autoencoder.encoder.0 (Dense)")
    assert error.ranges[0].name == "argument 0"
    assert str(error).startswith(
        "a NaN was given to dense (forward), in layer Autoencoder.encoder.0 (Dense), in step 1"
    )
    model.decoder[0].weight.data[0, 0] = np.inf
    error = caught(lambda: model.loss(Tensor(np.ones((2, 6), "float32"))))
    assert str(error).startswith("an infinity was given to dense (forward), in layer Autoencoder.decoder.0 (Dense)")
    assert error.ranges[0].name == "argument 1"


def test_backward_names_the_layer_in_which_the_result_was_recorded(rng):
    net = nn.Sequential(nn.Dense(3, 3, generator=rng), RootOfReLU())
    x = Tensor(-np.ones((2, 3), "float32"))
    net[0].weight.data[...] = np.abs(net[0].weight.data)
    error = caught(lambda: net(x).sum().backward())
    assert (error.op, error.phase, error.layer) == ("sqrt", "backward", "Sequential.1 (RootOfReLU)")
    assert [r.name for r in error.ranges] == ["gradient", "cotangent", "result", "argument 0"]
    assert "the gradient rule of sqrt for argument 0 (backward)" in str(error)


def test_a_cotangent_that_was_wrong_before():
    x = leaf(1.0, 2.0)
    error = caught(lambda: (x * x).backward(np.array([np.nan, 1.0], "float32")))
    assert error.entered
    assert error.ranges[0].name == "cotangent"


def test_a_sum_of_gradients_that_is_too_large():
    x, big = leaf(1e-3), 3e38
    error = caught(lambda: grad(x * big + x * big, x))
    assert "the sum of the gradients that arrive at a leaf, the last from multiply" in str(error)
    assert [r.name for r in error.ranges[:2]] == ["sum", "last part"]
    y = x * 1.0
    assert "arrive at the result of multiply" in str(caught(lambda: grad(y * big + y * big, x)))


def test_a_rule_on_tensors_is_named_with_what_computes_in_it():
    x = leaf(0.0, 1.0)
    error = caught(lambda: grad(ops.sqrt(x).sum(), x, create_graph=True))
    assert (error.op, error.phase) == ("sqrt", "backward")
    assert "divide in the gradient rule of sqrt" in str(error)
    slope = grad(ops.power(x, 1.5).sum(), x, create_graph=True)
    assert caught(lambda: grad(slope.sum(), x)).phase == "backward"


def test_steps_are_counted_by_the_optimizer(rng):
    x = leaf(1.0)
    optimizer = optim.SGD([x], lr=1.0)

    def training() -> None:
        for step in range(1, 6):
            optimizer.zero_grad()
            (ops.log(x * 0.0) if step == 4 else x * 0.1).sum().backward()
            optimizer.step()

    error = caught(training)
    assert (error.op, error.step, error.phase) == ("log", 4, "forward")
    assert "in step 4: " in str(error)


def test_an_update_that_overflows_is_named_by_its_optimizer():
    x = leaf(1.0)
    optimizer = optim.SGD([x], lr=3e38)

    def step() -> None:
        (x * 2.0).sum().backward()
        optimizer.step()

    error = caught(step)
    assert (error.op, error.phase, error.layer) == ("SGD", "update", None)
    assert [r.name for r in error.ranges] == ["all parameters", "all gradients"]
    assert not error.entered


def test_an_iteration_of_lbfgs_is_a_step():
    x = leaf(3.0, -2.0)
    seen = []
    with detect_anomaly():
        optim.LBFGS([x], max_iterations=3).step(
            lambda: (x * x * x * x).sum(), lambda *_: seen.append(observers()[-1].step)
        )
    assert len(set(seen)) == len(seen) > 1


def test_a_module_that_is_no_part_of_its_caller_is_named_after_it():
    borrowed = RootOfReLU()

    class Outer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return borrowed(x)

    error = caught(lambda: Outer()(leaf(0.0)).sum().backward())
    assert error.layer == "Outer > RootOfReLU"
    assert caught(lambda: borrowed(leaf(0.0)).sum().backward()).layer == "RootOfReLU"


@pytest.mark.parametrize(("values", "layer"), [((0.0,), "first"), ((4.0,), "second")])
def test_a_layer_with_two_names_is_named_by_its_caller(values, layer):
    class Log(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ops.log(x)

    class Minus(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - 2.0

    class Twice(nn.Module):
        def __init__(self) -> None:
            shared = Log()
            self.first, self.second = nn.Sequential(shared), nn.Sequential(Minus(), shared)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    place = {"first": "Twice.first.0 (Log)", "second": "Twice.second.1 (Log)"}[layer]
    assert caught(lambda: Twice()(leaf(*values))).layer == place


def test_blocks_nest_and_end():
    assert not observers()
    with detect_anomaly():
        (outer,) = observers()
        with detect_anomaly(infinity=False):
            (inner,) = observers()
            assert inner is not outer
        assert observers() == (outer,)
    assert not observers()
    caught(lambda: ops.log(leaf(-1.0)))
    assert not observers()
    with np.errstate(all="ignore"):
        assert np.isnan(ops.log(leaf(-1.0)).data).all()


def test_another_thread_is_not_watched():
    with detect_anomaly(), ThreadPoolExecutor(1) as other:
        assert other.submit(observers).result() == ()


def test_numbers_whole_numbers_and_empty_arrays_are_no_anomaly(rng):
    with detect_anomaly():
        table = leaf(1.0, 2.0)
        picked = ops.getitem(table, index=np.array([0, 1, 1])) * 2.0
        (picked.sum() + Tensor(np.zeros((0, 3), "float32")).sum()).backward()
    np.testing.assert_array_equal(table.grad.data, [2.0, 4.0])


def test_training_under_it_gives_the_same_numbers(rng):
    x = rng.random((12, 6)).astype("float32")

    def losses() -> list[float]:
        model = ta.models.basic_autoencoder(6, 3, generator=np.random.default_rng(0))
        return ta.fit(model, x, epochs=2, batch_size=4, seed=1, progress=False)["train_loss"]

    expected = losses()
    with detect_anomaly():
        assert losses() == expected
