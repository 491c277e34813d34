"""Watching modules being called, from outside.

The summary table needs every module's output, and the search for the first NaN the name of the module being called;
neither should be written into the layers. So `Module.__call__` tells whoever is listening in this thread; with no
listener that is one look-up for each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tinyae.autodiff import Watch

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


@contextmanager
def in_layer(watch: Watch, module: Module) -> Iterator[None]:
    """Tell an anomaly watch that `module` is being called, by its dotted name in the module that was called first."""
    watch.scopes.append((module, _label(watch.scopes, module)))
    try:
        yield
    finally:
        watch.scopes.pop()


def _label(scopes: list[tuple[Any, str]], module: Module) -> str:
    """`Autoencoder.encoder.0 (Dense)`; `Outer > Inner` for one that is called by another but is no part of it."""
    kind = type(module).__name__
    if not scopes:
        return kind
    root: Module = scopes[0][0]
    name = next((name for name, part in root.named_modules() if part is module), None)
    if name is None:
        return f"{scopes[-1][1]} > {kind}"
    return f"{type(root).__name__}.{name} ({kind})" if name else kind
