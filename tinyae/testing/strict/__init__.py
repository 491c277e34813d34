"""A GPU that is not there: a stand-in for CuPy that finds device mistakes on any machine.

    from tinyae.testing import strict_device
    device = strict_device()
    model.to("strict")
    with device.policy(forbid_sync=True, forbid_copy=True, forbid_float64=True) as account:
        model.loss(ta.Tensor(device.to_device(batch))).backward()

Code for a GPU is mostly written where there is none, and NumPy forgives everything that CuPy does not. The double's
arrays are a class of their own whose numbers NumPy cannot reach; its namespace has the names and keywords of CuPy and
no others; fresh memory holds NaN; and what would cost time on a GPU is counted, or forbidden by a policy. It is
stricter than CuPy wherever CuPy is lenient in a way that hurts. It has no kernels, no rounding of its own and no
asynchrony: a run on a real GPU stays necessary.

`array` is the array and the account of what was done with it, `api` knows CuPy's names, `namespace` has the functions, the
random generators and the operators, and puts them together as a `Backend`.
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
