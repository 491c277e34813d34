"""clip_grad_norm: the norm asked for, and no array of anybody else written to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinyae.autodiff import Tensor, grad
from tinyae.backend import CPU
from tinyae.optim import SGD, clip_grad_norm
from tinyae.testing import strict_device


def joint_norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float((t.grad.numpy() ** 2).sum()) for t in tensors))


def two_leaves(rng: np.random.Generator) -> list[Tensor]:
    return [Tensor(rng.random((3, 4)), requires_grad=True), Tensor(rng.random(5), requires_grad=True)]


@pytest.fixture(params=["free", "owned"])
def pair(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    """Two leaves, which an optimizer owns or not."""
    a, b = Tensor(np.ones(4), requires_grad=True), Tensor(np.ones(4), requires_grad=True)
    if request.param == "owned":
        SGD([a, b], lr=0.1)
    return a, b


def test_leaves_that_share_a_cotangent_clip_to_exactly_the_norm(pair: tuple[Tensor, Tensor]) -> None:
    """The two gradients of a + b are one array in the engine; scaling it once per leaf would clip twice."""
    a, b = pair
    (a + b).sum().backward()
    assert clip_grad_norm([a, b], 0.1).item() == pytest.approx(math.sqrt(8), rel=1e-14)
    assert joint_norm([a, b]) == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("order", [1, -1])
def test_a_gradient_assigned_to_two_leaves_is_scaled_once_each(pair: tuple[Tensor, Tensor], order: int) -> None:
    a, b = pair
    (a * 3.0).sum().backward()
    b.grad = a.grad
    clip_grad_norm([a, b][::order], 0.1)
    assert joint_norm([a, b]) == pytest.approx(0.1, rel=1e-6)
    np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())


def test_the_factor_is_pytorchs(rng: np.random.Generator) -> None:
    tensors = two_leaves(rng)
    before = [rng.standard_normal(t.shape) for t in tensors]
    for tensor, g in zip(tensors, before, strict=True):
        tensor.grad = Tensor(g.copy())
    norm = math.sqrt(sum((g**2).sum() for g in before))
    assert clip_grad_norm(tensors, 0.5).item() == pytest.approx(norm, rel=1e-13)
    for tensor, g in zip(tensors, before, strict=True):
        np.testing.assert_allclose(tensor.grad.numpy(), g * (0.5 / (norm + 1e-6)), rtol=1e-13)


def test_small_gradients_and_zero_gradients_are_left_alone(rng: np.random.Generator) -> None:
    tensors = two_leaves(rng)
    (tensors[0].sum() + (tensors[1] * 0.0).sum()).backward()
    assert clip_grad_norm(tensors, 100.0).item() == pytest.approx(math.sqrt(12))
    np.testing.assert_array_equal(tensors[0].grad.numpy(), np.ones((3, 4)))
    np.testing.assert_array_equal(tensors[1].grad.numpy(), np.zeros(5))


def test_nobody_elses_array_is_written_to(rng: np.random.Generator) -> None:
    x = Tensor(rng.random(3), requires_grad=True)
    mine = np.full(3, 10.0)
    x.grad = Tensor(mine)
    mine.flags.writeable = False
    clip_grad_norm([x], 1.0)
    np.testing.assert_array_equal(mine, np.full(3, 10.0))
    assert joint_norm([x]) == pytest.approx(1.0, rel=1e-6)

    x.grad = None
    slope = grad((x * x).sum(), x)
    x.grad = slope
    values = slope.numpy().copy()
    clip_grad_norm([x], 1e-3)
    np.testing.assert_array_equal(slope.numpy(), values)


def test_a_clipped_step_has_the_length_asked_for_also_after_accumulation(rng: np.random.Generator) -> None:
    tensors = two_leaves(rng)
    optimizer = SGD(tensors, lr=1.0)
    before = [t.numpy().copy() for t in tensors]
    for _ in range(2):
        (tensors[0].sum() * 5.0 + tensors[1].sum()).backward()
    clip_grad_norm(tensors, 0.25)
    optimizer.step()
    moved = math.sqrt(sum(((t.numpy() - b) ** 2).sum() for t, b in zip(tensors, before, strict=True)))
    assert moved == pytest.approx(0.25, rel=1e-6)


def test_dtype_is_kept_and_the_norm_is_a_number_on_the_device(rng: np.random.Generator) -> None:
    x = Tensor(rng.random(3).astype("float32"), requires_grad=True)
    y = Tensor(rng.random(3), requires_grad=True)
    (x * 7.0).sum().backward()
    (y * 7.0).sum().backward()
    norm = clip_grad_norm([x], 1.0)
    assert (norm.shape, norm.dtype, norm.requires_grad) == ((), np.float32, False)
    clip_grad_norm([x, y], 0.5)
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)


def test_tensors_without_gradient_are_passed_over_and_repeats_count_once(rng: np.random.Generator) -> None:
    x, y = two_leaves(rng)
    x.sum().backward()
    assert clip_grad_norm([x, y, x], 1.0).item() == pytest.approx(math.sqrt(12))
    assert y.grad is None
    assert joint_norm([x]) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan, math.inf])
def test_a_senseless_max_norm_is_refused(max_norm: float, rng: np.random.Generator) -> None:
    x = Tensor(rng.random(3), requires_grad=True)
    x.sum().backward()
    with pytest.raises(ValueError, match="max_norm must be a finite number, above 0"):
        clip_grad_norm([x], max_norm)


def test_without_any_gradient_the_advice_is_backward(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"after backward\(\)"):
        clip_grad_norm(two_leaves(rng), 1.0)


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("numbers", [
    [1e20, 1.0, -2e20], [3e38, -3e38, 3e38, 3e38], [1e19] * 40, [1e-30, -2e-30], [3e-23, 1e-23], [1e-44, 0.0],
], ids=str)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_magnitude_changes_neither_direction_nor_norm(numbers, device, owned, dtype) -> None:
    """Against Python's `math.hypot`, which scales, in float64; float64 gets numbers whose squares overflow it too."""
    target = strict_device() if device == "strict" else CPU
    given = np.array(numbers) if dtype == "float32" else np.sign(numbers) * np.abs(numbers) ** 7
    leaves = [Tensor(target.to_device(np.zeros(1), dtype), requires_grad=True) for _ in given]
    if owned:
        SGD(leaves, lr=0.1)
    for leaf, value in zip(leaves, given, strict=True):
        leaf.grad = Tensor(target.to_device([value], dtype))
    given = np.array([leaf.grad.numpy()[0] for leaf in leaves], dtype).astype(float)
    norm = math.hypot(*given / np.abs(given).max()) * np.abs(given).max()
    found = clip_grad_norm(leaves, 0.5).item()
    assert found == (pytest.approx(norm, rel=1e-5) if norm < np.finfo(dtype).max else np.inf)
    clipped = np.array([leaf.grad.numpy()[0] for leaf in leaves], float)
    np.testing.assert_allclose(clipped, given * min(1.0, 0.5 / norm), rtol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "strict"])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_gradient_that_is_not_finite_stays_so(bad, device) -> None:
    target = strict_device() if device == "strict" else CPU
    leaf = Tensor(target.to_device(np.zeros(2), "float32"), requires_grad=True)
    leaf.grad = Tensor(target.to_device([1.0, bad], "float32"))
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(clip_grad_norm([leaf], 0.5).item())
    assert not np.isfinite(leaf.grad.numpy()).all()
