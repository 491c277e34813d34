"""L-BFGS: it is SciPy's, in one step, and a run that goes wrong leaves the last good parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize

import tinyae as ta
from tinyae.autodiff import Tensor
from tinyae.optim import LBFGS, SGD

START = np.array([-1.2, 1.0])


def rosenbrock(x: Tensor, y: Tensor) -> Tensor:
    """(1 - x)^2 + 100 (y - x^2)^2, summed: a curved valley with its minimum 0 at (1, 1)."""
    return ((1.0 - x) * (1.0 - x)).sum() + 100.0 * ((y - x * x) * (y - x * x)).sum()


def start() -> tuple[Tensor, Tensor]:
    x, y = (Tensor(np.array([value]), requires_grad=True) for value in START)
    return x, y


def test_rosenbrock_as_scipy_itself() -> None:
    x, y = start()
    optimizer = LBFGS([x, y], gradient_tolerance=1e-8, loss_tolerance=1e-15)
    final = optimizer.step(lambda: rosenbrock(x, y))
    theirs = scipy.optimize.minimize(
        scipy.optimize.rosen,
        START,
        jac=scipy.optimize.rosen_der,
        method="L-BFGS-B",
        options={"maxiter": 400, "maxcor": 10, "gtol": 1e-8, "ftol": 1e-15},
    )
    point = [x.item(), y.item()]
    assert point == pytest.approx([1.0, 1.0], abs=1e-7)
    assert point == pytest.approx(theirs.x, abs=1e-9)
    result = optimizer.result
    assert result is not None
    assert (result.iterations, result.evaluations, result.converged) == (theirs.nit, theirs.nfev, True)
    assert final == result.loss == rosenbrock(x, y).item()
    assert isinstance(final, float)
    assert "CONVERGENCE" in result.message
    assert optimizer.steps == result.iterations


def test_a_linear_model_in_float32_reaches_least_squares(rng: np.random.Generator) -> None:
    data = rng.standard_normal((40, 3)).astype("float32")
    target = rng.standard_normal((40, 2)).astype("float32")
    weight = Tensor(np.zeros((3, 2), "float32"), requires_grad=True)
    bias = Tensor(np.zeros(2, "float32"), requires_grad=True)

    def loss() -> Tensor:
        error = Tensor(data) @ weight + bias - Tensor(target)
        return (error * error).mean()

    LBFGS([weight, bias]).step(loss)
    solution = np.linalg.lstsq(np.column_stack([data, np.ones(40)]).astype("float64"), target, rcond=None)[0]
    np.testing.assert_allclose(np.vstack([weight.numpy(), bias.numpy()]), solution, atol=2e-4)
    assert (weight.dtype, bias.dtype) == (np.float32, np.float32)


def test_callback_sees_every_accepted_step_and_may_stop() -> None:
    x, y = start()
    seen: list[tuple[int, float]] = []
    optimizer = LBFGS([x, y], max_iterations=7)
    final = optimizer.step(lambda: rosenbrock(x, y), callback=lambda i, loss: seen.append((i, loss)))
    assert [i for i, _ in seen] == list(range(1, 8))
    losses = [loss for _, loss in seen]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == final == pytest.approx(rosenbrock(x, y).item())
    assert optimizer.result is not None
    assert not optimizer.result.converged

    def stop(iteration: int, loss: float) -> None:
        if iteration == 3:
            raise StopIteration

    x, y = start()
    optimizer = LBFGS([x, y])
    assert optimizer.step(lambda: rosenbrock(x, y), callback=stop) == losses[2]
    assert optimizer.result is not None
    assert optimizer.result.iterations == 3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_restores_the_last_good_parameters(bad: float) -> None:
    x, y = start()
    accepted = []
    calls = 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        loss = rosenbrock(x, y)
        return loss * bad if calls == 12 else loss

    with pytest.raises(ValueError, match=r"not finite \(loss (nan|inf)\).*last good parameters"):
        LBFGS([x, y]).step(closure, callback=lambda i, loss: accepted.append((x.item(), y.item(), loss)))
    assert len(accepted) > 3
    assert (x.item(), y.item()) == accepted[-1][:2]
    assert rosenbrock(x, y).item() == accepted[-1][2]


def test_an_interruption_at_the_first_call_leaves_the_start() -> None:
    x, y = start()

    def interrupted() -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LBFGS([x, y]).step(interrupted)
    assert [x.item(), y.item()] == START.tolist()


def test_an_infinite_gradient_is_noticed() -> None:
    x = Tensor(np.zeros(1), requires_grad=True)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="gradient that is not finite"):
        LBFGS([x]).step(lambda: ta.ops.sqrt(x).sum())


def test_a_second_step_goes_on_and_graphs_of_old_values_refuse() -> None:
    x, y = start()
    optimizer = LBFGS([x, y], max_iterations=3)
    first = optimizer.step(lambda: rosenbrock(x, y))
    stale = rosenbrock(x, y)
    second = optimizer.step(lambda: rosenbrock(x, y))
    assert second < first
    assert optimizer.steps == 6
    with pytest.raises(RuntimeError, match="changed in place"):
        stale.backward()


def test_it_has_the_face_of_an_optimizer() -> None:
    x, y = start()
    optimizer = LBFGS([x, y], history=4)
    assert optimizer.full_batch
    assert not SGD.full_batch
    state = optimizer.state_dict()
    other = LBFGS([x, y])
    other.load_state_dict(state)
    assert other.history == 4
    assert isinstance(other.history, int)
    assert repr(other).startswith("<LBFGS max_iterations=400, history=4")


def test_mistakes_are_named() -> None:
    x, y = start()
    optimizer = LBFGS([x, y])
    with pytest.raises(TypeError, match=r"step\(lambda: model.loss"):
        optimizer.step()
    with pytest.raises(TypeError, match=r"one number, got a Tensor of shape \(2,\)"):
        optimizer.step(lambda: ta.ops.concatenate(x, y, axis=0))
    with pytest.raises(ValueError, match=r"parameter 1 of shape \(1,\) got no gradient"):
        optimizer.step(lambda: (x * x).sum())
    assert [x.item(), y.item()] == START.tolist()
    wrong = {"max_iterations": 0, "history": 1.5, "gradient_tolerance": -1.0, "loss_tolerance": math.nan}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            LBFGS([x, y], **{name: value})  # type: ignore[arg-type]
