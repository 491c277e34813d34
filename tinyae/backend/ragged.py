"""Sequences of unequal length as a list: no array holds them, and every door says the same about what to do."""

from __future__ import annotations

from typing import Any

import numpy as np

JOINED = (
    "sequences of unequal length are joined by x, lengths = tinyae.data.pad(sequences) and given as x with "
    "lengths=lengths, or as Split(x, lengths=lengths)"
)
"""What to do with them, the end of a sentence."""


def is_ragged(value: Any) -> bool:
    """Whether a list or tuple has entries of unequal length, so that no rectangular array holds it."""
    if not isinstance(value, (list, tuple)):
        return False
    try:
        np.asarray(value)
    except ValueError:
        return True
    except Exception:  # entries that refuse to become an array at all
        return False
    return False


def array_advice(value: Any, otherwise: str) -> str:
    """How to get an array from `value`: padding for sequences of unequal length, else `otherwise`."""
    return JOINED if is_ragged(value) else otherwise
