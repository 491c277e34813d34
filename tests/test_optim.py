"""The gradient methods against transcriptions of their papers, their state, and their flat buffers."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinyae as ta
from tinyae.autodiff import Tensor
from tinyae.backend import CPU, Backend, MixedDevicesError, dense_kernels
from tinyae.backend.devices import NumpyBackend
from tinyae.optim import LBFGS, SGD, Adagrad, Adam, AdamW, FlatParameters, Optimizer, RMSprop, clip_grad_norm
from tinyae.testing import strict_device

Gradient = Callable[[np.ndarray], np.ndarray]
STEPS = 50
SHAPES = [(3, 4), (), (5,), (2, 1, 3)]


def leaves(rng: np.random.Generator, dtype: str = "float64", device: Backend = CPU) -> list[Tensor]:
    values = [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]
    return [Tensor(device.to_device(value), requires_grad=True) for value in values]


def joined(tensors: list[Tensor]) -> np.ndarray:
    return np.concatenate([t.numpy().ravel() for t in tensors])


class Quadratic:
    """x'Ax/2 - b'x over several tensors, with A positive definite: the gradient is Ax - b."""

    def __init__(self, rng: np.random.Generator, dtype: str = "float64", device: Backend = CPU) -> None:
        self.device = device
        self.tensors = leaves(rng, dtype, device)
        self.start = joined(self.tensors).astype("float64")
        n = self.start.size
        root = rng.standard_normal((n, n))
        self.a = (root @ root.T / n + np.eye(n)).astype(dtype)
        self.b = rng.standard_normal(n).astype(dtype)

    def loss(self) -> Tensor:
        x = ta.ops.concatenate(*[t.reshape(-1) for t in self.tensors], axis=0)
        a, b = Tensor(self.device.to_device(self.a)), Tensor(self.device.to_device(self.b))
        return 0.5 * (x * (a @ x)).sum() - (b * x).sum()

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return self.a.astype("float64") @ x - self.b

    def run(self, optimizer: Optimizer, steps: int = STEPS) -> np.ndarray:
        for _ in range(steps):
            optimizer.zero_grad()
            self.loss().backward()
            optimizer.step()
        return joined(self.tensors)


def paper_sgd(x: np.ndarray, gradient: Gradient, lr: float, mu: float, nesterov: bool, decay: float) -> np.ndarray:
    """Polyak's heavy ball; Sutskever et al. (2013) for the look-ahead, in PyTorch's form."""
    v = np.zeros_like(x)
    for _ in range(STEPS):
        g = gradient(x) + decay * x
        v = mu * v + g
        x = x - lr * (g + mu * v if nesterov else v)
    return x


def paper_adagrad(x: np.ndarray, gradient: Gradient, lr: float, delta: float) -> np.ndarray:
    """Duchi et al. (2011), figure 1, diagonal form: H = delta I + diag(G)^(1/2)."""
    past = []
    for _ in range(STEPS):
        past.append(gradient(x))
        h = delta + np.sqrt(np.sum(np.square(past), axis=0))
        x = x - lr * past[-1] / h
    return x


def paper_rmsprop(x: np.ndarray, gradient: Gradient, lr: float, alpha: float, eps: float) -> np.ndarray:
    """Hinton's lecture 6e: the mean square written out as the weighted sum over all past gradients."""
    past = []
    for t in range(STEPS):
        past.append(gradient(x))
        weights = (1 - alpha) * alpha ** np.arange(t, -1, -1.0)
        x = x - lr * past[-1] / (np.sqrt(weights @ np.square(past)) + eps)
    return x


