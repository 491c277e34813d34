"""Optimizers: gradient methods, L-BFGS, learning-rate schedules and gradient clipping.

An optimizer moves the leaf Tensors to train into one flat buffer (`FlatParameters`); each Tensor becomes a view of it. So a
step is a few operations on one long array, and each method is short enough to compare with its paper.

    optimizer = Adam(model.parameters(), lr=1e-3)
    for batch in batches:
        optimizer.zero_grad()
        model.loss(batch).backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()

Nothing here waits for the device, except L-BFGS, whose line search needs the loss.
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
