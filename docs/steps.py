"""Write the pages that `step.md` shows:  python docs/steps.py FOLDER

Sphinx calls it in a process of its own, because in `conf.py` the operations are the functions that they wrap.
"""

import sys
from pathlib import Path

import numpy as np

from tinyae import Tensor, inspect
from tinyae.cli.main import main
from tinyae.models import basic_autoencoder

folder = Path(sys.argv[1])
model = basic_autoencoder((4,), 2, loss="squared_error", sample="row", generator=np.random.default_rng(0))
x = np.array([[0.0, 1.0, 0.5, 0.2], [1.0, 0.0, 0.3, 0.9], [0.6, 0.4, 0.1, 0.8]])
title = "A 4-2-4 network: one training step, backward"
inspect.step(lambda: model.loss(Tensor(x)), model, folder / "small.html", title=title)
for words in ("basic", "basic --unfused", "denoising", "conv", "lstm --unfused", "vae"):
    if main(["step", *words.split(), "--out", str(folder / f"{words.replace(' --', '_')}.html")]):
        raise SystemExit(f"tinyae step {words} failed")
