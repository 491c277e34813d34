"""The installed version of the package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The installed version, or "unknown" when run from a source tree that was never installed."""
    try:
        return version("tinyae")
    except PackageNotFoundError:
        return "unknown"
