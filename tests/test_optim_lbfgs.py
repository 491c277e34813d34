"""L-BFGS: the minima of SciPy's, the formulas of the book, runs in parts, and what is left after a run that goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
from numpy.testing import assert_allclose, assert_array_equal

import tinyae as ta
from tinyae import nn
from tinyae.autodiff import Tensor
from tinyae.backend import CPU, Backend
from tinyae.optim import LBFGS, SGD
from tinyae.optim.lbfgs import Trial, line_search, two_loop

START = np.array([-1.2, 1.0])
Problem = tuple[Callable[[Tensor], Tensor], np.ndarray]


def rosenbrock(x: Tensor, y: Tensor) -> Tensor:
    """(1 - x)^2 + 100 (y - x^2)^2, summed: a curved valley with its minimum 0 at (1, 1)."""
    return ((1.0 - x) * (1.0 - x)).sum() + 100.0 * ((y - x * x) * (y - x * x)).sum()


def start() -> tuple[Tensor, Tensor]:
    x, y = (Tensor(np.array([value]), requires_grad=True) for value in START)
    return x, y


def quadratic(rng: np.random.Generator, n: int) -> Problem:
    """x.Ax / 2 - b.x with eigenvalues of A from 0.01 to 100; its minimum is -b.A^-1 b / 2."""
    rotation = np.linalg.qr(rng.normal(size=(n, n)))[0]
    a, b = Tensor(rotation * 10 ** rng.uniform(-2, 2, n) @ rotation.T), Tensor(rng.normal(size=n))
    return lambda x: 0.5 * (x * (a @ x)).sum() - (b * x).sum(), rng.normal(size=n)


def logistic(rng: np.random.Generator, n: int) -> Problem:
    """Logistic regression of 200 samples on n features of unlike scales, with a small weight decay."""
    x = rng.normal(size=(200, n)) * 10 ** rng.uniform(-1, 1, n)
    signed = x * np.sign(x @ rng.normal(size=n) + 3 * rng.normal(size=200))[:, None]
    return lambda w: ta.ops.softplus(-(Tensor(signed.astype(w.dtype)) @ w)).mean() + 5e-4 * (w * w).sum(), np.zeros(n)


def valley(rng: np.random.Generator, n: int) -> Problem:
    """The function of Rosenbrock in n + 1 dimensions."""
    return lambda x: rosenbrock(x[:-1], x[1:]), rng.normal(size=n + 1)


def beale(rng: np.random.Generator, n: int) -> Problem:
    """Beale's function of two numbers, n or not, with its minimum 0 at (3, 0.5)."""

    def f(x: Tensor) -> Tensor:
        a, b = x[0], x[1]
        return sum(((c - a + a * b**k) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))), start=0.0 * a)

    return f, np.array([3.0, 0.5]) + 0.5 * rng.normal(size=2)


def minimized(problem: Problem, dtype: str, **options: float) -> tuple[LBFGS, Tensor]:
    f, at = problem
    x = Tensor(at.astype(dtype), requires_grad=True)
    optimizer = LBFGS([x], max_iterations=2000, **options)  # type: ignore[arg-type]
    optimizer.step(lambda: f(x))
    return optimizer, x


def scipy_minimum(problem: Problem, gtol: float, ftol: float) -> scipy.optimize.OptimizeResult:
    f, at = problem

    def value_and_gradient(values: np.ndarray) -> tuple[float, np.ndarray]:
        x = Tensor(values.copy(), requires_grad=True)
        loss = f(x)
        loss.backward()
        return loss.item(), x.grad.numpy()

    options = {"maxiter": 2000, "maxfun": 10**6, "maxcor": 10, "gtol": gtol, "ftol": ftol}
    return scipy.optimize.minimize(value_and_gradient, at, jac=True, method="L-BFGS-B", options=options)


Maker = Callable[[np.random.Generator, int], Problem]
PROBLEMS: list[Maker] = [quadratic, logistic, valley, beale]


