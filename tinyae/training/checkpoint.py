"""`save` and `load`: a model as one `model.safetensors` file.

The file holds arrays and, in its header, the recipe (a model's name and plain arguments) to build the model again. It
contains no code and loading it runs none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinyae.atomic import write_bytes
from tinyae.models import build
from tinyae.nn import Module

_HEADER = "tinyae"


def save(model: Module, path: str | Path) -> Path:
    """Write a module's parameters and buffers to `path` (atomically). Models made by `tinyae.models.build` or a builder of
    the registry, and their encoders, also store how to rebuild them.
    """
    from safetensors.numpy import save as to_bytes

    recipe = getattr(model, "recipe", None)
    metadata = {_HEADER: json.dumps({"format": 1, "recipe": recipe}, sort_keys=True)}
    # safetensors writes the bytes of an array as they lie in memory, so a transposed one would come back scrambled.
    state = {name: np.array(value, order="C") for name, value in model.state_dict().items()}
    return write_bytes(path, to_bytes(state, metadata=metadata))


def load(path: str | Path, model: Module | None = None) -> Any:
    """Read a model that `save` wrote.

    Args:
        path: the file, or a run folder that holds `model.safetensors`.
        model: load the values into this module (strictly); None builds the model from the recipe in the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a complete safetensors file, has no recipe and no `model` was given, or does not
            fit the model.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"no saved model at {path}: train one with `tinyae train`, or check the path.")
    arrays, metadata = _read(path)
    if model is None:
        model = _rebuilt(path, metadata)
    model.load_state_dict(arrays)
    model.eval()
    return model


def _rebuilt(path: Path, metadata: dict[str, str]) -> Module:
    """A fresh model as the recipe in the header says."""
    try:
        recipe = json.loads(metadata.get(_HEADER, "{}")).get("recipe")
        if recipe:
            whole = build(recipe["model"], recipe["arguments"])
            return whole.encoder if recipe.get("part") == "encoder" else whole
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"the recipe in {path} builds no model here ({error}): it was written by another version or by hand; "
            "build the model yourself and pass load(path, model=...)."
        ) from error
    raise ValueError(
        f"{path} holds weights but no recipe to build the model: build it yourself and pass load(path, model=...)."
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a complete safetensors file ({error}): it may be truncated; train or copy it again."
        ) from error
