"""Whether training gives the same bits again: in a fresh process, with another hash seed, with another number of threads.

    python -m tests.determinism             # every model: a hash of its weights for each setting
    python -m tests.determinism vae lstm

Each row is a setting, in a process of its own; the last line says for which models the number of threads matters. It must
matter for none, as `--resume` relies on. `test_determinism.py` asserts what must hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

SETTINGS = {(hash_seed, threads): f"hash seed {hash_seed}, {threads} threads" for hash_seed in "01" for threads in "12"}

_TRAIN = """
import hashlib, json, sys
import numpy as np
import tinyae as ta
hashes = {}
for name in sys.argv[1:]:
    entry = ta.models.MODELS[name]
    data = ta.data.load(entry.data)
    samples = data.train.rows(slice(0, 300))
    arguments = {"input_shape": data.example_shape}
    if entry.conditional:
        arguments["classes"] = 10
    if not entry.held_out:
        arguments["count"] = len(samples)
    model = ta.models.build(name, arguments, np.random.default_rng(0))
    if name == "stacked":
        ta.training.fit_stack(model, samples, epochs=1, progress=False)
    else:
        ta.fit(model, samples, epochs=1, progress=False)
    digest = hashlib.sha256()
    for part, array in sorted(model.state_dict().items()):
        digest.update(part.encode() + array.tobytes())
    hashes[name] = digest.hexdigest()[:16]
print(json.dumps(hashes))
"""


def hashes_of(names: list[str], hash_seed: str, threads: str) -> dict[str, str]:
    """A hash of the weights of each model after one epoch of 300 samples, from a new process with these settings."""
    blas = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    environment = {**os.environ, **blas, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", _TRAIN, *names]
    found: dict[str, str] = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    return found


def main() -> None:
    """Print the table."""
    from tinyae.models import MODELS

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all")
    names = parser.parse_args().models or list(MODELS)
    table = {setting: hashes_of(names, *setting) for setting in SETTINGS}
    for name in names:
        print(name, *(f"  {table[setting][name]}  {words}" for setting, words in SETTINGS.items()), sep="\n")
    threads = [name for name in names if table["0", "1"][name] != table["0", "2"][name]]
    print(f"the number of threads changes bits of: {', '.join(threads) or 'no model'}")


if __name__ == "__main__":
    main()