@pytest.mark.parametrize("make", PROBLEMS)
def test_the_minima_of_scipy_in_as_many_iterations(make: Maker) -> None:
    ratios = []
    for seed, n in enumerate((1, 4, 20)):
        problem = make(np.random.default_rng(seed), n)
        theirs = scipy_minimum(problem, gtol=1e-8, ftol=1e-13)
        optimizer, x = minimized(problem, "float64", gradient_tolerance=1e-8, loss_tolerance=1e-13)
        result = optimizer.result
        assert result.loss == pytest.approx(theirs.fun, rel=1e-6, abs=1e-9)
        assert result.loss == problem[0](x).item()
        assert optimizer.steps == result.iterations
        assert result.converged, result.message
        ratios.append([result.iterations / theirs.nit, result.evaluations / theirs.nfev])
        in_float32, _ = minimized(problem, "float32")
        assert in_float32.result.loss == pytest.approx(theirs.fun, rel=1e-5, abs=1e-6)
    assert (np.mean(ratios, axis=0) <= 1.5).all(), ratios


def test_a_float32_loss_converges_to_its_rounding_error_in_a_few_trials() -> None:
    problem = logistic(np.random.default_rng(1), 10)
    result = minimized(problem, "float32", gradient_tolerance=0.0, loss_tolerance=0.0)[0].result
    assert result.loss == pytest.approx(scipy_minimum(problem, gtol=1e-8, ftol=1e-13).fun, rel=1e-6)
    assert "rounding error" in result.message
    assert result.converged
    assert result.evaluations < 1.5 * result.iterations


@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_two_loops_multiply_by_the_bfgs_matrix(count: int, rng: np.random.Generator) -> None:
    n = 9
    curved = (lambda a: a @ a.T + np.eye(n))(rng.normal(size=(n, n)))
    pairs = [(s, curved @ s) for s in rng.normal(size=(count, n))]
    matrix = np.eye(n) if not pairs else np.eye(n) * (pairs[-1][0] @ pairs[-1][1]) / (pairs[-1][1] @ pairs[-1][1])
    for s, y in pairs:
        v = np.eye(n) - np.outer(y, s) / (y @ s)
        matrix = v.T @ matrix @ v + np.outer(s, s) / (y @ s)
    gradient = rng.normal(size=n)
    assert_allclose(two_loop(gradient, pairs), matrix @ gradient, rtol=1e-10)


@pytest.mark.parametrize("make", PROBLEMS)
@pytest.mark.parametrize("n", [1, 3, 8, 20])
def test_every_accepted_step_meets_the_strong_wolfe_conditions(make: Maker, n: int) -> None:
    f, at = make(np.random.default_rng(n), n)
    x = Tensor(at, requires_grad=True)
    points: list[tuple[np.ndarray, float, np.ndarray]] = []

    def see(iteration: int = 0, loss: float = 0.0) -> None:
        leaf = Tensor(x.numpy().copy(), requires_grad=True)
        f(leaf).backward()
        points.append((leaf.numpy(), f(leaf).item(), leaf.grad.numpy()))

    see()
    LBFGS([x], max_iterations=30).step(lambda: f(x), see)
    for (x0, f0, g0), (x1, f1, g1) in pairwise(points):
        slope = g0 @ (x1 - x0)
        assert f1 < f0
        assert f1 <= f0 + 1e-4 * slope + 1e-14 * abs(f0)
        assert abs(g1 @ (x1 - x0)) <= -0.9 * slope * (1 + 1e-6)
    assert len(points) > 2


@pytest.mark.parametrize("at", [0.9, 1.6, 2.4, 3.0])
@pytest.mark.parametrize("curvature", [0.3, 0.0, -0.1])
def test_at_a_kink_no_slope_is_small_and_the_lowest_trial_is_accepted(curvature: float, at: float) -> None:
    x = Tensor(np.array([at]), requires_grad=True)

    def distance() -> Tensor:
        return (ta.ops.relu(x - 0.3) + ta.ops.relu(0.3 - x)).sum() + curvature * (x * x).sum()

    def see(iteration: int, loss: float) -> None:
        assert distance().item() == loss
        assert all(s @ y > 0 for s, y in optimizer.pairs)

    optimizer = LBFGS([x])
    assert optimizer.step(distance, see) == pytest.approx(curvature * 0.3**2, abs=1e-5)


