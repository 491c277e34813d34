"""How numbers are printed: one small table, every row with its unit."""

from __future__ import annotations

from tinyae.models import Autoencoder
from tinyae.training import metric_units

_LABELS = {
    "loss": "training objective",
    "squared_error": "squared error",
    "mse": "mean squared error",
    "bce": "cross-entropy",
    "bce_element": "cross-entropy",
    "kl": "KL",
    "corrupted_squared_error": "damaged input",
    "denoised_squared_error": "repaired",
}


def metrics_table(model: Autoencoder, columns: dict[str, dict[str, float]]) -> str:
    """A table of `evaluate` results: one row per metric, one column per split, the unit last."""
    units = metric_units(model)
    names = list(dict.fromkeys(name for metrics in columns.values() for name in metrics))
    lines = [f"{'':20}" + "".join(f"{split:>12}" for split in columns) + "   unit"]
    for name in names:
        values = "".join(f"{number(metrics.get(name)):>12}" for metrics in columns.values())
        lines.append(f"{_LABELS.get(name, name):20}{values}   {units.get(name, model.loss_unit)}")
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Five significant digits; a dash where nothing was measured."""
    return "-" if value is None else f"{value:.5g}"
