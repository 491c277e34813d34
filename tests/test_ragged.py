"""Sequences of unequal length as a plain list: every door that takes an array says how they are joined."""

from __future__ import annotations

import numpy as np
import pytest

import tinyae as ta
from tinyae import nn
from tinyae.backend.base import is_ragged
from tinyae.models import LSTMAutoencoder

RAGGED = [[[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]]]
DOORS = {
    "Split": lambda x: ta.data.Split(x),
    "fit": lambda x: ta.fit(LSTMAutoencoder(2, 3), x),
    "evaluate": lambda x: ta.evaluate(LSTMAutoencoder(2, 3), x),
    "encode": lambda x: LSTMAutoencoder(2, 3).encode(x),
    "reconstruct with lengths": lambda x: LSTMAutoencoder(2, 3).reconstruct(x, lengths=[1, 2]),
    "a layer": lambda x: nn.LSTM(2, 3)(x),
    "a model": lambda x: LSTMAutoencoder(2, 3)(x),
    "Tensor": lambda x: ta.Tensor(x),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("arrays", [False, True], ids=["lists", "arrays"])
def test_unequal_sequences_are_told_how_to_come_in(door, arrays):
    given = [np.array(sequence) for sequence in RAGGED] if arrays else RAGGED
    with pytest.raises((TypeError, ValueError), match=r"joined by x, lengths = tinyae\.data\.pad\(sequences\)"):
        door(given)


@pytest.mark.parametrize("value", [[[1.0], [2.0]], [], ["a"], [None], 3, np.zeros((2, 3)), [ta.Tensor([1.0])]])
def test_what_an_array_holds_is_not_ragged(value):
    assert not is_ragged(value)
