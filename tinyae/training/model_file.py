"""A model as one `model.safetensors` file.

The file holds arrays and, in its header, the recipe (a model's name and arguments) to rebuild the model. It contains no
code, and loading it runs none.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyae.atomic import write_bytes
from tinyae.checks import reading
from tinyae.models import build
from tinyae.models.autoencoder import changes, described, set_again
from tinyae.nn import Module
from tinyae.training.state import (
    FORMAT,
    check_finite,
    check_format,
    check_types,
    load_arrays,
    read_safetensors,
    safetensors_bytes,
)

_METADATA_KEY = "tinyae"


def save(model: Module, path: str | Path) -> Path:
    """Write a module's parameters and buffers to `path` (atomically).

    A model from `tinyae.models.build` or a builder of the registry, its encoder and its decoder also store their recipe, and
    the settings that were changed since they were built. If something else was changed, such as a part replaced, the file
    holds no recipe, and a UserWarning says so.
    """
    if not isinstance(model, Module):
        raise TypeError(f"save takes a model and a path, got {type(model).__name__}: write save(model, path).")
    check_finite(model.state_dict())  # `load` would refuse the file, which may replace a good one
    return write_bytes(path, model_bytes(model, path))


def model_bytes(model: Module, path: str | Path, run: str | None = None) -> bytes:
    """The content of the file that `save` writes; with the identity of a run."""
    header: dict[str, Any] = {"format": FORMAT, "recipe": model.recipe} | ({} if run is None else {"run": run})
    if model.recipe is not None:
        try:
            built = vars(model).get("_as_built") or described(_built(model.recipe))  # it may have been assigned
            header |= {"changes": found} if (found := changes(described(model), built)) else {}
        except ValueError as difference:
            header["recipe"] = None
            warnings.warn(
                f"{path} holds the weights only, since this {type(model).__name__} is no longer what its builder makes "
                f"({difference}): load them with tinyae.load(path, model=...).",
                stacklevel=3,
            )
    return safetensors_bytes(model.state_dict(), {_METADATA_KEY: json.dumps(header, sort_keys=True)})


def _built(recipe: Any, generator: np.random.Generator | None = None) -> Module:
    whole = build(recipe["model"], recipe["arguments"], generator)
    part = recipe.get("part")
    return getattr(whole, part) if part in ("encoder", "decoder") else whole


def load_file(path: Path, model: Module | None = None) -> Module:
    """The model in a file, or the values in it put into `model`; see `tinyae.load`."""
    arrays, metadata = arrays_of(path)
    with reading(path, "a model of tinyae", "train or copy it again"):
        try:
            header = json.loads(metadata.get(_METADATA_KEY, "{}"))
            check_types(header, _HEADER, "header")
            check_format(path, header)
            built = _rebuilt(path, header, arrays) if model is None else model
        except Exception as error:
            if str(path) in str(error):
                raise
            raise ValueError(
                f"the recipe in {path} builds no model here ({error}): it was written by another version or by hand; "
                "build the model yourself and pass load(path, model=...)."
            ) from error
        try:
            with np.errstate(over="raise"):  # a value too large for the dtype of the model
                load_arrays(built, arrays)
        except ValueError as error:
            fix = " Its builder has changed: make the saved layers yourself and pass load(path, model=...), or train again."
            raise ValueError(f"{path}: {error}{fix if model is None else ''}") from error
    return built.eval()


_HEADER = {"recipe": (None, {"model": str, "arguments": dict}), "changes": [[str, str, object]]}


def _rebuilt(path: Path, header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Module:
    """A new model from the recipe in the header, in the dtype of the arrays."""
    recipe = header.get("recipe")
    if not recipe:
        raise ValueError(
            f"{path} holds weights but no recipe to build the model: build it yourself and pass load(path, model=...)."
        )
    held = sum(array.size for array in arrays.values())
    _built(recipe, _Sparing(2 * held + (2**24 if "part" in recipe else 2**12)))
    model = _built(recipe)
    set_again(model, header.get("changes", []))
    dtypes = {array.dtype for array in arrays.values() if array.dtype.kind == "f"}
    return model.to(dtype=dtypes.pop()) if len(dtypes) == 1 else model


class _Sparing(np.random.Generator):
    """Draws zeros, and not more than `most`: a recipe is tried with it first, so that it builds nothing larger than its file."""

    def __init__(self, most: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.left = most

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = ()) -> Any:  # type: ignore[override]
        """Zeros."""
        self.left -= math.prod(size)
        if self.left < 0:
            raise ValueError("it is that of a larger model than the file holds")
        return np.zeros(size)

    def standard_normal(self, size: Any = (), dtype: Any = float) -> Any:  # type: ignore[override]
        """Zeros."""
        return self.uniform(size=size).astype(dtype)


def arrays_of(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The arrays of a model, which must be finite, and the metadata; FileNotFoundError without a file."""
    if not path.is_file():
        raise FileNotFoundError(f"no saved model at {path}: train one with `tinyae train`, or check the path.")
    with reading(path, "a model of tinyae", "train or copy it again"):
        arrays, metadata = read_safetensors(path)
        check_finite(arrays)
        return arrays, metadata
