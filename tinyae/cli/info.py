"""`tinyae info`: versions and devices, for a bug report."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from tinyae.backend import DeviceError, backend_named
from tinyae.training.run import package_version

_LIBRARIES = ("numpy", "scipy", "matplotlib", "pillow", "tqdm", "safetensors", "pooch")
_CUPY = ("cupy-cuda13x", "cupy-cuda12x", "cupy-rocm-7-0")


def info() -> None:
    """print versions and devices

    Print versions and devices, for a bug report; a device that does not work is not an error.
    """
    print(f"tinyae      {package_version()}")
    print(
        f"python      {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )
    for name in (*_LIBRARIES, *_CUPY):
        try:
            print(f"{name:11} {version(name)}")
        except PackageNotFoundError:
            if name not in _CUPY:
                print(f"{name:11} not installed")
    for device in ("cpu", "gpu"):
        try:
            print(f"{device:11} works ({backend_named(device).describe()})")
        except DeviceError as error:
            print(f"{device:11} not usable: {error}")
    print(f"data folder {os.environ.get('TINYAE_DATA') or 'TINYAE_DATA is not set'}")