@pytest.mark.parametrize(("at_1", "rounding", "accepted"), [
    ((-1e-6, 0.0), 0.0, 0.5),  # flat, but no sufficient decrease: the cubic or bisection leads below 1
    ((1e-6, -0.8), 1e-3, 4.0),  # a loss that only rounding hides from being lower: longer steps
    ((1e-6, 0.5), 1e-3, 1.0),  # the minimum, up to rounding
    ((math.nan, -0.8), 0.0, 0.5),
])  # fmt: skip
def test_which_step_is_accepted(at_1: tuple[float, float], rounding: float, accepted: float) -> None:
    def evaluate(step: float) -> Trial:
        return Trial(step, *(at_1 if step == 1.0 else (-abs(step), 0.0)), np.zeros(0))

    found = line_search(evaluate, Trial(0.0, 0.0, -1.0, np.zeros(0)), rounding)
    assert found.step == pytest.approx(accepted, abs=0.4 if accepted == 0.5 else 0.0)


def test_a_step_that_is_too_long_for_finite_numbers_is_shortened() -> None:
    x = Tensor(np.array([3.0]), requires_grad=True)  # the first trial is 2, those after it are below 0
    optimizer = LBFGS([x])
    optimizer.step(lambda: (x - 0.1 * ta.ops.log(x)).sum())
    assert x.item() == pytest.approx(0.1, rel=1e-3)
    assert optimizer.result.converged


def test_callback_sees_every_accepted_step_and_may_stop() -> None:
    x, y = start()
    seen: list[tuple[int, float]] = []
    optimizer = LBFGS([x, y], max_iterations=7)
    final = optimizer.step(lambda: rosenbrock(x, y), callback=lambda i, loss: seen.append((i, loss)))
    assert [i for i, _ in seen] == list(range(1, 8))
    losses = [loss for _, loss in seen]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == final == pytest.approx(rosenbrock(x, y).item())
    assert not optimizer.result.converged

    def stop(iteration: int, loss: float) -> None:
        if iteration == 3:
            raise StopIteration

    x, y = start()
    optimizer = LBFGS([x, y])
    assert optimizer.step(lambda: rosenbrock(x, y), callback=stop) == losses[2]
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
        return loss * bad if calls >= 12 else loss

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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_iterations_in_parts_equal_one_run_bit_for_bit(dtype: str) -> None:
    f, at = valley(np.random.default_rng(0), 20)

    def fresh(iterations: int) -> tuple[LBFGS, Tensor]:
        x = Tensor(at.astype(dtype), requires_grad=True)
        return LBFGS([x], max_iterations=iterations, history=4), x

    whole, x = fresh(15)
    losses: list[float] = []
    whole.step(lambda: f(x), lambda i, loss: losses.append(loss))
    part, z = fresh(6)
    stale = f(z)
    assert part.step(lambda: f(z)) == losses[5]
    assert (part.point[:21] == z.data).all() == (dtype == "float64"), "the point is not rounded"
    with pytest.raises(RuntimeError, match="changed in place"):
        stale.backward()
    again, w = fresh(9)
    w.data[...] = z.data
    again.load_state_dict(part.state_dict() | {"max_iterations": 9})
    part.max_iterations = 9
    for optimizer, leaf in ((part, z), (again, w)):
        assert optimizer.step(lambda leaf=leaf: f(leaf)) == losses[-1]
        assert_array_equal(leaf.data, x.data)
        for name, value in whole.state_dict().items():
            if name != "max_iterations":
                assert_array_equal(optimizer.state_dict()[name], value)
    assert whole.state_dict()["pairs"].shape == (4, 2, 21)  # type: ignore[attr-defined]


def test_parameters_that_somebody_changed_start_afresh() -> None:
    f, at = valley(np.random.default_rng(0), 5)
    x, z = (Tensor(at.astype("float32"), requires_grad=True) for _ in range(2))
    used, new = LBFGS([x]), LBFGS([z])
    used.step(lambda: f(x))
    x.data[...] = at
    assert used.step(lambda: f(x)) == new.step(lambda: f(z))
    assert used.result == new.result


