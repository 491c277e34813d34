"""Einstein sums, masks, products, padding, bounds, spread and smooth activations: what one row of a table cannot ask."""

from __future__ import annotations

import math
import string

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import nn, ops
from tinyae.autodiff import Tensor, grad
from tinyae.cli.main import main
from tinyae.models import build


def leaf(values: object) -> Tensor:
    return Tensor(np.array(values, float), requires_grad=True)


def random_sum(rng: np.random.Generator) -> tuple[str, list[np.ndarray]]:
    """Subscripts with repeated, summed, missing and unnamed axes, and operands that fit them."""
    names = "".join(rng.choice([*string.ascii_letters], 4, replace=False))
    lengths = dict(zip(names, [int(n) for n in rng.integers(1, 4, 4)], strict=True))
    batch = [int(n) for n in rng.integers(1, 4, rng.integers(0, 3))]
    terms, xs = [], []
    for _ in range(rng.integers(1, 4)):
        terms.append("..." + "".join(rng.choice([*names], rng.integers(0, 4))))
        lead = [1 if rng.random() < 0.3 else n for n in batch[int(rng.integers(0, len(batch) + 1)) :]]
        xs.append(rng.normal(size=(*lead, *(lengths[letter] for letter in terms[-1][3:]))))
    used = sorted({*"".join(terms)} - {"."})
    output = "".join(rng.permutation(used)[: rng.integers(0, len(used) + 1)])
    return ",".join(terms) + (f"->...{output}" if rng.random() < 0.7 else ""), xs


@pytest.mark.parametrize("seed", range(60))
def test_random_einstein_sums_equal_numpys_and_are_linear_in_each_operand(seed):
    """For a function that is linear in x, <dL/dx, x> = <G, y>: an oracle of the gradient without differences."""
    rng = np.random.default_rng(seed)
    subscripts, xs = random_sum(rng)
    leaves = [leaf(x) for x in xs]
    y = ops.einsum(subscripts, *leaves)
    assert_allclose(y.data, np.einsum(subscripts, *xs), rtol=1e-12, atol=1e-13)
    g = rng.normal(size=y.shape)
    for create_graph in (False, True):
        for x, dx in zip(xs, grad(y, leaves, g, create_graph=create_graph), strict=True):
            assert dx.shape == x.shape
            assert_allclose(np.vdot(dx.data, x), np.vdot(g, y.data), rtol=1e-10, atol=1e-12)


