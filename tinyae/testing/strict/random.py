"""Random numbers of the double: CuPy's methods only, and streams that never equal NumPy's.

CuPy's streams differ from NumPy's, and even from one GPU model to the next. A test that expects equal draws on host
and device is wrong, so here they differ too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae.testing.strict.account import LEDGER
from tinyae.testing.strict.api import cupy_api
from tinyae.testing.strict.calls import check_arguments, unwrap, wrap

_OTHER_STREAM = 0x5DEECE66D


class StrictGenerator:
    """`cupy.random.Generator`: uniform and standard normal draws and a dozen others; no `normal`, no `permutation`.

    Args:
        seed: a whole number, of which CuPy uses 32 bits; None for fresh entropy.
    """

    def __init__(self, seed: int | None = None) -> None:
        LEDGER.launch("seed a generator")  # the states of all threads are set up by a kernel
        bits = None if seed is None else (int(seed) & 0xFFFFFFFF) ^ _OTHER_STREAM
        self._source = np.random.Generator(np.random.MT19937(bits))

    def __getattr__(self, name: str) -> Any:
        kinds = cupy_api().generator
        if name.startswith("_") or name not in kinds:
            raise AttributeError(f"CuPy's Generator has no {name!r}: it has {', '.join(sorted(kinds))}.")
        method = getattr(self._source, name)

        def draw(*args: Any, out: Any = None, **kwargs: Any) -> Any:
            given = {**kwargs, "out": out} if out is not None else kwargs
            check_arguments(f"Generator.{name}", kinds[name], args, given)
            values = method(*[unwrap(arg, name) for arg in args], **kwargs)
            if out is None:
                return wrap(values, [], name)
            out[...] = wrap(values, [], name)
            return out

        return draw


class LegacyRandom:
    """The functions of `cupy.random` itself, on one hidden state."""

    def __init__(self) -> None:
        self._source = np.random.RandomState(np.random.MT19937(_OTHER_STREAM))

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`xp.random.name(*args, **kwargs)`; CuPy's draws take a `dtype`."""
        dtype = kwargs.pop("dtype", None)
        if name == "seed":
            self._source = np.random.RandomState(np.random.MT19937(_OTHER_STREAM ^ (args[0] if args else 0)))
            return None
        drawn = getattr(self._source, name)(*[unwrap(arg, name) for arg in args], **kwargs)
        return wrap(drawn if dtype is None else np.asarray(drawn, dtype), [], name)
