"""The checker checked: it passes what is right, finds what is wrong, and says where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.conftest import with_rules
from tinyae import ops
from tinyae.autodiff import Tensor
from tinyae.testing import GradcheckError, complex_step, gradcheck, holding_detached


def faulty_sine(fault: Any) -> Any:
    """sin with a rule that is multiplied by fault(x)."""
    return with_rules(np.sin, lambda g, out, x: g * ops.cos(x) * fault(x))


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


@pytest.mark.parametrize("method", ["central", "complex", "auto"])
@pytest.mark.parametrize(("shape", "flat"), [((3, 4), 7), ((10, 30), 217), ((65,), 64), ((1,), 0)])
def test_one_faulty_element_is_found_and_named(shape, flat, method, rng):
    fn = faulty_sine(only_at(flat, shape, 1.001))
    report = gradcheck(fn, [rng.uniform(-1, 1, shape)], method=method, raise_on_failure=False)
    assert not report.passed
    assert report.coordinate == tuple(int(i) for i in np.unravel_index(flat, shape))
    assert report.problem == "gradient"
    assert_allclose(report.error, 1e-3, rtol=0.01)
    assert_allclose(report.analytic / report.numeric, 1.001, rtol=1e-4)


def test_the_faulty_argument_is_named(rng):
    product = with_rules(np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x * 1.01)
    with pytest.raises(GradcheckError, match="order 1, argument 2, at coordinate") as caught:
        gradcheck(lambda labels, x, y: product(x, y), [np.array([1, 2]), rng.normal(size=2), rng.normal(size=2)])
    assert caught.value.report.argument == 2
    assert isinstance(caught.value, AssertionError)


def test_a_mistake_that_a_plain_sum_would_hide(rng):
    """The outputs of softmax add up to 1, so a rule that gives zeros is right for all-ones weights."""
    softmax = with_rules(ops.softmax, lambda g, out, x: x * 0.0, elementwise=False)
    with pytest.raises(GradcheckError):
        gradcheck(softmax, [rng.normal(size=(2, 3))])


def forgetful(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


@pytest.mark.parametrize(("rule", "argument"), [
    (lambda g, out, x: g * 3.0 * forgetful(x) ** 2, 0),
    (lambda g, out, x: forgetful(g) * 3.0 * x**2, 1),
], ids=["of x", "of the weights"])  # fmt: skip
def test_a_rule_that_forgets_a_history_fails_at_order_two(rule, argument, rng):
    cube, x = with_rules(lambda x: x**3, rule), rng.uniform(0.5, 1.5, (2, 2))
    gradcheck(cube, [x])
    with pytest.raises(GradcheckError, match=f"order 2, argument {argument}"):
        gradcheck(cube, [x], order=2)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_tolerance_follows_the_scale_of_the_function(scale, rng):
    x = rng.uniform(0.5, 1.5, 5)
    for method in ("central", "complex"):
        gradcheck(lambda x: ops.sin(x) * scale, [x], order=2, method=method)
        with pytest.raises(GradcheckError):
            gradcheck(lambda x: faulty_sine(only_at(0, (5,), 1.0001))(x) * scale, [x], method=method)


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
    for order in (1, 2):
        assert gradcheck(lambda x: Tensor(np.ones(2)), [rng.normal(size=2)], order=order).passed
    with pytest.raises(GradcheckError):
        gradcheck(lambda x, y: ops.sin(x) * y.detach(), [rng.normal(size=2), rng.normal(size=2)])


def test_nothing_to_compare_is_said():
    report = gradcheck(ops.sin, [np.zeros((0, 3))], order=2)
    assert (report.passed, report.compared) == (True, 0)
    assert "nothing was compared" in str(report)


def test_seeds_repeat():
    x = np.linspace(0.1, 2.0, 100)
    reports = [gradcheck(ops.sin, [x], seed=s) for s in (0, 0, 1)]
    assert reports[0] == reports[1] != reports[2]


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: gradcheck(lambda x: x, [np.arange(3)]), TypeError, "no input is floating-point"),
    (lambda: gradcheck(lambda x: x, [np.ones(3)], order=0), ValueError, "order must be a whole number of at least 1, got 0"),
    (lambda: gradcheck(lambda x: x, [np.ones(3)], method="exact"), ValueError, "'central' or 'complex', got 'exact'"),
    (lambda: gradcheck(lambda x: x, [np.ones(3)], names=["x", "y"]), ValueError, "2 names for 1 inputs"),
    (lambda: gradcheck(ops.absolute, [np.ones(3)], method="complex"), ValueError,
     "needs a function that accepts complex numbers; this one raised TypeError: it returned dtype float64"),
    (lambda: gradcheck(lambda x: x + ops.absolute(x), [np.ones(3)], method="complex"), ValueError,
     "needs an analytic function; the slope of this one is .* along the real axis and .* along the imaginary"),
    (lambda: complex_step(ops.absolute, [np.ones(2)]), TypeError, "not analytic"),
    (lambda: complex_step(ops.sin, [np.ones(2)]), ValueError, r"shape \(2,\), not one number: pass cotangent="),
    (lambda: complex_step(ops.sin, [np.ones(2)], np.ones(3)), ValueError, r"cotangent has shape \(3,\).*\(2,\)"),
])  # fmt: skip
def test_misuse_is_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()


def writes(x: Any) -> Any:
    x.data[0] = 0.0
    return x * 1.0


def assigns(x: Any) -> Any:
    x.data = x.data * 1.0
    return x * 1.0


def doubled(rule: Any, elementwise: bool = False) -> Any:
    def double(x: Any) -> Any:
        return 2.0 * x

    return with_rules(double, rule, elementwise=elementwise)


DRAWS = np.random.default_rng(0)
BAD = {
    "array": (lambda x: x.data, "not a tensor", "must return a Tensor, got ndarray: use Tensors"),
    "none": (lambda x: None, "not a tensor", "must return a Tensor, got NoneType"),
    "float32": (lambda x: Tensor(x.data, dtype="float32"), "output dtype",
                "must return a float64 Tensor, got dtype float32"),
    "writes": (writes, "input modified", "fn changed argument 0 in place: return new arrays"),
    "assigns": (assigns, "input modified", "fn changed argument 0 in place"),
    "random": (lambda x: x * DRAWS.normal(), "random",
               "different values for the same inputs: create its generator inside fn"),
    "shape": (doubled(lambda g, out, x: (2.0 * g).sum()), "gradient shape",
              r"the gradient rule of double for argument 0 returned shape \(\), expected \(3,\)"),
    "shape of an elementwise one": (
        doubled(lambda g, out, x: (2.0 * g).sum(), elementwise=True), "gradient shape",
        r"for argument 0 returned shape \(\), expected \(3,\): a rule of an elementwise primitive returns g"),
    "no gradient": (
        doubled(lambda g, out, x: None), "gradient shape",
        r"the gradient rule of double for argument 0 returned an object of type NoneType, expected an array \(3,\)"),
    "no number": (lambda x: x * float("nan"), "not finite", r"fn itself gives nan at \(0,\)"),
    "a pole of the rule": (doubled(lambda g, out, x: 2.0 * g * np.array([1.0, np.inf, 1.0])), "not finite",
                           r"a rule gives -?inf at \(1,\) for argument 0"),
    "no number of the rule": (doubled(lambda g, out, x: 2.0 * g * np.array([1.0, np.nan, 1.0])), "not finite",
                              r"a rule gives nan at \(1,\) for argument 0"),
    "dtype": (doubled(lambda g, out, x: 2.0 * (g if isinstance(g, Tensor) else g.astype("float32"))), "gradient dtype",
              "the gradient arrives as float32 at a float64 input"),
    "kink": (ops.relu, "kink", r"kink at the point: at coordinate \(0,\) of argument 0 the slopes on the two sides"),
    "modes": (doubled(lambda g, out, x: g * (2.0 if isinstance(g, np.ndarray) else 2.1)), "modes",
              r"argument 0 at coordinate \(\d,\) is .* on raw arrays and .* with create_graph=True"),
}  # fmt: skip


@pytest.mark.parametrize(("fn", "problem", "words"), BAD.values(), ids=BAD)
def test_functions_that_cannot_be_checked_are_reported_in_a_sentence(fn, problem, words):
    x = np.array([0.0, 1.0, -1.0])
    report = gradcheck(fn, [x], order=2, raise_on_failure=False)
    assert (report.passed, report.problem) == (False, problem)
    with pytest.raises(GradcheckError, match=f"gradcheck failed: .*{words}") as caught:
        gradcheck(fn, [x], order=2)
    assert "\n" not in str(caught.value)
    assert caught.value.report.problem == problem


def test_changed_labels_are_noticed_too():
    def shift(x: Any, labels: Any) -> Any:
        labels += 1
        return x * 1.0

    report = gradcheck(shift, [np.ones(2), np.array([1, 2])], raise_on_failure=False)
    assert report.problem == "input modified"
    assert "argument 1" in str(report)


KINKS = {
    "relu": (ops.relu, 0.0),
    "absolute": (ops.absolute, 0.0),  # the sub-gradient 0 is what central differences find: only the sides tell
    "clip": (lambda x: ops.clip(x, low=-1.0, high=1.0), 1.0),
    "tie": (lambda x: ops.maximum(x, 0.25), 0.25),
    "faint": (lambda x: ops.where(x > 0, x, 0.99 * x), 0.0),
}


@pytest.mark.parametrize("away", [0.0, 3e-7, -3.3333e-7, 5e-7, 8e-7])
@pytest.mark.parametrize("size", [3, 200])
@pytest.mark.parametrize("name", KINKS)
def test_kinks_within_a_step_are_detected_and_placed(name, size, away, rng):
    fn, at = KINKS[name]
    x = rng.uniform(1.5, 2.0, size)
    # Along a random direction through 200 elements, one element moves by about a fourteenth of the step.
    x[1] = at + away * (1.0 if size == 3 else 0.04)
    for method in ("central", "auto") if away == 0.0 else ("central",):
        report = gradcheck(fn, [x], method=method, raise_on_failure=False)
        assert report.problem == "kink"
        assert report.coordinate == (1,)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("fn", [
    ops.square, lambda x: x**3, lambda x: ops.sin(1e3 * x), ops.softplus, lambda x: ops.tanh(50 * x),
])  # fmt: skip
def test_flat_and_sharply_bent_points_are_not_kinks(fn, order):
    x = np.array([0.0, 1e-9, -3e-7, 0.01])
    for method in ("central", "auto"):
        assert gradcheck(fn, [x], order=order, method=method).passed


def test_a_kink_of_the_gradient_shows_at_order_two():
    x = np.array([0.0, 1.0])
    assert gradcheck(lambda x: x * ops.relu(x), [x]).passed
    report = gradcheck(lambda x: x * ops.relu(x), [x], order=2, raise_on_failure=False)
    assert (report.order, report.problem) == (2, "kink")


def test_redraw_moves_off_a_kink_and_counts(rng):
    drawn = iter([[np.zeros(2)], [np.array([1.0, 0.0])], [np.array([1.0, 2.0])]])
    report = gradcheck(ops.relu, [np.zeros(2)], redraw=drawn)
    assert (report.passed, report.redraws) == (True, 3)
    assert gradcheck(ops.relu, [np.zeros(2)], redraw=lambda: [rng.uniform(1, 2, 2)]).redraws == 1


def test_redraw_does_not_hide_a_wrong_rule_or_an_endless_kink():
    kink = gradcheck(ops.relu, [np.zeros(2)], redraw=lambda: [np.zeros(2)], raise_on_failure=False)
    assert (kink.problem, kink.redraws) == ("kink", 20)
    fn = doubled(lambda g, out, x: 2.001 * g)
    wrong = gradcheck(fn, [np.ones(2)], redraw=lambda: pytest.fail("drew for a wrong gradient"), raise_on_failure=False)
    assert (wrong.problem, wrong.redraws) == ("gradient", 0)


def test_auto_takes_the_complex_step_only_where_it_is_valid(rng):
    x = rng.uniform(0.5, 1.5, 4)
    assert gradcheck(ops.sin, [x]).method == "complex"
    assert gradcheck(ops.absolute, [x]).method == "central"
    half = gradcheck(lambda x, y: ops.sin(x) + ops.absolute(y), [x, x])
    assert half.passed
    assert half.errors["argument 0"] < 1e-13 < half.errors["argument 1"] < 1e-8
    # complex numbers come through, but mean something else: |x| of a complex x is not an analytic function
    assert gradcheck(lambda x: x * ops.absolute(x), [x]).method == "central"


def test_the_complex_step_sees_what_differences_cannot():
    fn = faulty_sine(lambda x: 1.0 + 1e-9)
    x = np.array([0.3, 1.2])
    assert gradcheck(fn, [x], method="central").passed
    report = gradcheck(fn, [x], raise_on_failure=False)
    assert (report.passed, report.method) == (False, "complex")
    assert_allclose(report.error, 1e-9, rtol=1e-3)


def test_names_and_step_are_in_the_message(rng):
    words = r"argument 0 \(speed\), at coordinate .* central differences with step 1e-06"
    with pytest.raises(GradcheckError, match=words):
        gradcheck(faulty_sine(lambda x: 1.1), [rng.normal(size=2)], names=["speed"], method="central")
    report = gradcheck(lambda x, y: x * y, [2.0, rng.normal(size=3)], names=["x", "y"], order=2)
    assert list(report.errors) == ["x", "y", "weights of the output"]


def test_complex_step_is_exact_to_rounding(rng):
    x, y = rng.uniform(0.5, 1.5, (2, 3)), rng.uniform(0.5, 1.5, 3)
    weights = rng.normal(size=(2, 3))
    by_x, by_y = complex_step(lambda x, y: ops.exp(x * y) / y, [x, y], weights)
    assert_allclose(by_x, weights * np.exp(x * y), rtol=1e-14)
    assert_allclose(by_y, (weights * np.exp(x * y) * (x * y - 1) / y**2).sum(0), rtol=1e-13)
    assert complex_step(lambda x: (x * x).sum(), [3.0])[0] == 6.0


def test_what_detach_holds_is_held_in_the_measurement_too(rng):
    target = rng.normal(size=5)

    def straight_through(z: Tensor) -> Tensor:
        """Rounded forward, the identity backward, and a pull towards what was rounded to."""
        e = z + (Tensor(np.round(z.data)) - z).detach()
        return ((e - target) ** 2.0).sum() + ((z - e.detach()) ** 2.0).sum()

    z = rng.uniform(0.6, 1.4, 5)
    assert not gradcheck(straight_through, [z], raise_on_failure=False).passed
    report = gradcheck(holding_detached(straight_through), [z], order=2)
    assert report.passed
    assert report.compared
    before = Tensor.detach
    with pytest.raises(ZeroDivisionError):
        holding_detached(lambda: 1 / 0)()
    assert Tensor.detach is before


def test_a_wrong_gradient_beside_a_detached_value_is_still_found(rng):
    wrong = doubled(lambda g, out, x: 2.001 * g)
    fn = holding_detached(lambda z: wrong(z) + (z * z - z).detach())
    assert gradcheck(fn, [rng.normal(size=4)], raise_on_failure=False).problem == "gradient"


def test_constants_that_cannot_be_told_apart_are_refused():
    calls = iter(range(1, 10))

    def growing(z: Tensor) -> Tensor:
        for _ in range(next(calls)):
            z = z + z.detach()
        return z

    fn = holding_detached(growing)
    fn(Tensor(1.0))
    with pytest.raises(RuntimeError, match="detach\\(\\) 1 times in the first call and now more often"):
        fn(Tensor(1.0))


# What rounding can explain is no fault, and no kink; what it cannot is found, however small.


def unit_rows(x: Any) -> Any:
    return x / ops.reshape(ops.norm(x, axis=1), shape=(-1, 1))


VANISHING = {
    "row sums of softmax": lambda x: ops.sum(ops.softmax(x), axis=1),
    "row sums of centered rows": lambda x: ops.sum(x - ops.mean(x, axis=1, keepdims=True), axis=1),
    "norms of unit rows": lambda x: ops.norm(unit_rows(x), axis=1),
    "logsumexp of log-softmax": lambda x: ops.logsumexp(x - ops.logsumexp(x, axis=1, keepdims=True), axis=1),
    "sin^2 + cos^2": lambda x: ops.sin(x) ** 2 + ops.cos(x) ** 2,
    "exp(x) exp(-x)": lambda x: ops.exp(x) * ops.exp(-x),
}


LOGITS = {f"softmax of logits of size {size}": (ops.softmax, size) for size in (20, 30, 50, 100)}
ROUNDED = {name: (fn, 1) for name, fn in VANISHING.items()} | LOGITS


@pytest.mark.parametrize("method", [pytest.param("auto", marks=pytest.mark.thorough), "central"])
@pytest.mark.parametrize(("fn", "size"), ROUNDED.values(), ids=ROUNDED)
def test_a_derivative_that_vanishes_is_no_fault(fn, size, method):
    for seed in range(6):
        x = size * np.random.default_rng(seed).normal(size=(5, 4))
        assert gradcheck(fn, [x], order=2, method=method, seed=seed).passed


def with_small_term(size: float, analytic: bool) -> Any:
    """sin(x) + size * sin(y), with no rule for y to speak of. ldexp takes no complex numbers."""
    return with_rules(
        lambda x, y: np.sin(x) + size * np.sin(y) if analytic else np.ldexp(np.sin(x) + size * np.sin(y), 0),
        lambda g, out, x, y: g * ops.cos(x),
        lambda g, out, x, y: g * 0.0,
    )


@pytest.mark.parametrize(("size", "analytic", "method"), [(1e-8, True, "complex"), (1e-7, False, "central")])
@pytest.mark.parametrize("elements", [5, 60, 300])
def test_a_small_argument_without_a_gradient_is_found(elements, size, analytic, method, rng):
    report = gradcheck(with_small_term(size, analytic), rng.normal(size=(2, elements)), raise_on_failure=False)
    assert (report.problem, report.argument, report.method) == ("gradient", 1, method)


def test_a_small_term_beside_large_numbers_that_cancel_is_found(rng):
    fn = with_small_term(1e-7, analytic=False)
    report = gradcheck(lambda x, y: fn(x, y) + 10.0 - 10.0, rng.normal(size=(2, 5)), raise_on_failure=False)
    assert (report.problem, report.argument) == ("gradient", 1)


@pytest.mark.parametrize("elements", [5, 60])
@pytest.mark.parametrize("method", ["auto", "central"])
def test_a_constant_that_was_rounded_to_float32_is_found(method, elements, rng):
    """In a rule that is not linear, of a function that takes no complex numbers."""
    third = float(np.float32(1.0 / 3.0))
    gaussian = with_rules(lambda x: np.ldexp(np.exp(-x * x / 3.0), 0), lambda g, out, x: -2.0 * third * g * x * out)
    report = gradcheck(gaussian, [rng.normal(size=elements)], method=method, raise_on_failure=False)
    assert (report.problem, report.method) == ("gradient", "central")
    assert_allclose(report.error, 3e-8, rtol=0.1)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("lost", [1e1, 1e2, 1e3])
def test_rounding_inside_a_primitive_is_no_fault(lost, order, rng):
    """Digits that cancel inside do not show in any value on the way, but in the slopes that are measured."""
    cancels = with_rules(lambda x: np.ldexp(np.sin(x) + lost, 0) - lost, lambda g, out, x: g * ops.cos(x))
    for seed in range(6):
        assert gradcheck(cancels, [rng.normal(size=(4, 5))], order=order, seed=seed).passed


@pytest.mark.parametrize("near", [1e-3, 1e-4, 5e-5, 3e-5])
@pytest.mark.parametrize("fn", [ops.log, ops.sqrt, lambda x: 1.0 / ops.absolute(x)])
def test_a_point_near_a_pole_passes(fn, near):
    for order in (1, 2):
        assert gradcheck(fn, [np.array([near, 1.3 * near])], order=order, method="central").passed


EDGES = {
    "log": (ops.log, 1e-9, 1e-13),
    "sqrt": (ops.sqrt, 1e-12, 1e-16),
    "reciprocal": (lambda x: 1.0 / ops.absolute(x), 1e-6, 1e-10),
    "steep": (ops.sqrt, 2e-6, 1e-9),
}


@pytest.mark.parametrize(("name", "elements"), [*((name, 2) for name in EDGES), ("log", 100), ("reciprocal", 100)])
def test_a_step_that_is_too_large_is_told_and_a_smaller_one_passes(name, elements):
    fn, near, eps = EDGES[name]
    x = np.ones(elements)
    x[1] = near
    with pytest.raises(GradcheckError, match=r"the step eps=1e-06 leaves the domain.*: pass eps=.*\(1,\)") as caught:
        gradcheck(fn, [x])
    assert caught.value.report.problem == "step"
    assert gradcheck(fn, [x[1:2]], eps=eps).passed
    wrong = doubled(lambda g, out, x: 2.1 * g)
    report = gradcheck(lambda x: wrong(x) + fn(x), [np.array([1.0, 1.1])], raise_on_failure=False)
    assert report.problem == "gradient"
