"""Every row of the table of operations on every device: values, first and second derivatives equal the CPU's.

The table also holds the losses. A new primitive needs a row there and nothing here.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinyae.autodiff import Tensor, grad
from tinyae.backend import CPU, Backend, MixedDevicesError
from tinyae.testing import OpCase, strict_device
from tinyae.testing.tables import CASES


def ids(case: OpCase) -> str:
    return case.name


every_case = pytest.mark.parametrize("case", CASES, ids=operator.attrgetter("name"))
SMOOTH = [case for case in CASES if case.order]


def moved(value: Any, device: Backend) -> Any:
    """Arrays, and lists of indices, on `device`, wherever they stand in the arguments."""
    if isinstance(value, np.ndarray):
        return device.to_device(value)
    if isinstance(value, list):
        return device.to_device(np.asarray(value))
    if isinstance(value, tuple):
        return tuple(moved(item, device) for item in value)
    if isinstance(value, dict):
        return {name: moved(item, device) for name, item in value.items()}
    return value


def masked(case: OpCase) -> bool:
    """Whether an index of the case is a boolean mask: the size of the result is known only on the device."""
    index = case.params.get("index")
    parts = index if isinstance(index, tuple) else (index,)
    return any(getattr(getattr(part, "dtype", None), "kind", "") == "b" for part in parts)


def cotangent(shape: tuple[int, ...], seed: int, dtype: Any) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape), dtype=dtype)


def derivatives(case: OpCase, inputs: list[Any], device: Backend) -> list[np.ndarray]:
    """The value, the gradients by both modes of the rules, and the gradients of the gradients."""
    params = moved(case.params, device)
    arguments = [moved(a, device) for a in inputs]
    leaves = [Tensor(a, requires_grad=True) if i in case.moving else a for i, a in enumerate(arguments)]
    moving = [leaves[i] for i in case.moving]
    y = case.op(*leaves, **params)
    g = device.to_device(cotangent(y.shape, 1, y.dtype))
    raw, first = grad(y, moving, g), grad(y, moving, g, create_graph=True)
    second = []
    if case.order > 1:
        for slope in first:
            if slope.requires_grad:
                h = device.to_device(cotangent(slope.shape, 2, slope.dtype))
                second += grad(slope, moving, h, allow_unused=True)
    found = [y, *raw, *first, *second]
    assert all(tensor.device == device.name for tensor in found)
    return [tensor.numpy() for tensor in found]


@every_case
def test_values_and_derivatives_equal_the_cpus(case: OpCase, elsewhere: Backend, rng: np.random.Generator) -> None:
    inputs = case.make_inputs(rng)
    if not case.order:
        there = case.op(*moved(tuple(inputs), elsewhere), **moved(case.params, elsewhere))
        assert_allclose(elsewhere.to_host(there), case.op(*inputs, **case.params), rtol=1e-12, atol=1e-13)
        return
    found, expected = (derivatives(case, inputs, device) for device in (elsewhere, CPU))
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", [case for case in SMOOTH if not masked(case)], ids=operator.attrgetter("name"))
def test_forward_and_backward_stay_on_the_device_in_float32(case: OpCase, rng: np.random.Generator) -> None:
    device = strict_device()
    params = moved(case.params, device)
    arguments = [moved(a, device) for a in case.make_inputs(rng, "float32")]
    leaves = [Tensor(a, requires_grad=True) if i in case.moving else a for i, a in enumerate(arguments)]
    g = device.to_device(cotangent(case.op(*leaves, **params).shape, 1, "float32"))
    with device.policy(forbid_sync=True, forbid_copy=True, forbid_float64=True):
        y = case.op(*leaves, **params)
        for create_graph in (False, True):
            found = grad(y, [leaves[i] for i in case.moving], g, create_graph=create_graph)
            assert all(slope.dtype == np.float32 for slope in found)


def mixable(case: OpCase) -> bool:
    return len(case.moving) > 1 and all(len(shape) for shape in case.shapes)


@pytest.mark.parametrize("case", [case for case in CASES if mixable(case)], ids=operator.attrgetter("name"))
def test_arrays_of_two_devices_are_refused_by_name(case: OpCase, elsewhere: Backend, rng: np.random.Generator) -> None:
    inputs = case.make_inputs(rng)
    inputs[case.moving[-1]] = elsewhere.to_device(inputs[case.moving[-1]])
    leaves = [Tensor(a) if i in case.moving else a for i, a in enumerate(inputs)]
    with pytest.raises(MixedDevicesError, match=elsewhere.name):
        case.op(*leaves, **case.params)