def test_a_gradient_that_is_wrong_ends_the_run_where_it_began() -> None:
    x = Tensor(np.array([2.0, 1.0]), requires_grad=True)
    optimizer = LBFGS([x])
    assert optimizer.step(lambda: 2.0 * (x.detach() * x.detach()).sum() - (x * x).sum()) == 5.0
    assert (x.numpy().tolist(), optimizer.result.converged) == ([2.0, 1.0], False)
    assert "no step along the negative gradient" in optimizer.result.message


def test_a_state_goes_from_device_to_device(elsewhere: Backend) -> None:
    f, at = valley(np.random.default_rng(0), 6)
    found = []
    for device in (elsewhere, CPU):
        x = Tensor(device.to_device(at.astype("float32")), requires_grad=True)
        first = LBFGS([x], max_iterations=5)
        first.step(lambda x=x: f(x))
        z = Tensor(x.numpy().copy(), requires_grad=True)
        second = LBFGS([z])
        second.load_state_dict(first.state_dict())
        found.append([second.step(lambda z=z: f(z)), first.step(lambda x=x: f(x)), *x.numpy()])
    assert_allclose(found[0], found[1], rtol=1e-4)
    assert_allclose(found[0][0], found[0][1], rtol=1e-4)


class Counting(nn.Module):
    """Counts its forward passes in a buffer."""

    def __init__(self) -> None:
        self.passes = Tensor(np.zeros(1, "float32"))

    def forward(self, x: Tensor) -> Tensor:
        self.passes.data += 1.0
        return x


def test_buffers_follow_the_accepted_steps_and_not_the_trials(rng: np.random.Generator) -> None:
    x = rng.random((512, 6)).astype("float32")
    counting = Counting()
    encoder = nn.Sequential(nn.Dense(6, 8, generator=rng), nn.BatchNorm(8), nn.Tanh(), counting)
    model = ta.models.Autoencoder(encoder, nn.Dense(8, 6, generator=rng), loss="squared_error")
    optimizer, seen = LBFGS(model.parameters()), []
    see = lambda epoch: seen.append((float(counting.passes.data[0]), ta.evaluate(model, x)["loss"]))  # noqa: E731
    history = ta.fit(model, x, epochs=40, optimizer=optimizer, callbacks=[see], progress=False)
    assert optimizer.result.evaluations > len(history) + 1
    assert [passes for passes, _ in seen] == history["epoch"]
    assert_allclose([loss for _, loss in seen], history["train_loss"], rtol=0.03)
    assert ta.evaluate(model, x)["loss"] == seen[-1][1]
    assert encoder[1].momentum == 0.1


def test_it_has_the_face_of_an_optimizer() -> None:
    x, y = start()
    optimizer = LBFGS([x, y], history=4)
    assert (optimizer.full_batch, SGD.full_batch) == (True, False)
    state, other = optimizer.state_dict(), LBFGS([x, y])
    other.load_state_dict(state)
    assert (other.history, type(other.history)) == (4, int)
    for name, shape in (("point", (3,)), ("pairs", (1, 2, 3)), ("pairs", (2, 2))):
        with pytest.raises(ValueError, match=r"these parameters need \(2,\) and \(count, 2, 2\)"):
            other.load_state_dict(state | {name: np.zeros(shape)})
    assert repr(other).startswith("<LBFGS max_iterations=400, history=4")


def test_mistakes_are_named() -> None:
    x, y = start()
    optimizer = LBFGS([x, y])
    for closure, error, words in [
        (None, TypeError, r"step\(lambda: model.loss"),
        (lambda: ta.ops.concatenate(x, y, axis=0), TypeError, r"one number, got a Tensor of shape \(2,\)"),
        (lambda: (x * x).sum(), ValueError, r"parameter 1 of shape \(1,\) got no gradient"),
    ]:
        with pytest.raises(error, match=words):
            optimizer.step(closure)
    assert [x.item(), y.item()] == START.tolist()
    wrong = {"max_iterations": 0, "history": 1.5, "gradient_tolerance": -1.0, "loss_tolerance": math.nan}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            LBFGS([x, y], **{name: value})
