"""Scaling of a series: an offset and a scale per feature, taken from the training part and undone on the way out.

Fitted on the whole series, the scaler would tell the model how high the test part goes: a small leak that flatters
every number measured afterwards. So the part it is fitted on is an argument, never a default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyae.data.sequences import as_series

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scaler:
    """x = (values - offset) / scale, feature by feature.

    Attributes:
        offset, scale: one number per feature, (D,), in the unit of the values.
        method: how they were found, one of `SCALINGS`.
    """

    offset: Floats
    scale: Floats
    method: str = "none"

    @classmethod
    def fit(cls, values: npt.NDArray[np.generic], method: str = "standard") -> Scaler:
        """Find offset and scale of a training part (T,) or (T, D).

        "standard": mean and standard deviation. "range": the smallest value becomes 0, the largest 1. "none": 0 and 1.
        A feature that never changes keeps the scale 1, so that it comes out as 0 and not as NaN.
        """
        if method not in SCALINGS:
            raise ValueError(f"unknown scaling {method!r}: choose one of {', '.join(SCALINGS)}.")
        series = as_series(values, "the training part")
        with np.errstate(over="ignore", invalid="ignore"):
            offset, scale = SCALINGS[method](series)
        wide = ~(np.isfinite(offset) & np.isfinite(scale))
        if wide.any():
            feature = int(np.argmax(wide))
            raise ValueError(
                f"feature {feature} of the training part reaches {np.abs(series[:, feature]).max():.3g}, too large to be "
                "scaled: give it in another unit, or its logarithm."
            )
        return cls(offset, np.where(scale > 0, scale, 1.0), method)

    def apply(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Values (..., D) as the model sees them, float32; raises ValueError for what is too large for that."""
        with np.errstate(over="ignore"):
            scaled = ((np.asarray(values, np.float64) - self.offset) / self.scale).astype(np.float32)
        if np.isinf(scaled).any():
            raise ValueError(
                f"values up to {np.abs(values).max():.3g} are too large for float32 after scaling {self.method!r}: give "
                "them in another unit, or scale them by 'standard'."
            )
        return scaled

    def inverse(self, x: npt.NDArray[np.generic]) -> Floats:
        """What the model gives, (..., D), in the unit of the values, float64."""
        values: Floats = np.asarray(x, np.float64) * self.scale + self.offset
        return values

    @property
    def fitted(self) -> bool:
        """True if x is more than values in a multiple of their unit."""
        return self.method != "none" or bool(self.offset.any())

    def after(self, first: Scaler) -> Scaler:
        """`first`, and then this one on what it gives."""
        method = first.method if self.method == "none" else self.method
        return Scaler(self.offset * first.scale + first.offset, self.scale * first.scale, method)

    def words(self, unit: str) -> str:
        """What x measures: "(mV - 0.3) / 0.52" for one feature in `unit`; for several, how each was scaled."""
        if len(self.scale) > 1:
            return _SEVERAL[self.method]
        offset, scale = _short(abs(float(self.offset[0]))), _short(float(self.scale[0]))
        shifted = unit if offset == "0" else f"({unit} {'+' if self.offset[0] < 0 else '-'} {offset})"
        return f"{shifted} / {scale}"

    def meaning(self, unit: str) -> str:
        """What 0 and 1 in x stand for, in a sentence."""
        if len(self.scale) > 1:
            return f"{_SEVERAL[self.method]}, feature by feature; scaler.inverse(x) has the measured ones"
        return f"0 is {_short(float(self.offset[0]))} and 1.0 is {_short(float(self.scale[0]))} more, in {unit}"


def _short(number: float) -> str:
    """Four digits, or all those before the point."""
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.4g}"


_SEVERAL = {"standard": "standardised values", "range": "values scaled to the range 0 to 1", "none": "values"}
"""Of several features: name of a scaling -> what x holds."""

SCALINGS: dict[str, Callable[[Floats], tuple[Floats, Floats]]] = {
    "standard": lambda v: (v.mean(axis=0), v.std(axis=0)),
    "range": lambda v: (v.min(axis=0), v.max(axis=0) - v.min(axis=0)),
    "none": lambda v: (np.zeros(v.shape[1]), np.ones(v.shape[1])),
}
"""Ways to fit a `Scaler`: name -> function of values (T, D) that gives offset and scale (D,)."""
