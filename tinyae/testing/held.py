"""`holding_detached`: what a stop-gradient means, said to a measurement.

`detach()` tells the rules that a value is a constant. A measured slope does not know: it moves the input, the value moves
with it, and the two disagree, although nobody made a mistake. A straight-through estimator, `z + (e - z).detach()`, is
such a function: its gradient is on purpose not its derivative, but that of another one, in which e - z stays what it
is at the point. This other function can be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyae.autodiff import Tensor


def holding_detached(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` with every `detach()` in it giving for ever what it gave in the first call.

    The first call, which a gradient check makes at the point itself, fixes the constants; make a new one for another point.

    Example:
        >>> import numpy as np
        >>> from tinyae.testing import gradcheck
        >>> def rounded(z):
        ...     return z + (Tensor(np.round(z.data)) - z).detach()
        >>> z = np.array([0.3, 1.8])
        >>> gradcheck(rounded, [z], raise_on_failure=False).passed
        False
        >>> gradcheck(holding_detached(rounded), [z]).passed
        True
    """
    constants: list[Tensor] = []
    calls = 0

    def held(*arguments: Any) -> Any:
        nonlocal calls
        position = 0
        calls += 1

        def detach(self: Tensor) -> Tensor:
            nonlocal position
            if calls == 1:
                constants.append(own(self))
            elif position == len(constants):
                raise RuntimeError(
                    f"holding_detached: fn called detach() {position} times at first and now once more: it must "
                    "call it equally often every time, so that each constant can be told from the others."
                )
            position += 1
            return constants[position - 1]

        own = Tensor.detach
        Tensor.detach = detach  # type: ignore[method-assign]
        try:
            return fn(*arguments)
        finally:
            Tensor.detach = own  # type: ignore[method-assign]

    return held
