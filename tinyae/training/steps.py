"""Steps of an optimizer, whatever is trained: an epoch of minibatches, or iterations on all samples at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinyae.autodiff import Tensor, no_grad
from tinyae.backend import Array
from tinyae.data import Lengths, batch_count, batches
from tinyae.optim import LBFGS, Optimizer, clip_grad_norm

BATCH_SIZE = 128
"""Samples per step of a gradient method unless somebody says otherwise."""

Step = tuple[int, Any]
"""Samples in the batch, and their loss on the device."""

LossOf = Callable[..., Tensor]
"""The loss of a batch: called with one array per kind of data (inputs, targets, labels), gives one number.

For sequences of unequal length it is called with `lengths` (n,) as well, on the host.
"""


def samples_per_step(optimizer: Optimizer, batch_size: int | None, samples: int) -> int:
    """The batch size of a run on so many samples: None means `BATCH_SIZE`, and all of them for L-BFGS.

    Raises ValueError for minibatches with L-BFGS: its picture of the curvature comes from differences of gradients, and
    those of different batches differ by more than their curvature.
    """
    if optimizer.full_batch:
        if batch_size is not None and batch_size < samples:
            raise ValueError(
                f"{type(optimizer).__name__} takes all {samples} samples at once, got batch_size={batch_size}: leave it "
                "out, or use Adam, which is made for minibatches."
            )
        return samples
    batch_size = BATCH_SIZE if batch_size is None else batch_size
    batch_count(samples, batch_size)  # says what is wrong with it
    return batch_size


@dataclass(frozen=True)
class Steps:
    """What stays the same from step to step of a run.

    Attributes:
        loss_of: the loss of a batch.
        optimizer: of the parameters that are to move.
        arrays: one for each kind of data (inputs, targets, labels), with a row a sample, on the model's device.
        batch_size: samples per step; see `samples_per_step`.
        generator: draws the order of samples, anew for each epoch.
        clip_norm: clip the norm of all gradients together; None does not.
        lengths: (N,) of sequences of unequal length.
    """

    loss_of: LossOf
    optimizer: Optimizer
    arrays: tuple[Array, ...]
    batch_size: int
    generator: np.random.Generator
    clip_norm: float | None = None
    lengths: Lengths | None = None

    @property
    def samples(self) -> int:
        """N, of the whole set."""
        return len(self.arrays[0])

    def minibatches(self) -> Iterator[Step]:
        """One epoch: take a step each time the caller asks for the next item.

        Per batch: forward, loss, backward, clip, step.
        """
        optimizer, lengths = self.optimizer, self.lengths
        for batch in batches(*self.arrays, batch_size=self.batch_size, generator=self.generator, lengths=lengths):
            rows = batch if isinstance(batch, tuple) else (batch,)
            optimizer.zero_grad()
            loss = self.loss_of(*rows) if lengths is None else self.loss_of(*rows[:-1], lengths=rows[-1])
            loss.backward()
            if self.clip_norm is not None:
                clip_grad_norm(optimizer.flat.tensors, self.clip_norm)
            optimizer.step()
            yield len(rows[0]), loss.data

    def full_batch(self, iterations: int, after: Callable[[int, float], None]) -> None:
        """Up to `iterations` of L-BFGS on all data at once; `after(iteration, loss)` follows each accepted one.

        It ends earlier where the method's own tolerances are met.

        Raises:
            ValueError: the loss is another at the second look, because something in it draws random numbers. A line
                search cannot tell such a difference from progress.
        """
        optimizer = self.optimizer
        if self.clip_norm is not None:
            raise ValueError(
                f"clip_norm means nothing to {type(optimizer).__name__}, which finds its step lengths itself: leave it out."
            )
        if not isinstance(optimizer, LBFGS):
            raise TypeError(f"{type(optimizer).__name__} wants the full batch but is no LBFGS: use tinyae.optim.LBFGS.")
        known: dict[str, Any] = {} if self.lengths is None else {"lengths": self.lengths}
        whole = partial(self.loss_of, *self.arrays, **known)
        with no_grad():
            looks = [float(whole().item()) for _ in range(2)]
        if looks[0] != looks[1] and np.isfinite(looks).all():
            raise ValueError(
                f"L-BFGS needs the same loss for the same weights, got {looks[0]:.6g} and then {looks[1]:.6g}: the "
                "model draws noise, so train it with Adam (optimizer adam), or without noise."
            )
        optimizer.max_iterations = iterations
        optimizer.step(whole, after)