A, X = np.ones((2, 3)), np.ones(2)


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: ops.einsum("ij,jk->ik", A, A), "'j' has lengths 3 and 2"),
    (lambda: ops.einsum("...i,...i", A, np.ones((4, 3))), r"'\.\.\.' has lengths 2 and 4"),
    (lambda: ops.einsum("ii", np.ones((1, 3))), "'i' has lengths 3 and 1"),
    (lambda: ops.einsum("...ijk", A), r"3 letters for the 2 axes of shape \(2, 3\)"),
    (lambda: ops.einsum("ij->k", A), "a letter of the result must be in an operand"),
    (lambda: ops.einsum("ij->ii", A), "in the result once"),
    (lambda: ops.einsum("...j->j", A), r"the result has no '\.\.\.'"),
    (lambda: ops.einsum("ij,jk", A), "axes of 2 operands, there are 1"),
    (lambda: ops.einsum("i1", A), "letters, '...', commas and one '->' only"),
    (lambda: ops.einsum(A, "ij"), r"einsum takes subscripts and then arrays, .*, got ndarray, str"),
    (lambda: ops.einsum("i,", X, 3.0), r"einsum takes subscripts and then arrays, .*, got str, ndarray, float"),
    (lambda: leaf(X) & (leaf(X) > 0), r"& combines masks of booleans, got float64 and bool: .* \(x > 0\) & \(x < 1\)"),
    (lambda: leaf(X) > 1 & leaf(X), "& combines masks of booleans, got int and float64"),
    (lambda: np.ones(2, int) | (leaf(X) > 0), r"\| combines masks of booleans, got int64 and bool"),
    (lambda: ~leaf(X), r"~ combines masks of booleans, got float64: write e\.g\. ~\(x > 0\)"),
    (lambda: ops.cumsum(A, axis=None), "cumsum runs along one axis, got axis=None"),
    (lambda: ops.cumsum(A, axis=(0, 1)), r"cumsum runs along one axis, got axis=\(0, 1\)"),
    (lambda: ops.pad(X, widths=((1, 1),), mode="wrap"), "pad: unknown mode 'wrap': .*constant, reflect, edge"),
    (lambda: ops.pad(X, widths=((1, 1),), mode="edge", value=1.0), "'edge' copies entries of x, got value=1.0"),
    (lambda: ops.pad(A[:, :0], widths=((1, 1), (0, 1)), mode="reflect"), "nothing to copy along axis 1"),
    (lambda: ops.crop(X, widths=((1, 1),), mode="edge"), "crop: mode 'edge' has nothing to copy along axis 0"),
    (lambda: ops.clip(X), "clip needs a bound"),
    (lambda: ops.clip(X, high=np.nan), "low must not be above high, got low=None and high=nan"),
    (lambda: ops.std(A, axis=1, ddof=3), "ddof=3 must be at least 0 and below 3"),
    *[(lambda ddof=ddof: ops.variance(A, axis=1, ddof=ddof), "must be at least 0 and below 3") for ddof in (-1, np.nan)],
    *[(lambda axis=axis: ops.cumsum(A, axis=axis), "cumsum runs along one axis") for axis in ("0", True, 1.0)],
    *[(lambda value=value: ops.pad(X, widths=((1, 1),), value=value), "pad: value must be a number")
      for value in (None, "a", 1j, [1.0], np.ones(2))],
    *[(lambda y=y: leaf(X) * y, "multiply returned an object of type") for y in (np.ma.masked_array(X), np.ma.masked_array(X, X > 1))],
    (lambda: ops.conv1d(A[None], A[..., None], stride=0), "conv1d: stride must be a whole number of at least 1, got 0"),
    (lambda: ops.conv1d(A[None], A[..., None], padding=(1, 2, 3)), r"\(before, after\), got \(1, 2, 3\)"),
    (lambda: ops.conv1d(A, A[..., None]), r"x must be \(N, T, C\) and w \(K, C, O\) .* got shapes \(2, 3\) and"),
    (lambda: ops.conv1d(A[:, :, None], np.ones((4, 1, 1))), "conv1d: input 1x3, .* does not fit"),
])  # fmt: skip
def test_what_does_not_fit_is_explained(call, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        call()


def test_masks_combine_like_numpys():
    x = np.array([-2.0, -0.5, 0.5, 2.0])
    t = leaf(x)
    for found, expected in [
        ((t > -1) & (t < 1), (x > -1) & (x < 1)),
        ((x > 0) & (t < 1), (x > 0) & (x < 1)),
        ((t < -1) | (x > 1), (x < -1) | (x > 1)),
        (False | (t > 0) & True, x > 0),
        (~(t > 0), x <= 0),
    ]:
        assert_array_equal(found.data, expected)
        assert found.dtype == bool
        assert not found.requires_grad


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
def test_derivatives_of_a_product_with_zeros(n, zeros, rng):
    """d/dx_i: the product of all others; d2/dx_i dx_j: of all but two, and 0 for i = j."""
    values = rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 2.0, n)
    values[rng.permutation(n)[:zeros]] = 0.0
    x = leaf(values)
    slope = grad(ops.prod(x), x, create_graph=True)
    assert_allclose(slope.data, [np.prod(np.delete(values, i)) for i in range(n)], rtol=1e-14)
    for i in range(n):
        row = grad(slope, x, np.eye(n)[i], allow_unused=True).data
        assert_allclose(row, [0 if i == j else np.prod(np.delete(values, [i, j])) for j in range(n)], rtol=1e-14)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("widths", [((1, 2), (0, 3)), ((9, 4), (5, 11)), ((0, 0), (0, 0))])
