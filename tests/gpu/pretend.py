"""Run a module or a script with the simulated GPU in the place of the real one: a rehearsal of what needs `--device gpu`.

python -m tests.gpu.pretend -m tinyae train basic --device gpu
python -m tests.gpu.pretend examples/02_basic_autoencoder.py --device gpu
"""

from __future__ import annotations

import runpy
import sys

from tinyae.backend import devices
from tinyae.testing import strict_device

if __name__ == "__main__":
    devices._gpu = strict_device()
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "-m":
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
