"""`tinyae train MODEL --seeds N`: the same run with N seeds, in parallel processes, and how far their results spread."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from tinyae.cli.options import metrics_table
from tinyae.models import MODELS
from tinyae.training import Run, evaluate
from tinyae.training.metrics import Metrics


def train_seeds(options: Namespace) -> None:
    """Train with each seed, into seed-0 and so on in --out; print mean and standard deviation of the test metrics.

    The deviation is that of the runs (N - 1 in the denominator); that of their mean is smaller by the root of N.

    Raises ValueError, with the sentence of the first run that failed, after the others have ended.
    """
    if not 2 <= options.seeds <= 10_000:
        raise ValueError(f"--seeds trains several runs, got {options.seeds}: give 2 to 10,000, or leave it out.")
    arguments = [word for word in options.arguments if not word.startswith("--seeds=")]
    while "--seeds" in arguments:
        del arguments[(place := arguments.index("--seeds")) : place + 2]
    seeds = range(options.seed, options.seed + options.seeds)
    name = f"{options.model}-{Path(options.data or MODELS[options.model].data).stem}-seeds"
    out = options.out or Path("runs") / name
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    cores = os.cpu_count() or 1
    workers = min(len(seeds), cores)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(max(1, cores // workers)))

    def train(seed: int) -> subprocess.CompletedProcess[str]:
        own = ["--seed", str(seed), "--out", str(out / f"seed-{seed}")]  # the last of an option counts
        command = [sys.executable, "-m", "tinyae", *arguments, *own]
        return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)

    failed = []
    with ThreadPoolExecutor(workers) as pool:
        for seed, done in zip(seeds, pool.map(train, seeds), strict=True):
            folder = out / f"seed-{seed}"
            if done.returncode:
                failed.append(f"seed {seed}: {done.stderr.strip().rpartition('error: ')[2]}")
            print(failed[-1] if done.returncode else f"seed {seed}: {folder}", flush=True)
    if failed:
        with suppress(OSError):  # not empty
            for folder in new:
                folder.rmdir()
        raise ValueError(f"{len(failed)} of {len(seeds)} runs failed: {failed[0]}")
    runs = [Run.open(out / f"seed-{seed}") for seed in seeds]
    data = runs[0].data()
    found = [evaluate(run.model(), data.test if len(data.test) else data.train) for run in runs]
    values = {name: [metrics[name] for metrics in found] for name in found[0]}
    columns = {
        "mean": Metrics({name: float(np.mean(numbers)) for name, numbers in values.items()}, found[0].units),
        "deviation": Metrics(
            {name: float(np.std(numbers, ddof=1)) for name, numbers in values.items()}, found[0].units
        ),
    }
    print(
        f"\n{len(seeds)} runs, seeds {seeds[0]} to {seeds[-1]}, on the {'test' if len(data.test) else 'training'} samples"
    )
    print(metrics_table(columns))