@pytest.mark.parametrize("shape", [(3, 4), (1, 2)])
def test_padding_equals_numpys_and_has_its_adjoint(shape, widths, mode, rng):
    x = rng.normal(size=shape)
    out = ops.pad(x, widths=widths, mode=mode)
    assert_array_equal(out, np.pad(x, widths, mode=mode))
    y = rng.normal(size=out.shape)
    assert_allclose(np.vdot(out, y), np.vdot(x, ops.crop(y, widths=widths, mode=mode)), rtol=1e-12)


@pytest.mark.parametrize(("low", "high", "slopes"), [
    (-1.0, None, ([0, 1, 1, 1, 1], [1, 0, 0, 0, 0], [0] * 5)),
    (None, 1.0, ([1, 1, 1, 1, 0], [0] * 5, [0, 0, 0, 0, 1])),
    (-1.0, 1.0, ([0, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1])),
    (1.0, 1.0, ([0, 0, 0, 1, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 1])),
    (3.0, 1.0, ([0] * 5, [0] * 5, [1] * 5)),
])  # fmt: skip
def test_one_of_x_and_the_bounds_gets_the_gradient(low, high, slopes):
    x = leaf([-2, -1, 0, 1, 2])
    bounds = [None if b is None else leaf([b] * 5) for b in (low, high)]
    out = ops.clip(x, *bounds)
    assert_array_equal(out.data, np.clip(x.data, low, high))
    for tensor, slope in zip([x, *bounds], slopes, strict=True):
        assert tensor is None or grad(out.sum(), tensor).data.tolist() == slope


def test_the_spread_of_equal_numbers_has_the_gradient_0():
    x = leaf([[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]])
    for ddof in (0, 1):
        slope = grad(ops.std(x, axis=1, ddof=ddof).sum(), x, create_graph=True)
        centered = x.data[1] - x.data[1].mean()
        assert_allclose(slope.data[1], centered / (np.std(x.data[1], ddof=ddof) * (3 - ddof)), rtol=1e-14)
        assert not slope.data[0].any()
        assert not grad(slope[0].sum(), x).data[0].any()


def test_erf_and_gelu_equal_the_standard_librarys():
    x = np.linspace(-6, 6, 49)
    assert_allclose(ops.erf(x), [math.erf(v) for v in x], rtol=1e-15)
    assert_allclose(ops.gelu(x), [v * math.erfc(-v / math.sqrt(2)) / 2 for v in x], rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["erf", "gelu", "silu"])
def test_smooth_functions_are_finite_and_straight_far_out(name, dtype):
    x = Tensor(np.array([-1e3, -50.0, 0.0, 50.0, 1e3], dtype), requires_grad=True)
    slope = grad(getattr(ops, name)(x).sum(), x, create_graph=True)
    middle, end = (2 / math.sqrt(math.pi), 0.0) if name == "erf" else (0.5, 1.0)
    tail = -49 * math.exp(-50) if name == "silu" else 0.0  # (1 + x) exp(x), what is left of its slope
    assert_allclose(slope.data, [0, tail, middle, end, end], rtol=1e-6)
    assert_allclose(grad(slope.sum(), x).data[[0, 1, 3, 4]], 0.0, atol=1e-12)


@pytest.mark.parametrize("activation", ["gelu", "silu"])
@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_a_model_with_a_smooth_activation_is_its_formula(activation, normalization, rng):
    settings = {"input_shape": (6,), "sizes": (5, 3), "activation": activation, "normalization": normalization}
    model = build("deep", settings, rng)
    first, last = (layer.weight.numpy() for layer in model.encoder if isinstance(layer, nn.Dense))
    x = rng.random(size=(4, 6)).astype("float32")
    z = x @ first
    if normalization == "layer":
        z = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
    gates = {"gelu": lambda v: math.erfc(-v / math.sqrt(2)) / 2, "silu": lambda v: 1 / (1 + math.exp(-v))}
    assert_allclose(model.encode(x), z * np.vectorize(gates[activation])(z) @ last, rtol=1e-4, atol=1e-5)


def test_the_closed_jacobian_is_for_slopes_that_follow_from_the_code(rng):
    settings = {"input_shape": (6,), "sizes": (3,), "activation": "gelu"}
    model = build("contractive", settings, rng)
    x = rng.normal(size=(4, 6)).astype("float32")
    assert_allclose(model.jacobian_norm(Tensor(x)).item(), (model.jacobian_at(x) ** 2).sum() / 4, rtol=1e-5)
    with pytest.raises(ValueError, match="'closed' needs an encoder of one Dense layer, not with gelu or silu"):
        build("contractive", {**settings, "jacobian": "closed"}, rng)


