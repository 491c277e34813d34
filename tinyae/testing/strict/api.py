"""Which names and keywords CuPy has: read from the installed CuPy, else from a snapshot of CuPy 14.

Importing CuPy needs no GPU, so an installed CuPy is inspected directly. `write_snapshot` writes the snapshot,
`cupy_api.json`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyae.atomic import write_text

MODULES = ("cupy", "cupy.linalg", "cupy.random", "cupy.fft", "cupy.lib.stride_tricks")
"""The namespaces of the double."""

SNAPSHOT = Path(__file__).with_name("cupy_api.json")

Kind = str | list[str] | None
"""Kind of a name: "ufunc", "other" (not a function), the list of its parameters (`*args` with the star), or None if unknown."""


@dataclass(frozen=True)
class CupyApi:
    """The public names of one CuPy release.

    Attributes:
        version: of CuPy.
        modules: module name -> name -> kind.
        methods: of `cupy.ndarray`, name -> kind.
        generator: of `cupy.random.Generator`, name -> kind.
    """

    version: str
    modules: dict[str, dict[str, Kind]]
    methods: dict[str, Kind]
    generator: dict[str, Kind]


@functools.cache
def cupy_api() -> CupyApi:
    """The names of the installed CuPy, or those of the snapshot."""
    return installed_api() or snapshot_api()


def snapshot_api() -> CupyApi:
    """The names in `cupy_api.json`."""
    return CupyApi(**json.loads(SNAPSHOT.read_text(encoding="utf-8")))


def installed_api() -> CupyApi | None:
    """The names of the installed CuPy; None where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # without a GPU CuPy may complain about CUDA's path, and about its own old names
        try:
            modules: dict[str, Any] = {name: importlib.import_module(name) for name in MODULES}
        except ImportError:
            return None
        cupy = modules["cupy"]
        return CupyApi(
            version=cupy.__version__,
            modules={name: _kinds(module) for name, module in modules.items()},
            methods=_kinds(cupy.ndarray),
            generator=_kinds(cupy.random.Generator),
        )


def _kinds(owner: Any) -> dict[str, Kind]:
    names = [name for name in sorted(dir(owner)) if not name.startswith("_")]
    return {name: _kind(getattr(owner, name), isinstance(owner, type)) for name in names}


def _kind(value: Any, method: bool) -> Kind:
    if type(value).__name__ == "ufunc":
        return "ufunc"
    if not callable(value) or isinstance(value, type):
        return "other"
    try:
        parameters = inspect.signature(value).parameters.values()
    except (ValueError, TypeError):
        return _documented_parameters(value)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    names = [f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name for p in parameters]
    return names[1:] if method and names and names[0] == "self" else names


def _documented_parameters(method: Any) -> Kind:
    """The parameters of a compiled method, from the first line of its docstring: `sum(self, axis=None) -> ...`."""
    line = (method.__doc__ or "").partition("\n")[0]
    found = re.match(r"[\w.]+\(self(?:, )?(.*?)\)(?: ->.*)?$", line)
    if found is None or "**" in found[1]:
        return None
    parts = [part.strip() for part in found[1].split(",")]
    return [part.partition("=")[0].split()[-1] for part in parts if part and part not in ("/", "*")]


def write_snapshot(path: Path = SNAPSHOT) -> None:
    """Write the names of the installed CuPy to `path`, one name a line."""
    api = installed_api()
    if api is None:
        raise ImportError("the snapshot is taken from an installed CuPy: pip install cupy-cuda13x (no GPU is needed).")
    text = json.dumps(asdict(api), indent=1, sort_keys=True)
    write_text(path, re.sub(r"\[\s*([^\[\]]*?)\s*\]", lambda m: "[" + " ".join(m[1].split()) + "]", text) + "\n")
