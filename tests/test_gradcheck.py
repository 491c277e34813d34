"""The checker checked: it passes what is right, finds what is wrong, and says where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinyae import ops
from tinyae.autodiff import Tensor, primitive
from tinyae.testing import GradcheckError, complex_step, gradcheck


def faulty_sine(fault: Any) -> Any:
    """sin with a rule that is multiplied by fault(x)."""

    @primitive(elementwise=True)
    def sine(x: Any) -> Any:
        return np.sin(x)

    sine.vjp(0)(lambda g, out, x: g * ops.cos(x) * fault(x))
    return sine


def only_at(flat: int, shape: tuple[int, ...], factor: float) -> Any:
    ones = np.ones(shape)
    ones.flat[flat] = factor
    return lambda x: ones


def test_a_right_rule_passes_and_the_report_counts(rng):
    report = gradcheck(lambda x, w: ops.tanh(x @ w), [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))])
    assert report.passed
    assert report.compared == 12 + 8
    assert report.error < 1e-6
    assert "passed" in str(report)


def test_order_two_also_moves_the_weights_of_the_output(rng):
    assert gradcheck(ops.sin, [rng.normal(size=(2, 3))], order=2).compared == 6 + (6 + 6)


@pytest.mark.parametrize(("shape", "flat"), [((3, 4), 7), ((10, 30), 217), ((65,), 64), ((1,), 0)])
def test_one_faulty_element_is_found_and_named(shape, flat, rng):
    report = gradcheck(faulty_sine(only_at(flat, shape, 1.001)), [rng.uniform(-1, 1, shape)], raise_on_failure=False)
    assert not report.passed
    assert report.coordinate == tuple(int(i) for i in np.unravel_index(flat, shape))
    assert_allclose(report.error, 1e-3, rtol=0.01)
    assert_allclose(report.analytic / report.numeric, 1.001, rtol=1e-4)


def test_the_faulty_argument_is_named(rng):
    @primitive(elementwise=True)
    def product(x: Any, y: Any) -> Any:
        return x * y

    product.vjp(0)(lambda g, out, x, y: g * y)
    product.vjp(1)(lambda g, out, x, y: g * x * 1.01)
    with pytest.raises(GradcheckError, match="order 1, argument 2, at coordinate") as caught:
        gradcheck(lambda labels, x, y: product(x, y), [np.array([1, 2]), rng.normal(size=2), rng.normal(size=2)])
    assert caught.value.report.argument == 2
    assert isinstance(caught.value, AssertionError)


def test_a_mistake_that_a_plain_sum_would_hide(rng):
    """The outputs of softmax add up to 1, so a rule that gives zeros is right for all-ones weights."""

    @primitive
    def softmax(x: Any) -> Any:
        return ops.softmax(x)

    softmax.vjp(0)(lambda g, out, x: x * 0.0)
    with pytest.raises(GradcheckError):
        gradcheck(softmax, [rng.normal(size=(2, 3))])


def test_a_rule_that_forgets_its_history_fails_at_order_two(rng):
    def forgetful(x: Any) -> Any:
        return x.detach() if isinstance(x, Tensor) else x

    @primitive(elementwise=True)
    def cube(x: Any) -> Any:
        return x**3

    cube.vjp(0)(lambda g, out, x: g * 3.0 * forgetful(x) ** 2)
    x = rng.uniform(0.5, 1.5, (2, 2))
    gradcheck(cube, [x])
    with pytest.raises(GradcheckError, match="order 2, argument 0"):
        gradcheck(cube, [x], order=2)


def test_a_rule_that_drops_the_weights_history_fails_at_order_two(rng):
    @primitive(elementwise=True)
    def twice(x: Any) -> Any:
        return 2.0 * x

    twice.vjp(0)(lambda g, out, x: 2.0 * (g.detach() if isinstance(g, Tensor) else g))
    gradcheck(twice, [rng.normal(size=3)])
    with pytest.raises(GradcheckError, match="order 2, argument 1"):
        gradcheck(twice, [rng.normal(size=3)], order=2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_gradient_that_is_no_number_fails(wrong, rng):
    with pytest.raises(GradcheckError), np.errstate(invalid="ignore"):
        gradcheck(faulty_sine(only_at(1, (3,), wrong)), [rng.normal(size=3)])


def test_a_kink_is_a_failure_and_not_a_pass():
    with pytest.raises(GradcheckError):
        gradcheck(ops.relu, [np.array([0.0, 1.0])])


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_tolerance_follows_the_scale_of_the_function(scale, rng):
    x = rng.uniform(0.5, 1.5, 5)
    gradcheck(lambda x: ops.sin(x) * scale, [x], order=2)
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: faulty_sine(only_at(0, (5,), 1.0001))(x) * scale, [x])


def test_float32_inputs_are_checked_in_float64(rng):
    assert gradcheck(ops.tanh, [rng.normal(size=(2, 3)).astype("float32")], order=2).error < 1e-6
    assert gradcheck(ops.tanh, [Tensor(rng.normal(size=3), dtype="float32")]).passed
    assert gradcheck(lambda x, y: x * y, [2.0, rng.normal(size=3)]).compared == 4


def test_inputs_are_left_as_they_are(rng):
    x = Tensor(rng.normal(size=3), requires_grad=True)
    before = x.data.copy()
    gradcheck(ops.tanh, [x], order=2)
    assert (x.data == before).all()
    assert x.grad is None


def test_an_output_that_ignores_an_input_has_slope_zero(rng):
    assert gradcheck(lambda x, y: ops.sin(x), [rng.normal(size=2), rng.normal(size=3)], order=2).passed
    assert gradcheck(lambda x: Tensor(np.ones(2)), [rng.normal(size=2)]).passed
    with pytest.raises(GradcheckError):
        gradcheck(lambda x, y: ops.sin(x) * y.detach(), [rng.normal(size=2), rng.normal(size=2)])


def test_nothing_to_compare_is_said():
    report = gradcheck(ops.sin, [np.zeros((0, 3))], order=2)
    assert report.passed
    assert report.compared == 0
    assert "nothing was compared" in str(report)


def test_seeds_repeat():
    x = np.linspace(0.1, 2.0, 100)
    reports = [gradcheck(ops.sin, [x], seed=s) for s in (0, 0, 1)]
    assert reports[0] == reports[1] != reports[2]


def test_random_functions_are_refused(rng):
    with pytest.raises(ValueError, match=r"two values for the same inputs.*fixed seed"):
        gradcheck(lambda x: x * rng.normal(), [np.ones(3)])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gradcheck(lambda x: x.data, [np.ones(2)]), TypeError, "must return a float64 Tensor, got ndarray"),
        (
            lambda: gradcheck(lambda x: Tensor(x.data, dtype="float32"), [np.ones(2)]),
            TypeError,
            "dtype float32.*float64",
        ),
        (lambda: gradcheck(lambda x: x, [np.arange(3)]), TypeError, "no input is floating-point"),
        (lambda: gradcheck(lambda x: x, [np.ones(3)], order=0), ValueError, "order must be 1 or more, got 0"),
        (lambda: complex_step(ops.absolute, [np.ones(2)]), TypeError, "not analytic"),
        (lambda: complex_step(ops.sin, [np.ones(2)]), ValueError, r"shape \(2,\), not one number: pass cotangent="),
        (lambda: complex_step(ops.sin, [np.ones(2)], np.ones(3)), ValueError, r"cotangent has shape \(3,\).*\(2,\)"),
    ],
)
def test_misuse_is_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_complex_step_is_exact_to_rounding(rng):
    x, y = rng.uniform(0.5, 1.5, (2, 3)), rng.uniform(0.5, 1.5, 3)
    weights = rng.normal(size=(2, 3))
    by_x, by_y = complex_step(lambda x, y: ops.exp(x * y) / y, [x, y], weights)
    assert_allclose(by_x, weights * np.exp(x * y), rtol=1e-14)
    assert_allclose(by_y, (weights * np.exp(x * y) * (x * y - 1) / y**2).sum(0), rtol=1e-13)
    assert complex_step(lambda x: (x * x).sum(), [3.0])[0] == 6.0
