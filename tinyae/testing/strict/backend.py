"""The strict device as a `Backend`, and the function that hands it out."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from tinyae.backend import register
from tinyae.backend.cupy_backend import CupyBackend
from tinyae.testing.strict.account import LEDGER, Account, Policy
from tinyae.testing.strict.array import StrictArray
from tinyae.testing.strict.namespace import build_namespace


class StrictBackend(CupyBackend):
    """The methods of the GPU's backend, on the double's arrays. Its name is `"strict"`, as in `model.to("strict")`.

    Attributes:
        account: launches, synchronisations and copies since the process started, or since `account.reset()`.
    """

    name = "strict"

    @property
    def account(self) -> Account:
        """What happened on the device so far."""
        return LEDGER.accounts[0]

    def policy(
        self, *, forbid_sync: bool = False, forbid_copy: bool = False, forbid_float64: bool = False
    ) -> AbstractContextManager[Account]:
        """Within the block refuse what is named, and keep an account of the block.

        Args:
            forbid_sync: raise `HiddenSyncError` where the host would wait for the device.
            forbid_copy: raise `HiddenCopyError` where data would go from host to device or back.
            forbid_float64: raise `Float64Error` where a float64 array would be made.

        Blocks nest; what an outer block forbids stays forbidden inside.
        """
        return LEDGER.open(Policy(forbid_sync, forbid_copy, forbid_float64))

    def describe(self) -> str:
        """One line: what the double stands for."""
        return f"{self.name}: NumPy behind the names of CuPy {self.xp.__version__} (a test double)"


@functools.cache
def _backend() -> StrictBackend:
    return StrictBackend(build_namespace())


def strict_device() -> StrictBackend:
    """The strict device double, one per process; from now on `backend_named("strict")` and `.to("strict")` know it.

    Example:
        >>> device = strict_device()
        >>> x = device.to_device([1.0, 2.0], "float32")
        >>> with device.policy(forbid_sync=True) as account:
        ...     y = (x * 2.0).sum()
        >>> account.launches, account.syncs, float(y)
        (2, 0, 6.0)
    """
    backend = _backend()
    register(StrictArray, backend)
    return backend
