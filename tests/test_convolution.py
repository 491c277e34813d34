"""The three convolutions: SciPy's correlation, the composed twins, adjointness, orders of derivative, messages."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tinyae import nn, ops
from tinyae.autodiff import Tensor, grad
from tinyae.backend import CPU, Backend, threads
from tinyae.backend.windows import ConvSpec
from tinyae.ops.convolution import (
    conv_spec,
    convolve_composed,
    convolve_transpose_composed,
    convolve_weight_grad_composed,
    transposed_spec,
)
from tinyae.testing.tables.images import (
    conv2d_reference,
    conv2d_weight_grad_reference,
    conv_transpose2d_reference,
    spec_of,
)

small = st.integers(1, 3)
pairs = st.tuples(small, small)
margins = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def convolutions(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shapes of x (N, H, W, C) and w (KH, KW, C, O), stride and padding, such that at least one window fits."""
    kernel, paddings = draw(pairs), (st.sampled_from(["same", "valid"]), st.integers(0, 2), margins)
    keywords = {
        "stride": draw(st.one_of(small, pairs)),
        "padding": draw(st.one_of(*paddings, st.tuples(margins, margins))),
    }
    size = [k + draw(st.integers(0, 4)) for k in kernel]
    x = (draw(st.integers(0, 3)), *size, draw(small))
    return x, (*kernel, x[3], draw(small)), keywords


