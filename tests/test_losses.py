"""Every loss against SciPy's closed form, in every reduction; gradients by complex step; the algebra of units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats

from tinyae import losses
from tinyae.autodiff import Tensor, grad
from tinyae.losses import Loss
from tinyae.testing import complex_step

SHAPE = (5, 3, 2)
STEPS = {"per_sample": lambda e: e.reshape(len(e), -1).sum(1).mean(), "mean": np.mean, "sum": np.sum, "none": np.array}


@dataclass(frozen=True)
class Case:
    """A loss, the loss of each element by other means, and a form of it that takes complex predictions."""

    name: str
    loss: Callable[..., Any]
    elements: Callable[[np.ndarray, np.ndarray], np.ndarray]
    analytic: Callable[[np.ndarray, np.ndarray], np.ndarray]
    predictions: Callable[[np.random.Generator], np.ndarray] = lambda rng: 3.0 * rng.standard_normal(SHAPE)
    targets: Callable[[np.random.Generator], np.ndarray] = lambda rng: rng.uniform(0.0, 1.0, SHAPE)
    params: dict[str, Any] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self.predictions(rng), self.targets(rng)


def huber_analytic(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    d = y - t
    far = 0.7 * (np.where(d.real > 0, d, -d) - 0.35)
    return np.where(np.abs(d.real) <= 0.7, d * d / 2, far)


CASES = [
    Case(
        "squared_error", losses.squared_error,
        lambda y, t: -2.0 * stats.norm.logpdf(y, t, 1.0) - np.log(2 * np.pi),
        lambda y, t: (y - t) ** 2,
    ),
    Case(
        "bce_with_logits", losses.bce_with_logits,
        lambda z, t: -t * special.log_expit(z) - (1 - t) * special.log_expit(-z),
        lambda z, t: np.log(1 + np.exp(z)) - t * z,
    ),
    Case(
        "bce", losses.bce,
        lambda p, t: -special.xlogy(t, p) - special.xlog1py(1 - t, -p),
        lambda p, t: -t * np.log(p) - (1 - t) * np.log(1 - p),
        predictions=lambda rng: rng.uniform(0.01, 0.99, SHAPE),
    ),
    Case(
        "absolute_error", losses.absolute_error,
        lambda y, t: np.abs(y - t),
        lambda y, t: np.where(y.real > t.real, y - t, t - y),
    ),
    Case(
        "huber", losses.huber, lambda y, t: special.huber(0.7, y - t), huber_analytic, params={"delta": 0.7},
    ),
]  # fmt: skip
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_reduction = pytest.mark.parametrize("reduction", losses.REDUCTIONS)


@every_reduction
@every_case
def test_value_is_the_closed_form(case, reduction, device, rng):
    predictions, targets = case.draw(rng)
    expected = STEPS[reduction](case.elements(predictions, targets))
    y, t = device.to_device(predictions), device.to_device(targets)
    raw = case.loss(y, t, reduction=reduction, **case.params)
    assert_allclose(device.to_host(raw), expected, rtol=1e-12, atol=1e-14)
    wrapped = case.loss(Tensor(y), t, reduction=reduction, **case.params)
    assert isinstance(wrapped, Tensor)
    assert_allclose(wrapped.numpy(), expected, rtol=1e-12, atol=1e-14)


@every_case
def test_per_sample_is_the_default(case, rng):
    predictions, targets = case.draw(rng)
    value = case.loss(predictions, targets, **case.params)
    assert_allclose(value, case.elements(predictions, targets).sum() / len(predictions), rtol=1e-12)


@every_reduction
@every_case
def test_gradients_by_complex_step(case, reduction, device, rng):
    predictions, targets = case.draw(rng)
    weights = rng.standard_normal(SHAPE) if reduction == "none" else np.array(1.7)
    leaves = [Tensor(device.to_device(a), requires_grad=True) for a in (predictions, targets)]
    found = grad(case.loss(*leaves, reduction=reduction, **case.params), leaves, device.to_device(weights))
    exact = complex_step(lambda *both: STEPS[reduction](case.analytic(*both)), [predictions, targets], weights)
    for gradient, expected in zip(found, exact, strict=True):
        assert_allclose(gradient.numpy(), expected, rtol=1e-10, atol=1e-12)


@every_case
def test_float32_in_float32_out(case, rng):
    predictions, targets = (x.astype("float32") for x in case.draw(rng))
    for reduction in losses.REDUCTIONS:
        leaf = Tensor(predictions, requires_grad=True)
        value = case.loss(leaf, targets, reduction=reduction, **case.params)
        gradient = grad(value, [leaf], np.ones(value.shape, "float32"))[0]
        assert value.dtype == gradient.dtype == np.float32


@every_case
@pytest.mark.parametrize(("a", "b"), [((4, 1), (4,)), ((4, 3), (3,)), ((4, 3), (4, 1)), ((4, 3), (3, 4))])
def test_unequal_shapes_raise_instead_of_broadcasting(case, a, b):
    with pytest.raises(ValueError, match=r"predictions have shape .* targets .* must be equal"):
        case.loss(np.full(a, 0.5), np.full(b, 0.5), **case.params)


@every_case
def test_an_unknown_reduction_and_a_single_number_are_refused_and_no_samples_give_zero(case, rng):
    with pytest.raises(ValueError, match=r"'median': .*hoose one of per_sample, mean, sum, none"):
        case.loss(*case.draw(rng), reduction="median", **case.params)
    with pytest.raises(ValueError, match="needs a batch axis"):
        case.loss(np.array(0.5), np.array(0.25), **case.params)
    for reduction in ("per_sample", "mean", "sum"):
        assert case.loss(np.empty((0, 3)), np.empty((0, 3)), reduction=reduction, **case.params) == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [c for c in CASES if c.name != "bce"], ids=lambda case: case.name)
def test_extremes_are_finite(case, dtype):
    predictions = np.array([[1e3, -1e3, 1e3, -1e3]], dtype)
    targets = np.array([[0.0, 0.0, 1.0, 1.0]], dtype)
    expected = case.elements(predictions.astype("f8"), targets.astype("f8"))
    for reduction in ("none", "per_sample"):
        leaf = Tensor(predictions, requires_grad=True)
        value = case.loss(leaf, targets, reduction=reduction, **case.params)
        assert_allclose(value.data, STEPS[reduction](expected), rtol=1e-6)
        assert np.isfinite(grad(value, [leaf], np.ones_like(value.data))[0].data).all()


def test_the_gradient_of_saturated_logits_is_p_minus_t():
    leaf = Tensor(np.array([[1e3, -1e3, 1e3, -1e3]]), requires_grad=True)
    losses.bce_with_logits(leaf, np.array([[0.0, 0.0, 1.0, 1.0]])).backward()
    assert leaf.grad.data.tolist() == [[1.0, 0.0, 0.0, -1.0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_probability_of_0_or_1_costs_at_most_minus_log_eps(dtype):
    leaf = Tensor(np.array([[0.0, 1.0, 0.0, 1.0]], dtype), requires_grad=True)
    value = losses.bce(leaf, np.array([[0.0, 1.0, 1.0, 0.0]], dtype), reduction="none")
    assert_allclose(value.data, [[0.0, 0.0, -np.log(1e-7), -np.log(1e-7)]], atol=0.2)
    assert grad(value, [leaf], np.ones((1, 4), dtype))[0].data.tolist() == [[0.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("integers", [True, False], ids=["class numbers", "probabilities"])
@pytest.mark.parametrize("wrap", [Tensor, lambda array: array], ids=["Tensor", "array"])
def test_softmax_cross_entropy(integers, wrap, device, rng):
    logits = 3.0 * rng.standard_normal((6, 4))
    numbers = rng.integers(0, 4, 6)
    shares = np.eye(4)[numbers] if integers else rng.dirichlet(np.ones(4), 6)
    elements = -(shares * special.log_softmax(logits, axis=1)).sum(axis=1)
    targets = wrap(device.to_device(numbers if integers else shares))
    leaf = Tensor(device.to_device(logits), requires_grad=True)
    for reduction, expected in {"per_sample": np.mean, "mean": np.mean, "sum": np.sum, "none": np.array}.items():
        value = losses.softmax_cross_entropy(leaf, targets, reduction=reduction)
        assert_allclose(value.numpy(), expected(elements), rtol=1e-12)
    gradient = grad(losses.softmax_cross_entropy(leaf, targets), [leaf])[0].numpy()
    assert_allclose(gradient, (special.softmax(logits, axis=1) - shares) / 6, rtol=1e-10, atol=1e-14)


def test_softmax_cross_entropy_takes_lists():
    logits = np.array([[0.0, 1.0], [2.0, 0.0]])
    expected = losses.softmax_cross_entropy(logits, np.array([1, 0]))
    assert losses.softmax_cross_entropy(logits, [1, 0]) == expected
    assert losses.softmax_cross_entropy(logits, [[0.0, 1.0], [1.0, 0.0]]) == pytest.approx(expected)


def test_softmax_cross_entropy_of_extreme_logits():
    logits = Tensor(np.array([[1e3, -1e3, 0.0], [1e3, -1e3, 0.0]], "float32"), requires_grad=True)
    value = losses.softmax_cross_entropy(logits, np.array([0, 1]), reduction="none")
    assert value.data.tolist() == [0.0, 2000.0]
    assert_allclose(grad(value, [logits], np.ones(2, "float32"))[0].data, [[0, 0, 0], [1, -1, 0]])


HALF, NATS = np.full((1, 1), 0.5), Loss({"a": Tensor(1.0)}, "nats")


@pytest.mark.parametrize(("call", "words"), [
    (lambda: losses.softmax_cross_entropy(np.zeros(3), np.array([0])), "logits must be"),
    (lambda: losses.softmax_cross_entropy(np.zeros((2, 3)), np.array([0, 1, 2])), r"labels must have shape \(2,\)"),
    (lambda: losses.softmax_cross_entropy(np.zeros((2, 3)), np.zeros((2, 1))), "must be equal"),
    *[(lambda targets=targets: losses.softmax_cross_entropy(np.zeros((2, 3)), targets), words) for targets, words in (
        (np.array([0, -1]), "must be from 0 to 2, got -1 to 0"), ([0, 3], "must be from 0 to 2, got 0 to 3"),
        (Tensor(np.array([0, 3])), "must be from 0 to 2, got 0 to 3"))],
    *[(lambda eps=eps: losses.bce(HALF, HALF, eps=eps), r"eps must be a finite number, above 0 and below 0\.5")
      for eps in (0.9, 0.5, 0.0, -1.0, np.nan)],
    (lambda: losses.bce(np.ones((1, 1), "f4"), np.ones((1, 1), "f4"), eps=1e-9),
     "eps 1e-09 is lost in float32, where 1 - eps is 1"),
    (lambda: losses.huber(HALF, HALF, delta=0), "delta must be a finite number, above 0, got 0"),
    (lambda: losses.gaussian_nll(HALF, -1e3, HALF), "log_scale must be a finite number, above -700"),
    (lambda: losses.l1(HALF[0, 0]), "needs a batch axis"),
    (lambda: losses.softmax_cross_entropy(HALF, 0), r"labels must have shape \(1,\), got \(\)"),
    (lambda: Loss({"a": 1.0}, "nats"), "must be one number, got float: reduce it to a Tensor"),
    (lambda: losses.unit("nats", "median"), "hoose one of per_sample"),
    (lambda: NATS + Loss({"b": Tensor(1.0)}, "nats per element"),
     "cannot add a loss in 'nats per element' to one in 'nats': use the same reduction"),
    (lambda: sum([NATS, Loss({"b": Tensor(2.0)}, "pixels")]), "cannot add a loss in 'pixels' to one in 'nats'"),
    (lambda: NATS + NATS, "both losses have a term named 'a'"),
    (lambda: Loss({"a": Tensor([1.0, 2.0])}, "nats"), r"'a' of a Loss must be one number, got shape \(2,\)"),
    (lambda: Loss({}, "nats"), "at least one term"),
])  # fmt: skip
def test_what_is_no_loss_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


TWO = ["squared_error", "bce_with_logits", "bce", "absolute_error", "huber", "gaussian_kl", "continuous_bernoulli_nll"]


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("pair", [(HALF, [[0.5]]), ([[0.5]], HALF), (HALF, 0.5), (0.5, 0.5), (HALF, None)])
def test_what_is_not_an_array_is_refused(name, pair):
    with pytest.raises(TypeError, match=rf"{name}\(\) takes an array, got (list|float|NoneType): make one with"):
        getattr(losses, name)(*pair)


@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
@pytest.mark.parametrize("name", ["squared_error", "absolute_error", "huber"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64"])
def test_whole_numbers_do_not_wrap(name, reduction, dtype):
    loss, y, t = (
        getattr(losses, name),
        np.array([[0, 100], [20, 1]]).astype(dtype),
        np.array([[1, 5], [70, 0]]).astype(dtype),
    )
    expected = loss(y.astype("float64"), t.astype("float64"), reduction=reduction)
    assert_allclose(loss(y, t, reduction=reduction), expected, rtol=1e-14)


def test_whole_numbers_of_the_other_arrays_do_not_wrap_either():
    half, large, least = np.full((2, 2), 0.5), np.full((2, 2), 12, "int8"), np.full((2, 2), -128, "int8")
    assert losses.gaussian_kl(half, large) == losses.gaussian_kl(half, large.astype("float64"))
    assert losses.gaussian_nll(half, np.array([1], "uint8"), half) == losses.gaussian_nll(half, 1.0, half)
    assert losses.l1(least) == 256.0


def test_numbers_of_numpy_do_not_widen_a_loss():
    half, number = HALF.astype("float32"), np.float64(0.25)
    for value in (
        losses.huber(half, half, delta=number),
        losses.bce(half, half, eps=number),
        losses.bernoulli_kl(half, rho=number),
        losses.gaussian_nll(half, number, half),
    ):
        assert value.dtype == np.float32
    assert losses.l1(half[:0]) == 0.0


@pytest.mark.parametrize(("reduction", "expected"), [
    ("per_sample", "nats per image"), ("mean", "nats per element"), ("none", "nats per element"), ("sum", "nats"),
])  # fmt: skip
def test_units(reduction, expected):
    assert losses.unit("nats", reduction, "image") == expected


def test_losses_of_one_unit_add_and_scale():
    a, b = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
    total = Loss({"reconstruction": a}, "nats per image") + 0.5 * Loss({"penalty": b * b}, "nats per image")
    assert total.item() == 2.0 + 0.5 * 9.0
    assert {name: term.item() for name, term in total.terms.items()} == {"reconstruction": 2.0, "penalty": 4.5}
    assert repr(total) == "Loss(6.5 nats per image = reconstruction 2 + penalty 4.5)"
    total.backward()
    assert (a.grad.item(), b.grad.item()) == (1.0, 3.0)
    assert (Loss({"x": a}, "nats") * 3.0).item() == 6.0


def test_python_sums_losses():
    total = sum([NATS, Loss({"b": Tensor(2.0)}, "nats")])
    assert isinstance(total, Loss)
    assert (total.item(), total.unit) == (3.0, "nats")
    for wrong in (lambda: 1 + NATS, lambda: NATS + 1.0):
        with pytest.raises(TypeError):
            wrong()


def test_against_torch(rng):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    pairs = {
        losses.squared_error: functional.mse_loss,
        losses.bce_with_logits: functional.binary_cross_entropy_with_logits,
        losses.absolute_error: functional.l1_loss,
        losses.huber: functional.huber_loss,
    }
    y, t = 3 * rng.standard_normal((7, 5)), rng.uniform(size=(7, 5))
    for ours, theirs in pairs.items():
        leaf, tensor = Tensor(y, requires_grad=True), torch.tensor(y, requires_grad=True)
        value, expected = ours(leaf, t, reduction="mean"), theirs(tensor, torch.tensor(t))
        expected.backward()
        assert_allclose(value.data, expected.item(), rtol=1e-12)
        assert_allclose(grad(value, [leaf])[0].data, tensor.grad.numpy(), rtol=1e-10, atol=1e-15)


# A(z), A'(z) and A''(z) by mpmath with 40 digits, on both sides of where the series ends, and far from it.
CONTINUOUS_BERNOULLI = [
    (-1000.0, [-6.9077552789821371, 0.001, 1.0e-6]),
    (-1.25, [-0.56072311640162083, 0.39844888150698712, 0.07720558074399745]),
    (-0.75, [-0.35167139258857301, 0.43807819893098982, 0.08104088770167611]),
    (0.75, [0.39832860741142699, 0.56192180106901018, 0.08104088770167611]),
    (1.25, [0.68927688359837917, 0.60155111849301288, 0.07720558074399745]),
    (30.0, [26.598802618337751, 0.96666666666676024, 0.0011111111110175349]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("at", "expected"), CONTINUOUS_BERNOULLI)
def test_the_continuous_bernoulli_keeps_its_digits(at, expected, dtype):
    z = Tensor(np.array(at, dtype), requires_grad=True)
    value = losses.continuous_bernoulli_log_norm(z)
    slope = grad(value, z, create_graph=True)
    found = [value.item(), slope.item(), grad(slope, z).item()]
    assert_allclose(found, expected, rtol=30 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("log_variance", [1e-8, -1e-5, -20.0])
def test_the_slope_of_the_gaussian_kl_keeps_its_digits(log_variance, dtype):
    v = Tensor(np.array([log_variance], dtype), requires_grad=True)
    slope = grad(losses.kl_to_unit_gaussian(np.zeros(1, dtype), v), v, create_graph=True)
    exact = v.data.astype("float64")
    assert_allclose(slope.data, 0.5 * special.expm1(exact), rtol=4 * np.finfo(dtype).eps)
    assert_allclose(grad(slope, v).data, 0.5 * np.exp(exact), rtol=4 * np.finfo(dtype).eps)


def test_a_class_that_is_masked_and_not_the_target_costs_nothing():
    logits = Tensor(np.array([[-np.inf, 0.5, 1.0]]), requires_grad=True)
    for targets in (np.array([1]), np.array([[0.0, 1.0, 0.0]])):
        value = losses.softmax_cross_entropy(logits, targets)
        assert_allclose(value.item(), np.log1p(np.exp(0.5)), rtol=1e-14)
        share = special.expit(0.5)
        assert_allclose(grad(value, logits).data, [[0.0, -share, share]], rtol=1e-14)
    assert losses.softmax_cross_entropy(logits, np.array([[0.5, 0.5, 0.0]])).item() == np.inf


def test_bce_keeps_the_digits_of_small_probabilities():
    value = losses.bce(np.array([[2e-7]], "float32"), np.zeros((1, 1), "float32"))
    assert_allclose(value, 2e-7, rtol=1e-6)
