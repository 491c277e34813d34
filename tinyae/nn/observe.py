"""Watching modules being called, from outside.

The summary table and the search for the layer that made the first NaN both need every module's output, and
neither should be written into the layers. So `Module.__call__` tells whoever is listening in this thread;
with no listener that is one look-up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyae.nn.module import Module

Observer = Callable[["Module", tuple[Any, ...], Any], None]
"""Called as `observer(module, inputs, output)` after each `module(*inputs)`."""


class _Observers(threading.local):
    active: tuple[Observer, ...] = ()


observers = _Observers()
"""`observers.active`: who is listening. One tuple per thread."""


@contextmanager
def observe_calls(callback: Observer) -> Iterator[None]:
    """Within the block, call `callback(module, inputs, output)` after every module call of this thread.

    Inner modules finish first and are reported first. `inputs` are the positional arguments. An error raised
    by the callback stops the forward pass; the callback is removed when the block ends, also by an error.

    Example:
        >>> from tinyae import Tensor, nn
        >>> shapes = []
        >>> with observe_calls(lambda module, inputs, output: shapes.append(output.shape)):
        ...     _ = nn.Dense(3, 2)(Tensor([[1.0, 2.0, 3.0]]))
        >>> shapes
        [(1, 2)]
    """
    before = observers.active
    observers.active = (*before, callback)
    try:
        yield
    finally:
        observers.active = before