@pytest.mark.parametrize("model", ["deep", "conv", "vae"])
def test_the_command_line_offers_smooth_activations(model, capsys):
    with pytest.raises(SystemExit):
        main(["train", model, "--help"])
    assert "--activation {identity,relu,elu,sigmoid,tanh,gelu,silu}" in capsys.readouterr().out


INTEGERS = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    "name",
    [
        "sigmoid",
        "softplus",
        "relu",
        "elu",
        "erf",
        "gelu",
        "silu",
        "softmax",
        "log_softmax",
        "logsumexp",
        "mean",
        "variance",
        "std",
        "norm",
    ],
)
def test_a_function_of_integers_is_that_of_the_same_numbers_as_float64(name, dtype):
    numbers = np.array([0, 1, 3, 100, 127 if dtype == "int8" else 128]).astype(dtype)
    if numbers.dtype.kind == "i":
        numbers[0] = -128
    function = getattr(ops, name)
    found, expected = np.asarray(function(numbers)), np.asarray(function(numbers.astype(np.float64)))
    assert found.dtype.kind == "f"
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=1e-6, atol=1e-7)


IMAGES = {
    "max_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1},
    "avg_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1},
    "avg_unpool2d": {"size": (8, 8), "kernel_size": 2},
    "block_sum": {"factor": 2},
    "upsample_nearest": {"factor": 2},
    "upsample_bilinear": {"factor": 2},
    "upsample_bilinear_adjoint": {"factor": 2},
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", IMAGES)
def test_images_of_integers_are_those_of_the_same_numbers_as_float64(name, dtype, rng):
    low = -128 if np.dtype(dtype).kind == "i" else 0
    images = rng.integers(low, 128, (2, 4, 4, 1)).astype(dtype)
    images[0, :2] = max(low, -100)  # no padding may win here
    found = getattr(ops, name)(images, **IMAGES[name])
    np.testing.assert_allclose(found, getattr(ops, name)(images.astype(np.float64), **IMAGES[name]), rtol=1e-12)


@pytest.mark.parametrize("name", ["erf", "gelu"])
def test_half_precision_stays(name):
    x = Tensor(np.array([-1.5, 0.0, 0.75], "float16"), requires_grad=True)
    y = getattr(ops, name)(x)
    assert (y.dtype, grad(y.sum(), x).dtype) == (np.float16, np.float16)
    np.testing.assert_allclose(y.data, getattr(ops, name)(x.data.astype("float64")), rtol=2e-3)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ["exp", "expm1", "log1p", "sqrt", "sin", "cos", "tanh", "absolute"])
def test_an_operation_that_numpy_has_is_numpys_for_integers_too(name, dtype):
    numbers = np.array([0, 1, 3, 7]).astype(dtype)
    np.testing.assert_array_equal(getattr(ops, name)(numbers), getattr(np, name)(numbers), strict=True)


@pytest.mark.parametrize("name", ["sigmoid", "silu", "tanh", "softplus", "elu", "gelu", "erf"])
def test_the_complex_step_is_right_where_a_function_is_saturated(name: str) -> None:
    """Im f(x + i h) / h is f'(x), which the rule computes otherwise; exp(-x) overflows for x far below 0."""
    x = np.array([s * v for v in (0.0, 1e-8, 1.0, 30.0, 100.0, 750.0, 1e3) for s in (1.0, -1.0)])
    leaf = Tensor(x, requires_grad=True)
    getattr(ops, name)(leaf).sum().backward()
    found = getattr(ops, name)(x + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-12, atol=1e-15)
    if name in ("sigmoid", "silu", "tanh", "elu", "gelu"):  # and within a fused layer
        one, none = np.ones((1, 1)), np.zeros(1)
        fused = ops.dense(x[:, None] + 1e-30j, one, none, activation=name)
        np.testing.assert_array_equal(np.asarray(fused)[:, 0].imag / 1e-30, found)
