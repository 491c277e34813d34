"""A test double for CuPy that finds device mistakes without a GPU.

    from tinyae.testing import strict_device
    device = strict_device()
    model.to("strict")
    with device.policy(forbid_sync=True, forbid_copy=True, forbid_float64=True) as account:
        model.loss(ta.Tensor(device.to_device(batch))).backward()

Much code for GPUs is written without one, and NumPy accepts many things that CuPy does not. The arrays of the double are a
separate class that NumPy cannot access; its namespace has exactly the names and keywords of CuPy; new memory contains NaN;
and operations that are slow on a GPU are counted, or forbidden by a policy. It is stricter than CuPy where leniency hides
mistakes. It has no kernels, the rounding of NumPy and no asynchrony, so tests on a real GPU are still needed.

`array` has the array class and the counters, `api` the names in CuPy, and `namespace` the functions, random generators,
operators and the `Backend`.
"""

from tinyae.testing.strict.array import (
    Account,
    Float64Error,
    HiddenCopyError,
    HiddenSyncError,
    StrictArray,
    StrictDeviceError,
)
from tinyae.testing.strict.namespace import StrictBackend, strict_device

__all__ = [
    "Account",
    "Float64Error",
    "HiddenCopyError",
    "HiddenSyncError",
    "StrictArray",
    "StrictBackend",
    "StrictDeviceError",
    "strict_device",
]
