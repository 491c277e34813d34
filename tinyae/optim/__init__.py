"""How parameters move: gradient methods, L-BFGS, learning-rate schedules and gradient clipping.

An optimizer takes the leaf Tensors to train and lays them out in one flat buffer (`FlatParameters`); each Tensor keeps
its shape and becomes a view. So a step is a handful of operations on one long array, however many layers
there are, and each method is short enough to be read beside its paper.

    optimizer = Adam(model.parameters(), lr=1e-3)
    for batch in batches:
        optimizer.zero_grad()
        model.loss(batch).backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()

Three chapters: `optimizers` (what all methods share, the methods, clipping, and the flat buffers), `schedules` and
`lbfgs`. Nothing here waits for the device, except L-BFGS, whose line search needs the loss.
"""

from tinyae.optim.lbfgs import LBFGS, LBFGSResult
from tinyae.optim.optimizers import SGD, Adagrad, Adam, AdamW, FlatParameters, Optimizer, RMSprop, clip_grad_norm
from tinyae.optim.schedules import CosineLR, Schedule, StepLR, WarmupLR

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineLR",
    "FlatParameters",
    "LBFGSResult",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "StepLR",
    "WarmupLR",
    "clip_grad_norm",
]
