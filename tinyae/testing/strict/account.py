"""What the device was asked to do, and what it may not be asked just now.

On a GPU the arithmetic of a small network costs little. What costs is every kernel launch (5 to 20 microseconds of
the host), every wait for the device, and every copy between host and device. The double has none of these costs, so
it counts them instead. There is one ledger per process, as there is one device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class StrictDeviceError(RuntimeError):
    """Something that works on a GPU, but that the policy in force forbids."""


class HiddenSyncError(StrictDeviceError):
    """The host waited for the device: `float(x)`, `if x:`, a boolean mask, `x.get()`, printing."""


class HiddenCopyError(StrictDeviceError):
    """Data went between host and device: `xp.asarray(host)`, `x.get()`."""


class Float64Error(StrictDeviceError):
    """A float64 array was made where everything is float32 (half the speed at best, 1/64 on many GPUs)."""


@dataclass
class Account:
    """What happened on the device.

    Attributes:
        launches: kernels started, as CuPy would start them (an estimate for functions made of several kernels).
        syncs: how often the host waited for the device.
        uploads, downloads: copies from host to device and from device to host.
        log: launches by the name of the operation.
    """

    launches: int = 0
    syncs: int = 0
    uploads: int = 0
    downloads: int = 0
    log: Counter[str] = field(default_factory=Counter)

    @property
    def copies(self) -> int:
        """Copies in either direction."""
        return self.uploads + self.downloads

    def reset(self) -> None:
        """Start again from zero."""
        self.launches = self.syncs = self.uploads = self.downloads = 0
        self.log.clear()

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {name}" for name, count in self.log.most_common())
        return f"{self.launches} launches ({parts}), {self.syncs} syncs, {self.uploads} uploads, {self.downloads} downloads"


@dataclass(frozen=True)
class Policy:
    """What is refused; see `StrictBackend.policy`."""

    forbid_sync: bool = False
    forbid_copy: bool = False
    forbid_float64: bool = False


class Ledger:
    """The accounts that are open (the outermost lives as long as the process) and the policy in force."""

    def __init__(self) -> None:
        self.accounts = [Account()]
        self.policy = Policy()

    @contextmanager
    def open(self, policy: Policy) -> Iterator[Account]:
        """Within the block obey `policy` as well as what was in force, and keep an account of the block."""
        before, account = self.policy, Account()
        self.policy = Policy(**{name: flag or getattr(policy, name) for name, flag in vars(before).items()})
        self.accounts.append(account)
        try:
            yield account
        finally:
            self.policy = before
            self.accounts.pop()

    def launch(self, what: str, count: int = 1) -> None:
        """`count` kernels were started for `what`."""
        for account in self.accounts:
            account.launches += count
            account.log[what] += count

    def sync(self, what: str) -> None:
        """The host waits for the device because of `what`."""
        for account in self.accounts:
            account.syncs += 1
        if self.policy.forbid_sync:
            raise HiddenSyncError(f"{what} makes the host wait for the device: keep the value on the device here.")

    def upload(self, what: str) -> None:
        """`what` copied from the host to the device."""
        for account in self.accounts:
            account.uploads += 1
        self._refuse_copy(f"{what} copies from host to device")

    def download(self, what: str) -> None:
        """`what` copied from the device to the host."""
        for account in self.accounts:
            account.downloads += 1
        self._refuse_copy(f"{what} copies from device to host")

    def _refuse_copy(self, what: str) -> None:
        if self.policy.forbid_copy:
            raise HiddenCopyError(f"{what}: move data before the hot path, or after it.")

    def made(self, dtype: Any, what: str) -> None:
        """`what` gave an array of `dtype`."""
        if self.policy.forbid_float64 and dtype in (np.float64, np.complex128):
            raise Float64Error(
                f"{what} gave {dtype}: name the dtype where arrays are made, "
                "and use Python floats instead of NumPy's float64 scalars."
            )


LEDGER = Ledger()
"""The one ledger of this process."""
