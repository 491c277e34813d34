"""Every row of the table of operations on every device: values, first and second derivatives equal the CPU's.

The table also holds the losses. A new primitive needs a row there and nothing here.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinyae.autodiff import Tensor, grad
from tinyae.backend import CPU, Backend, MixedDevicesError
from tinyae.testing import OpCase, strict_device
from tinyae.testing.mutation import derivatives
from tinyae.testing.tables import CASES
from tinyae.testing.verification import as_leaves, moved

BY_NAME: dict[str, list[OpCase]] = {}
for each in CASES:
    BY_NAME.setdefault(each.name.partition("(")[0], []).append(each)
every_operation = pytest.mark.parametrize("name", BY_NAME)


def masked(case: OpCase) -> bool:
    """Whether an index of the case is a boolean mask: the size of the result is known only on the device."""
    index = case.params.get("index")
    parts = index if isinstance(index, tuple) else (index,)
    return any(getattr(getattr(part, "dtype", None), "kind", "") == "b" for part in parts)


@every_operation
def test_values_and_derivatives_equal_the_cpus(name: str, elsewhere: Backend) -> None:
    for case in BY_NAME[name]:
        found = []
        for device in (elsewhere, CPU):
            subject = case.subject(np.random.default_rng(0), device)
            y = subject.fn(*[Tensor(x, requires_grad=True) for x in subject.inputs])
            tensors = [y, *(derivatives(subject, case.order) if case.order else [])]
            assert all(tensor.device == device.name for tensor in tensors), case.name
            found.append([tensor.numpy() for tensor in tensors])
        for a, b in zip(*found, strict=True):
            assert a.dtype == b.dtype, case.name
            assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg=case.name)


@every_operation
def test_forward_and_backward_stay_on_the_device_in_float32(name: str, rng: np.random.Generator) -> None:
    device = strict_device()
    for case in [case for case in BY_NAME[name] if case.order and not masked(case)]:
        arguments, params = moved((tuple(case.make_inputs(rng, "float32")), case.params), device)
        leaves = as_leaves(case, arguments)
        g = device.to_device(rng.uniform(0.5, 1.5, case.op(*leaves, **params).shape), "float32")
        asked = case.params.get("dtype") == "float64"  # by a cast
        with device.policy(forbid_sync=True, forbid_copy=True, forbid_float64=not asked):
            y = case.op(*leaves, **params)
            for create_graph in (False, True):
                found = grad(y, [leaves[i] for i in case.moving], g, create_graph=create_graph)
                assert all(slope.dtype == np.float32 for slope in found), case.name


@every_operation
def test_arrays_of_two_devices_are_refused_by_name(name: str, elsewhere: Backend, rng: np.random.Generator) -> None:
    for case in BY_NAME[name]:
        if len(case.moving) > 1 and all(len(shape) for shape in case.shapes):
            inputs = case.make_inputs(rng)
            inputs[case.moving[-1]] = elsewhere.to_device(inputs[case.moving[-1]])
            leaves = [Tensor(a) if i in case.moving else a for i, a in enumerate(inputs)]
            with pytest.raises(MixedDevicesError, match=elsewhere.name):
                case.op(*leaves, **case.params)
