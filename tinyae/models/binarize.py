"""Black and white from grey: how MNIST becomes data that a Bernoulli likelihood can have a probability for.

Two customs exist and their numbers differ by several nats, so every number must say which. "dynamic": a pixel of grey x
is white with probability x, drawn anew each time an image is shown (Burda et al. 2016 and most since). "fixed": drawn once
for the whole set. The customary fixed set (Larochelle and Murray 2011) is a file; ours is our own draw, from a fixed
seed, so its numbers are near to but not the same as those of that file.
"""

from __future__ import annotations

import numpy as np

from tinyae.backend import Array, backend_of
from tinyae.models.likelihoods import Likelihood

BINARIZATIONS = ("none", "dynamic", "fixed")
_SEED = 2011


def binarized(x: Array, generator: np.random.Generator) -> Array:
    """1 with probability x, else 0, of x's shape, dtype and device."""
    return (backend_of(x).uniform(generator, x.shape, x.dtype) < x).astype(x.dtype)


def fixed_binarization(x: Array) -> Array:
    """The one draw for a set x (N, ...): the same on every device and at every call for the first N samples of a set."""
    backend = backend_of(x)
    generator = np.random.default_rng(_SEED)
    return (backend.to_device(generator.random(x.shape, dtype=np.float32)) < x).astype(x.dtype)


def check_binarize(binarize: str, likelihood: Likelihood) -> str:
    """Return the name; raises ValueError for an unknown one, and unless the likelihood is for black and white."""
    if binarize not in BINARIZATIONS:
        raise ValueError(f"unknown binarize {binarize!r}: choose one of {', '.join(BINARIZATIONS)}.")
    if binarize != "none" and likelihood.name != "bernoulli":
        raise ValueError(
            f"binarize={binarize!r} makes images black and white, which likelihood 'bernoulli' is for, "
            f"got {likelihood.name!r}: write likelihood='bernoulli'."
        )
    return binarize