def arrays(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def meant(x: Any, w: Any, keywords: dict[str, Any]) -> ConvSpec:
    """What the keywords mean, by the tables' own arithmetic."""
    return spec_of(x.shape[1:3], w.shape[:2], **keywords)


def back(spec: ConvSpec) -> dict[str, Any]:
    """The keywords with which a transposed convolution makes images of the spec's size."""
    return {"stride": spec.stride, "padding": spec.padding, "output_padding": spec.output_padding}


@given(convolutions(), st.integers(0, 9))
def test_all_three_equal_scipy_and_their_definitions_and_are_adjoint(case, seed):
    x_shape, w_shape, keywords = case
    x, w = arrays(seed, x_shape, w_shape)
    spec = meant(x, w, keywords)
    y = ops.conv2d(x, w, **keywords)
    for other in (conv2d_reference(x, w, spec), convolve_composed(x, w, spec=spec)):
        assert_allclose(y, other, rtol=1e-12, atol=1e-12)
    (g,) = arrays(seed + 100, y.shape)
    dx = ops.conv_transpose2d(g, w, **back(spec))
    assert dx.shape == x.shape
    for other in (conv_transpose2d_reference(g, w, spec), convolve_transpose_composed(g, w, spec=spec)):
        assert_allclose(dx, other, rtol=1e-12, atol=1e-12)
    dw = ops.conv2d_weight_grad(x, g, kernel_size=w_shape[:2], **keywords)
    assert dw.shape == w.shape
    for other in (conv2d_weight_grad_reference(x, g, spec), convolve_weight_grad_composed(x, g, spec=spec)):
        assert_allclose(dw, other, rtol=1e-12, atol=1e-12)
    # T(x, w, y) is one number, whichever of the three is taken away and put back.
    product = np.vdot(y, g)
    assert_allclose([np.vdot(x, dx), np.vdot(w, dw)], [product, product], rtol=1e-11, atol=1e-11)


@given(convolutions())
def test_the_cpu_kernels_equal_the_bodies_that_they_replace(case):
    (x_shape, w_shape, keywords), reference = case, Backend()
    reference.xp = np
    x, w = arrays(1, x_shape, w_shape)
    spec = meant(x, w, keywords)
    (y,) = arrays(2, (x_shape[0], *spec.out, w_shape[3]))
    for name, arguments in (("conv2d", (x, w)), ("conv_transpose2d", (y, w)), ("conv2d_weight_grad", (x, y))):
        found = getattr(CPU, name)(*arguments, spec)
        assert_allclose(found, getattr(reference, name)(*arguments, spec), rtol=1e-12, atol=1e-12)
    for name, (dz, *arguments) in (("conv2d_backward", (y, x, w)), ("conv_transpose2d_backward", (x, y, w))):
        for wanted in ((0, 1, 2), (0, 2), (1, 2), (0,), (1,), (2,)):
            found = getattr(CPU, name)(dz.__getitem__, *arguments, spec, wanted)
            expected = getattr(reference, name)(dz.__getitem__, *arguments, spec, wanted)
            for k in wanted:
                assert found[k].shape == expected[k].shape
                assert_allclose(found[k], expected[k], rtol=1e-12, atol=1e-12)
            assert all(found[k] is None for k in {0, 1} - {*wanted})


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("wanted", [(0, 1, 2), (0, 2), (1, 2), (2,)])
@pytest.mark.parametrize("name", ["conv2d_backward", "conv_transpose2d_backward"])
def test_the_gradient_of_a_bias_keeps_its_digits(name, wanted, channels, rng):
    """One sum of 200,704 numbers, one after another, would lose two digits."""
    spec = ConvSpec((28, 28), (3, 3), padding=((1, 1), (1, 1)))
    x, w = np.zeros((256, 28, 28, channels), np.float32), np.zeros((3, 3, channels, channels), np.float32)
    dz = rng.random(x.shape, np.float32)
    db = getattr(CPU, name)(dz.__getitem__, x, w, spec, wanted)[2]
    assert_allclose(db, dz.sum(axis=(0, 1, 2), dtype=np.float64), rtol=2e-6)


LARGE = [
    # (x, w, keywords): more samples than a chunk holds, odd numbers of them, and every form that the kernels take.
    ((37, 28, 28, 1), (3, 3, 1, 16), {"padding": 1}),
    ((21, 14, 14, 16), (3, 3, 16, 8), {"padding": "same"}),
    ((33, 14, 14, 8), (5, 5, 8, 1), {"padding": 2}),
    ((19, 13, 13, 8), (3, 3, 8, 16), {"stride": 2, "padding": 1}),
    ((20, 12, 12, 4), (4, 4, 4, 8), {"stride": 2, "padding": 1}),
    ((17, 28, 28, 1), (3, 3, 1, 8), {"stride": 2, "padding": ((0, 1), (0, 1))}),
    ((300, 4, 4, 2), (2, 2, 2, 4), {"stride": 3}),  # a stride larger than the kernel
    ((5, 4, 4, 128), (3, 3, 128, 128), {"padding": 1}),  # too large for the calling thread alone
]


@pytest.mark.parametrize(("x_shape", "w_shape", "keywords"), LARGE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_batches_are_put_together_from_their_chunks(x_shape, w_shape, keywords, dtype):
    x, w = (a.astype(dtype) for a in arrays(3, x_shape, w_shape))
    b = np.linspace(-1, 1, w_shape[3]).astype(dtype)
    spec = meant(x, w, keywords)
    leaves = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    y = ops.biased_conv2d(*leaves, spec=spec, activation="tanh")
    expected = np.tanh(convolve_composed(x, w, spec=spec) + b)
    tolerance = {"rtol": 1e-11, "atol": 1e-11} if dtype == "float64" else {"rtol": 2e-4, "atol": 2e-4}
    assert_allclose(y.data, expected, **tolerance)
    (g,) = (a.astype(dtype) for a in arrays(4, y.shape))
    dz = g * (1 - expected * expected)
    found = grad(y, leaves, g)
    assert {t.dtype for t in (y, *found)} == {np.dtype(dtype)}
    dx, dw = convolve_transpose_composed(dz, w, spec=spec), convolve_weight_grad_composed(x, dz, spec=spec)
    dy = Tensor(dz, requires_grad=True)
    weight = Tensor(w, requires_grad=True)
    image = ops.convolve_transpose(dy, weight, spec=spec)
    fused = ops.biased_conv_transpose2d(dy, weight, np.zeros(x_shape[3], dtype), spec=spec, activation="identity")
    found += [image, *grad(fused, [dy, weight], x)]
    for a, e in zip(found, [dx, dw, dz.sum(axis=(0, 1, 2)), dx, convolve_composed(x, w, spec=spec), dw], strict=True):
        scale = np.abs(e).max()
        assert_allclose(a.data / scale, e / scale, **tolerance)


@pytest.mark.parametrize("seed", range(3))
def test_any_number_of_threads_gives_equal_bytes(seed):
    x, w, g = (a.astype("float32") for a in arrays(seed, (40, 14, 14, 8), (3, 3, 8, 8), (40, 14, 14, 8)))
    results = []
    for count in (1, 2, 3):
        leaves = [Tensor(a, requires_grad=True) for a in (x, w)]
        spec = ConvSpec((14, 14), (3, 3), padding=((1, 1), (1, 1)))
        with threads(count):
            y = ops.biased_conv2d(*leaves, np.ones(8, "float32"), spec=spec, activation="relu")
            results.append([y.data, *(t.data for t in grad(y, leaves, g))])
    for a, b, c in zip(*results, strict=True):
        assert_array_equal(a, b)
        assert_array_equal(b, c)


@pytest.mark.parametrize(("c", "o"), [(0, 2), (2, 0), (0, 0)])
@pytest.mark.parametrize("convolution", [ops.conv2d, ops.conv_transpose2d])
def test_images_without_channels(convolution, c, o, rng):
    w = rng.normal(size=(2, 2, c, o))
    leaves = [
        Tensor(x, requires_grad=True) for x in (rng.normal(size=(2, 4, 4, c if convolution is ops.conv2d else o)), w)
    ]
    y = convolution(*leaves, stride=2)
    assert not y.data.any()
    for leaf, gradient in zip(leaves, grad(y, leaves, rng.normal(size=y.shape)), strict=True):
        assert gradient.shape == leaf.shape
        assert not gradient.data.any()
    layer = (nn.Conv2d if convolution is ops.conv2d else nn.ConvTranspose2d)(1, 1, 2, dtype="float64")
    layer.weight, layer.bias = nn.Parameter(w), nn.Parameter(np.ones(y.shape[-1]))
    layer.in_channels = leaves[0].shape[3]
    z = layer(leaves[0])
    assert (z.data == 1.0).all()
    assert grad(z, layer.bias, np.ones(z.shape)).data.sum() == z.size


def test_a_wider_weight_makes_a_wider_result(rng):
    x, w = rng.normal(size=(2, 4, 4, 2)).astype("float32"), rng.normal(size=(3, 3, 2, 2))
    y = ops.conv2d(x, w)
    assert y.dtype == ops.conv_transpose2d(y, w).dtype == ops.conv2d_weight_grad(x, y, kernel_size=3).dtype == "float64"


@pytest.mark.parametrize(
    "keywords", [{}, {"stride": 2, "padding": "same"}, {"stride": (2, 1), "padding": ((1, 0), (0, 2))}]
)
def test_third_derivatives(keywords, rng):
    """(conv2d(x, w) ** 2).sum() is of degree 4, so three derivatives are neither zero nor constant."""
    values = [rng.normal(size=(2, 5, 4, 2)), rng.normal(size=(2, 2, 2, 4))]
    spec, found = meant(*values, keywords), []
    for function in (ops.convolve, convolve_composed):
        x, w = (Tensor(v, requires_grad=True) for v in values)
        first = grad((function(x, w, spec=spec) * function(x, w, spec=spec)).sum(), w, create_graph=True)
        second = grad((first * first).sum(), x, create_graph=True)
        third = grad((second * second).sum(), [x, w])
        found.append([t.data for t in (first, second, *third)])
    for a, b in zip(*found, strict=True):
        assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())


def test_same_padding_makes_the_output_as_large_as_the_stride_says(rng):
    for size in range(1, 9):
        for kernel in range(1, 6):
            for stride in range(1, 4):
                x, w = rng.normal(size=(1, size, size, 1)), rng.normal(size=(kernel, kernel, 1, 1))
                assert ops.conv2d(x, w, stride=stride, padding="same").shape[1] == -(-size // stride)
                assert ops.conv_transpose2d(x, w, stride=stride, padding="same").shape[1] == size * stride


@given(convolutions())
def test_keywords_become_the_spec_that_they_mean_and_lead_back_to_it(case):
    x_shape, w_shape, keywords = case
    spec = conv_spec("test", x_shape[1:3], w_shape[:2], **keywords)
    assert spec == spec_of(x_shape[1:3], w_shape[:2], **keywords) == pickle.loads(pickle.dumps(spec))
    assert transposed_spec("test", spec.out, spec.kernel, **back(spec)) == spec
    assert len({spec, spec_of(x_shape[1:3], w_shape[:2], **keywords)}) == 1


def test_a_known_correlation():
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    w = np.array([[1.0, 0.0], [0.0, -1.0]])[:, :, None, None]  # a pixel minus its lower right neighbor
    assert_array_equal(ops.conv2d(x, w)[0, :, :, 0], [[-4, -4], [-4, -4]])
    assert_array_equal(ops.conv_transpose2d(np.ones((1, 1, 1, 1)), w)[0, :, :, 0], [[1, 0], [0, -1]])


IMAGE, KERNEL, SPEC = np.ones((2, 7, 7, 3)), np.ones((3, 3, 3, 4)), ConvSpec((7, 6), (3, 3))
AS_IT_IS = {"spec": ConvSpec((7, 7), (3, 3)), "activation": "identity"}


@pytest.mark.parametrize(("call", "words"), [
    (lambda: ops.conv2d(np.ones((7, 7, 3)), KERNEL), r"conv2d: images must be \(N, H, W, C\), got shape \(7, 7, 3\)"),
    (lambda: ops.conv2d(IMAGE, np.ones((3, 3, 3))), r"conv2d: w must be \(KH, KW, C, O\)"),
    (lambda: ops.conv2d(IMAGE[..., :2], KERNEL), r"conv2d: .* has 2 channels, the kernel .* takes C = 3"),
    (lambda: ops.conv2d(IMAGE, KERNEL, padding=-1), "conv2d: padding must be .*>= 0.* got -1"),
    (lambda: ops.conv2d(IMAGE, KERNEL, padding="full"), "unknown padding 'full'"),
    (lambda: ops.conv2d(IMAGE, KERNEL, stride=0), "conv2d: stride must be a whole number of at least 1 .* got 0"),
    (lambda: ops.conv2d(IMAGE, KERNEL, stride=(1, 2, 3)), r"stride must be .* got \(1, 2, 3\)"),
    (lambda: ops.conv2d(IMAGE, np.ones((9, 9, 3, 4)), padding=(0, 1)),
     r"padding \(\(0, 0\), \(1, 1\)\) does not fit: the kernel spans 9x9 pixels, .* has 7x9"),
    (lambda: ops.conv2d_weight_grad(IMAGE, np.ones((2, 6, 6, 4)), kernel_size=3, stride=2),
     "conv2d_weight_grad: input 7x7, kernel 3x3, stride 2x2 gives 3x3, got 6x6"),
    (lambda: ops.conv2d_weight_grad(IMAGE, np.ones((3, 5, 5, 4)), kernel_size=3), "x has 2 samples, y 3"),
    (lambda: ops.conv_transpose2d(IMAGE, KERNEL), "has 3 channels, the kernel .* takes O = 4"),
    (lambda: ops.conv_transpose2d(np.ones((1, 1, 1, 4)), KERNEL, padding=2),
     r"conv_transpose2d: input 1x1, kernel 3x3, padding 2 gives -1x-1: take less padding"),
    (lambda: ops.conv_transpose2d(np.ones((1, 2, 2, 4)), KERNEL, output_padding=1),
     r"output_padding \(1, 1\) must be smaller than the stride \(1, 1\)"),
    (lambda: ops.conv_transpose2d(np.ones((1, 2, 2, 4)), KERNEL, stride=2, padding="same", output_padding=1),
     "padding='same' makes the output input . stride by itself"),
    (lambda: ops.convolve(IMAGE, KERNEL, spec=SPEC), "convolve: the spec is for images of 7x6, got 7x7"),
    (lambda: ops.convolve(IMAGE[:, :, :6], KERNEL[1:], spec=SPEC), "the spec is for a kernel of 3x3, got 2x3"),
    (lambda: ops.convolve_transpose(IMAGE, KERNEL, spec=SPEC), "input 7x6, kernel 3x3 gives 5x4, got 7x7"),
    (lambda: ops.biased_conv2d(IMAGE, KERNEL, np.ones(3), **AS_IT_IS),
     r"biased_conv2d: b must be \(4,\).* got shape \(3,\)"),
    (lambda: ops.biased_conv2d(IMAGE, KERNEL, np.ones(4), **{**AS_IT_IS, "activation": "swish"}),
     "biased_conv2d: unknown activation 'swish'"),
])  # fmt: skip
def test_what_does_not_fit_is_said_with_its_arithmetic(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_spec_counts_what_its_windows_see():
    spec = ConvSpec((7, 5), (3, 2), (2, 1), ((1, 1), (0, 1)))
    assert (spec.padded, spec.out, spec.output_padding) == ((9, 6), (4, 5), (0, 0))
    assert dict(spec.taps())[2, 1] == (slice(None), slice(2, 9, 2), slice(1, 6, 1))
    assert spec.inside == (slice(None), slice(1, 8), slice(0, 5))
    assert str(spec) == "kernel 3x2, stride 2x1, padding ((1, 1), (0, 1))"
    assert str(ConvSpec((7, 5), (3, 3), padding=((1, 1), (1, 1)))) == "kernel 3x3, padding 1"
