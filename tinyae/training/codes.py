"""The codes of a part of a data set, whatever its model is given of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyae.data import Split


def codes_of(model: Any, split: Split) -> np.ndarray:
    """The codes (N, ...) of a split; of sequences whose end is to be predicted, of the steps the encoder sees."""
    given = model.inputs_for(split.x, split.y)
    known = {} if split.lengths is None else {"lengths": split.lengths - (split.x.shape[1] - given.shape[1])}
    codes: np.ndarray = model.encode(given, **known)
    return codes