def paper_adam(
    x: np.ndarray, gradient: Gradient, lr: float, b1: float, b2: float, eps: float, penalty: float, decay: float
) -> np.ndarray:
    """Kingma and Ba (2015), Algorithm 1; `penalty` enters the gradient, `decay` is AdamW's (2019)."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in range(1, STEPS + 1):
        g = gradient(x) + penalty * x
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        mhat, vhat = m / (1 - b1**t), v / (1 - b2**t)
        x = x - lr * mhat / (np.sqrt(vhat) + eps) - lr * decay * x
    return x


CASES = {
    "sgd": (lambda ts: SGD(ts, lr=0.05), lambda x, g: paper_sgd(x, g, 0.05, 0, False, 0)),
    "sgd momentum": (lambda ts: SGD(ts, lr=0.02, momentum=0.9, weight_decay=0.1),
                     lambda x, g: paper_sgd(x, g, 0.02, 0.9, False, 0.1)),
    "sgd nesterov": (lambda ts: SGD(ts, lr=0.02, momentum=0.8, nesterov=True),
                     lambda x, g: paper_sgd(x, g, 0.02, 0.8, True, 0)),
    "adagrad": (lambda ts: Adagrad(ts, lr=0.3), lambda x, g: paper_adagrad(x, g, 0.3, 1e-10)),
    "rmsprop": (lambda ts: RMSprop(ts, lr=0.02), lambda x, g: paper_rmsprop(x, g, 0.02, 0.99, 1e-8)),
    "adam": (lambda ts: Adam(ts, lr=0.05), lambda x, g: paper_adam(x, g, 0.05, 0.9, 0.999, 1e-8, 0, 0)),
    "adam eps": (  # an eps large enough to show whether it stands inside the bias correction
        lambda ts: Adam(ts, lr=0.05, betas=(0.8, 0.95), eps=0.3, weight_decay=0.2),
        lambda x, g: paper_adam(x, g, 0.05, 0.8, 0.95, 0.3, 0.2, 0)),
    "adamw": (lambda ts: AdamW(ts, lr=0.05, weight_decay=0.3),
              lambda x, g: paper_adam(x, g, 0.05, 0.9, 0.999, 1e-8, 0, 0.3)),
}  # fmt: skip
cases = pytest.mark.parametrize("name", CASES)


@cases
def test_fifty_steps_equal_the_paper(name: str, device: Backend, rng: np.random.Generator) -> None:
    make, paper = CASES[name]
    problem = Quadratic(rng, device=device)
    expected = paper(problem.start, problem.gradient)
    assert np.abs(expected - problem.start).max() > 0.1
    np.testing.assert_allclose(problem.run(make(problem.tensors)), expected, rtol=1e-12, atol=1e-13)


class Kept:
    """Gradients read at some time, each with a view of it and with the values that both had then."""

    def __init__(self, device: Backend) -> None:
        self.device = device
        self.found: list[tuple[Tensor, Any, np.ndarray]] = []

    def read(self, tensors: list[Tensor]) -> None:
        self.found += [(t.grad, t.grad.data.reshape(-1)[:2], t.grad.numpy().copy()) for t in tensors]

    def check(self) -> None:
        assert len(self.found) > 20
        for gradient, view, values in self.found:
            np.testing.assert_array_equal(gradient.numpy(), values)
            np.testing.assert_array_equal(self.device.to_host(view), values.reshape(-1)[:2])


@pytest.mark.parametrize("drop", ["zero_grad", pytest.param("by hand", marks=pytest.mark.thorough)])
@cases
def test_gradients_that_are_kept_stay_as_they_were(
    name: str, drop: str, device: Backend, rng: np.random.Generator
) -> None:
    make, paper = CASES[name]
    problem, kept = Quadratic(rng, device=device), Kept(device)
    optimizer = make(problem.tensors)
    for step in range(STEPS):
        for norm in (0.1, 1e9):  # the first, clipped in place or not, is dropped
            if drop == "zero_grad":
                optimizer.zero_grad()
            for t in problem.tensors if drop == "by hand" else []:
                t.grad = None
            problem.loss().backward()
            kept.read(problem.tensors[step % 3 :])
            clip_grad_norm(problem.tensors, norm)
            kept.read(problem.tensors[2:])
        optimizer.step()
        kept.read(problem.tensors[: step % 2])
    expected = paper(problem.start, problem.gradient)
    np.testing.assert_allclose(joined(problem.tensors), expected, rtol=1e-12, atol=1e-13)
    kept.check()


def test_gradients_of_a_line_search_that_are_kept_stay_as_they_were(device: Backend, rng: np.random.Generator) -> None:
    problem, kept = Quadratic(rng, device=device), Kept(device)
    LBFGS(problem.tensors).step(problem.loss, lambda *_: kept.read(problem.tensors))
    minimum = np.linalg.solve(problem.a, problem.b)
    np.testing.assert_allclose(joined(problem.tensors), minimum, rtol=1e-4, atol=1e-5)
    kept.check()


@cases
def test_float32_stays_float32_and_close_to_the_paper(name: str, device: Backend, rng: np.random.Generator) -> None:
    make, paper = CASES[name]
    problem = Quadratic(rng, "float32", device)
    optimizer = make(problem.tensors)
    optimizer.lr = np.float64(optimizer.lr)  # a NumPy scalar would promote float32 arithmetic to float64
    result = problem.run(optimizer)
    assert result.dtype == np.float32
    buffers = [optimizer.flat.data, optimizer.flat.grad, *optimizer.buffers.values()]
    assert {buffer.dtype for buffer in buffers} == {np.dtype("float32")}
    np.testing.assert_allclose(result, paper(problem.start, problem.gradient), rtol=1e-3, atol=1e-4)


@cases
def test_resuming_from_a_state_gives_equal_bits(name: str, device: Backend, rng: np.random.Generator) -> None:
    make, _ = CASES[name]
    problem = Quadratic(rng, "float32", device)
    optimizer = make(problem.tensors)
    problem.run(optimizer, 7)
    optimizer.lr *= 0.5
    state = optimizer.state_dict()
    values = [t.numpy().copy() for t in problem.tensors]
    straight = problem.run(optimizer, 9)

    problem.tensors = [Tensor(device.to_device(v), requires_grad=True) for v in values]
    resumed = make(problem.tensors)
    resumed.load_state_dict(state)
    assert resumed.lr == optimizer.lr
    np.testing.assert_array_equal(problem.run(resumed, 9), straight)
    assert resumed.state_dict().keys() == state.keys()


def test_a_state_brings_its_numbers_and_keeps_its_own_arrays(rng: np.random.Generator) -> None:
    saved = Adam(leaves(rng), lr=0.1, betas=(0.5, 0.6), eps=0.01, weight_decay=0.2)
    other = Adam(leaves(rng))
    state = saved.state_dict()
    assert state["mean"].shape == (24,)
    other.load_state_dict(state)
    assert (other.lr, other.beta1, other.beta2, other.eps, other.weight_decay) == (0.1, 0.5, 0.6, 0.01, 0.2)
    state["mean"][:] = 7.0
    assert not other.state_dict()["mean"].any()
    assert not saved.state_dict()["mean"].any()


@pytest.mark.parametrize(("change", "message"), [
    ({"method": "SGD"}, "state of SGD, not of Adam"),
    ({"mean": None}, r"missing \['mean'\]"),
    ({"velocity": 1.0}, r"unexpected \['velocity'\]"),
    ({"mean": np.zeros(3)}, r"shape \(3,\).*need float64 of shape \(24,\)"),
    ({"mean": np.zeros(24, "float32")}, "is float32"),
    ({"beta1": 1.0}, "beta1 must be"),
    ({"lr": math.nan}, "lr must be a finite number"),
    ({"steps": -1}, "steps must be a whole number"),
])  # fmt: skip
def test_a_state_that_does_not_fit_changes_nothing(change: dict, message: str, rng: np.random.Generator) -> None:
    problem = Quadratic(rng)
    optimizer = Adam(problem.tensors)
    problem.run(optimizer, 3)
    before = optimizer.state_dict()
    state = {k: v for k, v in {**before, "lr": 0.7, **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert all(np.array_equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("state", [None, 3, [], "a"])
def test_a_state_is_a_dictionary(state: Any, rng: np.random.Generator) -> None:
    optimizer = SGD(leaves(rng), lr=0.1)
    for stateful in (optimizer, ta.optim.StepLR(optimizer, 2)):
        with pytest.raises(TypeError, match=r"a state of .* is a dictionary, got .*: give what state_dict\(\)"):
            stateful.load_state_dict(state)


@pytest.mark.parametrize("name", ["SGD", "SGD nesterov", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_pytorch_takes_the_same_steps(name: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    problem = Quadratic(rng)
    theirs = torch.nn.Parameter(torch.from_numpy(problem.start.copy()))
    method, _, nesterov = name.partition(" ")
    options = {"lr": 0.02}
    if nesterov:
        options |= {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    optimizer = getattr(torch.optim, method)([theirs], **options)
    a, b = torch.from_numpy(problem.a), torch.from_numpy(problem.b)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (0.5 * theirs @ (a @ theirs) - b @ theirs).backward()
        optimizer.step()
    ours = problem.run(getattr(ta.optim, method)(problem.tensors, **options))
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_zero_grad_forgets_and_without_it_gradients_add(rng: np.random.Generator) -> None:
    problem = Quadratic(rng)
    optimizer = SGD(problem.tensors, lr=1.0)
    problem.loss().backward()
    problem.loss().backward()
    optimizer.step()
    moved = problem.start - joined(problem.tensors)
    np.testing.assert_allclose(moved, 2 * problem.gradient(problem.start), rtol=1e-12)
    optimizer.zero_grad()
    assert all(t.grad is None for t in problem.tensors)


@pytest.mark.parametrize("lr", [-1e-3, math.nan, math.inf])
def test_a_rate_that_is_refused_changes_nothing(lr: float, rng: np.random.Generator) -> None:
    optimizer = Adam(leaves(rng))
    with pytest.raises(ValueError, match="lr must be a finite number"):
        optimizer.lr = lr
    assert optimizer.lr == 1e-3


@pytest.mark.parametrize(("make", "message"), [
    (lambda ts: SGD(ts, lr=0), "lr must be a finite number, above 0"),
    *[(lambda ts, lr=lr: Adam(ts, lr=lr), "lr must be a finite number") for lr in (-1e-3, math.nan, math.inf)],
    (lambda ts: SGD(ts, lr=0.1, momentum=1.0), "momentum"),
    (lambda ts: SGD(ts, lr=0.1, nesterov=True), "nesterov=True needs momentum"),
    (lambda ts: SGD(ts, lr=0.1, weight_decay=-1), "weight_decay"),
    (lambda ts: Adagrad(ts, eps=0), "eps"),
    (lambda ts: RMSprop(ts, alpha=1.5), "alpha"),
    (lambda ts: Adam(ts, betas=(0.9, 1.0)), "beta2"),
    (lambda ts: Adam(ts, betas=0.9), "pair"),
    (lambda ts: AdamW(ts, weight_decay=math.inf), "weight_decay"),
])  # fmt: skip
def test_numbers_out_of_range_are_named(make: Callable, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=message):
        make(leaves(rng))


def test_repr_tells_method_numbers_and_size(rng: np.random.Generator) -> None:
    text = repr(Adam(leaves(rng, "float32"), lr=0.01))
    assert text.startswith("<Adam lr=0.01, beta1=0.9, beta2=0.999")
    assert "4 tensors, 24 parameters, float32 on cpu" in text


def test_a_parameter_without_gradient_is_named_and_nothing_moves(rng: np.random.Generator) -> None:
    used, unused = Tensor(rng.random(3), requires_grad=True), Tensor(rng.random((2, 5)), requires_grad=True)
    optimizer = SGD([used, unused], lr=0.1)
    before = used.numpy().copy()
    used.sum().backward()
    with pytest.raises(ValueError, match=r"parameter 1 of shape \(2, 5\) got no gradient.*freeze"):
        optimizer.step()
    np.testing.assert_array_equal(used.numpy(), before)
    assert optimizer.steps == 0


def test_an_older_graph_refuses_to_run_after_a_step(rng: np.random.Generator) -> None:
    x = Tensor(rng.random(3), requires_grad=True)
    optimizer = SGD([x], lr=0.1)
    stale = (x * x).sum()
    (x * x).sum().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        stale.backward()


def test_values_survive_and_tensors_become_views_of_one_buffer(rng: np.random.Generator) -> None:
    originals = [rng.standard_normal(shape) for shape in SHAPES]
    originals.append(rng.standard_normal((4, 6)).T[::2])  # neither C- nor F-contiguous
    tensors = [Tensor(np.asarray(a), requires_grad=True) for a in originals]
    kept = [np.array(a) for a in originals]
    flat = FlatParameters(tensors)
    for tensor, values in zip(tensors, kept, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), values)
        assert tensor.shape == values.shape
        assert np.shares_memory(tensor.data, flat.data)
        assert tensor.data.ctypes.data % 64 == flat.data.ctypes.data % 64
    flat.data += 1.0
    for tensor, original, values in zip(tensors, originals, kept, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), values + 1.0)
        np.testing.assert_array_equal(original, values)


def test_gradients_land_in_the_flat_buffer_and_views_survive_steps(rng: np.random.Generator) -> None:
    problem = Quadratic(rng)
    optimizer = Adam(problem.tensors)
    flat = optimizer.flat
    for _ in range(3):
        optimizer.zero_grad()
        problem.loss().backward()
        assert all(np.shares_memory(t._grad.data, flat.grad) for t in problem.tensors)
        expected = problem.gradient(joined(problem.tensors))
        np.testing.assert_allclose(flat.to_host(flat.gather()), expected, rtol=1e-12, atol=1e-13)
        optimizer.step()
        assert all(np.shares_memory(t.data, flat.data) for t in problem.tensors)


def test_host_copies_leave_the_padding_out_and_go_back_in(rng: np.random.Generator) -> None:
    tensors = leaves(rng, "float32")
    flat, values = FlatParameters(tensors), np.arange(24.0)
    assert flat.size == 24
    flat.from_host(values, flat.data)
    np.testing.assert_array_equal(joined(tensors), values)
    np.testing.assert_array_equal(flat.to_host(flat.data), values)
    assert np.count_nonzero(flat.data) == 23


def test_assigned_gradients_are_copied_and_checked(rng: np.random.Generator) -> None:
    x = Tensor(rng.random(4), requires_grad=True)
    flat = FlatParameters([x])
    mine = np.array([1.0, 2.0, 3.0, 4.0])
    x.grad = Tensor(mine)
    flat.gather()[:] = 0.0
    np.testing.assert_array_equal(mine, [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match=r"grad of shape \(3,\) to a Tensor of shape \(4,\)"):
        x.grad = Tensor(np.ones(3))


def test_a_tensor_given_twice_counts_once(rng: np.random.Generator) -> None:
    x, y = Tensor(rng.random(3), requires_grad=True), Tensor(rng.random(2), requires_grad=True)
    optimizer = SGD(iter([x, y, x]), lr=1.0)
    assert optimizer.flat.size == 5
    before = x.numpy().copy()
    (x.sum() + y.sum()).backward()
    optimizer.step()
    np.testing.assert_allclose(x.numpy(), before - 1.0)


def test_what_cannot_be_optimized_is_refused(rng: np.random.Generator) -> None:
    x = Tensor(rng.random(3), requires_grad=True)
    there = Tensor(strict_device().to_device(rng.random(3)), requires_grad=True)
    for wrong, error, message in [
        ([x, there], MixedDevicesError, "cpu, strict"),
        ([], ValueError, "nothing to optimize"),
        (x, TypeError, r"got Tensor: pass model.parameters\(\), or \[tensor\]"),
        (3, TypeError, "got int"),
        ([x, np.zeros(3)], TypeError, "got ndarray at position 1"),
        ([x, x * 2.0], TypeError, "tensor 1 .* result of an operation"),
        ([Tensor(np.zeros(2))], TypeError, "frozen or a constant"),
        ([x, Tensor([1.0], requires_grad=True)], TypeError, "tensor 0 is float64, but tensor 1 is float32"),
        ([Tensor(np.zeros(2, "complex128"), requires_grad=True)], TypeError, "complex128"),
    ]:
        with pytest.raises(error, match=message):
            FlatParameters(wrong)  # type: ignore[arg-type]


def test_an_array_replaced_behind_the_optimizer_is_noticed(rng: np.random.Generator) -> None:
    x = Tensor(rng.random(3), requires_grad=True)
    optimizer = SGD([x], lr=0.1)
    x.data = np.zeros(3)
    x.sum().backward()
    with pytest.raises(RuntimeError, match=r"parameter 0 of shape \(3,\) was replaced after"):
        optimizer.step()
    second = SGD([x], lr=0.1)
    second.step()
    with pytest.raises(RuntimeError, match="only one for each parameter"):
        optimizer.step()


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"])
def test_a_copy_of_an_optimizer_says_that_it_needs_a_new_one(twin: Callable, rng: np.random.Generator) -> None:
    x = Tensor(rng.random(3), requires_grad=True)
    y, optimizer = twin((x, SGD([x], lr=0.1)))
    y.sum().backward()
    with pytest.raises(RuntimeError, match=r"a new one for a copy of the model; load_state_dict\(\)"):
        optimizer.step()


CHUNK = dense_kernels._CHUNK


class Reference(NumpyBackend):
    """NumPy with the readable body of `Backend`."""

    adam = Backend.adam


def run(backend: Backend, size: int, dtype: str, decay: float, steps: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(size)
    param = rng.standard_normal(size).astype(dtype)
    mean, square = np.zeros(size, dtype), np.zeros(size, dtype)
    for _ in range(steps):
        grad = rng.standard_normal(size).astype(dtype)
        before = grad.copy()
        backend.adam(param, grad, mean, square, step=0.013, beta1=0.9, beta2=0.999, eps=1e-7, decay=decay)
        np.testing.assert_array_equal(grad, before)
    return [param, mean, square]


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_chunks_equal_the_reference_bit_for_bit(size: int, decay: float) -> None:
    for dtype in ("float32", "float64"):
        expected = run(Reference(), size, dtype, decay)
        for ours, theirs in zip(run(CPU, size, dtype, decay), expected, strict=True):
            assert ours.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(ours, theirs)
