"""The lowest versions that `pyproject.toml` allows, as requirements: `python tests/lowest.py | pip install -r /dev/stdin`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def lowest(requirement: str) -> str:
    """`numpy>=2,<3` as `numpy==2`."""
    found = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)(,.*)?", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} names no lowest version: write name>=version,<next.")
    return f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        print(lowest(line))
