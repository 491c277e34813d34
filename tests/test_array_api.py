"""The array API standard as a third device: how much of the framework needs no more than the standard promises.

`array_api_strict` has arrays with exactly the operations of the standard (https://data-apis.org/array-api). Values and
first derivatives of the check table run on them, by raw rules and by recorded ones, and equal NumPy's. All that is
translated is spelling: `methods`, and the three functions of `Standard`. `EXEMPT` lists what needs more, and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinyae.autodiff import Tensor, grad
from tinyae.backend import CPU, Backend, devices
from tinyae.testing import OpCase
from tinyae.testing.tables import CASES

EXEMPT = {
    "a boolean mask as a factor (g * (x > 0)): the standard multiplies numbers only": """
        relu clip limit power bce huber bernoulli_kl continuous_bernoulli_log_norm continuous_bernoulli_mean
        continuous_bernoulli_nll""",
    "numbers as masks: the standard combines booleans only": "logical_and logical_or logical_not",
    "a dtype by its name": "cast",
    "functions that the standard lacks, or spells otherwise (erf, einsum, x.prod, x.cumsum, flip)": """
        erf gelu contract einsum prod cumsum""",
    "NumPy's indices (fewer than axes, several arrays, a mask beside a slice, slices beyond the end) and add.at": """
        getitem scatter softmax_cross_entropy lstm""",
    "np.pad": "pad crop",
    "in place with out=, which saves a pass through memory": "dense",
    "windows as views by strides, and slices with fewer indices than axes": """
        convolve convolve_transpose convolve_weight_grad conv1d conv2d conv_transpose2d conv2d_weight_grad biased_conv2d
        biased_conv_transpose2d max_pool2d avg_pool2d avg_unpool2d upsample upsample_nearest block_sum""",
}
"""Reason -> functions with a case that the standard does not cover."""

EXEMPTED = {name for names in EXEMPT.values() for name in names.split()}
COVERED = sorted({case.op.__name__ for case in CASES} - EXEMPTED)


def methods(xp: Any) -> dict[str, Any]:
    """What arrays have as methods in NumPy and CuPy, and the standard has as functions."""

    def one(given: tuple[Any, ...]) -> tuple[int, ...]:
        return given[0] if given and isinstance(given[0], tuple) else given

    return {
        **{name: getattr(xp, name) for name in ("sum", "mean", "max", "min", "astype")},
        "reshape": lambda x, *shape: xp.reshape(x, one(shape)),
        "transpose": lambda x, *axes: xp.permute_dims(x, one(axes) or tuple(range(x.ndim))[::-1]),
        "__len__": lambda x: x.shape[0],
    }


class Standard(Backend):
    """Arrays of `array_api_strict`."""

    name = "standard"

    def __init__(self, xp: Any) -> None:
        functions = {
            "array": lambda x, dtype=None: xp.asarray(x, dtype=dtype, copy=True),
            "concatenate": lambda xs, axis: xp.concat(xs, axis=axis),
            "stack": lambda xs, axis: xp.stack(xs, axis=axis),
        }
        self.xp = SimpleNamespace(**vars(xp) | functions)

    def to_device(self, array: Any, dtype: Any = None) -> Any:
        return self.xp.asarray(np.asarray(array, dtype))

    def to_host(self, array: Any) -> np.ndarray:
        return np.asarray(array)


@pytest.fixture(scope="module")
def standard() -> Iterator[Backend]:
    xp = pytest.importorskip("array_api_strict")
    array, dtype = type(xp.zeros(1)), type(xp.float64)
    with pytest.MonkeyPatch.context() as patch:
        for name, method in methods(xp).items():
            patch.setattr(array, name, method, raising=False)
        patch.setattr(dtype, "kind", property(lambda self: np.dtype(self._np_dtype).kind), raising=False)
        backend = Standard(xp)
        patch.setitem(devices._by_type, array, backend)
        yield backend


def computed(case: OpCase, device: Backend) -> list[np.ndarray]:
    """The value of a case and its first derivatives, by raw and by recorded rules."""
    subject = case.subject(np.random.default_rng(0), device)
    leaves = [Tensor(x, requires_grad=True) for x in subject.inputs]
    found = [subject.fn(*leaves)]
    if case.order:
        g = device.to_device(np.random.default_rng(1).uniform(0.5, 1.5, found[0].shape))
        for create_graph in (False, True):
            found += grad(found[0], leaves, g, create_graph=create_graph)
    return [tensor.numpy() for tensor in found]


@pytest.mark.parametrize("name", COVERED)
def test_values_and_first_derivatives_need_the_standard_only(name: str, standard: Backend) -> None:
    for case in [case for case in CASES if case.op.__name__ == name]:
        for a, b in zip(computed(case, standard), computed(case, CPU), strict=True):
            assert a.dtype == b.dtype, case.name
            assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg=case.name)


@pytest.mark.parametrize("name", sorted(EXEMPTED))
def test_what_is_exempt_needs_more(name: str, standard: Backend) -> None:
    refused = 0
    for case in CASES:
        if case.op.__name__ == name:
            try:
                computed(case, standard)
            except (TypeError, IndexError, AttributeError, NotImplementedError, ValueError):
                refused += 1
    assert refused, f"{name} needs no exemption: every case runs on the standard"
