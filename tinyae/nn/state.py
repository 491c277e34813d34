"""Reading and writing the state of a module: plain host arrays by dotted name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor
from tinyae.backend import backend_of


def copied(parts: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Host copies, C-ordered, that later training steps do not touch."""
    return {name: np.array(part.numpy(), order="C") for name, part in parts.items()}


def load_in_place(owner: str, parts: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Copy `state` into the arrays of `parts`, all or nothing.

    Args:
        owner: the model's type, for the message.
        parts: the Tensors to fill; they keep their arrays, devices and dtypes.
        state: an array per name, of the same shape.

    Raises:
        ValueError: names every missing, unexpected, misshapen or non-numeric entry.
    """
    values = {name: _host(value) for name, value in state.items()}
    problems = _problems(parts, values)
    if problems:
        raise ValueError(
            f"the state does not fit this {owner}, nothing was loaded: {'; '.join(problems)}. "
            "Build the model with the sizes it was saved with."
        )
    for name, part in parts.items():
        backend = backend_of(part.data)
        target = part.data
        backend.xp.copyto(target, backend.to_device(values[name], target.dtype))
        part._data = target
        part.bump_version()


def _host(value: Any) -> np.ndarray:
    return value.numpy() if isinstance(value, Tensor) else np.asarray(value)


def _problems(parts: Mapping[str, Tensor], values: Mapping[str, np.ndarray]) -> list[str]:
    """One phrase per entry that does not fit."""
    missing = [f"missing {name} {part.shape}" for name, part in parts.items() if name not in values]
    unexpected = [f"unexpected {name} {value.shape}" for name, value in values.items() if name not in parts]
    wrong = []
    for name, part in parts.items():
        value = values.get(name)
        if value is not None and value.shape != part.shape:
            wrong.append(f"{name} has shape {value.shape}, expected {part.shape}")
        elif value is not None and value.dtype.kind not in "fiub":
            wrong.append(f"{name} holds {value.dtype}, expected numbers")
    return missing + unexpected + wrong
