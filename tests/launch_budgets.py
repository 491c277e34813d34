"""How many kernels a training step of each model starts, counted on the strict device: `python -m tests.launch_budgets`.

The numbers agreed upon stand in `launch_budgets.toml`, which `test_devices_budget.py` holds the models to.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from tinyae import optim
from tinyae.autodiff import Tensor
from tinyae.backend import Backend
from tinyae.data import Split
from tinyae.models import MODELS, Batch, build
from tinyae.testing import strict_device
from tinyae.testing.strict import Account

TABLE = Path(__file__).with_suffix(".toml")


def budgets() -> dict[str, dict[str, Any]]:
    """The rows of the table by model."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def agreed(name: str) -> int:
    """The number in the row of a model, or a message that says how to write one."""
    rows = budgets()
    if name not in rows:
        raise LookupError(
            f"the model {name!r} has no row in tests/{TABLE.name}: add [{name}] with input_shape (and arguments, if its "
            f"defaults are large) and launches = {measured(name).launches}, which is what is measured now."
        )
    return int(rows[name]["launches"])


def _size(name: str) -> dict[str, Any]:
    return budgets().get(name, {"input_shape": [4, 4, 1]})


def build_small(name: str) -> Any:
    """The model at the size of its row, always with the same weights."""
    arguments = {"input_shape": tuple(_size(name)["input_shape"]), **_size(name).get("arguments", {})}
    return build(name, arguments, np.random.default_rng(0))


def small_batch(name: str) -> np.ndarray:
    """Eight samples in [0, 1]."""
    return np.random.default_rng(1).random((8, *_size(name)["input_shape"])).astype("float32")


def class_numbers(name: str, x: np.ndarray) -> np.ndarray | None:
    """A class for each sample x (N, ...), if the model is one that must be told."""
    return np.arange(len(x)) % _size(name)["arguments"]["classes"] if MODELS[name].conditional else None


def tensors(model: Any, device: Backend, x: np.ndarray, labels: np.ndarray | None = None) -> Batch:
    """What `model.loss` takes for samples x, on the device."""
    return model.batch(Split(device.to_device(x), labels)).tensors()


def train_step(model: Any, optimizer: Any, rows: Batch) -> Tensor:
    """One step as `fit` takes it; returns the loss, on the device."""
    optimizer.zero_grad()
    loss = model.loss(rows).total
    loss.backward()
    optimizer.step()
    return loss.detach()


def measured(name: str) -> Account:
    """The account of one step with Adam, after two steps to warm up, nothing but arithmetic in float32 allowed."""
    device = strict_device()
    model = build_small(name).to("strict").train()
    optimizer = optim.Adam(model.parameters())
    x = small_batch(name)
    rows = tensors(model, device, x, class_numbers(name, x))
    for _ in range(2):
        train_step(model, optimizer, rows)
    with device.policy(forbid_sync=True, forbid_copy=True, forbid_float64=True) as account:
        train_step(model, optimizer, rows)
    return account


def main() -> None:
    """Print a line for every model."""
    for name in MODELS:
        noted = budgets().get(name, {}).get("launches", "no row")
        print(f"{name}: in the table {noted}, measured {measured(name)}")


if __name__ == "__main__":
    main()
