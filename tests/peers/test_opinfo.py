"""Every operation that PyTorch has too, on PyTorch's own sample inputs (OpInfo): `pytest -m peers`, which needs
`pip install torch==2.13.0 expecttest` and takes 90 seconds of one core.

An input has 0 to 10^6 elements and may be strided, broadcast, empty, NaN or infinite. float64 is compared to order 2,
float32 to order 1. `operations.py` says how each operation is called, `comparison.py` what must be equal.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.peers.operations import TABLE, ops

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="session")
def opinfo() -> dict[str, Any]:
    """PyTorch's table of operations by full name."""
    pytest.importorskip("torch")
    pytest.importorskip("expecttest")
    from torch.testing._internal.common_methods_invocations import op_db

    return {op.full_name: op for op in op_db}


@pytest.mark.parametrize("name", TABLE)
def test_same_as_pytorch(name: str, opinfo: dict[str, Any], outcomes: Counter[tuple[str, str, str, object]]) -> None:
    import torch

    from tests.peers.comparison import judge, samples

    found: Counter[tuple[str, str, str, object]] = Counter()
    with np.errstate(all="ignore"):
        for dtype, order in ((torch.float64, 2), (torch.float32, 1)):
            for inputs in samples(opinfo[name], dtype):
                found[(str(dtype)[6:], name, *judge(name, opinfo[name], inputs, order))] += 1
    outcomes.update(found)
    faults = [f"{n} x {dtype} {detail}" for (dtype, _, outcome, detail), n in found.items() if outcome == "fault"]
    assert not faults, "\n".join(faults)
    if all(outcome == "not offered" for _, _, outcome, _ in found):
        pytest.skip("not offered")


def test_a_wrong_rule_is_found(opinfo: dict[str, Any]) -> None:
    """A slope that is wrong by 1e-9, without an effect on the value."""
    from torch import float64

    from tests.peers.comparison import Fault, compare, samples

    wrong = lambda x: ops.tanh(x) + 1e-9 * (x - x.detach())  # noqa: E731
    with pytest.raises(Fault, match="derivative 1"):
        compare(opinfo["tanh"], wrong, next(samples(opinfo["tanh"], float64)), order=1)
