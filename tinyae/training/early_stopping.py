"""Early stopping: end a run whose held-out numbers get no better any more (Prechelt 1998)."""

from __future__ import annotations

import numpy as np

from tinyae.training.loop import Epoch


class EarlyStopping:
    """A callback for `fit` that ends the run once a column of its history has found no new minimum for `patience` epochs.

    The samples it looks at choose the model, so they say nothing any more about new samples: hold out a third part to
    measure by. The model keeps its last weights; `model.load_state_dict(stop.best_state)` brings back the best.

    Args:
        column: of the history, a number of which less is better, such as "validation_loss".
        patience: epochs without a new minimum that are put up with, at least 1.
        least: what a value must be below the minimum by to be a new one, in the column's unit.

    Attributes:
        best, best_epoch, best_state: the minimum, its epoch (0 before the first), and the weights then.
    """

    def __init__(self, column: str = "validation_loss", patience: int = 5, least: float = 0.0) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {patience}.")
        if not least >= 0.0:
            raise ValueError(f"least must be at least 0, got {least}.")
        self.column, self.patience, self.least = column, patience, float(least)
        self.best, self.best_epoch = float("inf"), 0
        self.best_state: dict[str, np.ndarray] = {}

    def __call__(self, epoch: Epoch) -> None:
        """Look at a complete epoch. Raises StopIteration, which ends `fit`, and ValueError for an unknown column."""
        if self.column not in epoch.row:
            raise ValueError(
                f"the history has no column {self.column!r}: choose one of {', '.join(epoch.row)}, and give fit "
                "validation samples for those that begin with validation_."
            )
        if epoch.row[self.column] < self.best - self.least:
            self.best, self.best_epoch = epoch.row[self.column], epoch.number
            self.best_state = epoch.model.state_dict()
        elif epoch.number - self.best_epoch >= self.patience:
            raise StopIteration
